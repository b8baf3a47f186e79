/* Ops that select or mark elements: Compress, NonZero, OneHot, EyeLike, Trilu, ReverseSequence, Unique. */
#include "kernels/ref/ref.h"

#include <stdlib.h>
#include <string.h>

/* ---- Compress ---- */

Status infer_compress(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    if (!attr_find(c->node, "axis")) {
        infer_set_fresh(c, 0, e, 1);
        return NULL;
    }
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    int axis;
    Type t = *c->in[0];
    TRY(infer_axis(c, attr_int(c->node, "axis"), t.rank, &axis));
    t.dims[axis] = infer_fresh(c);
    infer_set(c, 0, e, t.rank, t.dims);
    return NULL;
}

Status eval_compress(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t flat[1] = {tensor_count(x)}, dims[MAX_RANK], kept = 0;
    int axis = 0, rank = 1;
    bool whole = !attr_find(c->node, "axis");
    TRY(ref_numeric_only(c));
    if (!whole) {
        rank = x->rank;
        TRY(ref_axis(c, attr_int(c->node, "axis"), rank, &axis));
    }
    memcpy(dims, whole ? flat : x->dims, (size_t)rank * sizeof *dims);
    int64_t dim = dims[axis], n = tensor_count(c->in[1]), outer = ref_product(dims, 0, axis),
            inner = ref_product(dims, axis + 1, rank);
    if (n > dim) n = dim;
    uint8_t *keep = ARENA_ARRAY(c->scratch, uint8_t, n);
    TRY_ALLOC(keep);
    ref_load(c->in[1], CLASS_BOOL, 0, 1, n, keep);
    for (int64_t i = 0; i < n; i++) kept += keep[i];
    dims[axis] = kept;
    Tensor y;
    TRY(ref_output(c, 0, x->elem, rank, dims, &y));
    for (int64_t o = 0, to = 0; o < outer; o++) {
        for (int64_t i = 0; i < n; i++) {
            if (!keep[i]) continue;
            ref_copy(x->elem, y.data, to, x->data, (o * dim + i) * inner, inner);
            to += inner;
        }
    }
    return NULL;
}

/* ---- NonZero ---- */

Status infer_non_zero(InferCtx *c) {
    Dim dims[2] = {infer_is_ranked(c, 0) ? c->in[0]->rank : infer_fresh(c), infer_fresh(c)};
    if (dims[0] == 0) dims[0] = 1;
    infer_set(c, 0, ELEM_I64, 2, dims);
    return NULL;
}

Status eval_non_zero(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t total = tensor_count(x), found = 0, at = 0, idx[MAX_RANK] = {0};
    uint8_t *set;
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY_ALLOC(set = ARENA_ARRAY(c->scratch, uint8_t, total));
    ref_load(x, CLASS_BOOL, 0, 1, total, set);
    for (int64_t i = 0; i < total; i++) found += set[i];
    int rank = x->rank ? x->rank : 1; /* a scalar counts as one element */
    TRY(ref_output(c, 0, ELEM_I64, 2, (int64_t[]){rank, found}, &y));
    for (int64_t i = 0; i < total; i++, ref_next(x->rank, x->dims, idx)) {
        if (!set[i]) continue;
        for (int d = 0; d < rank; d++) ref_store(&y, CLASS_I64, d * found + at, 1, &idx[d]);
        at++;
    }
    return NULL;
}

/* ---- OneHot ---- */

Status infer_one_hot(InferCtx *c) {
    int n, axis;
    const Dim *depth = infer_known(c, 1, &n);
    ElemType e = infer_elem(c, 2);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    int rank = c->in[0]->rank + 1;
    Dim dims[MAX_RANK];
    if (rank > MAX_RANK) return infer_error(c, STATUS_UNSUPPORTED, "the result has %d dimensions", rank);
    TRY(infer_axis(c, attr_int(c->node, "axis"), rank, &axis));
    for (int i = 0, k = 0; i < rank; i++)
        dims[i] = i == axis ? (depth && n == 1 ? depth[0] : infer_fresh(c)) : c->in[0]->dims[k++];
    return infer_set_dims(c, 0, e, rank, dims);
}

