/* MaxPool, AveragePool, LpPool and their global forms. */
#include "kernels/ref/pool.h"

#include <math.h>
#include <string.h>

/* ---- shape rules ---- */

static Status check_rank(const InferCtx *c, const Type *x) {
    if (x->rank >= 3 && x->rank <= 2 + MAX_SPATIAL) return NULL;
    return infer_error(c, x->rank < 3 ? STATUS_INVALID : STATUS_UNSUPPORTED,
                       "the input must have rank 3 to %d, it has %d", 2 + MAX_SPATIAL, x->rank);
}

static const char *pool_window(const Node *node, int spatial, Window *w) {
    const char *bad = window_read(node, spatial, NULL, w);
    return bad ? bad : w->kernel_known ? NULL : "kernel_shape is missing";
}

Status pool_infer(InferCtx *c, ElemType first, ElemType second) {
    const Type *x = dense_in_type(c, 0);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, first);
        infer_set_unranked(c, 1, second);
        return NULL;
    }
    TRY(check_rank(c, x));
    Window w;
    const char *bad = pool_window(c->node, x->rank - 2, &w);
    if (bad) return infer_error(c, STATUS_INVALID, "%s", bad);
    Dim dims[MAX_RANK] = {x->dims[0], x->dims[1]};
    for (int i = 0; i < w.n; i++) {
        bad = window_out_dim(c->g->syms, &w, i, x->dims[2 + i], &dims[2 + i]);
        if (bad) return infer_error(c, STATUS_INVALID, "%s (axis %d)", bad, 2 + i);
    }
    infer_set(c, 0, first, x->rank, dims);
    infer_set(c, 1, second, x->rank, dims);
    return NULL;
}

Status infer_pool(InferCtx *c) { return pool_infer(c, infer_elem(c, 0), ELEM_I64); }

Status pool_infer_global(InferCtx *c, ElemType e) {
    const Type *x = dense_in_type(c, 0);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    if (x->rank < 2) return infer_error(c, STATUS_INVALID, "the input must have rank 2 or more, it has %d", x->rank);
    Dim dims[MAX_RANK] = {x->dims[0], x->dims[1]};
    for (int i = 2; i < x->rank; i++) dims[i] = 1;
    infer_set(c, 0, e, x->rank, dims);
    return NULL;
}

Status infer_global_pool(InferCtx *c) { return pool_infer_global(c, infer_elem(c, 0)); }

/* ---- values ---- */

static Status pool_start(const EvalCtx *c, Pool *p) {
    const Tensor *x = c->in[0];
    if (x->rank < 3 || x->rank > 2 + MAX_SPATIAL)
        return eval_error(c, STATUS_INVALID, "the input must have rank 3 to %d, it has %d", 2 + MAX_SPATIAL, x->rank);
    memset(p, 0, sizeof *p);
    const char *bad = pool_window(c->node, x->rank - 2, &p->w);
    if (!bad) bad = window_resolve(&p->w, x->dims + 2, p->out);
    if (bad) return eval_error(c, STATUS_INVALID, "%s", bad);
    p->rank = x->rank;
    p->planes = x->dims[0] * x->dims[1];
    memcpy(p->dims, x->dims, 2 * sizeof *p->dims);
    int64_t count = p->planes;
    for (int i = 0; i < p->w.n; i++) {
        p->in[i] = x->dims[2 + i];
        p->dims[2 + i] = p->out[i];
        if (__builtin_mul_overflow(count, p->out[i], &count))
            return eval_error(c, STATUS_INVALID, "the output is too large");
    }
    window_to_3d(&p->w, p->in, p->out);
    return NULL;
}

/* The taps of one window that lie inside [0, in) (or, `padded`, inside the padded input) along axis i: first and
 * one-past-last tap. `limit` is in + pad_hi: a window of ceil_mode may reach past it, and such taps never count. */
static void taps_inside(const Pool *p, int i, int64_t out, bool padded, int64_t *lo, int64_t *hi) {
    int64_t start = out * p->w.stride[i] - p->w.pad_lo[i], d = p->w.dilation[i];
    int64_t limit = padded ? p->in[i] + p->w.pad_hi[i] : p->in[i];
    *lo = padded || start >= 0 ? 0 : (-start + d - 1) / d;
    *hi = limit <= start ? 0 : (limit - start + d - 1) / d;
    if (*hi > p->w.kernel[i]) *hi = p->w.kernel[i];
    if (*lo > *hi) *lo = *hi;
}

