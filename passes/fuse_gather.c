/* Tables of rows.
 *
 * MatMul(Cast(Equal(index, [0, 1, …, n-1])), W) picks row `index` of W, or gives zeros for an index outside: the form
 * that a one-hot encoding in front of a dense layer has. A Gather from W with a row of zeros at both ends computes the
 * same, in one row's time. What is done to each gathered element alone can then be done to the table once. */
#include "passes/fuse_parts.h"

#include <math.h>
#include <string.h>

/* A constant [1, …, 1, n] of 0, 1, …, n-1. */
static bool is_iota(const Tensor *t) {
    int64_t n = t ? tensor_count(t) : 0;
    if (n < 1 || t->rank < 1 || t->dims[t->rank - 1] != n || !(elem_is_int(t->elem))) return false;
    for (int64_t i = 0; i < n; i++)
        if (tensor_get_i64(t, i) != i) return false;
    return true;
}

static bool is_finite(const Tensor *t) {
    for (int64_t i = 0; i < tensor_count(t); i++)
        if (!isfinite(tensor_get_f64(t, i))) return false;
    return true;
}

/* W [n, m] with a row of zeros in front and behind. */
static Status padded_table(Graph *g, ValueId w, ValueId *out) {
    const Tensor *t = graph_constant(g, w);
    int64_t dims[2] = {t->dims[0] + 2, t->dims[1]};
    size_t row = t->bytes / (size_t)t->dims[0];
    Tensor table;
    TRY(tensor_new(&table, t->elem, 2, dims));
    memcpy(table.data + row, t->data, t->bytes);
    return graph_add_constant(g, g->values[w].name, table, out);
}

/* index, clipped to [-1, n], plus 1: the row in the padded table. The index keeps its last dim of size 1. */
static Status row_number(Graph *g, NodeId before, ValueId index, int64_t n, ValueId *out) {
    const Type t = g->values[index].type;
    const char *name = g->values[index].name;
    int64_t bounds[3] = {-1, n, 1};
    ValueId c[3];
    NodeId node;
    for (int i = 0; i < 3; i++) {
        Tensor s;
        TRY(tensor_new(&s, t.elem, 0, NULL));
        tensor_set_i64(&s, 0, bounds[i]);
        TRY(graph_add_constant(g, name, s, &c[i]));
    }
    TRY(edit_insert(g, before, "Clip", name, 3, (ValueId[]){index, c[0], c[1]}, &t, out, &node));
    return edit_insert(g, before, "Add", name, 2, (ValueId[]){*out, c[2]}, &t, out, &node);
}

Status fuse_one_hot(Graph *g, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    NodeId cast = op_is(n, "MatMul") ? edit_producer(g, n->in[0], "Cast") : NO_ID;
    NodeId equal = cast == NO_ID ? NO_ID : edit_producer(g, g->nodes[cast].in[0], "Equal");
    const Tensor *w = equal == NO_ID ? NULL : graph_constant(g, n->in[1]);
    if (!w || w->rank != 2 || w->dims[1] < 1 || elem_bits(w->elem) < 8 || !is_finite(w)) return NULL;
    if (graph_single_user(g, n->in[0]) != id || graph_single_user(g, g->nodes[cast].in[0]) != cast) return NULL;
    const Node *eq = &g->nodes[equal];
    int which = graph_constant(g, eq->in[1]) ? 1 : 0;
    const Tensor *iota = graph_constant(g, eq->in[which]);
    ValueId index = eq->in[1 - which], row, table, axis;
    const Type *t = edit_ranked(g, index), *out = edit_ranked(g, n->out[0]);
    if (!t || !is_iota(iota) || iota->rank > t->rank || tensor_count(iota) != w->dims[0]) return NULL;
    if (!out || t->dims[t->rank - 1] != 1 || (t->elem != ELEM_I32 && t->elem != ELEM_I64)) return NULL;
    Type squeezed = *t;
    squeezed.rank--;
    NodeId node;
    TRY(row_number(g, id, index, w->dims[0], &row));
    TRY(edit_add_ints(g, "axes", (int64_t[]){-1}, 1, &axis));
    TRY(edit_insert(g, id, "Squeeze", g->values[index].name, 2, (ValueId[]){row, axis}, &squeezed, &row, &node));
    TRY(padded_table(g, g->nodes[id].in[1], &table));
    *done = true;
    return edit_replace(g, id, op_find("", "Gather"), 2, (ValueId[]){table, row}, &node);
}

/* ---- work on the table instead of on its gathered rows ---- */

/* The operand of pointwise op n that is a Gather of rows of a constant table that only n reads, -1 when there is none;
 * the other operands are constants that broadcast inside a row. */
static int gathered_operand(const Graph *g, const Node *n) {
    int which = -1;
    if (!(n->op->flags & OPF_ELEMENTWISE) || n->n_out != 1 || op_is(n, "Identity")) return -1;
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != NO_ID && edit_producer(g, n->in[i], "Gather") != NO_ID) which = i;
    if (which < 0) return -1;
    const Node *gather = &g->nodes[g->values[n->in[which]].producer];
    const Tensor *table = graph_constant(g, gather->in[0]);
    int64_t axis = attr_int(gather, "axis");
    if (!table || table->rank < 1 || !elem_is_float(table->elem) || (axis != 0 && axis != -table->rank)) return -1;
    for (int i = 0; i < n->n_in; i++) {
        const Tensor *c = graph_constant(g, n->in[i]);
        if (i != which && n->in[i] != NO_ID && (!c || c->rank >= table->rank)) return -1;
    }
    return edit_same_type(g, n->in[which], n->out[0]) ? which : -1;
}

/* Fewest elements that the op works on; symbols count as 1. */
static int64_t least_count(const Type *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        if (!DIM_IS_SYM(t->dims[i]) && __builtin_mul_overflow(n, t->dims[i], &n)) return INT64_MAX;
    return n;
}

Status fuse_into_table(Graph *g, NodeId id, Arena *scratch, bool *done) {
    const Node *n = &g->nodes[id];
    int which = gathered_operand(g, n);
    if (which < 0) return NULL;
    ValueId rows = n->in[which], table;
    NodeId gather = g->values[rows].producer, node;
    const Tensor *t = graph_constant(g, g->nodes[gather].in[0]);
    if (graph_single_user(g, rows) != id || tensor_count(t) > least_count(&g->values[rows].type)) return NULL;
    ValueId *in = ARENA_ARRAY(scratch, ValueId, n->n_in);
    TRY_ALLOC(in);
    memcpy(in, n->in, n->n_in * sizeof *in);
    in[which] = g->nodes[gather].in[0];
    Type type = tensor_type(t);
    TRY(edit_insert(g, gather, n->op->name, n->name, n->n_in, in, &type, &table, &node));
    TRY(attr_copy_all(g, node, g, &g->nodes[id]));
    TRY(edit_set_input(g, gather, 0, table));
    return edit_bypass(g, id, rows, done);
}
