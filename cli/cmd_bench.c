/* pare bench: latency of a model, alone or taking turns with another. */
#include "cli/measure.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

typedef struct BenchFlags {
    const char *model, *against, *input, *backend, *trace;
    double min_time;
    int64_t batch, streams;
    bool profile;
    DataFlags data;
    CommonFlags common;
} BenchFlags;

static Status open_inputs(const BenchFlags *f, const Graph *g, Dataset **ds) {
    if (!f->input) return dataset_random_graph(g, 4, f->batch, (uint64_t)f->common.seed, ds);
    DataOptions o;
    TRY(data_options(&f->data, &f->common, &o));
    o.batch = f->batch;
    o.samples = f->data.samples;
    return dataset_open_graph(f->input, &o, g, ds);
}

/* Opens the model and times the way from the file to the first answer; preparing inputs is not part of it. */
static Status open_model(const BenchFlags *f, const Backend *backend, const char *path, Model *m, Bench *b,
                         Variant *v) {
    double start = now_ms(), paused;
    TRY(model_load(path, true, m));
    Dataset *ds = NULL;
    paused = now_ms();
    Status s = apply_shapes(m->graph, &f->data.shapes);
    if (!s) s = open_inputs(f, m->graph, &ds);
    paused = now_ms() - paused;
    int threads = session_threads(&f->common);
    if (!s) s = bench_open(backend, m->graph, ds, threads, b);
    if (!s) s = bench_once(b, 0);
    if (!s) {
        *v = (Variant){.name = m->variant,
                       .file = path,
                       .isa = backend->isa(),
                       .bytes = m->bytes,
                       .threads = threads,
                       .batch = f->batch};
        memcpy(v->sha256, m->sha256, sizeof v->sha256);
        v->open_ms = now_ms() - start - paused;
        v->target = backend->name;
    }
    dataset_free(ds);
    return s;
}

/* ---- --streams: independent contexts side by side ---- */

typedef struct Stream {
    pthread_t thread;
    Bench *bench;
    Context *context;
    double seconds;
    int64_t runs;
    Status status;
} Stream;

static void *run_stream(void *arg) {
    Stream *s = arg;
    const Bench *b = s->bench;
    Tensor *outputs = mem_zalloc((b->graph->n_outputs + 1) * sizeof *outputs);
    s->status = outputs ? NULL : status_oom();
    double end = now_ms() + s->seconds * 1e3;
    while (!s->status && now_ms() < end && !session_cancel)
        s->status = b->backend->run(s->context, &b->inputs[s->runs++ % b->n_reads * b->n_inputs], outputs);
    mem_free(outputs);
    return NULL;
}

static Status run_streams(Bench *b, int n, double seconds, double *per_second) {
    Stream *streams = mem_zalloc((size_t)n * sizeof *streams);
    if (!streams) return status_oom();
    Status s = NULL;
    int started = 0;
    for (int i = 0; !s && i < n; i++) {
        streams[i] = (Stream){.bench = b, .seconds = seconds};
        s = b->backend->context(b->plan, &streams[i].context);
    }
    double start = now_ms();
    for (; !s && started < n; started++)
        if (pthread_create(&streams[started].thread, NULL, run_stream, &streams[started]))
            s = status_make(STATUS_ENVIRONMENT, "%d streams could not be started", n);
    int64_t runs = 0;
    for (int i = 0; i < started; i++) {
        pthread_join(streams[i].thread, NULL);
        runs += streams[i].runs;
        if (!s) s = streams[i].status;
    }
    *per_second = (double)runs * 1e3 / (now_ms() - start);
    for (int i = 0; i < n; i++)
        if (streams[i].context) b->backend->context_free(streams[i].context);
    mem_free(streams);
    return s;
}

/* ---- --profile, --trace ---- */

static Status profile(Bench *b, const char *trace, bool print) {
    enum { RUNS = 20 };
    const double *ms;
    const StepInfo *steps;
    int n = b->backend->steps(b->plan, &steps);
    b->backend->profile(b->context, true, &ms);
    double *before = mem_alloc((size_t)(n + 1) * sizeof *before), total = 0;
    if (!before) return status_oom();
    memcpy(before, ms, (size_t)n * sizeof *before);
    for (int i = 0; i < RUNS; i++) TRY(bench_once(b, i));
    b->backend->profile(b->context, false, &ms);
    Buf t = {0};
    buf_puts(&t, "[");
    for (int i = 0; i < n; i++) {
        double mean = (ms[i] - before[i]) / RUNS;
        json_t *e =
            json_pack("{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:s}}", "name", steps[i].name, "cat", steps[i].op, "ph",
                      "X", "ts", total * 1e3, "dur", mean * 1e3, "pid", 1, "tid", 1, "args", "kernel", steps[i].kernel);
        char *text = json_dumps(e, JSON_COMPACT | JSON_REAL_PRECISION(9));
        buf_printf(&t, "%s%s", i ? ",\n" : "", text ? text : "{}");
        free(text);
        json_decref(e);
        if (print) printf("%9.4f ms  %-28.28s %-22.22s %s\n", mean, steps[i].name, steps[i].op, steps[i].kernel);
        total += mean;
    }
    if (print) printf("%9.4f ms  total of %d steps\n", total, n);
    buf_puts(&t, "]\n");
    Status s = trace ? write_text(trace, t.data, t.len) : NULL;
    buf_free(&t);
    mem_free(before);
    return s;
}

