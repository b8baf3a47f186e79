/* 16 registers: up to 12 accumulators, a broadcast activation and the weights of up to 3 panels (the fourth from
 * memory). */
#include "kernels/cpu/igemm/vec_avx2.h"

#include "kernels/cpu/igemm/f32_body.h"

IGEMM_KERNEL(igemm_f32_avx2_x1, 12, 1)
IGEMM_KERNEL(igemm_f32_avx2_x2, 6, 2)
IGEMM_KERNEL(igemm_f32_avx2_x3, 4, 3)
IGEMM_KERNEL(igemm_f32_avx2_x4, 2, 4)
