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

#endif
