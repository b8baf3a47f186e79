#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/move/reduce_body.h"
