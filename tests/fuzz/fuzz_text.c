/* Any bytes: an error, or a graph that prints to text which parses back to the same text. */
#include "ir/op.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool ok) {
    if (!ok) abort();
}

static char *printed(const Graph *g, Buf *weights) {
    Buf text = {0};
    Status st = graph_print(g, &text, weights);
    must(st == NULL);
    return text.data;
}

static void keep(void *owner) { (void)owner; } /* the bytes outlive the blob */

static Graph *parsed(const char *text, size_t len, const Buf *weights) {
    Graph *g = NULL;
    Blob *blob = weights ? blob_wrap(weights->data, weights->len, keep, NULL) : NULL;
    Status st = graph_parse(text, len, blob, "fuzz", &g);
    blob_unref(blob);
    must((st == NULL) == (g != NULL));
    status_free(st);
    return g;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static char side[256] __attribute__((aligned(64)));
    Buf fixed = {.data = side, .len = sizeof side};
    Graph *g = parsed((const char *)data, size, &fixed);
    if (!g) return 0;
    Buf weights = {0}, again_weights = {0};
    char *text = printed(g, &weights);
    Graph *back = parsed(text, strlen(text), &weights);
    must(back != NULL);
    char *again = printed(back, &again_weights);
    must(!strcmp(text, again));
    must(weights.len == again_weights.len && (!weights.len || !memcmp(weights.data, again_weights.data, weights.len)));
    mem_free(text);
    mem_free(again);
    graph_free(back);
    graph_free(g);
    buf_free(&weights);
    buf_free(&again_weights);
    return 0;
}
