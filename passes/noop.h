/* Removal of ops that return their input unchanged; part of the fold pass. */
#ifndef PARE_PASSES_NOOP_H
#define PARE_PASSES_NOOP_H

#include "passes/edit.h"

/* Removes the node when its output equals one of its inputs; *removed tells. */
PARE_NODISCARD Status noop_remove(Graph *g, NodeId id, Arena *scratch, bool *removed);

#endif
