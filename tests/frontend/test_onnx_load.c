/* Reading ONNX: types, names, constants, subgraphs, functions, and content that must be refused. */
#include "frontend/onnx_test.h"

/* in [N,4] -> Relu -> out */
static OnnxBuilder *relu_model(void) {
    OnnxBuilder *b = ob_new(8, 17);
    ob_input(b, b->graph, "in", ELEM_F32, "N,4");
    ob_node(b, b->graph, "Relu", "act", "in", "out");
    ob_output(b, b->graph, "out", ELEM_F32, "N,4");
    return b;
}

static void reads_names_types_and_symbols(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    ob_input(b, b->graph, "a", ELEM_F32, "N,3,?");
    ob_input(b, b->graph, "b", ELEM_F32, "N,1,?");
    ob_node(b, b->graph, "Relu", "", "a", "r");
    ob_node(b, b->graph, "Relu", "second", "b", "s");
    ob_output(b, b->graph, "r", ELEM_F32, NULL);
    ob_output(b, b->graph, "s", ELEM_UNDEFINED, NULL);
    Graph *g = loaded(b);
    assert_int_equal(g->n_inputs, 2);
    const Type *x = &value_of(g, "a")->type, *y = &value_of(g, "b")->type, *r = &value_of(g, "r")->type;
    assert_int_equal(x->rank, 3);
    assert_true(DIM_IS_SYM(x->dims[0]) && x->dims[0] == y->dims[0]);
    assert_true(x->dims[1] == 3 && y->dims[1] == 1);
    assert_true(DIM_IS_SYM(x->dims[2]) && DIM_IS_SYM(y->dims[2]) && x->dims[2] != y->dims[2]);
    assert_true(type_equal(x, r));
    assert_string_equal(g->nodes[value_of(g, "r")->producer].name, "r"); /* unnamed: called after its output */
    assert_string_equal(g->nodes[value_of(g, "s")->producer].name, "second");
    assert_true(value_of(g, "r")->is_output);
    assert_int_equal(g->opset, 17);
    graph_free(g);
    ob_free(b);
}

static void inputs_with_initializers_are_constants(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(3, 8);
    const float w[] = {1, 2, 3, 4};
    ob_input(b, b->graph, "in", ELEM_F32, "1,4");
    ob_input(b, b->graph, "w", ELEM_F32, "4");
    ob_floats(b, b->graph, "w", "4", w, 4);
    ob_node(b, b->graph, "Add", "sum", "in,w", "out");
    ob_output(b, b->graph, "out", ELEM_F32, "1,4");
    Graph *g = loaded(b);
    assert_int_equal(g->n_inputs, 1);
    const Tensor *t = value_of(g, "w")->constant;
    assert_non_null(t);
    assert_memory_equal(t->data, w, sizeof w);
    graph_free(g);
    ob_free(b);
}

static void check_constant(const Graph *g, const char *name, ElemType e, int rank, int64_t n, double last) {
    const Tensor *t = value_of(g, name)->constant;
    if (!t) print_error("'%s' is not constant\n", name);
    assert_non_null(t);
    assert_int_equal(t->elem, e); /* asserted above. NOLINT(clang-analyzer-core.NullDereference) */
    assert_int_equal(t->rank, rank);
    assert_int_equal(tensor_count(t), n);
    assert_true(tensor_get_f64(t, n - 1) == last);
}

