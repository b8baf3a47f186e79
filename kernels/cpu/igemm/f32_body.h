/* The float tile on any vector vocabulary: acc[r][v] = bias[v]; then, in order of (tap, channel),
 * acc[r][v] = fma(a[r], w[v], acc[r][v]); y = clamp(acc + residual). */
#include "kernels/cpu/igemm/heights.h"
#include "kernels/cpu/igemm/tile.h"

ALWAYS_INLINE void tile_reduce(const IgemmTile *t, const int mr, const int nv, VecF acc[IGEMM_MAX_ROWS][IGEMM_WIDTHS]) {
    const float *w = t->w;
    const int64_t panel = t->w_panel / (int64_t)sizeof(float);
    const void *const *rows = t->a;
    for (int64_t tap = 0; tap < t->taps; tap++, rows += t->a_step) {
        const float *a[IGEMM_MAX_ROWS];
        UNROLL for (int r = 0; r < mr; r++) a[r] = rows[r];
        for (int64_t c = 0; c < t->kc; c++, w += LANES) {
            VecF b[IGEMM_WIDTHS];
            UNROLL for (int v = 0; v < nv; v++) {
                b[v] = vf_load(w + v * panel);
                IN_REGISTER(b[v]);
            }
            UNROLL for (int r = 0; r < mr; r++) {
                VecF x = vf_splat(a[r][c]);
                UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vf_fma(x, b[v], acc[r][v]);
            }
        }
    }
}

/* The finished sums go through memory, unless they can be stored as they are: the store after them is then one small
 * loop for all heights, and leaves every register to the sums. */
typedef struct Sums {
    float at[IGEMM_MAX_ROWS][IGEMM_WIDTHS * LANES];
} Sums;

static void store_sums(const IgemmTile *t, const Sums *sums) {
    const VecF lo = vf_splat(t->lo), hi = vf_splat(t->hi);
    for (int r = 0; r < t->mr; r++) {
        const float *residual = t->residual != NULL ? t->residual + r * t->ldr : NULL;
        float *y = (float *)t->y + r * t->ldy;
        int64_t o = 0;
        for (; o + LANES <= t->n; o += LANES) {
            VecF v = vf_load(&sums->at[r][o]);
            if (residual != NULL) v = vf_add(v, vf_load(residual + o));
            vf_store(y + o, vf_min(hi, vf_max(lo, v)));
        }
        if (o < t->n) {
            VecF v = vf_load(&sums->at[r][o]);
            if (residual != NULL) v = vf_add(v, vf_load_n(residual + o, t->n - o));
            vf_store_n(y + o, vf_min(hi, vf_max(lo, v)), t->n - o);
        }
    }
}

ALWAYS_INLINE void tile_body(const IgemmTile *t, const int mr, const int nv) {
    VecF acc[IGEMM_MAX_ROWS][IGEMM_WIDTHS];
    UNROLL for (int r = 0; r < mr; r++) {
        UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vf_load((const float *)t->bias + v * LANES);
    }
    tile_reduce(t, mr, nv, acc);
    if (t->residual == NULL && t->n == nv * LANES) {
        const VecF lo = vf_splat(t->lo), hi = vf_splat(t->hi);
        float *y = t->y;
        UNROLL for (int r = 0; r < mr; r++, y += t->ldy) {
            UNROLL for (int v = 0; v < nv; v++) vf_store(y + v * LANES, vf_min(hi, vf_max(lo, acc[r][v])));
        }
        return;
    }
    Sums sums;
    UNROLL for (int r = 0; r < mr; r++) {
        UNROLL for (int v = 0; v < nv; v++) vf_store(&sums.at[r][v * LANES], acc[r][v]);
    }
    store_sums(t, &sums);
}
