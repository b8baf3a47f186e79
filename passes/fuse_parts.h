/* Parts of the fuse pass that stand on their own. */
#ifndef PARE_PASSES_FUSE_PARTS_H
#define PARE_PASSES_FUSE_PARTS_H

#include "passes/edit.h"

/* A Pad of spatial borders into the Conv or pool behind it; *done tells. `id` is the Pad. */
PARE_NODISCARD Status fuse_pad(Graph *g, NodeId id, Arena *scratch, bool *done);
/* The product of a one-hot encoding, written as Equal, Cast, MatMul, with a table of weights becomes a Gather of rows;
 * `id` is the MatMul. */
PARE_NODISCARD Status fuse_one_hot(Graph *g, NodeId id, bool *done);
/* A pointwise op on gathered rows of a small constant table works on the table instead, which then folds; `id` is that
 * op. */
PARE_NODISCARD Status fuse_into_table(Graph *g, NodeId id, Arena *scratch, bool *done);
/* MatMul of rank 2 with a bias Add becomes Gemm; Gemm gets its plain form: transA, alpha and beta at their defaults and
 * C a constant row, as far as its operands allow; `id` is the product. */
PARE_NODISCARD Status fuse_gemm(Graph *g, NodeId id, Arena *scratch, bool *done);

#endif
