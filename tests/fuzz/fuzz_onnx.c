/* Fuzz target of the ONNX importer: any bytes either give a graph that passes the verifier, or an error. */
#include "frontend/onnx_model.h"
#include "ir/op.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Graph *g = NULL;
    Status s = onnx_load_bytes(data, size, "fuzz.onnx", NULL, &g);
    if (!s) {
        s = graph_verify(g);
        if (s) abort();
        graph_free(g);
    }
    status_free(s);
    return 0;
}
