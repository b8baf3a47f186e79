/* The drivers: a window of reads in flight, results handed on in order. */
#include "calib/evaluate.h"

#include "calib/runner.h"

#include <string.h>
#include <time.h>

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

Status model_open(const EvalModel *m, ModelRun *out) {
    *out = (ModelRun){.model = m};
    TRY(m->backend->context(m->plan, &out->context));
    TRY_ALLOC(out->inputs = mem_zalloc((size_t)m->n_inputs * sizeof *out->inputs));
    TRY_ALLOC(out->outputs = mem_zalloc((size_t)m->n_outputs * sizeof *out->outputs));
    return NULL;
}

void model_close(ModelRun *r) {
    if (r->context) r->model->backend->context_free(r->context);
    mem_free(r->inputs);
    mem_free(r->outputs);
    *r = (ModelRun){0};
}

static const Tensor *model_inputs(ModelRun *r, const Tensor *data) {
    if (!r->model->inputs) return data;
    for (int i = 0; i < r->model->n_inputs; i++) r->inputs[i] = data[r->model->inputs[i]];
    return r->inputs;
}

Status model_run(ModelRun *r, const Tensor *data) {
    return r->model->backend->run(r->context, model_inputs(r, data), r->outputs);
}

Status model_run_tapped(ModelRun *r, const Tensor *data, TapFn tap, void *ctx) {
    return r->model->backend->run_tapped(r->context, model_inputs(r, data), r->outputs, tap, ctx);
}

/* run_dataset */

typedef struct OutputJob {
    const EvalModel *model;
    OutputFn fn;
    void *ctx;
} OutputJob;

static Status output_worker(void *job, void **state) {
    const OutputJob *j = job;
    ModelRun *r = mem_zalloc(sizeof *r);
    if (!r) return status_oom();
    *state = r;
    return model_open(j->model, r);
}

static void output_worker_free(void *state) {
    model_close(state);
    mem_free(state);
}

/* Outputs live in the context until the next run, so they are copied into the slot. */
static Status output_process(void *job, void *state, Slot *slot) {
    const OutputJob *j = job;
    ModelRun *r = state;
    TRY(model_run(r, slot->inputs));
    Tensor *kept = slot->result;
    for (int i = 0; i < j->model->n_outputs; i++) {
        tensor_free(&kept[i]);
        TRY(tensor_clone(&kept[i], &r->outputs[i]));
    }
    return NULL;
}

static Status output_emit(void *job, const Slot *slot) {
    const OutputJob *j = job;
    return j->fn(j->ctx, slot->index, slot->valid, slot->labels, slot->result);
}

static void output_slot_free(void *job, Slot *slot) {
    const OutputJob *j = job;
    Tensor *kept = slot->result;
    for (int i = 0; i < j->model->n_outputs; i++) tensor_free(&kept[i]);
}

Status run_dataset(const EvalModel *m, Dataset *ds, const RunOptions *o, OutputFn fn, void *ctx) {
    OutputJob job = {m, fn, ctx};
    RunnerKind kind = {.worker_new = output_worker,
                       .worker_free = output_worker_free,
                       .process = output_process,
                       .emit = output_emit,
                       .slot_free = output_slot_free,
                       .result_bytes = (size_t)m->n_outputs * sizeof(Tensor)};
    return runner_run(&kind, &job, ds, o);
}

/* evaluate */

typedef struct EvalJob {
    const EvalModel *a, *b;
    Dataset *ds;
    void (*record)(void *ctx, const SampleRecord *r);
    void *ctx;
    EvalResult *result;
} EvalJob;

typedef struct EvalWorker {
    ModelRun a, b;
} EvalWorker;

/* Of one read: sums, then the predictions of a and b, `rows` each. */
typedef struct EvalSlot {
    ErrorSums error;
    int64_t classes;
    int64_t pred[];
} EvalSlot;

static Status eval_worker(void *job, void **state) {
    const EvalJob *j = job;
    EvalWorker *w = mem_zalloc(sizeof *w);
    if (!w) return status_oom();
    *state = w;
    TRY(model_open(j->a, &w->a));
    return j->b ? model_open(j->b, &w->b) : NULL;
}

static void eval_worker_free(void *state) {
    EvalWorker *w = state;
    model_close(&w->a);
    model_close(&w->b);
    mem_free(w);
}

/* Predictions of each row: the first output cut in equal parts. */
static Status predict(const ModelRun *r, int64_t rows, int64_t *pred, int64_t *classes) {
    if (r->model->n_outputs < 1)
        return status_make(STATUS_INVALID, "top-1 accuracy: expected a model with an output, found none");
    const Tensor *t = &r->outputs[0];
    int64_t n = tensor_count(t);
    if (n == 0 || n % rows != 0) {
        char text[160];
        return status_make(STATUS_INVALID, "top-1 accuracy: expected a first output for %lld samples, found %s",
                           (long long)rows, tensor_describe(t, text, sizeof text));
    }
    *classes = n / rows;
    for (int64_t i = 0; i < rows; i++) pred[i] = metric_argmax_tensor(t, i * *classes, *classes);
    return NULL;
}

