/* Groups: what one kernel does together. A group is a chain of nodes with single uses between them:
 *
 *   root [+ bias] [+ Add residual] [clip] [activation]      (add_first)
 *   root [+ bias] [clip] [activation] [+ Add residual]
 *
 * Which of these parts a root's kernel can do stands in the root table. */
#include "backends/cpu/plan.h"

#include <math.h>
#include <string.h>

/* ---- activations ---- */

typedef struct ActivationRow {
    const char *op;
    UnaryKind kind;
    const char *a, *b; /* float attributes that give the parameters, or NULL */
} ActivationRow;

static const ActivationRow activations[] = {
    {"Sigmoid", UNARY_sigmoid, NULL, NULL},
    {"Tanh", UNARY_tanh, NULL, NULL},
    {"HardSigmoid", UNARY_hardsigmoid, "alpha", "beta"},
    {"HardSwish", UNARY_hardswish, NULL, NULL},
    {"Swish", UNARY_silu, "alpha", NULL},
    {"Gelu", UNARY_gelu_erf, NULL, NULL},
    {"Erf", UNARY_erf, NULL, NULL},
    {"Exp", UNARY_exp, NULL, NULL},
    {"Log", UNARY_log, NULL, NULL},
    {"Sqrt", UNARY_sqrt, NULL, NULL},
    {"Reciprocal", UNARY_reciprocal, NULL, NULL},
    {"Neg", UNARY_neg, NULL, NULL},
    {"Abs", UNARY_abs, NULL, NULL},
    {"LeakyRelu", UNARY_leaky_relu, "alpha", NULL},
    {"Elu", UNARY_elu, "alpha", NULL},
    {"Selu", UNARY_selu, "alpha", "gamma"},
    {"Celu", UNARY_celu, "alpha", NULL},
    {"Softplus", UNARY_softplus, NULL, NULL},
    {"Softsign", UNARY_softsign, NULL, NULL},
    {"Mish", UNARY_mish, NULL, NULL},
    {"ThresholdedRelu", UNARY_thresholded_relu, "alpha", NULL},
};

static const ActivationRow *activation_row(const Node *n) {
    if (n->op->domain[0]) return NULL;
    for (size_t i = 0; i < sizeof activations / sizeof *activations; i++)
        if (!strcmp(activations[i].op, n->op->name)) return &activations[i];
    return NULL;
}

/* A constant scalar input, or `deflt` when it is absent. False when it is not constant. */
static bool scalar_bound(const Graph *g, const Node *n, int slot, float deflt, float *out) {
    *out = deflt;
    if (slot >= n->n_in || n->in[slot] == NO_ID) return true;
    const Tensor *t = graph_constant(g, n->in[slot]);
    if (!t || tensor_count(t) != 1) return false;
    *out = (float)tensor_get_f64(t, 0);
    return true;
}

static bool node_clip(const Graph *g, const Node *n, float *lo, float *hi) {
    if (op_is(n, "Relu")) {
        *lo = 0;
        *hi = INFINITY;
        return true;
    }
    return op_is(n, "Clip") && scalar_bound(g, n, 1, -INFINITY, lo) && scalar_bound(g, n, 2, INFINITY, hi);
}

static bool is_float32(const Graph *g, ValueId v) { return g->values[v].type.elem == ELEM_F32; }

bool node_activation(const Graph *g, const Node *n, uint32_t isa, Epilogue *e) {
    *e = (Epilogue){.lo = -INFINITY, .hi = INFINITY};
    if (!n->n_in || n->in[0] == NO_ID || !is_float32(g, n->in[0])) return false;
    if (node_clip(g, n, &e->lo, &e->hi)) return true;
    const ActivationRow *row = activation_row(n);
    if (!row) return false;
    UnaryKind kind = row->kind;
    if (kind == UNARY_gelu_erf && !strcmp(attr_string(n, "approximate"), "tanh")) kind = UNARY_gelu_tanh;
    float a = row->a ? attr_float(n, row->a) : 0, b = row->b ? attr_float(n, row->b) : 0;
    e->act = activation_make(kind, a, b, isa);
    return true;
}

void group_epilogue(const Lowering *l, const Group *group, Epilogue *e) {
    *e = (Epilogue){.lo = -INFINITY, .hi = INFINITY};
    if (!group) return;
    Epilogue part;
    if (group->activation != NO_ID && node_activation(l->g, &l->g->nodes[group->activation], l->p->isa, &part))
        e->act = part.act;
    if (group->clip != NO_ID && node_activation(l->g, &l->g->nodes[group->clip], l->p->isa, &part)) {
        e->lo = part.lo;
        e->hi = part.hi;
    }
}

/* ---- groups ---- */

enum {
    CAN_ACT = 1,
    CAN_CLIP = 2,
    CAN_ADD = 4,
    CAN_BIAS = 8,
    CLIP_FIRST = 16, /* the kernel clips before the activation, not after it */
    CAN_TABLE = 32,  /* pare.QLut after an integer root */
    CAN_QADD = 64
};

typedef struct RootRow {
    const char *domain, *op;
    int can;
} RootRow;

static const RootRow roots[] = {
    {"", "Conv", CAN_ACT | CAN_CLIP | CAN_ADD | CLIP_FIRST},
    {"", "Gemm", CAN_ACT | CAN_CLIP | CAN_ADD | CLIP_FIRST},
    {"", "MatMul", CAN_ACT | CAN_CLIP | CAN_ADD | CAN_BIAS | CLIP_FIRST},
    {"", "Add", CAN_ACT | CAN_CLIP | CLIP_FIRST},
    {"", "Sub", CAN_ACT | CAN_CLIP | CLIP_FIRST},
    {"", "Mul", CAN_ACT | CAN_CLIP | CLIP_FIRST},
    {"", "Div", CAN_ACT | CAN_CLIP | CLIP_FIRST},
    {"pare", "QConv", CAN_TABLE | CAN_QADD},
    {"pare", "QMatMul", CAN_TABLE | CAN_QADD},
};

