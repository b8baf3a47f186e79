#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/norm/norm_body.h"
