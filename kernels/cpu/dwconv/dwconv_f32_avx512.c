#include "kernels/cpu/eltwise/vf_avx512.h"

#include "kernels/cpu/dwconv/dwconv_f32_body.h"
