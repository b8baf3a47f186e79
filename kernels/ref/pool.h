/* Pooling windows, shared by the standard pools and pare's QAveragePool. */
#ifndef PARE_KERNELS_REF_POOL_H
#define PARE_KERNELS_REF_POOL_H

#include "kernels/ref/dense.h"
#include "kernels/ref/spatial.h"

/* Input 0 of a pooling node and its output, on three axes. */
typedef struct Pool {
    Window w;
    int64_t in[MAX_SPATIAL], out[MAX_SPATIAL], planes; /* planes: batch x channels */
    int rank;                                          /* of the output tensor, with its dims */
    int64_t dims[MAX_RANK];
} Pool;

/* Shape rules: outputs 0 and 1 with these element types; global pools keep batch and channels. */
PARE_NODISCARD Status pool_infer(InferCtx *c, ElemType first, ElemType second);
PARE_NODISCARD Status pool_infer_global(InferCtx *c, ElemType e);

/* Sums of (x - offset) over each window's elements inside the input, and for each window of a plane the number of its
 * elements inside the input (`padded`: inside the padded input); both in scratch memory. */
PARE_NODISCARD Status pool_sums(const EvalCtx *c, double offset, bool padded, Pool *p, double **y, int64_t **counts);

#endif
