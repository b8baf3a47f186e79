/* Conv and ConvTranspose. */
#include "kernels/ref/conv.h"

#include <string.h>

/* ---- shape rules ---- */

static Status check_bias(const InferCtx *c, int ib, Dim channels) {
    if (ib < 0 || !infer_is_ranked(c, ib)) return NULL;
    const Type *b = c->in[ib];
    if (b->rank != 1) return infer_error(c, STATUS_INVALID, "the bias must have rank 1, it has %d", b->rank);
    if (!DIM_IS_SYM(b->dims[0]) && !DIM_IS_SYM(channels) && b->dims[0] != channels)
        return infer_error(c, STATUS_INVALID, "the bias has %lld elements, there are %lld output channels",
                           (long long)b->dims[0], (long long)channels);
    return NULL;
}

/* Checks what the weight [lead, second, kernel…] must fulfil; `in_c` is the weight's view of the input channels. */
static Status check_weight(const InferCtx *c, const Type *x, const Type *w, int64_t group, bool transposed) {
    if (w->rank != x->rank)
        return infer_error(c, STATUS_INVALID, "the weight must have the input's rank %d, it has %d", x->rank, w->rank);
    Dim lead = w->dims[0];
    if (!DIM_IS_SYM(lead) && lead % group != 0)
        return infer_error(c, STATUS_INVALID, "the weight's first dim %lld is no multiple of group %lld",
                           (long long)lead, (long long)group);
    Dim want = transposed || DIM_IS_SYM(w->dims[1]) ? lead : w->dims[1] * group;
    bool known = !DIM_IS_SYM(want) && !DIM_IS_SYM(x->dims[1]) && (transposed || !DIM_IS_SYM(w->dims[1]));
    if (known && want != x->dims[1])
        return infer_error(c, STATUS_INVALID, "the weight is made for %lld input channels, the input has %lld",
                           (long long)want, (long long)x->dims[1]);
    return NULL;
}

/* Common start: types and window. *x is NULL when the output's rank cannot be told. */
static Status conv_window(InferCtx *c, int ix, int iw, bool transposed, const Type **x, const Type **w, int64_t *group,
                          Window *win) {
    *x = infer_is_ranked(c, ix) ? c->in[ix] : NULL;
    *w = infer_is_ranked(c, iw) ? c->in[iw] : NULL;
    *group = attr_int(c->node, "group");
    if (*group < 1 || *group > INT32_MAX) return infer_error(c, STATUS_INVALID, "group must be positive");
    if (!*x) return NULL;
    if ((*x)->rank < 3 || (*x)->rank > 2 + MAX_SPATIAL)
        return infer_error(c, (*x)->rank < 3 ? STATUS_INVALID : STATUS_UNSUPPORTED,
                           "the input must have rank 3 to %d, it has %d", 2 + MAX_SPATIAL, (*x)->rank);
    if (*w) TRY(check_weight(c, *x, *w, *group, transposed));
    const char *bad = window_read(c->node, (*x)->rank - 2, *w ? (*w)->dims + 2 : NULL, win);
    return bad ? infer_error(c, STATUS_INVALID, "%s", bad) : NULL;
}

Status conv_infer(InferCtx *c, int ix, int iw, int ib, ElemType e) {
    const Type *x, *w;
    int64_t group;
    Window win;
    TRY(conv_window(c, ix, iw, false, &x, &w, &group, &win));
    if (!x) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    Dim dims[MAX_RANK] = {x->dims[0], w ? w->dims[0] : sym_fresh(c->g->syms)};
    TRY(check_bias(c, ib, dims[1]));
    for (int i = 0; i < win.n; i++) {
        const char *bad = window_out_dim(c->g->syms, &win, i, x->dims[2 + i], &dims[2 + i]);
        if (bad) return infer_error(c, STATUS_INVALID, "%s (axis %d)", bad, 2 + i);
    }
    infer_set(c, 0, e, x->rank, dims);
    return NULL;
}

Status infer_conv(InferCtx *c) { return conv_infer(c, 0, 1, 2, infer_elem(c, 0)); }

/* output_padding (0 when not set) and output_shape (NULL when not set) of ConvTranspose. */
static const char *transposed_attrs(const Node *node, int n, int64_t *pad_out, const int64_t **out_shape) {
    int64_t count;
    const int64_t *p = attr_ints(node, "output_padding", &count);
    memset(pad_out, 0, sizeof *pad_out * MAX_SPATIAL);
    if (p && count != n) return "output_padding needs one number per spatial axis";
    for (int i = 0; p && i < n; i++) {
        if (p[i] < 0 || p[i] > INT32_MAX) return "output_padding must be >= 0";
        pad_out[i] = p[i];
    }
    *out_shape = attr_ints(node, "output_shape", &count);
    if (!*out_shape) return NULL;
    if (count == n + 2) *out_shape += 2; /* some exporters write N and C as well */
    if (count != n && count != n + 2) return "output_shape needs one number per spatial axis";
    for (int i = 0; i < n; i++)
        if ((*out_shape)[i] < 1 || (*out_shape)[i] > INT32_MAX) return "output_shape must be positive";
    return NULL;
}

