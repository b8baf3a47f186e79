/* Control flow: If, Loop, Scan. A body's values are its own; captured values come with the call (EvalCtx.captures). */
#include "kernels/ref/dense.h"

#include <string.h>

/* ---- shape rules ---- */

static Graph *body_of(const Node *n, const char *name) {
    const Attr *a = attr_find(n, name);
    return a ? a->g : NULL;
}

static Status need_body(const InferCtx *c, const char *name, Graph **body) {
    *body = body_of(c->node, name);
    return *body ? NULL : infer_error(c, STATUS_INVALID, "attribute %s is missing", name);
}

/* Forgets what an earlier inference of the body found, so that wider input types are not narrowed by it. */
static void forget_types(Graph *g) {
    for (uint32_t i = 0; i < g->n_values; i++)
        if (g->values[i].producer != NO_ID && g->values[i].type.kind == TYPE_TENSOR) g->values[i].type.rank = -1;
    for (uint32_t i = 0; i < g->n_order; i++) {
        const Node *n = &g->nodes[g->order[i]];
        for (int k = 0; k < n->n_attrs; k++)
            if (n->attrs[k].kind == ATTR_GRAPH) forget_types(n->attrs[k].g);
    }
}

static const Type *body_out(const Graph *body, uint32_t i) { return &body->values[body->outputs[i]].type; }

/* *a becomes a type that holds both; true when that changed it. */
static bool widen(InferCtx *c, Type *a, const Type *b) {
    if (b->kind != TYPE_TENSOR || a->kind != TYPE_TENSOR) {
        bool change = a->kind != b->kind && a->kind != TYPE_UNKNOWN;
        if (change) *a = (Type){.kind = TYPE_UNKNOWN};
        return change;
    }
    if (a->rank < 0) return false;
    if (a->rank != b->rank) {
        a->rank = -1;
        return true;
    }
    bool change = false;
    for (int i = 0; i < a->rank; i++) {
        if (a->dims[i] == b->dims[i]) continue;
        a->dims[i] = infer_fresh(c);
        change = true;
    }
    return change;
}

Status infer_if(InferCtx *c) {
    Graph *then_body, *else_body;
    TRY(need_body(c, "then_branch", &then_body));
    TRY(need_body(c, "else_branch", &else_body));
    if ((uint32_t)c->n_out > then_body->n_outputs || (uint32_t)c->n_out > else_body->n_outputs)
        return infer_error(c, STATUS_INVALID, "a branch has fewer outputs than the node (%d)", c->n_out);
    TRY(infer_subgraph(c, then_body, 0, NULL));
    TRY(infer_subgraph(c, else_body, 0, NULL));
    const Tensor *cond = infer_const(c, 0);
    bool known = cond && tensor_count(cond) == 1, yes = known && tensor_get_i64(cond, 0) != 0;
    for (int i = 0; i < c->n_out; i++) {
        c->out[i] = *body_out(known && !yes ? else_body : then_body, (uint32_t)i);
        if (!known) widen(c, &c->out[i], body_out(else_body, (uint32_t)i));
    }
    return NULL;
}

/* Infers the body until the state's types hold every iteration. Input `first` + i of the body is state i, output
 * `first_out` + i its next value. Each round widens dims, so there are few. */
static Status infer_states(InferCtx *c, Graph *body, int n_in, Type *in, int first, uint32_t first_out, int n_states) {
    const Type **types = ARENA_ARRAY(c->scratch, const Type *, n_in);
    TRY_ALLOC(types);
    for (int i = 0; i < n_in; i++) types[i] = &in[i];
    bool change = true;
    for (int round = 0; change && round < 2 * MAX_RANK; round++) {
        if (round) forget_types(body);
        TRY(infer_subgraph(c, body, n_in, types));
        change = false;
        for (int i = 0; i < n_states; i++) change |= widen(c, &in[first + i], body_out(body, first_out + (uint32_t)i));
    }
    return NULL;
}

static Type unknown_tensor(ElemType e) { return (Type){.kind = TYPE_TENSOR, .elem = e, .rank = -1}; }

