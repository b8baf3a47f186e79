#include "kernels/cpu/eltwise/vf_avx512.h"

#include "kernels/cpu/move/resize_body.h"
