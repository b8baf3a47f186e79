/* Views: Reshape, Flatten, Squeeze, Unsqueeze.
 *
 *   - a view of a view, and a view back to the type it came from
 *   - Flatten, Squeeze and Unsqueeze become Reshape with a constant target: one form for everything after
 *   - a view in front of a pointwise op moves behind it, so that the op stands next to what computes its input
 *   - Transpose, Reshape that only inserts or removes dims of size 1, Transpose: the Reshape goes first */
#include "passes/layout.h"

#include "passes/match.h"

static bool is_view(const Node *n) { return (n->op->flags & OPF_VIEW) && !op_is(n, "Identity"); }

static NodeId view_producer(const Graph *g, ValueId v) {
    NodeId p = v == NO_ID ? NO_ID : g->values[v].producer;
    return p != NO_ID && is_view(&g->nodes[p]) ? p : NO_ID;
}

/* The first value that v is a view of. */
static ValueId view_base(const Graph *g, ValueId v) {
    for (NodeId p; (p = view_producer(g, v)) != NO_ID;) v = g->nodes[p].in[0];
    return v;
}

static Status simplify_view(Graph *g, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    if (!edit_is_determined(g, n)) return NULL;
    ValueId base = view_base(g, n->in[0]);
    if (edit_same_type(g, base, n->out[0])) {
        TRY(edit_bypass(g, id, base, done));
        if (*done) return NULL;
    }
    bool constant = op_is(n, "Reshape") && graph_constant(g, n->in[1]);
    if (base == n->in[0] && constant) return NULL;
    return layout_replace_by_reshape(g, id, base, done);
}

/* ---- moving behind other ops ---- */

/* Types of the view's input and output that end in the same dim. */
static bool keeps_last(const Type *in, const Type *out) {
    return in && out && in->rank > 0 && out->rank > 0 && in->dims[in->rank - 1] == out->dims[out->rank - 1];
}

/* Operands beside the viewed one (input `slot`) are absent, scalars, or rows along a last dim that the view keeps: the
 * op works on elements wherever they lie. */
static bool is_pointwise(const Graph *g, const Node *n, int slot, bool last_kept) {
    if (!(n->op->flags & OPF_ELEMENTWISE) || n->n_out != 1 || is_view(n)) return false;
    for (int i = 0; i < n->n_in; i++) {
        const Tensor *t = graph_constant(g, n->in[i]);
        if (i == slot || n->in[i] == NO_ID) continue;
        if (!t || t->rank > 1 || (tensor_count(t) != 1 && !last_kept)) return false;
    }
    return true;
}

/* The op works along the last dim of its input only. */
static bool is_along_last(const Graph *g, const Node *n) {
    bool norm = op_is(n, "LayerNormalization") || op_is(n, "RMSNormalization");
    if ((!norm && !op_is(n, "Softmax") && !op_is(n, "LogSoftmax")) || n->n_out != 1) return false;
    const Type *t = edit_ranked(g, n->in[0]);
    int64_t axis = attr_int(n, "axis");
    return t && (axis == -1 || axis == t->rank - 1);
}

/* The first input that a Reshape to a constant target gives to n alone; -1 when there is none. */
static int viewed_input(const Graph *g, NodeId id) {
    const Node *n = &g->nodes[id];
    for (int i = 0; i < n->n_in && i < 2; i++) {
        NodeId view = edit_producer(g, n->in[i], "Reshape");
        if (view != NO_ID && graph_constant(g, g->nodes[view].in[1]) && graph_single_user(g, n->in[i]) == id) return i;
    }
    return -1;
}

/* Puts the Reshape `view` behind node id, whose result gets the view's input's dims. */
static Status view_behind(Graph *g, NodeId id, NodeId view) {
    ValueId target = g->nodes[view].in[1];
    Type inner = g->values[g->nodes[view].in[0]].type;
    inner.elem = g->values[g->nodes[id].out[0]].type.elem;
    NodeId reshape;
    return edit_behind(g, id, "Reshape", 1, &target, &inner, &reshape);
}

/* op(view(x)) becomes view(op(x)). */
static Status sink_view(Graph *g, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    int slot = viewed_input(g, id);
    if (slot < 0) return NULL;
    NodeId view = g->values[n->in[slot]].producer;
    const Type *from = edit_ranked(g, g->nodes[view].in[0]), *to = edit_ranked(g, n->out[0]);
    bool kept = keeps_last(from, edit_ranked(g, n->in[slot])), last = kept && slot == 0 && is_along_last(g, n);
    if (!from || !to || (!last && !is_pointwise(g, n, slot, kept)) || !edit_same_dims(to, &g->values[n->in[slot]].type))
        return NULL;
    ValueId viewed = n->in[slot];
    *done = true;
    TRY(view_behind(g, id, view));
    TRY(edit_set_input(g, id, (uint32_t)slot, g->nodes[view].in[0]));
    edit_remove_unused(g, viewed);
    return last ? attr_set_int(g, id, "axis", -1) : NULL;
}

/* A value of type *want that v is, or is a Reshape away from because others want it in that form too. */
static bool has_form(const Graph *g, ValueId v, const Type *want) {
    NodeId view = edit_producer(g, v, "Reshape");
    if (view != NO_ID && type_equal(&g->values[g->nodes[view].in[0]].type, want)) return true;
    const Value *x = &g->values[v];
    for (uint32_t i = 0; i < x->n_uses; i++) {
        const Node *user = &g->nodes[x->uses[i].node];
        if (op_is(user, "Reshape") && type_equal(&g->values[user->out[0]].type, want)) return true;
    }
    return false;
}

/* op(view(a), b) of equal shapes, where b exists in a's form or is wanted in it: view(op(a, view(b))). The view of b is
 * a second one of the same kind, or cancels with what made b. */
