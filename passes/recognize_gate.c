/* Activations that are arithmetic around one nonlinear op, in whatever order an exporter wrote it:
 *
 *   GELU        0.5·x·(1 + erf(x/√2)),   0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))
 *   HardSwish   x·clip(x + 3, 0, 6)/6,   x·HardSigmoid(x)
 *   HardSigmoid clip(x + 3, 0, 6)/6,     clip(α·x + β, 0, 1)
 *   Swish       x·sigmoid(α·x)
 *   Mish        x·tanh(softplus(x))
 *
 * Call t = f(u) the nonlinear op. For a candidate x above it, u is expanded as a polynomial in x, and the values below
 * t as polynomials in x and t; their coefficients decide, not the shape of the expression. (Hendrycks and Gimpel 2016
 * for GELU; Howard et al. 2019 for HardSwish.) */
#include "passes/recognize.h"

#include <math.h>
#include <string.h>

enum { DEGREE = 3, MAX_CONE = 24, MAX_CANDIDATES = 12, MAX_BELOW = 6 };

/* Coefficients of x^i t^j. */
typedef struct Poly {
    double c[DEGREE + 1][2];
} Poly;

typedef struct Gate {
    const Graph *g;
    ValueId x, t;
    NodeId cone[MAX_CONE]; /* nodes between x and what was expanded last */
    int n_cone;
} Gate;

static bool is_zero(double c) { return fabs(c) < 1e-9; }

static bool poly_mul(const Poly *a, const Poly *b, Poly *out) {
    Poly p = {0};
    for (int i = 0; i <= DEGREE; i++)
        for (int j = 0; j < 2; j++)
            for (int k = 0; k <= DEGREE; k++)
                for (int l = 0; l < 2; l++) {
                    double v = a->c[i][j] * b->c[k][l];
                    if (v == 0) continue;
                    if (i + k > DEGREE || j + l > 1) return false;
                    p.c[i + k][j + l] += v;
                }
    *out = p;
    return true;
}

static void poly_axpy(Poly *a, double f, const Poly *b) {
    for (int i = 0; i <= DEGREE; i++)
        for (int j = 0; j < 2; j++) a->c[i][j] += f * b->c[i][j];
}

static bool poly_equals(const Poly *p, const Poly *want) {
    for (int i = 0; i <= DEGREE; i++)
        for (int j = 0; j < 2; j++) {
            double c = p->c[i][j], w = want->c[i][j];
            if (w == 0 ? !is_zero(c) : !match_close(c, w)) return false;
        }
    return true;
}

static bool poly_is_linear(const Poly *p) {
    for (int i = 0; i <= DEGREE; i++)
        for (int j = 0; j < 2; j++)
            if ((i > 1 || j > 0) && !is_zero(p->c[i][j])) return false;
    return true;
}

static bool expand(Gate *k, ValueId v, int depth, Poly *p);

static bool expand_power(Gate *k, const Node *n, int depth, Poly *p) {
    double e;
    Poly base;
    if (!edit_scalar(k->g, n->in[1], &e) || (e != 2 && e != 3) || !expand(k, n->in[0], depth, &base)) return false;
    return poly_mul(&base, &base, p) && (e == 2 || poly_mul(p, &base, p));
}

static bool expand_node(Gate *k, const Node *n, int depth, Poly *p) {
    double divisor;
    Poly a, b;
    if (op_is(n, "Pow")) return expand_power(k, n, depth, p);
    if (op_is(n, "Neg")) {
        *p = (Poly){0};
        if (!expand(k, n->in[0], depth, &a)) return false;
        poly_axpy(p, -1, &a);
        return true;
    }
    if (op_is(n, "Div")) {
        *p = (Poly){0};
        if (!edit_scalar(k->g, n->in[1], &divisor) || divisor == 0 || !expand(k, n->in[0], depth, &a)) return false;
        poly_axpy(p, 1 / divisor, &a);
        return true;
    }
    bool add = op_is(n, "Add"), sub = op_is(n, "Sub");
    if ((!add && !sub && !op_is(n, "Mul")) || !expand(k, n->in[0], depth, &a) || !expand(k, n->in[1], depth, &b))
        return false;
    if (!add && !sub) return poly_mul(&a, &b, p);
    *p = a;
    poly_axpy(p, add ? 1 : -1, &b);
    return true;
}

/* v as a polynomial in x and t; adds the nodes in between to the cone. */
static bool expand(Gate *k, ValueId v, int depth, Poly *p) {
    double c;
    *p = (Poly){0};
    if (v == k->x || v == k->t) {
        p->c[v == k->x][v == k->t] = 1;
        return true;
    }
    if (edit_scalar(k->g, v, &c)) {
        p->c[0][0] = c;
        return true;
    }
    NodeId id = v == NO_ID ? NO_ID : k->g->values[v].producer;
    if (id == NO_ID || depth == 0 || k->n_cone == MAX_CONE) return false;
    k->cone[k->n_cone++] = id;
    return expand_node(k, &k->g->nodes[id], depth - 1, p);
}

