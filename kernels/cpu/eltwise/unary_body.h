/* Body of the unary rows; included by unary_<isa>.c after its vf header. */
#include "kernels/cpu/eltwise/unary.h"
#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/eltwise/vmath.h"

static inline vf unary_hardsigmoid(vf x, vf a, vf b) {
    return vf_min(vf_set1(1.0f), vf_max(vf_zero(), vf_fma(a, x, b)));
}

static inline vf unary_hardswish(vf x) {
    const vf gate = unary_hardsigmoid(x, vf_set1(1.0f / 6.0f), vf_set1(0.5f));
    return vf_mul(x, gate);
}

static inline vf unary_gelu_erf(vf x) {
    const vf h = vf_mul(x, vf_set1(0.5f));
    return vf_fma(h, vmath_erf(vf_mul(x, vf_set1(0.707106781f))), h);
}

/* 0.5 * (1 + tanh(u)) is sigmoid(2u). */
static inline vf unary_gelu_tanh(vf x) {
    const vf cubic = vf_fma(vf_mul(x, x), vf_set1(0.0713548163f), vf_set1(1.59576912f));
    return vf_mul(x, vmath_sigmoid(vf_mul(x, cubic)));
}

static inline vf unary_softplus(vf x) {
    const vf t = vmath_exp(vf_neg(vf_abs(x)));
    return vf_add(vf_max(vf_zero(), x), vmath_log1p_nonneg(t));
}

/* tanh(log(1 + e)) = (e^2 + 2e) / (e^2 + 2e + 2) with e = exp(x); 1 in float from x = 20 on. */
static inline vf unary_mish(vf x) {
    const vf e = vmath_exp(vf_min(vf_set1(20.0f), x));
    const vf n = vf_mul(e, vf_add(e, vf_set1(2.0f)));
    return vf_mul(x, vf_div(n, vf_add(n, vf_set1(2.0f))));
}

#define UNARY(name, vexpr, oracle, tol)                                                                                \
    static inline vf unary_eval_##name(vf x, vf a, vf b) {                                                             \
        (void)a, (void)b;                                                                                              \
        return vexpr;                                                                                                  \
    }                                                                                                                  \
    static void unary_row_##name(float *y, const float *x, size_t n, float pa, float pb) {                             \
        const vf a = vf_set1(pa), b = vf_set1(pb);                                                                     \
        size_t i = 0;                                                                                                  \
        for (; i + VF_N <= n; i += VF_N) vf_store(y + i, unary_eval_##name(vf_load(x + i), a, b));                     \
        if (i < n) vf_storen(y + i, unary_eval_##name(vf_loadn(x + i, n - i), a, b), n - i);                           \
    }
#include "kernels/cpu/eltwise/unary.def"
#undef UNARY

const UnaryF32Ops VF_NAME(unary_f32) = {{
#define UNARY(name, vexpr, oracle, tol) unary_row_##name,
#include "kernels/cpu/eltwise/unary.def"
#undef UNARY
}};
