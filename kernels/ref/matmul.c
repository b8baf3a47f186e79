/* MatMul and Gemm. */
#include "kernels/ref/matmul.h"

#include <string.h>

/* ---- shape rules ---- */

/* The last two dims as numpy.matmul sees them: a vector is a row on the left, a column on the right. */
static void matrix_dims(const int64_t *dims, int rank, bool left, bool transposed, int64_t *rows, int64_t *cols) {
    *rows = rank > 1 ? dims[rank - 2] : left ? 1 : dims[0];
    *cols = rank > 1 ? dims[rank - 1] : left ? dims[0] : 1;
    if (transposed && rank > 1) {
        int64_t swap = *rows;
        *rows = *cols;
        *cols = swap;
    }
}

Status matmul_infer(InferCtx *c, int ia, int ib, bool trans_b, ElemType e) {
    const Type *a = dense_in_type(c, ia), *b = dense_in_type(c, ib);
    if (!infer_is_ranked(c, ia) || !infer_is_ranked(c, ib)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    if (a->rank < 1 || b->rank < 1) return infer_error(c, STATUS_INVALID, "a scalar has no matrix product");
    Dim m, k, k2, n, dims[MAX_RANK];
    matrix_dims(a->dims, a->rank, true, false, &m, &k);
    matrix_dims(b->dims, b->rank, false, trans_b, &k2, &n);
    if (!DIM_IS_SYM(k) && !DIM_IS_SYM(k2) && k != k2)
        return infer_error(c, STATUS_INVALID, "the inner dims differ: %lld and %lld", (long long)k, (long long)k2);
    Type ba = type_tensor(a->elem, a->rank > 2 ? a->rank - 2 : 0, a->dims);
    Type bb = type_tensor(b->elem, b->rank > 2 ? b->rank - 2 : 0, b->dims);
    int rank;
    TRY(infer_broadcast(c, &ba, &bb, &rank, dims));
    if (a->rank > 1) dims[rank++] = m;
    if (b->rank > 1) dims[rank++] = n;
    infer_set(c, 0, e, rank, dims);
    return NULL;
}

Status infer_matmul(InferCtx *c) { return matmul_infer(c, 0, 1, false, infer_elem(c, 0)); }

Status infer_gemm(InferCtx *c) {
    const Type *a = dense_in_type(c, 0), *b = dense_in_type(c, 1);
    bool trans_a = attr_int(c->node, "transA") != 0, trans_b = attr_int(c->node, "transB") != 0;
    if ((infer_is_ranked(c, 0) && a->rank != 2) || (infer_is_ranked(c, 1) && b->rank != 2))
        return infer_error(c, STATUS_INVALID, "A and B must have rank 2");
    Dim dims[2], k = sym_fresh(c->g->syms), k2 = k;
    if (infer_is_ranked(c, 0))
        matrix_dims(a->dims, 2, true, trans_a, &dims[0], &k);
    else
        dims[0] = sym_fresh(c->g->syms);
    if (infer_is_ranked(c, 1))
        matrix_dims(b->dims, 2, false, trans_b, &k2, &dims[1]);
    else
        dims[1] = sym_fresh(c->g->syms);
    if (!DIM_IS_SYM(k) && !DIM_IS_SYM(k2) && k != k2)
        return infer_error(c, STATUS_INVALID, "the inner dims of A and B differ: %lld and %lld", (long long)k,
                           (long long)k2);
    infer_set(c, 0, infer_elem(c, 0), 2, dims);
    return NULL;
}

/* ---- values ---- */

/* Broadcasts the leading dims and counts the matrices. */
static Status batch_shape(const EvalCtx *c, const Tensor *a, const Tensor *b, MatMulShape *s) {
    int ra = a->rank > 2 ? a->rank - 2 : 0, rb = b->rank > 2 ? b->rank - 2 : 0;
    Tensor ba = {.elem = a->elem, .rank = ra}, bb = {.elem = b->elem, .rank = rb};
    memcpy(ba.dims, a->dims, (size_t)ra * sizeof *ba.dims);
    memcpy(bb.dims, b->dims, (size_t)rb * sizeof *bb.dims);
    const Tensor *both[2] = {&ba, &bb};
    TRY(ref_broadcast(c, 2, both, &s->batch_rank, s->batch_dims));
    ref_broadcast_strides(&ba, s->batch_rank, s->batch_dims, s->a_stride);
    ref_broadcast_strides(&bb, s->batch_rank, s->batch_dims, s->b_stride);
    s->batch = ref_product(s->batch_dims, 0, s->batch_rank);
    s->a_count = ref_product(ba.dims, 0, ra);
    s->b_count = ref_product(bb.dims, 0, rb);
    return NULL;
}

Status matmul_shape(const EvalCtx *c, const Tensor *a, const Tensor *b, bool trans_b, MatMulShape *s) {
    memset(s, 0, sizeof *s);
    if (a->rank < 1 || b->rank < 1) return eval_error(c, STATUS_INVALID, "a scalar has no matrix product");
    int64_t k2;
    matrix_dims(a->dims, a->rank, true, false, &s->m, &s->k);
    matrix_dims(b->dims, b->rank, false, trans_b, &k2, &s->n);
    if (k2 != s->k)
        return eval_error(c, STATUS_INVALID, "the inner dims differ: %lld and %lld", (long long)s->k, (long long)k2);
    TRY(batch_shape(c, a, b, s));
    s->rank = s->batch_rank;
    memcpy(s->dims, s->batch_dims, (size_t)s->rank * sizeof *s->dims);
    if (a->rank > 1) s->dims[s->rank++] = s->m;
    if (b->rank > 1) s->dims[s->rank++] = s->n;
    return NULL;
}

int64_t matmul_matrix(const MatMulShape *s, const int64_t *stride, const int64_t *idx) {
    int64_t at = 0;
    for (int i = 0; i < s->batch_rank; i++) at += stride[i] * idx[i];
    return at;
}

static Status output_size(const EvalCtx *c, const MatMulShape *s, int64_t *count) {
    if (__builtin_mul_overflow(s->batch, s->m, count) || __builtin_mul_overflow(*count, s->n, count))
        return eval_error(c, STATUS_INVALID, "the output is too large");
    return NULL;
}

Status matmul_f64(const EvalCtx *c, const MatMulShape *s, const double *a, const double *b, double **y) {
    int64_t count, idx[MAX_RANK] = {0};
    TRY(output_size(c, s, &count));
    TRY(dense_f64(c, count, y));
    for (int64_t i = 0; i < s->batch; i++, ref_next(s->batch_rank, s->batch_dims, idx))
        dense_matmul(s->m, s->n, s->k, a + matmul_matrix(s, s->a_stride, idx) * s->m * s->k,
                     b + matmul_matrix(s, s->b_stride, idx) * s->k * s->n, *y + i * s->m * s->n);
    return NULL;
}

/* Wide integers do not fit a double; unsigned arithmetic wraps as the stored type does. */
static void matmul_wrap(int64_t m, int64_t n, int64_t k, const int64_t *a, const int64_t *b, int64_t *y) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t p = 0; p < k; p++)
            for (int64_t j = 0; j < n; j++) {
                uint64_t sum = (uint64_t)y[i * n + j] + (uint64_t)a[i * k + p] * (uint64_t)b[p * n + j];
                y[i * n + j] = (int64_t)sum;
            }
}

