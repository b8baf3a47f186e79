/* Elementwise ops of several tensors, with numpy broadcasting: arithmetic, comparison, logic, selection. */
#include "kernels/ref/ref.h"

#include <string.h>
#include <tgmath.h>

/* ---- integer helpers: everything wraps, nothing traps ---- */

static int64_t div_i64(int64_t x, int64_t y) { return y == 0 ? 0 : y == -1 ? (int64_t) - (uint64_t)x : x / y; }
static uint64_t div_u64(uint64_t x, uint64_t y) { return y == 0 ? 0 : x / y; }
static int64_t fmod_i64(int64_t x, int64_t y) { return y == 0 || y == -1 ? 0 : x % y; }
static uint64_t fmod_u64(uint64_t x, uint64_t y) { return y == 0 ? 0 : x % y; }
static int64_t mod_i64(int64_t x, int64_t y) {
    int64_t m = fmod_i64(x, y);
    return m != 0 && (m < 0) != (y < 0) ? m + y : m;
}
static uint64_t ipow(uint64_t x, uint64_t y) {
    uint64_t r = 1;
    for (; y; y >>= 1, x *= x) {
        if (y & 1) r *= x;
    }
    return r;
}
static int64_t pow_i64(int64_t x, int64_t y) {
    if (y >= 0) return (int64_t)ipow((uint64_t)x, (uint64_t)y);
    return x == 1 || (x == -1 && y % 2 == 0) ? 1 : x == -1 ? -1 : 0;
}
#define DEFINE_FLOORMOD(T, NAME)                                                                                       \
    static T NAME(T x, T y) {                                                                                          \
        T m = fmod(x, y);                                                                                              \
        if (m != 0 && (m < 0) != (y < 0)) m += y;                                                                      \
        return m == 0 ? copysign(m, y) : m;                                                                            \
    }
DEFINE_FLOORMOD(float, mod_f32)
DEFINE_FLOORMOD(double, mod_f64)
#define FLOORMOD(x, y) _Generic((x), float : mod_f32, double : mod_f64)(x, y)

/* clang-format off */
/* X(op, y from floats, from int64_t, from uint64_t). NaN passes through min and max. The second table has the ops whose
 * evaluation chooses a map or folds several inputs. */
#define ARITHMETIC(X)                                                                                                  \
    X(add, x + y, (uint64_t)x + (uint64_t)y, x + y)                                                                    \
    X(sub, x - y, (uint64_t)x - (uint64_t)y, x - y)                                                                    \
    X(mul, x * y, (uint64_t)x * (uint64_t)y, x * y)                                                                    \
    X(div, x / y, div_i64(x, y), div_u64(x, y))                                                                        \
    X(prelu, x < 0 ? x * y : x, x < 0 ? (uint64_t)x * (uint64_t)y : (uint64_t)x, x)

#define ARITHMETIC_BY_RULE(X)          \
    X(mod, FLOORMOD(x, y), mod_i64(x, y), fmod_u64(x, y))                                                              \
    X(fmod, fmod(x, y), fmod_i64(x, y), fmod_u64(x, y))                                                                \
    X(pow, pow(x, y), pow_i64(x, y), ipow(x, y))                                                                       \
    X(min, x != x || x < y ? x : y, x < y ? x : y, x < y ? x : y)                                                      \
    X(max, x != x || x > y ? x : y, x > y ? x : y, x > y ? x : y)

/* X(op, test): the same for all types. */
#define COMPARISONS(X)                                                                                                 \
    X(equal, x == y)                                                                                                   \
    X(less, x < y)                                                                                                     \
    X(less_or_equal, x <= y)                                                                                           \
    X(greater, x > y)                                                                                                  \
    X(greater_or_equal, x >= y)
#define LOGIC(X)                                                                                                       \
    X(and, x && y)                                                                                                     \
    X(or, x || y)                                                                                                      \
    X(xor, x != y)
#define BITWISE(X)                                                                                                     \
    X(bitwise_and, x & y)                                                                                              \
    X(bitwise_or, x | y)                                                                                               \
    X(bitwise_xor, x ^ y)
/* clang-format on */

#define DEFINE_MAP(NAME, T, D, EXPR)                                                                                   \
    static void NAME(const void *const *in, void *out, int64_t n, const void *param) {                                 \
        (void)param;                                                                                                   \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            T x = ((const T *)in[0])[i], y = ((const T *)in[1])[i];                                                    \
            (void)y;                                                                                                   \
            ((D *)out)[i] = (D)(EXPR);                                                                                 \
        }                                                                                                              \
    }