Status eval_one_hot(EvalCtx *c) {
    const Tensor *x = c->in[0], *values = c->in[2];
    int64_t dims[MAX_RANK], *index;
    int axis, rank = x->rank + 1;
    Tensor y;
    TRY(ref_numeric_only(c));
    if (rank > MAX_RANK) return eval_error(c, STATUS_UNSUPPORTED, "the result has %d dimensions", rank);
    if (tensor_count(c->in[1]) != 1 || tensor_count(values) != 2)
        return eval_error(c, STATUS_INVALID, "depth must be one number, values two");
    int64_t depth = tensor_get_i64(c->in[1], 0);
    if (depth < 0) return eval_error(c, STATUS_INVALID, "depth is %lld", (long long)depth);
    TRY(ref_axis(c, attr_int(c->node, "axis"), rank, &axis));
    TRY_ALLOC(index = ref_read_i64(c->scratch, x));
    for (int i = 0, k = 0; i < rank; i++) dims[i] = i == axis ? depth : x->dims[k++];
    TRY(ref_output(c, 0, values->elem, rank, dims, &y));
    ref_fill(values->elem, y.data, tensor_count(&y), values->data, 0);
    int64_t inner = ref_product(dims, axis + 1, rank), n = tensor_count(x);
    for (int64_t i = 0; i < n; i++) {
        int64_t v = index[i] < 0 ? index[i] + depth : index[i];
        if (v >= 0 && v < depth)
            ref_copy(values->elem, y.data, (i / inner * depth + v) * inner + i % inner, values->data, 1, 1);
    }
    return NULL;
}

/* ---- EyeLike ---- */

static ElemType like_type(const Node *n, ElemType deflt) {
    return attr_find(n, "dtype") ? (ElemType)attr_int(n, "dtype") : deflt;
}

Status infer_eye_like(InferCtx *c) { return infer_same_as(c, like_type(c->node, infer_elem(c, 0))); }

Status eval_eye_like(EvalCtx *c) {
    const Tensor *x = c->in[0];
    ElemType e = like_type(c->node, x->elem);
    int64_t k = attr_int(c->node, "k"), one = 1;
    Tensor y;
    if (x->rank != 2 || ref_class(e) == CLASS_NONE)
        return eval_error(c, STATUS_INVALID, "needs a matrix and a numeric type");
    TRY(ref_output(c, 0, e, 2, x->dims, &y));
    memset(y.data, 0, y.bytes);
    for (int64_t i = 0; i < x->dims[0]; i++) {
        int64_t j;
        if (!__builtin_add_overflow(i, k, &j) && j >= 0 && j < x->dims[1])
            ref_store(&y, CLASS_I64, i * x->dims[1] + j, 1, &one);
    }
    return NULL;
}

/* ---- Trilu ---- */

Status eval_trilu(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *k, n;
    bool upper = attr_int(c->node, "upper") != 0;
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &k, &n));
    if (x->rank < 2 || (k && n != 1))
        return eval_error(c, STATUS_INVALID, "needs at least two dimensions and one number k");
    TRY(ref_output(c, 0, x->elem, x->rank, x->dims, &y));
    memset(y.data, 0, y.bytes);
    int64_t rows = x->dims[x->rank - 2], cols = x->dims[x->rank - 1], all = ref_product(x->dims, 0, x->rank - 1);
    int64_t diagonal = k ? *k : 0;
    diagonal = diagonal > cols ? cols : diagonal < -rows ? -rows : diagonal;
    for (int64_t r = 0; r < all; r++) {
        int64_t split = r % rows + diagonal + (upper ? 0 : 1); /* first column of the upper part */
        split = split < 0 ? 0 : split > cols ? cols : split;
        int64_t from = r * cols + (upper ? split : 0);
        ref_copy(x->elem, y.data, from, x->data, from, upper ? cols - split : split);
    }
    return NULL;
}

/* ---- ReverseSequence ---- */

