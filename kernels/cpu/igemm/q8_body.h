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

static void add_to_rows(const IgemmTile *t, Sums *sums) {
    for (int r = 0; r < t->mr; r++) {
        const VecI add = vi_splat(t->row_add[r]);
        for (int64_t o = 0; o < t->n; o += LANES) vi_store(&sums->at[r][o], vi_add(vi_load(&sums->at[r][o]), add));
    }
}

/* rne(clamp(float(acc) * mult)): the stored value less the zero point. See docs/numerics.md. */
ALWAYS_INLINE VecI requantize(const int32_t *acc, const float *mult, VecF lo, VecF hi) {
    VecF f = vf_mul(vf_from_vi(vi_load(acc)), vf_load(mult));
    return vi_round(vf_min(hi, vf_max(lo, f)));
}

ALWAYS_INLINE void store_bytes(const IgemmTile *t, const Sums *sums, const int nv, const bool is_signed) {
    const VecF lo = vf_splat(t->lo), hi = vf_splat(t->hi);
    const VecI zero = vi_splat16((int16_t)t->y_zero);
    uint8_t *y = t->y;
    for (int r = 0; r < t->mr; r++, y += t->ldy) {
        VecI q[4];
        UNROLL for (int v = 0; v < 4; v++) {
            /* Vectors that do not exist repeat others, and are not stored. */
            q[v] = v < nv ? requantize(&sums->at[r][v * LANES], t->mult + v * LANES, lo, hi) : q[v % nv];
        }
        const VecI bytes = bytes_of_4(q, zero, is_signed);
        if (nv == 4 && t->n == 4 * LANES)
            bytes_store(y, bytes);
        else
            bytes_store_n(y, bytes, t->n);
    }
}

/* One function for all heights of a width. */
#define STORE_BYTES(v)                                                                                                 \
    static void store_bytes_##v(const IgemmTile *t, const Sums *sums) {                                                \
        if (t->y_type == IGEMM_S8)                                                                                     \
            store_bytes(t, sums, v, true);                                                                             \
        else                                                                                                           \
            store_bytes(t, sums, v, false);                                                                            \
    }
STORE_BYTES(1)
STORE_BYTES(2)
STORE_BYTES(3)
STORE_BYTES(4)

static void store_words(const IgemmTile *t, const Sums *sums) {
    const VecF lo = vf_splat(t->lo), hi = vf_splat(t->hi);
    for (int r = 0; r < t->mr; r++) {
        for (int64_t o = 0; o < t->n; o += LANES) {
            const int64_t at = r * t->ldy + o, n = t->n - o < LANES ? t->n - o : LANES;
            VecI acc = vi_load(&sums->at[r][o]);
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
    if (t->row_add != NULL) add_to_rows(t, &sums);
    if (t->y_type != IGEMM_U8 && t->y_type != IGEMM_S8)
        store_words(t, &sums);
    else if (nv == 1)
        store_bytes_1(t, &sums);
    else if (nv == 2)
        store_bytes_2(t, &sums);
    else if (nv == 3)
        store_bytes_3(t, &sums);
    else
        store_bytes_4(t, &sums);
}
