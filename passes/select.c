/* select: where a Slice takes a part of a value, what computes that value works on the part only. A classifier that
 * reads one token of a transformer's last layer, say, then computes that layer's queries, products and feed-forward
 * part for one token.
 *
 * The Slice moves up across ops whose result along the sliced axis depends on their operands at the same place:
 * pointwise ops, normalizations and softmax along other axes, Transpose, Reshape, and the rows of matrix products.
 * Operands that are needed in full by others stay in full. A Gather of one constant index is a Slice and a Reshape. */
#include "passes/layout.h"

#include <string.h>

/* Elements [start, start + length) along `axis`. */
typedef struct Part {
    int axis;
    int64_t start, length;
} Part;

typedef struct Select {
    Graph *g;
    Arena *scratch;
} Select;

/* Start and length of a slice of a dimension that is a number. */
static void clamp_bounds(int64_t dim, int64_t start, int64_t end, Part *p) {
    start += start < 0 ? dim : 0;
    end += end < 0 ? dim : 0;
    start = start < 0 ? 0 : start > dim ? dim : start;
    end = end < start ? start : end > dim ? dim : end;
    p->start = start;
    p->length = end - start;
}

/* Reads a Slice with step 1 and constant bounds that cuts one axis; others that it names are taken whole. */
static bool read_part(const Graph *g, const Node *n, Arena *a, Part *p) {
    int64_t count = 0, same = 0, found = 0;
    const Type *t = n->n_in >= 4 ? edit_ranked(g, n->in[0]) : NULL;
    const int64_t *starts = t ? edit_ints(g, n->in[1], a, &count) : NULL;
    const int64_t *ends = starts ? edit_ints(g, n->in[2], a, &same) : NULL;
    const int64_t *axes = ends && same == count ? edit_ints(g, n->in[3], a, &same) : NULL;
    const Tensor *steps = n->n_in > 4 ? graph_constant(g, n->in[4]) : NULL;
    bool has_steps = n->n_in > 4 && n->in[4] != NO_ID;
    if (!axes || same != count || (has_steps && !(steps && edit_all_equal(steps, 1)))) return false;
    for (int64_t i = 0; i < count; i++) {
        Part q;
        int64_t axis = axes[i] + (axes[i] < 0 ? t->rank : 0);
        if (axis < 0 || axis >= t->rank || DIM_IS_SYM(t->dims[axis])) return false;
        clamp_bounds(t->dims[axis], starts[i], ends[i], &q);
        if (q.length == t->dims[axis]) continue;
        found++;
        *p = (Part){(int)axis, q.start, q.length};
    }
    return found == 1 && p->length > 0;
}

/* ---- which operands are cut ---- */

enum { KEEP = -1, REFUSE = -2 };

static bool is_product(const Node *n) { return op_is(n, "MatMul") || op_is(n, "Gemm"); }

/* The axis of a matrix product's operand i that runs like `axis` of its result: the rows come from the left operand,
 * the leading axes of a MatMul from both. The columns are left alone. */
static int product_axis(const Graph *g, const Node *n, int i, int axis, int rank) {
    const Type *t = edit_ranked(g, n->in[i]);
    if (!t || axis == rank - 1) return REFUSE;
    if (op_is(n, "Gemm")) {
        const Tensor *c = i == 2 ? graph_constant(g, n->in[2]) : NULL;
        if (i == 2) return c && (c->rank < 2 || c->dims[0] == 1) ? KEEP : REFUSE;
        return i == 1 ? KEEP : attr_int(n, "transA") ? REFUSE : 0;
    }
    if (axis == rank - 2) return i == 0 && t->rank >= 2 ? t->rank - 2 : i == 0 ? REFUSE : KEEP;
    int own = axis - (rank - t->rank);
    return own < 0 || t->dims[own] == 1 ? KEEP : own;
}

