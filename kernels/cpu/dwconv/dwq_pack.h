/* Packed layout of the integer depthwise kernels, the same for all vector rows.
 *
 * A block is CB channels, held by 4 accumulator vectors j; a 128-bit lane L of vector j holds channels 16L + 4j + i,
 * i = 0..3: the order in which byte and word unpacks of 4 image rows leave them, and which the saturating packs undo.
 * Filter rows go in groups of 4 (missing ones have weight 0), the 4 bytes that one dot-product instruction sums.
 *
 *   int32 bias[CB] | float mult[CB] | for group g, column kx: weights of the 4 vectors
 *
 * Weights are bytes (w0 w1 w2 w3) per channel for byte dot products; without these, 16-bit pairs: first the vectors of
 * (w0 w2), which meet the even bytes, then those of (w1 w3). */
#ifndef PARE_KERNELS_CPU_DWCONV_DWQ_PACK_H
#define PARE_KERNELS_CPU_DWCONV_DWQ_PACK_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { DWQ_GROUP = 4, DWQ_J = 4 };

/* Place of channel c of a block within its 4 vectors of cb/4 channels. */
static inline size_t dwq_place(size_t c, size_t cb) {
    const size_t lane = c / 16, j = c % 16 / 4;
    return j * (cb / DWQ_J) + lane * 4 + c % 4;
}

/* The first n < 64 bytes of a block, by moves of fixed sizes: masked byte stores take tens of cycles on some CPUs. */
static inline void dwq_copy(uint8_t *to, const uint8_t *from, int32_t n) {
    int32_t i = 0;
    if (n & 32) memcpy(to, from, 32), i = 32;
    if (n & 16) memcpy(to + i, from + i, 16), i += 16;
    if (n & 8) memcpy(to + i, from + i, 8), i += 8;
    if (n & 4) memcpy(to + i, from + i, 4), i += 4;
    if (n & 2) memcpy(to + i, from + i, 2), i += 2;
    if (n & 1) to[i] = from[i];
}

#endif
