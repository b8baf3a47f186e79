/* Normalizations: BatchNormalization, LayerNormalization, InstanceNormalization, GroupNormalization, RMSNormalization,
 * LRN, LpNormalization, MeanVarianceNormalization. Statistics are two-pass (mean first), in double. */
#include "kernels/ref/dense.h"

#include <math.h>
#include <string.h>

/* ---- shape rules ---- */

static Status need_rank(const InferCtx *c, int least) {
    if (!infer_is_ranked(c, 0) || c->in[0]->rank >= least) return NULL;
    return infer_error(c, STATUS_INVALID, "the input must have rank %d or more, it has %d", least, c->in[0]->rank);
}

Status infer_channel_norm(InferCtx *c) {
    TRY(need_rank(c, 2));
    return infer_same(c);
}

Status infer_batch_normalization(InferCtx *c) {
    TRY(need_rank(c, 1));
    for (int i = 1; i < c->n_out; i++)
        if (dense_in_type(c, i + 2)) c->out[i] = *c->in[i + 2]; /* running mean and variance: inputs 3 and 4 */
    return infer_same(c);
}

/* Mean and inverse deviation keep the input's rank, with 1 from the axis on. */
Status infer_layer_normalization(InferCtx *c) {
    for (int o = 1; o < c->n_out; o++) infer_set_unranked(c, o, ELEM_F32);
    if (infer_is_ranked(c, 0)) {
        int axis;
        Dim dims[MAX_RANK];
        const Type *x = c->in[0];
        TRY(infer_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
        for (int i = 0; i < x->rank; i++) dims[i] = i < axis ? x->dims[i] : 1;
        for (int o = 1; o < c->n_out; o++) infer_set(c, o, ELEM_F32, x->rank, dims);
    }
    return infer_same(c);
}

/* ---- values ---- */

static void moments(const double *x, int64_t n, double *mean, double *variance) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) squares += (x[i] - *mean) * (x[i] - *mean);
    *variance = squares / (double)n;
}

/* Reads input i as `count` numbers (one a channel). */
static Status read_channels(const EvalCtx *c, int i, int64_t count, double **v) {
    if (tensor_count(c->in[i]) != count)
        return eval_error(c, STATUS_INVALID, "input %d has %lld elements, there are %lld channels", i,
                          (long long)tensor_count(c->in[i]), (long long)count);
    return dense_read(c, c->in[i], v);
}

/* Reads t broadcast to [rank; dims] as an array that repeats with *period. */
static Status read_broadcast(const EvalCtx *c, const Tensor *t, int rank, const int64_t *dims, double **v,
                             int64_t *period) {
    int64_t stride[MAX_RANK], idx[MAX_RANK] = {0}, total = ref_product(dims, 0, rank);
    bool fits = t->rank <= rank, suffix = true;
    for (int i = 0; i < t->rank && fits; i++) {
        int64_t have = t->dims[i], want = dims[rank - t->rank + i];
        fits = have == want || have == 1;
        suffix = suffix && have == want;
    }
    if (!fits) return eval_error(c, STATUS_INVALID, "a scale or bias does not broadcast to the input's shape");
    TRY(dense_read(c, t, v));
    *period = tensor_count(t);
    if (suffix || total == 0) return NULL;
    const double *small = *v;
    ref_broadcast_strides(t, rank, dims, stride);
    TRY(dense_f64(c, total, v));
    *period = total;
    for (int64_t i = 0; i < total; i++, ref_next(rank, dims, idx)) {
        int64_t at = 0;
        for (int k = 0; k < rank; k++) at += idx[k] * stride[k];
        (*v)[i] = small[at];
    }
    return NULL;
}

/* Statistics over the batch and all positions, for training_mode 1. */
static void batch_statistics(const double *x, int64_t batch, int64_t channels, int64_t plane, double *mean,
                             double *variance) {
    double count = (double)(batch * plane);
    for (int64_t ch = 0; ch < channels; ch++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < batch * plane; i++) sum += x[(i / plane * channels + ch) * plane + i % plane];
        mean[ch] = sum / count;
        for (int64_t i = 0; i < batch * plane; i++) {
            double d = x[(i / plane * channels + ch) * plane + i % plane] - mean[ch];
            squares += d * d;
        }
        variance[ch] = squares / count;
    }
}

/* Replaces mean and variance by the batch's, and writes the running ones to outputs 1 and 2. */
static Status batch_training(EvalCtx *c, const double *x, int64_t batch, int64_t channels, int64_t plane, double *mean,
                             double *variance) {
    double momentum = (double)attr_float(c->node, "momentum"), *now[2], *old[2] = {mean, variance}, *running;
    TRY(dense_f64(c, channels, &now[0]));
    TRY(dense_f64(c, channels, &now[1]));
    TRY(dense_f64(c, channels, &running));
    batch_statistics(x, batch, channels, plane, now[0], now[1]);
    for (int k = 0; k < 2; k++) {
        for (int64_t i = 0; i < channels; i++) running[i] = old[k][i] * momentum + now[k][i] * (1 - momentum);
        if (dense_wants(c->node, 1 + k)) TRY(dense_store(c, 1 + k, c->in[3 + k]->elem, 1, &channels, running));
        memcpy(old[k], now[k], (size_t)channels * sizeof(double));
    }
    return NULL;
}