Status eval_reverse_sequence(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *lens, n, batch = attr_int(c->node, "batch_axis"), time = attr_int(c->node, "time_axis");
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &lens, &n));
    if (x->rank < 2 || batch == time || batch < 0 || batch > 1 || time < 0 || time > 1 || n != x->dims[batch]) {
        return eval_error(c, STATUS_INVALID, "batch_axis and time_axis must be 0 and 1, with one length a batch");
    }
    TRY(ref_output(c, 0, x->elem, x->rank, x->dims, &y));
    int64_t inner = ref_product(x->dims, 2, x->rank);
    for (int64_t i = 0; i < x->dims[0]; i++) {
        for (int64_t j = 0; j < x->dims[1]; j++) {
            int64_t b = batch == 0 ? i : j, t = batch == 0 ? j : i, len = lens[b];
            if (len < 0 || len > x->dims[time])
                return eval_error(c, STATUS_INVALID, "length %lld is outside the time axis", (long long)len);
            int64_t from = t < len ? len - 1 - t : t, row = batch == 0 ? i * x->dims[1] + from : from * x->dims[1] + j;
            ref_copy(x->elem, y.data, (i * x->dims[1] + j) * inner, x->data, row * inner, inner);
        }
    }
    return NULL;
}

/* ---- Unique ---- */

Status infer_unique(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    Dim n = infer_fresh(c);
    bool whole = !attr_find(c->node, "axis");
    Type t = type_tensor(e, 1, &n);
    Dim items = infer_fresh(c);
    if (!whole && infer_is_ranked(c, 0)) {
        int axis;
        t = *c->in[0];
        TRY(infer_axis(c, attr_int(c->node, "axis"), t.rank, &axis));
        items = t.dims[axis];
        t.dims[axis] = n;
    } else if (infer_is_ranked(c, 0)) {
        items = infer_product(c, c->in[0]->dims, 0, c->in[0]->rank);
    }
    if (whole || infer_is_ranked(c, 0))
        infer_set(c, 0, e, t.rank, t.dims);
    else
        infer_set_unranked(c, 0, e);
    infer_set(c, 1, ELEM_I64, 1, &n);
    infer_set(c, 2, ELEM_I64, 1, &items);
    infer_set(c, 3, ELEM_I64, 1, &n);
    return NULL;
}

/* The items to compare: `n` rows of `len` values of a class. */
typedef struct Items {
    const void *values;
    RefClass cls;
    int64_t n, len;
} Items;

#define COMPARE(T)                                                                                                     \
    do {                                                                                                               \
        const T *x = (const T *)items->values + a * items->len, *y = (const T *)items->values + b * items->len;        \
        for (int64_t i = 0; i < items->len; i++) {                                                                     \
            if (x[i] < y[i]) return -1;                                                                                \
            if (x[i] > y[i]) return 1;                                                                                 \
        }                                                                                                              \
    } while (0)

static int compare_items(const Items *items, int64_t a, int64_t b) {
    switch (items->cls) {
    case CLASS_F64:
        COMPARE(double);
        break;
    case CLASS_I64:
        COMPARE(int64_t);
        break;
    default:
        COMPARE(uint64_t);
    }
    return 0;
}

/* Equal items keep their order, so that the first of a group is its first occurrence. */
static int compare_stable(const void *pa, const void *pb, void *ctx) {
    int64_t a = *(const int64_t *)pa, b = *(const int64_t *)pb;
    int order = compare_items(ctx, a, b);
    return order ? order : a < b ? -1 : a > b;
}

