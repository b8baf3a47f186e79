/* pare optimize: the main job. Baseline, compression, search, compile, evaluation, benchmark, report. */
#include "calib/search.h"
#include "cli/compress.h"
#include "cli/measure.h"
#include "cli/report.h"
#include "frontend/artifact.h"
#include "passes/pass.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct OptimizeFlags {
    const char *model, *output, *calib, *eval, *target, *objective, *time_budget;
    double max_drop, max_ms, min_time;
    bool random, verify;
    QuantFlags quant;
    DataFlags data;
    CommonFlags common;
} OptimizeFlags;

/* One candidate: a graph (fp32 or Q/DQ), its integer form, plan and figures. */
typedef struct Candidate {
    Graph *graph;   /* as written to .onnx */
    Graph *lowered; /* as written to .pare */
    Plan *plan;     /* one thread, for evaluation */
    EvalModel eval;
    QuantizeReport layers;
} Candidate;

typedef struct Job {
    const OptimizeFlags *f;
    const Backend *backend;
    Model model;
    Dataset *calib, *eval;         /* eval may be NULL */
    Dataset *deciding, *reporting; /* parts of eval when a search decides; else reporting is eval */
    QuantSetup setup;
    Calibration *calibration;
    Candidate c[MAX_VARIANTS];
    Report report;
    LayerList sqnr;
    Progress progress;
    char data_sha256[SHA256_HEX], eval_sha256[SHA256_HEX];
    double start_ms, budget_ms;
} Job;

/* ---- candidates ---- */

static void candidate_free(const Backend *b, Candidate *c) {
    if (c->plan) b->plan_free(c->plan);
    graph_free(c->graph);
    graph_free(c->lowered);
    quantize_report_free(&c->layers);
    *c = (Candidate){0};
}

/* Takes `graph`; makes its integer form and a plan for evaluation. */
static Status candidate_init(Job *j, Graph *graph, Candidate *c) {
    c->graph = graph;
    TRY(graph_clone(graph, &c->lowered));
    TRY(pipeline_run(c->lowered, "integer,fold,dce,cse", &(PipelineOptions){.verify = j->f->verify}));
    TRY(plan_for(j->backend, c->lowered, j->eval ? j->eval : j->calib, 1, NULL, 0, &c->plan));
    const Graph *g = c->lowered;
    c->eval = (EvalModel){
        .backend = j->backend, .plan = c->plan, .n_inputs = (int)g->n_inputs, .n_outputs = (int)g->n_outputs};
    return NULL;
}

static Provenance provenance(const Job *j, bool quantized) {
    Provenance p = {.source_sha256 = j->model.sha256, .precision = quantized ? "int8" : "fp32"};
    if (!quantized) return p;
    p.data_sha256 = j->data_sha256;
    p.random_calibration = j->f->random;
    p.calibrator = j->report.calibrator;
    return p;
}

/* ---- --max-drop ---- */

typedef struct SearchLog {
    Report *report;
    bool quiet;
} SearchLog;

static void say(void *ctx, const char *line) {
    SearchLog *l = ctx;
    buf_printf(&l->report->log, "%s\n", line);
    if (!l->quiet) fprintf(stderr, "search: %s\n", line);
}

static Status measure_drop(Job *j, int k, Dataset *ds, double *drop) {
    EvalResult r;
    RunOptions o = j->setup.options.run;
    j->progress.title = "decide";
    TRY(evaluate(&j->c[k].eval, &j->c[0].eval, ds, &o, NULL, NULL, &r));
    *drop = 100.0 * (double)(r.correct_b - r.correct_a) / (double)r.samples;
    return NULL;
}

