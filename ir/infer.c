/* The driver of shape inference, and what shape rules and evaluations call. */
#include "ir/op.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* ---- helpers of shape rules ---- */

static Status node_error(const Node *n, StatusCode code, const char *fmt, va_list ap) {
    return status_context(status_vmake(code, fmt, ap), "%s '%s'", n->op->name, n->name);
}

Status infer_error(const InferCtx *c, StatusCode code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    Status s = node_error(c->node, code, fmt, ap);
    va_end(ap);
    return s;
}

Status eval_error(const EvalCtx *c, StatusCode code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    Status s = node_error(c->node, code, fmt, ap);
    va_end(ap);
    return s;
}

const Tensor *infer_const(const InferCtx *c, int i) {
    return i < c->node->n_in ? graph_constant(c->g, c->node->in[i]) : NULL;
}

enum { MAX_KNOWN = 1024 }; /* elements: shape arithmetic is short; longer integer constants are data */

const Dim *infer_known(InferCtx *c, int i, int *n) {
    if (i >= c->node->n_in || c->node->in[i] == NO_ID) return NULL;
    const Value *v = &c->g->values[c->node->in[i]];
    if (v->known) {
        *n = v->n_known;
        return v->known;
    }
    const Tensor *t = v->constant;
    if (!t || !(elem_is_int(t->elem) || t->elem == ELEM_BOOL)) return NULL;
    int64_t count = tensor_count(t);
    Dim *dims = count <= MAX_KNOWN ? ARENA_ARRAY(c->scratch, Dim, count) : NULL;
    if (!dims) return NULL;
    for (int64_t k = 0; k < count; k++) {
        dims[k] = tensor_get_i64(t, k);
        if (DIM_IS_SYM(dims[k])) return NULL; /* a number that would read as a symbol */
    }
    *n = (int)count;
    return dims;
}

Status infer_set_known(InferCtx *c, int out, const Dim *dims, int n) {
    if (out >= c->node->n_out || c->node->out[out] == NO_ID || n > MAX_KNOWN) return NULL;
    Dim *copy = ARENA_ARRAY(c->g->arena, Dim, n);
    TRY_ALLOC(copy);
    if (n) memcpy(copy, dims, (size_t)n * sizeof *copy);
    Value *v = &c->g->values[c->node->out[out]];
    v->known = copy;
    v->n_known = n;
    return NULL;
}

void infer_set(InferCtx *c, int o, ElemType e, int rank, const Dim *dims) {
    if (o < c->n_out) c->out[o] = type_tensor(e, rank, dims);
}

void infer_set_unranked(InferCtx *c, int o, ElemType e) {
    if (o < c->n_out) c->out[o] = (Type){.kind = TYPE_TENSOR, .elem = e, .rank = -1};
}

static Status broadcast_dim(InferCtx *c, Dim x, Dim y, int axis, Dim *out) {
    if (x == y || y == 1)
        *out = x;
    else if (x == 1)
        *out = y;
    else if (DIM_IS_SYM(x) && DIM_IS_SYM(y))
        *out = sym_op(c->g->syms, SYM_MAX, x, y); /* equal, or one of them is 1 */
    else if (DIM_IS_SYM(x))
        *out = y;
    else if (DIM_IS_SYM(y))
        *out = x;
    else
        return infer_error(c, STATUS_INVALID,
                           "the input shapes do not broadcast: axis %d has %" PRId64 " and %" PRId64 " elements", axis,
                           x, y);
    return NULL;
}

Status infer_broadcast(InferCtx *c, const Type *a, const Type *b, int *rank, Dim *dims) {
    if (a->rank < 0 || b->rank < 0) {
        *rank = -1;
        return NULL;
    }
    *rank = a->rank > b->rank ? a->rank : b->rank;
    for (int i = 0; i < *rank; i++) {
        int ia = i - (*rank - a->rank), ib = i - (*rank - b->rank);
        TRY(broadcast_dim(c, ia < 0 ? 1 : a->dims[ia], ib < 0 ? 1 : b->dims[ib], i, &dims[i]));
    }
    return NULL;
}

