#include "kernels/cpu/igemm/vec_avx512.h"

#include "kernels/cpu/igemm/post_body.h"

IGEMM_POST_KERNEL(igemm_post_avx512)
