/* Elementwise ops of one tensor. A row of FLOAT_OPS is one op: its integer form, its attributes (a, b) and the formula
 * of y from x, written once for float and double. Formulas: ONNX operator specifications. */
#include "kernels/ref/ref.h"

#include <string.h>
#include <tgmath.h>

typedef struct Params {
    double a, b;
} Params;

#define R(v)        ((T)(v)) /* a number in the type of the computation */
#define CLAMP01(v)  ((v) < 0 ? R(0) : (v) > 1 ? R(1) : (v))
#define LOGISTIC(v) (R(1) / (R(1) + exp(-(v))))
#define SOFTPLUS(v) (((v) > 0 ? (v) : R(0)) + log1p(exp(-fabs(v))))

/* clang-format off */
/* X(op, row of INT_OPS or `no`, attribute a or NULL, attribute b or NULL, y) */
#define FLOAT_OPS(X)                                                                                                   \
    X(abs, abs, NULL, NULL, fabs(x))                                                                                   \
    X(neg, neg, NULL, NULL, -x)                                                                                        \
    X(sign, sign, NULL, NULL, x > 0 ? R(1) : x < 0 ? R(-1) : x)                                                        \
    X(relu, relu, NULL, NULL, x < 0 ? R(0) : x)                                                                        \
    X(ceil, no, NULL, NULL, ceil(x))                                                                                   \
    X(floor, no, NULL, NULL, floor(x))                                                                                 \
    X(round, no, NULL, NULL, nearbyint(x))                                                                             \
    X(reciprocal, no, NULL, NULL, R(1) / x)                                                                            \
    X(sqrt, no, NULL, NULL, sqrt(x))                                                                                   \
    X(exp, no, NULL, NULL, exp(x))                                                                                     \
    X(log, no, NULL, NULL, log(x))                                                                                     \
    X(sin, no, NULL, NULL, sin(x))                                                                                     \
    X(cos, no, NULL, NULL, cos(x))                                                                                     \
    X(tan, no, NULL, NULL, tan(x))                                                                                     \
    X(asin, no, NULL, NULL, asin(x))                                                                                   \
    X(acos, no, NULL, NULL, acos(x))                                                                                   \
    X(atan, no, NULL, NULL, atan(x))                                                                                   \
    X(sinh, no, NULL, NULL, sinh(x))                                                                                   \
    X(cosh, no, NULL, NULL, cosh(x))                                                                                   \
    X(tanh, no, NULL, NULL, tanh(x))                                                                                   \
    X(asinh, no, NULL, NULL, asinh(x))                                                                                 \
    X(acosh, no, NULL, NULL, acosh(x))                                                                                 \
    X(atanh, no, NULL, NULL, atanh(x))                                                                                 \
    X(erf, no, NULL, NULL, erf(x))                                                                                     \
    X(sigmoid, no, NULL, NULL, LOGISTIC(x))                                                                            \
    X(hard_sigmoid, no, "alpha", "beta", CLAMP01(a * x + b))                                                           \
    X(hard_swish, no, NULL, NULL, x * CLAMP01(x * R(1.0 / 6) + R(0.5)))                                                \
    X(leaky_relu, no, "alpha", NULL, x < 0 ? a * x : x)                                                                \
    X(elu, no, "alpha", NULL, x < 0 ? a * expm1(x) : x)                                                                \
    X(selu, no, "alpha", "gamma", x > 0 ? b * x : b * (a * expm1(x)))                                                  \
    X(celu, no, "alpha", NULL, x > 0 ? x : a * expm1(x / a))                                                           \
    X(thresholded_relu, no, "alpha", NULL, x <= a ? R(0) : x)                                                          \
    X(softplus, no, NULL, NULL, SOFTPLUS(x))                                                                           \
    X(softsign, no, NULL, NULL, x / (R(1) + fabs(x)))                                                                  \
    X(mish, no, NULL, NULL, x * tanh(SOFTPLUS(x)))                                                                     \
    X(swish, no, "alpha", NULL, x * LOGISTIC(a * x))                                                                   \
    X(shrink, no, "lambd", "bias", x < -a ? x + b : x > a ? x - b : R(0))

/* The two forms of Gelu, chosen by attribute. */
#define GELU_OPS(X)                                                                                                    \
    X(gelu_erf, R(0.5) * x * (R(1) + erf(x * R(M_SQRT1_2))))                                                           \
    X(gelu_tanh, R(0.5) * x * (R(1) + tanh(R(M_SQRT2 * M_2_SQRTPI / 2) * (x + R(0.044715) * x * x * x))))

/* X(op, formula for int64_t x, formula for uint64_t x); results wrap. */
#define INT_OPS(X)                                                                                                     \
    X(abs, x < 0 ? -(uint64_t)x : (uint64_t)x, x)                                                                      \
    X(neg, -(uint64_t)x, -x)                                                                                           \
    X(sign, x > 0 ? 1 : x < 0 ? -1 : 0, x > 0)                                                                         \
    X(relu, x < 0 ? 0 : x, x)                                                                                          \
    X(bitwise_not, ~x, ~x)
/* clang-format on */

#define DEFINE_MAP(NAME, TYPE, EXPR)                                                                                   \
    static void NAME(const void *const *in, void *out, int64_t n, const void *param) {                                 \
        typedef TYPE T;                                                                                                \
        const Params *p = param;                                                                                       \
        const T *xs = in[0], a = (T)(p ? p->a : 0), b = (T)(p ? p->b : 0);                                             \
        (void)a, (void)b;                                                                                              \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            T x = xs[i];                                                                                               \
            ((T *)out)[i] = (T)(EXPR);                                                                                 \
        }                                                                                                              \
    }
