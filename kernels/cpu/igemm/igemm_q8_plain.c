#include "kernels/cpu/igemm/tile.h"

KernelFn_IGEMM_Q8 igemm_q8_plain_x1;

enum { LANES = 8 };

static void store(const IgemmTile *t, int64_t at, int32_t acc, float mult) {
    if (t->y_type == IGEMM_S32) {
        ((int32_t *)t->y)[at] = acc;
        return;
    }
    float f = (float)acc * mult;
    f = t->lo > f ? t->lo : f;
    f = t->hi < f ? t->hi : f;
    if (t->y_type == IGEMM_F32)
        ((float *)t->y)[at] = f;
    else
        ((uint8_t *)t->y)[at] = (uint8_t)(round_to_even(f) + t->y_zero);
}

static void row(const IgemmTile *t, int r) {
    uint32_t acc[LANES]; /* sums are defined modulo 2^32 */
    const int8_t *w = t->w;
    const uint32_t add = t->row_add != NULL ? (uint32_t)t->row_add[r] : 0;
    for (int o = 0; o < LANES; o++) acc[o] = (uint32_t)((const int32_t *)t->bias)[o] + add;
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *a = t->a[tap * t->a_step + r];
        for (int64_t c = 0; c < t->kc; c++, w += LANES)
            for (int o = 0; o < LANES; o++) acc[o] += (uint32_t)(a[c] * w[o]);
    }
    for (int64_t o = 0; o < t->n; o++) store(t, r * t->ldy + o, (int32_t)acc[o], t->mult != NULL ? t->mult[o] : 0.0f);
}

void igemm_q8_plain_x1(const IgemmTile *t) {
    for (int r = 0; r < t->mr; r++) row(t, r);
}
