/* SIMDe plus what its releases up to 0.7.4 lack or define wrongly, lane by lane. For tests only; see simd.h. */
#ifndef PARE_KERNELS_CPU_SIMD_EMULATED_H
#define PARE_KERNELS_CPU_SIMD_EMULATED_H

#define SIMDE_ENABLE_NATIVE_ALIASES
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"
#include <simde/x86/avx2.h>
#include <simde/x86/avx512.h>
#include <simde/x86/f16c.h>
#include <simde/x86/fma.h>
#pragma GCC diagnostic pop

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t EmulatedMask16;
typedef uint32_t EmulatedMask32;
typedef uint64_t EmulatedMask64;
#define __mmask16 EmulatedMask16
#define __mmask32 EmulatedMask32
#define __mmask64 EmulatedMask64

/* EMULATE(name, result, source, n, to, from, expression): a unary function over n lanes; lane x gives `expression`. */
#define EMULATE(name, Result, Source, n, To, From, expression)                                                         \
    static inline Result name(Source source) {                                                                         \
        From in[n];                                                                                                    \
        To out[sizeof(Result) / sizeof(To)] = {0};                                                                     \
        memcpy(in, &source, sizeof in);                                                                                \
        for (int i = 0; i < (n); i++) {                                                                                \
            const From x = in[i];                                                                                      \
            out[i] = (To)(expression);                                                                                 \
        }                                                                                                              \
        Result result;                                                                                                 \
        memcpy(&result, out, sizeof result);                                                                           \
        return result;                                                                                                 \
    }

EMULATE(emulated_cvtepi32_epi8, __m128i, __m512i, 16, uint8_t, uint32_t, x & 0xff)
EMULATE(emulated_cvtepi32_epi16, __m256i, __m512i, 16, uint16_t, uint32_t, x & 0xffff)
EMULATE(emulated_cvtepi32_ps, __m512, __m512i, 16, float, int32_t, x)
EMULATE(emulated_cvtepi8_epi32, __m512i, __m128i, 16, int32_t, int8_t, x)
EMULATE(emulated_cvtepu8_epi32, __m512i, __m128i, 16, int32_t, uint8_t, x)
EMULATE(emulated_cvtepu8_epi16, __m512i, __m256i, 32, uint16_t, uint8_t, x)
EMULATE(emulated_cvtepu16_epi32, __m512i, __m256i, 16, int32_t, uint16_t, x)
/* Out of range, and NaN, the instruction gives INT32_MIN. */
EMULATE(emulated_cvtps_epi32, __m512i, __m512, 16, int32_t, float,
        x >= -2147483648.0f && x < 2147483648.0f ? (int32_t)nearbyintf(x) : INT32_MIN)
#define _mm512_cvtepi32_epi8  emulated_cvtepi32_epi8
#define _mm512_cvtepi32_epi16 emulated_cvtepi32_epi16
#define _mm512_cvtepi32_ps    emulated_cvtepi32_ps
#define _mm512_cvtepi8_epi32  emulated_cvtepi8_epi32
#define _mm512_cvtepu8_epi32  emulated_cvtepu8_epi32
#define _mm512_cvtepu8_epi16  emulated_cvtepu8_epi16
#define _mm512_cvtepu16_epi32 emulated_cvtepu16_epi32
#define _mm512_cvtps_epi32    emulated_cvtps_epi32
#undef _mm512_madd_epi16 /* 0.7.4 gives it four parameters */
#define _mm512_madd_epi16 simde_mm512_madd_epi16

/* Masked moves touch only the elements whose bit is set. */
static inline void emulated_move(void *to, const void *from, uint64_t mask, int n, size_t size) {
    for (int i = 0; i < n; i++)
        if ((mask >> i) & 1) memcpy((char *)to + (size_t)i * size, (const char *)from + (size_t)i * size, size);
}

static inline __m512 emulated_maskz_loadu_ps(uint64_t mask, const void *p) {
    float lanes[16] = {0};
    emulated_move(lanes, p, mask, 16, 4);
    return _mm512_loadu_ps(lanes);
}
static inline __m512i emulated_maskz_loadu_epi8(uint64_t mask, const void *p) {
    uint8_t lanes[64] = {0};
    emulated_move(lanes, p, mask, 64, 1);
    return _mm512_loadu_si512(lanes);
}
static inline __m256i emulated_maskz_loadu_epi8_256(uint64_t mask, const void *p) {
    uint8_t lanes[32] = {0};
    emulated_move(lanes, p, mask, 32, 1);
    return _mm256_loadu_si256((const __m256i *)(const void *)lanes);
}
static inline void emulated_mask_storeu_ps(void *p, uint64_t mask, __m512 v) { emulated_move(p, &v, mask, 16, 4); }
static inline void emulated_mask_storeu_epi32(void *p, uint64_t mask, __m512i v) { emulated_move(p, &v, mask, 16, 4); }
static inline void emulated_mask_storeu_epi8(void *p, uint64_t mask, __m512i v) { emulated_move(p, &v, mask, 64, 1); }
static inline void emulated_mask_storeu_epi8_128(void *p, uint64_t mask, __m128i v) {
    emulated_move(p, &v, mask, 16, 1);
}
#define _mm512_maskz_loadu_ps    emulated_maskz_loadu_ps
#define _mm512_maskz_loadu_epi8  emulated_maskz_loadu_epi8
#define _mm256_maskz_loadu_epi8  emulated_maskz_loadu_epi8_256
#define _mm512_mask_storeu_ps    emulated_mask_storeu_ps
#define _mm512_mask_storeu_epi32 emulated_mask_storeu_epi32
#define _mm512_mask_storeu_epi8  emulated_mask_storeu_epi8
#define _mm_mask_storeu_epi8     emulated_mask_storeu_epi8_128

static inline __m512i emulated_srai_epi32(__m512i v, unsigned count) {
    int32_t lanes[16];
    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < 16; i++) lanes[i] >>= count;
    return _mm512_loadu_si512(lanes);
}
#define _mm512_srai_epi32 emulated_srai_epi32

static inline __m256 emulated_extractf32x8_ps(__m512 v, int half) {
    float lanes[16];
    memcpy(lanes, &v, sizeof lanes);
    return _mm256_loadu_ps(lanes + half * 8);
}
#define _mm512_extractf32x8_ps emulated_extractf32x8_ps

/* 0.7.4 multiplies by 2^n in float, which overflows at n = 128 where the instruction does not. */
static inline __m512 emulated_scalef_ps(__m512 v, __m512 n) {
    float lanes[16], exponents[16];
    memcpy(lanes, &v, sizeof lanes);
    memcpy(exponents, &n, sizeof exponents);
    for (int i = 0; i < 16; i++) lanes[i] = (float)((double)lanes[i] * exp2((double)floorf(exponents[i])));
    return _mm512_loadu_ps(lanes);
}
#undef _mm512_scalef_ps
#define _mm512_scalef_ps emulated_scalef_ps

/* AVX-VNNI's form of what SIMDe knows as AVX-512VL. */
#define _mm256_dpbusd_avx_epi32 simde_mm256_dpbusd_epi32

#endif
