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
            UNROLL for (int v = 0; v < nv; v++) {
                b[v] = vi_load(w + v * t->w_panel);
                IN_REGISTER(b[v]);
            }
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

/* rne(clamp(float(acc) * mult)): the stored value less the zero point. See docs/numerics.md. */
ALWAYS_INLINE VecI requantize(const int32_t *acc, VecI add, const float *mult, VecF lo, VecF hi) {
    VecF f = vf_mul(vf_from_vi(vi_add(vi_load(acc), add)), vf_load(mult));
    return vi_round(vf_min(hi, vf_max(lo, f)));
}

ALWAYS_INLINE void store_bytes_as(const IgemmTile *t, const Sums *sums, const bool is_signed) {
    const VecF lo = vf_splat(t->lo), hi = vf_splat(t->hi);
    const VecI zero = vi_splat(t->y_zero), zero16 = vi_splat16((int16_t)t->y_zero);
    for (int r = 0; r < t->mr; r++) {
        const int32_t *acc = sums->at[r];
        uint8_t *y = (uint8_t *)t->y + r * t->ldy;
        const VecI add = vi_splat(t->row_add != NULL ? t->row_add[r] : 0);
        int64_t o = 0;
        VecI q[4];
        for (; o + 4 * LANES <= t->n; o += 4 * LANES) {
            UNROLL for (int i = 0; i < 4; i++) q[i] =
                requantize(acc + o + i * LANES, add, t->mult + o + i * LANES, lo, hi);
            bytes_store_4(y + o, bytes_of_4(q, zero16, is_signed));
        }
        for (; o + 2 * LANES <= t->n; o += 2 * LANES) {
            q[0] = q[2] = requantize(acc + o, add, t->mult + o, lo, hi);
            q[1] = q[3] = requantize(acc + o + LANES, add, t->mult + o + LANES, lo, hi);
            bytes_store_2(y + o, bytes_of_4(q, zero16, is_signed));
        }
        for (; o < t->n; o += LANES) {
            const int64_t left = t->n - o;
            q[0] = vi_add(requantize(acc + o, add, t->mult + o, lo, hi), zero);
            bytes_store_n(y + o, q[0], left < LANES ? left : LANES);
        }
    }
}

static void store_bytes(const IgemmTile *t, const Sums *sums) {
    if (t->y_type == IGEMM_S8)
        store_bytes_as(t, sums, true);
    else
        store_bytes_as(t, sums, false);
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
