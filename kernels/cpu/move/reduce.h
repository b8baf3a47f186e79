/* Reductions of float tensors over the middle of [outer][len][inner] (contiguous); inner == 1 is a reduction over
 * trailing axes. The order of the sum is fixed for one ISA: it depends on len and inner only, never on the team.
 * Thread-safe. */
#ifndef PARE_KERNELS_CPU_MOVE_REDUCE_H
#define PARE_KERNELS_CPU_MOVE_REDUCE_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

typedef enum {
    REDUCE_SUM,
    REDUCE_MEAN,
    REDUCE_MAX, /* NaN if any is NaN */
    REDUCE_MIN, /* likewise */
    REDUCE_SUM_SQUARE,
    REDUCE_L1,
    REDUCE_L2,
    REDUCE_PROD,
    REDUCE_KINDS
} ReduceKind;

typedef float (*ReduceRowFn)(const float *x, size_t n);
/* lanes neighbouring columns of len rows, stride apart. */
typedef void (*ReduceColumnsFn)(float *y, const float *x, size_t len, size_t stride, size_t lanes);

/* One table row per ISA. */
typedef struct {
    int32_t lanes; /* most that the column functions take */
    ReduceRowFn row[REDUCE_KINDS];
    ReduceColumnsFn columns[REDUCE_KINDS];
} ReduceOps;

typedef struct {
    ReduceKind kind;
    int64_t outer, len, inner;
    const ReduceOps *ops; /* set by prepare */
} Reduce;

void reduce_prepare(Reduce *r, uint32_t isa_bits);
void reduce_run(const Reduce *r, const float *x, float *y, Team *team);

#endif
