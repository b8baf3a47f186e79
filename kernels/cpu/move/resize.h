/* Resizing of NHWC float images (ONNX Resize over H and W): nearest, and linear (separable: at most 4 source pixels per
 * output pixel, weighted in the order of rows then columns). Channels innermost; pixel pitches x_ld, y_ld in elements.
 * Thread-safe after prepare; an output row is one item. */
#ifndef PARE_KERNELS_CPU_MOVE_RESIZE_H
#define PARE_KERNELS_CPU_MOVE_RESIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

typedef enum {
    RESIZE_HALF_PIXEL,
    RESIZE_HALF_PIXEL_SYMMETRIC,
    RESIZE_PYTORCH_HALF_PIXEL,
    RESIZE_ALIGN_CORNERS,
    RESIZE_ASYMMETRIC,
    RESIZE_TF_CROP_AND_RESIZE
} ResizeCoord;
typedef enum { RESIZE_ROUND_PREFER_FLOOR, RESIZE_ROUND_PREFER_CEIL, RESIZE_FLOOR, RESIZE_CEIL } ResizeNearest;

/* y[i] = a*x0[i] + b*x1[i] + c*x2[i] + d*x3[i] over n contiguous floats. */
typedef void (*ResizeMixFn)(float *y, const float *const x[4], const float w[4], size_t n);

/* One table row per ISA. */
typedef struct {
    ResizeMixFn mix;
} ResizeOps;

/* Source of one output coordinate along one axis: i0, i1 clamped into the image, weight of i1; outside says that
 * tf_crop_and_resize takes the extrapolation value. */
typedef struct {
    int32_t i0, i1;
    float w1;
    bool outside;
} ResizeTap;

typedef struct {
    int32_t n, h, w, c, oh, ow;
    size_t x_ld, y_ld;
    int32_t elem_bytes; /* 4 for linear; nearest moves elements of any size */
    bool linear;
    ResizeCoord coord;
    ResizeNearest nearest;
    float scale_h, scale_w; /* output / input as the model states them; 0: oh / h, ow / w */
    float roi[4];           /* y0, x0, y1, x1, for tf_crop_and_resize */
    float extrapolation;
    ResizeTap *rows, *cols; /* oh and ow entries, the caller's memory, filled in by prepare */
    const ResizeOps *ops;   /* set by prepare */
} Resize;

void resize_prepare(Resize *r, uint32_t isa_bits);
void resize_run(const Resize *r, const void *x, void *y, Team *team);

#endif