typedef struct WindowBox {
    int64_t lo[MAX_SPATIAL], hi[MAX_SPATIAL], start[MAX_SPATIAL]; /* taps inside the input; position of tap 0 */
    int64_t padded;                                               /* taps inside the padded input */
} WindowBox;

static void window_box(const Pool *p, const int64_t *at, WindowBox *b) {
    b->padded = 1;
    for (int i = 0; i < MAX_SPATIAL; i++) {
        int64_t lo, hi;
        taps_inside(p, i, at[i], true, &lo, &hi);
        b->padded *= hi - lo;
        taps_inside(p, i, at[i], false, &b->lo[i], &b->hi[i]);
        b->start[i] = at[i] * p->w.stride[i] - p->w.pad_lo[i];
    }
}

/* Calls f for every tap inside: index in the plane and value. */
#define FOR_TAPS(p, b, index)                                                                                          \
    for (int64_t kd = (b).lo[0]; kd < (b).hi[0]; kd++)                                                                 \
        for (int64_t kh = (b).lo[1]; kh < (b).hi[1]; kh++)                                                             \
            for (int64_t kw = (b).lo[2], index = (((b).start[0] + kd * (p)->w.dilation[0]) * (p)->in[1] +              \
                                                  (b).start[1] + kh * (p)->w.dilation[1]) *                            \
                                                     (p)->in[2] +                                                      \
                                                 (b).start[2] + kw * (p)->w.dilation[2];                               \
                 kw < (b).hi[2]; kw++, index += (p)->w.dilation[2])

static int64_t best_tap(const Pool *p, const WindowBox *b, const double *x) {
    int64_t best = -1;
    FOR_TAPS(p, *b, i)
    if (best < 0 || x[i] > x[best] || (isnan(x[i]) && !isnan(x[best]))) best = i;
    return best;
}

/* Column-major index of the spatial position (storage_order 1). */
static int64_t column_major(const Pool *p, int64_t i) {
    int64_t d = i / (p->in[1] * p->in[2]), h = i / p->in[2] % p->in[1], w = i % p->in[2];
    return d + p->in[0] * (h + p->in[1] * w);
}

Status eval_max_pool(EvalCtx *c) {
    const Tensor *xt = c->in[0];
    Pool p;
    double *x, *y;
    int64_t *best = NULL;
    TRY(pool_start(c, &p));
    TRY(dense_read(c, xt, &x));
    int64_t plane_in = ref_product(p.in, 0, 3), plane_out = ref_product(p.out, 0, 3);
    TRY(dense_f64(c, p.planes * plane_out, &y));
    bool want = dense_wants(c->node, 1), column = attr_int(c->node, "storage_order") != 0;
    if (want) TRY_ALLOC(best = ARENA_ARRAY(c->scratch, int64_t, p.planes * plane_out));
    for (int64_t n = 0, o = 0; n < p.planes; n++) {
        int64_t at[MAX_SPATIAL] = {0};
        for (int64_t i = 0; i < plane_out; i++, o++, ref_next(MAX_SPATIAL, p.out, at)) {
            WindowBox b;
            window_box(&p, at, &b);
            int64_t tap = best_tap(&p, &b, x + n * plane_in);
            y[o] = tap < 0 ? (double)-INFINITY : x[n * plane_in + tap];
            if (want) best[o] = n * plane_in + (tap < 0 ? 0 : column ? column_major(&p, tap) : tap);
        }
    }
    if (want) {
        Tensor indices;
        TRY(ref_output(c, 1, ELEM_I64, p.rank, p.dims, &indices));
        ref_store(&indices, CLASS_I64, 0, p.planes * plane_out, best);
    }
    return dense_store(c, 0, xt->elem, p.rank, p.dims, y);
}

/* What one window of AveragePool and LpPool becomes. */
typedef double (*WindowFn)(const Pool *p, const WindowBox *b, const double *x, int64_t param);

static double window_sum(const Pool *p, const WindowBox *b, const double *x, int64_t param) {
    (void)param;
    double sum = 0;
    FOR_TAPS(p, *b, i) sum += x[i];
    return sum;
}

/* Elements that a mean divides by. */
static int64_t window_count(const WindowBox *b, bool padded) {
    int64_t inside = (b->hi[0] - b->lo[0]) * (b->hi[1] - b->lo[1]) * (b->hi[2] - b->lo[2]);
    return padded ? b->padded : inside;
}

static double window_mean(const Pool *p, const WindowBox *b, const double *x, int64_t include_pad) {
    return window_sum(p, b, x, 0) / (double)window_count(b, include_pad != 0);
}