static void constant_nodes_of_every_form(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    Onnx__GraphProto *g = b->graph;
    const float floats[] = {0.5f, 1.5f};
    const int64_t ints[] = {7, 8, 9}, at[] = {1, 4};
    ob_attr_float(b, ob_node(b, g, "Constant", "", "", "f"), "value_float", 2.5f);
    ob_attr_int(b, ob_node(b, g, "Constant", "", "", "i"), "value_int", -3);
    ob_attr_floats(b, ob_node(b, g, "Constant", "", "", "fs"), "value_floats", floats, 2);
    ob_attr_ints(b, ob_node(b, g, "Constant", "", "", "is"), "value_ints", ints, 3);
    ob_attr_tensor(b, ob_node(b, g, "Constant", "", "", "t"), "value",
                   ob_tensor(b, "", ELEM_F32, "2", floats, sizeof floats));
    ob_attr_string(b, ob_node(b, g, "Constant", "", "", "s"), "value_string", "unused");
    Onnx__AttributeProto *a = ob_attr(b, ob_node(b, g, "Constant", "", "", "sparse"), "sparse_value");
    Onnx__SparseTensorProto sparse = ONNX__SPARSE_TENSOR_PROTO__INIT;
    int64_t dims[] = {5};
    sparse.values = ob_tensor(b, "v", ELEM_F32, "2", floats, sizeof floats);
    sparse.indices = ob_tensor(b, "i", ELEM_I64, "2", at, sizeof at);
    sparse.n_dims = 1;
    sparse.dims = dims;
    a->has_type = 1;
    a->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR;
    a->sparse_tensor = &sparse;
    const char *names[] = {"f", "i", "fs", "is", "t", "sparse"};
    for (size_t i = 0; i < 6; i++) ob_output(b, g, names[i], ELEM_UNDEFINED, NULL);
    Graph *graph = loaded(b);
    assert_int_equal(graph->n_order, 0);
    check_constant(graph, "f", ELEM_F32, 0, 1, 2.5);
    check_constant(graph, "i", ELEM_I64, 0, 1, -3);
    check_constant(graph, "fs", ELEM_F32, 1, 2, 1.5);
    check_constant(graph, "is", ELEM_I64, 1, 3, 9);
    check_constant(graph, "t", ELEM_F32, 1, 2, 1.5);
    check_constant(graph, "sparse", ELEM_F32, 1, 5, 1.5);
    assert_true(tensor_get_f64(value_of(graph, "sparse")->constant, 1) == 0.5);
    graph_free(graph);
    ob_free(b);
}

/* ---- typed data ---- */

typedef struct TypedCase {
    ElemType elem;
    const char *dims;
    int32_t data[4];
    size_t n;
    double last;
} TypedCase;

