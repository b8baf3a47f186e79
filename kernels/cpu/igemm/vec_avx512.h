/* The vector vocabulary of the igemm bodies on AVX-512. Counts n are 1 .. LANES; partial forms touch only n elements.
 */
#ifndef PARE_KERNELS_CPU_IGEMM_VEC_AVX512_H
#define PARE_KERNELS_CPU_IGEMM_VEC_AVX512_H

#include "kernels/cpu/simd.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { LANES = 16 };
typedef __m512 VecF;
typedef __m512i VecI;

#ifdef PARE_SIMDE
#define IN_REGISTER(v)
#else
/* Keeps gcc from loading a vector anew for every use: there is one 512-bit load a cycle on some CPUs. */
#define IN_REGISTER(v) __asm__("" : "+v"(v))
#endif

static inline __mmask16 mask_of(int64_t n) { return (__mmask16)(0xffffu >> (16 - n)); }

static inline VecF vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline VecF vf_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(mask_of(n), p); }
static inline void vf_store(float *p, VecF v) { _mm512_storeu_ps(p, v); }
static inline void vf_store_n(float *p, VecF v, int64_t n) { _mm512_mask_storeu_ps(p, mask_of(n), v); }
static inline VecF vf_splat(float x) { return _mm512_set1_ps(x); }
static inline VecF vf_add(VecF a, VecF b) { return _mm512_add_ps(a, b); }
static inline VecF vf_mul(VecF a, VecF b) { return _mm512_mul_ps(a, b); }
static inline VecF vf_fma(VecF a, VecF b, VecF c) { return _mm512_fmadd_ps(a, b, c); }
/* Both return the second operand when one is NaN or both are zeros: bounds go first, so that NaN and -0 pass. */
static inline VecF vf_max(VecF bound, VecF x) { return _mm512_max_ps(bound, x); }
static inline VecF vf_min(VecF bound, VecF x) { return _mm512_min_ps(bound, x); }

static inline VecI vi_load(const void *p) { return _mm512_loadu_si512(p); }
static inline void vi_store(int32_t *p, VecI v) { _mm512_storeu_si512(p, v); }
static inline void vi_store_n(int32_t *p, VecI v, int64_t n) { _mm512_mask_storeu_epi32(p, mask_of(n), v); }
static inline VecI vi_splat(int32_t x) { return _mm512_set1_epi32(x); }
static inline VecI vi_add(VecI a, VecI b) { return _mm512_add_epi32(a, b); }
static inline VecI vi_sub(VecI a, VecI b) { return _mm512_sub_epi32(a, b); }
static inline VecI vi_madd16(VecI acc, VecI a, VecI b) { return _mm512_add_epi32(acc, _mm512_madd_epi16(a, b)); }
static inline VecI vi_round(VecF v) { return _mm512_cvtps_epi32(v); }
static inline VecF vf_from_vi(VecI v) { return _mm512_cvtepi32_ps(v); }

/* Four vectors of integers in 16-bit range, plus `zero` (which stands in every 16-bit element), as bytes in order; all
 * sums lie in the range of int8 (is_signed) or uint8, so that the saturating instructions are exact. */
static inline VecI bytes_of_4(const VecI v[4], VecI zero, bool is_signed) {
    const VecI order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    VecI ab = _mm512_add_epi16(_mm512_packs_epi32(v[0], v[1]), zero);
    VecI cd = _mm512_add_epi16(_mm512_packs_epi32(v[2], v[3]), zero);
    VecI bytes = is_signed ? _mm512_packs_epi16(ab, cd) : _mm512_packus_epi16(ab, cd);
    return _mm512_permutexvar_epi32(order, bytes);
}
static inline void bytes_store(uint8_t *p, VecI bytes) { _mm512_storeu_si512(p, bytes); }
/* The first 0 < n < 64 bytes. */
static inline void bytes_store_n(uint8_t *p, VecI bytes, int64_t n) {
    _mm512_mask_storeu_epi8(p, ((__mmask64)1 << n) - 1, bytes);
}
static inline VecI vi_splat16(int16_t x) { return _mm512_set1_epi16(x); }
static inline VecI bytes_load_u8(const uint8_t *p) { return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)); }
static inline VecI bytes_load_s8(const uint8_t *p) { return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p)); }

#endif
