/* Reductions over axes: ReduceSum, ReduceMean, ReduceMax, ReduceMin, ReduceProd, ReduceL1, ReduceL2, ReduceLogSum,
 * ReduceLogSumExp, ReduceSumSquare. Floats compute in double; integers in 64 bits that wrap. */
#include "kernels/ref/dense.h"

#include <math.h>
#include <string.h>

/* ---- shape rule ---- */

/* Marks the axes that are reduced. axes == NULL or empty: all, or none with noop_with_empty_axes. */
static bool mark_axes(const Node *node, const int64_t *axes, int64_t n, int rank, bool *reduced) {
    bool all = n == 0 && attr_int(node, "noop_with_empty_axes") == 0;
    for (int i = 0; i < rank; i++) reduced[i] = all;
    for (int64_t i = 0; i < n; i++) {
        if (axes[i] < -rank || axes[i] >= rank) return false;
        reduced[axes[i] < 0 ? axes[i] + rank : axes[i]] = true;
    }
    return true;
}

static int kept_dims(int rank, const int64_t *dims, const bool *reduced, bool keep, int64_t *out) {
    int n = 0;
    for (int i = 0; i < rank; i++) {
        if (!reduced[i])
            out[n++] = dims[i];
        else if (keep)
            out[n++] = 1;
    }
    return n;
}

/* A shape vector reduced to one number stays known (ReduceProd of a Shape counts elements). */
static Status pass_known(InferCtx *c, const bool *reduced) {
    static const struct {
        const char *name;
        SymOp op;
        int64_t start;
    } folds[] = {
        {"ReduceProd", SYM_MUL, 1}, {"ReduceSum", SYM_ADD, 0}, {"ReduceMax", SYM_MAX, 0}, {"ReduceMin", SYM_MIN, 0}};
    int n;
    const Dim *v = c->in[0]->rank == 1 && reduced[0] ? infer_known(c, 0, &n) : NULL;
    for (size_t k = 0; v && k < sizeof folds / sizeof *folds; k++) {
        if (!op_is(c->node, folds[k].name)) continue;
        bool pick = folds[k].op == SYM_MAX || folds[k].op == SYM_MIN;
        if (pick && n == 0) return NULL;
        Dim r = pick ? v[0] : folds[k].start;
        for (int i = pick; i < n; i++) r = infer_dim_op(c, folds[k].op, r, v[i]);
        return infer_set_known(c, 0, &r, 1);
    }
    return NULL;
}

Status infer_reduce(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    const int64_t *axes;
    int n;
    bool keep = attr_int(c->node, "keepdims") != 0, reduced[MAX_RANK];
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    int rank = c->in[0]->rank;
    if (!infer_ints(c, 1, &axes, &n)) {
        if (keep)
            infer_set_fresh(c, 0, e, rank);
        else
            infer_set_unranked(c, 0, e);
        return NULL;
    }
    Dim dims[MAX_RANK];
    if (!mark_axes(c->node, axes, n, rank, reduced))
        return infer_error(c, STATUS_INVALID, "an axis lies outside the %d dimensions of the input", rank);
    int out_rank = kept_dims(rank, c->in[0]->dims, reduced, keep, dims);
    infer_set(c, 0, e, out_rank, dims);
    return pass_known(c, reduced);
}

/* ---- values ---- */

/* Input elements are visited row by row (last axis); row elements go to accumulators `step` (0 or 1) apart. */
typedef void (*RowF64)(double *acc, int64_t step, const double *x, int64_t n, const double *shift);
typedef void (*RowI64)(int64_t *acc, int64_t step, const int64_t *x, int64_t n);

#define DEFINE_ROW_F64(name, expr)                                                                                     \
    static void row_##name(double *acc, int64_t step, const double *x, int64_t n, const double *shift) {               \
        (void)shift;                                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            double a = acc[i * step], v = x[i];                                                                        \
            acc[i * step] = expr;                                                                                      \
        }                                                                                                              \
    }
DEFINE_ROW_F64(sum, a + v)
DEFINE_ROW_F64(prod, a *v)
DEFINE_ROW_F64(abs, a + fabs(v))
DEFINE_ROW_F64(square, a + v * v)
DEFINE_ROW_F64(max, v > a || isnan(v) ? v : a)
DEFINE_ROW_F64(min, v < a || isnan(v) ? v : a)
DEFINE_ROW_F64(exp, a + exp(v - shift[i * step]))

