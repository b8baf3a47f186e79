/* Products by oneDNN convolutions made for one thread each, over fixed slabs of the output.
 *
 * oneDNN's own parallel loops split work by the number of threads, and some of them split sums. Here a product is cut
 * into slabs by its sizes alone, every slab is one primitive that runs on the thread which takes it, and the team of
 * the context does the sharing out: results are the same at every number of threads.
 *
 * A matrix product is a convolution of a row of pixels by a 1x1 kernel. */
#include "backends/cpu/onednn.h"

#include "kernels/cpu/eltwise/quant.h"

#include <dnnl.h>
#include <math.h>
#include <stdatomic.h>
#include <string.h>
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
#include <omp.h>
#endif

enum {
    SLAB_MACS = 2 << 20, /* of one slab at least: some 20 us of work */
    MAX_SLABS = 32,      /* of a product, unless the batch has more images */
    ROW_PIXELS = 16,     /* flat products are cut at multiples of this */
    COLUMNS = 64,        /* ... and products of one pixel at multiples of this many columns */
    MAX_KERNELS = 4,     /* different slabs: the first, those between, the last, or one image */
    MAX_ARGS = 6,
    ALIGN = 64
};

/* ---- one thread ---- */

/* A primitive keeps the number of threads that it was made for, and oneDNN asks OpenMP for it. That number belongs to
 * the calling thread, so it is set around creation and around the slabs of a thread, and put back. */
static int one_thread_enter(void) {
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    int before = omp_get_max_threads();
    if (before != 1) omp_set_num_threads(1);
    return before;
#else
    return 1;
#endif
}

static void one_thread_leave(int before) {
#if DNNL_CPU_THREADING_RUNTIME == DNNL_RUNTIME_OMP
    if (before != 1) omp_set_num_threads(before);
#else
    (void)before;
#endif
}

/* ---- the prepared product ---- */

typedef struct SlabShape {
    int64_t ih, iw, oh, ow, pad_top, pad_bottom, oc;
} SlabShape;

typedef struct Slab {
    int64_t x, y;        /* first pixel of input and output */
    int64_t pixels;      /* of the output */
    int64_t column;      /* first output channel */
    int kernel;          /* index into kernels */
    const uint8_t *w;    /* packed weights */
    const uint8_t *bias; /* NULL: none */
} Slab;

typedef enum PostKind { POST_ADD, POST_CLIP, POST_ACT } PostKind;

typedef struct OnednnStep {
    dnnl_engine_t engine;
    dnnl_primitive_t kernels[MAX_KERNELS];
    SlabShape shapes[MAX_KERNELS];
    int n_kernels, n_slabs;
    Slab *slabs;
    int64_t pixels, ic, oc, ldx, ldy, ldr; /* pixels of the input */
    bool add_in_kernel;                    /* the first of the chain is done by the primitive */
    bool staged;                           /* the primitive writes to scratch, the chain's end to y */
    PostKind post[3];                      /* what is left to do after the primitive, in order */
    int n_post;
    Activation clip, act;
    ToBf16Fn to_bf16;
    size_t x_bytes, stage_bytes, pad_bytes, thread_bytes; /* scratch: x in bf16, then per thread stage and pad */
} OnednnStep;

static void undo_engine(void *engine) { (void)dnnl_engine_destroy(engine); }
static void undo_primitive(void *primitive) { (void)dnnl_primitive_destroy(primitive); }

