/* Ops about shapes: Shape, Size, Reshape, Flatten, Squeeze, Unsqueeze, Expand, ConstantOfShape, Range. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

/* ---- Shape, Size ---- */

/* [from, to) of a shape of `rank` dims, clamped as the attributes of Shape are. */
static void shape_range(const Node *n, int rank, int *from, int *to) {
    int64_t start = attr_int(n, "start"), end = attr_find(n, "end") ? attr_int(n, "end") : rank;
    if (start < 0) start += rank;
    if (end < 0) end += rank;
    start = start < 0 ? 0 : start > rank ? rank : start;
    end = end < start ? start : end > rank ? rank : end;
    *from = (int)start;
    *to = (int)end;
}

Status infer_shape(InferCtx *c) {
    if (!infer_is_ranked(c, 0)) {
        infer_set_fresh(c, 0, ELEM_I64, 1);
        return NULL;
    }
    int from, to;
    shape_range(c->node, c->in[0]->rank, &from, &to);
    Dim n = to - from;
    infer_set(c, 0, ELEM_I64, 1, &n);
    return infer_set_known(c, 0, c->in[0]->dims + from, to - from);
}

Status eval_shape(EvalCtx *c) {
    int from, to;
    Tensor y;
    shape_range(c->node, c->in[0]->rank, &from, &to);
    int64_t n = to - from;
    TRY(ref_output(c, 0, ELEM_I64, 1, &n, &y));
    ref_store(&y, CLASS_I64, 0, n, c->in[0]->dims + from);
    return NULL;
}

Status infer_size(InferCtx *c) {
    infer_set(c, 0, ELEM_I64, 0, NULL);
    if (!infer_is_ranked(c, 0)) return NULL;
    Dim n = infer_product(c, c->in[0]->dims, 0, c->in[0]->rank);
    return infer_set_known(c, 0, &n, 1);
}

Status eval_size(EvalCtx *c) {
    Tensor y;
    int64_t n = tensor_count(c->in[0]);
    TRY(ref_output(c, 0, ELEM_I64, 0, NULL, &y));
    ref_store(&y, CLASS_I64, 0, 1, &n);
    return NULL;
}

/* ---- Reshape ---- */

