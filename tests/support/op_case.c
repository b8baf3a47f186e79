#include "support/op_case.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void must(const OpCase *c, Status s) {
    if (!s) return;
    char text[512];
    snprintf(text, sizeof text, "%s: %s", c->op ? c->op->name : "?", status_text(s));
    status_free(s);
    fail_msg("%s", text);
}

OpCase op_case(const char *domain, const char *name, int n_out) {
    OpCase c = {.op = op_find(domain, name), .n_out = n_out, .node = NO_ID};
    if (!c.op) fail_msg("no op '%s'", name);
    must(&c, graph_new(NULL, "case", &c.g));
    return c;
}

void op_case_free(OpCase *c) {
    for (int i = 0; i < OP_CASE_MAX; i++) {
        tensor_free(&c->value[i]);
        tensor_free(&c->result[i]);
    }
    graph_free(c->g);
}

/* "1,N" to dims; the rank, -1 for "?". */
static int parse_dims(OpCase *c, const char *text, Dim *dims) {
    if (!strcmp(text, "?")) return -1;
    int rank = 0;
    while (*text) {
        if (rank == MAX_RANK || !sym_parse(c->g->syms, text, &text, &dims[rank++])) fail_msg("bad dims '%s'", text);
        if (*text == ',') text++;
    }
    return rank;
}

static int add_input(OpCase *c, ElemType e, const char *dims, Type *t) {
    assert_true(c->n_in < OP_CASE_MAX);
    Dim d[MAX_RANK] = {0};
    int rank = parse_dims(c, dims, d);
    *t = type_tensor(e, rank < 0 ? 0 : rank, d);
    t->rank = rank;
    return c->n_in++;
}

/* A tensor with the content of data. */
static Tensor filled(OpCase *c, ElemType e, const char *dims, const void *data) {
    Tensor t;
    Dim d[MAX_RANK] = {0};
    must(c, tensor_new(&t, e, parse_dims(c, dims, d), d));
    if (t.bytes) memcpy(t.data, data, t.bytes);
    return t;
}

void op_in_type(OpCase *c, ElemType e, const char *dims) {
    Type t;
    int i = add_input(c, e, dims, &t);
    must(c, graph_add_input(c->g, "x", &t, &c->in[i]));
}

void op_in(OpCase *c, ElemType e, const char *dims, const void *data) {
    op_in_type(c, e, dims);
    c->value[c->n_in - 1] = filled(c, e, dims, data);
}

void op_const(OpCase *c, ElemType e, const char *dims, const void *data) {
    Type t;
    int i = add_input(c, e, dims, &t);
    c->value[i] = filled(c, e, dims, data);
    must(c, graph_add_constant(c->g, "w", tensor_ref(&c->value[i]), &c->in[i]));
}

void op_in_absent(OpCase *c) { c->in[c->n_in++] = NO_ID; }

void op_ready(OpCase *c) {
    for (int i = 0; i < c->n_out; i++) c->out[i] = NO_ID;
    must(c, graph_add_node(c->g, c->op, "node", c->n_in, c->in, c->n_out, c->out, &c->node));
}

void op_int(OpCase *c, const char *name, int64_t v) { must(c, attr_set_int(c->g, c->node, name, v)); }
void op_float(OpCase *c, const char *name, float v) { must(c, attr_set_float(c->g, c->node, name, v)); }
void op_string(OpCase *c, const char *name, const char *v) { must(c, attr_set_string(c->g, c->node, name, v)); }

void op_ints(OpCase *c, const char *name, int64_t count, const int64_t *v) {
    must(c, attr_set_ints(c->g, c->node, name, v, count));
}

static void print_type(const OpCase *c, const Type *t, char *buf, size_t cap) {
    size_t at = (size_t)snprintf(buf, cap, "%s[", t->elem ? elem_name(t->elem) : "undefined");
    for (int i = 0; i < t->rank && at < cap; i++) {
        if (i) buf[at++] = ',';
        at += (size_t)sym_print(c->g->syms, t->dims[i], buf + at, cap - at);
    }
    snprintf(buf + at, cap - at, t->rank < 0 ? "?]" : "]");
}

void op_expect_type(OpCase *c, int o, const char *text) {
    char buf[512];
    must(c, graph_infer(c->g));
    print_type(c, &c->g->values[c->out[o]].type, buf, sizeof buf);
    assert_string_equal(buf, text);
}

static Status evaluate(OpCase *c) {
    const Tensor *in[OP_CASE_MAX] = {NULL};
    for (int i = 0; i < c->n_in; i++) in[i] = c->in[i] == NO_ID ? NULL : &c->value[i];
    Arena *scratch = arena_new();
    assert_non_null(scratch);
    EvalCtx e = {.g = c->g, .node = &c->g->nodes[c->node], .scratch = scratch, .n_in = c->n_in, .n_out = c->n_out};
    e.in = in;
    e.out = c->result;
    Status s = c->op->eval(&e);
    arena_free(scratch);
    return s;
}

static void compare(const OpCase *c, const Tensor *got, const Tensor *want, double tol) {
    int64_t n = tensor_count(want);
    for (int64_t i = 0; i < n; i++) {
        double a = tensor_get_f64(got, i), b = tensor_get_f64(want, i), d = a == b ? 0 : fabs(a - b);
        bool same = elem_is_float(want->elem) ? d <= tol || (isnan(a) && isnan(b))
                                              : tensor_get_i64(got, i) == tensor_get_i64(want, i);
        if (!same) fail_msg("%s: element %lld is %.9g, expected %.9g", c->op->name, (long long)i, a, b);
    }
}

void op_expect(OpCase *c, int o, ElemType e, const char *dims, const void *data, double tol) {
    if (!c->ran) {
        must(c, graph_infer(c->g));
        must(c, evaluate(c));
        c->ran = true;
    }
    Tensor want = filled(c, e, dims, data), *got = &c->result[o];
    Type inferred = c->g->values[c->out[o]].type, type = tensor_type(&want), have = tensor_type(got);
    assert_true(type_equal(&have, &type));
    if (type_is_static(&inferred)) assert_true(type_equal(&inferred, &type));
    compare(c, got, &want, tol);
    tensor_free(&want);
}

void op_expect_error(OpCase *c, StatusCode code, const char *text) {
    Status s = graph_infer(c->g);
    bool has_values = true;
    for (int i = 0; i < c->n_in; i++) has_values &= c->in[i] == NO_ID || c->value[i].data;
    if (!s && has_values) s = evaluate(c);
    bool right = s && status_code(s) == code && strstr(status_text(s), text);
    char found[512];
    snprintf(found, sizeof found, "%d %s", (int)status_code(s), status_text(s));
    status_free(s);
    if (!right) fail_msg("%s: expected error %d '%s', found %s", c->op->name, (int)code, text, found);
}