static size_t align_up(size_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

static Status library_failed(const Node *n, dnnl_status_t s) {
    if (s == dnnl_out_of_memory) return status_oom();
    return status_make(STATUS_INTERNAL, "%s '%s': oneDNN failed with code %d", n->op->name, n->name, (int)s);
}

/* ---- running ---- */

/* Library objects that a run changes, so a context has its own: memory objects of each slab. */
typedef struct SlabState {
    dnnl_memory_t memory[MAX_ARGS];
    dnnl_exec_arg_t args[MAX_ARGS];
    int n_args;
} SlabState;

enum { ARG_SRC, ARG_DST, ARG_SCRATCH, ARG_WEIGHTS, ARG_BIAS, ARG_ADD }; /* order of memory[] */

typedef struct State {
    dnnl_stream_t stream;
    int n_slabs;
    SlabState slabs[];
} State;

static void state_close(void *p) {
    State *st = p;
    if (!st) return;
    for (int i = 0; i < st->n_slabs; i++)
        for (int k = 0; k < MAX_ARGS; k++)
            if (st->slabs[i].memory[k]) (void)dnnl_memory_destroy(st->slabs[i].memory[k]);
    if (st->stream) (void)dnnl_stream_destroy(st->stream);
    mem_free(st);
}

static dnnl_status_t bind(const OnednnStep *x, const Slab *slab, SlabState *s) {
    static const struct {
        dnnl_query_t query;
        int index, arg;
    } rows[MAX_ARGS] = {
        [ARG_SRC] = {dnnl_query_src_md, 0, DNNL_ARG_SRC},
        [ARG_DST] = {dnnl_query_dst_md, 0, DNNL_ARG_DST},
        [ARG_SCRATCH] = {dnnl_query_scratchpad_md, 0, DNNL_ARG_SCRATCHPAD},
        [ARG_WEIGHTS] = {dnnl_query_weights_md, 0, DNNL_ARG_WEIGHTS},
        [ARG_BIAS] = {dnnl_query_weights_md, 1, DNNL_ARG_BIAS},
        [ARG_ADD] = {dnnl_query_dst_md, 0, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1},
    };
    const_dnnl_primitive_desc_t pd;
    dnnl_status_t e = dnnl_primitive_get_primitive_desc(x->kernels[slab->kernel], &pd);
    for (int k = 0; k < MAX_ARGS && e == dnnl_success; k++) {
        if ((k == ARG_BIAS && !slab->bias) || (k == ARG_ADD && !x->add_in_kernel)) continue;
        const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(pd, rows[k].query, rows[k].index);
        const uint8_t *data = k == ARG_WEIGHTS ? slab->w : k == ARG_BIAS ? slab->bias : NULL;
        e = dnnl_memory_create(&s->memory[k], md, x->engine, (void *)(uintptr_t)data);
        s->args[s->n_args++] = (dnnl_exec_arg_t){rows[k].arg, s->memory[k]};
    }
    return e;
}

static Status state_open(const Step *step, void **out) {
    const OnednnStep *x = step->op;
    State *st = mem_zalloc(sizeof *st + (size_t)x->n_slabs * sizeof *st->slabs);
    TRY_ALLOC(st);
    st->n_slabs = x->n_slabs;
    dnnl_status_t e = dnnl_stream_create(&st->stream, x->engine, dnnl_stream_default_flags);
    for (int i = 0; i < x->n_slabs && e == dnnl_success; i++) e = bind(x, &x->slabs[i], &st->slabs[i]);
    if (e == dnnl_success) {
        *out = st;
        return NULL;
    }
    state_close(st);
    return e == dnnl_out_of_memory ? status_oom()
                                   : status_make(STATUS_INTERNAL, "oneDNN objects of a context: code %d", (int)e);
}

static const StepState onednn_state = {state_open, state_close};

typedef struct Job {
    const OnednnStep *op;
    State *state;
    const float *x, *r;
    float *y;
    uint16_t *x16;
    uint8_t *threads;
    _Atomic int failed; /* the first dnnl_status_t that was no success */
} Job;

/* y[p * ldy + c] = from[p * columns + c] + r[...]; y may be `from` when both are dense. */
static void add_rows(float *y, const float *from, const float *r, int64_t pixels, int64_t columns, int64_t ldy,
                     int64_t ldr) {
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t c = 0; c < columns; c++) y[p * ldy + c] = from[p * columns + c] + r[p * ldr + c];
}

/* What the primitive leaves to do, while the slab is in the cache. `v` is dense; it is y itself unless staged. */
static void finish(const OnednnStep *x, float *v, float *y, const float *r, int64_t pixels, int64_t columns) {
    size_t count = (size_t)(pixels * columns);
    for (int i = 0; i < x->n_post; i++) {
        const Activation *a = x->post[i] == POST_CLIP ? &x->clip : &x->act;
        if (x->post[i] == POST_ADD)
            add_rows(v, v, r, pixels, columns, columns, x->ldr);
        else
            a->fn(v, v, count, a->a, a->b);
    }
    if (!x->staged) return;
    for (int64_t p = 0; p < pixels; p++) memcpy(y + p * x->ldy, v + p * columns, (size_t)columns * sizeof *y);
}

