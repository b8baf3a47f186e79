/* vpdpbusd in its VEX encoding, for CPUs that have it but no AVX-512. */
#include "kernels/cpu/igemm/vec_avx2.h"

enum { KR = 4 };
typedef uint8_t Activation;

static inline VecI dot(VecI acc, VecI a, VecI b) { return _mm256_dpbusd_avx_epi32(acc, a, b); }

#include "kernels/cpu/igemm/q8_body.h"

IGEMM_KERNEL(igemm_q8_avx_vnni_x1, 12, 1)
IGEMM_KERNEL(igemm_q8_avx_vnni_x2, 6, 2)
IGEMM_KERNEL(igemm_q8_avx_vnni_x3, 4, 3)
IGEMM_KERNEL(igemm_q8_avx_vnni_x4, 2, 4)
