/* Old forms of ops: each is loaded, run on the reference backend, and compared with values worked out by hand from the
 * specification of its opset. */
#include "frontend/onnx_test.h"

#include "backends/backend.h"

#include <math.h>

static int64_t bind_none(void *ctx, const char *name) {
    (void)ctx;
    (void)name;
    return -1;
}

/* Runs a loaded graph on float inputs of its own static shapes; copies output 0 to out (of n elements). */
static void run_floats(Graph *g, const float *const *inputs, float *out, size_t n) {
    const Backend *ref = backend_find("ref");
    Plan *plan = NULL;
    Context *ctx = NULL;
    Tensor in[4] = {{0}}, outputs[4] = {{0}};
    assert_ok(graph_bind(g, bind_none, NULL));
    assert_ok(ref->plan(g, &(PlanOptions){.threads = 1}, &plan));
    assert_ok(ref->context(plan, &ctx));
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const Type *t = &g->values[g->inputs[i]].type;
        assert_ok(tensor_view(&in[i], t->elem, t->rank, t->dims, inputs[i]));
    }
    assert_ok(ref->run(ctx, in, outputs));
    assert_int_equal(tensor_count(&outputs[0]), n);
    for (size_t i = 0; i < n; i++) out[i] = (float)tensor_get_f64(&outputs[0], (int64_t)i);
    ref->context_free(ctx);
    ref->plan_free(plan);
}

static void expect(OnnxBuilder *b, const float *a, const float *c, const float *expected, size_t n) {
    Graph *g = loaded(b);
    float *out = malloc(n * sizeof *out);
    run_floats(g, (const float *const[]){a, c}, out, n);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(out[i] - expected[i]) <= 1e-6f))
            fail_msg("element %zu is %g, expected %g", i, (double)out[i], (double)expected[i]);
    free(out);
    graph_free(g);
    ob_free(b);
}

/* One node "op" from x (and y, when given) to z. */
static OnnxBuilder *one_node(int64_t opset, const char *op, const char *x, const char *y, Onnx__NodeProto **n) {
    OnnxBuilder *b = ob_new(3, opset);
    ob_input(b, b->graph, "x", ELEM_F32, x);
    if (y) ob_input(b, b->graph, "y", ELEM_F32, y);
    *n = ob_node(b, b->graph, op, "n", y ? "x,y" : "x", "z");
    ob_output(b, b->graph, "z", ELEM_UNDEFINED, NULL);
    return b;
}
#define INTS(...)            ((const int64_t[]){__VA_ARGS__}), sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)
#define FLOATS(...)          ((const float[]){__VA_ARGS__})
#define EXPECT(b, a, c, ...) expect(b, a, c, FLOATS(__VA_ARGS__), sizeof FLOATS(__VA_ARGS__) / sizeof(float))

static const float SIX[] = {1, 2, 3, 4, 5, 6};

