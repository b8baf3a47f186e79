/* Shape rules shared by families. */
#include "kernels/ref/ref.h"

bool infer_is_tensor(const InferCtx *c, int i) { return i < c->n_in && c->in[i] && c->in[i]->kind == TYPE_TENSOR; }

bool infer_is_ranked(const InferCtx *c, int i) { return infer_is_tensor(c, i) && c->in[i]->rank >= 0; }

ElemType infer_elem(const InferCtx *c, int i) { return infer_is_tensor(c, i) ? c->in[i]->elem : ELEM_UNDEFINED; }

Status infer_same(InferCtx *c) {
    if (c->n_in > 0 && c->in[0]) c->out[0] = *c->in[0];
    return NULL;
}

Status infer_same_as(InferCtx *c, ElemType e) {
    if (!infer_is_tensor(c, 0)) return NULL;
    c->out[0] = *c->in[0];
    c->out[0].elem = e;
    return NULL;
}

Status infer_broadcast_all(InferCtx *c, ElemType e) {
    Type t = {.kind = TYPE_TENSOR, .elem = e, .rank = 0};
    for (int i = 0; i < c->n_in; i++) {
        if (!c->in[i]) continue;
        if (!infer_is_ranked(c, i)) {
            infer_set_unranked(c, 0, e);
            return NULL;
        }
        int rank;
        Dim dims[MAX_RANK];
        TRY(infer_broadcast(c, &t, c->in[i], &rank, dims));
        t = type_tensor(e, rank, dims);
    }
    c->out[0] = t;
    return NULL;
}

Dim infer_dim_op(InferCtx *c, SymOp op, Dim a, Dim b) { return sym_op(c->g->syms, op, a, b); }

Dim infer_fresh(InferCtx *c) { return sym_fresh(c->g->syms); }

Dim infer_product(InferCtx *c, const Dim *dims, int from, int to) {
    Dim p = 1;
    for (int i = from; i < to; i++) p = infer_dim_op(c, SYM_MUL, p, dims[i]);
    return p;
}

Status infer_set_dims(InferCtx *c, int o, ElemType e, int rank, const Dim *dims) {
    for (int i = 0; i < rank; i++) {
        if (DIM_IS_NUM(dims[i]) && dims[i] < 0) {
            return infer_error(c, STATUS_INVALID, "dimension %d of the result is %lld", i, (long long)dims[i]);
        }
    }
    infer_set(c, o, e, rank, dims);
    return NULL;
}

void infer_set_fresh(InferCtx *c, int o, ElemType e, int rank) {
    Dim dims[MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = infer_fresh(c);
    infer_set(c, o, e, rank, dims);
}

Status known_pass(InferCtx *c) {
    int n;
    const Dim *d = infer_known(c, 0, &n);
    return d ? infer_set_known(c, 0, d, n) : NULL;
}

/* Constants are read here, because infer_known leaves out numbers that would read as symbols (Slice's INT64_MIN). */
bool infer_ints(InferCtx *c, int i, const int64_t **v, int *n) {
    *v = NULL;
    *n = 0;
    if (i >= c->n_in || !c->in[i]) return true;
    const Tensor *t = infer_const(c, i);
    if (!t) {
        const Dim *d = infer_known(c, i, n);
        *v = d;
        for (int k = 0; d && k < *n; k++) {
            if (DIM_IS_SYM(d[k])) return false;
        }
        return d != NULL;
    }
    if (!elem_is_int(t->elem) || tensor_count(t) > INT16_MAX) return false;
    *n = (int)tensor_count(t);
    return (*v = ref_read_i64(c->scratch, t)) != NULL;
}
