/* Body of the float depthwise rows; included by dwconv_f32_<isa>.c after its vf header.
 *
 * A tile is DW_NX neighbouring outputs of one channel vector: the columns of a filter row are loaded once and used by
 * every output of the tile, so the multiply-adds and not the loads set the pace. Tiles that touch the left or right
 * border run the same code with tests on each column. */
#include "kernels/cpu/dwconv/dwconv.h"
#include "kernels/cpu/eltwise/vf_name.h"

#define DW_NX     (VF_REGS >= 32 ? 6 : 4)
#define DW_INLINE static inline __attribute__((always_inline))

/* Filter rows that fall inside the image for output row oy. */
DW_INLINE void dw_valid(int32_t start, int32_t step, int32_t size, int32_t k, int32_t *k0, int32_t *k1) {
    int32_t a = 0, b = k;
    while (a < b && start + a * step < 0) a++;
    while (b > a && start + (b - 1) * step >= size) b--;
    *k0 = a;
    *k1 = b;
}

DW_INLINE void dw_store(float *y, vf v, vf lo, vf hi, int32_t lanes) {
    v = vf_min(hi, vf_max(lo, v));
    if (lanes >= VF_N)
        vf_store(y, v);
    else
        vf_storen(y, v, (size_t)lanes);
}

DW_INLINE vf dw_load(const float *x, int32_t lanes) { return lanes >= VF_N ? vf_load(x) : vf_loadn(x, (size_t)lanes); }

typedef struct {
    const DwconvF32 *d;
    const float *x; /* pixel (iy of filter row 0, column 0) of the image, possibly outside */
    float *y;
    int32_t ky0, ky1;
    ptrdiff_t row_pitch, col_pitch;
} DwRow;

/* Outputs ox .. ox+nx of channels c .. c+lanes. K, S and edge are constants at every call. */
DW_INLINE void dw_tile(const DwRow *r, int32_t ox, int32_t nx, int32_t c, int32_t lanes, int K, int S, bool edge) {
    const DwconvF32 *d = r->d;
    const float *w = d->packed + (size_t)(c / VF_N) * (size_t)(K * K + 1) * VF_N;
    const vf bias = vf_load(w);
    vf acc[DW_NX], col[(DW_NX - 1) * 2 + 5];
#pragma GCC unroll 8
    for (int i = 0; i < DW_NX; i++) acc[i] = bias;
    const int32_t ix = ox * S - d->s.pad_left, n_cols = (DW_NX - 1) * S + K;
    for (int32_t ky = r->ky0; ky < r->ky1; ky++) {
        const float *x = r->x + ky * r->row_pitch + ix * r->col_pitch + c;
        const float *wk = w + (size_t)(1 + ky * K) * VF_N;
#pragma GCC unroll 24
        for (int j = 0; j < n_cols; j++) {
            const bool inside = !edge || (ix + j >= 0 && ix + j < d->s.w);
            col[j] = inside ? dw_load(x + j * r->col_pitch, lanes) : vf_zero();
        }
#pragma GCC unroll 8
        for (int kx = 0; kx < K; kx++) {
            const vf wv = vf_load(wk + kx * VF_N);
#pragma GCC unroll 8
            for (int i = 0; i < DW_NX; i++) acc[i] = vf_fma(col[i * S + kx], wv, acc[i]);
        }
    }
    const vf lo = vf_set1(d->lo), hi = vf_set1(d->hi);
    float *y = r->y + (size_t)ox * d->s.y_ld + c;
#pragma GCC unroll 8
    for (int i = 0; i < DW_NX; i++)
        if (!edge || i < nx) dw_store(y + (size_t)i * d->s.y_ld, acc[i], lo, hi, lanes);
}

static DwRow dw_row(const DwconvF32 *d, const float *x, float *y, int32_t oy) {
    const int32_t iy = oy * d->s.sy - d->s.pad_top;
    DwRow r = {.d = d, .y = y, .col_pitch = (ptrdiff_t)d->s.x_ld};
    const ptrdiff_t line = r.col_pitch * d->s.w;
    r.row_pitch = line * d->s.dy;
    r.x = x + iy * line;
    dw_valid(iy, d->s.dy, d->s.h, d->s.kh, &r.ky0, &r.ky1);
    return r;
}

