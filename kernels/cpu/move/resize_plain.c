#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/move/resize_body.h"
