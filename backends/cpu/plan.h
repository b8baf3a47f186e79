/* The CPU backend's plan: steps over operands in one arena. Internal to backends/cpu.
 *
 * Lowering walks the graph in order. For each node (or group of nodes that one kernel does) a row of lower.def makes a
 * step. Every value gets a Storage: where its bytes are and how they lie. Feature maps ([N, C, spatial…]) are kept
 * channels-last; conversions appear only where a step needs the other layout, and are shared by all its readers.
 * A buffer lives from the first step that writes it to the last that touches it; memory.c then packs all buffers into
 * one arena. */
#ifndef PARE_BACKENDS_CPU_PLAN_H
#define PARE_BACKENDS_CPU_PLAN_H

#include "backends/backend.h"
#include "kernels/cpu/eltwise/unary.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

/* ---- what a run sees ---- */

typedef enum Place { AT_NONE, AT_ARENA, AT_INPUT, AT_CONST } Place;

/* Where bytes are: buffer `index` of the arena, graph input `index`, or plan memory `ptr`; `offset` in bytes. */
typedef struct Operand {
    Place at;
    uint32_t index;
    size_t offset;
    const uint8_t *ptr;
} Operand;

typedef struct Step Step;
/* Executes one step. Kernels cannot fail; the reference fallback can. */
typedef Status (*StepFn)(const Step *s, Context *c);

/* What a step keeps in each context: library objects that a run changes. Made with the context, freed with it. */
typedef struct StepState {
    Status (*open)(const Step *s, void **state);
    void (*close)(void *state); /* NULL: nothing to do */
} StepState;

typedef struct StepTap {
    ValueId value;
    Operand where;
    bool nhwc;
} StepTap;

struct Step {
    StepFn run;
    void *op; /* the kernel's prepared description, in the plan's arena */
    Operand *in, *out;
    uint32_t n_in, n_out;
    size_t scratch_bytes;   /* of the context's scratch area */
    const StepState *state; /* NULL: none */
    const StepTap *taps;    /* values complete after this step */
    uint32_t n_taps;
};

typedef struct Buffer {
    size_t bytes, offset;
    int first, last; /* steps; last = INT_MAX: lives to the end of the run */
} Buffer;

struct Plan {
    const Backend *backend;
    Plan *reference; /* not NULL: shapes depend on data, and the reference backend runs the whole graph */
    Graph *graph;
    Arena *memory; /* steps, descriptions, names */
    Step *steps;
    StepInfo *info;
    int n_steps, cap_steps;
    Buffer *buffers;
    uint32_t n_buffers, cap_buffers;
    Operand *outputs; /* of the graph, row-major */
    void **owned;     /* packed weights and other heap blocks */
    uint32_t n_owned, cap_owned;
    void (**undo)(void *); /* releases owned[i]: mem_free, or a library's own */
    size_t arena_bytes, scratch_bytes;
    int threads;
    uint32_t isa;
    StepTap *input_taps;
    uint32_t n_input_taps;
};

struct Context {
    const Plan *plan;
    Context *reference;
    uint8_t *arena, *scratch;
    Team *team;
    const Tensor *inputs;
    Arena *eval_scratch; /* of reference steps */
    void **state;        /* by step, see StepState */
    double *ms;
    bool profiling;
};

static inline void *operand_ptr(const Context *c, const Operand *o) {
    switch (o->at) {
    case AT_ARENA:
        return c->arena + c->plan->buffers[o->index].offset + o->offset;
    case AT_INPUT:
        return c->inputs[o->index].data + o->offset;
    case AT_CONST:
        return (void *)(uintptr_t)(o->ptr + o->offset);
    case AT_NONE:
        break;
    }
    return NULL;
}
#define STEP_IN(s, c, i)  operand_ptr((c), &(s)->in[i])
#define STEP_OUT(s, c, i) operand_ptr((c), &(s)->out[i])

/* ---- what lowering sees ---- */

typedef enum Layout { LAYOUT_PLAIN, LAYOUT_NHWC } Layout;
enum { N_LAYOUTS = 2 };

typedef struct Storage {
    Operand where; /* AT_NONE: not there in this layout */
    int64_t ld;    /* NHWC: elements from one pixel to the next (C when dense) */
} Storage;

/* What one kernel does after its root node: a chain of nodes ending in `tail`. */
typedef struct Group {
    NodeId root, tail;
    ValueId out;       /* the tail's output */
    ValueId bias;      /* NO_ID: none; a constant vector over the last axis, added before everything else */
    NodeId activation; /* NO_ID: none. Relu and Clip are `clip` */
    NodeId clip;       /* NO_ID: none */
    NodeId add;        /* NO_ID: none; Add or QAdd of `residual` */
    ValueId residual;
    bool add_first;    /* root, add, activation / clip; else activation / clip come before the add */
    const char *label; /* "Conv+Add+Relu" */
} Group;

typedef struct Lowering {
    Plan *p;
    Graph *g;
    const PlanOptions *o;
    Arena *scratch;
    Storage (*storage)[N_LAYOUTS]; /* by value */
    Layout *primary;               /* by value: the layout it was produced in */
    Storage *slice;                /* by value: prescribed place in a concatenation's buffer */
    Group **group;                 /* by node: the group it belongs to, NULL when alone */
    bool *tapped;                  /* by value */
    const bool *narrow;            /* by value: a constant that is stored in bf16 */
    StepTap *pending;              /* taps of the step being made */
    uint32_t n_pending;
} Lowering;

