/* Writing ONNX: round trips, the choice of the opset, names, external data, and what cannot be written. */
#include "frontend/onnx_test.h"
#include "ir/file.h"
#include "support/equiv.h"

static const EquivOptions EXACT = {.seed = 1, .tolerance = 0, .other_dims = 2, .max_int = 3};

/* Saves g, loads it, compares the answers, and saves g again, which must give the same bytes. Returns the reloaded
 * graph. */
static Graph *round_trip(const Graph *g, const OnnxSaveOptions *o) {
    Graph *again = NULL;
    Blob *first, *second;
    const char *path = scratch_path("a.onnx");
    assert_ok(onnx_save(g, path, o));
    assert_ok(file_map(path, &first));
    assert_ok(onnx_load(path, NULL, &again));
    assert_ok(graph_verify(again));
    assert_ok(equiv_check(g, again, &EXACT, NULL));
    assert_ok(onnx_save(g, path, o));
    assert_ok(file_map(path, &second));
    assert_int_equal(first->size, second->size);
    assert_memory_equal(first->data, second->data, first->size);
    blob_unref(first);
    blob_unref(second);
    return again;
}

/* Reads what was written without pare's importer. */
static Onnx__ModelProto *raw_model(const char *path) {
    Blob *b;
    assert_ok(file_map(path, &b));
    Onnx__ModelProto *m = onnx__model_proto__unpack(NULL, b->size, b->data);
    blob_unref(b);
    assert_non_null(m);
    return m;
}

static void free_raw(Onnx__ModelProto *m) { onnx__model_proto__free_unpacked(m, NULL); }

/* x [N,4] -> op -> y */
static OnnxBuilder *unary(const char *op, ElemType e) {
    OnnxBuilder *b = ob_new(8, 22);
    ob_input(b, b->graph, "x", e, "N,4");
    ob_node(b, b->graph, op, "n", "x", "y");
    ob_output(b, b->graph, "y", e, "N,4");
    return b;
}

static void keeps_a_model(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    const float w[] = {1, -2, 3, -4};
    ob_input(b, b->graph, "in", ELEM_F32, "batch,4");
    ob_floats(b, b->graph, "w", "4", w, 4);
    ob_node(b, b->graph, "Mul", "scale", "in,w", "scaled");
    ob_attr_float(b, ob_node(b, b->graph, "LeakyRelu", "act", "scaled", "out"), "alpha", 0.125f);
    ob_attr_int(b, ob_node(b, b->graph, "Concat", "cat", "out,in,w2", "joined"), "axis", -2);
    ob_floats(b, b->graph, "w2", "1,4", w, 4);
    ob_output(b, b->graph, "out", ELEM_F32, NULL);
    ob_output(b, b->graph, "joined", ELEM_F32, NULL);
    Graph *g = loaded(b), *again = round_trip(g, &(OnnxSaveOptions){.value_info = true});
    assert_string_equal(again->name, "test");
    assert_true(attr_float(node_of(again, "act"), "alpha") == 0.125f);
    assert_int_equal(node_of(again, "cat")->n_in, 3);
    Onnx__ModelProto *m = raw_model(scratch_path("a.onnx"));
    assert_string_equal(m->producer_name, "pare");
    assert_int_equal(m->opset_import[0]->version, 13);
    assert_int_equal(m->ir_version, 7);
    assert_string_equal(m->graph->input[0]->type->tensor_type->shape->dim[0]->dim_param, "batch");
    assert_int_equal(m->graph->n_value_info, 1);
    assert_string_equal(m->graph->value_info[0]->name, "scaled");
    assert_true(m->graph->initializer[0]->has_raw_data);
    free_raw(m);
    graph_free(again);
    graph_free(g);
    ob_free(b);
}

