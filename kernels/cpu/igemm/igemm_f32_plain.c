#include "kernels/cpu/igemm/tile.h"

KernelFn_IGEMM_F32 igemm_f32_plain_x1;

enum { LANES = 8 };

static float clamp(float lo, float x, float hi) {
    x = lo > x ? lo : x;
    return hi < x ? hi : x;
}

static void row(const IgemmTile *t, int r) {
    float acc[LANES];
    const float *w = t->w;
    for (int o = 0; o < LANES; o++) acc[o] = ((const float *)t->bias)[o];
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const float *a = t->a[tap * t->a_step + r];
        for (int64_t c = 0; c < t->kc; c++, w += LANES)
            for (int o = 0; o < LANES; o++) acc[o] += a[c] * w[o];
    }
    float *y = (float *)t->y + r * t->ldy;
    for (int64_t o = 0; o < t->n; o++) {
        float v = acc[o];
        if (t->residual != NULL) v += t->residual[r * t->ldr + o];
        y[o] = clamp(t->lo, v, t->hi);
    }
}

void igemm_f32_plain_x1(const IgemmTile *t) {
    for (int r = 0; r < t->mr; r++) row(t, r);
}
