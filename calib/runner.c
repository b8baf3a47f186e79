#include "calib/runner.h"

#include <pthread.h>
#include <string.h>

enum { SLOTS_PER_WORKER = 4 };

typedef struct Runner {
    const RunnerKind *kind;
    void *job;
    Dataset *ds;
    const RunOptions *o;
    int64_t total, cursor;
    pthread_mutex_t lock;
    pthread_cond_t moved; /* `emitted` grew, or the run stops */
    Slot *slots;          /* read i lies in slot i % n_slots */
    int64_t n_slots;
    int64_t taken;   /* reads that workers have asked for; they get numbers below this */
    int64_t emitted; /* reads handed on */
    bool emitting;
    Status status;
    int64_t failed; /* read of `status`; INT64_MAX while all is well: reads before it are still handed on */
} Runner;

/* Keeps the error of the earliest read. Called with the lock. */
static void fail(Runner *r, Status status, int64_t index) {
    if (index < r->failed) {
        status_free(r->status);
        r->status = status;
        r->failed = index;
    } else {
        status_free(status);
    }
    pthread_cond_broadcast(&r->moved);
}

/* Waits until the window has room for one more read; false when there is nothing left to do. Called with the lock. */
static bool reserve(Runner *r) {
    while (r->failed == INT64_MAX && r->taken < r->total && r->taken - r->emitted >= r->n_slots)
        pthread_cond_wait(&r->moved, &r->lock);
    if (r->o->cancel && __atomic_load_n(r->o->cancel, __ATOMIC_RELAXED))
        fail(r, status_make(STATUS_INTERRUPTED, "interrupted"), r->taken);
    if (r->failed != INT64_MAX || r->taken >= r->total) return false;
    r->taken++;
    return true;
}

/* Hands on what is complete, in order. One thread at a time; the others go on. Called with the lock. */
static void emit_ready(Runner *r) {
    if (r->emitting) return;
    r->emitting = true;
    while (r->emitted < r->total && r->emitted < r->failed) {
        Slot *slot = &r->slots[r->emitted % r->n_slots];
        if (!slot->done) break;
        pthread_mutex_unlock(&r->lock);
        Status status = r->kind->emit ? r->kind->emit(r->job, slot) : NULL;
        if (!status && r->o->progress) r->o->progress(r->o->progress_ctx, slot->index + 1, r->total);
        pthread_mutex_lock(&r->lock);
        if (status) {
            fail(r, status, slot->index);
            break;
        }
        slot->done = false;
        r->emitted++;
        pthread_cond_broadcast(&r->moved);
    }
    r->emitting = false;
}

/* What a worker reads into. Reads get their number inside dataset_next, so that streams are read in order; the number
 * then names the slot. */
typedef struct Desk {
    Tensor *inputs;
    int64_t *labels;
} Desk;

static Status desk_new(const Runner *r, Desk *d) {
    TRY_ALLOC(d->inputs = mem_zalloc((size_t)dataset_inputs(r->ds) * sizeof *d->inputs));
    TRY_ALLOC(d->labels = mem_alloc((size_t)dataset_rows(r->ds) * sizeof *d->labels));
    return NULL;
}

static void desk_free(const Runner *r, Desk *d) {
    for (int i = 0; i < dataset_inputs(r->ds) && d->inputs; i++) tensor_free(&d->inputs[i]);
    mem_free(d->inputs);
    mem_free(d->labels);
}

static Status work_once(Runner *r, void *state, Desk *d, int64_t *index) {
    int64_t valid = 0;
    TRY(dataset_next(r->ds, &r->cursor, d->inputs, d->labels, &valid, index));
    Slot *slot = &r->slots[*index % r->n_slots];
    slot->index = *index;
    slot->valid = valid;
    slot->inputs = d->inputs;
    memcpy(slot->labels, d->labels, (size_t)dataset_rows(r->ds) * sizeof *d->labels);
    return r->kind->process(r->job, state, slot);
}

