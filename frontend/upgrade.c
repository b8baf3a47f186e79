/* The table of upgrades and its runner. Source of the rows: the operator changelog of the ONNX specification. */
#include "frontend/upgrade.h"

#include <limits.h>
#include <string.h>

enum { ALWAYS = INT_MAX }; /* not an older form: a clean-up that every opset may need */

typedef struct UpgradeRow {
    const char *op;
    int until;           /* applies to opsets below */
    const char *target;  /* new name of the op, NULL: the same */
    const char *attrs;   /* attributes of the old form that fn reads or drops, separated by spaces */
    UpgradeFn fn;        /* NULL: only the name or nothing changes */
    const char *refusal; /* not NULL: such nodes are unsupported, for this reason */
} UpgradeRow;

#define BINARY(name)                                                                                                   \
    { name, 7, NULL, "axis broadcast", upgrade_binary_broadcast, NULL }
#define RECURRENT(name)                                                                                                \
    { name, 7, NULL, "output_sequence", upgrade_rnn_sequence, NULL }
#define REDUCE(name, until)                                                                                            \
    { name, until, NULL, "axes", upgrade_reduce_axes, NULL }
#define SOFTMAX(name)                                                                                                  \
    { name, 13, NULL, "axis", upgrade_softmax_flatten, NULL }

/* Sorted by op, then by `until`. */
static const UpgradeRow table[] = {
    BINARY("Add"),
    BINARY("And"),
    {"BatchNormalization", 9, NULL, "spatial is_test", upgrade_batch_norm_spatial, NULL},
    {"BatchNormalization", 14, NULL, "", upgrade_batch_norm_outputs, NULL},
    {"Cast", 6, NULL, "to", upgrade_cast_name, NULL},
    {"Clip", 11, NULL, "min max", upgrade_clip_inputs, NULL},
    {"Concat", 4, NULL, "axis", upgrade_concat_axis, NULL},
    {"DFT", 20, NULL, "axis", upgrade_dft_axis, NULL},
    BINARY("Div"),
    {"Dropout", ALWAYS, "Identity", "ratio is_test seed", upgrade_dropout, NULL},
    BINARY("Equal"),
    RECURRENT("GRU"),
    {"Gemm", 7, NULL, "broadcast", upgrade_gemm_broadcast, NULL},
    {"GlobalLpPool", 2, NULL, "p", upgrade_lp_integer, NULL},
    BINARY("Greater"),
    {"GridSample", 20, NULL, "mode", upgrade_grid_sample_modes, NULL},
    {"GroupNormalization", 21, NULL, "num_groups", upgrade_group_norm_channels, NULL},
    SOFTMAX("Hardmax"),
    RECURRENT("LSTM"),
    BINARY("Less"),
    SOFTMAX("LogSoftmax"),
    {"LpPool", 2, NULL, "p", upgrade_lp_integer, NULL},
    BINARY("Mul"),
    BINARY("Or"),
    {"PRelu", 7, NULL, "", upgrade_prelu_slope, NULL},
    {"Pad", 2, NULL, "paddings", upgrade_pad_paddings, NULL},
    {"Pad", 11, NULL, "pads value", upgrade_pad_inputs, NULL},
    BINARY("Pow"),
    RECURRENT("RNN"),
    REDUCE("ReduceL1", 18),
    REDUCE("ReduceL2", 18),
    REDUCE("ReduceLogSum", 18),
    REDUCE("ReduceLogSumExp", 18),
    REDUCE("ReduceMax", 18),
    REDUCE("ReduceMean", 18),
    REDUCE("ReduceMin", 18),
    REDUCE("ReduceProd", 18),
    REDUCE("ReduceSum", 13),
    REDUCE("ReduceSumSquare", 18),
    {"Reshape", 5, NULL, "shape", upgrade_reshape_shape, NULL},
    {"Resize", 11, NULL, "", upgrade_resize_scales, NULL},
    {"Resize", ALWAYS, NULL, "", upgrade_resize_absent, NULL},
    {"RoiAlign", 16, NULL, "", upgrade_roi_align_mode, NULL},
    {"Scan", 9, NULL, "directions", NULL, "its form before opset 9 has a batch dimension of its own"},
    {"Scatter", 11, "ScatterElements", "", NULL, NULL},
    {"Selu", 6, NULL, "", upgrade_selu_defaults, NULL},
    {"Slice", 10, NULL, "starts ends axes", upgrade_slice_inputs, NULL},
    SOFTMAX("Softmax"),
    {"Split", 13, NULL, "split", upgrade_split_input, NULL},
    {"Split", ALWAYS, NULL, "", upgrade_split_equal, NULL},
    {"Squeeze", 13, NULL, "axes", upgrade_squeeze_axes, NULL},
    BINARY("Sub"),
    {"Tile", 6, NULL, "", upgrade_tile_axis, NULL},
    {"TopK", 10, NULL, "k", upgrade_topk_input, NULL},
    {"Unsqueeze", 13, NULL, "axes", upgrade_squeeze_axes, NULL},
    {"Upsample", 7, NULL, "height_scale width_scale", upgrade_upsample_attrs, NULL},
    {"Upsample", 9, NULL, "scales", upgrade_upsample_scales, NULL},
    {"Upsample", ALWAYS, "Resize", "", upgrade_upsample_resize, NULL},
    BINARY("Xor"),
};
enum { N_ROWS = sizeof table / sizeof *table };

