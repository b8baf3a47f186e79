/* Products with constant weights by the indirect matrix product: what Conv, Gemm and MatMul share. */
#ifndef PARE_BACKENDS_CPU_LOWER_PRODUCT_H
#define PARE_BACKENDS_CPU_LOWER_PRODUCT_H

#include "backends/cpu/plan.h"
#include "kernels/cpu/igemm/igemm.h"

typedef struct Product {
    const Node *node;
    const Group *group;
    ValueId x;
    const Tensor *w, *bias;  /* bias NULL: none */
    const float *multiplier; /* integer input only */
    IgemmLayout layout;
    bool nhwc;      /* feature maps; else plain matrices */
    IgemmDesc desc; /* types and geometry; pitches and epilogue are filled in */
} Product;

PARE_NODISCARD Status lower_product(Lowering *l, Product *p);
bool conv_has_kernel(const Graph *g, const Node *n);
bool matmul_has_kernel(const Graph *g, const Node *n);

#endif