static Status search(Job *j, double *found_drop) {
    enum { RANKING_READS = 8 };
    LayerRanking ranking;
    SearchLog log = {&j->report, j->f->common.quiet};
    j->progress.title = "rank layers";
    Objective objective = j->f->objective && !strcmp(j->f->objective, "size") ? OBJECTIVE_SIZE : OBJECTIVE_LATENCY;
    TRY(rank_layers(j->model.graph, j->calibration, &j->setup.options, j->calib, RANKING_READS, objective, &ranking));
    SearchOptions s = {.max_drop = j->f->max_drop, .clock_ms = now_ms, .say = say, .ctx = &log};
    if (j->budget_ms > 0) s.deadline_ms = j->start_ms + j->budget_ms;
    SearchResult r;
    QuantizeReport layers;
    j->progress.title = "search";
    Status st = search_mixed(j->model.graph, j->calibration, &j->setup.options, &ranking, &j->c[0].eval, j->deciding,
                             &s, &r, &layers);
    ranking_free(&ranking);
    TRY(st);
    *found_drop = r.drop;
    if (!r.graph) {
        say(&log, "only the float model meets the drop");
        return NULL;
    }
    Candidate *c = &j->c[j->report.n];
    c->layers = layers;
    j->report.variants[j->report.n].v.name = "int8-mixed";
    j->report.chosen = j->report.n++;
    return candidate_init(j, r.graph, c);
}

/* Chooses between int8, a mixture and fp32 on the deciding part. */
static Status choose(Job *j) {
    j->report.chosen = 1;
    if (j->f->max_drop < 0) return NULL;
    double drop;
    TRY(measure_drop(j, 1, j->deciding, &drop));
    SearchLog log = {&j->report, j->f->common.quiet};
    char line[128];
    snprintf(line, sizeof line, "all layers in int8: drop %.3f points on the deciding half, %.3f allowed", drop,
             j->f->max_drop);
    say(&log, line);
    if (drop <= j->f->max_drop + 1e-9) return NULL;
    j->report.chosen = 0;
    return search(j, &drop);
}

/* ---- figures ---- */

/* Size and hash of what the candidate would be as .pare: written, measured, removed again. */
static Status measure_file(Job *j, int k, const char *folder, Variant *v) {
    char path[4096];
    snprintf(path, sizeof path, "%s/.%s.pare", folder, v->name);
    Provenance p = provenance(j, true);
    TRY(write_model(j->c[k].graph, path, 0, &p));
    Artifact a;
    Status s = artifact_open(path, &a);
    unlink(path);
    if (s) return s;
    v->bytes = a.bytes;
    memcpy(v->sha256, a.sha256, sizeof v->sha256);
    artifact_close(&a);
    return NULL;
}

static Status fill_variants(Job *j, const char *folder) {
    for (int k = 0; k < j->report.n; k++) {
        Variant *v = &j->report.variants[k].v;
        v->target = "cpu";
        v->isa = j->backend->isa();
        v->threads = session_threads(&j->f->common);
        v->batch = 1;
        v->open_ms = -1;
        memcpy(v->data_sha256, j->eval_sha256, sizeof v->data_sha256);
        v->file = k ? "model.pare" : j->f->model;
        if (k) {
            TRY(measure_file(j, k, folder, v));
            continue;
        }
        v->bytes = j->model.bytes;
        memcpy(v->sha256, j->model.sha256, sizeof v->sha256);
    }
    return NULL;
}

/* Accuracy of every compressed candidate, paired with fp32 on the reporting part. */
static Status evaluate_all(Job *j) {
    ReportVariant *base = &j->report.variants[0];
    for (int k = 1; j->reporting && k < j->report.n; k++) {
        ReportVariant *x = &j->report.variants[k];
        EvalResult r;
        j->progress.title = x->v.name;
        RunOptions o = j->setup.options.run;
        TRY(evaluate(&j->c[k].eval, &j->c[0].eval, j->reporting, &o, NULL, NULL, &r));
        take_accuracy(&r, &x->v, &base->v);
        Interval d = metric_paired_difference(&r.paired);
        x->difference = (Interval){100 * d.value, 100 * d.lo, 100 * d.hi};
        x->has_difference = r.has_labels;
    }
    return NULL;
}

