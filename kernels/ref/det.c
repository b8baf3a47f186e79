/* Det: determinants of the last two dimensions, by elimination with row pivoting in double. */
#include "kernels/ref/ref.h"

#include <math.h>

Status infer_det(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    const Type *x = c->in[0];
    if (x->rank < 2)
        return infer_error(c, STATUS_INVALID, "input 0 must have at least 2 dimensions, found %d", x->rank);
    infer_set(c, 0, e, x->rank - 2, x->dims);
    return NULL;
}

/* Destroys m [n, n]. */
static double determinant(double *m, int64_t n) {
    double det = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t pivot = k;
        for (int64_t i = k + 1; i < n; i++) {
            if (fabs(m[i * n + k]) > fabs(m[pivot * n + k])) pivot = i;
        }
        if (pivot != k) det = -det;
        for (int64_t j = k; j < n; j++) {
            double swap = m[k * n + j];
            m[k * n + j] = m[pivot * n + j];
            m[pivot * n + j] = swap;
        }
        det *= m[k * n + k];
        for (int64_t i = k + 1; i < n && m[k * n + k] != 0; i++) {
            double f = m[i * n + k] / m[k * n + k];
            for (int64_t j = k; j < n; j++) m[i * n + j] -= f * m[k * n + j];
        }
    }
    return det;
}

Status eval_det(EvalCtx *c) {
    const Tensor *x = c->in[0];
    double *m;
    Tensor y;
    TRY(ref_numeric_only(c));
    if (x->rank < 2 || x->dims[x->rank - 1] != x->dims[x->rank - 2])
        return eval_error(c, STATUS_INVALID, "the last two dimensions must be equal");
    TRY(ref_output(c, 0, x->elem, x->rank - 2, x->dims, &y));
    TRY_ALLOC(m = ref_read_f64(c->scratch, x));
    int64_t n = x->dims[x->rank - 1], count = tensor_count(&y);
    for (int64_t i = 0; i < count; i++) {
        double v = determinant(m + i * n * n, n);
        ref_store(&y, CLASS_F64, i, 1, &v);
    }
    return NULL;
}
