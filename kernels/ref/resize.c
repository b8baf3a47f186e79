/* Resize: separable interpolation. Every resized axis gets, for each output position, a list of source positions and
 * weights; nearest copies elements, linear and cubic sum axis by axis in double. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

typedef enum Coord {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    TF_CROP_AND_RESIZE,
    N_COORDS
} Coord;
typedef enum Interpolation { NEAREST, LINEAR, CUBIC, N_INTERPOLATIONS } Interpolation;
typedef enum Nearest { ROUND_PREFER_FLOOR, ROUND_PREFER_CEIL, FLOOR, CEIL, N_NEAREST } Nearest;
typedef enum Policy { STRETCH, NOT_LARGER, NOT_SMALLER, N_POLICIES } Policy;

static const char *const coord_names[] = {"half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel",
                                          "align_corners", "asymmetric",           "tf_crop_and_resize"};
static const char *const interpolation_names[] = {"nearest", "linear", "cubic"};
static const char *const nearest_names[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
static const char *const policy_names[] = {"stretch", "not_larger", "not_smaller"};

/* Index of attribute `name` in a list of n names; n when it is none of them. */
static int choose(const Node *node, const char *name, const char *const *names, int n) {
    const char *v = attr_string(node, name);
    int i = 0;
    while (i < n && strcmp(v, names[i]) != 0) i++;
    return i;
}

typedef struct Options {
    Coord coord;
    Interpolation interpolation;
    Nearest nearest;
    float cubic_a;
    bool exclude_outside, antialias;
} Options;

/* One axis: in and out elements, out per in, the target length (a fraction when it comes from a scale), region of
 * interest in [0, 1]. */
typedef struct Axis {
    int64_t in, out;
    float scale, length, roi_start, roi_end;
    bool resized;
} Axis;

/* out elements of an axis of `in` elements under `scale`; -1 when it is no size. */
static int64_t scaled(int64_t in, float scale) {
    double v = floor((double)((float)in * scale));
    return v >= 0 && v < 0x1p40 ? (int64_t)v : -1;
}

/* sizes under keep_aspect_ratio_policy: one scale for all axes. */
static void apply_policy(Policy policy, const int64_t *in, int64_t *sizes, float *scales, int n) {
    float common = 0;
    for (int i = 0; i < n; i++) {
        scales[i] = in[i] ? (float)sizes[i] / (float)in[i] : 1;
        bool better = policy == NOT_LARGER ? scales[i] < common : scales[i] > common;
        if (i == 0 || better) common = scales[i];
    }
    for (int i = 0; i < n && policy != STRETCH; i++) {
        scales[i] = common;
        sizes[i] = (int64_t)floorf(common * (float)in[i] + 0.5f);
    }
}

/* ---- shape rule ---- */

static Dim scaled_dim(InferCtx *c, Dim d, float scale) {
    if (DIM_IS_NUM(d)) return scaled(d, scale);
    if (scale >= 1 && scale == floorf(scale) && scale < 0x1p20f) return infer_dim_op(c, SYM_MUL, d, (int64_t)scale);
    float inverse = 1 / scale;
    if (inverse >= 1 && inverse == floorf(inverse) && inverse < 0x1p20f)
        return infer_dim_op(c, SYM_FLOORDIV, d, (int64_t)inverse);
    return infer_fresh(c);
}

/* dims[axes[i]] from sizes with an aspect policy, when all numbers are known. */
static Status infer_sizes(InferCtx *c, const int *axes, int n, const Dim *sizes, Dim *dims) {
    Policy policy = (Policy)choose(c->node, "keep_aspect_ratio_policy", policy_names, N_POLICIES);
    int64_t in[MAX_RANK], out[MAX_RANK];
    float scales[MAX_RANK];
    bool numbers = true;
    for (int i = 0; i < n; i++) {
        in[i] = dims[axes[i]];
        out[i] = sizes[i];
        numbers = numbers && DIM_IS_NUM(in[i]) && DIM_IS_NUM(out[i]);
        if (DIM_IS_NUM(out[i]) && out[i] < 0)
            return infer_error(c, STATUS_INVALID, "size %d is %lld", i, (long long)out[i]);
    }
    if (numbers) apply_policy(policy, in, out, scales, n);
    for (int i = 0; i < n; i++) dims[axes[i]] = numbers || policy == STRETCH ? out[i] : infer_fresh(c);
    return NULL;
}