static dnnl_status_t run_slab(Job *job, int index, int thread) {
    const OnednnStep *x = job->op;
    const Slab *slab = &x->slabs[index];
    SlabState *s = &job->state->slabs[index];
    uint8_t *own = job->threads + (size_t)thread * x->thread_bytes;
    float *y = job->y + slab->y * x->ldy + slab->column;
    float *v = x->staged ? (float *)(void *)own : y;
    const float *r = job->r ? job->r + slab->y * x->ldr + slab->column : NULL;
    void *data[] = {[ARG_SRC] = job->x16 + slab->x * x->ic, [ARG_DST] = v, [ARG_SCRATCH] = own + x->stage_bytes};
    for (int k = ARG_SRC; k <= ARG_SCRATCH; k++) {
        dnnl_status_t e = dnnl_memory_set_data_handle(s->memory[k], data[k]);
        if (e != dnnl_success) return e;
    }
    if (x->add_in_kernel) {
        dnnl_status_t e = dnnl_memory_set_data_handle(s->memory[ARG_ADD], (void *)(uintptr_t)r);
        if (e != dnnl_success) return e;
    }
    dnnl_status_t e = dnnl_primitive_execute(x->kernels[slab->kernel], job->state->stream, s->n_args, s->args);
    if (e == dnnl_success) finish(x, v, y, r, slab->pixels, x->shapes[slab->kernel].oc);
    return e;
}

static void run_slabs(void *arg, int64_t begin, int64_t end, int thread) {
    Job *job = arg;
    int before = one_thread_enter();
    for (int64_t i = begin; i < end; i++) {
        dnnl_status_t e = run_slab(job, (int)i, thread);
        if (e != dnnl_success) atomic_store_explicit(&job->failed, (int)e, memory_order_relaxed);
    }
    one_thread_leave(before);
}

static void to_bf16_pixels(void *arg, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const Job *job = arg;
    const OnednnStep *x = job->op;
    if (x->ldx == x->ic)
        x->to_bf16(job->x16 + begin * x->ic, job->x + begin * x->ic, (size_t)((end - begin) * x->ic));
    else
        for (int64_t p = begin; p < end; p++) x->to_bf16(job->x16 + p * x->ic, job->x + p * x->ldx, (size_t)x->ic);
}

static Status run_onednn(const Step *s, Context *c) {
    const OnednnStep *x = s->op;
    Job job = {.op = x,
               .state = c->state[s - c->plan->steps],
               .x = STEP_IN(s, c, 0),
               .r = s->n_in > 1 ? STEP_IN(s, c, 1) : NULL,
               .y = STEP_OUT(s, c, 0),
               .x16 = (uint16_t *)(void *)c->scratch,
               .threads = c->scratch + x->x_bytes};
    team_run(c->team, to_bf16_pixels, &job, x->pixels, 1 + 16384 / x->ic);
    team_run(c->team, run_slabs, &job, x->n_slabs, 1);
    int failed = atomic_load(&job.failed);
    if (!failed) return NULL;
    int step = (int)(s - c->plan->steps);
    return status_make(STATUS_INTERNAL, "%s '%s': oneDNN failed with code %d", c->plan->info[step].op,
                       c->plan->info[step].name, failed);
}

/* ---- planning ---- */

/* What one call of onednn_product works on. */
typedef struct Maker {
    Lowering *l;
    const Product *p;
    IgemmDesc d; /* with defaults filled in */
    OnednnStep x;
    const Tensor *bias;
    Operand src, dst, add;
    const char *kernel;
    dnnl_memory_desc_t packed_md; /* of the first slab's weights; the other kernels take them as they are */
    bool fits;
} Maker;

static bool is_flat(const IgemmDesc *d) {
    return d->kh == 1 && d->kw == 1 && d->stride_h == 1 && d->stride_w == 1 && !d->pad_top && !d->pad_left &&
           d->oh == d->ih && d->ow == d->iw;
}

static void fill_defaults(IgemmDesc *d) {
    int64_t *ones[] = {&d->groups, &d->kh, &d->kw, &d->stride_h, &d->stride_w, &d->dilation_h, &d->dilation_w};
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++)
        if (!*ones[i]) *ones[i] = 1;
}

