/* Latency, and the plumbing of two models that are measured side by side. */
#ifndef PARE_CLI_MEASURE_H
#define PARE_CLI_MEASURE_H

#include "cli/session.h"
#include "cli/variant.h"

/* A planned model with inputs, ready to be timed. */
typedef struct Bench {
    const Backend *backend;
    Plan *plan;
    Context *context;
    const Graph *graph;
    Tensor *inputs, *outputs; /* n_reads * n_inputs; n_outputs */
    int n_reads, n_inputs;
    double *ms; /* run times */
    int n, cap;
} Bench;

/* Plans `g` for the first reads of `ds` (at most 8 of them are kept in memory). */
PARE_NODISCARD Status bench_open(const Backend *b, const Graph *g, Dataset *ds, int threads, Bench *out);
void bench_close(Bench *b);
PARE_NODISCARD Status bench_once(Bench *b, int read);
/* Takes turns among n models until each has run for `seconds` and at least 5 times: turns of about 20 ms, after a
 * warm-up. Run times are appended to ms. */
PARE_NODISCARD Status bench_run(Bench *b, int n, double seconds);

#endif
