/* Normalizations from their pieces: (x - mean)·rsqrt(variance + eps), with the variance as the mean of squared
 * differences or as the mean of squares less the squared mean, and with scale and shift where exporters put them. By
 * the axes this is LayerNormalization (trailing axes), InstanceNormalization (all spatial axes of at least two) or, for
 * one axis in the middle, LayerNormalization between two Transposes, which the transpose pass then moves or cancels.
 * Without the mean it is RMSNormalization. */
#include "passes/recognize.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_SCALE = 1 << 20 }; /* elements of a scale that did not exist before */

/* Where a normalization takes place. */
typedef struct Norm {
    ValueId x, gamma, beta; /* gamma, beta: constants of the model or NO_ID */
    Type type;
    bool axes[MAX_RANK];
    int n_axes, first; /* first: the lowest axis */
    double eps;
} Norm;

/* Constant axes as a set; false when they are not constant. */
static bool read_axes(const Graph *g, ValueId v, int rank, bool *set) {
    const Tensor *t = graph_constant(g, v);
    if (!t || tensor_count(t) == 0) return false;
    memset(set, 0, MAX_RANK * sizeof *set);
    for (int64_t i = 0; i < tensor_count(t); i++) {
        int64_t a = tensor_get_i64(t, i);
        a += a < 0 ? rank : 0;
        if (a < 0 || a >= rank) return false;
        set[a] = true;
    }
    return true;
}

/* Operand `name` of the match has x's shape with 1 along the axes: it broadcasts the way a kept dimension does. */
static bool is_kept_form(const Graph *g, const Match *m, const char *name, const Norm *n) {
    if (match_value(m, name) == NO_ID) return true;
    const Type *t = edit_ranked(g, match_value(m, name));
    if (!t || t->rank != n->type.rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] != (n->axes[i] ? 1 : n->type.dims[i])) return false;
    return true;
}

static bool read_norm(const Graph *g, const Match *m, Norm *n) {
    bool other[MAX_RANK];
    *n = (Norm){.x = match_value(m, "x"), .gamma = match_value(m, "gamma"), .beta = match_value(m, "beta")};
    const Type *t = edit_ranked(g, n->x);
    if (t) n->type = *t; /* a copy: values move when constants are added */
    n->eps = match_scalar(m, "eps");
    ValueId root = g->nodes[m->nodes[0]].out[0];
    if (!t || !elem_is_float(n->type.elem) || !edit_same_type(g, n->x, root) || !(n->eps >= 0)) return false;
    if (!read_axes(g, match_value(m, "ax"), n->type.rank, n->axes)) return false;
    ValueId bx = match_value(m, "bx");
    if (bx != NO_ID && (!read_axes(g, bx, n->type.rank, other) || memcmp(other, n->axes, sizeof other))) return false;
    n->first = n->type.rank;
    for (int i = n->type.rank; i-- > 0;) {
        if (!n->axes[i]) continue;
        n->n_axes++;
        n->first = i;
        if (DIM_IS_SYM(n->type.dims[i])) return false;
    }
    return is_kept_form(g, m, "mu", n) && is_kept_form(g, m, "r", n);
}

static bool is_trailing(const Norm *n) { return n->first == n->type.rank - n->n_axes; }

static bool is_spatial(const Norm *n) {
    int rank = n->type.rank;
    return rank >= 4 && n->first == 2 && n->n_axes == rank - 2 && !DIM_IS_SYM(n->type.dims[1]);
}

/* The elements of a constant (or `deflt` when v is NO_ID) over the dims that `along` marks, expanded to their full
 * size; NULL when it varies along others. */
