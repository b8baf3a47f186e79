/* Times the igemm operator on the layers of well-known networks: in float beside oneDNN's convolution (any layout it
 * likes, reorders not counted), and in int8 beside our own float. The contenders take turns, so that a disturbance hits
 * all; the figures are medians.
 *
 *   bench_igemm [threads [filter]]      PARE_ISA=avx2 and ONEDNN_MAX_CPU_ISA=AVX2 lower the instruction sets. */
#include "kernels/cpu/igemm/igemm.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if PARE_ONEDNN
#include <dnnl.h>
#endif

typedef struct Layer {
    const char *name;
    int64_t h, w, ic, oc, kernel, stride;
} Layer;

static const Layer LAYERS[] = {
    {"resnet20 first", 32, 32, 3, 16, 3, 1},           {"resnet20 16", 32, 32, 16, 16, 3, 1},
    {"resnet20 16-32", 32, 32, 16, 32, 3, 2},          {"resnet20 32", 16, 16, 32, 32, 3, 1},
    {"resnet20 32-64", 16, 16, 32, 64, 3, 2},          {"resnet20 64", 8, 8, 64, 64, 3, 1},
    {"resnet50 first", 224, 224, 3, 64, 7, 2},         {"resnet50 56 3x3", 56, 56, 64, 64, 3, 1},
    {"resnet50 56 64-64", 56, 56, 64, 64, 1, 1},       {"resnet50 56 64-256", 56, 56, 64, 256, 1, 1},
    {"resnet50 56 256-64", 56, 56, 256, 64, 1, 1},     {"resnet50 28 3x3", 28, 28, 128, 128, 3, 1},
    {"resnet50 28 512-128", 28, 28, 512, 128, 1, 1},   {"resnet50 28 128-512", 28, 28, 128, 512, 1, 1},
    {"resnet50 56 256-512/2", 56, 56, 256, 512, 1, 2}, {"resnet50 14 3x3", 14, 14, 256, 256, 3, 1},
    {"resnet50 14 1024-256", 14, 14, 1024, 256, 1, 1}, {"resnet50 14 256-1024", 14, 14, 256, 1024, 1, 1},
    {"resnet50 14 3x3/2", 14, 14, 512, 512, 3, 2},     {"resnet50 7 3x3", 7, 7, 512, 512, 3, 1},
    {"resnet50 7 2048-512", 7, 7, 2048, 512, 1, 1},    {"resnet50 7 512-2048", 7, 7, 512, 2048, 1, 1},
    {"resnet50 last", 1, 1, 2048, 1000, 1, 1},         {"mobilenet first", 224, 224, 3, 32, 3, 2},
    {"mobilenet 112 32-16", 112, 112, 32, 16, 1, 1},   {"mobilenet 112 16-96", 112, 112, 16, 96, 1, 1},
    {"mobilenet 56 96-24", 56, 56, 96, 24, 1, 1},      {"mobilenet 56 24-144", 56, 56, 24, 144, 1, 1},
    {"mobilenet 28 144-32", 28, 28, 144, 32, 1, 1},    {"mobilenet 28 32-192", 28, 28, 32, 192, 1, 1},
    {"mobilenet 14 384-64", 14, 14, 384, 64, 1, 1},    {"mobilenet 14 64-384", 14, 14, 64, 384, 1, 1},
    {"mobilenet 14 576-96", 14, 14, 576, 96, 1, 1},    {"mobilenet 7 960-160", 7, 7, 960, 160, 1, 1},
    {"mobilenet 7 320-1280", 7, 7, 320, 1280, 1, 1},   {"minilm 384-384", 1, 128, 384, 384, 1, 1},
    {"minilm 384-1536", 1, 128, 384, 1536, 1, 1},      {"minilm 1536-384", 1, 128, 1536, 384, 1, 1},
    {"vgg 4096-4096", 1, 1, 4096, 4096, 1, 1},
};

enum { ROUNDS = 15, TARGET_US = 1000 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec * 1e-3;
}

static void *allocate(size_t n) {
    void *p = aligned_alloc(64, (n + 63) / 64 * 64 + 64);
    if (p == NULL) exit(1);
    memset(p, 0, (n + 63) / 64 * 64 + 64);
    return p;
}

/* Something to time. */
typedef struct Contender {
    void (*run)(void *self);
    void *self;
    double us[ROUNDS];
    int repeats;
} Contender;

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double time_once(Contender *c) {
    double start = now_us();
    for (int i = 0; i < c->repeats; i++) c->run(c->self);
    return (now_us() - start) / c->repeats;
}

/* OpenMP's threads spin for milliseconds after a region; give them time to go to sleep. */
static void settle(void) { nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL); }

