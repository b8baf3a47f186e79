/* recognize: decomposed activations, normalizations and softmax become the one node that they are. The sweep runs in
 * execution order, so that a rule sees its operands recognised already, and repeats until nothing changes. */
#include "passes/recognize.h"

#include <math.h>
#include <stdio.h>

Status recognize_replace(Graph *g, const Match *m, const char *op, ValueId x, NodeId *node, bool *done) {
    const OpDef *def = op_find("", op);
    *done = def && edit_same_type(g, x, g->nodes[m->nodes[0]].out[0]) && elem_is_float(g->values[x].type.elem);
    return *done ? edit_replace(g, m->nodes[0], def, 1, &x, node) : NULL;
}

static Status to_op(Graph *g, const Match *m, const char *op, bool *done) {
    NodeId node;
    return recognize_replace(g, m, op, match_value(m, "x"), &node, done);
}

static Status to_relu(Graph *g, const Match *m, bool *done) { return to_op(g, m, "Relu", done); }
static Status to_sigmoid(Graph *g, const Match *m, bool *done) { return to_op(g, m, "Sigmoid", done); }
static Status to_swish(Graph *g, const Match *m, bool *done) { return to_op(g, m, "Swish", done); }
static Status to_softplus(Graph *g, const Match *m, bool *done) { return to_op(g, m, "Softplus", done); }

/* ---- clips ---- */

static Status bound_constant(Graph *g, const Match *m, double bound, const char *suffix, ValueId *out) {
    const Node *root = &g->nodes[m->nodes[0]];
    char name[256];
    snprintf(name, sizeof name, "%.200s_%s", g->values[root->out[0]].name, suffix);
    return edit_add_floats(g, name, g->values[root->out[0]].type.elem, 0, NULL, &bound, out);
}

/* x clipped to [lo, hi]; infinite bounds are left out. */
static Status make_clip(Graph *g, const Match *m, double lo, double hi, bool *done) {
    ValueId x = match_value(m, "x"), in[3] = {x, NO_ID, NO_ID};
    NodeId node;
    *done = lo <= hi && edit_same_type(g, x, g->nodes[m->nodes[0]].out[0]) && elem_is_float(g->values[x].type.elem);
    if (!*done) return NULL;
    if (lo == 0 && hi == INFINITY) return recognize_replace(g, m, "Relu", x, &node, done);
    if (lo > -INFINITY) TRY(bound_constant(g, m, lo, "min", &in[1]));
    if (hi < INFINITY) TRY(bound_constant(g, m, hi, "max", &in[2]));
    return edit_replace(g, m->nodes[0], op_find("", "Clip"), hi < INFINITY ? 3 : 2, in, &node);
}

static bool bound(const Match *m, const char *name, double deflt, double *x) {
    *x = match_value(m, name) == NO_ID ? deflt : match_scalar(m, name);
    return !isnan(*x);
}

/* Bounds lo/hi of the outer and l/h of the inner op; either may be missing. */
static Status to_clip(Graph *g, const Match *m, bool *done) {
    double lo, hi, l, h;
    if (!bound(m, "lo", -INFINITY, &lo) || !bound(m, "hi", INFINITY, &hi) || !bound(m, "l", -INFINITY, &l) ||
        !bound(m, "h", INFINITY, &h))
        return NULL;
    if (l > hi || h < lo) return NULL; /* constant outside: not worth a rule */
    return make_clip(g, m, fmax(lo, l), fmin(hi, h), done);
}

/* A Relu inside or outside: the lower bound is at least 0. */
static Status to_clip_at_zero(Graph *g, const Match *m, bool *done) {
    double lo, hi;
    if (!bound(m, "lo", 0, &lo) || !bound(m, "hi", INFINITY, &hi) || hi < 0) return NULL;
    return make_clip(g, m, fmax(lo, 0), hi, done);
}

/* A Clip that is a Relu. */
static Status clip_to_relu(Graph *g, const Match *m, bool *done) {
    double hi;
    if (!bound(m, "hi", INFINITY, &hi) || hi < INFINITY) return NULL;
    return to_relu(g, m, done);
}

static Status to_leaky_relu(Graph *g, const Match *m, bool *done) {
    double a = match_scalar(m, "a");
    NodeId node;
    bool is_max = op_is(&g->nodes[m->nodes[0]], "Max");
    if (is_max && !(a >= 0 && a <= 1)) return NULL;
    TRY(recognize_replace(g, m, "LeakyRelu", match_value(m, "x"), &node, done));
    return *done ? attr_set_float(g, node, "alpha", (float)a) : NULL;
}

