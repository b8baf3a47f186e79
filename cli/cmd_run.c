/* pare run: samples through a model, outputs by name into an .npz file. */
#include "cli/session.h"

#include "frontend/npz.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

typedef struct Sink {
    NpzWriter *writer;
    const Graph *g;
    bool *by_row; /* outputs that have a row a sample: joined along the first axis */
    int64_t rows, reads;
} Sink;

/* Output k: rows of a batch are appended to each other; anything else gets a leading axis when there are several reads.
 */
static Status take_outputs(void *ctx, int64_t index, int64_t valid, const int64_t *labels, const Tensor *outputs) {
    Sink *s = ctx;
    (void)index;
    (void)labels;
    for (uint32_t k = 0; k < s->g->n_outputs; k++) {
        Tensor t = outputs[k];
        const char *name = s->g->values[s->g->outputs[k]].name;
        if (t.rank > 0 && t.dims[0] == s->rows) {
            if (s->rows > 1) { /* a last read that was filled up */
                t.bytes = t.bytes / (size_t)s->rows * (size_t)valid;
                t.dims[0] = valid;
            }
            TRY(npz_append(s->writer, name, &t));
        } else if (s->reads == 1)
            TRY(npz_write(s->writer, name, &t));
        else if (t.rank < MAX_RANK) {
            memmove(&t.dims[1], &t.dims[0], (size_t)t.rank * sizeof t.dims[0]);
            t.dims[0] = 1;
            t.rank++;
            TRY(npz_append(s->writer, name, &t));
        }
    }
    return NULL;
}

static Status run_model(const Command *c, const CommonFlags *common, const Model *m, Dataset *ds, const Backend *b,
                        const char *output) {
    Plan *plan;
    TRY(plan_for(b, m->graph, ds, 1, NULL, 0, &plan));
    Sink sink = {.g = m->graph, .rows = dataset_rows(ds), .reads = dataset_reads(ds)};
    Status s = npz_writer_open(output, false, &sink.writer);
    (void)c;
    if (!s) {
        EvalModel em = {
            .backend = b, .plan = plan, .n_inputs = (int)m->graph->n_inputs, .n_outputs = (int)m->graph->n_outputs};
        Progress p = progress_new("run", common);
        RunOptions o = session_run_options(common, &p);
        s = run_dataset(&em, ds, &o, take_outputs, &sink);
        if (s)
            npz_writer_abort(sink.writer);
        else
            s = npz_writer_close(sink.writer);
    }
    b->plan_free(plan);
    return s;
}

Status cmd_run(int argc, char **argv) {
    const char *model = NULL, *input = NULL, *output = NULL, *backend = NULL;
    DataFlags data = {0};
    CommonFlags common = {0};
    const Option options[] = {
        {"--model", "-m", OPT_STRING, &model, "FILE", "model: .onnx or .pare"},
        {"--input", NULL, OPT_STRING, &input, "DATA", "samples: .npz, .npy, image folder, test_data_set_* folder"},
        {"--output", "-o", OPT_STRING, &output, "FILE.npz", "outputs by name"},
        {"--backend", NULL, OPT_STRING, &backend, "NAME", "cpu (default) or ref"},
        DATA_OPTIONS(data),
        SHAPE_OPTION(data),
    };
    const Command *c = command_find("run");
    bool help;
    TRY(args_parse(c, argc, argv, options, N_OPTIONS(options), &common, NULL, &help));
    if (help) return NULL;
    TRY(args_require(c, "-m MODEL", model));
    TRY(args_require(c, "--input DATA", input));
    TRY(args_require(c, "--output FILE.npz", output));
    const Backend *b;
    TRY(session_backend(backend, &b));
    Model m;
    TRY(model_load(model, true, &m));
    Dataset *ds = NULL;
    Status s = apply_shapes(m.graph, &data.shapes);
    if (!s) s = open_data(input, &data, &common, false, false, data.samples, m.graph, &ds);
    if (!s) s = run_model(c, &common, &m, ds, b, output);
    if (!s && !common.quiet) printf("%s: %" PRId64 " samples written\n", output, dataset_samples(ds));
    dataset_free(ds);
    model_free(&m);
    return s;
}
