/* vf: one thin layer of float vectors under every float kernel, so that a kernel's arithmetic is written once and
 * compiled per ISA: NAME_avx2.c includes vf_avx2.h and then NAME_body.h, NAME_plain.c includes this file and the same
 * body.
 *
 * This file is the portable form and states the contract. It uses the compiler's generic vectors (no ISA header), 4
 * lanes, which GCC and Clang lower to SSE2, NEON or scalar code.
 *
 *   VF_N                     lanes; VF_REGS: vector registers; VF_ISA: the suffix of the functions made with it
 *   vf_loadn / vf_storen     the first n lanes, 0 <= n < VF_N; other lanes read as 0 and memory past n is not touched
 *   vf_min / vf_max          the SECOND operand when either is NaN, so min(lo, max(hi, x)) hands a NaN x on at no cost
 *   vf_fma, vf_fnma          a*b + c, c - a*b; one rounding where the ISA has it, two in the portable form
 *   vf_rne                   to int32, nearest even; |a| < 2^22
 *   vf_ldexp                 a * 2^n, n integral, -252 <= n <= 254, right for subnormal results
 *   vf_hsum                  halves folded onto halves: the order depends on VF_N only
 *   vi_load_u8, vi_store_u8  VF_N bytes widened / truncated (low bytes)
 *   vf_hmax                  largest lane; a NaN may be lost
 *   vb, VB_N                 a vector of VB_N bytes; vb_loadn reads 0 past n < VB_N
 *   vh                       2 * VF_N 16-bit sums of bytes; vh_low, vh_high: the halves as int32
 * The rounding mode must be nearest even. */
#ifndef PARE_KERNELS_CPU_ELTWISE_VF_PLAIN_H
#define PARE_KERNELS_CPU_ELTWISE_VF_PLAIN_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VF_ISA  plain
#define VF_N    4
#define VF_REGS 16

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vi __attribute__((vector_size(16)));
typedef uint32_t vu __attribute__((vector_size(16)));
typedef vi vm;

static inline vf vf_load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void vf_store(float *p, vf v) { memcpy(p, &v, sizeof v); }
static inline vf vf_loadn(const float *p, size_t n) {
    vf v = {0.0f};
    for (size_t i = 0; i < n; i++) v[i] = p[i];
    return v;
}
static inline void vf_storen(float *p, vf v, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = v[i];
}
static inline vf vf_set1(float x) { return (vf){x, x, x, x}; }
static inline vf vf_zero(void) { return (vf){0.0f}; }

static inline vi vf_as_vi(vf a) { return (vi)a; }
static inline vf vi_as_vf(vi a) { return (vf)a; }
static inline vf vf_select(vm m, vf yes, vf no) { return (vf)((m & (vi)yes) | (~m & (vi)no)); }

static inline vf vf_add(vf a, vf b) { return a + b; }
static inline vf vf_sub(vf a, vf b) { return a - b; }
static inline vf vf_mul(vf a, vf b) { return a * b; }
static inline vf vf_div(vf a, vf b) { return a / b; }
static inline vf vf_fma(vf a, vf b, vf c) { return a * b + c; }
static inline vf vf_fnma(vf a, vf b, vf c) { return c - a * b; }
static inline vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }
static inline vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
static inline vf vf_sqrt(vf a) { return (vf){sqrtf(a[0]), sqrtf(a[1]), sqrtf(a[2]), sqrtf(a[3])}; }
static inline vi vi_set1(int32_t x) { return (vi){x, x, x, x}; }
static inline vf vf_abs(vf a) { return (vf)((vi)a & vi_set1(INT32_MAX)); }
static inline vf vf_neg(vf a) { return (vf)((vi)a ^ vi_set1(INT32_MIN)); }
static inline vf vf_copysign(vf mag, vf sgn) {
    return (vf)(((vi)mag & vi_set1(INT32_MAX)) | ((vi)sgn & vi_set1(INT32_MIN)));
}

static inline vm vf_lt(vf a, vf b) { return a < b; }
static inline vm vf_le(vf a, vf b) { return a <= b; }
static inline vm vf_eq(vf a, vf b) { return a == b; }
static inline vm vf_nan(vf a) { return a != a; }

