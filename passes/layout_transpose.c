/* Transposes:
 *
 *   - of a Transpose: one; one that only moves dims of size 1: a Reshape
 *   - moved behind ops that work the same on permuted dims, when that brings it to another Transpose or joins it with
 * equal ones on all operands
 *   - into transB of Gemm; its transA is left to what feeds it */
#include "passes/layout.h"

#include <string.h>

typedef struct Perm {
    int64_t p[MAX_RANK];
    int rank;
} Perm;

static bool perm_of(const Graph *g, NodeId id, Perm *p) {
    return id != NO_ID && op_is(&g->nodes[id], "Transpose") && layout_perm(g, &g->nodes[id], p->p, &p->rank);
}

static bool perm_equal(const Perm *a, const Perm *b) {
    return a->rank == b->rank && !memcmp(a->p, b->p, (size_t)a->rank * sizeof *a->p);
}

static Perm perm_inverse(const Perm *p) {
    Perm q = {.rank = p->rank};
    for (int i = 0; i < p->rank; i++) q.p[p->p[i]] = i;
    return q;
}

/* ---- one or two Transposes ---- */

static Status merge_pair(Graph *g, NodeId id, const Perm *outer, bool *done) {
    Perm inner, both = {.rank = outer->rank};
    NodeId first = g->values[g->nodes[id].in[0]].producer;
    if (!perm_of(g, first, &inner)) return NULL;
    bool identity = true;
    for (int i = 0; i < outer->rank; i++) {
        both.p[i] = inner.p[outer->p[i]];
        identity &= both.p[i] == i;
    }
    ValueId x = g->nodes[first].in[0];
    if (identity) {
        TRY(edit_bypass(g, id, x, done));
        if (*done) return NULL;
    }
    NodeId node;
    *done = true;
    TRY(edit_replace(g, id, op_find("", "Transpose"), 1, &x, &node));
    return attr_set_ints(g, node, "perm", both.p, both.rank);
}

/* The dims that are not 1 keep their order. */
static bool moves_ones_only(const Type *t, const Perm *p) {
    int64_t last = -1;
    for (int i = 0; i < p->rank; i++) {
        if (t->dims[p->p[i]] == 1) continue;
        if (p->p[i] < last) return false;
        last = p->p[i];
    }
    return true;
}

/* ---- moving behind other ops ---- */

/* How the op takes part when its permuted inputs come unpermuted. */
typedef enum Moving { MOVE_NO, MOVE_POINTWISE, MOVE_AXIS, MOVE_CONCAT, MOVE_REDUCE, MOVE_PAD, MOVE_SLICE } Moving;

static Moving moving_of(const Node *n) {
    static const struct {
        const char *op;
        Moving how;
    } rows[] = {{"Softmax", MOVE_AXIS},     {"LogSoftmax", MOVE_AXIS},  {"Concat", MOVE_CONCAT},
                {"Pad", MOVE_PAD},          {"Slice", MOVE_SLICE},      {"ReduceMean", MOVE_REDUCE},
                {"ReduceSum", MOVE_REDUCE}, {"ReduceMax", MOVE_REDUCE}, {"ReduceMin", MOVE_REDUCE},
                {"ReduceL2", MOVE_REDUCE}};
    if (n->n_out != 1) return MOVE_NO;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (op_is(n, rows[i].op)) return rows[i].how;
    return (n->op->flags & OPF_ELEMENTWISE) && !op_is(n, "PRelu") ? MOVE_POINTWISE : MOVE_NO;
}

/* Constant axes of input `slot`, made positive; NULL when they are not constant. */
static int64_t *axes_input(const Graph *g, const Node *n, int slot, int rank, Arena *a, int64_t *count) {
    const int64_t *given = slot < n->n_in ? edit_ints(g, n->in[slot], a, count) : NULL;
    int64_t *axes = given ? ARENA_ARRAY(a, int64_t, *count) : NULL;
    for (int64_t i = 0; axes && i < *count; i++) {
        axes[i] = given[i] < 0 ? given[i] + rank : given[i];
        if (axes[i] < 0 || axes[i] >= rank) return NULL;
    }
    return axes;
}

/* What operand i of a pointwise op or Concat becomes when the Transpose by p goes behind it. `path` is the value that
 * the Transpose will have arrived at. Constants are permuted back by a Transpose of their own, which folds. */
typedef enum Operand { OPERAND_NO, OPERAND_AS_IS, OPERAND_TRANSPOSED, OPERAND_CONSTANT } Operand;