static int root_can(const Lowering *l, const Node *n) {
    for (size_t i = 0; i < sizeof roots / sizeof *roots; i++) {
        if (strcmp(roots[i].op, n->op->name) != 0 || strcmp(roots[i].domain, n->op->domain) != 0) continue;
        if (!root_has_kernel(l->g, n)) return 0;
        int can = roots[i].can;
        if ((can & CAN_ADD || can & CAN_QADD) && conv_is_depthwise(l->g, n)) can &= ~(CAN_ADD | CAN_QADD);
        return can;
    }
    return 0;
}

/* The other operand of an Add when it has the shape of the sum and is no constant; NO_ID otherwise. */
static ValueId residual_of(const Graph *g, const Node *add, ValueId v) {
    if (add->n_in < 2 || add->in[0] == add->in[1]) return NO_ID;
    ValueId other = add->in[0] == v ? add->in[1] : add->in[0];
    bool fits = !g->values[other].constant && type_equal(&g->values[other].type, &g->values[v].type) &&
                type_equal(&g->values[other].type, &g->values[add->out[0]].type);
    return fits ? other : NO_ID;
}

/* A constant vector over the last axis added to v. */
static ValueId bias_of(const Graph *g, const Node *add, ValueId v) {
    ValueId other = add->in[0] == v ? add->in[1] : add->in[0];
    const Tensor *t = graph_constant(g, other);
    const Type *type = &g->values[v].type;
    if (!t || type->rank < 1 || t->elem != ELEM_F32 || t->rank > type->rank) return NO_ID;
    return t->rank >= 1 && t->dims[t->rank - 1] == type->dims[type->rank - 1] && tensor_count(t) == t->dims[t->rank - 1]
               ? other
               : NO_ID;
}

/* Whether `n`, the only user of v, can join; fills in the group. */
static bool join(const Lowering *l, Group *x, int can, const Node *n, NodeId id, ValueId v) {
    const Graph *g = l->g;
    bool nothing_yet = x->add == NO_ID && x->activation == NO_ID && x->clip == NO_ID;
    bool is_add = op_is(n, "Add") && (can & (CAN_ADD | CAN_BIAS)), is_qadd = op_is_pare(n, "QAdd") && (can & CAN_QADD);
    if (is_add && (can & CAN_BIAS) && nothing_yet && x->bias == NO_ID && (x->bias = bias_of(g, n, v)) != NO_ID)
        return true;
    if ((is_add && (can & CAN_ADD)) || is_qadd) {
        ValueId r = x->add == NO_ID && !(is_qadd && n->in[0] != v) ? residual_of(g, n, v) : NO_ID;
        if (is_qadd && x->add == NO_ID && n->in[1] == v) r = residual_of(g, n, v);
        if (r == NO_ID) return false;
        x->add_first = nothing_yet && is_add;
        x->add = id;
        x->residual = r;
        return true;
    }
    if (x->add != NO_ID && !x->add_first) return false;
    if ((can & CAN_TABLE) && op_is_pare(n, "QLut") && x->activation == NO_ID) return x->activation = id, true;
    Epilogue e;
    if (!(can & (CAN_ACT | CAN_CLIP)) || !node_activation(g, n, l->p->isa, &e)) return false;
    if (e.act.fn) {
        if (!(can & CAN_ACT) || x->activation != NO_ID || (x->clip != NO_ID && !(can & CLIP_FIRST))) return false;
        x->activation = id;
        return true;
    }
    if (!(can & CAN_CLIP) || x->clip != NO_ID || (x->activation != NO_ID && (can & CLIP_FIRST))) return false;
    x->clip = id;
    return true;
}

static Status grow_group(Lowering *l, NodeId root, int can) {
    const Graph *g = l->g;
    Group x = {
        .root = root, .tail = root, .bias = NO_ID, .activation = NO_ID, .clip = NO_ID, .add = NO_ID, .residual = NO_ID};
    x.out = g->nodes[root].out[0];
    x.label = g->nodes[root].op->name;
    NodeId members[8] = {root};
    int n_members = 1;
    while (n_members < 8) {
        NodeId next = l->tapped[x.out] ? NO_ID : graph_single_user(g, x.out);
        if (next == NO_ID || l->group[next] || g->nodes[next].n_out != 1) break;
        if (!join(l, &x, can, &g->nodes[next], next, x.out)) break;
        x.tail = next;
        x.out = g->nodes[next].out[0];
        TRY_ALLOC(x.label = arena_printf(l->scratch, "%s+%s", x.label, g->nodes[next].op->name));
        members[n_members++] = next;
    }
    if (n_members == 1) return NULL;
    Group *group = arena_alloc(l->scratch, sizeof *group);
    TRY_ALLOC(group);
    *group = x;
    for (int i = 0; i < n_members; i++) l->group[members[i]] = group;
    return NULL;
}

Status find_groups(Lowering *l) {
    /* Products first and from the end: of two convolutions that feed one Add, the later one takes it, while its operand
     * is still in the cache. */
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = l->g->n_order; i-- > 0;) {
            NodeId id = l->g->order[i];
            int can = l->group[id] ? 0 : root_can(l, &l->g->nodes[id]);
            bool is_product = can & (CAN_ADD | CAN_BIAS | CAN_TABLE) || op_is(&l->g->nodes[id], "Conv");
            if (can && is_product == (pass == 0)) TRY(grow_group(l, id, can));
        }
    return NULL;
}
