/* Ops that sample or fold images: GridSample, AffineGrid, Col2Im. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

/* ---- GridSample ---- */

typedef enum Mode { SAMPLE_NEAREST, SAMPLE_LINEAR, SAMPLE_CUBIC } Mode;
typedef enum Padding { OUTSIDE_ZEROS, OUTSIDE_BORDER, OUTSIDE_REFLECTION } Padding;
enum { MAX_SPATIAL = MAX_RANK - 2, MAX_TAPS = 4 };

Status infer_grid_sample(InferCtx *c) {
    const Type *x = c->in[0], *grid = c->in[1];
    if (!infer_is_ranked(c, 0) || !infer_is_ranked(c, 1)) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        return NULL;
    }
    if (x->rank < 3 || grid->rank != x->rank)
        return infer_error(c, STATUS_INVALID, "input and grid have %d and %d dimensions", x->rank, grid->rank);
    Type t = *x;
    for (int i = 2; i < x->rank; i++) t.dims[i] = grid->dims[i - 1];
    infer_set(c, 0, x->elem, x->rank, t.dims);
    return NULL;
}

typedef struct Sampler {
    const double *x; /* one channel */
    int r;           /* spatial axes */
    int64_t dims[MAX_SPATIAL], strides[MAX_SPATIAL];
    Mode mode;
    Padding padding;
    bool align;
} Sampler;

/* v reflected at lo and hi until it lies between them. */
static double reflect(double v, double lo, double hi) {
    double range = hi - lo, d = v < lo ? lo - v : v - hi;
    if (d <= 0) return v;
    if (range <= 0) return lo;
    double n = floor(d / range), rest = d - n * range;
    bool even = fmod(n, 2) == 0, from_low = v < lo;
    return even == from_low ? lo + rest : hi - rest;
}

/* Position on an axis of `dim` elements for a grid value in [-1, 1], after padding. */
static double position(const Sampler *s, double g, int64_t dim) {
    double n = (double)dim, lo = s->align ? 0 : -0.5, hi = s->align ? n - 1 : n - 0.5;
    double v = s->align ? (g + 1) / 2 * (n - 1) : ((g + 1) * n - 1) / 2;
    if (s->mode == SAMPLE_NEAREST) v = nearbyint(v);
    if (v >= lo && v <= hi) return v;
    if (s->padding == OUTSIDE_BORDER) return !(v > 0) ? 0 : v > n - 1 ? n - 1 : v;
    return s->padding == OUTSIDE_REFLECTION ? reflect(v, lo, hi) : v;
}

/* The index of tap `v`, or -1 for zero. */
static int64_t tap_index(const Sampler *s, double v, int64_t dim) {
    double last = (double)(dim - 1);
    if (v >= 0 && v <= last) return (int64_t)v;
    if (v != v || s->padding == OUTSIDE_ZEROS) return -1;
    if (s->padding == OUTSIDE_REFLECTION) v = trunc(s->align ? reflect(v, 0, last) : reflect(v, -0.5, last + 0.5));
    return v < 0 ? 0 : v > last ? dim - 1 : (int64_t)v;
}

