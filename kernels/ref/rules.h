/* Prototypes of every shape rule and evaluation that a row of the op table names. */
#ifndef PARE_KERNELS_REF_RULES_H
#define PARE_KERNELS_REF_RULES_H

#include "ir/op.h"

#define OP(domain, name, since, attrs, min_in, max_in, min_out, max_out, infer, eval, flags)                           \
    Status infer(InferCtx *c);                                                                                         \
    Status eval(EvalCtx *c);
#include "ir/ops.def"
#undef OP

#endif