static Operand operand_of(const Graph *g, const Node *n, int i, const Perm *p, ValueId path) {
    ValueId v = n->in[i];
    Perm q;
    if (v == NO_ID) return OPERAND_AS_IS;
    if (v == path) return OPERAND_TRANSPOSED;
    const Tensor *t = graph_constant(g, v);
    if (t)
        return tensor_count(t) == 1 && t->rank <= 1 ? OPERAND_AS_IS
               : t->rank <= p->rank                 ? OPERAND_CONSTANT
                                                    : OPERAND_NO;
    return perm_of(g, g->values[v].producer, &q) && perm_equal(p, &q) ? OPERAND_TRANSPOSED : OPERAND_NO;
}

/* The op can work on unpermuted inputs. */
static bool can_pass(const Graph *g, const Node *n, const Perm *p, ValueId path, Arena *a) {
    int64_t count;
    switch (moving_of(n)) {
    case MOVE_NO:
        return false;
    case MOVE_POINTWISE:
    case MOVE_CONCAT:
        for (int i = 0; i < n->n_in; i++)
            if (operand_of(g, n, i, p, path) == OPERAND_NO) return false;
        return true;
    case MOVE_AXIS:
        return true;
    case MOVE_REDUCE:
        return attr_int(n, "keepdims") && axes_input(g, n, 1, p->rank, a, &count) && count > 0;
    case MOVE_PAD:
        return edit_ints(g, n->in[1], a, &count) && count == 2 * p->rank && n->n_in < 4;
    case MOVE_SLICE:
        return axes_input(g, n, 3, p->rank, a, &count) != NULL;
    }
    return false;
}

/* Transposed operands of the op: joining two or more of them into one behind it is a gain in itself. */
static int transposed_operands(const Graph *g, const Node *n, const Perm *p, ValueId path) {
    int count = 0;
    for (int i = 0; i < n->n_in; i++) count += operand_of(g, n, i, p, path) == OPERAND_TRANSPOSED;
    return count;
}

/* A Reshape that moves only dims of size 1, with a Transpose behind: the Transpose that arrives passes it
 * (layout_view.c). */
static bool leads_to_transpose(const Graph *g, const Node *n) {
    const Type *in = edit_ranked(g, n->in[0]), *out = edit_ranked(g, n->out[0]);
    NodeId user = op_is(n, "Reshape") ? graph_single_user(g, n->out[0]) : NO_ID;
    return user != NO_ID && op_is(&g->nodes[user], "Transpose") && in && out && edit_same_without_ones(in, out);
}

enum { MAX_LOOK = 64 };

/* Following the one user after another from a Transpose's output v, it meets something that takes it in. */
static bool reaches_gain(const Graph *g, ValueId v, const Perm *p, Arena *a) {
    for (int i = 0; i < MAX_LOOK; i++) {
        NodeId user = graph_single_user(g, v);
        if (user == NO_ID) return false;
        const Node *n = &g->nodes[user];
        if (op_is(n, "Transpose") || leads_to_transpose(g, n)) return i > 0; /* directly behind: merged there */
        if (!can_pass(g, n, p, v, a)) return false;
        if (transposed_operands(g, n, p, v) > 1) return true;
        v = n->out[0];
    }
    return false;
}

/* A constant operand, given back its dims' original order: padded to full rank, then permuted. */
static Status unpermuted_constant(Graph *g, NodeId before, ValueId c, const Perm *p, ValueId *out) {
    const Tensor *t = graph_constant(g, c);
    Type full = {.kind = TYPE_TENSOR, .elem = t->elem, .rank = p->rank}, turned = full;
    Perm inverse = perm_inverse(p);
    NodeId node;
    bool ok;
    for (int i = 0; i < p->rank; i++) full.dims[i] = i < p->rank - t->rank ? 1 : t->dims[i - (p->rank - t->rank)];
    for (int i = 0; i < p->rank; i++) turned.dims[i] = full.dims[inverse.p[i]];
    TRY(layout_insert_reshape(g, before, g->values[c].name, c, &full, out, &ok));
    if (!ok) return status_make(STATUS_INTERNAL, "constant '%s' has no elements", g->values[c].name);
    TRY(edit_insert(g, before, "Transpose", g->values[c].name, 1, out, &turned, out, &node));
    return attr_set_ints(g, node, "perm", inverse.p, inverse.rank);
}

static Status permuted_axes(Graph *g, const Node *n, int slot, const Perm *p, Arena *a, ValueId *out) {
    int64_t count, *axes = axes_input(g, n, slot, p->rank, a, &count);
    if (!axes) return status_oom();
    for (int64_t i = 0; i < count; i++) axes[i] = p->p[axes[i]];
    return edit_add_ints(g, g->values[n->in[slot]].name, axes, count, out);
}

