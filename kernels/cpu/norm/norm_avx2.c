#include "kernels/cpu/eltwise/vf_avx2.h"

#include "kernels/cpu/norm/norm_body.h"