static Status sink_view_pair(Graph *g, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    int slot = viewed_input(g, id);
    if (slot < 0 || !(n->op->flags & OPF_ELEMENTWISE) || n->n_in != 2 || n->n_out != 1) return NULL;
    ValueId viewed = n->in[slot], other = n->in[1 - slot], y;
    NodeId view = g->values[viewed].producer;
    Type inner = g->values[g->nodes[view].in[0]].type;
    const Type *to = edit_ranked(g, n->out[0]);
    if (!to || !edit_same_type(g, viewed, other) || !edit_same_dims(to, &g->values[viewed].type)) return NULL;
    if (viewed == other || graph_constant(g, other) || inner.rank < 0 || !has_form(g, other, &inner)) return NULL;
    TRY(layout_insert_reshape(g, id, g->values[other].name, other, &inner, &y, done));
    if (!*done) return NULL;
    TRY(view_behind(g, id, view));
    TRY(edit_set_input(g, id, (uint32_t)slot, g->nodes[view].in[0]));
    TRY(edit_set_input(g, id, (uint32_t)(1 - slot), y));
    edit_remove_unused(g, viewed);
    return NULL;
}

/* view(op(view'(x))) becomes op(view(view'(x))), where view' could not go behind op: the two views merge. */
static Status lift_view(Graph *g, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    NodeId op = op_is(n, "Reshape") ? g->values[n->in[0]].producer : NO_ID;
    if (op == NO_ID || !graph_constant(g, n->in[1]) || graph_single_user(g, n->in[0]) != id) return NULL;
    const Node *m = &g->nodes[op];
    int slot = 0;
    while (slot < m->n_in && view_producer(g, m->in[slot]) == NO_ID) slot++;
    if (slot == m->n_in) return NULL;
    const Type *in = edit_ranked(g, n->in[0]), *out = edit_ranked(g, n->out[0]), *x = edit_ranked(g, m->in[slot]);
    if (!in || !out || !x || !is_pointwise(g, m, slot, keeps_last(in, out)) || !edit_same_dims(x, in)) return NULL;
    Type turned = *out, result = *out;
    turned.elem = x->elem;
    ValueId y, v = n->in[0];
    TRY(layout_insert_reshape(g, op, n->name, m->in[slot], &turned, &y, done));
    if (!*done) return NULL;
    TRY(edit_set_input(g, op, (uint32_t)slot, y));
    g->values[v].type = result;
    return edit_bypass(g, id, v, done);
}

/* ---- between transposes ---- */

/* Pairs the dims of a and b that are not 1, in order; to[i] is b's index of a's dim i, -1 for dims of size 1. */
static bool pair_dims(const Type *a, const Type *b, int *to) {
    int k = 0;
    for (int i = 0; i < a->rank; i++) {
        to[i] = -1;
        if (a->dims[i] == 1) continue;
        while (k < b->rank && b->dims[k] == 1) k++;
        if (k == b->rank || b->dims[k] != a->dims[i]) return false;
        to[i] = k++;
    }
    while (k < b->rank && b->dims[k] == 1) k++;
    return k == b->rank;
}

/* Transpose(perm) of x, then a view to `out` that moves only dims of size 1, equals a view of x to *type, then a
 * Transpose by `other`: dims of size 1 stay where `out` has them. */
static bool swapped(const Type *x, const int64_t *perm, const Type *mid, const Type *out, Type *type, int64_t *other) {
    int to[MAX_RANK];
    if (!pair_dims(mid, out, to)) return false;
    *type = *out;
    int slots[MAX_RANK] = {0}, n = 0, k = 0;
    for (int i = 0; i < out->rank; i++) {
        other[i] = i;
        if (out->dims[i] != 1) slots[n++] = i; /* places of the real dims in out, and so in *type */
    }
    for (int i = 0; i < x->rank; i++) { /* the k-th real dim of x goes to the k-th slot */
        if (x->dims[i] == 1) continue;
        int at = 0;
        while (perm[at] != i) at++;
        type->dims[slots[k]] = x->dims[i];
        other[to[at]] = slots[k++];
    }
    return true;
}

static Status view_before_transpose(Graph *g, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    NodeId first = edit_producer(g, n->in[0], "Transpose"), user = graph_single_user(g, n->out[0]);
    if (first == NO_ID || user == NO_ID || !op_is(&g->nodes[user], "Transpose") || graph_single_user(g, n->in[0]) != id)
        return NULL;
    int64_t perm[MAX_RANK], other[MAX_RANK];
    int rank;
    Type t;
    ValueId x = g->nodes[first].in[0], y;
    const Type *in = edit_ranked(g, x), *mid = edit_ranked(g, n->in[0]), *out = edit_ranked(g, n->out[0]);
    if (!in || !mid || !out || !layout_perm(g, &g->nodes[first], perm, &rank) ||
        !swapped(in, perm, mid, out, &t, other))
        return NULL;
    NodeId node;
    int out_rank = out->rank;
    TRY(layout_insert_reshape(g, id, n->name, x, &t, &y, done));
    if (!*done) return NULL;
    TRY(edit_replace(g, id, op_find("", "Transpose"), 1, &y, &node));
    return attr_set_ints(g, node, "perm", other, out_rank);
}

Status layout_view(Graph *g, NodeId id, bool *done) {
    if (!is_view(&g->nodes[id])) {
        TRY(sink_view(g, id, done));
        return *done ? NULL : sink_view_pair(g, id, done);
    }
    TRY(simplify_view(g, id, done));
    if (!*done) TRY(view_before_transpose(g, id, done));
    return *done ? NULL : lift_view(g, id, done);
}
