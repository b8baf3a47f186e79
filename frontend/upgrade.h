/* Upgrades: every node of any opset becomes pare's one form, the newest of its op. Internal to frontend/.
 *
 * The table in upgrade.c has one row a change: {op, until, fn, …} means that a node written for an opset below `until`
 * has an older form, which fn changes into the form of `until`. Rows of one op apply in ascending order. An fn edits
 * the SourceNode, adds nodes and constants in front of it, or emits everything itself. */
#ifndef PARE_FRONTEND_UPGRADE_H
#define PARE_FRONTEND_UPGRADE_H

#include "ir/op.h"

/* A node on its way into the graph. Arrays are in the import's scratch arena; tensors in attributes are owned until
 * they are handed to the graph. */
typedef struct SourceNode {
    const char *domain, *op, *name; /* name is never empty */
    int version;                    /* opset whose form the node has */
    ValueId *in, *out;              /* NO_ID: absent */
    int n_in, n_out;
    Attr *attrs; /* without subgraphs */
    int n_attrs;
    bool emitted; /* an upgrade put everything into the graph itself */
} SourceNode;

typedef struct Upgrade {
    Graph *g;
    Arena *scratch;
    uint32_t *inferred; /* nodes of g->order whose types are known, by upgrade_type */
    SourceNode *n;
} Upgrade;

/* Brings u->n to pare's form. Errors name op and node. */
PARE_NODISCARD Status upgrade_node(Upgrade *u);
/* Puts u->n into the graph as it is, without captures. *node may be NULL. */
PARE_NODISCARD Status upgrade_emit(Upgrade *u, NodeId *node);
void source_node_free(SourceNode *n);

/* The name under which an op of this opset ends in ir/ops.def; the op's own when no row renames it. */
const char *upgrade_target(const char *op, int version);
/* True when an upgrade of this op and opset reads or drops the attribute. */
bool upgrade_takes_attr(const char *op, int version, const char *attr);
/* NULL, or why old forms of the op cannot be upgraded at all (a reason for the list of unsupported ops). */
const char *upgrade_refusal(const char *op, int version);

/* ---- for the functions of the table ---- */

typedef Status (*UpgradeFn)(Upgrade *u);

/* The functions of the table: each brings one older form to the next. */
Status upgrade_batch_norm_outputs(Upgrade *u);
Status upgrade_batch_norm_spatial(Upgrade *u);
Status upgrade_binary_broadcast(Upgrade *u);
Status upgrade_cast_name(Upgrade *u);
Status upgrade_clip_inputs(Upgrade *u);
Status upgrade_concat_axis(Upgrade *u);
Status upgrade_dft_axis(Upgrade *u);
Status upgrade_dropout(Upgrade *u);
Status upgrade_gemm_broadcast(Upgrade *u);
Status upgrade_grid_sample_modes(Upgrade *u);
Status upgrade_group_norm_channels(Upgrade *u);
Status upgrade_lp_integer(Upgrade *u);
Status upgrade_pad_inputs(Upgrade *u);
Status upgrade_pad_paddings(Upgrade *u);
Status upgrade_prelu_slope(Upgrade *u);
Status upgrade_reduce_axes(Upgrade *u);
Status upgrade_reshape_shape(Upgrade *u);
Status upgrade_resize_absent(Upgrade *u);
Status upgrade_resize_scales(Upgrade *u);
Status upgrade_rnn_sequence(Upgrade *u);
Status upgrade_roi_align_mode(Upgrade *u);
Status upgrade_selu_defaults(Upgrade *u);
Status upgrade_slice_inputs(Upgrade *u);
Status upgrade_softmax_flatten(Upgrade *u);
Status upgrade_split_equal(Upgrade *u);
Status upgrade_split_input(Upgrade *u);
Status upgrade_squeeze_axes(Upgrade *u);
Status upgrade_tile_axis(Upgrade *u);
Status upgrade_topk_input(Upgrade *u);
Status upgrade_upsample_attrs(Upgrade *u);
Status upgrade_upsample_resize(Upgrade *u);
Status upgrade_upsample_scales(Upgrade *u);

PARE_NODISCARD PARE_PRINTF(3, 4) Status upgrade_error(const Upgrade *u, StatusCode code, const char *fmt, ...);
/* Attribute by name, NULL when not set. STATUS_INVALID when it has another kind. */
PARE_NODISCARD Status upgrade_attr(Upgrade *u, const char *name, AttrKind kind, const Attr **out);
void upgrade_drop(Upgrade *u, const char *name);
/* Adds or replaces. The content must live in the arena u->scratch or longer. */
PARE_NODISCARD Status upgrade_set(Upgrade *u, Attr a);
/* The node's name and `what`: "conv1/axes". */
PARE_NODISCARD Status upgrade_name(Upgrade *u, const char *what, const char **out);
/* An int64 constant of shape [n], or a scalar when n < 0 (then one number is read). */
PARE_NODISCARD Status upgrade_ints(Upgrade *u, const char *what, const int64_t *v, int64_t n, ValueId *out);
/* A float constant like `like` (element type of that value; float32 when unknown), of shape [n] or scalar. */
PARE_NODISCARD Status upgrade_floats(Upgrade *u, const char *what, ValueId like, const float *v, int64_t n,
                                     ValueId *out);
/* Sets input i, with absent inputs in between. */
PARE_NODISCARD Status upgrade_set_input(Upgrade *u, int i, ValueId v);
ValueId upgrade_input(const Upgrade *u, int i); /* NO_ID when absent */
/* Adds a node of the newest form in front; it is called "node/what". attrs may be NULL. */
PARE_NODISCARD Status upgrade_before(Upgrade *u, const char *op, const char *what, int n_in, const ValueId *in,
                                     const Attr *attrs, int n_attrs, ValueId *out);
/* Type of a value as far as the nodes so far tell. */
PARE_NODISCARD Status upgrade_type(Upgrade *u, ValueId v, Type *out);
/* Constant content of input i as integers, in scratch; *n = -1 when it is absent or not constant. */
PARE_NODISCARD Status upgrade_const_ints(Upgrade *u, int i, const int64_t **v, int64_t *n);

#endif
