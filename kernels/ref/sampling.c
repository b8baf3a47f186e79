/* Convolution-like ops that read or write at places given by data: MaxUnpool, DeformConv. */
#include "kernels/ref/conv.h"

#include <math.h>
#include <string.h>

/* ---- MaxUnpool ---- */

/* Output size of axis i without output_shape. */
static Dim unpooled(SymTab *syms, const Window *w, int i, Dim in) {
    Dim spread = sym_op(syms, SYM_MUL, sym_op(syms, SYM_SUB, in, 1), w->stride[i]);
    int64_t c = w->kernel[i] - w->pad_lo[i] - w->pad_hi[i];
    return c >= 0 ? sym_op(syms, SYM_ADD, spread, c) : sym_op(syms, SYM_SUB, spread, -c);
}

Status infer_max_unpool(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    const Type *x = c->in[0];
    Window w;
    const char *bad = window_read(c->node, x->rank - 2, NULL, &w);
    if (!bad && !w.kernel_known) bad = "kernel_shape is missing";
    if (bad) return infer_error(c, STATUS_INVALID, "%s", bad);
    Dim dims[MAX_RANK] = {x->dims[0], x->dims[1]};
    for (int i = 0; i < w.n; i++) dims[2 + i] = unpooled(c->g->syms, &w, i, x->dims[2 + i]);
    int n = 0;
    const Dim *shape = dense_in_type(c, 2) ? infer_known(c, 2, &n) : NULL;
    for (int i = 0; dense_in_type(c, 2) && i < x->rank; i++)
        dims[i] = shape && n == x->rank ? shape[i] : infer_fresh(c);
    for (int i = 0; i < x->rank; i++)
        if (!DIM_IS_SYM(dims[i]) && dims[i] < 0) return infer_error(c, STATUS_INVALID, "the output size is negative");
    infer_set(c, 0, e, x->rank, dims);
    return NULL;
}

/* Indices count in the tensor that was pooled, whose size is the one without output_shape; with output_shape each value
 * goes to the same place in a larger tensor. */
Status eval_max_unpool(EvalCtx *c) {
    const Tensor *xt = c->in[0], *it = c->in[1];
    Window w;
    int64_t natural[MAX_RANK], dims[MAX_RANK], n = tensor_count(xt), *shape, n_shape, total = 1;
    const char *bad =
        xt->rank < 3 ? "the input must have rank 3 or more" : window_read(c->node, xt->rank - 2, NULL, &w);
    if (!bad && (!w.kernel_known || tensor_count(it) != n))
        bad = "kernel_shape is missing, or there is no index per value";
    if (bad) return eval_error(c, STATUS_INVALID, "%s", bad);
    memcpy(natural, xt->dims, sizeof natural);
    for (int i = 0; i < w.n; i++) natural[2 + i] = unpooled(NULL, &w, i, xt->dims[2 + i]);
    memcpy(dims, natural, sizeof dims);
    TRY(ref_ints(c, 2, &shape, &n_shape));
    if (shape && n_shape != xt->rank) return eval_error(c, STATUS_INVALID, "output_shape needs %d numbers", xt->rank);
    if (shape) memcpy(dims, shape, (size_t)n_shape * sizeof *dims);
    for (int i = 0; i < xt->rank; i++)
        if (natural[i] < 0 || dims[i] < natural[i] || __builtin_mul_overflow(total, dims[i], &total))
            return eval_error(c, STATUS_INVALID, "output_shape is smaller than the pooled tensor or too large");
    double *x, *y;
    int64_t *at, strides[MAX_RANK], from = ref_product(natural, 0, xt->rank);
    TRY(dense_read(c, xt, &x));
    TRY_ALLOC(at = ref_read_i64(c->scratch, it));
    TRY(dense_f64(c, total, &y));
    ref_strides(xt->rank, dims, strides);
    for (int64_t i = 0; i < n; i++) {
        if (at[i] < 0 || at[i] >= from)
            return eval_error(c, STATUS_INVALID, "index %lld is outside the output", (long long)at[i]);
        int64_t place = 0, rest = at[i];
        for (int k = xt->rank - 1; k >= 0; rest /= natural[k], k--) place += rest % natural[k] * strides[k];
        y[place] = x[i];
    }
    return dense_store(c, 0, xt->elem, xt->rank, dims, y);
}

/* ---- DeformConv ---- */

Status infer_deform_conv(InferCtx *c) { return conv_infer(c, 0, 1, 3, infer_elem(c, 0)); }

