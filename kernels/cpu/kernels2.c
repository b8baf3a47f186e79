#include "kernels/cpu/kernels2.h"

#include <string.h>

/* The rows' objects are declared by type name only through their families' headers. */
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

#define KERNEL2_OBJECT(family, suffix)     family##_##suffix
#define KERNEL2(family, type, isa, suffix) extern const type KERNEL2_OBJECT(family, suffix);
#include "kernels/cpu/kernels2.def"
#undef KERNEL2

const Kernel2 KERNELS2[] = {
#define KERNEL2(family, type, isa, suffix) {#family, ISA_##isa, &KERNEL2_OBJECT(family, suffix)},
#include "kernels/cpu/kernels2.def"
#undef KERNEL2
};

const size_t KERNELS2_COUNT = sizeof KERNELS2 / sizeof KERNELS2[0];

const Kernel2 *kernel2_find(const char *family, uint32_t isa_bits) {
    const uint32_t admitted = isa_bits | 1u << ISA_PLAIN;
    const Kernel2 *found = NULL;
    for (size_t i = 0; i < KERNELS2_COUNT; i++)
        if ((admitted >> KERNELS2[i].isa & 1u) && strcmp(KERNELS2[i].family, family) == 0) found = &KERNELS2[i];
    return found;
}
