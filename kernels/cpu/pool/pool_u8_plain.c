#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/pool/pool_u8_body.h"
