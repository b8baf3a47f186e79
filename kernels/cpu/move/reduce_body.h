/* Body of the reduction rows; included by reduce_<isa>.c after its vf header. */
#include <math.h>

#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/eltwise/vf_reduce.h"
#include "kernels/cpu/move/reduce.h"

/* A NaN in either operand wins. */
VF_INLINE vf fold_max(vf a, vf b) { return vf_select(vf_nan(a), a, vf_max(a, b)); }
VF_INLINE vf fold_min(vf a, vf b) { return vf_select(vf_nan(a), a, vf_min(a, b)); }

VF_INLINE vf value_at(const void *ctx, size_t i, size_t lanes) { return vf_get((const float *)ctx + i, lanes); }
VF_INLINE vf square_at(const void *ctx, size_t i, size_t lanes) {
    const vf v = value_at(ctx, i, lanes);
    return vf_mul(v, v);
}
VF_INLINE vf abs_at(const void *ctx, size_t i, size_t lanes) { return vf_abs(value_at(ctx, i, lanes)); }

static float row_sum(const float *x, size_t n) { return vf_row_sum(x, n, value_at); }
static float row_mean(const float *x, size_t n) { return vf_row_sum(x, n, value_at) / (float)n; }
static float row_sum_square(const float *x, size_t n) { return vf_row_sum(x, n, square_at); }
static float row_l1(const float *x, size_t n) { return vf_row_sum(x, n, abs_at); }
static float row_l2(const float *x, size_t n) { return sqrtf(vf_row_sum(x, n, square_at)); }

static float row_prod(const float *x, size_t n) {
    vf p = vf_set1(1.0f);
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N) p = vf_mul(p, vf_load(x + i));
    float lane[VF_N], all = 1.0f;
    vf_store(lane, p);
    for (size_t j = 0; j < VF_N; j++) all *= lane[j];
    for (; i < n; i++) all *= x[i];
    return all;
}

VF_INLINE float fold_lanes(vf v, bool max) {
    float lane[VF_N];
    vf_store(lane, v);
    float all = lane[0];
    for (size_t j = 1; j < VF_N; j++)
        if (lane[j] != lane[j] || (max ? lane[j] > all : lane[j] < all)) all = lane[j];
    return all;
}
static float row_max(const float *x, size_t n) { return fold_lanes(vf_row_fold(x, n, fold_max, -INFINITY), true); }
static float row_min(const float *x, size_t n) { return fold_lanes(vf_row_fold(x, n, fold_min, INFINITY), false); }

enum { COLUMN_BLOCK = 256 /* values summed in float before they are added to the total */ };

VF_INLINE vf column_map(vf v, ReduceKind kind) {
    if (kind == REDUCE_SUM_SQUARE || kind == REDUCE_L2) return vf_mul(v, v);
    return kind == REDUCE_L1 ? vf_abs(v) : v;
}

VF_INLINE vf column_fold(vf a, vf v, ReduceKind kind) {
    if (kind == REDUCE_MAX) return fold_max(a, v);
    if (kind == REDUCE_MIN) return fold_min(a, v);
    return kind == REDUCE_PROD ? vf_mul(a, v) : vf_add(a, column_map(v, kind));
}

VF_INLINE void columns(float *y, const float *x, size_t len, size_t stride, size_t lanes, ReduceKind kind) {
    const float neutral = kind == REDUCE_MAX    ? -INFINITY
                          : kind == REDUCE_MIN  ? INFINITY
                          : kind == REDUCE_PROD ? 1.0f
                                                : 0.0f;
    vf total = vf_set1(neutral);
    for (size_t i = 0; i < len;) {
        const size_t stop = len - i < COLUMN_BLOCK ? len : i + COLUMN_BLOCK;
        vf part = vf_set1(neutral);
        for (; i < stop; i++) part = column_fold(part, vf_get(x + i * stride, lanes), kind);
        total = kind == REDUCE_MAX || kind == REDUCE_MIN || kind == REDUCE_PROD ? column_fold(total, part, kind)
                                                                                : vf_add(total, part);
    }
    if (kind == REDUCE_MEAN) total = vf_div(total, vf_set1((float)len));
    if (kind == REDUCE_L2) total = vf_sqrt(total);
    vf_put(y, total, lanes);
}

#define REDUCE_COLUMNS(name, kind)                                                                                     \
    static void name(float *y, const float *x, size_t len, size_t stride, size_t lanes) {                              \
        columns(y, x, len, stride, lanes, kind);                                                                       \
    }
REDUCE_COLUMNS(columns_sum, REDUCE_SUM)
REDUCE_COLUMNS(columns_mean, REDUCE_MEAN)
REDUCE_COLUMNS(columns_max, REDUCE_MAX)
REDUCE_COLUMNS(columns_min, REDUCE_MIN)
REDUCE_COLUMNS(columns_sum_square, REDUCE_SUM_SQUARE)
REDUCE_COLUMNS(columns_l1, REDUCE_L1)
REDUCE_COLUMNS(columns_l2, REDUCE_L2)
REDUCE_COLUMNS(columns_prod, REDUCE_PROD)

const ReduceOps VF_NAME(reduce) = {
    .lanes = VF_N,
    .row = {row_sum, row_mean, row_max, row_min, row_sum_square, row_l1, row_l2, row_prod},
    .columns = {columns_sum, columns_mean, columns_max, columns_min, columns_sum_square, columns_l1, columns_l2,
                columns_prod}};
