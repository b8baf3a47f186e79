#include "kernels/cpu/igemm/tile.h"

KernelFn_IGEMM_POST igemm_post_plain;
KernelFn_IGEMM_WIDEN igemm_widen_plain;

static int32_t byte_value(const uint8_t *p, IgemmType type) { return type == IGEMM_U8 ? *p : *(const int8_t *)p; }

static void add_q8(const IgemmPost *p) {
    const IgemmQAdd *c = p->add;
    const float lo = c->lo - (float)c->zero, hi = c->hi - (float)c->zero;
    uint8_t *y = p->y;
    const uint8_t *r = p->r;
    for (int64_t i = 0; i < p->n; i++) {
        float a = (float)(byte_value(y + i, p->y_type) - p->y_zero) * c->m_q;
        float b = (float)(byte_value(r + i, p->y_type) - c->r_zero) * c->m_r;
        float s = a + b;
        s = lo > s ? lo : s;
        s = hi < s ? hi : s;
        y[i] = (uint8_t)(round_to_even(s) + c->zero);
    }
}

void igemm_post_plain(const IgemmPost *p) {
    if (p->y_type != IGEMM_F32) {
        add_q8(p);
        return;
    }
    float *y = p->y;
    const float *r = p->r;
    for (int64_t i = 0; i < p->n; i++) y[i] += r[i];
}

void igemm_widen_plain(int16_t *to, const uint8_t *from, int64_t n, uint8_t sign) {
    for (int64_t i = 0; i < n; i++) to[i] = (int16_t)(from[i] ^ sign);
}
