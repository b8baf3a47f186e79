/* Pools, float and 8-bit. */
#include "backends/cpu/geometry.h"
#include "backends/cpu/lower_quant.h"
#include "kernels/cpu/pool/pool.h"

static PoolShape pool_shape(const Window *w, int64_t ldx, int64_t ldy) {
    return (PoolShape){.n = (int32_t)w->n,
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
                       .pad_bottom = (int32_t)w->pad_bottom,
                       .pad_right = (int32_t)w->pad_right,
                       .x_ld = (size_t)ldx,
                       .y_ld = (size_t)ldy};
}

typedef struct PoolIo {
    Operand x, y;
    int64_t ldx, ldy;
} PoolIo;

static Status pool_io(Lowering *l, const Node *n, PoolIo *io) {
    TRY(lower_read(l, n->in[0], LAYOUT_NHWC, &io->x, &io->ldx));
    return lower_write(l, n->out[0], LAYOUT_NHWC, &io->y, &io->ldy);
}

static Status pool_step(Lowering *l, const Node *n, const PoolIo *io, const char *kernel, StepFn run, const void *op,
                        size_t bytes) {
    return lower_simple(l, n, n->op->name, &(SimpleStep){kernel, run, op, bytes, io->x, io->y});
}

/* The kernels need every window to touch the image. */
static bool windows_touch(const Window *w) {
    int64_t last_h = (w->oh - 1) * w->stride_h - w->pad_top, last_w = (w->ow - 1) * w->stride_w - w->pad_left;
    return last_h < w->ih && last_w < w->iw && (w->kh - 1) * w->dilation_h >= w->pad_top &&
           (w->kw - 1) * w->dilation_w >= w->pad_left;
}

static Status run_pool_f32(const Step *s, Context *c) {
    pool_f32_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

static Status run_pool_u8(const Step *s, Context *c) {
    pool_u8_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

Status lower_pool(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    Window w;
    ElemType e = lower_type(l, n->in[0])->elem;
    bool max = op_is(n, "MaxPool"), integer = op_is_pare(n, "QAveragePool");
    if (!window_of(l->g, n, NULL, &w) || !windows_touch(&w) || n->n_out > 1) return NULL;
    if (e != ELEM_F32 && !(e == ELEM_U8 && (max || integer))) return NULL;
    *done = true;
    PoolIo io;
    TRY(pool_io(l, n, &io));
    bool count_pad = !max && attr_int(n, "count_include_pad");
    if (e == ELEM_F32) {
        PoolF32 op = {
            .s = pool_shape(&w, io.ldx, io.ldy), .kind = max ? POOL_MAX : POOL_AVERAGE, .count_include_pad = count_pad};
        pool_f32_prepare(&op, l->p->isa);
        return pool_step(l, n, &io, "pool_f32", run_pool_f32, &op, sizeof op);
    }
    PoolU8 op = {.s = pool_shape(&w, io.ldx, io.ldy),
                 .kind = max ? POOL_MAX : POOL_AVERAGE,
                 .count_include_pad = count_pad,
                 .hi = 255};
    if (!max) {
        op.x_zp = (int32_t)attr_int(n, "x_zero_point");
        op.y_zp = (int32_t)attr_int(n, "y_zero_point");
        op.scale = (double)attr_float(n, "mult");
        code_bounds(n, ELEM_U8, &op.lo, &op.hi);
    }
    pool_u8_prepare(&op, l->p->isa);
    return pool_step(l, n, &io, "pool_u8", run_pool_u8, &op, sizeof op);
}

/* ---- global ---- */

static Status run_global_f32(const Step *s, Context *c) {
    global_pool_f32_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

static Status run_global_u8(const Step *s, Context *c) {
    global_pool_u8_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

Status lower_global_pool(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *t = lower_type(l, n->in[0]);
    bool integer = op_is_pare(n, "QGlobalAveragePool");
    int64_t pixels = 1;
    for (int i = 2; i < t->rank; i++) pixels *= t->dims[i];
    if (!has_nhwc(t) || t->elem != (integer ? ELEM_U8 : ELEM_F32) || pixels < 1 || pixels >= 1 << 23) return NULL;
    *done = true;
    PoolIo io;
    TRY(pool_io(l, n, &io));
    if (!integer) {
        GlobalPoolF32 op = {.n = (int32_t)t->dims[0],
                            .c = (int32_t)t->dims[1],
                            .pixels = pixels,
                            .x_ld = (size_t)io.ldx,
                            .y_ld = (size_t)io.ldy,
                            .kind = op_is(n, "GlobalMaxPool") ? POOL_MAX : POOL_AVERAGE};
        global_pool_f32_prepare(&op, l->p->isa);
        return pool_step(l, n, &io, "global_pool_f32", run_global_f32, &op, sizeof op);
    }
    GlobalPoolU8 op = {.n = (int32_t)t->dims[0],
                       .c = (int32_t)t->dims[1],
                       .pixels = pixels,
                       .x_ld = (size_t)io.ldx,
                       .y_ld = (size_t)io.ldy,
                       .x_zp = (int32_t)attr_int(n, "x_zero_point"),
                       .y_zp = (int32_t)attr_int(n, "y_zero_point"),
                       .mult = attr_float(n, "mult")};
    code_bounds(n, ELEM_U8, &op.lo, &op.hi);
    global_pool_u8_prepare(&op, l->p->isa);
    return pool_step(l, n, &io, "global_pool_u8", run_global_u8, &op, sizeof op);
}
