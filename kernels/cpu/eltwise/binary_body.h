/* Body of the binary rows; included by binary_<isa>.c after its vf header. */
#include "kernels/cpu/eltwise/binary.h"
#include "kernels/cpu/eltwise/vf_name.h"

/* The library's pow, lane by lane: exact in the many special cases; the common exponents (2, 0.5 ...) are turned into
 * other ops long before. */
static inline vf binary_pow(vf p, vf q) {
    float a[VF_N], b[VF_N];
    vf_store(a, p);
    vf_store(b, q);
    for (int i = 0; i < VF_N; i++) a[i] = powf(a[i], b[i]);
    return vf_load(a);
}

#define BINARY_LOOP(name, load_p, load_q, tail_p, tail_q)                                                              \
    const vf low = vf_set1(lo), high = vf_set1(hi);                                                                    \
    size_t i = 0;                                                                                                      \
    for (; i + VF_N <= n; i += VF_N) vf_store(y + i, vf_min(high, vf_max(low, binary_eval_##name(load_p, load_q))));   \
    if (i < n) vf_storen(y + i, vf_min(high, vf_max(low, binary_eval_##name(tail_p, tail_q))), n - i);

#define BINARY(name, vexpr, oracle, tol)                                                                               \
    static inline vf binary_eval_##name(vf p, vf q) { return vexpr; }                                                  \
    static void binary_vv_##name(float *y, const float *a, const float *b, size_t n, float lo, float hi) {             \
        BINARY_LOOP(name, vf_load(a + i), vf_load(b + i), vf_loadn(a + i, n - i), vf_loadn(b + i, n - i))              \
    }                                                                                                                  \
    static void binary_vs_##name(float *y, const float *a, const float *b, size_t n, float lo, float hi) {             \
        const vf q = vf_set1(*b);                                                                                      \
        BINARY_LOOP(name, vf_load(a + i), q, vf_loadn(a + i, n - i), q)                                                \
    }                                                                                                                  \
    static void binary_sv_##name(float *y, const float *a, const float *b, size_t n, float lo, float hi) {             \
        const vf p = vf_set1(*a);                                                                                      \
        BINARY_LOOP(name, p, vf_load(b + i), p, vf_loadn(b + i, n - i))                                                \
    }
#include "kernels/cpu/eltwise/binary.def"
#undef BINARY

const BinaryF32Ops VF_NAME(binary_f32) = {{
#define BINARY(name, vexpr, oracle, tol) {binary_vv_##name, binary_vs_##name, binary_sv_##name},
#include "kernels/cpu/eltwise/binary.def"
#undef BINARY
}};