static void keeps_subgraphs_and_their_captures(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    Onnx__GraphProto *branches[2];
    for (int i = 0; i < 2; i++) { /* both have a value "t", and so has the graph around them */
        branches[i] = ob_subgraph(b, i ? "else_graph" : "then_graph");
        ob_node(b, branches[i], i ? "Sub" : "Add", "calc", "x,t", "r");
        ob_output(b, branches[i], "r", ELEM_F32, NULL);
    }
    ob_input(b, b->graph, "x", ELEM_F32, "N,4");
    ob_input(b, b->graph, "c", ELEM_BOOL, "");
    ob_node(b, b->graph, "Abs", "abs", "x", "t");
    Onnx__NodeProto *n = ob_node(b, b->graph, "If", "choice", "c", "y");
    ob_attr_graph(b, n, "then_branch", branches[0]);
    ob_attr_graph(b, n, "else_branch", branches[1]);
    ob_output(b, b->graph, "y", ELEM_F32, NULL);
    Graph *g = loaded(b), *again = round_trip(g, NULL);
    assert_int_equal(node_of(again, "choice")->n_captures, 2);
    graph_free(again);
    graph_free(g);
    ob_free(b);
}

/* In pare's graph the names of a subgraph are its own; ONNX wants them apart from those around it. */
static void renames_what_hides_an_outer_name(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    Onnx__GraphProto *branch = ob_subgraph(b, "branch");
    ob_node(b, branch, "Abs", "calc", "x", "inner");
    ob_output(b, branch, "inner", ELEM_F32, NULL);
    ob_input(b, b->graph, "x", ELEM_F32, "N,4");
    ob_input(b, b->graph, "c", ELEM_BOOL, "");
    ob_node(b, b->graph, "Abs", "abs", "x", "t");
    Onnx__NodeProto *n = ob_node(b, b->graph, "If", "choice", "c", "y");
    ob_attr_graph(b, n, "then_branch", branch);
    ob_attr_graph(b, n, "else_branch", branch);
    ob_output(b, b->graph, "y", ELEM_F32, NULL);
    Graph *g = loaded(b);
    Graph *sub = attr_find(node_of(g, "choice"), "then_branch")->g;
    sub->values[graph_find_value(sub, "inner")].name = "t"; /* as an edit of the subgraph alone may name it */
    Graph *again = round_trip(g, NULL);
    Onnx__ModelProto *m = raw_model(scratch_path("a.onnx"));
    const Onnx__GraphProto *written = m->graph->node[1]->attribute[0]->g;
    assert_string_equal(written->node[0]->input[0], "x");
    assert_string_not_equal(written->node[0]->output[0], "t");
    free_raw(m);
    graph_free(again);
    graph_free(g);
    ob_free(b);
}

static void repeated_outputs_get_names_of_their_own(void **state) {
    (void)state;
    OnnxBuilder *b = unary("Relu", ELEM_F32);
    ob_output(b, b->graph, "y", ELEM_F32, NULL);
    ob_output(b, b->graph, "x", ELEM_F32, NULL);
    Graph *g = loaded(b), *again = NULL;
    assert_int_equal(g->n_outputs, 3);
    assert_ok(onnx_save(g, scratch_path("a.onnx"), NULL));
    assert_ok(onnx_load(scratch_path("a.onnx"), NULL, &again));
    assert_int_equal(again->n_outputs, 3);
    assert_string_equal(again->values[again->outputs[0]].name, "y");
    assert_string_not_equal(again->values[again->outputs[1]].name, "y");
    assert_string_equal(again->values[again->outputs[2]].name, "x");
    graph_free(again);
    graph_free(g);
    ob_free(b);
}

/* ---- opsets ---- */

static int64_t written_opset(OnnxBuilder *b, int asked) {
    Graph *g = loaded(b);
    assert_ok(onnx_save(g, scratch_path("o.onnx"), &(OnnxSaveOptions){.opset = asked}));
    graph_free(g);
    ob_free(b);
    Onnx__ModelProto *m = raw_model(scratch_path("o.onnx"));
    int64_t version = m->opset_import[0]->version;
    free_raw(m);
    return version;
}

