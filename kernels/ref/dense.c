/* Double-precision loops shared by the heavy reference ops. */
#include "kernels/ref/dense.h"

#include <string.h>

Status dense_f64(const EvalCtx *c, int64_t n, double **out) {
    size_t bytes;
    if (n < 0 || !size_mul((size_t)n, sizeof(double), &bytes)) return eval_error(c, STATUS_INVALID, "a size overflows");
    TRY_ALLOC(*out = arena_alloc_aligned(c->scratch, bytes));
    return NULL;
}

Status dense_read(const EvalCtx *c, const Tensor *t, double **out) {
    TRY_ALLOC(*out = ref_read_f64(c->scratch, t));
    return NULL;
}

Status dense_read_minus(const EvalCtx *c, const Tensor *t, double offset, double **out) {
    TRY(dense_read(c, t, out));
    int64_t n = tensor_count(t);
    if (offset != 0)
        for (int64_t i = 0; i < n; i++) (*out)[i] -= offset;
    return NULL;
}

Status dense_store(EvalCtx *c, int o, ElemType e, int rank, const int64_t *dims, const double *v) {
    Tensor t;
    TRY(ref_output(c, o, e, rank, dims, &t));
    int64_t n = tensor_count(&t);
    if (e == ELEM_F32 || e == ELEM_F64) {
        ref_store(&t, CLASS_F64, 0, n, v);
        return NULL;
    }
    for (int64_t i = 0; i < n; i++) tensor_set_f64(&t, i, v[i]);
    return NULL;
}

Status dense_transpose(const EvalCtx *c, int64_t batch, int64_t rows, int64_t cols, const double *v, double **out) {
    TRY(dense_f64(c, batch * rows * cols, out));
    double *dst = *out;
    for (int64_t b = 0; b < batch; b++, v += rows * cols, dst += rows * cols)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < cols; k++) dst[k * rows + r] = v[r * cols + k];
    return NULL;
}

void dense_axpy(double *y, int64_t n, const double *const *x, int64_t stride, const double *w, int k) {
    if (k == 4) {
        const double *x0 = x[0], *x1 = x[1], *x2 = x[2], *x3 = x[3];
        double w0 = w[0], w1 = w[1], w2 = w[2], w3 = w[3];
        if (stride == 1)
            for (int64_t i = 0; i < n; i++) y[i] += (w0 * x0[i] + w1 * x1[i]) + (w2 * x2[i] + w3 * x3[i]);
        else
            for (int64_t i = 0; i < n; i++)
                y[i] += (w0 * x0[i * stride] + w1 * x1[i * stride]) + (w2 * x2[i * stride] + w3 * x3[i * stride]);
        return;
    }
    for (int j = 0; j < k; j++) {
        const double *xj = x[j];
        double wj = w[j];
        for (int64_t i = 0; i < n; i++) y[i] += wj * xj[i * stride];
    }
}

/* Column tiles keep a panel of b (k x TILE_N) in the second-level cache while every row of a passes over it. */
enum { TILE_N = 64 };

void dense_matmul(int64_t m, int64_t n, int64_t k, const double *a, const double *b, double *y) {
    for (int64_t j0 = 0; j0 < n; j0 += TILE_N) {
        int64_t cols = n - j0 < TILE_N ? n - j0 : TILE_N;
        for (int64_t i = 0; i < m; i++) {
            for (int64_t p = 0; p < k; p += 4) {
                const double *rows[4];
                int count = k - p < 4 ? (int)(k - p) : 4;
                for (int q = 0; q < count; q++) rows[q] = b + (p + q) * n + j0;
                dense_axpy(y + i * n + j0, cols, rows, 1, a + i * k + p, count);
            }
        }
    }
}

const Type *dense_in_type(const InferCtx *c, int i) { return i < c->n_in ? c->in[i] : NULL; }

const Tensor *dense_in(const EvalCtx *c, int i) { return i < c->n_in ? c->in[i] : NULL; }

Status dense_need(const InferCtx *c, int n, const int *which) {
    for (int i = 0; i < n; i++)
        if (!dense_in_type(c, which[i])) return infer_error(c, STATUS_INVALID, "required input %d is absent", which[i]);
    return NULL;
}

bool dense_wants(const Node *n, int o) { return o < n->n_out && n->out[o] != NO_ID; }
