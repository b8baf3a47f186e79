#include <string.h>

#include "kernels/cpu/eltwise/vf_avx512.h"

/* As in quant_avx2.c, on twice the width. */
static void lut_avx512(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *lut) {
    __m512i step[16];
    for (int s = 0; s < 16; s++) {
        const __m128i row = _mm_loadu_si128((const __m128i *)(lut + 16 * s));
        const __m128i before = s % 8 ? _mm_loadu_si128((const __m128i *)(lut + 16 * (s - 1))) : _mm_setzero_si128();
        step[s] = _mm512_broadcast_i32x4(_mm_xor_si128(row, before));
    }
    const __m512i sixteen = _mm512_set1_epi8(16);
    for (size_t i = 0; i < n; i += 64) {
        const __mmask64 m = n - i >= 64 ? ~0ull : (1ull << (n - i)) - 1;
        __m512i low = _mm512_maskz_loadu_epi8(m, x + i);
        __m512i high = _mm512_xor_si512(low, _mm512_set1_epi8((char)0x80));
        __m512i out = _mm512_setzero_si512();
#pragma GCC unroll 8
        for (int s = 0; s < 8; s++) {
            out = _mm512_ternarylogic_epi32(out, _mm512_shuffle_epi8(step[s], low),
                                            _mm512_shuffle_epi8(step[s + 8], high), 0x96);
            low = _mm512_subs_epi8(low, sixteen);
            high = _mm512_subs_epi8(high, sixteen);
        }
        _mm512_mask_storeu_epi8(y + i, m, out);
    }
}

#define QUANT_LUT lut_avx512
#include "kernels/cpu/eltwise/quant_body.h"
