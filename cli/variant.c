#include "cli/variant.h"

#include "cli/session.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double at_rank(const double *ms, int n, double p) {
    double x = p * (n - 1);
    int i = (int)x;
    return i + 1 < n ? ms[i] + (x - i) * (ms[i + 1] - ms[i]) : ms[n - 1];
}

Latency latency_of(double *ms, int n) {
    if (n < 1) return (Latency){0};
    qsort(ms, (size_t)n, sizeof *ms, ascending);
    return (Latency){at_rank(ms, n, 0.5), at_rank(ms, n, 0.1), at_rank(ms, n, 0.9), at_rank(ms, n, 0.99), n};
}

double round_to(double v, int digits) {
    double f = pow(10, digits);
    return round(v * f) / f;
}

Interval variant_accuracy(const Variant *v) {
    Interval i = metric_wilson(v->correct, v->samples);
    return (Interval){100 * i.value, 100 * i.lo, 100 * i.hi};
}

json_t *interval_json(const Interval *i, double factor) {
    return json_pack("{s:f, s:[f, f]}", "value", round_to(factor * i->value, 4), "ci95", round_to(factor * i->lo, 4),
                     round_to(factor * i->hi, 4));
}

static json_t *accuracy_json(const Variant *v) {
    Interval a = variant_accuracy(v);
    return json_pack("{s:s, s:f, s:[f, f], s:I, s:s}", "metric", "top1", "value", round_to(a.value, 4), "ci95",
                     round_to(a.lo, 4), round_to(a.hi, 4), "samples", (json_int_t)v->samples, "data_sha256",
                     v->data_sha256);
}

json_t *variant_json(const Variant *v) {
    json_t *o =
        json_pack("{s:i, s:s, s:s, s:I, s:s, s:s, s:s, s:i, s:I}", "schema_version", 1, "name", v->name, "file",
                  v->file, "bytes", (json_int_t)v->bytes, "sha256", v->sha256, "target", v->target ? v->target : "cpu",
                  "isa", v->isa ? v->isa : "", "threads", v->threads, "batch", (json_int_t)v->batch);
    if (!o) return NULL;
    if (v->open_ms >= 0) json_object_set_new(o, "open_ms", json_real(round_to(v->open_ms, 4)));
    if (v->latency.rounds) {
        const Latency *l = &v->latency;
        json_object_set_new(o, "latency_ms",
                            json_pack("{s:f, s:f, s:f, s:f, s:i}", "median", round_to(l->median, 6), "p10",
                                      round_to(l->p10, 6), "p90", round_to(l->p90, 6), "p99", round_to(l->p99, 6),
                                      "rounds", l->rounds));
    }
    if (v->has_accuracy) json_object_set_new(o, "accuracy", accuracy_json(v));
    if (v->has_metric)
        json_object_set_new(o, "accuracy",
                            json_pack("{s:s, s:f, s:I, s:s}", "metric", "command", "value", v->metric, "samples",
                                      (json_int_t)v->samples, "data_sha256", v->data_sha256));
    if (v->has_agreement) json_object_set_new(o, "agreement", json_real(round_to(v->agreement, 6)));
    if (v->has_sqnr)
        json_object_set_new(o, "sqnr_db", isfinite(v->sqnr_db) ? json_real(round_to(v->sqnr_db, 3)) : json_null());
    json_object_set_new(o, "peak_bytes", json_integer((json_int_t)v->peak_bytes));
    return o;
}

Status json_write(const char *path, json_t *root) {
    if (!path) {
        json_decref(root);
        return NULL;
    }
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(root);
    if (!text) return status_oom();
    Buf b = {0};
    buf_printf(&b, "%s\n", text);
    free(text);
    Status s = b.failed ? status_oom() : write_text(path, b.data, b.len);
    buf_free(&b);
    return s;
}
