/* Which nodes compute in integers.
 *
 * Products with constant weights do, unless something speaks against it. Everything between them does when all its
 * inputs come from integer nodes and its result goes to one: so a value is converted only where an integer region
 * begins or ends, and precision-hungry parts (normalizations, softmax, residual streams of transformers, the front end
 * of audio models) stay in float. */
#include "passes/quantize.h"

#include <string.h>

typedef enum Role { ROLE_NONE, ROLE_PRODUCT, ROLE_JOIN, ROLE_UNARY, ROLE_CLAMP, ROLE_POOL, ROLE_MOVE } Role;

static const struct {
    const char *op;
    Role role;
} roles[] = {
    {"Conv", ROLE_PRODUCT},   {"Gemm", ROLE_PRODUCT},     {"MatMul", ROLE_PRODUCT},
    {"Add", ROLE_JOIN},       {"Mul", ROLE_JOIN},         {"Relu", ROLE_CLAMP},
    {"Clip", ROLE_CLAMP},     {"HardSwish", ROLE_UNARY},  {"HardSigmoid", ROLE_UNARY},
    {"Sigmoid", ROLE_UNARY},  {"Tanh", ROLE_UNARY},       {"LeakyRelu", ROLE_UNARY},
    {"Swish", ROLE_UNARY},    {"Elu", ROLE_UNARY},        {"Gelu", ROLE_UNARY},
    {"Mish", ROLE_UNARY},     {"AveragePool", ROLE_POOL}, {"GlobalAveragePool", ROLE_POOL},
    {"MaxPool", ROLE_MOVE},   {"Concat", ROLE_MOVE},      {"Reshape", ROLE_MOVE},
    {"Flatten", ROLE_MOVE},   {"Transpose", ROLE_MOVE},   {"Squeeze", ROLE_MOVE},
    {"Unsqueeze", ROLE_MOVE}, {"Slice", ROLE_MOVE},       {"Identity", ROLE_MOVE},
};

static Role role_of(const Node *n) {
    for (size_t i = 0; i < sizeof roles / sizeof *roles && !n->op->domain[0]; i++)
        if (!strcmp(roles[i].op, n->op->name)) return roles[i].role;
    return ROLE_NONE;
}

int quant_weight_axis(const Graph *g, const Node *n) {
    (void)g;
    return op_is(n, "Conv") || (op_is(n, "Gemm") && attr_int(n, "transB")) ? 0 : 1;
}

int quant_input_axis(const Graph *g, const Node *n) { return op_is(n, "Conv") ? 1 : g->values[n->in[0]].type.rank - 1; }

static bool is_float(const Graph *g, ValueId v) { return v != NO_ID && g->values[v].type.elem == ELEM_F32; }

/* ---- products ---- */

static bool constant_bias(const Graph *g, const Node *n) {
    return n->n_in < 3 || n->in[2] == NO_ID || graph_constant(g, n->in[2]);
}

/* A product that the integer kernels and Q/DQ can express; *why tells what is in the way. */
static bool is_product(const Graph *g, const Node *n, const char **why) {
    const Tensor *w = n->n_in > 1 ? graph_constant(g, n->in[1]) : NULL;
    *why = NULL;
    if (!is_float(g, n->in[0]) || graph_constant(g, n->in[0])) return false;
    if (!w || w->elem != ELEM_F32) return *why = "its weights are not constant", false;
    if (!constant_bias(g, n)) return *why = "its bias is not constant", false;
    if (op_is(n, "Conv"))
        return w->rank == 3 || w->rank == 4 || (*why = "it has more than two spatial dimensions", false);
    if (w->rank != 2) return *why = "its weights differ between batches", false;
    if (op_is(n, "MatMul")) return g->values[n->in[0]].type.rank >= 2;
    if (attr_int(n, "transA") || attr_float(n, "alpha") != 1.0f || attr_float(n, "beta") != 1.0f)
        return *why = "it scales or transposes its input", false;
    return true;
}