static int64_t gcd(int64_t a, int64_t b) {
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* Moves the numbers of dims into *num (false on overflow) and leaves the symbols; returns how many. */
static bool split_numbers(Dim *dims, int *n, int64_t *num) {
    int out = 0;
    *num = 1;
    for (int i = 0; i < *n; i++) {
        if (DIM_IS_SYM(dims[i]))
            dims[out++] = dims[i];
        else if (__builtin_mul_overflow(*num, dims[i], num))
            return false;
    }
    *n = out;
    return true;
}

/* product(a) / product(b), cancelling what occurs on both sides first. Changes the arrays. */
static Dim divide_products(InferCtx *c, Dim *a, int na, Dim *b, int nb) {
    int64_t num_a, num_b;
    for (int i = 0; i < nb; i++) {
        for (int k = 0; k < na; k++) {
            if (a[k] == b[i] && DIM_IS_SYM(a[k])) a[k] = b[i] = 1;
        }
    }
    if (!split_numbers(a, &na, &num_a) || !split_numbers(b, &nb, &num_b) || num_b == 0) return infer_fresh(c);
    int64_t g = gcd(num_a, num_b);
    if (g > 1) {
        num_a /= g;
        num_b /= g;
    }
    Dim over = infer_dim_op(c, SYM_MUL, infer_product(c, a, 0, na), num_a);
    Dim under = infer_dim_op(c, SYM_MUL, infer_product(c, b, 0, nb), num_b);
    return infer_dim_op(c, SYM_FLOORDIV, over, under);
}

static Status reshape_dims(InferCtx *c, const Dim *target, int n, Dim *dims) {
    bool keep_zero = attr_int(c->node, "allowzero") != 0;
    const Type *x = c->in[0];
    int wild = -1;
    for (int i = 0; i < n; i++) {
        dims[i] = target[i];
        if (target[i] == 0 && !keep_zero) {
            if (infer_is_ranked(c, 0) && i >= x->rank) {
                return infer_error(c, STATUS_INVALID, "target dimension %d is 0 (copy), but input 0 has %d dimensions",
                                   i, x->rank);
            }
            dims[i] = infer_is_ranked(c, 0) ? x->dims[i] : infer_fresh(c);
        } else if (target[i] == -1) {
            if (wild >= 0) return infer_error(c, STATUS_INVALID, "the target shape has more than one -1");
            wild = i;
        } else if (DIM_IS_NUM(target[i]) && target[i] < 0) {
            return infer_error(c, STATUS_INVALID, "target dimension %d is %lld", i, (long long)target[i]);
        }
    }
    if (wild < 0) return NULL;
    if (!infer_is_ranked(c, 0)) {
        dims[wild] = infer_fresh(c);
        return NULL;
    }
    Dim a[MAX_RANK], b[MAX_RANK];
    memcpy(a, x->dims, sizeof a);
    memcpy(b, dims, (size_t)n * sizeof *b);
    b[wild] = 1;
    dims[wild] = divide_products(c, a, x->rank, b, n);
    return NULL;
}

Status infer_reshape(InferCtx *c) {
    int n;
    Dim dims[MAX_RANK];
    ElemType e = infer_elem(c, 0);
    const int64_t *numbers;
    const Dim *target = infer_ints(c, 1, &numbers, &n) ? numbers : infer_known(c, 1, &n);
    if (!target) {
        bool counted =
            infer_is_ranked(c, 1) && c->in[1]->rank == 1 && c->in[1]->dims[0] >= 0 && c->in[1]->dims[0] <= MAX_RANK;
        if (counted)
            infer_set_fresh(c, 0, e, (int)c->in[1]->dims[0]);
        else
            infer_set_unranked(c, 0, e);
        return known_pass(c);
    }
    if (n > MAX_RANK)
        return infer_error(c, STATUS_UNSUPPORTED, "the target shape has %d dimensions, at most %d are supported", n,
                           MAX_RANK);
    TRY(reshape_dims(c, target, n, dims));
    infer_set(c, 0, e, n, dims);
    int64_t have = infer_is_ranked(c, 0) ? type_count(c->in[0]) : -1, want = type_count(&c->out[0]);
    if (have >= 0 && want >= 0 && have != want) {
        return infer_error(c, STATUS_INVALID, "the target shape has %lld elements, the input has %lld", (long long)want,
                           (long long)have);
    }
    return known_pass(c);
}

Status eval_reshape(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *target, n, dims[MAX_RANK], rest = 1, count = tensor_count(x);
    int wild = -1;
    TRY(ref_ints(c, 1, &target, &n));
    if (n > MAX_RANK)
        return eval_error(c, STATUS_UNSUPPORTED, "the target shape has more than %d dimensions", MAX_RANK);
    for (int i = 0; i < n; i++) {
        dims[i] = target[i];
        if (dims[i] == 0 && !attr_int(c->node, "allowzero")) dims[i] = i < x->rank ? x->dims[i] : 0;
        if (dims[i] == -1 && wild < 0)
            wild = i;
        else if (dims[i] < 0 || __builtin_mul_overflow(rest, dims[i], &rest))
            return eval_error(c, STATUS_INVALID, "target dimension %d is %lld", i, (long long)dims[i]);
    }
    if (wild >= 0) dims[wild] = rest ? count / rest : 0;
    if (rest * (wild >= 0 ? dims[wild] : 1) != count) {
        return eval_error(c, STATUS_INVALID, "the target shape does not hold the %lld elements of the input",
                          (long long)count);
    }
    return ref_reshaped(c, (int)n, dims);
}

/* ---- Flatten ---- */

Status infer_flatten(InferCtx *c) {
    if (!infer_is_ranked(c, 0)) {
        infer_set_fresh(c, 0, infer_elem(c, 0), 2);
        return NULL;
    }
    const Type *x = c->in[0];
    int64_t axis = attr_int(c->node, "axis");
    if (axis < -x->rank || axis > x->rank)
        return infer_error(c, STATUS_INVALID, "axis %lld is outside [-%d, %d]", (long long)axis, x->rank, x->rank);
    int at = (int)(axis < 0 ? axis + x->rank : axis);
    Dim dims[2] = {infer_product(c, x->dims, 0, at), infer_product(c, x->dims, at, x->rank)};
    infer_set(c, 0, x->elem, 2, dims);
    return known_pass(c);
}

Status eval_flatten(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t axis = attr_int(c->node, "axis");
    if (axis < -x->rank || axis > x->rank)
        return eval_error(c, STATUS_INVALID, "axis %lld is outside [-%d, %d]", (long long)axis, x->rank, x->rank);
    int at = (int)(axis < 0 ? axis + x->rank : axis);
    int64_t dims[2] = {ref_product(x->dims, 0, at), ref_product(x->dims, at, x->rank)};
    return ref_reshaped(c, 2, dims);
}

/* ---- Squeeze, Unsqueeze ---- */

/* Marks `axes` (of a shape of `rank` dims) in `set`; the index of the first bad axis, or -1. */
static int mark_axes(const int64_t *axes, int64_t n, int rank, bool *set) {
    for (int64_t i = 0; i < n; i++) {
        int64_t a = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (a < 0 || a >= rank || set[a]) return (int)i;
        set[a] = true;
    }
    return -1;
}

Status infer_squeeze(InferCtx *c) {
    const int64_t *axes;
    int n, rank = 0;
    ElemType e = infer_elem(c, 0);
    bool set[MAX_RANK] = {false}, listed = c->n_in > 1 && c->in[1];
    if (!infer_is_ranked(c, 0) || !infer_ints(c, 1, &axes, &n)) {
        infer_set_unranked(c, 0, e);
        return known_pass(c);
    }
    const Type *x = c->in[0];
    int bad = mark_axes(axes, n, x->rank, set);
    if (bad >= 0)
        return infer_error(c, STATUS_INVALID, "axis %lld is repeated or outside [-%d, %d)", (long long)axes[bad],
                           x->rank, x->rank);
    Dim dims[MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        if (!listed && DIM_IS_SYM(x->dims[i])) { /* it may turn out to be 1 */
            infer_set_unranked(c, 0, e);
            return NULL;
        }
        if (set[i] && DIM_IS_NUM(x->dims[i]) && x->dims[i] != 1) {
            return infer_error(c, STATUS_INVALID, "axis %d has %lld elements, expected 1", i, (long long)x->dims[i]);
        }
        if (listed ? !set[i] : x->dims[i] != 1) dims[rank++] = x->dims[i];
    }
    infer_set(c, 0, e, rank, dims);
    return known_pass(c);
}

Status eval_squeeze(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *axes, n, dims[MAX_RANK];
    int rank = 0;
    bool set[MAX_RANK] = {false};
    TRY(ref_ints(c, 1, &axes, &n));
    int bad = mark_axes(axes, n, x->rank, set);
    if (bad >= 0)
        return eval_error(c, STATUS_INVALID, "axis %lld is repeated or outside [-%d, %d)", (long long)axes[bad],
                          x->rank, x->rank);
    for (int i = 0; i < x->rank; i++) {
        bool drop = c->n_in > 1 && c->in[1] ? set[i] : x->dims[i] == 1;
        if (drop && x->dims[i] != 1)
            return eval_error(c, STATUS_INVALID, "axis %d has %lld elements, expected 1", i, (long long)x->dims[i]);
        if (!drop) dims[rank++] = x->dims[i];
    }
    return ref_reshaped(c, rank, dims);
}

/* Inserts ones at the marked axes of the result. */
static void insert_ones(const int64_t *in, int rank, const bool *set, int64_t *out) {
    for (int i = 0, k = 0; i < rank; i++) out[i] = set[i] ? 1 : in[k++];
}

Status infer_unsqueeze(InferCtx *c) {
    const int64_t *axes;
    int n;
    bool set[MAX_RANK] = {false};
    Dim dims[MAX_RANK];
    if (!infer_is_ranked(c, 0) || !infer_ints(c, 1, &axes, &n)) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        return known_pass(c);
    }
    const Type *x = c->in[0];
    int rank = x->rank + n;
    if (rank > MAX_RANK)
        return infer_error(c, STATUS_UNSUPPORTED, "the result has %d dimensions, at most %d are supported", rank,
                           MAX_RANK);
    int bad = mark_axes(axes, n, rank, set);
    if (bad >= 0)
        return infer_error(c, STATUS_INVALID, "axis %lld is repeated or outside [-%d, %d)", (long long)axes[bad], rank,
                           rank);
    insert_ones(x->dims, rank, set, dims);
    infer_set(c, 0, x->elem, rank, dims);
    return known_pass(c);
}