static void print_line(const Variant *v) {
    const Latency *l = &v->latency;
    printf("%s: %.3f ms median (p10 %.3f, p90 %.3f, p99 %.3f, %d runs), open %.1f ms, %d threads, batch %" PRId64
           ", %s\n",
           v->file, l->median, l->p10, l->p90, l->p99, l->rounds, v->open_ms, v->threads, v->batch, v->isa);
}

static Status report(const BenchFlags *f, Variant *v, int n, double per_second) {
    bool text = !f->common.quiet && !(f->common.json && !strcmp(f->common.json, "-"));
    for (int i = 0; i < n && text; i++) print_line(&v[i]);
    if (n == 2 && text)
        printf("ratio %.3f (above 1: %s is faster)\n", v[1].latency.median / v[0].latency.median, v[0].file);
    if (per_second > 0 && text) printf("%d streams: %.1f runs a second\n", (int)f->streams, per_second);
    if (!f->common.json) return NULL;
    json_t *root = variant_json(&v[0]);
    if (root && n == 2) {
        json_object_set_new(root, "against", variant_json(&v[1]));
        json_object_set_new(root, "latency_ratio", json_real(round_to(v[1].latency.median / v[0].latency.median, 4)));
    }
    if (root && per_second > 0) {
        json_object_set_new(root, "streams", json_integer(f->streams));
        json_object_set_new(root, "runs_per_second", json_real(round_to(per_second, 3)));
    }
    return json_write(f->common.json, root);
}

static Status bench(const BenchFlags *f) {
    const Backend *backend;
    TRY(session_backend(f->backend, &backend));
    const char *paths[2] = {f->model, f->against};
    int n = f->against ? 2 : 1;
    Model m[2] = {0};
    Bench b[2] = {0};
    Variant v[2] = {0};
    Status s = NULL;
    for (int i = 0; !s && i < n; i++) s = open_model(f, backend, paths[i], &m[i], &b[i], &v[i]);
    if (!s) s = bench_run(b, n, f->min_time);
    double per_second = 0;
    if (!s && f->streams > 1) s = run_streams(&b[0], (int)f->streams, f->min_time, &per_second);
    for (int i = 0; !s && i < n; i++) {
        v[i].latency = latency_of(b[i].ms, b[i].n);
        v[i].peak_bytes = peak_bytes();
    }
    if (!s && (f->profile || f->trace)) s = profile(&b[0], f->trace, f->profile && !f->common.quiet);
    if (!s) s = report(f, v, n, per_second);
    for (int i = 0; i < n; i++) {
        bench_close(&b[i]);
        model_free(&m[i]);
    }
    return s;
}

Status cmd_bench(int argc, char **argv) {
    BenchFlags f = {.min_time = 1, .batch = 1, .streams = 1};
    const Option options[] = {
        {"--model", "-m", OPT_STRING, &f.model, "FILE", "model: .onnx or .pare"},
        {"--against", NULL, OPT_STRING, &f.against, "FILE", "another model; both take turns"},
        {"--input", NULL, OPT_STRING, &f.input, "DATA", "real samples (default: seeded random numbers)"},
        {"--min-time", NULL, OPT_REAL, &f.min_time, "SECONDS", "time to measure each model (default 1)"},
        {"--batch", NULL, OPT_INT, &f.batch, "N", "rows of one run, for models with a symbolic batch"},
        {"--streams", NULL, OPT_INT, &f.streams, "N", "also: runs a second of N contexts side by side"},
        {"--profile", NULL, OPT_FLAG, &f.profile, NULL, "time of every step"},
        {"--trace", NULL, OPT_STRING, &f.trace, "FILE", "steps as a Chrome trace"},
        {"--backend", NULL, OPT_STRING, &f.backend, "NAME", "cpu (default) or ref"},
        DATA_OPTIONS(f.data),
        SHAPE_OPTION(f.data),
    };
    const Command *c = command_find("bench");
    bool help;
    TRY(args_parse(c, argc, argv, options, N_OPTIONS(options), &f.common, NULL, &help));
    if (help) return NULL;
    TRY(args_require(c, "-m MODEL", f.model));
    if (f.batch < 1 || f.batch > 65536) return status_make(STATUS_USAGE, "--batch must be between 1 and 65536");
    if (f.streams < 1 || f.streams > 256) return status_make(STATUS_USAGE, "--streams must be between 1 and 256");
    if (f.min_time <= 0 || f.min_time > 3600)
        return status_make(STATUS_USAGE, "--min-time must be above 0 and at most 3600");
    return bench(&f);
}
