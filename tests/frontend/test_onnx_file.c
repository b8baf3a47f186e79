/* Reading ONNX files: broken and foreign files, external data, mapping, hashes, and the shared models. */
#include "frontend/onnx_test.h"
#include "ir/file.h"

enum { BIG = 600000 }; /* floats: above the size from which files are mapped */

/* out = Add(in, w), w of n floats that count up. */
static OnnxBuilder *sum_model(size_t n, Onnx__TensorProto **w) {
    OnnxBuilder *b = ob_new(8, 17);
    char dims[32];
    snprintf(dims, sizeof dims, "%zu", n);
    float *v = malloc(n * sizeof *v);
    for (size_t i = 0; i < n; i++) v[i] = (float)i;
    ob_input(b, b->graph, "in", ELEM_F32, dims);
    *w = ob_tensor(b, "w", ELEM_F32, dims, v, n * sizeof *v);
    free(v);
    ob_initializer(b, b->graph, *w);
    ob_node(b, b->graph, "Add", "sum", "in,w", "out");
    ob_output(b, b->graph, "out", ELEM_F32, dims);
    return b;
}

static void save_built(OnnxBuilder *b, const char *name) {
    size_t n;
    const uint8_t *bytes = ob_pack(b, &n);
    scratch_write(name, bytes, n);
}

static void files_that_are_not_there(void **state) {
    (void)state;
    Graph *g;
    assert_error(onnx_load(scratch_path("none.onnx"), NULL, &g), STATUS_ENVIRONMENT, "none.onnx", NULL);
    assert_error(onnx_load(scratch, NULL, &g), STATUS_ENVIRONMENT, "folder", NULL);
}

static void files_of_another_kind(void **state) {
    (void)state;
    Graph *g;
    static const char *const texts[] = {"",           "hello world\n",     "<html><body>404</body></html>",
                                        "{\"a\": 1}", "\x89PNG\r\n\x1a\n", "PK\x03\x04"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        scratch_write("x.onnx", texts[i], strlen(texts[i]));
        assert_error(onnx_load(scratch_path("x.onnx"), NULL, &g), STATUS_INVALID, "x.onnx", NULL);
    }
}

static void files_cut_off_anywhere(void **state) {
    (void)state;
    Onnx__TensorProto *w;
    OnnxBuilder *b = sum_model(4, &w);
    size_t n;
    const uint8_t *bytes = ob_pack(b, &n);
    for (size_t i = 0; i < n; i++) {
        Graph *g;
        uint8_t *cut = malloc(i + 1); /* of its exact size, so that reading past it is seen */
        memcpy(cut, bytes, i);
        cut = realloc(cut, i ? i : 1);
        Status s = onnx_load_bytes(cut, i, "cut.onnx", NULL, &g);
        if (!s) fail_msg("the first %zu of %zu bytes were taken for a model", i, n);
        assert_true(status_code(s) == STATUS_INVALID || status_code(s) == STATUS_UNSUPPORTED);
        status_free(s);
        free(cut);
    }
    ob_free(b);
}

static void messages_nested_too_deep(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    Onnx__GraphProto *g = b->graph;
    for (int i = 0; i < 40; i++) { /* graph > node > attribute > graph … */
        Onnx__GraphProto *inner = ob_subgraph(b, "inner");
        ob_attr_graph(b, ob_node(b, g, "If", "if", "c", "o"), "then_branch", inner);
        g = inner;
    }
    Graph *graph;
    assert_error(load_built(b, &graph), STATUS_INVALID, "64 levels", NULL);
    ob_free(b);
}

/* ---- external data ---- */

static void check_sum(Graph *g, size_t n) {
    const Tensor *t = value_of(g, "w")->constant;
    assert_int_equal(tensor_count(t), n);
    for (size_t i = 0; i < n; i++) assert_true(tensor_get_f64(t, (int64_t)i) == (double)i);
}

static void weights_in_other_files(void **state) {
    (void)state;
    Onnx__TensorProto *w;
    OnnxBuilder *b = sum_model(100, &w);
    char *file = calloc(1, 1000);
    memcpy(file + 64, w->raw_data.data, 400);
    scratch_folder("sub");
    scratch_write("sub/w.bin", file, 1000);
    free(file);
    w->has_raw_data = 0;
    ob_external(b, w, "sub/w.bin", "64", "400");
    save_built(b, "ext.onnx");
    Graph *g = NULL;
    assert_ok(onnx_load(scratch_path("ext.onnx"), NULL, &g));
    check_sum(g, 100);
    graph_free(g);
    size_t n;
    const uint8_t *bytes = ob_pack(b, &n);
    assert_ok(onnx_load_bytes(bytes, n, "memory", &(OnnxLoadOptions){.folder = scratch}, &g));
    check_sum(g, 100);
    graph_free(g);
    assert_error(onnx_load_bytes(bytes, n, "memory", NULL, &g), STATUS_ENVIRONMENT, "sub/w.bin", "'w'", NULL);

    char hex[SHA256_HEX], expected[SHA256_HEX];
    uint64_t size;
    assert_ok(onnx_hash(scratch_path("ext.onnx"), hex));
    Blob *model, *data;
    assert_ok(file_map(scratch_path("ext.onnx"), &model));
    assert_ok(file_map(scratch_path("sub/w.bin"), &data));
    Sha256 *h = sha256_new();
    sha256_add(h, model->data, model->size);
    sha256_add(h, data->data, data->size);
    sha256_finish(h, expected);
    assert_string_equal(hex, expected);
    assert_ok(onnx_bytes(scratch_path("ext.onnx"), &size));
    assert_int_equal(size, model->size + 1000);
    blob_unref(model);
    blob_unref(data);
    ob_free(b);
}

