#include "kernels/cpu/eltwise/vf_avx2.h"

#include "kernels/cpu/move/resize_body.h"
