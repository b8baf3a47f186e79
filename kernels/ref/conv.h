/* The convolution that Conv, ConvTranspose, ConvInteger, QLinearConv and pare's QConv share. */
#ifndef PARE_KERNELS_REF_CONV_H
#define PARE_KERNELS_REF_CONV_H

#include "kernels/ref/dense.h"
#include "kernels/ref/spatial.h"

typedef struct ConvShape {
    int64_t n, c, o, group; /* batch, input and output channels */
    int64_t in[MAX_SPATIAL], out[MAX_SPATIAL];
    Window w; /* padded to MAX_SPATIAL axes */
    int rank; /* of the output tensor, with its dims */
    int64_t dims[MAX_RANK];
} ConvShape;

/* Shape rule of a convolution of inputs ix [N,C,…] and iw [O,C/group,…], optional bias ib [O] (-1: none), with elements
 * `e` in output 0. */
PARE_NODISCARD Status conv_infer(InferCtx *c, int ix, int iw, int ib, ElemType e);

/* Reads the node's attributes against these tensors; checks them, also `bias` (NULL: none) of O elements. */
PARE_NODISCARD Status conv_shape(const EvalCtx *c, const Tensor *x, const Tensor *w, const Tensor *bias, ConvShape *s);

/* y[n,o,…] = bias[o] + sum over c and taps of w[o,c,…] * x[n,g*C/group+c,…], zero outside x. Exact for 8-bit integers.
 * x [N,C,in…], w [O,C/group,kernel…], bias [O] or NULL, y [N,O,out…] (scratch memory of the evaluation, made here). */
PARE_NODISCARD Status conv_f64(const EvalCtx *c, const ConvShape *s, const double *x, const double *w,
                               const double *bias, double **y);

#endif
