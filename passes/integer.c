/* Turns Q/DQ patterns into explicit integer ops (domain "pare", docs/numerics.md): a node whose data inputs are all
 * dequantized and whose result is quantized again computes on codes. Products without a QuantizeLinear behind them give
 * float results. What matches no pattern stays as it is and is computed in float. */
#include "passes/edit.h"

#include <math.h>
#include <string.h>

/* Per-tensor quantization parameters. */
typedef struct Codes {
    ValueId q; /* the integer value */
    ElemType elem;
    float scale;
    int32_t zero;
} Codes;

static bool is_code_type(ElemType e) { return e == ELEM_U8 || e == ELEM_I8; }

static bool read_params(const Graph *g, const Node *n, Codes *c) {
    double scale, zero = 0;
    if (n->n_in < 2 || !edit_scalar(g, n->in[1], &scale)) return false;
    if (n->n_in > 2 && n->in[2] != NO_ID && !edit_scalar(g, n->in[2], &zero)) return false;
    c->scale = (float)scale;
    c->zero = (int32_t)zero;
    return scale > 0;
}

/* v = DequantizeLinear(codes), per tensor, of 8 bits. */
static bool dequantized(const Graph *g, ValueId v, Codes *c) {
    NodeId id = v == NO_ID ? NO_ID : edit_producer(g, v, "DequantizeLinear");
    if (id == NO_ID) return false;
    const Node *n = &g->nodes[id];
    c->q = n->in[0];
    c->elem = g->values[c->q].type.elem;
    return is_code_type(c->elem) && !graph_constant(g, c->q) && read_params(g, n, c);
}

/* The only reader of v is a per-tensor QuantizeLinear to 8 bits: *node is it, c->q its output. */
static bool quantized_next(const Graph *g, ValueId v, NodeId *node, Codes *c) {
    *node = graph_single_user(g, v);
    if (*node == NO_ID || !op_is(&g->nodes[*node], "QuantizeLinear") || g->nodes[*node].in[0] != v) return false;
    const Node *n = &g->nodes[*node];
    c->q = n->out[0];
    c->elem = g->values[c->q].type.elem;
    return is_code_type(c->elem) && read_params(g, n, c);
}

static void code_limits(ElemType e, int32_t *lo, int32_t *hi) {
    *lo = e == ELEM_I8 ? -128 : 0;
    *hi = e == ELEM_I8 ? 127 : 255;
}

/* The end of an integer pattern that starts at node `id`: clamps, then QuantizeLinear. Without the latter `quantize` is
 * NO_ID and the result is float (clamps are then left alone). */
typedef struct Tail {
    NodeId quantize;
    Codes y;
    int32_t lo, hi;
} Tail;

static int32_t to_code(const Codes *y, double real, int32_t lo, int32_t hi) {
    double code = nearbyint((double)((float)real / y->scale)) + (double)y->zero;
    return code < (double)lo ? lo : code > (double)hi ? hi : (int32_t)code;
}

static bool clamp_bounds(const Graph *g, const Node *n, double *lo, double *hi) {
    *lo = op_is(n, "Relu") ? 0 : -INFINITY;
    *hi = INFINITY;
    if (op_is(n, "Relu")) return true;
    if (!op_is(n, "Clip")) return false;
    bool ok = n->n_in < 2 || n->in[1] == NO_ID || edit_scalar(g, n->in[1], lo);
    return ok && (n->n_in < 3 || n->in[2] == NO_ID || edit_scalar(g, n->in[2], hi));
}