/* A training-time hint of opsets 1 to 5 that every op had. */
static const char CONSUMED[] = "consumed_inputs";

static bool applies(const UpgradeRow *r, const char *op, int version) {
    return version < r->until && !strcmp(r->op, op);
}

static bool has_word(const char *words, const char *word) {
    size_t n = strlen(word);
    for (const char *p = words; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (len == n && !memcmp(p, word, n)) return true;
        p += len;
    }
    return false;
}

const char *upgrade_target(const char *op, int version) {
    for (int i = 0; i < N_ROWS; i++)
        if (applies(&table[i], op, version) && table[i].target) return table[i].target;
    return op;
}

bool upgrade_takes_attr(const char *op, int version, const char *attr) {
    if (version < 6 && !strcmp(attr, CONSUMED)) return true;
    for (int i = 0; i < N_ROWS; i++)
        if (applies(&table[i], op, version) && has_word(table[i].attrs, attr)) return true;
    return false;
}

const char *upgrade_refusal(const char *op, int version) {
    for (int i = 0; i < N_ROWS; i++)
        if (applies(&table[i], op, version) && table[i].refusal) return table[i].refusal;
    return NULL;
}

Status upgrade_node(Upgrade *u) {
    if (u->n->domain[0]) return NULL;
    if (u->n->version < 6) upgrade_drop(u, CONSUMED);
    for (int i = 0; i < N_ROWS && !u->n->emitted; i++) {
        const UpgradeRow *r = &table[i];
        if (!applies(r, u->n->op, u->n->version)) continue;
        if (r->fn) TRY(r->fn(u));
        if (r->target) u->n->op = r->target;
        if (r->until != ALWAYS) u->n->version = r->until;
    }
    return NULL;
}

static Status check_kinds(const Upgrade *u, const OpDef *op) {
    for (int i = 0; i < u->n->n_attrs; i++) {
        const Attr *a = &u->n->attrs[i];
        char kind = op_attr_kind(op, a->name, NULL, NULL);
        if (kind != (char)a->kind)
            return upgrade_error(u, STATUS_INVALID, "attribute '%s' has kind '%c'; '%c' was expected", a->name, a->kind,
                                 kind ? kind : '-');
    }
    return NULL;
}

static Status check_counts(const Upgrade *u, const OpDef *op) {
    const SourceNode *n = u->n;
    if (n->n_in < op->min_in || n->n_in > op->max_in)
        return upgrade_error(u, STATUS_INVALID, "has %d inputs; %d to %d were expected", n->n_in, op->min_in,
                             op->max_in);
    if (n->n_out < op->min_out || n->n_out > op->max_out)
        return upgrade_error(u, STATUS_INVALID, "has %d outputs; %d to %d were expected", n->n_out, op->min_out,
                             op->max_out);
    for (int i = 0; i < op->min_in; i++)
        if (n->in[i] == NO_ID) return upgrade_error(u, STATUS_INVALID, "required input %d is absent", i);
    return NULL;
}

Status upgrade_emit(Upgrade *u, NodeId *node) {
    SourceNode *n = u->n;
    const OpDef *op = op_find(n->domain, n->op);
    if (!op) return upgrade_error(u, STATUS_UNSUPPORTED, "the op is not supported");
    while (n->n_in > op->min_in && n->in[n->n_in - 1] == NO_ID) n->n_in--;
    while (n->n_out > op->min_out && n->out[n->n_out - 1] == NO_ID) n->n_out--;
    TRY(check_counts(u, op));
    TRY(check_kinds(u, op));
    NodeId id;
    TRY(graph_add_node(u->g, op, n->name, n->n_in, n->in, n->n_out, n->out, &id));
    for (int i = 0; i < n->n_attrs; i++) {
        TRY(attr_set(u->g, id, &n->attrs[i]));
        if (n->attrs[i].kind == ATTR_TENSOR) n->attrs[i].t = NULL; /* the graph owns it now */
    }
    if (node) *node = id;
    return NULL;
}