/* A body output with one more dim of size n at `axis` (it may count from the end of the new rank). */
static Type stacked(const Type *t, int64_t axis, Dim n) {
    Type r = *t;
    if (t->kind != TYPE_TENSOR || t->rank < 0) return unknown_tensor(t->kind == TYPE_TENSOR ? t->elem : ELEM_UNDEFINED);
    if (axis < 0) axis += t->rank + 1;
    if (axis < 0 || axis > t->rank || t->rank >= MAX_RANK) return unknown_tensor(t->elem);
    r.rank = t->rank + 1;
    for (int i = r.rank - 1; i > axis; i--) r.dims[i] = t->dims[i - 1];
    r.dims[axis] = n;
    return r;
}

Status infer_loop(InferCtx *c) {
    Graph *body;
    TRY(need_body(c, "body", &body));
    int states = c->n_in > 2 ? c->n_in - 2 : 0;
    if (body->n_inputs != (uint32_t)states + 2 || body->n_outputs < (uint32_t)states + 1 ||
        (uint32_t)c->n_out > body->n_outputs - 1)
        return infer_error(c, STATUS_INVALID,
                           "the body takes %u inputs and gives %u outputs, which does not fit %d states",
                           body->n_inputs, body->n_outputs, states);
    Type *in = ARENA_ARRAY(c->scratch, Type, states + 2);
    TRY_ALLOC(in);
    in[0] = type_tensor(ELEM_I64, 0, NULL);
    in[1] = type_tensor(ELEM_BOOL, 0, NULL);
    for (int i = 0; i < states; i++) in[i + 2] = c->in[i + 2] ? *c->in[i + 2] : (Type){.kind = TYPE_UNKNOWN};
    TRY(infer_states(c, body, states + 2, in, 2, 1, states));
    Dim trips = infer_fresh(c);
    for (int i = 0; i < c->n_out; i++)
        c->out[i] = i < states ? in[i + 2] : stacked(body_out(body, (uint32_t)i + 1), 0, trips);
    return NULL;
}

/* Element i of an attribute of axes or directions, 0 when not set. */
static int64_t attr_at(const Node *n, const char *name, int i) {
    int64_t count;
    const int64_t *v = attr_ints(n, name, &count);
    return v && i < count ? v[i] : 0;
}

/* A scan input's type without the scanned axis; *length gets that axis' size when known. */
static Status slice_type(const InferCtx *c, const Type *t, int64_t axis_attr, Type *slice, Dim *length) {
    int axis;
    *slice = *t;
    if (t->kind != TYPE_TENSOR || t->rank < 0) return NULL;
    TRY(infer_axis(c, axis_attr, t->rank, &axis));
    if (DIM_IS_SYM(*length)) *length = t->dims[axis];
    slice->rank = t->rank - 1;
    for (int i = axis; i < slice->rank; i++) slice->dims[i] = t->dims[i + 1];
    return NULL;
}

Status infer_scan(InferCtx *c) {
    Graph *body;
    TRY(need_body(c, "body", &body));
    int64_t scans = attr_int(c->node, "num_scan_inputs");
    int states = scans >= 1 && scans <= c->n_in ? c->n_in - (int)scans : -1;
    if (states < 0 || body->n_inputs != (uint32_t)c->n_in || body->n_outputs < (uint32_t)states ||
        (uint32_t)c->n_out > body->n_outputs)
        return infer_error(c, STATUS_INVALID,
                           "the body takes %u inputs and gives %u outputs, which does not fit the node", body->n_inputs,
                           body->n_outputs);
    Type *in = ARENA_ARRAY(c->scratch, Type, c->n_in);
    TRY_ALLOC(in);
    Dim length = infer_fresh(c);
    for (int i = 0; i < c->n_in; i++) {
        if (!c->in[i]) continue;
        in[i] = *c->in[i];
        if (i >= states) TRY(slice_type(c, c->in[i], attr_at(c->node, "scan_input_axes", i - states), &in[i], &length));
    }
    TRY(infer_states(c, body, c->n_in, in, 0, 0, states));
    for (int i = 0; i < c->n_out; i++)
        c->out[i] =
            i < states ? in[i]
                       : stacked(body_out(body, (uint32_t)i), attr_at(c->node, "scan_output_axes", i - states), length);
    return NULL;
}

/* ---- values ---- */