static double window_norm(const Pool *p, const WindowBox *b, const double *x, int64_t order) {
    double sum = 0;
    FOR_TAPS(p, *b, i) sum += pow(fabs(x[i]), (double)order);
    return pow(sum, 1.0 / (double)order);
}

/* fn of every window of every plane, in fresh scratch memory. */
static Status map_windows(const EvalCtx *c, const Pool *p, WindowFn fn, int64_t param, const double *x, double **y) {
    int64_t plane_in = ref_product(p->in, 0, 3), plane_out = ref_product(p->out, 0, 3);
    TRY(dense_f64(c, p->planes * plane_out, y));
    for (int64_t n = 0, o = 0; n < p->planes; n++) {
        int64_t at[MAX_SPATIAL] = {0};
        for (int64_t i = 0; i < plane_out; i++, o++, ref_next(MAX_SPATIAL, p->out, at)) {
            WindowBox b;
            window_box(p, at, &b);
            (*y)[o] = fn(p, &b, x + n * plane_in, param);
        }
    }
    return NULL;
}

Status pool_sums(const EvalCtx *c, double offset, bool padded, Pool *p, double **y, int64_t **counts) {
    double *x;
    int64_t at[MAX_SPATIAL] = {0};
    TRY(pool_start(c, p));
    int64_t plane = ref_product(p->out, 0, MAX_SPATIAL);
    TRY_ALLOC(*counts = ARENA_ARRAY(c->scratch, int64_t, plane));
    for (int64_t i = 0; i < plane; i++, ref_next(MAX_SPATIAL, p->out, at)) {
        WindowBox b;
        window_box(p, at, &b);
        (*counts)[i] = window_count(&b, padded);
    }
    TRY(dense_read_minus(c, c->in[0], offset, &x));
    return map_windows(c, p, window_sum, 0, x, y);
}

static Status eval_windows(EvalCtx *c, WindowFn fn, int64_t param) {
    Pool p;
    double *x, *y;
    TRY(pool_start(c, &p));
    TRY(dense_read(c, c->in[0], &x));
    TRY(map_windows(c, &p, fn, param, x, &y));
    return dense_store(c, 0, c->in[0]->elem, p.rank, p.dims, y);
}

Status eval_average_pool(EvalCtx *c) {
    return eval_windows(c, window_mean, attr_int(c->node, "count_include_pad") != 0);
}

Status eval_lp_pool(EvalCtx *c) {
    int64_t order = attr_int(c->node, "p");
    if (order < 1) return eval_error(c, STATUS_INVALID, "p must be positive, it is %lld", (long long)order);
    return eval_windows(c, window_norm, order);
}

/* Global forms: one number a plane of any rank. */
typedef double (*PlaneFn)(const double *x, int64_t n, int64_t param);

static double plane_mean(const double *x, int64_t n, int64_t param) {
    (void)param;
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum / (double)n;
}

static double plane_max(const double *x, int64_t n, int64_t param) {
    (void)param;
    double best = (double)-INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (x[i] > best || isnan(x[i])) best = x[i];
    return best;
}

static double plane_norm(const double *x, int64_t n, int64_t order) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += pow(fabs(x[i]), (double)order);
    return pow(sum, 1.0 / (double)order);
}

static Status eval_planes(EvalCtx *c, PlaneFn fn, int64_t param) {
    const Tensor *t = c->in[0];
    double *x, *y;
    if (t->rank < 2) return eval_error(c, STATUS_INVALID, "the input must have rank 2 or more, it has %d", t->rank);
    int64_t dims[MAX_RANK] = {t->dims[0], t->dims[1]}, plane = ref_product(t->dims, 2, t->rank);
    for (int i = 2; i < t->rank; i++) dims[i] = 1;
    int64_t planes = dims[0] * dims[1];
    TRY(dense_read(c, t, &x));
    TRY(dense_f64(c, planes, &y));
    for (int64_t i = 0; i < planes; i++) y[i] = fn(x + i * plane, plane, param);
    return dense_store(c, 0, t->elem, t->rank, dims, y);
}

Status eval_global_average_pool(EvalCtx *c) { return eval_planes(c, plane_mean, 0); }
Status eval_global_max_pool(EvalCtx *c) { return eval_planes(c, plane_max, 0); }

Status eval_global_lp_pool(EvalCtx *c) {
    int64_t order = attr_int(c->node, "p");
    if (order < 1) return eval_error(c, STATUS_INVALID, "p must be positive, it is %lld", (long long)order);
    return eval_planes(c, plane_norm, order);
}