Status eval_batch_normalization(EvalCtx *c) {
    const Tensor *t = c->in[0];
    double *x, *p[4]; /* scale, bias, mean, variance */
    double epsilon = (double)attr_float(c->node, "epsilon");
    if (t->rank < 1) return eval_error(c, STATUS_INVALID, "the input must have rank 1 or more");
    int64_t channels = t->rank > 1 ? t->dims[1] : 1, plane = ref_product(t->dims, 2, t->rank), batch = t->dims[0];
    for (int i = 0; i < 4; i++) TRY(read_channels(c, i + 1, channels, &p[i]));
    TRY(dense_read(c, t, &x));
    if (attr_int(c->node, "training_mode") != 0) TRY(batch_training(c, x, batch, channels, plane, p[2], p[3]));
    for (int64_t i = 0; i < batch * channels; i++) {
        int64_t ch = i % channels;
        double scale = p[0][ch] / sqrt(p[3][ch] + epsilon);
        for (int64_t k = 0; k < plane; k++) x[i * plane + k] = (x[i * plane + k] - p[2][ch]) * scale + p[1][ch];
    }
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}

Status eval_layer_normalization(EvalCtx *c) {
    const Tensor *t = c->in[0], *bt = dense_in(c, 2);
    double *x, *scale, *bias = NULL, *mean, *inverse, epsilon = (double)attr_float(c->node, "epsilon");
    int axis;
    int64_t scale_period, bias_period = 1;
    TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
    TRY(read_broadcast(c, c->in[1], t->rank, t->dims, &scale, &scale_period));
    if (bt) TRY(read_broadcast(c, bt, t->rank, t->dims, &bias, &bias_period));
    TRY(dense_read(c, t, &x));
    int64_t rows = ref_product(t->dims, 0, axis), n = ref_product(t->dims, axis, t->rank);
    TRY(dense_f64(c, rows, &mean));
    TRY(dense_f64(c, rows, &inverse));
    for (int64_t r = 0; r < rows; r++) {
        double variance;
        moments(x + r * n, n, &mean[r], &variance);
        inverse[r] = 1 / sqrt(variance + epsilon);
        for (int64_t i = r * n; i < (r + 1) * n; i++)
            x[i] = (x[i] - mean[r]) * inverse[r] * scale[i % scale_period] + (bias ? bias[i % bias_period] : 0);
    }
    int64_t dims[MAX_RANK];
    for (int i = 0; i < t->rank; i++) dims[i] = i < axis ? t->dims[i] : 1;
    if (dense_wants(c->node, 1)) TRY(dense_store(c, 1, ELEM_F32, t->rank, dims, mean));
    if (dense_wants(c->node, 2)) TRY(dense_store(c, 2, ELEM_F32, t->rank, dims, inverse));
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}

Status eval_rms_normalization(EvalCtx *c) {
    const Tensor *t = c->in[0];
    double *x, *scale, epsilon = (double)attr_float(c->node, "epsilon");
    int axis;
    int64_t period;
    TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
    TRY(read_broadcast(c, c->in[1], t->rank, t->dims, &scale, &period));
    TRY(dense_read(c, t, &x));
    int64_t rows = ref_product(t->dims, 0, axis), n = ref_product(t->dims, axis, t->rank);
    for (int64_t r = 0; r < rows; r++) {
        double squares = 0;
        for (int64_t i = r * n; i < (r + 1) * n; i++) squares += x[i] * x[i];
        double inverse = 1 / sqrt(squares / (double)n + epsilon);
        for (int64_t i = r * n; i < (r + 1) * n; i++) x[i] *= inverse * scale[i % period];
    }
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}

/* Instance and group normalization: statistics per (sample, group of channels), scale and bias per channel. */
static Status eval_groups(EvalCtx *c, int64_t groups) {
    const Tensor *t = c->in[0];
    double *x, *scale, *bias, epsilon = (double)attr_float(c->node, "epsilon");
    int64_t channels = t->dims[1], plane = ref_product(t->dims, 2, t->rank), batch = t->dims[0];
    if (groups < 1 || channels % groups != 0)
        return eval_error(c, STATUS_INVALID, "%lld groups do not divide %lld channels", (long long)groups,
                          (long long)channels);
    TRY(read_channels(c, 1, channels, &scale));
    TRY(read_channels(c, 2, channels, &bias));
    TRY(dense_read(c, t, &x));
    int64_t n = channels / groups * plane;
    for (int64_t g = 0; g < batch * groups; g++) {
        double mean, variance;
        moments(x + g * n, n, &mean, &variance);
        double inverse = 1 / sqrt(variance + epsilon);
        for (int64_t i = g * n; i < (g + 1) * n; i++) {
            int64_t ch = i / plane % channels;
            x[i] = (x[i] - mean) * inverse * scale[ch] + bias[ch];
        }
    }
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}