static int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static int64_t below(int64_t out, int64_t stride, int64_t kernel, int64_t dilation, int64_t in, int64_t before) {
    return (out - 1) * stride + (kernel - 1) * dilation + 1 - in - before;
}

/* The kernel for this shape, NULL-primitive until it is made; -1 when there are too many. */
static int shape_index(OnednnStep *x, const SlabShape *s) {
    for (int i = 0; i < x->n_kernels; i++)
        if (!memcmp(&x->shapes[i], s, sizeof *s)) return i;
    if (x->n_kernels == MAX_KERNELS) return -1;
    x->shapes[x->n_kernels] = *s;
    return x->n_kernels++;
}

static void add_slab(Maker *m, const SlabShape *shape, int64_t x, int64_t y, int64_t column) {
    int kernel = shape_index(&m->x, shape);
    m->fits = m->fits && kernel >= 0;
    m->x.slabs[m->x.n_slabs++] =
        (Slab){.x = x, .y = y, .pixels = shape->oh * shape->ow, .column = column, .kernel = kernel};
}

/* Rows [begin, begin + rows) of an image. */
static void add_rows_slab(Maker *m, int64_t image, int64_t begin, int64_t rows) {
    const IgemmDesc *d = &m->d;
    int64_t first = begin * d->stride_h - d->pad_top;
    int64_t top = first < 0 ? -first : 0, start = first + top;
    int64_t last = (begin + rows - 1) * d->stride_h - d->pad_top + (d->kh - 1) * d->dilation_h + 1;
    int64_t stop = last > d->ih ? d->ih : last;
    if (stop <= start) { /* all of it in the padding */
        m->fits = false;
        return;
    }
    SlabShape s = {stop - start, d->iw, rows, d->ow, top, last - stop, d->oc};
    add_slab(m, &s, (image * d->ih + start) * d->iw, (image * d->oh + begin) * d->ow, 0);
}

/* Cuts the output; by sizes only. */
static Status cut(Maker *m) {
    const IgemmDesc *d = &m->d;
    int64_t pixels = d->n * d->oh * d->ow;
    double macs = (double)pixels * (double)d->oc * (double)(d->ic / d->groups * d->kh * d->kw);
    int64_t wanted = macs / SLAB_MACS > MAX_SLABS ? MAX_SLABS : (int64_t)(macs / SLAB_MACS);
    if (wanted < 1) wanted = 1;
    bool flat = is_flat(d), columns = flat && pixels == 1 && d->groups == 1;
    int64_t images = flat ? 1 : d->n, length = columns ? d->oc : flat ? pixels : d->oh;
    int64_t unit = columns ? COLUMNS : flat ? ROW_PIXELS : 1;
    int64_t step = ceil_div(ceil_div(length, ceil_div(wanted, images)), unit) * unit;
    int64_t count = images * ceil_div(length, step);
    TRY_ALLOC(m->x.slabs = ARENA_ARRAY(m->l->p->memory, Slab, count));
    m->fits = count < INT32_MAX;
    for (int64_t i = 0; i < images; i++)
        for (int64_t at = 0; at < length && m->fits; at += step) {
            int64_t n = at + step > length ? length - at : step;
            if (columns)
                add_slab(m, &(SlabShape){1, 1, 1, 1, 0, 0, n}, 0, 0, at);
            else if (flat)
                add_slab(m, &(SlabShape){1, n, 1, n, 0, 0, d->oc}, at, at, 0);
            else
                add_rows_slab(m, i, at, n);
        }
    return NULL;
}

/* The nodes after the root as a chain, its start for the primitive, the rest for finish(). */
static void plan_chain(Maker *m) {
    const Group *g = m->p->group;
    OnednnStep *x = &m->x;
    x->staged = x->ldy != x->oc;
    if (!g) return;
    bool add = g->add != NO_ID, clip = g->clip != NO_ID, act = g->activation != NO_ID;
    x->add_in_kernel = add && (g->add_first || (!clip && !act)) && x->ldr == x->oc;
    PostKind chain[3];
    int n = 0;
    if (add && g->add_first) chain[n++] = POST_ADD;
    if (clip) chain[n++] = POST_CLIP;
    if (act) chain[n++] = POST_ACT;
    if (add && !g->add_first) chain[n++] = POST_ADD;
    for (int i = x->add_in_kernel ? 1 : 0; i < n; i++) x->post[x->n_post++] = chain[i];
    Epilogue e;
    group_epilogue(m->l, g, &e);
    x->act = e.act;
    x->clip = activation_make(UNARY_clip, e.lo, e.hi, m->l->p->isa);
}

