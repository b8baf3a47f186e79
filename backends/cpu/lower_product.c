#include "backends/cpu/lower_product.h"

#include "backends/cpu/onednn.h"

#include <string.h>

bool root_has_kernel(const Graph *g, const Node *n) {
    if (op_is(n, "Conv") || op_is_pare(n, "QConv")) return conv_has_kernel(g, n);
    if (op_is(n, "Gemm") || op_is(n, "MatMul") || op_is_pare(n, "QMatMul")) return matmul_has_kernel(g, n);
    return true;
}

typedef struct IgemmStep {
    Igemm op;
    const void *packed;
} IgemmStep;

static Status run_igemm(const Step *s, Context *c) {
    const IgemmStep *x = s->op;
    igemm_run(&x->op, x->packed, STEP_IN(s, c, 0), s->n_in > 1 ? STEP_IN(s, c, 1) : NULL, STEP_OUT(s, c, 0), c->scratch,
              c->team);
    return NULL;
}

static Status pack_weights(Lowering *l, const Product *p, IgemmStep *x) {
    IgemmWeights w = {.layout = p->layout, .multiplier = p->multiplier};
    const Tensor *bias = p->bias;
    if (p->group && p->group->bias != NO_ID) bias = graph_constant(l->g, p->group->bias);
    if (p->desc.x_type == IGEMM_F32) {
        const float *wf, *bf = NULL;
        TRY(plan_floats(l->p, p->w, &wf));
        if (bias) TRY(plan_floats(l->p, bias, &bf));
        w.w = wf;
        w.bias = bf;
    } else {
        w.w = p->w->data;
        if (bias) TRY(plan_bytes(l->p, bias, &w.bias));
    }
    void *packed;
    TRY(plan_memory(l->p, igemm_pack_bytes(&x->op), &packed));
    igemm_pack(&x->op, &w, packed);
    x->packed = packed;
    return NULL;
}

/* bf16 is only for those who ask: by the plan's options, or by weights that are stored so. */
static bool wants_bf16(const Lowering *l, const Product *p) {
    bool asked = l->o->precision == PREC_BF16 || l->narrow[p->node->in[1]];
    return asked && p->desc.x_type == IGEMM_F32 && !bf16_missing();
}

Status lower_product(Lowering *l, Product *p) {
    bool done = false;
    if (wants_bf16(l, p)) TRY(onednn_product(l, p, &done));
    if (done) return NULL;
    const Group *group = p->group;
    Layout layout = p->nhwc ? LAYOUT_NHWC : LAYOUT_PLAIN;
    bool residual = group && group->add != NO_ID;
    Operand x, y, r = {0};
    TRY(lower_read(l, p->x, layout, &x, p->nhwc ? &p->desc.ldx : NULL));
    if (residual) TRY(lower_read(l, group->residual, layout, &r, p->nhwc ? &p->desc.ldr : NULL));
    TRY(lower_write(l, group ? group->out : p->node->out[0], layout, &y, p->nhwc ? &p->desc.ldy : NULL));
    if (p->desc.x_type == IGEMM_F32) {
        Epilogue e;
        group_epilogue(l, group, &e);
        p->desc.lo = e.lo;
        p->desc.hi = e.hi;
        p->desc.act = e.act.fn;
        p->desc.act_a = e.act.a;
        p->desc.act_b = e.act.b;
        if (residual) p->desc.residual = group->add_first ? IGEMM_RESIDUAL_BEFORE : IGEMM_RESIDUAL_AFTER;
    } else if (residual)
        p->desc.residual = IGEMM_RESIDUAL_AFTER;
    IgemmStep prepared;
    if (!igemm_init(&prepared.op, &p->desc))
        return status_make(STATUS_UNSUPPORTED, "%s '%s': its sizes are outside what the CPU kernels take",
                           p->node->op->name, p->node->name);
    Step *s;
    TRY(lower_step(l, p->node->name, group ? group->label : p->node->op->name, igemm_kernel_name(&prepared.op),
                   run_igemm, sizeof(IgemmStep), residual ? 2 : 1, 1, &s));
    TRY(pack_weights(l, p, &prepared));
    *(IgemmStep *)s->op = prepared;
    s->scratch_bytes = igemm_scratch_bytes(&prepared.op, l->p->threads);
    s->in[0] = x;
    if (residual) s->in[1] = r;
    s->out[0] = y;
    return lower_commit(l, s);
}