static Tail find_tail(const Graph *g, ValueId v) {
    Tail t = {.quantize = NO_ID};
    double lo = -INFINITY, hi = INFINITY, l, h;
    for (NodeId user = graph_single_user(g, v); user != NO_ID && clamp_bounds(g, &g->nodes[user], &l, &h);
         user = graph_single_user(g, v)) {
        if (g->nodes[user].in[0] != v) return t;
        lo = fmin(fmax(lo, l), h); /* the clamp of the interval so far */
        hi = fmin(fmax(hi, l), h);
        v = g->nodes[user].out[0];
    }
    NodeId q;
    if (!quantized_next(g, v, &q, &t.y)) return t;
    t.quantize = q;
    code_limits(t.y.elem, &t.lo, &t.hi);
    int32_t low = to_code(&t.y, lo, t.lo, t.hi), high = to_code(&t.y, hi, t.lo, t.hi);
    t.lo = low;
    t.hi = high;
    return t;
}

static Status set_tail(Graph *g, NodeId id, const Tail *t) {
    TRY(attr_set_int(g, id, "y_zero_point", t->y.zero));
    TRY(attr_set_int(g, id, "lo", t->lo));
    TRY(attr_set_int(g, id, "hi", t->hi));
    return attr_set_int(g, id, "y_elem", t->y.elem);
}

/* A new node of domain "pare" in front of `before`, named `name`; its output replaces `old`. */
static Status emit(Graph *g, NodeId before, const char *op, const char *name, int n_in, const ValueId *in, ValueId old,
                   NodeId *node) {
    const OpDef *def = op_find("pare", op);
    if (!def) return status_make(STATUS_INTERNAL, "op pare.%s is not in the table", op);
    ValueId out = NO_ID;
    (void)before; /* the runner sorts */
    TRY(graph_add_node(g, def, name, n_in, in, 1, &out, node));
    g->values[out].type = g->values[old].type;
    return graph_replace_uses(g, old, out);
}

/* ---- products ---- */

typedef struct Weights {
    ValueId q;           /* int8 constant */
    const Tensor *scale; /* 1 or one a channel */
    int axis;
} Weights;

static bool quantized_weights(const Graph *g, ValueId v, Weights *w) {
    NodeId id = v == NO_ID ? NO_ID : edit_producer(g, v, "DequantizeLinear");
    if (id == NO_ID) return false;
    const Node *n = &g->nodes[id];
    const Tensor *q = graph_constant(g, n->in[0]), *zero = n->n_in > 2 ? graph_constant(g, n->in[2]) : NULL;
    w->q = n->in[0];
    w->scale = graph_constant(g, n->in[1]);
    w->axis = (int)attr_int(n, "axis");
    if (!q || !w->scale || q->elem != ELEM_I8 || w->scale->elem != ELEM_F32 || attr_int(n, "block_size")) return false;
    if (w->axis < 0) w->axis += q->rank;
    return (!zero || edit_all_equal(zero, 0)) && (w->scale->rank == 0 || w->scale->rank == 1);
}

/* bias in units of s_x * s_w: from an integer constant behind a DequantizeLinear with that scale, or from floats. */
static bool read_bias(const Graph *g, ValueId v, int64_t channels, const double *unit, double *bias) {
    if (v == NO_ID) return true;
    NodeId id = edit_producer(g, v, "DequantizeLinear");
    const Tensor *t = graph_constant(g, id == NO_ID ? v : g->nodes[id].in[0]);
    const Tensor *scale = id == NO_ID ? NULL : graph_constant(g, g->nodes[id].in[1]);
    if (!t || (id != NO_ID && (!scale || t->elem != ELEM_I32)) || tensor_count(t) != channels) return false;
    for (int64_t c = 0; c < channels; c++) {
        double x = tensor_get_f64(t, c);
        if (scale) {
            double s = tensor_get_f64(scale, tensor_count(scale) == 1 ? 0 : c);
            bias[c] = fabs(s / unit[c] - 1) < 1e-6 ? x : nearbyint(x * s / unit[c]);
        } else
            bias[c] = nearbyint(x / unit[c]);
        if (!(fabs(bias[c]) < 0x1p30)) return false;
    }
    return true;
}

/* Largest possible |sum| of a channel must fit int32 with the bias: 255 * 127 * K stays below 2^31 for K < 66,000. */
static bool accumulator_fits(int64_t k) { return k < 32768; }

