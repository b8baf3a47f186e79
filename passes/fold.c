/* fold: constant folding by the op table's eval functions, shape arithmetic that inference has worked out, and ops that
 * change nothing (passes/noop.c). An If of a constant condition gives way to its branch (passes/inline.c). A folded
 * constant has the rounding of the reference kernels. */
#include "passes/inline.h"
#include "passes/noop.h"

#include <stdlib.h>
#include <string.h>

typedef struct Fold {
    Graph *g;
    Arena *scratch; /* emptied after every node */
    PassStats *stats;
    int64_t max_bytes;  /* of results whose size exceeds twice that of the inputs */
    int64_t max_expand; /* the same for ops that only repeat what they get */
} Fold;

/* Ops whose output repeats a small input: folding them trades a cheap op for bytes. */
static const char *const repeating[] = {"Expand",  "Tile",   "ConstantOfShape", "OneHot",
                                        "EyeLike", "Resize", "Range",           NULL};
/* Weights kept small on purpose: folding would undo a quantization. */
static const char *const kept[] = {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", NULL};

static bool is_one_of(const Node *n, const char *const *names) {
    while (*names && !op_is(n, *names)) names++;
    return *names != NULL;
}

static bool inputs_constant(const Graph *g, const Node *n) {
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != NO_ID && !g->values[n->in[i]].constant) return false;
    return true;
}

/* Total bytes of the outputs, -1 when their sizes are not known. */
static int64_t output_bytes(const Graph *g, const Node *n) {
    int64_t sum = 0;
    for (int i = 0; i < n->n_out; i++) {
        const Type *t = edit_ranked(g, n->out[i]);
        int64_t count = t ? type_count(t) : -1;
        size_t bytes;
        if (count < 0 || !elem_bytes(t->elem, count, &bytes) || __builtin_add_overflow(sum, (int64_t)bytes, &sum))
            return -1;
    }
    return sum;
}

/* Sizes that depend on data (NonZero) are only found by evaluating, which small inputs make safe. */
enum { SMALL_INPUT = 65536 };

static bool worth_folding(const Fold *f, const Node *n) {
    int64_t in = 0, out = output_bytes(f->g, n);
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] != NO_ID) in += (int64_t)f->g->values[n->in[i]].constant->bytes;
    if (out < 0) return in <= SMALL_INPUT && !is_one_of(n, repeating);
    return out <= 2 * in || out <= (is_one_of(n, repeating) ? f->max_expand : f->max_bytes);
}

static bool is_foldable(const Fold *f, const Node *n) {
    return !(n->op->flags & (OPF_RANDOM | OPF_CONTROL)) && !is_one_of(n, kept) && inputs_constant(f->g, n) &&
           worth_folding(f, n);
}

static Status evaluate(Fold *f, const Node *n, Tensor *out) {
    Graph *g = f->g;
    const Tensor **in = ARENA_ARRAY(f->scratch, const Tensor *, n->n_in);
    TRY_ALLOC(in);
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] == NO_ID) continue;
        TRY(tensor_align(g->values[n->in[i]].constant)); /* mapped weights may lie anywhere */
        in[i] = g->values[n->in[i]].constant;
    }
    EvalCtx c = {.g = g, .node = n, .scratch = f->scratch, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out};
    return n->op->eval(&c);
}

static Status fold_outputs(Fold *f, NodeId id, Tensor *out) {
    Graph *g = f->g;
    int n_out = g->nodes[id].n_out;
    for (int i = 0; i < n_out; i++) {
        ValueId v = g->nodes[id].out[i];
        if (!out[i].data) continue;
        Tensor t = out[i];
        out[i] = (Tensor){0};
        if (!t.blob) { /* a view of an input or of scratch memory */
            Tensor own;
            TRY(tensor_clone(&own, &t));
            t = own;
        }
        TRY(graph_make_constant(g, v, t));
    }
    graph_remove_node(g, id);
    f->stats->changed++;
    return NULL;
}

/* An op that cannot be evaluated (it divides by zero, say) stays, so that running the model reports it. */
static Status fold_node(Fold *f, NodeId id) {
    const Node *n = &f->g->nodes[id];
    if (!is_foldable(f, n)) return NULL;
    Tensor *out = ARENA_ARRAY(f->scratch, Tensor, n->n_out);
    TRY_ALLOC(out);
    int n_out = n->n_out;
    Status st = evaluate(f, n, out);
    if (!st)
        st = fold_outputs(f, id, out);
    else if (status_code(st) != STATUS_ENVIRONMENT) {
        status_free(st);
        st = NULL;
    }
    for (int i = 0; i < n_out; i++) tensor_free(&out[i]);
    return st;
}