Status infer_axis(const InferCtx *c, int64_t axis, int rank, int *out) {
    if (axis < -rank || axis >= rank)
        return infer_error(c, STATUS_INVALID, "axis %" PRId64 " is outside the %d dimensions of the input", axis, rank);
    *out = (int)(axis < 0 ? axis + rank : axis);
    return NULL;
}

/* ---- evaluation ---- */

Status eval_output(EvalCtx *c, int i, ElemType e, int rank, const int64_t *dims, void **data) {
    static Tensor unused; /* outputs that the node does not have are not asked for: see EvalCtx.n_out */
    Tensor *t = i < c->n_out ? &c->out[i] : &unused;
    if (t == &unused) return eval_error(c, STATUS_INTERNAL, "output %d does not exist", i);
    Tensor want;
    TRY(tensor_view(&want, e, rank, dims, NULL));
    if (t->data && t->bytes >= want.bytes && (t->blob || t->elem == e)) {
        Blob *blob = t->blob;
        uint8_t *memory = t->data;
        *t = want;
        t->blob = blob;
        t->data = memory;
    } else {
        tensor_free(t);
        TRY(tensor_new(t, e, rank, dims));
    }
    *data = t->data;
    return NULL;
}

/* ---- the driver ---- */

static const char *describe(const Graph *g, const Type *t, char *buf, size_t cap) {
    const char *name = elem_name(t->elem);
    int at = snprintf(buf, cap, "%s", name ? name : "?");
    if (t->rank < 0) return buf;
    for (int i = 0; i <= t->rank && at >= 0 && (size_t)at < cap; i++) {
        char dim[64] = "]";
        if (i < t->rank) sym_print(g->syms, t->dims[i], dim, sizeof dim);
        at += snprintf(buf + at, cap - (size_t)at, "%s%s", i == 0 ? "[" : i < t->rank ? "," : "", dim);
    }
    return buf;
}

/* Rules compute with attributes and constants of the model: what they find may be no type at all. */
static Status check_found(const Node *n, int out, const Type *found) {
    if (found->kind != TYPE_TENSOR) return NULL;
    if (!elem_name(found->elem))
        return status_make(STATUS_INVALID, "%s '%s': output %d would have element type %d, which does not exist",
                           n->op->name, n->name, out, (int)found->elem);
    for (int i = 0; i < found->rank; i++)
        if (found->dims[i] < 0 && !DIM_IS_SYM(found->dims[i]))
            return status_make(STATUS_INVALID, "%s '%s': output %d would have %" PRId64 " elements along axis %d",
                               n->op->name, n->name, out, found->dims[i], i);
    return NULL;
}

/* Merges what the rule found with what the model declares. Rules win where they know; a declared number fills a
 * symbol; two different numbers are an error of the model. */
static Status merge(const Graph *g, const Node *n, Value *v, const Type *found) {
    Type *have = &v->type;
    if (found->kind == TYPE_UNKNOWN) return NULL;
    if (found->kind != TYPE_TENSOR || have->kind != TYPE_TENSOR || found->rank < 0) {
        if (have->kind == TYPE_UNKNOWN || found->kind != TYPE_TENSOR) *have = *found;
        if (found->kind == TYPE_TENSOR && found->elem) have->elem = found->elem;
        return NULL;
    }
    Type merged = *found;
    bool clash = have->elem && found->elem && have->elem != found->elem;
    clash |= have->rank >= 0 && have->rank != found->rank;
    for (int i = 0; !clash && have->rank >= 0 && i < found->rank; i++) {
        bool number = !DIM_IS_SYM(have->dims[i]);
        if (number && DIM_IS_SYM(found->dims[i]))
            merged.dims[i] = have->dims[i];
        else
            clash = number && have->dims[i] != found->dims[i];
    }
    if (clash) {
        char a[256], b[256];
        return status_make(STATUS_INVALID, "%s '%s': output '%s' is declared as %s, but its inputs make it %s",
                           n->op->name, n->name, v->name, describe(g, have, a, sizeof a),
                           describe(g, found, b, sizeof b));
    }
    *have = merged;
    return NULL;
}