typedef struct ProductMatch {
    NodeId id;
    Codes x;
    Weights w;
    ValueId bias;
    NodeId bias_add; /* Add behind a MatMul, or NO_ID */
    int64_t channels, k;
    ValueId result; /* float value that the integer op computes */
    bool trans_b;
} ProductMatch;

static void match_bias_add(const Graph *g, ProductMatch *m) {
    NodeId user = graph_single_user(g, m->result);
    if (user == NO_ID || !op_is(&g->nodes[user], "Add")) return;
    const Node *add = &g->nodes[user];
    ValueId other = add->in[0] == m->result ? add->in[1] : add->in[0];
    NodeId dq = edit_producer(g, other, "DequantizeLinear");
    const Tensor *t = dq == NO_ID ? NULL : graph_constant(g, g->nodes[dq].in[0]);
    if (!t || t->elem != ELEM_I32 || tensor_count(t) != m->channels) return;
    m->bias = other;
    m->bias_add = user;
    m->result = add->out[0];
}

static bool match_product(const Graph *g, NodeId id, ProductMatch *m) {
    const Node *n = &g->nodes[id];
    *m = (ProductMatch){.id = id, .bias = n->n_in > 2 ? n->in[2] : NO_ID, .bias_add = NO_ID, .result = n->out[0]};
    if (!dequantized(g, n->in[0], &m->x) || !quantized_weights(g, n->in[1], &m->w)) return false;
    const Tensor *q = graph_constant(g, m->w.q);
    bool conv = op_is(n, "Conv");
    if (op_is(n, "Gemm")) {
        if (attr_int(n, "transA") || attr_float(n, "alpha") != 1.0f || attr_float(n, "beta") != 1.0f) return false;
        m->trans_b = attr_int(n, "transB") != 0;
    }
    int axis = conv || m->trans_b ? 0 : 1;
    if (q->rank < 2 || (!conv && q->rank != 2)) return false;
    m->channels = q->dims[axis];
    m->k = tensor_count(q) / m->channels;
    bool scales = tensor_count(m->w.scale) == 1 || (m->w.axis == axis && tensor_count(m->w.scale) == m->channels);
    if (op_is(n, "MatMul")) match_bias_add(g, m);
    return scales && accumulator_fits(m->k);
}

static Status product_constants(Graph *g, Arena *a, const ProductMatch *m, const Tail *t, ValueId in[4], bool *ok) {
    const Node *n = &g->nodes[m->id];
    double *unit = ARENA_ARRAY(a, double, m->channels), *bias = ARENA_ARRAY(a, double, m->channels);
    TRY_ALLOC(unit && bias);
    for (int64_t c = 0; c < m->channels; c++)
        unit[c] = (double)m->x.scale * tensor_get_f64(m->w.scale, tensor_count(m->w.scale) == 1 ? 0 : c);
    if (!(*ok = read_bias(g, m->bias, m->channels, unit, bias))) return NULL;
    Tensor b, mult;
    TRY(tensor_new(&b, ELEM_I32, 1, &m->channels));
    for (int64_t c = 0; c < m->channels; c++) tensor_set_i64(&b, c, (int64_t)bias[c]);
    TRY(graph_add_constant(g, arena_printf(a, "%s_bias_q", n->name), b, &in[2]));
    TRY(tensor_new(&mult, ELEM_F32, 1, &m->channels));
    for (int64_t c = 0; c < m->channels; c++)
        ((float *)(void *)mult.data)[c] = (float)(t->quantize == NO_ID ? unit[c] : unit[c] / (double)t->y.scale);
    return graph_add_constant(g, arena_printf(a, "%s_multiplier", g->nodes[m->id].name), mult, &in[3]);
}