/* ---- arithmetic ---- */

static Status to_square(Graph *g, const Match *m, bool *done) {
    ValueId x = match_value(m, "x"), in[2] = {x, x};
    NodeId node;
    *done = edit_same_type(g, x, g->nodes[m->nodes[0]].out[0]) && elem_is_float(g->values[x].type.elem);
    return *done ? edit_replace(g, m->nodes[0], op_find("", "Mul"), 2, in, &node) : NULL;
}

/* Number of elements that the reduction `n` sums up for one result; 0 when it is not known. */
static int64_t reduced_count(const Graph *g, const Node *n) {
    int64_t product = 1;
    const Type *t = edit_ranked(g, n->in[0]);
    const Tensor *axes = graph_constant(g, n->in[1]);
    if (!t || !axes || !tensor_count(axes)) return 0;
    for (int64_t i = 0; i < tensor_count(axes); i++) {
        int64_t a = tensor_get_i64(axes, i);
        a += a < 0 ? t->rank : 0;
        if (a < 0 || a >= t->rank || DIM_IS_SYM(t->dims[a]) || t->dims[a] > (1 << 20)) return 0;
        product *= t->dims[a];
        if (product > ((int64_t)1 << 40)) return 0;
    }
    return product;
}

/* A sum divided by the number of its terms. */
static Status to_mean(Graph *g, const Match *m, bool *done) {
    const Node *sum = match_node(m, "s");
    int64_t n = reduced_count(g, sum), keepdims = attr_int(sum, "keepdims");
    double factor = match_value(m, "c") == NO_ID ? 1 / match_scalar(m, "n") : match_scalar(m, "c");
    *done = n > 0 && match_close(factor * (double)n, 1) &&
            edit_same_type(g, match_value(m, "s"), g->nodes[m->nodes[0]].out[0]);
    if (!*done) return NULL;
    ValueId in[2] = {match_value(m, "x"), match_value(m, "ax")};
    NodeId node;
    TRY(edit_replace(g, m->nodes[0], op_find("", "ReduceMean"), 2, in, &node));
    return attr_set_int(g, node, "keepdims", keepdims);
}

/* ---- softmax ---- */

/* The one axis of a constant list of axes, counted from the front; -1 when there are more or none. */
static int one_axis(const Graph *g, ValueId axes, int rank) {
    const Tensor *t = graph_constant(g, axes);
    if (!t || tensor_count(t) != 1) return -1;
    int64_t a = tensor_get_i64(t, 0);
    a += a < 0 ? rank : 0;
    return a >= 0 && a < rank ? (int)a : -1;
}

/* The operand `name`, as it stands in the match, broadcasts along `axis` of x only. */
static bool reduced_along(const Graph *g, const Match *m, const char *name, const Type *x, int axis) {
    if (match_value(m, name) == NO_ID) return true;
    const Type *t = edit_ranked(g, match_value(m, name));
    if (!t || t->rank != x->rank) return false;
    for (int i = 0; i < x->rank; i++)
        if (t->dims[i] != (i == axis ? 1 : x->dims[i])) return false;
    return true;
}

static Status softmax_as(Graph *g, const Match *m, const char *op, bool *done) {
    ValueId x = match_value(m, "x"), ax = match_value(m, "ax");
    const Type *t = edit_ranked(g, x);
    int axis = t ? one_axis(g, match_value(m, "bx"), t->rank) : -1;
    if (axis < 0 || (ax != NO_ID && one_axis(g, ax, t->rank) != axis)) return NULL;
    if (!reduced_along(g, m, "mx", t, axis) || !reduced_along(g, m, "s", t, axis)) return NULL;
    NodeId node;
    TRY(recognize_replace(g, m, op, x, &node, done));
    return *done ? attr_set_int(g, node, "axis", axis) : NULL;
}

static Status to_softmax(Graph *g, const Match *m, bool *done) { return softmax_as(g, m, "Softmax", done); }
/* Softmax does not change with a shift of all its inputs. */
static Status unshifted_softmax(Graph *g, const Match *m, bool *done) {
    const Type *t = edit_ranked(g, match_value(m, "x"));
    const Node *root = &g->nodes[m->nodes[0]];
    int64_t axis = attr_int(root, "axis");
    axis += axis < 0 && t ? t->rank : 0;
    if (!t || one_axis(g, match_value(m, "ax"), t->rank) != axis || !reduced_along(g, m, "mx", t, (int)axis))
        return NULL;
    *done = true;
    ValueId shifted = root->in[0];
    TRY(edit_set_input(g, m->nodes[0], 0, match_value(m, "x")));
    edit_remove_unused(g, shifted);
    return NULL;
}

