/* Ops that move elements by fixed patterns: Transpose, Concat, Split, Slice, Tile, DepthToSpace, SpaceToDepth. */
#include "kernels/ref/ref.h"

#include <string.h>

/* ---- Transpose ---- */

/* The permutation of the node, or the reversal; false when the attribute is none of `rank` axes. */
static bool read_perm(const Node *node, int rank, int *perm) {
    int64_t n;
    const int64_t *p = attr_ints(node, "perm", &n);
    bool seen[MAX_RANK] = {false};
    if (p && n != rank) return false;
    for (int i = 0; i < rank; i++) {
        int64_t a = p ? (p[i] < 0 ? p[i] + rank : p[i]) : rank - 1 - i;
        if (a < 0 || a >= rank || seen[a]) return false;
        seen[a] = true;
        perm[i] = (int)a;
    }
    return true;
}

Status infer_transpose(InferCtx *c) {
    int perm[MAX_RANK];
    Dim dims[MAX_RANK];
    const Type *x = c->in[0];
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        return NULL;
    }
    if (!read_perm(c->node, x->rank, perm))
        return infer_error(c, STATUS_INVALID, "attribute perm is no permutation of %d axes", x->rank);
    for (int i = 0; i < x->rank; i++) dims[i] = x->dims[perm[i]];
    infer_set(c, 0, x->elem, x->rank, dims);
    return x->rank <= 1 ? known_pass(c) : NULL;
}

/* Output 0 = in 0, seen as [rank; dims], with its axes permuted and then seen as [out_rank; out_dims]. */
static Status permuted(EvalCtx *c, int rank, const int64_t *dims, const int *perm, int out_rank,
                       const int64_t *out_dims) {
    const Tensor *x = c->in[0];
    int64_t all[MAX_RANK], from[MAX_RANK], to[MAX_RANK], moved[MAX_RANK];
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_output(c, 0, x->elem, out_rank, out_dims, &y));
    ref_strides(rank, dims, all);
    for (int i = 0; i < rank; i++) {
        moved[i] = dims[perm[i]];
        from[i] = all[perm[i]];
    }
    ref_strides(rank, moved, to);
    ref_copy_strided(x->elem, rank, moved, y.data, 0, to, x->data, 0, from);
    return NULL;
}

Status eval_transpose(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int perm[MAX_RANK];
    int64_t dims[MAX_RANK];
    if (!read_perm(c->node, x->rank, perm))
        return eval_error(c, STATUS_INVALID, "attribute perm is no permutation of %d axes", x->rank);
    for (int i = 0; i < x->rank; i++) dims[i] = x->dims[perm[i]];
    return permuted(c, x->rank, x->dims, perm, x->rank, dims);
}

/* ---- DepthToSpace, SpaceToDepth: a six-dimensional transposition ---- */

/* Shape of the result of a block op on [N, C, H, W]; `into_space`: DepthToSpace. */
static Status infer_blocks(InferCtx *c, bool into_space) {
    int64_t b = attr_int(c->node, "blocksize");
    const Type *x = c->in[0];
    if (b <= 0 || b >= 1 << 20) return infer_error(c, STATUS_INVALID, "attribute blocksize is %lld", (long long)b);
    if (!infer_is_ranked(c, 0)) {
        infer_set_fresh(c, 0, infer_elem(c, 0), 4);
        return NULL;
    }
    if (x->rank != 4) return infer_error(c, STATUS_INVALID, "input 0 must have 4 dimensions, found %d", x->rank);
    SymOp depth = into_space ? SYM_FLOORDIV : SYM_MUL, space = into_space ? SYM_MUL : SYM_FLOORDIV;
    Dim dims[4] = {x->dims[0], infer_dim_op(c, depth, x->dims[1], b * b), infer_dim_op(c, space, x->dims[2], b),
                   infer_dim_op(c, space, x->dims[3], b)};
    infer_set(c, 0, x->elem, 4, dims);
    return NULL;
}

Status infer_depth_to_space(InferCtx *c) { return infer_blocks(c, true); }
Status infer_space_to_depth(InferCtx *c) { return infer_blocks(c, false); }

static Status check_blocks(const EvalCtx *c, int64_t *b, bool into_space) {
    const Tensor *x = c->in[0];
    *b = attr_int(c->node, "blocksize");
    bool fits = x->rank == 4 && *b > 0 && *b < 1 << 20;
    int64_t depth;
    if (fits) fits = !__builtin_mul_overflow(x->dims[1], *b * *b, &depth);
    if (fits) fits = into_space ? x->dims[1] % (*b * *b) == 0 : x->dims[2] % *b == 0 && x->dims[3] % *b == 0;
    char text[160];
    return fits ? NULL
                : eval_error(c, STATUS_INVALID, "blocksize %lld does not divide %s", (long long)*b,
                             tensor_describe(x, text, sizeof text));
}