#define FLOAT_MAPS(NAME, EXPR)                                                                                         \
    DEFINE_MAP(NAME##_f32, float, EXPR)                                                                                \
    DEFINE_MAP(NAME##_f64, double, EXPR)
#define INT_MAPS(NAME, SIGNED, UNSIGNED)                                                                               \
    DEFINE_MAP(NAME##_i64, int64_t, SIGNED)                                                                            \
    DEFINE_MAP(NAME##_u64, uint64_t, UNSIGNED)
GELU_OPS(FLOAT_MAPS)
INT_OPS(INT_MAPS)

/* The maps of one op by RefClass. */
typedef RefFn UnaryFns[CLASS_BOOL + 1];

static Status eval_unary(EvalCtx *c, const UnaryFns fns, const Params *p) {
    ElemType e = c->in[0]->elem;
    RefClass cls = ref_class(e);
    if (!fns[cls])
        return eval_error(c, STATUS_INVALID, "input 0 has elements of type %s, which the op does not allow",
                          elem_name(e));
    RefMap m = {1, {c->in[0]}, cls, cls, e, fns[cls], p};
    return ref_map(c, &m);
}

static double attribute(const EvalCtx *c, const char *name) { return name ? (double)attr_float(c->node, name) : 0; }

#define no_i64 NULL
#define no_u64 NULL
#define FLOAT_OP(NAME, I, A, B, EXPR)                                                                                  \
    FLOAT_MAPS(NAME, EXPR)                                                                                             \
    Status eval_##NAME(EvalCtx *c) {                                                                                   \
        static const UnaryFns fns = {                                                                                  \
            [CLASS_F32] = NAME##_f32, [CLASS_F64] = NAME##_f64, [CLASS_I64] = I##_i64, [CLASS_U64] = I##_u64};         \
        Params p = {attribute(c, A), attribute(c, B)};                                                                 \
        return eval_unary(c, fns, &p);                                                                                 \
    }
FLOAT_OPS(FLOAT_OP)

Status eval_gelu(EvalCtx *c) {
    static const UnaryFns exact = {[CLASS_F32] = gelu_erf_f32, [CLASS_F64] = gelu_erf_f64};
    static const UnaryFns approximate = {[CLASS_F32] = gelu_tanh_f32, [CLASS_F64] = gelu_tanh_f64};
    return eval_unary(c, strcmp(attr_string(c->node, "approximate"), "tanh") == 0 ? approximate : exact, NULL);
}

Status eval_bitwise_not(EvalCtx *c) {
    static const UnaryFns fns = {[CLASS_I64] = bitwise_not_i64, [CLASS_U64] = bitwise_not_u64};
    return eval_unary(c, fns, NULL);
}

/* ---- results of type bool ---- */

#define DEFINE_TEST(NAME, TYPE, EXPR)                                                                                  \
    static void NAME(const void *const *in, void *out, int64_t n, const void *param) {                                 \
        const Params *p = param;                                                                                       \
        (void)p;                                                                                                       \
        for (int64_t i = 0; i < n; i++) {                                                                              \
            TYPE x = ((const TYPE *)in[0])[i];                                                                         \
            ((uint8_t *)out)[i] = (uint8_t)(EXPR);                                                                     \
        }                                                                                                              \
    }
DEFINE_TEST(test_not, uint8_t, !x)
DEFINE_TEST(test_nan_f32, float, x != x)
DEFINE_TEST(test_nan_f64, double, x != x)
/* a, b: whether infinities above and below zero count */
#define IS_INF(x) (isinf(x) && (x > 0 ? p->a : p->b) != 0)
DEFINE_TEST(test_inf_f32, float, IS_INF(x))
DEFINE_TEST(test_inf_f64, double, IS_INF(x))

static Status eval_test(EvalCtx *c, RefFn f32, RefFn f64, const Params *p) {
    RefClass cls = ref_class(c->in[0]->elem);
    if (cls != CLASS_F64 && cls != CLASS_F32) {
        return eval_error(c, STATUS_INVALID, "input 0 must hold floats, found %s", elem_name(c->in[0]->elem));
    }
    RefMap m = {1, {c->in[0]}, cls, CLASS_BOOL, ELEM_BOOL, cls == CLASS_F32 ? f32 : f64, p};
    return ref_map(c, &m);
}

Status eval_is_nan(EvalCtx *c) { return eval_test(c, test_nan_f32, test_nan_f64, NULL); }

Status eval_is_inf(EvalCtx *c) {
    Params p = {(double)attr_int(c->node, "detect_positive"), (double)attr_int(c->node, "detect_negative")};
    return eval_test(c, test_inf_f32, test_inf_f64, &p);
}

Status eval_not(EvalCtx *c) {
    RefMap m = {1, {c->in[0]}, CLASS_BOOL, CLASS_BOOL, ELEM_BOOL, test_not, NULL};
    return ref_map(c, &m);
}

Status infer_same_bool(InferCtx *c) { return infer_same_as(c, ELEM_BOOL); }

Status eval_identity(EvalCtx *c) { return ref_reshaped(c, c->in[0]->rank, c->in[0]->dims); }

Status infer_identity(InferCtx *c) {
    TRY(infer_same(c));
    return known_pass(c);
}

Status infer_neg(InferCtx *c) {
    int n;
    TRY(infer_same(c));
    const Dim *x = elem_is_int(infer_elem(c, 0)) ? infer_known(c, 0, &n) : NULL;
    if (!x) return NULL;
    Dim *y;
    TRY_ALLOC(y = ARENA_ARRAY(c->scratch, Dim, n));
    for (int i = 0; i < n; i++) y[i] = infer_dim_op(c, SYM_SUB, 0, x[i]);
    return infer_set_known(c, 0, y, n);
}
