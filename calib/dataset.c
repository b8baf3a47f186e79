/* Data sets: choosing samples, grouping them into reads, labels and hashes. The kinds are in source_*.c. */
#include "calib/dataset.h"

#include "calib/rng.h"
#include "calib/source.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

struct Dataset {
    Source *src;
    int64_t *items; /* chosen items, ascending; NULL = all */
    int64_t n;
    char sha256[SHA256_HEX]; /* "" until asked for */
};

static void source_unref(Source *s) {
    if (!s || atomic_fetch_sub(&s->refs, 1) != 1) return;
    if (s->kind && s->impl) s->kind->free(s);
    for (int i = 0; i < s->n_inputs && s->inputs; i++) mem_free((void *)(uintptr_t)s->inputs[i].name);
    mem_free(s->inputs);
    mem_free(s->labels);
    mem_free(s->path);
    pthread_mutex_destroy(&s->lock);
    mem_free(s);
}

static Status source_new(const char *path, const DataOptions *o, const DataInput *inputs, int n, Source **out) {
    Source *s = mem_zalloc(sizeof *s);
    if (!s) return status_oom();
    pthread_mutex_init(&s->lock, NULL);
    atomic_init(&s->refs, 1);
    s->o = *o;
    s->o.labels = NULL;
    s->rows = 1;
    s->n_inputs = n;
    s->path = mem_strdup(path);
    s->inputs = mem_zalloc((size_t)n * sizeof *s->inputs);
    bool ready = s->path && s->inputs;
    for (int i = 0; ready && i < n; i++) {
        s->inputs[i] = inputs[i];
        ready = (s->inputs[i].name = mem_strdup(inputs[i].name)) != NULL;
    }
    if (!ready) {
        source_unref(s);
        return status_oom();
    }
    *out = s;
    return NULL;
}

int64_t input_lead(const Source *s, const Type *t) {
    if (t->kind != TYPE_TENSOR || t->rank < 1) return 1;
    if (t->dims[0] >= 0) return t->dims[0];
    return s->o.batch > 0 ? s->o.batch : 1;
}

const char *type_describe(const Type *t, char *buf, size_t cap) {
    int n = snprintf(buf, cap, "%s[", t->kind == TYPE_TENSOR ? elem_name(t->elem) : "?");
    for (int i = 0; i < t->rank && n >= 0 && (size_t)n < cap; i++) {
        const char *comma = i ? "," : "";
        if (t->dims[i] < 0)
            n += snprintf(buf + n, cap - (size_t)n, "%s?", comma);
        else
            n += snprintf(buf + n, cap - (size_t)n, "%s%lld", comma, (long long)t->dims[i]);
    }
    if (n >= 0 && (size_t)n < cap) snprintf(buf + n, cap - (size_t)n, t->rank < 0 ? "…]" : "]");
    return buf;
}

bool dims_fit(const Type *t, int from, const int64_t *dims) {
    for (int i = from; i < t->rank; i++)
        if (t->dims[i] >= 0 && t->dims[i] != dims[i]) return false;
    return true;
}

Status tensor_reuse(Tensor *t, ElemType e, int rank, const int64_t *dims) {
    int64_t count = 1;
    size_t bytes;
    for (int i = 0; i < rank; i++)
        if (__builtin_mul_overflow(count, dims[i], &count)) return status_make(STATUS_INVALID, "tensor size overflows");
    if (!elem_bytes(e, count, &bytes)) return status_make(STATUS_INVALID, "tensor size overflows");
    bool mine = t->blob && t->data == t->blob->data && !t->blob->release && atomic_load(&t->blob->refs) == 1;
    if (!mine || t->blob->size < bytes) {
        tensor_free(t);
        return tensor_new(t, e, rank, dims);
    }
    t->elem = e;
    t->rank = rank;
    t->bytes = bytes;
    for (int i = 0; i < rank; i++) t->dims[i] = dims[i];
    return NULL;
}

