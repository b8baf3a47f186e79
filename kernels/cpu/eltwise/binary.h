/* Elementwise binary functions on float tensors with broadcasting:
 *
 *   y[i0,..,ik] = act(clamp(op(a[i0,..,ik], b[i0,..,ik]), lo, hi))
 *
 * Each tensor has its own stride per dimension, in elements; a stride of 0 broadcasts. Slices of wider buffers,
 * per-channel vectors, scalars and the [N,1,1,C] gates of squeeze-excite are all strides. y may be a or b itself when
 * their strides are equal; other overlap is not allowed. Thread-safe after prepare. */
#ifndef PARE_KERNELS_CPU_ELTWISE_BINARY_H
#define PARE_KERNELS_CPU_ELTWISE_BINARY_H

#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/eltwise/unary.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

enum { ELT_MAX_RANK = 8 };

typedef enum {
#define BINARY(name, vexpr, oracle, tol) BINARY_##name,
#include "kernels/cpu/eltwise/binary.def"
#undef BINARY
    BINARY_COUNT
} BinaryKind;

/* n elements; an operand whose step is 0 is one value for the row, else it is contiguous. */
typedef void (*BinaryRowFn)(float *y, const float *a, const float *b, size_t n, float lo, float hi);

/* Form of a row: both contiguous, b one value, a one value. */
typedef enum { BINARY_VV, BINARY_VS, BINARY_SV, BINARY_FORMS } EltForm;

/* One table row per ISA. */
typedef struct {
    BinaryRowFn fn[BINARY_COUNT][BINARY_FORMS];
} BinaryF32Ops;

/* Loop nest shared by the elementwise engines: dims outermost first, innermost last; stride[0] is y's, stride[1] a's,
 * stride[2] b's, in elements. */
typedef struct {
    int32_t rank;
    int64_t dims[ELT_MAX_RANK];
    int64_t stride[3][ELT_MAX_RANK];
} EltNest;

typedef struct {
    EltNest nest; /* the caller fills it in; prepare drops dims of 1 and merges neighbours whose strides allow it */
    BinaryKind kind;
    float lo, hi; /* clamp; -INFINITY, INFINITY for none */
    Activation act;
    /* set by prepare */
    BinaryRowFn row;
    int64_t chunk;     /* elements of a row handed out together */
    uint8_t gather[3]; /* operands (y, a, b) whose innermost stride is neither 0 nor 1 */
} BinaryF32;

void binary_f32_prepare(BinaryF32 *e, uint32_t isa_bits);
void binary_f32_run(const BinaryF32 *e, float *y, const float *a, const float *b, Team *team);

#endif
