/* Ops of object detection: NonMaxSuppression, RoiAlign, MaxRoiPool. */
#include "kernels/ref/dense.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- NonMaxSuppression ---- */

Status infer_non_max_suppression(InferCtx *c) {
    const Dim dims[2] = {infer_fresh(c), 3};
    infer_set(c, 0, ELEM_I64, 2, dims);
    return NULL;
}

typedef struct Box {
    double y1, x1, y2, x2;
} Box;

/* Corner boxes may have their corners in any order; centre boxes are x, y, width, height. */
static Box read_box(const double *v, bool center) {
    if (center) return (Box){v[1] - v[3] / 2, v[0] - v[2] / 2, v[1] + v[3] / 2, v[0] + v[2] / 2};
    return (Box){fmin(v[0], v[2]), fmin(v[1], v[3]), fmax(v[0], v[2]), fmax(v[1], v[3])};
}

/* Intersection over union; 0 for boxes without area. */
static double box_iou(Box a, Box b) {
    double h = fmin(a.y2, b.y2) - fmax(a.y1, b.y1), w = fmin(a.x2, b.x2) - fmax(a.x1, b.x1);
    double area_a = (a.y2 - a.y1) * (a.x2 - a.x1), area_b = (b.y2 - b.y1) * (b.x2 - b.x1);
    if (h <= 0 || w <= 0 || area_a <= 0 || area_b <= 0) return 0;
    return h * w / (area_a + area_b - h * w);
}

typedef struct Candidate {
    double score;
    int64_t index;
} Candidate;

