/* Sliding windows over one to three spatial axes: the geometry that convolutions and pools share (ONNX attributes
 * kernel_shape, strides, dilations, pads, auto_pad, ceil_mode). */
#ifndef PARE_KERNELS_REF_SPATIAL_H
#define PARE_KERNELS_REF_SPATIAL_H

#include "ir/op.h"

enum { MAX_SPATIAL = 3 };

typedef enum AutoPad { AUTO_PAD_NOTSET, AUTO_PAD_SAME_UPPER, AUTO_PAD_SAME_LOWER, AUTO_PAD_VALID } AutoPad;

typedef struct Window {
    int n; /* spatial axes */
    bool kernel_known;
    int64_t kernel[MAX_SPATIAL], stride[MAX_SPATIAL], dilation[MAX_SPATIAL], pad_lo[MAX_SPATIAL], pad_hi[MAX_SPATIAL];
    AutoPad auto_pad;
    bool ceil_mode;
} Window;

/* Reads the attributes that the node's op has. `kernel` (n dims, symbols allowed, or NULL) is the weight's; it is used
 * when kernel_shape is not set and must agree with it otherwise. NULL on success, else what is wrong (static text). */
const char *window_read(const Node *node, int n, const Dim *kernel, Window *w);
/* Extent of the dilated kernel on axis i. */
int64_t window_extent(const Window *w, int i);
/* Output size on axis i of an input of size `in` (symbols carried through) into *out. NULL or what is wrong. */
const char *window_out_dim(SymTab *syms, const Window *w, int i, Dim in, Dim *out);
/* Same for a transposed convolution; output_padding is read from `pad_out`. */
const char *window_transposed_dim(SymTab *syms, const Window *w, int i, int64_t pad_out, Dim in, Dim *out);

/* Numbers only: output sizes, and pad_lo / pad_hi worked out from auto_pad. */
const char *window_resolve(Window *w, const int64_t *in, int64_t *out);
/* Puts the window's axes last of exactly MAX_SPATIAL, with neutral leading axes; in and out likewise (n sizes each). */
void window_to_3d(Window *w, int64_t *in, int64_t *out);

/* First and one-past-last output position whose tap k of axis i lies inside [0, in). */
void window_tap_range(const Window *w, int i, int64_t k, int64_t in, int64_t out, int64_t *lo, int64_t *hi);

#endif
