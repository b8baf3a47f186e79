#include "cli/compress.h"

#include "frontend/artifact.h"
#include "frontend/onnx_model.h"
#include "ir/op.h"
#include "passes/pass.h"

#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- --exclude-node, --exclude-op ---- */

struct ExcludeList {
    regex_t node[64], op[64];
    int n_node, n_op;
};

static bool matches(const regex_t *r, int n, const char *text) {
    for (int i = 0; i < n; i++)
        if (!regexec(&r[i], text, 0, NULL, 0)) return true;
    return false;
}

static bool excluded(void *ctx, const Graph *g, const Node *n, const char **why) {
    const struct ExcludeList *x = ctx;
    (void)g;
    if (matches(x->node, x->n_node, n->name)) return *why = "excluded by --exclude-node", true;
    if (matches(x->op, x->n_op, n->op->name)) return *why = "excluded by --exclude-op", true;
    return false;
}

static Status compile_list(const char *flag, const StringList *texts, regex_t *out, int *n) {
    for (int i = 0; i < texts->n; i++) {
        int code = regcomp(&out[*n], texts->v[i], REG_EXTENDED | REG_NOSUB);
        if (code) {
            char reason[128];
            regerror(code, &out[*n], reason, sizeof reason);
            return status_make(STATUS_USAGE, "%s: '%s' is no regular expression: %s", flag, texts->v[i], reason);
        }
        (*n)++;
    }
    return NULL;
}

static Status exclude_new(const QuantFlags *f, struct ExcludeList **out) {
    struct ExcludeList *x = mem_zalloc(sizeof *x);
    if (!x) return status_oom();
    *out = x;
    TRY(compile_list("--exclude-node", &f->exclude_node, x->node, &x->n_node));
    return compile_list("--exclude-op", &f->exclude_op, x->op, &x->n_op);
}

/* ---- flags ---- */

static Status parse_algorithms(const char *text, bool *bias_correction) {
    *bias_correction = true;
    if (!text) return NULL;
    *bias_correction = !strcmp(text, "bias-correction");
    if (*bias_correction || !strcmp(text, "none")) return NULL;
    return status_make(STATUS_USAGE, "--algorithms: '%s' is none of bias-correction, none", text);
}

static Status fill_setup(const QuantFlags *f, const CommonFlags *c, Progress *p, QuantSetup *out) {
    QuantizeOptions *o = &out->options;
    o->run = session_run_options(c, p);
    TRY(calibrator_parse(f->calibrator ? f->calibrator : "mse", &o->calibrator));
    TRY(parse_algorithms(f->algorithms, &o->bias_correction));
    if (f->precision && strcmp(f->precision, "w8a8") != 0)
        return status_make(STATUS_UNSUPPORTED, "--precision %s is not supported yet; w8a8 is", f->precision);
    bool tensorrt = f->qdq && !strcmp(f->qdq, "tensorrt");
    if (f->qdq && !tensorrt && strcmp(f->qdq, "ort") != 0)
        return status_make(STATUS_USAGE, "--qdq: '%s' is none of ort, tensorrt", f->qdq);
    o->config = (QuantConfig){.activation = tensorrt ? ELEM_I8 : ELEM_U8,
                              .symmetric = tensorrt,
                              .float_bias = tensorrt,
                              .per_tensor = f->per_tensor,
                              .reduce_range = f->reduce_range};
    if (!f->exclude_node.n && !f->exclude_op.n) return NULL;
    TRY(exclude_new(f, &out->exclude));
    o->config.keep_float = excluded;
    o->config.ctx = out->exclude;
    return NULL;
}

Status quant_setup(const QuantFlags *f, const CommonFlags *c, Progress *p, QuantSetup *out) {
    *out = (QuantSetup){0};
    Status s = fill_setup(f, c, p, out);
    if (s) quant_setup_free(out);
    return s;
}

void quant_setup_free(QuantSetup *s) {
    struct ExcludeList *x = s->exclude;
    for (int i = 0; x && i < x->n_node; i++) regfree(&x->node[i]);
    for (int i = 0; x && i < x->n_op; i++) regfree(&x->op[i]);
    mem_free(x);
    *s = (QuantSetup){0};
}

Status open_calibration(const char *path, bool random, const DataFlags *f, const CommonFlags *c, const Graph *g,
                        Dataset **out) {
    if (path && random) return status_make(STATUS_USAGE, "--calib and --random-calib exclude each other");
    if (path) return open_data(path, f, c, true, false, f->samples, g, out);
    if (random) return dataset_random_graph(g, f->samples ? f->samples : 32, 1, (uint64_t)c->seed, out);
    return status_make(STATUS_USAGE,
                       "int8 needs calibration data: give --calib DATA (or --random-calib, which only measures speed)");
}