/* Nodes whose results go through a logarithm and then into products: features of signals (power spectra), whose small
 * values carry as much information as the large ones. Eight bits cannot hold that range. */
static bool *before_log(const Graph *g, Arena *a) {
    bool *feeds_product = ARENA_ARRAY(a, bool, g->n_nodes), *marked = ARENA_ARRAY(a, bool, g->n_nodes);
    if (!feeds_product || !marked) return NULL;
    for (uint32_t k = g->n_order; k-- > 0;) {
        NodeId id = g->order[k];
        const Node *n = &g->nodes[id];
        for (int o = 0; o < n->n_out; o++) {
            const Value *v = n->out[o] == NO_ID ? NULL : &g->values[n->out[o]];
            for (uint32_t u = 0; v && u < v->n_uses; u++) {
                NodeId user = v->uses[u].node;
                feeds_product[id] |= feeds_product[user] || role_of(&g->nodes[user]) == ROLE_PRODUCT;
                marked[id] |= marked[user] || (op_is(&g->nodes[user], "Log") && feeds_product[user]);
            }
        }
    }
    return marked;
}

static Status select_products(const Graph *g, const QuantConfig *c, Arena *a, QuantSelection *s) {
    bool *early = before_log(g, a);
    TRY_ALLOC(early && (s->floats = ARENA_ARRAY(a, FloatNode, g->n_order)));
    for (uint32_t k = 0; k < g->n_order; k++) {
        NodeId id = g->order[k];
        const Node *n = &g->nodes[id];
        if (role_of(n) != ROLE_PRODUCT) continue;
        const char *why;
        bool ok = is_product(g, n, &why);
        if (ok && early[id])
            ok = false, why = "a logarithm follows: the small values of its result matter as much as the large ones";
        if (ok && c->keep_float && c->keep_float(c->ctx, g, n, &why)) ok = false;
        s->integer[id] = ok;
        if (!ok && why) s->floats[s->n_floats++] = (FloatNode){id, why};
    }
    return NULL;
}

/* ---- what lies between ---- */

static bool from_integer(const Graph *g, const QuantSelection *s, ValueId v) {
    return v != NO_ID && g->values[v].producer != NO_ID && s->integer[g->values[v].producer] && is_float(g, v);
}

static bool constant_scalar(const Graph *g, const Node *n, int i) {
    return i >= n->n_in || n->in[i] == NO_ID || graph_constant(g, n->in[i]);
}

/* Whether a node that is no product could compute in integers: its data inputs come from integer nodes. */
static bool can_join_region(const Graph *g, const QuantSelection *s, const Node *n, Role role) {
    if (n->n_out != 1 || !is_float(g, n->out[0])) return false;
    switch (role) {
    case ROLE_JOIN:
        return n->n_in == 2 && from_integer(g, s, n->in[0]) && from_integer(g, s, n->in[1]);
    case ROLE_CLAMP:
        return from_integer(g, s, n->in[0]) && constant_scalar(g, n, 1) && constant_scalar(g, n, 2);
    case ROLE_POOL:
        return from_integer(g, s, n->in[0]) && g->values[n->in[0]].type.rank == 4;
    case ROLE_UNARY:
        return from_integer(g, s, n->in[0]);
    case ROLE_MOVE:
        if (!op_is(n, "Concat")) return from_integer(g, s, n->in[0]);
        for (int i = 0; i < n->n_in; i++)
            if (!from_integer(g, s, n->in[i])) return false;
        return true;
    case ROLE_PRODUCT:
    case ROLE_NONE:
        break;
    }
    return false;
}

static bool feeds_integer(const Graph *g, const QuantSelection *s, ValueId v) {
    for (uint32_t u = 0; u < g->values[v].n_uses; u++)
        if (s->integer[g->values[v].uses[u].node]) return true;
    return false;
}