static void expect_bad_external(const char *location, const char *offset, const char *length, StatusCode code,
                                const char *text) {
    Onnx__TensorProto *w;
    OnnxBuilder *b = sum_model(100, &w);
    scratch_write("short.bin", w->raw_data.data, 400);
    w->has_raw_data = 0;
    ob_external(b, w, location, offset, length);
    save_built(b, "bad.onnx");
    Graph *g;
    assert_error(onnx_load(scratch_path("bad.onnx"), NULL, &g), code, "bad.onnx", text, NULL);
    ob_free(b);
}

static void bad_external_data(void **state) {
    (void)state;
    expect_bad_external("missing.bin", NULL, NULL, STATUS_ENVIRONMENT, "missing.bin");
    expect_bad_external("missing.bin", NULL, NULL, STATUS_ENVIRONMENT, "'w'");
    expect_bad_external("/etc/passwd", NULL, NULL, STATUS_INVALID, "/etc/passwd");
    expect_bad_external("../short.bin", NULL, NULL, STATUS_INVALID, "../short.bin");
    expect_bad_external("a/../../short.bin", NULL, NULL, STATUS_INVALID, "short.bin");
    expect_bad_external("", NULL, NULL, STATUS_INVALID, "folder");
    expect_bad_external("short.bin", "4", NULL, STATUS_INVALID, "400 bytes");
    expect_bad_external("short.bin", "18446744073709551615", NULL, STATUS_INVALID, "'w'");
    expect_bad_external("short.bin", "18446744073709551616", NULL, STATUS_INVALID, "no number");
    expect_bad_external("short.bin", "-4", NULL, STATUS_INVALID, "no number");
    expect_bad_external("short.bin", "0", "399", STATUS_INVALID, "'w'");
}

/* ---- mapping ---- */

static void mapped_weights(void **state) {
    (void)state;
    Onnx__TensorProto *w;
    OnnxBuilder *b = sum_model(BIG, &w);
    save_built(b, "big.onnx");
    ob_free(b);
    Graph *g = NULL;
    assert_ok(onnx_load(scratch_path("big.onnx"), NULL, &g));
    const Tensor *t = value_of(g, "w")->constant;
    assert_non_null(t->blob->release); /* a range of the file, not a copy */
    check_sum(g, BIG);
    graph_free(g);
}

static void files_that_shrink_while_mapped(void **state) {
    (void)state;
    Onnx__TensorProto *w;
    OnnxBuilder *b = sum_model(BIG, &w);
    save_built(b, "shrinks.onnx");
    ob_free(b);
    Graph *g = NULL;
    assert_ok(onnx_load(scratch_path("shrinks.onnx"), NULL, &g));
    assert_ok(file_check_maps());
    assert_int_equal(truncate(scratch_path("shrinks.onnx"), 5000), 0);
    const Tensor *t = value_of(g, "w")->constant;
    assert_true(tensor_get_f64(t, BIG - 1) == 0);                              /* the process lives, */
    assert_error(file_check_maps(), STATUS_ENVIRONMENT, "shrinks.onnx", NULL); /* and knows */
    graph_free(g);
    assert_ok(file_check_maps());
}

/* ---- real models ---- */

static void shared_models_load(void **state) {
    (void)state;
    const char *data = getenv("PARE_DATA"), *required = getenv("PARE_REQUIRE_DATA");
    char folder[512], path[1024];
    snprintf(folder, sizeof folder, "%s/models", data ? data : "");
    DIR *d = data ? opendir(folder) : NULL;
    if (!d && required && !strcmp(required, "1")) fail_msg("PARE_DATA has no models");
    if (!d) skip();
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".onnx")) continue;
        snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
        Graph *g = NULL;
        assert_ok(onnx_load(path, NULL, &g));
        assert_ok(graph_verify(g));
        for (uint32_t i = 0; i < g->n_outputs; i++) assert_true(g->values[g->outputs[i]].type.rank >= 0);
        graph_free(g);
        n++;
    }
    closedir(d); /* asserted above. NOLINT(clang-analyzer-core.NonNullParamChecker) */
    assert_true(n > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_are_not_there), cmocka_unit_test(files_of_another_kind),
        cmocka_unit_test(files_cut_off_anywhere),   cmocka_unit_test(messages_nested_too_deep),
        cmocka_unit_test(weights_in_other_files),   cmocka_unit_test(bad_external_data),
        cmocka_unit_test(mapped_weights),           cmocka_unit_test(files_that_shrink_while_mapped),
        cmocka_unit_test(shared_models_load),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
