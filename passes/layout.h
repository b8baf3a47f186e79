/* What the parts of the layout pass share: layout.c (driver), layout_view.c (Reshape and its kin), layout_transpose.c.
 */
#ifndef PARE_PASSES_LAYOUT_H
#define PARE_PASSES_LAYOUT_H

#include "passes/edit.h"

/* Rewrites around node id; *done tells whether one was made. Types of new values are set. */
PARE_NODISCARD Status layout_view(Graph *g, NodeId id, bool *done);
PARE_NODISCARD Status layout_transpose(Graph *g, NodeId id, Arena *scratch, bool *done);

/* The permutation of a Transpose of known rank, with the default filled in; false when the rank is unknown. */
bool layout_perm(const Graph *g, const Node *n, int64_t *perm, int *rank);
/* A constant target can turn `in` into `out`. */
bool layout_can_reshape(const Type *in, const Type *out);
/* A Reshape of x to *type in front of `before`; *ok = false when a constant target cannot express the type. */
PARE_NODISCARD Status layout_insert_reshape(Graph *g, NodeId before, const char *name, ValueId x, const Type *type,
                                            ValueId *out, bool *ok);
/* Node id computes the same from x by a Reshape to its output's type; *done = false when it cannot be expressed. */
PARE_NODISCARD Status layout_replace_by_reshape(Graph *g, NodeId id, ValueId x, bool *done);

#endif
