/* Elementary functions on float vectors, about 2 ulp unless said; NaN and infinities go through as in libm.
 * Included after one vf_*.h. Polynomials are minimax fits made for this file (Remez-like reweighted Chebyshev least
 * squares on the reduced range), evaluated by Horner's rule. */
#ifndef PARE_KERNELS_CPU_ELTWISE_VMATH_H
#define PARE_KERNELS_CPU_ELTWISE_VMATH_H

#include <math.h>

#define VMATH_HORNER(acc, x, c) ((acc) = vf_fma((acc), (x), vf_set1(c)))

/* x = n*ln2 + r with |r| <= ln2/2; returns r and n. ln2 in two parts, the first with 9 trailing zero bits. */
static inline vf vmath_reduce_ln2(vf x, vf *n) {
    *n = vi_to_vf(vf_rne(vf_mul(x, vf_set1(1.44269504f))));
    return vf_fnma(*n, vf_set1(-2.12194440e-4f), vf_fnma(*n, vf_set1(0.693359375f), x));
}

/* (e^r - 1 - r) / r^2 on |r| <= ln2/2. */
static inline vf vmath_exp_tail(vf r) {
    vf p = vf_set1(0.00139421527f);
    VMATH_HORNER(p, r, 0.00836377591f);
    VMATH_HORNER(p, r, 0.0416663624f);
    VMATH_HORNER(p, r, 0.166665733f);
    VMATH_HORNER(p, r, 0.5f);
    return p;
}

static inline vf vmath_exp(vf x) {
    x = vf_min(vf_set1(89.0f), vf_max(vf_set1(-104.0f), x));
    vf n;
    const vf r = vmath_reduce_ln2(x, &n);
    const vf p = vf_fma(vf_mul(r, r), vmath_exp_tail(r), vf_add(r, vf_set1(1.0f)));
    return vf_ldexp(p, n);
}

/* e^x for x <= 0, for softmax: one multiplication scales; 0 below e^-87.3 (about FLT_MIN). */
static inline vf vmath_exp_nonpos(vf x) {
    vf n;
    const vf c = vf_max(vf_set1(-87.3f), x);
    const vf r = vmath_reduce_ln2(c, &n);
    const vf p = vf_fma(vf_mul(r, r), vmath_exp_tail(r), vf_add(r, vf_set1(1.0f)));
    const vf scale = vi_as_vf(vi_shl(vi_add(vf_rne(n), vi_set1(127)), 23));
    return vf_select(vf_lt(x, vf_set1(-87.3f)), vf_zero(), vf_mul(p, scale));
}

/* e^x - 1 without cancellation near 0, for x <= 88. */
static inline vf vmath_expm1(vf x) {
    x = vf_min(vf_set1(88.0f), vf_max(vf_set1(-87.0f), x));
    vf n;
    const vf r = vmath_reduce_ln2(x, &n);
    const vf em1 = vf_fma(vf_mul(r, r), vmath_exp_tail(r), r);
    const vf s = vf_ldexp(vf_set1(1.0f), n);
    return vf_fma(s, em1, vf_sub(s, vf_set1(1.0f)));
}

