/* Depthwise convolution (channel multiplier 1) of NHWC images, one filter per channel:
 *
 *   y[n,oy,ox,c] = f(bias[c] + sum_{ky,kx} w[c,ky,kx] * x[n, oy*sy - pad_top + ky*dy, ox*sx - pad_left + kx*dx, c])
 *
 * Pixels outside the image count as 0 (float) or as the input's zero point (integer). Bottom and right padding are
 * implied by oh, ow. Any kernel, stride, dilation and padding; 3x3 and 5x5 with dx = 1 and stride 1 or 2 have kernels
 * of their own.
 *
 * Use: fill the shape and the numeric fields, call *_prepare, allocate *_packed_bytes (64-byte aligned), call *_pack,
 * set `packed`. After that the struct is immutable and any number of threads may run it, on different buffers. Rows of
 * the output are independent, and no sum is ever split: results do not depend on the team. */
#ifndef PARE_KERNELS_CPU_DWCONV_DWCONV_H
#define PARE_KERNELS_CPU_DWCONV_DWCONV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/eltwise/quant.h"
#include "kernels/cpu/eltwise/unary.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

/* x_ld, y_ld: elements from a pixel to the next (>= c), so that a channel slice of a wider buffer can be read or
 * written; a row is w * x_ld elements and an image h * w * x_ld. */
typedef struct {
    int32_t n, h, w, c;
    int32_t oh, ow;
    int32_t kh, kw, sy, sx, dy, dx;
    int32_t pad_top, pad_left;
    size_t x_ld, y_ld;
} DwShape;

typedef struct DwconvF32 DwconvF32;
typedef struct DwconvU8 DwconvU8;

/* One output row, channels c0..c1 (c0 a multiple of the kernel's channel block): x is the image, y the output row. */
typedef void (*DwconvF32RowFn)(const DwconvF32 *d, const float *x, float *y, int32_t oy, int32_t c0, int32_t c1);
typedef void (*DwconvU8RowFn)(const DwconvU8 *d, const uint8_t *x, uint8_t *y, int32_t oy, int32_t c0, int32_t c1);

/* Kernels for kernel size 3 and 5 (first index) at stride 1 and 2 (second), and for everything else. */
typedef struct {
    int32_t block; /* channels per packed block */
    DwconvF32RowFn small[2][2], any;
} DwconvF32Ops;

/* block: channels per packed block; group: filter rows one dot product sums (1: the plain layout, one int8 per tap and
 * channel); cost: of a block, to choose between block sizes; parts and max_columns: see dwq_pack.h and
 * dwconv_u8_body.h. Rows with group > 1 clamp by the saturation of the integer packs, which needs |acc * mult| < 2^31;
 * prepare proves that from the weights or takes the plain row. */
typedef struct {
    int32_t block, group, parts, max_columns, cost;
    DwconvU8RowFn small[2][2], any;
} DwconvU8Ops;

struct DwconvF32 {
    DwShape s;
    float lo, hi;   /* clamp, applied first; -INFINITY, INFINITY for none */
    Activation act; /* then this; fn NULL for none */
    /* set by prepare */
    const DwconvF32Ops *ops;
    DwconvF32RowFn row;
    int32_t c_step;
    /* set by the caller after pack: per block of channels, bias then kh*kw vectors of weights */
    const float *packed;
};

/* The requantization is docs/numerics.md's: y = zp + rne(clamp(float(acc) * mult[c], lo - zp, hi - zp)), then lut if
 * any. */
struct DwconvU8 {
    DwShape s;
    bool x_signed, y_signed; /* int8 instead of uint8 */
    int32_t x_zp;            /* this and the next line in the stored values' units */
    int32_t y_zp, lo, hi;    /* bounds within the type; a fused relu is lo = y_zp */
    const uint8_t *lut;      /* 256 entries or NULL */
    /* set by prepare: the problem on uint8, int8 having 128 added to values (the top bit flipped) and zero points */
    uint8_t x_flip, y_flip;
    int32_t ux_zp, uy_zp, ulo, uhi;
    LutFn lut_fn;
    const DwconvU8Ops *ops;
    DwconvU8RowFn row;
    int32_t c_step;
    const void *packed; /* per block: bias, mult, weights in the kernel's order */
};

/* Chooses the kernel among the rows that `isa` allows. Shapes must be valid (positive, oh/ow consistent with the
 * padding). */
void dwconv_f32_prepare(DwconvF32 *d, uint32_t isa_bits);
size_t dwconv_f32_packed_bytes(const DwconvF32 *d);
/* w is [c][kh][kw] (the ONNX layout), bias [c] or NULL. */
void dwconv_f32_pack(const DwconvF32 *d, const float *w, const float *bias, void *packed);
/* x: n*h*w*x_ld floats; y: n*oh*ow*y_ld, only channels 0..c of each pixel are written. */
void dwconv_f32_run(const DwconvF32 *d, const float *x, float *y, Team *team);
/* Output rows [begin, end) of n*oh, all channels, on this thread: for callers that fuse over rows. */
void dwconv_f32_rows(const DwconvF32 *d, const float *x, float *y, size_t begin, size_t end);

/* w is s8 [c][kh][kw]; bias is the full accumulator start: bias/(s_x*s_w) minus x_zp * sum(w); mult [c]. The weights
 * decide which kernels are exact, so prepare takes them too (the same pointers as pack). */
void dwconv_u8_prepare(DwconvU8 *d, const int8_t *w, const int32_t *bias, const float *mult, uint32_t isa_bits);
size_t dwconv_u8_packed_bytes(const DwconvU8 *d);
void dwconv_u8_pack(const DwconvU8 *d, const int8_t *w, const int32_t *bias, const float *mult, void *packed);
void dwconv_u8_run(const DwconvU8 *d, const uint8_t *x, uint8_t *y, Team *team);
void dwconv_u8_rows(const DwconvU8 *d, const uint8_t *x, uint8_t *y, size_t begin, size_t end);

#endif