Status eval_instance_normalization(EvalCtx *c) {
    if (c->in[0]->rank < 2) return eval_error(c, STATUS_INVALID, "the input must have rank 2 or more");
    return eval_groups(c, c->in[0]->dims[1]);
}

Status eval_group_normalization(EvalCtx *c) {
    if (c->in[0]->rank < 2) return eval_error(c, STATUS_INVALID, "the input must have rank 2 or more");
    return eval_groups(c, attr_int(c->node, "num_groups"));
}

/* y = x / (bias + alpha / size * sum of squares over `size` neighbouring channels)^beta. */
Status eval_lrn(EvalCtx *c) {
    const Tensor *t = c->in[0];
    double *x, *y, alpha = (double)attr_float(c->node, "alpha"), beta = (double)attr_float(c->node, "beta");
    double bias = (double)attr_float(c->node, "bias");
    int64_t size = attr_int(c->node, "size");
    if (t->rank < 2 || size < 1) return eval_error(c, STATUS_INVALID, "rank 2 or more and a positive size are needed");
    int64_t channels = t->dims[1], plane = ref_product(t->dims, 2, t->rank);
    TRY(dense_read(c, t, &x));
    TRY(dense_f64(c, tensor_count(t), &y));
    for (int64_t i = 0; i < t->dims[0] * channels; i++) {
        int64_t ch = i % channels, base = (i - ch) * plane;
        int64_t before = (size - 1) / 2, after = size - 1 - before;
        int64_t lo = before > ch ? 0 : ch - before, hi = after >= channels - ch ? channels - 1 : ch + after;
        for (int64_t k = 0; k < plane; k++) {
            double squares = 0;
            for (int64_t j = lo; j <= hi; j++) squares += x[base + j * plane + k] * x[base + j * plane + k];
            y[i * plane + k] = x[i * plane + k] / pow(bias + alpha / (double)size * squares, beta);
        }
    }
    return dense_store(c, 0, t->elem, t->rank, t->dims, y);
}

/* x / (sum |x|^p)^(1/p) along one axis; a zero norm gives zeros. */
Status eval_lp_normalization(EvalCtx *c) {
    const Tensor *t = c->in[0];
    double *x;
    int axis;
    int64_t p = attr_int(c->node, "p");
    if (p != 1 && p != 2) return eval_error(c, STATUS_INVALID, "p must be 1 or 2, it is %lld", (long long)p);
    TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
    TRY(dense_read(c, t, &x));
    int64_t outer = ref_product(t->dims, 0, axis), n = t->dims[axis], inner = ref_product(t->dims, axis + 1, t->rank);
    for (int64_t s = 0; s < outer * inner; s++) {
        double *v = x + s / inner * n * inner + s % inner, norm = 0;
        for (int64_t i = 0; i < n; i++) norm += p == 1 ? fabs(v[i * inner]) : v[i * inner] * v[i * inner];
        if (p == 2) norm = sqrt(norm);
        for (int64_t i = 0; i < n; i++) v[i * inner] = norm == 0 ? 0 : v[i * inner] / norm;
    }
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}

/* (x - mean) / (deviation + 1e-9) over the axes (default 0, 2, 3). */
Status eval_mean_variance_normalization(EvalCtx *c) {
    const Tensor *t = c->in[0];
    int64_t n_axes, slots = 1, stride[MAX_RANK] = {0}, idx[MAX_RANK] = {0}, total = tensor_count(t);
    const int64_t deflt[] = {0, 2, 3}, *axes = attr_ints(c->node, "axes", &n_axes);
    bool reduced[MAX_RANK] = {false};
    double *x, *mean, *square;
    if (!axes) {
        axes = deflt;
        n_axes = 3;
    }
    for (int64_t i = 0; i < n_axes; i++) {
        int axis;
        TRY(ref_axis(c, axes[i], t->rank, &axis));
        reduced[axis] = true;
    }
    for (int i = t->rank - 1; i >= 0; i--) {
        stride[i] = reduced[i] ? 0 : slots;
        if (!reduced[i]) slots *= t->dims[i];
    }
    TRY(dense_read(c, t, &x));
    TRY(dense_f64(c, slots, &mean));
    TRY(dense_f64(c, slots, &square));
    double count = slots ? (double)(total / slots) : 0;
    for (int pass = 0; pass < 3; pass++) /* mean, then deviation, then the result */
        for (int64_t i = 0; i < total; i++, ref_next(t->rank, t->dims, idx)) {
            int64_t at = 0;
            for (int k = 0; k < t->rank; k++) at += idx[k] * stride[k];
            double d = x[i] - mean[at];
            if (pass == 0)
                mean[at] += x[i] / count;
            else if (pass == 1)
                square[at] += d * d / count;
            else
                x[i] = d / (sqrt(square[at]) + 1e-9);
        }
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}
