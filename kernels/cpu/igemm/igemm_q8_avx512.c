#include "kernels/cpu/igemm/vec_avx512.h"

enum { KR = 2 };
typedef int16_t Activation;

static inline VecI dot(VecI acc, VecI a, VecI b) { return vi_madd16(acc, a, b); }

#include "kernels/cpu/igemm/q8_body.h"

IGEMM_KERNEL(igemm_q8_avx512_x1, 12, 1)
IGEMM_KERNEL(igemm_q8_avx512_x2, 10, 2)
IGEMM_KERNEL(igemm_q8_avx512_x3, 8, 3)
IGEMM_KERNEL(igemm_q8_avx512_x4, 6, 4)
