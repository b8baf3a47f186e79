#include "kernels/cpu/eltwise/vf_avx2.h"

#include "kernels/cpu/move/reduce_body.h"
