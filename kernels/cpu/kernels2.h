/* The table of the memory-bound and elementwise kernels (depthwise, pooling, eltwise, norm, move, attention), from
 * kernels2.def. Families' *_prepare functions choose with kernel2_find; tests walk the whole table. */
#ifndef PARE_KERNELS_CPU_KERNELS2_H
#define PARE_KERNELS_CPU_KERNELS2_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/isa.h"

typedef struct {
    const char *family; /* "dwconv_f32" */
    Isa isa;
    const void *ops; /* the family's table type, as named in kernels2.def */
} Kernel2;

extern const Kernel2 KERNELS2[];
extern const size_t KERNELS2_COUNT;

/* The fastest row of `family` among the ISA bits (1u << Isa); the plain row is always admitted. Never NULL for a family
 * of the table. A string search: for planning, not for the run. */
const Kernel2 *kernel2_find(const char *family, uint32_t isa_bits);

#endif
