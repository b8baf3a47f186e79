#include "kernels/cpu/eltwise/vf_avx512.h"

#include "kernels/cpu/norm/norm_body.h"