static Status eval_process(void *job, void *state, Slot *slot) {
    const EvalJob *j = job;
    EvalWorker *w = state;
    EvalSlot *s = slot->result;
    int64_t rows = dataset_rows(j->ds), classes;
    s->error = (ErrorSums){0};
    TRY(model_run(&w->a, slot->inputs));
    TRY(predict(&w->a, rows, s->pred, &s->classes));
    if (!j->b) return NULL;
    TRY(model_run(&w->b, slot->inputs));
    TRY(predict(&w->b, rows, s->pred + rows, &classes));
    if (classes != s->classes)
        return status_make(STATUS_INVALID, "first output: the two models differ: %lld and %lld values a sample",
                           (long long)s->classes, (long long)classes);
    /* Without the rows that fill up the last read. */
    Tensor ref = w->b.outputs[0], x = w->a.outputs[0];
    ref.rank = x.rank = 1;
    ref.dims[0] = x.dims[0] = slot->valid * classes;
    return error_add_tensors(&s->error, &ref, &x, "first output");
}

static Status check_label(const EvalJob *j, const Slot *slot, int64_t row, int64_t classes) {
    int64_t label = slot->labels[row];
    if (label >= 0 && label < classes) return NULL;
    char name[256];
    return status_make(
        STATUS_INVALID,
        "sample %s: expected a label from 0 to %lld (the classes of the first output), found %lld: check "
        "the labels and --label-offset",
        dataset_sample_name(j->ds, slot->index, row, name, sizeof name), (long long)classes - 1, (long long)label);
}

static void count_pair(PairedCounts *p, bool labelled, bool a, bool b, bool agree) {
    p->samples++;
    p->agree += agree;
    if (!labelled) return;
    p->both += a && b;
    p->only_a += a && !b;
    p->only_b += !a && b;
    p->neither += !a && !b;
}

static Status eval_emit(void *job, const Slot *slot) {
    const EvalJob *j = job;
    const EvalSlot *s = slot->result;
    EvalResult *r = j->result;
    int64_t rows = dataset_rows(j->ds);
    error_merge(&r->first_output, &s->error);
    for (int64_t row = 0; row < slot->valid; row++) {
        if (r->has_labels) TRY(check_label(j, slot, row, s->classes));
        int64_t label = slot->labels[row], a = s->pred[row], b = j->b ? s->pred[rows + row] : -1;
        bool right_a = r->has_labels && a == label, right_b = r->has_labels && j->b && b == label;
        r->samples++;
        r->correct_a += right_a;
        r->correct_b += right_b;
        if (j->b) count_pair(&r->paired, r->has_labels, right_a, right_b, a == b);
        if (j->record) j->record(j->ctx, &(SampleRecord){slot->index, row, r->has_labels ? label : -1, a, b});
    }
    return NULL;
}

Status evaluate(const EvalModel *a, const EvalModel *b, Dataset *ds, const RunOptions *o,
                void (*record)(void *ctx, const SampleRecord *r), void *ctx, EvalResult *out) {
    *out = (EvalResult){.has_labels = dataset_has_labels(ds), .has_b = b != NULL};
    EvalJob job = {a, b, ds, record, ctx, out};
    size_t preds = 2 * (size_t)dataset_rows(ds) * sizeof(int64_t);
    RunnerKind kind = {.worker_new = eval_worker,
                       .worker_free = eval_worker_free,
                       .process = eval_process,
                       .emit = eval_emit,
                       .result_bytes = sizeof(EvalSlot) + preds};
    double start = now_ms();
    Status status = runner_run(&kind, &job, ds, o);
    out->wall_ms = now_ms() - start;
    return status;
}

/* evaluate_layers */

typedef struct LayerJob {
    const EvalModel *a, *b;
    const TapPair *pairs;
    int n;
    ErrorSums *out;
} LayerJob;

typedef struct LayerWorker {
    ModelRun a, b;
    const LayerJob *job;
    Tensor *reference; /* b's values of this read, one a pair */
    ErrorSums *sums;   /* of the read */
} LayerWorker;

static Status layer_worker(void *job, void **state) {
    const LayerJob *j = job;
    LayerWorker *w = mem_zalloc(sizeof *w);
    if (!w) return status_oom();
    *state = w;
    w->job = j;
    TRY_ALLOC(w->reference = mem_zalloc((size_t)j->n * sizeof *w->reference));
    TRY(model_open(j->a, &w->a));
    return model_open(j->b, &w->b);
}

static void layer_worker_free(void *state) {
    LayerWorker *w = state;
    for (int i = 0; i < w->job->n && w->reference; i++) tensor_free(&w->reference[i]);
    mem_free(w->reference);
    model_close(&w->a);
    model_close(&w->b);
    mem_free(w);
}

