/* The table of all hand-written CPU kernels, made from kernels.def. Read-only and thread-safe. */
#ifndef PARE_KERNELS_CPU_KERNELS_H
#define PARE_KERNELS_CPU_KERNELS_H

#include "kernels/cpu/isa.h"

#include <stddef.h>

typedef enum KernelFamily {
#define FAMILY(family) KERNEL_##family,
#define KERNEL(family, isa, mr, nr, kr, function)
#include "kernels.def"
#undef FAMILY
#undef KERNEL
    KERNEL_FAMILY_COUNT
} KernelFamily;

/* To be cast to the family's KernelFn_<family> before the call. */
typedef void (*KernelFn)(void);

typedef struct KernelRow {
    const char *name; /* the function's */
    KernelFamily family;
    Isa isa;
    int mr, nr, kr;
    KernelFn fn;
} KernelRow;

/* All rows built into this binary, in the order of kernels.def. Rows may need an ISA that the CPU lacks. */
const KernelRow *kernel_rows(size_t *count);

/* The last row of the family that may run here (isa_has). Every family has a plain row: never NULL. */
const KernelRow *kernel_best(KernelFamily family);

/* The same among the rows up to `isa` in the order of enum Isa, for companions of a kernel already chosen. */
const KernelRow *kernel_best_for(KernelFamily family, Isa isa);

#endif
