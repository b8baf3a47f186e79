/* Samples in arrays: .npz and .npy. */
#include "calib/source.h"
#include "frontend/npz.h"

#include <stdio.h>
#include <string.h>

typedef struct Input {
    NpyArray array;
    int rank; /* of the tensor that a read gets */
    int64_t dims[MAX_RANK];
    int64_t step;    /* elements copied for one item */
    int64_t slots;   /* items in one read: the source's rows, or 1 */
    int64_t count;   /* items in the array */
    bool shared;     /* one item for all reads */
    uint8_t *common; /* its bytes, once read */
} Input;

typedef struct Arrays {
    Npz *npz; /* NULL for a .npy file */
    Input *inputs;
} Arrays;

/* How the model's inputs cut the arrays. */
typedef struct Cut {
    bool by_rows;
    int64_t rows;
} Cut;

static Status mismatch(const Source *s, int i, const NpyArray *a, const char *hint) {
    char want[160], found[160];
    return status_make(STATUS_INVALID, "%s: expected %s for input '%s', found %s%s", a->what,
                       type_describe(&s->inputs[i].type, want, sizeof want), s->inputs[i].name,
                       npy_describe(&a->h, found, sizeof found), hint);
}

/* True when the array has one axis more than the input: the first counts samples. */
static bool has_sample_axis(const Source *s, int i, const NpyArray *a) {
    const Type *t = &s->inputs[i].type;
    return t->kind == TYPE_TENSOR && t->rank >= 0 && a->h.rank == t->rank + 1;
}

static Status check_array(const Source *s, int i, const NpyArray *a) {
    const Type *t = &s->inputs[i].type;
    if (t->kind != TYPE_TENSOR) return NULL;
    if (t->elem != ELEM_UNDEFINED && !npy_matches(&a->h, t->elem))
        return mismatch(s, i, a, ": convert it with numpy's astype");
    if (t->rank < 0) return NULL;
    if (has_sample_axis(s, i, a)) {
        if (!dims_fit(t, 0, a->h.dims + 1)) return mismatch(s, i, a, "");
    } else if (a->h.rank != t->rank || !dims_fit(t, 1, a->h.dims)) {
        return mismatch(s, i, a, "");
    }
    return NULL;
}

/* Rows are cut by themselves when the leading dim is a batch: a symbol, or a number and labels are counted by rows. */
static Cut choose_cut(const Source *s, const Arrays *x, int64_t n_labels) {
    Cut cut = {false, 1};
    for (int i = 0; i < s->n_inputs; i++) {
        const Type *t = &s->inputs[i].type;
        const NpyHeader *h = &x->inputs[i].array.h;
        int64_t lead = input_lead(s, t);
        if (h->rank < 1 || t->rank < 1 || has_sample_axis(s, i, &x->inputs[i].array) || lead < 2) continue;
        bool labelled = n_labels == h->dims[0] && h->dims[0] % lead == 0;
        if (t->dims[0] >= 0 && !labelled) continue;
        cut = (Cut){true, lead};
        break;
    }
    return cut;
}

/* Fills step, slots and count of one input. */
static Status cut_input(const Source *s, int i, Input *in, const Cut *cut) {
    const Type *t = &s->inputs[i].type;
    const NpyHeader *h = &in->array.h;
    int64_t lead = input_lead(s, t);
    bool sample_axis = has_sample_axis(s, i, &in->array);
    in->rank = sample_axis ? h->rank - 1 : h->rank;
    if (in->rank > MAX_RANK) return mismatch(s, i, &in->array, "");
    memcpy(in->dims, h->dims + (sample_axis ? 1 : 0), (size_t)in->rank * sizeof *in->dims);
    in->slots = 1;
    in->count = 1;
    if (sample_axis) {
        in->count = h->dims[0];
    } else if (t->rank > 0) {
        bool rows = cut->by_rows && lead == cut->rows;
        in->slots = rows ? lead : 1;
        in->dims[0] = lead;
        in->count = rows ? h->dims[0] : lead ? h->dims[0] / lead : 0;
        if (!rows && (lead == 0 || h->dims[0] % lead != 0))
            return mismatch(s, i, &in->array, ": its first axis is no multiple of the input's");
    }
    in->step = 1;
    for (int d = in->slots > 1 ? 1 : 0; d < in->rank; d++) in->step *= in->dims[d];
    return NULL;
}

