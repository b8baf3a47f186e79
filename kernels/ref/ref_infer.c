/* Shape rules shared by families, and arithmetic on known integer content. */
#include "kernels/ref/ref.h"

/* Numbers below 0 are held at KNOWN_BASE + v, which no symbol reaches (symbols count up from -1). */
#define KNOWN_BASE (INT64_MIN / 2)

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

void infer_set_fresh(InferCtx *c, int o, ElemType e, int rank) {
    Dim dims[MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = infer_fresh(c);
    infer_set(c, o, e, rank, dims);
}

/* ---- known content ---- */

Dim known_num(int64_t v) { return v >= 0 ? v : KNOWN_BASE + (v < KNOWN_BASE / 2 ? KNOWN_BASE / 2 : v); }

bool known_is_num(Dim d) { return d >= 0 || d < KNOWN_BASE; }

int64_t known_value(Dim d) { return d >= 0 ? d : d - KNOWN_BASE; }

static int64_t fold(SymOp op, int64_t a, int64_t b, bool *ok) {
    int64_t r = 0, q = 0, m = 0;
    if (op == SYM_FLOORDIV || op == SYM_CEILDIV || op == SYM_MOD) {
        *ok = b != 0 && b != -1;
        if (b == -1) {
            *ok = a != INT64_MIN;
            if (*ok) q = -a;
        } else if (*ok) {
            q = a / b;
            m = a % b;
        }
    } else {
        *ok = true;
    }
    bool uneven = m != 0;
    switch (op) {
    case SYM_ADD:
        *ok = !__builtin_add_overflow(a, b, &r);
        break;
    case SYM_SUB:
        *ok = !__builtin_sub_overflow(a, b, &r);
        break;
    case SYM_MUL:
        *ok = !__builtin_mul_overflow(a, b, &r);
        break;
    case SYM_FLOORDIV:
        r = q - (uneven && (m < 0) != (b < 0));
        break;
    case SYM_CEILDIV:
        r = q + (uneven && (m < 0) == (b < 0));
        break;
    case SYM_MOD:
        r = uneven && (m < 0) != (b < 0) ? m + b : m;
        break;
    case SYM_MAX:
        r = a > b ? a : b;
        break;
    case SYM_MIN:
        r = a < b ? a : b;
        break;
    }
    return r;
}

Dim known_op(InferCtx *c, SymOp op, Dim a, Dim b) {
    if (known_is_num(a) && known_is_num(b)) {
        bool ok;
        int64_t r = fold(op, known_value(a), known_value(b), &ok);
        return ok ? known_num(r) : infer_fresh(c);
    }
    if (known_is_num(b) && b < 0) {
        int64_t v = known_value(b);
        if (op == SYM_ADD) return infer_dim_op(c, SYM_SUB, a, -v);
        if (op == SYM_SUB) return infer_dim_op(c, SYM_ADD, a, -v);
        if (op == SYM_MAX) return a; /* sizes are not negative */
        return infer_fresh(c);
    }
    if (known_is_num(a) && a < 0) {
        int64_t v = known_value(a);
        if (op == SYM_ADD) return infer_dim_op(c, SYM_SUB, b, -v);
        if (op == SYM_MAX) return b;
        return infer_fresh(c);
    }
    return infer_dim_op(c, op, a, b);
}

const Dim *known_input(InferCtx *c, int i, int *n) {
    const Tensor *t = infer_const(c, i);
    *n = 0;
    if (!t) return i < c->n_in && c->in[i] ? infer_known(c, i, n) : NULL;
    int64_t count = tensor_count(t);
    if (!(elem_is_int(t->elem) || t->elem == ELEM_BOOL) || count > KNOWN_MAX) return NULL;
    Dim *d = ARENA_ARRAY(c->scratch, Dim, count);
    if (!d) return NULL;
    for (int64_t k = 0; k < count; k++) d[k] = known_num(tensor_get_i64(t, k));
    *n = (int)count;
    return d;
}

Status known_pass(InferCtx *c) {
    int n;
    const Dim *d = known_input(c, 0, &n);
    return d ? infer_set_known(c, 0, d, n) : NULL;
}

bool infer_ints(InferCtx *c, int i, const int64_t **v, int *n) {
    *v = NULL;
    *n = 0;
    if (i >= c->n_in || !c->in[i]) return true;
    const Dim *d = known_input(c, i, n);
    if (!d) return false;
    int64_t *out = ARENA_ARRAY(c->scratch, int64_t, *n);
    if (!out) return false;
    for (int k = 0; k < *n; k++) {
        if (!known_is_num(d[k])) return false;
        out[k] = known_value(d[k]);
    }
    *v = out;
    return true;
}