static void race(Contender *contenders, int n) {
    for (int i = 0; i < n; i++) {
        contenders[i].repeats = 2;
        time_once(&contenders[i]);
        double us = time_once(&contenders[i]);
        contenders[i].repeats = us > TARGET_US ? 1 : (int)(TARGET_US / us) + 1;
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < n; i++) {
            settle();
            contenders[i].run(contenders[i].self);
            contenders[i].us[round] = time_once(&contenders[i]);
        }
    for (int i = 0; i < n; i++) qsort(contenders[i].us, ROUNDS, sizeof(double), compare_doubles);
}

static double fastest(const Contender *c) { return c->us[0]; }

typedef struct Own {
    Igemm op;
    char *packed, *x, *y, *scratch;
    Team *team;
} Own;

static void own_run(void *self) {
    Own *o = self;
    igemm_run(&o->op, o->packed, o->x, NULL, o->y, o->scratch, o->team);
}

static int64_t out_extent(int64_t in, const Layer *l) { return (in + 2 * (l->kernel / 2) - l->kernel) / l->stride + 1; }

static Own own_make(const Layer *l, IgemmType type, Team *team) {
    IgemmDesc d = {.x_type = type, .y_type = type, .n = 1, .ih = l->h, .iw = l->w, .ic = l->ic, .oc = l->oc};
    d.oh = out_extent(l->h, l), d.ow = out_extent(l->w, l);
    d.kh = d.kw = l->kernel;
    d.stride_h = d.stride_w = l->stride;
    d.pad_top = d.pad_left = l->kernel / 2;
    if (type == IGEMM_F32)
        d.lo = 0.0f, d.hi = INFINITY;
    else
        d.x_zero = 7, d.y_zero = 3;
    Own o = {.team = team};
    if (!igemm_init(&o.op, &d)) exit(1);
    const size_t size = type == IGEMM_F32 ? 4 : 1;
    const int64_t weights = l->oc * l->ic * l->kernel * l->kernel;
    char *w = allocate((size_t)weights * size);
    float *mult = allocate((size_t)l->oc * sizeof(float));
    o.packed = allocate(igemm_pack_bytes(&o.op));
    o.x = allocate((size_t)(l->h * l->w * l->ic) * size);
    o.y = allocate((size_t)(d.oh * d.ow * l->oc) * size);
    o.scratch = allocate(igemm_scratch_bytes(&o.op, team_size(team)));
    for (int64_t i = 0; i < weights; i++)
        if (type == IGEMM_F32)
            ((float *)(void *)w)[i] = (float)(i % 13) * 0.01f;
        else
            w[i] = (char)(i % 251);
    for (int64_t i = 0; i < l->oc; i++) mult[i] = 0.001f;
    for (int64_t i = 0; i < l->h * l->w * l->ic; i++)
        if (type == IGEMM_F32)
            ((float *)(void *)o.x)[i] = (float)(i % 17) * 0.1f;
        else
            o.x[i] = (char)i;
    igemm_pack(&o.op, &(IgemmWeights){.w = w, .layout = IGEMM_OIHW, .multiplier = mult}, o.packed);
    free(w);
    free(mult);
    return o;
}

static void own_free(Own *o) {
    free(o->packed);
    free(o->x);
    free(o->y);
    free(o->scratch);
}

#if PARE_ONEDNN
typedef struct Other {
    dnnl_primitive_t primitive;
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[5];
    dnnl_memory_t memory[4];
} Other;

static dnnl_engine_t engine;

static void must(dnnl_status_t status) {
    if (status == dnnl_success) return;
    fprintf(stderr, "oneDNN error %d\n", (int)status);
    exit(1);
}

static void other_run(void *self) {
    Other *o = self;
    must(dnnl_primitive_execute(o->primitive, o->stream, 4, o->args));
    must(dnnl_stream_wait(o->stream));
}

