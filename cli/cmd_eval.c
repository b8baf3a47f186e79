/* pare eval: task accuracy on labelled data, alone or paired with another model. */
#include "cli/accuracy.h"
#include "frontend/npz.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

typedef struct EvalFlags {
    const char *model, *against, *data_path, *backend, *per_sample, *metric_cmd;
    DataFlags data;
    CommonFlags common;
} EvalFlags;

/* ---- --per-sample ---- */

typedef struct SampleFile {
    Buf text;
    const Dataset *ds;
    bool paired;
} SampleFile;

static void add_sample(void *ctx, const SampleRecord *r) {
    SampleFile *f = ctx;
    char name[512];
    dataset_sample_name(f->ds, r->read, r->row, name, sizeof name);
    buf_printf(&f->text, "%s,%" PRId64 ",%" PRId64, name, r->label, r->pred_a);
    if (f->paired) buf_printf(&f->text, ",%" PRId64, r->pred_b);
    buf_puts(&f->text, "\n");
}

/* ---- --metric-cmd ---- */

typedef struct MetricSink {
    NpzWriter *writer;
    const Graph *g;
} MetricSink;

static Status add_outputs(void *ctx, int64_t index, int64_t valid, const int64_t *labels, const Tensor *outputs) {
    MetricSink *s = ctx;
    (void)index;
    for (uint32_t k = 0; k < s->g->n_outputs; k++)
        TRY(npz_append(s->writer, s->g->values[s->g->outputs[k]].name, &outputs[k]));
    for (int64_t i = 0; i < valid; i++) {
        Tensor t;
        TRY(tensor_view(&t, ELEM_I64, 0, NULL, &labels[i]));
        TRY(npz_append(s->writer, "labels", &t));
    }
    return NULL;
}

/* Runs `command FILE.npz` and reads the number that it prints. */
static Status run_command(const char *command, const char *file, double *out) {
    Buf line = {0};
    buf_printf(&line, "%s '%s'", command, file);
    if (line.failed) return status_oom();
    FILE *p = popen(line.data, "r");
    buf_free(&line);
    if (!p) return status_make(STATUS_ENVIRONMENT, "--metric-cmd cannot be started: %s", strerror(errno));
    char text[256] = "";
    size_t n = fread(text, 1, sizeof text - 1, p);
    text[n] = 0;
    int code = pclose(p);
    char *end;
    *out = strtod(text, &end);
    if (code || end == text || !isfinite(*out))
        return status_make(STATUS_ENVIRONMENT,
                           "--metric-cmd '%s' ended with code %d and printed '%.60s'; a number is expected", command,
                           WIFEXITED(code) ? WEXITSTATUS(code) : code, text);
    return NULL;
}

static Status measure_by_command(const EvalFlags *f, const Scored *x, Dataset *ds, Variant *v) {
    char file[] = "/tmp/pare-outputs-XXXXXX.npz";
    int fd = mkstemps(file, 4);
    if (fd < 0) return status_make(STATUS_ENVIRONMENT, "no temporary file can be made: %s", strerror(errno));
    close(fd);
    MetricSink sink = {.g = x->model.graph};
    Progress p = progress_new("eval", &f->common);
    RunOptions o = session_run_options(&f->common, &p);
    Status s = npz_writer_open(file, false, &sink.writer);
    if (!s) {
        s = run_dataset(&x->eval, ds, &o, add_outputs, &sink);
        if (s)
            npz_writer_abort(sink.writer);
        else
            s = npz_writer_close(sink.writer);
    }
    if (!s) s = run_command(f->metric_cmd, file, &v->metric);
    v->has_metric = !s;
    v->samples = dataset_samples(ds);
    unlink(file);
    return s;
}

/* ---- the report ---- */

static void print_eval(const EvalFlags *f, const Variant *v, const EvalResult *r, const LayerList *layers) {
    if (f->common.quiet || (f->common.json && !strcmp(f->common.json, "-"))) return;
    if (v[0].has_metric)
        printf("%s: %.6g by %s, %" PRId64 " samples\n", v[0].file, v[0].metric, f->metric_cmd, v[0].samples);
    for (int i = 0; i < (f->against ? 2 : 1) && v[i].has_accuracy; i++) {
        Interval a = variant_accuracy(&v[i]);
        printf("%s: top-1 %.3f %% [%.3f, %.3f], %" PRId64 " samples\n", v[i].file, a.value, a.lo, a.hi, v[i].samples);
    }
    if (!f->against || v[0].has_metric) return;
    Interval d = metric_paired_difference(&r->paired);
    if (r->has_labels) printf("difference %.3f points [%.3f, %.3f], paired\n", 100 * d.value, 100 * d.lo, 100 * d.hi);
    printf("agreement %.4f, output SQNR %.2f dB\n", v[0].agreement, v[0].sqnr_db);
    print_layers(layers);
}

