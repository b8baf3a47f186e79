/* The contract between the igemm driver and its kernels.
 *
 * A kernel computes a tile of mr rows (output pixels) by nr = v * lanes columns (output channels), v panels of weights.
 * A panel holds `lanes` columns: [reduction / kr][lanes][kr] elements, so that kr consecutive reduction elements of a
 * column stand together. By kr an 8-bit kernel says what it multiplies: kr 1   activations u8, weights s8 (plain C) kr
 * 2   activations and weights widened to s16: rows are gathered, and pairs go through vpmaddwd, which is exact kr 4
 * activations u8, weights s8, for vpdpbusd; int8 activations are gathered with the top bit flipped Every row of one
 * family and instruction set has the same lanes (the nr of its first row) and kr, so that all of them read the same
 * packed weights; they differ in v and in the largest mr. */
#ifndef PARE_KERNELS_CPU_IGEMM_TILE_H
#define PARE_KERNELS_CPU_IGEMM_TILE_H

#include "kernels/cpu/igemm/igemm.h"

/* Rows must exist for every height 1..mr; this bounds mr over all rows. */
enum { IGEMM_MAX_ROWS = 16 };

typedef struct IgemmTile {
    int mr;                   /* 1 .. the row's mr */
    int64_t n;                /* columns to store, (v - 1) * lanes < n <= v * lanes */
    const void *const *a;     /* [taps][a_step] pointers to kc elements each, of which the first mr count */
    int64_t a_step, taps, kc; /* kc is a multiple of kr, and at least 1 */
    const void *w;            /* the first panel */
    int64_t w_panel;          /* bytes from one panel to the next */
    const void *bias;         /* [v * lanes] float or int32_t: the accumulators start from it */
    const int32_t *row_add;   /* 8-bit: NULL, or [mr] added to all accumulators of a row */
    const float *mult;        /* 8-bit: [v * lanes] */
    float lo, hi;             /* F32 output: bounds; 8-bit output: bounds less the zero point */
    int32_t y_zero;
    IgemmType y_type;
    const float *residual; /* NULL, or float rows added before the bounds */
    int64_t ldr;           /* elements */
    void *y;
    int64_t ldy; /* elements */
} IgemmTile;

typedef void KernelFn_IGEMM_F32(const IgemmTile *tile);
typedef void KernelFn_IGEMM_Q8(const IgemmTile *tile);

/* What is done to rows of finished values while they are in the cache. */
typedef struct IgemmPost {
    int64_t n;
    void *y;          /* in and out */
    const void *r;    /* the residual: float, or of y's type */
    IgemmType y_type; /* F32: y += r. U8, S8: y = QAdd(y, r) */
    int32_t y_zero;   /* zero point of y as it comes in */
    const IgemmQAdd *add;
} IgemmPost;

typedef void KernelFn_IGEMM_POST(const IgemmPost *post);

/* Round to nearest even for |x| < 2^22, in the default rounding mode: adding 1.5 * 2^23 leaves no fraction bits. Plain
 * arithmetic, unlike rintf, which is a library call on base x86-64. */
static inline int32_t round_to_even(float x) {
    const float magic = 12582912.0f;
    return (int32_t)((x + magic) - magic);
}

/* Copies n activations into a gathered row, widening each to 16 bits; `sign` is 0x80 for int8, 0 for uint8. */
typedef void KernelFn_IGEMM_WIDEN(int16_t *to, const uint8_t *from, int64_t n, uint8_t sign);

#endif
