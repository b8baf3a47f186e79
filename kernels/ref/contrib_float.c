/* Fused float ops of the domain com.microsoft, which transformer exporters write: FusedMatMul, Gelu, BiasGelu,
 * FastGelu, QuickGelu, SkipLayerNormalization, SkipSimplifiedLayerNormalization, EmbedLayerNormalization; and
 * SimplifiedLayerNormalization, which the same tools write in the default domain. */
#include "kernels/ref/matmul.h"

#include <math.h>
#include <string.h>

/* ---- FusedMatMul ---- */

/* alpha * A' B' with the last two dims of A and B transposed on demand. */
Status infer_fused_matmul(InferCtx *c) {
    if (attr_int(c->node, "transBatchA") != 0 || attr_int(c->node, "transBatchB") != 0)
        return infer_error(c, STATUS_UNSUPPORTED, "transBatchA and transBatchB are not supported");
    if (attr_int(c->node, "transA") != 0 && infer_is_ranked(c, 0) && c->in[0]->rank > 1) {
        Type *swapped = arena_alloc(c->scratch, sizeof *swapped);
        TRY_ALLOC(swapped);
        *swapped = *c->in[0];
        swapped->dims[swapped->rank - 2] = c->in[0]->dims[swapped->rank - 1];
        swapped->dims[swapped->rank - 1] = c->in[0]->dims[swapped->rank - 2];
        c->in[0] = swapped;
    }
    return matmul_infer(c, 0, 1, attr_int(c->node, "transB") != 0, infer_elem(c, 0));
}

/* Reads input i; with `swap` its last two dims change places, in *t too. */
static Status read_swapped(const EvalCtx *c, int i, bool swap, Tensor *t, double **v) {
    *t = *c->in[i];
    TRY(dense_read(c, c->in[i], v));
    if (!swap || t->rank < 2) return NULL;
    int64_t rows = t->dims[t->rank - 2], cols = t->dims[t->rank - 1];
    TRY(dense_transpose(c, ref_product(t->dims, 0, t->rank - 2), rows, cols, *v, v));
    t->dims[t->rank - 2] = cols;
    t->dims[t->rank - 1] = rows;
    return NULL;
}

Status eval_fused_matmul(EvalCtx *c) {
    MatMulShape s;
    Tensor at, bt;
    double *a, *b, *y, alpha = (double)attr_float(c->node, "alpha");
    TRY(read_swapped(c, 0, attr_int(c->node, "transA") != 0, &at, &a));
    TRY(read_swapped(c, 1, attr_int(c->node, "transB") != 0, &bt, &b));
    TRY(matmul_shape(c, &at, &bt, false, &s));
    TRY(matmul_f64(c, &s, a, b, &y));
    int64_t n = s.batch * s.m * s.n;
    for (int64_t i = 0; i < n; i++) y[i] *= alpha;
    return dense_store(c, 0, at.elem, s.rank, s.dims, y);
}

/* ---- activations with an optional bias along the last axis ---- */

typedef double (*UnaryFn)(double x, double alpha);

static double gelu_erf(double x, double alpha) { return (void)alpha, 0.5 * x * (1 + erf(x / sqrt(2))); }
static double gelu_tanh(double x, double alpha) {
    return (void)alpha, 0.5 * x * (1 + tanh(0.797884560802865355 * (x + 0.044715 * x * x * x)));
}
static double gelu_sigmoid(double x, double alpha) { return x / (1 + exp(-alpha * x)); }

static Status eval_biased(EvalCtx *c, UnaryFn fn, double alpha) {
    const Tensor *t = c->in[0], *bt = dense_in(c, 1);
    double *x, *b = NULL;
    int64_t n = tensor_count(t), width = t->rank > 0 ? t->dims[t->rank - 1] : 1;
    if (bt && tensor_count(bt) != width)
        return eval_error(c, STATUS_INVALID, "the bias has %lld elements, the last dimension %lld",
                          (long long)tensor_count(bt), (long long)width);
    TRY(dense_read(c, t, &x));
    if (bt) TRY(dense_read(c, bt, &b));
    for (int64_t i = 0; i < n; i++) x[i] = fn(x[i] + (b ? b[i % width] : 0), alpha);
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}

Status eval_bias_gelu(EvalCtx *c) { return eval_biased(c, gelu_erf, 0); }
Status eval_fast_gelu(EvalCtx *c) { return eval_biased(c, gelu_tanh, 0); }
Status eval_quick_gelu(EvalCtx *c) { return eval_biased(c, gelu_sigmoid, (double)attr_float(c->node, "alpha")); }

/* ---- layer norms over the last axis ---- */

/* Normalizes rows of x in place: (x - mean) / deviation * gamma + beta; `rms`: no mean. beta, mean and inverse (one a
 * row) may be NULL. */
