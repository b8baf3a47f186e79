/* Subgraphs and constants: parts of the fold pass, and of dce. */
#ifndef PARE_PASSES_INLINE_H
#define PARE_PASSES_INLINE_H

#include "passes/edit.h"

/* Constants that the node's subgraphs capture become constants of theirs, and captures that nothing reads go. */
PARE_NODISCARD Status inline_captures(Graph *g, NodeId id, bool *done);
/* An If of a constant condition is replaced by the nodes of the branch that it takes. */
PARE_NODISCARD Status inline_if(Graph *g, NodeId id, Arena *scratch, bool *done);

#endif
