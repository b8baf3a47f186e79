/* Body of the integer pooling rows; included by pool_u8_<isa>.c after its vf header. */
#include <string.h>

#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/pool/pool.h"

static inline vb pool_max_lanes(const PoolWindow *win, const uint8_t *x, size_t lanes) {
    vb acc = vb_loadn(x, 0);
    for (int32_t ky = 0; ky < win->ny; ky++) {
        const uint8_t *p = x + ky * win->row_pitch;
        for (int32_t kx = 0; kx < win->nx; kx++, p += win->col_pitch)
            acc = vb_max(acc, lanes >= VB_N ? vb_load(p) : vb_loadn(p, lanes));
    }
    return acc;
}

static void pool_window_max(const PoolU8 *p, const PoolWindow *win, const uint8_t *x, uint8_t *y) {
    const size_t n = (size_t)p->s.c;
    size_t c = 0;
    for (; c + VB_N <= n; c += VB_N) vb_store(y + c, pool_max_lanes(win, x + c, VB_N));
    if (c < n) vb_storen(y + c, pool_max_lanes(win, x + c, n - c), n - c);
}

static inline vi pool_load_tail(const uint8_t *x, size_t n) {
    uint8_t b[VF_N] = {0};
    memcpy(b, x, n);
    return vi_load_u8(b);
}

static inline vi pool_sum_lanes(const PoolWindow *win, const uint8_t *x, size_t lanes, vi acc) {
    for (int32_t ky = 0; ky < win->ny; ky++) {
        const uint8_t *p = x + ky * win->row_pitch;
        for (int32_t kx = 0; kx < win->nx; kx++, p += win->col_pitch)
            acc = vi_add(acc, lanes >= VF_N ? vi_load_u8(p) : pool_load_tail(p, lanes));
    }
    return acc;
}

static void pool_window_average(const PoolU8 *p, const PoolWindow *win, const uint8_t *x, uint8_t *y) {
    const size_t n = (size_t)p->s.c;
    const vi start = vi_set1(-win->ny * win->nx * p->x_zp), zp = vi_set1(p->y_zp);
    const vf mult = vf_set1((float)(p->scale / win->count));
    const vf low = vf_set1((float)(p->lo - p->y_zp)), high = vf_set1((float)(p->hi - p->y_zp));
    for (size_t c = 0; c < n; c += VF_N) {
        const size_t lanes = n - c < VF_N ? n - c : VF_N;
        const vf v = vf_mul(vi_to_vf(pool_sum_lanes(win, x + c, lanes, start)), mult);
        const vi q = vi_add(vf_rne(vf_min(high, vf_max(low, v))), zp);
        if (lanes == VF_N) {
            vi_store_u8(y + c, q);
        } else {
            uint8_t b[VF_N];
            vi_store_u8(b, q);
            memcpy(y + c, b, lanes);
        }
    }
}

static void pool_global_sum(const uint8_t *x, int32_t *sum, int64_t pixels, size_t ld, int32_t c0, int32_t c1) {
    const PoolWindow all = {.ny = 1, .nx = (int32_t)pixels, .col_pitch = (ptrdiff_t)ld};
    for (size_t c = (size_t)c0; c < (size_t)c1; c += VF_N) {
        const size_t lanes = (size_t)c1 - c < VF_N ? (size_t)c1 - c : VF_N;
        const vi acc = pool_sum_lanes(&all, x + c, lanes, vi_set1(0));
        if (lanes == VF_N) {
            vi_store(sum + c, acc);
        } else {
            int32_t b[VF_N];
            vi_store(b, acc);
            memcpy(sum + c, b, lanes * sizeof *b);
        }
    }
}

const PoolU8Ops VF_NAME(pool_u8) = {.window = {pool_window_max, pool_window_average}, .global_sum = pool_global_sum};