static Status infer_axes(const InferCtx *c, int rank, int *axes, int *n) {
    int64_t count;
    const int64_t *v = attr_ints(c->node, "axes", &count);
    *n = v ? (int)count : rank;
    if (*n > rank) return infer_error(c, STATUS_INVALID, "attribute axes has %d elements for %d axes", *n, rank);
    for (int i = 0; i < *n; i++) TRY(infer_axis(c, v ? v[i] : i, rank, &axes[i]));
    return NULL;
}

/* Input i is there and not an empty placeholder. */
static bool infer_present(const InferCtx *c, int i) {
    return infer_is_tensor(c, i) && !(c->in[i]->rank == 1 && c->in[i]->dims[0] == 0);
}

Status infer_resize(InferCtx *c) {
    int axes[MAX_RANK], n, count;
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        return NULL;
    }
    Type t = *c->in[0];
    TRY(infer_axes(c, t.rank, axes, &n));
    bool by_scale = infer_present(c, 2), by_size = infer_present(c, 3);
    if (by_scale == by_size) return infer_error(c, STATUS_INVALID, "needs exactly one of the inputs scales and sizes");
    const Tensor *scales = by_scale ? infer_const(c, 2) : NULL;
    const Dim *sizes = by_size ? infer_known(c, 3, &count) : NULL;
    if (scales) count = (int)tensor_count(scales);
    if ((scales || sizes) && count != n)
        return infer_error(c, STATUS_INVALID, "%d scales or sizes for %d axes", count, n);
    if (sizes) {
        TRY(infer_sizes(c, axes, n, sizes, t.dims));
    } else {
        for (int i = 0; i < n; i++) {
            Dim d = scales ? scaled_dim(c, t.dims[axes[i]], (float)tensor_get_f64(scales, i)) : infer_fresh(c);
            if (d == -1) return infer_error(c, STATUS_INVALID, "scale %d gives no size", i);
            t.dims[axes[i]] = d;
        }
    }
    infer_set(c, 0, t.elem, t.rank, t.dims);
    return NULL;
}

/* ---- coordinates and weights ---- */

/* Where output position i lies on the source axis. */
static float source_of(Coord coord, const Axis *a, int64_t i) {
    float x = (float)i, in = (float)a->in, out = (float)a->out;
    switch (coord) {
    case HALF_PIXEL:
        return (x + 0.5f) / a->scale - 0.5f;
    case HALF_PIXEL_SYMMETRIC: {
        float adjustment = out / (a->scale * in), offset = in / 2 * (1 - adjustment);
        return offset + (x + 0.5f) / a->scale - 0.5f;
    }
    case PYTORCH_HALF_PIXEL:
        return a->out > 1 ? (x + 0.5f) / a->scale - 0.5f : 0;
    case ALIGN_CORNERS:
        return a->out > 1 ? x * (in - 1) / (a->length - 1) : 0;
    case ASYMMETRIC:
        return x / a->scale;
    case TF_CROP_AND_RESIZE:
        if (a->out > 1) return a->roi_start * (in - 1) + x * (a->roi_end - a->roi_start) * (in - 1) / (out - 1);
        return 0.5f * (a->roi_start + a->roi_end) * (in - 1);
    case N_COORDS:
        break;
    }
    return x;
}

static int64_t clamp_index(double x, int64_t dim) {
    return !(x >= 0) ? 0 : x > (double)(dim - 1) ? dim - 1 : (int64_t)x;
}

static int64_t nearest_of(Nearest rule, float x, int64_t dim) {
    float r = rule == FLOOR                ? floorf(x)
              : rule == CEIL               ? ceilf(x)
              : rule == ROUND_PREFER_FLOOR ? ceilf(x - 0.5f)
                                           : floorf(x + 0.5f);
    return clamp_index((double)r, dim);
}