static Status agree_on_items(Source *s, const Arrays *x) {
    int most = 0;
    for (int i = 1; i < s->n_inputs; i++)
        if (x->inputs[i].count > x->inputs[most].count) most = i;
    s->n_items = s->n_inputs ? x->inputs[most].count : 1; /* a model without inputs runs once */
    for (int i = 0; i < s->n_inputs; i++) {
        Input *in = &x->inputs[i];
        in->shared = in->count == 1;
        if (!in->shared && in->count != s->n_items)
            return status_make(STATUS_INVALID, "%s: expected %lld samples as in array '%s', found %lld", in->array.what,
                               (long long)s->n_items, s->inputs[most].name, (long long)in->count);
    }
    return NULL;
}

static Status cut_all(Source *s, Arrays *x, int64_t n_labels) {
    Cut cut = choose_cut(s, x, n_labels);
    for (int i = 0; i < s->n_inputs; i++) {
        TRY(check_array(s, i, &x->inputs[i].array));
        TRY(cut_input(s, i, &x->inputs[i], &cut));
    }
    TRY(agree_on_items(s, x));
    s->rows = cut.by_rows ? cut.rows : 1;
    /* A read holds `rows` items: inputs that come whole cannot be among them unless they are shared. */
    for (int i = 0; i < s->n_inputs && s->rows > 1; i++)
        if (!x->inputs[i].shared && x->inputs[i].slots != s->rows)
            return mismatch(s, i, &x->inputs[i].array, ": other inputs are cut by rows");
    return NULL;
}

/* One item of an input, `at` elements into the tensor's data. */
static Status read_item(Input *in, int64_t item, uint8_t *dst) {
    size_t bytes = (size_t)in->step * (size_t)in->array.h.item_bytes;
    if (!in->shared) return npy_read(&in->array, item * in->step, in->step, dst);
    if (!in->common) {
        uint8_t *common = mem_alloc(bytes);
        if (!common) return status_oom();
        Status status = npy_read(&in->array, 0, in->step, common);
        if (status) {
            mem_free(common);
            return status;
        }
        in->common = common;
    }
    memcpy(dst, in->common, bytes);
    return NULL;
}

static Status arrays_fetch(Source *s, const int64_t *items, Tensor *tensors) {
    Arrays *x = s->impl;
    for (int i = 0; i < s->n_inputs; i++) {
        Input *in = &x->inputs[i];
        const Type *t = &s->inputs[i].type;
        ElemType elem = t->kind == TYPE_TENSOR && t->elem != ELEM_UNDEFINED ? t->elem : in->array.h.elem;
        TRY(status_context(tensor_reuse(&tensors[i], elem, in->rank, in->dims), "%s", in->array.what));
        size_t bytes = (size_t)in->step * (size_t)in->array.h.item_bytes;
        for (int64_t slot = 0; slot < in->slots; slot++)
            TRY(read_item(in, items[slot], tensors[i].data + (size_t)slot * bytes));
    }
    return NULL;
}

static Status hash_item(Input *in, int64_t item, Sha256 *h) {
    size_t bytes = (size_t)in->step * (size_t)in->array.h.item_bytes;
    uint8_t *data = mem_alloc(bytes);
    if (!data) return status_oom();
    Status status = read_item(in, item, data);
    if (!status) sha256_add(h, data, bytes);
    mem_free(data);
    return status;
}

static Status arrays_hash(Source *s, int64_t item, Sha256 *h) {
    Arrays *x = s->impl;
    for (int i = 0; i < s->n_inputs; i++)
        if (!x->inputs[i].shared) TRY(hash_item(&x->inputs[i], item, h));
    return NULL;
}

