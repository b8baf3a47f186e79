#include "passes/affine.h"
#include "passes/fuse_parts.h"

/* Constant c as a row of `columns` elements. */
static Status row_of(Graph *g, ValueId c, int64_t columns, Arena *a, ValueId *out) {
    const Tensor *t = graph_constant(g, c);
    *out = c;
    if (t->rank == 1 && t->dims[0] == columns) return NULL;
    double *row = ARENA_ARRAY(a, double, columns);
    TRY_ALLOC(row);
    for (int64_t i = 0; i < columns; i++) row[i] = tensor_get_f64(t, tensor_count(t) == 1 ? 0 : i);
    return edit_add_floats(g, g->values[c].name, t->elem, 1, &columns, row, out);
}

static Status from_matmul(Graph *g, NodeId id, Arena *a, bool *done) {
    Weighted w;
    const Node *n = &g->nodes[id];
    if (!weighted_read(g, id, &w) || w.add == NO_ID || edit_ranked(g, n->in[0])->rank != 2) return NULL;
    const Node *add = &g->nodes[w.add];
    ValueId in[3] = {n->in[0], n->in[1], add->in[add->in[0] == n->out[0] ? 1 : 0]};
    TRY(row_of(g, in[2], w.outputs, a, &in[2]));
    NodeId node;
    *done = true;
    return edit_replace(g, w.add, op_find("", "Gemm"), 3, in, &node);
}

/* transA becomes a Transpose of its own, which the layout pass can move or cancel. */
static Status without_trans_a(Graph *g, NodeId id, bool *done) {
    const Type *t = edit_ranked(g, g->nodes[id].in[0]);
    if (!t || t->rank != 2) return NULL;
    Type turned = *t;
    turned.dims[0] = t->dims[1];
    turned.dims[1] = t->dims[0];
    ValueId x = g->nodes[id].in[0], y;
    NodeId node;
    TRY(edit_insert(g, id, "Transpose", g->nodes[id].name, 1, &x, &turned, &y, &node));
    TRY(attr_set_ints(g, node, "perm", (int64_t[]){1, 0}, 2));
    TRY(edit_set_input(g, id, 0, y));
    attr_remove(g, id, "transA");
    *done = true;
    return NULL;
}

/* A C that is no row of constants is added behind. */
static Status without_sum(Graph *g, NodeId id, bool *done) {
    ValueId c = g->nodes[id].in[2];
    const Type *t = edit_ranked(g, g->nodes[id].out[0]);
    NodeId node;
    if (!t || attr_float(&g->nodes[id], "beta") != 1.0F) return NULL;
    Type same = *t;
    TRY(edit_behind(g, id, "Add", 1, &c, &same, &node));
    *done = true;
    return edit_set_input(g, id, 2, NO_ID);
}

static Status plain_gemm(Graph *g, NodeId id, Arena *a, bool *done) {
    const Node *n = &g->nodes[id];
    ValueId c = n->n_in > 2 ? n->in[2] : NO_ID;
    Weighted w;
    if (attr_int(n, "transA")) return without_trans_a(g, id, done);
    const Tensor *t = graph_constant(g, c);
    const Type *out = edit_ranked(g, n->out[0]);
    bool row =
        t && out && (t->rank < 2 || t->dims[0] == 1) && (tensor_count(t) == 1 || t->dims[t->rank - 1] == out->dims[1]);
    if (c != NO_ID && !row) return without_sum(g, id, done);
    if (!weighted_read(g, id, &w)) return NULL;
    if (attr_float(n, "alpha") != 1.0F || (c != NO_ID && attr_float(n, "beta") != 1.0F)) {
        *done = true;
        return weighted_apply_after(g, &w, &(Affine){.x = n->out[0], .axis = -1, .n = 1}, a);
    }
    if (c == NO_ID) return NULL;
    ValueId r;
    TRY(row_of(g, c, w.outputs, a, &r));
    *done = r != c;
    return *done ? edit_set_input(g, id, 2, r) : NULL;
}

Status fuse_gemm(Graph *g, NodeId id, Arena *scratch, bool *done) {
    if (op_is(&g->nodes[id], "MatMul")) return from_matmul(g, id, scratch, done);
    return op_is(&g->nodes[id], "Gemm") ? plain_gemm(g, id, scratch, done) : NULL;
}
