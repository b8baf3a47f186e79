/* Seeded random samples, for timing only. */
#include "calib/rng.h"
#include "calib/source.h"

#include <string.h>

static void fill(Tensor *t, int64_t first, int64_t n, Rng *rng) {
    float *f = t->elem == ELEM_F32 ? (float *)(void *)t->data : NULL;
    for (int64_t i = first; i < first + n; i++) {
        if (f)
            f[i] = (float)rng_normal(rng);
        else if (elem_is_float(t->elem))
            tensor_set_f64(t, i, rng_normal(rng));
        else
            tensor_set_i64(t, i, (int64_t)rng_below(rng, t->elem == ELEM_BOOL ? 2 : 100));
    }
}

static void read_dims(const Source *s, const Type *t, int64_t *dims) {
    memcpy(dims, t->dims, sizeof t->dims);
    if (t->rank > 0) dims[0] = input_lead(s, t);
}

static Status random_fetch(Source *s, const int64_t *items, Tensor *tensors) {
    for (int i = 0; i < s->n_inputs; i++) {
        const Type *t = &s->inputs[i].type;
        int64_t dims[MAX_RANK];
        read_dims(s, t, dims);
        TRY(status_context(tensor_reuse(&tensors[i], t->elem, t->rank, dims), "input '%s'", s->inputs[i].name));
        Rng rng;
        rng_seed(&rng, s->o.seed, 2 + (uint64_t)items[0] * (uint64_t)s->n_inputs + (uint64_t)i);
        fill(&tensors[i], 0, tensor_count(&tensors[i]), &rng);
    }
    return NULL;
}

static Status random_hash(Source *s, int64_t item, Sha256 *h) {
    uint64_t content[2] = {s->o.seed, (uint64_t)item};
    sha256_add(h, content, sizeof content);
    return NULL;
}

static Status random_hash_shared(Source *s, Sha256 *h) {
    for (int i = 0; i < s->n_inputs; i++) {
        int64_t dims[MAX_RANK] = {0};
        read_dims(s, &s->inputs[i].type, dims);
        sha256_add(h, "random", 6);
        sha256_add(h, dims, sizeof dims);
    }
    return NULL;
}

static bool random_uniform(const Source *s) {
    (void)s;
    return true;
}

static void random_free(Source *s) { (void)s; }

static const SourceKind RANDOM = {
    "random", false, random_fetch, random_hash, random_hash_shared, NULL, random_uniform, random_free,
};

Status source_open_random(Source *s, int64_t reads) {
    s->kind = &RANDOM;
    s->n_items = reads > 0 ? reads : 1;
    for (int i = 0; i < s->n_inputs; i++) {
        const Type *t = &s->inputs[i].type;
        char text[160];
        bool known = t->kind == TYPE_TENSOR && t->rank >= 0;
        for (int d = 1; known && d < t->rank; d++) known = t->dims[d] >= 0;
        if (!known)
            return status_make(STATUS_USAGE, "input '%s' %s has no fixed shape: give --shape %s:AxBxC or data",
                               s->inputs[i].name, type_describe(t, text, sizeof text), s->inputs[i].name);
        if (elem_bits(t->elem) == 0 || t->elem == ELEM_C64 || t->elem == ELEM_C128)
            return status_make(STATUS_UNSUPPORTED, "input '%s' of %s cannot be filled with random numbers",
                               s->inputs[i].name, elem_name(t->elem));
    }
    return NULL;
}
