/* Vectors of 8 floats on AVX2 with FMA. The contract of every name is in vf_plain.h. */
#ifndef PARE_KERNELS_CPU_ELTWISE_VF_AVX2_H
#define PARE_KERNELS_CPU_ELTWISE_VF_AVX2_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/simd.h"

#define VF_ISA  avx2
#define VF_N    8
#define VF_REGS 16

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

static inline __m256i vf_tail_mask(size_t n) {
    static const int32_t edge[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
    return _mm256_loadu_si256((const __m256i *)(edge + 8 - n));
}

static inline vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
static inline vf vf_loadn(const float *p, size_t n) { return _mm256_maskload_ps(p, vf_tail_mask(n)); }
static inline void vf_storen(float *p, vf v, size_t n) { _mm256_maskstore_ps(p, vf_tail_mask(n), v); }
static inline vf vf_set1(float x) { return _mm256_set1_ps(x); }
static inline vf vf_zero(void) { return _mm256_setzero_ps(); }

static inline vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
static inline vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
static inline vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf vf_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
static inline vf vf_copysign(vf mag, vf sgn) {
    const vf s = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(s, mag), _mm256_and_ps(s, sgn));
}

static inline vm vf_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vm vf_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
static inline vm vf_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
static inline vm vf_nan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
static inline vf vf_select(vm m, vf yes, vf no) { return _mm256_blendv_ps(no, yes, m); }

static inline vi vf_as_vi(vf a) { return _mm256_castps_si256(a); }
static inline vf vi_as_vf(vi a) { return _mm256_castsi256_ps(a); }
static inline vi vf_rne(vf a) { return _mm256_cvtps_epi32(a); }
static inline vf vi_to_vf(vi a) { return _mm256_cvtepi32_ps(a); }
static inline vi vi_set1(int32_t x) { return _mm256_set1_epi32(x); }
static inline vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void vi_store(int32_t *p, vi v) { _mm256_storeu_si256((__m256i *)p, v); }
static inline vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
static inline vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
static inline vi vi_mullo(vi a, vi b) { return _mm256_mullo_epi32(a, b); }
static inline vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
static inline vi vi_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
static inline vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
#define vi_shl(a, n) _mm256_slli_epi32((a), (n))
#define vi_shr(a, n) _mm256_srli_epi32((a), (n))
#define vi_sar(a, n) _mm256_srai_epi32((a), (n))

static inline vi vi_load_u8(const uint8_t *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
static inline vi vi_load_s8(const int8_t *p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
static inline void vi_store_u8(uint8_t *p, vi v) {
    const __m256i low = _mm256_set1_epi32(0x0c080400);
    const __m256i b = _mm256_shuffle_epi8(v, low);
    const int32_t half[2] = {_mm256_extract_epi32(b, 0), _mm256_extract_epi32(b, 4)};
    memcpy(p, half, sizeof half);
}
static inline vi vi_load_u16(const uint16_t *p) { return _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline void vi_store_u16(uint16_t *p, vi v) {
    const __m256i w = _mm256_packus_epi32(_mm256_and_si256(v, _mm256_set1_epi32(0xffff)), _mm256_setzero_si256());
    _mm_storeu_si128((__m128i *)p, _mm256_castsi256_si128(_mm256_permute4x64_epi64(w, 0x08)));
}

/* 2^n is applied as two factors, so that results below FLT_MIN and n = 128 come out right. */
static inline vf vf_ldexp(vf a, vf n) {
    const vi e = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(e, 1);
    const vi bias = _mm256_set1_epi32(127);
    const vf s0 = vi_as_vf(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23));
    const vf s1 = vi_as_vf(_mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(e, half), bias), 23));
    return _mm256_mul_ps(_mm256_mul_ps(a, s0), s1);
}
static inline float vf_hsum(vf a) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}
static inline float vf_hmax(vf a) {
    __m128 q = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    q = _mm_max_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_max_ss(q, _mm_movehdup_ps(q)));
}

enum { VB_N = 32 };
typedef __m256i vb;
static inline vb vb_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline vb vb_loadn(const uint8_t *p, size_t n) {
    uint8_t b[VB_N] = {0};
    memcpy(b, p, n);
    return vb_load(b);
}
static inline void vb_store(uint8_t *p, vb v) { _mm256_storeu_si256((__m256i *)p, v); }
static inline void vb_storen(uint8_t *p, vb v, size_t n) {
    uint8_t b[VB_N];
    vb_store(b, v);
    memcpy(p, b, n);
}
static inline vb vb_set1(uint8_t x) { return _mm256_set1_epi8((char)x); }
static inline vb vb_xor(vb a, vb b) { return _mm256_xor_si256(a, b); }
static inline vb vb_max(vb a, vb b) { return _mm256_max_epu8(a, b); }

typedef __m256i vh;
static inline vh vh_load_u8(const uint8_t *p) { return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p)); }
static inline vh vh_add(vh a, vh b) { return _mm256_add_epi16(a, b); }
static inline vh vh_set1(uint16_t x) { return _mm256_set1_epi16((short)x); }
static inline vh vh_xor(vh a, vh b) { return _mm256_xor_si256(a, b); }
static inline vh vh_zero(void) { return _mm256_setzero_si256(); }
static inline vi vh_low(vh a) { return _mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)); }
static inline vi vh_high(vh a) { return _mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1)); }

#endif
