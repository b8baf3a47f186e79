/* Products of two run-time matrices, batched: y[b] = act(clamp(x[b] * w[b])), in float or 8-bit integers.
 *
 * For a constant right operand igemm.h is faster, as it packs once. Here the right operand is packed in every run, into
 * the scratch area; operands that several batches share are converted and packed once. Batches are two-level with free
 * strides, so that [batch, heads, rows, depth] is read from [batch, rows, heads, depth] without a transposition.
 * Numerics, threads and memory as in igemm.h. */
#ifndef PARE_KERNELS_CPU_IGEMM_MATMUL_H
#define PARE_KERNELS_CPU_IGEMM_MATMUL_H

#include "kernels/cpu/igemm/igemm.h"

/* Zero-initialise, then set what is needed. */
typedef struct MatmulDesc {
    IgemmType x_type, w_type; /* F32 both; or U8, S8 each */
    IgemmType y_type;         /* as in IgemmDesc */
    int64_t m, n, k;
    int64_t ldx, ldw, ldy;                      /* elements from row to row; 0: no gap */
    bool w_transposed;                          /* w is [n, k] */
    int64_t batch[2];                           /* outer, inner; 0 is taken as 1 */
    int64_t x_batch[2], w_batch[2], y_batch[2]; /* elements from batch to batch; x, w: 0 shares the operand */
    float lo, hi;                               /* as in IgemmDesc */
    IgemmActFn act;
    float act_a, act_b;
    int32_t x_zero, w_zero, y_zero; /* 8-bit */
    float multiplier;               /* 8-bit, y_type other than S32: s_x * s_w / s_y */
} MatmulDesc;

/* A prepared operator. Plain data; callers only pass it on. */
typedef struct Matmul {
    MatmulDesc desc;
    Igemm product;                         /* of one batch */
    int64_t x_count[2], w_count[2];        /* distinct operands on each level of batches */
    size_t x_stride, w_stride, mult_bytes; /* scratch: bytes of a converted x, a packed w, the multipliers */
} Matmul;

/* As igemm_init(). Also false when batches of y overlap by a stride of 0. */
bool matmul_init(Matmul *op, const MatmulDesc *desc);
bool matmul_init_isa(Matmul *op, const MatmulDesc *desc, Isa isa);

/* The name of the kernel for reports. */
const char *matmul_kernel_name(const Matmul *op);

size_t matmul_scratch_bytes(const Matmul *op, int n_threads);

/* `scratch` (64-byte aligned) holds matmul_scratch_bytes(op, team_size(team)) bytes. */
void matmul_run(const Matmul *op, const void *x, const void *w, void *y, void *scratch, Team *team);

#endif
