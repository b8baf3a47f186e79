/* Reading affine maps and writing them into weights. All products are formed in double and rounded once. */
#include "passes/affine.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- reading ---- */

static double *all_values(const Tensor *t, Arena *a) {
    int64_t n = tensor_count(t);
    double *v = ARENA_ARRAY(a, double, n);
    for (int64_t i = 0; v && i < n; i++) v[i] = tensor_get_f64(t, i);
    return v;
}

static bool all_finite(const double *v, int64_t n) {
    for (int64_t i = 0; v && i < n; i++)
        if (!isfinite(v[i])) return false;
    return true;
}

/* The one axis of `type` along which constant t, broadcast to it, varies: *axis = -1 for one element. */
static bool varying_axis(const Tensor *t, const Type *type, int *axis) {
    *axis = -1;
    if (t->rank > type->rank) return false;
    for (int i = 0; i < t->rank; i++) {
        if (t->dims[i] == 1) continue;
        if (*axis >= 0 || t->dims[i] != type->dims[i + type->rank - t->rank]) return false;
        *axis = i + type->rank - t->rank;
    }
    return true;
}

static bool read_batch_norm(const Graph *g, const Node *n, Arena *a, Affine *f) {
    double *v[4];
    const Type *t = edit_ranked(g, n->in[0]);
    if (attr_int(n, "training_mode") || !t || t->rank < 2) return false;
    for (int i = 1; i < n->n_out; i++)
        if (g->values[n->out[i]].n_uses || g->values[n->out[i]].is_output) return false;
    for (int i = 0; i < 4; i++) {
        const Tensor *c = graph_constant(g, n->in[1 + i]);
        if (!c || tensor_count(c) != tensor_count(graph_constant(g, n->in[1])) || !(v[i] = all_values(c, a)))
            return false;
    }
    f->x = n->in[0];
    f->axis = 1;
    f->n = tensor_count(graph_constant(g, n->in[1]));
    f->scale = v[0];
    f->shift = v[1];
    double eps = (double)attr_float(n, "epsilon");
    for (int64_t i = 0; i < f->n; i++) {
        f->scale[i] /= sqrt(v[3][i] + eps);
        f->shift[i] -= v[2][i] * f->scale[i];
    }
    return true;
}

static bool read_binary(const Graph *g, const Node *n, Arena *a, Affine *f) {
    bool mul = op_is(n, "Mul"), div = op_is(n, "Div"), add = op_is(n, "Add"), sub = op_is(n, "Sub");
    if (!mul && !div && !add && !sub) return false;
    int which = graph_constant(g, n->in[1]) ? 1 : 0; /* the constant */
    const Tensor *c = graph_constant(g, n->in[which]);
    if (!c || !elem_is_float(c->elem) || (which == 0 && div)) return false;
    f->x = n->in[1 - which];
    if (graph_constant(g, f->x) || !edit_same_type(g, f->x, n->out[0])) return false;
    if (!varying_axis(c, edit_ranked(g, f->x), &f->axis)) return false;
    f->n = tensor_count(c);
    double *v = all_values(c, a), *minus = NULL;
    if (!v) return false;
    if (sub && which == 0) { /* c - x */
        if (!(minus = ARENA_ARRAY(a, double, f->n))) return false;
        for (int64_t i = 0; i < f->n; i++) minus[i] = -1;
    }
    for (int64_t i = 0; i < f->n; i++) v[i] = div ? 1 / v[i] : sub && which == 1 ? -v[i] : v[i];
    f->scale = mul || div ? v : minus;
    f->shift = mul || div ? NULL : v;
    return true;
}

static bool read_negation(const Graph *g, const Node *n, Arena *a, Affine *f) {
    const Type *t = edit_ranked(g, n->in[0]);
    if (!t || !elem_is_float(t->elem) || !(f->scale = ARENA_ARRAY(a, double, 1))) return false;
    f->x = n->in[0];
    f->n = 1;
    f->scale[0] = -1;
    return true;
}

bool affine_read(const Graph *g, const Node *n, Arena *a, Affine *out) {
    *out = (Affine){.x = NO_ID, .axis = -1};
    bool ok = op_is(n, "BatchNormalization") ? read_batch_norm(g, n, a, out)
              : op_is(n, "Neg")              ? read_negation(g, n, a, out)
                                             : read_binary(g, n, a, out);
    return ok && out->n > 0 && all_finite(out->scale, out->n) && all_finite(out->shift, out->n);
}

/* ---- ops with weights ---- */

static const Tensor *float_constant(const Graph *g, const Node *n, int i) {
    const Tensor *t = i < n->n_in ? graph_constant(g, n->in[i]) : NULL;
    return t && elem_is_float(t->elem) && t->encoding == ENC_DENSE ? t : NULL;
}

static bool absent_or_constant(const Graph *g, const Node *n, int i) {
    return i >= n->n_in || n->in[i] == NO_ID || float_constant(g, n, i);
}

