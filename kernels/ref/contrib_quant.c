/* Quantized ops of the domain com.microsoft, which quantizers write: QLinearAdd, QLinearMul, QLinearSigmoid,
 * QLinearLeakyRelu, QLinearSoftmax, QLinearAveragePool, QLinearGlobalAveragePool, QLinearConcat, QGemm,
 * DynamicQuantizeMatMul, MatMulIntegerToFloat, MatMulNBits. Values follow the real numbers: dequantize, compute,
 * quantize. */
#include "kernels/ref/pool.h"
#include "kernels/ref/quant.h"
#include "kernels/ref/requant.h"

#include <math.h>
#include <string.h>

/* ---- elementwise ---- */

Status infer_qlinear_binary(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    TRY(dense_need(c, 3, (const int[]){3, 4, 6}));
    if (!infer_is_ranked(c, 0) || !infer_is_ranked(c, 3)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    int rank;
    Dim dims[MAX_RANK];
    TRY(infer_broadcast(c, c->in[0], c->in[3], &rank, dims));
    infer_set(c, 0, e, rank, dims);
    return NULL;
}

typedef struct RealBinary {
    double a_scale, a_zero, b_scale, b_zero;
    QuantOut out;
} RealBinary;

static void real_add(const void *const *x, void *y, int64_t n, const void *param) {
    const RealBinary *p = param;
    const double *a = x[0], *b = x[1];
    for (int64_t i = 0; i < n; i++)
        ((double *)y)[i] = quant_code(&p->out, (a[i] - p->a_zero) * p->a_scale + (b[i] - p->b_zero) * p->b_scale);
}

static void real_mul(const void *const *x, void *y, int64_t n, const void *param) {
    const RealBinary *p = param;
    const double *a = x[0], *b = x[1];
    for (int64_t i = 0; i < n; i++)
        ((double *)y)[i] = quant_code(&p->out, (a[i] - p->a_zero) * p->a_scale * ((b[i] - p->b_zero) * p->b_scale));
}

static Status eval_real_binary(EvalCtx *c, RefFn fn) {
    RealBinary p = {0};
    TRY(quant_scalar(c, 1, 1, &p.a_scale));
    TRY(quant_scalar(c, 2, 0, &p.a_zero));
    TRY(quant_scalar(c, 4, 1, &p.b_scale));
    TRY(quant_scalar(c, 5, 0, &p.b_zero));
    TRY(quant_out(c, 6, 7, c->in[0]->elem, &p.out));
    RefMap m = {2, {c->in[0], c->in[3]}, CLASS_F64, CLASS_F64, p.out.e, fn, &p};
    return ref_map(c, &m);
}

Status eval_qlinear_add(EvalCtx *c) { return eval_real_binary(c, real_add); }
Status eval_qlinear_mul(EvalCtx *c) { return eval_real_binary(c, real_mul); }

/* ---- one input: x, x_scale, x_zero, y_scale, y_zero ---- */

Status infer_qlinear_unary(InferCtx *c) {
    TRY(dense_need(c, 1, (const int[]){3}));
    return infer_same(c);
}

/* Real values of input 0, and the output's quantization. */
static Status read_real(const EvalCtx *c, QuantOut *out, double **x) {
    double scale, zero;
    TRY(quant_scalar(c, 1, 1, &scale));
    TRY(quant_scalar(c, 2, 0, &zero));
    TRY(quant_out(c, 3, 4, c->in[0]->elem, out));
    TRY(dense_read_minus(c, c->in[0], zero, x));
    int64_t n = tensor_count(c->in[0]);
    for (int64_t i = 0; i < n; i++) (*x)[i] *= scale;
    return NULL;
}

static Status store_real(EvalCtx *c, const QuantOut *out, int rank, const int64_t *dims, double *v) {
    int64_t n = ref_product(dims, 0, rank);
    for (int64_t i = 0; i < n; i++) v[i] = quant_code(out, v[i]);
    return dense_store(c, 0, out->e, rank, dims, v);
}

Status eval_qlinear_sigmoid(EvalCtx *c) {
    QuantOut out;
    double *x;
    TRY(read_real(c, &out, &x));
    int64_t n = tensor_count(c->in[0]);
    for (int64_t i = 0; i < n; i++) x[i] = 1 / (1 + exp(-x[i]));
    return store_real(c, &out, c->in[0]->rank, c->in[0]->dims, x);
}

Status eval_qlinear_leaky_relu(EvalCtx *c) {
    QuantOut out;
    double *x, alpha = (double)attr_float(c->node, "alpha");
    TRY(read_real(c, &out, &x));
    int64_t n = tensor_count(c->in[0]);
    for (int64_t i = 0; i < n; i++) x[i] = x[i] < 0 ? alpha * x[i] : x[i];
    return store_real(c, &out, c->in[0]->rank, c->in[0]->dims, x);
}

/* Before opset 13 a softmax runs over all axes from `axis` on. */
Status eval_qlinear_softmax(EvalCtx *c) {
    const Tensor *t = c->in[0];
    QuantOut out;
    double *x;
    int axis;
    TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
    TRY(read_real(c, &out, &x));
    bool flat = attr_int(c->node, "opset") < 13;
    int64_t outer = ref_product(t->dims, 0, axis), n = ref_product(t->dims, axis, flat ? t->rank : axis + 1);
    int64_t inner = flat ? 1 : ref_product(t->dims, axis + 1, t->rank);
    for (int64_t s = 0; s < outer * inner; s++) {
        double *v = x + s / inner * n * inner + s % inner, top = (double)-INFINITY, sum = 0;
        for (int64_t i = 0; i < n; i++) top = fmax(top, v[i * inner]);
        for (int64_t i = 0; i < n; i++) sum += v[i * inner] = exp(v[i * inner] - top);
        for (int64_t i = 0; i < n; i++) v[i * inner] /= sum;
    }
    return store_real(c, &out, t->rank, t->dims, x);
}

static Status channels_first(const InferCtx *c) {
    if (attr_int(c->node, "channels_last") == 0) return NULL;
    return infer_error(c, STATUS_UNSUPPORTED, "channels_last is not supported");
}

Status infer_qlinear_pool(InferCtx *c) {
    TRY(channels_first(c));
    TRY(dense_need(c, 1, (const int[]){3}));
    return pool_infer(c, infer_elem(c, 0), ELEM_UNDEFINED);
}

Status infer_qlinear_global_pool(InferCtx *c) {
    TRY(channels_first(c));
    return pool_infer_global(c, infer_elem(c, 0));
}

Status eval_qlinear_average_pool(EvalCtx *c) {
    Pool p;
    QuantOut out;
    double *y, scale, zero;
    int64_t *counts;
    TRY(quant_scalar(c, 1, 1, &scale));
    TRY(quant_scalar(c, 2, 0, &zero));
    TRY(quant_out(c, 3, 4, c->in[0]->elem, &out));
    TRY(pool_sums(c, zero, attr_int(c->node, "count_include_pad") != 0, &p, &y, &counts));
    int64_t plane = ref_product(p.out, 0, MAX_SPATIAL);
    for (int64_t i = 0; i < p.planes * plane; i++) y[i] = y[i] * scale / (double)counts[i % plane];
    return store_real(c, &out, p.rank, p.dims, y);
}

Status eval_qlinear_global_average_pool(EvalCtx *c) {
    const Tensor *t = c->in[0];
    QuantOut out;
    double *x, *y;
    if (t->rank < 2) return eval_error(c, STATUS_INVALID, "the input must have rank 2 or more, it has %d", t->rank);
    TRY(read_real(c, &out, &x));
    int64_t dims[MAX_RANK] = {t->dims[0], t->dims[1]}, n = ref_product(t->dims, 2, t->rank), planes = dims[0] * dims[1];
    for (int i = 2; i < t->rank; i++) dims[i] = 1;
    TRY(dense_f64(c, planes, &y));
    for (int64_t i = 0; i < planes; i++) {
        for (int64_t k = 0; k < n; k++) y[i] += x[i * n + k];
        y[i] /= (double)n;
    }
    return store_real(c, &out, t->rank, dims, y);
}

/* ---- QLinearConcat: y_scale, y_zero, then x, scale, zero of each part ---- */

Status infer_qlinear_concat(InferCtx *c) {
    ElemType e = infer_elem(c, 1);
    Type t = {.kind = TYPE_UNKNOWN};
    int axis = 0;
    if (c->n_in % 3 != 2) return infer_error(c, STATUS_INVALID, "inputs must come in threes after the first two");
    for (int i = 2; i < c->n_in; i += 3) {
        if (!infer_is_ranked(c, i)) {
            infer_set_unranked(c, 0, e);
            return NULL;
        }
        if (t.kind == TYPE_UNKNOWN) {
            t = *c->in[i];
            TRY(infer_axis(c, attr_int(c->node, "axis"), t.rank, &axis));
        } else if (c->in[i]->rank != t.rank) {
            return infer_error(c, STATUS_INVALID, "the parts have different ranks");
        } else {
            t.dims[axis] = infer_dim_op(c, SYM_ADD, t.dims[axis], c->in[i]->dims[axis]);
        }
    }
    infer_set(c, 0, e, t.rank, t.dims);
    return NULL;
}

/* Copies one part to its place along the axis. */
static Status concat_part(const EvalCtx *c, int i, int axis, const QuantOut *out, const int64_t *dims, int64_t at,
                          double *y) {
    const Tensor *t = c->in[i];
    double *x, scale, zero;
    TRY(quant_scalar(c, i + 1, 1, &scale));
    TRY(quant_scalar(c, i + 2, 0, &zero));
    TRY(dense_read_minus(c, t, zero, &x));
    int64_t outer = ref_product(t->dims, 0, axis), n = ref_product(t->dims, axis, t->rank);
    int64_t inner = ref_product(t->dims, axis + 1, t->rank), row = dims[axis] * inner;
    for (int64_t k = 0; k < outer * n; k++) y[k / n * row + at * inner + k % n] = quant_code(out, x[k] * scale);
    return NULL;
}

Status eval_qlinear_concat(EvalCtx *c) {
    QuantOut out;
    int64_t dims[MAX_RANK] = {0}, at = 0;
    double *y;
    int axis = 0, rank = 0;
    TRY(quant_out(c, 0, 1, ELEM_U8, &out));
    for (int i = 2; i < c->n_in; i += 3) {
        const Tensor *t = c->in[i];
        bool first = i == 2;
        if (!t || c->n_in % 3 != 2)
            return eval_error(c, STATUS_INVALID, "inputs must come in threes after the first two");
        if (first) {
            TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
            rank = t->rank;
            memcpy(dims, t->dims, sizeof dims);
            continue;
        }
        bool fits = t->rank == rank;
        for (int k = 0; k < rank && fits; k++) fits = k == axis || t->dims[k] == dims[k];
        if (!fits) return eval_error(c, STATUS_INVALID, "the parts differ outside the axis");
        dims[axis] += t->dims[axis];
    }
    TRY(dense_f64(c, ref_product(dims, 0, rank), &y));
    for (int i = 2; i < c->n_in; at += c->in[i]->dims[axis], i += 3) TRY(concat_part(c, i, axis, &out, dims, at, y));
    return dense_store(c, 0, out.e, rank, dims, y);
}

/* ---- matrix products ---- */

Status infer_matmul_to_float(InferCtx *c) { return matmul_infer(c, 0, 1, false, ELEM_F32); }

/* Product of codes a (scale per row 1) and b (per column), with float output and bias. */
static Status store_float_product(EvalCtx *c, const MatMulShape *s, double *y, const double *as, int64_t a_step,
                                  const double *bs, int64_t b_step, int ibias) {
    double *bias = NULL;
    int64_t idx[MAX_RANK] = {0};
    if (dense_in(c, ibias)) TRY(quant_spread(c, ibias, s->n, 0, &bias));
    for (int64_t i = 0; i < s->batch; i++, ref_next(s->batch_rank, s->batch_dims, idx)) {
        const double *sa = as + matmul_matrix(s, s->a_stride, idx) * a_step;
        const double *sb = bs + matmul_matrix(s, s->b_stride, idx) * b_step;
        for (int64_t k = 0; k < s->m * s->n; k++) {
            double *v = &y[i * s->m * s->n + k];
            *v = *v * sa[k / s->n] * sb[k % s->n] + (bias ? bias[k % s->n] : 0);
        }
    }
    return dense_store(c, 0, ELEM_F32, s->rank, s->dims, y);
}

/* A, B, a_scale, b_scale, a_zero, b_zero, bias */
Status eval_matmul_integer_to_float(EvalCtx *c) {
    MatMulShape s;
    double *y, *as, *bs;
    int64_t a_step, b_step;
    TRY(quant_matmul(c, 0, 1, 4, 5, &s, &y));
    TRY(quant_matrix(c, 2, s.a_count, s.m, 1, &as, &a_step));
    TRY(quant_matrix(c, 3, s.b_count, s.n, 1, &bs, &b_step));
    return store_float_product(c, &s, y, as, a_step, bs, b_step, 6);
}

/* A (float), B, b_scale, b_zero, bias */
Status eval_dynamic_quantize_matmul(EvalCtx *c) {
    MatMulShape s;
    double *a, *b, *bz, *bs, *y, scale, zero, *as;
    int64_t z_step, b_step;
    TRY(matmul_shape(c, c->in[0], c->in[1], false, &s));
    TRY(dense_read(c, c->in[0], &a));
    TRY(dense_read(c, c->in[1], &b));
    TRY(quant_matrix(c, 2, s.b_count, s.n, 1, &bs, &b_step));
    TRY(quant_matrix(c, 3, s.b_count, s.n, 0, &bz, &z_step));
    int64_t na = tensor_count(c->in[0]), nb = s.b_count * s.k * s.n;
    quant_dynamic(a, na, &scale, &zero);
    for (int64_t i = 0; i < na; i++) a[i] -= zero;
    for (int64_t i = 0; i < nb; i++) b[i] -= bz[i / (s.k * s.n) * z_step + i % s.n];
    TRY(dense_f64(c, s.m, &as));
    for (int64_t i = 0; i < s.m; i++) as[i] = scale;
    TRY(matmul_f64(c, &s, a, b, &y));
    return store_float_product(c, &s, y, as, 0, bs, b_step, 4);
}

/* A, a_scale, a_zero, B, b_scale, b_zero, C (int32), y_scale, y_zero; float output without y_zero. */
Status infer_qgemm(InferCtx *c) {
    ElemType e = infer_is_tensor(c, 8) ? c->in[8]->elem : ELEM_F32;
    bool trans_a = attr_int(c->node, "transA") != 0, trans_b = attr_int(c->node, "transB") != 0;
    bool known_a = infer_is_ranked(c, 0) && c->in[0]->rank == 2, known_b = infer_is_ranked(c, 3) && c->in[3]->rank == 2;
    const Dim dims[2] = {known_a ? c->in[0]->dims[trans_a] : infer_fresh(c),
                         known_b ? c->in[3]->dims[!trans_b] : infer_fresh(c)};
    infer_set(c, 0, e, 2, dims);
    return NULL;
}

Status eval_qgemm(EvalCtx *c) {
    const Tensor *at = c->in[0], *bt = c->in[3];
    double *a, *b, *bz, *bs, *y, *add = NULL, a_scale, a_zero, alpha = (double)attr_float(c->node, "alpha");
    if (at->rank != 2 || bt->rank != 2) return eval_error(c, STATUS_INVALID, "A and B must have rank 2");
    int trans_a = attr_int(c->node, "transA") != 0, trans_b = attr_int(c->node, "transB") != 0;
    int64_t m = at->dims[trans_a], k = at->dims[!trans_a], n = bt->dims[!trans_b], dims[2] = {m, n};
    if (bt->dims[trans_b] != k) return eval_error(c, STATUS_INVALID, "the inner dims of A and B differ");
    TRY(quant_scalar(c, 1, 1, &a_scale));
    TRY(quant_scalar(c, 2, 0, &a_zero));
    TRY(quant_spread(c, 4, n, 1, &bs));
    TRY(quant_spread(c, 5, n, 0, &bz));
    TRY(dense_read_minus(c, at, a_zero, &a));
    TRY(dense_read(c, bt, &b));
    if (trans_a) TRY(dense_transpose(c, 1, at->dims[0], at->dims[1], a, &a));
    if (trans_b) TRY(dense_transpose(c, 1, bt->dims[0], bt->dims[1], b, &b));
    for (int64_t i = 0; i < k * n; i++) b[i] -= bz[i % n];
    if (dense_in(c, 6)) TRY(quant_spread(c, 6, n, 0, &add));
    TRY(dense_f64(c, m * n, &y));
    dense_matmul(m, n, k, a, b, y);
    for (int64_t i = 0; i < m * n; i++) y[i] = (y[i] + (add ? add[i % n] : 0)) * alpha * a_scale * bs[i % n];
    if (!dense_in(c, 8)) return dense_store(c, 0, ELEM_F32, 2, dims, y);
    QuantOut out;
    TRY(quant_out(c, 7, 8, ELEM_U8, &out));
    return store_real(c, &out, 2, dims, y);
}

/* ---- MatMulNBits: A [..,K] times packed B [N, blocks, bytes] ---- */

Status infer_matmul_nbits(InferCtx *c) {
    int64_t n = attr_int(c->node, "N");
    if (n < 1) return infer_error(c, STATUS_INVALID, "N must be positive");
    TRY(infer_same(c));
    if (infer_is_ranked(c, 0) && c->in[0]->rank > 0) c->out[0].dims[c->in[0]->rank - 1] = n;
    return NULL;
}

typedef struct NBits {
    int64_t k, n, bits, block, blocks, blob,
        zero_bytes; /* blob: bytes of a block; zero_bytes: of a row's zero points */
} NBits;

static Status nbits_open(const EvalCtx *c, NBits *q) {
    const Tensor *a = c->in[0];
    q->k = attr_int(c->node, "K");
    q->n = attr_int(c->node, "N");
    q->bits = attr_int(c->node, "bits");
    q->block = attr_int(c->node, "block_size");
    bool fits = (q->bits == 2 || q->bits == 4 || q->bits == 8) && q->block >= 16 && q->block <= 1 << 20 &&
                q->block % 16 == 0 && q->k >= 1 && q->k <= INT32_MAX && q->n >= 1 && q->n <= INT32_MAX;
    if (!fits) return eval_error(c, STATUS_UNSUPPORTED, "2, 4 or 8 bits and blocks of a multiple of 16 are supported");
    q->blocks = (q->k + q->block - 1) / q->block;
    q->blob = q->block * q->bits / 8;
    q->zero_bytes = (q->blocks * q->bits + 7) / 8;
    const Tensor *zero = dense_in(c, 3);
    fits = a->rank > 0 && a->dims[a->rank - 1] == q->k && tensor_count(c->in[1]) == q->n * q->blocks * q->blob &&
           c->in[1]->elem == ELEM_U8 && tensor_count(c->in[2]) == q->n * q->blocks;
    fits = fits && (!zero || tensor_count(zero) == q->n * (zero->elem == ELEM_U8 ? q->zero_bytes : q->blocks));
    return fits ? NULL
                : eval_error(c, STATUS_INVALID, "A, packed B, scales and zero points do not fit K, N and block_size");
}

static double bits_at(const uint8_t *bytes, int64_t i, int64_t bits) {
    int64_t per = 8 / bits;
    return (bytes[i / per] >> (i % per * bits)) & ((1 << bits) - 1);
}

Status eval_matmul_nbits(EvalCtx *c) {
    const Tensor *at = c->in[0], *packed = c->in[1], *zero = dense_in(c, 3);
    NBits q;
    double *a, *b, *y, *scale, *zeros = NULL, *bias = NULL;
    int64_t dims[MAX_RANK];
    if (dense_in(c, 4)) return eval_error(c, STATUS_UNSUPPORTED, "g_idx is not supported");
    TRY(nbits_open(c, &q));
    TRY(dense_read(c, at, &a));
    TRY(dense_read(c, c->in[2], &scale));
    if (zero && zero->elem != ELEM_U8) TRY(dense_read(c, zero, &zeros));
    if (dense_in(c, 5)) TRY(quant_spread(c, 5, q.n, 0, &bias));
    int64_t rows = tensor_count(at) / q.k;
    TRY(dense_f64(c, q.k * q.n, &b)); /* [k, n] */
    for (int64_t n = 0; n < q.n; n++)
        for (int64_t k = 0; k < q.k; k++) {
            int64_t block = k / q.block, at_block = n * q.blocks + block;
            double z = (double)(1 << (q.bits - 1));
            if (zeros)
                z = zeros[at_block];
            else if (zero)
                z = bits_at(zero->data + n * q.zero_bytes, block, q.bits);
            b[k * q.n + n] = (bits_at(packed->data + at_block * q.blob, k % q.block, q.bits) - z) * scale[at_block];
        }
    TRY(dense_f64(c, rows * q.n, &y));
    dense_matmul(rows, q.n, q.k, a, b, y);
    for (int64_t i = 0; bias && i < rows * q.n; i++) y[i] += bias[i % q.n];
    memcpy(dims, at->dims, sizeof dims);
    dims[at->rank - 1] = q.n;
    return dense_store(c, 0, at->elem, at->rank, dims, y);
}