Status infer_conv_transpose(InferCtx *c) {
    const Type *x, *w;
    int64_t group, pad_out[MAX_SPATIAL];
    const int64_t *out_shape = NULL;
    Window win;
    SymTab *syms = c->g->syms;
    TRY(conv_window(c, 0, 1, true, &x, &w, &group, &win));
    if (!x) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        return NULL;
    }
    const char *bad = transposed_attrs(c->node, win.n, pad_out, &out_shape);
    if (bad) return infer_error(c, STATUS_INVALID, "%s", bad);
    Dim dims[MAX_RANK] = {x->dims[0], w ? sym_op(syms, SYM_MUL, w->dims[1], group) : sym_fresh(syms)};
    TRY(check_bias(c, 2, dims[1]));
    for (int i = 0; i < win.n; i++) {
        if (out_shape)
            dims[2 + i] = out_shape[i];
        else
            bad = window_transposed_dim(syms, &win, i, pad_out[i], x->dims[2 + i], &dims[2 + i]);
        if (bad) return infer_error(c, STATUS_INVALID, "%s (axis %d)", bad, 2 + i);
    }
    infer_set(c, 0, infer_elem(c, 0), x->rank, dims);
    return NULL;
}

/* ---- values ---- */

/* Sizes that both directions share: o and c from the weight, the window from the attributes. */
static Status shape_start(const EvalCtx *c, const Tensor *x, const Tensor *w, bool transposed, ConvShape *s) {
    memset(s, 0, sizeof *s);
    if (x->rank < 3 || x->rank > 2 + MAX_SPATIAL || w->rank != x->rank)
        return eval_error(c, STATUS_INVALID, "input and weight must have the same rank of 3 to %d, they have %d and %d",
                          2 + MAX_SPATIAL, x->rank, w->rank);
    s->rank = x->rank;
    s->n = s->dims[0] = x->dims[0];
    s->c = x->dims[1];
    s->group = attr_int(c->node, "group");
    if (s->group < 1 || w->dims[0] % s->group != 0 || s->c % s->group != 0)
        return eval_error(c, STATUS_INVALID, "group %lld does not divide the channels", (long long)s->group);
    if (__builtin_mul_overflow(w->dims[1], s->group, &s->o))
        return eval_error(c, STATUS_INVALID, "the number of channels overflows");
    if (!transposed) {
        int64_t swap = s->o;
        s->o = w->dims[0];
        if (swap != s->c)
            return eval_error(c, STATUS_INVALID, "the weight is made for %lld input channels, the input has %lld",
                              (long long)swap, (long long)s->c);
    } else if (w->dims[0] != s->c) {
        return eval_error(c, STATUS_INVALID, "the weight is made for %lld input channels, the input has %lld",
                          (long long)w->dims[0], (long long)s->c);
    }
    s->dims[1] = s->o;
    const char *bad = window_read(c->node, x->rank - 2, w->dims + 2, &s->w);
    return bad ? eval_error(c, STATUS_INVALID, "%s", bad) : NULL;
}

static Status check_bias_size(const EvalCtx *c, const ConvShape *s, const Tensor *bias) {
    if (!bias || tensor_count(bias) == s->o) return NULL;
    return eval_error(c, STATUS_INVALID, "the bias has %lld elements, there are %lld output channels",
                      (long long)tensor_count(bias), (long long)s->o);
}

/* Final step: output dims are known; everything goes to three axes. Padding comes from the file, so the output may be
 * far larger than the inputs. */
static Status shape_finish(const EvalCtx *c, ConvShape *s, const Tensor *x) {
    int n = s->w.n;
    int64_t count = s->o;
    bool fits = !__builtin_mul_overflow(count, s->n, &count);
    for (int i = 0; i < n && fits; i++) fits = !__builtin_mul_overflow(count, s->out[i], &count);
    if (!fits) return eval_error(c, STATUS_INVALID, "the output is too large");
    memcpy(s->in, x->dims + 2, (size_t)n * sizeof *s->in);
    memcpy(s->dims + 2, s->out, (size_t)n * sizeof *s->out);
    window_to_3d(&s->w, s->in, s->out);
    return NULL;
}

