/* The vector vocabulary of the igemm bodies on AVX2 with FMA. Counts n are 1 .. LANES; partial forms touch only n
 * elements. */
#ifndef PARE_KERNELS_CPU_IGEMM_VEC_AVX2_H
#define PARE_KERNELS_CPU_IGEMM_VEC_AVX2_H

#include "kernels/cpu/simd.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 8 };
typedef __m256 VecF;
typedef __m256i VecI;

#ifdef PARE_SIMDE
#define IN_REGISTER(v)
#else
/* Keeps gcc from loading a vector anew for every use. */
#define IN_REGISTER(v) __asm__("" : "+x"(v))
#endif

static inline VecF vf_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf_store(float *p, VecF v) { _mm256_storeu_ps(p, v); }
/* Through memory: vmaskmovps stores are microcoded on some CPUs. */
static inline VecF vf_load_n(const float *p, int64_t n) {
    float buffer[LANES] = {0};
    memcpy(buffer, p, (size_t)n * sizeof *p);
    return _mm256_loadu_ps(buffer);
}
static inline void vf_store_n(float *p, VecF v, int64_t n) {
    float buffer[LANES];
    _mm256_storeu_ps(buffer, v);
    memcpy(p, buffer, (size_t)n * sizeof *p);
}
static inline VecF vf_splat(float x) { return _mm256_set1_ps(x); }
static inline VecF vf_add(VecF a, VecF b) { return _mm256_add_ps(a, b); }
static inline VecF vf_mul(VecF a, VecF b) { return _mm256_mul_ps(a, b); }
static inline VecF vf_fma(VecF a, VecF b, VecF c) { return _mm256_fmadd_ps(a, b, c); }
/* Both return the second operand when one is NaN or both are zeros: bounds go first, so that NaN and -0 pass. */
static inline VecF vf_max(VecF bound, VecF x) { return _mm256_max_ps(bound, x); }
static inline VecF vf_min(VecF bound, VecF x) { return _mm256_min_ps(bound, x); }

static inline VecI vi_load(const void *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void vi_store(int32_t *p, VecI v) { _mm256_storeu_si256((__m256i *)p, v); }
static inline void vi_store_n(int32_t *p, VecI v, int64_t n) {
    int32_t buffer[LANES];
    _mm256_storeu_si256((__m256i *)buffer, v);
    memcpy(p, buffer, (size_t)n * sizeof *p);
}
static inline VecI vi_splat(int32_t x) { return _mm256_set1_epi32(x); }
static inline VecI vi_add(VecI a, VecI b) { return _mm256_add_epi32(a, b); }
static inline VecI vi_sub(VecI a, VecI b) { return _mm256_sub_epi32(a, b); }
static inline VecI vi_madd16(VecI acc, VecI a, VecI b) { return _mm256_add_epi32(acc, _mm256_madd_epi16(a, b)); }
static inline VecI vi_round(VecF v) { return _mm256_cvtps_epi32(v); }
static inline VecF vf_from_vi(VecI v) { return _mm256_cvtepi32_ps(v); }

/* Four vectors of integers in 16-bit range, plus `zero` (which stands in every 16-bit element), as bytes in order; all
 * sums lie in the range of int8 (is_signed) or uint8, so that the saturating instructions are exact. */
static inline VecI bytes_of_4(const VecI v[4], VecI zero, bool is_signed) {
    const VecI order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    VecI ab = _mm256_add_epi16(_mm256_packs_epi32(v[0], v[1]), zero);
    VecI cd = _mm256_add_epi16(_mm256_packs_epi32(v[2], v[3]), zero);
    VecI bytes = is_signed ? _mm256_packs_epi16(ab, cd) : _mm256_packus_epi16(ab, cd);
    return _mm256_permutevar8x32_epi32(bytes, order);
}
static inline void bytes_store(uint8_t *p, VecI bytes) { _mm256_storeu_si256((__m256i *)p, bytes); }
/* The first 0 < n < 32 bytes. */
static inline void bytes_store_n(uint8_t *p, VecI bytes, int64_t n) {
    __m128i half = _mm256_castsi256_si128(bytes);
    if (n >= 16) {
        _mm_storeu_si128((__m128i *)p, half);
        half = _mm256_extracti128_si256(bytes, 1);
        p += 16, n -= 16;
    }
    if (n >= 8) {
        _mm_storel_epi64((__m128i *)p, half);
        half = _mm_unpackhi_epi64(half, half);
        p += 8, n -= 8;
    }
    uint64_t rest = (uint64_t)_mm_cvtsi128_si64(half);
    for (; n > 0; n--, rest >>= 8) *p++ = (uint8_t)rest;
}
static inline VecI vi_splat16(int16_t x) { return _mm256_set1_epi16(x); }
static inline VecI bytes_load_u8(const uint8_t *p) { return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p)); }
static inline VecI bytes_load_s8(const uint8_t *p) { return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p)); }

#endif
