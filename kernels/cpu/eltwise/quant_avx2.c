#include <string.h>

#include "kernels/cpu/eltwise/vf_avx2.h"

/* 16 byte shuffles look up 256 entries: step s holds the differences (xor) of table rows s and s-1, and a byte takes
 * part as long as what is left of its index is not negative, so its partial results telescope to its own row. Signed
 * saturation keeps indices of the other half of the table negative throughout. */
static void lut_avx2(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *lut) {
    __m256i step[16];
    for (int s = 0; s < 16; s++) {
        const __m128i row = _mm_loadu_si128((const __m128i *)(lut + 16 * s));
        const __m128i before = s % 8 ? _mm_loadu_si128((const __m128i *)(lut + 16 * (s - 1))) : _mm_setzero_si128();
        step[s] = _mm256_broadcastsi128_si256(_mm_xor_si128(row, before));
    }
    const __m256i sixteen = _mm256_set1_epi8(16);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(x + i));
        __m256i high = _mm256_xor_si256(low, _mm256_set1_epi8((char)0x80));
        __m256i out = _mm256_setzero_si256();
#pragma GCC unroll 8
        for (int s = 0; s < 8; s++) {
            out = _mm256_xor_si256(out, _mm256_shuffle_epi8(step[s], low));
            out = _mm256_xor_si256(out, _mm256_shuffle_epi8(step[s + 8], high));
            low = _mm256_subs_epi8(low, sixteen);
            high = _mm256_subs_epi8(high, sixteen);
        }
        _mm256_storeu_si256((__m256i *)(y + i), out);
    }
    for (; i < n; i++) y[i] = lut[x[i]];
}

#define QUANT_LUT lut_avx2
#include "kernels/cpu/eltwise/quant_body.h"
