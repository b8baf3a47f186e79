/* vpdpbusd adds four products u8 * s8 to a 32-bit lane without an intermediate saturation. */
#include "kernels/cpu/igemm/vec_avx512.h"

enum { KR = 4 };
typedef uint8_t Activation;

static inline VecI dot(VecI acc, VecI a, VecI b) { return _mm512_dpbusd_epi32(acc, a, b); }

#include "kernels/cpu/igemm/q8_body.h"

IGEMM_KERNEL(igemm_q8_avx512_vnni_x1, 12, 1)
IGEMM_KERNEL(igemm_q8_avx512_vnni_x2, 10, 2)
IGEMM_KERNEL(igemm_q8_avx512_vnni_x3, 8, 3)
IGEMM_KERNEL(igemm_q8_avx512_vnni_x4, 6, 4)