/* Keys' cubic kernel: Cubic Convolution Interpolation for Digital Image Processing, 1981. */
static double cubic(double x, double a) {
    x = fabs(x);
    if (x <= 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

/* Source positions and weights of all output positions of one axis: `taps` a position. */
typedef struct Taps {
    int64_t taps;
    int64_t *at;
    double *weight;
    bool *outside; /* extrapolated (tf_crop_and_resize) */
} Taps;

static void fill_taps(const Options *o, const Axis *a, double stretch, int64_t half, Taps *t, int64_t i) {
    double x = (double)source_of(o->coord, a, i), base = ceil(x) - 1, ratio = x - base, sum = 0;
    int64_t *at = t->at + i * t->taps;
    double *w = t->weight + i * t->taps;
    for (int64_t k = 0; k < t->taps; k++) {
        double offset = (double)(k - half + 1), d = (offset - ratio) * stretch, from = base + offset;
        w[k] = o->interpolation == CUBIC ? cubic(d, (double)o->cubic_a) : fmax(0, 1 - fabs(d));
        if (o->exclude_outside && (from < 0 || from > (double)(a->in - 1))) w[k] = 0;
        at[k] = clamp_index(from, a->in);
        sum += w[k];
    }
    for (int64_t k = 0; k < t->taps && sum != 0; k++) w[k] /= sum;
}

static Status make_taps(EvalCtx *c, const Options *o, const Axis *a, Taps *t) {
    /* downsampling with antialias widens the kernel by 1 / scale */
    double stretch = o->antialias && a->scale < 1 ? (double)a->scale : 1;
    int64_t half = o->interpolation == NEAREST ? 1 : -(int64_t)floor(-(o->interpolation == CUBIC ? 2 : 1) / stretch);
    int64_t cells;
    t->taps = o->interpolation == NEAREST ? 1 : 2 * half;
    if (half > INT32_MAX || __builtin_mul_overflow(t->taps, a->out, &cells))
        return eval_error(c, STATUS_INVALID, "scale %g is too small", (double)a->scale);
    TRY_ALLOC(t->at = ARENA_ARRAY(c->scratch, int64_t, cells));
    TRY_ALLOC(t->weight = ARENA_ARRAY(c->scratch, double, cells));
    TRY_ALLOC(t->outside = ARENA_ARRAY(c->scratch, bool, a->out));
    for (int64_t i = 0; i < a->out; i++) {
        float x = source_of(o->coord, a, i);
        t->outside[i] = o->coord == TF_CROP_AND_RESIZE && (x < 0 || x > (float)(a->in - 1));
        if (o->interpolation == NEAREST)
            t->at[i] = nearest_of(o->nearest, x, a->in);
        else
            fill_taps(o, a, stretch, half, t, i);
    }
    return NULL;
}

/* ---- evaluation ---- */

static Status read_options(const EvalCtx *c, Options *o) {
    const Node *n = c->node;
    o->coord = (Coord)choose(n, "coordinate_transformation_mode", coord_names, N_COORDS);
    o->interpolation = (Interpolation)choose(n, "mode", interpolation_names, N_INTERPOLATIONS);
    o->nearest = (Nearest)choose(n, "nearest_mode", nearest_names, N_NEAREST);
    o->cubic_a = attr_float(n, "cubic_coeff_a");
    o->exclude_outside = attr_int(n, "exclude_outside") != 0;
    o->antialias = attr_int(n, "antialias") != 0;
    bool known = o->coord < N_COORDS && o->interpolation < N_INTERPOLATIONS && o->nearest < N_NEAREST;
    return known ? NULL
                 : eval_error(c, STATUS_INVALID, "mode, nearest_mode or coordinate_transformation_mode is not known");
}

static const Tensor *present(const EvalCtx *c, int i) {
    const Tensor *t = i < c->n_in ? c->in[i] : NULL;
    return t && tensor_count(t) > 0 ? t : NULL;
}

/* Sizes and scales of the n listed axes into axis[]. */
static Status read_sizes(const EvalCtx *c, const int *listed, int n, Axis *axis) {
    const Tensor *x = c->in[0], *scales = present(c, 2), *sizes = present(c, 3), *roi = present(c, 1);
    int64_t in[MAX_RANK], out[MAX_RANK];
    float scale[MAX_RANK];
    if (!scales == !sizes) return eval_error(c, STATUS_INVALID, "needs exactly one of the inputs scales and sizes");
    if (tensor_count(scales ? scales : sizes) != n) return eval_error(c, STATUS_INVALID, "needs %d scales or sizes", n);
    for (int i = 0; i < n; i++) {
        in[i] = x->dims[listed[i]];
        if (scales) scale[i] = (float)tensor_get_f64(scales, i);
        out[i] = scales ? scaled(in[i], scale[i]) : tensor_get_i64(sizes, i);
        if (out[i] < 0 || (in[i] == 0 && out[i] > 0))
            return eval_error(c, STATUS_INVALID, "axis %d with %lld elements cannot be resized so", listed[i],
                              (long long)in[i]);
    }
    if (sizes)
        apply_policy((Policy)choose(c->node, "keep_aspect_ratio_policy", policy_names, N_POLICIES), in, out, scale, n);
    bool has_roi = roi && tensor_count(roi) == 2 * n;
    for (int i = 0; i < n; i++) {
        float start = has_roi ? (float)tensor_get_f64(roi, i) : 0,
              end = has_roi ? (float)tensor_get_f64(roi, n + i) : 1;
        bool resized = out[i] != in[i] || scale[i] != 1 || start != 0 || end != 1;
        axis[listed[i]] =
            (Axis){in[i], out[i], scale[i], scales ? scale[i] * (float)in[i] : (float)out[i], start, end, resized};
    }
    return NULL;
}

static void resize_nearest(const Tensor *x, Tensor *y, const Taps *taps, const Axis *axis) {
    int64_t from[MAX_RANK], idx[MAX_RANK] = {0}, n = 0;
    if (tensor_count(y) == 0) return;
    ref_strides(x->rank, x->dims, from);
    do {
        int64_t at = 0;
        for (int d = 0; d < x->rank; d++) at += (axis[d].resized ? taps[d].at[idx[d]] : idx[d]) * from[d];
        ref_copy(x->elem, y->data, n++, x->data, at, 1);
    } while (ref_next(x->rank, y->dims, idx));
}

/* [outer, in, inner] to [outer, out, inner]. */
static void resize_axis(const double *x, double *y, int64_t outer, int64_t in, int64_t out, int64_t inner,
                        const Taps *t) {
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t i = 0; i < out; i++) {
            double *row = y + (o * out + i) * inner;
            for (int64_t k = 0; k < inner; k++) row[k] = 0;
            for (int64_t j = 0; j < t->taps; j++) {
                const double *src = x + (o * in + t->at[i * t->taps + j]) * inner;
                double w = t->weight[i * t->taps + j];
                for (int64_t k = 0; k < inner; k++) row[k] += w * src[k];
            }
        }
    }
}

