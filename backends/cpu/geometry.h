/* Window geometry of convolutions and pools, two spatial dims; one-dimensional ones have height 1. */
#ifndef PARE_BACKENDS_CPU_GEOMETRY_H
#define PARE_BACKENDS_CPU_GEOMETRY_H

#include "ir/graph.h"

typedef struct Window {
    int64_t n, c, ih, iw, oc, oh, ow;
    int64_t kh, kw, stride_h, stride_w, dilation_h, dilation_w;
    int64_t pad_top, pad_left, pad_bottom, pad_right;
    int64_t groups;
} Window;

/* Geometry of a Conv- or pool-like node (attributes kernel_shape, strides, dilations, pads, auto_pad, group as far as
 * its op has them; `weights` NULL for pools). False when the node is not 1-D or 2-D. */
bool window_of(const Graph *g, const Node *n, const Tensor *weights, Window *w);

#endif
