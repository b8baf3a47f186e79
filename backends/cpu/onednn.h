/* Float products by oneDNN primitives. The only files that include dnnl.h are onednn*.c; without PARE_ONEDNN every
 * product is declined and the hand kernels do it. */
#ifndef PARE_BACKENDS_CPU_ONEDNN_H
#define PARE_BACKENDS_CPU_ONEDNN_H

#include "backends/cpu/lower_product.h"

#if PARE_ONEDNN
/* Makes the step of a product in bf16: activations and weights rounded to bf16 (nearest even), products summed and
 * stored in binary32; bias, residual and activation stay binary32. *done stays false when oneDNN has no optimized
 * kernel for it; nothing was planned then, but for conversions of the operands' layout that other kernels need as well.
 */
PARE_NODISCARD Status onednn_product(Lowering *l, Product *p, bool *done);
#else
static inline Status onednn_product(Lowering *l, Product *p, bool *done) {
    (void)l;
    (void)p;
    (void)done;
    return NULL;
}
#endif

#endif
