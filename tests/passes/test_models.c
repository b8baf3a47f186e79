/* The default pipeline on the shared real models ($PARE_DATA/models): what it finds, and that the results stay the same
 * (1e-5 of the largest output) on random inputs. Skipped without PARE_DATA. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "frontend/onnx_model.h"
#include "passes/pass.h"
#include "support/equiv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct OpCount {
    const char *op;
    int n;
} OpCount;

typedef struct ModelCase {
    const char *file;
    uint32_t nodes; /* after */
    bool run;       /* small enough for the reference backend */
    OpCount ops[6];
} ModelCase;

static const ModelCase models[] = {
    {"ad_autoencoder.onnx", 19, true, {{"Gemm", 10}, {"Relu", 9}}},
    {"kws_dscnn.onnx", 22, true, {{"Conv", 9}, {"Reshape", 1}, {"Flatten", 0}}},
    {"vww_mobilenetv1_96.onnx", 58, true, {{"Conv", 27}}},
    {"mnist_8.onnx", 8, true, {{"Conv", 2}, {"Gemm", 1}, {"Add", 0}, {"Reshape", 1}}},
    {"resnet20_cifar10.onnx", 54, true, {{"BatchNormalization", 0}, {"Conv", 19}, {"Add", 9}}},
    {"ultraface_rfb_320.onnx", 124, true, {{"BatchNormalization", 0}, {"Shape", 0}, {"Gather", 0}, {"Concat", 5}}},
    {"kwt1_speech_commands12.onnx",
     201,
     true,
     {{"Gelu", 12}, {"LayerNormalization", 24}, {"Transpose", 12}, {"Tanh", 0}, {"ReduceMean", 0}, {"Mul", 2}}},
    {"mobilenetv2_imagenet.onnx", 101, false, {{"Conv", 53}, {"Clip", 35}}},
    {"squeezenet1.1_imagenet.onnx", 65, false, {{"Conv", 26}, {"Concat", 8}}},
    {"super_resolution_10.onnx", 10, false, {{"Conv", 4}}},
};

static char *printed(const Graph *g) {
    Buf text = {0};
    Status st = graph_print(g, &text, NULL);
    if (st) fail_msg("%s", status_text(st));
    return text.data;
}

static Graph *loaded(const char *file) {
    char path[1024];
    Graph *g;
    snprintf(path, sizeof path, "%s/models/%s", getenv("PARE_DATA"), file);
    Status st = onnx_load(path, NULL, &g);
    if (st) fail_msg("%s", status_text(st));
    return g;
}

static Graph *optimized(const char *file) {
    Graph *g = loaded(file);
    Status st = pipeline_run(g, PIPELINE_OPTIMIZE, &(PipelineOptions){.verify = true});
    if (st) fail_msg("%s", status_text(st));
    return g;
}

static int count_op(const Graph *g, const char *op) {
    int n = 0;
    for (uint32_t i = 0; i < g->n_order; i++) n += op_is(&g->nodes[g->order[i]], op);
    return n;
}

static void check_model(void **state) {
    const ModelCase *c = *state;
    Graph *before = loaded(c->file), *g = optimized(c->file), *again = optimized(c->file);
    assert_int_equal(g->n_order, c->nodes);
    for (int i = 0; i < 6 && c->ops[i].op; i++) {
        int n = count_op(g, c->ops[i].op);
        if (n != c->ops[i].n) fail_msg("%s: %d %s, expected %d", c->file, n, c->ops[i].op, c->ops[i].n);
    }
    char *text = printed(g), *same = printed(again);
    assert_string_equal(text, same);
    mem_free(text);
    mem_free(same);
    if (c->run) {
        EquivOptions o = {.seed = 3, .tolerance = 1e-5, .other_dims = 2, .max_int = 1};
        Status st = equiv_check(before, g, &o, NULL);
        if (st) fail_msg("%s: %s", c->file, status_text(st));
    }
    graph_free(before);
    graph_free(g);
    graph_free(again);
}

int main(void) {
    const char *data = getenv("PARE_DATA");
    if (!data || !*data) return 77;
    enum { N = sizeof models / sizeof *models };
    static struct CMUnitTest tests[N];
    for (int i = 0; i < N; i++)
        tests[i] = (struct CMUnitTest){
            .name = models[i].file, .test_func = check_model, .initial_state = (void *)(uintptr_t)&models[i]};
    return _cmocka_run_group_tests("models", tests, N, NULL, NULL);
}
