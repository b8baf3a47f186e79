/* fuse: constants around ops with weights go into the weights.
 *
 *   - affine maps behind Conv, ConvTranspose, Gemm and MatMul (BatchNormalization, Mul, Div, Add, Sub per channel or
 *     scalar), also across Reshape and Transpose, and scalar factors across the product of two activations (1/sqrt(d)
 * of attention goes into the query's weights)
 *   - affine maps in front of them, where no padding is in the way
 *   - chains of Mul, Div or Add by constants become one; Sub of a constant becomes Add; Div by a power of two becomes
 * Mul
 *   - a Pad into the Conv or pool behind it
 *   - the product of a one-hot encoding and a table becomes a Gather; pointwise ops on
 *     gathered rows of a small table go into the table
 *   - MatMul of rank 2 with an Add of a constant row becomes Gemm, in one plain form
 *
 * Folded constants are computed in double and rounded once, so results differ from the original's by rounding only. */
#include "passes/affine.h"
#include "passes/fuse_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Fuse {
    Graph *g;
    Arena *scratch; /* emptied before every node */
} Fuse;

/* ---- affine maps behind ---- */

/* The input through which an affine map along *axis (-1: scalar) may move up across node n; NO_ID when it may not. */
static ValueId step_up(const Graph *g, const Node *n, const Affine *f, int *axis) {
    const Type *in = n->n_in ? edit_ranked(g, n->in[0]) : NULL, *out = edit_ranked(g, n->out[0]);
    if (!in || !out) return NO_ID;
    if (op_is(n, "Transpose")) {
        int64_t count;
        const int64_t *perm = attr_ints(n, "perm", &count);
        if (*axis >= 0) *axis = perm ? (int)perm[*axis] : in->rank - 1 - *axis;
        return n->in[0];
    }
    if (n->op->flags & OPF_VIEW) {
        if (*axis >= 0 && (*axis = edit_view_axis(in, out, *axis)) < 0) return NO_ID;
        return n->in[0];
    }
    bool scalar_factor = *axis < 0 && f->n == 1 && !f->shift;
    if (op_is(n, "MatMul") && scalar_factor && !graph_constant(g, n->in[1])) return n->in[0];
    return NO_ID;
}

/* The op with weights whose result `v` is (a MatMul's bias Add counts to it). */
static bool weighted_at(const Graph *g, ValueId v, Weighted *w) {
    NodeId id = g->values[v].producer;
    const Node *n = &g->nodes[id];
    if (weighted_read(g, id, w)) return true;
    if (!op_is(n, "Add")) return false;
    for (int i = 0; i < 2; i++) {
        NodeId mm = edit_producer(g, n->in[i], "MatMul");
        if (mm != NO_ID && weighted_read(g, mm, w) && w->add == id) return true;
    }
    return false;
}

static bool find_above(const Graph *g, NodeId id, const Affine *f, Weighted *w) {
    ValueId v = f->x;
    int axis = f->n == 1 ? -1 : f->axis;
    for (NodeId user = id; v != NO_ID && graph_single_user(g, v) == user;) {
        user = g->values[v].producer;
        if (user == NO_ID) return false;
        if (weighted_at(g, v, w))
            return w->add != id && (f->n == 1 || (axis == weighted_out_axis(g, w) && f->n == w->outputs));
        v = step_up(g, &g->nodes[user], f, &axis);
    }
    return false;
}

/* A constant for the affine map's shift that broadcasts along its axis. */
static Status shift_constant(Graph *g, const Node *n, const Affine *f, ValueId *out) {
    const Type *t = edit_ranked(g, f->x);
    int64_t dims[MAX_RANK];
    int rank = f->n == 1 ? 0 : t->rank - f->axis;
    for (int i = 0; i < rank; i++) dims[i] = i == 0 ? f->n : 1;
    char name[256];
    snprintf(name, sizeof name, "%.200s_bias", n->name);
    return edit_add_floats(g, name, t->elem, rank, dims, f->shift, out);
}

