#include "cli/session.h"

#include "api/load.h"
#include "frontend/artifact.h"
#include "frontend/onnx_model.h"
#include "ir/file.h"
#include "ir/op.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* ---- models ---- */

/* The product's weights are a Cast of a bf16 constant. */
static bool has_bf16_weights(const Graph *g, const Node *n) {
    if (n->n_in < 2 || n->in[1] == NO_ID || g->values[n->in[1]].producer == NO_ID) return false;
    const Node *cast = &g->nodes[g->values[n->in[1]].producer];
    const Tensor *t = op_is(cast, "Cast") ? graph_constant(g, cast->in[0]) : NULL;
    return t && t->elem == ELEM_BF16;
}

const char *graph_variant(const Graph *g) {
    const char *variant = "fp32";
    FOR_NODES (g, id, n) {
        (void)id;
        if (n->op->flags & OPF_INTEGER && n->op->flags & OPF_HAS_WEIGHTS) return "int8";
        if (has_bf16_weights(g, n)) variant = "bf16";
    }
    return variant;
}

void model_free(Model *m) {
    graph_free(m->graph);
    m->graph = NULL;
}

static Status open_onnx(const char *path, bool prepare, Model *m) {
    TRY(onnx_load(path, NULL, &m->graph));
    TRY(onnx_hash(path, m->sha256));
    TRY(onnx_bytes(path, &m->bytes));
    return prepare ? prepare_graph(m->graph) : NULL;
}

Status model_load(const char *path, bool prepare, Model *m) {
    *m = (Model){.path = path};
    bool artifact;
    TRY(artifact_probe(path, &artifact));
    m->artifact = artifact;
    Status s;
    if (artifact) {
        Artifact a;
        s = artifact_open(path, &a);
        if (!s) {
            m->graph = a.graph;
            a.graph = NULL;
            memcpy(m->sha256, a.sha256, sizeof m->sha256);
            m->bytes = a.bytes;
            artifact_close(&a);
        }
    } else
        s = status_context(open_onnx(path, prepare, m), "%s", path);
    if (s) {
        model_free(m);
        return s;
    }
    m->variant = graph_variant(m->graph);
    if (prepare && !strcmp(m->variant, "bf16") && bf16_missing())
        fprintf(stderr, "pare: note: %s: %s, so its products run in fp32\n", path, bf16_missing());
    return NULL;
}

/* ---- shapes ---- */

static Status parse_shape(Graph *g, const char *text) {
    const char *colon = strrchr(text, ':');
    char name[256];
    if (!colon || colon == text || (size_t)(colon - text) >= sizeof name)
        return status_make(STATUS_USAGE, "--shape: '%s' is not NAME:DIMS, as in x:1x3x224x224", text);
    snprintf(name, sizeof name, "%.*s", (int)(colon - text), text);
    ValueId v = graph_find_value(g, name);
    if (v == NO_ID || !g->values[v].is_input)
        return status_make(STATUS_USAGE, "--shape: the model has no input '%s'", name);
    Type *t = &g->values[v].type;
    int64_t dims[MAX_RANK];
    int rank = 0;
    for (const char *p = colon + 1; *p;) {
        char *end;
        long long size = strtoll(p, &end, 10);
        if (end == p || size < 0 || size > INT32_MAX || rank == MAX_RANK || (*end && *end != 'x'))
            return status_make(STATUS_USAGE, "--shape: '%s' is not a list of sizes with x between them", colon + 1);
        dims[rank++] = size;
        p = *end ? end + 1 : end;
    }
    if (t->rank >= 0 && t->rank != rank)
        return status_make(STATUS_USAGE, "--shape: input '%s' has %d dimensions, not %d", name, t->rank, rank);
    for (int i = 0; i < rank && t->rank >= 0; i++)
        if (!DIM_IS_SYM(t->dims[i]) && t->dims[i] != dims[i])
            return status_make(STATUS_USAGE,
                               "--shape: dimension %d of input '%s' is fixed at %" PRId64 ", not %" PRId64, i, name,
                               t->dims[i], dims[i]);
    *t = type_tensor(t->elem, rank, dims);
    return NULL;
}

Status apply_shapes(Graph *g, const StringList *shapes) {
    if (!shapes->n) return NULL;
    for (int i = 0; i < shapes->n; i++) TRY(parse_shape(g, shapes->v[i]));
    return graph_bind(g, NULL, NULL);
}

/* ---- data ---- */

static Status per_channel(const char *flag, const RealList *list, float out[static 4]) {
    for (int i = 0; i < list->n; i++) out[i] = list->v[i];
    if (list->n == 1) /* one number is for all channels */
        for (int i = 1; i < 3; i++) out[i] = list->v[0];
    if (list->n == 2 || list->n > 3) return status_make(STATUS_USAGE, "%s takes one number or one a channel", flag);
    return NULL;
}

static Status parse_channels(const char *text, Channels *out) {
    static const struct {
        const char *name;
        Channels channels;
    } names[] = {{"rgb", CHANNELS_RGB}, {"bgr", CHANNELS_BGR}, {"gray", CHANNELS_GRAY}};
    *out = CHANNELS_AUTO;
    if (!text) return NULL;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(text, names[i].name)) return *out = names[i].channels, NULL;
    return status_make(STATUS_USAGE, "--channels: '%s' is none of rgb, bgr, gray", text);
}