static double *spread(const Graph *g, ValueId v, const Type *type, const bool *along, double deflt, Arena *a,
                      int64_t *n) {
    *n = 1;
    for (int i = 0; i < type->rank; i++) {
        if (!along[i]) continue;
        if (DIM_IS_SYM(type->dims[i]) || type->dims[i] > MAX_SCALE || (*n *= type->dims[i]) > MAX_SCALE) return NULL;
    }
    const Tensor *t = graph_constant(g, v);
    if (t && t->rank > type->rank) return NULL;
    int shift = type->rank - (t ? t->rank : 0);
    for (int i = 0; t && i < t->rank; i++)
        if (t->dims[i] != 1 && (!along[i + shift] || t->dims[i] != type->dims[i + shift])) return NULL;
    double *out = ARENA_ARRAY(a, double, *n);
    for (int64_t k = 0; out && k < *n; k++) {
        int64_t rest = k, at = 0, stride = 1;
        for (int i = type->rank; i-- > 0;) {
            int64_t dim = along[i] ? type->dims[i] : 1, own = i >= shift ? t ? t->dims[i - shift] : 1 : 1;
            at += own > 1 ? rest % dim * stride : 0;
            rest /= dim;
            stride *= own;
        }
        out[k] = t ? tensor_get_f64(t, at) : deflt;
    }
    return out;
}

/* A constant with gamma or beta over the marked dims. */
static Status scale_constant(Graph *g, const Match *m, const Norm *n, const bool *along, ValueId from, double deflt,
                             const char *suffix, ValueId *out, bool *ok) {
    Arena *a = arena_new();
    TRY_ALLOC(a);
    int64_t count, dims[MAX_RANK];
    int rank = 0;
    for (int i = 0; i < n->type.rank; i++)
        if (along[i]) dims[rank++] = n->type.dims[i];
    double *v = spread(g, from, &n->type, along, deflt, a, &count);
    char name[256];
    snprintf(name, sizeof name, "%.200s_%s", g->nodes[m->nodes[0]].name, suffix);
    Status st = v ? edit_add_floats(g, name, n->type.elem, rank, dims, v, out) : NULL;
    *ok = v != NULL;
    arena_free(a);
    return st;
}

static Status make_instance_norm(Graph *g, const Match *m, const Norm *n, bool *done) {
    bool channel[MAX_RANK] = {[1] = true}, ok;
    ValueId in[3] = {n->x, NO_ID, NO_ID};
    NodeId node;
    TRY(scale_constant(g, m, n, channel, n->gamma, 1, "scale", &in[1], &ok));
    if (ok) TRY(scale_constant(g, m, n, channel, n->beta, 0, "bias", &in[2], &ok));
    *done = ok;
    if (!ok) return NULL;
    TRY(edit_replace(g, m->nodes[0], op_find("", "InstanceNormalization"), 3, in, &node));
    return attr_set_float(g, node, "epsilon", (float)n->eps);
}

/* Normalization over the trailing axes of `x`, which replaces `old`. */
static Status trailing_norm(Graph *g, NodeId old, const char *op, ValueId *in, int first, double eps) {
    NodeId node;
    TRY(edit_replace(g, old, op_find("", op), in[2] == NO_ID ? 2 : 3, in, &node));
    TRY(attr_set_int(g, node, "axis", first));
    return attr_set_float(g, node, "epsilon", (float)eps);
}

/* One axis in the middle: Transpose it to the end, normalize, Transpose back. */
static Status middle_norm(Graph *g, const Match *m, const Norm *n, ValueId *in) {
    int rank = n->type.rank;
    int64_t perm[MAX_RANK], back[MAX_RANK];
    Type t = n->type;
    for (int i = 0, k = 0; i < rank; i++)
        if (i != n->first) perm[k++] = i;
    perm[rank - 1] = n->first;
    for (int i = 0; i < rank; i++) {
        back[perm[i]] = i;
        t.dims[i] = n->type.dims[perm[i]];
    }
    NodeId root = m->nodes[0], node;
    TRY(edit_insert(g, root, "Transpose", g->nodes[root].name, 1, &n->x, &t, &in[0], &node));
    TRY(attr_set_ints(g, node, "perm", perm, rank));
    TRY(edit_replace(g, root, op_find("", "LayerNormalization"), in[2] == NO_ID ? 2 : 3, in, &root));
    TRY(attr_set_int(g, root, "axis", rank - 1));
    TRY(attr_set_float(g, root, "epsilon", (float)n->eps));
    TRY(edit_behind(g, root, "Transpose", 0, NULL, &t, &node));
    return attr_set_ints(g, node, "perm", back, rank);
}

