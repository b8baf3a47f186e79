/* The verifier finds every kind of breach: each case breaks one invariant of a good graph by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ir/op.h"

#include <string.h>

static const char GRAPH[] = "graph \"g\" opset 17 {\n"
                            "  input %x : float32[2]\n"
                            "  const %c : float32[2] = {1.0, 2.0}\n"
                            "  %a : float32[2] = Add(%x, %c)\n"
                            "  %b : float32[2] = LeakyRelu(%a) {alpha=0.5}\n"
                            "  output %b\n"
                            "}\n";

static Graph *good(void) {
    Graph *g = NULL;
    Status st = graph_parse(GRAPH, strlen(GRAPH), NULL, "test", &g);
    if (st) fail_msg("%s", status_text(st));
    assert_null(graph_verify(g));
    return g;
}

static void cycle(Graph *g) { graph_set_input(g, 0, 0, g->nodes[1].out[0]); }
static void swap_order(Graph *g) {
    g->order[0] = 1;
    g->order[1] = 0;
}
static void order_twice(Graph *g) { g->order[1] = 0; }
static void order_short(Graph *g) { g->n_order = 1; }
static void forget_use(Graph *g) { g->values[graph_find_value(g, "a")].n_uses = 0; }
static void stray_use(Graph *g) { g->values[graph_find_value(g, "x")].uses[0].slot = 1; }
static void no_required_input(Graph *g) { graph_set_input(g, 1, 0, NO_ID); }
static void wrong_producer(Graph *g) { g->values[graph_find_value(g, "b")].producer = 0; }
static void two_sources(Graph *g) { g->values[graph_find_value(g, "a")].is_input = true; }
static void no_source(Graph *g) {
    g->values[graph_find_value(g, "x")].is_input = false;
    g->n_inputs = 0;
}
static void output_flag(Graph *g) { g->values[graph_find_value(g, "b")].is_output = false; }
static void constant_type(Graph *g) { g->values[graph_find_value(g, "c")].type.elem = ELEM_I32; }
static void constant_bytes(Graph *g) { g->values[graph_find_value(g, "c")].constant->bytes = 4; }
static void negative_dim(Graph *g) { g->values[graph_find_value(g, "a")].type.dims[0] = -3; }
static void rank(Graph *g) { g->values[graph_find_value(g, "a")].type.rank = MAX_RANK + 1; }
static void attr_kind(Graph *g) { g->nodes[1].attrs[0].kind = ATTR_INT; }
static void attr_name(Graph *g) { g->nodes[1].attrs[0].name = "beta"; }
static void value_name(Graph *g) { g->values[graph_find_value(g, "a")].name = "x"; }
static void node_name(Graph *g) { g->nodes[1].name = g->nodes[0].name; }
static void arity(Graph *g) { g->nodes[1].op = op_find("", "Add"); }

static const struct {
    const char *name;
    void (*damage)(Graph *g);
    const char *message;
} cases[] = {
    {"a cycle", cycle, "comes before 'b' is computed"},
    {"order against the data", swap_order, "comes before 'a' is computed"},
    {"a node twice in the order", order_twice, "of the order is broken"},
    {"a node missing in the order", order_short, "2 nodes live, 1 are in the order"},
    {"a use that is not recorded", forget_use, "its use of 'a' is not recorded"},
    {"a recorded use that is none", stray_use, "a use of value 'x' is not an input"},
    {"an absent required input", no_required_input, "input 0 is required"},
    {"a producer that does not know", wrong_producer, "value 'b' and its producer do not agree"},
    {"an input that a node computes", two_sources, "inputs or captures are incomplete"},
    {"a value from nowhere", no_source, "value 'x' is used but nothing defines it"},
    {"an output without its mark", output_flag, "value 'b' and the list of outputs do not agree"},
    {"a constant of another type", constant_type, "constant 'c' has another type than its tensor"},
    {"a constant of another size", constant_bytes, "constant 'c' has 4 bytes, its type needs 8"},
    {"a negative dimension", negative_dim, "value 'a' has dimension 0 of size -3"},
    {"a rank out of range", rank, "value 'a' has rank 9"},
    {"an attribute of another kind", attr_kind, "no attribute 'alpha' of kind 'i'"},
    {"an attribute that the op lacks", attr_name, "no attribute 'beta'"},
    {"two values of one name", value_name, "the name 'x' finds another value"},
    {"two nodes of one name", node_name, "finds another node"},
    {"too few inputs", arity, "Add with 1 inputs"},
};

static void test_breach(void **state) {
    size_t i = (size_t)(uintptr_t)*state;
    Graph *g = good();
    cases[i].damage(g);
    Status st = graph_verify(g);
    assert_int_equal(status_code(st), STATUS_INTERNAL);
    if (!strstr(status_text(st), cases[i].message)) fail_msg("'%s' is not in '%s'", cases[i].message, status_text(st));
    status_free(st);
    graph_free(g);
}

int main(void) {
    enum { N = sizeof cases / sizeof *cases };
    static struct CMUnitTest tests[N];
    for (size_t i = 0; i < N; i++)
        tests[i] =
            (struct CMUnitTest){.name = cases[i].name, .test_func = test_breach, .initial_state = (void *)(uintptr_t)i};
    return _cmocka_run_group_tests("verify", tests, N, NULL, NULL);
}
