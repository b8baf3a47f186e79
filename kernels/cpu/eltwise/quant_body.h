/* Body of the integer elementwise rows and number-format conversions; included by quant_<isa>.c after its vf header and
 * QUANT_LUT, the table-lookup row of the ISA. The arithmetic is exact integer work or single float operations in the
 * order of docs/numerics.md (vf_fma must not appear here), so that every ISA gives the same bits. */
#include "kernels/cpu/eltwise/quant.h"
#include "kernels/cpu/eltwise/vf_name.h"

/* zp + rne(clamp(v, lo - zp, hi - zp)) */
static inline vi quant_round(vf v, vf low, vf high, vi zp) { return vi_add(vf_rne(vf_min(high, vf_max(low, v))), zp); }

/* The last n < VF_N bytes of a row pass through a vector's worth of memory. */
static inline vi quant_load_tail(const uint8_t *x, size_t n) {
    uint8_t b[VF_N] = {0};
    memcpy(b, x, n);
    return vi_load_u8(b);
}
static inline void quant_store_tail(uint8_t *y, vi v, size_t n) {
    uint8_t b[VF_N];
    vi_store_u8(b, v);
    memcpy(y, b, n);
}

static void quantize_any(uint8_t *y, const float *x, size_t n, float scale, int32_t zp, int32_t lo, int32_t hi) {
    const vf s = vf_set1(scale), low = vf_set1((float)(lo - zp)), high = vf_set1((float)(hi - zp));
    const vi z = vi_set1(zp);
    size_t i = 0;
    for (; i < n; i += VF_N) {
        const bool whole = i + VF_N <= n;
        vf v = vf_div(whole ? vf_load(x + i) : vf_loadn(x + i, n - i), s);
        v = vf_select(vf_nan(v), vf_zero(), v);
        const vi q = quant_round(v, low, high, z);
        if (whole)
            vi_store_u8(y + i, q);
        else
            quant_store_tail(y + i, q, n - i);
    }
}

#define QUANT_DEQUANTIZE(name, widen)                                                                                  \
    static void name(float *y, const uint8_t *x, size_t n, float scale, int32_t zp) {                                  \
        const vf s = vf_set1(scale);                                                                                   \
        const vi z = vi_set1(zp);                                                                                      \
        size_t i = 0;                                                                                                  \
        for (; i + VF_N <= n; i += VF_N) vf_store(y + i, vf_mul(vi_to_vf(vi_sub(widen(vi_load_u8(x + i)), z)), s));    \
        if (i < n) vf_storen(y + i, vf_mul(vi_to_vf(vi_sub(widen(quant_load_tail(x + i, n - i)), z)), s), n - i);      \
    }
#define QUANT_UNSIGNED(v) (v)
#define QUANT_SIGNED(v)   vi_sar(vi_shl(v, 24), 24)
QUANT_DEQUANTIZE(dequantize_u8, QUANT_UNSIGNED)
QUANT_DEQUANTIZE(dequantize_s8, QUANT_SIGNED)

static inline vi quant_bf16_bits(vf x) {
    const vi b = vf_as_vi(x);
    const vi odd = vi_and(vi_shr(b, 16), vi_set1(1));
    const vi rounded = vi_shr(vi_add(b, vi_add(odd, vi_set1(0x7fff))), 16);
    const vi quiet = vi_or(vi_shr(b, 16), vi_set1(0x40));
    return vf_as_vi(vf_select(vf_nan(x), vi_as_vf(quiet), vi_as_vf(rounded)));
}

static void to_bf16(uint16_t *y, const float *x, size_t n) {
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N) vi_store_u16(y + i, quant_bf16_bits(vf_load(x + i)));
    if (i < n) {
        uint16_t b[VF_N];
        vi_store_u16(b, quant_bf16_bits(vf_loadn(x + i, n - i)));
        memcpy(y + i, b, (n - i) * sizeof *y);
    }
}