static Status keep_reference(void *ctx, ValueId v, const Tensor *t, bool nhwc) {
    LayerWorker *w = ctx;
    for (int i = 0; i < w->job->n; i++)
        if (w->job->pairs[i].b == v) {
            tensor_free(&w->reference[i]);
            TRY(nhwc ? tensor_to_nchw(&w->reference[i], t) : tensor_clone(&w->reference[i], t));
        }
    return NULL;
}

static Status compare(void *ctx, ValueId v, const Tensor *t, bool nhwc) {
    LayerWorker *w = ctx;
    for (int i = 0; i < w->job->n; i++) {
        if (w->job->pairs[i].a != v || !w->reference[i].data) continue;
        Tensor straight = {0};
        if (nhwc) TRY(tensor_to_nchw(&straight, t));
        Status status = error_add_tensors(&w->sums[i], &w->reference[i], nhwc ? &straight : t, w->job->pairs[i].name);
        tensor_free(&straight);
        TRY(status);
    }
    return NULL;
}

static Status layer_process(void *job, void *state, Slot *slot) {
    const LayerJob *j = job;
    LayerWorker *w = state;
    w->sums = slot->result;
    memset(w->sums, 0, (size_t)j->n * sizeof *w->sums);
    for (int i = 0; i < j->n; i++) tensor_free(&w->reference[i]); /* a branch not taken leaves nothing behind */
    TRY(model_run_tapped(&w->b, slot->inputs, keep_reference, w));
    return model_run_tapped(&w->a, slot->inputs, compare, w);
}

static Status layer_emit(void *job, const Slot *slot) {
    const LayerJob *j = job;
    const ErrorSums *sums = slot->result;
    for (int i = 0; i < j->n; i++) error_merge(&j->out[i], &sums[i]);
    return NULL;
}

Status evaluate_layers(const EvalModel *a, const EvalModel *b, const TapPair *pairs, int n_pairs, Dataset *ds,
                       const RunOptions *o, ErrorSums *out) {
    memset(out, 0, (size_t)n_pairs * sizeof *out);
    LayerJob job = {a, b, pairs, n_pairs, out};
    RunnerKind kind = {.worker_new = layer_worker,
                       .worker_free = layer_worker_free,
                       .process = layer_process,
                       .emit = layer_emit,
                       .result_bytes = (size_t)n_pairs * sizeof(ErrorSums)};
    return runner_run(&kind, &job, ds, o);
}

/* calibrate */

typedef struct WatchJob {
    const EvalModel *model;
    const Watch *watches;
    int n;
    Observer **out;
} WatchJob;

typedef struct WatchWorker {
    ModelRun run;
    const WatchJob *job;
    Observer **observers;
} WatchWorker;

static Status new_observers(const WatchJob *j, Observer **list) {
    for (int i = 0; i < j->n; i++) TRY(observer_new(j->watches[i].channels, &list[i]));
    return NULL;
}

static void free_observers(Observer **list, int n) {
    for (int i = 0; i < n && list; i++) {
        observer_free(list[i]);
        list[i] = NULL;
    }
}

static Status watch_worker(void *job, void **state) {
    const WatchJob *j = job;
    WatchWorker *w = mem_zalloc(sizeof *w);
    if (!w) return status_oom();
    *state = w;
    w->job = j;
    TRY_ALLOC(w->observers = mem_zalloc((size_t)j->n * sizeof *w->observers));
    TRY(new_observers(j, w->observers));
    return model_open(j->model, &w->run);
}

static void watch_worker_free(void *state) {
    WatchWorker *w = state;
    free_observers(w->observers, w->job->n);
    mem_free(w->observers);
    model_close(&w->run);
    mem_free(w);
}

static Status observe(void *ctx, ValueId v, const Tensor *t, bool nhwc) {
    WatchWorker *w = ctx;
    for (int i = 0; i < w->job->n; i++)
        if (w->job->watches[i].value == v)
            TRY(observer_add_tensor(w->observers[i], t, w->job->watches[i].channel_axis, nhwc));
    return NULL;
}

static Status watch_process(void *job, void *state, Slot *slot) {
    (void)job;
    WatchWorker *w = state;
    return model_run_tapped(&w->run, slot->inputs, observe, w);
}

/* Observers do not depend on which worker saw what, so workers are merged when they end. */
static Status watch_finish(void *job, void *state) {
    const WatchJob *j = job;
    const WatchWorker *w = state;
    for (int i = 0; i < j->n; i++) TRY(observer_merge(j->out[i], w->observers[i]));
    return NULL;
}

Status calibrate(const EvalModel *m, const Watch *watches, int n, Dataset *ds, const RunOptions *o, Observer **out) {
    memset(out, 0, (size_t)n * sizeof *out);
    WatchJob job = {m, watches, n, out};
    Status status = new_observers(&job, out);
    RunnerKind kind = {.worker_new = watch_worker,
                       .worker_free = watch_worker_free,
                       .process = watch_process,
                       .worker_finish = watch_finish};
    if (!status) status = runner_run(&kind, &job, ds, o);
    if (status) free_observers(out, n);
    return status;
}