/* The maps of one op by RefClass; NULL where the op has none. */
typedef RefFn Fns[CLASS_BOOL + 1];

#define DEFINE_ARITHMETIC(OP, F, I, U)                                                                                 \
    DEFINE_MAP(map_##OP##_f32, float, float, F)                                                                        \
    DEFINE_MAP(map_##OP##_f64, double, double, F)                                                                      \
    DEFINE_MAP(map_##OP##_i64, int64_t, int64_t, I)                                                                    \
    DEFINE_MAP(map_##OP##_u64, uint64_t, uint64_t, U)                                                                  \
    static const Fns fns_##OP = {[CLASS_F32] = map_##OP##_f32,                                                         \
                                 [CLASS_F64] = map_##OP##_f64,                                                         \
                                 [CLASS_I64] = map_##OP##_i64,                                                         \
                                 [CLASS_U64] = map_##OP##_u64};
ARITHMETIC(DEFINE_ARITHMETIC)
ARITHMETIC_BY_RULE(DEFINE_ARITHMETIC)

#define DEFINE_COMPARISON(OP, TEST)                                                                                    \
    DEFINE_MAP(map_##OP##_f32, float, uint8_t, TEST)                                                                   \
    DEFINE_MAP(map_##OP##_f64, double, uint8_t, TEST)                                                                  \
    DEFINE_MAP(map_##OP##_i64, int64_t, uint8_t, TEST)                                                                 \
    DEFINE_MAP(map_##OP##_u64, uint64_t, uint8_t, TEST)                                                                \
    DEFINE_MAP(map_##OP##_bool, uint8_t, uint8_t, TEST)                                                                \
    static const Fns fns_##OP = {NULL, map_##OP##_f32, map_##OP##_f64, map_##OP##_i64, map_##OP##_u64, map_##OP##_bool};
COMPARISONS(DEFINE_COMPARISON)

#define DEFINE_LOGIC(OP, TEST)                                                                                         \
    DEFINE_MAP(map_##OP##_bool, uint8_t, uint8_t, TEST)                                                                \
    static const Fns fns_##OP = {[CLASS_BOOL] = map_##OP##_bool};
LOGIC(DEFINE_LOGIC)

#define DEFINE_BITWISE(OP, EXPR)                                                                                       \
    DEFINE_MAP(map_##OP##_u64, uint64_t, uint64_t, EXPR)                                                               \
    static const Fns fns_##OP = {[CLASS_I64] = map_##OP##_u64, [CLASS_U64] = map_##OP##_u64};
BITWISE(DEFINE_BITWISE)

static Status eval_binary(EvalCtx *c, const Fns fns, bool to_bool) {
    ElemType e = c->in[0]->elem;
    RefClass cls = ref_class(e);
    if (c->in[1]->elem != e) {
        return eval_error(c, STATUS_INVALID, "inputs must have one element type, found %s and %s", elem_name(e),
                          elem_name(c->in[1]->elem));
    }
    if (!fns[cls])
        return eval_error(c, STATUS_INVALID, "inputs have elements of type %s, which the op does not allow",
                          elem_name(e));
    RefMap m = {2, {c->in[0], c->in[1]}, cls, to_bool ? CLASS_BOOL : cls, to_bool ? ELEM_BOOL : e, fns[cls], NULL};
    return ref_map(c, &m);
}

#define EVAL_SAME(OP, ...)                                                                                             \
    Status eval_##OP(EvalCtx *c) { return eval_binary(c, fns_##OP, false); }
#define EVAL_TEST(OP, ...)                                                                                             \
    Status eval_##OP(EvalCtx *c) { return eval_binary(c, fns_##OP, true); }
ARITHMETIC(EVAL_SAME)
BITWISE(EVAL_SAME)
COMPARISONS(EVAL_TEST)
LOGIC(EVAL_TEST)

Status eval_mod(EvalCtx *c) { return eval_binary(c, attr_int(c->node, "fmod") ? fns_fmod : fns_mod, false); }

/* Base and exponent may differ in type; the result has the base's. */
Status eval_pow(EvalCtx *c) {
    ElemType e = c->in[0]->elem;
    RefClass base = ref_class(e), exponent = ref_class(c->in[1]->elem), cls = base;
    bool int_base = base == CLASS_I64 || base == CLASS_U64,
         int_exponent = exponent == CLASS_I64 || exponent == CLASS_U64;
    if (exponent == CLASS_F64 || (int_base && !int_exponent)) cls = CLASS_F64;
    if (int_base && exponent == CLASS_I64) cls = CLASS_I64;
    TRY(ref_numeric_only(c));
    if (!fns_pow[cls]) return eval_error(c, STATUS_INVALID, "the base has elements of type %s", elem_name(e));
    RefMap m = {2, {c->in[0], c->in[1]}, cls, cls, e, fns_pow[cls], NULL};
    return ref_map(c, &m);
}

/* ---- any number of inputs: Sum, Mean, Min, Max ---- */

#define DEFINE_SCALE(NAME, T)                                                                                          \
    static void NAME(const void *const *in, void *out, int64_t n, const void *param) {                                 \
        T count = (T) * (const int *)param;                                                                            \
        for (int64_t i = 0; i < n; i++) ((T *)out)[i] = ((const T *)in[0])[i] / count;                                 \
    }
DEFINE_SCALE(mean_f32, float)
DEFINE_SCALE(mean_f64, double)
DEFINE_SCALE(mean_i64, int64_t)
DEFINE_SCALE(mean_u64, uint64_t)

/* Folds all inputs in the type of the computation, so that narrow floats are rounded once; the last step divides by
 * `divisor`. */
static Status eval_variadic(EvalCtx *c, const Fns fns, int divisor) {
    static const Fns scale = {NULL, mean_f32, mean_f64, mean_i64, mean_u64, NULL};
    ElemType e = c->in[0]->elem;
    RefClass cls = ref_class(e);
    TRY(ref_numeric_only(c));
    if (!fns[cls])
        return eval_error(c, STATUS_INVALID, "inputs have elements of type %s, which the op does not allow",
                          elem_name(e));
    Tensor acc = *c->in[0];
    for (int i = 1; i < c->n_in; i++) {
        if (!c->in[i] || c->in[i]->elem != e)
            return eval_error(c, STATUS_INVALID, "input %d must have elements of type %s", i, elem_name(e));
        const Tensor *both[2] = {&acc, c->in[i]};
        int rank;
        int64_t dims[MAX_RANK];
        Tensor y;
        TRY(ref_broadcast(c, 2, both, &rank, dims));
        TRY(ref_scratch(c, ref_class_elem(cls), rank, dims, &y));
        RefMap m = {2, {both[0], both[1]}, cls, cls, e, fns[cls], NULL};
        ref_map_into(&m, &y);
        acc = y;
    }
    Tensor out;
    TRY(ref_output(c, 0, e, acc.rank, acc.dims, &out));
    RefMap m = {1, {&acc}, cls, cls, e, scale[cls], &divisor};
    ref_map_into(&m, &out);
    return NULL;
}

Status eval_sum(EvalCtx *c) { return eval_variadic(c, fns_add, 1); }
Status eval_mean(EvalCtx *c) { return eval_variadic(c, fns_add, c->n_in); }
Status eval_min(EvalCtx *c) { return eval_variadic(c, fns_min, 1); }
Status eval_max(EvalCtx *c) { return eval_variadic(c, fns_max, 1); }

/* ---- SwiGLU: Swish of the gate times the value ---- */

#define DEFINE_SWIGLU(NAME, T)                                                                                         \
    static void NAME(const void *const *in, void *out, int64_t n, const void *param) {                                 \
        T alpha = (T) * (const float *)param;                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            T x = ((const T *)in[0])[i], y = ((const T *)in[1])[i];                                                    \
            ((T *)out)[i] = x / (1 + exp(-alpha * x)) * y;                                                             \
        }                                                                                                              \
    }
DEFINE_SWIGLU(swiglu_f32, float)
DEFINE_SWIGLU(swiglu_f64, double)

Status eval_swiglu(EvalCtx *c) {
    ElemType e = c->in[0]->elem;
    float alpha = attr_float(c->node, "alpha");
    RefClass cls = ref_class(e);
    if (!elem_is_float(e) || c->in[1]->elem != e)
        return eval_error(c, STATUS_INVALID, "inputs must hold floats of one type");
    RefMap m = {2, {c->in[0], c->in[1]}, cls, cls, e, cls == CLASS_F32 ? swiglu_f32 : swiglu_f64, &alpha};
    return ref_map(c, &m);
}

/* ---- BitShift ---- */

typedef struct Shift {
    bool left;
    unsigned bits; /* of one element */
} Shift;

/* Shifts by no less than the width (or by a negative amount) leave only the sign, FILL. */
#define DEFINE_SHIFT(NAME, T, FILL)                                                                                    \
    static void NAME(const void *const *in, void *out, int64_t n, const void *param) {                                 \
        const Shift *s = param;                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            T x = ((const T *)in[0])[i], fill = FILL;                                                                  \
            uint64_t by = (uint64_t)((const T *)in[1])[i];                                                             \
            bool inside = by < s->bits;                                                                                \
            if (s->left)                                                                                               \
                ((T *)out)[i] = inside ? (T)((uint64_t)x << by) : 0;                                                   \
            else                                                                                                       \
                ((T *)out)[i] = inside ? (T)(x >> by) : fill;                                                          \
        }                                                                                                              \
    }
DEFINE_SHIFT(shift_i64, int64_t, x < 0 ? -1 : 0)
DEFINE_SHIFT(shift_u64, uint64_t, 0)

Status eval_bit_shift(EvalCtx *c) {
    ElemType e = c->in[0]->elem;
    RefClass cls = ref_class(e);
    Shift s = {strcmp(attr_string(c->node, "direction"), "LEFT") == 0, (unsigned)elem_bits(e)};
    if (!elem_is_int(e)) return eval_error(c, STATUS_INVALID, "inputs must hold integers, found %s", elem_name(e));
    RefMap m = {2, {c->in[0], c->in[1]}, cls, cls, e, cls == CLASS_I64 ? shift_i64 : shift_u64, &s};
    return ref_map(c, &m);
}

/* ---- Where ---- */

/* The condition is loaded in the type of the values. */
#define DEFINE_WHERE(NAME, T)                                                                                          \
    static void NAME(const void *const *in, void *out, int64_t n, const void *param) {                                 \
        (void)param;                                                                                                   \
        const T *cond = in[0], *x = in[1], *y = in[2];                                                                 \
        for (int64_t i = 0; i < n; i++) ((T *)out)[i] = cond[i] != 0 ? x[i] : y[i];                                    \
    }
DEFINE_WHERE(where_f32, float)
DEFINE_WHERE(where_f64, double)
DEFINE_WHERE(where_64, uint64_t)
DEFINE_WHERE(where_bool, uint8_t)

Status eval_where(EvalCtx *c) {
    static const Fns fns = {NULL, where_f32, where_f64, where_64, where_64, where_bool};
    ElemType e = c->in[1]->elem;
    RefClass cls = ref_class(e);
    if (c->in[2]->elem != e)
        return eval_error(c, STATUS_INVALID, "inputs 1 and 2 must have one element type, found %s and %s", elem_name(e),
                          elem_name(c->in[2]->elem));
    RefMap m = {3, {c->in[0], c->in[1], c->in[2]}, cls, cls, e, fns[cls], NULL};
    return ref_map(c, &m);
}

/* ---- Clip ---- */

/* Bounds in the type of the computation; NULL when absent. NaN passes; the upper bound wins when the bounds cross. */
typedef struct Bounds {
    const void *lo, *hi;
} Bounds;
#define DEFINE_CLIP(NAME, T)                                                                                           \
    static void NAME(const void *const *in, void *out, int64_t n, const void *param) {                                 \
        const T *lo = ((const Bounds *)param)->lo, *hi = ((const Bounds *)param)->hi;                                  \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            T x = ((const T *)in[0])[i];                                                                               \
            if (lo && x < *lo) x = *lo;                                                                                \
            if (hi && x > *hi) x = *hi;                                                                                \
            ((T *)out)[i] = x;                                                                                         \
        }                                                                                                              \
    }
DEFINE_CLIP(clip_f32, float)
DEFINE_CLIP(clip_f64, double)
DEFINE_CLIP(clip_i64, int64_t)
DEFINE_CLIP(clip_u64, uint64_t)

Status eval_clip(EvalCtx *c) {
    static const Fns fns = {NULL, clip_f32, clip_f64, clip_i64, clip_u64, NULL};
    ElemType e = c->in[0]->elem;
    RefClass cls = ref_class(e);
    uint64_t room[2];
    Bounds b = {NULL, NULL};
    if (!fns[cls]) return eval_error(c, STATUS_INVALID, "input 0 has elements of type %s", elem_name(e));
    for (int i = 1; i < 3; i++) {
        const Tensor *t = i < c->n_in ? c->in[i] : NULL;
        if (!t) continue;
        if (tensor_count(t) != 1 || t->elem != e)
            return eval_error(c, STATUS_INVALID, "input %d must be one number of type %s", i, elem_name(e));
        ref_load(t, cls, 0, 0, 1, &room[i - 1]);
        *(i == 1 ? &b.lo : &b.hi) = &room[i - 1];
    }
    RefMap m = {1, {c->in[0]}, cls, cls, e, fns[cls], &b};
    return ref_map(c, &m);
}

/* ---- shape rules ---- */

Status infer_elementwise(InferCtx *c) { return infer_broadcast_all(c, infer_elem(c, 0)); }

Status infer_compare(InferCtx *c) { return infer_broadcast_all(c, ELEM_BOOL); }

/* Combines the known content of inputs a and b element by element; NULL when it is not known. */
typedef Dim (*KnownFn)(InferCtx *c, Dim a, Dim b);
static Status combine_known(InferCtx *c, KnownFn fn) {
    int na, nb;
    const Dim *a = infer_known(c, 0, &na), *b = a ? infer_known(c, 1, &nb) : NULL;
    if (!b || c->n_in != 2) return NULL;
    bool flat = c->in[0]->rank <= 1 && c->in[1]->rank <= 1;
    if (!(na == 1 || nb == 1 || (na == nb && flat))) return NULL;
    int n = na == 1 ? nb : na;
    Dim *out;
    TRY_ALLOC(out = ARENA_ARRAY(c->scratch, Dim, n));
    for (int i = 0; i < n; i++) out[i] = fn(c, a[na == 1 ? 0 : i], b[nb == 1 ? 0 : i]);
    return infer_set_known(c, 0, out, n);
}

static Status infer_integer_op(InferCtx *c, KnownFn fn) {
    TRY(infer_elementwise(c));
    return elem_is_int(infer_elem(c, 0)) ? combine_known(c, fn) : NULL;
}

static Dim known_div(InferCtx *c, Dim a, Dim b) {
    if (DIM_IS_NUM(a) && DIM_IS_NUM(b) && b != 0) return div_i64(a, b); /* rounds toward zero */
    return infer_dim_op(c, SYM_FLOORDIV, a, b);
}

static Dim known_equal(InferCtx *c, Dim a, Dim b) {
    /* two different symbols may still be equal at run time, and sizes are never negative */
    if (a == b) return 1;
    if ((DIM_IS_NUM(a) && DIM_IS_NUM(b)) || (DIM_IS_NUM(a) && a < 0) || (DIM_IS_NUM(b) && b < 0)) return 0;
    return infer_fresh(c);
}

/* clang-format off */
#define KNOWN_OPS(X) X(add, SYM_ADD) X(sub, SYM_SUB) X(mul, SYM_MUL) X(min, SYM_MIN) X(max, SYM_MAX)
/* clang-format on */
#define INFER_KNOWN_OP(OP, SYM)                                                                                        \
    static Dim known_##OP(InferCtx *c, Dim a, Dim b) { return infer_dim_op(c, SYM, a, b); }                            \
    Status infer_##OP(InferCtx *c) { return infer_integer_op(c, known_##OP); }
KNOWN_OPS(INFER_KNOWN_OP)

static Dim known_mod(InferCtx *c, Dim a, Dim b) { return infer_dim_op(c, SYM_MOD, a, b); }

Status infer_mod(InferCtx *c) {
    return attr_int(c->node, "fmod") ? infer_elementwise(c) : infer_integer_op(c, known_mod);
}

Status infer_div(InferCtx *c) { return infer_integer_op(c, known_div); }

Status infer_equal(InferCtx *c) {
    TRY(infer_compare(c));
    return elem_is_int(infer_elem(c, 0)) ? combine_known(c, known_equal) : NULL;
}

Status infer_where(InferCtx *c) {
    int n[3], len = 1;
    const Dim *k[3];
    TRY(infer_broadcast_all(c, infer_elem(c, 1)));
    for (int i = 0; i < 3; i++) {
        if (!infer_is_ranked(c, i) || c->in[i]->rank > 1 || !(k[i] = infer_known(c, i, &n[i]))) return NULL;
        if (n[i] != 1) len = n[i];
    }
    Dim *out;
    TRY_ALLOC(out = ARENA_ARRAY(c->scratch, Dim, len));
    for (int i = 0; i < len; i++) {
        Dim cond = k[0][n[0] == 1 ? 0 : i], x = k[1][n[1] == 1 ? 0 : i], y = k[2][n[2] == 1 ? 0 : i];
        out[i] = x == y ? x : !DIM_IS_NUM(cond) ? infer_fresh(c) : cond ? x : y;
    }
    return infer_set_known(c, 0, out, len);
}
