/* Samples as ONNX test data: folders test_data_set_* with input_0.pb, input_1.pb … in the order of the inputs. */
#include "calib/source.h"
#include "frontend/onnx_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char PREFIX[] = "test_data_set_";

typedef struct TestSet {
    char **folders;
    int64_t cap;
} TestSet;

static bool is_set_name(const char *name) { return strncmp(name, PREFIX, sizeof PREFIX - 1) == 0; }

/* A folder that holds an input_0.pb is one set under any name. */
static Status is_set(const char *folder, bool *yes) {
    char *file = path_join(folder, "input_0.pb");
    if (!file) return status_oom();
    *yes = access(file, F_OK) == 0;
    mem_free(file);
    return NULL;
}

Status testset_is_folder(const char *path, bool *yes) {
    TRY(is_set(path, yes));
    if (*yes) return NULL;
    Listing l = {0};
    TRY(listing_read(path, &l));
    for (int64_t i = 0; i < l.n && !*yes; i++) *yes = is_set_name(l.names[i]);
    listing_free(&l);
    return NULL;
}

static Status add_set(Source *s, char *folder) {
    TestSet *x = s->impl;
    if (!folder) return status_oom();
    if (s->n_items == x->cap) {
        int64_t cap = x->cap ? 2 * x->cap : 8;
        char **folders = mem_realloc(x->folders, (size_t)cap * sizeof *folders);
        if (!folders) {
            mem_free(folder);
            return status_oom();
        }
        x->folders = folders;
        x->cap = cap;
    }
    x->folders[s->n_items++] = folder;
    return NULL;
}

/* test_data_set_10 comes after test_data_set_9. */
static int by_number(const void *a, const void *b) {
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    size_t n = strlen(x), m = strlen(y);
    if (n != m) return n < m ? -1 : 1;
    return strcmp(x, y);
}

static Status testset_fetch(Source *s, const int64_t *items, Tensor *tensors) {
    const TestSet *x = s->impl;
    for (int i = 0; i < s->n_inputs; i++) {
        char name[32];
        snprintf(name, sizeof name, "input_%d.pb", i);
        char *path = path_join(x->folders[items[0]], name);
        if (!path) return status_oom();
        tensor_free(&tensors[i]);
        Status status = onnx_load_tensor(path, &tensors[i]);
        if (!status) status = tensor_align(&tensors[i]);
        const Type *want = &s->inputs[i].type;
        const Tensor *t = &tensors[i];
        bool fits = want->kind != TYPE_TENSOR || want->elem == ELEM_UNDEFINED || want->elem == t->elem;
        fits = fits &&
               (want->rank < 0 || want->kind != TYPE_TENSOR || (want->rank == t->rank && dims_fit(want, 0, t->dims)));
        char expected[160], found[160];
        if (!status && !fits)
            status = status_make(STATUS_INVALID, "%s: expected %s for input '%s', found %s", path,
                                 type_describe(want, expected, sizeof expected), s->inputs[i].name,
                                 tensor_describe(t, found, sizeof found));
        mem_free(path);
        if (status) return status;
    }
    return NULL;
}

static Status testset_hash(Source *s, int64_t item, Sha256 *h) {
    Tensor *t = mem_zalloc((size_t)s->n_inputs * sizeof *t);
    if (!t) return status_oom();
    Status status = testset_fetch(s, &item, t);
    for (int i = 0; i < s->n_inputs; i++) {
        int64_t shape[2 + MAX_RANK] = {t[i].elem, t[i].rank};
        memcpy(shape + 2, t[i].dims, (size_t)t[i].rank * sizeof *shape);
        sha256_add(h, shape, sizeof shape);
        if (!status) sha256_add(h, t[i].data, t[i].bytes);
        tensor_free(&t[i]);
    }
    mem_free(t);
    return status;
}

static const char *testset_name(const Source *s, int64_t item) {
    const TestSet *x = s->impl;
    const char *slash = strrchr(x->folders[item], '/');
    return slash && slash[1] ? slash + 1 : x->folders[item];
}

static bool testset_uniform(const Source *s) {
    for (int i = 0; i < s->n_inputs; i++)
        if (s->inputs[i].type.kind != TYPE_TENSOR || s->inputs[i].type.rank < 0 || !type_is_static(&s->inputs[i].type))
            return false;
    return true;
}

static void testset_free(Source *s) {
    TestSet *x = s->impl;
    for (int64_t i = 0; i < s->n_items; i++) mem_free(x->folders[i]);
    mem_free(x->folders);
    mem_free(x);
}

static const SourceKind TESTSET = {
    "test data", false, testset_fetch, testset_hash, NULL, testset_name, testset_uniform, testset_free,
};

Status source_open_testset(Source *s) {
    TestSet *x = mem_zalloc(sizeof *x);
    if (!x) return status_oom();
    s->kind = &TESTSET;
    s->impl = x;
    bool single = false;
    TRY(is_set(s->path, &single));
    if (single) return add_set(s, mem_strdup(s->path));
    Listing l = {0};
    TRY(listing_read(s->path, &l));
    Status status = NULL;
    for (int64_t i = 0; i < l.n && !status; i++)
        if (is_set_name(l.names[i])) status = add_set(s, path_join(s->path, l.names[i]));
    listing_free(&l);
    if (!status && s->n_items > 1) qsort(x->folders, (size_t)s->n_items, sizeof *x->folders, by_number);
    return status;
}