/* Highest score first; equal scores in index order. */
static int by_score(const void *pa, const void *pb) {
    const Candidate *a = pa, *b = pb;
    if (a->score != b->score) return a->score > b->score ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

typedef struct Suppress {
    int64_t batches, classes, boxes, limit;
    double iou, score;
    bool has_score, center;
    const double *box_values, *scores;
    Candidate *candidates;
    Box *kept;
} Suppress;

/* Selected boxes of one class of one batch, appended to out (3 numbers each); returns how many. */
static int64_t suppress_class(const Suppress *s, int64_t batch, int64_t class, int64_t *out) {
    const double *boxes = s->box_values + batch * s->boxes * 4;
    const double *scores = s->scores + (batch * s->classes + class) * s->boxes;
    int64_t n = 0, kept = 0;
    for (int64_t i = 0; i < s->boxes; i++)
        if (!s->has_score || scores[i] > s->score) s->candidates[n++] = (Candidate){scores[i], i};
    qsort(s->candidates, (size_t)n, sizeof *s->candidates, by_score);
    for (int64_t i = 0; i < n && kept < s->limit; i++) {
        Box box = read_box(boxes + s->candidates[i].index * 4, s->center);
        bool free_of_others = true;
        for (int64_t k = 0; k < kept && free_of_others; k++) free_of_others = box_iou(box, s->kept[k]) <= s->iou;
        if (!free_of_others) continue;
        memcpy(out + kept * 3, (int64_t[3]){batch, class, s->candidates[i].index}, 3 * sizeof *out);
        s->kept[kept++] = box;
    }
    return kept;
}

static Status suppress_open(EvalCtx *c, Suppress *s) {
    const Tensor *boxes = c->in[0], *scores = c->in[1];
    if (boxes->rank != 3 || scores->rank != 3 || boxes->dims[2] != 4 || boxes->dims[0] != scores->dims[0] ||
        boxes->dims[1] != scores->dims[2])
        return eval_error(c, STATUS_INVALID, "boxes [batch,n,4] and scores [batch,classes,n] do not fit each other");
    double *values, *all;
    int64_t *limit, n_limit;
    s->batches = boxes->dims[0];
    s->boxes = boxes->dims[1];
    s->classes = scores->dims[1];
    TRY(ref_ints(c, 2, &limit, &n_limit));
    s->limit = n_limit > 0 && limit[0] > 0 ? limit[0] : 0;
    if (s->limit > s->boxes) s->limit = s->boxes;
    const Tensor *iou = dense_in(c, 3), *score = dense_in(c, 4);
    s->iou = iou && tensor_count(iou) > 0 ? tensor_get_f64(iou, 0) : 0;
    s->has_score = score && tensor_count(score) > 0;
    s->score = s->has_score ? tensor_get_f64(score, 0) : 0;
    s->center = attr_int(c->node, "center_point_box") != 0;
    TRY(dense_read(c, boxes, &values));
    TRY(dense_read(c, scores, &all));
    s->box_values = values;
    s->scores = all;
    TRY_ALLOC(s->candidates = ARENA_ARRAY(c->scratch, Candidate, s->boxes));
    TRY_ALLOC(s->kept = ARENA_ARRAY(c->scratch, Box, s->boxes));
    return NULL;
}

Status eval_non_max_suppression(EvalCtx *c) {
    Suppress s = {0};
    Buf all = {0};
    int64_t *found, count = 0;
    TRY(suppress_open(c, &s));
    TRY_ALLOC(found = ARENA_ARRAY(c->scratch, int64_t, s.limit * 3));
    for (int64_t b = 0; b < s.batches; b++)
        for (int64_t k = 0; k < s.classes; k++) {
            int64_t n = suppress_class(&s, b, k, found);
            buf_append(&all, found, (size_t)n * 3 * sizeof *found);
            count += n;
        }
    void *data;
    Status status = all.failed ? status_oom() : eval_output(c, 0, ELEM_I64, 2, (int64_t[]){count, 3}, &data);
    /* set without an error. NOLINTNEXTLINE(clang-analyzer-core.CallAndMessage) */
    if (!status && count) memcpy(data, all.data, (size_t)count * 3 * sizeof *found);
    buf_free(&all);
    return status;
}

/* ---- RoiAlign ---- */

Status infer_roi_align(InferCtx *c) {
    Dim rois = infer_is_ranked(c, 1) && c->in[1]->rank == 2 ? c->in[1]->dims[0] : infer_fresh(c);
    Dim channels = infer_is_ranked(c, 0) && c->in[0]->rank == 4 ? c->in[0]->dims[1] : infer_fresh(c);
    const Dim dims[4] = {rois, channels, attr_int(c->node, "output_height"), attr_int(c->node, "output_width")};
    if (dims[2] < 1 || dims[3] < 1) return infer_error(c, STATUS_INVALID, "the output size must be positive");
    infer_set(c, 0, infer_elem(c, 0), 4, dims);
    return NULL;
}

typedef struct RoiAlign {
    int64_t channels, h, w, out_h, out_w, ratio;
    double scale, shift;
    bool max;
} RoiAlign;

/* The four weighted corners of a bilinear sample; outside the border by more than 1 it is nothing. */
typedef struct Bilinear {
    int64_t at[4];
    double weight[4];
} Bilinear;

static Bilinear bilinear(const RoiAlign *r, double y, double x) {
    Bilinear b = {{0}, {0}};
    if (y < -1 || y > (double)r->h || x < -1 || x > (double)r->w) return b;
    y = fmax(y, 0);
    x = fmax(x, 0);
    int64_t y0 = (int64_t)y, x0 = (int64_t)x, y1 = y0 + 1, x1 = x0 + 1;
    if (y0 >= r->h - 1) y = (double)(y0 = y1 = r->h - 1);
    if (x0 >= r->w - 1) x = (double)(x0 = x1 = r->w - 1);
    double dy = y - (double)y0, dx = x - (double)x0;
    int64_t at[4] = {y0 * r->w + x0, y0 * r->w + x1, y1 * r->w + x0, y1 * r->w + x1};
    double weight[4] = {(1 - dy) * (1 - dx), (1 - dy) * dx, dy * (1 - dx), dy * dx};
    memcpy(b.at, at, sizeof at);
    memcpy(b.weight, weight, sizeof weight);
    return b;
}

/* One output cell of one plane: mean or maximum over a grid of samples of the bin. The maximum is taken over weighted
 * corners, as runtimes have it. */
static double roi_cell(const RoiAlign *r, const double *plane, double y0, double x0, double bin_h, double bin_w,
                       int64_t grid_h, int64_t grid_w) {
    double sum = 0, best = (double)-INFINITY;
    for (int64_t iy = 0; iy < grid_h; iy++)
        for (int64_t ix = 0; ix < grid_w; ix++) {
            double y = y0 + ((double)iy + 0.5) * bin_h / (double)grid_h;
            double x = x0 + ((double)ix + 0.5) * bin_w / (double)grid_w;
            Bilinear b = bilinear(r, y, x);
            for (int k = 0; k < 4; k++) {
                double v = b.weight[k] * plane[b.at[k]];
                sum += v;
                best = v > best ? v : best;
            }
        }
    return r->max ? best : sum / (double)(grid_h * grid_w);
}

static void roi_align_one(const RoiAlign *r, const double *x, const double *roi, double *y) {
    double x1 = roi[0] * r->scale - r->shift, y1 = roi[1] * r->scale - r->shift;
    double width = roi[2] * r->scale - r->shift - x1, height = roi[3] * r->scale - r->shift - y1;
    if (r->shift == 0) { /* older form: at least one cell */
        width = fmax(width, 1);
        height = fmax(height, 1);
    }
    double bin_h = height / (double)r->out_h, bin_w = width / (double)r->out_w;
    int64_t grid_h = r->ratio > 0 ? r->ratio : (int64_t)ceil(bin_h),
            grid_w = r->ratio > 0 ? r->ratio : (int64_t)ceil(bin_w);
    if (grid_h < 1) grid_h = 1;
    if (grid_w < 1) grid_w = 1;
    for (int64_t c = 0; c < r->channels; c++)
        for (int64_t i = 0; i < r->out_h; i++)
            for (int64_t j = 0; j < r->out_w; j++)
                *y++ = roi_cell(r, x + c * r->h * r->w, y1 + (double)i * bin_h, x1 + (double)j * bin_w, bin_h, bin_w,
                                grid_h, grid_w);
}

Status eval_roi_align(EvalCtx *c) {
    const Tensor *xt = c->in[0], *rt = c->in[1], *bt = c->in[2];
    enum { MAX_GRID = 4096 }; /* samples along one side of a bin: boxes come from data */
    double *x, *rois, *y;
    int64_t *batch, n_batch;
    if (xt->rank != 4 || rt->rank != 2 || rt->dims[1] != 4 || tensor_count(bt) != rt->dims[0])
        return eval_error(c, STATUS_INVALID, "x [N,C,H,W], rois [n,4] and batch indices [n] are needed");
    RoiAlign r = {.channels = xt->dims[1], .h = xt->dims[2], .w = xt->dims[3]};
    r.out_h = attr_int(c->node, "output_height");
    r.out_w = attr_int(c->node, "output_width");
    r.ratio = attr_int(c->node, "sampling_ratio");
    r.scale = (double)attr_float(c->node, "spatial_scale");
    r.shift = strcmp(attr_string(c->node, "coordinate_transformation_mode"), "output_half_pixel") == 0 ? 0 : 0.5;
    r.max = strcmp(attr_string(c->node, "mode"), "max") == 0;
    int64_t per = r.channels, total = 0;
    bool fits = r.out_h > 0 && r.out_w > 0 && r.ratio <= MAX_GRID && r.h > 0 && r.w > 0;
    fits = fits && !__builtin_mul_overflow(per, r.out_h, &per) && !__builtin_mul_overflow(per, r.out_w, &per);
    if (!fits || __builtin_mul_overflow(per, rt->dims[0], &total))
        return eval_error(c, STATUS_INVALID, "the output size or the sampling ratio is out of range");
    TRY(ref_ints(c, 2, &batch, &n_batch));
    TRY(dense_read(c, xt, &x));
    TRY(dense_read(c, rt, &rois));
    TRY(dense_f64(c, total, &y));
    for (int64_t i = 0; i < rt->dims[0]; i++) {
        const double *roi = rois + i * 4;
        double side = fmax(fabs(roi[2] - roi[0]), fabs(roi[3] - roi[1])) * fabs(r.scale);
        if (batch[i] < 0 || batch[i] >= xt->dims[0] || !(side <= (double)MAX_GRID * 16))
            return eval_error(c, STATUS_INVALID, "region %lld has no valid batch index or size", (long long)i);
        roi_align_one(&r, x + batch[i] * r.channels * r.h * r.w, roi, y + i * per);
    }
    const int64_t dims[4] = {rt->dims[0], r.channels, r.out_h, r.out_w};
    return dense_store(c, 0, xt->elem, 4, dims, y);
}

/* ---- MaxRoiPool ---- */

static const int64_t *pooled_shape(const Node *n) {
    int64_t count;
    const int64_t *v = attr_ints(n, "pooled_shape", &count);
    return v && count == 2 && v[0] > 0 && v[1] > 0 && v[0] <= INT32_MAX && v[1] <= INT32_MAX ? v : NULL;
}

Status infer_max_roi_pool(InferCtx *c) {
    const int64_t *shape = pooled_shape(c->node);
    if (!shape) return infer_error(c, STATUS_INVALID, "pooled_shape needs two positive numbers");
    Dim rois = infer_is_ranked(c, 1) && c->in[1]->rank == 2 ? c->in[1]->dims[0] : infer_fresh(c);
    Dim channels = infer_is_ranked(c, 0) && c->in[0]->rank == 4 ? c->in[0]->dims[1] : infer_fresh(c);
    const Dim dims[4] = {rois, channels, shape[0], shape[1]};
    infer_set(c, 0, infer_elem(c, 0), 4, dims);
    return NULL;
}

/* Bounds of bin i of n along an axis of `size`, for a region that starts at `start` and is `length` long. */
static void bin_bounds(int64_t start, int64_t length, int64_t i, int64_t n, int64_t size, int64_t *lo, int64_t *hi) {
    double bin = (double)length / (double)n;
    *lo = start + (int64_t)floor((double)i * bin);
    *hi = start + (int64_t)ceil((double)(i + 1) * bin);
    *lo = *lo < 0 ? 0 : *lo > size ? size : *lo;
    *hi = *hi < 0 ? 0 : *hi > size ? size : *hi;
}

static double bin_max(const double *plane, int64_t w, int64_t y0, int64_t y1, int64_t x0, int64_t x1) {
    if (y0 >= y1 || x0 >= x1) return 0;
    double best = (double)-INFINITY;
    for (int64_t i = y0; i < y1; i++)
        for (int64_t j = x0; j < x1; j++)
            if (plane[i * w + j] > best) best = plane[i * w + j];
    return best;
}

Status eval_max_roi_pool(EvalCtx *c) {
    const Tensor *xt = c->in[0], *rt = c->in[1];
    const int64_t *shape = pooled_shape(c->node);
    double *x, *rois, *y, scale = (double)attr_float(c->node, "spatial_scale");
    int64_t total;
    if (!shape || xt->rank != 4 || rt->rank != 2 || rt->dims[1] != 5)
        return eval_error(c, STATUS_INVALID, "x [N,C,H,W], rois [n,5] and a pooled_shape of two numbers are needed");
    int64_t n = rt->dims[0], channels = xt->dims[1], h = xt->dims[2], w = xt->dims[3];
    if (__builtin_mul_overflow(n * channels, shape[0] * shape[1], &total))
        return eval_error(c, STATUS_INVALID, "the output is too large");
    TRY(dense_read(c, xt, &x));
    TRY(dense_read(c, rt, &rois));
    TRY(dense_f64(c, total, &y));
    double *out = y;
    for (int64_t r = 0; r < n; r++) {
        int64_t corner[4];
        const double *roi = rois + r * 5;
        bool fits = roi[0] >= 0 && roi[0] < (double)xt->dims[0];
        for (int k = 0; k < 4; k++) {
            double v = round(roi[1 + k] * scale);
            fits = fits && fabs(v) < 1e9;
            corner[k] = fits ? (int64_t)v : 0;
        }
        if (!fits) return eval_error(c, STATUS_INVALID, "region %lld has no valid batch index or size", (long long)r);
        int64_t rw = corner[2] - corner[0] + 1, rh = corner[3] - corner[1] + 1;
        for (int64_t ch = 0; ch < channels; ch++)
            for (int64_t i = 0; i < shape[0]; i++)
                for (int64_t j = 0; j < shape[1]; j++) {
                    int64_t y0, y1, x0, x1;
                    bin_bounds(corner[1], rh > 1 ? rh : 1, i, shape[0], h, &y0, &y1);
                    bin_bounds(corner[0], rw > 1 ? rw : 1, j, shape[1], w, &x0, &x1);
                    *out++ = bin_max(x + ((int64_t)roi[0] * channels + ch) * h * w, w, y0, y1, x0, x1);
                }
    }
    const int64_t dims[4] = {n, channels, shape[0], shape[1]};
    return dense_store(c, 0, xt->elem, 4, dims, y);
}