/* Weights of the taps around fraction f (Keys' cubic with a = -0.75). */
static int tap_weights(Mode mode, double f, double *w) {
    const double a = -0.75;
    if (mode == SAMPLE_NEAREST) {
        w[0] = 1;
        return 1;
    }
    if (mode == SAMPLE_LINEAR) {
        w[0] = 1 - f;
        w[1] = f;
        return 2;
    }
    for (int k = 0; k < 4; k++) {
        double d = fabs(f - (k - 1));
        w[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    }
    return 4;
}

typedef struct AxisTaps {
    int64_t at[MAX_TAPS]; /* -1: zero */
    double w[MAX_TAPS];
    int64_t n;
} AxisTaps;

static void find_taps(const Sampler *s, const double *grid, AxisTaps *taps) {
    for (int d = 0; d < s->r; d++) {
        double v = position(s, grid[s->r - 1 - d], s->dims[d]),
               base = floor(v); /* the grid lists the innermost axis first */
        AxisTaps *t = &taps[d];
        t->n = tap_weights(s->mode, v - base, t->w);
        for (int k = 0; k < t->n; k++)
            t->at[k] = tap_index(s, s->mode == SAMPLE_NEAREST ? v : base + k - (s->mode == SAMPLE_CUBIC), s->dims[d]);
    }
}

static double sample(const Sampler *s, const AxisTaps *taps) {
    int64_t idx[MAX_SPATIAL] = {0}, n[MAX_SPATIAL];
    double sum = 0;
    for (int d = 0; d < s->r; d++) n[d] = taps[d].n;
    do {
        double w = 1;
        int64_t at = 0;
        bool inside = true;
        for (int d = 0; d < s->r; d++) {
            int64_t k = taps[d].at[idx[d]];
            w *= taps[d].w[idx[d]];
            inside = inside && k >= 0;
            at += k * s->strides[d];
        }
        if (inside) sum += w * s->x[at];
    } while (ref_next(s->r, n, idx));
    return sum;
}

static Status read_sampler(const EvalCtx *c, Sampler *s) {
    const char *mode = attr_string(c->node, "mode"), *padding = attr_string(c->node, "padding_mode");
    const Tensor *x = c->in[0];
    bool linear = strcmp(mode, "linear") == 0 || strcmp(mode, "bilinear") == 0;
    bool cubic = strcmp(mode, "cubic") == 0 || strcmp(mode, "bicubic") == 0;
    s->mode = linear ? SAMPLE_LINEAR : cubic ? SAMPLE_CUBIC : SAMPLE_NEAREST;
    s->padding = strcmp(padding, "border") == 0       ? OUTSIDE_BORDER
                 : strcmp(padding, "reflection") == 0 ? OUTSIDE_REFLECTION
                                                      : OUTSIDE_ZEROS;
    s->align = attr_int(c->node, "align_corners") != 0;
    s->r = x->rank - 2;
    for (int d = 0; d < s->r; d++) s->dims[d] = x->dims[d + 2];
    ref_strides(s->r, s->dims, s->strides);
    return NULL;
}

Status eval_grid_sample(EvalCtx *c) {
    const Tensor *x = c->in[0], *grid = c->in[1];
    int64_t dims[MAX_RANK];
    Sampler s;
    AxisTaps taps[MAX_SPATIAL];
    Tensor y;
    TRY(ref_numeric_only(c));
    bool fits = x->rank >= 3 && grid->rank == x->rank && grid->dims[grid->rank - 1] == x->rank - 2 &&
                grid->dims[0] == x->dims[0];
    if (!fits) return eval_error(c, STATUS_INVALID, "the grid does not fit the input");
    TRY(read_sampler(c, &s));
    memcpy(dims, x->dims, sizeof dims);
    for (int i = 2; i < x->rank; i++) dims[i] = grid->dims[i - 1];
    TRY(ref_output(c, 0, x->elem, x->rank, dims, &y));
    double *all, *points;
    TRY_ALLOC(all = ref_read_f64(c->scratch, x));
    TRY_ALLOC(points = ref_read_f64(c->scratch, grid));
    int64_t in = ref_product(x->dims, 2, x->rank), out = ref_product(dims, 2, x->rank);
    for (int64_t b = 0; b < dims[0]; b++) {
        for (int64_t i = 0; i < out; i++) {
            find_taps(&s, points + (b * out + i) * s.r, taps);
            for (int64_t ch = 0; ch < dims[1]; ch++) {
                s.x = all + (b * dims[1] + ch) * in;
                double v = sample(&s, taps);
                ref_store(&y, CLASS_F64, (b * dims[1] + ch) * out + i, 1, &v);
            }
        }
    }
    return NULL;
}

/* ---- AffineGrid ---- */

Status infer_affine_grid(InferCtx *c) {
    int n;
    const Dim *size = infer_known(c, 1, &n);
    if (!size || (n != 4 && n != 5)) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        return NULL;
    }
    Dim dims[5] = {size[0], size[2], size[3], n == 5 ? size[4] : 2, 3};
    return infer_set_dims(c, 0, infer_elem(c, 0), n, dims);
}

/* theta [N, r, r + 1] applied to every point of an even grid: output [N, D1 … Dr, r], coordinates innermost first. */
Status eval_affine_grid(EvalCtx *c) {
    const Tensor *theta = c->in[0];
    int64_t *size, n, dims[MAX_RANK], idx[MAX_RANK] = {0}, at = 0;
    bool align = attr_int(c->node, "align_corners") != 0;
    Tensor y;
    double *m;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &size, &n));
    int r = (int)n - 2;
    bool fits = (n == 4 || n == 5) && theta->rank == 3 && theta->dims[1] == r && theta->dims[2] == r + 1 &&
                theta->dims[0] == size[0];
    for (int i = 0; fits && i < n; i++) fits = size[i] >= 0;
    if (!fits) return eval_error(c, STATUS_INVALID, "theta and size do not fit together");
    dims[0] = size[0];
    for (int d = 0; d < r; d++) dims[d + 1] = size[d + 2];
    dims[r + 1] = r;
    TRY(ref_output(c, 0, theta->elem, r + 2, dims, &y));
    TRY_ALLOC(m = ref_read_f64(c->scratch, theta));
    if (tensor_count(&y) == 0) return NULL;
    do {
        const double *row = m + idx[0] * r * (r + 1);
        double p[4] = {0};
        for (int d = 0; d < r; d++) {
            int64_t len = dims[d + 1], i = idx[d + 1];
            p[r - 1 - d] = align ? (len > 1 ? -1 + 2.0 * (double)i / (double)(len - 1) : 0)
                                 : -1 + (2.0 * (double)i + 1) / (double)len;
        }
        p[r] = 1;
        for (int k = 0; k < r; k++, row += r + 1) {
            double v = 0;
            for (int d = 0; d <= r; d++) v += row[d] * p[d];
            ref_store(&y, CLASS_F64, at++, 1, &v);
        }
    } while (ref_next(r + 1, dims, idx));
    return NULL;
}