/* One row of lower.def. Returns with *done = false when the node is not for this row (then the reference does it). */
typedef Status (*LowerFn)(Lowering *l, NodeId id, const Group *group, bool *done);
typedef struct LowerRow {
    const char *domain, *op;
    LowerFn lower;
    bool slices; /* can write channels-last with a pitch: straight into a part of a concatenation */
} LowerRow;

#define LOWER(domain, op, fn, slices) Status fn(Lowering *l, NodeId id, const Group *group, bool *done);
#include "backends/cpu/lower.def"
#undef LOWER

/* The type of a value (static by now). */
static inline const Type *lower_type(const Lowering *l, ValueId v) { return &l->g->values[v].type; }
/* True for rank 3, 4, 5: the value has a channels-last form. */
bool has_nhwc(const Type *t);
/* The layout a value should be read in: the one it was produced in. */
Layout lower_layout(const Lowering *l, ValueId v);
/* Operand for reading v in `layout` (converting once, when needed). ld may be NULL: then a dense form is asked for. */
PARE_NODISCARD Status lower_read(Lowering *l, ValueId v, Layout layout, Operand *out, int64_t *ld);
/* Makes room for writing v in `layout`. ld may be NULL when the step cannot write with a pitch. */
PARE_NODISCARD Status lower_write(Lowering *l, ValueId v, Layout layout, Operand *out, int64_t *ld);
/* v shares the bytes of an operand (views). */
PARE_NODISCARD Status lower_alias(Lowering *l, ValueId v, Layout layout, Operand where, int64_t ld);
/* Element strides of v's logical dims in `layout` with pitch ld. */
void lower_strides(const Type *t, Layout layout, int64_t ld, int64_t *strides);

/* Makes a fresh arena buffer, e.g. for a concatenation. */
PARE_NODISCARD Status lower_buffer(Lowering *l, size_t bytes, Operand *out);
/* A new step with room for operands; step->op has op_bytes zeroed bytes. Fill in, then lower_commit. */
PARE_NODISCARD Status lower_step(Lowering *l, const char *name, const char *label, const char *kernel, StepFn run,
                                 size_t op_bytes, int n_in, int n_out, Step **step);
/* Ends the step: lifetimes of all its operands' buffers are known now. */
PARE_NODISCARD Status lower_commit(Lowering *l, Step *step);
/* The same in one call for a step with one input and one output: op is copied. */
typedef struct SimpleStep {
    const char *kernel;
    StepFn run;
    const void *op;
    size_t op_bytes;
    Operand x, y;
} SimpleStep;
PARE_NODISCARD Status lower_simple(Lowering *l, const Node *n, const char *label, const SimpleStep *step);
/* 64-byte aligned plan memory; freed with the plan. */
PARE_NODISCARD Status plan_memory(Plan *p, size_t bytes, void **out);
/* Registers a foreign object: undo(object) runs when the plan is freed. */
PARE_NODISCARD Status plan_own(Plan *p, void *object, void (*undo)(void *));
/* A constant's elements as aligned float32 / raw bytes in plan memory or, when they are fit for use, in place. */
PARE_NODISCARD Status plan_floats(Plan *p, const Tensor *t, const float **out);
PARE_NODISCARD Status plan_bytes(Plan *p, const Tensor *t, const void **out);
/* The constant value v as an operand, row-major. */
PARE_NODISCARD Status lower_constant(Lowering *l, ValueId v, Operand *out);

/* fuse.c: finds the groups; the activation table. */
typedef struct Epilogue {
    float lo, hi;   /* of the clip; -INFINITY, INFINITY when there is none */
    Activation act; /* fn NULL when there is none */
} Epilogue;
/* What the group (NULL: nothing) does to the root's float result. */
void group_epilogue(const Lowering *l, const Group *group, Epilogue *e);
/* Activation of a unary node; false when the node is none. A clip (Relu, Clip with constant bounds) gives lo and hi. */
bool node_activation(const Graph *g, const Node *n, uint32_t isa, Epilogue *e);
PARE_NODISCARD Status find_groups(Lowering *l);
/* lower_conv.c, lower_matmul.c: whether a product node has a kernel of its own, and what it can take on. */
bool conv_is_depthwise(const Graph *g, const Node *n);
bool root_has_kernel(const Graph *g, const Node *n);
/* concat.c: prescribes slices of concatenations' buffers. */
PARE_NODISCARD Status place_concats(Lowering *l);
bool concat_over_channels(const Graph *g, const Node *n);
/* memory.c: offsets of all buffers; sets plan->arena_bytes. */
PARE_NODISCARD Status plan_arena(Plan *p);
/* reference.c: a step that evaluates the node with the op table's function. */
PARE_NODISCARD Status lower_reference(Lowering *l, NodeId id);
/* lower.c: the whole graph; l->p, g, o and scratch are set. */
PARE_NODISCARD Status lower_graph(Lowering *l);
/* True when the node's row can write with a pitch. */
bool lower_slices(const Lowering *l, NodeId id);
/* The row for a node, NULL when there is none. */
const LowerRow *lower_row(const Node *n);

#endif
