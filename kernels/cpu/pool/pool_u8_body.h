/* Body of the integer pooling rows; included by pool_u8_<isa>.c after its vf header. */
#include <string.h>

#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/pool/pool.h"

/* int8 counts as uint8 with 128 added, that is, the top bit flipped: flip is 0 or 128. */
static inline vb pool_max_lanes(const PoolWindow *win, const uint8_t *x, size_t lanes, uint8_t flip) {
    const vb f = vb_set1(flip);
    vb acc = vb_set1(0);
    for (int32_t ky = 0; ky < win->ny; ky++) {
        const uint8_t *p = x + ky * win->row_pitch;
        for (int32_t kx = 0; kx < win->nx; kx++, p += win->col_pitch)
            acc = vb_max(acc, vb_xor(lanes >= VB_N ? vb_load(p) : vb_loadn(p, lanes), f));
    }
    return vb_xor(acc, f);
}

static void pool_window_max(const PoolU8 *p, const PoolWindow *win, const uint8_t *x, uint8_t *y) {
    const size_t n = (size_t)p->s.c;
    const uint8_t flip = p->x_signed ? 128 : 0;
    size_t c = 0;
    for (; c + VB_N <= n; c += VB_N) vb_store(y + c, pool_max_lanes(win, x + c, VB_N, flip));
    if (c < n) vb_storen(y + c, pool_max_lanes(win, x + c, n - c, flip), n - c);
}

enum {
    POOL_PAIR = 2 * VF_N, /* channels summed together */
    POOL_SHORT = 257      /* bytes whose sum fits 16 bits */
};

/* Adds 16-bit sums to 32-bit ones and clears them. */
static inline void pool_flush(vh *s, vi sum[2]) {
    sum[0] = vi_add(sum[0], vh_low(*s));
    sum[1] = vi_add(sum[1], vh_high(*s));
    *s = vh_zero();
}

/* Sums of the first n <= POOL_PAIR channels at x, each from `start` on. */
static inline void pool_sum(const PoolWindow *win, const uint8_t *x, size_t n, int32_t start, uint8_t flip, vi sum[2]) {
    const vh f = vh_set1(flip);
    sum[0] = sum[1] = vi_set1(start);
    if (n == POOL_PAIR) {
        vh s = vh_zero();
        for (int32_t ky = 0, room = POOL_SHORT; ky < win->ny; ky++) {
            const uint8_t *p = x + ky * win->row_pitch;
            for (int32_t kx = 0; kx < win->nx; kx++, p += win->col_pitch) {
                s = vh_add(s, vh_xor(vh_load_u8(p), f));
                if (--room > 0) continue;
                pool_flush(&s, sum);
                room = POOL_SHORT;
            }
        }
        pool_flush(&s, sum);
        return;
    }
    int32_t rest[POOL_PAIR];
    for (size_t c = 0; c < POOL_PAIR; c++) rest[c] = start;
    for (int32_t ky = 0; ky < win->ny; ky++)
        for (int32_t kx = 0; kx < win->nx; kx++)
            for (size_t c = 0; c < n; c++)
                rest[c] += x[ky * win->row_pitch + kx * win->col_pitch + (ptrdiff_t)c] ^ flip;
    sum[0] = vi_load(rest);
    sum[1] = vi_load(rest + VF_N);
}

static void pool_window_average(const PoolU8 *p, const PoolWindow *win, const uint8_t *x, uint8_t *y) {
    const size_t n = (size_t)p->s.c;
    const int32_t x_zp = p->x_zp + (p->x_signed ? 128 : 0), flip = p->y_signed ? 128 : 0;
    const vi zp = vi_set1(p->y_zp + flip), y_flip = vi_set1(flip);
    const vf mult = vf_set1((float)(p->scale / win->count));
    const vf low = vf_set1((float)(p->lo - p->y_zp)), high = vf_set1((float)(p->hi - p->y_zp));
    for (size_t c = 0; c < n; c += POOL_PAIR) {
        const size_t lanes = n - c < POOL_PAIR ? n - c : POOL_PAIR;
        vi sum[2];
        uint8_t b[POOL_PAIR], *to = lanes == POOL_PAIR ? y + c : b;
        pool_sum(win, x + c, lanes, -win->ny * win->nx * x_zp, p->x_signed ? 128 : 0, sum);
        for (int j = 0; j < 2; j++) {
            const vf v = vf_mul(vi_to_vf(sum[j]), mult);
            vi_store_u8(to + j * VF_N, vi_xor(vi_add(vf_rne(vf_min(high, vf_max(low, v))), zp), y_flip));
        }
        if (lanes < POOL_PAIR) memcpy(y + c, b, lanes);
    }
}

static void pool_global_sum(const uint8_t *x, int32_t *sum, int64_t pixels, size_t ld, int32_t c0, int32_t c1,
                            bool x_signed) {
    const PoolWindow all = {.ny = 1, .nx = (int32_t)pixels, .col_pitch = (ptrdiff_t)ld};
    for (size_t c = (size_t)c0; c < (size_t)c1; c += POOL_PAIR) {
        const size_t lanes = (size_t)c1 - c < POOL_PAIR ? (size_t)c1 - c : POOL_PAIR;
        vi acc[2];
        int32_t b[POOL_PAIR];
        pool_sum(&all, x + c, lanes, 0, x_signed ? 128 : 0, acc);
        vi_store(b, acc[0]);
        vi_store(b + VF_N, acc[1]);
        memcpy(sum + c, b, lanes * sizeof *b);
    }
}

const PoolU8Ops VF_NAME(pool_u8) = {.window = {pool_window_max, pool_window_average}, .global_sum = pool_global_sum};