static Status fuse_behind(Fuse *k, NodeId id, const Affine *f, bool *done) {
    Graph *g = k->g;
    Weighted w;
    if (!find_above(g, id, f, &w)) return NULL;
    if (f->shift && !w.takes_shift) {
        if (!f->scale) return NULL;
        Affine scale = *f;
        ValueId in[2] = {f->x, NO_ID};
        NodeId node;
        scale.shift = NULL;
        TRY(weighted_apply_after(g, &w, &scale, k->scratch));
        TRY(shift_constant(g, &g->nodes[id], f, &in[1]));
        *done = true;
        return edit_replace(g, id, op_find("", "Add"), 2, in, &node);
    }
    TRY(weighted_apply_after(g, &w, f, k->scratch));
    return edit_bypass(g, id, f->x, done);
}

/* ---- affine maps in front ---- */

static bool takes_in_front(const Graph *g, Use use, const Affine *f, Weighted *w) {
    if (use.slot != 0 || !weighted_read(g, use.node, w)) return false;
    if (f->n != 1 && (f->axis != weighted_in_axis(g, w) || f->n != w->inputs)) return false;
    return !f->shift || (w->takes_shift && weighted_has_no_padding(g, w));
}

static Status fuse_in_front(Fuse *k, NodeId id, const Affine *f, bool *done) {
    Graph *g = k->g;
    ValueId out = g->nodes[id].out[0];
    const Value *v = &g->values[out];
    Weighted w;
    if (v->is_output || !v->n_uses) return NULL;
    for (uint32_t i = 0; i < v->n_uses; i++)
        if (!takes_in_front(g, v->uses[i], f, &w)) return NULL;
    for (uint32_t i = 0; i < g->values[out].n_uses; i++) {
        takes_in_front(g, g->values[out].uses[i], f, &w);
        TRY(weighted_apply_before(g, &w, f, k->scratch));
    }
    return edit_bypass(g, id, f->x, done);
}

/* x·scale + shift in front of padded convolutions: the scale alone can go into the weights, which leaves
 * x + shift/scale. `id` is the Add; the Mul is its operand's producer. */
static Status fuse_scale_in_front(Fuse *k, NodeId id, const Affine *f, bool *done) {
    Graph *g = k->g;
    ValueId out = g->nodes[id].out[0];
    NodeId mul = edit_producer(g, f->x, "Mul");
    Affine m;
    Weighted w;
    if (f->scale || mul == NO_ID || graph_single_user(g, f->x) != id || g->values[out].is_output ||
        !affine_read(g, &g->nodes[mul], k->scratch, &m) || m.shift || (m.n != 1 && (m.n != f->n || m.axis != f->axis)))
        return NULL;
    Affine rest = *f;
    TRY_ALLOC(rest.shift = ARENA_ARRAY(k->scratch, double, f->n));
    for (int64_t i = 0; i < f->n; i++) {
        rest.shift[i] = f->shift[i] / m.scale[m.n == 1 ? 0 : i];
        if (!(fabs(rest.shift[i]) < 1e4)) return NULL; /* x would drown in it */
    }
    for (uint32_t i = 0; i < g->values[out].n_uses; i++)
        if (!takes_in_front(g, g->values[out].uses[i], &m, &w)) return NULL;
    for (uint32_t i = 0; i < g->values[out].n_uses; i++) {
        takes_in_front(g, g->values[out].uses[i], &m, &w);
        TRY(weighted_apply_before(g, &w, &m, k->scratch));
    }
    ValueId in[2] = {m.x, NO_ID};
    NodeId node;
    TRY(shift_constant(g, &g->nodes[id], &rest, &in[1]));
    *done = true;
    return edit_replace(g, id, op_find("", "Add"), 2, in, &node);
}

/* ---- arithmetic with constants ---- */

