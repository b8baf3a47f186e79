/* Reductions of rows in a fixed order: for one vector length it depends on the row's length only. Included after one
 * vf_*.h. */
#ifndef PARE_KERNELS_CPU_ELTWISE_VF_REDUCE_H
#define PARE_KERNELS_CPU_ELTWISE_VF_REDUCE_H

#define VF_INLINE static inline __attribute__((always_inline))

/* The `lanes` <= VF_N values at i of whatever the context describes; the neutral element in the other lanes. May also
 * store. */
typedef vf (*VfAt)(const void *ctx, size_t i, size_t lanes);
typedef vf (*VfFold)(vf a, vf b);

VF_INLINE vf vf_get(const float *p, size_t lanes) { return lanes >= VF_N ? vf_load(p) : vf_loadn(p, lanes); }
VF_INLINE void vf_put(float *p, vf v, size_t lanes) {
    if (lanes >= VF_N)
        vf_store(p, v);
    else
        vf_storen(p, v, lanes);
}

/* Values past the first `lanes` replaced. */
VF_INLINE vf vf_fill(vf v, size_t lanes, float value) {
    float b[VF_N];
    if (lanes >= VF_N) return v;
    vf_store(b, v);
    for (size_t i = lanes; i < VF_N; i++) b[i] = value;
    return vf_load(b);
}

/* Elements summed in float before they are added to the total: keeps the error of long rows small. */
enum { VF_SUM_BLOCK = 64 * 4 * VF_N };

/* Sum of n values: blocks of four interleaved vectors, then what is left one vector at a time. */
VF_INLINE float vf_row_sum(const void *ctx, size_t n, VfAt at) {
    float total = 0.0f;
    size_t i = 0;
    while (i + 4 * VF_N <= n) {
        const size_t stop = n - i < VF_SUM_BLOCK ? n : i + VF_SUM_BLOCK;
        vf s[4] = {vf_zero(), vf_zero(), vf_zero(), vf_zero()};
        for (; i + 4 * VF_N <= stop; i += 4 * VF_N)
#pragma GCC unroll 4
            for (size_t j = 0; j < 4; j++) s[j] = vf_add(s[j], at(ctx, i + j * VF_N, VF_N));
        total += vf_hsum(vf_add(vf_add(s[0], s[1]), vf_add(s[2], s[3])));
    }
    vf rest = vf_zero();
    for (; i + VF_N <= n; i += VF_N) rest = vf_add(rest, at(ctx, i, VF_N));
    if (i < n) rest = vf_add(rest, at(ctx, i, n - i));
    return total + vf_hsum(rest);
}

/* Folds n >= 1 values with an operation that may take a value twice and in any order (minimum, maximum). */
VF_INLINE vf vf_row_fold(const float *x, size_t n, VfFold fold, float neutral) {
    vf s[4] = {vf_set1(neutral), vf_set1(neutral), vf_set1(neutral), vf_set1(neutral)};
    if (n < VF_N) return vf_fill(vf_loadn(x, n), n, neutral);
    size_t i = 0;
    for (; i + 4 * VF_N <= n; i += 4 * VF_N)
#pragma GCC unroll 4
        for (size_t j = 0; j < 4; j++) s[j] = fold(s[j], vf_load(x + i + j * VF_N));
    for (; i + VF_N <= n; i += VF_N) s[0] = fold(s[0], vf_load(x + i));
    s[1] = fold(s[1], vf_load(x + n - VF_N));
    return fold(fold(s[0], s[1]), fold(s[2], s[3]));
}

#endif