static Status to_layer_norm(Graph *g, const Match *m, bool *done) {
    Norm n;
    if (!read_norm(g, m, &n)) return NULL;
    if (is_spatial(&n)) {
        TRY(make_instance_norm(g, m, &n, done));
        if (*done) return NULL;
    }
    if (!is_trailing(&n) && n.n_axes != 1) return NULL;
    ValueId in[3] = {n.x, NO_ID, NO_ID};
    bool ok;
    TRY(scale_constant(g, m, &n, n.axes, n.gamma, 1, "scale", &in[1], &ok));
    if (ok && n.beta != NO_ID) TRY(scale_constant(g, m, &n, n.axes, n.beta, 0, "bias", &in[2], &ok));
    *done = ok;
    if (!ok) return NULL;
    if (is_trailing(&n)) return trailing_norm(g, m->nodes[0], "LayerNormalization", in, n.first, n.eps);
    return middle_norm(g, m, &n, in);
}

static Status to_rms_norm(Graph *g, const Match *m, bool *done) {
    Norm n;
    bool ok;
    if (!op_find("", "RMSNormalization") || !read_norm(g, m, &n) || !is_trailing(&n)) return NULL;
    ValueId in[3] = {n.x, NO_ID, NO_ID};
    TRY(scale_constant(g, m, &n, n.axes, n.gamma, 1, "scale", &in[1], &ok));
    *done = ok;
    return ok ? trailing_norm(g, m->nodes[0], "RMSNormalization", in, n.first, n.eps) : NULL;
}

/* ---- patterns ---- */

#define MEAN       "mu=~m=ReduceMean(x, ax)"
#define DIFFERENCE "d=Sub(x, " MEAN ")"
/* d is bound already, or by `D`. */
#define VARIANCE(D)                                                                                                    \
    "(ReduceMean(Mul(" D ", d), bx)|Relu(Sub(~ReduceMean(Mul(x, x), bx), Mul(m, m)))|"                                 \
    "Clip(Sub(~ReduceMean(Mul(x, x), bx), Mul(m, m)), 0)|Sub(~ReduceMean(Mul(x, x), bx), Mul(m, m)))"
#define ROOT(V)  "Sqrt(Add(~" V ", $eps))"
#define RSQRT(V) "(Reciprocal(" ROOT(V) ")|Div(1, " ROOT(V) ")|Pow(Add(~" V ", $eps), -0.5))"
#define SQUARES  "ReduceMean(Mul(x, x), ax)"

static const Rule rules[] = {
    {"Div", "Div(" DIFFERENCE ", r=~(" ROOT(VARIANCE("d")) "))", to_layer_norm},
    {"Mul", "Mul(" DIFFERENCE ", r=~" RSQRT(VARIANCE("d")) ")", to_layer_norm},
    {"Add", "Add(Mul(" DIFFERENCE ", Mul(r=~" RSQRT(VARIANCE("d")) ", #gamma)), #beta)", to_layer_norm},
    {"Mul", "Mul(" DIFFERENCE ", Mul(r=~" RSQRT(VARIANCE("d")) ", #gamma))", to_layer_norm},
    {"Add", "Add(Mul(x, s=Mul(r=~" RSQRT(VARIANCE("d=Sub(x, " MEAN ")")) ", #gamma)), Sub(#beta, Mul(mu, s)))",
     to_layer_norm},
    {"Div", "Div(x, r=~(" ROOT(SQUARES) "))", to_rms_norm},
    {"Mul", "Mul(x, r=~" RSQRT(SQUARES) ")", to_rms_norm},
    {"Mul", "Mul(x, Mul(r=~" RSQRT(SQUARES) ", #gamma))", to_rms_norm},
};

const Rule *recognize_norm_rules(int *n) {
    *n = (int)(sizeof rules / sizeof *rules);
    return rules;
}

/* ---- scale and bias that follow ---- */

