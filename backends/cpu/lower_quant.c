/* Integer steps and the conversions between float and codes (docs/numerics.md). */
#include "backends/cpu/lower_quant.h"

#include "backends/cpu/geometry.h"
#include "backends/cpu/nest.h"
#include "kernels/cpu/eltwise/quant.h"
#include "kernels/cpu/pool/pool.h"

#include <math.h>

void code_bounds(const Node *n, ElemType e, int32_t *lo, int32_t *hi) {
    int64_t low = e == ELEM_I8 ? -128 : 0, high = e == ELEM_I8 ? 127 : 255;
    int64_t a = attr_int(n, "lo"), b = attr_int(n, "hi");
    *lo = (int32_t)(a > low ? a : low);
    *hi = (int32_t)(b < high ? b : high);
}

const uint8_t *group_table(const Lowering *l, const Group *group) {
    if (!group || group->activation == NO_ID) return NULL;
    return graph_constant(l->g, l->g->nodes[group->activation].in[1])->data;
}

static IgemmType igemm_type(ElemType e) {
    return e == ELEM_F32 ? IGEMM_F32 : e == ELEM_I8 ? IGEMM_S8 : e == ELEM_I32 ? IGEMM_S32 : IGEMM_U8;
}

/* QAdd behind the product: `r` is the operand that is not the product's result. */
static void residual_add(const Lowering *l, const Group *group, ElemType e, IgemmDesc *d) {
    const Node *add = &l->g->nodes[group->add];
    bool second = add->in[0] == group->residual; /* the product is operand b */
    d->add.m_q = attr_float(add, second ? "b_mult" : "a_mult");
    d->add.m_r = attr_float(add, second ? "a_mult" : "b_mult");
    d->add.r_zero = (int32_t)attr_int(add, second ? "a_zero_point" : "b_zero_point");
    d->add.zero = (int32_t)attr_int(add, "y_zero_point");
    int32_t lo, hi;
    code_bounds(add, e, &lo, &hi);
    d->add.lo = (float)lo;
    d->add.hi = (float)hi;
}

Status integer_product(Lowering *l, Product *p, const char *x_zero_point) {
    const Node *n = p->node;
    ElemType y = lower_type(l, n->out[0])->elem;
    IgemmDesc *d = &p->desc;
    d->x_type = igemm_type(lower_type(l, n->in[0])->elem);
    d->y_type = igemm_type(y);
    d->x_zero = (int32_t)attr_int(n, x_zero_point);
    if (y == ELEM_F32) {
        d->lo = -INFINITY;
        d->hi = INFINITY;
    } else {
        int32_t lo, hi;
        d->y_zero = (int32_t)attr_int(n, "y_zero_point");
        code_bounds(n, y, &lo, &hi);
        d->lo = (float)lo;
        d->hi = (float)hi;
    }
    d->table = group_table(l, p->group);
    if (p->group && p->group->add != NO_ID) residual_add(l, p->group, y, d);
    p->bias = graph_constant(l->g, n->in[2]);
    const void *m;
    TRY(plan_bytes(l->p, graph_constant(l->g, n->in[3]), &m));
    p->multiplier = m;
    return NULL;
}

/* ---- joins ---- */

static Status run_qbinary(const Step *s, Context *c) {
    qbinary_run(s->op, STEP_OUT(s, c, 0), STEP_IN(s, c, 0), STEP_IN(s, c, 1), c->team);
    return NULL;
}

Status lower_qbinary(Lowering *l, NodeId id, const Group *group, bool *done) {
    const Node *n = &l->g->nodes[id];
    (void)group;
    for (int i = 0; i < 2; i++)
        if (lower_type(l, n->in[i])->elem != ELEM_U8) return NULL;
    if (lower_type(l, n->out[0])->elem != ELEM_U8) return NULL;
    *done = true;
    bool add = op_is_pare(n, "QAdd");
    QBinary op = {.kind = add ? QBINARY_ADD : QBINARY_MUL, .p.b_mult = 1};
    op.p.a_zp = (int32_t)attr_int(n, "a_zero_point");
    op.p.b_zp = (int32_t)attr_int(n, "b_zero_point");
    op.p.a_mult = attr_float(n, add ? "a_mult" : "mult");
    if (add) op.p.b_mult = attr_float(n, "b_mult");
    op.p.y_zp = (int32_t)attr_int(n, "y_zero_point");
    code_bounds(n, ELEM_U8, &op.p.lo, &op.p.hi);
    Nest nest;
    TRY(nest_binary(l, n, n->out[0], &nest, &op.nest));
    qbinary_prepare(&op, l->p->isa);
    Step *s;
    TRY(lower_step(l, n->name, n->op->name, "qbinary_u8", run_qbinary, sizeof op, 2, 1, &s));
    *(QBinary *)s->op = op;
    s->in[0] = nest.a;
    s->in[1] = nest.b;
    s->out[0] = nest.y;
    return lower_commit(l, s);
}