Status eval_unsqueeze(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *axes, n, dims[MAX_RANK];
    bool set[MAX_RANK] = {false};
    TRY(ref_ints(c, 1, &axes, &n));
    if (x->rank + n > MAX_RANK)
        return eval_error(c, STATUS_UNSUPPORTED, "the result has more than %d dimensions", MAX_RANK);
    int rank = x->rank + (int)n, bad = mark_axes(axes, n, rank, set);
    if (bad >= 0)
        return eval_error(c, STATUS_INVALID, "axis %lld is repeated or outside [-%d, %d)", (long long)axes[bad], rank,
                          rank);
    insert_ones(x->dims, rank, set, dims);
    return ref_reshaped(c, rank, dims);
}

/* ---- Expand ---- */

static Status known_repeat(InferCtx *c, const Dim *content, int n) {
    int64_t count = type_count(&c->out[0]);
    if (!content || n != 1 || c->out[0].rank != 1 || count < 0 || count > INT16_MAX) return NULL;
    Dim *out;
    TRY_ALLOC(out = ARENA_ARRAY(c->scratch, Dim, count));
    for (int64_t i = 0; i < count; i++) out[i] = content[0];
    return infer_set_known(c, 0, out, (int)count);
}

Status infer_expand(InferCtx *c) {
    int n, rank;
    Dim dims[MAX_RANK];
    ElemType e = infer_elem(c, 0);
    const Dim *target = infer_known(c, 1, &n);
    bool counted =
        infer_is_ranked(c, 1) && c->in[1]->rank == 1 && c->in[1]->dims[0] >= 0 && c->in[1]->dims[0] <= MAX_RANK;
    if (!infer_is_ranked(c, 0) || (!target && !counted)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    if (!target) {
        int k = (int)c->in[1]->dims[0];
        infer_set_fresh(c, 0, e, k > c->in[0]->rank ? k : c->in[0]->rank);
        return NULL;
    }
    if (n > MAX_RANK)
        return infer_error(c, STATUS_UNSUPPORTED, "the target shape has %d dimensions, at most %d are supported", n,
                           MAX_RANK);
    Type t = type_tensor(e, n, target);
    TRY(infer_broadcast(c, c->in[0], &t, &rank, dims));
    TRY(infer_set_dims(c, 0, e, rank, dims));
    int count;
    const Dim *content = infer_known(c, 0, &count);
    return known_repeat(c, content, count);
}

Status eval_expand(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *target, n, dims[MAX_RANK], from[MAX_RANK], to[MAX_RANK];
    int rank;
    Tensor shape, y;
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &target, &n));
    if (n > MAX_RANK)
        return eval_error(c, STATUS_UNSUPPORTED, "the target shape has more than %d dimensions", MAX_RANK);
    for (int64_t i = 0; i < n; i++) {
        if (target[i] < 0)
            return eval_error(c, STATUS_INVALID, "target dimension %d is %lld", (int)i, (long long)target[i]);
    }
    TRY(tensor_view(&shape, ELEM_U8, (int)n, target, NULL));
    TRY(ref_broadcast(c, 2, (const Tensor *const[]){x, &shape}, &rank, dims));
    TRY(ref_output(c, 0, x->elem, rank, dims, &y));
    ref_broadcast_strides(x, rank, dims, from);
    ref_strides(rank, dims, to);
    ref_copy_strided(x->elem, rank, dims, y.data, 0, to, x->data, 0, from);
    return NULL;
}