/* ---- Col2Im ---- */

Status infer_col2im(InferCtx *c) {
    int n, n_block;
    const Dim *image = infer_known(c, 1, &n), *block = infer_known(c, 2, &n_block);
    ElemType e = infer_elem(c, 0);
    if (!image || n + 2 > MAX_RANK) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    Dim dims[MAX_RANK];
    bool known = infer_is_ranked(c, 0) && c->in[0]->rank == 3;
    dims[0] = known ? c->in[0]->dims[0] : infer_fresh(c);
    dims[1] = known && block ? infer_dim_op(c, SYM_FLOORDIV, c->in[0]->dims[1], infer_product(c, block, 0, n_block))
                             : infer_fresh(c);
    memcpy(dims + 2, image, (size_t)n * sizeof *dims);
    return infer_set_dims(c, 0, e, n + 2, dims);
}

typedef struct Window {
    int r;
    int64_t image[MAX_SPATIAL], block[MAX_SPATIAL], blocks[MAX_SPATIAL], stride[MAX_SPATIAL], dilation[MAX_SPATIAL],
        pad[MAX_SPATIAL];
} Window;

static Status read_window(EvalCtx *c, Window *w) {
    int64_t *image, *block, n, n_block, count[3], per = 1, places = 1;
    TRY(ref_ints(c, 1, &image, &n));
    TRY(ref_ints(c, 2, &block, &n_block));
    const int64_t *stride = attr_ints(c->node, "strides", &count[0]),
                  *dilation = attr_ints(c->node, "dilations", &count[1]);
    const int64_t *pads = attr_ints(c->node, "pads", &count[2]);
    bool fits = n == n_block && n >= 1 && n <= MAX_SPATIAL && (!stride || count[0] == n) &&
                (!dilation || count[1] == n) && (!pads || count[2] == 2 * n);
    w->r = (int)n;
    for (int d = 0; fits && d < n; d++) {
        w->image[d] = image[d];
        w->block[d] = block[d];
        w->stride[d] = stride ? stride[d] : 1;
        w->dilation[d] = dilation ? dilation[d] : 1;
        w->pad[d] = pads ? pads[d] : 0;
        const int64_t limit = INT32_MAX;
        int64_t after = pads ? pads[n + d] : 0;
        fits = image[d] >= 0 && image[d] < limit && block[d] > 0 && block[d] < limit && w->stride[d] > 0 &&
               w->dilation[d] > 0 && w->dilation[d] < limit && w->pad[d] >= 0 && w->pad[d] < limit && after >= 0 &&
               after < limit;
        if (!fits) break;
        int64_t room = image[d] + w->pad[d] + after - w->dilation[d] * (block[d] - 1) - 1;
        w->blocks[d] = room < 0 ? 0 : room / w->stride[d] + 1;
        fits = !__builtin_mul_overflow(per, block[d], &per) && !__builtin_mul_overflow(places, w->blocks[d], &places);
    }
    return fits ? NULL
                : eval_error(c, STATUS_INVALID,
                             "image_shape, block_shape, strides, dilations and pads do not fit together");
}

Status eval_col2im(EvalCtx *c) {
    const Tensor *x = c->in[0];
    Window w;
    TRY(ref_numeric_only(c));
    TRY(read_window(c, &w));
    int64_t per = ref_product(w.block, 0, w.r), places = ref_product(w.blocks, 0, w.r), dims[MAX_RANK],
            image[MAX_SPATIAL];
    if (x->rank != 3 || x->dims[1] % per || x->dims[2] != places)
        return eval_error(c, STATUS_INVALID, "the input does not have [N, C * %lld, %lld] elements", (long long)per,
                          (long long)places);
    dims[0] = x->dims[0];
    dims[1] = x->dims[1] / per;
    memcpy(dims + 2, w.image, (size_t)w.r * sizeof *dims);
    Tensor y;
    double *from, *to;
    TRY(ref_output(c, 0, x->elem, w.r + 2, dims, &y));
    TRY_ALLOC(from = ref_read_f64(c->scratch, x));
    TRY_ALLOC(to = ARENA_ARRAY(c->scratch, double, tensor_count(&y)));
    ref_strides(w.r, w.image, image);
    int64_t size = ref_product(w.image, 0, w.r), k[MAX_SPATIAL] = {0}, p[MAX_SPATIAL] = {0}, next = 0;
    for (int64_t row = 0; row < x->dims[0] * x->dims[1]; row++, ref_next(w.r, w.block, k)) {
        for (int64_t col = 0; col < places; col++, ref_next(w.r, w.blocks, p)) {
            int64_t at = row / per * size;
            bool inside = true;
            for (int d = 0; d < w.r; d++) {
                int64_t i = p[d] * w.stride[d] - w.pad[d] + k[d] * w.dilation[d];
                inside = inside && i >= 0 && i < w.image[d];
                at += i * image[d];
            }
            double v = from[next++];
            if (inside) to[at] += v;
        }
    }
    ref_store(&y, CLASS_F64, 0, tensor_count(&y), to);
    return NULL;
}