/* Descriptions of a slab's tensors and attributes. */
typedef struct Descs {
    dnnl_memory_desc_t src, dst, weights, bias;
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t post;
} Descs;

static void descs_free(Descs *t) {
    dnnl_memory_desc_t all[] = {t->src, t->dst, t->weights, t->bias};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i]) (void)dnnl_memory_desc_destroy(all[i]);
    if (t->attr) (void)dnnl_primitive_attr_destroy(t->attr);
    if (t->post) (void)dnnl_post_ops_destroy(t->post);
}

#define DNNL_TRY(expr)                                                                                                 \
    do {                                                                                                               \
        dnnl_status_t try_status = (expr);                                                                             \
        if (try_status != dnnl_success) return try_status;                                                             \
    } while (0)

static dnnl_status_t weights_desc(const Maker *m, int64_t oc, bool plain, dnnl_memory_desc_t *out) {
    const IgemmDesc *d = &m->d;
    const int64_t ocg = oc / d->groups, icg = d->ic / d->groups, taps = d->kh * d->kw;
    const bool kn = m->p->layout == IGEMM_KN;
    const int64_t o = kn ? 1 : icg * taps, i = kn ? d->oc : taps;
    const dnnl_dims_t dims = {d->groups, ocg, icg, d->kh, d->kw}, strides = {ocg * o, o, i, d->kw, 1};
    const int skip = d->groups == 1 ? 1 : 0;
    if (plain) return dnnl_memory_desc_create_with_strides(out, 5 - skip, dims + skip, dnnl_f32, strides + skip);
    return dnnl_memory_desc_create_with_tag(out, 5 - skip, dims + skip, dnnl_bf16, dnnl_format_tag_any);
}

static dnnl_status_t make_descs(const Maker *m, const SlabShape *s, Descs *t) {
    const dnnl_dims_t src = {1, m->d.ic, s->ih, s->iw}, dst = {1, s->oc, s->oh, s->ow}, bias = {s->oc};
    DNNL_TRY(dnnl_memory_desc_create_with_tag(&t->src, 4, src, dnnl_bf16, dnnl_nhwc));
    DNNL_TRY(dnnl_memory_desc_create_with_tag(&t->dst, 4, dst, dnnl_f32, dnnl_nhwc));
    if (m->packed_md && s->oc == m->x.shapes[0].oc)
        DNNL_TRY(dnnl_memory_desc_clone(&t->weights, m->packed_md));
    else
        DNNL_TRY(weights_desc(m, s->oc, false, &t->weights));
    if (m->bias) DNNL_TRY(dnnl_memory_desc_create_with_tag(&t->bias, 1, bias, dnnl_f32, dnnl_a));
    DNNL_TRY(dnnl_primitive_attr_create(&t->attr));
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(t->attr, dnnl_scratchpad_mode_user));
    if (!m->x.add_in_kernel) return dnnl_success;
    DNNL_TRY(dnnl_post_ops_create(&t->post));
    DNNL_TRY(dnnl_post_ops_append_binary(t->post, dnnl_binary_add, t->dst));
    return dnnl_primitive_attr_set_post_ops(t->attr, t->post);
}

static dnnl_status_t make_desc(const Maker *m, const SlabShape *s, dnnl_primitive_desc_t *pd) {
    const IgemmDesc *d = &m->d;
    Descs t = {0};
    dnnl_status_t e = make_descs(m, s, &t);
    const dnnl_dims_t strides = {d->stride_h, d->stride_w}, dilation = {d->dilation_h - 1, d->dilation_w - 1};
    const bool flat = is_flat(d);
    const dnnl_dims_t before = {s->pad_top, d->pad_left};
    const dnnl_dims_t after = {s->pad_bottom,
                               flat ? 0 : below(d->ow, d->stride_w, d->kw, d->dilation_w, d->iw, d->pad_left)};
    if (e == dnnl_success)
        e = dnnl_convolution_forward_primitive_desc_create(pd, m->x.engine, dnnl_forward_inference,
                                                           dnnl_convolution_direct, t.src, t.weights, t.bias, t.dst,
                                                           strides, dilation, before, after, t.attr);
    descs_free(&t);
    return e;
}

