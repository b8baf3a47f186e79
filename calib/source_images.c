/* Samples as images: a folder with class subfolders or labels.csv, a plain folder, or one file. */
#include "calib/source.h"
#include "ir/file.h"

#include <stdio.h>
#include <string.h>

typedef struct Images {
    char *folder; /* NULL for one file */
    char **files; /* relative to the folder */
    int64_t cap;
    ImageOptions o; /* with AUTO resolved */
    int channels;
    int64_t want[2]; /* height and width of the model's input; negative = any */
} Images;

static Status add_file(Source *s, const char *file, int64_t label) {
    Images *x = s->impl;
    if (s->n_items == x->cap) {
        int64_t cap = x->cap ? 2 * x->cap : 256;
        char **files = mem_realloc(x->files, (size_t)cap * sizeof *files);
        if (!files) return status_oom();
        x->files = files;
        int64_t *labels = mem_realloc(s->labels, (size_t)cap * sizeof *labels);
        if (!labels) return status_oom();
        s->labels = labels;
        x->cap = cap;
    }
    char *copy = mem_strdup(file);
    if (!copy) return status_oom();
    x->files[s->n_items] = copy;
    s->labels[s->n_items++] = label;
    return NULL;
}

/* The images of folder/sub (sub "" = the folder itself). */
static Status add_folder(Source *s, const char *sub, int64_t label) {
    char *folder = sub[0] ? path_join(s->path, sub) : mem_strdup(s->path);
    if (!folder) return status_oom();
    Listing l = {0};
    Status status = listing_read(folder, &l);
    for (int64_t i = 0; i < l.n && !status; i++) {
        if (!image_is_name(l.names[i])) continue;
        char *file = sub[0] ? path_join(sub, l.names[i]) : mem_strdup(l.names[i]);
        status = file ? add_file(s, file, label) : status_oom();
        mem_free(file);
    }
    listing_free(&l);
    mem_free(folder);
    return status;
}

static Status add_classes(Source *s, bool *any) {
    Listing l = {0};
    TRY(listing_read(s->path, &l));
    Status status = NULL;
    int64_t label = 0;
    for (int64_t i = 0; i < l.n && !status; i++) {
        char *sub = path_join(s->path, l.names[i]);
        if (!sub)
            status = status_oom();
        else if (path_is_folder(sub))
            status = add_folder(s, l.names[i], label++);
        mem_free(sub);
    }
    listing_free(&l);
    *any = label > 0;
    return status;
}

/* The label of a file named in a list; -1 when it is not there. */
static int64_t find_label(const LabelList *l, const char *file) {
    for (int64_t i = 0; i < l->n; i++)
        if (strcmp(l->files[i], file) == 0) return i;
    return -1;
}

/* --labels FILE: by file name when it has names, else in the order of the files. */
static Status apply_labels(Source *s, const char *path) {
    const Images *x = s->impl;
    LabelList l;
    TRY(labels_load(path, &l));
    Status status = NULL;
    if (!l.files && l.n != s->n_items)
        status = status_make(STATUS_INVALID, "%s: expected as many labels as images in %s (%lld), found %lld", path,
                             s->path, (long long)s->n_items, (long long)l.n);
    for (int64_t i = 0; i < s->n_items && !status; i++) {
        /* Lists are mostly in the order of the files. */
        bool in_order = !l.files || (i < l.n && strcmp(l.files[i], x->files[i]) == 0);
        int64_t at = in_order ? i : find_label(&l, x->files[i]);
        if (at < 0)
            status = status_make(STATUS_INVALID, "%s: expected a label for '%s' of %s, found none", path, x->files[i],
                                 s->path);
        else
            s->labels[i] = l.labels[at];
    }
    labels_free(&l);
    return status;
}

static Status add_csv(Source *s, const char *csv) {
    LabelList l;
    TRY(labels_load(csv, &l));
    Status status = NULL;
    if (!l.files) status = status_make(STATUS_INVALID, "%s: expected the columns file,label", csv);
    for (int64_t i = 0; i < l.n && l.files && !status; i++) status = add_file(s, l.files[i], l.labels[i]);
    labels_free(&l);
    return status;
}

static Status list_files(Source *s, const char *labels_file) {
    Images *x = s->impl;
    bool labelled = true;
    if (!path_is_folder(s->path)) {
        TRY(add_file(s, s->path, -1));
        labelled = false;
    } else {
        TRY_ALLOC(x->folder = mem_strdup(s->path));
        char *csv = path_join(s->path, "labels.csv");
        if (!csv) return status_oom();
        FILE *probe = fopen(csv, "rbe");
        if (probe) fclose(probe);
        Status status = probe ? add_csv(s, csv) : add_classes(s, &labelled);
        mem_free(csv);
        if (status) return status;
        if (!labelled) TRY(add_folder(s, "", -1));
    }
    if (s->n_items == 0)
        return status_make(STATUS_INVALID, "%s: expected .jpg, .jpeg or .png images, found none", s->path);
    if (labels_file) return apply_labels(s, labels_file);
    if (!labelled) {
        mem_free(s->labels);
        s->labels = NULL;
    }
    return NULL;
}