static inline vi vi_add(vi a, vi b) { return (vi)((vu)a + (vu)b); }
static inline vi vi_sub(vi a, vi b) { return (vi)((vu)a - (vu)b); }
static inline vi vi_mullo(vi a, vi b) { return (vi)((vu)a * (vu)b); }
static inline vi vi_and(vi a, vi b) { return a & b; }
static inline vi vi_xor(vi a, vi b) { return a ^ b; }
static inline vi vi_or(vi a, vi b) { return a | b; }
static inline vi vi_shl(vi a, int n) { return (vi)((vu)a << (uint32_t)n); }
static inline vi vi_shr(vi a, int n) { return (vi)((vu)a >> (uint32_t)n); }
static inline vi vi_sar(vi a, int n) { return a >> n; }

/* Adding 1.5 * 2^23 leaves the rounded integer in the low mantissa bits: no conversion, so no undefined value for NaN.
 */
static inline vi vf_rne(vf a) {
    const vf magic = vf_set1(12582912.0f);
    return vi_sub((vi)(a + magic), (vi)magic);
}
static inline vf vi_to_vf(vi a) { return __builtin_convertvector(a, vf); }
static inline vi vi_load(const int32_t *p) {
    vi v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline void vi_store(int32_t *p, vi v) { memcpy(p, &v, sizeof v); }
typedef uint8_t vu8x4 __attribute__((vector_size(4)));
typedef int8_t vs8x4 __attribute__((vector_size(4)));
typedef uint16_t vu16x4 __attribute__((vector_size(8)));
static inline vi vi_load_u8(const uint8_t *p) {
    vu8x4 v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vi);
}
static inline vi vi_load_s8(const int8_t *p) {
    vs8x4 v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vi);
}
static inline void vi_store_u8(uint8_t *p, vi v) {
    const vu8x4 b = __builtin_convertvector(v, vu8x4);
    memcpy(p, &b, sizeof b);
}
static inline vi vi_load_u16(const uint16_t *p) {
    vu16x4 v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vi);
}
static inline void vi_store_u16(uint16_t *p, vi v) {
    const vu16x4 h = __builtin_convertvector(v, vu16x4);
    memcpy(p, &h, sizeof h);
}

static inline vf vf_ldexp(vf a, vf n) {
    const vi e = vf_rne(n), half = vi_sar(e, 1), bias = vi_set1(127);
    const vf s0 = (vf)vi_shl(vi_add(half, bias), 23);
    const vf s1 = (vf)vi_shl(vi_add(vi_sub(e, half), bias), 23);
    return a * s0 * s1;
}
static inline float vf_hsum(vf a) { return (a[0] + a[2]) + (a[1] + a[3]); }
static inline float vf_hmax(vf a) {
    const float p = a[0] > a[2] ? a[0] : a[2], q = a[1] > a[3] ? a[1] : a[3];
    return p > q ? p : q;
}

enum { VB_N = 16 };
typedef uint8_t vb __attribute__((vector_size(16)));
static inline vb vb_load(const uint8_t *p) {
    vb v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline vb vb_loadn(const uint8_t *p, size_t n) {
    vb v = {0};
    memcpy(&v, p, n);
    return v;
}
static inline void vb_store(uint8_t *p, vb v) { memcpy(p, &v, sizeof v); }
static inline void vb_storen(uint8_t *p, vb v, size_t n) { memcpy(p, &v, n); }
static inline vb vb_set1(uint8_t x) { return (vb){0} + x; }
static inline vb vb_xor(vb a, vb b) { return a ^ b; }
static inline vb vb_max(vb a, vb b) {
    const vb m = (vb)(a > b);
    return (a & m) | (b & ~m);
}

typedef uint16_t vh __attribute__((vector_size(16)));
typedef uint8_t vu8x8 __attribute__((vector_size(8)));
static inline vh vh_load_u8(const uint8_t *p) {
    vu8x8 v;
    memcpy(&v, p, sizeof v);
    return __builtin_convertvector(v, vh);
}
static inline vh vh_add(vh a, vh b) { return a + b; }
static inline vh vh_set1(uint16_t x) { return (vh){0} + x; }
static inline vh vh_xor(vh a, vh b) { return a ^ b; }
static inline vh vh_zero(void) { return (vh){0}; }
static inline vi vh_low(vh a) { return (vi){a[0], a[1], a[2], a[3]}; }
static inline vi vh_high(vh a) { return (vi){a[4], a[5], a[6], a[7]}; }

#endif