static Status permuted_pads(Graph *g, const Node *n, const Perm *p, Arena *a, ValueId *out) {
    int64_t count, pads[2 * MAX_RANK];
    const int64_t *old = edit_ints(g, n->in[1], a, &count);
    if (!old) return status_oom();
    for (int i = 0; i < p->rank; i++) {
        pads[p->p[i]] = old[i];
        pads[p->rank + p->p[i]] = old[p->rank + i];
    }
    return edit_add_ints(g, g->values[n->in[1]].name, pads, count, out);
}

/* The inputs of `n` for unpermuted operands. */
static Status unpermuted_inputs(Graph *g, NodeId id, const Perm *p, Arena *a, ValueId *in) {
    Moving how = moving_of(&g->nodes[id]);
    int n_in = g->nodes[id].n_in;
    for (int i = 0; i < n_in; i++) {
        const Node *n = &g->nodes[id];
        in[i] = n->in[i];
        bool data = i == 0 || how == MOVE_POINTWISE || how == MOVE_CONCAT;
        Operand o = data ? operand_of(g, n, i, p, NO_ID) : OPERAND_AS_IS;
        if (o == OPERAND_TRANSPOSED) in[i] = g->nodes[g->values[n->in[i]].producer].in[0];
        if (o == OPERAND_CONSTANT) TRY(unpermuted_constant(g, id, n->in[i], p, &in[i]));
    }
    if (how == MOVE_REDUCE) return permuted_axes(g, &g->nodes[id], 1, p, a, &in[1]);
    if (how == MOVE_SLICE) return permuted_axes(g, &g->nodes[id], 3, p, a, &in[3]);
    return how == MOVE_PAD ? permuted_pads(g, &g->nodes[id], p, a, &in[1]) : NULL;
}

/* op(Transpose(x)) becomes Transpose(op(x)). */
static Status move_behind(Graph *g, NodeId id, const Perm *p, Arena *a, bool *done) {
    const Type *out = edit_ranked(g, g->nodes[id].out[0]);
    if (!out || out->rank != p->rank) return NULL;
    int n_in = g->nodes[id].n_in;
    ValueId *in = ARENA_ARRAY(a, ValueId, n_in);
    TRY_ALLOC(in);
    Perm inverse = perm_inverse(p);
    Type inner = *out;
    NodeId behind;
    for (int i = 0; i < p->rank; i++) inner.dims[i] = out->dims[inverse.p[i]];
    TRY(unpermuted_inputs(g, id, p, a, in));
    TRY(edit_behind(g, id, "Transpose", 0, NULL, &inner, &behind));
    TRY(attr_set_ints(g, behind, "perm", p->p, p->rank));
    for (int i = 0; i < n_in; i++) {
        ValueId old = g->nodes[id].in[i];
        TRY(edit_set_input(g, id, (uint32_t)i, in[i]));
        edit_remove_unused(g, old);
    }
    *done = true;
    Moving how = moving_of(&g->nodes[id]);
    if (how != MOVE_AXIS && how != MOVE_CONCAT) return NULL;
    int64_t axis = attr_int(&g->nodes[id], "axis");
    return attr_set_int(g, id, "axis", p->p[axis < 0 ? axis + p->rank : axis]);
}

/* ---- Gemm ---- */

static Status into_gemm(Graph *g, NodeId id, bool *done) {
    Perm p;
    ValueId b = g->nodes[id].in[1];
    NodeId t = g->values[b].producer;
    if (!perm_of(g, t, &p) || p.rank != 2 || p.p[0] != 1) return NULL;
    TRY(attr_set_int(g, id, "transB", !attr_int(&g->nodes[id], "transB")));
    TRY(edit_set_input(g, id, 1, g->nodes[t].in[0]));
    edit_remove_unused(g, b);
    *done = true;
    return NULL;
}

Status layout_transpose(Graph *g, NodeId id, Arena *scratch, bool *done) {
    const Node *n = &g->nodes[id];
    Perm p;
    if (op_is(n, "Gemm")) return into_gemm(g, id, done);
    if (!perm_of(g, id, &p)) return NULL;
    TRY(merge_pair(g, id, &p, done));
    if (*done) return NULL;
    if (moves_ones_only(edit_ranked(g, n->in[0]), &p)) return layout_replace_by_reshape(g, id, n->in[0], done);
    NodeId user = graph_single_user(g, n->out[0]);
    if (user != NO_ID && reaches_gain(g, n->out[0], &p, scratch)) return move_behind(g, user, &p, scratch, done);
    return NULL;
}