static void work(Runner *r, void *state, Desk *d) {
    pthread_mutex_lock(&r->lock);
    while (reserve(r)) {
        int64_t index = 0;
        pthread_mutex_unlock(&r->lock);
        Status status = work_once(r, state, d, &index);
        pthread_mutex_lock(&r->lock);
        if (status)
            fail(r, status, index);
        else
            r->slots[index % r->n_slots].done = true;
        emit_ready(r);
    }
    pthread_mutex_unlock(&r->lock);
}

static void *worker(void *arg) {
    Runner *r = arg;
    void *state = NULL;
    Desk desk = {0};
    Status status = desk_new(r, &desk);
    if (!status) status = r->kind->worker_new(r->job, &state);
    if (!status) work(r, state, &desk);
    pthread_mutex_lock(&r->lock);
    if (!status && r->failed == INT64_MAX && r->kind->worker_finish) status = r->kind->worker_finish(r->job, state);
    if (status) fail(r, status, -1);
    pthread_mutex_unlock(&r->lock);
    if (state) r->kind->worker_free(state);
    desk_free(r, &desk);
    return NULL;
}

static Status slots_new(Runner *r) {
    TRY_ALLOC(r->slots = mem_zalloc((size_t)r->n_slots * sizeof *r->slots));
    for (int64_t i = 0; i < r->n_slots; i++) {
        Slot *s = &r->slots[i];
        TRY_ALLOC(s->labels = mem_alloc((size_t)dataset_rows(r->ds) * sizeof *s->labels));
        TRY_ALLOC(s->result = mem_zalloc(r->kind->result_bytes));
    }
    return NULL;
}

static void slots_free(Runner *r) {
    for (int64_t i = 0; i < r->n_slots && r->slots; i++) {
        Slot *s = &r->slots[i];
        if (s->result && r->kind->slot_free) r->kind->slot_free(r->job, s);
        mem_free(s->result);
        mem_free(s->labels);
    }
    mem_free(r->slots);
}

/* The calling thread is the first worker; threads that the system refuses are done without. */
static void run_workers(Runner *r, int threads) {
    pthread_t *ids = mem_alloc((size_t)threads * sizeof *ids);
    int started = 0;
    for (int i = 1; i < threads && ids; i++)
        if (pthread_create(&ids[started], NULL, worker, r) == 0) started++;
    (void)worker(r);
    for (int i = 0; i < started; i++) pthread_join(ids[i], NULL);
    mem_free(ids);
}

Status runner_run(const RunnerKind *kind, void *job, Dataset *ds, const RunOptions *o) {
    Runner r = {.kind = kind, .job = job, .ds = ds, .o = o, .total = dataset_reads(ds), .failed = INT64_MAX};
    int threads = o->threads > 1 ? o->threads : 1;
    if (threads > r.total) threads = (int)r.total;
    r.n_slots = (int64_t)threads * SLOTS_PER_WORKER;
    r.status = slots_new(&r);
    if (!r.status) {
        pthread_mutex_init(&r.lock, NULL);
        pthread_cond_init(&r.moved, NULL);
        run_workers(&r, threads);
        pthread_cond_destroy(&r.moved);
        pthread_mutex_destroy(&r.lock);
    }
    slots_free(&r);
    return r.status;
}

Status tensor_to_nchw(Tensor *out, const Tensor *t) {
    if (t->rank < 3) return tensor_clone(out, t);
    int64_t channels = t->dims[1], inner = 1;
    size_t item = (size_t)elem_bits(t->elem) / 8;
    for (int i = 2; i < t->rank; i++) inner *= t->dims[i];
    TRY(tensor_new(out, t->elem, t->rank, t->dims));
    const uint8_t *from = t->data;
    for (int64_t n = 0; n < t->dims[0]; n++)
        for (int64_t i = 0; i < inner; i++)
            for (int64_t c = 0; c < channels; c++, from += item)
                memcpy(out->data + (size_t)((n * channels + c) * inner + i) * item, from, item);
    return NULL;
}