typedef enum Arith { ARITH_NONE, ARITH_ADD, ARITH_MUL, ARITH_DIV } Arith;

static Arith arith_of(const Node *n) {
    return op_is(n, "Add") ? ARITH_ADD : op_is(n, "Mul") ? ARITH_MUL : op_is(n, "Div") ? ARITH_DIV : ARITH_NONE;
}

/* The slot of the constant operand of x∘c (x in the other); -1 when there is none. */
static int constant_slot(const Graph *g, const Node *n) {
    if (graph_constant(g, n->in[1])) return graph_constant(g, n->in[0]) ? -1 : 1;
    return graph_constant(g, n->in[0]) && arith_of(n) != ARITH_DIV ? 0 : -1;
}

/* One of the two constants has the shape of their combination. */
static bool nests(const Tensor *a, const Tensor *b) {
    if (a->rank < b->rank) return nests(b, a);
    bool a_wide = true, b_wide = a->rank == b->rank;
    for (int i = 0; i < b->rank; i++) {
        int64_t x = a->dims[i + a->rank - b->rank], y = b->dims[i];
        a_wide = a_wide && (y == x || y == 1);
        b_wide = b_wide && (x == y || x == 1);
    }
    return a_wide || b_wide;
}

/* (x ∘ c1) • c2 becomes x ∘ (c1 • c2) for ∘, • both Add or both of Mul and Div. The new constant is folded later. */
static Status merge_chain(Fuse *k, NodeId id, bool *done) {
    Graph *g = k->g;
    const Node *n = &g->nodes[id];
    Arith outer = arith_of(n);
    int slot = outer == ARITH_NONE ? -1 : constant_slot(g, n);
    if (slot < 0) return NULL;
    ValueId inner_out = n->in[1 - slot], c2 = n->in[slot];
    NodeId inner_id = g->values[inner_out].producer;
    if (inner_id == NO_ID || graph_single_user(g, inner_out) != id) return NULL;
    const Node *m = &g->nodes[inner_id];
    Arith inner = arith_of(m);
    int inner_slot = inner == ARITH_NONE ? -1 : constant_slot(g, m);
    if (inner_slot < 0 || (inner == ARITH_ADD) != (outer == ARITH_ADD)) return NULL;
    ValueId c1 = m->in[inner_slot], x = m->in[1 - inner_slot], c;
    if (!nests(graph_constant(g, c1), graph_constant(g, c2)) || !elem_is_float(g->values[c1].type.elem)) return NULL;
    const char *combine = outer == ARITH_ADD ? "Add" : outer == inner ? "Mul" : "Div";
    /* x·c1/c2 = x·(c1/c2); (x/c1)·c2 = x/(c1/c2) */
    NodeId node;
    TRY(edit_insert(g, id, combine, g->values[c1].name, 2, (ValueId[]){c1, c2}, NULL, &c, &node));
    *done = true;
    return edit_replace(g, id, g->nodes[inner_id].op, 2, (ValueId[]){x, c}, &node);
}

/* x - c becomes x + (-c), x / c becomes x · (1/c) when all of c are powers of two: exact. */
static Status canonical_operand(Fuse *k, NodeId id, bool *done) {
    Graph *g = k->g;
    const Node *n = &g->nodes[id];
    bool sub = op_is(n, "Sub"), div = op_is(n, "Div");
    const Tensor *t = sub || div ? graph_constant(g, n->in[1]) : NULL;
    if (!t || !elem_is_float(t->elem) || graph_constant(g, n->in[0])) return NULL;
    for (int64_t i = 0; div && i < tensor_count(t); i++) {
        int exponent;
        double v = tensor_get_f64(t, i);
        if (fabs(frexp(v, &exponent)) != 0.5 || abs(exponent) > 60) return NULL;
    }
    Tensor c;
    TRY(tensor_clone(&c, t));
    for (int64_t i = 0; i < tensor_count(&c); i++) {
        double v = tensor_get_f64(t, i);
        tensor_set_f64(&c, i, div ? 1 / v : -v);
    }
    ValueId in[2] = {n->in[0], NO_ID};
    NodeId node;
    TRY(graph_add_constant(g, g->values[n->in[1]].name, c, &in[1]));
    *done = true;
    return edit_replace(g, id, op_find("", div ? "Mul" : "Add"), 2, in, &node);
}