/* Makes kernel k; m->fits turns false when oneDNN has none but its plain reference. */
static dnnl_status_t make_kernel(Maker *m, int k) {
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t e = make_desc(m, &m->x.shapes[k], &pd);
    if (e == dnnl_unimplemented || e == dnnl_invalid_arguments) {
        m->fits = false;
        return dnnl_success;
    }
    const char *name = "ref";
    if (e == dnnl_success) e = dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    m->fits = strstr(name, "ref") == NULL;
    if (e == dnnl_success && m->fits && k == 0) {
        m->kernel = arena_printf(m->l->scratch, "onednn.%s.bf16", name);
        e = dnnl_memory_desc_clone(&m->packed_md, dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0));
    }
    if (e == dnnl_success && m->fits) {
        size_t pad = dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
        if (pad > m->x.pad_bytes) m->x.pad_bytes = pad;
        e = dnnl_primitive_create(&m->x.kernels[k], pd);
    }
    if (pd) (void)dnnl_primitive_desc_destroy(pd);
    return e;
}

static dnnl_status_t reorder(const Maker *m, const float *from, int64_t oc, const_dnnl_memory_desc_t to_md, void *to) {
    dnnl_memory_desc_t from_md = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t src = NULL, dst = NULL;
    dnnl_stream_t stream = NULL;
    dnnl_status_t e = weights_desc(m, oc, true, &from_md);
    if (e == dnnl_success) e = dnnl_reorder_primitive_desc_create(&pd, from_md, m->x.engine, to_md, m->x.engine, NULL);
    if (e == dnnl_success) e = dnnl_primitive_create(&primitive, pd);
    if (e == dnnl_success) e = dnnl_memory_create(&src, from_md, m->x.engine, (void *)(uintptr_t)from);
    if (e == dnnl_success) e = dnnl_memory_create(&dst, to_md, m->x.engine, to);
    if (e == dnnl_success) e = dnnl_stream_create(&stream, m->x.engine, dnnl_stream_default_flags);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, src}, {DNNL_ARG_TO, dst}};
    if (e == dnnl_success) e = dnnl_primitive_execute(primitive, stream, 2, args);
    if (stream) (void)dnnl_stream_destroy(stream);
    if (dst) (void)dnnl_memory_destroy(dst);
    if (src) (void)dnnl_memory_destroy(src);
    if (primitive) (void)dnnl_primitive_destroy(primitive);
    if (pd) (void)dnnl_primitive_desc_destroy(pd);
    if (from_md) (void)dnnl_memory_desc_destroy(from_md);
    return e;
}

/* Weights once for all row slabs, or each column slab's own. */
static Status pack(Maker *m) {
    const Tensor *w = m->p->w;
    const float *wf, *bf = NULL;
    TRY(plan_floats(m->l->p, w, &wf));
    if (m->bias) TRY(plan_floats(m->l->p, m->bias, &bf));
    int64_t per_column = m->p->layout == IGEMM_KN ? 1 : m->d.ic / m->d.groups * m->d.kh * m->d.kw;
    for (int i = 0; i < m->x.n_slabs; i++) {
        Slab *slab = &m->x.slabs[i];
        slab->bias = bf ? (const uint8_t *)(const void *)(bf + slab->column) : NULL;
        if (i > 0 && !slab->column) {
            slab->w = m->x.slabs[0].w;
            continue;
        }
        const_dnnl_primitive_desc_t pd;
        dnnl_status_t e = dnnl_primitive_get_primitive_desc(m->x.kernels[slab->kernel], &pd);
        if (e != dnnl_success) return library_failed(m->p->node, e);
        const_dnnl_memory_desc_t md = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
        void *packed;
        TRY(plan_memory(m->l->p, dnnl_memory_desc_get_size(md), &packed));
        e = reorder(m, wf + slab->column * per_column, m->x.shapes[slab->kernel].oc, md, packed);
        if (e != dnnl_success) return library_failed(m->p->node, e);
        slab->w = packed;
    }
    return NULL;
}

