/* Per-channel affine maps y = x·scale + shift by constants, and the ops with weights that can take them. Parts of fuse.
 */
#ifndef PARE_PASSES_AFFINE_H
#define PARE_PASSES_AFFINE_H

#include "passes/edit.h"

typedef struct Affine {
    ValueId x;
    int axis;              /* of x, along which scale and shift run; -1 when n is 1 */
    int64_t n;             /* elements of scale and shift: 1, or the size of the axis */
    double *scale, *shift; /* NULL: all 1, all 0; in the arena */
} Affine;

/* Reads node n as an affine map of its input: BatchNormalization in inference, Mul, Div, Add or Sub with a constant
 * that varies along at most one axis. False when it is none or has values that are not finite. */
bool affine_read(const Graph *g, const Node *n, Arena *a, Affine *out);

/* An op with constant weights. */
typedef struct Weighted {
    NodeId node;
    NodeId add;       /* MatMul: the Add of a constant bias behind it, or NO_ID */
    int64_t outputs;  /* channels of the result */
    int64_t inputs;   /* channels of input 0 */
    bool takes_shift; /* can add a constant to its result: all but a MatMul without that Add */
} Weighted;

/* Reads node id (Conv, ConvTranspose, Gemm, MatMul with float constants) as such. Gemm's alpha and beta may be any. */
bool weighted_read(const Graph *g, NodeId id, Weighted *w);
/* The axis of the result that has the output channels, and of input 0 that has the input channels. */
int weighted_out_axis(const Graph *g, const Weighted *w);
int weighted_in_axis(const Graph *g, const Weighted *w);
/* Puts scale and shift (n = 1 or w->outputs elements; NULL: none) behind the op into its weights and bias. The shift
 * must be NULL unless takes_shift. */
PARE_NODISCARD Status weighted_apply_after(Graph *g, const Weighted *w, const Affine *f, Arena *a);
/* Same in front of the op's input 0 (n = 1 or w->inputs). The caller has checked that a shift meets no padding. */
PARE_NODISCARD Status weighted_apply_before(Graph *g, const Weighted *w, const Affine *f, Arena *a);
/* No position of the result sees padding. */
bool weighted_has_no_padding(const Graph *g, const Weighted *w);

#endif
