/* Backends lower a graph to a plan and run it.
 *
 * A Plan is immutable and shared between threads; each thread runs its own Context (arena, scratch). */
#ifndef PARE_BACKENDS_BACKEND_H
#define PARE_BACKENDS_BACKEND_H

#include "ir/op.h"

typedef struct Backend Backend;
typedef struct Plan Plan;
typedef struct Context Context;

typedef enum Precision {
    PREC_FP32,
    PREC_BF16
} Precision; /* of products with constant weights; integer ones are integer anyway */

/* A set of input shapes that a plan is made for, in the order of the graph's inputs. */
typedef struct PlanOptions {
    int threads;         /* of one inference; >= 1 */
    Precision precision; /* PREC_BF16: a wish; weights stored in bf16 ask for it as well */
    const Type *inputs;  /* n_inputs static types, or NULL when the graph is already static */
    /* Values to hand to the tap during a run (calibration, SQNR): n_taps ids; they are kept from being fused away. */
    const ValueId *taps;
    uint32_t n_taps;
    bool tune;                   /* measure candidates (never by default: timing must not influence artifacts) */
    const char *tuning;          /* text file of remembered choices, or NULL */
    const struct Packed *packed; /* weights packed earlier for this very plan (from an artifact), or NULL */
} PlanOptions;

/* Why float products cannot compute in bf16 here, NULL when they can: for telling the user that they run in binary32.
 */
const char *bf16_missing(void);

/* A tapped value: `t` has the value's logical dims; when `nhwc`, the bytes lie channels-last (dims stay logical NCHW).
 */
typedef Status (*TapFn)(void *ctx, ValueId v, const Tensor *t, bool nhwc);

/* One line per executed step, for --profile and --trace. */
typedef struct StepInfo {
    const char *name;   /* node name (of the last fused node) */
    const char *op;     /* op or fused pattern: "Conv+Clip" */
    const char *kernel; /* what runs it: "igemm.f32.avx512", "onednn.conv", "ref" */
    double ms;          /* filled by context_profile */
} StepInfo;

struct Backend {
    const char *name, *doc;
    Status (*plan)(const Graph *g, const PlanOptions *o, Plan **out);
    void (*plan_free)(Plan *p);
    Status (*context)(const Plan *p, Context **out);
    void (*context_free)(Context *c);
    /* inputs: n_inputs tensors in graph order (row-major); outputs: n_outputs tensors that point into the context and
     * are valid until its next run. */
    Status (*run)(Context *c, const Tensor *inputs, Tensor *outputs);
    Status (*run_tapped)(Context *c, const Tensor *inputs, Tensor *outputs, TapFn tap, void *tap_ctx);
    /* Steps and, after runs with profiling on, their times. */
    int (*steps)(const Plan *p, const StepInfo **info);
    void (*profile)(Context *c, bool on, const double **ms);
    size_t (*arena_bytes)(const Plan *p);
    const char *(*isa)(void); /* "avx2" … what the kernels use on this CPU */
};

/* The table of backends: "ref", "cpu". */
int backend_count(void);
const Backend *backend_at(int i);
const Backend *backend_find(const char *name);

#endif
