/* Body of the float pooling rows; included by pool_f32_<isa>.c after its vf header. Only single additions, maxima and
 * one division are used, in an order that does not depend on the vector length: the same bits on every ISA. */
#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/pool/pool.h"

#define POOL_INLINE static inline __attribute__((always_inline))
enum { POOL_NC = 4 /* channel vectors side by side, to cover latency */ };

/* A NaN in either operand wins. */
POOL_INLINE vf pool_max(vf acc, vf x) { return vf_select(vf_nan(acc), acc, vf_max(acc, x)); }
POOL_INLINE vf pool_combine(vf acc, vf x, PoolKind kind) {
    return kind == POOL_MAX ? pool_max(acc, x) : vf_add(acc, x);
}
POOL_INLINE vf pool_load(const float *x, size_t lanes) { return lanes >= VF_N ? vf_load(x) : vf_loadn(x, lanes); }
POOL_INLINE void pool_store(float *y, vf v, size_t lanes) {
    if (lanes >= VF_N)
        vf_store(y, v);
    else
        vf_storen(y, v, lanes);
}

POOL_INLINE void pool_block(const PoolWindow *win, const float *x, float *y, PoolKind kind, int nc, size_t lanes) {
    vf acc[POOL_NC];
    const vf start = kind == POOL_MAX ? vf_set1(-INFINITY) : vf_zero();
#pragma GCC unroll 4
    for (int j = 0; j < nc; j++) acc[j] = start;
    for (int32_t ky = 0; ky < win->ny; ky++) {
        const float *p = x + ky * win->row_pitch;
        for (int32_t kx = 0; kx < win->nx; kx++, p += win->col_pitch)
#pragma GCC unroll 4
            for (int j = 0; j < nc; j++) acc[j] = pool_combine(acc[j], pool_load(p + j * VF_N, lanes), kind);
    }
    const vf count = vf_set1((float)win->count);
#pragma GCC unroll 4
    for (int j = 0; j < nc; j++) pool_store(y + j * VF_N, kind == POOL_MAX ? acc[j] : vf_div(acc[j], count), lanes);
}

POOL_INLINE void pool_window(const PoolF32 *p, const PoolWindow *win, const float *x, float *y, PoolKind kind) {
    const size_t n = (size_t)p->s.c;
    size_t c = 0;
    for (; c + POOL_NC * VF_N <= n; c += POOL_NC * VF_N) pool_block(win, x + c, y + c, kind, POOL_NC, VF_N);
    for (; c + VF_N <= n; c += VF_N) pool_block(win, x + c, y + c, kind, 1, VF_N);
    if (c < n) pool_block(win, x + c, y + c, kind, 1, n - c);
}

static void pool_window_max(const PoolF32 *p, const PoolWindow *win, const float *x, float *y) {
    pool_window(p, win, x, y, POOL_MAX);
}
static void pool_window_average(const PoolF32 *p, const PoolWindow *win, const float *x, float *y) {
    pool_window(p, win, x, y, POOL_AVERAGE);
}

/* Partial s of 4 takes pixels s, s+4, ...; (0 + 1) + (2 + 3) at the end. */
POOL_INLINE void pool_global_block(const float *x, float *y, int64_t pixels, size_t ld, PoolKind kind, size_t lanes) {
    vf part[4];
    const vf start = kind == POOL_MAX ? vf_set1(-INFINITY) : vf_zero();
#pragma GCC unroll 4
    for (int s = 0; s < 4; s++) part[s] = start;
    int64_t i = 0;
    for (; i + 4 <= pixels; i += 4, x += 4 * ld)
#pragma GCC unroll 4
        for (int s = 0; s < 4; s++) part[s] = pool_combine(part[s], pool_load(x + (size_t)s * ld, lanes), kind);
#pragma GCC unroll 4
    for (int s = 0; s < 4; s++)
        if (i + s < pixels) part[s] = pool_combine(part[s], pool_load(x + (size_t)s * ld, lanes), kind);
    const vf all = pool_combine(pool_combine(part[0], part[1], kind), pool_combine(part[2], part[3], kind), kind);
    pool_store(y, kind == POOL_MAX ? all : vf_div(all, vf_set1((float)pixels)), lanes);
}

POOL_INLINE void pool_global_kind(const float *x, float *y, int64_t pixels, size_t ld, size_t c0, size_t c1,
                                  PoolKind kind) {
    size_t c = c0;
    for (; c + VF_N <= c1; c += VF_N) pool_global_block(x + c, y + c, pixels, ld, kind, VF_N);
    if (c < c1) pool_global_block(x + c, y + c, pixels, ld, kind, c1 - c);
}

static void pool_global(const float *x, float *y, int64_t pixels, size_t ld, int32_t c0, int32_t c1, PoolKind kind) {
    if (kind == POOL_MAX)
        pool_global_kind(x, y, pixels, ld, (size_t)c0, (size_t)c1, POOL_MAX);
    else
        pool_global_kind(x, y, pixels, ld, (size_t)c0, (size_t)c1, POOL_AVERAGE);
}

const PoolF32Ops VF_NAME(pool_f32) = {.window = {pool_window_max, pool_window_average}, .global = pool_global};
