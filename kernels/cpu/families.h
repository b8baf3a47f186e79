/* The table of the memory-bound and elementwise kernels (depthwise, pooling, eltwise, norm, move, attention), from
 * families.def. Families' *_prepare functions choose with family_find; tests walk the whole table. */
#ifndef PARE_KERNELS_CPU_FAMILIES_H
#define PARE_KERNELS_CPU_FAMILIES_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/isa.h"

typedef struct {
    const char *family; /* "dwconv_f32" */
    Isa isa;
    const void *ops; /* the family's table type, as named in families.def */
} Family;

/* All rows built into this binary, in the order of families.def. Rows may need an ISA that the CPU lacks. */
const Family *family_rows(size_t *count);

/* For tests only: other rows (of emulated instruction sets) take the table's place; NULL restores it. Not thread-safe.
 */
void family_override(const Family *rows, size_t count);

/* The fastest row of `family` among the ISA bits (1u << Isa); the plain row is always admitted. Never NULL for a family
 * of the table. A string search: for planning, not for the run. */
const Family *family_find(const char *family, uint32_t isa_bits);

#endif
