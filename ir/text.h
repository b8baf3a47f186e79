/* What the printer and the parser of the IR text share. The grammar stands in docs of graph_print (ir/text.c). */
#ifndef PARE_IR_TEXT_H
#define PARE_IR_TEXT_H

#include "ir/op.h"

enum {
    TEXT_INLINE_ELEMS = 32,       /* constants of at most this many elements are written out */
    TEXT_SPLAT_MIN = 5,           /* elements from which on one repeated element is written as a splat */
    TEXT_SPLAT_BYTES = 1 << 16,   /* larger constants of one repeated element still go to the side file */
    TEXT_SPLAT_BUDGET = 16 << 20, /* bytes that all splats of one text may stand for, so that no short text is huge */
    TEXT_MAX_DEPTH = 32,          /* nesting of subgraphs and of sequence/optional types */
    TEXT_MAX_OPERANDS = UINT16_MAX - 1
};

/* Characters of a bare (unquoted) name. */
static inline bool text_is_name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '/' || c == ':' || c == '-' || c == '+';
}

/* One element in text: integers and bool in decimal; floats in the shortest decimal form that reads back to the same
 * value, always with a '.', an exponent, "inf" or "nan" (a NaN's payload is lost). */
void text_print_element(Buf *b, const Tensor *t, int64_t i);
/* Reads one element of that form into t[i]; *end points behind it. */
bool text_parse_element(Tensor *t, int64_t i, const char *s, const char **end);

#endif
