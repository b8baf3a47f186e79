/* Plans and contexts of the CPU backend on the shipped example: the same bits at every thread count, no allocation per
 * inference, several threads on one plan, and the public API on top. */
#include "api/load.h"
#include "backends/backend.h"
#include "pare/pare.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL PARE_SOURCE_DIR "/examples/mnist/mnist_cnn.onnx"
enum { PIXELS = 784, CLASSES = 10, BATCH = 3 };

static void ok(Status s) {
    if (s) print_error("%s\n", status_text(s));
    assert_null(s);
}

static void fill(float *x, int n, int seed) {
    for (int i = 0; i < n; i++) x[i] = (float)((i * 37 + seed * 11) % 101) / 101.0f;
}

static void run_threads(const Graph *g, int threads, const float *x, float *y) {
    const Backend *b = backend_find("cpu");
    const Dim dims[4] = {BATCH, 1, 28, 28};
    Type type = type_tensor(ELEM_F32, 4, dims);
    Plan *p;
    Context *c;
    Tensor in, out;
    ok(b->plan(g, &(PlanOptions){.threads = threads, .inputs = &type}, &p));
    ok(b->context(p, &c));
    ok(tensor_view(&in, ELEM_F32, 4, dims, x));
    ok(b->run(c, &in, &out));
    uint64_t before = mem_count();
    for (int i = 0; i < 5; i++) ok(b->run(c, &in, &out));
    assert_int_equal(mem_count(), before); /* nothing is allocated per inference */
    memcpy(y, out.data, BATCH * CLASSES * sizeof *y);
    b->context_free(c);
    b->plan_free(p);
}

static void thread_counts_agree_and_nothing_is_allocated(void **state) {
    (void)state;
    Graph *g;
    ok(load_graph(MODEL, &g));
    float x[BATCH * PIXELS], first[BATCH * CLASSES], y[BATCH * CLASSES];
    fill(x, BATCH * PIXELS, 1);
    run_threads(g, 1, x, first);
    for (int t = 2; t <= 3; t++) {
        run_threads(g, t, x, y);
        assert_memory_equal(first, y, sizeof y);
    }
    graph_free(g);
}

/* ---- the public API from several threads ---- */

typedef struct Worker {
    pthread_t thread;
    pare_model *model;
    int seed, code;
    float y[CLASSES];
} Worker;

static void *work(void *arg) {
    Worker *w = arg;
    pare_error e;
    pare_context *c = NULL;
    pare_tensor y, x = {.type = PARE_FLOAT32, .rank = 4, .dims = {1, 1, 28, 28}};
    float data[PIXELS];
    fill(data, PIXELS, w->seed);
    x.data = data;
    w->code = pare_context_new(w->model, 1, &c, &e);
    for (int i = 0; i < 3 && !w->code; i++) {
        w->code = pare_set_input(c, 0, &x, &e);
        if (!w->code) w->code = pare_run(c, &e);
    }
    if (!w->code) w->code = pare_get_output(c, 0, &y, &e);
    if (!w->code) memcpy(w->y, y.data, sizeof w->y);
    pare_context_free(c);
    return NULL;
}

static void threads_share_a_model(void **state) {
    (void)state;
    pare_error e;
    pare_model *m;
    assert_int_equal(pare_model_load(MODEL, &m, &e), PARE_OK);
    Worker w[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (Worker){.model = m, .seed = i / 2};
        assert_int_equal(pthread_create(&w[i].thread, NULL, work, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++) pthread_join(w[i].thread, NULL);
    for (int i = 0; i < 4; i++) assert_int_equal(w[i].code, PARE_OK);
    assert_memory_equal(w[0].y, w[1].y, sizeof w[0].y);
    assert_memory_equal(w[2].y, w[3].y, sizeof w[0].y);
    assert_memory_not_equal(w[0].y, w[2].y, sizeof w[0].y);
    pare_model_free(m);
}

static void wrong_calls_are_refused(void **state) {
    (void)state;
    pare_error e;
    pare_model *m;
    pare_context *c;
    pare_tensor t = {.type = PARE_FLOAT32, .rank = 4, .dims = {1, 1, 28, 28}};
    assert_int_equal(pare_model_load("/nonexistent.onnx", &m, &e), PARE_ENVIRONMENT);
    assert_non_null(strstr(e.message, "nonexistent"));
    assert_int_equal(pare_model_load(MODEL, &m, &e), PARE_OK);
    assert_int_equal(pare_input_count(m), 1);
    assert_string_equal(pare_input_name(m, 0), "input");
    assert_null(pare_input_name(m, 1));
    assert_int_equal(pare_input_info(m, 0, &t), PARE_OK);
    assert_int_equal(t.dims[0], -1);
    assert_int_equal(pare_context_new(m, 0, &c, &e), PARE_USAGE);
    assert_int_equal(pare_context_new(m, 1, &c, &e), PARE_OK);
    assert_int_equal(pare_run(c, &e), PARE_USAGE); /* no input */
    float data[PIXELS] = {0};
    t.data = data;
    t.dims[0] = 1;
    t.dims[3] = 27;
    assert_int_equal(pare_set_input(c, 0, &t, &e), PARE_USAGE);
    assert_non_null(strstr(e.message, "27"));
    t.dims[3] = 28;
    t.type = PARE_INT64;
    assert_int_equal(pare_set_input(c, 0, &t, &e), PARE_USAGE);
    assert_int_equal(pare_get_output(c, 0, &t, &e), PARE_USAGE); /* nothing has run */
    pare_context_free(c);
    pare_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thread_counts_agree_and_nothing_is_allocated),
        cmocka_unit_test(threads_share_a_model),
        cmocka_unit_test(wrong_calls_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
