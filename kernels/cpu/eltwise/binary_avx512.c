#include <math.h>

#include "kernels/cpu/eltwise/vf_avx512.h"

#include "kernels/cpu/eltwise/binary_body.h"
