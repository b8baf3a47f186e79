/* Gather, GatherElements, GatherND, ScatterElements, ScatterND, TensorScatter: movement by an index tensor. */
#include "kernels/ref/ref.h"

#include <string.h>

/* ---- shape rules ---- */

static Status known_gather(InferCtx *c) {
    int n, count;
    const Dim *x = infer_known(c, 0, &count), *index = x ? infer_known(c, 1, &n) : NULL;
    if (!index || c->in[0]->rank != 1) return NULL;
    Dim *y;
    TRY_ALLOC(y = ARENA_ARRAY(c->scratch, Dim, n));
    for (int i = 0; i < n; i++) {
        Dim k = index[i];
        if (DIM_IS_NUM(k) && k < 0) k += count;
        if (DIM_IS_NUM(k) && (k < 0 || k >= count))
            return infer_error(c, STATUS_INVALID, "index %lld is outside the %d elements of the input",
                               (long long)index[i], count);
        y[i] = DIM_IS_NUM(k) ? x[k] : infer_fresh(c);
    }
    return infer_set_known(c, 0, y, n);
}

Status infer_gather(InferCtx *c) {
    int axis;
    ElemType e = infer_elem(c, 0);
    if (!infer_is_ranked(c, 0) || !infer_is_ranked(c, 1)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    const Type *x = c->in[0], *index = c->in[1];
    Dim dims[2 * MAX_RANK];
    TRY(infer_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    int rank = x->rank - 1 + index->rank;
    if (rank > MAX_RANK)
        return infer_error(c, STATUS_UNSUPPORTED, "the result has %d dimensions, at most %d are supported", rank,
                           MAX_RANK);
    for (int i = 0; i < axis; i++) dims[i] = x->dims[i];
    for (int i = 0; i < index->rank; i++) dims[axis + i] = index->dims[i];
    for (int i = axis + 1; i < x->rank; i++) dims[index->rank + i - 1] = x->dims[i];
    infer_set(c, 0, e, rank, dims);
    return known_gather(c);
}

Status infer_gather_elements(InferCtx *c) {
    if (infer_is_tensor(c, 1))
        c->out[0] = *c->in[1];
    else
        infer_set_unranked(c, 0, ELEM_UNDEFINED);
    c->out[0].elem = infer_elem(c, 0);
    return NULL;
}

Status infer_gather_nd(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    bool ranked = infer_is_ranked(c, 0) && infer_is_ranked(c, 1) && c->in[1]->rank > 0;
    Dim last = ranked ? c->in[1]->dims[c->in[1]->rank - 1] : -1;
    if (!ranked || last < 0 || last > MAX_RANK) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    const Type *x = c->in[0], *index = c->in[1];
    int64_t batch = attr_int(c->node, "batch_dims"), skip = batch + last;
    int64_t rank = index->rank - 1 + x->rank - skip;
    if (batch < 0 || batch >= index->rank || skip > x->rank)
        return infer_error(c, STATUS_INVALID, "indices of length %lld with batch_dims %lld do not fit %d dimensions",
                           (long long)last, (long long)batch, x->rank);
    if (rank > MAX_RANK)
        return infer_error(c, STATUS_UNSUPPORTED, "the result has %lld dimensions, at most %d are supported",
                           (long long)rank, MAX_RANK);
    Dim dims[MAX_RANK];
    for (int i = 0; i < index->rank - 1; i++) dims[i] = index->dims[i];
    for (int64_t i = skip; i < x->rank; i++) dims[index->rank - 1 + i - skip] = x->dims[i];
    infer_set(c, 0, e, (int)rank, dims);
    return NULL;
}

/* ---- gathering ---- */

/* Index v into an axis of `dim` elements, negative from the end. */
static Status resolve(const EvalCtx *c, int64_t v, int64_t dim, int64_t *out) {
    *out = v < 0 ? v + dim : v;
    if (*out >= 0 && *out < dim) return NULL;
    return eval_error(c, STATUS_INVALID, "index %lld is outside [-%lld, %lld)", (long long)v, (long long)dim,
                      (long long)dim);
}

Status eval_gather(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *index, n, dims[2 * MAX_RANK];
    int axis;
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &index, &n));
    TRY(ref_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    int more = c->in[1]->rank, rank = x->rank - 1 + more;
    if (rank > MAX_RANK) return eval_error(c, STATUS_UNSUPPORTED, "the result has %d dimensions", rank);
    memcpy(dims, x->dims, (size_t)axis * sizeof *dims);
    memcpy(dims + axis, c->in[1]->dims, (size_t)more * sizeof *dims);
    memcpy(dims + axis + more, x->dims + axis + 1, (size_t)(x->rank - axis - 1) * sizeof *dims);
    TRY(ref_output(c, 0, x->elem, rank, dims, &y));
    int64_t outer = ref_product(x->dims, 0, axis), inner = ref_product(x->dims, axis + 1, x->rank), dim = x->dims[axis];
    for (int64_t i = 0; i < n; i++) {
        int64_t k;
        TRY(resolve(c, index[i], dim, &k));
        for (int64_t o = 0; o < outer; o++)
            ref_copy(x->elem, y.data, (o * n + i) * inner, x->data, (o * dim + k) * inner, inner);
    }
    return NULL;
}

/* Offset in x of index position `idx`, with idx[axis] replaced by `k`. */
static int64_t offset_at(const int64_t *strides, int rank, const int64_t *idx, int axis, int64_t k) {
    int64_t at = 0;
    for (int d = 0; d < rank; d++) at += (d == axis ? k : idx[d]) * strides[d];
    return at;
}

/* The index tensor fits x when it has its rank and is not larger on the other axes. */
static Status check_elements(const EvalCtx *c, const Tensor *x, const Tensor *index, int axis) {
    bool fits = index->rank == x->rank;
    for (int d = 0; fits && d < x->rank; d++) fits = d == axis || index->dims[d] <= x->dims[d];
    return fits ? NULL : eval_error(c, STATUS_INVALID, "the indices do not fit the shape of input 0");
}

Status eval_gather_elements(EvalCtx *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t *index, n, strides[MAX_RANK], idx[MAX_RANK] = {0};
    int axis;
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &index, &n));
    TRY(ref_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    TRY(check_elements(c, x, t, axis));
    TRY(ref_output(c, 0, x->elem, t->rank, t->dims, &y));
    ref_strides(x->rank, x->dims, strides);
    for (int64_t i = 0; i < n; i++, ref_next(t->rank, t->dims, idx)) {
        int64_t k;
        TRY(resolve(c, index[i], x->dims[axis], &k));
        ref_copy(x->elem, y.data, i, x->data, offset_at(strides, x->rank, idx, axis, k), 1);
    }
    return NULL;
}

