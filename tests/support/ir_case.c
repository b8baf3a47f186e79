#include "support/ir_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backends/backend.h"

static Status parse(const char *lines, const char *want, Graph **g) {
    Buf b = {0};
    buf_printf(&b, "graph \"case\" opset 21 {\n%s\n", lines);
    if (want) buf_printf(&b, "const %%want : %s\n", want);
    buf_printf(&b, "output %%y\n%s}\n", want ? "output %want\n" : "");
    assert_false(b.failed);
    Status s = graph_parse(b.data, b.len, NULL, "case", g);
    buf_free(&b);
    return s;
}

static void must(Status s, const char *lines) {
    if (s) fail_msg("%s\n%s", status_text(s), lines);
}

typedef struct Run {
    const Backend *backend;
    Plan *plan;
    Context *context;
    Tensor out[2];
} Run;

static Status run(const Graph *g, Run *r) {
    PlanOptions o = {.threads = 1};
    r->backend = backend_find("ref");
    TRY(r->backend->plan(g, &o, &r->plan));
    TRY(r->backend->context(r->plan, &r->context));
    return r->backend->run(r->context, NULL, r->out);
}

static void end_run(Run *r) {
    if (r->context) r->backend->context_free(r->context);
    if (r->plan) r->backend->plan_free(r->plan);
}

static void compare(const Tensor *got, const Tensor *want, double tol, const char *lines) {
    char a[160], b[160];
    Type have = tensor_type(got), need = tensor_type(want);
    if (!type_equal(&have, &need))
        fail_msg("found %s, expected %s\n%s", tensor_describe(got, a, sizeof a), tensor_describe(want, b, sizeof b),
                 lines);
    for (int64_t i = 0; i < tensor_count(want); i++) {
        double x = tensor_get_f64(got, i), y = tensor_get_f64(want, i), d = x == y ? 0 : fabs(x - y);
        bool same = elem_is_float(want->elem) ? d <= tol || (isnan(x) && isnan(y))
                                              : tensor_get_i64(got, i) == tensor_get_i64(want, i);
        if (!same) fail_msg("element %lld is %.9g, expected %.9g\n%s", (long long)i, x, y, lines);
    }
}

/* The inferred type leaves room for what was computed: numbers agree. */
static void check_inferred(const Type *t, const Tensor *got, const char *lines) {
    bool agrees = t->kind == TYPE_TENSOR && t->elem == got->elem && (t->rank < 0 || t->rank == got->rank);
    for (int i = 0; agrees && i < t->rank; i++) agrees = DIM_IS_SYM(t->dims[i]) || t->dims[i] == got->dims[i];
    if (!agrees) fail_msg("the inferred type contradicts the result\n%s", lines);
}

void ir_expect(const char *lines, const char *want, double tol) {
    Graph *g = NULL;
    Run r = {0};
    must(parse(lines, want, &g), lines);
    must(graph_infer(g), lines);
    must(run(g, &r), lines);
    compare(&r.out[0], &r.out[1], tol, lines);
    check_inferred(&g->values[g->outputs[0]].type, &r.out[0], lines);
    end_run(&r);
    graph_free(g);
}

void ir_expect_type(const char *lines, const char *type) {
    Graph *g = NULL;
    must(parse(lines, NULL, &g), lines);
    must(graph_infer(g), lines);
    const Type *t = &g->values[g->outputs[0]].type;
    char buf[512];
    size_t at = (size_t)snprintf(buf, sizeof buf, "%s[", elem_name(t->elem));
    for (int i = 0; i < t->rank && at < sizeof buf; i++) {
        if (i) buf[at++] = ',';
        at += (size_t)sym_print(g->syms, t->dims[i], buf + at, sizeof buf - at);
    }
    assert_true(at < sizeof buf);
    snprintf(buf + at, sizeof buf - at, t->rank < 0 ? "...]" : "]");
    if (strcmp(buf, type) != 0) fail_msg("%%y is %s, expected %s\n%s", buf, type, lines);
    graph_free(g);
}

void ir_expect_error(const char *lines, StatusCode code, const char *text) {
    Graph *g = NULL;
    Run r = {0};
    must(parse(lines, NULL, &g), lines);
    Status s = graph_infer(g);
    if (!s) s = run(g, &r);
    bool right = s && status_code(s) == code && strstr(status_text(s), text);
    if (!right)
        fail_msg("expected error %d '%s', found %d '%s'\n%s", (int)code, text, (int)status_code(s), status_text(s),
                 lines);
    status_free(s);
    end_run(&r);
    graph_free(g);
}
