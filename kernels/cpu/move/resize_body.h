/* Body of the resize rows; included by resize_<isa>.c after its vf header. */
#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/eltwise/vf_reduce.h"
#include "kernels/cpu/move/resize.h"

static void mix(float *y, const float *const x[4], const float w[4], size_t n) {
    const vf a = vf_set1(w[0]), b = vf_set1(w[1]), c = vf_set1(w[2]), d = vf_set1(w[3]);
    for (size_t i = 0; i < n; i += VF_N) {
        const size_t lanes = n - i < VF_N ? n - i : VF_N;
        vf v = vf_mul(a, vf_get(x[0] + i, lanes));
        v = vf_fma(b, vf_get(x[1] + i, lanes), v);
        v = vf_fma(c, vf_get(x[2] + i, lanes), v);
        vf_put(y + i, vf_fma(d, vf_get(x[3] + i, lanes), v), lanes);
    }
}

const ResizeOps VF_NAME(resize) = {.mix = mix};
