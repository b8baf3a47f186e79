/* Body of the attention rows; included by attention_<isa>.c after its vf header.
 *
 * Lanes are queries: the block's queries are transposed once (and scaled), keys and values are read as they lie, one
 * element broadcast against the query lanes. Scores come out as [key][query], so maximum, exponential and sum run down
 * the keys lane by lane without horizontal steps, and the output accumulates as [value][query]. */
#include <math.h>
#include <string.h>

#include "kernels/cpu/attention/attention.h"
#include "kernels/cpu/eltwise/vf_name.h"
#include "kernels/cpu/eltwise/vf_reduce.h"
#include "kernels/cpu/eltwise/vmath.h"

enum {
    ATT_NV = 2, /* vectors of queries in a block */
    ATT_Q = ATT_NV * VF_N,
    ATT_K = 128,                     /* keys per step of the running softmax */
    ATT_TILE = VF_REGS >= 32 ? 8 : 5 /* keys (or values) per register tile */
};

typedef struct {
    const Attention *a;
    const float *k, *v, *mask; /* of the head; mask of the block's first query */
    int64_t q_begin, q_count;
    float *qt, *score, *ot; /* [d][ATT_Q], [ATT_K][ATT_Q], [dv][ATT_Q] */
    float *max, *sum;       /* [ATT_Q] */
} AttBlock;

static void att_load_queries(const AttBlock *b, const float *q) {
    const Attention *a = b->a;
    memset(b->qt, 0, (size_t)a->d * ATT_Q * sizeof *b->qt);
    for (int64_t i = 0; i < b->q_count; i++)
        for (int64_t t = 0; t < a->d; t++) b->qt[t * ATT_Q + i] = q[i * a->q.pos + t] * a->scale;
}

/* out[r][query] = (start ? out * factor : 0) + sum_t left[t][query] * right element (r, t); rows are `tile` register
 * rows. */
