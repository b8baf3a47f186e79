/* Frame of attention: heads and blocks of queries over the team. */
#include "kernels/cpu/attention/attention.h"

#include "kernels/cpu/families.h"

void attention_prepare(Attention *a, uint32_t isa_bits) { a->ops = family_find("attention", isa_bits)->ops; }

size_t attention_scratch_floats(const Attention *a) {
    const size_t floats = (size_t)a->ops->q_block * ((size_t)a->d + (size_t)a->dv + (size_t)a->ops->k_block + 2);
    return (floats + 15) / 16 * 16;
}

typedef struct {
    const Attention *a;
    const float *q, *k, *v, *mask;
    float *o, *scratch;
    int64_t blocks; /* of queries, per head */
} AttentionRun;

/* Items are (batch, head, block of queries), block fastest: neighbouring items share keys and values. */
static void attention_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    const AttentionRun *r = arg;
    const Attention *a = r->a;
    float *scratch = r->scratch + (size_t)thread_id * attention_scratch_floats(a);
    for (int64_t i = begin; i < end; i++) {
        const int64_t q0 = i % r->blocks * a->ops->q_block, head = i / r->blocks % a->heads;
        const int64_t batch = i / r->blocks / a->heads, kv_head = head / (a->heads / a->kv_heads);
        const int64_t count = a->q_len - q0 < a->ops->q_block ? a->q_len - q0 : a->ops->q_block;
        const float *mask = r->mask;
        if (mask) mask += batch * a->mask.batch + head * a->mask.head + q0 * a->mask.pos;
        a->ops->block(a, r->q + batch * a->q.batch + head * a->q.head + q0 * a->q.pos,
                      r->k + batch * a->k.batch + kv_head * a->k.head, r->v + batch * a->v.batch + kv_head * a->v.head,
                      mask, r->o + batch * a->o.batch + head * a->o.head + q0 * a->o.pos, q0, count, scratch);
    }
}

void attention_run(const Attention *a, const float *q, const float *k, const float *v, const float *mask, float *o,
                   float *scratch, Team *team) {
    AttentionRun r = {.a = a, .q = q, .k = k, .v = v, .mask = mask, .o = o, .scratch = scratch};
    r.blocks = (a->q_len + a->ops->q_block - 1) / a->ops->q_block;
    team_run(team, attention_items, &r, a->batch * a->heads * r.blocks, 1);
}
