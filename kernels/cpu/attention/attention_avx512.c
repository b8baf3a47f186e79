#include "kernels/cpu/eltwise/vf_avx512.h"

#include "kernels/cpu/attention/attention_body.h"