/* Engine and primitives; all belong to the plan, whether or not the product is declined. */
static Status make_kernels(Maker *m) {
    dnnl_status_t e = dnnl_engine_create(&m->x.engine, dnnl_cpu, 0);
    if (e != dnnl_success) return library_failed(m->p->node, e);
    TRY(plan_own(m->l->p, m->x.engine, undo_engine));
    for (int k = 0; k < m->x.n_kernels && m->fits; k++) {
        e = make_kernel(m, k);
        if (e != dnnl_success) return library_failed(m->p->node, e);
        if (m->x.kernels[k]) TRY(plan_own(m->l->p, m->x.kernels[k], undo_primitive));
    }
    return NULL;
}

static Status make_step(Maker *m) {
    Lowering *l = m->l;
    const Product *p = m->p;
    OnednnStep *x = &m->x;
    const bool add = p->group && p->group->add != NO_ID;
    TRY(pack(m));
    int64_t stage = 0;
    for (int i = 0; i < x->n_slabs; i++) {
        int64_t size = x->slabs[i].pixels * x->shapes[x->slabs[i].kernel].oc;
        if (x->staged && size > stage) stage = size;
    }
    x->stage_bytes = align_up((size_t)stage * sizeof(float));
    x->thread_bytes = x->stage_bytes + align_up(x->pad_bytes);
    x->x_bytes = align_up((size_t)(x->pixels * x->ic) * sizeof(uint16_t));
    x->to_bf16 = quant_ops(l->p->isa)->to_bf16;
    Step *s;
    TRY_ALLOC(m->kernel);
    TRY(lower_step(l, p->node->name, p->group ? p->group->label : p->node->op->name, m->kernel, run_onednn, sizeof *x,
                   add ? 2 : 1, 1, &s));
    *(OnednnStep *)s->op = *x;
    s->state = &onednn_state;
    s->scratch_bytes = x->x_bytes + (size_t)l->p->threads * x->thread_bytes;
    s->in[0] = m->src;
    if (add) s->in[1] = m->add;
    s->out[0] = m->dst;
    return lower_commit(l, s);
}

/* Operands; oc and pitches into the step. The output is only placed once nothing can be declined any more. */
static Status read_operands(Maker *m) {
    const Product *p = m->p;
    const Layout layout = p->nhwc ? LAYOUT_NHWC : LAYOUT_PLAIN;
    const Group *g = p->group;
    OnednnStep *x = &m->x;
    x->ic = x->ldx = m->d.ic;
    x->oc = x->ldy = x->ldr = m->d.oc;
    x->pixels = m->d.n * m->d.ih * m->d.iw;
    TRY(lower_read(m->l, p->x, layout, &m->src, p->nhwc ? &x->ldx : NULL));
    if (g && g->add != NO_ID) TRY(lower_read(m->l, g->residual, layout, &m->add, p->nhwc ? &x->ldr : NULL));
    const Storage *slice = &m->l->slice[g ? g->out : p->node->out[0]];
    if (p->nhwc && slice->where.at != AT_NONE) x->ldy = slice->ld;
    return NULL;
}

static Status make_product(Maker *m, bool *done) {
    const Product *p = m->p;
    TRY(read_operands(m));
    TRY(cut(m));
    if (!m->fits) return NULL;
    plan_chain(m);
    TRY(make_kernels(m));
    if (!m->fits) return NULL;
    *done = true;
    int64_t ldy;
    TRY(lower_write(m->l, p->group ? p->group->out : p->node->out[0], p->nhwc ? LAYOUT_NHWC : LAYOUT_PLAIN, &m->dst,
                    p->nhwc ? &ldy : NULL));
    return make_step(m);
}

Status onednn_product(Lowering *l, Product *p, bool *done) {
    Maker m = {.l = l, .p = p, .d = p->desc, .bias = p->bias};
    if (p->group && p->group->bias != NO_ID) m.bias = graph_constant(l->g, p->group->bias);
    fill_defaults(&m.d);
    int before = one_thread_enter();
    Status s = make_product(&m, done);
    one_thread_leave(before);
    if (m.packed_md) (void)dnnl_memory_desc_destroy(m.packed_md);
    return s;
}
