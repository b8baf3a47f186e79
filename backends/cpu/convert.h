/* Layout conversions of feature maps: row-major [N, C, S] to and from channels-last [N, S, C] with pixel pitch ld. */
#ifndef PARE_BACKENDS_CPU_CONVERT_H
#define PARE_BACKENDS_CPU_CONVERT_H

#include "backends/cpu/plan.h"

typedef struct ConvertOp {
    int64_t n, channels, spatial, ld; /* ld of the channels-last side */
    size_t elem;                      /* bytes: 1, 2, 4, 8 */
    bool to_nhwc, compact;            /* compact: channels-last with pitch to dense channels-last */
} ConvertOp;

ConvertOp convert_op(const Type *t, Layout to, int64_t ld);
ConvertOp convert_compact(const Type *t, Layout layout, int64_t ld);
void convert_run(const ConvertOp *op, const void *x, void *y, Team *team);

#endif
