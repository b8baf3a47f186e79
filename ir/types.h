/* Element types, dimensions (numbers or symbols) and value types. */
#ifndef PARE_IR_TYPES_H
#define PARE_IR_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Numbering of ONNX TensorProto.DataType; rows in ir/elems.def. */
typedef enum ElemType {
#define ELEM(name, number, bits, text) ELEM_##name = number,
#include "ir/elems.def"
#undef ELEM
} ElemType;

/* "float32", "uint8", "int4" …; NULL for a number outside the table. */
const char *elem_name(ElemType e);
/* The type of that name, ELEM_UNDEFINED when there is none. */
ElemType elem_from_name(const char *name);
/* Bits of one element (4 for int4); 0 for string and undefined. */
int elem_bits(ElemType e);
bool elem_is_float(ElemType e);  /* float64/32/16, bfloat16, float8* , float4 */
bool elem_is_int(ElemType e);    /* signed and unsigned integers, not bool */
bool elem_is_signed(ElemType e); /* signed integers and floats */
/* Bytes of n packed elements (sub-byte types: two or four to a byte, low bits first); false on overflow or string. */
bool elem_bytes(ElemType e, int64_t n, size_t *bytes);

/* A dimension, or an element of shape-valued content (Value.known, where -1 and other small negative numbers occur):
 * a number, or, from SYM_FIRST downwards, a symbol or symbolic expression of the graph's SymTab. */
typedef int64_t Dim;
#define SYM_FIRST     (-((int64_t)1 << 48))
#define DIM_IS_SYM(d) ((d) <= SYM_FIRST)
enum { MAX_RANK = 8 };

typedef enum TypeKind { TYPE_UNKNOWN, TYPE_TENSOR, TYPE_SEQUENCE, TYPE_OPTIONAL } TypeKind;

/* The type of a value. rank -1 = rank unknown. Sequence and optional: `inner`, owned by the graph's arena. */
typedef struct Type {
    TypeKind kind;
    ElemType elem;
    int rank;
    Dim dims[MAX_RANK];
    const struct Type *inner;
} Type;

Type type_tensor(ElemType e, int rank, const Dim *dims);
bool type_equal(const Type *a, const Type *b);
/* True when all dims are numbers. */
bool type_is_static(const Type *t);
/* Product of the dims of a static type; -1 when not static or past INT64_MAX. */
int64_t type_count(const Type *t);

/* Interned symbolic dimension expressions. Equal expressions have equal ids. Owned by the root graph. */
typedef struct SymTab SymTab;
SymTab *symtab_new(void);
void symtab_free(SymTab *t);
/* Makes `to` (empty) a copy with the same ids; false when memory is short. */
bool symtab_copy(SymTab *to, const SymTab *from);
/* The dim of a named symbol ("N"); made on first use. Returns INT64_MIN when memory is short. */
Dim sym_named(SymTab *t, const char *name);
/* A symbol nobody has used yet ("?3"): for sizes that depend on data. */
Dim sym_fresh(SymTab *t);
typedef enum SymOp { SYM_ADD, SYM_SUB, SYM_MUL, SYM_FLOORDIV, SYM_CEILDIV, SYM_MOD, SYM_MAX, SYM_MIN } SymOp;
/* a op b with simplification (x+0, x*1, (x*4)/4, x-x …); numbers are folded (the result
 * may be negative). Division by 0 gives a fresh symbol. */
Dim sym_op(SymTab *t, SymOp op, Dim a, Dim b);
/* The value of d under `bind(ctx, name)` (>= 0, or -1 for unbound); returns -1 when it does not become a number. */
int64_t sym_eval(const SymTab *t, Dim d, int64_t (*bind)(void *ctx, const char *name), void *ctx);
/* d with the bound symbols replaced. */
Dim sym_substitute(SymTab *t, Dim d, int64_t (*bind)(void *ctx, const char *name), void *ctx);
/* Prints "4", "N", "(N*2)". Returns the length as snprintf does. */
int sym_print(const SymTab *t, Dim d, char *buf, size_t cap);
/* Parses what sym_print writes; false when it is none. *end points behind it. */
bool sym_parse(SymTab *t, const char *text, const char **end, Dim *out);

#endif
