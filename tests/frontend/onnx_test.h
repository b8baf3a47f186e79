/* What the ONNX tests share: a scratch folder, loading of built models, checks of errors. */
#ifndef PARE_TESTS_FRONTEND_ONNX_TEST_H
#define PARE_TESTS_FRONTEND_ONNX_TEST_H

#include "frontend/onnx_model.h"
#include "ir/op.h"
#include "support/onnx_builder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char scratch_folder[64];

static inline int make_scratch(void **state) {
    (void)state;
    snprintf(scratch_folder, sizeof scratch_folder, "/tmp/pare-onnx-XXXXXX");
    return mkdtemp(scratch_folder) ? 0 : -1;
}

static inline int remove_scratch(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", scratch_folder);
    return system(command);
}

/* scratch/name; the buffer of the last four calls stays valid. */
static inline const char *scratch_path(const char *name) {
    static char paths[4][160];
    static int next;
    char *p = paths[next++ % 4];
    snprintf(p, sizeof paths[0], "%s/%s", scratch_folder, name);
    return p;
}

static inline void write_bytes(const char *path, const void *data, size_t n) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

/* Fails the test unless s is NULL. */
static inline void assert_ok(Status s) {
    if (s) fail_msg("%s", status_text(s));
}

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
    if (id == NO_ID) fail_msg("the graph has no value '%s'", name);
    return &g->values[id];
}

static inline const Node *node_of(const Graph *g, const char *name) {
    NodeId id = graph_find_node(g, name);
    if (id == NO_ID) fail_msg("the graph has no node '%s'", name);
    return &g->nodes[id];
}

#endif