static Status to_log_softmax(Graph *g, const Match *m, bool *done) { return softmax_as(g, m, "LogSoftmax", done); }

static Status log_of_softmax(Graph *g, const Match *m, bool *done) {
    int64_t axis = attr_int(match_node(m, "y"), "axis");
    NodeId node;
    TRY(recognize_replace(g, m, "LogSoftmax", match_value(m, "x"), &node, done));
    return *done ? attr_set_int(g, node, "axis", axis) : NULL;
}

/* ---- pooling ---- */

/* The axes are all spatial dimensions, at least two of them. */
static bool is_spatial(const Type *t, const Tensor *axes) {
    unsigned seen = 0;
    if (!t || t->rank < 4 || !axes || tensor_count(axes) != t->rank - 2) return false;
    for (int64_t i = 0; i < t->rank - 2; i++) {
        int64_t a = tensor_get_i64(axes, i);
        a += a < 0 ? t->rank : 0;
        if (a >= 2 && a < t->rank) seen |= 1U << a;
    }
    return seen == (1U << t->rank) - 4;
}

/* A mean or maximum over all spatial dimensions. */
static Status to_global_pool(Graph *g, const Match *m, bool *done) {
    const Node *n = &g->nodes[m->nodes[0]];
    const char *op = op_is(n, "ReduceMean") ? "GlobalAveragePool" : "GlobalMaxPool";
    const Type *t = edit_ranked(g, n->in[0]);
    if (!is_spatial(t, graph_constant(g, n->in[1])) || !elem_is_float(t->elem)) return NULL;
    bool kept = attr_int(n, "keepdims") != 0;
    ValueId x = n->in[0], shape;
    Type pooled = *t;
    NodeId node, view;
    for (int i = 2; i < pooled.rank; i++) pooled.dims[i] = 1;
    *done = true;
    TRY(edit_replace(g, m->nodes[0], op_find("", op), 1, &x, &node));
    if (kept) return NULL;
    TRY(edit_add_ints(g, "shape", (int64_t[]){0, 0}, 2, &shape));
    return edit_behind(g, node, "Reshape", 1, &shape, &pooled, &view);
}

/* ---- the table ---- */

static const Rule arithmetic_rules[] = {
    {"Pow", "Pow(x, 2)", to_square},
    {"Mul", "Mul(s=ReduceSum(x, ax), $c)", to_mean},
    {"Div", "Div(s=ReduceSum(x, ax), $n)", to_mean},
    {"Min", "Min(Max(x, $l), $hi)", to_clip},
    {"Max", "Max(Min(x, $h), $lo)", to_clip},
    {"Min", "Min(Relu(x), $hi)", to_clip_at_zero},
    {"Relu", "Relu(Min(x, $hi))", to_clip_at_zero},
    {"Relu", "Relu(Clip(x, $lo, $hi))", to_clip_at_zero},
    {"Relu", "Relu(Relu(x))", to_relu},
    {"Clip", "Clip(Relu(x), $lo, $hi)", to_clip_at_zero},
    {"Clip", "Clip(Clip(x, $l, $h), $lo, $hi)", to_clip},
    {"Clip", "Clip(Clip(x, $l), _, $hi)", to_clip},
    {"Clip", "Clip(x, 0, $hi)", clip_to_relu},
    {"Clip", "Clip(x, 0)", clip_to_relu},
    {"Max", "Max(x, Mul(x, $a))", to_leaky_relu},
    {"PRelu", "PRelu(x, $a)", to_leaky_relu},
    {"Max", "Max(x, $lo)", to_clip},
    {"Min", "Min(x, $hi)", to_clip},
    {"Div", "Div(1, Add(1, Exp(Neg(x)|Mul(x, -1))))", to_sigmoid},
    {"Reciprocal", "Reciprocal(Add(1, Exp(Neg(x)|Mul(x, -1))))", to_sigmoid},
    {"Div", "Div(x, Add(1, Exp(Neg(x)|Mul(x, -1))))", to_swish},
    {"Log", "Log(Add(1, Exp(x)))", to_softplus},
    {"Div", "Div(e=Exp(Sub(x, mx=~ReduceMax(x, ax))), s=~ReduceSum(e, bx))", to_softmax},
    {"Mul", "Mul(e=Exp(Sub(x, mx=~ReduceMax(x, ax))), s=~Reciprocal(~ReduceSum(e, bx)))", to_softmax},
    {"Div", "Div(e=Exp(x), s=~ReduceSum(e, bx))", to_softmax},
    {"Sub", "Sub(d=Sub(x, mx=~ReduceMax(x, ax)), s=~Log(~ReduceSum(Exp(d), bx)))", to_log_softmax},
    {"Log", "Log(y=Softmax(x))", log_of_softmax},
    {"Softmax", "Softmax(Sub(x, mx=~ReduceMax(x, ax)))", unshifted_softmax},
};
/* After everything that has means inside it. */
static const Rule late_rules[] = {
    {"ReduceMean", "ReduceMean(x, ax)", to_global_pool},
    {"ReduceMax", "ReduceMax(x, ax)", to_global_pool},
};

