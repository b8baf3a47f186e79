/* Normalizations and softmax over float tensors. Sums run in fixed lanes and order for one ISA, whatever the team or
 * the position of a row; variances are taken in a second pass around the mean. Rows are independent items. In place (y
 * == x) is allowed. Thread-safe after prepare. */
#ifndef PARE_KERNELS_CPU_NORM_NORM_H
#define PARE_KERNELS_CPU_NORM_NORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/eltwise/unary.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

/* One contiguous row of n floats. */
typedef void (*SoftmaxRowFn)(float *y, const float *x, size_t n);
/* n positions of an axis of `len` elements `stride` apart, `lanes` neighbouring columns at once. */
typedef void (*SoftmaxColumnsFn)(float *y, const float *x, size_t len, size_t stride, size_t lanes);
/* sum written if not NULL: x + residual, the value that was normalized. gamma, beta may be NULL (1, 0). */
typedef void (*LayerNormRowFn)(float *y, float *sum, const float *x, const float *residual, const float *gamma,
                               const float *beta, size_t n, float epsilon);
typedef void (*RmsNormRowFn)(float *y, float *sum, const float *x, const float *residual, const float *gamma, size_t n,
                             float epsilon);
typedef void (*L2NormRowFn)(float *y, const float *x, size_t n, float epsilon);
/* Per channel of [pixels][ld] (NHWC): the sums of x (shift NULL), or of (x - shift)^2. */
typedef void (*ChannelSumsFn)(float *sum, const float *x, const float *shift, size_t pixels, size_t ld, size_t c);
/* y = x * scale[c] + bias[c] */
typedef void (*ChannelAffineFn)(float *y, const float *x, const float *scale, const float *bias, size_t pixels,
                                size_t x_ld, size_t y_ld, size_t c);

/* One table row per ISA. */
typedef struct {
    int32_t lanes; /* most that the *_columns functions take */
    SoftmaxRowFn softmax_row, log_softmax_row;
    SoftmaxColumnsFn softmax_columns, log_softmax_columns;
    LayerNormRowFn layer_norm_row;
    RmsNormRowFn rms_norm_row;
    L2NormRowFn l2_norm_row;
    ChannelSumsFn channel_sums;
    ChannelAffineFn channel_affine;
} NormOps;

const NormOps *norm_ops(uint32_t isa_bits);

/* y = softmax(x) (or its logarithm) over the middle of [outer][len][inner], contiguous. A row of only -inf gives NaN.
 */
typedef struct {
    int64_t outer, len, inner;
    bool log;
    const NormOps *ops; /* set by prepare */
} Softmax;

void softmax_prepare(Softmax *s, uint32_t isa_bits);
void softmax_run(const Softmax *s, const float *x, float *y, Team *team);

typedef enum {
    ROW_NORM_LAYER, /* (v - mean) / sqrt(var + epsilon) * gamma + beta */
    ROW_NORM_RMS,   /* v / sqrt(mean(v^2) + epsilon) * gamma */
    ROW_NORM_L2     /* v / max(sqrt(sum(v^2)), epsilon) */
} RowNormKind;

/* Rows of n floats, x_ld and y_ld apart; v = x + residual (residual: NULL or rows x_ld apart). Normalizing over several
 * last axes is one with n their product. */
typedef struct {
    RowNormKind kind;
    int64_t rows, n;
    size_t x_ld, y_ld;
    float epsilon;
    const float *gamma, *beta; /* [n] or NULL */
    const NormOps *ops;        /* set by prepare */
} RowNorm;

void row_norm_prepare(RowNorm *r, uint32_t isa_bits);
/* residual and sum (which receives x + residual, x_ld apart) may be NULL; neither is used by ROW_NORM_L2. */
void row_norm_run(const RowNorm *r, const float *x, const float *residual, float *y, float *sum, Team *team);

/* InstanceNormalization (groups == c) and GroupNormalization of NHWC images:
 * y = (x - mean[n,g]) / sqrt(var[n,g] + epsilon) * gamma[c] + beta[c], statistics over pixels and the group's channels.
 */
typedef struct {
    int32_t n, c, groups;
    int64_t pixels;
    size_t x_ld, y_ld;
    float epsilon;
    const float *gamma, *beta; /* [c] or NULL */
    const NormOps *ops;        /* set by prepare */
} GroupNorm;

void group_norm_prepare(GroupNorm *g, uint32_t isa_bits);
/* scratch: group_norm_scratch_floats() floats, private to the call. */
size_t group_norm_scratch_floats(const GroupNorm *g);
void group_norm_run(const GroupNorm *g, const float *x, float *y, float *scratch, Team *team);

#endif