/* ---- what is recognised ---- */

typedef struct Found {
    const char *op;
    const char *attrs[2]; /* float attributes */
    double values[2];
    const char *approximate; /* of Gelu */
    int score;
} Found;

static bool found(Found *f, const char *op, int score) {
    *f = (Found){.op = op, .score = score};
    return true;
}

static bool is_x_times_t(const Poly *root) { return poly_equals(root, &(Poly){.c = {[1] = {0, 1}}}); }

static bool gelu(const Poly *arg, const Poly *root, bool tanh_form, Found *f) {
    const double s = 0.7978845608028654; /* sqrt(2/pi) */
    Poly want = {.c = {[1] = {tanh_form ? s : 0.7071067811865476, 0}, [3] = {tanh_form ? s * 0.044715 : 0, 0}}};
    if (!poly_equals(arg, &want) || !poly_equals(root, &(Poly){.c = {[1] = {0.5, 0.5}}})) return false;
    found(f, "Gelu", 100);
    f->approximate = tanh_form ? "tanh" : "none";
    return true;
}

static bool swish(const Poly *arg, const Poly *root, Found *f) {
    double a = arg->c[1][0];
    if (!poly_is_linear(arg) || !is_zero(arg->c[0][0]) || is_zero(a) || !is_x_times_t(root)) return false;
    found(f, "Swish", 100);
    if (!match_close(a, 1)) {
        f->attrs[0] = "alpha";
        f->values[0] = a;
    }
    return true;
}

/* t = clip(a·x + b, lo, hi) with root = c·t + d or c·x·t: in both cases c·t (+ d) must run from 0 to 1. */
static bool hard(const Poly *arg, const Poly *root, double lo, double hi, Found *f) {
    double a = arg->c[1][0], b = arg->c[0][0];
    bool gated = !is_zero(root->c[1][1]);
    double c = gated ? root->c[1][1] : root->c[0][1], d = gated ? 0 : root->c[0][0];
    Poly want = {.c = {[0] = {gated ? 0 : d, gated ? 0 : c}, [1] = {0, gated ? c : 0}}};
    if (!poly_is_linear(arg) || is_zero(a) || !(c > 0) || !poly_equals(root, &want)) return false;
    if (!is_zero(c * lo + d) || !match_close(c * hi + d, 1)) return false;
    double alpha = c * a, beta = c * b + d;
    bool standard = match_close(alpha, 1.0 / 6) && match_close(beta, 0.5);
    if (gated) return standard && found(f, "HardSwish", 100);
    if (match_close(a, 1) && is_zero(b) && match_close(c, 1)) return false; /* a plain Clip */
    found(f, "HardSigmoid", standard ? 50 : 1);
    f->attrs[0] = "alpha";
    f->attrs[1] = "beta";
    f->values[0] = alpha;
    f->values[1] = beta;
    return true;
}

static bool clip_bounds(const Graph *g, const Node *n, double *lo, double *hi) {
    return n->n_in == 3 && edit_scalar(g, n->in[1], lo) && edit_scalar(g, n->in[2], hi);
}

static bool classify(const Gate *k, const Node *f, const Poly *arg, const Poly *root, Found *out) {
    double lo, hi;
    if (op_is(f, "Erf")) return gelu(arg, root, false, out);
    if (op_is(f, "Sigmoid")) return swish(arg, root, out);
    if (op_is(f, "Clip")) return clip_bounds(k->g, f, &lo, &hi) && hard(arg, root, lo, hi, out);
    if (op_is(f, "HardSigmoid"))
        return poly_is_linear(arg) && is_zero(arg->c[0][0]) && match_close(arg->c[1][0], 1) && is_x_times_t(root) &&
               match_close((double)attr_float(f, "alpha"), 1.0 / 6) &&
               match_close((double)attr_float(f, "beta"), 0.5) && found(out, "HardSwish", 100);
    return gelu(arg, root, true, out);
}

/* ---- the search ---- */

typedef struct Search {
    const Graph *g;
    NodeId f;
    Found best;
    ValueId x;
    NodeId root;
} Search;

static bool in_cone(const Gate *k, NodeId id) {
    for (int i = 0; i < k->n_cone; i++)
        if (k->cone[i] == id) return true;
    return false;
}

