/* Walking an EltNest piece by piece; shared by the elementwise engines. */
#ifndef PARE_KERNELS_CPU_ELTWISE_ELT_NEST_H
#define PARE_KERNELS_CPU_ELTWISE_ELT_NEST_H

#include "kernels/cpu/eltwise/binary.h"

/* n elements of a row: offsets of y, a and b. */
typedef struct {
    int64_t at[3], n;
} EltPiece;
typedef void (*EltPieceFn)(void *arg, const EltPiece *piece);

/* Collapses the nest and says how its rows are to be called; gather[t] is set for operands (y, a, b) whose elements
 * must be collected into (or spread from) a contiguous piece around the call. */
EltForm elt_nest_form(EltNest *nest, uint8_t gather[3]);

/* Items are (row, chunk) pairs, chunk fastest; a chunk is at most `chunk` elements. */
int64_t elt_nest_items(const EltNest *nest, int64_t chunk);
/* Items to hand out together so that they make about `elements`. */
int64_t elt_nest_grain(const EltNest *nest, int64_t elements);
/* Offsets of the three operands at one position of the dims but the innermost. */
typedef struct {
    int64_t index[ELT_MAX_RANK];
    int64_t at[3];
} EltCursor;
void elt_cursor_seek(EltCursor *c, const EltNest *nest, int64_t row);
void elt_cursor_next(EltCursor *c, const EltNest *nest);

/* Calls fn for the items [begin, end). */
void elt_nest_pieces(const EltNest *nest, int64_t chunk, int64_t begin, int64_t end, EltPieceFn fn, void *arg);

#endif