static Status read_magic(const char *path, uint8_t magic[8]) {
    FILE *f = fopen(path, "rbe");
    if (!f) return status_make(STATUS_ENVIRONMENT, "%s: cannot be opened: %s", path, strerror(errno));
    size_t n = fread(magic, 1, 8, f);
    memset(magic + n, 0, 8 - n);
    fclose(f);
    return NULL;
}

static Status open_kind(Source *s, const char *labels_file) {
    struct stat st;
    if (stat(s->path, &st) != 0)
        return status_make(STATUS_ENVIRONMENT, "%s: cannot be opened: %s", s->path, strerror(errno));
    if (S_ISDIR(st.st_mode)) {
        bool testset = false;
        TRY(testset_is_folder(s->path, &testset));
        return testset ? source_open_testset(s) : source_open_images(s, labels_file);
    }
    uint8_t magic[8];
    TRY(read_magic(s->path, magic));
    bool npz = memcmp(magic, "PK", 2) == 0;
    if (npz || memcmp(magic, "\x93NUMPY", 6) == 0) return source_open_arrays(s, npz, labels_file);
    if (memcmp(magic, "\xff\xd8\xff", 3) == 0 || memcmp(magic, "\x89PNG", 4) == 0)
        return source_open_images(s, labels_file);
    return status_make(STATUS_INVALID,
                       "%s: expected data as .npz, .npy, JPEG, PNG, or a folder of images or test_data_set_*, found "
                       "other content",
                       s->path);
}

/* Chooses options.samples of the items by the seed. */
static Status choose(Dataset *ds, int64_t samples, uint64_t seed) {
    ds->n = ds->src->n_items;
    if (samples <= 0 || samples >= ds->n) return NULL;
    TRY_ALLOC(ds->items = mem_alloc((size_t)samples * sizeof *ds->items));
    Rng rng;
    rng_seed(&rng, seed, 0);
    rng_choose(&rng, ds->n, samples, ds->items);
    ds->n = samples;
    return NULL;
}

static Status finish_open(Source *s, bool need_labels, Dataset **out) {
    if (s->n_items == 0) return status_make(STATUS_INVALID, "%s: expected at least one sample, found none", s->path);
    if (need_labels && !s->labels)
        return status_make(STATUS_INVALID,
                           "%s: expected labels (array 'labels', class subfolders or labels.csv), found none: give "
                           "--labels FILE",
                           s->path);
    Dataset *ds = mem_zalloc(sizeof *ds);
    if (!ds) return status_oom();
    ds->src = s;
    Status status = choose(ds, s->o.samples, s->o.seed);
    if (status) {
        mem_free(ds);
        return status;
    }
    *out = ds;
    return NULL;
}

Status dataset_open(const char *path, const DataOptions *o, const DataInput *inputs, int n_inputs, Dataset **out) {
    *out = NULL;
    Source *s = NULL;
    TRY(source_new(path, o, inputs, n_inputs, &s));
    Status status = NULL;
    for (int i = 0; i < n_inputs && !status; i++)
        if (inputs[i].type.kind == TYPE_SEQUENCE || inputs[i].type.kind == TYPE_OPTIONAL)
            status = status_make(STATUS_UNSUPPORTED, "%s: input '%s' is no tensor: data cannot fill it", path,
                                 inputs[i].name);
    if (!status) status = open_kind(s, o->labels);
    if (!status) status = finish_open(s, o->need_labels, out);
    if (status) source_unref(s);
    return status;
}

Status dataset_random(const DataInput *inputs, int n_inputs, int64_t reads, int64_t batch, uint64_t seed,
                      Dataset **out) {
    *out = NULL;
    Source *s = NULL;
    DataOptions o = {.seed = seed, .batch = batch};
    TRY(source_new("random data", &o, inputs, n_inputs, &s));
    Status status = source_open_random(s, reads);
    if (!status) status = finish_open(s, false, out);
    if (status) source_unref(s);
    return status;
}

