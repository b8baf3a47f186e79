/* Running data through models: the drivers behind run, eval and calibration.
 *
 * Worker threads take reads in order, each with contexts of its own (plans are made for one thread); results are handed
 * on in the order of the samples, so that every sum is the same at every number of threads. Memory does not grow with
 * the number of samples: a window of a few reads a worker. */
#ifndef PARE_CALIB_EVALUATE_H
#define PARE_CALIB_EVALUATE_H

#include "backends/backend.h"
#include "calib/dataset.h"
#include "calib/metrics.h"
#include "calib/observer.h"

/* A model ready to run. The plan's inputs have the shapes of dataset_types. */
typedef struct EvalModel {
    const Backend *backend;
    const Plan *plan;
    int n_inputs, n_outputs;
    const int *inputs; /* for input i of the model, the dataset's input; NULL = the same order */
} EvalModel;

/* Common to all drivers. All zero: 1 thread, no callbacks. */
typedef struct RunOptions {
    int threads;
    void (*progress)(void *ctx, int64_t done, int64_t total); /* reads; called from one thread at a time */
    void *progress_ctx;
    const volatile int *cancel; /* not 0: stop soon with STATUS_INTERRUPTED; NULL = never */
} RunOptions;

/* Outputs of one read in sample order; the tensors are the callee's to look at until it returns. */
typedef Status (*OutputFn)(void *ctx, int64_t index, int64_t valid, const int64_t *labels, const Tensor *outputs);
/* All outputs of a model over a dataset. */
PARE_NODISCARD Status run_dataset(const EvalModel *m, Dataset *ds, const RunOptions *o, OutputFn fn, void *ctx);

typedef struct SampleRecord {
    int64_t read, row;
    int64_t label;          /* -1 without */
    int64_t pred_a, pred_b; /* argmax of the first output; pred_b -1 without a second model */
} SampleRecord;

typedef struct EvalResult {
    int64_t samples;
    bool has_labels, has_b;
    int64_t correct_a, correct_b;
    PairedCounts paired;    /* a = the first model */
    ErrorSums first_output; /* b as the reference of a, first output */
    double wall_ms;
} EvalResult;

/* Top-1 of `a`, and with `b` (may be NULL) the paired comparison. `record` (may be NULL) is called once a sample, in
 * order. STATUS_INVALID when a label is no class of the output: the message names label, sample and --label-offset. */
PARE_NODISCARD Status evaluate(const EvalModel *a, const EvalModel *b, Dataset *ds, const RunOptions *o,
                               void (*record)(void *ctx, const SampleRecord *r), void *ctx, EvalResult *out);

/* Values of two models that mean the same thing. */
typedef struct TapPair {
    ValueId a, b; /* ids in the graphs of the two plans, both planned with these taps */
    const char *name;
} TapPair;
/* Error of model `a` at each pair, with `b` as the reference, over `ds`; `out` has n_pairs sums. */
PARE_NODISCARD Status evaluate_layers(const EvalModel *a, const EvalModel *b, const TapPair *pairs, int n_pairs,
                                      Dataset *ds, const RunOptions *o, ErrorSums *out);

/* A value to observe. */
typedef struct Watch {
    ValueId value;
    int channel_axis; /* for per-channel statistics; ignored when channels is 0 */
    int64_t channels;
} Watch;
/* Feeds `ds` through `m` (planned with the watched values as taps) and fills one observer a watch, freed by the caller
 * with observer_free. Watched graph inputs and outputs count as any value. With a batch that does not divide the number
 * of samples, the samples that fill up the last read are seen again. */
PARE_NODISCARD Status calibrate(const EvalModel *m, const Watch *watches, int n, Dataset *ds, const RunOptions *o,
                                Observer **out);

#endif