static inline vf vmath_log(vf x) {
    const vm tiny = vf_lt(x, vf_set1(1.17549435e-38f));
    const vf big = vf_select(tiny, vf_mul(x, vf_set1(8388608.0f)), x);
    /* exponent such that the mantissa lies in [sqrt(1/2), sqrt(2)) */
    const vi bits = vi_sub(vf_as_vi(big), vi_set1(0x3f3504f3));
    const vf e = vf_sub(vi_to_vf(vi_sar(bits, 23)), vf_select(tiny, vf_set1(23.0f), vf_zero()));
    const vf m = vi_as_vf(vi_add(vi_and(bits, vi_set1(0x007fffff)), vi_set1(0x3f3504f3)));
    const vf f = vf_sub(m, vf_set1(1.0f));
    vf p = vf_set1(0.0700606778f);
    VMATH_HORNER(p, f, -0.116773792f);
    VMATH_HORNER(p, f, 0.117694825f);
    VMATH_HORNER(p, f, -0.123985775f);
    VMATH_HORNER(p, f, 0.142356575f);
    VMATH_HORNER(p, f, -0.166688666f);
    VMATH_HORNER(p, f, 0.200012863f);
    VMATH_HORNER(p, f, -0.249999851f);
    VMATH_HORNER(p, f, 0.333333254f);
    const vf f2 = vf_mul(f, f);
    vf lo = vf_fma(vf_mul(f2, f), p, vf_mul(e, vf_set1(-2.12194440e-4f)));
    lo = vf_fma(f2, vf_set1(-0.5f), lo);
    vf y = vf_fma(e, vf_set1(0.693359375f), vf_add(f, lo));
    y = vf_select(vf_lt(vf_set1(3.40282347e38f), x), x, y);
    y = vf_select(vf_eq(x, vf_zero()), vf_set1(-INFINITY), y);
    /* below zero or NaN: x - x is NaN only for NaN, so the square root of a negative number is used for both */
    return vf_select(vf_le(vf_zero(), x), y, vf_sqrt(vf_select(vf_lt(x, vf_zero()), vf_set1(-1.0f), x)));
}

/* log(1 + t) for 0 <= t: the rounding of 1 + t is put back by the factor t / ((1 + t) - 1). */
static inline vf vmath_log1p_nonneg(vf t) {
    const vf u = vf_add(vf_set1(1.0f), t);
    const vf d = vf_sub(u, vf_set1(1.0f));
    const vf y = vf_mul(vmath_log(u), vf_div(t, d));
    return vf_select(vf_eq(d, vf_zero()), t, y);
}

static inline vf vmath_sigmoid(vf x) { return vf_div(vf_set1(1.0f), vf_add(vf_set1(1.0f), vmath_exp(vf_neg(x)))); }

static inline vf vmath_tanh(vf x) {
    const vf a = vf_abs(x), s = vf_mul(x, x);
    vf p = vf_set1(-0.00606222777f);
    VMATH_HORNER(p, s, 0.0209750105f);
    VMATH_HORNER(p, s, -0.0538466945f);
    VMATH_HORNER(p, s, 0.133327469f);
    VMATH_HORNER(p, s, -0.333333284f);
    const vf small = vf_fma(vf_mul(s, a), p, a);
    const vf e = vmath_exp(vf_add(a, a));
    const vf large = vf_sub(vf_set1(1.0f), vf_div(vf_set1(2.0f), vf_add(e, vf_set1(1.0f))));
    return vf_copysign(vf_select(vf_lt(a, vf_set1(0.625f)), small, large), x);
}

static inline vf vmath_erf(vf x) {
    const vf a = vf_abs(x), s = vf_mul(x, x);
    vf p = vf_set1(7.88911208e-5f);
    VMATH_HORNER(p, s, -8.02083930e-4f);
    VMATH_HORNER(p, s, 0.00518953521f);
    VMATH_HORNER(p, s, -0.0268544443f);
    VMATH_HORNER(p, s, 0.112836003f);
    VMATH_HORNER(p, s, -0.376126260f);
    VMATH_HORNER(p, s, 1.12837911f);
    const vf small = vf_mul(a, p);
    /* 1 - exp(-q(a)); beyond 4 the result is 1 in float */
    const vf c = vf_min(vf_set1(4.0f), a);
    vf q = vf_set1(1.69383100e-7f);
    VMATH_HORNER(q, c, 1.92675343e-5f);
    VMATH_HORNER(q, c, -4.26532613e-4f);
    VMATH_HORNER(q, c, 0.00415386260f);
    VMATH_HORNER(q, c, -0.0251019299f);
    VMATH_HORNER(q, c, 0.108278692f);
    VMATH_HORNER(q, c, 0.633332670f);
    VMATH_HORNER(q, c, 1.12952745f);
    VMATH_HORNER(q, c, -1.78135990e-4f);
    const vf large = vf_sub(vf_set1(1.0f), vmath_exp_nonpos(vf_neg(q)));
    return vf_copysign(vf_select(vf_lt(a, vf_set1(0.975f)), small, large), x);
}

#endif
