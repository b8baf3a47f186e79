/* Intrinsics that kernels use and Debian 12's SIMDe lacks, in plain C, for the second compilation of the kernels
 * (PARE_SIMDE; forced into each of those files by CMake). Meaning: Intel's Intrinsics Guide. A newer SIMDe that has one
 * of them wins. */
#ifndef PARE_TESTS_SUPPORT_SIMDE_MORE_H
#define PARE_TESTS_SUPPORT_SIMDE_MORE_H

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

#ifndef __mmask8
#define __mmask8  simde__mmask8
#define __mmask16 simde__mmask16
#define __mmask32 simde__mmask32
#define __mmask64 simde__mmask64
#endif

/* MORE_LANES(name, result type, its lane type, argument type, its lane type, lanes, expression of one lane x) */
#define MORE_LANES(name, R, r_lane, A, a_lane, lanes, expression)                                                      \
    static inline R more##name(A v) {                                                                                  \
        a_lane in[sizeof(A) / sizeof(a_lane)];                                                                         \
        r_lane out[sizeof(R) / sizeof(r_lane)];                                                                        \
        R result;                                                                                                      \
        memcpy(in, &v, sizeof v);                                                                                      \
        for (int i = 0; i < (lanes); i++) {                                                                            \
            a_lane x = in[i];                                                                                          \
            out[i] = (r_lane)(expression);                                                                             \
        }                                                                                                              \
        memcpy(&result, out, sizeof result);                                                                           \
        return result;                                                                                                 \
    }

/* MORE_MEMORY(suffix of the intrinsic, width prefix, vector type, lane type, mask type): a masked store, and a masked
 * load that puts zeros. Lanes outside of the mask are not touched in memory. */
#define MORE_MEMORY(prefix, suffix, V, lane, M)                                                                        \
    static inline void more##prefix##_mask_storeu_##suffix(void *to, M mask, V v) {                                    \
        lane in[sizeof(V) / sizeof(lane)];                                                                             \
        memcpy(in, &v, sizeof v);                                                                                      \
        for (size_t i = 0; i < sizeof(V) / sizeof(lane); i++)                                                          \
            if (mask >> i & 1) memcpy((char *)to + i * sizeof(lane), &in[i], sizeof(lane));                            \
    }                                                                                                                  \
    static inline V more##prefix##_maskz_loadu_##suffix(M mask, const void *from) {                                    \
        lane out[sizeof(V) / sizeof(lane)];                                                                            \
        V v;                                                                                                           \
        memset(out, 0, sizeof out);                                                                                    \
        for (size_t i = 0; i < sizeof(V) / sizeof(lane); i++)                                                          \
            if (mask >> i & 1) memcpy(&out[i], (const char *)from + i * sizeof(lane), sizeof(lane));                   \
        memcpy(&v, out, sizeof v);                                                                                     \
        return v;                                                                                                      \
    }

/* cvtps2dq: the current rounding mode; what does not fit, NaN included, is INT32_MIN. */
static inline int32_t more_round(float x) {
    float r = nearbyintf(x);
    return r >= -2147483648.0f && r < 2147483648.0f ? (int32_t)r : INT32_MIN;
}

/* vcvttps2dq: toward zero. */
static inline int32_t more_truncate(float x) {
    return x > -2147483904.0f && x < 2147483648.0f ? (int32_t)x : INT32_MIN;
}

MORE_LANES(_mm512_cvtepi32_ps, __m512, float, __m512i, int32_t, 16, x)
MORE_LANES(_mm512_cvtps_epi32, __m512i, int32_t, __m512, float, 16, more_round(x))
MORE_LANES(_mm512_cvttps_epi32, __m512i, int32_t, __m512, float, 16, more_truncate(x))
MORE_LANES(_mm512_cvtepi8_epi32, __m512i, int32_t, __m128i, int8_t, 16, x)
MORE_LANES(_mm512_cvtepu8_epi32, __m512i, int32_t, __m128i, uint8_t, 16, x)
MORE_LANES(_mm512_cvtepi16_epi32, __m512i, int32_t, __m256i, int16_t, 16, x)
MORE_LANES(_mm512_cvtepu16_epi32, __m512i, int32_t, __m256i, uint16_t, 16, x)
MORE_LANES(_mm512_cvtepi32_epi8, __m128i, int8_t, __m512i, int32_t, 16, (uint32_t)x & 0xff)
MORE_LANES(_mm512_cvtepi32_epi16, __m256i, int16_t, __m512i, int32_t, 16, (uint32_t)x & 0xffff)
MORE_MEMORY(_mm512, ps, __m512, float, __mmask16)
MORE_MEMORY(_mm512, epi32, __m512i, int32_t, __mmask16)
MORE_MEMORY(_mm512, epi16, __m512i, int16_t, __mmask32)
MORE_MEMORY(_mm512, epi8, __m512i, int8_t, __mmask64)
MORE_MEMORY(_mm256, ps, __m256, float, __mmask8)
MORE_MEMORY(_mm256, epi8, __m256i, int8_t, __mmask32)
MORE_MEMORY(_mm, epi8, __m128i, int8_t, __mmask16)