/* Constant operands lose leading dims of size 1 that another operand has anyway: one form for all that look at them. */
static Status strip_leading_ones(Fuse *k, NodeId id, bool *done) {
    static const char *const ops[] = {"Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where"};
    Graph *g = k->g;
    const Node *n = &g->nodes[id];
    bool broadcasts = false;
    int rank = 0;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) broadcasts |= op_is(n, ops[i]);
    for (int i = 0; broadcasts && i < n->n_in; i++) {
        const Type *t = graph_constant(g, n->in[i]) ? NULL : edit_ranked(g, n->in[i]);
        if (t && t->rank > rank) rank = t->rank;
    }
    for (int i = 0; i < g->nodes[id].n_in && rank > 0; i++) {
        ValueId v = g->nodes[id].in[i], w;
        const Tensor *t = graph_constant(g, v);
        int ones = 0;
        while (t && t->rank <= rank && ones < t->rank && t->dims[ones] == 1) ones++;
        if (!ones) continue;
        Tensor c = tensor_ref(t);
        if (!c.blob) TRY(tensor_clone(&c, t));
        c.rank -= ones;
        memmove(c.dims, c.dims + ones, (size_t)c.rank * sizeof *c.dims);
        TRY(graph_add_constant(g, g->values[v].name, c, &w));
        TRY(edit_set_input(g, id, (uint32_t)i, w));
        *done = true;
    }
    return NULL;
}

/* ---- the pass ---- */

static Status fuse_node(Fuse *k, NodeId id, bool *done) {
    Affine f;
    arena_reset(k->scratch);
    *done = false;
    TRY(strip_leading_ones(k, id, done));
    if (!*done && affine_read(k->g, &k->g->nodes[id], k->scratch, &f)) {
        TRY(fuse_behind(k, id, &f, done));
        if (!*done) TRY(fuse_in_front(k, id, &f, done));
        if (!*done) TRY(fuse_scale_in_front(k, id, &f, done));
    }
    if (!*done) TRY(canonical_operand(k, id, done));
    if (!*done) TRY(merge_chain(k, id, done));
    if (!*done) TRY(fuse_pad(k->g, id, k->scratch, done));
    if (!*done) TRY(fuse_one_hot(k->g, id, done));
    if (!*done) TRY(fuse_into_table(k->g, id, k->scratch, done));
    if (!*done) TRY(fuse_gemm(k->g, id, k->scratch, done));
    return NULL;
}

static Status fuse_all(Fuse *k, Arena *lists, PassStats *stats) {
    uint32_t changed = 1;
    while (changed) { /* every change removes a node or moves it to a form that no rule takes */
        NodeList list;
        arena_reset(lists);
        TRY(edit_nodes(k->g, lists, &list));
        changed = 0;
        for (uint32_t i = 0; i < list.n; i++) {
            bool done = false;
            if (!k->g->nodes[list.ids[i]].dead) TRY(fuse_node(k, list.ids[i], &done));
            changed += done;
        }
        TRY(graph_sort(k->g));
        TRY(graph_infer(k->g));
        stats->changed += changed;
        if (changed) TRY(pass_fold(k->g, &(PassOptions){0}, &(PassStats){0})); /* the constants of merged chains */
    }
    return NULL;
}

Status pass_fuse(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    Fuse k = {.g = g, .scratch = arena_new()};
    Arena *lists = arena_new();
    Status st = k.scratch && lists ? fuse_all(&k, lists, stats) : status_oom();
    arena_free(k.scratch);
    arena_free(lists);
    return st;
}
