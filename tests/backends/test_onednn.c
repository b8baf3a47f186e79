/* Products of the CPU backend in bf16, and in fp32 on the same graphs, against the reference backend. Operands are
 * multiples of 1/16 with few digits: they are exact in bf16 and so are all sums in binary32, whatever their order; what
 * differs then is an error, not rounding. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "backends/backend.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    const char *name, *x, *w, *bias, *attrs;
    const char *tail; /* from %c to %y; %r is a residual of the shape `r` */
    const char *r;
    double tolerance; /* of activations; 0: the same bits */
    const char *kernel;
} Case;

#define BF16 "onednn."

static const Case cases[] = {
    {"3x3, many slabs of two images", "2,24,56,56", "32,24,3,3", "32", "Conv|pads=[1,1,1,1]", "%y : ? = Relu(%c)", NULL,
     0, BF16},
    {"no bias, nothing behind", "1,32,17,19", "40,32,1,1", NULL, "Conv|", "%y : ? = Identity(%c)", NULL, 0, BF16},
    {"stride, uneven padding, residual first", "1,64,31,29", "48,64,3,3", "48", "Conv|strides=[2,2], pads=[0,1,1,0]",
     "%s : ? = Add(%c, %r)\n%y : ? = Relu(%s)", "1,48,15,14", 0, BF16},
    {"residual last", "1,64,40,40", "96,64,1,1", "96", "Conv|", "%s : ? = Clip(%c, %lo, %hi)\n%y : ? = Add(%s, %r)",
     "1,96,40,40", 0, BF16},
    {"residual alone", "1,64,40,40", "96,64,1,1", "96", "Conv|", "%y : ? = Add(%c, %r)", "1,96,40,40", 0, BF16},
    {"activation", "1,32,20,20", "64,32,3,3", "64", "Conv|pads=[1,1,1,1]", "%y : ? = Sigmoid(%c)", NULL, 1e-6, BF16},
    {"activation, then clip", "1,32,20,20", "64,32,3,3", "64", "Conv|pads=[1,1,1,1]",
     "%s : ? = Tanh(%c)\n%y : ? = Clip(%s, %lo, %hi)", NULL, 1e-6, BF16},
    {"groups, dilation", "1,64,20,20", "64,16,3,3", "64", "Conv|group=4, dilations=[2,2], pads=[2,2,2,2]",
     "%y : ? = HardSwish(%c)", NULL, 1e-5, BF16},
    {"one spatial dimension", "2,32,100", "32,32,5", "32", "Conv|pads=[2,2]", "%y : ? = Relu(%c)", NULL, 0, BF16},
    {"into a concatenation", "1,32,20,20", "64,32,3,3", "64", "Conv|pads=[1,1,1,1]",
     "%s : ? = Relu(%c)\n%q : ? = MaxPool(%r) {kernel_shape=[1,1]}\n%z : ? = Concat(%q, %s) {axis=1}\n%y : ? = "
     "MaxPool(%z) {kernel_shape=[1,1]}",
     "1,16,20,20", 0, BF16},
    {"one row, columns cut", "1,1024", "4500,1024", "4500", "Gemm|transB=1", "%y : ? = Relu(%c)", NULL, 0, BF16},
    {"rows", "70,160", "160,200", "200", "Gemm|", "%y : ? = Relu(%c)", NULL, 0, BF16},
    {"batched rows", "3,500,96", "96,100", NULL, "MatMul|", "%s : ? = Add(%c, %b)\n%y : ? = Add(%s, %r)", "3,500,100",
     0, BF16},
    {"depthwise stays in fp32", "1,32,20,20", "32,1,3,3", "32", "Conv|group=32, pads=[1,1,1,1]", "%y : ? = Relu(%c)",
     NULL, 0, "dwconv_f32"},
};

enum { WEIGHT_BYTES = 32 << 20, BIAS_AT = 24 << 20, MAX_INPUTS = 2 };

static void must(Status s, const char *name) {
    if (s) fail_msg("%s: %s", name, status_text(s));
}

/* Multiples of 1/16 below 1 in magnitude. */
static void fill(float *p, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)((int)(seed >> 27) - 15) / 16;
    }
}

