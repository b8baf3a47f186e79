/* Elementwise functions of float tensors, with broadcasting. */
#include "backends/cpu/nest.h"

#include <math.h>
#include <string.h>

typedef struct UnaryStep {
    Activation act;
    size_t n;
} UnaryStep;

static Status run_unary(const Step *s, Context *c) {
    const UnaryStep *u = s->op;
    unary_f32_run(&u->act, STEP_OUT(s, c, 0), STEP_IN(s, c, 0), u->n, c->team);
    return NULL;
}

Status lower_unary(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    Epilogue e;
    if (!node_activation(l->g, n, l->p->isa, &e)) return NULL;
    *done = true;
    Layout layout = lower_layout(l, n->in[0]);
    Operand x, y;
    int64_t ld;
    TRY(lower_read(l, n->in[0], layout, &x, &ld));
    if (layout == LAYOUT_NHWC && ld != lower_type(l, n->in[0])->dims[1]) {
        layout = LAYOUT_PLAIN;
        TRY(lower_read(l, n->in[0], layout, &x, NULL));
    }
    TRY(lower_write(l, n->out[0], layout, &y, NULL));
    UnaryStep u = {.n = (size_t)type_count(lower_type(l, n->out[0]))};
    u.act = e.act.fn ? e.act : activation_make(UNARY_clip, e.lo, e.hi, l->p->isa);
    return lower_simple(l, n, n->op->name, &(SimpleStep){"unary_f32", run_unary, &u, sizeof u, x, y});
}

/* ---- binary ---- */

static const struct {
    const char *op;
    BinaryKind kind;
} kinds[] = {{"Add", BINARY_add}, {"Sub", BINARY_sub}, {"Mul", BINARY_mul}, {"Div", BINARY_div},
             {"Pow", BINARY_pow}, {"Min", BINARY_min}, {"Max", BINARY_max}, {"PRelu", BINARY_prelu}};

static bool binary_kind(const Node *n, BinaryKind *kind) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (op_is(n, kinds[i].op)) return *kind = kinds[i].kind, true;
    return false;
}

static Status nest_operand(Lowering *l, ValueId v, const Type *out, Layout layout, Operand *where, int64_t *strides) {
    const Type *t = lower_type(l, v);
    int64_t own[MAX_RANK] = {0}, ld = 0;
    /* A small or broadcast operand is walked in whatever order it has; a full one is wanted in the nest's layout. */
    bool full = t->rank == out->rank && type_count(t) == type_count(out);
    Layout have = l->g->values[v].constant ? LAYOUT_PLAIN : lower_layout(l, v);
    Layout want = full ? layout : have;
    TRY(lower_read(l, v, want, where, &ld));
    lower_strides(t, want, ld, own);
    for (int i = 0; i < out->rank; i++) {
        int k = i - (out->rank - t->rank);
        strides[i] = k < 0 || t->dims[k] == 1 ? 0 : own[k];
    }
    return NULL;
}

/* Logical dims and strides into the order of the layout: channels last. */
static void nest_dim(EltNest *nest, int at, int64_t dim, const int64_t strides[3]) {
    nest->dims[at] = dim;
    for (int k = 0; k < 3; k++) nest->stride[k][at] = strides[k];
}

static void nest_fill(EltNest *nest, const Type *out, Layout layout, int64_t strides[3][MAX_RANK]) {
    nest->rank = out->rank ? out->rank : 1;
    if (!out->rank) {
        nest_dim(nest, 0, 1, (const int64_t[3]){0, 0, 0});
        return;
    }
    int at = 0;
    for (int i = 0; i < out->rank; i++) {
        if (layout == LAYOUT_NHWC && i == 1) continue;
        nest_dim(nest, at++, out->dims[i], (const int64_t[3]){strides[0][i], strides[1][i], strides[2][i]});
    }
    if (layout == LAYOUT_NHWC)
        nest_dim(nest, at, out->dims[1], (const int64_t[3]){strides[0][1], strides[1][1], strides[2][1]});
}

/* Channels-last when a full, computed operand is. */
static Layout nest_layout(const Lowering *l, const Node *n) {
    const Type *out = lower_type(l, n->out[0]);
    for (int i = 0; i < 2 && has_nhwc(out); i++) {
        const Type *t = lower_type(l, n->in[i]);
        if (!l->g->values[n->in[i]].constant && t->rank == out->rank && type_count(t) == type_count(out) &&
            lower_layout(l, n->in[i]) == LAYOUT_NHWC)
            return LAYOUT_NHWC;
    }
    return LAYOUT_PLAIN;
}

Status nest_binary(Lowering *l, const Node *n, ValueId v, Nest *operands, EltNest *nest) {
    const Type *out = lower_type(l, v);
    Layout layout = nest_layout(l, n);
    int64_t strides[3][MAX_RANK] = {{0}}, ldy = 0;
    TRY(nest_operand(l, n->in[0], out, layout, &operands->a, strides[1]));
    TRY(nest_operand(l, n->in[1], out, layout, &operands->b, strides[2]));
    TRY(lower_write(l, v, layout, &operands->y, layout == LAYOUT_NHWC ? &ldy : NULL));
    lower_strides(out, layout, ldy, strides[0]);
    nest_fill(nest, out, layout, strides);
    return NULL;
}

static Status run_binary(const Step *s, Context *c) {
    binary_f32_run(s->op, STEP_OUT(s, c, 0), STEP_IN(s, c, 0), STEP_IN(s, c, 1), c->team);
    return NULL;
}

Status lower_binary(Lowering *l, NodeId id, const Group *group, bool *done) {
    const Node *n = &l->g->nodes[id];
    BinaryKind kind;
    const Type *out = lower_type(l, n->out[0]);
    bool fits = n->n_in == 2 && binary_kind(n, &kind) && out->elem == ELEM_F32;
    fits = fits && lower_type(l, n->in[0])->elem == ELEM_F32 && lower_type(l, n->in[1])->elem == ELEM_F32;
    if (!fits) return NULL;
    *done = true;
    Epilogue e;
    group_epilogue(l, group, &e);
    BinaryF32 op = {.kind = kind, .lo = e.lo, .hi = e.hi, .act = e.act};
    Nest nest;
    TRY(nest_binary(l, n, group ? group->out : n->out[0], &nest, &op.nest));
    binary_f32_prepare(&op, l->p->isa);
    Step *s;
    TRY(lower_step(l, n->name, group ? group->label : n->op->name, "binary_f32", run_binary, sizeof op, 2, 1, &s));
    *(BinaryF32 *)s->op = op;
    s->in[0] = nest.a;
    s->in[1] = nest.b;
    s->out[0] = nest.y;
    return lower_commit(l, s);
}
