#include "kernels/cpu/eltwise/vf_avx2.h"

#include "kernels/cpu/attention/attention_body.h"
