/* Any IR text that infers goes through the default pipeline: it ends with an error or with a graph that verifies. */
#include "passes/pass.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Graph *g = NULL;
    Status st = graph_parse((const char *)data, size, NULL, "fuzz", &g);
    if (!st) st = pipeline_run(g, PIPELINE_OPTIMIZE, &(PipelineOptions){.verify = true});
    if (status_code(st) == STATUS_INTERNAL) abort();
    status_free(st);
    graph_free(g);
    return 0;
}
