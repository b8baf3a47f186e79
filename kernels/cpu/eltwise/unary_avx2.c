#include "kernels/cpu/eltwise/vf_avx2.h"

#include "kernels/cpu/eltwise/unary_body.h"
