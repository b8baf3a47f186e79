#include <math.h>

#include "kernels/cpu/eltwise/vf_avx2.h"

#include "kernels/cpu/eltwise/binary_body.h"