static void typed_int32_data(void **state) {
    (void)state;
    static const TypedCase cases[] = {
        {ELEM_I8, "3", {1, -1, -128}, 3, -128}, {ELEM_U8, "2", {1, 255}, 2, 255},
        {ELEM_I16, "1", {-32768}, 1, -32768},   {ELEM_U16, "1", {65535}, 1, 65535},
        {ELEM_I32, "1", {-5}, 1, -5},           {ELEM_BOOL, "2", {0, 1}, 2, 1},
        {ELEM_F16, "2", {0, 0x3e00}, 2, 1.5},   {ELEM_BF16, "1", {0xc020}, 1, -2.5},
        {ELEM_F8E4M3FN, "1", {0x38}, 1, 1},     {ELEM_I4, "3", {0x21, 0x0d}, 2, -3},
        {ELEM_U4, "4", {0x21, 0xf3}, 2, 15},    {ELEM_U2, "5", {0xe4, 0x02}, 2, 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        OnnxBuilder *b = relu_model();
        Onnx__TensorProto *t = ob_tensor(b, "t", cases[i].elem, cases[i].dims, NULL, 0);
        t->int32_data = (int32_t *)(uintptr_t)cases[i].data;
        t->n_int32_data = cases[i].n;
        ob_initializer(b, b->graph, t);
        ob_output(b, b->graph, "t", ELEM_UNDEFINED, NULL);
        Graph *g = loaded(b);
        check_constant(g, "t", cases[i].elem, 1, t->dims[0], cases[i].last);
        graph_free(g);
        t->n_int32_data--;
        assert_error(load_built(b, &g), STATUS_INVALID, "built.onnx", "'t'", "entries", NULL);
        ob_free(b);
    }
}

static void other_typed_data(void **state) {
    (void)state;
    float f[] = {1, 2.5f};
    double d[] = {-1e300};
    int64_t l[] = {INT64_MIN};
    uint64_t u[] = {4000000000u}, v[] = {5000000000u};
    OnnxBuilder *b = relu_model();
    Onnx__TensorProto *t[] = {ob_tensor(b, "f", ELEM_F32, "2", NULL, 0), ob_tensor(b, "d", ELEM_F64, "", NULL, 0),
                              ob_tensor(b, "l", ELEM_I64, "1", NULL, 0), ob_tensor(b, "u", ELEM_U32, "1", NULL, 0),
                              ob_tensor(b, "v", ELEM_U64, "1", NULL, 0)};
    t[0]->float_data = f, t[0]->n_float_data = 2;
    t[1]->double_data = d, t[1]->n_double_data = 1;
    t[2]->int64_data = l, t[2]->n_int64_data = 1;
    t[3]->uint64_data = u, t[3]->n_uint64_data = 1;
    t[4]->uint64_data = v, t[4]->n_uint64_data = 1;
    for (int i = 0; i < 5; i++) {
        ob_initializer(b, b->graph, t[i]);
        ob_output(b, b->graph, t[i]->name, ELEM_UNDEFINED, NULL);
    }
    Graph *g = loaded(b);
    check_constant(g, "f", ELEM_F32, 1, 2, 2.5);
    check_constant(g, "d", ELEM_F64, 0, 1, -1e300);
    check_constant(g, "l", ELEM_I64, 1, 1, (double)INT64_MIN);
    check_constant(g, "u", ELEM_U32, 1, 1, 4e9);
    check_constant(g, "v", ELEM_U64, 1, 1, 5e9);
    graph_free(g);
    t[3]->uint64_data = v; /* too large for uint32 */
    assert_error(load_built(b, &g), STATUS_INVALID, "'u'", "fit", NULL);
    ob_free(b);
}

/* ---- initializers that must be refused ---- */

static void expect_bad_tensor(Onnx__TensorProto *t, OnnxBuilder *b, StatusCode code, const char *text) {
    Graph *g;
    ob_initializer(b, b->graph, t);
    assert_error(load_built(b, &g), code, "built.onnx", text, NULL);
    ob_free(b);
}

static void bad_tensors(void **state) {
    (void)state;
    const float w[4] = {0};
    OnnxBuilder *b = relu_model();
    expect_bad_tensor(ob_tensor(b, "w", ELEM_F32, "5", w, sizeof w), b, STATUS_INVALID, "'w'");
    b = relu_model();
    expect_bad_tensor(ob_tensor(b, "w", ELEM_F32, "3", w, sizeof w), b, STATUS_INVALID, "'w'");
    b = relu_model();
    expect_bad_tensor(ob_tensor(b, "w", ELEM_F32, "-1", w, sizeof w), b, STATUS_INVALID, "'w'");
    b = relu_model();
    expect_bad_tensor(ob_tensor(b, "w", ELEM_F32, "4611686018427387904,4", w, 0), b, STATUS_INVALID, "'w'");
    b = relu_model();
    expect_bad_tensor(ob_tensor(b, "w", ELEM_F32, "1,1,1,1,1,1,1,1,4", w, sizeof w), b, STATUS_UNSUPPORTED,
                      "9 dimensions");
    b = relu_model();
    expect_bad_tensor(ob_tensor(b, "w", (ElemType)99, "4", w, sizeof w), b, STATUS_UNSUPPORTED, "99");
    b = relu_model();
    expect_bad_tensor(ob_tensor(b, "w", ELEM_UNDEFINED, "4", w, sizeof w), b, STATUS_INVALID, "'w'");
}

static void strings_are_refused_only_when_read(void **state) {
    (void)state;
    OnnxBuilder *b = relu_model();
    ob_initializer(b, b->graph, ob_tensor(b, "words", ELEM_STRING, "0", NULL, 0));
    graph_free(loaded(b));
    ob_node(b, b->graph, "Identity", "copy", "words", "more");
    Graph *g;
    assert_error(load_built(b, &g), STATUS_UNSUPPORTED, "'copy'", "'words'", "strings", NULL);
    ob_free(b);
}

/* ---- names and order ---- */

static void undefined_names(void **state) {
    (void)state;
    Graph *g;
    OnnxBuilder *b = relu_model();
    ob_node(b, b->graph, "Add", "plus", "out,nothing", "z");
    assert_error(load_built(b, &g), STATUS_INVALID, "built.onnx", "'plus'", "'nothing'", NULL);
    ob_free(b);
    b = relu_model();
    ob_output(b, b->graph, "nowhere", ELEM_F32, NULL);
    assert_error(load_built(b, &g), STATUS_INVALID, "'nowhere'", NULL);
    ob_free(b);
    b = relu_model();
    ob_node(b, b->graph, "Abs", "again", "in", "out");
    assert_error(load_built(b, &g), STATUS_INVALID, "'out'", "twice", NULL);
    ob_free(b);
}

static void unsorted_graphs_are_sorted(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    ob_input(b, b->graph, "in", ELEM_F32, "4");
    ob_node(b, b->graph, "Relu", "last", "m", "out");
    ob_node(b, b->graph, "Abs", "first", "in", "m");
    ob_output(b, b->graph, "out", ELEM_F32, "4");
    Graph *g = loaded(b);
    assert_string_equal(g->nodes[g->order[0]].name, "first");
    graph_free(g);
    ob_node(b, b->graph, "Add", "turn", "out,back", "turned");
    ob_node(b, b->graph, "Relu", "turn2", "turned", "back");
    assert_error(load_built(b, &g), STATUS_INVALID, "built.onnx", "cycle", "'turn", NULL);
    ob_free(b);
}

static void input_and_output_counts(void **state) {
    (void)state;
    Graph *g;
    OnnxBuilder *b = relu_model();
    ob_node(b, b->graph, "Relu", "many", "in,in", "z");
    assert_error(load_built(b, &g), STATUS_INVALID, "'many'", "2 inputs", NULL);
    ob_free(b);
    b = relu_model();
    ob_node(b, b->graph, "Add", "hole", "in,", "z");
    assert_error(load_built(b, &g), STATUS_INVALID, "'hole'", "absent", NULL);
    ob_free(b);
    b = relu_model();
    ob_attr_string(b, ob_node(b, b->graph, "LeakyRelu", "wrong", "in", "z"), "alpha", "0.1");
    assert_error(load_built(b, &g), STATUS_INVALID, "'wrong'", "'alpha'", NULL);
    ob_free(b);
}

/* ---- subgraphs ---- */

/* A branch: out = Add(a, b), both from around it. */
static Onnx__GraphProto *branch(OnnxBuilder *b, const char *op, const char *a, const char *c) {
    Onnx__GraphProto *g = ob_subgraph(b, op);
    char in[64];
    snprintf(in, sizeof in, "%s,%s", a, c);
    ob_node(b, g, op, "calc", in, "result");
    ob_output(b, g, "result", ELEM_F32, NULL);
    return g;
}

static void subgraphs_capture_what_they_read(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    Onnx__GraphProto *g = b->graph;
    ob_input(b, g, "x", ELEM_F32, "N,4");
    ob_input(b, g, "y", ELEM_F32, "N,4");
    ob_input(b, g, "c", ELEM_BOOL, "");
    Onnx__GraphProto *outer = ob_subgraph(b, "outer"); /* a branch that holds an If of its own */
    Onnx__NodeProto *inner = ob_node(b, outer, "If", "inner_if", "c", "result");
    ob_attr_graph(b, inner, "then_branch", branch(b, "Add", "x", "y"));
    ob_attr_graph(b, inner, "else_branch", branch(b, "Sub", "x", "x"));
    ob_output(b, outer, "result", ELEM_F32, NULL);
    Onnx__NodeProto *n = ob_node(b, g, "If", "choice", "c", "out");
    ob_attr_graph(b, n, "then_branch", branch(b, "Mul", "y", "y"));
    ob_attr_graph(b, n, "else_branch", outer);
    ob_output(b, g, "out", ELEM_F32, NULL);
    Graph *graph = loaded(b);
    const Node *node = node_of(graph, "choice");
    assert_int_equal(node->n_in, 1);
    assert_int_equal(node->n_captures, 3); /* y, c and x */
    const Graph *then_branch = attr_find(node, "then_branch")->g, *else_branch = attr_find(node, "else_branch")->g;
    assert_int_equal(then_branch->n_captures, 1);
    assert_int_equal(else_branch->n_captures, 3);
    assert_string_equal(then_branch->values[then_branch->captures[0].inner].name, "y");
    const Node *deep = node_of(else_branch, "inner_if");
    assert_int_equal(attr_find(deep, "then_branch")->g->n_captures, 2);
    assert_int_equal(attr_find(deep, "else_branch")->g->n_captures, 1);
    assert_int_equal(value_of(graph, "out")->type.rank, 2);
    graph_free(graph);
    ob_free(b);
}

/* ---- functions ---- */

static void functions_take_the_place_of_their_calls(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    ob_import(b, "local", 1);
    Onnx__FunctionProto *f = ob_function(b, "local", "Leak", "x", "y,same");
    ob_attr_ref(b, ob_function_node(b, f, "LeakyRelu", "leaky", "x", "t"), "alpha", "slope");
    ob_attr_float(b, ob_function_node(b, f, "Constant", "", "", "one"), "value_float", 1);
    ob_function_node(b, f, "Add", "", "t,one", "y");
    ob_function_node(b, f, "Identity", "", "x", "same");
    Onnx__FunctionProto *twice = ob_function(b, "local", "Twice", "x", "z");
    ob_attr_ref(b, ob_function_node(b, twice, "local.Leak", "a", "x", "m"), "slope", "slope");
    ob_function_node(b, twice, "local.Leak", "b", "m", "z");
    ob_input(b, b->graph, "in", ELEM_F32, "N,4");
    ob_attr_float(b, ob_node(b, b->graph, "local.Twice", "call", "in", "out"), "slope", 0.25f);
    ob_output(b, b->graph, "out", ELEM_F32, "N,4");
    Graph *g = loaded(b);
    assert_true(attr_float(node_of(g, "call/a/leaky"), "alpha") == 0.25f);
    assert_null(attr_find(node_of(g, "call/b/leaky"), "alpha")); /* not given: the op's default */
    assert_non_null(value_of(g, "call/a/one")->constant);
    assert_true(value_of(g, "out")->is_output);
    assert_string_equal(g->nodes[value_of(g, "out")->producer].op->name, "Add");
    graph_free(g);
    ob_free(b);
}

static void functions_that_hand_an_input_through(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    ob_import(b, "local", 1);
    ob_function(b, "local", "Same", "x", "x");
    ob_input(b, b->graph, "in", ELEM_F32, "4");
    ob_node(b, b->graph, "local.Same", "call", "in", "out");
    ob_output(b, b->graph, "out", ELEM_F32, "4");
    Graph *g = loaded(b);
    assert_int_equal(g->n_order, 1);
    assert_true(op_is(&g->nodes[g->order[0]], "Identity"));
    graph_free(g);
    ob_free(b);
}

static void functions_that_call_themselves(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    ob_import(b, "local", 1);
    ob_function_node(b, ob_function(b, "local", "A", "x", "y"), "local.B", "", "x", "y");
    ob_function_node(b, ob_function(b, "local", "B", "x", "y"), "local.A", "", "x", "y");
    ob_input(b, b->graph, "in", ELEM_F32, "4");
    ob_node(b, b->graph, "local.A", "call", "in", "out");
    ob_output(b, b->graph, "out", ELEM_F32, "4");
    Graph *g;
    assert_error(load_built(b, &g), STATUS_INVALID, "'A'", "itself", NULL);
    ob_free(b);
}

/* ---- unsupported ---- */

static void everything_unsupported_is_listed_at_once(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    ob_import(b, "com.example", 3);
    ob_import(b, "local", 1);
    ob_input(b, b->graph, "c", ELEM_BOOL, "");
    ob_input(b, b->graph, "x", ELEM_F32, "4");
    ob_function_node(b, ob_function(b, "local", "F", "x", "y"), "com.example.Deep", "in_function", "x", "y");
    Onnx__GraphProto *g = ob_subgraph(b, "g");
    ob_node(b, g, "com.example.Strange", "in_subgraph", "x", "r");
    ob_output(b, g, "r", ELEM_F32, NULL);
    Onnx__NodeProto *n = ob_node(b, b->graph, "If", "choice", "c", "o");
    ob_attr_graph(b, n, "then_branch", g);
    ob_attr_graph(b, n, "else_branch", g);
    ob_node(b, b->graph, "local.F", "call", "x", "p");
    ob_attr_int(b, ob_node(b, b->graph, "Relu", "odd", "x", "q"), "sideways", 1);
    ob_node(b, b->graph, "Relu", "wrong_too", "x,x,x", "z"); /* a plain error, which comes after the list */
    ob_output(b, b->graph, "o", ELEM_F32, NULL);
    Graph *graph;
    assert_error(load_built(b, &graph), STATUS_UNSUPPORTED, "built.onnx", "com.example.Strange (opset 3)",
                 "'in_subgraph'", "com.example.Deep", "'in_function'", "attribute 'sideways'", "'odd'", NULL);
    ob_free(b);
}

static void versions_newer_than_known(void **state) {
    (void)state;
    Graph *g;
    OnnxBuilder *b = relu_model();
    b->model.opset_import[0]->version = ONNX_NEWEST_OPSET + 1;
    assert_error(load_built(b, &g), STATUS_UNSUPPORTED, "opset 29", NULL);
    b->model.opset_import[0]->version = 17;
    b->model.ir_version = ONNX_NEWEST_IR + 1;
    assert_error(load_built(b, &g), STATUS_UNSUPPORTED, "ir_version", NULL);
    ob_free(b);
    b = ob_new(8, 0);
    ob_input(b, b->graph, "in", ELEM_F32, "4");
    ob_node(b, b->graph, "Relu", "act", "in", "out");
    ob_output(b, b->graph, "out", ELEM_F32, "4");
    assert_error(load_built(b, &g), STATUS_INVALID, "'act'", "does not import", NULL);
    ob_free(b);
}

/* ---- memory ---- */

static void every_failed_allocation_is_reported(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 9);
    const float w[] = {1, 2, 3, 4};
    ob_input(b, b->graph, "in", ELEM_F32, "N,4");
    ob_floats(b, b->graph, "w", "4", w, 4);
    ob_node(b, b->graph, "Add", "sum", "in,w", "s");
    ob_attr_int(b, ob_node(b, b->graph, "Softmax", "soft", "s", "out"), "axis", 0);
    ob_output(b, b->graph, "out", ELEM_F32, NULL);
    size_t n;
    const uint8_t *bytes = ob_pack(b, &n);
    uint64_t failures = 0;
    for (uint64_t nth = 1;; nth++, failures++) {
        Graph *g = NULL;
        mem_fail_at(nth);
        Status s = onnx_load_bytes(bytes, n, "built.onnx", NULL, &g);
        mem_fail_at(0);
        if (!s) {
            graph_free(g);
            break;
        }
        assert_int_equal(status_code(s), STATUS_ENVIRONMENT);
        status_free(s);
    }
    assert_true(failures > 50);
    ob_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_names_types_and_symbols),
        cmocka_unit_test(inputs_with_initializers_are_constants),
        cmocka_unit_test(constant_nodes_of_every_form),
        cmocka_unit_test(typed_int32_data),
        cmocka_unit_test(other_typed_data),
        cmocka_unit_test(bad_tensors),
        cmocka_unit_test(strings_are_refused_only_when_read),
        cmocka_unit_test(undefined_names),
        cmocka_unit_test(unsorted_graphs_are_sorted),
        cmocka_unit_test(input_and_output_counts),
        cmocka_unit_test(subgraphs_capture_what_they_read),
        cmocka_unit_test(functions_take_the_place_of_their_calls),
        cmocka_unit_test(functions_that_hand_an_input_through),
        cmocka_unit_test(functions_that_call_themselves),
        cmocka_unit_test(everything_unsupported_is_listed_at_once),
        cmocka_unit_test(versions_newer_than_known),
        cmocka_unit_test(every_failed_allocation_is_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