static Status report(const EvalFlags *f, const Variant *v, const EvalResult *r, const LayerList *layers) {
    print_eval(f, v, r, layers);
    if (!f->common.json) return NULL;
    json_t *root = variant_json(&v[0]);
    if (root && f->against) {
        json_object_set_new(root, "against", variant_json(&v[1]));
        Interval d = metric_paired_difference(&r->paired);
        if (r->has_labels) json_object_set_new(root, "difference", interval_json(&d, 100));
        if (layers->n) json_object_set_new(root, "layers", layers_json(layers));
    }
    return json_write(f->common.json, root);
}

static Status eval_models(const EvalFlags *f, Scored x[2], Dataset *ds) {
    Variant v[2] = {0};
    EvalResult r = {0};
    LayerList layers = {0};
    SampleFile samples = {.ds = ds, .paired = f->against != NULL};
    Progress p = progress_new("eval", &f->common);
    RunOptions o = session_run_options(&f->common, &p);
    buf_puts(&samples.text, f->against ? "sample,label,prediction,against\n" : "sample,label,prediction\n");
    char data[SHA256_HEX];
    Status s = dataset_sha256(ds, data);
    for (int i = 0; !s && i < (f->against ? 2 : 1); i++) v[i] = scored_variant(&x[i], &f->common, data);
    if (!s && f->metric_cmd)
        s = measure_by_command(f, &x[0], ds, &v[0]);
    else if (!s)
        s = evaluate(&x[0].eval, f->against ? &x[1].eval : NULL, ds, &o, f->per_sample ? add_sample : NULL, &samples,
                     &r);
    if (!s && !f->metric_cmd) take_accuracy(&r, &v[0], f->against ? &v[1] : NULL);
    if (!s && f->against && !f->metric_cmd)
        s = compare_layers(x[0].model.path, x[1].model.path, ds, &f->common, &layers);
    if (!s && f->per_sample)
        s = samples.text.failed ? status_oom() : write_text(f->per_sample, samples.text.data, samples.text.len);
    v[0].peak_bytes = v[1].peak_bytes = peak_bytes();
    if (!s) s = report(f, v, &r, &layers);
    layers_free(&layers);
    buf_free(&samples.text);
    return s;
}

static Status eval(const EvalFlags *f) {
    const Backend *b;
    TRY(session_backend(f->backend, &b));
    Scored x[2] = {0};
    Dataset *ds = NULL;
    Status s = model_load(f->model, true, &x[0].model);
    if (!s && f->against) s = model_load(f->against, true, &x[1].model);
    for (int i = 0; !s && i < (f->against ? 2 : 1); i++) s = apply_shapes(x[i].model.graph, &f->data.shapes);
    bool labels_needed = !f->against && !f->metric_cmd;
    if (!s)
        s = open_data(f->data_path, &f->data, &f->common, false, labels_needed, f->data.samples, x[0].model.graph, &ds);
    for (int i = 0; !s && i < (f->against ? 2 : 1); i++) s = scored_plan(&x[i], b, ds);
    if (!s) s = eval_models(f, x, ds);
    dataset_free(ds);
    for (int i = 0; i < 2; i++) scored_free(&x[i]);
    return s;
}

Status cmd_eval(int argc, char **argv) {
    EvalFlags f = {0};
    const Option options[] = {
        {"--model", "-m", OPT_STRING, &f.model, "FILE", "model: .onnx or .pare"},
        {"--data", NULL, OPT_STRING, &f.data_path, "DATA", "labelled samples"},
        {"--against", NULL, OPT_STRING, &f.against, "FILE",
         "the original: paired difference, agreement, SQNR by layer"},
        {"--per-sample", NULL, OPT_STRING, &f.per_sample, "FILE.csv", "label and predictions of every sample"},
        {"--metric-cmd", NULL, OPT_STRING, &f.metric_cmd, "CMD",
         "program that gets an .npz of outputs and labels and prints a number"},
        {"--backend", NULL, OPT_STRING, &f.backend, "NAME", "cpu (default) or ref"},
        DATA_OPTIONS(f.data),
        SHAPE_OPTION(f.data),
    };
    const Command *c = command_find("eval");
    bool help;
    TRY(args_parse(c, argc, argv, options, N_OPTIONS(options), &f.common, NULL, &help));
    if (help) return NULL;
    TRY(args_require(c, "-m MODEL", f.model));
    TRY(args_require(c, "--data DATA", f.data_path));
    return eval(&f);
}
