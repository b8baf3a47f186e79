/* What the parts of the igemm driver share. */
#ifndef PARE_KERNELS_CPU_IGEMM_INTERNAL_H
#define PARE_KERNELS_CPU_IGEMM_INTERNAL_H

#include "kernels/cpu/igemm/tile.h"

/* Kernels see int8 activations with the top bit flipped, as uint8 that are 128 more: their zero point as seen. */
static inline uint8_t igemm_seen_zero(const IgemmDesc *d) {
    return (uint8_t)(d->x_zero + (d->x_type == IGEMM_S8 ? 128 : 0));
}

/* Kernels see uint8 weights as int8 that are 128 less: their zero point as seen. */
static inline int32_t igemm_seen_w_zero(const IgemmDesc *d) { return d->w_zero - (d->w_type == IGEMM_U8 ? 128 : 0); }

/* Parts of igemm_pack(): one panel of group index / panels, and everything that is not a panel's (to be done first). */
void igemm_pack_panel(const Igemm *op, const IgemmWeights *weights, void *packed, int64_t index);
void igemm_pack_pad(const Igemm *op, void *packed);

/* The operands of one run. x is as seen; residual and y as the caller's. */
typedef struct IgemmRun {
    const Igemm *op;
    const char *packed, *x, *residual;
    char *y;
} IgemmRun;

/* The work of a run is igemm_items() items, each of which needs op->thread_bytes of scratch. */
int64_t igemm_items(const Igemm *op);
void igemm_run_item(const IgemmRun *run, int64_t index, char *scratch);

/* Brings x into the form that kernels see: `pixels` pixels from `from` on, without columns of padding. */
void igemm_convert_pixels(const Igemm *op, char *to, const char *from, int64_t pixels);

/* Kernel rows first .. end - 1. */
typedef struct KernelRows {
    int64_t first, end;
} KernelRows;

/* Consecutive output pixels of one image row: (image, oy, ox) and to the right of it. */
typedef struct Span {
    int64_t image, oy, ox, count;
} Span;

Span igemm_span_at(const IgemmDesc *d, int64_t pixel);

/* Fills pointers[tap][row], IGEMM_MAX_ROWS a tap, for `rows` pixels of x as seen (of one group), which start at *span
 * and have the numbers from `first`; moves *span behind them. `copies` is room for op->copy_bytes of copied windows,
 * `pad` what taps in the padding read. Returns the kernel rows that the tile needs. */
KernelRows igemm_point_rows(const Igemm *op, const char *x, const char *pad, Span *span, int64_t first, int rows,
                            char *copies, const void **pointers);

#endif
