/* AVX2 has no exact product of bytes: vpmaddubsw saturates at 32,767. On 16-bit pairs vpmaddwd is exact. */
#include "kernels/cpu/igemm/vec_avx2.h"

enum { KR = 2 };
typedef int16_t Activation;

static inline VecI dot(VecI acc, VecI a, VecI b) { return vi_madd16(acc, a, b); }

#include "kernels/cpu/igemm/q8_body.h"

IGEMM_KERNEL(igemm_q8_avx2_x1, 10, 1)
IGEMM_KERNEL(igemm_q8_avx2_x2, 5, 2)
IGEMM_KERNEL(igemm_q8_avx2_x3, 3, 3)
IGEMM_KERNEL(igemm_q8_avx2_x4, 2, 4)
