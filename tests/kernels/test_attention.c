/* Fused attention against a double oracle, with equal bits at 1 to 3 threads. */
#include "kernel_test.h"

#include "kernels/cpu/attention/attention.h"

typedef struct {
    int64_t batch, heads, kv_heads, q_len, k_len, d, dv;
    int mask;                 /* 0 none, 1 per key, 2 per query and key, 3 with whole queries at -inf */
    bool causal, interleaved; /* [B,S,H,D] instead of [B,H,S,D] */
} Case;

static const Case CASES[] = {{1, 1, 1, 1, 1, 1, 1, 0, false, false},     {1, 2, 2, 5, 7, 8, 8, 1, false, true},
                             {2, 3, 3, 16, 16, 32, 32, 2, false, false}, {1, 4, 2, 17, 33, 15, 17, 3, false, true},
                             {1, 2, 1, 31, 31, 64, 64, 0, true, true},   {1, 2, 2, 33, 129, 40, 24, 2, true, false},
                             {1, 1, 1, 65, 300, 7, 5, 1, false, false},  {2, 2, 2, 1, 257, 64, 64, 1, true, true},
                             {1, 2, 2, 40, 20, 16, 16, 0, true, false},  {1, 3, 3, 197, 197, 64, 64, 0, false, true}};

static AttentionStride stride_of(const Case *k, int64_t heads, int64_t len, int64_t d) {
    if (k->interleaved) return (AttentionStride){.batch = heads * len * d, .head = d, .pos = heads * d};
    return (AttentionStride){.batch = heads * len * d, .head = len * d, .pos = d};
}

static Attention attention_of(const Case *k) {
    Attention a = {.batch = k->batch, .heads = k->heads, .kv_heads = k->kv_heads, .q_len = k->q_len};
    a.k_len = k->k_len, a.d = k->d, a.dv = k->dv, a.causal = k->causal, a.scale = 1.0f / sqrtf((float)k->d);
    a.q = stride_of(k, k->heads, k->q_len, k->d);
    a.k = stride_of(k, k->kv_heads, k->k_len, k->d);
    a.v = stride_of(k, k->kv_heads, k->k_len, k->dv);
    a.o = stride_of(k, k->heads, k->q_len, k->dv);
    a.mask_key = 1;
    a.mask = (AttentionStride){.batch = k->q_len * k->k_len, .pos = k->mask == 1 ? 0 : k->k_len};
    return a;
}

static void oracle_query(const Attention *a, const float *q, const float *k, const float *v, const float *mask,
                         int64_t i, double *o, double *score) {
    double max = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < a->k_len; j++) {
        score[j] = mask ? (double)mask[j * a->mask_key] : 0.0;
        for (int64_t t = 0; t < a->d; t++) score[j] += (double)q[t] * (double)k[j * a->k.pos + t] * (double)a->scale;
        if (a->causal && j > i + a->k_len - a->q_len) score[j] = -INFINITY;
        max = score[j] > max ? score[j] : max;
    }
    for (int64_t j = 0; j < a->k_len; j++) sum += score[j] = score[j] == -INFINITY ? 0.0 : exp(score[j] - max);
    for (int64_t t = 0; t < a->dv; t++) {
        o[t] = 0.0;
        for (int64_t j = 0; j < a->k_len; j++) o[t] += score[j] * (double)v[j * a->v.pos + t];
        o[t] = sum == 0.0 ? 0.0 : o[t] / sum;
    }
}

static void check_heads(const Attention *a, const float *q, const float *k, const float *v, const float *mask,
                        const float *o, uint32_t isa) {
    double want[256], *score = test_alloc((size_t)a->k_len * sizeof *score);
    for (int64_t i = 0; i < a->batch * a->heads * a->q_len; i++) {
        const int64_t pos = i % a->q_len, head = i / a->q_len % a->heads, batch = i / a->q_len / a->heads;
        const int64_t kv = head / (a->heads / a->kv_heads);
        oracle_query(a, q + batch * a->q.batch + head * a->q.head + pos * a->q.pos,
                     k + batch * a->k.batch + kv * a->k.head, v + batch * a->v.batch + kv * a->v.head,
                     mask ? mask + batch * a->mask.batch + head * a->mask.head + pos * a->mask.pos : NULL, pos, want,
                     score);
        const float *got = o + batch * a->o.batch + head * a->o.head + pos * a->o.pos;
        for (int64_t t = 0; t < a->dv; t++)
            if (!test_near(got[t], want[t], 3e-6))
                fail_msg("isa bits %x query %d value %d: %g, not %g", isa, (int)pos, (int)t, (double)got[t], want[t]);
    }
    free(score);
}

static void check_case(const Case *k, uint32_t isa, Team *teams[]) {
    uint64_t seed = test_seed(k->q_len, k->k_len);
    Attention a = attention_of(k);
    const size_t nq = (size_t)(k->batch * a.q.batch), no = (size_t)(k->batch * a.o.batch);
    const size_t nm = (size_t)(k->batch * k->q_len * k->k_len);
    float *q = test_floats(&seed, nq, -4.0f, 4.0f), *mask = test_floats(&seed, nm, -3.0f, 3.0f);
    float *key = test_floats(&seed, (size_t)(k->batch * a.k.batch), -4.0f, 4.0f);
    float *value = test_floats(&seed, (size_t)(k->batch * a.v.batch), -1.0f, 1.0f);
    for (size_t i = 0; i < nm; i++)
        if (i % 5 == 0 || (k->mask == 3 && i / (size_t)k->k_len % 3 == 1)) mask[i] = -INFINITY;
    attention_prepare(&a, isa);
    float *first = test_alloc(no * sizeof *first);
    for (int t = 0; t < TEST_TEAMS; t++) {
        float *o = t ? test_alloc(no * sizeof *o) : first;
        float *scratch = test_alloc((size_t)team_size(teams[t]) * attention_scratch_floats(&a) * sizeof *scratch);
        attention_run(&a, q, key, value, k->mask ? mask : NULL, o, scratch, teams[t]);
        check_heads(&a, q, key, value, k->mask ? mask : NULL, o, isa);
        assert_memory_equal(o, first, no * sizeof *o);
        free(scratch);
        if (t) free(o);
    }
    free(q), free(mask), free(key), free(value), free(first);
}

static void test_attention(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("attention", isa);
    for (size_t i = 0; i < n_isa; i++)
        for (size_t k = 0; k < COUNT_OF(CASES); k++) check_case(&CASES[k], isa[i], teams);
    test_teams_free(teams);
}

/* A NaN key spoils exactly the queries that see it. */
static void test_nan(void **state) {
    (void)state;
    const Case k = {1, 1, 1, 4, 4, 3, 2, 0, true, false};
    Attention a = attention_of(&k);
    attention_prepare(&a, isa_mask());
    const float q[12] = {1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3}, v[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const float key[12] = {1, 1, 1, 1, 1, 1, 1, NAN, 1, 1, 1, 1};
    float o[8], *scratch = test_alloc(attention_scratch_floats(&a) * sizeof *scratch);
    attention_run(&a, q, key, v, NULL, o, scratch, NULL);
    for (int i = 0; i < 8; i++) assert_true((o[i] != o[i]) == (i >= 4));
    free(scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_attention), cmocka_unit_test(test_nan)};
    return RUN_NATIVE_AND_EMULATED(tests);
}
