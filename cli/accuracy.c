#include "cli/accuracy.h"

#include "frontend/onnx_model.h"
#include "ir/op.h"
#include "passes/pass.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

Status scored_plan(Scored *x, const Backend *b, Dataset *ds) {
    const Graph *g = x->model.graph;
    TRY(plan_for(b, g, ds, 1, NULL, 0, &x->plan));
    x->eval = (EvalModel){.backend = b, .plan = x->plan, .n_inputs = (int)g->n_inputs, .n_outputs = (int)g->n_outputs};
    return NULL;
}

void scored_free(Scored *x) {
    if (x->plan) x->eval.backend->plan_free(x->plan);
    model_free(&x->model);
    x->plan = NULL;
}

Variant scored_variant(const Scored *x, const CommonFlags *c, const char *data_sha256) {
    const Model *m = &x->model;
    Variant v = {.name = m->variant,
                 .file = m->path,
                 .target = x->eval.backend->name,
                 .isa = x->eval.backend->isa(),
                 .bytes = m->bytes};
    v.threads = session_threads(c);
    v.batch = 1;
    v.open_ms = -1;
    memcpy(v.sha256, m->sha256, sizeof v.sha256);
    memcpy(v.data_sha256, data_sha256, sizeof v.data_sha256);
    return v;
}

void take_accuracy(const EvalResult *r, Variant *a, Variant *b) {
    a->samples = r->samples;
    a->has_accuracy = r->has_labels;
    a->correct = r->correct_a;
    if (!b) return;
    b->samples = r->samples;
    b->has_accuracy = r->has_labels;
    b->correct = r->correct_b;
    a->has_agreement = a->has_sqnr = true;
    a->agreement = metric_agreement(&r->paired).value;
    a->sqnr_db = error_sqnr_db(&r->first_output);
}

/* ---- layers ---- */

void layers_free(LayerList *l) {
    for (int i = 0; i < l->n; i++) mem_free(l->rows[i].name);
    mem_free(l->rows);
    *l = (LayerList){0};
}

void print_layers(const LayerList *l) {
    if (!l->n) return;
    printf("SQNR by layer, dB:\n");
    for (int i = 0; i < l->n; i++)
        printf("  %8.2f  %s%s\n", l->rows[i].sqnr_db, l->rows[i].name,
               i == l->jump ? "   <- the error jumps here" : "");
}

json_t *layers_json(const LayerList *l) {
    json_t *a = json_array();
    for (int i = 0; i < l->n; i++) {
        double s = l->rows[i].sqnr_db;
        json_array_append_new(a, json_pack("{s:s, s:o}", "name", l->rows[i].name, "sqnr_db",
                                           isfinite(s) ? json_real(round_to(s, 3)) : json_null()));
    }
    return a;
}

/* The value of graph a that stands for v of b: the same name, or what quantization makes of it. */
static ValueId twin(const Graph *a, const char *name) {
    char buf[512];
    snprintf(buf, sizeof buf, "%s_dequantized", name);
    ValueId v = graph_find_value(a, buf);
    return v != NO_ID ? v : graph_find_value(a, name);
}

static bool comparable(const Graph *g, ValueId v) {
    const Value *x = &g->values[v];
    return x->producer != NO_ID && !g->nodes[x->producer].dead && x->type.kind == TYPE_TENSOR &&
           x->type.elem == ELEM_F32 && !x->constant;
}

enum { LAYER_READS = 16 };

static Status measure_pairs(const Graph *a, const Graph *b, const TapPair *pairs, int n, Dataset *ds,
                            const CommonFlags *c, ErrorSums *sums) {
    ValueId *ids = mem_alloc((size_t)(2 * n + 1) * sizeof *ids);
    if (!ids) return status_oom();
    for (int i = 0; i < n; i++) ids[i] = pairs[i].a, ids[n + i] = pairs[i].b;
    const Backend *cpu = backend_find("cpu");
    Plan *pa = NULL, *pb = NULL;
    Dataset *head = NULL;
    Status s = dataset_head(ds, LAYER_READS, &head);
    if (!s) s = plan_for(cpu, a, head, 1, ids, (uint32_t)n, &pa);
    if (!s) s = plan_for(cpu, b, head, 1, ids + n, (uint32_t)n, &pb);
    if (!s) {
        Progress p = {0};
        RunOptions o = session_run_options(c, &p);
        EvalModel ma = {.backend = cpu, .plan = pa, .n_inputs = (int)a->n_inputs, .n_outputs = (int)a->n_outputs},
                  mb = ma;
        mb.plan = pb;
        mb.n_outputs = (int)b->n_outputs;
        s = evaluate_layers(&ma, &mb, pairs, n, head, &o, sums);
    }
    if (pa) cpu->plan_free(pa);
    if (pb) cpu->plan_free(pb);
    dataset_free(head);
    mem_free(ids);
    return s;
}

static Status fill_rows(const TapPair *pairs, const ErrorSums *sums, int n, LayerList *out) {
    TRY_ALLOC(out->rows = mem_zalloc((size_t)(n + 1) * sizeof *out->rows));
    double worst = 0;
    out->jump = -1;
    for (int i = 0; i < n; i++) {
        TRY_ALLOC(out->rows[i].name = mem_strdup(pairs[i].name));
        out->rows[i].sqnr_db = error_sqnr_db(&sums[i]);
        out->n++;
        double fall = i && isfinite(out->rows[i - 1].sqnr_db) ? out->rows[i - 1].sqnr_db - out->rows[i].sqnr_db : 0;
        if (fall > worst && fall > 3) worst = fall, out->jump = i;
    }
    return NULL;
}

Status compare_graphs(const Graph *a, const Graph *b, Dataset *ds, const CommonFlags *c, LayerList *out) {
    *out = (LayerList){.jump = -1};
    TapPair *pairs = mem_alloc((b->n_order + 1) * sizeof *pairs);
    ErrorSums *sums = mem_zalloc((b->n_order + 1) * sizeof *sums);
    Status s = pairs && sums ? NULL : status_oom();
    int n = 0;
    FOR_NODES (b, id, node) {
        (void)id;
        if (s || !pairs || node->n_out != 1) continue;
        ValueId v = node->out[0], w = twin(a, b->values[v].name);
        bool fits =
            w != NO_ID && comparable(a, w) && comparable(b, v) && a->values[w].type.rank == b->values[v].type.rank;
        if (fits) pairs[n++] = (TapPair){w, v, b->values[v].name};
    }
    if (!s && n) s = measure_pairs(a, b, pairs, n, ds, c, sums);
    if (!s) s = fill_rows(pairs, sums, n, out);
    mem_free(pairs);
    mem_free(sums);
    if (s) layers_free(out);
    return s;
}

Status compare_layers(const char *model, const char *original, Dataset *ds, const CommonFlags *c, LayerList *out) {
    *out = (LayerList){.jump = -1};
    Model a = {0}, b = {0};
    Status s = model_load(model, false, &a);
    if (!s) s = model_load(original, false, &b);
    /* The original gets the passes that came before quantization, so that fused values carry the same names. */
    bool plain = !s && !a.artifact && !b.artifact;
    if (plain) s = pipeline_run(b.graph, PIPELINE_OPTIMIZE, &(PipelineOptions){0});
    if (plain && !s) s = compare_graphs(a.graph, b.graph, ds, c, out);
    model_free(&a);
    model_free(&b);
    return s;
}