static void select_between(const Graph *g, const QuantConfig *c, QuantSelection *s) {
    for (uint32_t k = 0; k < g->n_order; k++) {
        NodeId id = g->order[k];
        const Node *n = &g->nodes[id];
        Role role = role_of(n);
        const char *why;
        if (role == ROLE_NONE || role == ROLE_PRODUCT || !can_join_region(g, s, n, role)) continue;
        s->integer[id] = !(c->keep_float && c->keep_float(c->ctx, g, n, &why));
    }
    for (uint32_t k = g->n_order; k-- > 0;) { /* the end of a region is not worth a conversion */
        NodeId id = g->order[k];
        const Node *n = &g->nodes[id];
        if (s->integer[id] && role_of(n) != ROLE_PRODUCT && !feeds_integer(g, s, n->out[0])) s->integer[id] = false;
    }
}

/* ---- values ---- */

/* The clamp that the kernel of v's producer takes on: v itself then has no integer form. */
static bool is_before_clamp(const Graph *g, const QuantSelection *s, ValueId v) {
    NodeId user = graph_single_user(g, v), producer = g->values[v].producer;
    if (user == NO_ID || producer == NO_ID || !s->integer[user] || !s->integer[producer]) return false;
    Role role = role_of(&g->nodes[producer]);
    return role_of(&g->nodes[user]) == ROLE_CLAMP && (role == ROLE_PRODUCT || role == ROLE_JOIN);
}

static uint32_t find_set(uint32_t *set, uint32_t v) {
    while (set[v] != v) v = set[v] = set[set[v]];
    return v;
}

static void tie(uint32_t *set, ValueId a, ValueId b) {
    uint32_t x = find_set(set, a), y = find_set(set, b);
    if (x < y)
        set[y] = x;
    else
        set[x] = y;
}

static void select_values(const Graph *g, QuantSelection *s) {
    for (uint32_t v = 0; v < g->n_values; v++) s->set[v] = v;
    for (uint32_t k = 0; k < g->n_order; k++) {
        NodeId id = g->order[k];
        const Node *n = &g->nodes[id];
        if (!s->integer[id]) continue;
        Role role = role_of(n);
        int data = role == ROLE_JOIN ? 2 : op_is(n, "Concat") ? n->n_in : 1;
        for (int i = 0; i < data; i++) {
            s->quantized[n->in[i]] = !is_before_clamp(g, s, n->in[i]);
            if (role == ROLE_MOVE) tie(s->set, n->in[i], n->out[0]);
        }
        if (role == ROLE_PRODUCT) s->products[s->n_products++] = id;
    }
    for (uint32_t v = 0; v < g->n_values; v++) s->set[v] = find_set(s->set, v);
}

/* What is observed: every quantized value that is not just moved data of another one. */
static void select_watch(const Graph *g, QuantSelection *s) {
    for (uint32_t v = 0; v < g->n_values; v++) {
        if (!s->quantized[v]) continue;
        NodeId p = g->values[v].producer;
        if (p == NO_ID || !s->integer[p] || role_of(&g->nodes[p]) != ROLE_MOVE) s->watch[s->n_watch++] = v;
    }
}

Status quant_select(const Graph *g, const QuantConfig *c, Arena *a, QuantSelection *s) {
    *s = (QuantSelection){0};
    s->integer = ARENA_ARRAY(a, bool, g->n_nodes);
    s->quantized = ARENA_ARRAY(a, bool, g->n_values);
    s->set = ARENA_ARRAY(a, uint32_t, g->n_values);
    s->watch = ARENA_ARRAY(a, ValueId, g->n_values);
    s->products = ARENA_ARRAY(a, NodeId, g->n_order);
    TRY_ALLOC(s->integer && s->quantized && s->set && s->watch && s->products);
    TRY(select_products(g, c, a, s));
    select_between(g, c, s);
    select_values(g, s);
    select_watch(g, s);
    return NULL;
}
