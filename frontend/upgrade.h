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

/* The functions of the table; each brings one older form to the next. */
#define UPGRADE_FUNCTIONS(X)                                                                                           \
    X(batch_norm_outputs)                                                                                              \
    X(batch_norm_spatial)                                                                                              \
    X(binary_broadcast)                                                                                                \
    X(cast_name)                                                                                                       \
    X(clip_inputs) X(concat_axis) X(dft_axis) X(dropout) X(gemm_broadcast) X(grid_sample_modes) X(group_norm_channels) \
        X(lp_integer) X(pad_inputs) X(pad_paddings) X(prelu_slope) X(reduce_axes) X(reshape_shape) X(resize_absent)    \
            X(resize_scales) X(rnn_sequence) X(roi_align_mode) X(selu_defaults) X(slice_inputs) X(softmax_flatten)     \
                X(split_equal) X(split_input) X(squeeze_axes) X(tile_axis) X(topk_input) X(upsample_attrs)             \
                    X(upsample_resize) X(upsample_scales)
#define X(name) Status upgrade_##name(Upgrade *u);
UPGRADE_FUNCTIONS(X)
#undef X

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
