/* Conv, float and integer: depthwise kernels where they fit, the indirect matrix product for everything else. */
#include "backends/cpu/geometry.h"
#include "backends/cpu/lower_product.h"
#include "backends/cpu/lower_quant.h"
#include "kernels/cpu/dwconv/dwconv.h"

#include <math.h>

static const Tensor *weights_of(const Graph *g, const Node *n) {
    return n->n_in > 1 ? graph_constant(g, n->in[1]) : NULL;
}

bool conv_is_depthwise(const Graph *g, const Node *n) {
    const Tensor *w = weights_of(g, n);
    Window win;
    if (!w || !(op_is(n, "Conv") || op_is_pare(n, "QConv")) || !window_of(g, n, w, &win)) return false;
    return win.groups > 1 && win.groups == win.c && win.oc == win.c;
}

bool conv_has_kernel(const Graph *g, const Node *n) {
    const Tensor *w = weights_of(g, n);
    Window win;
    if (!w || !window_of(g, n, w, &win)) return false;
    bool is_float = w->elem == ELEM_F32 && g->values[n->in[0]].type.elem == ELEM_F32;
    if (op_is(n, "Conv")) return is_float && (n->n_in < 3 || n->in[2] == NO_ID || graph_constant(g, n->in[2]));
    return w->elem == ELEM_I8 && graph_constant(g, n->in[2]) && graph_constant(g, n->in[3]);
}

/* ---- depthwise ---- */

static DwShape dw_shape(const Window *w, int64_t ldx, int64_t ldy) {
    return (DwShape){.n = (int32_t)w->n,
                     .h = (int32_t)w->ih,
                     .w = (int32_t)w->iw,
                     .c = (int32_t)w->c,
                     .oh = (int32_t)w->oh,
                     .ow = (int32_t)w->ow,
                     .kh = (int32_t)w->kh,
                     .kw = (int32_t)w->kw,
                     .sy = (int32_t)w->stride_h,
                     .sx = (int32_t)w->stride_w,
                     .dy = (int32_t)w->dilation_h,
                     .dx = (int32_t)w->dilation_w,
                     .pad_top = (int32_t)w->pad_top,
                     .pad_left = (int32_t)w->pad_left,
                     .x_ld = (size_t)ldx,
                     .y_ld = (size_t)ldy};
}