static int64_t count_of(const char *dims) {
    int64_t n = 1;
    for (const char *p = dims; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) n *= strtoll(p, NULL, 10);
    return n;
}

static Blob *weights;

static int make_weights(void **state) {
    (void)state;
    weights = blob_new(WEIGHT_BYTES);
    if (!weights) return 1;
    fill((float *)(void *)weights->data, WEIGHT_BYTES / sizeof(float), 7);
    return 0;
}

static int free_weights(void **state) {
    (void)state;
    blob_unref(weights);
    return 0;
}

static Graph *make_graph(const Case *c) {
    Buf b = {0};
    const char *bar = strchr(c->attrs, '|');
    buf_printf(&b, "graph \"case\" opset 21 {\ninput %%x : float32[%s]\n", c->x);
    if (c->r) buf_printf(&b, "input %%r : float32[%s]\n", c->r);
    buf_printf(&b, "const %%w : float32[%s] = @0:%" PRId64 "\n", c->w, count_of(c->w) * 4);
    buf_printf(&b, "const %%b : float32[%s] = @%d:%" PRId64 "\n", c->bias ? c->bias : "100", BIAS_AT,
               (c->bias ? count_of(c->bias) : 100) * 4);
    buf_printf(&b, "const %%lo : float32[] = {0.0}\nconst %%hi : float32[] = {6.0}\n");
    buf_printf(&b, "%%c : ? = %.*s(%%x, %%w%s)%s%s%s\n%s\noutput %%y\n}\n", (int)(bar - c->attrs), c->attrs,
               c->bias ? ", %b" : "", bar[1] ? " {" : "", bar + 1, bar[1] ? "}" : "", c->tail);
    assert_false(b.failed);
    Graph *g = NULL;
    must(graph_parse(b.data, b.len, weights, c->name, &g), c->name);
    buf_free(&b);
    must(graph_infer(g), c->name);
    return g;
}

typedef struct Inputs {
    Tensor t[MAX_INPUTS];
} Inputs;

static Inputs make_inputs(const Graph *g) {
    Inputs in = {0};
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const Type *t = &g->values[g->inputs[i]].type;
        must(tensor_new(&in.t[i], t->elem, t->rank, t->dims), "input");
        fill((float *)(void *)in.t[i].data, (size_t)tensor_count(&in.t[i]), 11 + i);
    }
    return in;
}

/* The output, copied; the first product's kernel must be `kernel` (NULL: any). */
static Tensor run(const char *backend, const Graph *g, const PlanOptions *o, Inputs *in, const char *kernel,
                  const char *name) {
    const Backend *b = backend_find(backend);
    Plan *plan = NULL;
    Context *c[2] = {NULL};
    Tensor out[2], copy;
    must(b->plan(g, o, &plan), name);
    const StepInfo *info;
    int n = b->steps(plan, &info);
    bool found = !kernel;
    for (int i = 0; i < n; i++) found = found || strstr(info[i].kernel, kernel);
    if (!found) fail_msg("%s: no step runs on %s", name, kernel);
    for (int i = 0; i < 2; i++) { /* two contexts of one plan */
        must(b->context(plan, &c[i]), name);
        must(b->run(c[i], in->t, &out[i]), name);
    }
    assert_memory_equal(out[0].data, out[1].data, out[0].bytes);
    must(tensor_clone(&copy, &out[0]), name);
    for (int i = 0; i < 2; i++) b->context_free(c[i]);
    b->plan_free(plan);
    return copy;
}

static void compare(const Tensor *got, const Tensor *want, double tolerance, const char *name) {
    assert_int_equal(got->bytes, want->bytes);
    for (int64_t i = 0; i < tensor_count(want); i++) {
        double x = tensor_get_f64(got, i), y = tensor_get_f64(want, i);
        if (!(fabs(x - y) <= tolerance * (1 + fabs(y))))
            fail_msg("%s: element %" PRId64 " is %.9g, expected %.9g", name, i, x, y);
    }
}

