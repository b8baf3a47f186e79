#include "api/load.h"

#include "frontend/artifact.h"
#include "frontend/onnx_model.h"
#include "passes/pass.h"

Status prepare_graph(Graph *g) {
    /* Q/DQ patterns first: folding would turn integer weights back into floats. */
    TRY(pipeline_run(g, "integer", &(PipelineOptions){0}));
    return pipeline_run(g, PIPELINE_OPTIMIZE, &(PipelineOptions){0});
}

static Status load_onnx(const char *path, Graph **out) {
    TRY(onnx_load(path, NULL, out));
    Status s = prepare_graph(*out);
    if (s) {
        graph_free(*out);
        *out = NULL;
    }
    return status_context(s, "%s", path);
}

Status load_graph(const char *path, Graph **out) {
    *out = NULL;
    bool artifact;
    TRY(artifact_probe(path, &artifact));
    if (!artifact) return load_onnx(path, out);
    Artifact a;
    TRY(artifact_open(path, &a));
    *out = a.graph;
    a.graph = NULL;
    artifact_close(&a);
    return NULL;
}
