/* Ops that order or scan along one axis: ArgMax, ArgMin, TopK, CumSum, CumProd. */
#include "kernels/ref/dense.h"

#include <stdlib.h>
#include <string.h>

/* ---- shape rules ---- */

Status infer_arg_reduce(InferCtx *c) {
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, ELEM_I64);
        return NULL;
    }
    const Type *x = c->in[0];
    int axis, rank = 0;
    Dim dims[MAX_RANK];
    TRY(infer_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    bool keep = attr_int(c->node, "keepdims") != 0;
    for (int i = 0; i < x->rank; i++) {
        if (i != axis)
            dims[rank++] = x->dims[i];
        else if (keep)
            dims[rank++] = 1;
    }
    infer_set(c, 0, ELEM_I64, rank, dims);
    return NULL;
}

Status infer_top_k(InferCtx *c) {
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        infer_set_unranked(c, 1, ELEM_I64);
        return NULL;
    }
    Type t = *c->in[0];
    int axis, n = 0;
    TRY(infer_axis(c, attr_int(c->node, "axis"), t.rank, &axis));
    const Dim *k = infer_known(c, 1, &n);
    Dim have = t.dims[axis];
    t.dims[axis] = k && n == 1 ? k[0] : infer_fresh(c);
    if (k && n == 1 && !DIM_IS_SYM(k[0]) && !DIM_IS_SYM(have) && k[0] > have)
        return infer_error(c, STATUS_INVALID, "k is %lld, axis %d has only %lld elements", (long long)k[0], axis,
                           (long long)have);
    infer_set(c, 0, t.elem, t.rank, t.dims);
    infer_set(c, 1, ELEM_I64, t.rank, t.dims);
    return NULL;
}

/* ---- values ---- */

/* Elements as integers of the same order: the bits of a double with the lower ones flipped for negatives; NaN last. */
static Status ordered_keys(EvalCtx *c, const Tensor *t, int64_t **keys) {
    int64_t n = tensor_count(t), *out;
    TRY(ref_numeric_only(c));
    if (!elem_is_float(t->elem)) {
        TRY_ALLOC(out = ref_read_i64(c->scratch, t));
        for (int64_t i = 0; i < n && t->elem == ELEM_U64; i++) out[i] ^= INT64_MIN;
        *keys = out;
        return NULL;
    }
    double *x;
    TRY(dense_read(c, t, &x));
    TRY_ALLOC(out = ARENA_ARRAY(c->scratch, int64_t, n));
    for (int64_t i = 0; i < n; i++) {
        double v = x[i] == 0 ? 0 : x[i]; /* -0 equals 0 */
        if (v != v) {
            out[i] = INT64_MAX;
            continue;
        }
        memcpy(&out[i], &v, sizeof v);
        if (out[i] < 0) out[i] ^= INT64_MAX;
    }
    *keys = out;
    return NULL;
}

static Status eval_arg(EvalCtx *c, bool want_max) {
    const Tensor *t = c->in[0];
    int axis, rank = 0;
    int64_t *keys, dims[MAX_RANK];
    TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
    bool keep = attr_int(c->node, "keepdims") != 0, last = attr_int(c->node, "select_last_index") != 0;
    for (int i = 0; i < t->rank; i++) {
        if (i != axis)
            dims[rank++] = t->dims[i];
        else if (keep)
            dims[rank++] = 1;
    }
    int64_t outer = ref_product(t->dims, 0, axis), n = t->dims[axis], inner = ref_product(t->dims, axis + 1, t->rank);
    if (n == 0) return eval_error(c, STATUS_INVALID, "axis %d has no elements", axis);
    TRY(ordered_keys(c, t, &keys));
    Tensor out;
    TRY(ref_output(c, 0, ELEM_I64, rank, dims, &out));
    for (int64_t s = 0; s < outer * inner; s++) {
        const int64_t *v = keys + s / inner * n * inner + s % inner;
        int64_t best = 0;
        for (int64_t i = 1; i < n; i++) {
            int64_t a = v[i * inner], b = v[best * inner];
            if ((want_max ? a > b : a < b) || (last && a == b)) best = i;
        }
        ref_store(&out, CLASS_I64, s, 1, &best);
    }
    return NULL;
}

Status eval_arg_max(EvalCtx *c) { return eval_arg(c, true); }
Status eval_arg_min(EvalCtx *c) { return eval_arg(c, false); }

typedef struct Ranked {
    int64_t key, index;
} Ranked;