/* Offset of the slice that the index tuple at v names, in a tensor whose dims from `from` on it indexes. */
static Status tuple_offset(const EvalCtx *c, const Tensor *x, const int64_t *strides, int from, const int64_t *v,
                           int64_t len, int64_t *at) {
    for (int64_t d = 0; d < len; d++) {
        int64_t k;
        TRY(resolve(c, v[d], x->dims[from + d], &k));
        *at += k * strides[from + d];
    }
    return NULL;
}

Status eval_gather_nd(EvalCtx *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t *index, n, strides[MAX_RANK], dims[2 * MAX_RANK], batch = attr_int(c->node, "batch_dims");
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &index, &n));
    if (t->rank < 1 || batch < 0 || batch >= t->rank || batch + t->dims[t->rank - 1] > x->rank) {
        return eval_error(c, STATUS_INVALID, "the indices do not fit %d dimensions with batch_dims %lld", x->rank,
                          (long long)batch);
    }
    int64_t len = t->dims[t->rank - 1], skip = batch + len, rank = t->rank - 1 + x->rank - skip;
    if (rank > MAX_RANK) return eval_error(c, STATUS_UNSUPPORTED, "the result has %lld dimensions", (long long)rank);
    memcpy(dims, t->dims, (size_t)(t->rank - 1) * sizeof *dims);
    memcpy(dims + t->rank - 1, x->dims + skip, (size_t)(x->rank - skip) * sizeof *dims);
    TRY(ref_output(c, 0, x->elem, (int)rank, dims, &y));
    ref_strides(x->rank, x->dims, strides);
    int64_t inner = ref_product(x->dims, (int)skip, x->rank), tuples = ref_product(t->dims, 0, t->rank - 1);
    int64_t batches = ref_product(x->dims, 0, (int)batch), step = batch ? strides[batch - 1] : 0;
    if (ref_product(t->dims, 0, (int)batch) != batches)
        return eval_error(c, STATUS_INVALID, "the batch dimensions of the inputs differ");
    for (int64_t i = 0; i < tuples; i++) {
        int64_t at = i / (tuples / batches) * step;
        TRY(tuple_offset(c, x, strides, (int)batch, index + i * len, len, &at));
        ref_copy(x->elem, y.data, i * inner, x->data, at, inner);
    }
    return NULL;
}

