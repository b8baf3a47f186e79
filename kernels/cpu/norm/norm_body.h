/* Body of the normalization rows; included by norm_<isa>.c after its vf header. */
#include <math.h>

#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/eltwise/vf_reduce.h"
#include "kernels/cpu/eltwise/vmath.h"
#include "kernels/cpu/norm/norm.h"

typedef struct {
    float *y;
    const float *x, *residual;
    vf shift;
} NormCtx;

/* Softmax: y = e^(x - max), which is also the value summed. */
VF_INLINE vf softmax_exp_at(const void *ctx, size_t i, size_t lanes) {
    const NormCtx *c = ctx;
    const vf e = vmath_exp_nonpos(vf_sub(vf_get(c->x + i, lanes), c->shift));
    vf_put(c->y + i, e, lanes);
    return lanes >= VF_N ? e : vf_loadn(c->y + i, lanes);
}
VF_INLINE vf softmax_exp_only_at(const void *ctx, size_t i, size_t lanes) {
    const NormCtx *c = ctx;
    return vf_fill(vmath_exp_nonpos(vf_sub(vf_get(c->x + i, lanes), c->shift)), lanes, 0.0f);
}

VF_INLINE void norm_affine(float *y, const float *x, size_t n, vf shift, vf scale) {
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N) vf_store(y + i, vf_mul(vf_sub(vf_load(x + i), shift), scale));
    if (i < n) vf_storen(y + i, vf_mul(vf_sub(vf_loadn(x + i, n - i), shift), scale), n - i);
}

static void softmax_row(float *y, const float *x, size_t n) {
    const float max = vf_hmax(vf_row_fold(x, n, vf_max, -INFINITY));
    const NormCtx c = {.y = y, .x = x, .shift = vf_set1(max)};
    const float sum = vf_row_sum(&c, n, softmax_exp_at);
    norm_affine(y, y, n, vf_zero(), vf_set1(1.0f / sum));
}

static void log_softmax_row(float *y, const float *x, size_t n) {
    const float max = vf_hmax(vf_row_fold(x, n, vf_max, -INFINITY));
    const NormCtx c = {.x = x, .shift = vf_set1(max)};
    const float sum = vf_row_sum(&c, n, softmax_exp_only_at);
    /* x - max first: their difference is exact where it matters, max + log(sum) would not be */
    const vf m = vf_set1(max), l = vf_set1(logf(sum));
    for (size_t i = 0; i < n; i += VF_N) {
        const size_t lanes = n - i < VF_N ? n - i : VF_N;
        vf_put(y + i, vf_sub(vf_sub(vf_get(x + i, lanes), m), l), lanes);
    }
}

/* Along a strided axis: one lane is one column, so the sum runs down the column in order. */
VF_INLINE void softmax_columns_any(float *y, const float *x, size_t len, size_t stride, size_t lanes, bool log) {
    vf max = vf_get(x, lanes), sum = vf_zero();
    for (size_t i = 1; i < len; i++) max = vf_max(max, vf_get(x + i * stride, lanes));
    for (size_t i = 0; i < len; i++) {
        const vf e = vmath_exp_nonpos(vf_sub(vf_get(x + i * stride, lanes), max));
        sum = vf_add(sum, e);
        if (!log) vf_put(y + i * stride, e, lanes);
    }
    const vf scale = vf_div(vf_set1(1.0f), sum), l = vmath_log(sum);
    for (size_t i = 0; i < len; i++) {
        const vf v =
            log ? vf_sub(vf_sub(vf_get(x + i * stride, lanes), max), l) : vf_mul(vf_get(y + i * stride, lanes), scale);
        vf_put(y + i * stride, v, lanes);
    }
}
static void softmax_columns(float *y, const float *x, size_t len, size_t stride, size_t lanes) {
    softmax_columns_any(y, x, len, stride, lanes, false);
}
static void log_softmax_columns(float *y, const float *x, size_t len, size_t stride, size_t lanes) {
    softmax_columns_any(y, x, len, stride, lanes, true);
}

VF_INLINE vf norm_value_at(const void *ctx, size_t i, size_t lanes) {
    const NormCtx *c = ctx;
    return vf_get(c->x + i, lanes);
}
/* x + residual, kept in y for the later passes. */
VF_INLINE vf norm_residual_at(const void *ctx, size_t i, size_t lanes) {
    const NormCtx *c = ctx;
    const vf v = vf_add(vf_get(c->x + i, lanes), vf_get(c->residual + i, lanes));
    vf_put(c->y + i, v, lanes);
    return v;
}
VF_INLINE vf norm_square_at(const void *ctx, size_t i, size_t lanes) {
    const NormCtx *c = ctx;
    const vf v = vf_get(c->x + i, lanes);
    return vf_mul(v, v);
}
VF_INLINE vf norm_deviation_at(const void *ctx, size_t i, size_t lanes) {
    const NormCtx *c = ctx;
    const vf d = vf_fill(vf_sub(vf_get(c->x + i, lanes), c->shift), lanes, 0.0f);
    return vf_mul(d, d);
}

