#include "passes/edit.h"

#include <string.h>

Status edit_nodes(const Graph *g, Arena *a, NodeList *list) {
    list->n = g->n_order;
    TRY_ALLOC(list->ids = ARENA_ARRAY(a, NodeId, g->n_order));
    if (g->n_order) memcpy(list->ids, g->order, g->n_order * sizeof *list->ids);
    return NULL;
}

NodeId edit_producer(const Graph *g, ValueId v, const char *op) {
    if (v == NO_ID) return NO_ID;
    NodeId p = g->values[v].producer;
    return p != NO_ID && op_is(&g->nodes[p], op) ? p : NO_ID;
}

const Type *edit_ranked(const Graph *g, ValueId v) {
    if (v == NO_ID) return NULL;
    const Type *t = &g->values[v].type;
    return t->kind == TYPE_TENSOR && t->rank >= 0 ? t : NULL;
}

bool edit_same_type(const Graph *g, ValueId a, ValueId b) {
    const Type *x = edit_ranked(g, a), *y = edit_ranked(g, b);
    return x && y && type_equal(x, y);
}

bool edit_is_determined(const Graph *g, const Node *n) {
    for (int i = 1; i < n->n_in; i++)
        if (n->in[i] != NO_ID && !graph_constant(g, n->in[i]) && !g->values[n->in[i]].known) return false;
    return true;
}

bool edit_same_dims(const Type *a, const Type *b) {
    if (a->kind != TYPE_TENSOR || b->kind != TYPE_TENSOR || a->rank < 0 || a->rank != b->rank) return false;
    return !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
}

bool edit_same_without_ones(const Type *a, const Type *b) {
    int i = 0, k = 0;
    for (;;) {
        while (i < a->rank && a->dims[i] == 1) i++;
        while (k < b->rank && b->dims[k] == 1) k++;
        if (i == a->rank || k == b->rank) return i == a->rank && k == b->rank;
        if (a->dims[i++] != b->dims[k++]) return false;
    }
}

/* Products of dims on one side are equal, by numbers or by the same symbols. */
static bool same_product(const Dim *a, int na, const Dim *b, int nb) {
    int64_t x = 1, y = 1;
    bool numbers = true, listed = na == nb;
    for (int i = 0; i < na; i++) numbers = numbers && !DIM_IS_SYM(a[i]) && !__builtin_mul_overflow(x, a[i], &x);
    for (int i = 0; i < nb; i++) numbers = numbers && !DIM_IS_SYM(b[i]) && !__builtin_mul_overflow(y, b[i], &y);
    for (int i = 0; listed && i < na; i++) listed = a[i] == b[i];
    return (numbers && x == y) || listed;
}

int edit_view_axis(const Type *in, const Type *out, int axis) {
    for (int i = 0; i < in->rank; i++) {
        if (in->dims[i] != out->dims[axis] || in->dims[i] == 1) continue;
        if (same_product(in->dims, i, out->dims, axis) ||
            same_product(in->dims + i + 1, in->rank - i - 1, out->dims + axis + 1, out->rank - axis - 1))
            return i;
    }
    return -1;
}

bool edit_scalar(const Graph *g, ValueId v, double *out) {
    const Tensor *t = graph_constant(g, v);
    if (!t || tensor_count(t) != 1 || (!elem_is_float(t->elem) && !elem_is_int(t->elem))) return false;
    *out = tensor_get_f64(t, 0);
    return true;
}

const int64_t *edit_ints(const Graph *g, ValueId v, Arena *a, int64_t *n) {
    const Tensor *t = graph_constant(g, v);
    if (!t || !elem_is_int(t->elem)) return NULL;
    *n = tensor_count(t);
    int64_t *x = ARENA_ARRAY(a, int64_t, *n);
    for (int64_t i = 0; x && i < *n; i++) x[i] = tensor_get_i64(t, i);
    return x;
}

bool edit_all_equal(const Tensor *t, double x) {
    int64_t n = tensor_count(t);
    for (int64_t i = 0; i < n; i++)
        if (!(tensor_get_f64(t, i) == x)) return false;
    return n > 0;
}

Status edit_add_ints(Graph *g, const char *name, const int64_t *v, int64_t n, ValueId *out) {
    Tensor t;
    TRY(tensor_new(&t, ELEM_I64, 1, &n));
    if (n) memcpy(t.data, v, (size_t)n * sizeof *v);
    return graph_add_constant(g, name, t, out);
}