static bool column_first(const EvalCtx *c) { return strcmp(attr_string(c->node, "mode"), "CRD") == 0; }

Status eval_depth_to_space(EvalCtx *c) {
    static const int dcr[6] = {0, 3, 4, 1, 5, 2}, crd[6] = {0, 1, 4, 2, 5, 3};
    int64_t b;
    TRY(check_blocks(c, &b, true));
    const int64_t *d = c->in[0]->dims, depth = d[1] / (b * b);
    int64_t out[4] = {d[0], depth, d[2] * b, d[3] * b};
    int64_t from_dcr[6] = {d[0], b, b, depth, d[2], d[3]}, from_crd[6] = {d[0], depth, b, b, d[2], d[3]};
    return permuted(c, 6, column_first(c) ? from_crd : from_dcr, column_first(c) ? crd : dcr, 4, out);
}

Status eval_space_to_depth(EvalCtx *c) {
    static const int dcr[6] = {0, 3, 5, 1, 2, 4}, crd[6] = {0, 1, 3, 5, 2, 4};
    int64_t b;
    TRY(check_blocks(c, &b, false));
    const int64_t *d = c->in[0]->dims;
    int64_t out[4] = {d[0], d[1] * b * b, d[2] / b, d[3] / b}, from[6] = {d[0], d[1], d[2] / b, b, d[3] / b, b};
    return permuted(c, 6, from, column_first(c) ? crd : dcr, 4, out);
}

/* ---- Concat ---- */

/* The content of all inputs in a row; elements of unknown inputs of known length are fresh symbols. */
static Status known_concat(InferCtx *c) {
    Dim all[256];
    int n = 0;
    bool any = false;
    for (int i = 0; i < c->n_in; i++) {
        int count;
        const Dim *d = infer_known(c, i, &count);
        if (!d && (c->in[i]->dims[0] < 0 || c->in[i]->dims[0] > 256)) return NULL;
        if (!d) count = (int)c->in[i]->dims[0];
        if (n + count > 256) return NULL;
        for (int k = 0; k < count; k++) all[n++] = d ? d[k] : infer_fresh(c);
        any |= d != NULL;
    }
    return any ? infer_set_known(c, 0, all, n) : NULL;
}