static inline __m256 more_mm512_extractf32x8_ps(__m512 v, int half) {
    __m256 result;
    memcpy(&result, (const char *)&v + (half & 1) * 32, sizeof result);
    return result;
}

static inline __m512i more_mm512_srai_epi32(__m512i v, unsigned count) {
    int32_t lanes[16];
    memcpy(lanes, &v, sizeof v);
    for (int i = 0; i < 16; i++) lanes[i] >>= count > 31 ? 31 : count;
    memcpy(&v, lanes, sizeof v);
    return v;
}

/* vpmaddwd; SIMDe's alias of it takes the arguments of the masked form. */
static inline __m512i more_mm512_madd_epi16(__m512i a, __m512i b) {
    int16_t x[32], y[32];
    int32_t sum[16];
    memcpy(x, &a, sizeof a);
    memcpy(y, &b, sizeof b);
    for (int i = 0; i < 16; i++)
        sum[i] = (int32_t)((uint32_t)(x[2 * i] * y[2 * i]) + (uint32_t)(x[2 * i + 1] * y[2 * i + 1]));
    memcpy(&a, sum, sizeof a);
    return a;
}

#undef _mm512_madd_epi16
#define _mm512_madd_epi16 more_mm512_madd_epi16
#ifndef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps more_mm512_cvtepi32_ps
#endif
#ifndef _mm512_cvtps_epi32
#define _mm512_cvtps_epi32 more_mm512_cvtps_epi32
#endif
#ifndef _mm512_cvttps_epi32
#define _mm512_cvttps_epi32 more_mm512_cvttps_epi32
#endif
#ifndef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32 more_mm512_cvtepi8_epi32
#endif
#ifndef _mm512_cvtepu8_epi32
#define _mm512_cvtepu8_epi32 more_mm512_cvtepu8_epi32
#endif
#ifndef _mm512_cvtepi16_epi32
#define _mm512_cvtepi16_epi32 more_mm512_cvtepi16_epi32
#endif
#ifndef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32 more_mm512_cvtepu16_epi32
#endif
#ifndef _mm512_cvtepi32_epi8
#define _mm512_cvtepi32_epi8 more_mm512_cvtepi32_epi8
#endif
#ifndef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16 more_mm512_cvtepi32_epi16
#endif
#ifndef _mm512_mask_storeu_ps
#define _mm512_mask_storeu_ps more_mm512_mask_storeu_ps
#endif
#ifndef _mm512_maskz_loadu_ps
#define _mm512_maskz_loadu_ps more_mm512_maskz_loadu_ps
#endif
#ifndef _mm512_mask_storeu_epi32
#define _mm512_mask_storeu_epi32 more_mm512_mask_storeu_epi32
#endif
#ifndef _mm512_maskz_loadu_epi32
#define _mm512_maskz_loadu_epi32 more_mm512_maskz_loadu_epi32
#endif
#ifndef _mm512_mask_storeu_epi16
#define _mm512_mask_storeu_epi16 more_mm512_mask_storeu_epi16
#endif
#ifndef _mm512_maskz_loadu_epi16
#define _mm512_maskz_loadu_epi16 more_mm512_maskz_loadu_epi16
#endif
#ifndef _mm512_mask_storeu_epi8
#define _mm512_mask_storeu_epi8 more_mm512_mask_storeu_epi8
#endif
#ifndef _mm512_maskz_loadu_epi8
#define _mm512_maskz_loadu_epi8 more_mm512_maskz_loadu_epi8
#endif
#ifndef _mm256_mask_storeu_ps
#define _mm256_mask_storeu_ps more_mm256_mask_storeu_ps
#endif
#ifndef _mm256_maskz_loadu_ps
#define _mm256_maskz_loadu_ps more_mm256_maskz_loadu_ps
#endif
#ifndef _mm256_mask_storeu_epi8
#define _mm256_mask_storeu_epi8 more_mm256_mask_storeu_epi8
#endif
#ifndef _mm256_maskz_loadu_epi8
#define _mm256_maskz_loadu_epi8 more_mm256_maskz_loadu_epi8
#endif
#ifndef _mm_mask_storeu_epi8
#define _mm_mask_storeu_epi8 more_mm_mask_storeu_epi8
#endif
#ifndef _mm_maskz_loadu_epi8
#define _mm_maskz_loadu_epi8 more_mm_maskz_loadu_epi8
#endif
#ifndef _mm512_extractf32x8_ps
#define _mm512_extractf32x8_ps more_mm512_extractf32x8_ps
#endif
#ifndef _mm512_srai_epi32
#define _mm512_srai_epi32 more_mm512_srai_epi32
#endif
#ifndef _mm256_dpbusd_avx_epi32
#define _mm256_dpbusd_avx_epi32 _mm256_dpbusd_epi32
#endif

#endif
