#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/eltwise/unary_body.h"
