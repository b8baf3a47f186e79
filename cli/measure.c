#include "cli/measure.h"

#include <string.h>

enum { MAX_READS = 8, MIN_RUNS = 5, WARM_RUNS = 3 };
static const double TURN_MS = 20;

static Status fill_bench(Dataset *ds, Bench *b) {
    const Graph *g = b->graph;
    b->n_inputs = (int)g->n_inputs;
    int64_t reads = dataset_reads(ds);
    b->n_reads = reads < MAX_READS ? (int)reads : MAX_READS;
    TRY_ALLOC(b->inputs = mem_zalloc((size_t)(b->n_reads * b->n_inputs + 1) * sizeof *b->inputs));
    TRY_ALLOC(b->outputs = mem_zalloc((g->n_outputs + 1) * sizeof *b->outputs));
    for (int i = 0; i < b->n_reads; i++) TRY(dataset_read(ds, i, &b->inputs[i * b->n_inputs], NULL, NULL));
    return b->backend->context(b->plan, &b->context);
}

Status bench_open(const Backend *backend, const Graph *g, Dataset *ds, int threads, Bench *out) {
    *out = (Bench){.backend = backend, .graph = g};
    Status s = plan_for(backend, g, ds, threads, NULL, 0, &out->plan);
    if (!s) s = fill_bench(ds, out);
    if (s) bench_close(out);
    return s;
}

void bench_close(Bench *b) {
    for (int i = 0; b->inputs && i < b->n_reads * b->n_inputs; i++) tensor_free(&b->inputs[i]);
    if (b->context) b->backend->context_free(b->context);
    if (b->plan) b->backend->plan_free(b->plan);
    mem_free(b->inputs);
    mem_free(b->outputs);
    mem_free(b->ms);
    *b = (Bench){0};
}

Status bench_once(Bench *b, int read) {
    return b->backend->run(b->context, &b->inputs[read % b->n_reads * b->n_inputs], b->outputs);
}

static Status timed_run(Bench *b, double *spent) {
    if (b->n == b->cap) {
        int cap = b->cap ? 2 * b->cap : 256;
        double *ms = mem_realloc(b->ms, (size_t)cap * sizeof *ms);
        TRY_ALLOC(ms);
        b->ms = ms;
        b->cap = cap;
    }
    double start = now_ms();
    TRY(bench_once(b, b->n));
    b->ms[b->n] = now_ms() - start;
    *spent += b->ms[b->n++];
    return NULL;
}

Status bench_run(Bench *b, int n, double seconds) {
    double spent[4] = {0};
    for (int k = 0; k < n; k++)
        for (int i = 0; i < WARM_RUNS; i++) TRY(bench_once(&b[k], i));
    for (bool more = true; more;) {
        more = false;
        for (int k = 0; k < n; k++) {
            double turn = 0;
            do {
                if (session_cancel) return status_make(STATUS_INTERRUPTED, "interrupted");
                TRY(timed_run(&b[k], &turn));
            } while (turn < TURN_MS);
            spent[k] += turn;
            more |= spent[k] < seconds * 1e3 || b[k].n < MIN_RUNS;
        }
    }
    return NULL;
}
