/* What the integer steps share. */
#ifndef PARE_BACKENDS_CPU_LOWER_QUANT_H
#define PARE_BACKENDS_CPU_LOWER_QUANT_H

#include "backends/cpu/lower_product.h"

/* Attributes lo and hi within the range of the element type. */
void code_bounds(const Node *n, ElemType e, int32_t *lo, int32_t *hi);
/* The table of the group's QLut, or NULL. */
const uint8_t *group_table(const Lowering *l, const Group *group);
/* Types, zero points, bounds, bias, multipliers, table and residual of QConv and QMatMul into the product. */
PARE_NODISCARD Status integer_product(Lowering *l, Product *p, const char *x_zero_point);

#endif