static Status graph_inputs(const Graph *g, DataInput **out) {
    TRY_ALLOC(*out = mem_alloc(g->n_inputs * sizeof **out));
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const Value *v = &g->values[g->inputs[i]];
        (*out)[i] = (DataInput){v->name, v->type};
    }
    return NULL;
}

Status dataset_open_graph(const char *path, const DataOptions *o, const Graph *g, Dataset **out) {
    DataInput *inputs = NULL;
    *out = NULL;
    TRY(graph_inputs(g, &inputs));
    Status status = dataset_open(path, o, inputs, (int)g->n_inputs, out);
    mem_free(inputs);
    return status;
}

Status dataset_random_graph(const Graph *g, int64_t reads, int64_t batch, uint64_t seed, Dataset **out) {
    DataInput *inputs = NULL;
    *out = NULL;
    TRY(graph_inputs(g, &inputs));
    Status status = dataset_random(inputs, (int)g->n_inputs, reads, batch, seed, out);
    mem_free(inputs);
    return status;
}

static int64_t item_at(const Dataset *ds, int64_t i) { return ds->items ? ds->items[i] : i; }

/* A set over `n` items of the same source; takes `items`. */
static Status make_part(const Dataset *ds, int64_t *items, int64_t n, Dataset **out) {
    Dataset *part = mem_zalloc(sizeof *part);
    if (!part) {
        mem_free(items);
        return status_oom();
    }
    part->src = ds->src;
    part->items = items;
    part->n = n;
    atomic_fetch_add(&ds->src->refs, 1);
    *out = part;
    return NULL;
}

Status dataset_split(const Dataset *ds, double fraction, uint64_t seed, Dataset **a, Dataset **b) {
    *a = *b = NULL;
    int64_t reads = dataset_reads(ds), rows = ds->src->rows;
    if (reads < 2)
        return status_make(STATUS_INVALID, "%s: expected at least 2 samples to split, found %lld", ds->src->path,
                           (long long)reads);
    int64_t want = (int64_t)rint((double)reads * fraction);
    want = want < 1 ? 1 : want > reads - 1 ? reads - 1 : want;
    int64_t *chosen = mem_alloc((size_t)want * sizeof *chosen);
    int64_t *first = mem_alloc((size_t)ds->n * sizeof *first), *rest = mem_alloc((size_t)ds->n * sizeof *rest);
    if (!chosen || !first || !rest) {
        mem_free(chosen);
        mem_free(first);
        mem_free(rest);
        return status_oom();
    }
    Rng rng;
    rng_seed(&rng, seed, 1);
    rng_choose(&rng, reads, want, chosen);
    int64_t n_first = 0, n_rest = 0, at = 0;
    for (int64_t i = 0; i < ds->n; i++) {
        while (at < want && chosen[at] < i / rows) at++;
        if (at < want && chosen[at] == i / rows)
            first[n_first++] = item_at(ds, i);
        else
            rest[n_rest++] = item_at(ds, i);
    }
    mem_free(chosen);
    Status status = make_part(ds, first, n_first, a);
    if (status) {
        mem_free(rest);
        return status;
    }
    status = make_part(ds, rest, n_rest, b);
    if (status) {
        dataset_free(*a);
        *a = NULL;
    }
    return status;
}

Status dataset_head(const Dataset *ds, int64_t reads, Dataset **out) {
    *out = NULL;
    int64_t n = ds->n / ds->src->rows < reads ? ds->n : reads * ds->src->rows;
    int64_t *items = mem_alloc((size_t)n * sizeof *items);
    if (!items) return status_oom();
    for (int64_t i = 0; i < n; i++) items[i] = item_at(ds, i);
    return make_part(ds, items, n, out);
}

