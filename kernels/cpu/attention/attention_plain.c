#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/attention/attention_body.h"