static void attributes_that_became_inputs(void **state) {
    (void)state;
    Onnx__NodeProto *n;
    OnnxBuilder *b = one_node(6, "Clip", "2,3", NULL, &n);
    ob_attr_float(b, n, "min", 2.5f);
    ob_attr_float(b, n, "max", 5);
    EXPECT(b, SIX, NULL, 2.5f, 2.5f, 3, 4, 5, 5);

    b = one_node(1, "Clip", "2,3", NULL, &n); /* no bounds: the lowest and the highest number */
    ob_attr_ints(b, n, "consumed_inputs", INTS(0));
    EXPECT(b, SIX, NULL, 1, 2, 3, 4, 5, 6);

    b = one_node(1, "Pad", "1,2", NULL, &n);
    ob_attr_ints(b, n, "paddings", INTS(0, 1, 0, 2));
    ob_attr_float(b, n, "value", 9);
    EXPECT(b, SIX, NULL, 9, 1, 2, 9, 9);

    b = one_node(2, "Pad", "1,3", NULL, &n);
    ob_attr_ints(b, n, "pads", INTS(0, 2, 0, 0));
    ob_attr_string(b, n, "mode", "reflect");
    EXPECT(b, SIX, NULL, 3, 2, 1, 2, 3);

    b = one_node(9, "Slice", "2,3", NULL, &n);
    ob_attr_ints(b, n, "starts", INTS(0, 1));
    ob_attr_ints(b, n, "ends", INTS(2, -1));
    EXPECT(b, SIX, NULL, 2, 5);

    b = one_node(9, "Slice", "2,3", NULL, &n);
    ob_attr_ints(b, n, "starts", INTS(1));
    ob_attr_ints(b, n, "ends", INTS(1000));
    ob_attr_ints(b, n, "axes", INTS(1));
    EXPECT(b, SIX, NULL, 2, 3, 5, 6);

    b = one_node(1, "Reshape", "2,3", NULL, &n);
    ob_attr_ints(b, n, "shape", INTS(3, -1));
    EXPECT(b, SIX, NULL, 1, 2, 3, 4, 5, 6);

    b = one_node(9, "TopK", "2,3", NULL, &n);
    ob_attr_int(b, n, "k", 2);
    n->n_output = 2;
    n->output = (char *[]){(char[]){"z"}, (char[]){"indices"}};
    EXPECT(b, SIX, NULL, 3, 2, 6, 5);
}

static void reductions(void **state) {
    (void)state;
    Onnx__NodeProto *n;
    OnnxBuilder *b = one_node(11, "ReduceSum", "2,3", NULL, &n);
    ob_attr_ints(b, n, "axes", INTS(-1));
    ob_attr_int(b, n, "keepdims", 0);
    EXPECT(b, SIX, NULL, 6, 15);
    b = one_node(17, "ReduceMean", "2,3", NULL, &n);
    ob_attr_ints(b, n, "axes", INTS(0));
    EXPECT(b, SIX, NULL, 2.5f, 3.5f, 4.5f);
    b = one_node(13, "ReduceMax", "2,3", NULL, &n);
    EXPECT(b, SIX, NULL, 6);
    b = one_node(13, "ReduceMin", "2,3", NULL, &n);
    ob_attr_ints(b, n, "axes", NULL, 0); /* an empty list meant all axes too */
    EXPECT(b, SIX, NULL, 1);
}

static void splits_and_squeezes(void **state) {
    (void)state;
    Onnx__NodeProto *n;
    char *outputs[] = {(char[]){"z"}, (char[]){"rest"}};
    OnnxBuilder *b = one_node(2, "Split", "2,3", NULL, &n);
    ob_attr_ints(b, n, "split", INTS(1, 2));
    ob_attr_int(b, n, "axis", 1);
    n->n_output = 2;
    n->output = outputs;
    EXPECT(b, SIX, NULL, 1, 4);
    b = one_node(13, "Split", "2,3", NULL, &n);
    n->n_output = 2;
    n->output = outputs;
    EXPECT(b, SIX, NULL, 1, 2, 3);
    b = one_node(11, "Unsqueeze", "2,3", NULL, &n);
    ob_attr_ints(b, n, "axes", INTS(0, 3));
    Graph *g = loaded(b);
    assert_int_equal(value_of(g, "z")->type.rank, 4);
    assert_int_equal(value_of(g, "z")->type.dims[2], 3);
    graph_free(g);
    ob_free(b);
    b = one_node(1, "Squeeze", "1,3,1", NULL, &n);
    ob_attr_ints(b, n, "axes", INTS(0));
    g = loaded(b);
    assert_int_equal(value_of(g, "z")->type.rank, 2);
    graph_free(g);
    ob_free(b);
}