Status infer_concat(InferCtx *c) {
    int rank = -1, axis;
    ElemType e = infer_elem(c, 0);
    bool all = true;
    Dim dims[MAX_RANK];
    for (int i = 0; i < c->n_in; i++) {
        if (!infer_is_ranked(c, i)) {
            all = false;
            continue;
        }
        const Type *x = c->in[i];
        if (rank >= 0 && x->rank != rank)
            return infer_error(c, STATUS_INVALID, "input %d has %d dimensions, expected %d", i, x->rank, rank);
        TRY(infer_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
        for (int d = 0; d < x->rank; d++) {
            if (rank < 0)
                dims[d] = x->dims[d];
            else if (d == axis)
                dims[d] = infer_dim_op(c, SYM_ADD, dims[d], x->dims[d]);
            else if (DIM_IS_SYM(dims[d]))
                dims[d] = x->dims[d];
            else if (DIM_IS_NUM(x->dims[d]) && x->dims[d] != dims[d]) {
                return infer_error(c, STATUS_INVALID, "dimension %d of input %d is %lld, expected %lld", d, i,
                                   (long long)x->dims[d], (long long)dims[d]);
            }
        }
        rank = x->rank;
    }
    if (rank < 0) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    if (!all) dims[axis] = infer_fresh(c);
    infer_set(c, 0, e, rank, dims);
    return all && rank == 1 && elem_is_int(e) ? known_concat(c) : NULL;
}

Status eval_concat(EvalCtx *c) {
    int axis;
    int64_t dims[MAX_RANK];
    const Tensor *x = c->in[0];
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = 0;
    for (int i = 0; i < c->n_in; i++) {
        const Tensor *t = c->in[i];
        bool fits = t && t->rank == x->rank && t->elem == x->elem;
        for (int d = 0; fits && d < x->rank; d++) fits = d == axis || t->dims[d] == x->dims[d];
        if (!fits) return eval_error(c, STATUS_INVALID, "input %d does not fit input 0", i);
        dims[axis] += t->dims[axis];
    }
    TRY(ref_output(c, 0, x->elem, x->rank, dims, &y));
    int64_t outer = ref_product(dims, 0, axis), inner = ref_product(dims, axis + 1, x->rank), at = 0;
    for (int i = 0; i < c->n_in; i++) {
        int64_t row = c->in[i]->dims[axis] * inner;
        for (int64_t o = 0; o < outer; o++)
            ref_copy(x->elem, y.data, o * dims[axis] * inner + at, c->in[i]->data, o * row, row);
        at += row;
    }
    return NULL;
}

/* ---- Split ---- */

/* Part i of n equal parts of `total`; the last one may be smaller. */
static int64_t equal_part(int64_t total, int n, int i) {
    int64_t part = total / n + (total % n != 0), full = part ? total / part : 0;
    return i < full ? part : i == full ? total - part * full : 0;
}

Status infer_split(InferCtx *c) {
    const int64_t *sizes;
    int n, axis, count;
    bool listed = c->n_in > 1 && c->in[1], known = infer_ints(c, 1, &sizes, &n);
    ElemType e = infer_elem(c, 0);
    if (!infer_is_ranked(c, 0)) {
        for (int o = 0; o < c->n_out; o++) infer_set_unranked(c, o, e);
        return NULL;
    }
    Type t = *c->in[0];
    TRY(infer_axis(c, attr_int(c->node, "axis"), t.rank, &axis));
    if (listed && known && n != c->n_out)
        return infer_error(c, STATUS_INVALID, "input split has %d sizes for %d outputs", n, c->n_out);
    const Dim *content = t.rank == 1 ? infer_known(c, 0, &count) : NULL;
    Dim total = c->in[0]->dims[axis], at = 0;
    for (int o = 0; o < c->n_out; o++) {
        Dim d = INT64_MIN;
        if (listed && known)
            d = sizes[o];
        else if (!listed && DIM_IS_NUM(total))
            d = equal_part(total, c->n_out, o);
        else if (!listed && c->n_out == 1)
            d = total;
        t.dims[axis] = d == INT64_MIN ? infer_fresh(c) : d;
        TRY(infer_set_dims(c, o, e, t.rank, t.dims));
        if (!content || d < 0 || at + d > count) continue;
        TRY(infer_set_known(c, o, content + at, (int)d));
        at += d;
    }
    return NULL;
}

Status eval_split(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *sizes, n, dims[MAX_RANK], at = 0;
    int axis;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &sizes, &n));
    TRY(ref_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    if (sizes && n != c->n_out)
        return eval_error(c, STATUS_INVALID, "input split has %lld sizes for %d outputs", (long long)n, c->n_out);
    memcpy(dims, x->dims, sizeof dims);
    int64_t outer = ref_product(dims, 0, axis), inner = ref_product(dims, axis + 1, x->rank);
    for (int o = 0; o < c->n_out; o++) {
        Tensor y;
        dims[axis] = sizes ? sizes[o] : equal_part(x->dims[axis], c->n_out, o);
        if (dims[axis] < 0 || dims[axis] > x->dims[axis] - at)
            return eval_error(c, STATUS_INVALID, "the sizes do not fit axis %d with %lld elements", axis,
                              (long long)x->dims[axis]);
        TRY(ref_output(c, o, x->elem, x->rank, dims, &y));
        int64_t row = dims[axis] * inner;
        for (int64_t k = 0; k < outer; k++)
            ref_copy(x->elem, y.data, k * row, x->data, (k * x->dims[axis] + at) * inner, row);
        at += dims[axis];
    }
    return at == x->dims[axis] ? NULL
                               : eval_error(c, STATUS_INVALID, "the sizes add up to %lld, axis %d has %lld elements",
                                            (long long)at, axis, (long long)x->dims[axis]);
}

/* ---- Slice ---- */

/* First index and number of elements of start:end:step on an axis of `dim` elements (numpy's rules). */
static int64_t slice_axis(int64_t dim, int64_t *start, int64_t end, int64_t step) {
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? dim - 1 : dim, s = *start;
    s = s < 0 ? (s < -dim ? low : s + dim) : s;
    end = end < 0 ? (end < -dim ? low : end + dim) : end;
    s = s < low ? low : s > high ? high : s;
    end = end < low ? low : end > high ? high : end;
    *start = s;
    if (step > 0) return end > s ? (end - s - 1) / step + 1 : 0;
    /* a step of 0 was refused. NOLINTNEXTLINE(clang-analyzer-core.DivideZero) */
    return s > end ? (s - end - 1) / (step == INT64_MIN ? INT64_MAX : -step) + 1 : 0;
}