/* Unsigned arithmetic wraps; the element type's low bits are what is stored. */
#define DEFINE_ROW_I64(name, expr)                                                                                     \
    static void irow_##name(int64_t *acc, int64_t step, const int64_t *x, int64_t n) {                                 \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            int64_t sa = acc[i * step], sv = x[i];                                                                     \
            uint64_t a = (uint64_t)sa, v = (uint64_t)sv;                                                               \
            (void)a, (void)v;                                                                                          \
            acc[i * step] = (int64_t)(expr);                                                                           \
        }                                                                                                              \
    }
DEFINE_ROW_I64(sum, a + v)
DEFINE_ROW_I64(prod, a *v)
DEFINE_ROW_I64(abs, a + (sv < 0 ? 0 - v : v))
DEFINE_ROW_I64(square, a + v * v)
DEFINE_ROW_I64(max, sv > sa ? sv : sa)
DEFINE_ROW_I64(min, sv < sa ? sv : sa)
DEFINE_ROW_I64(umax, v > a ? v : a)
DEFINE_ROW_I64(umin, v < a ? v : a)

typedef enum Finish { FINISH_NONE, FINISH_MEAN, FINISH_SQRT, FINISH_LOG, FINISH_LOG_EXP } Finish;
typedef struct Reduction {
    RowF64 row;
    RowI64 irow, urow; /* integers (signed, uint64); NULL: computed as double */
    double start;
    int64_t istart, ustart;
    Finish finish;
} Reduction;

typedef struct Reduced {
    int rank, out_rank;
    const int64_t *dims;
    int64_t out_dims[MAX_RANK], stride[MAX_RANK], slots, count; /* count: elements that meet in one slot */
} Reduced;

static Status reduced_shape(EvalCtx *c, Reduced *r) {
    const Tensor *t = c->in[0];
    bool reduced[MAX_RANK];
    int64_t *axes, n;
    TRY(ref_ints(c, 1, &axes, &n));
    if (!mark_axes(c->node, axes, n, t->rank, reduced))
        return eval_error(c, STATUS_INVALID, "an axis lies outside the %d dimensions of the input", t->rank);
    r->rank = t->rank;
    r->dims = t->dims;
    r->slots = r->count = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        r->stride[i] = reduced[i] ? 0 : r->slots;
        *(reduced[i] ? &r->count : &r->slots) *= t->dims[i];
    }
    r->out_rank = kept_dims(t->rank, t->dims, reduced, attr_int(c->node, "keepdims") != 0, r->out_dims);
    return NULL;
}

/* Visits the rows of the input; `first` is the row's first element, `at` its first slot. */
static bool next_row(const Reduced *r, int64_t *idx, int64_t *at) {
    if (r->rank < 2 || !ref_next(r->rank - 1, r->dims, idx)) return false;
    *at = 0;
    for (int i = 0; i < r->rank - 1; i++) *at += idx[i] * r->stride[i];
    return true;
}

static void run_f64(const Reduced *r, RowF64 row, const double *x, double *acc, const double *shift) {
    int64_t idx[MAX_RANK] = {0}, at = 0, n = r->rank ? r->dims[r->rank - 1] : 1,
            step = r->rank ? r->stride[r->rank - 1] : 0;
    if (r->slots == 0 || r->count == 0) return;
    do {
        row(acc + at, step, x, n, shift ? shift + at : NULL);
        x += n;
    } while (next_row(r, idx, &at));
}

static void run_i64(const Reduced *r, RowI64 row, const int64_t *x, int64_t *acc) {
    int64_t idx[MAX_RANK] = {0}, at = 0, n = r->rank ? r->dims[r->rank - 1] : 1,
            step = r->rank ? r->stride[r->rank - 1] : 0;
    if (r->slots == 0 || r->count == 0) return;
    do {
        row(acc + at, step, x, n);
        x += n;
    } while (next_row(r, idx, &at));
}

static void finish_f64(Finish f, double *v, const double *shift, int64_t n, int64_t count) {
    for (int64_t i = 0; i < n; i++) {
        if (f == FINISH_MEAN) v[i] /= (double)count;
        if (f == FINISH_SQRT) v[i] = sqrt(v[i]);
        if (f == FINISH_LOG) v[i] = log(v[i]);
        if (f == FINISH_LOG_EXP) v[i] = log(v[i]) + shift[i];
    }
}