/* All that the cone but its root computes is used inside it. */
static bool cone_is_closed(const Gate *k, NodeId root) {
    for (int i = 0; i < k->n_cone; i++) {
        if (k->cone[i] == root) continue;
        const Value *v = &k->g->values[k->g->nodes[k->cone[i]].out[0]];
        if (v->is_output) return false;
        for (uint32_t u = 0; u < v->n_uses; u++)
            if (!in_cone(k, v->uses[u].node)) return false;
    }
    return true;
}

static void try_root(Search *s, Gate *k, int n_arg, const Poly *arg, ValueId root) {
    Poly p;
    Found f;
    k->n_cone = n_arg;
    if (!expand(k, root, 8, &p) || !classify(k, &s->g->nodes[s->f], arg, &p, &f)) return;
    NodeId id = s->g->values[root].producer;
    if (f.score < s->best.score || !edit_same_type(s->g, k->x, root) || !cone_is_closed(k, id)) return;
    s->best = f;
    s->x = k->x;
    s->root = id;
}

/* Expands the argument in x, then tries t and the values that are computed from it one after the other. */
static void try_candidate(Search *s, ValueId x, ValueId argument) {
    Gate k = {.g = s->g, .x = x, .t = NO_ID};
    Poly arg;
    if (!expand(&k, argument, 8, &arg) || k.n_cone == MAX_CONE) return;
    k.cone[k.n_cone++] = s->f;
    k.t = s->g->nodes[s->f].out[0];
    int n_arg = k.n_cone;
    ValueId v = k.t;
    for (int i = 0; i < MAX_BELOW; i++) {
        try_root(s, &k, n_arg, &arg, v);
        NodeId user = graph_single_user(s->g, v);
        if (user == NO_ID || s->g->nodes[user].n_out != 1 || !(s->g->nodes[user].op->flags & OPF_ELEMENTWISE)) return;
        v = s->g->nodes[user].out[0];
    }
}

/* Values above `from` that it could be a polynomial of, nearest first. */
static int candidates(const Graph *g, ValueId from, ValueId *list) {
    static const char *const through[] = {"Mul", "Add", "Sub", "Div", "Pow", "Neg"};
    int n = 0;
    list[n++] = from;
    for (int i = 0; i < n; i++) {
        NodeId p = g->values[list[i]].producer;
        bool passes = false;
        for (size_t k = 0; p != NO_ID && k < sizeof through / sizeof *through; k++)
            passes |= op_is(&g->nodes[p], through[k]);
        for (int k = 0; passes && k < g->nodes[p].n_in && n < MAX_CANDIDATES; k++) {
            ValueId v = g->nodes[p].in[k];
            bool seen = graph_constant(g, v) != NULL;
            for (int j = 0; j < n; j++) seen |= list[j] == v;
            if (!seen) list[n++] = v;
        }
    }
    return n;
}

static Status mish(Graph *g, NodeId id, ValueId softplus, bool *done) {
    NodeId inner = edit_producer(g, softplus, "Softplus");
    ValueId t = g->nodes[id].out[0];
    NodeId user = graph_single_user(g, t);
    if (inner == NO_ID || user == NO_ID || !op_is(&g->nodes[user], "Mul") || graph_single_user(g, softplus) != id)
        return NULL;
    const Node *mul = &g->nodes[user];
    ValueId x = g->nodes[inner].in[0];
    if (mul->in[mul->in[0] == t] != x) return NULL;
    *done = true;
    NodeId node;
    return edit_replace(g, user, op_find("", "Mish"), 1, &x, &node);
}

static Status replace_found(Graph *g, const Search *s, bool *done) {
    NodeId node;
    *done = true;
    TRY(edit_replace(g, s->root, op_find("", s->best.op), 1, &s->x, &node));
    if (s->best.approximate) TRY(attr_set_string(g, node, "approximate", s->best.approximate));
    for (int i = 0; i < 2; i++)
        if (s->best.attrs[i]) TRY(attr_set_float(g, node, s->best.attrs[i], (float)s->best.values[i]));
    return NULL;
}

Status recognize_gate(Graph *g, NodeId id, bool *done) {
    static const char *const ops[] = {"Erf", "Tanh", "Sigmoid", "Clip", "HardSigmoid"};
    const Node *n = &g->nodes[id];
    bool gate = false;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) gate |= op_is(n, ops[i]);
    if (!gate || !elem_is_float(g->values[n->in[0]].type.elem)) return NULL;
    Search s = {.g = g, .f = id, .x = NO_ID};
    ValueId list[MAX_CANDIDATES], argument = n->in[0];
    int count = candidates(g, argument, list);
    for (int i = 0; i < count; i++) try_candidate(&s, list[i], argument);
    if (s.x != NO_ID) return replace_found(g, &s, done);
    return op_is(n, "Tanh") ? mish(g, id, argument, done) : NULL;
}