static Status check_counts(const Node *n) {
    const OpDef *op = n->op;
    if (n->n_in < op->min_in || n->n_in > op->max_in || n->n_out < op->min_out || n->n_out > op->max_out)
        return status_make(STATUS_INVALID, "%s '%s': has %d inputs and %d outputs; %d to %d and %d to %d are allowed",
                           op->name, n->name, n->n_in, n->n_out, op->min_in, op->max_in, op->min_out, op->max_out);
    for (int i = 0; i < op->min_in; i++)
        if (n->in[i] == NO_ID)
            return status_make(STATUS_INVALID, "%s '%s': required input %d is absent", op->name, n->name, i);
    return NULL;
}

static Status infer_node(Graph *g, NodeId id, Arena *scratch) {
    const Node *n = &g->nodes[id];
    TRY(check_counts(n));
    InferCtx c = {.g = g, .node = n, .scratch = scratch, .n_in = n->n_in, .n_out = n->n_out};
    c.in = ARENA_ARRAY(scratch, const Type *, n->n_in);
    c.out = ARENA_ARRAY(scratch, Type, n->n_out);
    TRY_ALLOC(c.in && c.out);
    Type *in = ARENA_ARRAY(scratch, Type, n->n_in);
    TRY_ALLOC(in);
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] == NO_ID) continue;
        in[i] = g->values[n->in[i]].type;
        if (in[i].kind == TYPE_UNKNOWN) in[i] = (Type){.kind = TYPE_TENSOR, .rank = -1};
        c.in[i] = &in[i];
    }
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] != NO_ID) g->values[n->out[i]].known = NULL;
    TRY(n->op->infer(&c));
    n = &g->nodes[id];
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] != NO_ID) {
            TRY(check_found(n, i, &c.out[i]));
            TRY(merge(g, n, &g->values[n->out[i]], &c.out[i]));
        }
    return NULL;
}

Status graph_infer(Graph *g) {
    Arena *scratch = arena_new();
    if (!scratch) return status_oom();
    Status s = NULL;
    for (uint32_t i = 0; !s && i < g->n_order; i++) {
        arena_reset(scratch);
        s = infer_node(g, g->order[i], scratch);
    }
    arena_free(scratch);
    return s;
}

Status infer_subgraph(InferCtx *c, Graph *sub, int n_in, const Type *const *in) {
    if ((uint32_t)n_in != sub->n_inputs)
        return infer_error(c, STATUS_INVALID, "its subgraph '%s' takes %u inputs, but gets %d", sub->name,
                           sub->n_inputs, n_in);
    for (int i = 0; i < n_in; i++)
        if (in[i]) sub->values[sub->inputs[i]].type = *in[i];
    for (uint32_t i = 0; i < sub->n_captures; i++) {
        ValueId outer = c->node->in[sub->captures[i].slot];
        if (outer == NO_ID) continue;
        Value *v = &sub->values[sub->captures[i].inner];
        v->type = c->g->values[outer].type;
        v->known = c->g->values[outer].known;
        v->n_known = c->g->values[outer].n_known;
    }
    return graph_infer(sub);
}

static void substitute_type(Graph *g, Type *t, int64_t (*bind)(void *, const char *), void *ctx) {
    if (t->kind != TYPE_TENSOR) return;
    for (int i = 0; i < t->rank; i++) t->dims[i] = sym_substitute(g->syms, t->dims[i], bind, ctx);
}

static void forget_inferred(Graph *g) {
    for (uint32_t i = 0; i < g->n_values; i++) {
        Value *v = &g->values[i];
        v->known = NULL;
        if (v->producer != NO_ID && v->type.kind == TYPE_TENSOR) v->type.rank = -1;
    }
}

Status graph_bind(Graph *g, int64_t (*bind)(void *ctx, const char *name), void *ctx) {
    for (uint32_t i = 0; i < g->n_inputs; i++) substitute_type(g, &g->values[g->inputs[i]].type, bind, ctx);
    forget_inferred(g);
    return graph_infer(g);
}