/* ---- ConstantOfShape ---- */

Status infer_constant_of_shape(InferCtx *c) {
    const Attr *value = attr_find(c->node, "value");
    ElemType e = value ? value->t->elem : ELEM_F32;
    int n;
    const Dim *target = infer_known(c, 0, &n);
    if (target && n <= MAX_RANK) {
        TRY(infer_set_dims(c, 0, e, n, target));
        Dim v = value && elem_is_int(e) && tensor_count(value->t) == 1 ? tensor_get_i64(value->t, 0) : 0;
        return elem_is_int(e) ? known_repeat(c, &v, 1) : NULL;
    }
    bool counted =
        infer_is_ranked(c, 0) && c->in[0]->rank == 1 && c->in[0]->dims[0] >= 0 && c->in[0]->dims[0] <= MAX_RANK;
    if (counted)
        infer_set_fresh(c, 0, e, (int)c->in[0]->dims[0]);
    else
        infer_set_unranked(c, 0, e);
    return NULL;
}

Status eval_constant_of_shape(EvalCtx *c) {
    const Attr *value = attr_find(c->node, "value");
    ElemType e = value ? value->t->elem : ELEM_F32;
    int64_t *dims, n;
    Tensor y;
    TRY(ref_ints(c, 0, &dims, &n));
    if (n > MAX_RANK) return eval_error(c, STATUS_UNSUPPORTED, "the shape has more than %d dimensions", MAX_RANK);
    if (value && tensor_count(value->t) != 1)
        return eval_error(c, STATUS_INVALID, "attribute value must hold one element");
    TRY(ref_output(c, 0, e, (int)n, dims, &y));
    if (value)
        ref_fill(e, y.data, tensor_count(&y), value->t->data, 0);
    else
        memset(y.data, 0, y.bytes);
    return NULL;
}

