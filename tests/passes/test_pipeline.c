/* Pipelines as text: errors name what exists; statistics, dumps and verification; every allocation may fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "passes/pass.h"

#include <stdio.h>
#include <string.h>

static const char GRAPH[] = "graph \"g\" opset 17 {\n"
                            "  input %x : float32[1,2,4,4]\n"
                            "  const %w : float32[2,2,1,1] = {1.0, 2.0, 3.0, 4.0}\n"
                            "  const %g : float32[2] = {1.0, 2.0}\n"
                            "  const %b : float32[2] = {0.5, 0.25}\n"
                            "  const %one : float32[] = {1.0}\n"
                            "  const %t : int64[3] = {1, 2, 16}\n"
                            "  %c : ? = Conv(%x, %w)\n"
                            "  %n : ? = BatchNormalization(%c, %g, %b, %b, %g)\n"
                            "  %e : ? = Neg(%n)\n"
                            "  %f : ? = Exp(%e)\n"
                            "  %h : ? = Add(%f, %one)\n"
                            "  %s : ? = Div(%n, %h)\n"
                            "  %r : ? = Reshape(%s, %t)\n"
                            "  %u : ? = Transpose(%r) {perm=[0, 2, 1]}\n"
                            "  %v : ? = Tanh(%u)\n"
                            "  %y : ? = Transpose(%v) {perm=[0, 2, 1]}\n"
                            "  output %y\n"
                            "}\n";

static Graph *parsed(const char *text) {
    Graph *g = NULL;
    Status st = graph_parse(text, strlen(text), NULL, "test", &g);
    if (st) fail_msg("%s", status_text(st));
    return g;
}

static void expect_error(const char *pipeline, StatusCode code, const char *part) {
    Graph *g = parsed(GRAPH);
    Status st = pipeline_run(g, pipeline, &(PipelineOptions){0});
    assert_int_equal(status_code(st), code);
    if (!strstr(status_text(st), part)) fail_msg("'%s' is not in '%s'", part, status_text(st));
    status_free(st);
    graph_free(g);
}

static void test_errors(void **state) {
    (void)state;
    expect_error("fold,fuze", STATUS_USAGE, "there is no pass 'fuze'; the passes are: fold, dce");
    expect_error("fold(max=1,mx=2)", STATUS_USAGE, "pass 'fold' has no option 'mx'; it has: max");
    expect_error("dce(x)", STATUS_USAGE, "it has: none");
    expect_error("fold(max=1", STATUS_USAGE, "no closing ')'");
    expect_error("fold(max=1) fuse", STATUS_USAGE, "expected ',' after pass 'fold'");
    expect_error("fold,,dce", STATUS_USAGE, "there is no pass ''");
}

static void test_unknown_pass_runs_nothing(void **state) {
    (void)state;
    Graph *g = parsed(GRAPH);
    uint32_t before = g->n_order;
    Status st = pipeline_run(g, "recognize,nope", &(PipelineOptions){0});
    assert_int_equal(status_code(st), STATUS_USAGE);
    assert_int_equal(g->n_order, before);
    status_free(st);
    graph_free(g);
}

typedef struct Seen {
    int stats, dumps;
    uint32_t changed, removed;
    char last[64];
} Seen;

static void on_stats(void *ctx, const char *pass, const PassStats *s) {
    Seen *seen = ctx;
    seen->stats++;
    seen->changed += s->changed;
    seen->removed += s->nodes_removed;
    snprintf(seen->last, sizeof seen->last, "%s", pass);
}

static void on_dump(void *ctx, const char *pass, const Graph *g) {
    Seen *seen = ctx;
    assert_string_equal(pass, "recognize");
    assert_int_not_equal(graph_find_node(g, "s"), NO_ID);
    seen->dumps++;
}

static void test_reports(void **state) {
    (void)state;
    Graph *g = parsed(GRAPH);
    Seen seen = {0};
    PipelineOptions o = {.verify = true, .stats = on_stats, .dump = on_dump, .dump_after = "recognize", .ctx = &seen};
    assert_null(pipeline_run(g, " fold( max=9 ) , recognize,fuse, layout", &o));
    assert_int_equal(seen.stats, 4);
    assert_int_equal(seen.dumps, 1);
    assert_string_equal(seen.last, "layout");
    assert_int_equal(seen.removed, 10 - 4);
    assert_true(seen.changed >= 4);
    assert_int_equal(g->n_order, 4); /* Conv, Swish, Tanh, Reshape */
    graph_free(g);
}

/* Whatever allocation fails, the pipeline ends with "out of memory" or succeeds, and frees what it took. */
static void test_allocation_failures(void **state) {
    (void)state;
    uint64_t start = mem_count();
    Graph *g = parsed(GRAPH);
    uint64_t parse = mem_count() - start;
    assert_null(pipeline_run(g, PIPELINE_OPTIMIZE, &(PipelineOptions){0}));
    uint64_t total = mem_count() - start;
    graph_free(g);
    uint64_t failures = 0;
    for (uint64_t n = parse + 1; n <= total; n++) {
        g = parsed(GRAPH);
        mem_fail_at(n - parse);
        Status st = pipeline_run(g, PIPELINE_OPTIMIZE, &(PipelineOptions){0});
        mem_fail_at(0);
        if (st) assert_int_equal(status_code(st), STATUS_ENVIRONMENT);
        failures += st != NULL;
        status_free(st);
        graph_free(g);
    }
    assert_true(failures > (total - parse) / 2);
}

static void test_parse_allocation_failures(void **state) {
    (void)state;
    uint64_t start = mem_count();
    graph_free(parsed(GRAPH));
    uint64_t total = mem_count() - start;
    for (uint64_t n = 1; n <= total; n++) {
        Graph *g = NULL;
        mem_fail_at(n);
        Status st = graph_parse(GRAPH, strlen(GRAPH), NULL, "test", &g);
        mem_fail_at(0);
        assert_true((st != NULL) == (g == NULL));
        status_free(st);
        graph_free(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_unknown_pass_runs_nothing),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_allocation_failures),
        cmocka_unit_test(test_parse_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
