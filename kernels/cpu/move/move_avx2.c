/* Transposes by squares in registers: 8x8 for 4-byte elements, 16x16 for bytes; 2- and 8-byte ones are rare and stay
 * scalar. */
#include <string.h>

#include "kernels/cpu/eltwise/vf_avx2.h"
#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/move/move.h"
#include "kernels/cpu/move/transpose.h"

#define MOVE_INLINE static inline __attribute__((always_inline))

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

/* Three rows into pixels of 3, and back: the layout change of colour images. 16 pixels of bytes or 4 of floats make
 * three vectors on both sides, and every vector of one side takes some elements of each of the other: 9 byte shuffles.
 */
typedef struct {
    __m128i take[3][3]; /* [result][operand]; -1 where the element comes from another operand */
} Shuffle3;

static Shuffle3 shuffle3_make(bool join, int bytes) {
    int8_t take[3][3][16];
    const int n = 16 / bytes;
    memset(take, -1, sizeof take);
    for (int e = 0; e < 3 * n; e++) { /* element e of the pixel side: channel e % 3 of pixel e / 3 */
        const int packed = e / n, packed_at = e % n, plane = e % 3, plane_at = e / 3;
        const int to = join ? packed : plane, to_at = join ? packed_at : plane_at;
        const int from = join ? plane : packed, from_at = join ? plane_at : packed_at;
        for (int b = 0; b < bytes; b++) take[to][from][to_at * bytes + b] = (int8_t)(from_at * bytes + b);
    }
    Shuffle3 s;
    memcpy(&s, take, sizeof s);
    return s;
}

/* Vector v of one side: with `join` the sides are read as planes `plane` bytes apart and written packed, else the
 * reverse. */
MOVE_INLINE size_t transpose_3(char *to, const char *from, size_t n, size_t plane, bool join, int bytes) {
    const Shuffle3 s = shuffle3_make(join, bytes);
    const size_t lanes = 16 / (size_t)bytes, from_step = join ? plane : 16, to_step = join ? 16 : plane;
    size_t i = 0;
    for (; i + lanes <= n; i += lanes) {
        const char *p = from + i * (size_t)bytes * (join ? 1 : 3);
        char *q = to + i * (size_t)bytes * (join ? 3 : 1);
        __m128i v[3];
        for (size_t k = 0; k < 3; k++) v[k] = _mm_loadu_si128((const __m128i *)(const void *)(p + k * from_step));
        for (size_t k = 0; k < 3; k++) {
            const __m128i a = _mm_shuffle_epi8(v[0], s.take[k][0]), b = _mm_shuffle_epi8(v[1], s.take[k][1]);
            const __m128i r = _mm_or_si128(_mm_or_si128(a, b), _mm_shuffle_epi8(v[2], s.take[k][2]));
            _mm_storeu_si128((__m128i *)(void *)(q + k * to_step), r);
        }
    }
    return i;
}

#define TRANSPOSE_SQUARES(name, square, side, bytes)                                                                   \
    static void name(void *to_, const void *from_, size_t rows, size_t cols, size_t to_pitch, size_t from_pitch) {     \
        char *to = to_;                                                                                                \
        const char *from = from_;                                                                                      \
        if (rows == 3 && to_pitch == 3) {                                                                              \
            const size_t done = transpose_3(to, from, cols, from_pitch * bytes, true, bytes);                          \
            transpose_part(to, from, 0, rows, done, cols, to_pitch, from_pitch, bytes);                                \
            return;                                                                                                    \
        }                                                                                                              \
        if (cols == 3 && from_pitch == 3) {                                                                            \
            const size_t done = transpose_3(to, from, rows, to_pitch * bytes, false, bytes);                           \
            transpose_part(to, from, done, rows, 0, cols, to_pitch, from_pitch, bytes);                                \
            return;                                                                                                    \
        }                                                                                                              \
        const size_t r_end = rows / side * side, c_end = cols / side * side;                                           \
        for (size_t c = 0; c < c_end; c += side)                                                                       \
            for (size_t r = 0; r < r_end; r += side)                                                                   \
                square(to + (c * to_pitch + r) * bytes, from + (r * from_pitch + c) * bytes, to_pitch, from_pitch);    \
        transpose_part(to, from, r_end, rows, 0, cols, to_pitch, from_pitch, bytes);                                   \
        transpose_part(to, from, 0, r_end, c_end, cols, to_pitch, from_pitch, bytes);                                  \
    }
TRANSPOSE_SQUARES(transpose_8, square_8, 16, 1)
TRANSPOSE_SQUARES(transpose_32, square_32, 8, 4)

TRANSPOSE_SCALAR(16)
TRANSPOSE_SCALAR(64)

const MoveOps VF_NAME(move) = {.transpose = {transpose_8, transpose_16, transpose_32, transpose_64}};