/* ---- content known from shape inference ---- */

static bool known_is_numeric(const Value *v) {
    if (!v->known || v->constant) return false;
    for (int i = 0; i < v->n_known; i++)
        if (DIM_IS_SYM(v->known[i])) return false;
    return type_count(&v->type) == v->n_known && (elem_is_int(v->type.elem) || v->type.elem == ELEM_BOOL);
}

static Status fold_known(Fold *f, NodeId id) {
    Graph *g = f->g;
    int n_out = g->nodes[id].n_out;
    for (int i = 0; i < n_out; i++) {
        ValueId v = g->nodes[id].out[i];
        Value *x = &g->values[v];
        if ((!x->n_uses && !x->is_output) || !known_is_numeric(x)) continue;
        Tensor t;
        TRY(tensor_new(&t, x->type.elem, x->type.rank, x->type.dims));
        for (int k = 0; k < x->n_known; k++) tensor_set_i64(&t, k, x->known[k]);
        TRY(graph_make_constant(g, v, t));
        f->stats->changed++;
    }
    return NULL;
}

/* Expresses output dim i of a Reshape by 0 (copy of input dim i), a number, or once by -1. */
static bool target_dim(const Type *in, Dim d, int i, bool *used_minus_one, int64_t *out) {
    if (!DIM_IS_SYM(d)) return *out = d, d > 0;
    if (i < in->rank && in->dims[i] == d) return *out = 0, true;
    if (*used_minus_one) return false;
    *used_minus_one = true;
    *out = -1;
    return true;
}

/* A Reshape whose computed target has one symbol that its input does not show at the same place gets a constant target,
 * and the shape arithmetic in front of it dies. */
static Status fold_reshape_target(Fold *f, NodeId id) {
    Graph *g = f->g;
    const Node *n = &g->nodes[id];
    if (!op_is(n, "Reshape") || graph_constant(g, n->in[1]) || !edit_is_determined(g, n) || attr_int(n, "allowzero"))
        return NULL;
    const Type *in = edit_ranked(g, n->in[0]), *out = edit_ranked(g, n->out[0]);
    if (!in || !out) return NULL;
    int64_t target[MAX_RANK];
    bool used_minus_one = false;
    for (int i = 0; i < out->rank; i++)
        if (!target_dim(in, out->dims[i], i, &used_minus_one, &target[i])) return NULL;
    ValueId shape;
    TRY(edit_add_ints(g, g->values[n->in[1]].name, target, out->rank, &shape));
    TRY(edit_set_input(g, id, 1, shape));
    f->stats->changed++;
    return NULL;
}

/* Subgraphs: constants that they capture, and an If that is decided. */
static Status fold_control(Fold *f, NodeId id) {
    bool captures = false, decided = false;
    if (!(f->g->nodes[id].op->flags & OPF_CONTROL)) return NULL;
    TRY(inline_captures(f->g, id, &captures));
    TRY(inline_if(f->g, id, f->scratch, &decided));
    f->stats->changed += captures + decided;
    return NULL;
}

static int64_t byte_option(const PassOptions *o, const char *key, const char *deflt) {
    return strtoll(pass_option(o, key, deflt), NULL, 10);
}

static Status fold_all(Fold *f, Arena *lists) {
    NodeList list;
    TRY(edit_nodes(f->g, lists, &list));
    for (uint32_t i = 0; i < list.n; i++) {
        NodeId id = list.ids[i];
        arena_reset(f->scratch);
        TRY(fold_control(f, id));
        if (f->g->nodes[id].dead) continue;
        TRY(fold_known(f, id));
        TRY(fold_node(f, id));
        if (!f->g->nodes[id].dead) TRY(fold_reshape_target(f, id));
        bool removed = false;
        if (!f->g->nodes[id].dead) TRY(noop_remove(f->g, id, f->scratch, &removed));
        f->stats->changed += removed;
    }
    return NULL;
}

Status pass_fold(Graph *g, const PassOptions *o, PassStats *stats) {
    Fold f = {.g = g, .stats = stats};
    f.max_bytes = byte_option(o, "max", "1048576");
    f.max_expand = byte_option(o, "max-expand", "16384");
    Arena *lists = arena_new();
    f.scratch = arena_new();
    Status st = lists && f.scratch ? fold_all(&f, lists) : status_oom();
    arena_free(lists);
    arena_free(f.scratch);
    return st;
}