Status data_options(const DataFlags *f, const CommonFlags *c, DataOptions *out) {
    *out = (DataOptions){.labels = f->labels, .label_offset = f->label_offset, .seed = (uint64_t)c->seed};
    float mean[4] = {0}, std[4] = {0};
    TRY(per_channel("--mean", &f->mean, mean));
    TRY(per_channel("--std", &f->std, std));
    if (f->resize < 0 || f->crop < 0 || f->samples < 0 || f->eval_samples < 0)
        return status_make(STATUS_USAGE, "--resize, --crop, --samples and --eval-samples must be positive");
    TRY(parse_channels(f->channels, &out->image.channels));
    out->image.resize = (int)f->resize;
    out->image.crop = (int)f->crop;
    for (int i = 0; i < 3; i++) {
        out->image.mean[i] = mean[i];
        out->image.std[i] = std[i];
        if (f->std.n && std[i] == 0) return status_make(STATUS_USAGE, "--std must not be 0");
    }
    return NULL;
}

Status open_data(const char *path, const DataFlags *f, const CommonFlags *c, bool calibration, bool need_labels,
                 int64_t samples, const Graph *g, Dataset **out) {
    DataOptions o;
    TRY(data_options(f, c, &o));
    o.samples = samples;
    o.reject_nan = calibration;
    o.need_labels = need_labels;
    return dataset_open_graph(path, &o, g, out);
}

/* ---- running ---- */

int session_threads(const CommonFlags *c) {
    if (c->threads > 0) return (int)c->threads;
    cpu_set_t set;
    int n = sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
    return n < 1 ? 1 : n > 256 ? 256 : n;
}

Status session_backend(const char *name, const Backend **out) {
    *out = backend_find(name ? name : "cpu");
    if (*out) return NULL;
    Buf names = {0};
    for (int i = 0; i < backend_count(); i++) buf_printf(&names, "%s%s", i ? ", " : "", backend_at(i)->name);
    Status s = status_make(STATUS_USAGE, "--backend: there is no '%s'; this build has: %s", name,
                           names.data ? names.data : "");
    buf_free(&names);
    return s;
}

static int64_t batch_one(void *ctx, const char *name) { return !strcmp(ctx, name) ? 1 : -1; }

/* Leading symbols are the batch, 1 by default. */
Status default_types(const Graph *g, Type *types) {
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const Value *v = &g->values[g->inputs[i]];
        types[i] = v->type;
        if (types[i].rank > 0 && DIM_IS_SYM(types[i].dims[0])) {
            char name[128];
            sym_print(g->syms, types[i].dims[0], name, sizeof name);
            for (int d = 1; d < types[i].rank; d++)
                types[i].dims[d] = sym_substitute(g->syms, types[i].dims[d], batch_one, name);
            types[i].dims[0] = 1;
        }
        for (int d = 0; d < types[i].rank; d++)
            if (DIM_IS_SYM(types[i].dims[d]))
                return status_make(
                    STATUS_USAGE,
                    "dimension %d of input '%s' has no number; give its shape, as in --shape %s:1x3x48x320", d, v->name,
                    v->name);
    }
    return NULL;
}

Status plan_for(const Backend *b, const Graph *g, Dataset *ds, int threads, const ValueId *taps, uint32_t n_taps,
                Plan **out) {
    Type *types = mem_zalloc((g->n_inputs + 1) * sizeof *types);
    if (!types) return status_oom();
    Status s = ds ? dataset_types(ds, types, NULL) : default_types(g, types);
    PlanOptions o = {.threads = threads, .inputs = types, .taps = taps, .n_taps = n_taps};
    if (!s) s = b->plan(g, &o, out);
    mem_free(types);
    return s;
}

Progress progress_new(const char *title, const CommonFlags *c) {
    return (Progress){title, !c->quiet && isatty(STDERR_FILENO)};
}

void progress_show(void *progress, int64_t done, int64_t total) {
    const Progress *p = progress;
    if (!p->on || total <= 0) return;
    enum { WIDTH = 30 };
    char bar[WIDTH + 1];
    int64_t full = done * WIDTH / total;
    for (int i = 0; i < WIDTH; i++) bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = 0;
    fprintf(stderr, "\r%s [%s] %" PRId64 "/%" PRId64 "%s", p->title, bar, done, total, done == total ? "\n" : "");
}

RunOptions session_run_options(const CommonFlags *c, Progress *p) {
    return (RunOptions){
        .threads = session_threads(c), .progress = progress_show, .progress_ctx = p, .cancel = &session_cancel};
}

int64_t peak_bytes(void) {
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) ? 0 : (int64_t)u.ru_maxrss * 1024;
}

double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

Status write_text(const char *path, const char *text, size_t len) {
    if (!path) return NULL;
    if (strcmp(path, "-") != 0) return file_write_atomic(path, &(FilePart){text, len}, 1);
    if (fwrite(text, 1, len, stdout) == len && !fflush(stdout)) return NULL;
    return status_make(STATUS_ENVIRONMENT, "standard output cannot be written");
}
