#include "passes/fuse_parts.h"

#include <math.h>
#include <string.h>

/* The pads of a constant Pad as 2·rank numbers and its fill value; false for other modes and unknown content. */
static bool read_pad(const Graph *g, const Node *n, Arena *a, int64_t *pads, double *fill) {
    const Type *t = edit_ranked(g, n->in[0]);
    int64_t count = 0, n_axes = 0;
    if (!t || strcmp(attr_string(n, "mode"), "constant") != 0) return false;
    const int64_t *given = edit_ints(g, n->in[1], a, &count);
    const int64_t *axes = n->n_in > 3 && n->in[3] != NO_ID ? edit_ints(g, n->in[3], a, &n_axes) : NULL;
    bool has_axes = n->n_in > 3 && n->in[3] != NO_ID;
    if (!given || (has_axes && !axes) || count != 2 * (has_axes ? n_axes : t->rank)) return false;
    memset(pads, 0, 2 * MAX_RANK * sizeof *pads);
    int64_t half = count / 2;
    for (int64_t i = 0; i < half; i++) {
        int64_t axis = has_axes ? axes[i] + (axes[i] < 0 ? t->rank : 0) : i;
        if (axis < 0 || axis >= t->rank || given[i] < 0 || given[half + i] < 0) return false;
        pads[axis] = given[i];
        pads[t->rank + axis] = given[half + i];
    }
    *fill = 0;
    return n->n_in < 3 || n->in[2] == NO_ID || edit_scalar(g, n->in[2], fill);
}

/* Values that cannot be negative, so that a border of zeros never wins a maximum. */
static bool is_not_negative(const Graph *g, ValueId v) {
    static const char *const ops[] = {"Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Sqrt"};
    double lo;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (edit_producer(g, v, ops[i]) != NO_ID) return true;
    NodeId clip = edit_producer(g, v, "Clip");
    return clip != NO_ID && g->nodes[clip].n_in > 1 && edit_scalar(g, g->nodes[clip].in[1], &lo) && lo >= 0;
}

static bool all_are(const Node *n, const char *attr, int64_t x) {
    int64_t count;
    const int64_t *v = attr_ints(n, attr, &count);
    for (int64_t i = 0; i < count; i++)
        if (v[i] != x) return false;
    return true;
}

/* A maximum pool whose every window holds a real element, over a border that cannot win. */
static bool max_pool_takes(const Graph *g, const Node *n, ValueId x, const int64_t *pads, int rank, double fill) {
    int64_t count;
    const int64_t *kernel = attr_ints(n, "kernel_shape", &count);
    if (n->n_out > 1 || count != rank - 2 || attr_int(n, "ceil_mode") || !all_are(n, "dilations", 1)) return false;
    for (int i = 2; i < rank; i++)
        if (pads[i] >= kernel[i - 2] || pads[rank + i] >= kernel[i - 2]) return false;
    return fill == -INFINITY || (fill == 0 && is_not_negative(g, x));
}

/* The op behind takes the Pad's border as its own padding. */
static bool takes_pad(const Graph *g, const Node *n, ValueId x, const int64_t *pads, int rank, double fill) {
    const char *mode = attr_string(n, "auto_pad");
    if (strcmp(mode, "NOTSET") != 0 && strcmp(mode, "VALID") != 0) return false;
    if (op_is(n, "MaxPool")) return max_pool_takes(g, n, x, pads, rank, fill);
    if (fill != 0) return false;
    bool counts_nothing_else = all_are(n, "pads", 0) || (op_is(n, "AveragePool") && attr_int(n, "count_include_pad"));
    if (op_is(n, "AveragePool")) return counts_nothing_else && !attr_int(n, "ceil_mode");
    return op_is(n, "Conv");
}

static bool is_padded_op(const Node *n) { return op_is(n, "Conv") || op_is(n, "MaxPool") || op_is(n, "AveragePool"); }

Status fuse_pad(Graph *g, NodeId id, Arena *scratch, bool *done) {
    const Node *n = &g->nodes[id];
    int64_t pads[2 * MAX_RANK], own[2 * MAX_RANK], count;
    double fill;
    if (!op_is(n, "Pad")) return NULL;
    NodeId user = graph_single_user(g, n->out[0]);
    if (user == NO_ID || !is_padded_op(&g->nodes[user]) || g->nodes[user].in[0] != n->out[0]) return NULL;
    if (!read_pad(g, n, scratch, pads, &fill)) return NULL;
    int rank = edit_ranked(g, n->in[0])->rank;
    if (rank < 3 || pads[0] || pads[1] || pads[rank] || pads[rank + 1]) return NULL;
    if (!takes_pad(g, &g->nodes[user], n->in[0], pads, rank, fill)) return NULL;
    const int64_t *old = attr_ints(&g->nodes[user], "pads", &count);
    for (int i = 0; i < rank - 2; i++) {
        own[i] = pads[2 + i] + (old ? old[i] : 0);
        own[rank - 2 + i] = pads[rank + 2 + i] + (old ? old[rank - 2 + i] : 0);
    }
    TRY(attr_set_ints(g, user, "pads", own, 2 * (rank - 2)));
    attr_remove(g, user, "auto_pad");
    if (op_is(&g->nodes[user], "AveragePool")) TRY(attr_set_int(g, user, "count_include_pad", 1));
    return edit_bypass(g, id, n->in[0], done);
}
