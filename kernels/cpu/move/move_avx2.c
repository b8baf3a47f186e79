/* Transposes by squares in registers: 8x8 for 4-byte elements, 16x16 for bytes; 2- and 8-byte ones are rare and stay
 * scalar. */
#include <string.h>

#include "kernels/cpu/eltwise/vf_avx2.h"
#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/move/move.h"

#define MOVE_INLINE static inline __attribute__((always_inline))

/* Elements [r0, rows) x [c0, cols), one by one. */
MOVE_INLINE void transpose_rest(char *to, const char *from, size_t r0, size_t rows, size_t c0, size_t cols,
                                size_t to_pitch, size_t from_pitch, size_t bytes) {
    for (size_t r = r0; r < rows; r++)
        for (size_t c = c0; c < cols; c++)
            memcpy(to + (c * to_pitch + r) * bytes, from + (r * from_pitch + c) * bytes, bytes);
}

MOVE_INLINE void square_32(char *to, const char *from, size_t to_pitch, size_t from_pitch) {
    __m256 a[8], b[8];
#pragma GCC unroll 8
    for (size_t i = 0; i < 8; i++) a[i] = _mm256_loadu_ps((const float *)(const void *)(from + i * from_pitch * 4));
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        b[2 * i] = _mm256_unpacklo_ps(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm256_unpackhi_ps(a[2 * i], a[2 * i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; i++) {
        a[4 * i] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0x44);
        a[4 * i + 1] = _mm256_shuffle_ps(b[4 * i], b[4 * i + 2], 0xee);
        a[4 * i + 2] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0x44);
        a[4 * i + 3] = _mm256_shuffle_ps(b[4 * i + 1], b[4 * i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (size_t i = 0; i < 4; i++) {
        float *lo = (float *)(void *)(to + i * to_pitch * 4), *hi = (float *)(void *)(to + (i + 4) * to_pitch * 4);
        _mm256_storeu_ps(lo, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
        _mm256_storeu_ps(hi, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
    }
}

/* Four rounds of interleaving row i with row i + 8: a perfect shuffle each, so that the fourth leaves the transpose. */
MOVE_INLINE void square_8(char *to, const char *from, size_t to_pitch, size_t from_pitch) {
    __m128i a[16], b[16];
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) a[i] = _mm_loadu_si128((const __m128i *)(const void *)(from + i * from_pitch));
#pragma GCC unroll 2
    for (int round = 0; round < 2; round++) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            b[2 * i] = _mm_unpacklo_epi8(a[i], a[i + 8]);
            b[2 * i + 1] = _mm_unpackhi_epi8(a[i], a[i + 8]);
        }
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            a[2 * i] = _mm_unpacklo_epi8(b[i], b[i + 8]);
            a[2 * i + 1] = _mm_unpackhi_epi8(b[i], b[i + 8]);
        }
    }
#pragma GCC unroll 16
    for (size_t i = 0; i < 16; i++) _mm_storeu_si128((__m128i *)(void *)(to + i * to_pitch), a[i]);
}

#define TRANSPOSE_SQUARES(name, square, side, bytes)                                                                   \
    static void name(void *to_, const void *from_, size_t rows, size_t cols, size_t to_pitch, size_t from_pitch) {     \
        char *to = to_;                                                                                                \
        const char *from = from_;                                                                                      \
        const size_t r_end = rows / side * side, c_end = cols / side * side;                                           \
        for (size_t c = 0; c < c_end; c += side)                                                                       \
            for (size_t r = 0; r < r_end; r += side)                                                                   \
                square(to + (c * to_pitch + r) * bytes, from + (r * from_pitch + c) * bytes, to_pitch, from_pitch);    \
        transpose_rest(to, from, r_end, rows, 0, cols, to_pitch, from_pitch, bytes);                                   \
        transpose_rest(to, from, 0, r_end, c_end, cols, to_pitch, from_pitch, bytes);                                  \
    }
TRANSPOSE_SQUARES(transpose_8, square_8, 16, 1)
TRANSPOSE_SQUARES(transpose_32, square_32, 8, 4)

static void transpose_16(void *to, const void *from, size_t rows, size_t cols, size_t to_pitch, size_t from_pitch) {
    transpose_rest(to, from, 0, rows, 0, cols, to_pitch, from_pitch, 2);
}
static void transpose_64(void *to, const void *from, size_t rows, size_t cols, size_t to_pitch, size_t from_pitch) {
    transpose_rest(to, from, 0, rows, 0, cols, to_pitch, from_pitch, 8);
}

const MoveOps VF_NAME(move) = {.transpose = {transpose_8, transpose_16, transpose_32, transpose_64}};
