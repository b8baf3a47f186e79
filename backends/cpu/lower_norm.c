/* Softmax, normalizations over last axes, and reductions of float tensors. */
#include "backends/cpu/plan.h"

#include "kernels/cpu/move/reduce.h"
#include "kernels/cpu/norm/norm.h"

static bool is_f32(const Lowering *l, ValueId v) { return v != NO_ID && lower_type(l, v)->elem == ELEM_F32; }

/* A one-input step on row-major tensors. */
static Status plain_step(Lowering *l, const Node *n, const char *kernel, StepFn run, const void *op, size_t bytes) {
    Operand x, y;
    TRY(lower_read(l, n->in[0], LAYOUT_PLAIN, &x, NULL));
    TRY(lower_write(l, n->out[0], LAYOUT_PLAIN, &y, NULL));
    return lower_simple(l, n, n->op->name, &(SimpleStep){kernel, run, op, bytes, x, y});
}

/* Products of the dims before, at and behind an axis (given as [first, last]). */
static void cut(const Type *t, int first, int last, int64_t *outer, int64_t *len, int64_t *inner) {
    *outer = *len = *inner = 1;
    for (int i = 0; i < t->rank; i++) *(i < first ? outer : i <= last ? len : inner) *= t->dims[i];
}

static Status run_softmax(const Step *s, Context *c) {
    softmax_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

Status lower_softmax(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *t = lower_type(l, n->in[0]);
    if (!is_f32(l, n->in[0]) || t->rank < 1 || type_count(t) < 1) return NULL;
    *done = true;
    int axis = (int)attr_int(n, "axis");
    if (axis < 0) axis += t->rank;
    Softmax op = {.log = op_is(n, "LogSoftmax")};
    cut(t, axis, axis, &op.outer, &op.len, &op.inner);
    softmax_prepare(&op, l->p->isa);
    return plain_step(l, n, "softmax_f32", run_softmax, &op, sizeof op);
}

/* ---- normalization of rows ---- */

static Status run_row_norm(const Step *s, Context *c) {
    row_norm_run(s->op, STEP_IN(s, c, 0), NULL, STEP_OUT(s, c, 0), NULL, c->team);
    return NULL;
}

/* gamma or beta as n floats; *out NULL when absent, false when it does not fit. */
static bool row_vector(Lowering *l, const Node *n, int slot, int64_t count, const float **out, Status *st) {
    *out = NULL;
    if (slot >= n->n_in || n->in[slot] == NO_ID) return true;
    const Tensor *t = graph_constant(l->g, n->in[slot]);
    if (!t || tensor_count(t) != count || t->elem != ELEM_F32) return false;
    *st = plan_floats(l->p, t, out);
    return true;
}

static Status lower_rows(Lowering *l, const Node *n, RowNorm op, int axis, bool *done) {
    const Type *t = lower_type(l, n->in[0]);
    if (axis < 0) axis += t->rank;
    int64_t inner;
    cut(t, axis, t->rank - 1, &op.rows, &op.n, &inner);
    op.x_ld = op.y_ld = (size_t)op.n;
    Status st = NULL;
    bool l2 = op.kind == ROW_NORM_L2;
    if (!l2 && (!row_vector(l, n, 1, op.n, &op.gamma, &st) || (!st && !row_vector(l, n, 2, op.n, &op.beta, &st))))
        return st;
    TRY(st);
    *done = true;
    row_norm_prepare(&op, l->p->isa);
    return plain_step(l, n, "row_norm_f32", run_row_norm, &op, sizeof op);
}

Status lower_layer_norm(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    if (!is_f32(l, n->in[0]) || n->n_out > 1 || type_count(lower_type(l, n->in[0])) < 1) return NULL;
    RowNorm op = {.kind = op_is(n, "RMSNormalization") ? ROW_NORM_RMS : ROW_NORM_LAYER,
                  .epsilon = attr_float(n, "epsilon")};
    return lower_rows(l, n, op, (int)attr_int(n, "axis"), done);
}

Status lower_lp_norm(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *t = lower_type(l, n->in[0]);
    int axis = (int)attr_int(n, "axis");
    if (!is_f32(l, n->in[0]) || attr_int(n, "p") != 2 || (axis != -1 && axis != t->rank - 1) || type_count(t) < 1)
        return NULL;
    return lower_rows(l, n, (RowNorm){.kind = ROW_NORM_L2, .epsilon = 1e-30f}, axis, done);
}

/* ---- reductions ---- */

static const struct {
    const char *op;
    ReduceKind kind;
} reductions[] = {{"ReduceMean", REDUCE_MEAN}, {"ReduceSum", REDUCE_SUM},
                  {"ReduceMax", REDUCE_MAX},   {"ReduceMin", REDUCE_MIN},
                  {"ReduceL1", REDUCE_L1},     {"ReduceL2", REDUCE_L2},
                  {"ReduceProd", REDUCE_PROD}, {"ReduceSumSquare", REDUCE_SUM_SQUARE}};

/* First and last of the reduced axes; false when they are not neighbours or not constant. */
static bool reduced_axes(const Lowering *l, const Node *n, int rank, int *first, int *last) {
    *first = 0;
    *last = rank - 1;
    if (n->n_in < 2 || n->in[1] == NO_ID) return !attr_int(n, "noop_with_empty_axes");
    const Tensor *t = graph_constant(l->g, n->in[1]);
    int64_t count = t ? tensor_count(t) : 0;
    bool in[MAX_RANK] = {false};
    for (int64_t i = 0; i < count; i++) {
        int64_t axis = tensor_get_i64(t, i);
        in[axis < 0 ? axis + rank : axis] = true;
    }
    if (!count) return false;
    for (*first = 0; !in[*first];) ++*first;
    for (*last = *first; *last + 1 < rank && in[*last + 1];) ++*last;
    return *last - *first + 1 == count;
}

static Status run_reduce(const Step *s, Context *c) {
    reduce_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

Status lower_reduce(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *t = lower_type(l, n->in[0]);
    int first, last;
    if (!is_f32(l, n->in[0]) || t->rank < 1 || type_count(t) < 1 || !reduced_axes(l, n, t->rank, &first, &last))
        return NULL;
    Reduce op = {0};
    bool known = false;
    for (size_t i = 0; i < sizeof reductions / sizeof *reductions; i++)
        if (op_is(n, reductions[i].op)) op.kind = reductions[i].kind, known = true;
    if (!known) return NULL;
    *done = true;
    cut(t, first, last, &op.outer, &op.len, &op.inner);
    reduce_prepare(&op, l->p->isa);
    return plain_step(l, n, "reduce_f32", run_reduce, &op, sizeof op);
}