void dataset_free(Dataset *ds) {
    if (!ds) return;
    source_unref(ds->src);
    mem_free(ds->items);
    mem_free(ds);
}

int64_t dataset_reads(const Dataset *ds) { return (ds->n + ds->src->rows - 1) / ds->src->rows; }
int64_t dataset_samples(const Dataset *ds) { return ds->n; }
int64_t dataset_rows(const Dataset *ds) { return ds->src->rows; }
bool dataset_has_labels(const Dataset *ds) { return ds->src->labels != NULL; }
int dataset_inputs(const Dataset *ds) { return ds->src->n_inputs; }

static bool kind_is(const Dataset *ds, const char *name) { return strcmp(ds->src->kind->name, name) == 0; }
bool dataset_is_random(const Dataset *ds) { return kind_is(ds, "random"); }
bool dataset_is_images(const Dataset *ds) { return kind_is(ds, "images"); }

Status dataset_types(Dataset *ds, Type *types, bool *uniform) {
    int n = ds->src->n_inputs;
    Tensor *t = mem_zalloc((size_t)n * sizeof *t);
    if (!t) return status_oom();
    Status status = dataset_read(ds, 0, t, NULL, NULL);
    for (int i = 0; i < n; i++) {
        if (!status) types[i] = tensor_type(&t[i]);
        tensor_free(&t[i]);
    }
    mem_free(t);
    if (uniform) *uniform = ds->n <= ds->src->rows || ds->src->kind->uniform(ds->src);
    return status;
}

const char *dataset_sample_name(const Dataset *ds, int64_t index, int64_t row, char *buf, size_t cap) {
    int64_t i = index * ds->src->rows + row;
    int64_t item = item_at(ds, i < ds->n ? i : ds->n - 1);
    const char *name = ds->src->kind->item_name ? ds->src->kind->item_name(ds->src, item) : NULL;
    if (name)
        snprintf(buf, cap, "%s", name);
    else
        snprintf(buf, cap, "%lld", (long long)item);
    return buf;
}

const char *dataset_describe(const Dataset *ds, char *buf, size_t cap) {
    snprintf(buf, cap, "%s, %lld samples%s", ds->src->kind->name, (long long)ds->n,
             ds->src->labels ? " with labels" : "");
    return buf;
}

static bool all_finite(const Tensor *t) {
    int64_t n = tensor_count(t);
    if (t->elem == ELEM_F32) {
        const float *x = (const float *)(const void *)t->data;
        int64_t bad = 0;
        for (int64_t i = 0; i < n; i++) bad += !(fabsf(x[i]) <= 3.40282347e38f);
        return bad == 0;
    }
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(tensor_get_f64(t, i))) return false;
    return true;
}

static Status check_finite(const Dataset *ds, int64_t index, const Tensor *tensors) {
    for (int i = 0; i < ds->src->n_inputs; i++) {
        if (!elem_is_float(tensors[i].elem) || all_finite(&tensors[i])) continue;
        char name[128];
        return status_make(STATUS_INVALID, "%s: array '%s', sample %s: expected finite values, found NaN or Inf",
                           ds->src->path, ds->src->inputs[i].name,
                           dataset_sample_name(ds, index, 0, name, sizeof name));
    }
    return NULL;
}

/* The items of a read, the last one repeated where the data ends. */
static void read_items(const Dataset *ds, int64_t index, int64_t *items) {
    for (int64_t r = 0; r < ds->src->rows; r++) {
        int64_t i = index * ds->src->rows + r;
        items[r] = item_at(ds, i < ds->n ? i : ds->n - 1);
    }
}

static void read_labels(const Dataset *ds, int64_t index, const int64_t *items, int64_t *labels, int64_t *valid) {
    const Source *s = ds->src;
    int64_t left = ds->n - index * s->rows, real = left < s->rows ? left : s->rows;
    if (valid) *valid = real;
    for (int64_t r = 0; labels && r < s->rows; r++)
        labels[r] = s->labels && r < real ? s->labels[items[r]] + s->o.label_offset : -1;
}

