/* Helpers that passes share: walking while editing, reading constants, making constants and replacing nodes. */
#ifndef PARE_PASSES_EDIT_H
#define PARE_PASSES_EDIT_H

#include "ir/op.h"
#include "passes/passes.h"

/* The live nodes in execution order at the time of the call, so that a pass may add and remove nodes while it walks. */
typedef struct NodeList {
    NodeId *ids; /* in the arena */
    uint32_t n;
} NodeList;
PARE_NODISCARD Status edit_nodes(const Graph *g, Arena *a, NodeList *list);

/* The node that computes v when it is `op` of the default domain; NO_ID otherwise. */
NodeId edit_producer(const Graph *g, ValueId v, const char *op);
/* The value's type when it is a tensor of known rank, else NULL. */
const Type *edit_ranked(const Graph *g, ValueId v);
/* Equal tensor types of known rank. */
bool edit_same_type(const Graph *g, ValueId a, ValueId b);
/* What the inputs behind the first hold is known (constants, or shape arithmetic that inference follows), so that the
 * output's type does not rest on what the model declares. */
bool edit_is_determined(const Graph *g, const Node *n);
/* Equal dims of tensors of known rank, whatever their elements. */
bool edit_same_dims(const Type *a, const Type *b);
/* The dims that are not 1 are equal and in the same order. */
bool edit_same_without_ones(const Type *a, const Type *b);
/* The axis of a view's input that runs like `axis` of its output; -1 when the view splits or merges it. */
int edit_view_axis(const Type *in, const Type *out, int axis);

/* ---- reading constants ---- */

/* A constant with one element (of any rank), as double. */
bool edit_scalar(const Graph *g, ValueId v, double *out);
/* All elements of an integer constant; NULL when v is none. Elements are in the arena. */
const int64_t *edit_ints(const Graph *g, ValueId v, Arena *a, int64_t *n);
/* All elements are equal to x. */
bool edit_all_equal(const Tensor *t, double x);

/* ---- making constants; names are made unique ---- */

PARE_NODISCARD Status edit_add_ints(Graph *g, const char *name, const int64_t *v, int64_t n, ValueId *out);
/* A constant of element type e from doubles (rounded to nearest even once). */
PARE_NODISCARD Status edit_add_floats(Graph *g, const char *name, ElemType e, int rank, const int64_t *dims,
                                      const double *v, ValueId *out);

/* ---- replacing ---- */

/* graph_set_input that reports when memory is short. */
PARE_NODISCARD Status edit_set_input(Graph *g, NodeId n, uint32_t slot, ValueId v);

/* Moves the node added last to `position` of the order. */
void edit_move_last(Graph *g, uint32_t position);
/* Where node id stands in the order. */
uint32_t edit_position(const Graph *g, NodeId id);
/* Gives the uses of `old` (a one-output node's output) to v and removes the node, unless that would only put an
 * Identity in its place (old is a model output and v an input, constant or output too). *done tells. */
PARE_NODISCARD Status edit_bypass(Graph *g, NodeId old, ValueId v, bool *done);
/* A one-output node at old's place in the order, with old's name and output, instead of old. Nodes above old that
 * nothing needs any more go too. */
PARE_NODISCARD Status edit_replace(Graph *g, NodeId old, const OpDef *op, int n_in, const ValueId *in, NodeId *out);
/* A new node `op` just in front of node `before` in the order; its output gets *type. */
PARE_NODISCARD Status edit_insert(Graph *g, NodeId before, const char *op, const char *name, int n_in,
                                  const ValueId *in, const Type *type, ValueId *out, NodeId *node);
/* A new one-output node `op` behind node id: it reads id's output, then extra[], and takes over that output's uses,
 * type and, for a model output, name. Node id's own output gets the type *inner. */
PARE_NODISCARD Status edit_behind(Graph *g, NodeId id, const char *op, int n_extra, const ValueId *extra,
                                  const Type *inner, NodeId *node);
/* Removes nodes that feed v and nothing else any more (v is no output and has no uses), upwards. */
void edit_remove_unused(Graph *g, ValueId v);

#endif