enum { BEYOND_END = 1 << 29 }; /* exporters write 10^9 and more for "to the end" */

/* A bound of a slice of a symbolic axis: `from_end` or not, and an offset. */
typedef struct Bound {
    bool from_end;
    Dim at;
} Bound;

static Bound bound_of(Dim v, Dim dim) {
    if (DIM_IS_SYM(v)) return v == dim ? (Bound){true, 0} : (Bound){false, v};
    return v < 0 ? (Bound){true, -v} : v >= BEYOND_END ? (Bound){true, 0} : (Bound){false, v};
}

/* Length of start:end (step 1) on an axis with a symbol, supposing that the axis is not shorter than numeric bounds. */
static Dim symbolic_slice(InferCtx *c, Dim dim, Dim start, Dim end) {
    Bound a = bound_of(start, dim), b = bound_of(end, dim);
    if (a.from_end && b.from_end) {
        if (DIM_IS_NUM(start) && start <= -BEYOND_END) return infer_dim_op(c, SYM_SUB, dim, b.at);
        Dim n = infer_dim_op(c, SYM_SUB, a.at, b.at);
        return n > 0 || DIM_IS_SYM(n) ? n : 0;
    }
    if (!a.from_end && b.from_end) return infer_dim_op(c, SYM_SUB, infer_dim_op(c, SYM_SUB, dim, b.at), a.at);
    if (!a.from_end) {
        Dim stop = infer_dim_op(c, SYM_MIN, dim, b.at);
        return infer_dim_op(c, SYM_SUB, stop, a.at);
    }
    return infer_fresh(c);
}

typedef struct SliceSpec {
    int n;
    const Dim *starts, *ends; /* NULL when unknown */
    const int64_t *axes, *steps;
} SliceSpec;

static Dim slice_dim(InferCtx *c, const SliceSpec *s, int i, Dim dim) {
    if (!s->starts || !s->ends) return infer_fresh(c);
    Dim start = s->starts[i], end = s->ends[i];
    int64_t step = s->steps ? s->steps[i] : 1;
    bool numbers = DIM_IS_NUM(start) && DIM_IS_NUM(end);
    if (numbers && DIM_IS_NUM(dim)) return slice_axis(dim, &start, end, step);
    if (step == -1 && numbers && start == -1 && end <= -BEYOND_END) return dim;
    if (step < 0) return infer_fresh(c);
    Dim n = symbolic_slice(c, dim, start, end);
    if (DIM_IS_NUM(n) && n < 0) return 0; /* 1:0 */
    return step == 1 ? n : infer_dim_op(c, SYM_CEILDIV, n, step);
}

/* Bounds as Dims: numbers that would read as symbols are clamped first. */
static const Dim *slice_bounds(InferCtx *c, int i, int *n) {
    const int64_t *v;
    if (!infer_ints(c, i, &v, n)) return infer_known(c, i, n);
    Dim *d = ARENA_ARRAY(c->scratch, Dim, *n);
    for (int k = 0; d && k < *n; k++) d[k] = v[k] <= SYM_FIRST ? SYM_FIRST + 1 : v[k];
    return d;
}

static Status known_slice(InferCtx *c, const SliceSpec *s) {
    int count, n = 0;
    const Dim *x = infer_known(c, 0, &count);
    if (!x || c->in[0]->rank != 1 || s->n != 1 || !s->starts || !s->ends || DIM_IS_SYM(s->starts[0]) ||
        DIM_IS_SYM(s->ends[0]))
        return NULL;
    int64_t start = s->starts[0], step = s->steps ? s->steps[0] : 1, len = slice_axis(count, &start, s->ends[0], step);
    Dim *y;
    TRY_ALLOC(y = ARENA_ARRAY(c->scratch, Dim, len));
    for (; n < len; n++) y[n] = x[start + n * step];
    return infer_set_known(c, 0, y, n);
}

