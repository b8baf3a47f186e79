/* Fused scaled dot-product attention, float:
 *
 *   O[b,h,i,:] = sum_j softmax_j(scale * Q[b,h,i,:] . K[b,h,j,:] + mask[b,h,i,j]) V[b,h,j,:]
 *
 * computed in blocks of queries and keys with a running maximum (Dao et al., FlashAttention, 2022), so that the score
 * matrix is never stored whole. Q, K, V and O are given by strides in elements from one batch, head and position to the
 * next; the innermost dimension is contiguous. Split heads, [B,S,H,D] and [B,H,S,D] layouts and slices of one QKV
 * matrix thus need no transposes. The blocks do not depend on the team, so neither do the results. Thread-safe after
 * prepare. */
#ifndef PARE_KERNELS_CPU_ATTENTION_ATTENTION_H
#define PARE_KERNELS_CPU_ATTENTION_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

typedef struct {
    int64_t batch, head, pos; /* elements */
} AttentionStride;

typedef struct Attention Attention;
/* One block of queries of one head; scratch as sized by attention_scratch_floats. */
typedef void (*AttentionBlockFn)(const Attention *a, const float *q, const float *k, const float *v, const float *mask,
                                 float *o, int64_t q_begin, int64_t q_count, float *scratch);

/* One table row per ISA. */
typedef struct {
    int32_t q_block, k_block;
    AttentionBlockFn block;
} AttentionOps;

struct Attention {
    int64_t batch, heads, kv_heads; /* heads a multiple of kv_heads: grouped queries */
    int64_t q_len, k_len, d, dv;    /* positions; sizes of a query/key and of a value */
    AttentionStride q, k, v, o;
    AttentionStride mask; /* pos is the query's; 0 broadcasts; keys are mask_key apart (0 or 1) */
    int64_t mask_key;
    bool causal; /* query i sees keys 0 .. i + (k_len - q_len) */
    float scale;
    const AttentionOps *ops; /* set by prepare */
};

void attention_prepare(Attention *a, uint32_t isa_bits);
/* Floats of scratch per thread of the team. */
size_t attention_scratch_floats(const Attention *a);
/* mask: NULL for none; scratch: team_size(team) * attention_scratch_floats() floats, 64-byte aligned. A query that sees
 * no key, or only keys masked by -INFINITY, gives 0. */
void attention_run(const Attention *a, const float *q, const float *k, const float *v, const float *mask, float *o,
                   float *scratch, Team *team);

#endif