/* Puts an owned tensor into output o; frees it when the node does not have that output. */
static void give(EvalCtx *c, int o, Tensor *t) {
    if (o < c->n_out) {
        tensor_free(&c->out[o]);
        c->out[o] = *t;
    } else {
        tensor_free(t);
    }
    memset(t, 0, sizeof *t);
}

static Status run(EvalCtx *c, const Graph *body, int n_in, const Tensor *in, Tensor *out) {
    if (!c->run_subgraph) return eval_error(c, STATUS_UNSUPPORTED, "this caller cannot run subgraphs");
    return c->run_subgraph(c, body, n_in, in, (int)body->n_outputs, out);
}

Status eval_if(EvalCtx *c) {
    if (tensor_count(c->in[0]) != 1) return eval_error(c, STATUS_INVALID, "the condition must have one element");
    const Graph *body = body_of(c->node, tensor_get_i64(c->in[0], 0) ? "then_branch" : "else_branch");
    Tensor *out = body ? ARENA_ARRAY(c->scratch, Tensor, body->n_outputs) : NULL;
    TRY_ALLOC(out);
    TRY(run(c, body, 0, NULL, out));
    for (uint32_t i = 0; i < body->n_outputs; i++) give(c, (int)i, &out[i]);
    return NULL;
}

/* What a body's scan output has given so far: equal tensors, one after the other. */
typedef struct Stack {
    Buf bytes;
    Tensor shape; /* of one piece; no data */
    int64_t count;
} Stack;

static Status stack_push(EvalCtx *c, Stack *s, const Tensor *t) {
    bool same = s->count == 0 || (t->elem == s->shape.elem && t->rank == s->shape.rank &&
                                  !memcmp(t->dims, s->shape.dims, (size_t)t->rank * sizeof *t->dims));
    if (!same) return eval_error(c, STATUS_INVALID, "a scan output changes its shape between iterations");
    if (elem_bits(t->elem) < 8 || t->rank >= MAX_RANK)
        return eval_error(c, STATUS_UNSUPPORTED, "a scan output of type %s and rank %d", elem_name(t->elem), t->rank);
    s->shape = (Tensor){.elem = t->elem, .rank = t->rank};
    memcpy(s->shape.dims, t->dims, sizeof t->dims);
    s->count++;
    buf_append(&s->bytes, t->data, t->bytes);
    return s->bytes.failed ? status_oom() : NULL;
}

/* The shape of a piece when there was none: from the body's type, 0 for what is not known. */
static void empty_piece(Stack *s, const Type *t) {
    if (s->count > 0 || t->kind != TYPE_TENSOR) return;
    s->shape = (Tensor){.elem = t->elem, .rank = t->rank < 0 ? 0 : t->rank};
    for (int i = 0; i < s->shape.rank; i++) s->shape.dims[i] = DIM_IS_SYM(t->dims[i]) ? 0 : t->dims[i];
}

/* Output o: the pieces along a new axis, in reverse when `backward`. */
static Status stack_store(EvalCtx *c, int o, Stack *s, const Type *type, int64_t axis, bool backward) {
    if (o >= c->n_out) return NULL;
    empty_piece(s, type);
    int rank = s->shape.rank + 1;
    if (axis < 0) axis += rank;
    if (axis < 0 || axis >= rank) return eval_error(c, STATUS_INVALID, "a scan output's axis lies outside its rank");
    int64_t dims[MAX_RANK], strides[MAX_RANK], piece_strides[MAX_RANK], piece = tensor_count(&s->shape);
    for (int i = 0; i < rank; i++) dims[i] = i == axis ? s->count : s->shape.dims[i - (i > axis)];
    Tensor out;
    TRY(ref_output(c, o, s->shape.elem, rank, dims, &out));
    ref_strides(rank, dims, strides);
    ref_strides(rank - 1, s->shape.dims, piece_strides);
    int64_t along = strides[axis];
    memmove(strides + axis, strides + axis + 1, (size_t)(rank - 1 - axis) * sizeof *strides);
    for (int64_t i = 0; i < s->count && piece > 0; i++) {
        int64_t at = backward ? s->count - 1 - i : i;
        ref_copy_strided(out.elem, rank - 1, s->shape.dims, out.data, at * along, strides, (uint8_t *)s->bytes.data,
                         i * piece, piece_strides);
    }
    return NULL;
}