typedef struct RuleSet {
    const Rule *rules;
    const Pattern **patterns;
    int n;
} RuleSet;

static Status compile_rules(Arena *a, const Rule *rules, int n, RuleSet *s) {
    *s = (RuleSet){rules, ARENA_ARRAY(a, const Pattern *, n), n};
    TRY_ALLOC(s->patterns);
    for (int i = 0; i < n; i++) TRY(match_compile(a, rules[i].pattern, &s->patterns[i]));
    return NULL;
}

static Status apply_rules(Graph *g, const RuleSet *s, NodeId id, bool *done) {
    *done = false;
    for (int i = 0; i < s->n && !*done; i++) {
        Match m;
        if (op_is(&g->nodes[id], s->rules[i].root) && match_at(g, s->patterns[i], id, &m))
            TRY(s->rules[i].apply(g, &m, done));
    }
    return NULL;
}

typedef struct Recognizer {
    Graph *g;
    RuleSet arithmetic, norm, late;
} Recognizer;

static Status visit(const Recognizer *r, NodeId id, bool *done) {
    TRY(apply_rules(r->g, &r->arithmetic, id, done));
    if (!*done) TRY(apply_rules(r->g, &r->norm, id, done));
    if (!*done) TRY(recognize_norm_affine(r->g, id, done));
    if (!*done) TRY(recognize_gate(r->g, id, done));
    return NULL;
}

static Status visit_late(const Recognizer *r, NodeId id, bool *done) { return apply_rules(r->g, &r->late, id, done); }

/* One walk over all nodes; rewritten nodes are new ones, which the next walk sees. */
static Status sweep(const Recognizer *r, Arena *scratch, Status (*fn)(const Recognizer *, NodeId, bool *),
                    uint32_t *changed) {
    NodeList list;
    arena_reset(scratch);
    TRY(edit_nodes(r->g, scratch, &list));
    *changed = 0;
    for (uint32_t i = 0; i < list.n; i++) {
        bool done = false;
        if (!r->g->nodes[list.ids[i]].dead) TRY(fn(r, list.ids[i], &done));
        *changed += done;
    }
    return NULL;
}

enum { MAX_SWEEPS = 16 }; /* every sweep that changes something removes nodes: this is for safety only */

static Status recognize_all(Recognizer *r, Arena *patterns, Arena *scratch, PassStats *stats) {
    int n;
    const Rule *norm = recognize_norm_rules(&n);
    TRY(compile_rules(patterns, arithmetic_rules, (int)(sizeof arithmetic_rules / sizeof *arithmetic_rules),
                      &r->arithmetic));
    TRY(compile_rules(patterns, norm, n, &r->norm));
    TRY(compile_rules(patterns, late_rules, (int)(sizeof late_rules / sizeof *late_rules), &r->late));
    uint32_t changed = 1;
    for (int i = 0; changed && i < MAX_SWEEPS; i++) {
        TRY(sweep(r, scratch, visit, &changed));
        stats->changed += changed;
        TRY(graph_sort(r->g));
        TRY(graph_infer(r->g));
    }
    TRY(sweep(r, scratch, visit_late, &changed));
    stats->changed += changed;
    return NULL;
}

Status pass_recognize(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    Recognizer r = {.g = g};
    Arena *patterns = arena_new(), *scratch = arena_new();
    Status st = patterns && scratch ? recognize_all(&r, patterns, scratch, stats) : status_oom();
    arena_free(patterns);
    arena_free(scratch);
    return st;
}