static void norm_rows(double *x, int64_t rows, int64_t n, bool rms, double epsilon, const double *gamma,
                      const double *beta, double *mean, double *inverse) {
    for (int64_t r = 0; r < rows; r++) {
        double *v = x + r * n, m = 0, square = 0;
        for (int64_t i = 0; i < n && !rms; i++) m += v[i] / (double)n;
        for (int64_t i = 0; i < n; i++) square += (v[i] - m) * (v[i] - m);
        double inv = 1 / sqrt(square / (double)n + epsilon);
        for (int64_t i = 0; i < n; i++) v[i] = (v[i] - m) * inv * gamma[i] + (beta ? beta[i] : 0);
        if (mean) mean[r] = m;
        if (inverse) inverse[r] = inv;
    }
}

/* Input i as n numbers, NULL when absent. */
static Status read_row(const EvalCtx *c, int i, int64_t n, double **v) {
    *v = NULL;
    const Tensor *t = dense_in(c, i);
    if (!t) return NULL;
    if (tensor_count(t) != n)
        return eval_error(c, STATUS_INVALID, "input %d has %lld elements, the last dimension %lld", i,
                          (long long)tensor_count(t), (long long)n);
    return dense_read(c, t, v);
}

Status infer_skip_norm(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    for (int o = 1; o < c->n_out; o++) infer_set_unranked(c, o, o == 3 ? e : ELEM_F32);
    if (infer_is_ranked(c, 0) && c->in[0]->rank > 0) {
        Type row = *c->in[0];
        row.dims[row.rank - 1] = 1;
        for (int o = 1; o < c->n_out; o++) infer_set(c, o, ELEM_F32, row.rank, row.dims);
        infer_set(c, 3, e, row.rank, c->in[0]->dims);
    }
    return infer_same(c);
}

/* Input + skip (+ bias), which output 3 shows, then the norm. Skip may lack or broadcast the batch. */
static Status eval_skip(EvalCtx *c, bool rms, int ibias) {
    const Tensor *t = c->in[0], *st = c->in[1];
    double *x, *skip, *gamma, *beta = NULL, *bias, *mean, *inverse;
    int64_t n = t->rank > 0 ? t->dims[t->rank - 1] : 0, total = tensor_count(t), period = tensor_count(st);
    if (n == 0 || period == 0 || total % period != 0 || st->rank == 0 || st->dims[st->rank - 1] != n)
        return eval_error(c, STATUS_INVALID, "input and skip do not fit each other");
    int64_t rows = total / n, dims[MAX_RANK];
    TRY(dense_read(c, t, &x));
    TRY(dense_read(c, st, &skip));
    TRY(read_row(c, 2, n, &gamma));
    if (!rms) TRY(read_row(c, 3, n, &beta));
    TRY(read_row(c, ibias, n, &bias));
    for (int64_t i = 0; i < total; i++) x[i] += skip[i % period] + (bias ? bias[i % n] : 0);
    if (dense_wants(c->node, 3)) TRY(dense_store(c, 3, t->elem, t->rank, t->dims, x));
    TRY(dense_f64(c, rows, &mean));
    TRY(dense_f64(c, rows, &inverse));
    norm_rows(x, rows, n, rms, (double)attr_float(c->node, "epsilon"), gamma, beta, mean, inverse);
    memcpy(dims, t->dims, sizeof dims);
    dims[t->rank - 1] = 1;
    if (dense_wants(c->node, 1)) TRY(dense_store(c, 1, ELEM_F32, t->rank, dims, mean));
    if (dense_wants(c->node, 2)) TRY(dense_store(c, 2, ELEM_F32, t->rank, dims, inverse));
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}

Status eval_skip_layer_normalization(EvalCtx *c) { return eval_skip(c, false, 4); }
Status eval_skip_simplified_layer_normalization(EvalCtx *c) { return eval_skip(c, true, 3); }

/* ---- EmbedLayerNormalization ---- */

enum {
    EMBED_IDS,
    EMBED_SEGMENTS,
    EMBED_WORDS,
    EMBED_PLACES,
    EMBED_SEGMENT_TABLE,
    EMBED_GAMMA,
    EMBED_BETA,
    EMBED_MASK,
    EMBED_PLACE_IDS
};

Status infer_embed_layer_normalization(InferCtx *c) {
    ElemType e = infer_elem(c, EMBED_WORDS);
    TRY(dense_need(c, 4, (const int[]){EMBED_WORDS, EMBED_PLACES, EMBED_GAMMA, EMBED_BETA}));
    bool known = infer_is_ranked(c, EMBED_IDS) && c->in[EMBED_IDS]->rank == 2;
    Dim batch = known ? c->in[EMBED_IDS]->dims[0] : infer_fresh(c),
        steps = known ? c->in[EMBED_IDS]->dims[1] : infer_fresh(c);
    bool table = infer_is_ranked(c, EMBED_WORDS) && c->in[EMBED_WORDS]->rank == 2;
    const Dim dims[3] = {batch, steps, table ? c->in[EMBED_WORDS]->dims[1] : infer_fresh(c)};
    infer_set(c, 0, e, 3, dims);
    infer_set(c, 1, ELEM_I32, 1, &batch);
    infer_set(c, 2, e, 3, dims);
    return NULL;
}

