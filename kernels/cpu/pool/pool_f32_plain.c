#include <math.h>

#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/pool/pool_f32_body.h"