/* Largest key first; equal keys by index. */
static int by_key(const void *pa, const void *pb) {
    const Ranked *a = pa, *b = pb;
    if (a->key != b->key) return a->key > b->key ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

static Status top_k_count(EvalCtx *c, int64_t limit, int64_t *k) {
    int64_t *v, n;
    TRY(ref_ints(c, 1, &v, &n));
    if (n != 1 || v[0] < 0 || v[0] > limit)
        return eval_error(c, STATUS_INVALID, "k must be one number from 0 to %lld", (long long)limit);
    *k = v[0];
    return NULL;
}

Status eval_top_k(EvalCtx *c) {
    const Tensor *t = c->in[0];
    int axis;
    int64_t *keys, *indices, k, dims[MAX_RANK];
    Ranked *slice;
    TRY(ref_axis(c, attr_int(c->node, "axis"), t->rank, &axis));
    int64_t outer = ref_product(t->dims, 0, axis), n = t->dims[axis], inner = ref_product(t->dims, axis + 1, t->rank);
    TRY(top_k_count(c, n, &k));
    TRY(ordered_keys(c, t, &keys));
    memcpy(dims, t->dims, sizeof dims);
    dims[axis] = k;
    TRY_ALLOC(slice = ARENA_ARRAY(c->scratch, Ranked, n));
    TRY_ALLOC(indices = ARENA_ARRAY(c->scratch, int64_t, outer * k * inner));
    Tensor values, out;
    TRY(ref_output(c, 0, t->elem, t->rank, dims, &values));
    bool largest = attr_int(c->node, "largest") != 0;
    for (int64_t s = 0; s < outer * inner; s++) {
        int64_t from = s / inner * n * inner + s % inner, to = s / inner * k * inner + s % inner;
        for (int64_t i = 0; i < n; i++) {
            int64_t key = keys[from + i * inner];
            slice[i] = (Ranked){largest ? key : ~key, i};
        }
        qsort(slice, (size_t)n, sizeof *slice, by_key);
        for (int64_t i = 0; i < k; i++) {
            indices[to + i * inner] = slice[i].index;
            ref_copy(t->elem, values.data, to + i * inner, t->data, from + slice[i].index * inner, 1);
        }
    }
    if (!dense_wants(c->node, 1)) return NULL;
    TRY(ref_output(c, 1, ELEM_I64, t->rank, dims, &out));
    ref_store(&out, CLASS_I64, 0, outer * k * inner, indices);
    return NULL;
}

/* A running sum or product of one slice: `n` elements `inner` apart (negative: backwards). */
static void scan_f64(double *v, int64_t n, int64_t inner, bool product, bool exclusive) {
    double acc = product ? 1 : 0;
    for (int64_t i = 0; i < n; i++) {
        double next = product ? acc * v[i * inner] : acc + v[i * inner];
        v[i * inner] = exclusive ? acc : next;
        acc = next;
    }
}

/* Integers wrap. */
static void scan_i64(int64_t *v, int64_t n, int64_t inner, bool product, bool exclusive) {
    uint64_t acc = product ? 1 : 0;
    for (int64_t i = 0; i < n; i++) {
        uint64_t x = (uint64_t)v[i * inner], next = product ? acc * x : acc + x;
        v[i * inner] = (int64_t)(exclusive ? acc : next);
        acc = next;
    }
}

/* Running sums or products; `exclusive` leaves the element itself out, `reverse` starts at the end. */
static Status eval_running(EvalCtx *c, bool product) {
    const Tensor *t = c->in[0];
    int64_t *axes, n_axes, *xi = NULL;
    double *xf = NULL;
    int axis;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &axes, &n_axes));
    if (n_axes != 1) return eval_error(c, STATUS_INVALID, "axis must be one number");
    TRY(ref_axis(c, axes[0], t->rank, &axis));
    bool exclusive = attr_int(c->node, "exclusive") != 0, reverse = attr_int(c->node, "reverse") != 0;
    bool is_float = elem_is_float(t->elem);
    if (is_float)
        TRY(dense_read(c, t, &xf));
    else
        TRY_ALLOC(xi = ref_read_i64(c->scratch, t));
    int64_t outer = ref_product(t->dims, 0, axis), n = t->dims[axis], inner = ref_product(t->dims, axis + 1, t->rank);
    for (int64_t s = 0; n > 0 && s < outer * inner; s++) {
        int64_t first = s / inner * n * inner + s % inner + (reverse ? (n - 1) * inner : 0);
        if (is_float)
            scan_f64(xf + first, n, reverse ? -inner : inner, product, exclusive);
        else
            scan_i64(xi + first, n, reverse ? -inner : inner, product, exclusive);
    }
    Tensor out;
    TRY(ref_output(c, 0, t->elem, t->rank, t->dims, &out));
    ref_store(&out, is_float ? CLASS_F64 : CLASS_I64, 0, tensor_count(t),
              is_float ? (const void *)xf : (const void *)xi);
    return NULL;
}

Status eval_cum_sum(EvalCtx *c) { return eval_running(c, false); }
Status eval_cum_prod(EvalCtx *c) { return eval_running(c, true); }