static Status rewrite_product(Graph *g, Arena *a, NodeId id, bool *done) {
    ProductMatch m;
    if (!match_product(g, id, &m)) return NULL;
    Tail t = find_tail(g, m.result);
    ValueId in[4] = {m.x.q, m.w.q};
    bool ok;
    TRY(product_constants(g, a, &m, &t, in, &ok));
    if (!ok) return NULL;
    bool conv = op_is(&g->nodes[id], "Conv");
    char *name = arena_strdup(a, g->nodes[id].name);
    NodeId node;
    ValueId old = t.quantize == NO_ID ? m.result : t.y.q;
    TRY(emit(g, id, conv ? "QConv" : "QMatMul", name, 4, in, old, &node));
    if (conv)
        TRY(attr_copy_all(g, node, g, &g->nodes[id]));
    else
        TRY(attr_set_int(g, node, "trans_b", m.trans_b));
    TRY(attr_set_int(g, node, conv ? "x_zero_point" : "a_zero_point", m.x.zero));
    if (t.quantize != NO_ID)
        TRY(set_tail(g, node, &t));
    else
        TRY(attr_set_int(g, node, "y_elem", ELEM_F32));
    *done = true;
    return NULL;
}

/* ---- joins ---- */

static Status rewrite_join(Graph *g, Arena *a, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    Codes x[2];
    if (!dequantized(g, n->in[0], &x[0]) || !dequantized(g, n->in[1], &x[1]) || x[0].elem != x[1].elem) return NULL;
    Tail t = find_tail(g, n->out[0]);
    if (t.quantize == NO_ID || t.y.elem != x[0].elem) return NULL;
    bool add = op_is(n, "Add");
    ValueId in[2] = {x[0].q, x[1].q};
    NodeId node;
    char *name = arena_strdup(a, n->name);
    TRY_ALLOC(name);
    TRY(emit(g, id, add ? "QAdd" : "QMul", name, 2, in, t.y.q, &node));
    TRY(attr_set_int(g, node, "a_zero_point", x[0].zero));
    TRY(attr_set_int(g, node, "b_zero_point", x[1].zero));
    double s[2] = {(double)x[0].scale, (double)x[1].scale}, y = (double)t.y.scale;
    if (add) {
        TRY(attr_set_float(g, node, "a_mult", (float)(s[0] / y)));
        TRY(attr_set_float(g, node, "b_mult", (float)(s[1] / y)));
    } else
        TRY(attr_set_float(g, node, "mult", (float)(s[0] * s[1] / y)));
    *done = true;
    return set_tail(g, node, &t);
}

/* ---- pools ---- */

static Status rewrite_pool(Graph *g, Arena *a, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    Codes x;
    if (!dequantized(g, n->in[0], &x)) return NULL;
    Tail t = find_tail(g, n->out[0]);
    if (t.quantize == NO_ID || t.y.elem != x.elem) return NULL;
    bool global = op_is(n, "GlobalAveragePool");
    for (int i = 2; global && i < g->values[x.q].type.rank; i++)
        if (g->values[x.q].type.dims[i] < 1) return NULL; /* the divisor must be known */
    NodeId node;
    char *name = arena_strdup(a, n->name);
    TRY_ALLOC(name);
    TRY(emit(g, id, global ? "QGlobalAveragePool" : "QAveragePool", name, 1, &x.q, t.y.q, &node));
    TRY(attr_copy_all(g, node, g, &g->nodes[id]));
    TRY(attr_set_int(g, node, "x_zero_point", x.zero));
    double mult = (double)x.scale / (double)t.y.scale;
    const Type *type = &g->values[x.q].type;
    for (int i = 2; global && i < type->rank; i++) mult /= (double)type->dims[i];
    TRY(attr_set_float(g, node, "mult", (float)mult));
    *done = true;
    return set_tail(g, node, &t);
}

/* ---- tables ---- */

/* y code of every x code: the op itself, in float, between dequantization and quantization. `n` NULL: requantization.
 */
