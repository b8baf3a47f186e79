/* Pooling of NHWC images.
 *
 *   max      y[n,oy,ox,c] = max over the window's pixels inside the image; NaN if any is NaN
 *   average  y[n,oy,ox,c] = sum over the window's pixels inside the image / count
 *
 * count is kh*kw with count_include_pad, of which only positions inside the padded image count (ceil_mode may let a
 * window hang over it), else the number of pixels inside the image. Output size comes from the caller (ceil_mode and
 * auto_pad are settled before); every window must touch at least one pixel. A global pool has kernels of its own below.
 * Everything is per output pixel: results do not depend on the team. Thread-safe after prepare. */
#ifndef PARE_KERNELS_CPU_POOL_POOL_H
#define PARE_KERNELS_CPU_POOL_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/eltwise/quant.h"
#include "kernels/cpu/eltwise/unary.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

/* x_ld, y_ld: elements from a pixel to the next. */
typedef struct {
    int32_t n, h, w, c;
    int32_t oh, ow;
    int32_t kh, kw, sy, sx, dy, dx;
    int32_t pad_top, pad_left, pad_bottom, pad_right; /* the last two only matter for count_include_pad */
    size_t x_ld, y_ld;
} PoolShape;

typedef enum { POOL_MAX, POOL_AVERAGE, POOL_KINDS } PoolKind;

typedef struct PoolF32 PoolF32;
typedef struct PoolU8 PoolU8;

/* The part of one window that lies inside the image: x is its first pixel; ny x nx pixels, row_pitch and col_pitch
 * elements apart. count is the divisor of an average. */
typedef struct {
    int32_t ny, nx;
    ptrdiff_t row_pitch, col_pitch;
    int32_t count;
} PoolWindow;

typedef void (*PoolF32Fn)(const PoolF32 *p, const PoolWindow *win, const float *x, float *y);
typedef void (*PoolU8Fn)(const PoolU8 *p, const PoolWindow *win, const uint8_t *x, uint8_t *y);
/* Sums of channels [c0, c1) over `pixels` pixels, for the global pools; of int8 with 128 added. */
typedef void (*PoolGlobalF32Fn)(const float *x, float *y, int64_t pixels, size_t ld, int32_t c0, int32_t c1,
                                PoolKind kind);
typedef void (*PoolGlobalU8Fn)(const uint8_t *x, int32_t *sum, int64_t pixels, size_t ld, int32_t c0, int32_t c1,
                               bool x_signed);

/* One table row per ISA each. */
typedef struct {
    PoolF32Fn window[POOL_KINDS];
    PoolGlobalF32Fn global;
} PoolF32Ops;
typedef struct {
    PoolU8Fn window[POOL_KINDS];
    PoolGlobalU8Fn global_sum;
} PoolU8Ops;

struct PoolF32 {
    PoolShape s;
    PoolKind kind;
    bool count_include_pad;
    const PoolF32Ops *ops; /* set by prepare */
};

/* Integer max is exact on stored values; input and output share scale and zero point (when they do not, a requantizing
 * lookup table follows: lut). Integer average: acc = sum(x) - pixels_inside * x_zp, then docs/numerics.md's
 * requantization with the multiplier (float)(scale / count), scale = (double)s_x / s_y. */
struct PoolU8 {
    PoolShape s;
    PoolKind kind;
    bool count_include_pad;
    bool x_signed, y_signed;    /* int8 instead of uint8; zero points and bounds in the stored values' units */
    int32_t x_zp, y_zp, lo, hi; /* average only */
    double scale;               /* average only */
    const uint8_t *lut;         /* applied last; NULL for none */
    LutFn lut_fn;               /* set by prepare */
    const PoolU8Ops *ops;       /* set by prepare */
};

void pool_f32_prepare(PoolF32 *p, uint32_t isa_bits);
void pool_f32_run(const PoolF32 *p, const float *x, float *y, Team *team);
void pool_u8_prepare(PoolU8 *p, uint32_t isa_bits);
void pool_u8_run(const PoolU8 *p, const uint8_t *x, uint8_t *y, Team *team);

/* Global pooling over all `pixels` of each of n images; y is [n][y_ld]. The float sum runs in 4 interleaved partial
 * sums per channel, added pairwise, on every ISA and team: the same bits everywhere. */
typedef struct {
    int32_t n, c;
    int64_t pixels;
    size_t x_ld, y_ld;
    PoolKind kind;
    const PoolF32Ops *ops; /* set by prepare */
} GlobalPoolF32;

/* y = zp + rne(clamp(float(sum(x) - pixels * x_zp) * mult, ..)), mult = (float)((double)s_x / (s_y * pixels));
 * pixels <= 2^23. */
typedef struct {
    int32_t n, c;
    int64_t pixels;
    size_t x_ld, y_ld;
    bool x_signed, y_signed;
    int32_t x_zp, y_zp, lo, hi;
    float mult;
    const uint8_t *lut; /* applied last; NULL for none */
    const PoolU8Ops *ops;
} GlobalPoolU8;

void global_pool_f32_prepare(GlobalPoolF32 *p, uint32_t isa_bits);
void global_pool_f32_run(const GlobalPoolF32 *p, const float *x, float *y, Team *team);
void global_pool_u8_prepare(GlobalPoolU8 *p, uint32_t isa_bits);
void global_pool_u8_run(const GlobalPoolU8 *p, const uint8_t *x, uint8_t *y, Team *team);

#endif