/* The Add of a constant along the last axis that is the only user of a MatMul. */
static NodeId bias_add(const Graph *g, const Node *matmul, int64_t outputs) {
    NodeId user = graph_single_user(g, matmul->out[0]);
    if (user == NO_ID || !op_is(&g->nodes[user], "Add")) return NO_ID;
    const Node *add = &g->nodes[user];
    int axis, which = add->in[0] == matmul->out[0] ? 1 : 0;
    const Tensor *c = float_constant(g, add, which);
    const Type *t = edit_ranked(g, matmul->out[0]);
    if (!c || !t || !edit_same_type(g, matmul->out[0], add->out[0]) || !varying_axis(c, t, &axis)) return NO_ID;
    return tensor_count(c) == 1 || (axis == t->rank - 1 && tensor_count(c) == outputs) ? user : NO_ID;
}

static bool read_matmul(const Graph *g, const Node *n, Weighted *w) {
    const Tensor *b = float_constant(g, n, 1);
    const Type *a = edit_ranked(g, n->in[0]);
    if (b->rank != 2 || !a || a->rank < 1) return false;
    w->outputs = b->dims[b->rank - 1];
    w->inputs = b->dims[b->rank - 2];
    w->add = bias_add(g, n, w->outputs);
    w->takes_shift = w->add != NO_ID;
    return true;
}

static bool read_gemm(const Graph *g, const Node *n, Weighted *w) {
    const Tensor *b = float_constant(g, n, 1);
    bool trans = attr_int(n, "transB") != 0;
    if (b->rank != 2 || attr_int(n, "transA")) return false;
    w->outputs = b->dims[trans ? 0 : 1];
    w->inputs = b->dims[trans ? 1 : 0];
    const Tensor *c = float_constant(g, n, 2);
    if (!c) return true;
    bool row = c->rank <= 1 || (c->rank == 2 && c->dims[0] == 1);
    return row && (tensor_count(c) == 1 || tensor_count(c) == w->outputs);
}

bool weighted_read(const Graph *g, NodeId id, Weighted *w) {
    const Node *n = &g->nodes[id];
    *w = (Weighted){.node = id, .add = NO_ID, .takes_shift = true};
    if (!(n->op->flags & OPF_HAS_WEIGHTS) || !float_constant(g, n, 1) || !absent_or_constant(g, n, 2)) return false;
    const Tensor *t = float_constant(g, n, 1);
    if (op_is(n, "MatMul")) return read_matmul(g, n, w);
    if (op_is(n, "Gemm")) return read_gemm(g, n, w);
    bool transposed = op_is(n, "ConvTranspose");
    int64_t group = attr_int(n, "group");
    if ((!transposed && !op_is(n, "Conv")) || t->rank < 3 || group < 1 || t->dims[0] % group) return false;
    w->outputs = transposed ? t->dims[1] * group : t->dims[0];
    w->inputs = transposed ? t->dims[0] : t->dims[1] * group;
    return true;
}

static bool is_conv(const Node *n) { return op_is(n, "Conv") || op_is(n, "ConvTranspose"); }

int weighted_out_axis(const Graph *g, const Weighted *w) {
    const Node *n = &g->nodes[w->node];
    const Type *t = edit_ranked(g, n->out[0]);
    return !t ? -2 : is_conv(n) ? 1 : t->rank - 1;
}

int weighted_in_axis(const Graph *g, const Weighted *w) {
    const Node *n = &g->nodes[w->node];
    const Type *t = edit_ranked(g, n->in[0]);
    return !t ? -2 : is_conv(n) ? 1 : t->rank - 1;
}

bool weighted_has_no_padding(const Graph *g, const Weighted *w) {
    const Node *n = &g->nodes[w->node];
    if (!is_conv(n)) return true;
    if (op_is(n, "ConvTranspose")) return false; /* its border positions see fewer taps whatever the padding */
    int64_t count;
    const int64_t *pads = attr_ints(n, "pads", &count);
    const char *mode = attr_string(n, "auto_pad");
    if (!strcmp(mode, "VALID")) return true;
    for (int64_t i = 0; i < count; i++)
        if (pads[i]) return false;
    return !strcmp(mode, "NOTSET");
}

/* ---- writing ---- */

/* How a weight tensor maps to channels: seen as [d0, d1, inner], the runs of `inner` elements at (i, j) have one output
 * and one input channel. */
typedef struct Layout {
    int64_t d0, d1, inner, group;
    enum { OIK, IOK, KN, NK } kind;
} Layout;

static Layout layout_of(const Node *n, const Tensor *t) {
    Layout l = {.d0 = t->dims[0], .d1 = t->dims[1], .inner = 1, .group = 1};
    if (is_conv(n)) {
        l.kind = op_is(n, "Conv") ? OIK : IOK;
        l.group = attr_int(n, "group");
        for (int i = 2; i < t->rank; i++) l.inner *= t->dims[i];
    } else {
        l.kind = op_is(n, "Gemm") && attr_int(n, "transB") ? NK : KN;
    }
    return l;
}

static void channels_of(const Layout *l, int64_t i, int64_t j, int64_t *out, int64_t *in) {
    bool out_first = l->kind == OIK || l->kind == NK;
    int64_t wide = l->group > 1 ? i / (l->d0 / l->group) * l->d1 + j : j;
    *out = out_first ? i : wide;
    *in = out_first ? wide : i;
}