static void the_lowest_opset_that_fits(void **state) {
    (void)state;
    assert_int_equal(written_opset(unary("Relu", ELEM_F32), 0), 13);
    assert_int_equal(written_opset(unary("Relu", ELEM_F32), 17), 17);
    assert_int_equal(written_opset(unary("Relu", ELEM_I32), 0), 14); /* integers came later */
    assert_int_equal(written_opset(unary("Gelu", ELEM_F32), 0), 20);
    assert_int_equal(written_opset(unary("Identity", ELEM_U4), 0), 21);
    assert_int_equal(written_opset(unary("Identity", ELEM_U2), 0), 25);
    OnnxBuilder *b = unary("DepthToSpace", ELEM_F32);
    b->graph->input[0] = NULL;
    b->graph->n_input = b->graph->n_output = 0;
    ob_input(b, b->graph, "x", ELEM_F32, "1,4,2,2");
    ob_output(b, b->graph, "y", ELEM_F32, NULL);
    ob_attr_int(b, b->graph->node[0], "blocksize", 2);
    assert_int_equal(written_opset(b, 0), 13);
    b = ob_new(8, 16); /* its modes were renamed in opset 20: the older form with the same attribute will not do */
    ob_input(b, b->graph, "x", ELEM_F32, "1,1,2,2");
    ob_input(b, b->graph, "grid", ELEM_F32, "1,2,2,2");
    ob_node(b, b->graph, "GridSample", "n", "x,grid", "y");
    ob_output(b, b->graph, "y", ELEM_F32, NULL);
    assert_int_equal(written_opset(b, 0), 20);
}

static void old_forms_where_they_say_the_same(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 18);
    const int64_t axes[] = {1};
    ob_input(b, b->graph, "x", ELEM_F32, "2,4");
    ob_int64s(b, b->graph, "axes", "1", axes, 1);
    ob_node(b, b->graph, "ReduceMean", "mean", "x,axes", "m");
    ob_attr_int(b, ob_node(b, b->graph, "Split", "split", "x", "p,q"), "num_outputs", 2);
    ob_node(b, b->graph, "Add", "sum", "m,p", "s");
    ob_output(b, b->graph, "s", ELEM_F32, NULL);
    ob_output(b, b->graph, "q", ELEM_F32, NULL);
    Graph *g = loaded(b), *again = round_trip(g, NULL);
    Onnx__ModelProto *m = raw_model(scratch_path("a.onnx"));
    assert_int_equal(m->opset_import[0]->version, 13);
    assert_int_equal(m->graph->n_initializer, 0); /* axes is an attribute now */
    assert_int_equal(m->graph->node[0]->n_input, 1);
    assert_int_equal(m->graph->node[1]->n_attribute, 0);
    free_raw(m);
    graph_free(again);
    again = round_trip(g, &(OnnxSaveOptions){.opset = 18});
    m = raw_model(scratch_path("a.onnx"));
    assert_int_equal(m->graph->n_initializer, 1);
    free_raw(m);
    graph_free(again);
    graph_free(g);
    ob_free(b);
}

static void what_an_opset_cannot_express(void **state) {
    (void)state;
    OnnxBuilder *b = unary("Gelu", ELEM_F32);
    ob_node(b, b->graph, "Mish", "m", "y", "z");
    ob_output(b, b->graph, "z", ELEM_F32, NULL);
    Graph *g = loaded(b);
    const char *path = scratch_path("no.onnx");
    assert_error(onnx_save(g, path, &(OnnxSaveOptions){.opset = 17}), STATUS_UNSUPPORTED, "no.onnx", "'n'", "opset 20",
                 "'m'", "opset 18", NULL);
    assert_error(onnx_save(g, path, &(OnnxSaveOptions){.opset = 12}), STATUS_UNSUPPORTED, "13 to 28", NULL);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_error(onnx_save(g, scratch_path("no/where.onnx"), NULL), STATUS_ENVIRONMENT, "where.onnx", NULL);
    graph_free(g);
    ob_free(b);
}

