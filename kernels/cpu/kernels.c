#include "kernels/cpu/kernels.h"

#include "kernels/cpu/igemm/tile.h"

#define FAMILY(family)
#define KERNEL(family, isa, mr, nr, kr, function) KernelFn_##family function;
#include "kernels.def"
#undef KERNEL

/* Rows of sets that the target architecture can never have are left out. */
#define ROW(family, isa, mr, nr, kr, function) {#function, KERNEL_##family, ISA_##isa, mr, nr, kr, (KernelFn)function},
#define ROW_PLAIN(...)                         ROW(__VA_ARGS__)
#if PARE_X86_64
#define ROW_X86(...) ROW(__VA_ARGS__)
#else
#define ROW_X86(...)
#endif
#define ROW_AVX2        ROW_X86
#define ROW_AVX_VNNI    ROW_X86
#define ROW_AVX512      ROW_X86
#define ROW_AVX512_VNNI ROW_X86
#define ROW_AVX512_BF16 ROW_X86
#define ROW_AMX_BF16    ROW_X86
#define ROW_AMX_INT8    ROW_X86

static const KernelRow ROWS[] = {
#define KERNEL(family, isa, mr, nr, kr, function) ROW_##isa(family, isa, mr, nr, kr, function)
#include "kernels.def"
#undef KERNEL
};

const KernelRow *kernel_rows(size_t *count) {
    *count = sizeof ROWS / sizeof ROWS[0];
    return ROWS;
}

const KernelRow *kernel_best_for(KernelFamily family, Isa isa) {
    const KernelRow *best = NULL;
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++)
        if (ROWS[i].family == family && ROWS[i].isa <= isa && isa_has(ROWS[i].isa)) best = &ROWS[i];
    return best;
}

const KernelRow *kernel_best(KernelFamily family) { return kernel_best_for(family, ISA_COUNT); }