/* ---- Range ---- */

Status infer_range(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    Dim n = INT64_MIN, k[3];
    const Tensor *t[3];
    int count;
    bool known = elem_is_int(e);
    for (int i = 0; i < 3; i++) {
        t[i] = infer_const(c, i);
        if (t[i] && tensor_count(t[i]) != 1) return infer_error(c, STATUS_INVALID, "input %d must be one number", i);
    }
    for (int i = 0; i < 3 && known; i++) {
        const Dim *d = infer_known(c, i, &count);
        known = d && count == 1;
        if (known) k[i] = d[0];
    }
    if (known && DIM_IS_NUM(k[2]) && k[2] != 0) {
        bool up = k[2] > 0;
        Dim span = infer_dim_op(c, SYM_SUB, k[up ? 1 : 0], k[up ? 0 : 1]);
        n = DIM_IS_NUM(span) && span <= 0 ? 0 : infer_dim_op(c, SYM_CEILDIV, span, up ? k[2] : -k[2]);
    } else if (!known && t[0] && t[1] && t[2]) {
        double v = ceil((tensor_get_f64(t[1], 0) - tensor_get_f64(t[0], 0)) / tensor_get_f64(t[2], 0));
        n = v > 0 && v < 0x1p40 ? (Dim)v : 0;
    }
    if (n == INT64_MIN) n = infer_fresh(c);
    infer_set(c, 0, e, 1, &n);
    if (!known || DIM_IS_SYM(n) || n > INT8_MAX || k[2] > INT32_MAX || k[2] < INT32_MIN) return NULL;
    Dim content[INT8_MAX + 1];
    for (Dim i = 0; i < n; i++) content[i] = infer_dim_op(c, SYM_ADD, k[0], i * k[2]);
    return infer_set_known(c, 0, content, (int)n);
}

/* start + i·delta in the type of the computation. */
#define RANGE_FILL(T, READ)                                                                                            \
    do {                                                                                                               \
        T start = READ(c->in[0], 0), delta = READ(c->in[2], 0), *v = (T *)(void *)block;                               \
        for (int64_t k = 0; k < len; k++) v[k] = start + (T)(i + k) * delta;                                           \
    } while (0)
#define READ_F32(t, i)      (float)tensor_get_f64(t, i)
#define READ_WRAPPING(t, i) (uint64_t) tensor_get_i64(t, i)

Status eval_range(EvalCtx *c) {
    ElemType e = c->in[0]->elem;
    RefClass cls = ref_class(e);
    double block[REF_BLOCK];
    Tensor y;
    TRY(ref_numeric_only(c));
    for (int i = 0; i < 3; i++) {
        if (tensor_count(c->in[i]) != 1 || c->in[i]->elem != e)
            return eval_error(c, STATUS_INVALID, "input %d must be one number of type %s", i, elem_name(e));
    }
    double steps;
    if (elem_is_int(e)) {
        int64_t a = tensor_get_i64(c->in[0], 0), b = tensor_get_i64(c->in[1], 0), d = tensor_get_i64(c->in[2], 0);
        if (d == 0) return eval_error(c, STATUS_INVALID, "delta is 0");
        steps = ceil(((double)b - (double)a) / (double)d);
    } else {
        steps = ceil((tensor_get_f64(c->in[1], 0) - tensor_get_f64(c->in[0], 0)) / tensor_get_f64(c->in[2], 0));
        if (steps != steps) return eval_error(c, STATUS_INVALID, "start, limit and delta give no count");
    }
    if (steps > 0x1p40) return eval_error(c, STATUS_INVALID, "the result would have %g elements", steps);
    int64_t n = steps > 0 ? (int64_t)steps : 0;
    TRY(ref_output(c, 0, e, 1, &n, &y));
    for (int64_t i = 0; i < n; i += REF_BLOCK) {
        int64_t len = n - i < REF_BLOCK ? n - i : REF_BLOCK;
        if (cls == CLASS_F32)
            RANGE_FILL(float, READ_F32);
        else if (cls == CLASS_F64)
            RANGE_FILL(double, tensor_get_f64);
        else
            RANGE_FILL(uint64_t, READ_WRAPPING);
        ref_store(&y, cls, i, len, block);
    }
    return NULL;
}
