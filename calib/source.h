/* Internal to calib/: the kinds of sample sources behind calib/dataset.h. */
#ifndef PARE_CALIB_SOURCE_H
#define PARE_CALIB_SOURCE_H

#include "calib/dataset.h"
#include "ir/hash.h"

#include <pthread.h>

typedef struct Source Source;

typedef struct SourceKind {
    const char *name; /* for dataset_describe */
    bool serial;      /* fetches are cheap in order only, and one at a time */
    /* Fills all inputs with `rows` items (items[rows]; the last ones may be repeated). Locks what needs it. */
    Status (*fetch)(Source *s, const int64_t *items, Tensor *tensors);
    /* Adds one item's content. */
    Status (*hash)(Source *s, int64_t item, Sha256 *h);
    /* Adds what all items share; may be NULL. */
    Status (*hash_shared)(Source *s, Sha256 *h);
    const char *(*item_name)(const Source *s, int64_t item); /* NULL: the number is the name */
    bool (*uniform)(const Source *s);
    void (*free)(Source *s); /* the kind's own parts */
} SourceKind;

struct Source {
    const SourceKind *kind;
    _Atomic int refs;
    pthread_mutex_t lock;
    char *path;
    DataOptions o; /* `labels` is not kept */
    int n_inputs;
    DataInput *inputs; /* names are owned */
    int64_t n_items;
    int64_t rows;    /* items of one read */
    int64_t *labels; /* of the items, without offset; NULL = none */
    void *impl;
};

/* Opening: each sets kind, impl, n_items, rows and, where the data has them, labels. */
PARE_NODISCARD Status source_open_arrays(Source *s, bool npz, const char *labels_file);
PARE_NODISCARD Status source_open_images(Source *s, const char *labels_file);
PARE_NODISCARD Status source_open_testset(Source *s);
PARE_NODISCARD Status source_open_random(Source *s, int64_t reads);

/* Whether the folder is, or holds, test_data_set_* folders. */
PARE_NODISCARD Status testset_is_folder(const char *path, bool *yes);

/* A list of labels, with the files they belong to where the list says so. */
typedef struct LabelList {
    int64_t n;
    int64_t *labels;
    char **files; /* NULL for a plain list */
} LabelList;
/* .csv and .txt text, .npy, .npz with `labels`. */
PARE_NODISCARD Status labels_load(const char *path, LabelList *out);
void labels_free(LabelList *l);

/* Entries of a folder in bytewise order, without hidden ones. STATUS_ENVIRONMENT when it cannot be read. */
typedef struct Listing {
    char **names;
    int64_t n;
} Listing;
PARE_NODISCARD Status listing_read(const char *folder, Listing *out);
void listing_free(Listing *l);
/* "folder/name"; NULL when memory is short. */
char *path_join(const char *folder, const char *name);
bool path_is_folder(const char *path);

/* Makes *t a tensor of this type whose memory may be written, using its present memory when it fits. */
PARE_NODISCARD Status tensor_reuse(Tensor *t, ElemType e, int rank, const int64_t *dims);
/* The leading dim of an input that a read has: its number, or the batch for a symbol; 1 for rank 0 and unknown. */
int64_t input_lead(const Source *s, const Type *t);
/* "float32[N?,3,224,224]": symbols print as '?'. */
const char *type_describe(const Type *t, char *buf, size_t cap);
/* True when the dims from axis `from` on fit the type's (symbols fit all). */
bool dims_fit(const Type *t, int from, const int64_t *dims);

#endif
