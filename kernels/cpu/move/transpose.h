/* Scalar transposes: the portable kernels, and the remainders of the vector ones. */
#ifndef PARE_KERNELS_CPU_MOVE_TRANSPOSE_H
#define PARE_KERNELS_CPU_MOVE_TRANSPOSE_H

#include <stddef.h>
#include <string.h>

enum { TRANSPOSE_TILE = 8 /* squares of 8 keep both sides within a few cache lines */ };

/* Elements [r0, rows) x [c0, cols) of MoveOps' transpose; `bytes` is a constant at every call. */
static inline __attribute__((always_inline)) void transpose_part(char *to, const char *from, size_t r0, size_t rows,
                                                                 size_t c0, size_t cols, size_t to_pitch,
                                                                 size_t from_pitch, size_t bytes) {
    for (size_t cb = c0; cb < cols; cb += TRANSPOSE_TILE)
        for (size_t rb = r0; rb < rows; rb += TRANSPOSE_TILE)
            for (size_t c = cb; c < cols && c < cb + TRANSPOSE_TILE; c++)
                for (size_t r = rb; r < rows && r < rb + TRANSPOSE_TILE; r++)
                    memcpy(to + (c * to_pitch + r) * bytes, from + (r * from_pitch + c) * bytes, bytes);
}

#define TRANSPOSE_SCALAR(bits)                                                                                         \
    static void transpose_##bits(void *to, const void *from, size_t rows, size_t cols, size_t to_pitch,                \
                                 size_t from_pitch) {                                                                  \
        transpose_part(to, from, 0, rows, 0, cols, to_pitch, from_pitch, bits / 8);                                    \
    }

#endif
