#include "cli/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- JSON ---- */

static json_t *variant_row(const Report *r, const ReportVariant *x) {
    json_t *o = variant_json(&x->v);
    if (!o || x == &r->variants[0]) return o;
    if (x->has_difference) json_object_set_new(o, "difference", interval_json(&x->difference, 1));
    if (x->latency_ratio > 0) json_object_set_new(o, "latency_ratio", json_real(round_to(x->latency_ratio, 4)));
    json_object_set_new(o, "size_ratio", json_real(round_to((double)x->v.bytes / (double)r->variants[0].v.bytes, 4)));
    return o;
}

static json_t *layer_rows(const QuantizeReport *q) {
    json_t *rows = json_array();
    for (int i = 0; q && i < q->n_layers; i++) {
        const QuantizedLayer *l = &q->layers[i];
        json_t *row =
            json_pack("{s:s, s:s, s:s}", "name", l->name, "op", l->op, "precision", l->integer ? "int8" : "fp32");
        if (l->why) json_object_set_new(row, "why", json_string(l->why));
        json_array_append_new(rows, row);
    }
    return rows;
}

json_t *report_json(const Report *r) {
    json_t *o = json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:I}", "schema_version", 1, "tool", "pare " PARE_VERSION,
                          "model", r->model, "source_sha256", r->source_sha256, "calibration",
                          r->random_calibration ? "random" : "samples", "calibrator", r->calibrator,
                          "calibration_samples", (json_int_t)r->calib_samples);
    if (!o) return NULL;
    if (r->max_drop >= 0) json_object_set_new(o, "max_drop", json_real(r->max_drop));
    json_object_set_new(o, "chosen", json_string(r->variants[r->chosen].v.name));
    json_t *variants = json_array();
    for (int i = 0; i < r->n; i++) json_array_append_new(variants, variant_row(r, &r->variants[i]));
    json_object_set_new(o, "variants", variants);
    json_object_set_new(o, "layers", layer_rows(r->layers));
    if (r->sqnr && r->sqnr->n) json_object_set_new(o, "layer_sqnr", layers_json(r->sqnr));
    if (r->log.data) json_object_set_new(o, "search", json_string(r->log.data));
    return o;
}

/* ---- the table ---- */

typedef struct Row {
    char cell[7][64];
} Row;

static void fill_row(const Report *r, const ReportVariant *x, Row *row) {
    const Variant *v = &x->v;
    for (int i = 1; i < 7; i++) snprintf(row->cell[i], sizeof row->cell[i], "-");
    snprintf(row->cell[0], sizeof row->cell[0], "%s%s", v->name, x == &r->variants[r->chosen] ? " *" : "");
    snprintf(row->cell[1], sizeof row->cell[1], "%" PRIu64 " (%.3f)", v->bytes,
             (double)v->bytes / (double)r->variants[0].v.bytes);
    if (v->has_accuracy) {
        Interval a = variant_accuracy(v);
        snprintf(row->cell[2], sizeof row->cell[2], "%.2f [%.2f, %.2f]", a.value, a.lo, a.hi);
    }
    if (x->has_difference)
        snprintf(row->cell[3], sizeof row->cell[3], "%+.2f [%+.2f, %+.2f]", x->difference.value, x->difference.lo,
                 x->difference.hi);
    if (v->has_agreement) snprintf(row->cell[4], sizeof row->cell[4], "%.4f", v->agreement);
    const Latency *l = &v->latency;
    if (l->rounds) snprintf(row->cell[5], sizeof row->cell[5], "%.3f [%.3f, %.3f]", l->median, l->p10, l->p90);
    if (x->latency_ratio > 0) snprintf(row->cell[6], sizeof row->cell[6], "%.2fx", x->latency_ratio);
}

void report_table(const Report *r, Buf *out, bool markdown) {
    Row rows[MAX_VARIANTS + 1] = {{{"variant", "bytes (ratio)", "top-1 % [95 %]", "difference [95 %]", "agreement",
                                    "ms [p10, p90]", "speed-up"}}};
    int width[7] = {0};
    for (int i = 0; i < r->n; i++) fill_row(r, &r->variants[i], &rows[i + 1]);
    for (int i = 0; i <= r->n; i++)
        for (int k = 0; k < 7; k++) {
            int n = (int)strlen(rows[i].cell[k]);
            if (n > width[k]) width[k] = n;
        }
    for (int i = 0; i <= r->n; i++) {
        if (markdown) buf_puts(out, "| ");
        for (int k = 0; k < 7; k++)
            buf_printf(out, "%-*s%s", width[k], rows[i].cell[k], k == 6 ? "" : markdown ? " | " : "  ");
        buf_puts(out, markdown ? " |\n" : "\n");
        if (markdown && !i) buf_puts(out, "| --- | --- | --- | --- | --- | --- | --- |\n");
    }
}

/* ---- Markdown ---- */

static void markdown(const Report *r, Buf *b) {
    const Variant *base = &r->variants[0].v;
    buf_printf(b, "# %s\n\n", r->model);
    report_table(r, b, true);
    buf_printf(
        b,
        "\n\\* chosen: written as `model.onnx` and `model.pare`. Accuracy: top-1, Wilson's 95 %% interval; difference: "
        "against fp32 "
        "on the same samples, in points. Latency: one inference, %d threads, %s, taking turns; median of %d runs.\n",
        base->threads, base->isa, base->latency.rounds);
    buf_printf(b, "\nCalibrated on %" PRId64 " %s with `%s`.\n", r->calib_samples,
               r->random_calibration ? "RANDOM samples: accuracy means nothing" : "samples", r->calibrator);
    if (r->max_drop >= 0)
        buf_printf(b, "\n`--max-drop %g`:\n\n```\n%s```\n", r->max_drop,
                   r->log.data ? r->log.data : "the int8 model meets it\n");
    if (r->layers) {
        buf_printf(b, "\n## Layers\n\n%d of %d products compute in int8.\n", r->layers->n_integer, r->layers->n_layers);
        for (int i = 0; i < r->layers->n_layers; i++) {
            const QuantizedLayer *l = &r->layers->layers[i];
            if (!l->integer) buf_printf(b, "- float: %s `%s`: %s\n", l->op, l->name, l->why ? l->why : "");
        }
    }
    if (r->sqnr && r->sqnr->n) {
        buf_puts(b, "\n| layer | SQNR, dB |\n| --- | --- |\n");
        for (int i = 0; i < r->sqnr->n; i++)
            buf_printf(b, "| `%s` | %.1f%s |\n", r->sqnr->rows[i].name, r->sqnr->rows[i].sqnr_db,
                       i == r->sqnr->jump ? " (the error jumps here)" : "");
    }
}

static Status write_buf(const char *folder, const char *name, Buf *b) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    Status s = b->failed ? status_oom() : write_text(path, b->data ? b->data : "", b->len);
    buf_free(b);
    return s;
}

Status report_write(const Report *r, const char *folder) {
    char path[4096];
    snprintf(path, sizeof path, "%s/report.json", folder);
    TRY(json_write(path, report_json(r)));
    Buf md = {0}, html = {0};
    markdown(r, &md);
    TRY(write_buf(folder, "report.md", &md));
    report_html(r, &html);
    return write_buf(folder, "report.html", &html);
}