/* ---- elementwise on whole tensors ---- */

typedef enum Stream { STREAM_TABLE, STREAM_QUANTIZE, STREAM_DEQUANTIZE } Stream;

typedef struct StreamStep {
    Stream kind;
    const QuantOps *ops;
    size_t n;
    const uint8_t *table;
    float scale;
    int32_t zero;
    bool is_signed;
} StreamStep;

static Status run_stream(const Step *s, Context *c) {
    const StreamStep *x = s->op;
    void *y = STEP_OUT(s, c, 0), *in = STEP_IN(s, c, 0);
    if (x->kind == STREAM_TABLE)
        lut_u8_run(x->ops, y, in, x->n, x->table, c->team);
    else if (x->kind == STREAM_QUANTIZE)
        quantize_run(x->ops, y, in, x->n, x->scale, x->zero, x->is_signed, c->team);
    else
        dequantize_run(x->ops, y, in, x->n, x->scale, x->zero, x->is_signed, c->team);
    return NULL;
}

static Status lower_stream(Lowering *l, const Node *n, StreamStep x, const char *kernel) {
    Layout layout = lower_layout(l, n->in[0]);
    Operand in, out;
    int64_t ld;
    TRY(lower_read(l, n->in[0], layout, &in, &ld));
    if (layout == LAYOUT_NHWC && ld != lower_type(l, n->in[0])->dims[1]) {
        layout = LAYOUT_PLAIN;
        TRY(lower_read(l, n->in[0], layout, &in, NULL));
    }
    TRY(lower_write(l, n->out[0], layout, &out, NULL));
    x.ops = quant_ops(l->p->isa);
    x.n = (size_t)type_count(lower_type(l, n->in[0]));
    return lower_simple(l, n, n->op->name, &(SimpleStep){kernel, run_stream, &x, sizeof x, in, out});
}

Status lower_qlut(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Tensor *table = graph_constant(l->g, n->in[1]);
    if (!table) return NULL;
    *done = true;
    return lower_stream(l, n, (StreamStep){.kind = STREAM_TABLE, .table = table->data}, "table_u8");
}

/* Per-tensor conversion between float32 and 8-bit codes with constant parameters. */
static Status lower_conversion(Lowering *l, NodeId id, Stream kind, const char *kernel, bool *done) {
    const Node *n = &l->g->nodes[id];
    const Tensor *scale = graph_constant(l->g, n->in[1]);
    const Tensor *zero = n->n_in > 2 && n->in[2] != NO_ID ? graph_constant(l->g, n->in[2]) : NULL;
    ValueId codes = kind == STREAM_QUANTIZE ? n->out[0] : n->in[0],
            real = kind == STREAM_QUANTIZE ? n->in[0] : n->out[0];
    ElemType e = lower_type(l, codes)->elem;
    bool fits = scale && tensor_count(scale) == 1 && scale->elem == ELEM_F32 && (e == ELEM_U8 || e == ELEM_I8);
    fits = fits && lower_type(l, real)->elem == ELEM_F32 && (n->n_in < 3 || n->in[2] == NO_ID || zero);
    if (!fits || l->g->values[n->in[0]].constant) return NULL;
    *done = true;
    StreamStep x = {.kind = kind, .scale = (float)tensor_get_f64(scale, 0), .is_signed = e == ELEM_I8};
    if (zero) x.zero = (int32_t)tensor_get_i64(zero, 0);
    return lower_stream(l, n, x, kernel);
}

Status lower_quantize(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    return lower_conversion(l, id, STREAM_QUANTIZE, "quantize", done);
}

Status lower_dequantize(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    return lower_conversion(l, id, STREAM_DEQUANTIZE, "dequantize", done);
}