/* The dims over which the norm's scale runs. */
static bool scaled_dims(const Graph *g, const Node *norm, bool *along) {
    const Type *t = edit_ranked(g, norm->in[0]);
    if (!t) return false;
    if (op_is(norm, "InstanceNormalization")) return along[1] = true;
    int64_t first = attr_int(norm, "axis");
    for (int i = (int)(first < 0 ? first + t->rank : first); i < t->rank; i++) along[i] = i >= 0;
    return true;
}

/* Input `slot` (scale or bias, which may be absent) times or plus the constant c; *out is the new constant. *ok = false
 * when c varies along other dims. */
static Status combine(Graph *g, const Node *norm, const bool *along, int slot, ValueId c, bool multiply, ValueId *out,
                      bool *ok) {
    const Type *t = edit_ranked(g, norm->in[0]);
    const Tensor *old = slot < norm->n_in ? graph_constant(g, norm->in[slot]) : NULL;
    Arena *a = arena_new();
    TRY_ALLOC(a);
    int64_t n, dims[MAX_RANK];
    int rank = 0;
    for (int i = 0; i < t->rank; i++)
        if (along[i]) dims[rank++] = t->dims[i];
    double *v = spread(g, c, t, along, 0, a, &n);
    *ok = v && (!old || tensor_count(old) == n);
    for (int64_t i = 0; *ok && old && i < n; i++)
        v[i] = multiply ? tensor_get_f64(old, i) * v[i] : tensor_get_f64(old, i) + v[i];
    char name[256];
    snprintf(name, sizeof name, "%.200s_%s", norm->name, slot == 1 ? "scale" : "bias");
    Status st = *ok ? edit_add_floats(g, name, t->elem, rank, dims, v, out) : NULL;
    arena_free(a);
    return st;
}

/* The input of Mul/Add `n` that a normalization computes; -1 when there is none or the other is no constant. */
static int norm_operand(const Graph *g, const Node *n) {
    static const char *const norms[] = {"LayerNormalization", "RMSNormalization", "InstanceNormalization"};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 3; k++)
            if (edit_producer(g, n->in[i], norms[k]) != NO_ID && graph_constant(g, n->in[1 - i])) return i;
    return -1;
}

/* A norm with a scale, and a bias if any, that are constants of its own. */
static bool is_plain_norm(const Graph *g, const Node *norm) {
    bool has_bias = norm->n_in > 2 && norm->in[2] != NO_ID;
    return norm->n_out == 1 && graph_constant(g, norm->in[1]) && (!has_bias || graph_constant(g, norm->in[2]));
}

Status recognize_norm_affine(Graph *g, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    bool multiply = op_is(n, "Mul"), along[MAX_RANK] = {0}, ok = true;
    int which = multiply || op_is(n, "Add") ? norm_operand(g, n) : -1;
    if (which < 0 || graph_single_user(g, n->in[which]) != id || !edit_same_type(g, n->in[which], n->out[0]))
        return NULL;
    ValueId y = n->in[which], c = n->in[1 - which], scale = NO_ID, bias = NO_ID;
    NodeId id_norm = g->values[y].producer;
    const Node *norm = &g->nodes[id_norm];
    if (!is_plain_norm(g, norm) || (!multiply && op_is(norm, "RMSNormalization")) || !scaled_dims(g, norm, along))
        return NULL;
    bool has_bias = norm->n_in > 2 && norm->in[2] != NO_ID;
    if (multiply) TRY(combine(g, norm, along, 1, c, true, &scale, &ok));
    if (ok && (has_bias || !multiply)) TRY(combine(g, norm, along, 2, c, multiply, &bias, &ok));
    if (!ok) return NULL;
    if (scale != NO_ID) TRY(edit_set_input(g, id_norm, 1, scale));
    if (bias != NO_ID && norm->n_in > 2)
        TRY(edit_set_input(g, id_norm, 2, bias));
    else if (bias != NO_ID)
        TRY(graph_append_input(g, id_norm, bias));
    return edit_bypass(g, id, y, done);
}