/* The op works along one axis, or from one axis on: it must be another than `axis`. */
static bool works_along(const Node *n, int axis, int rank) {
    static const char *const along[] = {"Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization"};
    for (size_t i = 0; i < sizeof along / sizeof *along; i++) {
        if (!op_is(n, along[i])) continue;
        int64_t own = attr_int(n, "axis");
        own += own < 0 ? rank : 0;
        return i < 2 ? own != axis : axis < own;
    }
    return false;
}

/* The axis along which operand i of n must be cut for a cut of the result along `axis`; KEEP when it serves as it is.
 */
static int operand_axis(const Graph *g, const Node *n, int i, int axis, int rank) {
    if (n->in[i] == NO_ID) return KEEP;
    const Type *t = edit_ranked(g, n->in[i]);
    if (!t) return REFUSE;
    if (is_product(n)) return product_axis(g, n, i, axis, rank);
    if (works_along(n, axis, rank)) return i == 0 ? axis : KEEP;
    if (op_is(n, "Transpose")) {
        int64_t count;
        const int64_t *perm = attr_ints(n, "perm", &count);
        return perm ? (int)perm[axis] : rank - 1 - axis;
    }
    if (!(n->op->flags & OPF_ELEMENTWISE)) return REFUSE;
    int own = axis - (rank - t->rank);
    return own < 0 || t->dims[own] == 1 ? KEEP : own;
}

/* ---- moving ---- */

/* A Slice of v in front of `before`: one that is there already, or a new one. */
static Status cut_operand(Select *k, NodeId before, ValueId v, Part p, ValueId *out) {
    Graph *g = k->g;
    const Value *x = &g->values[v];
    for (uint32_t i = 0; i < x->n_uses; i++) {
        Part q;
        const Node *user = &g->nodes[x->uses[i].node];
        if (x->uses[i].slot || !op_is(user, "Slice") || !read_part(g, user, k->scratch, &q)) continue;
        if (q.axis != p.axis || q.start != p.start || q.length != p.length) continue;
        *out = user->out[0];
        return NULL;
    }
    Type t = x->type;
    const char *name = x->name;
    int64_t numbers[3] = {p.start, p.start + p.length, p.axis};
    ValueId in[4] = {v};
    NodeId node;
    t.dims[p.axis] = p.length;
    for (int i = 0; i < 3; i++) TRY(edit_add_ints(g, "bound", &numbers[i], 1, &in[1 + i]));
    return edit_insert(g, before, "Slice", name, 4, in, &t, out, &node);
}

/* Slice(view(x)) becomes view(Slice(x)) where the view keeps the axis. */
static Status move_above_view(Select *k, NodeId id, NodeId up, Part p, bool *done) {
    Graph *g = k->g;
    ValueId full = g->nodes[id].in[0], x = g->nodes[up].in[0], v;
    const Type *in = edit_ranked(g, x), *out = edit_ranked(g, full);
    int axis = in && out ? edit_view_axis(in, out, p.axis) : -1;
    if (axis < 0) return NULL;
    Type cut_in = *in, cut_out = *out;
    cut_in.dims[axis] = cut_out.dims[p.axis] = p.length;
    if (!layout_can_reshape(&cut_in, &cut_out)) return NULL;
    p.axis = axis;
    TRY(cut_operand(k, up, x, p, &v));
    TRY(edit_bypass(g, id, full, done));
    if (!*done) return NULL;
    g->values[full].type = cut_out;
    return layout_replace_by_reshape(g, up, v, done);
}

