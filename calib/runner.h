/* Internal to calib/: worker threads over the reads of a dataset, with results in order. */
#ifndef PARE_CALIB_RUNNER_H
#define PARE_CALIB_RUNNER_H

#include "calib/evaluate.h"

/* One read in flight. */
typedef struct Slot {
    int64_t index;
    int64_t valid;
    int64_t *labels;      /* dataset_rows of them */
    const Tensor *inputs; /* of the worker: for `process` only */
    void *result;         /* RunnerKind.result_bytes, zeroed at first, then as the slot's last read left it */
    bool done;
} Slot;

typedef struct RunnerKind {
    Status (*worker_new)(void *job, void **state); /* on failure too, *state (unless NULL) is freed by worker_free */
    void (*worker_free)(void *state);
    Status (*process)(void *job, void *state, Slot *slot);
    Status (*emit)(void *job, const Slot *slot); /* in order of the reads, one at a time; may be NULL */
    void (*slot_free)(void *job, Slot *slot);    /* what result owns; may be NULL */
    size_t result_bytes;
    Status (*worker_finish)(void *job, void *state); /* one at a time, after the last read; may be NULL */
} RunnerKind;

/* The first error in the order of the reads stops the run and is returned. */
PARE_NODISCARD Status runner_run(const RunnerKind *kind, void *job, Dataset *ds, const RunOptions *o);

/* A model with a context of its own. */
typedef struct ModelRun {
    const EvalModel *model;
    Context *context;
    Tensor *inputs; /* views, when the model orders the inputs otherwise */
    Tensor *outputs;
} ModelRun;
PARE_NODISCARD Status model_open(const EvalModel *m, ModelRun *out);
void model_close(ModelRun *r);
PARE_NODISCARD Status model_run(ModelRun *r, const Tensor *data);
PARE_NODISCARD Status model_run_tapped(ModelRun *r, const Tensor *data, TapFn tap, void *ctx);

/* A fresh row-major copy of a tensor whose bytes lie channels-last. */
PARE_NODISCARD Status tensor_to_nchw(Tensor *out, const Tensor *t);

#endif
