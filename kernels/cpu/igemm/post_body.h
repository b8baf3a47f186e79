/* Residual additions on any vector vocabulary. */
#include "kernels/cpu/igemm/tile.h"

static void add_f32(const IgemmPost *p) {
    float *y = p->y;
    const float *r = p->r;
    int64_t i = 0;
    for (; i + LANES <= p->n; i += LANES) vf_store(y + i, vf_add(vf_load(y + i), vf_load(r + i)));
    if (i < p->n) vf_store_n(y + i, vf_add(vf_load_n(y + i, p->n - i), vf_load_n(r + i, p->n - i)), p->n - i);
}

typedef struct QAdd {
    VecF m_q, m_r, lo, hi;
    VecI q_zero, r_zero, zero;
} QAdd;

/* The stored value less its zero point. */
static inline VecI qadd(const QAdd *c, VecI q, VecI r) {
    VecF a = vf_mul(vf_from_vi(vi_sub(q, c->q_zero)), c->m_q);
    VecF b = vf_mul(vf_from_vi(vi_sub(r, c->r_zero)), c->m_r);
    return vi_round(vf_min(c->hi, vf_max(c->lo, vf_add(a, b))));
}

static inline VecI bytes_load(const uint8_t *p, bool is_signed) {
    return is_signed ? bytes_load_s8(p) : bytes_load_u8(p);
}

static inline VecI qadd_bytes(const QAdd *c, const uint8_t *y, const uint8_t *r, bool is_signed) {
    VecI q[4];
    for (int v = 0; v < 4; v++)
        q[v] = qadd(c, bytes_load(y + v * LANES, is_signed), bytes_load(r + v * LANES, is_signed));
    return bytes_of_4(q, c->zero, is_signed);
}

static inline void add_q8(const IgemmPost *p, const bool is_signed) {
    enum { STEP = 4 * LANES };
    const IgemmQAdd *add = p->add;
    const QAdd c = {.m_q = vf_splat(add->m_q),
                    .m_r = vf_splat(add->m_r),
                    .lo = vf_splat(add->lo - (float)add->zero),
                    .hi = vf_splat(add->hi - (float)add->zero),
                    .q_zero = vi_splat(p->y_zero),
                    .r_zero = vi_splat(add->r_zero),
                    .zero = vi_splat16((int16_t)add->zero)};
    uint8_t *y = p->y;
    const uint8_t *r = p->r;
    int64_t i = 0;
    for (; i + STEP <= p->n; i += STEP) bytes_store(y + i, qadd_bytes(&c, y + i, r + i, is_signed));
    if (i == p->n) return;
    uint8_t q_tail[STEP] = {0}, r_tail[STEP] = {0};
    memcpy(q_tail, y + i, (size_t)(p->n - i));
    memcpy(r_tail, r + i, (size_t)(p->n - i));
    bytes_store_n(y + i, qadd_bytes(&c, q_tail, r_tail, is_signed), p->n - i);
}

#define IGEMM_POST_KERNEL(name)                                                                                        \
    KernelFn_IGEMM_POST KERNEL_NAME(name);                                                                             \
    void KERNEL_NAME(name)(const IgemmPost *p) {                                                                       \
        if (p->y_type == IGEMM_F32)                                                                                    \
            add_f32(p);                                                                                                \
        else                                                                                                           \
            add_q8(p, p->y_type == IGEMM_S8);                                                                          \
    }
