/* The op table: one row an op in ir/ops.def. Rules of shape and value live in kernels/ref. */
#ifndef PARE_IR_OP_H
#define PARE_IR_OP_H

#include "ir/graph.h"

enum {
    OPF_ELEMENTWISE = 1 << 0, /* output element depends on the same (broadcast) element of the inputs only */
    OPF_COMMUTATIVE = 1 << 1, /* the first two inputs may be swapped */
    OPF_VIEW = 1 << 2,        /* output has input 0's elements in the same order (Reshape, Flatten, Squeeze …) */
    OPF_RANDOM = 1 << 3,      /* not a function of its inputs: never folded or merged */
    OPF_CONTROL = 1 << 4,     /* owns subgraphs */
    OPF_MOVES = 1 << 5, /* only moves or selects elements of input 0: any element type, quantization passes through */
    OPF_HAS_WEIGHTS = 1 << 6, /* input 1 is a weight: Conv, ConvTranspose, Gemm, MatMul */
    OPF_INTEGER = 1 << 7      /* explicit integer op of domain "pare" (docs/numerics.md) */
};
enum { OP_MANY = 0x7fff }; /* no upper limit of inputs or outputs */

/* One shape rule call. Types of absent inputs are NULL. Outputs start as TYPE_UNKNOWN; a rule sets what it knows. */
typedef struct InferCtx {
    Graph *g;
    const Node *node;
    Arena *scratch;
    int n_in, n_out;
    const Type **in;
    Type *out;
} InferCtx;
typedef Status (*InferFn)(InferCtx *c);

/* One evaluation. in[i] is NULL when absent. An output is made by eval_output, which takes memory that the caller
 * preallocated when it fits, else fresh memory. `scratch` is emptied after the call. */
typedef struct EvalCtx {
    const Graph *g;
    const Node *node;
    Arena *scratch;
    int n_in, n_out;
    const Tensor *const *in;
    Tensor *out;
    const Tensor *const *captures; /* Node.n_captures of them */
    /* Runs a subgraph (OPF_CONTROL): inputs are the formal ones; outputs become owned tensors of the caller. */
    Status (*run_subgraph)(struct EvalCtx *c, const Graph *sub, int n_in, const Tensor *in, int n_out, Tensor *out);
    void *runner;
} EvalCtx;
typedef Status (*EvalFn)(EvalCtx *c);

/* Every rule of the table. */
#define OP(domain, name, since, attrs, min_in, max_in, min_out, max_out, infer, eval, flags)                           \
    Status infer(InferCtx *c);                                                                                         \
    Status eval(EvalCtx *c);
#include "ir/ops.def"
#undef OP

typedef struct OpDef {
    const char *domain; /* "" = ai.onnx, "pare", "com.microsoft" */
    const char *name;
    int since;         /* the opset in which the form used here appeared: the exporter writes the highest of a model */
    const char *attrs; /* "name:kind[=default] …" kinds as AttrKind */
    int min_in, max_in, min_out, max_out;
    InferFn infer;
    EvalFn eval;
    uint32_t flags;
} OpDef;

/* Number of rows; row by index; row by name (domain "ai.onnx" is ""); NULL when pare does not have it. */
int op_count(void);
const OpDef *op_at(int i);
const OpDef *op_find(const char *domain, const char *name);
bool op_is(const Node *n, const char *name); /* default domain */
bool op_is_pare(const Node *n, const char *name);
/* Kind of attribute `name` in the row, 0 when the row lacks it; *deflt points at the default's text or NULL. */
char op_attr_kind(const OpDef *op, const char *name, size_t *deflt_len, const char **deflt);

/* For shape rules. */
const Tensor *infer_const(const InferCtx *c, int i); /* constant content of input i, NULL when not constant */
/* Known integer content of input i (constant or propagated, symbols allowed); NULL when unknown. */
const Dim *infer_known(InferCtx *c, int i, int *n);
PARE_NODISCARD Status infer_set_known(InferCtx *c, int out, const Dim *dims, int n);
/* Output o = tensor of e with dims. */
void infer_set(InferCtx *c, int o, ElemType e, int rank, const Dim *dims);
void infer_set_unranked(InferCtx *c, int o, ElemType e);
/* Numpy broadcasting of two shapes with symbols; STATUS_INVALID names the clashing dims. */
PARE_NODISCARD Status infer_broadcast(InferCtx *c, const Type *a, const Type *b, int *rank, Dim *dims);
/* Axis in [-rank, rank) to [0, rank). */
PARE_NODISCARD Status infer_axis(const InferCtx *c, int64_t axis, int rank, int *out);
/* Infers the outputs of a subgraph whose inputs have these types (captures are taken from the owner). */
PARE_NODISCARD Status infer_subgraph(InferCtx *c, Graph *sub, int n_in, const Type *const *in);
/* Error that names op and node: "Conv 'conv1': …". */
PARE_NODISCARD PARE_PRINTF(3, 4) Status infer_error(const InferCtx *c, StatusCode code, const char *fmt, ...);

/* For evaluation. */
PARE_NODISCARD Status eval_output(EvalCtx *c, int i, ElemType e, int rank, const int64_t *dims, void **data);
PARE_NODISCARD PARE_PRINTF(3, 4) Status eval_error(const EvalCtx *c, StatusCode code, const char *fmt, ...);

/* Shape inference over the whole graph (subgraphs too), in order. Also folds shape computations into Value.known.
 * STATUS_INVALID when a declared type contradicts the inferred one or an op's inputs do not fit. */
PARE_NODISCARD Status graph_infer(Graph *g);
/* Replaces symbols by numbers: `bind(ctx, name)` gives >= 0 or -1 to keep; then infers again. */
PARE_NODISCARD Status graph_bind(Graph *g, int64_t (*bind)(void *ctx, const char *name), void *ctx);

/* IR invariants: links, names, types against rows, order, captures. Describes the first breach. */
PARE_NODISCARD Status graph_verify(const Graph *g);

/* Text form. Weights are references into a side blob of aligned tensors: `weights` (may be NULL: small tensors inline,
 * larger ones become an error on parse). print(parse(x)) == x. */
PARE_NODISCARD Status graph_print(const Graph *g, Buf *text, Buf *weights);
PARE_NODISCARD Status graph_parse(const char *text, size_t len, Blob *weights, const char *file, Graph **out);

#endif
