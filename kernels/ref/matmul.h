/* Shapes of matrix products, shared by MatMul, MatMulInteger, QLinearMatMul and pare's QMatMul. */
#ifndef PARE_KERNELS_REF_MATMUL_H
#define PARE_KERNELS_REF_MATMUL_H

#include "kernels/ref/dense.h"

/* Output 0 = numpy.matmul of inputs ia and ib (b with its last two dims swapped when trans_b) with elements e. */
PARE_NODISCARD Status matmul_infer(InferCtx *c, int ia, int ib, bool trans_b, ElemType e);

/* The product as batches of [m,k] x [k,n]; a_step / b_step say which matrix of a and b belongs to batch i. */
typedef struct MatMulShape {
    int64_t batch, m, n, k;
    int rank; /* of the output, with its dims */
    int64_t dims[MAX_RANK];
    int batch_rank;
    int64_t batch_dims[MAX_RANK], a_stride[MAX_RANK], b_stride[MAX_RANK]; /* strides in matrices; 0 = broadcast */
    int64_t a_count, b_count;                                             /* matrices in a and in b */
} MatMulShape;
PARE_NODISCARD Status matmul_shape(const EvalCtx *c, const Tensor *a, const Tensor *b, bool trans_b, MatMulShape *s);

/* The matrix of an operand (a_stride or b_stride) that batch index idx reads. */
int64_t matmul_matrix(const MatMulShape *s, const int64_t *stride, const int64_t *idx);

/* y[batch,m,n] in scratch memory. b is [.., k, n]; a caller with trans_b transposes it first (dense_transpose). */
PARE_NODISCARD Status matmul_f64(const EvalCtx *c, const MatMulShape *s, const double *a, const double *b, double **y);

#endif