static Status benchmark_all(Job *j) {
    Bench b[MAX_VARIANTS] = {0};
    Dataset *ds = j->eval ? j->eval : j->calib;
    Status s = NULL;
    int threads = session_threads(&j->f->common);
    for (int k = 0; !s && k < j->report.n; k++) {
        double start = now_ms();
        s = bench_open(j->backend, j->c[k].lowered, ds, threads, &b[k]);
        if (!s) s = bench_once(&b[k], 0);
        j->report.variants[k].v.open_ms = now_ms() - start;
    }
    if (!s) s = bench_run(b, j->report.n, j->f->min_time);
    for (int k = 0; !s && k < j->report.n; k++) {
        ReportVariant *x = &j->report.variants[k];
        x->v.latency = latency_of(b[k].ms, b[k].n);
        x->v.peak_bytes = peak_bytes();
        x->latency_ratio = j->report.variants[0].v.latency.median / x->v.latency.median;
    }
    for (int k = 0; k < j->report.n; k++) bench_close(&b[k]);
    return s;
}

static Status check_limits(const Job *j) {
    const ReportVariant *x = &j->report.variants[j->report.chosen];
    if (j->f->max_drop >= 0 && j->report.chosen == 0)
        return status_make(STATUS_GATE, "--max-drop %g was not met by any quantized model; the float model is written",
                           j->f->max_drop);
    if (j->f->max_drop >= 0 &&
        -x->difference.value > j->f->max_drop + 1e-9) /* counts divided: the last bits are rounding */
        return status_make(STATUS_GATE,
                           "--max-drop %g was met on the deciding half (see report.md), but on the reporting half %s "
                           "loses %.3f points",
                           j->f->max_drop, x->v.name, -x->difference.value);
    if (j->f->max_ms > 0 && x->v.latency.median > j->f->max_ms)
        return status_make(STATUS_GATE, "--max-ms %g was not met: %s takes %.3f ms", j->f->max_ms, x->v.name,
                           x->v.latency.median);
    return NULL;
}

/* ---- the job ---- */

static Status open_job(Job *j) {
    const OptimizeFlags *f = j->f;
    j->backend = backend_find("cpu");
    j->progress = progress_new("calibrate", &f->common);
    TRY(quant_setup(&f->quant, &f->common, &j->progress, &j->setup));
    TRY(model_load(f->model, true, &j->model));
    if (j->model.artifact)
        return status_make(STATUS_USAGE, "%s is compiled already; optimize the ONNX model it was made from", f->model);
    if (!strcmp(j->model.variant, "int8"))
        return status_make(STATUS_USAGE,
                           "%s is quantized already; give its float original, or compile it with 'pare compile'",
                           f->model);
    Graph *g = j->model.graph;
    TRY(apply_shapes(g, &f->data.shapes));
    TRY(open_calibration(f->calib, f->random, &f->data, &f->common, g, &j->calib));
    if (f->eval) TRY(open_data(f->eval, &f->data, &f->common, false, true, f->data.eval_samples, g, &j->eval));
    TRY(dataset_sha256(j->calib, j->data_sha256));
    if (j->eval) TRY(dataset_sha256(j->eval, j->eval_sha256));
    if (f->max_drop < 0 || !j->eval) {
        if (j->eval) TRY(dataset_head(j->eval, dataset_reads(j->eval), &j->reporting));
        return NULL;
    }
    return dataset_split(j->eval, 0.5, (uint64_t)f->common.seed, &j->deciding, &j->reporting);
}