static int compare_numbers(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Rows of `items` along the axis, from x. */
static Status read_items(EvalCtx *c, int rank, const int64_t *dims, int axis, Items *items) {
    const Tensor *x = c->in[0];
    RefClass cls = ref_class(x->elem);
    int64_t shape[3] = {dims[axis], ref_product(dims, 0, axis), ref_product(dims, axis + 1, rank)};
    int64_t from[3] = {shape[2], dims[axis] * shape[2], 1}, to[3];
    items->n = shape[0];
    items->len = shape[1] * shape[2];
    items->cls = cls == CLASS_F32 ? CLASS_F64 : cls == CLASS_BOOL ? CLASS_U64 : cls;
    void *all, *rows;
    TRY_ALLOC(all = ARENA_ARRAY(c->scratch, uint64_t, tensor_count(x)));
    TRY_ALLOC(rows = ARENA_ARRAY(c->scratch, uint64_t, tensor_count(x)));
    ref_load(x, items->cls, 0, 1, tensor_count(x), all);
    ref_strides(3, shape, to);
    ref_copy_strided(ELEM_U64, 3, shape, rows, 0, to, all, 0, from);
    items->values = rows;
    return NULL;
}

typedef struct Groups {
    int64_t *first, *count, *of; /* by group: first item and size; by item: group */
    int64_t n;
} Groups;

/* Groups of equal items in sorted order, or (not `sorted`) by first occurrence. */
static Status group_items(EvalCtx *c, Items *items, bool sorted, Groups *g) {
    int64_t *order, *rank;
    TRY_ALLOC(order = ARENA_ARRAY(c->scratch, int64_t, items->n));
    TRY_ALLOC(rank = ARENA_ARRAY(c->scratch, int64_t, items->n));
    TRY_ALLOC(g->first = ARENA_ARRAY(c->scratch, int64_t, items->n));
    TRY_ALLOC(g->count = ARENA_ARRAY(c->scratch, int64_t, items->n));
    TRY_ALLOC(g->of = ARENA_ARRAY(c->scratch, int64_t, items->n));
    g->n = 0;
    for (int64_t i = 0; i < items->n; i++) order[i] = i;
    qsort_r(order, (size_t)items->n, sizeof *order, compare_stable, items);
    for (int64_t i = 0; i < items->n; i++) {
        if (i == 0 || compare_items(items, order[i - 1], order[i]) != 0) g->first[g->n++] = order[i];
        rank[order[i]] = g->first[g->n - 1]; /* the group's first item stands for it until groups are numbered */
    }
    if (!sorted) qsort(g->first, (size_t)g->n, sizeof *g->first, compare_numbers);
    int64_t *number = order; /* by first item: group */
    for (int64_t k = 0; k < g->n; k++) number[g->first[k]] = k;
    for (int64_t i = 0; i < items->n; i++) g->count[g->of[i] = number[rank[i]]]++;
    return NULL;
}

static Status store_indices(EvalCtx *c, int out, const int64_t *v, int64_t n) {
    Tensor y;
    if (out >= c->n_out) return NULL;
    TRY(ref_output(c, out, ELEM_I64, 1, &n, &y));
    ref_store(&y, CLASS_I64, 0, n, v);
    return NULL;
}

Status eval_unique(EvalCtx *c) {
    const Tensor *x = c->in[0];
    bool whole = !attr_find(c->node, "axis");
    int64_t flat[1] = {tensor_count(x)}, dims[MAX_RANK];
    int axis = 0, rank = whole ? 1 : x->rank;
    Items items;
    Groups g;
    Tensor y;
    TRY(ref_numeric_only(c));
    if (!whole) TRY(ref_axis(c, attr_int(c->node, "axis"), rank, &axis));
    memcpy(dims, whole ? flat : x->dims, (size_t)rank * sizeof *dims);
    TRY(read_items(c, rank, dims, axis, &items));
    TRY(group_items(c, &items, attr_int(c->node, "sorted") != 0, &g));
    int64_t dim = dims[axis], outer = ref_product(dims, 0, axis), inner = ref_product(dims, axis + 1, rank);
    dims[axis] = g.n;
    TRY(ref_output(c, 0, x->elem, rank, dims, &y));
    for (int64_t o = 0; o < outer; o++) {
        for (int64_t k = 0; k < g.n; k++)
            ref_copy(x->elem, y.data, (o * g.n + k) * inner, x->data, (o * dim + g.first[k]) * inner, inner);
    }
    TRY(store_indices(c, 1, g.first, g.n));
    TRY(store_indices(c, 2, g.of, items.n));
    return store_indices(c, 3, g.count, g.n);
}