static Status arrays_hash_shared(Source *s, Sha256 *h) {
    Arrays *x = s->impl;
    for (int i = 0; i < s->n_inputs; i++) {
        Input *in = &x->inputs[i];
        int64_t shape[3 + MAX_RANK] = {in->array.h.elem, in->rank, in->step};
        /* The leading dim stays out: the same rows are the same content in reads of any size. */
        for (int d = 1; d < in->rank; d++) shape[3 + d] = in->dims[d];
        sha256_add(h, s->inputs[i].name, strlen(s->inputs[i].name) + 1);
        sha256_add(h, shape, sizeof shape);
        if (in->shared) TRY(hash_item(in, 0, h));
    }
    return NULL;
}

static bool arrays_uniform(const Source *s) {
    (void)s;
    return true;
}

static void arrays_free(Source *s) {
    Arrays *x = s->impl;
    for (int i = 0; i < s->n_inputs && x->inputs; i++) {
        npy_close(&x->inputs[i].array);
        mem_free(x->inputs[i].common);
    }
    mem_free(x->inputs);
    npz_close(x->npz);
    mem_free(x);
}

static const SourceKind ARRAYS = {
    "arrays", true, arrays_fetch, arrays_hash, arrays_hash_shared, NULL, arrays_uniform, arrays_free,
};

static bool input_named(const Source *s, const char *name) {
    for (int i = 0; i < s->n_inputs; i++)
        if (strcmp(s->inputs[i].name, name) == 0) return true;
    return false;
}

static Status open_npz(Source *s, Arrays *x, LabelList *labels) {
    TRY(npz_open(s->path, &x->npz));
    for (int i = 0; i < s->n_inputs; i++) {
        int at = npz_find(x->npz, s->inputs[i].name);
        char names[512];
        if (at < 0)
            return status_make(STATUS_INVALID, "%s: expected an array for input '%s', found arrays: %s", s->path,
                               s->inputs[i].name, npz_names(x->npz, names, sizeof names));
        TRY(npz_array(x->npz, at, &x->inputs[i].array));
    }
    int at = input_named(s, "labels") || labels->labels ? -1 : npz_find(x->npz, "labels");
    if (at < 0) return NULL;
    NpyArray a;
    TRY(npz_array(x->npz, at, &a));
    labels->n = a.h.count;
    Status status = npy_read_int64(&a, &labels->labels);
    npy_close(&a);
    return status;
}

static Status open_files(Source *s, Arrays *x, bool npz, LabelList *labels) {
    TRY_ALLOC(x->inputs = mem_zalloc((size_t)s->n_inputs * sizeof *x->inputs));
    if (npz) return open_npz(s, x, labels);
    if (s->n_inputs != 1)
        return status_make(STATUS_INVALID, "%s: a .npy file fills models of one input, found %d inputs: give a .npz",
                           s->path, s->n_inputs);
    return npy_open(s->path, &x->inputs[0].array);
}

static Status attach_labels(Source *s, LabelList *labels) {
    if (!labels->labels) return NULL;
    if (labels->n != s->n_items)
        return status_make(STATUS_INVALID, "%s: expected as many labels as samples (%lld), found %lld", s->path,
                           (long long)s->n_items, (long long)labels->n);
    s->labels = labels->labels;
    labels->labels = NULL;
    return NULL;
}

Status source_open_arrays(Source *s, bool npz, const char *labels_file) {
    Arrays *x = mem_zalloc(sizeof *x);
    if (!x) return status_oom();
    s->kind = &ARRAYS;
    s->impl = x;
    LabelList labels = {0};
    if (labels_file) TRY(labels_load(labels_file, &labels));
    Status status = open_files(s, x, npz, &labels);
    if (!status) status = cut_all(s, x, labels.n);
    if (!status) status = attach_labels(s, &labels);
    labels_free(&labels);
    return status;
}