static Status resize_weighted(EvalCtx *c, Tensor *y, const Taps *taps, const Axis *axis) {
    const Tensor *x = c->in[0];
    int64_t dims[MAX_RANK];
    double *from;
    TRY_ALLOC(from = ref_read_f64(c->scratch, x));
    memcpy(dims, x->dims, sizeof dims);
    for (int d = x->rank - 1; d >= 0; d--) {
        if (!axis[d].resized) continue;
        int64_t outer = ref_product(dims, 0, d), inner = ref_product(dims, d + 1, x->rank);
        double *to;
        TRY_ALLOC(to = ARENA_ARRAY(c->scratch, double, outer *axis[d].out *inner));
        resize_axis(from, to, outer, axis[d].in, axis[d].out, inner, &taps[d]);
        dims[d] = axis[d].out;
        from = to;
    }
    ref_store(y, CLASS_F64, 0, tensor_count(y), from);
    return NULL;
}

/* tf_crop_and_resize: positions outside the source take extrapolation_value. */
static void extrapolate(Tensor *y, const Taps *taps, const Axis *axis, double value) {
    int64_t idx[MAX_RANK] = {0}, n = 0;
    if (tensor_count(y) == 0) return;
    do {
        bool outside = false;
        for (int d = 0; d < y->rank; d++) outside = outside || (axis[d].resized && taps[d].outside[idx[d]]);
        if (outside) ref_store(y, CLASS_F64, n, 1, &value);
        n++;
    } while (ref_next(y->rank, y->dims, idx));
}

Status eval_resize(EvalCtx *c) {
    const Tensor *x = c->in[0];
    Options o;
    Axis axis[MAX_RANK] = {0};
    Taps taps[MAX_RANK];
    int listed[MAX_RANK];
    int64_t n_axes, dims[MAX_RANK];
    const int64_t *axes = attr_ints(c->node, "axes", &n_axes);
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(read_options(c, &o));
    int n = axes ? (int)n_axes : x->rank;
    if (n > x->rank) return eval_error(c, STATUS_INVALID, "attribute axes has %d elements for %d axes", n, x->rank);
    for (int i = 0; i < n; i++) TRY(ref_axis(c, axes ? axes[i] : i, x->rank, &listed[i]));
    TRY(read_sizes(c, listed, n, axis));
    memcpy(dims, x->dims, sizeof dims);
    for (int d = 0; d < x->rank; d++) {
        if (!axis[d].resized) continue;
        dims[d] = axis[d].out;
        TRY(make_taps(c, &o, &axis[d], &taps[d]));
    }
    TRY(ref_output(c, 0, x->elem, x->rank, dims, &y));
    if (tensor_count(&y) == 0) return NULL;
    if (o.interpolation == NEAREST)
        resize_nearest(x, &y, taps, axis);
    else
        TRY(resize_weighted(c, &y, taps, axis));
    if (o.coord == TF_CROP_AND_RESIZE) extrapolate(&y, taps, axis, (double)attr_float(c->node, "extrapolation_value"));
    return NULL;
}
