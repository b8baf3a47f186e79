#include "kernels/cpu/igemm/vec_avx2.h"

#include "kernels/cpu/igemm/post_body.h"

IGEMM_POST_KERNEL(igemm_post_avx2)

KernelFn_IGEMM_WIDEN KERNEL_NAME(igemm_widen_avx2);
void KERNEL_NAME(igemm_widen_avx2)(int16_t *to, const uint8_t *from, int64_t n, uint8_t sign) {
    const __m128i flip = _mm_set1_epi8((char)sign);
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m128i bytes = _mm_xor_si128(_mm_loadu_si128((const __m128i *)(from + i)), flip);
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_cvtepu8_epi16(bytes));
    }
    for (; i < n; i++) to[i] = (int16_t)(from[i] ^ sign);
}