/* ---- scattering ---- */

typedef enum Reduction { REDUCE_NONE, REDUCE_ADD, REDUCE_MUL, REDUCE_MAX, REDUCE_MIN } Reduction;

static Status read_reduction(const EvalCtx *c, Reduction *r) {
    static const char *const names[] = {"none", "add", "mul", "max", "min"};
    const char *name = attr_string(c->node, "reduction");
    for (int i = 0; i < 5; i++) {
        if (strcmp(name, names[i]) == 0) {
            *r = (Reduction)i;
            return NULL;
        }
    }
    return eval_error(c, STATUS_INVALID, "attribute reduction is '%s'", name);
}

#define REDUCE(T, ADD, MUL)                                                                                            \
    do {                                                                                                               \
        T a = *(const T *)old, b = *(const T *)update;                                                                 \
        *(T *)old = r == REDUCE_ADD   ? (T)(ADD)                                                                       \
                    : r == REDUCE_MUL ? (T)(MUL)                                                                       \
                    : r == REDUCE_MAX ? (a > b || a != a ? a : b)                                                      \
                                      : (a < b || a != a ? a : b);                                                     \
    } while (0)

static void reduce_one(RefClass cls, Reduction r, void *old, const void *update) {
    switch (cls) {
    case CLASS_F32:
        REDUCE(float, a + b, a * b);
        break;
    case CLASS_F64:
        REDUCE(double, a + b, a * b);
        break;
    case CLASS_I64:
        REDUCE(int64_t, (uint64_t)a + (uint64_t)b, (uint64_t)a * (uint64_t)b);
        break;
    case CLASS_U64:
        REDUCE(uint64_t, a + b, a * b);
        break;
    case CLASS_BOOL:
        REDUCE(uint8_t, a | b, a & b);
        break;
    case CLASS_NONE:
        break;
    }
}

/* y[at, at + n) = reduction of it with the updates from `from` on. */
static void scatter_run(Tensor *y, int64_t at, const Tensor *updates, int64_t from, int64_t n, Reduction r) {
    if (r == REDUCE_NONE) {
        ref_copy(y->elem, y->data, at, updates->data, from, n);
        return;
    }
    RefClass cls = ref_class(y->elem);
    for (int64_t i = 0; i < n; i++) {
        uint64_t old, update;
        ref_load(y, cls, at + i, 0, 1, &old);
        ref_load(updates, cls, from + i, 0, 1, &update);
        reduce_one(cls, r, &old, &update);
        ref_store(y, cls, at + i, 1, &old);
    }
}

/* Output 0 as a copy of input 0, ready for updates. */
static Status begin_scatter(EvalCtx *c, Reduction *r, Tensor *y) {
    const Tensor *x = c->in[0];
    TRY(ref_numeric_only(c));
    TRY(read_reduction(c, r));
    if (c->in[2]->elem != x->elem)
        return eval_error(c, STATUS_INVALID, "the updates must have elements of type %s, found %s", elem_name(x->elem),
                          elem_name(c->in[2]->elem));
    TRY(ref_output(c, 0, x->elem, x->rank, x->dims, y));
    ref_copy(x->elem, y->data, 0, x->data, 0, tensor_count(x));
    return NULL;
}

