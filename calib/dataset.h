/* Sample sources: what --calib, --eval, --data and --input name.
 *
 * Kinds: .npz (arrays named as the inputs, optional `labels`), .npy (one-input models), a folder of images with class
 * subfolders or a labels.csv, one image, a test_data_set_* folder or the folder that holds several, and seeded random
 * data. Nothing of the samples stays in memory: a read fetches one.
 *
 * How an array is cut, for an input of rank R whose leading dim is L (a symbol counts as DataOptions.batch):
 *   array of rank R      rows along the first axis, L rows make one read; exactly one read's worth is shared by all
 *                        reads when other inputs have more
 *   array of rank R + 1  the first axis counts reads, each the whole input
 *   rank 0               shared by all
 * A "sample" is what has one label: a row where L > 1 and labels or images are counted by rows, else a whole read. */
#ifndef PARE_CALIB_DATASET_H
#define PARE_CALIB_DATASET_H

#include "frontend/image.h"
#include "ir/graph.h"

typedef struct Dataset Dataset;

/* The flags of the command line's data section. All zero is the default. */
typedef struct DataOptions {
    ImageOptions image; /* --channels --resize --crop --mean --std */
    const char *labels; /* --labels FILE (.npy, .npz with `labels`, .csv, .txt one a line), NULL = those of the data */
    int64_t label_offset; /* --label-offset, added to each label */
    int64_t samples;      /* --samples: how many to choose by the seed without replacement, 0 = all */
    uint64_t seed;        /* --seed */
    int64_t batch;        /* rows of one read for inputs with a symbolic leading dim, 0 = 1 */
    bool need_labels;     /* STATUS_INVALID when the data has none */
    bool reject_nan;      /* STATUS_INVALID when a float input has NaN or Inf (calibration) */
} DataOptions;

/* A model input that the data must fill. Symbolic dims after the first take what the data has. */
typedef struct DataInput {
    const char *name;
    Type type;
} DataInput;

/* Opens `path`. Strings are copied. STATUS_ENVIRONMENT: missing or unreadable; STATUS_INVALID: wrong content, missing
 * array, element type or shape that does not fit (file, array, expected and found are named); STATUS_UNSUPPORTED:
 * inputs that are no tensors, images for models whose input is no image in NCHW. Image options are ignored by other
 * kinds. */
PARE_NODISCARD Status dataset_open(const char *path, const DataOptions *o, const DataInput *inputs, int n_inputs,
                                   Dataset **out);
/* Same for the inputs of a graph, in graph order. */
PARE_NODISCARD Status dataset_open_graph(const char *path, const DataOptions *o, const Graph *g, Dataset **out);
/* `reads` reads of seeded numbers: floats about standard normal, integers 0 … 99, booleans 0 and 1. STATUS_USAGE when a
 * symbolic dim after the first has no number (--shape). */
PARE_NODISCARD Status dataset_random(const DataInput *inputs, int n_inputs, int64_t reads, int64_t batch, uint64_t seed,
                                     Dataset **out);
PARE_NODISCARD Status dataset_random_graph(const Graph *g, int64_t reads, int64_t batch, uint64_t seed, Dataset **out);
/* Two disjoint parts that together have all samples, chosen by the seed: `fraction` of the reads (rounded, at least one
 * each) into *a, the rest into *b. They share the source; each is freed by itself. STATUS_INVALID for fewer than 2. */
PARE_NODISCARD Status dataset_split(const Dataset *ds, double fraction, uint64_t seed, Dataset **a, Dataset **b);
/* The first `reads` reads as a set of its own (all, when there are fewer). */
PARE_NODISCARD Status dataset_head(const Dataset *ds, int64_t reads, Dataset **out);
void dataset_free(Dataset *ds); /* NULL is allowed */

/* Reads (model runs), samples, and samples in one full read. samples <= reads * rows; the last read of images or rows
 * may have fewer, it is filled up by repeating its last sample. */
int64_t dataset_reads(const Dataset *ds);
int64_t dataset_samples(const Dataset *ds);
int64_t dataset_rows(const Dataset *ds);
bool dataset_has_labels(const Dataset *ds);
bool dataset_is_random(const Dataset *ds);
bool dataset_is_images(const Dataset *ds); /* the image options were used */
int dataset_inputs(const Dataset *ds);
/* The static types of read 0, for PlanOptions.inputs: n_inputs types. *uniform (may be NULL) is false when other reads
 * may differ in shape (test sets, images without a fixed crop). Errors as dataset_read. */
PARE_NODISCARD Status dataset_types(Dataset *ds, Type *types, bool *uniform);

/* Read `index` (0 … reads-1): fills n_inputs tensors. On entry a tensor is zeroed or comes from an earlier read, whose
 * memory is then used again; the caller frees them with tensor_free. `labels` (may be NULL) gets dataset_rows numbers,
 * -1 where there is none; *valid (may be NULL) the number of real samples in this read.
 * Thread-safe. Reads of a compressed array are cheap in ascending order and restart the stream when going back. */
PARE_NODISCARD Status dataset_read(Dataset *ds, int64_t index, Tensor *tensors, int64_t *labels, int64_t *valid);
/* For several threads that share one pass: *cursor starts at 0; each call takes the next read in order, so that a
 * compressed stream is read once. *index = -1 when there is none left. Calls that share a cursor are ordered inside. */
PARE_NODISCARD Status dataset_next(Dataset *ds, int64_t *cursor, Tensor *tensors, int64_t *labels, int64_t *valid,
                                   int64_t *index);
/* What to call sample `row` of read `index` in reports: file name in the folder, or the number in the array. */
const char *dataset_sample_name(const Dataset *ds, int64_t index, int64_t row, char *buf, size_t cap);
/* Kind and size for messages: "images, 800 samples". */
const char *dataset_describe(const Dataset *ds, char *buf, size_t cap);

/* SHA-256 in hex (64 digits and NUL) over the chosen samples in order: array bytes or image files, and the labels
 * without offset. Independent of paths, compression and options that do not change the choice. Computed once. */
PARE_NODISCARD Status dataset_sha256(Dataset *ds, char hex[65]);
/* The same over content and preprocessing (image options, batch): two sets of equal key feed equal tensors. */
PARE_NODISCARD Status dataset_key(Dataset *ds, char hex[65]);

#endif
