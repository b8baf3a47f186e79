/* Integer depthwise layer on 512-bit vectors; the file that includes it sets DWQ_VNNI to 0 or 1. */
#ifndef PARE_KERNELS_CPU_DWCONV_DWQ_AVX512_H
#define PARE_KERNELS_CPU_DWCONV_DWQ_AVX512_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/dwconv/dwconv.h"
#include "kernels/cpu/dwconv/dwq_pack.h"
#include "kernels/cpu/simd.h"

#define DWQ_CB    64
#define DWQ_NX    4
#define DWQ_PARTS (DWQ_VNNI ? 1 : 2)

typedef __m512i dwq_b;
typedef __m512i dwq_i;

static inline dwq_b dwq_set1(uint8_t v) { return _mm512_set1_epi8((char)v); }
static inline dwq_b dwq_xor(dwq_b a, dwq_b b) { return _mm512_xor_si512(a, b); }
static inline dwq_b dwq_load(const uint8_t *p) { return _mm512_loadu_si512(p); }
static inline dwq_b dwq_loadn(const uint8_t *p, int32_t n) {
    return _mm512_maskz_loadu_epi8((1ull << (uint32_t)n) - 1, p);
}
static inline void dwq_store(uint8_t *p, dwq_b v) { _mm512_storeu_si512(p, v); }
static inline void dwq_storen(uint8_t *p, dwq_b v, int32_t n) {
    uint8_t b[DWQ_CB];
    dwq_store(b, v);
    dwq_copy(p, b, n);
}
static inline dwq_i dwq_load_i(const char *p) { return _mm512_load_si512(p); }

static inline void dwq_put(char *to, int j, __m512i v) {
#if DWQ_VNNI
    _mm512_store_si512(to + j * DWQ_CB, v);
#else
    _mm512_store_si512(to + j * DWQ_CB, _mm512_and_si512(v, _mm512_set1_epi16(0xff)));
    _mm512_store_si512(to + (DWQ_J + j) * DWQ_CB, _mm512_srli_epi16(v, 8));
#endif
}

static inline void dwq_interleave(char *to, const dwq_b r[4]) {
    const __m512i lo01 = _mm512_unpacklo_epi8(r[0], r[1]), hi01 = _mm512_unpackhi_epi8(r[0], r[1]);
    const __m512i lo23 = _mm512_unpacklo_epi8(r[2], r[3]), hi23 = _mm512_unpackhi_epi8(r[2], r[3]);
    dwq_put(to, 0, _mm512_unpacklo_epi16(lo01, lo23));
    dwq_put(to, 1, _mm512_unpackhi_epi16(lo01, lo23));
    dwq_put(to, 2, _mm512_unpacklo_epi16(hi01, hi23));
    dwq_put(to, 3, _mm512_unpackhi_epi16(hi01, hi23));
}

static inline dwq_i dwq_dot(dwq_i acc, const char *v, const char *w) {
#if DWQ_VNNI
    return _mm512_dpbusd_epi32(acc, _mm512_load_si512(v), _mm512_load_si512(w));
#else
    const size_t odd = DWQ_J * DWQ_CB;
    acc = _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_load_si512(v), _mm512_load_si512(w)));
    return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_load_si512(v + odd), _mm512_load_si512(w + odd)));
#endif
}

static inline __m512i dwq_scale(dwq_i acc, const char *mult) {
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_load_ps(mult)));
}

/* The saturating packs are the clamp to 0..255; lo and hi follow on bytes. */
static inline dwq_b dwq_requant(const dwq_i acc[4], const char *mult, const DwconvU8 *d) {
    const __m512i zp = _mm512_set1_epi16((short)d->uy_zp);
    const __m512i p01 = _mm512_packs_epi32(dwq_scale(acc[0], mult), dwq_scale(acc[1], mult + DWQ_CB));
    const __m512i p23 = _mm512_packs_epi32(dwq_scale(acc[2], mult + 2 * DWQ_CB), dwq_scale(acc[3], mult + 3 * DWQ_CB));
    const __m512i b = _mm512_packus_epi16(_mm512_adds_epi16(p01, zp), _mm512_adds_epi16(p23, zp));
    const __m512i low = _mm512_set1_epi8((char)d->ulo), high = _mm512_set1_epi8((char)d->uhi);
    return dwq_xor(_mm512_set1_epi8((char)d->y_flip), _mm512_min_epu8(high, _mm512_max_epu8(low, b)));
}

#endif
