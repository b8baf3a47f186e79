/* The headers of all families in families.def, for who declares their rows' objects. */
#ifndef PARE_KERNELS_CPU_FAMILIES_TYPES_H
#define PARE_KERNELS_CPU_FAMILIES_TYPES_H

#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/dwconv/dwconv.h"
#include "kernels/cpu/eltwise/binary.h"
#include "kernels/cpu/eltwise/quant.h"
#include "kernels/cpu/eltwise/unary.h"
#include "kernels/cpu/move/move.h"
#include "kernels/cpu/move/reduce.h"
#include "kernels/cpu/move/resize.h"
#include "kernels/cpu/norm/norm.h"
#include "kernels/cpu/pool/pool.h"

#endif
