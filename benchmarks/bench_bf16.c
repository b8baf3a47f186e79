/* Times products of well-known networks as steps of the CPU backend, in binary32 by the own kernels beside bf16 by
 * oneDNN, conversion of the activations included. The contenders take turns; the figures are the fastest of all rounds.
 *
 *   bench_bf16 [threads [filter]] */
#include "backends/backend.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct Layer {
    const char *name;
    int64_t h, w, ic, oc, kernel, stride;
} Layer;

static const Layer LAYERS[] = {
    {"resnet20 first", 32, 32, 3, 16, 3, 1},
    {"resnet20 16", 32, 32, 16, 16, 3, 1},
    {"resnet20 64", 8, 8, 64, 64, 3, 1},
    {"resnet50 first", 224, 224, 3, 64, 7, 2},
    {"resnet50 56 3x3", 56, 56, 64, 64, 3, 1},
    {"resnet50 56 64-256", 56, 56, 64, 256, 1, 1},
    {"resnet50 28 3x3", 28, 28, 128, 128, 3, 1},
    {"resnet50 56 256-512/2", 56, 56, 256, 512, 1, 2},
    {"resnet50 14 3x3", 14, 14, 256, 256, 3, 1},
    {"resnet50 14 1024-256", 14, 14, 1024, 256, 1, 1},
    {"resnet50 7 3x3", 7, 7, 512, 512, 3, 1},
    {"resnet50 7 512-2048", 7, 7, 512, 2048, 1, 1},
    {"resnet50 last", 1, 1, 2048, 1000, 1, 1},
    {"mobilenet first", 224, 224, 3, 32, 3, 2},
    {"mobilenet 112 32-16", 112, 112, 32, 16, 1, 1},
    {"mobilenet 112 16-96", 112, 112, 16, 96, 1, 1},
    {"mobilenet 56 24-144", 56, 56, 24, 144, 1, 1},
    {"mobilenet 14 384-64", 14, 14, 384, 64, 1, 1},
    {"mobilenet 7 320-1280", 7, 7, 320, 1280, 1, 1},
    {"squeezenet first", 224, 224, 3, 64, 3, 2},
    {"squeezenet 55 16-64", 55, 55, 16, 64, 3, 1},
    {"minilm 384-1536", 1, 128, 384, 1536, 1, 1},
    {"vgg 4096-4096", 1, 1, 4096, 4096, 1, 1},
};

enum { ROUNDS = 25, CONTENDERS = 2, TARGET_US = 1000 };

typedef struct Contender {
    Plan *plan;
    Context *context;
    Tensor out;
    double best;
    const char *kernel;
} Contender;

static const Backend *cpu;

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void must(Status s) {
    if (!s) return;
    fprintf(stderr, "%s\n", status_text(s));
    exit(1);
}

static Graph *make_graph(const Layer *l, Blob *weights) {
    Buf b = {0};
    int64_t pad = l->kernel / 2, bytes = l->oc * l->ic * l->kernel * l->kernel * 4;
    buf_printf(&b, "graph \"layer\" opset 21 {\ninput %%x : float32[1,%" PRId64 ",%" PRId64 ",%" PRId64 "]\n", l->ic,
               l->h, l->w);
    buf_printf(&b, "const %%w : float32[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64 "] = @0:%" PRId64 "\n", l->oc,
               l->ic, l->kernel, l->kernel, bytes);
    buf_printf(&b, "const %%b : float32[%" PRId64 "] = @0:%" PRId64 "\n", l->oc, l->oc * 4);
    /* The mean makes the output small and keeps it channels-last; both contenders have that step. */
    buf_printf(&b,
               "%%c : ? = Conv(%%x, %%w, %%b) {pads=[%" PRId64 ",%" PRId64 ",%" PRId64 ",%" PRId64
               "], strides=[%" PRId64 ",%" PRId64 "]}\n%%r : ? = Relu(%%c)\n%%y : ? = GlobalAveragePool(%%r)\n"
               "output %%y\n}\n",
               pad, pad, pad, pad, l->stride, l->stride);
    Graph *g;
    must(graph_parse(b.data, b.len, weights, "layer", &g));
    buf_free(&b);
    must(graph_infer(g));
    return g;
}

static Contender start(const Graph *g, Precision precision, int threads, Tensor *x) {
    Contender c = {.best = 1e30};
    must(cpu->plan(g, &(PlanOptions){.threads = threads, .precision = precision}, &c.plan));
    must(cpu->context(c.plan, &c.context));
    must(cpu->run(c.context, x, &c.out));
    cpu->profile(c.context, true, NULL);
    const StepInfo *info;
    int n = cpu->steps(c.plan, &info);
    for (int i = 0; i < n; i++)
        if (!strncmp(info[i].op, "Conv", 4)) c.kernel = info[i].kernel;
    return c;
}

/* Time of the product's step alone, averaged over some runs. */
static double once(const Contender *c, Tensor *x, int runs) {
    const StepInfo *info;
    const double *ms;
    int n = cpu->steps(c->plan, &info), step = 0;
    cpu->profile(c->context, true, &ms);
    for (int i = 0; i < n; i++)
        if (!strncmp(info[i].op, "Conv", 4)) step = i;
    double before = ms[step];
    Tensor out;
    for (int i = 0; i < runs; i++) must(cpu->run(c->context, x, &out));
    return (ms[step] - before) * 1e3 / runs;
}

static double log_ratio;

static void bench_layer(const Layer *l, int threads, Blob *weights) {
    Graph *g = make_graph(l, weights);
    const Type *t = &g->values[g->inputs[0]].type;
    Tensor x;
    must(tensor_new(&x, t->elem, t->rank, t->dims));
    memset(x.data, 0, x.bytes);
    Contender c[CONTENDERS] = {start(g, PREC_FP32, threads, &x), start(g, PREC_BF16, threads, &x)};
    double begin = now_us();
    Tensor out;
    must(cpu->run(c[0].context, &x, &out));
    int runs = 1 + (int)(TARGET_US / (now_us() - begin + 1));
    for (int r = 0; r < ROUNDS; r++)
        for (int i = 0; i < CONTENDERS; i++) {
            double us = once(&c[i], &x, runs);
            if (us < c[i].best) c[i].best = us;
        }
    printf("%-22s fp32 %8.1f us  bf16 %8.1f us  %5.2fx  %s, %s\n", l->name, c[0].best, c[1].best, c[0].best / c[1].best,
           c[0].kernel, c[1].kernel);
    fflush(stdout);
    log_ratio += log(c[0].best / c[1].best);
    for (int i = 0; i < CONTENDERS; i++) {
        cpu->context_free(c[i].context);
        cpu->plan_free(c[i].plan);
    }
    tensor_free(&x);
    graph_free(g);
}

int main(int argc, char **argv) {
    int threads = argc > 1 ? atoi(argv[1]) : 1, count = 0;
    cpu = backend_find("cpu");
    if (bf16_missing()) printf("note: %s; both columns are fp32\n", bf16_missing());
    Blob *weights = blob_new((size_t)96 << 20);
    if (!weights) return 1;
    memset(weights->data, 0, weights->size);
    for (size_t i = 0; i < sizeof LAYERS / sizeof *LAYERS; i++) {
        if (argc > 2 && !strstr(LAYERS[i].name, argv[2])) continue;
        bench_layer(&LAYERS[i], threads, weights);
        count++;
    }
    if (count) printf("geometric mean of fp32/bf16 %.3f (%d threads)\n", exp(log_ratio / count), threads);
    blob_unref(weights);
    return 0;
}
