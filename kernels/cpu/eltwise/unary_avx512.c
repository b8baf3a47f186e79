#include "kernels/cpu/eltwise/vf_avx512.h"

#include "kernels/cpu/eltwise/unary_body.h"
