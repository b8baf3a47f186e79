/* Weights stored in bf16. A graph keeps them as a constant with a Cast to float32 before the product that uses it: that
 * says both how they are stored and that the product may compute in bf16. */
#ifndef PARE_BACKENDS_CPU_BF16_H
#define PARE_BACKENDS_CPU_BF16_H

#include "ir/op.h"

/* Turns every Cast of a bf16 constant into a float32 constant. *narrow[v] (scratch memory): value v was one. */
PARE_NODISCARD Status bf16_widen(Graph *g, Arena *scratch, const bool **narrow);

#endif