Status conv_shape(const EvalCtx *c, const Tensor *x, const Tensor *w, const Tensor *bias, ConvShape *s) {
    TRY(shape_start(c, x, w, false, s));
    TRY(check_bias_size(c, s, bias));
    const char *bad = window_resolve(&s->w, x->dims + 2, s->out);
    if (bad) return eval_error(c, STATUS_INVALID, "%s", bad);
    return shape_finish(c, s, x);
}

/* A 1x1 convolution treats all positions alike: short rows are joined into one long row. */
static void join_rows(ConvShape *s) {
    enum { SHORT_ROW = 28 };
    if (s->out[2] >= SHORT_ROW) return;
    for (int i = 0; i < MAX_SPATIAL; i++) {
        const Window *w = &s->w;
        if (w->kernel[i] != 1 || w->stride[i] != 1 || w->pad_lo[i] != 0 || w->pad_hi[i] != 0) return;
    }
    s->in[2] = s->out[2] = ref_product(s->in, 0, MAX_SPATIAL);
    s->in[0] = s->in[1] = s->out[0] = s->out[1] = 1;
}

/* Adds one tap (kd, kh, kw) of up to four channels to output rows [row0, row1) of one plane. */
static void add_tap(const ConvShape *s, const int64_t k[3], const double *const *planes, const double *weights,
                    int count, int64_t row0, int64_t row1, double *y) {
    const Window *w = &s->w;
    int64_t lo, hi;
    window_tap_range(w, 2, k[2], s->in[2], s->out[2], &lo, &hi);
    if (lo >= hi) return;
    int64_t first = lo * w->stride[2] + k[2] * w->dilation[2] - w->pad_lo[2];
    for (int64_t row = row0; row < row1; row++) {
        int64_t id = row / s->out[1] * w->stride[0] + k[0] * w->dilation[0] - w->pad_lo[0];
        int64_t ih = row % s->out[1] * w->stride[1] + k[1] * w->dilation[1] - w->pad_lo[1];
        if (id < 0 || id >= s->in[0] || ih < 0 || ih >= s->in[1]) continue;
        const double *x[4];
        for (int j = 0; j < count; j++) x[j] = planes[j] + (id * s->in[1] + ih) * s->in[2] + first;
        dense_axpy(y + row * s->out[2] + lo, hi - lo, x, w->stride[2], weights, count);
    }
}

/* Rows [row0, row1) of one output channel; x points at the group's first input plane, w at the channel's weights. */
static void conv_rows(const ConvShape *s, const double *x, const double *w, int64_t row0, int64_t row1, double *y) {
    int64_t plane = ref_product(s->in, 0, MAX_SPATIAL), taps = ref_product(s->w.kernel, 0, MAX_SPATIAL);
    int64_t channels = s->c / s->group;
    for (int64_t c = 0; c < channels; c += 4) {
        int count = channels - c < 4 ? (int)(channels - c) : 4;
        const double *planes[4];
        for (int j = 0; j < count; j++) planes[j] = x + (c + j) * plane;
        for (int64_t t = 0; t < taps; t++) {
            int64_t k[3] = {t / (s->w.kernel[1] * s->w.kernel[2]), t / s->w.kernel[2] % s->w.kernel[1],
                            t % s->w.kernel[2]};
            double weights[4];
            for (int j = 0; j < count; j++) weights[j] = w[(c + j) * taps + t];
            add_tap(s, k, planes, weights, count, row0, row1, y);
        }
    }
}

Status conv_f64(const EvalCtx *c, const ConvShape *shape, const double *x, const double *w, const double *bias,
                double **out) {
    enum { CACHE = 1 << 15 }; /* doubles of input that one tile of rows reads: half of a usual second-level cache */
    ConvShape s = *shape;
    join_rows(&s);
    int64_t plane_in = ref_product(s.in, 0, 3), plane_out = ref_product(s.out, 0, 3), rows = s.out[0] * s.out[1];
    int64_t cg = s.c / s.group, og = s.o / s.group, taps = ref_product(s.w.kernel, 0, 3);
    TRY(dense_f64(c, s.n * s.o * plane_out, out));
    double *y = *out;
    for (int64_t i = 0; bias && i < s.n * s.o; i++)
        for (int64_t p = 0; p < plane_out; p++) y[i * plane_out + p] = bias[i % s.o];
    int64_t per_row = cg * s.in[2] * s.w.stride[1];
    int64_t tile = per_row ? CACHE / per_row + 1 : rows;
    for (int64_t ng = 0; ng < s.n * s.group; ng++)
        for (int64_t row = 0; row < rows; row += tile)
            for (int64_t o = 0; o < og; o++)
                conv_rows(&s, x + ng * cg * plane_in, w + (ng % s.group * og + o) * cg * taps, row,
                          row + tile < rows ? row + tile : rows, y + (ng * og + o) * plane_out);
    return NULL;
}