VF_INLINE void att_tile(float *out, const float *left, const float *right, int64_t row_step, int64_t t_step, int64_t n,
                        const vf *factor, int tile, int nv) {
    vf acc[ATT_TILE][ATT_NV];
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++)
#pragma GCC unroll 2
        for (int i = 0; i < nv; i++)
            acc[r][i] = factor ? vf_mul(factor[i], vf_load(out + r * ATT_Q + i * VF_N)) : vf_zero();
    for (int64_t t = 0; t < n; t++) {
        vf l[ATT_NV];
#pragma GCC unroll 2
        for (int i = 0; i < nv; i++) l[i] = vf_load(left + t * ATT_Q + i * VF_N);
#pragma GCC unroll 8
        for (int r = 0; r < tile; r++) {
            const vf w = vf_set1(right[r * row_step + t * t_step]);
#pragma GCC unroll 2
            for (int i = 0; i < nv; i++) acc[r][i] = vf_fma(w, l[i], acc[r][i]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < tile; r++)
#pragma GCC unroll 2
        for (int i = 0; i < nv; i++) vf_store(out + r * ATT_Q + i * VF_N, acc[r][i]);
}

VF_INLINE void att_product(float *out, const float *left, const float *right, int64_t rows, int64_t row_step,
                           int64_t t_step, int64_t n, const vf *factor, int nv) {
    int64_t r = 0;
    for (; r + ATT_TILE <= rows; r += ATT_TILE)
        att_tile(out + r * ATT_Q, left, right + r * row_step, row_step, t_step, n, factor, ATT_TILE, nv);
    for (; r < rows; r++) att_tile(out + r * ATT_Q, left, right + r * row_step, row_step, t_step, n, factor, 1, nv);
}

/* Adds the mask to the scores of keys [k0, k0 + keys), and -inf where causality hides a key. */
static void att_mask(const AttBlock *b, int64_t k0, int64_t keys) {
    const Attention *a = b->a;
    const int64_t reach = b->q_begin + a->k_len - a->q_len; /* last key that the block's first query sees */
    for (int64_t j = 0; j < keys; j++) {
        float *s = b->score + j * ATT_Q;
        if (b->mask) {
            const float *m = b->mask + (k0 + j) * a->mask_key;
            for (int64_t i = 0; i < b->q_count; i++) s[i] += m[i * a->mask.pos];
        }
        if (!a->causal) continue;
        const int64_t hidden = k0 + j - reach; /* queries before this one do not see the key */
        for (int64_t i = 0; i < hidden && i < ATT_Q; i++) s[i] = -INFINITY;
    }
}

/* Scores to weights e^(s - max) under the new running maximum; factor is what earlier sums and outputs shrink by. */
VF_INLINE void att_softmax(const AttBlock *b, int64_t keys, vf *factor, int nv) {
    for (int i = 0; i < nv; i++) {
        float *s = b->score + i * VF_N;
        const vf before = vf_load(b->max + i * VF_N);
        vf m[2] = {before, before};
        int64_t j = 0;
        for (; j + 2 <= keys; j += 2) {
            m[0] = vf_max(m[0], vf_load(s + j * ATT_Q));
            m[1] = vf_max(m[1], vf_load(s + (j + 1) * ATT_Q));
        }
        if (j < keys) m[0] = vf_max(m[0], vf_load(s + j * ATT_Q));
        const vf max = vf_max(m[0], m[1]);
        /* a lane that saw only -inf so far must not form inf - inf */
        const vf shift = vf_select(vf_eq(max, vf_set1(-INFINITY)), vf_zero(), max);
        vf sum = vf_zero();
        for (j = 0; j < keys; j++) {
            const vf e = vmath_exp_nonpos(vf_sub(vf_load(s + j * ATT_Q), shift));
            vf_store(s + j * ATT_Q, e);
            sum = vf_add(sum, e);
        }
        factor[i] = vmath_exp_nonpos(vf_sub(before, shift));
        vf_store(b->max + i * VF_N, max);
        vf_store(b->sum + i * VF_N, vf_fma(vf_load(b->sum + i * VF_N), factor[i], sum));
    }
}

VF_INLINE void att_steps(const AttBlock *b, int nv) {
    const Attention *a = b->a;
    int64_t seen = a->k_len;
    if (a->causal && b->q_begin + b->q_count + a->k_len - a->q_len < seen)
        seen = b->q_begin + b->q_count + a->k_len - a->q_len;
    for (int64_t k0 = 0; k0 < seen; k0 += ATT_K) {
        const int64_t keys = seen - k0 < ATT_K ? seen - k0 : ATT_K;
        vf factor[ATT_NV];
        att_product(b->score, b->qt, b->k + k0 * a->k.pos, keys, a->k.pos, 1, a->d, NULL, nv);
        if (b->mask || a->causal) att_mask(b, k0, keys);
        att_softmax(b, keys, factor, nv);
        att_product(b->ot, b->score, b->v + k0 * a->v.pos, a->dv, 1, a->v.pos, keys, factor, nv);
    }
}

static void att_store(const AttBlock *b, float *o) {
    const Attention *a = b->a;
    for (int64_t i = 0; i < b->q_count; i++) {
        const float sum = b->sum[i], scale = sum == 0.0f ? 0.0f : 1.0f / sum;
        for (int64_t t = 0; t < a->dv; t++) o[i * a->o.pos + t] = b->ot[t * ATT_Q + i] * scale;
    }
}

static void att_block(const Attention *a, const float *q, const float *k, const float *v, const float *mask, float *o,
                      int64_t q_begin, int64_t q_count, float *scratch) {
    AttBlock b = {.a = a, .k = k, .v = v, .mask = mask, .q_begin = q_begin, .q_count = q_count};
    b.qt = scratch;
    b.ot = b.qt + a->d * ATT_Q;
    b.score = b.ot + a->dv * ATT_Q;
    b.max = b.score + ATT_K * ATT_Q;
    b.sum = b.max + ATT_Q;
    att_load_queries(&b, q);
    memset(b.ot, 0, (size_t)a->dv * ATT_Q * sizeof *b.ot);
    for (int i = 0; i < ATT_Q; i++) b.max[i] = -INFINITY, b.sum[i] = 0.0f;
    if (q_count > VF_N)
        att_steps(&b, ATT_NV);
    else
        att_steps(&b, 1);
    att_store(&b, o);
}

const AttentionOps VF_NAME(attention) = {.q_block = ATT_Q, .k_block = ATT_K, .block = att_block};