/* ---- writing ---- */

static bool ends_with(const char *path, const char *suffix) {
    size_t n = strlen(path), k = strlen(suffix);
    return n > k && !strcmp(path + n - k, suffix);
}

bool is_artifact_path(const char *path) { return ends_with(path, ".pare"); }

Status check_output(const char *path) {
    if (!ends_with(path, ".onnx") && !ends_with(path, ".pare"))
        return status_make(STATUS_USAGE, "%s: the output's extension chooses its format: .onnx or .pare", path);
    char folder[4096];
    const char *slash = strrchr(path, '/');
    snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
    if (!access(folder, W_OK)) return NULL;
    return status_make(STATUS_ENVIRONMENT, "%s cannot be written: %s: %s", path, folder, strerror(errno));
}

/* The weight as a bf16 constant behind a Cast, which makes its products compute in bf16 (backends/cpu/bf16.h). */
static Status store_bf16(Graph *g, ValueId w, ValueId *out) {
    const Tensor *t = g->values[w].constant;
    Tensor narrow;
    TRY(tensor_new(&narrow, ELEM_BF16, t->rank, t->dims));
    for (int64_t i = 0, n = tensor_count(t); i < n; i++) tensor_set_f64(&narrow, i, tensor_get_f64(t, i));
    ValueId stored;
    NodeId cast;
    TRY(graph_add_constant(g, g->values[w].name, narrow, &stored));
    TRY(graph_build(g, "", "Cast", g->values[w].name, 1, &stored, out, &cast));
    return attr_set_int(g, cast, "to", ELEM_F32); /* ElemType has ONNX's numbers */
}

/* A float product that has a bf16 form. Depthwise convolutions have none, and few weights. */
static bool computes_in_bf16(const Node *n, const Tensor *w) {
    if (w->elem != ELEM_F32) return false;
    if (op_is(n, "Conv")) return w->rank < 2 || w->dims[1] > 1 || attr_int(n, "group") == 1;
    return op_is(n, "Gemm") || op_is(n, "MatMul");
}

/* Stores the weights of those products in bf16, those of several products once. */
static Status narrow_weights(Graph *g) {
    ValueId *stored = mem_alloc((size_t)(g->n_values + 1) * sizeof *stored);
    TRY_ALLOC(stored);
    for (uint32_t v = 0; v < g->n_values; v++) stored[v] = NO_ID;
    Status s = NULL;
    FOR_NODES (g, id, n) {
        const Tensor *w = n->n_in > 1 ? graph_constant(g, n->in[1]) : NULL;
        if (s || !w || !computes_in_bf16(n, w)) continue;
        ValueId v = n->in[1];
        if (stored[v] == NO_ID) s = store_bf16(g, v, &stored[v]);
        if (!s) graph_set_input(g, id, 1, stored[v]);
    }
    mem_free(stored);
    TRY(s);
    TRY(graph_sort(g));
    graph_eliminate_dead(g);
    return graph_infer(g);
}

static Status write_artifact(const Graph *g, const char *path, const Provenance *p) {
    Graph *copy;
    TRY(graph_clone(g, &copy));
    Status s = pipeline_run(copy, "integer,fold,dce,cse", &(PipelineOptions){0});
    if (!s && !strcmp(p->precision, "bf16")) s = narrow_weights(copy);
    json_t *m = json_pack("{s:i, s:s, s:s, s:s, s:s}", "schema_version", 1, "tool", "pare " PARE_VERSION,
                          "source_sha256", p->source_sha256, "target", "cpu", "precision", p->precision);
    if (m && p->data_sha256) {
        json_object_set_new(m, "calibration_sha256", json_string(p->data_sha256));
        json_object_set_new(m, "calibration", json_string(p->random_calibration ? "random" : "samples"));
        json_object_set_new(m, "calibrator", json_string(p->calibrator));
    }
    char *text = m ? json_dumps(m, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
    if (!s && !text) s = status_oom();
    if (!s) s = artifact_save(copy, text, path);
    free(text);
    json_decref(m);
    graph_free(copy);
    return s;
}

Status write_model(const Graph *g, const char *path, int opset, const Provenance *p) {
    if (session_cancel) return status_make(STATUS_INTERRUPTED, "interrupted");
    TRY(check_output(path));
    if (ends_with(path, ".onnx")) return onnx_save(g, path, &(OnnxSaveOptions){.opset = opset});
    return write_artifact(g, path, p);
}

void print_floats(const QuantizeReport *r) {
    printf("%d of %d products compute in int8\n", r->n_integer, r->n_layers);
    for (int i = 0; i < r->n_layers; i++)
        if (!r->layers[i].integer)
            printf("  float: %s '%s': %s\n", r->layers[i].op, r->layers[i].name, r->layers[i].why);
}