static Status read_at(Dataset *ds, int64_t index, Tensor *tensors, int64_t *labels, int64_t *valid) {
    enum { FEW = 64 };
    int64_t few[FEW], *items = few;
    if (ds->src->rows > FEW) TRY_ALLOC(items = mem_alloc((size_t)ds->src->rows * sizeof *items));
    read_items(ds, index, items);
    Status status = ds->src->kind->fetch(ds->src, items, tensors);
    if (!status) read_labels(ds, index, items, labels, valid);
    if (items != few) mem_free(items);
    return status;
}

Status dataset_read(Dataset *ds, int64_t index, Tensor *tensors, int64_t *labels, int64_t *valid) {
    if (index < 0 || index >= dataset_reads(ds))
        return status_make(STATUS_INTERNAL, "%s: read %lld of %lld", ds->src->path, (long long)index,
                           (long long)dataset_reads(ds));
    bool serial = ds->src->kind->serial;
    if (serial) pthread_mutex_lock(&ds->src->lock);
    Status status = read_at(ds, index, tensors, labels, valid);
    if (serial) pthread_mutex_unlock(&ds->src->lock);
    if (!status && ds->src->o.reject_nan) status = check_finite(ds, index, tensors);
    return status;
}

Status dataset_next(Dataset *ds, int64_t *cursor, Tensor *tensors, int64_t *labels, int64_t *valid, int64_t *index) {
    bool serial = ds->src->kind->serial;
    Status status = NULL;
    pthread_mutex_lock(&ds->src->lock);
    *index = *cursor < dataset_reads(ds) ? (*cursor)++ : -1;
    if (!serial) pthread_mutex_unlock(&ds->src->lock);
    if (*index >= 0) status = read_at(ds, *index, tensors, labels, valid);
    if (serial) pthread_mutex_unlock(&ds->src->lock);
    if (!status && *index >= 0 && ds->src->o.reject_nan) status = check_finite(ds, *index, tensors);
    return status;
}

static Status hash_items(Dataset *ds, Sha256 *h) {
    Source *s = ds->src;
    sha256_add(h, "pare data 1", 11);
    if (s->kind->hash_shared) TRY(s->kind->hash_shared(s, h));
    for (int64_t i = 0; i < ds->n; i++) {
        int64_t item = item_at(ds, i), label = s->labels ? s->labels[item] : -1;
        TRY(s->kind->hash(s, item, h));
        sha256_add(h, &label, sizeof label);
    }
    return NULL;
}

Status dataset_sha256(Dataset *ds, char hex[65]) {
    Status status = NULL;
    pthread_mutex_lock(&ds->src->lock);
    if (!ds->sha256[0]) {
        Sha256 *h = sha256_new();
        status = h ? hash_items(ds, h) : status_oom();
        char digest[SHA256_HEX];
        if (h) sha256_finish(h, digest);
        if (!status) memcpy(ds->sha256, digest, sizeof digest);
    }
    memcpy(hex, ds->sha256, SHA256_HEX);
    pthread_mutex_unlock(&ds->src->lock);
    return status;
}

Status dataset_key(Dataset *ds, char hex[65]) {
    char content[SHA256_HEX], text[512];
    TRY(dataset_sha256(ds, content));
    const ImageOptions *im = &ds->src->o.image;
    /* Hexadecimal floats: exact. */
    int n = snprintf(text, sizeof text, "%s %d %d %d %a %a %a %a %a %a %lld", content, (int)im->channels, im->resize,
                     im->crop, (double)im->mean[0], (double)im->mean[1], (double)im->mean[2], (double)im->std[0],
                     (double)im->std[1], (double)im->std[2], (long long)ds->src->rows);
    return sha256_bytes(text, (size_t)n, hex);
}
