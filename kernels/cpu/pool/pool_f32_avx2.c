#include <math.h>

#include "kernels/cpu/eltwise/vf_avx2.h"

#include "kernels/cpu/pool/pool_f32_body.h"
