/* Whole-tensor arithmetic for the heavy reference ops (convolutions, matrix products, normalizations): an op reads its
 * inputs as double arrays (ref_read_f64), computes in double, and stores with the rounding of the output's element
 * type. Doubles hold every product and sum of 8-bit integers exactly, so the same loops serve float and integer ops.
 * Arrays live in the evaluation's scratch arena. Thread-safety: as the EvalCtx. */
#ifndef PARE_KERNELS_REF_DENSE_H
#define PARE_KERNELS_REF_DENSE_H

#include "kernels/ref/ref.h"

/* Zeroed scratch array of n doubles; an error when memory is short or n overflows. */
PARE_NODISCARD Status dense_f64(const EvalCtx *c, int64_t n, double **out);
/* Elements of t as double in fresh scratch memory that the caller may change. */
PARE_NODISCARD Status dense_read(const EvalCtx *c, const Tensor *t, double **out);
/* Same, minus one number. */
PARE_NODISCARD Status dense_read_minus(const EvalCtx *c, const Tensor *t, double offset, double **out);

/* Makes output o with these elements, rounded to nearest even and, for integer types, saturated. */
PARE_NODISCARD Status dense_store(EvalCtx *c, int o, ElemType e, int rank, const int64_t *dims, const double *v);

/* Transposes the last two dims of [batch, rows, cols] into fresh scratch memory. */
PARE_NODISCARD Status dense_transpose(const EvalCtx *c, int64_t batch, int64_t rows, int64_t cols, const double *v,
                                      double **out);

/* y[i] += sum_j w[j] * x[j][i * stride] for j < k, k <= 4, i < n. Four inputs at once keep y in registers longer. */
void dense_axpy(double *y, int64_t n, const double *const *x, int64_t stride, const double *w, int k);

/* y[m,n] += a[m,k] * b[k,n], all row-major and dense. */
void dense_matmul(int64_t m, int64_t n, int64_t k, const double *a, const double *b, double *y);

/* Input i as a type (shape rules) or tensor (evaluation); NULL when absent or past the end. */
const Type *dense_in_type(const InferCtx *c, int i);
const Tensor *dense_in(const EvalCtx *c, int i);
/* For rows whose optional inputs stand before required ones: an error unless the n inputs of `which` are there. */
PARE_NODISCARD Status dense_need(const InferCtx *c, int n, const int *which);
/* True when somebody may look at output o. */
bool dense_wants(const Node *n, int o);

#endif
