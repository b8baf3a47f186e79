/* The pattern matcher: names, both operand orders, alternatives, scalars, views, and that a match is closed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/match.h"

#include <string.h>

static const char GRAPH[] = "graph \"g\" opset 17 {\n"
                            "  input %x : float32[2,3]\n"
                            "  input %z : float32[2,3]\n"
                            "  const %two : float32[1] = {2.0}\n"
                            "  const %ax : int64[1] = {1}\n"
                            "  const %t : int64[3] = {2, 1, 3}\n"
                            "  %m : float32[2,3] = Mul(%two, %x)\n"
                            "  %a : float32[2,3] = Add(%m, %z)\n"
                            "  %s : float32[2,3] = Sub(%m, %x)\n"
                            "  %u : float32[2,1,3] = Reshape(%a, %t)\n"
                            "  %e : float32[2,1,3] = Exp(%u)\n"
                            "  %c : float32[2,3] = Clip(%s, _, %two)\n"
                            "  output %e\n"
                            "  output %c\n"
                            "}\n";

typedef struct Fixture {
    Graph *g;
    Arena *arena;
} Fixture;

static int setup(void **state) {
    static Fixture f;
    f.arena = arena_new();
    Status st = graph_parse(GRAPH, strlen(GRAPH), NULL, "test", &f.g);
    if (st) fail_msg("%s", status_text(st));
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    Fixture *f = *state;
    graph_free(f->g);
    arena_free(f->arena);
    return 0;
}

static bool matches(Fixture *f, const char *pattern, const char *root, Match *m) {
    const Pattern *p;
    Status st = match_compile(f->arena, pattern, &p);
    if (st) fail_msg("%s", status_text(st));
    return match_at(f->g, p, graph_find_node(f->g, root), m);
}

static void test_operands(void **state) {
    Fixture *f = *state;
    Match m;
    assert_true(matches(f, "Mul(x, 2)", "m", &m));
    assert_int_equal(match_value(&m, "x"), graph_find_value(f->g, "x"));
    assert_true(matches(f, "Mul($k, x)", "m", &m));
    assert_true(match_scalar(&m, "k") == 2);
    assert_true(matches(f, "Mul(#w, y)", "m", &m));
    assert_false(matches(f, "Mul(x, 2.1)", "m", &m));
    assert_false(matches(f, "Mul(x, x)", "m", &m));
    assert_false(matches(f, "Add(x, 2)", "m", &m));
    assert_false(matches(f, "Sub(x, Mul(x, 2))", "s", &m)); /* Sub does not commute */
}

static void test_absent_and_trailing(void **state) {
    Fixture *f = *state;
    Match m;
    assert_true(matches(f, "Clip(x, _, $hi)", "c", &m));
    assert_false(matches(f, "Clip(x, $lo, $hi)", "c", &m));
    assert_false(matches(f, "Clip(x)", "c", &m)); /* an input that the pattern leaves out must be absent */
}

static void test_closed(void **state) {
    Fixture *f = *state;
    Match m;
    assert_false(matches(f, "Add(Mul(x, 2), z)", "a", &m)); /* m is read by s as well */
    assert_true(matches(f, "Clip(Sub(m, x), _, k)", "c", &m));
    assert_int_equal(m.n_nodes, 2);
    assert_int_equal(m.nodes[0], graph_find_node(f->g, "c"));
}

static void test_names_and_alternatives(void **state) {
    Fixture *f = *state;
    Match m;
    assert_true(matches(f, "Clip(d=(Add(p, q)|Sub(p, q)), _, k)", "c", &m));
    assert_int_equal(match_value(&m, "d"), graph_find_value(f->g, "s"));
    assert_string_equal(match_node(&m, "d")->name, "s");
    assert_true(matches(f, "Exp(x)|Clip(Relu(x), _, k)|Clip(x, _, k)", "c", &m));
    assert_int_equal(match_value(&m, "other"), NO_ID);
}

static void test_through_views(void **state) {
    Fixture *f = *state;
    Match m;
    assert_false(matches(f, "Exp(Add(p, q))", "e", &m));
    assert_true(matches(f, "Exp(v=~Add(p, q))", "e", &m));
    assert_int_equal(match_value(&m, "v"), graph_find_value(f->g, "u"));
    assert_int_equal(m.n_nodes, 3);
    assert_int_equal(match_through_views(f->g, graph_find_value(f->g, "u")), graph_find_value(f->g, "a"));
}

static void test_close(void **state) {
    (void)state;
    assert_true(match_close(0.1F, 0.1));
    assert_true(match_close(0, 0));
    assert_false(match_close(1.00001, 1));
    assert_false(match_close(1e-9, 0));
}

static void test_broken_patterns(void **state) {
    Fixture *f = *state;
    static const char *const broken[] = {"",      "Add(",   "Add(x", "Add(x,)",         "Add(x))",
                                         "a=b=x", "Add(x|", "$",     "Add(a,b,c,d,e,f)"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        const Pattern *p;
        Status st = match_compile(f->arena, broken[i], &p);
        if (!st) fail_msg("'%s' compiles", broken[i]);
        assert_int_equal(status_code(st), STATUS_INTERNAL);
        status_free(st);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_operands, setup, teardown),
        cmocka_unit_test_setup_teardown(test_absent_and_trailing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_names_and_alternatives, setup, teardown),
        cmocka_unit_test_setup_teardown(test_through_views, setup, teardown),
        cmocka_unit_test_setup_teardown(test_close, setup, teardown),
        cmocka_unit_test_setup_teardown(test_broken_patterns, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