static Status eval_floats(EvalCtx *c, const Reduction *k, const Reduced *r) {
    double *x, *acc, *shift = NULL;
    TRY(dense_read(c, c->in[0], &x));
    TRY(dense_f64(c, r->slots, &acc));
    if (k->finish == FINISH_LOG_EXP) {
        TRY(dense_f64(c, r->slots, &shift));
        for (int64_t i = 0; i < r->slots; i++) shift[i] = (double)-INFINITY;
        run_f64(r, row_max, x, shift, NULL);
        for (int64_t i = 0; i < r->slots; i++)
            if (isinf(shift[i])) shift[i] = 0; /* inf - inf is not a number */
    }
    for (int64_t i = 0; i < r->slots; i++) acc[i] = k->start;
    run_f64(r, k->row, x, acc, shift);
    finish_f64(k->finish, acc, shift, r->slots, r->count);
    Tensor out;
    TRY(ref_output(c, 0, c->in[0]->elem, r->out_rank, r->out_dims, &out));
    ref_store(&out, CLASS_F64, 0, r->slots, acc);
    return NULL;
}

/* v within the element type's range: what the maximum of nothing is. */
static int64_t within(ElemType e, int64_t v) {
    int bits = e == ELEM_BOOL ? 1 : elem_bits(e);
    if (bits == 64) return v;
    bool is_signed = e != ELEM_BOOL && elem_is_signed(e);
    int64_t span = (int64_t)1 << (is_signed ? bits - 1 : bits), low = is_signed ? -span : 0;
    return v < low ? low : v >= span ? span - 1 : v;
}

static Status eval_integers(EvalCtx *c, const Reduction *k, const Reduced *r) {
    int64_t *x, *acc;
    bool wide = c->in[0]->elem == ELEM_U64;
    int64_t start = wide ? k->ustart : within(c->in[0]->elem, k->istart);
    TRY_ALLOC(x = ref_read_i64(c->scratch, c->in[0]));
    TRY_ALLOC(acc = ARENA_ARRAY(c->scratch, int64_t, r->slots));
    for (int64_t i = 0; i < r->slots; i++) acc[i] = start;
    run_i64(r, wide ? k->urow : k->irow, x, acc);
    if (k->finish == FINISH_MEAN && r->count == 0 && r->slots > 0)
        return eval_error(c, STATUS_INVALID, "the mean of no integers is undefined");
    for (int64_t i = 0; i < r->slots && k->finish == FINISH_MEAN; i++)
        acc[i] = wide ? (int64_t)((uint64_t)acc[i] / (uint64_t)r->count) : acc[i] / r->count;
    Tensor out;
    TRY(ref_output(c, 0, c->in[0]->elem, r->out_rank, r->out_dims, &out));
    ref_store(&out, CLASS_I64, 0, r->slots, acc);
    return NULL;
}

static Status eval_reduction(EvalCtx *c, const Reduction *k) {
    Reduced r = {0};
    TRY(ref_numeric_only(c));
    TRY(reduced_shape(c, &r));
    bool integer = elem_is_int(c->in[0]->elem) || c->in[0]->elem == ELEM_BOOL;
    return integer && k->irow ? eval_integers(c, k, &r) : eval_floats(c, k, &r);
}

/* X(name, row, start, integer row, uint64 row, integer start, uint64 start, finish) */
#define REDUCTIONS(X)                                                                                                  \
    X(sum, row_sum, 0, irow_sum, irow_sum, 0, 0, FINISH_NONE)                                                          \
    X(mean, row_sum, 0, irow_sum, irow_sum, 0, 0, FINISH_MEAN)                                                         \
    X(max, row_max, (double)-INFINITY, irow_max, irow_umax, INT64_MIN, 0, FINISH_NONE)                                 \
    X(min, row_min, (double)INFINITY, irow_min, irow_umin, INT64_MAX, -1, FINISH_NONE)                                 \
    X(prod, row_prod, 1, irow_prod, irow_prod, 1, 1, FINISH_NONE)                                                      \
    X(l1, row_abs, 0, irow_abs, irow_sum, 0, 0, FINISH_NONE)                                                           \
    X(l2, row_square, 0, NULL, NULL, 0, 0, FINISH_SQRT)                                                                \
    X(log_sum, row_sum, 0, NULL, NULL, 0, 0, FINISH_LOG)                                                               \
    X(log_sum_exp, row_exp, 0, NULL, NULL, 0, 0, FINISH_LOG_EXP)                                                       \
    X(sum_square, row_square, 0, irow_square, irow_square, 0, 0, FINISH_NONE)

#define DEFINE_EVAL(name, row, start, irow, urow, istart, ustart, finish)                                              \
    Status eval_reduce_##name(EvalCtx *c) {                                                                            \
        static const Reduction k = {row, irow, urow, start, istart, ustart, finish};                                   \
        return eval_reduction(c, &k);                                                                                  \
    }
REDUCTIONS(DEFINE_EVAL)
