/* Data movement: permutations (layout changes), strided copies, gathers, resizing, reductions. Movement is bitwise and
 * works on elements of 1, 2, 4 or 8 bytes. Input and output must not overlap. Thread-safe after prepare. */
#ifndef PARE_KERNELS_CPU_MOVE_MOVE_H
#define PARE_KERNELS_CPU_MOVE_MOVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/eltwise/binary.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

enum { MOVE_MAX_RANK = ELT_MAX_RANK };

/* to[c][r] = from[r][c] for rows x cols elements, pitches in elements. */
typedef void (*TransposeFn)(void *to, const void *from, size_t rows, size_t cols, size_t to_pitch, size_t from_pitch);

/* One table row per ISA. */
typedef struct {
    TransposeFn transpose[4]; /* by log2 of the element's bytes */
} MoveOps;

/* General strided move: for every index i of dims, to[sum i*to_stride] = from[sum i*from_stride], strides in elements,
 * of either sign or 0 on the `from` side (broadcast). Permutes, slices, concat pieces, pad interiors, space-to-depth,
 * expand and layout changes are all of this form. prepare drops dims of 1, merges dims and picks copying of runs or 2-D
 * transposes. */
typedef struct {
    int32_t rank;
    int32_t elem_bytes; /* 1, 2, 4, 8 */
    int64_t dims[MOVE_MAX_RANK];
    int64_t to_stride[MOVE_MAX_RANK], from_stride[MOVE_MAX_RANK];
    /* set by prepare, which also rewrites the above: the outer dims, what one call does at each of their positions (a
     * run of rows elements; a transpose of rows x cols; rows strided elements), and the tiles it is split into */
    EltNest outer;
    TransposeFn transpose; /* NULL for runs and strided moves */
    int64_t rows, cols, to_pitch, from_pitch;
    int64_t tile_rows, tile_cols;
} Move;

void move_prepare(Move *m, uint32_t isa_bits);
void move_run(const Move *m, void *to, const void *from, Team *team);

/* Fills in dims and strides of y = transpose(x, perm), contiguous on both sides, for ONNX Transpose: y's dim i is x's
 * dim perm[i]. prepare is still to be called. */
void move_from_permutation(Move *m, int32_t rank, const int64_t *x_dims, const int32_t *perm, int32_t elem_bytes);

/* NCHW <-> NHWC of n images, `nhwc_ld` elements from pixel to pixel on the NHWC side (>= c). */
void move_nchw_to_nhwc(Move *m, int32_t n, int32_t c, int64_t pixels, size_t nhwc_ld, int32_t elem_bytes);
void move_nhwc_to_nchw(Move *m, int32_t n, int32_t c, int64_t pixels, size_t nhwc_ld, int32_t elem_bytes);

/* Writes `value` (elem_bytes long) to every element of dims at to_stride: constant padding. Uses only dims, rank,
 * elem_bytes and to_stride of m, which needs no prepare. */
void move_fill(const Move *m, void *to, const void *value);

/* y[i] = row index[i] of x, rows of row_bytes; an index below 0 counts from n_rows. Indices must be checked before
 * (gather_check). outer repeats it: y is [outer][n_index][row_bytes], x [outer][n_rows][row_bytes]. */
bool gather_check(const int64_t *index, int64_t n_index, int64_t n_rows);
void gather_run(void *y, const void *x, const int64_t *index, int64_t outer, int64_t n_index, int64_t n_rows,
                size_t row_bytes, Team *team);

#endif