static void from_bf16(float *y, const uint16_t *x, size_t n) {
    size_t i = 0;
    for (; i + VF_N <= n; i += VF_N) vf_store(y + i, vi_as_vf(vi_shl(vi_load_u16(x + i), 16)));
    for (; i < n; i++) {
        const uint32_t b = (uint32_t)x[i] << 16;
        memcpy(y + i, &b, sizeof b);
    }
}

/* int8 operands become uint8 ones with 128 added to the value (the top bit flipped) and to the zero point. */
typedef struct {
    vi a_flip, b_flip, y_flip, a_zp, b_zp, y_zp;
    vf a_mult, b_mult, low, high;
} QBinaryVectors;

static inline QBinaryVectors qbinary_vectors(const QBinaryParams *p) {
    const int32_t fa = p->a_signed ? 128 : 0, fb = p->b_signed ? 128 : 0, fy = p->y_signed ? 128 : 0;
    return (QBinaryVectors){.a_flip = vi_set1(fa),
                            .b_flip = vi_set1(fb),
                            .y_flip = vi_set1(fy),
                            .a_zp = vi_set1(p->a_zp + fa),
                            .b_zp = vi_set1(p->b_zp + fb),
                            .y_zp = vi_set1(p->y_zp + fy),
                            .a_mult = vf_set1(p->a_mult),
                            .b_mult = vf_set1(p->b_mult),
                            .low = vf_set1((float)(p->lo - p->y_zp)),
                            .high = vf_set1((float)(p->hi - p->y_zp))};
}

static inline vi qbinary_add(const QBinaryVectors *k, vi a, vi b) {
    const vf v = vf_add(vf_mul(vi_to_vf(a), k->a_mult), vf_mul(vi_to_vf(b), k->b_mult));
    return quant_round(v, k->low, k->high, k->y_zp);
}
static inline vi qbinary_mul(const QBinaryVectors *k, vi a, vi b) {
    return quant_round(vf_mul(vi_to_vf(vi_mullo(a, b)), k->a_mult), k->low, k->high, k->y_zp);
}

#define QBINARY_VALUE(op, a, b)                                                                                        \
    vi_xor(op(&k, vi_sub(vi_xor(a, k.a_flip), k.a_zp), vi_sub(vi_xor(b, k.b_flip), k.b_zp)), k.y_flip)
#define QBINARY_ROW(name, op, load_a, load_b, tail_a, tail_b)                                                          \
    static void name(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const QBinaryParams *p) {               \
        const QBinaryVectors k = qbinary_vectors(p);                                                                   \
        size_t i = 0;                                                                                                  \
        for (; i + VF_N <= n; i += VF_N) vi_store_u8(y + i, QBINARY_VALUE(op, load_a, load_b));                        \
        if (i < n) quant_store_tail(y + i, QBINARY_VALUE(op, tail_a, tail_b), n - i);                                  \
    }
#define QBINARY_FORMS(op)                                                                                              \
    QBINARY_ROW(op##_vv, op, vi_load_u8(a + i), vi_load_u8(b + i), quant_load_tail(a + i, n - i),                      \
                quant_load_tail(b + i, n - i))                                                                         \
    QBINARY_ROW(op##_vs, op, vi_load_u8(a + i), vi_set1(*b), quant_load_tail(a + i, n - i), vi_set1(*b))               \
    QBINARY_ROW(op##_sv, op, vi_set1(*a), vi_load_u8(b + i), vi_set1(*a), quant_load_tail(b + i, n - i))
QBINARY_FORMS(qbinary_add)
QBINARY_FORMS(qbinary_mul)

const QuantOps VF_NAME(quant) = {
    .lut = QUANT_LUT,
    .quantize = quantize_any,
    .dequantize_u8 = dequantize_u8,
    .dequantize_s8 = dequantize_s8,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .qbinary = {{qbinary_add_vv, qbinary_add_vs, qbinary_add_sv}, {qbinary_mul_vv, qbinary_mul_vs, qbinary_mul_sv}}};