/* Adds row ids[t] (or t modulo `steps` without ids) of table input i to the embedding of each token t. */
static Status add_rows(EvalCtx *c, int i, const int64_t *ids, int64_t tokens, int64_t steps, int64_t n, double *x) {
    const Tensor *table = c->in[i];
    double *v;
    if (table->rank != 2 || table->dims[1] != n)
        return eval_error(c, STATUS_INVALID, "table %d must be [rows, %lld]", i, (long long)n);
    TRY(dense_read(c, table, &v));
    for (int64_t t = 0; t < tokens; t++) {
        int64_t row = ids ? ids[t] : t % steps;
        if (row < 0 || row >= table->dims[0])
            return eval_error(c, STATUS_INVALID, "index %lld is outside table %d", (long long)row, i);
        for (int64_t k = 0; k < n; k++) x[t * n + k] += v[row * n + k];
    }
    return NULL;
}

/* The number of leading tokens that count, per sample; zeros without a mask. */
static Status store_mask_index(EvalCtx *c, int64_t batch, int64_t steps) {
    if (!dense_wants(c->node, 1)) return NULL;
    int64_t *mask, n;
    double *count;
    TRY(ref_ints(c, EMBED_MASK, &mask, &n));
    if (mask && n != batch * steps) return eval_error(c, STATUS_INVALID, "the mask does not fit the ids");
    TRY(dense_f64(c, batch, &count));
    for (int64_t i = 0; mask && i < n; i++) count[i / steps] += mask[i] == 1;
    return dense_store(c, 1, ELEM_I32, 1, &batch, count);
}

Status eval_embed_layer_normalization(EvalCtx *c) {
    const Tensor *ids_t = c->in[EMBED_IDS], *words = c->in[EMBED_WORDS];
    int64_t *ids, *segments, *places, n_ids, n_segments, n_places;
    double *x, *gamma, *beta;
    if (ids_t->rank != 2 || words->rank != 2) return eval_error(c, STATUS_INVALID, "ids and tables must have rank 2");
    int64_t batch = ids_t->dims[0], steps = ids_t->dims[1], n = words->dims[1], dims[3] = {batch, steps, n};
    TRY(ref_ints(c, EMBED_IDS, &ids, &n_ids));
    TRY(ref_ints(c, EMBED_SEGMENTS, &segments, &n_segments));
    TRY(ref_ints(c, EMBED_PLACE_IDS, &places, &n_places));
    if ((segments && n_segments != n_ids) || (places && n_places != n_ids && n_places != steps))
        return eval_error(c, STATUS_INVALID, "segment or position ids do not fit the ids");
    TRY(dense_f64(c, n_ids * n, &x));
    TRY(add_rows(c, EMBED_WORDS, ids, n_ids, steps, n, x));
    for (int64_t t = 0; places && n_places != n_ids && t < n_ids; t += steps) /* one set for all samples */
        TRY(add_rows(c, EMBED_PLACES, places, steps, steps, n, x + t * n));
    if (!places || n_places == n_ids) TRY(add_rows(c, EMBED_PLACES, places, n_ids, steps, n, x));
    if (segments && dense_in(c, EMBED_SEGMENT_TABLE))
        TRY(add_rows(c, EMBED_SEGMENT_TABLE, segments, n_ids, steps, n, x));
    TRY(read_row(c, EMBED_GAMMA, n, &gamma));
    TRY(read_row(c, EMBED_BETA, n, &beta));
    if (dense_wants(c->node, 2)) TRY(dense_store(c, 2, words->elem, 3, dims, x));
    norm_rows(x, n_ids, n, false, (double)attr_float(c->node, "epsilon"), gamma, beta, NULL, NULL);
    TRY(store_mask_index(c, batch, steps));
    return dense_store(c, 0, words->elem, 3, dims, x);
}

/* ---- SimplifiedLayerNormalization ---- */

Status eval_simplified_layer_normalization(EvalCtx *c) {
    const Tensor *t = c->in[0];
    double *x, *scale, *inverse;
    int axis;
    int64_t dims[MAX_RANK];
    TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
    int64_t rows = ref_product(t->dims, 0, axis), n = ref_product(t->dims, axis, t->rank);
    TRY(dense_read(c, t, &x));
    TRY(read_row(c, 1, n, &scale));
    TRY(dense_f64(c, rows, &inverse));
    norm_rows(x, rows, n, true, (double)attr_float(c->node, "epsilon"), scale, NULL, NULL, inverse);
    for (int i = 0; i < t->rank; i++) dims[i] = i < axis ? t->dims[i] : 1;
    if (dense_wants(c->node, 1)) TRY(dense_store(c, 1, ELEM_F32, t->rank, dims, inverse));
    return dense_store(c, 0, t->elem, t->rank, t->dims, x);
}