/* What the model's input asks of an image. */
static Status fit_input(Source *s) {
    Images *x = s->impl;
    char text[160];
    if (s->n_inputs != 1)
        return status_make(STATUS_INVALID, "%s: images fill models of one input, found %d inputs: give a .npz", s->path,
                           s->n_inputs);
    const DataInput *in = &s->inputs[0];
    const Type *t = &in->type;
    bool batched = t->rank == 4, known = t->kind == TYPE_TENSOR && (batched || t->rank == 3);
    int64_t channels = known ? t->dims[batched ? 1 : 0] : -1;
    if (!known || elem_bits(t->elem) < 8 || (channels >= 0 && channels != 1 && channels != 3))
        return status_make(STATUS_UNSUPPORTED,
                           "%s: images need an input [N,C,H,W] with 1 or 3 channels, found '%s' %s: give a .npz",
                           s->path, in->name, type_describe(t, text, sizeof text));
    x->o = s->o.image;
    if (x->o.channels == CHANNELS_AUTO) x->o.channels = channels == 1 ? CHANNELS_GRAY : CHANNELS_RGB;
    x->channels = x->o.channels == CHANNELS_GRAY ? 1 : 3;
    if (channels >= 0 && channels != x->channels)
        return status_make(STATUS_INVALID, "%s: --channels gives %d channels, expected %lld for input '%s'", s->path,
                           x->channels, (long long)channels, in->name);
    s->rows = batched ? input_lead(s, t) : 1;
    if (s->rows < 1) return status_make(STATUS_INVALID, "input '%s': its batch is 0", in->name);
    for (int i = 0; i < 2; i++) x->want[i] = t->dims[t->rank - 2 + i];
    return NULL;
}

static char *image_path(const Images *x, int64_t item) {
    return x->folder ? path_join(x->folder, x->files[item]) : mem_strdup(x->files[item]);
}

/* Loads one image; `path` is for messages and owned by the caller. */
static Status load_item(const Source *s, const char *path, Image *im) {
    const Images *x = s->impl;
    Blob *bytes = NULL;
    TRY(file_map(path, &bytes));
    Status status = image_load(bytes->data, bytes->size, path, &x->o, im);
    blob_unref(bytes);
    if (status) return status;
    bool fits = (x->want[0] < 0 || x->want[0] == im->height) && (x->want[1] < 0 || x->want[1] == im->width);
    if (fits) return NULL;
    char text[160];
    status = status_make(STATUS_INVALID,
                         "%s: expected an image for input '%s' %s, found %d x %d pixels (height x width): use --resize "
                         "and --crop",
                         path, s->inputs[0].name, type_describe(&s->inputs[0].type, text, sizeof text), im->height,
                         im->width);
    image_free(im);
    return status;
}

/* Puts the image into row `row` of the tensor, which the first row shapes. */
static Status place(const Source *s, const char *path, const Image *im, int64_t row, Tensor *t) {
    const Images *x = s->impl;
    const Type *type = &s->inputs[0].type;
    int64_t plane[4] = {s->rows, im->channels, im->height, im->width}, *dims = type->rank == 4 ? plane : plane + 1;
    int64_t count = plane[1] * plane[2] * plane[3];
    if (row == 0) TRY(tensor_reuse(t, type->elem, type->rank, dims));
    if (t->dims[t->rank - 1] != im->width || t->dims[t->rank - 2] != im->height)
        return status_make(STATUS_INVALID, "%s: images of one batch must be of one size: use --resize and --crop",
                           path);
    if (type->elem == ELEM_F32) {
        image_to_planes(im, &x->o, (float *)(void *)t->data + row * count);
        return NULL;
    }
    float *planes = mem_alloc((size_t)count * sizeof *planes);
    if (!planes) return status_oom();
    image_to_planes(im, &x->o, planes);
    for (int64_t i = 0; i < count; i++) tensor_set_f64(t, row * count + i, (double)planes[i]);
    mem_free(planes);
    return NULL;
}

static Status images_fetch(Source *s, const int64_t *items, Tensor *tensors) {
    for (int64_t row = 0; row < s->rows; row++) {
        char *path = image_path(s->impl, items[row]);
        if (!path) return status_oom();
        Image im = {0};
        Status status = load_item(s, path, &im);
        if (!status) status = place(s, path, &im, row, &tensors[0]);
        image_free(&im);
        mem_free(path);
        if (status) return status;
    }
    return NULL;
}

static Status images_hash(Source *s, int64_t item, Sha256 *h) {
    char *path = image_path(s->impl, item);
    if (!path) return status_oom();
    Blob *bytes = NULL;
    Status status = file_map(path, &bytes);
    if (!status) {
        uint64_t size = bytes->size;
        sha256_add(h, &size, sizeof size);
        sha256_add(h, bytes->data, bytes->size);
        blob_unref(bytes);
    }
    mem_free(path);
    return status;
}

static const char *images_name(const Source *s, int64_t item) {
    const Images *x = s->impl;
    return x->files[item];
}

static bool images_uniform(const Source *s) {
    const Images *x = s->impl;
    return x->o.crop > 0 || (x->want[0] >= 0 && x->want[1] >= 0);
}

static void images_free(Source *s) {
    Images *x = s->impl;
    for (int64_t i = 0; i < s->n_items; i++) mem_free(x->files[i]);
    mem_free(x->files);
    mem_free(x->folder);
    mem_free(x);
}

static const SourceKind IMAGES = {
    "images", false, images_fetch, images_hash, NULL, images_name, images_uniform, images_free,
};

Status source_open_images(Source *s, const char *labels_file) {
    Images *x = mem_zalloc(sizeof *x);
    if (!x) return status_oom();
    s->kind = &IMAGES;
    s->impl = x;
    TRY(fit_input(s));
    return list_files(s, labels_file);
}