Status edit_add_floats(Graph *g, const char *name, ElemType e, int rank, const int64_t *dims, const double *v,
                       ValueId *out) {
    Tensor t;
    TRY(tensor_new(&t, e, rank, dims));
    int64_t n = tensor_count(&t);
    for (int64_t i = 0; i < n; i++) tensor_set_f64(&t, i, v[i]);
    return graph_add_constant(g, name, t, out);
}

Status edit_set_input(Graph *g, NodeId n, uint32_t slot, ValueId v) {
    graph_set_input(g, n, slot, v);
    return g->nodes[n].in[slot] == v ? NULL : status_oom();
}

Status edit_bypass(Graph *g, NodeId old, ValueId v, bool *done) {
    ValueId out = g->nodes[old].out[0];
    const Value *from = &g->values[out], *to = &g->values[v];
    *done = out != v && !(from->is_output && (to->is_input || to->is_output || to->is_capture || to->constant));
    if (!*done) return NULL;
    TRY(graph_replace_uses(g, out, v));
    graph_remove_node(g, old);
    return NULL;
}

void edit_move_last(Graph *g, uint32_t position) {
    NodeId id = g->order[g->n_order - 1];
    memmove(&g->order[position + 1], &g->order[position], (g->n_order - 1 - position) * sizeof id);
    g->order[position] = id;
}

uint32_t edit_position(const Graph *g, NodeId id) {
    uint32_t i = 0;
    while (i < g->n_order && g->order[i] != id) i++;
    return i;
}

Status edit_replace(Graph *g, NodeId old, const OpDef *op, int n_in, const ValueId *in, NodeId *out) {
    const char *name = g->nodes[old].name;
    ValueId v = g->nodes[old].out[0];
    const ValueId *old_in = g->nodes[old].in; /* stays in the graph's arena */
    int n_old = g->nodes[old].n_in;
    uint32_t position = edit_position(g, old);
    graph_remove_node(g, old); /* first, so that name and output are free for the new one */
    TRY(graph_add_node(g, op, name, n_in, in, 1, &v, out));
    edit_move_last(g, position);
    for (int i = 0; i < n_old; i++) edit_remove_unused(g, old_in[i]);
    return NULL;
}

Status edit_insert(Graph *g, NodeId before, const char *op, const char *name, int n_in, const ValueId *in,
                   const Type *type, ValueId *out, NodeId *node) {
    uint32_t position = edit_position(g, before);
    TRY(graph_build(g, "", op, name, n_in, in, out, node));
    if (type) g->values[*out].type = *type;
    if (position < g->n_order - 1) edit_move_last(g, position);
    return NULL;
}

enum { MAX_EXTRA = 4 };

Status edit_behind(Graph *g, NodeId id, const char *op, int n_extra, const ValueId *extra, const Type *inner,
                   NodeId *node) {
    ValueId v = g->nodes[id].out[0], in[1 + MAX_EXTRA] = {v}, out;
    Type outer = g->values[v].type;
    for (int i = 0; i < n_extra && i < MAX_EXTRA; i++) in[1 + i] = extra[i];
    TRY(graph_build(g, "", op, g->nodes[id].name, 1 + n_extra, in, &out, node));
    edit_move_last(g, edit_position(g, id) + 1);
    TRY(graph_replace_uses(g, v, out));
    TRY(edit_set_input(g, *node, 0, v)); /* its own use went along */
    g->values[out].type = outer;
    g->values[v].type = *inner;
    g->values[v].known = NULL;
    return NULL;
}

void edit_remove_unused(Graph *g, ValueId v) {
    if (v == NO_ID || g->values[v].n_uses || g->values[v].is_output) return;
    NodeId p = g->values[v].producer;
    if (p == NO_ID) return;
    const Node *n = &g->nodes[p];
    for (int i = 0; i < n->n_out; i++)
        if (g->values[n->out[i]].n_uses || g->values[n->out[i]].is_output) return;
    int n_in = n->n_in + n->n_captures;
    const ValueId *in = n->in; /* stays in the graph's arena */
    graph_remove_node(g, p);
    for (int i = 0; i < n_in; i++) edit_remove_unused(g, in[i]);
}
