#include <math.h>

#include "kernels/cpu/eltwise/vf_plain.h"

#include "kernels/cpu/eltwise/binary_body.h"
