/* What the standard and the contributed quantization ops share. */
#ifndef PARE_KERNELS_REF_QUANT_H
#define PARE_KERNELS_REF_QUANT_H

#include "kernels/ref/matmul.h"

/* The only element of input i, `deflt` when absent. */
PARE_NODISCARD Status quant_scalar(const EvalCtx *c, int i, double deflt, double *v);
/* Input i as n numbers: one for all, or one each; `deflt` when absent. */
PARE_NODISCARD Status quant_spread(const EvalCtx *c, int i, int64_t n, double deflt, double **v);

/* A quantized output: zero point, scale and range. */
typedef struct QuantOut {
    ElemType e;
    double scale;
    int32_t zp, lo, hi;
} QuantOut;
/* From inputs iscale and izero; without a zero point the type is `deflt`. 8- and 16-bit integers only. */
PARE_NODISCARD Status quant_out(const EvalCtx *c, int iscale, int izero, ElemType deflt, QuantOut *o);
/* Code of a real value: rne(v / scale) + zp, saturated. */
double quant_code(const QuantOut *o, double v);

/* Numbers for the rows (or columns) of `count` matrices: one for all, n for every matrix, or n each. *step is the
 * distance from one matrix to the next. */
PARE_NODISCARD Status quant_matrix(const EvalCtx *c, int i, int64_t count, int64_t n, double deflt, double **v,
                                   int64_t *step);
/* The products of input ia minus its zero points per row (input ia_zero) and input ib minus those per column. */
PARE_NODISCARD Status quant_matmul(const EvalCtx *c, int ia, int ib, int ia_zero, int ib_zero, MatMulShape *s,
                                   double **y);
/* uint8 codes of n floats (in place), as DynamicQuantizeLinear makes them. */
void quant_dynamic(double *x, int64_t n, double *scale, double *zero);

#endif