static void scale_run(Tensor *t, int64_t first, int64_t n, double factor) {
    if (t->elem == ELEM_F32) {
        float *p = (float *)(void *)t->data + first;
        for (int64_t k = 0; k < n; k++) p[k] = (float)((double)p[k] * factor);
        return;
    }
    for (int64_t k = 0; k < n; k++) tensor_set_f64(t, first + k, tensor_get_f64(t, first + k) * factor);
}

static double at(const double *v, int64_t n, int64_t i, double deflt) { return v ? v[n == 1 ? 0 : i] : deflt; }

/* Weights times `factor`, times scale by output channel (after) or input channel (before). */
static Status scale_weights(Graph *g, const Weighted *w, const Affine *f, bool after, double factor) {
    const Node *n = &g->nodes[w->node];
    Tensor t;
    TRY(tensor_clone(&t, graph_constant(g, n->in[1])));
    Layout l = layout_of(n, &t);
    int64_t out, in;
    for (int64_t i = 0; i < l.d0; i++)
        for (int64_t j = 0; j < l.d1; j++) {
            channels_of(&l, i, j, &out, &in);
            scale_run(&t, (i * l.d1 + j) * l.inner, l.inner, factor * at(f->scale, f->n, after ? out : in, 1));
        }
    ValueId v;
    TRY(graph_add_constant(g, g->values[n->in[1]].name, t, &v));
    TRY(edit_set_input(g, w->node, 1, v));
    return NULL;
}

/* The bias as one double per output channel, zeros when there is none. */
static double *read_bias(const Graph *g, const Weighted *w, Arena *a, bool *present) {
    const Node *n = &g->nodes[w->node];
    const Tensor *t = float_constant(g, n, 2);
    if (w->add != NO_ID) {
        const Node *add = &g->nodes[w->add];
        t = graph_constant(g, add->in[add->in[0] == n->out[0] ? 1 : 0]);
    }
    double *b = ARENA_ARRAY(a, double, w->outputs), beta = op_is(n, "Gemm") ? (double)attr_float(n, "beta") : 1;
    *present = t != NULL;
    for (int64_t i = 0; b && t && i < w->outputs; i++) b[i] = beta * tensor_get_f64(t, tensor_count(t) == 1 ? 0 : i);
    return b;
}

static Status write_bias(Graph *g, const Weighted *w, const double *b) {
    const Node *n = &g->nodes[w->node];
    NodeId owner = w->add != NO_ID ? w->add : w->node;
    uint32_t slot = w->add == NO_ID ? 2 : g->nodes[w->add].in[0] == n->out[0] ? 1 : 0;
    ValueId old = slot < g->nodes[owner].n_in ? g->nodes[owner].in[slot] : NO_ID, v;
    char name[256];
    snprintf(name, sizeof name, "%.200s_bias", n->name);
    ElemType e = graph_constant(g, n->in[1])->elem;
    TRY(edit_add_floats(g, old != NO_ID ? g->values[old].name : name, e, 1, &w->outputs, b, &v));
    if (slot >= g->nodes[owner].n_in) return graph_append_input(g, owner, v);
    TRY(edit_set_input(g, owner, slot, v));
    return NULL;
}

/* Gemm's own factors move into the constants with the first change. */
static double take_alpha(Graph *g, NodeId id) {
    if (!op_is(&g->nodes[id], "Gemm")) return 1;
    double alpha = (double)attr_float(&g->nodes[id], "alpha");
    attr_remove(g, id, "alpha");
    attr_remove(g, id, "beta");
    return alpha;
}

Status weighted_apply_after(Graph *g, const Weighted *w, const Affine *f, Arena *a) {
    bool present;
    double *b = read_bias(g, w, a, &present);
    TRY_ALLOC(b);
    double alpha = take_alpha(g, w->node);
    if (f->scale || alpha != 1) TRY(scale_weights(g, w, f, true, alpha));
    for (int64_t i = 0; i < w->outputs; i++) b[i] = b[i] * at(f->scale, f->n, i, 1) + at(f->shift, f->n, i, 0);
    return present || f->shift ? write_bias(g, w, b) : NULL;
}

Status weighted_apply_before(Graph *g, const Weighted *w, const Affine *f, Arena *a) {
    bool present;
    double *b = read_bias(g, w, a, &present);
    TRY_ALLOC(b);
    double alpha = take_alpha(g, w->node);
    const Node *n = &g->nodes[w->node];
    const Tensor *t = graph_constant(g, n->in[1]);
    Layout l = layout_of(n, t);
    int64_t rows = f->shift ? l.d0 : 0, out, in;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < l.d1; j++) {
            channels_of(&l, i, j, &out, &in);
            double sum = 0;
            for (int64_t k = 0; k < l.inner; k++) sum += tensor_get_f64(t, (i * l.d1 + j) * l.inner + k);
            b[out] += alpha * sum * at(f->shift, f->n, in, 0);
        }
    if (f->scale || alpha != 1) TRY(scale_weights(g, w, f, false, alpha));
    return present || f->shift ? write_bias(g, w, b) : NULL;
}