/* Bilinear value at (y, x); outside the plane counts as 0. */
static double sample(const double *plane, int64_t h, int64_t w, double y, double x) {
    if (!(y > -1 && y < (double)h && x > -1 && x < (double)w)) return 0;
    double fy = floor(y), fx = floor(x), sum = 0;
    for (int k = 0; k < 4; k++) {
        int64_t iy = (int64_t)fy + k / 2, ix = (int64_t)fx + k % 2;
        double wy = k / 2 ? y - fy : 1 - (y - fy), wx = k % 2 ? x - fx : 1 - (x - fx);
        if (iy >= 0 && iy < h && ix >= 0 && ix < w) sum += wy * wx * plane[iy * w + ix];
    }
    return sum;
}

typedef struct Deform {
    ConvShape s;
    int64_t groups, taps, plane_in, plane_out;
    const double *x, *w, *offset, *mask, *bias;
} Deform;

/* Tap t of input channel ch at output position `at` of sample n: the value at its shifted place, times its mask. */
static double deformed(const Deform *d, int64_t n, int64_t ch, int64_t t, int64_t at) {
    const ConvShape *s = &d->s;
    int64_t per = s->c / d->groups, g = n * d->groups + ch / per, oy = at / s->out[2], ox = at % s->out[2];
    const double *shift = d->offset + (g * d->taps + t) * 2 * d->plane_out + at;
    double y = (double)(oy * s->w.stride[1] - s->w.pad_lo[1] + t / s->w.kernel[2] * s->w.dilation[1]) + shift[0];
    double x =
        (double)(ox * s->w.stride[2] - s->w.pad_lo[2] + t % s->w.kernel[2] * s->w.dilation[2]) + shift[d->plane_out];
    double v = sample(d->x + (n * s->c + ch) * d->plane_in, s->in[1], s->in[2], y, x);
    return d->mask ? v * d->mask[(g * d->taps + t) * d->plane_out + at] : v;
}

/* All output channels of one group of one sample at one position. */
static void deform_position(const Deform *d, int64_t n, int64_t group, int64_t at, double *column, double *y) {
    const ConvShape *s = &d->s;
    int64_t cg = s->c / s->group, og = s->o / s->group, k = cg * d->taps;
    for (int64_t i = 0; i < k; i++) column[i] = deformed(d, n, group * cg + i / d->taps, i % d->taps, at);
    for (int64_t o = group * og; o < (group + 1) * og; o++) {
        double sum = d->bias ? d->bias[o] : 0;
        for (int64_t i = 0; i < k; i++) sum += d->w[o * k + i] * column[i];
        y[(n * s->o + o) * d->plane_out + at] = sum;
    }
}

Status eval_deform_conv(EvalCtx *c) {
    const Tensor *bias = dense_in(c, 3), *mask = dense_in(c, 4);
    Deform d = {.groups = attr_int(c->node, "offset_group")};
    double *v[5] = {NULL}, *y, *column;
    if (c->in[0]->rank != 4)
        return eval_error(c, STATUS_UNSUPPORTED, "the input must have rank 4, it has %d", c->in[0]->rank);
    TRY(conv_shape(c, c->in[0], c->in[1], bias, &d.s));
    d.taps = ref_product(d.s.w.kernel, 0, 3);
    d.plane_in = ref_product(d.s.in, 0, 3);
    d.plane_out = ref_product(d.s.out, 0, 3);
    if (d.groups < 1 || d.s.c % d.groups != 0)
        return eval_error(c, STATUS_INVALID, "offset_group does not divide the channels");
    int64_t per = d.s.n * d.groups * d.taps * d.plane_out;
    if (tensor_count(c->in[2]) != per * 2 || (mask && tensor_count(mask) != per))
        return eval_error(c, STATUS_INVALID, "offset or mask do not have one entry per tap and output position");
    for (int i = 0; i < 5; i++)
        if (dense_in(c, i)) TRY(dense_read(c, c->in[i], &v[i]));
    d.x = v[0];
    d.w = v[1];
    d.offset = v[2];
    d.bias = v[3];
    d.mask = v[4];
    TRY(dense_f64(c, d.s.n * d.s.o * d.plane_out, &y));
    TRY(dense_f64(c, d.s.c / d.s.group * d.taps, &column));
    for (int64_t n = 0; n < d.s.n; n++)
        for (int64_t g = 0; g < d.s.group; g++)
            for (int64_t at = 0; at < d.plane_out; at++) deform_position(&d, n, g, at, column, y);
    return dense_store(c, 0, c->in[0]->elem, d.s.rank, d.s.dims, y);
}
