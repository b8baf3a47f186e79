/* What the parts of the igemm driver share. */
#ifndef PARE_KERNELS_CPU_IGEMM_INTERNAL_H
#define PARE_KERNELS_CPU_IGEMM_INTERNAL_H

#include "kernels/cpu/igemm/tile.h"

/* Kernels see int8 activations with the top bit flipped, as uint8 that are 128 more: their zero point as seen. */
static inline uint8_t igemm_seen_zero(const IgemmDesc *d) {
    return (uint8_t)(d->x_zero + (d->x_type == IGEMM_S8 ? 128 : 0));
}

/* Kernel rows first .. end - 1. */
typedef struct KernelRows {
    int64_t first, end;
} KernelRows;

/* Fills pointers[tap][row], IGEMM_MAX_ROWS a tap, for the pixels first .. first + rows - 1 of x as seen (of one group);
 * `copies` is room for op->copy_bytes of copied windows, `pad` what taps in the padding read. Returns the kernel rows
 * that the tile needs. */
KernelRows igemm_point_rows(const Igemm *op, const char *x, const char *pad, int64_t first, int rows, char *copies,
                            const void **pointers);

#endif