/* Slice(op(x…)) becomes op(Slice(x)…). */
static Status move_up(Select *k, NodeId id, bool *done) {
    Graph *g = k->g;
    Part p;
    const Node *n = &g->nodes[id];
    NodeId up = op_is(n, "Slice") ? g->values[n->in[0]].producer : NO_ID;
    if (up == NO_ID || graph_single_user(g, n->in[0]) != id || !read_part(g, n, k->scratch, &p)) return NULL;
    const Node *m = &g->nodes[up];
    if (m->op->flags & OPF_VIEW) return move_above_view(k, id, up, p, done);
    const Type *t = edit_ranked(g, n->in[0]), *part = edit_ranked(g, n->out[0]);
    if (m->n_out != 1 || !t || !part) return NULL;
    int n_in = m->n_in, *axes = ARENA_ARRAY(k->scratch, int, n_in), cuts = 0;
    TRY_ALLOC(axes);
    for (int i = 0; i < n_in; i++) {
        axes[i] = operand_axis(g, m, i, p.axis, t->rank);
        if (axes[i] == REFUSE) return NULL;
        cuts += axes[i] != KEEP;
    }
    if (!cuts) return NULL;
    Type cut = *part;
    ValueId full = n->in[0];
    for (int i = 0; i < n_in; i++) {
        if (axes[i] == KEEP) continue;
        ValueId v;
        TRY(cut_operand(k, up, g->nodes[up].in[i], (Part){axes[i], p.start, p.length}, &v));
        TRY(edit_set_input(g, up, (uint32_t)i, v));
    }
    g->values[full].type = cut;
    return edit_bypass(g, id, full, done);
}

/* ---- Gather of one index ---- */

static Status from_gather(Select *k, NodeId id, bool *done) {
    Graph *g = k->g;
    const Node *n = &g->nodes[id];
    if (!op_is(n, "Gather")) return NULL;
    const Tensor *index = graph_constant(g, n->in[1]);
    const Type *t = edit_ranked(g, n->in[0]), *out = edit_ranked(g, n->out[0]);
    if (!index || index->rank != 0 || !t || !out || graph_constant(g, n->in[0])) return NULL;
    int64_t axis = attr_int(n, "axis"), at = tensor_get_i64(index, 0), target[MAX_RANK];
    axis += axis < 0 ? t->rank : 0;
    if (axis < 0 || axis >= t->rank || DIM_IS_SYM(t->dims[axis]) || t->dims[axis] < 2) return NULL;
    at += at < 0 ? t->dims[axis] : 0;
    if (at < 0 || at >= t->dims[axis]) return NULL;
    int symbols = 0, rank = out->rank;
    for (int i = 0; i < rank; i++) {
        bool sym = DIM_IS_SYM(out->dims[i]);
        target[i] = sym ? (i < axis ? 0 : -1) : out->dims[i];
        symbols += sym && i >= axis;
    }
    if (symbols > 1) return NULL;
    ValueId v, shape;
    NodeId node;
    TRY(cut_operand(k, id, n->in[0], (Part){(int)axis, at, 1}, &v));
    TRY(edit_add_ints(g, "shape", target, rank, &shape));
    *done = true;
    return edit_replace(g, id, op_find("", "Reshape"), 2, (ValueId[]){v, shape}, &node);
}

static Status select_all(Select *k, Arena *lists, PassStats *stats) {
    uint32_t changed = 1;
    while (changed) { /* a Slice only ever moves towards the inputs */
        NodeList list;
        arena_reset(lists);
        TRY(edit_nodes(k->g, lists, &list));
        changed = 0;
        for (uint32_t i = list.n; i-- > 0;) {
            bool done = false;
            arena_reset(k->scratch);
            if (!k->g->nodes[list.ids[i]].dead) TRY(from_gather(k, list.ids[i], &done));
            if (!k->g->nodes[list.ids[i]].dead && !done) TRY(move_up(k, list.ids[i], &done));
            changed += done;
        }
        TRY(graph_sort(k->g));
        TRY(graph_infer(k->g));
        stats->changed += changed;
    }
    return NULL;
}

Status pass_select(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    Select k = {.g = g, .scratch = arena_new()};
    Arena *lists = arena_new();
    Status st = k.scratch && lists ? select_all(&k, lists, stats) : status_oom();
    arena_free(k.scratch);
    arena_free(lists);
    return st;
}
