/* Loop nests of elementwise steps with broadcasting. */
#ifndef PARE_BACKENDS_CPU_NEST_H
#define PARE_BACKENDS_CPU_NEST_H

#include "backends/cpu/plan.h"
#include "kernels/cpu/eltwise/binary.h"

typedef struct Nest {
    Operand a, b, y;
} Nest;

/* Operands of the binary node n, whose result goes to value `out`, and the nest over them (not yet collapsed). */
PARE_NODISCARD Status nest_binary(Lowering *l, const Node *n, ValueId out, Nest *operands, EltNest *nest);

#endif