DW_INLINE void dw_small(const DwconvF32 *d, const float *x, float *y, int32_t oy, int32_t c0, int32_t c1, int K,
                        int S) {
    const DwRow r = dw_row(d, x, y, oy);
    const int32_t full = c0 + (c1 - c0) / VF_N * VF_N;
    for (int32_t ox = 0; ox < d->s.ow; ox += DW_NX) {
        const int32_t left = d->s.ow - ox, nx = left < DW_NX ? left : DW_NX;
        const int32_t ix = ox * S - d->s.pad_left;
        const bool edge = nx < DW_NX || ix < 0 || ix + (DW_NX - 1) * S + K > d->s.w;
        if (edge)
            for (int32_t c = c0; c < full; c += VF_N) dw_tile(&r, ox, nx, c, VF_N, K, S, true);
        else
            for (int32_t c = c0; c < full; c += VF_N) dw_tile(&r, ox, DW_NX, c, VF_N, K, S, false);
        if (full == c1) continue;
        if (edge)
            dw_tile(&r, ox, nx, full, c1 - full, K, S, true);
        else
            dw_tile(&r, ox, DW_NX, full, c1 - full, K, S, false);
    }
}

static void dw_k3s1(const DwconvF32 *d, const float *x, float *y, int32_t oy, int32_t c0, int32_t c1) {
    dw_small(d, x, y, oy, c0, c1, 3, 1);
}
static void dw_k3s2(const DwconvF32 *d, const float *x, float *y, int32_t oy, int32_t c0, int32_t c1) {
    dw_small(d, x, y, oy, c0, c1, 3, 2);
}
static void dw_k5s1(const DwconvF32 *d, const float *x, float *y, int32_t oy, int32_t c0, int32_t c1) {
    dw_small(d, x, y, oy, c0, c1, 5, 1);
}
static void dw_k5s2(const DwconvF32 *d, const float *x, float *y, int32_t oy, int32_t c0, int32_t c1) {
    dw_small(d, x, y, oy, c0, c1, 5, 2);
}

#define DW_NC 4 /* channel vectors side by side in the general kernel, to cover the latency of the multiply-add */

/* One output pixel, nc vectors of channels from c on. */
DW_INLINE void dw_pixel(const DwRow *r, int32_t ox, int32_t kx0, int32_t kx1, int32_t c, int nc, int32_t lanes) {
    const DwconvF32 *d = r->d;
    const ptrdiff_t block = ((ptrdiff_t)d->s.kh * d->s.kw + 1) * VF_N;
    const float *w = d->packed + c / VF_N * block;
    const ptrdiff_t ix = (ptrdiff_t)ox * d->s.sx - d->s.pad_left;
    vf acc[DW_NC];
#pragma GCC unroll 4
    for (int j = 0; j < nc; j++) acc[j] = vf_load(w + j * block);
    for (int32_t ky = r->ky0; ky < r->ky1; ky++)
        for (int32_t kx = kx0; kx < kx1; kx++) {
            const float *x = r->x + ky * r->row_pitch + (ix + (ptrdiff_t)kx * d->s.dx) * r->col_pitch + c;
            const float *wk = w + ((ptrdiff_t)ky * d->s.kw + kx + 1) * VF_N;
#pragma GCC unroll 4
            for (int j = 0; j < nc; j++) acc[j] = vf_fma(dw_load(x + j * VF_N, lanes), vf_load(wk + j * block), acc[j]);
        }
    const vf lo = vf_set1(d->lo), hi = vf_set1(d->hi);
#pragma GCC unroll 4
    for (int j = 0; j < nc; j++) dw_store(r->y + (size_t)ox * d->s.y_ld + c + j * VF_N, acc[j], lo, hi, lanes);
}

static void dw_any(const DwconvF32 *d, const float *x, float *y, int32_t oy, int32_t c0, int32_t c1) {
    const DwRow r = dw_row(d, x, y, oy);
    for (int32_t ox = 0; ox < d->s.ow; ox++) {
        int32_t kx0, kx1, c = c0;
        dw_valid(ox * d->s.sx - d->s.pad_left, d->s.dx, d->s.w, d->s.kw, &kx0, &kx1);
        for (; c + DW_NC * VF_N <= c1; c += DW_NC * VF_N) dw_pixel(&r, ox, kx0, kx1, c, DW_NC, VF_N);
        for (; c + VF_N <= c1; c += VF_N) dw_pixel(&r, ox, kx0, kx1, c, 1, VF_N);
        if (c < c1) dw_pixel(&r, ox, kx0, kx1, c, 1, c1 - c);
    }
}

const DwconvF32Ops VF_NAME(dwconv_f32) = {
    .block = VF_N, .small = {{dw_k3s1, dw_k3s2}, {dw_k5s1, dw_k5s2}}, .any = dw_any};