static Status make_table(const Graph *g, Arena *a, const Node *n, const Codes *x, const Tail *t, Tensor *table) {
    const int64_t dims[1] = {256};
    Tensor in, out = {0};
    TRY(tensor_new(table, t->y.elem, 1, dims));
    TRY(tensor_new(&in, ELEM_F32, 1, dims));
    float *real = (float *)(void *)in.data;
    for (int i = 0; i < 256; i++) real[i] = (float)((x->elem == ELEM_I8 ? (int8_t)i : i) - x->zero) * x->scale;
    const float *result = real;
    if (n) {
        const Tensor **inputs = ARENA_ARRAY(a, const Tensor *, n->n_in);
        TRY_ALLOC(inputs);
        inputs[0] = &in;
        for (int i = 1; i < n->n_in; i++) inputs[i] = graph_constant(g, n->in[i]);
        EvalCtx c = {.g = g, .node = n, .scratch = a, .n_in = n->n_in, .n_out = 1, .in = inputs, .out = &out};
        Status s = n->op->eval(&c);
        if (s) {
            tensor_free(&in);
            tensor_free(table);
            return s;
        }
        result = (const float *)(const void *)out.data;
    }
    for (int i = 0; i < 256; i++) {
        float q = nearbyintf(result[i] / t->y.scale);
        int32_t lo = t->lo - t->y.zero, hi = t->hi - t->y.zero;
        int32_t code = q != q ? 0 : q < (float)lo ? lo : q > (float)hi ? hi : (int32_t)q;
        table->data[i] = (uint8_t)(code + t->y.zero);
    }
    tensor_free(&in);
    tensor_free(&out);
    return NULL;
}

static Status emit_table(Graph *g, Arena *a, NodeId id, const Node *op, const Codes *x, const Tail *t) {
    Tensor table;
    TRY(make_table(g, a, op, x, t, &table));
    char *name = arena_strdup(a, g->nodes[id].name);
    TRY_ALLOC(name);
    ValueId in[2] = {x->q};
    TRY(graph_add_constant(g, arena_printf(a, "%s_table", name), table, &in[1]));
    NodeId node;
    return emit(g, id, "QLut", name, 2, in, t->y.q, &node);
}

static Status rewrite_unary(Graph *g, Arena *a, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    Codes x;
    if (!dequantized(g, n->in[0], &x)) return NULL;
    for (int i = 1; i < n->n_in; i++)
        if (n->in[i] != NO_ID && !graph_constant(g, n->in[i])) return NULL;
    Tail t = find_tail(g, n->out[0]);
    if (t.quantize == NO_ID) return NULL;
    *done = true;
    return emit_table(g, a, id, n, &x, &t);
}

/* DequantizeLinear directly followed by QuantizeLinear: other parameters for the same value. */
static Status rewrite_requantize(Graph *g, Arena *a, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    Codes x, y = {.q = n->out[0], .elem = g->values[n->out[0]].type.elem};
    if (!dequantized(g, n->in[0], &x) || !is_code_type(y.elem) || !read_params(g, n, &y)) return NULL;
    Tail t = {.quantize = id, .y = y};
    code_limits(y.elem, &t.lo, &t.hi);
    *done = true;
    if (x.elem == y.elem && x.scale == y.scale && x.zero == y.zero) return graph_replace_uses(g, y.q, x.q);
    return emit_table(g, a, id, NULL, &x, &t);
}

/* ---- movement ---- */

static bool same_codes(const Codes *a, const Codes *b) {
    return a->elem == b->elem && a->scale == b->scale && a->zero == b->zero;
}

