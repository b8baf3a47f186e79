/* Integer depthwise layer on 256-bit vectors; the file that includes it sets DWQ_VNNI to 0 (vpmaddwd), or to 1 and
 * DWQ_DPBUSD to the intrinsic of its encoding, and DWQ_MASKED to 1 where AVX-512VL has masked moves and 32 registers.
 */
#ifndef PARE_KERNELS_CPU_DWCONV_DWQ_AVX2_H
#define PARE_KERNELS_CPU_DWCONV_DWQ_AVX2_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernels/cpu/dwconv/dwconv.h"
#include "kernels/cpu/dwconv/dwq_pack.h"
#include "kernels/cpu/simd.h"

#define DWQ_CB    32
#define DWQ_NX    (DWQ_MASKED ? 4 : 2)
#define DWQ_PARTS (DWQ_VNNI ? 1 : 2)

typedef __m256i dwq_b;
typedef __m256i dwq_i;

static inline dwq_b dwq_set1(uint8_t v) { return _mm256_set1_epi8((char)v); }
static inline dwq_b dwq_xor(dwq_b a, dwq_b b) { return _mm256_xor_si256(a, b); }
static inline dwq_b dwq_load(const uint8_t *p) { return _mm256_loadu_si256((const __m256i *)p); }
static inline void dwq_store(uint8_t *p, dwq_b v) { _mm256_storeu_si256((__m256i *)p, v); }
static inline dwq_b dwq_loadn(const uint8_t *p, int32_t n) {
#if DWQ_MASKED
    return _mm256_maskz_loadu_epi8((__mmask32)((1u << (uint32_t)n) - 1), p);
#else
    uint8_t b[DWQ_CB];
    dwq_copy(b, p, n);
    return dwq_load(b);
#endif
}
static inline void dwq_storen(uint8_t *p, dwq_b v, int32_t n) {
    uint8_t b[DWQ_CB];
    dwq_store(b, v);
    dwq_copy(p, b, n);
}
static inline dwq_i dwq_load_i(const char *p) { return _mm256_load_si256((const __m256i *)(const void *)p); }
static inline void dwq_store_i(char *p, dwq_i v) { _mm256_store_si256((__m256i *)(void *)p, v); }

static inline void dwq_put(char *to, int j, __m256i v) {
#if DWQ_VNNI
    dwq_store_i(to + j * DWQ_CB, v);
#else
    dwq_store_i(to + j * DWQ_CB, _mm256_and_si256(v, _mm256_set1_epi16(0xff)));
    dwq_store_i(to + (DWQ_J + j) * DWQ_CB, _mm256_srli_epi16(v, 8));
#endif
}

static inline void dwq_interleave(char *to, const dwq_b r[4]) {
    const __m256i lo01 = _mm256_unpacklo_epi8(r[0], r[1]), hi01 = _mm256_unpackhi_epi8(r[0], r[1]);
    const __m256i lo23 = _mm256_unpacklo_epi8(r[2], r[3]), hi23 = _mm256_unpackhi_epi8(r[2], r[3]);
    dwq_put(to, 0, _mm256_unpacklo_epi16(lo01, lo23));
    dwq_put(to, 1, _mm256_unpackhi_epi16(lo01, lo23));
    dwq_put(to, 2, _mm256_unpacklo_epi16(hi01, hi23));
    dwq_put(to, 3, _mm256_unpackhi_epi16(hi01, hi23));
}

static inline dwq_i dwq_dot(dwq_i acc, const char *v, const char *w) {
#if DWQ_VNNI
    return DWQ_DPBUSD(acc, dwq_load_i(v), dwq_load_i(w));
#else
    const size_t odd = DWQ_J * DWQ_CB;
    acc = _mm256_add_epi32(acc, _mm256_madd_epi16(dwq_load_i(v), dwq_load_i(w)));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(dwq_load_i(v + odd), dwq_load_i(w + odd)));
#endif
}

static inline __m256i dwq_scale(dwq_i acc, const char *mult) {
    const __m256 m = _mm256_load_ps((const float *)(const void *)mult);
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(acc), m));
}

/* The saturating packs are the clamp to 0..255; lo and hi follow on bytes. */
static inline dwq_b dwq_requant(const dwq_i acc[4], const char *mult, const DwconvU8 *d) {
    const __m256i zp = _mm256_set1_epi16((short)d->uy_zp);
    const __m256i p01 = _mm256_packs_epi32(dwq_scale(acc[0], mult), dwq_scale(acc[1], mult + DWQ_CB));
    const __m256i p23 = _mm256_packs_epi32(dwq_scale(acc[2], mult + 2 * DWQ_CB), dwq_scale(acc[3], mult + 3 * DWQ_CB));
    const __m256i b = _mm256_packus_epi16(_mm256_adds_epi16(p01, zp), _mm256_adds_epi16(p23, zp));
    const __m256i low = _mm256_set1_epi8((char)d->ulo), high = _mm256_set1_epi8((char)d->uhi);
    return dwq_xor(_mm256_set1_epi8((char)d->y_flip), _mm256_min_epu8(high, _mm256_max_epu8(low, b)));
}

#endif