static Status make_candidates(Job *j) {
    Report *r = &j->report;
    *r = (Report){
        .model = j->f->model, .calib = j->f->calib, .eval = j->f->eval, .source_sha256 = j->model.sha256, .n = 2};
    r->max_drop = j->f->max_drop;
    r->random_calibration = j->f->random;
    r->calibrator = calibrator_name(j->setup.options.calibrator);
    r->calib_samples = dataset_samples(j->calib);
    r->variants[0].v.name = "fp32";
    r->variants[1].v.name = "int8";
    Graph *copy;
    TRY(graph_clone(j->model.graph, &copy));
    TRY(candidate_init(j, copy, &j->c[0]));
    TRY(calibration_new(j->model.graph, j->calib, &j->setup.options, &j->calibration));
    Graph *q;
    TRY(quantize_graph(j->model.graph, j->calibration, &j->setup.options, &q, &j->c[1].layers));
    TRY(candidate_init(j, q, &j->c[1]));
    return choose(j);
}

static Status write_outputs(Job *j, const char *folder) {
    Candidate *c = &j->c[j->report.chosen];
    char path[4096];
    Provenance p = provenance(j, j->report.chosen > 0);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    TRY(write_model(c->graph, path, 0, &p));
    snprintf(path, sizeof path, "%s/model.pare", folder);
    TRY(write_model(c->graph, path, 0, &p));
    if (j->report.chosen) j->report.layers = &c->layers;
    if (j->report.chosen)
        TRY(compare_graphs(c->graph, j->model.graph, j->reporting ? j->reporting : j->calib, &j->f->common, &j->sqnr));
    j->report.sqnr = &j->sqnr;
    return report_write(&j->report, folder);
}

static void print_summary(Job *j) {
    const OptimizeFlags *f = j->f;
    if (f->common.quiet || (f->common.json && !strcmp(f->common.json, "-"))) return;
    Buf t = {0};
    report_table(&j->report, &t, false);
    fputs(t.data ? t.data : "", stdout);
    buf_free(&t);
    if (j->report.layers) print_floats(j->report.layers);
    printf("* chosen; written to %s: model.onnx, model.pare, report.json, report.md, report.html\n", f->output);
}

static Status run_job(Job *j) {
    TRY(open_job(j));
    TRY(make_candidates(j));
    TRY(fill_variants(j, j->f->output));
    TRY(evaluate_all(j));
    TRY(benchmark_all(j));
    TRY(write_outputs(j, j->f->output));
    print_summary(j);
    if (j->f->common.json) TRY(json_write(j->f->common.json, report_json(&j->report)));
    return check_limits(j);
}

static void close_job(Job *j) {
    for (int k = 0; k < MAX_VARIANTS; k++) candidate_free(j->backend, &j->c[k]);
    layers_free(&j->sqnr);
    buf_free(&j->report.log);
    calibration_free(j->calibration);
    dataset_free(j->deciding);
    dataset_free(j->reporting);
    dataset_free(j->eval);
    dataset_free(j->calib);
    model_free(&j->model);
    quant_setup_free(&j->setup);
}

/* ---- flags ---- */

/* "90", "90s", "10m", "1h" */
static Status parse_budget(const char *text, double *ms) {
    *ms = 0;
    if (!text) return NULL;
    char *end;
    double v = strtod(text, &end);
    double unit = !*end || !strcmp(end, "s") ? 1 : !strcmp(end, "m") ? 60 : !strcmp(end, "h") ? 3600 : 0;
    if (end == text || v <= 0 || unit <= 0)
        return status_make(STATUS_USAGE, "--time-budget: '%s' is no time, as in 90s or 10m", text);
    *ms = v * unit * 1e3;
    return NULL;
}

/* *created tells whether the folder is this run's own. */
static Status make_folder(const char *path, bool *created) {
    struct stat st;
    *created = false;
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return access(path, W_OK) ? status_make(STATUS_ENVIRONMENT, "%s cannot be written: %s", path, strerror(errno))
                                  : NULL;
    if (!mkdir(path, 0777)) {
        *created = true;
        return NULL;
    }
    return status_make(STATUS_ENVIRONMENT, "the folder %s cannot be made: %s", path, strerror(errno));
}

