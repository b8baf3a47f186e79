#include <string.h>

#include "kernels/cpu/move/move.h"

/* Squares of 8 keep both sides within a few cache lines. */
enum { TILE = 8 };

static inline __attribute__((always_inline)) void transpose_any(char *to, const char *from, size_t rows, size_t cols,
                                                                size_t to_pitch, size_t from_pitch, size_t bytes) {
    for (size_t c0 = 0; c0 < cols; c0 += TILE)
        for (size_t r0 = 0; r0 < rows; r0 += TILE)
            for (size_t c = c0; c < cols && c < c0 + TILE; c++)
                for (size_t r = r0; r < rows && r < r0 + TILE; r++)
                    memcpy(to + (c * to_pitch + r) * bytes, from + (r * from_pitch + c) * bytes, bytes);
}

#define TRANSPOSE(bits)                                                                                                \
    static void transpose_##bits(void *to, const void *from, size_t rows, size_t cols, size_t to_pitch,                \
                                 size_t from_pitch) {                                                                  \
        transpose_any(to, from, rows, cols, to_pitch, from_pitch, bits / 8);                                           \
    }
TRANSPOSE(8)
TRANSPOSE(16)
TRANSPOSE(32)
TRANSPOSE(64)

const MoveOps move_plain = {.transpose = {transpose_8, transpose_16, transpose_32, transpose_64}};
