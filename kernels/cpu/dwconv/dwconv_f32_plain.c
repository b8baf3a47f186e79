#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/dwconv/dwconv_f32_body.h"
