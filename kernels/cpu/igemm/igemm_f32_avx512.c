/* 32 registers: up to 24 accumulators, a broadcast activation and the weights of up to 4 panels. */
#include "kernels/cpu/igemm/vec_avx512.h"

#include "kernels/cpu/igemm/f32_body.h"

IGEMM_KERNEL(igemm_f32_avx512_x1, 12, 1)
IGEMM_KERNEL(igemm_f32_avx512_x2, 10, 2)
IGEMM_KERNEL(igemm_f32_avx512_x3, 8, 3)
IGEMM_KERNEL(igemm_f32_avx512_x4, 6, 4)