static Other other_make(const Layer *l) {
    const dnnl_dim_t oh = out_extent(l->h, l), ow = out_extent(l->w, l), pad = l->kernel / 2;
    const dnnl_dims_t x = {1, l->ic, l->h, l->w}, w = {l->oc, l->ic, l->kernel, l->kernel}, b = {l->oc},
                      y = {1, l->oc, oh, ow}, stride = {l->stride, l->stride}, dilation = {0, 0}, pads = {pad, pad};
    const dnnl_dims_t right = {(oh - 1) * l->stride + l->kernel - l->h - pad,
                               (ow - 1) * l->stride + l->kernel - l->w - pad};
    dnnl_memory_desc_t md[4];
    must(dnnl_memory_desc_create_with_tag(&md[0], 4, x, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_create_with_tag(&md[1], 4, w, dnnl_f32, dnnl_format_tag_any));
    must(dnnl_memory_desc_create_with_tag(&md[2], 1, b, dnnl_f32, dnnl_x));
    must(dnnl_memory_desc_create_with_tag(&md[3], 4, y, dnnl_f32, dnnl_format_tag_any));
    dnnl_post_ops_t post;
    dnnl_primitive_attr_t attr;
    must(dnnl_post_ops_create(&post));
    must(dnnl_post_ops_append_eltwise(post, dnnl_eltwise_relu, 0.0f, 0.0f));
    must(dnnl_primitive_attr_create(&attr));
    must(dnnl_primitive_attr_set_post_ops(attr, post));
    dnnl_primitive_desc_t pd;
    must(dnnl_convolution_forward_primitive_desc_create(&pd, engine, dnnl_forward_inference, dnnl_convolution_direct,
                                                        md[0], md[1], md[2], md[3], stride, dilation, pads, right,
                                                        attr));
    Other o;
    must(dnnl_primitive_create(&o.primitive, pd));
    must(dnnl_stream_create(&o.stream, engine, dnnl_stream_default_flags));
    static const dnnl_query_t WHAT[] = {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_weights_md,
                                        dnnl_query_dst_md};
    static const int ARGS[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST};
    for (int i = 0; i < 4; i++) {
        const_dnnl_memory_desc_t real = dnnl_primitive_desc_query_md(pd, WHAT[i], i == 2);
        must(dnnl_memory_create(&o.memory[i], real, engine, DNNL_MEMORY_ALLOCATE));
        void *data;
        must(dnnl_memory_get_data_handle(o.memory[i], &data));
        memset(data, 0, dnnl_memory_desc_get_size(real));
        o.args[i] = (dnnl_exec_arg_t){ARGS[i], o.memory[i]};
        must(dnnl_memory_desc_destroy(md[i]));
    }
    must(dnnl_primitive_desc_destroy(pd));
    must(dnnl_primitive_attr_destroy(attr));
    must(dnnl_post_ops_destroy(post));
    return o;
}

static void other_free(Other *o) {
    for (int i = 0; i < 4; i++) must(dnnl_memory_destroy(o->memory[i]));
    must(dnnl_stream_destroy(o->stream));
    must(dnnl_primitive_destroy(o->primitive));
}

static void other_start(int threads) {
    void (*set_threads)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (set_threads != NULL) set_threads(threads);
    must(dnnl_engine_create(&engine, dnnl_cpu, 0));
}
#endif

/* Sums of logarithms for the geometric means of the last line. */
static double log_other, log_int8;

static void bench_layer(const Layer *l, Team *team) {
    Own f32 = own_make(l, IGEMM_F32, team), q8 = own_make(l, IGEMM_U8, team);
    Contender c[3] = {{.run = own_run, .self = &f32}, {.run = own_run, .self = &q8}};
    int n = 2;
#if PARE_ONEDNN
    Other other = other_make(l);
    c[n++] = (Contender){.run = other_run, .self = &other};
#endif
    race(c, n);
    double macs = (double)(out_extent(l->h, l) * out_extent(l->w, l) * l->ic * l->oc * l->kernel * l->kernel);
    printf("%-22s %9.1f us %6.1f GMAC/s  int8 %9.1f us %6.1f GMAC/s %5.2fx", l->name, fastest(&c[0]),
           macs / fastest(&c[0]) * 1e-3, fastest(&c[1]), macs / fastest(&c[1]) * 1e-3, fastest(&c[0]) / fastest(&c[1]));
    log_int8 += log(fastest(&c[0]) / fastest(&c[1]));
#if PARE_ONEDNN
    printf("  oneDNN %9.1f us, oneDNN/ours %5.2f", fastest(&c[2]), fastest(&c[2]) / fastest(&c[0]));
    log_other += log(fastest(&c[2]) / fastest(&c[0]));
    other_free(&other);
#endif
    printf("  %s w%d t%ld %ldx%ld\n", igemm_kernel_name(&f32.op), f32.op.width, (long)f32.op.tiles,
           (long)f32.op.n_chunks, (long)f32.op.m_chunks);
    fflush(stdout);
    own_free(&f32);
    own_free(&q8);
}

int main(int argc, char **argv) {
    const int threads = argc > 1 ? atoi(argv[1]) : 1;
    Team *team = team_create(threads);
    if (team == NULL) return 1;
#if PARE_ONEDNN
    other_start(threads);
#endif
    fp_enter();
    int count = 0;
    for (size_t i = 0; i < sizeof LAYERS / sizeof LAYERS[0]; i++) {
        if (argc > 2 && strstr(LAYERS[i].name, argv[2]) == NULL) continue;
        bench_layer(&LAYERS[i], team);
        count++;
    }
    if (count > 0)
        printf("geometric means: oneDNN/ours %.3f, float/int8 %.3f (%s, %d threads)\n", exp(log_other / count),
               exp(log_int8 / count), isa_name(isa_best()), threads);
    team_destroy(team);
    return 0;
}