Status eval_scatter_elements(EvalCtx *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t *index, n, strides[MAX_RANK], idx[MAX_RANK] = {0};
    int axis;
    Reduction r;
    Tensor y;
    TRY(begin_scatter(c, &r, &y));
    TRY(ref_ints(c, 1, &index, &n));
    TRY(ref_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    TRY(check_elements(c, x, t, axis));
    if (tensor_count(c->in[2]) != n) return eval_error(c, STATUS_INVALID, "indices and updates differ in shape");
    ref_strides(x->rank, x->dims, strides);
    for (int64_t i = 0; i < n; i++, ref_next(t->rank, t->dims, idx)) {
        int64_t k;
        TRY(resolve(c, index[i], x->dims[axis], &k));
        scatter_run(&y, offset_at(strides, x->rank, idx, axis, k), c->in[2], i, 1, r);
    }
    return NULL;
}

Status eval_scatter_nd(EvalCtx *c) {
    const Tensor *x = c->in[0], *t = c->in[1];
    int64_t *index, n, strides[MAX_RANK];
    Reduction r;
    Tensor y;
    TRY(begin_scatter(c, &r, &y));
    TRY(ref_ints(c, 1, &index, &n));
    int64_t len = t->rank ? t->dims[t->rank - 1] : -1;
    if (len < 0 || len > x->rank) return eval_error(c, STATUS_INVALID, "the indices do not fit %d dimensions", x->rank);
    ref_strides(x->rank, x->dims, strides);
    int64_t inner = ref_product(x->dims, (int)len, x->rank), tuples = ref_product(t->dims, 0, t->rank - 1);
    if (tensor_count(c->in[2]) != tuples * inner)
        return eval_error(c, STATUS_INVALID, "the updates do not fit the indices");
    for (int64_t i = 0; i < tuples; i++) {
        int64_t at = 0;
        TRY(tuple_offset(c, x, strides, 0, index + i * len, len, &at));
        scatter_run(&y, at, c->in[2], i * inner, inner, r);
    }
    return NULL;
}

/* past cache [B, ..., S, ...], update [B, ..., s, ...]: writes each batch's update at its write index along `axis`. */
Status eval_tensor_scatter(EvalCtx *c) {
    const Tensor *x = c->in[0], *u = c->in[1];
    int64_t *write, n;
    int axis;
    bool circular = strcmp(attr_string(c->node, "mode"), "circular") == 0;
    TRY(ref_numeric_only(c));
    TRY(ref_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    TRY(ref_ints(c, 2, &write, &n));
    bool fits = axis > 0 && u->rank == x->rank && u->elem == x->elem && u->dims[axis] <= x->dims[axis] &&
                (!write || n == x->dims[0]);
    for (int d = 0; fits && d < x->rank; d++) fits = d == axis || u->dims[d] == x->dims[d];
    if (!fits) return eval_error(c, STATUS_INVALID, "the update does not fit the cache");
    Tensor y;
    TRY(ref_output(c, 0, x->elem, x->rank, x->dims, &y));
    ref_copy(x->elem, y.data, 0, x->data, 0, tensor_count(x));
    int64_t outer = ref_product(x->dims, 0, axis), inner = ref_product(x->dims, axis + 1, x->rank),
            per = ref_product(x->dims, 1, axis);
    int64_t cap = x->dims[axis], len = u->dims[axis];
    for (int64_t o = 0; o < outer; o++) {
        int64_t first = write ? write[o / per] : 0;
        if (first < 0 || first > INT64_MAX - len || (!circular && first + len > cap))
            return eval_error(c, STATUS_INVALID, "write index %lld is outside the cache", (long long)first);
        for (int64_t s = 0; s < len; s++) {
            int64_t at = circular ? (first + s) % cap : first + s;
            ref_copy(x->elem, y.data, (o * cap + at) * inner, u->data, (o * len + s) * inner, inner);
        }
    }
    return NULL;
}
