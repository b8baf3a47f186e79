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

static inline VecI qadd(const QAdd *c, VecI q, VecI r) {
    VecF a = vf_mul(vf_from_vi(vi_sub(q, c->q_zero)), c->m_q);
    VecF b = vf_mul(vf_from_vi(vi_sub(r, c->r_zero)), c->m_r);
    return vi_add(vi_round(vf_min(c->hi, vf_max(c->lo, vf_add(a, b)))), c->zero);
}

static inline VecI bytes_load(const uint8_t *p, IgemmType type) {
    return type == IGEMM_U8 ? bytes_load_u8(p) : bytes_load_s8(p);
}

static void add_q8(const IgemmPost *p) {
    const IgemmQAdd *add = p->add;
    const QAdd c = {.m_q = vf_splat(add->m_q),
                    .m_r = vf_splat(add->m_r),
                    .lo = vf_splat(add->lo - (float)add->zero),
                    .hi = vf_splat(add->hi - (float)add->zero),
                    .q_zero = vi_splat(p->y_zero),
                    .r_zero = vi_splat(add->r_zero),
                    .zero = vi_splat(add->zero)};
    uint8_t *y = p->y;
    const uint8_t *r = p->r;
    int64_t i = 0;
    for (; i + LANES <= p->n; i += LANES)
        bytes_store_n(y + i, qadd(&c, bytes_load(y + i, p->y_type), bytes_load(r + i, p->y_type)), LANES);
    if (i == p->n) return;
    uint8_t q_tail[LANES] = {0}, r_tail[LANES] = {0};
    memcpy(q_tail, y + i, (size_t)(p->n - i));
    memcpy(r_tail, r + i, (size_t)(p->n - i));
    bytes_store_n(y + i, qadd(&c, bytes_load(q_tail, p->y_type), bytes_load(r_tail, p->y_type)), p->n - i);
}

#define IGEMM_POST_KERNEL(name)                                                                                        \
    KernelFn_IGEMM_POST KERNEL_NAME(name);                                                                             \
    void KERNEL_NAME(name)(const IgemmPost *p) {                                                                       \
        if (p->y_type == IGEMM_F32)                                                                                    \
            add_f32(p);                                                                                                \
        else                                                                                                           \
            add_q8(p);                                                                                                 \
    }