static Status run_dw_f32(const Step *s, Context *c) {
    dwconv_f32_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

static Status lower_dw_f32(Lowering *l, const Node *n, const Group *group, const Window *win) {
    Operand x, y;
    int64_t ldx, ldy;
    TRY(lower_read(l, n->in[0], LAYOUT_NHWC, &x, &ldx));
    TRY(lower_write(l, group ? group->out : n->out[0], LAYOUT_NHWC, &y, &ldy));
    Step *s;
    TRY(lower_step(l, n->name, group ? group->label : n->op->name, "dwconv_f32", run_dw_f32, sizeof(DwconvF32), 1, 1,
                   &s));
    Epilogue e;
    group_epilogue(l, group, &e);
    DwconvF32 *op = s->op;
    *op = (DwconvF32){.s = dw_shape(win, ldx, ldy), .lo = e.lo, .hi = e.hi, .act = e.act};
    dwconv_f32_prepare(op, l->p->isa);
    const float *w, *bias = NULL;
    TRY(plan_floats(l->p, weights_of(l->g, n), &w));
    if (n->n_in > 2 && n->in[2] != NO_ID) TRY(plan_floats(l->p, graph_constant(l->g, n->in[2]), &bias));
    void *packed;
    TRY(plan_memory(l->p, dwconv_f32_packed_bytes(op), &packed));
    dwconv_f32_pack(op, w, bias, packed);
    op->packed = packed;
    s->in[0] = x;
    s->out[0] = y;
    return lower_commit(l, s);
}

static Status run_dw_u8(const Step *s, Context *c) {
    dwconv_u8_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

/* The depthwise kernel takes and gives uint8 and has no residual; everything else goes through the product. */
static bool dw_u8_fits(const Lowering *l, const Node *n, const Group *group) {
    bool types = lower_type(l, n->in[0])->elem == ELEM_U8 && lower_type(l, n->out[0])->elem == ELEM_U8;
    return types && conv_is_depthwise(l->g, n) && !(group && group->add != NO_ID);
}

/* The bias with the zero point's part: what the depthwise kernel's accumulator starts from. */
static Status accumulator_start(Lowering *l, const Node *n, int32_t **out) {
    const Tensor *w = weights_of(l->g, n), *bias = graph_constant(l->g, n->in[2]);
    int64_t channels = w->dims[0], taps = tensor_count(w) / channels, zero = attr_int(n, "x_zero_point");
    TRY_ALLOC(*out = ARENA_ARRAY(l->scratch, int32_t, channels));
    for (int64_t c = 0; c < channels; c++) {
        int64_t sum = 0;
        for (int64_t t = 0; t < taps; t++) sum += ((const int8_t *)w->data)[c * taps + t];
        (*out)[c] = (int32_t)(tensor_get_i64(bias, c) - zero * sum);
    }
    return NULL;
}

static Status lower_dw_u8(Lowering *l, const Node *n, const Group *group, const Window *win) {
    Operand x, y;
    int64_t ldx, ldy;
    TRY(lower_read(l, n->in[0], LAYOUT_NHWC, &x, &ldx));
    TRY(lower_write(l, group ? group->out : n->out[0], LAYOUT_NHWC, &y, &ldy));
    Step *s;
    TRY(lower_step(l, n->name, group ? group->label : n->op->name, "dwconv_u8", run_dw_u8, sizeof(DwconvU8), 1, 1, &s));
    const void *w = weights_of(l->g, n)->data, *mult;
    int32_t *bias;
    TRY(accumulator_start(l, n, &bias));
    TRY(plan_bytes(l->p, graph_constant(l->g, n->in[3]), &mult));
    DwconvU8 *op = s->op;
    *op = (DwconvU8){.s = dw_shape(win, ldx, ldy), .x_zp = (int32_t)attr_int(n, "x_zero_point")};
    op->y_zp = (int32_t)attr_int(n, "y_zero_point");
    code_bounds(n, ELEM_U8, &op->lo, &op->hi);
    op->lut = group_table(l, group);
    dwconv_u8_prepare(op, w, bias, mult, l->p->isa);
    void *packed;
    TRY(plan_memory(l->p, dwconv_u8_packed_bytes(op), &packed));
    dwconv_u8_pack(op, w, bias, mult, packed);
    op->packed = packed;
    s->in[0] = x;
    s->out[0] = y;
    return lower_commit(l, s);
}

/* ---- the indirect product ---- */

static void conv_desc(const Window *w, IgemmDesc *d) {
    *d = (IgemmDesc){.n = w->n, .ih = w->ih, .iw = w->iw, .oh = w->oh, .ow = w->ow, .ic = w->c, .oc = w->oc};
    d->groups = w->groups;
    d->kh = w->kh;
    d->kw = w->kw;
    d->stride_h = w->stride_h;
    d->stride_w = w->stride_w;
    d->dilation_h = w->dilation_h;
    d->dilation_w = w->dilation_w;
    d->pad_top = w->pad_top;
    d->pad_left = w->pad_left;
}

Status lower_conv(Lowering *l, NodeId id, const Group *group, bool *done) {
    const Node *n = &l->g->nodes[id];
    const Tensor *w = weights_of(l->g, n);
    Window win;
    if (!conv_has_kernel(l->g, n) || !window_of(l->g, n, w, &win)) return NULL;
    *done = true;
    if (conv_is_depthwise(l->g, n)) return lower_dw_f32(l, n, group, &win);
    Product p = {.node = n, .group = group, .x = n->in[0], .w = w, .layout = IGEMM_OIHW, .nhwc = true};
    p.bias = n->n_in > 2 ? graph_constant(l->g, n->in[2]) : NULL;
    conv_desc(&win, &p.desc);
    p.desc.x_type = p.desc.y_type = IGEMM_F32;
    return lower_product(l, &p);
}

Status lower_qconv(Lowering *l, NodeId id, const Group *group, bool *done) {
    const Node *n = &l->g->nodes[id];
    const Tensor *w = weights_of(l->g, n);
    Window win;
    if (!conv_has_kernel(l->g, n) || !window_of(l->g, n, w, &win)) return NULL;
    *done = true;
    if (dw_u8_fits(l, n, group)) return lower_dw_u8(l, n, group, &win);
    Product p = {.node = n, .group = group, .x = n->in[0], .w = w, .layout = IGEMM_OIHW, .nhwc = true};
    conv_desc(&win, &p.desc);
    TRY(integer_product(l, &p, "x_zero_point"));
    return lower_product(l, &p);
}
