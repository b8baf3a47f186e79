/* What the ONNX tests share: loading of built models, checks of errors. */
#ifndef PARE_TESTS_FRONTEND_ONNX_TEST_H
#define PARE_TESTS_FRONTEND_ONNX_TEST_H

#include "data/scratch.h"
#include "frontend/onnx_model.h"
#include "ir/op.h"
#include "support/onnx_builder.h"

/* Fails unless s has this code and its message holds every given text (the list ends with NULL). Frees s. */
static inline void assert_error(Status s, StatusCode code, ...) {
    va_list ap;
    va_start(ap, code);
    if (status_code(s) != code) fail_msg("code %d, expected %d: %s", (int)status_code(s), (int)code, status_text(s));
    for (const char *text; (text = va_arg(ap, const char *));)
        if (!strstr(status_text(s), text)) fail_msg("'%s' is not in: %s", text, status_text(s));
    va_end(ap);
    status_free(s);
}

static inline Status load_built(OnnxBuilder *b, Graph **out) {
    size_t n;
    const uint8_t *bytes = ob_pack(b, &n);
    return onnx_load_bytes(bytes, n, "built.onnx", NULL, out);
}

/* Loads a model that must be good. */
static inline Graph *loaded(OnnxBuilder *b) {
    Graph *g = NULL;
    assert_ok(load_built(b, &g));
    assert_ok(graph_verify(g));
    return g;
}

static inline const Value *value_of(const Graph *g, const char *name) {
    ValueId id = graph_find_value(g, name);
    if (id == NO_ID) print_error("the graph has no value '%s'\n", name);
    assert_int_not_equal(id, NO_ID);
    return &g->values[id];
}

static inline const Node *node_of(const Graph *g, const char *name) {
    NodeId id = graph_find_node(g, name);
    if (id == NO_ID) print_error("the graph has no node '%s'\n", name);
    assert_int_not_equal(id, NO_ID);
    return &g->nodes[id];
}

#endif
