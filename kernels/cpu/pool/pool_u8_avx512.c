#include "kernels/cpu/eltwise/vf_avx512.h"

#include "kernels/cpu/pool/pool_u8_body.h"