/* The same op on codes; parts of a concatenation with other parameters are requantized first. */
static Status rewrite_move(Graph *g, Arena *a, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    Codes y;
    NodeId quantize;
    if (n->n_out != 1 || !quantized_next(g, n->out[0], &quantize, &y)) return NULL;
    bool concat = op_is(n, "Concat");
    int data = concat ? n->n_in : 1;
    Codes *x = ARENA_ARRAY(a, Codes, data);
    ValueId *in = ARENA_ARRAY(a, ValueId, n->n_in);
    TRY_ALLOC(x && in);
    for (int i = 0; i < n->n_in; i++) in[i] = n->in[i];
    for (int i = 0; i < data; i++) {
        if (!dequantized(g, n->in[i], &x[i]) || (!concat && !same_codes(&x[i], &y))) return NULL;
        in[i] = x[i].q;
    }
    const OpDef *op = n->op;
    uint16_t n_in = n->n_in;
    char *name = arena_strdup(a, n->name);
    TRY_ALLOC(name);
    for (int i = 0; i < data; i++) {
        if (same_codes(&x[i], &y)) continue;
        Tail t = {.quantize = quantize, .y = y};
        code_limits(y.elem, &t.lo, &t.hi);
        Tensor table;
        TRY(make_table(g, a, NULL, &x[i], &t, &table));
        ValueId lut[2] = {x[i].q}, out = NO_ID;
        TRY(graph_add_constant(g, arena_printf(a, "%s_table_%d", name, i), table, &lut[1]));
        TRY(graph_add_node(g, op_find("pare", "QLut"), arena_printf(a, "%s_requantize_%d", name, i), 2, lut, 1, &out,
                           NULL));
        Type type = g->values[x[i].q].type;
        type.elem = y.elem;
        g->values[out].type = type;
        in[i] = out;
    }
    ValueId out = NO_ID;
    NodeId node;
    TRY(graph_add_node(g, op, name, n_in, in, 1, &out, &node));
    g->values[out].type = g->values[y.q].type;
    TRY(attr_copy_all(g, node, g, &g->nodes[id]));
    *done = true;
    return graph_replace_uses(g, y.q, out);
}

/* ---- the table of patterns ---- */

typedef Status (*Rewrite)(Graph *g, Arena *a, NodeId id, bool *done);

static const struct {
    const char *op;
    Rewrite rewrite;
} patterns[] = {
    {"Conv", rewrite_product},
    {"Gemm", rewrite_product},
    {"MatMul", rewrite_product},
    {"Add", rewrite_join},
    {"Mul", rewrite_join},
    {"AveragePool", rewrite_pool},
    {"GlobalAveragePool", rewrite_pool},
    {"HardSwish", rewrite_unary},
    {"HardSigmoid", rewrite_unary},
    {"Sigmoid", rewrite_unary},
    {"Tanh", rewrite_unary},
    {"LeakyRelu", rewrite_unary},
    {"Swish", rewrite_unary},
    {"Elu", rewrite_unary},
    {"Gelu", rewrite_unary},
    {"Mish", rewrite_unary},
    {"Relu", rewrite_unary},
    {"Clip", rewrite_unary},
    {"MaxPool", rewrite_move},
    {"Concat", rewrite_move},
    {"Reshape", rewrite_move},
    {"Flatten", rewrite_move},
    {"Transpose", rewrite_move},
    {"Squeeze", rewrite_move},
    {"Unsqueeze", rewrite_move},
    {"Slice", rewrite_move},
    {"Identity", rewrite_move},
    {"QuantizeLinear", rewrite_requantize},
};

static Rewrite pattern_of(const Node *n) {
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns && !n->op->domain[0]; i++)
        if (!strcmp(patterns[i].op, n->op->name)) return patterns[i].rewrite;
    return NULL;
}

static Status run(Graph *g, Arena *a, PassStats *stats) {
    NodeList list;
    TRY(edit_nodes(g, a, &list));
    for (uint32_t i = 0; i < list.n; i++) {
        const Node *n = &g->nodes[list.ids[i]];
        Rewrite rewrite = n->dead ? NULL : pattern_of(n);
        bool done = false;
        if (rewrite) TRY(rewrite(g, a, list.ids[i], &done));
        stats->changed += done;
    }
    TRY(graph_sort(g));
    graph_eliminate_dead(g);
    return NULL;
}

Status pass_integer(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    Arena *a = arena_new();
    TRY_ALLOC(a);
    Status s = run(g, a, stats);
    arena_free(a);
    return s;
}