/* Compares the plans of all thread counts with `want` and with each other. */
static void check_precision(const Case *c, const Graph *g, Inputs *in, const Tensor *want, Precision precision) {
    Tensor first = {0};
    for (int threads = 1; threads <= 3; threads++) {
        PlanOptions o = {.threads = threads, .precision = precision};
        Tensor got = run("cpu", g, &o, in, precision == PREC_BF16 ? c->kernel : NULL, c->name);
        compare(&got, want, c->tolerance, c->name);
        if (threads == 1) must(tensor_clone(&first, &got), c->name);
        assert_memory_equal(got.data, first.data, got.bytes);
        tensor_free(&got);
    }
    tensor_free(&first);
}

static void check_cases(Precision precision) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *c = &cases[i];
        Graph *g = make_graph(c);
        Inputs in = make_inputs(g);
        Tensor want = run("ref", g, &(PlanOptions){.threads = 1}, &in, NULL, c->name);
        check_precision(c, g, &in, &want, precision);
        tensor_free(&want);
        for (int k = 0; k < MAX_INPUTS; k++) tensor_free(&in.t[k]);
        graph_free(g);
    }
}

static void test_fp32(void **state) {
    (void)state;
    check_cases(PREC_FP32);
}

static void test_bf16(void **state) {
    (void)state;
    if (bf16_missing()) {
        print_message("skipped: %s\n", bf16_missing());
        skip();
    }
    check_cases(PREC_BF16);
}

/* One product of two numbers that lie half way between neighbours of bf16: 1.01171875 = 1 + 3 * 2^-8. */
static const char rounding[] = "graph \"case\" opset 21 {\n"
                               "input %x : float32[1,1]\n"
                               "const %w : float32[1,1] = {1.01171875}\n"
                               "%y : ? = MatMul(%x, %w)\n"
                               "output %y\n}\n";

static float product(Precision precision, float x) {
    Graph *g;
    must(graph_parse(rounding, strlen(rounding), NULL, "rounding", &g), "rounding");
    must(graph_infer(g), "rounding");
    Inputs in = make_inputs(g);
    *(float *)(void *)in.t[0].data = x;
    Tensor y = run("cpu", g, &(PlanOptions){.threads = 1, .precision = precision}, &in, NULL, "rounding");
    float v = (float)tensor_get_f64(&y, 0);
    tensor_free(&y);
    tensor_free(&in.t[0]);
    graph_free(g);
    return v;
}

static void test_rounds_only_when_asked(void **state) {
    (void)state;
    const float x = 1 + 0x1p-8f; /* bf16 keeps 7 bits behind the point; ties go to the even neighbour, here 1 */
    assert_true(product(PREC_FP32, x) == x * 1.01171875f);
    if (bf16_missing()) skip();
    assert_true(product(PREC_BF16, x) == 1.0f * 1.015625f);
}

/* Weights stored in bf16 ask for it by themselves; the reference gives the widened weights' product. */
static void test_stored_weights(void **state) {
    (void)state;
    static const char text[] = "graph \"case\" opset 21 {\n"
                               "input %x : float32[4,2]\n"
                               "const %w : bfloat16[2,3] = {1.0, 2.0, 3.0, -1.0, 0.5, 0.25}\n"
                               "%f : ? = Cast(%w) {to=1}\n"
                               "%y : ? = MatMul(%x, %f)\n"
                               "output %y\n}\n";
    Graph *g;
    must(graph_parse(text, strlen(text), NULL, "stored", &g), "stored");
    must(graph_infer(g), "stored");
    Inputs in = make_inputs(g);
    Tensor want = run("ref", g, &(PlanOptions){.threads = 1}, &in, NULL, "stored");
    Tensor got = run("cpu", g, &(PlanOptions){.threads = 1}, &in, bf16_missing() ? "igemm" : BF16, "stored");
    compare(&got, &want, 0, "stored");
    tensor_free(&got);
    tensor_free(&want);
    tensor_free(&in.t[0]);
    graph_free(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fp32),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_rounds_only_when_asked),
        cmocka_unit_test(test_stored_weights),
    };
    return cmocka_run_group_tests(tests, make_weights, free_weights);
}