/* softmax of (0, ln 2, ln 3): sixths. */
static void softmax_of_rows(void **state) {
    (void)state;
    const float l2 = logf(2), l3 = logf(3), x[] = {0, l2, l3, l3, 0, l2};
    Onnx__NodeProto *n;
    OnnxBuilder *b = one_node(11, "Softmax", "2,3", NULL, &n); /* the default axis was 1 */
    EXPECT(b, x, NULL, 1 / 6.f, 2 / 6.f, 3 / 6.f, 3 / 6.f, 1 / 6.f, 2 / 6.f);
    b = one_node(11, "Softmax", "2,3,1,1", NULL, &n);
    EXPECT(b, x, NULL, 1 / 6.f, 2 / 6.f, 3 / 6.f, 3 / 6.f, 1 / 6.f, 2 / 6.f);
    b = one_node(11, "Softmax", "1,2,3", NULL, &n); /* six elements a row */
    EXPECT(b, x, NULL, 1 / 12.f, 2 / 12.f, 3 / 12.f, 3 / 12.f, 1 / 12.f, 2 / 12.f);
    b = one_node(11, "Softmax", "1,2,3", NULL, &n);
    ob_attr_int(b, n, "axis", -1);
    EXPECT(b, x, NULL, 1 / 6.f, 2 / 6.f, 3 / 6.f, 3 / 6.f, 1 / 6.f, 2 / 6.f);
    b = one_node(1, "Hardmax", "1,2,3", NULL, &n);
    EXPECT(b, SIX, NULL, 0, 0, 0, 0, 0, 1);
    b = one_node(11, "LogSoftmax", "2,3", NULL, &n);
    ob_attr_int(b, n, "axis", 0);
    float log12 = logf(12);
    EXPECT(b, x, NULL, -log12, l2 - log12, l3 - log12, l3 - log12, -log12, l2 - log12);
    b = one_node(13, "Softmax", "2,3", NULL, &n); /* the new form is left alone */
    ob_attr_int(b, n, "axis", 0);
    Graph *g = loaded(b);
    assert_int_equal(g->n_order, 1);
    graph_free(g);
    ob_free(b);
}

static void broadcast_along_an_axis(void **state) {
    (void)state;
    const float y[] = {10, 20}, z[] = {10, 20, 30};
    Onnx__NodeProto *n;
    OnnxBuilder *b = one_node(6, "Add", "2,3", "2", &n);
    ob_attr_int(b, n, "broadcast", 1);
    ob_attr_int(b, n, "axis", 0);
    EXPECT(b, SIX, y, 11, 12, 13, 24, 25, 26);
    b = one_node(1, "Mul", "2,3", "3", &n);
    ob_attr_int(b, n, "broadcast", 1);
    EXPECT(b, SIX, z, 10, 40, 90, 40, 100, 180);
    b = one_node(1, "Sub", "2,3", "2,3", &n);
    EXPECT(b, SIX, SIX, 0, 0, 0, 0, 0, 0);
    b = one_node(6, "PRelu", "1,2,3", "2", &n); /* a slope a channel */
    const float x[] = {-1, -2, -3, -4, -5, -6};
    EXPECT(b, x, y, -10, -20, -30, -80, -100, -120);
    Graph *g;
    b = one_node(6, "Add", "2,3", "2", &n);
    ob_attr_int(b, n, "broadcast", 1);
    ob_attr_int(b, n, "axis", 2);
    assert_error(load_built(b, &g), STATUS_INVALID, "'n'", "axis 2", NULL);
    ob_free(b);
}

