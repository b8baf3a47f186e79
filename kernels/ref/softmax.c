/* Softmax, LogSoftmax and Hardmax along one axis. */
#include "kernels/ref/dense.h"

#include <math.h>

Status infer_softmax(InferCtx *c) {
    int axis;
    if (infer_is_ranked(c, 0)) TRY(infer_axis(c, attr_int(c->node, "axis"), c->in[0]->rank, &axis));
    return infer_same(c);
}

/* One slice of n elements, `stride` apart, in place. */
typedef void (*SliceFn)(double *v, int64_t n, int64_t stride);

static Status eval_slices(EvalCtx *c, SliceFn fn) {
    const Tensor *t = c->in[0];
    double *x;
    int axis;
    TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
    TRY(dense_read(c, t, &x));
    int64_t outer = ref_product(t->dims, 0, axis), n = t->dims[axis], inner = ref_product(t->dims, axis + 1, t->rank);
    for (int64_t s = 0; n > 0 && s < outer * inner; s++) fn(x + s / inner * n * inner + s % inner, n, inner);
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}

static double slice_max(const double *v, int64_t n, int64_t stride) {
    double best = v[0];
    for (int64_t i = 1; i < n; i++)
        if (v[i * stride] > best || isnan(v[i * stride])) best = v[i * stride];
    return best;
}

static void slice_softmax(double *v, int64_t n, int64_t stride) {
    double top = slice_max(v, n, stride), sum = 0;
    for (int64_t i = 0; i < n; i++) {
        v[i * stride] = exp(v[i * stride] - top);
        sum += v[i * stride];
    }
    for (int64_t i = 0; i < n; i++) v[i * stride] /= sum;
}

static void slice_log_softmax(double *v, int64_t n, int64_t stride) {
    double top = slice_max(v, n, stride), sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp(v[i * stride] - top);
    double shift = top + log(sum);
    for (int64_t i = 0; i < n; i++) v[i * stride] -= shift;
}

/* 1 at the first maximum, 0 elsewhere. */
static void slice_hardmax(double *v, int64_t n, int64_t stride) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (v[i * stride] > v[best * stride]) best = i;
    for (int64_t i = 0; i < n; i++) v[i * stride] = i == best;
}

Status eval_softmax(EvalCtx *c) { return eval_slices(c, slice_softmax); }
Status eval_log_softmax(EvalCtx *c) { return eval_slices(c, slice_log_softmax); }
Status eval_hardmax(EvalCtx *c) { return eval_slices(c, slice_hardmax); }