/* After a failure: what was written so far goes with the folder that was made for it. */
static void remove_folder(const char *path) {
    static const char *const names[] = {"model.onnx", "model.pare", "report.json", "report.md", "report.html"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        unlink(file);
    }
    rmdir(path);
}

static Status check_flags(const OptimizeFlags *f) {
    if (f->target && strcmp(f->target, "cpu") != 0)
        return status_make(STATUS_UNSUPPORTED, "--target %s is not supported yet; cpu is", f->target);
    if (f->objective && strcmp(f->objective, "latency") != 0 && strcmp(f->objective, "size") != 0)
        return status_make(STATUS_USAGE, "--objective: '%s' is none of latency, size", f->objective);
    if (f->max_drop >= 0 && !f->eval) return status_make(STATUS_USAGE, "--max-drop needs --eval DATA with labels");
    if (f->time_budget && f->max_drop < 0)
        return status_make(STATUS_USAGE, "--time-budget limits the search of --max-drop, which is missing");
    if (f->objective && f->max_drop < 0)
        return status_make(STATUS_USAGE, "--objective guides the search of --max-drop, which is missing");
    if (f->min_time <= 0 || f->min_time > 600)
        return status_make(STATUS_USAGE, "--min-time must be above 0 and at most 600");
    return NULL;
}

Status cmd_optimize(int argc, char **argv) {
    OptimizeFlags f = {.max_drop = -1, .min_time = 1};
    const Option options[] = {
        {"--model", "-m", OPT_STRING, &f.model, "FILE", "float model (.onnx)"},
        {"--output", "-o", OPT_STRING, &f.output, "DIR", "folder for the models and the report"},
        {"--calib", NULL, OPT_STRING, &f.calib, "DATA", "calibration samples"},
        {"--eval", NULL, OPT_STRING, &f.eval, "DATA", "labelled samples for the accuracy"},
        {"--random-calib", NULL, OPT_FLAG, &f.random, NULL, "calibrate on random numbers (only to measure speed)"},
        {"--target", NULL, OPT_STRING, &f.target, "T", "cpu (default)"},
        {"--max-drop", NULL, OPT_REAL, &f.max_drop, "POINTS",
         "largest loss of accuracy; layers go back to float until it is met"},
        {"--max-ms", NULL, OPT_REAL, &f.max_ms, "T", "largest median latency of the chosen model"},
        {"--objective", NULL, OPT_STRING, &f.objective, "WHAT",
         "what layers in float should cost little of: latency (default) or size"},
        {"--time-budget", NULL, OPT_STRING, &f.time_budget, "T", "of the search, as 90s or 10m"},
        {"--min-time", NULL, OPT_REAL, &f.min_time, "SECONDS", "of measuring each variant (default 1)"},
        {"--verify", NULL, OPT_FLAG, &f.verify, NULL, "check the graph after every pass"},
        QUANT_OPTIONS(f.quant),
        DATA_OPTIONS(f.data),
        EVAL_SAMPLES_OPTION(f.data),
        SHAPE_OPTION(f.data),
    };
    const Command *c = command_find("optimize");
    bool help;
    TRY(args_parse(c, argc, argv, options, N_OPTIONS(options), &f.common, NULL, &help));
    if (help) return NULL;
    TRY(args_require(c, "-m MODEL", f.model));
    TRY(args_require(c, "-o DIR", f.output));
    Job j = {.f = &f, .start_ms = now_ms()};
    TRY(check_flags(&f));
    TRY(parse_budget(f.time_budget, &j.budget_ms));
    bool created;
    TRY(make_folder(f.output, &created));
    Status s = run_job(&j);
    close_job(&j);
    if (s && created && status_code(s) != STATUS_GATE) remove_folder(f.output); /* a gate's outputs are whole */
    return s;
}