Status infer_slice(InferCtx *c) {
    SliceSpec s = {0};
    int n_starts, n_ends, n_axes, n_steps;
    ElemType e = infer_elem(c, 0);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    Type t = *c->in[0];
    s.starts = slice_bounds(c, 1, &n_starts);
    s.ends = slice_bounds(c, 2, &n_ends);
    bool known = infer_ints(c, 3, &s.axes, &n_axes) && infer_ints(c, 4, &s.steps, &n_steps);
    if (!s.starts && s.axes)
        s.n = n_axes;
    else
        s.n = s.starts                                                                 ? n_starts
              : infer_is_ranked(c, 1) && c->in[1]->rank == 1 && c->in[1]->dims[0] >= 0 ? (int)c->in[1]->dims[0]
                                                                                       : -1;
    if (!known || s.n < 0) {
        infer_set_fresh(c, 0, e, t.rank);
        return NULL;
    }
    if ((s.ends && n_ends != s.n) || (s.axes && n_axes != s.n) || (s.steps && n_steps != s.n) || s.n > t.rank) {
        return infer_error(c, STATUS_INVALID,
                           "starts, ends, axes and steps differ in length or exceed the %d axes of the input", t.rank);
    }
    for (int i = 0; i < s.n; i++) {
        int axis;
        TRY(infer_axis(c, s.axes ? s.axes[i] : i, t.rank, &axis));
        if (s.steps && s.steps[i] == 0) return infer_error(c, STATUS_INVALID, "step %d is 0", i);
        t.dims[axis] = slice_dim(c, &s, i, t.dims[axis]);
    }
    infer_set(c, 0, e, t.rank, t.dims);
    return known_slice(c, &s);
}

Status eval_slice(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *v[4], n[4], dims[MAX_RANK], from[MAX_RANK], to[MAX_RANK], offset = 0;
    bool seen[MAX_RANK] = {false};
    Tensor y;
    TRY(ref_numeric_only(c));
    for (int i = 0; i < 4; i++) TRY(ref_ints(c, i + 1, &v[i], &n[i]));
    if (n[0] != n[1] || (v[2] && n[2] != n[0]) || (v[3] && n[3] != n[0]))
        return eval_error(c, STATUS_INVALID, "starts, ends, axes and steps differ in length");
    memcpy(dims, x->dims, sizeof dims);
    ref_strides(x->rank, x->dims, from);
    for (int64_t i = 0; i < n[0]; i++) {
        int axis;
        TRY(ref_axis(c, v[2] ? v[2][i] : i, x->rank, &axis));
        int64_t step = v[3] ? v[3][i] : 1, start = v[0][i];
        if (step == 0 || seen[axis])
            return eval_error(c, STATUS_INVALID, "axis %d is sliced twice or with step 0", axis);
        seen[axis] = true;
        dims[axis] = slice_axis(x->dims[axis], &start, v[1][i], step);
        if (dims[axis] == 0) continue;
        offset += start * from[axis];
        from[axis] = dims[axis] > 1 ? from[axis] * step : 0;
    }
    TRY(ref_output(c, 0, x->elem, x->rank, dims, &y));
    ref_strides(x->rank, dims, to);
    ref_copy_strided(x->elem, x->rank, dims, y.data, 0, to, x->data, offset, from);
    return NULL;
}

/* ---- Tile ---- */

Status infer_tile(InferCtx *c) {
    int n;
    const Dim *reps = infer_known(c, 1, &n);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        return NULL;
    }
    Type t = *c->in[0];
    if (reps && n != t.rank)
        return infer_error(c, STATUS_INVALID, "input repeats has %d elements for %d axes", n, t.rank);
    for (int i = 0; i < t.rank; i++) t.dims[i] = reps ? infer_dim_op(c, SYM_MUL, t.dims[i], reps[i]) : infer_fresh(c);
    return infer_set_dims(c, 0, t.elem, t.rank, t.dims);
}

Status eval_tile(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *reps, n, dims[MAX_RANK], from[MAX_RANK], to[MAX_RANK], idx[MAX_RANK] = {0};
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &reps, &n));
    if (n != x->rank)
        return eval_error(c, STATUS_INVALID, "input repeats has %lld elements for %d axes", (long long)n, x->rank);
    for (int i = 0; i < x->rank; i++) {
        if (reps[i] < 0 || __builtin_mul_overflow(x->dims[i], reps[i], &dims[i]))
            return eval_error(c, STATUS_INVALID, "repeat %d is %lld", i, (long long)reps[i]);
    }
    TRY(ref_output(c, 0, x->elem, x->rank, dims, &y));
    if (tensor_count(&y) == 0) return NULL;
    ref_strides(x->rank, x->dims, from);
    ref_strides(x->rank, dims, to);
    do {
        int64_t at = 0;
        for (int i = 0; i < x->rank; i++) at += idx[i] * x->dims[i] * to[i];
        ref_copy_strided(x->elem, x->rank, x->dims, y.data, at, to, x->data, 0, from);
    } while (ref_next(x->rank, reps, idx));
    return NULL;
}