/* y = (x - shift) * scale * gamma + beta */
VF_INLINE void norm_finish(float *y, const float *x, size_t n, float shift, float scale, const float *gamma,
                           const float *beta) {
    const vf s = vf_set1(shift), k = vf_set1(scale);
    for (size_t i = 0; i < n; i += VF_N) {
        const size_t lanes = n - i < VF_N ? n - i : VF_N;
        vf v = vf_mul(vf_sub(vf_get(x + i, lanes), s), k);
        if (gamma) v = vf_mul(v, vf_get(gamma + i, lanes));
        if (beta) v = vf_add(v, vf_get(beta + i, lanes));
        vf_put(y + i, v, lanes);
    }
}

static void layer_norm_row(float *y, float *sum, const float *x, const float *residual, const float *gamma,
                           const float *beta, size_t n, float epsilon) {
    NormCtx c = {.y = sum ? sum : y, .x = x, .residual = residual};
    const float total = vf_row_sum(&c, n, residual ? norm_residual_at : norm_value_at);
    if (residual) c.x = c.y;
    const float mean = total / (float)n;
    c.shift = vf_set1(mean);
    const float var = vf_row_sum(&c, n, norm_deviation_at) / (float)n;
    norm_finish(y, c.x, n, mean, 1.0f / sqrtf(var + epsilon), gamma, beta);
}

static void rms_norm_row(float *y, float *sum, const float *x, const float *residual, const float *gamma, size_t n,
                         float epsilon) {
    NormCtx c = {.y = sum ? sum : y, .x = x, .residual = residual};
    if (residual) {
        for (size_t i = 0; i < n; i += VF_N) norm_residual_at(&c, i, n - i < VF_N ? n - i : VF_N);
        c.x = c.y;
    }
    const float mean = vf_row_sum(&c, n, norm_square_at) / (float)n;
    norm_finish(y, c.x, n, 0.0f, 1.0f / sqrtf(mean + epsilon), gamma, NULL);
}

static void l2_norm_row(float *y, const float *x, size_t n, float epsilon) {
    const NormCtx c = {.x = x};
    const float norm = sqrtf(vf_row_sum(&c, n, norm_square_at));
    const vf d = vf_set1(norm > epsilon || norm != norm ? norm : epsilon);
    for (size_t i = 0; i < n; i += VF_N) {
        const size_t lanes = n - i < VF_N ? n - i : VF_N;
        vf_put(y + i, vf_div(vf_get(x + i, lanes), d), lanes);
    }
}

enum { CHANNEL_BLOCK = 256 /* pixels summed in float before they are added to the total */ };

VF_INLINE void channel_sums_block(float *sum, const float *x, const float *shift, size_t pixels, size_t ld,
                                  size_t lanes) {
    const vf m = shift ? vf_get(shift, lanes) : vf_zero();
    vf total = vf_zero();
    for (size_t p = 0; p < pixels;) {
        const size_t stop = pixels - p < CHANNEL_BLOCK ? pixels : p + CHANNEL_BLOCK;
        vf s[2] = {vf_zero(), vf_zero()};
        for (; p < stop; p++) {
            const vf v = vf_sub(vf_get(x + p * ld, lanes), m);
            s[p % 2] = vf_add(s[p % 2], shift ? vf_mul(v, v) : v);
        }
        total = vf_add(total, vf_add(s[0], s[1]));
    }
    vf_put(sum, total, lanes);
}

static void channel_sums(float *sum, const float *x, const float *shift, size_t pixels, size_t ld, size_t c) {
    for (size_t i = 0; i < c; i += VF_N)
        channel_sums_block(sum + i, x + i, shift ? shift + i : NULL, pixels, ld, c - i < VF_N ? c - i : VF_N);
}

static void channel_affine(float *y, const float *x, const float *scale, const float *bias, size_t pixels, size_t x_ld,
                           size_t y_ld, size_t c) {
    for (size_t p = 0; p < pixels; p++)
        for (size_t i = 0; i < c; i += VF_N) {
            const size_t lanes = c - i < VF_N ? c - i : VF_N;
            const vf v = vf_fma(vf_get(x + p * x_ld + i, lanes), vf_get(scale + i, lanes), vf_get(bias + i, lanes));
            vf_put(y + p * y_ld + i, v, lanes);
        }
}

const NormOps VF_NAME(norm) = {.lanes = VF_N,
                               .softmax_row = softmax_row,
                               .log_softmax_row = log_softmax_row,
                               .softmax_columns = softmax_columns,
                               .log_softmax_columns = log_softmax_columns,
                               .layer_norm_row = layer_norm_row,
                               .rms_norm_row = rms_norm_row,
                               .l2_norm_row = l2_norm_row,
                               .channel_sums = channel_sums,
                               .channel_affine = channel_affine};
