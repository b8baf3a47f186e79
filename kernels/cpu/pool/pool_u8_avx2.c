#include "kernels/cpu/eltwise/vf_avx2.h"

#include "kernels/cpu/pool/pool_u8_body.h"