static void upsampling(void **state) {
    (void)state;
    const float x[] = {1, 2, 3, 4}, scales[] = {1, 1, 1, 2};
    Onnx__NodeProto *n;
    OnnxBuilder *b = one_node(1, "Upsample", "1,1,2,2", NULL, &n);
    ob_attr_float(b, n, "height_scale", 1);
    ob_attr_float(b, n, "width_scale", 2);
    ob_attr_string(b, n, "mode", "nearest");
    EXPECT(b, x, NULL, 1, 1, 2, 2, 3, 3, 4, 4);
    b = one_node(7, "Upsample", "1,1,2,2", NULL, &n);
    ob_attr_floats(b, n, "scales", scales, 4);
    ob_attr_string(b, n, "mode", "linear"); /* x / 2, without a half pixel */
    EXPECT(b, x, NULL, 1, 1.5f, 2, 2, 3, 3.5f, 4, 4);
    b = one_node(10, "Resize", "1,1,2,2", NULL, &n);
    ob_floats(b, b->graph, "s", "4", scales, 4);
    n->n_input = 2;
    n->input = (char *[]){(char[]){"x"}, (char[]){"s"}};
    EXPECT(b, x, NULL, 1, 1, 2, 2, 3, 3, 4, 4);
    b = one_node(11, "Resize", "1,1,2,2", NULL, &n); /* empty roi and scales beside sizes */
    const int64_t sizes[] = {1, 1, 2, 4};
    ob_floats(b, b->graph, "none", "0", scales, 0);
    ob_int64s(b, b->graph, "sizes", "4", sizes, 4);
    ob_attr_string(b, n, "coordinate_transformation_mode", "asymmetric");
    ob_attr_string(b, n, "nearest_mode", "floor");
    n->n_input = 4;
    n->input = (char *[]){(char[]){"x"}, (char[]){"none"}, (char[]){"none"}, (char[]){"sizes"}};
    EXPECT(b, x, NULL, 1, 1, 2, 2, 3, 3, 4, 4);
}

static void dropout_is_identity(void **state) {
    (void)state;
    Onnx__NodeProto *n;
    char *outputs[] = {(char[]){"y"}, (char[]){"z"}};
    OnnxBuilder *b = one_node(7, "Dropout", "2,3", NULL, &n);
    ob_attr_float(b, n, "ratio", 0.9f);
    EXPECT(b, SIX, NULL, 1, 2, 3, 4, 5, 6);
    b = one_node(12, "Dropout", "2,3", NULL, &n); /* z is the mask */
    n->n_output = 2;
    n->output = outputs;
    EXPECT(b, SIX, NULL, 1, 1, 1, 1, 1, 1);
    b = one_node(13, "Dropout", "2,3", NULL, &n);
    const uint8_t yes = 1;
    ob_initializer(b, b->graph, ob_tensor(b, "t", ELEM_BOOL, "", &yes, 1));
    n->n_input = 3;
    n->input = (char *[]){(char[]){"x"}, (char[]){""}, (char[]){"t"}};
    Graph *g;
    assert_error(load_built(b, &g), STATUS_UNSUPPORTED, "'n'", "training", NULL);
    ob_free(b);
}

static void batch_norm(void **state) {
    (void)state;
    Onnx__NodeProto *n;
    const float two[] = {2}, one[] = {1}, zero[] = {0};
    for (int spatial = 0; spatial < 2; spatial++) {
        OnnxBuilder *b = one_node(6, "BatchNormalization", "1,1,2,3", NULL, &n);
        ob_floats(b, b->graph, "s", "1", two, 1);
        ob_floats(b, b->graph, "b", "1", one, 1);
        ob_floats(b, b->graph, "m", "1", one, 1);
        ob_floats(b, b->graph, "v", "1", one, 1);
        ob_attr_int(b, n, "spatial", spatial);
        ob_attr_int(b, n, "is_test", 1);
        ob_attr_float(b, n, "epsilon", zero[0]);
        n->n_input = 5;
        n->input = (char *[]){(char[]){"x"}, (char[]){"s"}, (char[]){"b"}, (char[]){"m"}, (char[]){"v"}};
        n->n_output = 2;
        n->output = (char *[]){(char[]){"z"}, (char[]){"mean"}};
        if (spatial) {
            ob_output(b, b->graph, "mean", ELEM_UNDEFINED, NULL); /* an output of training */
            Graph *g;
            assert_error(load_built(b, &g), STATUS_UNSUPPORTED, "'mean'", "training", NULL);
            b->graph->n_output--;
            EXPECT(b, SIX, NULL, 1, 3, 5, 7, 9, 11);
        } else {
            Graph *g;
            assert_error(load_built(b, &g), STATUS_UNSUPPORTED, "'n'", "spatial", NULL);
            ob_free(b);
        }
    }
}

