/* The 8-bit tile on any vector vocabulary. Before inclusion: KR, the type Activation of a gathered or direct element,
 * and dot(acc, a, b), which adds to each 32-bit lane the KR products of its elements of a and b, exactly. */
#include "kernels/cpu/igemm/heights.h"
#include "kernels/cpu/igemm/tile.h"

ALWAYS_INLINE VecI splat_group(const Activation *p) {
    int32_t bits;
    memcpy(&bits, p, sizeof bits);
    return vi_splat(bits);
}

ALWAYS_INLINE void tile_reduce(const IgemmTile *t, const int mr, const int nv, VecI acc[IGEMM_MAX_ROWS][IGEMM_WIDTHS]) {
    const char *w = t->w;
    const void *const *rows = t->a;
    for (int64_t tap = 0; tap < t->taps; tap++, rows += t->a_step) {
        const Activation *a[IGEMM_MAX_ROWS];
        UNROLL for (int r = 0; r < mr; r++) a[r] = rows[r];
        for (int64_t c = 0; c < t->kc; c += KR, w += sizeof(VecI)) {
            VecI b[IGEMM_WIDTHS];
            UNROLL for (int v = 0; v < nv; v++) b[v] = vi_load(w + v * t->w_panel);
            UNROLL for (int r = 0; r < mr; r++) {
                VecI x = splat_group(a[r] + c);
                UNROLL for (int v = 0; v < nv; v++) acc[r][v] = dot(acc[r][v], x, b[v]);
            }
        }
    }
}

/* The finished sums go through memory: the store after them is then one small loop for all heights, and leaves every
 * register to the sums. */
typedef struct Sums {
    int32_t at[IGEMM_MAX_ROWS][IGEMM_WIDTHS * LANES];
} Sums;

/* y = rne(clamp(float(acc) * mult)) + zero as bytes; see docs/numerics.md. */
static void store_bytes(const IgemmTile *t, const Sums *sums) {
    const VecF lo = vf_splat(t->lo), hi = vf_splat(t->hi);
    const VecI zero = vi_splat(t->y_zero);
    for (int r = 0; r < t->mr; r++) {
        uint8_t *y = (uint8_t *)t->y + r * t->ldy;
        const VecI add = vi_splat(t->row_add != NULL ? t->row_add[r] : 0);
        for (int64_t o = 0; o < t->n; o += LANES) {
            VecI acc = vi_add(vi_load(&sums->at[r][o]), add);
            VecF f = vf_mul(vf_from_vi(acc), vf_load(t->mult + o));
            VecI q = vi_add(vi_round(vf_min(hi, vf_max(lo, f))), zero);
            if (t->n - o >= LANES)
                bytes_store(y + o, q);
            else
                bytes_store_n(y + o, q, t->n - o);
        }
    }
}

static void store_words(const IgemmTile *t, const Sums *sums) {
    const VecF lo = vf_splat(t->lo), hi = vf_splat(t->hi);
    for (int r = 0; r < t->mr; r++) {
        const VecI add = vi_splat(t->row_add != NULL ? t->row_add[r] : 0);
        for (int64_t o = 0; o < t->n; o += LANES) {
            const int64_t at = r * t->ldy + o, n = t->n - o < LANES ? t->n - o : LANES;
            VecI acc = vi_add(vi_load(&sums->at[r][o]), add);
            if (t->y_type == IGEMM_S32) {
                vi_store_n((int32_t *)t->y + at, acc, n);
            } else {
                VecF f = vf_mul(vf_from_vi(acc), vf_load(t->mult + o));
                vf_store_n((float *)t->y + at, vf_min(hi, vf_max(lo, f)), n);
            }
        }
    }
}

ALWAYS_INLINE void tile_body(const IgemmTile *t, const int mr, const int nv) {
    VecI acc[IGEMM_MAX_ROWS][IGEMM_WIDTHS];
    UNROLL for (int r = 0; r < mr; r++) {
        UNROLL for (int v = 0; v < nv; v++) acc[r][v] = vi_load((const int32_t *)t->bias + v * LANES);
    }
    tile_reduce(t, mr, nv, acc);
    Sums sums;
    UNROLL for (int r = 0; r < mr; r++) {
        UNROLL for (int v = 0; v < nv; v++) vi_store(&sums.at[r][v * LANES], acc[r][v]);
    }
    if (t->y_type == IGEMM_U8 || t->y_type == IGEMM_S8)
        store_bytes(t, &sums);
    else
        store_words(t, &sums);
}