/* State, slices and results of one loop. */
typedef struct LoopRun {
    const Graph *body;
    int n_in, states;
    uint32_t skip; /* body outputs before the states */
    Tensor *in, *out;
    Stack *stacks;
    int n_stacks;
} LoopRun;

static Status loop_start(EvalCtx *c, LoopRun *l, int n_in, int states, uint32_t skip) {
    l->body = body_of(c->node, "body");
    if (!l->body || l->body->n_inputs != (uint32_t)n_in || l->body->n_outputs < skip + (uint32_t)states)
        return eval_error(c, STATUS_INVALID, "the body does not fit the node");
    l->n_in = n_in;
    l->states = states;
    l->skip = skip;
    l->n_stacks = (int)l->body->n_outputs - (int)skip - states;
    TRY_ALLOC(l->in = ARENA_ARRAY(c->scratch, Tensor, n_in));
    TRY_ALLOC(l->out = ARENA_ARRAY(c->scratch, Tensor, l->body->n_outputs));
    TRY_ALLOC(l->stacks = ARENA_ARRAY(c->scratch, Stack, l->n_stacks));
    return NULL;
}

/* Runs the body once; states move on, scan outputs are kept. State i is input `first` + i. */
static Status loop_step(EvalCtx *c, LoopRun *l, int first) {
    TRY(run(c, l->body, l->n_in, l->in, l->out));
    Status s = NULL;
    for (int i = 0; i < l->states; i++) {
        Tensor *next = &l->out[l->skip + (uint32_t)i];
        tensor_free(&l->in[first + i]);
        l->in[first + i] = *next;
        memset(next, 0, sizeof *next);
    }
    for (int i = 0; i < l->n_stacks; i++) {
        Tensor *t = &l->out[l->skip + (uint32_t)(l->states + i)];
        if (!s) s = stack_push(c, &l->stacks[i], t);
        tensor_free(t);
    }
    return s;
}

static void loop_free(LoopRun *l, int first) {
    for (int i = 0; l->in && i < l->states; i++) tensor_free(&l->in[first + i]);
    for (uint32_t i = 0; l->out && i < l->body->n_outputs; i++) tensor_free(&l->out[i]);
    for (int i = 0; l->stacks && i < l->n_stacks; i++) buf_free(&l->stacks[i].bytes);
}

/* The states' last values as outputs 0 … */
static Status give_states(EvalCtx *c, LoopRun *l, int first) {
    for (int i = 0; i < l->states; i++) {
        Tensor *t = &l->in[first + i], copy;
        if (!t->blob) {
            TRY(tensor_clone(&copy, t)); /* never replaced: still the caller's bytes */
            *t = copy;
        }
        give(c, i, t);
    }
    return NULL;
}

/* A state's first value: a reference, or a view of the caller's bytes. */
static Tensor borrow(const Tensor *t) { return t->blob ? tensor_ref(t) : *t; }

static Status loop_run(EvalCtx *c, LoopRun *l) {
    int64_t trips = INT64_MAX, step = 0;
    uint8_t go = 1;
    if (dense_in(c, 0)) trips = tensor_get_i64(c->in[0], 0);
    if (dense_in(c, 1)) go = tensor_get_i64(c->in[1], 0) != 0;
    for (; step < trips && go; step++) {
        TRY(tensor_view(&l->in[0], ELEM_I64, 0, NULL, &step));
        TRY(tensor_view(&l->in[1], ELEM_BOOL, 0, NULL, &go));
        TRY(loop_step(c, l, 2));
        if (tensor_count(&l->out[0]) != 1) return eval_error(c, STATUS_INVALID, "the body's condition is no scalar");
        go = tensor_get_i64(&l->out[0], 0) != 0;
        tensor_free(&l->out[0]);
    }
    TRY(give_states(c, l, 2));
    for (int i = 0; i < l->n_stacks; i++)
        TRY(stack_store(c, l->states + i, &l->stacks[i], body_out(l->body, l->skip + (uint32_t)(l->states + i)), 0,
                        false));
    return NULL;
}