static void group_norm_of_groups(void **state) {
    (void)state;
    Onnx__NodeProto *n;
    const float scale[] = {1, 10}, bias[] = {0, 100}, x[] = {-1, 1, -1, 1};
    OnnxBuilder *b = one_node(18, "GroupNormalization", "1,4,1", NULL, &n);
    ob_floats(b, b->graph, "s", "2", scale, 2);
    ob_floats(b, b->graph, "b", "2", bias, 2);
    ob_attr_int(b, n, "num_groups", 2);
    ob_attr_float(b, n, "epsilon", 0);
    n->n_input = 3;
    n->input = (char *[]){(char[]){"x"}, (char[]){"s"}, (char[]){"b"}};
    b->graph->node[0] = n;
    b->model.opset_import[0]->version = 18;
    EXPECT(b, x, NULL, -1, 1, 90, 110);
}

static void first_opsets(void **state) {
    (void)state;
    Onnx__NodeProto *n;
    OnnxBuilder *b = one_node(1, "Cast", "2,3", NULL, &n);
    ob_attr_string(b, n, "to", "INT32");
    Graph *g = loaded(b);
    assert_int_equal(value_of(g, "z")->type.elem, ELEM_I32);
    graph_free(g);
    ob_free(b);
    b = one_node(1, "Concat", "1,2", "1,2", &n); /* the axis was 1 when not given */
    EXPECT(b, SIX, SIX + 2, 1, 2, 3, 4);
    b = one_node(1, "Selu", "1", NULL, &n);
    EXPECT(b, SIX, NULL, 1.0507f);
    b = one_node(1, "Relu", "2,3", NULL, &n);
    ob_attr_ints(b, n, "consumed_inputs", INTS(0));
    EXPECT(b, SIX, NULL, 1, 2, 3, 4, 5, 6);
    b = one_node(1, "Tile", "1,2", NULL, &n);
    const float tiles[] = {2}, axis[] = {1};
    ob_floats(b, b->graph, "tiles", "", tiles, 1);
    ob_floats(b, b->graph, "axis", "", axis, 1);
    n->n_input = 3;
    n->input = (char *[]){(char[]){"x"}, (char[]){"tiles"}, (char[]){"axis"}};
    EXPECT(b, SIX, NULL, 1, 2, 1, 2);
    b = one_node(1, "Gemm", "1,2", "2,1", &n);
    const float c[] = {100};
    ob_floats(b, b->graph, "c", "1", c, 1);
    ob_attr_int(b, n, "broadcast", 1);
    n->n_input = 3;
    n->input = (char *[]){(char[]){"x"}, (char[]){"y"}, (char[]){"c"}};
    EXPECT(b, SIX, SIX, 105);
}

static void renamed_ops(void **state) {
    (void)state;
    Onnx__NodeProto *n;
    const int64_t at[] = {1};
    const float update[] = {50};
    OnnxBuilder *b = one_node(9, "Scatter", "3", NULL, &n);
    ob_int64s(b, b->graph, "i", "1", at, 1);
    ob_floats(b, b->graph, "u", "1", update, 1);
    n->n_input = 3;
    n->input = (char *[]){(char[]){"x"}, (char[]){"i"}, (char[]){"u"}};
    EXPECT(b, SIX, NULL, 1, 50, 3);
    b = one_node(8, "Scan", "3", NULL, &n);
    Graph *g;
    assert_error(load_built(b, &g), STATUS_UNSUPPORTED, "Scan (opset 8", "'n'", NULL);
    ob_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_that_became_inputs),
        cmocka_unit_test(reductions),
        cmocka_unit_test(splits_and_squeezes),
        cmocka_unit_test(softmax_of_rows),
        cmocka_unit_test(broadcast_along_an_axis),
        cmocka_unit_test(upsampling),
        cmocka_unit_test(dropout_is_identity),
        cmocka_unit_test(batch_norm),
        cmocka_unit_test(group_norm_of_groups),
        cmocka_unit_test(first_opsets),
        cmocka_unit_test(renamed_ops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