Status eval_conv(EvalCtx *c) {
    const Tensor *bias = dense_in(c, 2);
    ConvShape s;
    double *x, *w, *b = NULL, *y;
    TRY(conv_shape(c, c->in[0], c->in[1], bias, &s));
    TRY(dense_read(c, c->in[0], &x));
    TRY(dense_read(c, c->in[1], &w));
    if (bias) TRY(dense_read(c, bias, &b));
    TRY(conv_f64(c, &s, x, w, b, &y));
    return dense_store(c, 0, c->in[0]->elem, s.rank, s.dims, y);
}

/* Padding that gives the wanted output size (auto_pad SAME_* or output_shape), otherwise output size from padding. */
static const char *transposed_sizes(const Node *node, const int64_t *in, ConvShape *s) {
    int64_t pad_out[MAX_SPATIAL];
    const int64_t *out_shape;
    Window *w = &s->w;
    const char *bad = transposed_attrs(node, w->n, pad_out, &out_shape);
    if (bad) return bad;
    bool fitted = out_shape || w->auto_pad == AUTO_PAD_SAME_UPPER || w->auto_pad == AUTO_PAD_SAME_LOWER;
    for (int i = 0; i < w->n && !bad; i++) {
        if (out_shape)
            s->out[i] = out_shape[i];
        else
            bad = window_transposed_dim(NULL, w, i, pad_out[i], in[i], &s->out[i]);
        if (bad || !fitted) continue;
        int64_t total = (in[i] - 1) * w->stride[i] + pad_out[i] + window_extent(w, i) - s->out[i];
        if (total < 0) total = 0;
        w->pad_lo[i] = w->auto_pad == AUTO_PAD_SAME_UPPER ? total / 2 : total - total / 2;
        w->pad_hi[i] = total - w->pad_lo[i];
    }
    return bad;
}

/* Spreads one input plane into one output plane. Positions swap roles with Conv: an input index is the window index. */
static void spread_plane(const ConvShape *s, const double *x, const double *w, double *y) {
    const Window *win = &s->w;
    int64_t taps = ref_product(win->kernel, 0, 3);
    for (int64_t t = 0; t < taps; t++) {
        int64_t k[3] = {t / (win->kernel[1] * win->kernel[2]), t / win->kernel[2] % win->kernel[1], t % win->kernel[2]};
        int64_t lo[3], hi[3], at[3];
        for (int i = 0; i < 3; i++) {
            window_tap_range(win, i, k[i], s->out[i], s->in[i], &lo[i], &hi[i]);
            at[i] = k[i] * win->dilation[i] - win->pad_lo[i];
        }
        for (int64_t d = lo[0]; d < hi[0]; d++)
            for (int64_t h = lo[1]; h < hi[1]; h++) {
                const double *src = x + (d * s->in[1] + h) * s->in[2];
                double *dst = y + ((d * win->stride[0] + at[0]) * s->out[1] + h * win->stride[1] + at[1]) * s->out[2];
                for (int64_t i = lo[2]; i < hi[2]; i++) dst[i * win->stride[2] + at[2]] += w[t] * src[i];
            }
    }
}

Status eval_conv_transpose(EvalCtx *c) {
    const Tensor *xt = c->in[0], *wt = c->in[1], *bt = dense_in(c, 2);
    ConvShape s;
    double *x, *w, *b = NULL, *y;
    TRY(shape_start(c, xt, wt, true, &s));
    TRY(check_bias_size(c, &s, bt));
    const char *bad = transposed_sizes(c->node, xt->dims + 2, &s);
    if (bad) return eval_error(c, STATUS_INVALID, "%s", bad);
    TRY(shape_finish(c, &s, xt));
    TRY(dense_read(c, xt, &x));
    TRY(dense_read(c, wt, &w));
    if (bt) TRY(dense_read(c, bt, &b));
    int64_t plane_in = ref_product(s.in, 0, 3), plane_out = ref_product(s.out, 0, 3),
            taps = ref_product(s.w.kernel, 0, 3);
    int64_t cg = s.c / s.group, og = s.o / s.group;
    TRY(dense_f64(c, s.n * s.o * plane_out, &y));
    for (int64_t no = 0; no < s.n * s.o; no++) {
        double *plane = y + no * plane_out;
        for (int64_t p = 0; b && p < plane_out; p++) plane[p] = b[no % s.o];
        int64_t n = no / s.o, g = no % s.o / og, o = no % og;
        for (int64_t i = g * cg; i < (g + 1) * cg; i++)
            spread_plane(&s, x + (n * s.c + i) * plane_in, w + (i * og + o) * taps, plane);
    }
    return dense_store(c, 0, xt->elem, s.rank, s.dims, y);
}
