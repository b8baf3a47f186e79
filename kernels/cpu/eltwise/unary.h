/* Elementwise unary functions on float rows: y[i] = f(x[i]; a, b). In place (y == x) is allowed, other overlap is not.
 * Thread-safe: no state. Every other float family applies its fused activation through these rows, on data still in L1.
 */
#ifndef PARE_KERNELS_CPU_ELTWISE_UNARY_H
#define PARE_KERNELS_CPU_ELTWISE_UNARY_H

#include <stddef.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

typedef enum {
#define UNARY(name, vexpr, oracle, tol) UNARY_##name,
#include "kernels/cpu/eltwise/unary.def"
#undef UNARY
    UNARY_COUNT
} UnaryKind;

typedef void (*UnaryFn)(float *y, const float *x, size_t n, float a, float b);

/* One table row per ISA. */
typedef struct {
    UnaryFn fn[UNARY_COUNT];
} UnaryF32Ops;

/* An activation fused after another kernel. fn NULL means none. A clamp does not belong here: every float kernel has lo
 * and hi of its own (-INFINITY, INFINITY for none), applied before this. */
typedef struct {
    UnaryFn fn;
    float a, b;
} Activation;

/* The activation `kind` with parameters a, b for the ISAs in `isa`. */
Activation activation_make(UnaryKind kind, float a, float b, uint32_t isa_bits);

/* y = f(x) over n contiguous floats, split over the team (NULL: this thread). */
void unary_f32_run(const Activation *act, float *y, const float *x, size_t n, Team *team);

#endif