static void ops_of_pare_alone(void **state) {
    (void)state;
    const OpDef *own = NULL;
    for (int i = 0; i < op_count(); i++)
        if (!strcmp(op_at(i)->domain, "pare") && op_at(i)->min_in == 1) own = op_at(i);
    assert_non_null(own);
    Graph *g;
    ValueId x, y = NO_ID;
    Type t = type_tensor(ELEM_U8, 1, (const Dim[]){4});
    assert_ok(graph_new(NULL, "g", &g));
    assert_ok(graph_add_input(g, "x", &t, &x));
    assert_ok(graph_add_node(g, own, "mine", 1, &x, 1, &y, NULL));
    assert_ok(graph_add_output(g, y));
    assert_error(onnx_save(g, scratch_path("no.onnx"), NULL), STATUS_UNSUPPORTED, "'mine'", NULL);
    graph_free(g);
}

/* ---- files ---- */

static void large_weights_go_to_a_file_of_their_own(void **state) {
    (void)state;
    OnnxBuilder *b = ob_new(8, 17);
    enum { N = 5000 };
    float *w = malloc(N * sizeof *w);
    for (int i = 0; i < N; i++) w[i] = (float)i;
    ob_input(b, b->graph, "x", ELEM_F32, "5000");
    ob_floats(b, b->graph, "w", "5000", w, N);
    ob_floats(b, b->graph, "v", "1,5000", w, N);
    ob_floats(b, b->graph, "small", "1", w, 1);
    ob_node(b, b->graph, "Sum", "n", "x,w,v,small", "y");
    ob_output(b, b->graph, "y", ELEM_F32, NULL);
    Graph *g = loaded(b), *again = round_trip(g, &(OnnxSaveOptions){.external_above = 10000});
    uint64_t model, data, both;
    assert_ok(file_size(scratch_path("a.onnx"), &model));
    assert_ok(file_size(scratch_path("a.onnx.data"), &data));
    assert_true(model < 2000 && data >= 2 * N * sizeof(float));
    assert_ok(onnx_bytes(scratch_path("a.onnx"), &both));
    assert_int_equal(both, model + data);
    Onnx__ModelProto *m = raw_model(scratch_path("a.onnx"));
    assert_true(m->graph->initializer[2]->has_raw_data); /* the small one stays */
    free_raw(m);
    graph_free(again);
    graph_free(g);
    free(w);
    ob_free(b);
}

static void failed_allocations_leave_no_file(void **state) {
    (void)state;
    OnnxBuilder *b = unary("Relu", ELEM_F32);
    Graph *g = loaded(b);
    uint64_t failures = 0;
    for (uint64_t nth = 1;; nth++, failures++) {
        const char *path = scratch_path("m.onnx");
        mem_fail_at(nth);
        Status s = onnx_save(g, path, NULL);
        mem_fail_at(0);
        if (!s) break;
        assert_int_equal(status_code(s), STATUS_ENVIRONMENT);
        status_free(s);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    assert_true(failures > 3);
    graph_free(g);
    ob_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_a_model),
        cmocka_unit_test(keeps_subgraphs_and_their_captures),
        cmocka_unit_test(renames_what_hides_an_outer_name),
        cmocka_unit_test(repeated_outputs_get_names_of_their_own),
        cmocka_unit_test(the_lowest_opset_that_fits),
        cmocka_unit_test(old_forms_where_they_say_the_same),
        cmocka_unit_test(what_an_opset_cannot_express),
        cmocka_unit_test(ops_of_pare_alone),
        cmocka_unit_test(large_weights_go_to_a_file_of_their_own),
        cmocka_unit_test(failed_allocations_leave_no_file),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