static Status eval_matmul_integers(EvalCtx *c, const MatMulShape *s) {
    int64_t *a, *b, *y, count, idx[MAX_RANK] = {0};
    TRY(output_size(c, s, &count));
    TRY_ALLOC(a = ref_read_i64(c->scratch, c->in[0]));
    TRY_ALLOC(b = ref_read_i64(c->scratch, c->in[1]));
    TRY_ALLOC(y = ARENA_ARRAY(c->scratch, int64_t, count));
    for (int64_t i = 0; i < s->batch; i++, ref_next(s->batch_rank, s->batch_dims, idx))
        matmul_wrap(s->m, s->n, s->k, a + matmul_matrix(s, s->a_stride, idx) * s->m * s->k,
                    b + matmul_matrix(s, s->b_stride, idx) * s->k * s->n, y + i * s->m * s->n);
    Tensor out;
    TRY(ref_output(c, 0, c->in[0]->elem, s->rank, s->dims, &out));
    ref_store(&out, CLASS_I64, 0, count, y);
    return NULL;
}

Status eval_matmul(EvalCtx *c) {
    MatMulShape s;
    double *a, *b, *y;
    TRY(ref_numeric_only(c));
    TRY(matmul_shape(c, c->in[0], c->in[1], false, &s));
    if (elem_is_int(c->in[0]->elem)) return eval_matmul_integers(c, &s);
    TRY(dense_read(c, c->in[0], &a));
    TRY(dense_read(c, c->in[1], &b));
    TRY(matmul_f64(c, &s, a, b, &y));
    return dense_store(c, 0, c->in[0]->elem, s.rank, s.dims, y);
}

/* y = alpha * A' B' + beta * C, C broadcast to [m,n]. */
Status eval_gemm(EvalCtx *c) {
    const Tensor *at = c->in[0], *bt = c->in[1], *ct = dense_in(c, 2);
    double *a, *b, *y, *bias = NULL;
    TRY(ref_numeric_only(c));
    if (at->rank != 2 || bt->rank != 2) return eval_error(c, STATUS_INVALID, "A and B must have rank 2");
    bool trans_a = attr_int(c->node, "transA") != 0, trans_b = attr_int(c->node, "transB") != 0;
    int64_t m, k, k2, n;
    matrix_dims(at->dims, 2, true, trans_a, &m, &k);
    matrix_dims(bt->dims, 2, false, trans_b, &k2, &n);
    if (k != k2)
        return eval_error(c, STATUS_INVALID, "the inner dims of A and B differ: %lld and %lld", (long long)k,
                          (long long)k2);
    int64_t dims[2] = {m, n}, count, stride[MAX_RANK] = {0};
    if (__builtin_mul_overflow(m, n, &count)) return eval_error(c, STATUS_INVALID, "the output is too large");
    if (ct) {
        bool fits = ct->rank <= 2;
        for (int i = 0; i < ct->rank && fits; i++) fits = ct->dims[i] == 1 || ct->dims[i] == dims[2 - ct->rank + i];
        if (!fits)
            return eval_error(c, STATUS_INVALID, "C does not broadcast to [%lld,%lld]", (long long)m, (long long)n);
        ref_broadcast_strides(ct, 2, dims, stride);
        TRY(dense_read(c, ct, &bias));
    }
    TRY(dense_read(c, at, &a));
    TRY(dense_read(c, bt, &b));
    if (trans_a) TRY(dense_transpose(c, 1, at->dims[0], at->dims[1], a, &a));
    if (trans_b) TRY(dense_transpose(c, 1, bt->dims[0], bt->dims[1], b, &b));
    TRY(dense_f64(c, count, &y));
    dense_matmul(m, n, k, a, b, y);
    double alpha = (double)attr_float(c->node, "alpha"), beta = (double)attr_float(c->node, "beta");
    for (int64_t i = 0; i < count; i++)
        y[i] = alpha * y[i] + (bias ? beta * bias[i / n * stride[0] + i % n * stride[1]] : 0);
    return dense_store(c, 0, at->elem, 2, dims, y);
}