Status eval_loop(EvalCtx *c) {
    LoopRun l = {0};
    int states = c->n_in > 2 ? c->n_in - 2 : 0;
    for (int i = 0; i < 2; i++)
        if (dense_in(c, i) && tensor_count(c->in[i]) != 1)
            return eval_error(c, STATUS_INVALID, "trip count and condition must have one element");
    TRY(loop_start(c, &l, states + 2, states, 1));
    for (int i = 0; i < states; i++) {
        if (!c->in[i + 2]) return eval_error(c, STATUS_INVALID, "state %d has no first value", i);
        l.in[i + 2] = borrow(c->in[i + 2]);
    }
    Status s = loop_run(c, &l);
    loop_free(&l, 2);
    return s;
}

/* One scan input: its slices along an axis. */
typedef struct Scanned {
    const Tensor *t;
    int axis;
    bool backward;
    int64_t strides[MAX_RANK]; /* of t without the axis */
    int64_t along;
} Scanned;

static Status scan_open(EvalCtx *c, LoopRun *l, int i, Scanned *s, int64_t *length) {
    s->t = c->in[l->states + i];
    if (!s->t) return eval_error(c, STATUS_INVALID, "scan input %d is absent", i);
    TRY(ref_axis(c, attr_at(c->node, "scan_input_axes", i), s->t->rank, &s->axis));
    s->backward = attr_at(c->node, "scan_input_directions", i) != 0;
    int64_t n = s->t->dims[s->axis], dims[MAX_RANK];
    if (*length >= 0 && *length != n)
        return eval_error(c, STATUS_INVALID, "the scan inputs have %lld and %lld elements", (long long)*length,
                          (long long)n);
    *length = n;
    ref_strides(s->t->rank, s->t->dims, s->strides);
    s->along = s->strides[s->axis];
    memcpy(dims, s->t->dims, sizeof dims);
    size_t rest = (size_t)(s->t->rank - 1 - s->axis);
    memmove(s->strides + s->axis, s->strides + s->axis + 1, rest * sizeof *dims);
    memmove(dims + s->axis, dims + s->axis + 1, rest * sizeof *dims);
    return ref_scratch(c, s->t->elem, s->t->rank - 1, dims, &l->in[l->states + i]);
}

static Status scan_run(EvalCtx *c, LoopRun *l, const Scanned *scans, int n_scans, int64_t length) {
    int64_t dense[MAX_RANK];
    for (int64_t step = 0; step < length; step++) {
        for (int i = 0; i < n_scans; i++) {
            const Scanned *s = &scans[i];
            Tensor *to = &l->in[l->states + i];
            int64_t at = s->backward ? length - 1 - step : step;
            ref_strides(to->rank, to->dims, dense);
            ref_copy_strided(to->elem, to->rank, to->dims, to->data, 0, dense, s->t->data, at * s->along, s->strides);
        }
        TRY(loop_step(c, l, 0));
    }
    TRY(give_states(c, l, 0));
    for (int i = 0; i < l->n_stacks; i++)
        TRY(stack_store(c, l->states + i, &l->stacks[i], body_out(l->body, (uint32_t)(l->states + i)),
                        attr_at(c->node, "scan_output_axes", i), attr_at(c->node, "scan_output_directions", i) != 0));
    return NULL;
}

Status eval_scan(EvalCtx *c) {
    LoopRun l = {0};
    int64_t n = attr_int(c->node, "num_scan_inputs"), length = -1;
    if (n < 1 || n > c->n_in) return eval_error(c, STATUS_INVALID, "num_scan_inputs does not fit the inputs");
    TRY(loop_start(c, &l, c->n_in, c->n_in - (int)n, 0));
    Scanned *scans = ARENA_ARRAY(c->scratch, Scanned, n);
    TRY_ALLOC(scans);
    for (int i = 0; i < (int)n; i++) TRY(scan_open(c, &l, i, &scans[i], &length));
    for (int i = 0; i < l.states; i++) {
        if (!c->in[i]) return eval_error(c, STATUS_INVALID, "state %d has no first value", i);
        l.in[i] = borrow(c->in[i]);
    }
    Status s = scan_run(c, &l, scans, (int)n, length);
    loop_free(&l, 0);
    return s;
}
