#include "kernels/cpu/igemm/matmul.h"

#include "kernels/cpu/igemm/internal.h"
#include "kernels/cpu/kernels.h"

static int64_t element(IgemmType type) { return type == IGEMM_U8 || type == IGEMM_S8 ? 1 : 4; }

/* Scratch: converted x, packed w, multipliers, then the threads' areas. */
static bool lay_out(Matmul *op) {
    MatmulDesc *d = &op->desc;
    const Igemm *p = &op->product;
    size_t total = 0, bytes;
    for (int level = 0; level < 2; level++) {
        if (d->batch[level] == 0) d->batch[level] = 1;
        if (d->batch[level] < 0 || d->x_batch[level] < 0 || d->w_batch[level] < 0) return false;
        if (d->batch[level] > 1 && d->y_batch[level] <= 0) return false;
        op->x_count[level] = d->x_batch[level] == 0 ? 1 : d->batch[level];
        op->w_count[level] = d->w_batch[level] == 0 ? 1 : d->batch[level];
        int64_t last;
        if (__builtin_mul_overflow(d->batch[level], d->x_batch[level], &last) || last > INT64_MAX / 16) return false;
        if (__builtin_mul_overflow(d->batch[level], d->w_batch[level], &last) || last > INT64_MAX / 16) return false;
        if (__builtin_mul_overflow(d->batch[level], d->y_batch[level], &last) || last > INT64_MAX / 16) return false;
    }
    int64_t batches, items;
    if (__builtin_mul_overflow(d->batch[0], d->batch[1], &batches)) return false;
    if (__builtin_mul_overflow(batches, igemm_items(p), &items)) return false;
    op->x_stride = p->convert_bytes;
    op->w_stride = (p->pack_bytes + 63) / 64 * 64;
    op->mult_bytes = (size_t)(p->panels * p->lanes) * sizeof(float);
    op->mult_bytes = (op->mult_bytes + 63) / 64 * 64;
    if (__builtin_mul_overflow((size_t)(op->x_count[0] * op->x_count[1]), op->x_stride, &total)) return false;
    if (__builtin_mul_overflow((size_t)(op->w_count[0] * op->w_count[1]), op->w_stride, &bytes)) return false;
    return !__builtin_add_overflow(total, bytes, &total) && total < SIZE_MAX / 2;
}

static IgemmDesc product_desc(const MatmulDesc *d) {
    IgemmDesc p;
    igemm_gemm_desc(&p, d->x_type, d->y_type, d->m, d->n, d->k);
    p.ldx = d->ldx, p.ldy = d->ldy;
    p.lo = d->lo, p.hi = d->hi;
    p.act = d->act, p.act_a = d->act_a, p.act_b = d->act_b;
    p.x_zero = d->x_zero, p.y_zero = d->y_zero;
    p.w_type = d->w_type, p.w_zero = d->w_zero;
    return p;
}

bool matmul_init_isa(Matmul *op, const MatmulDesc *desc, Isa isa) {
    const IgemmDesc product = product_desc(desc);
    *op = (Matmul){.desc = *desc};
    if ((desc->x_type == IGEMM_F32) != (desc->w_type == IGEMM_F32) || desc->w_type == IGEMM_S32) return false;
    if (!igemm_init_isa(&op->product, &product, isa)) return false;
    const int64_t row = desc->w_transposed ? desc->k : desc->n;
    if (op->desc.ldw == 0) op->desc.ldw = row;
    return op->desc.ldw >= row && lay_out(op);
}

bool matmul_init(Matmul *op, const MatmulDesc *desc) {
    const KernelFamily family = desc->x_type == IGEMM_F32 ? KERNEL_IGEMM_F32 : KERNEL_IGEMM_Q8;
    return matmul_init_isa(op, desc, kernel_best(family)->isa);
}

const char *matmul_kernel_name(const Matmul *op) { return igemm_kernel_name(&op->product); }

static size_t x_bytes(const Matmul *op) { return op->x_stride * (size_t)(op->x_count[0] * op->x_count[1]); }
static size_t w_bytes(const Matmul *op) { return op->w_stride * (size_t)(op->w_count[0] * op->w_count[1]); }

size_t matmul_scratch_bytes(const Matmul *op, int n_threads) {
    return x_bytes(op) + w_bytes(op) + op->mult_bytes + op->product.thread_bytes * (size_t)n_threads;
}

typedef struct Job {
    const Matmul *op;
    const char *x, *w;
    char *y, *converted, *packed, *threads;
    float *mult;
} Job;

/* Items: rows of all distinct x. */
static void convert_rows(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const Job *job = arg;
    const Matmul *op = job->op;
    const MatmulDesc *d = &op->desc;
    const Igemm *p = &op->product;
    while (begin < end) {
        const int64_t batch = begin / d->m, row = begin % d->m;
        const int64_t rows = d->m - row < end - begin ? d->m - row : end - begin;
        const int64_t outer = batch / op->x_count[1], inner = batch % op->x_count[1];
        const int64_t at = outer * d->x_batch[0] + inner * d->x_batch[1] + row * p->desc.ldx;
        char *to = job->converted + (size_t)batch * op->x_stride + row * p->seen_pixel;
        igemm_convert_pixels(p, to, job->x + at * p->x_size, rows);
        begin += rows;
    }
}

/* Items: panels of all distinct w. */
static void pack_panels(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const Job *job = arg;
    const Matmul *op = job->op;
    const MatmulDesc *d = &op->desc;
    for (int64_t i = begin; i < end; i++) {
        const int64_t batch = i / op->product.panels, panel = i % op->product.panels;
        const int64_t outer = batch / op->w_count[1], inner = batch % op->w_count[1];
        const int64_t at = outer * d->w_batch[0] + inner * d->w_batch[1];
        const IgemmWeights weights = {.w = job->w + at * element(d->w_type),
                                      .layout = d->w_transposed ? IGEMM_NK : IGEMM_KN,
                                      .ld = d->ldw,
                                      .multiplier = job->mult};
        igemm_pack_panel(&op->product, &weights, job->packed + (size_t)batch * op->w_stride, panel);
    }
}

/* Items: those of the product, for all batches. */
static void multiply(void *arg, int64_t begin, int64_t end, int thread_id) {
    const Job *job = arg;
    const Matmul *op = job->op;
    const MatmulDesc *d = &op->desc;
    const Igemm *p = &op->product;
    const int64_t items = igemm_items(p);
    char *scratch = job->threads + p->thread_bytes * (size_t)thread_id;
    for (int64_t i = begin; i < end; i++) {
        const int64_t outer = i / items / d->batch[1], inner = i / items % d->batch[1];
        const int64_t x_index = outer % op->x_count[0] * op->x_count[1] + inner % op->x_count[1];
        const int64_t w_index = outer % op->w_count[0] * op->w_count[1] + inner % op->w_count[1];
        const int64_t x_at = outer * d->x_batch[0] + inner * d->x_batch[1];
        const int64_t y_at = outer * d->y_batch[0] + inner * d->y_batch[1];
        IgemmRun run = {.op = p,
                        .packed = job->packed + (size_t)w_index * op->w_stride,
                        .x = p->convert ? job->converted + (size_t)x_index * op->x_stride : job->x + x_at * p->x_size,
                        .y = job->y + y_at * p->y_size};
        igemm_run_item(&run, i % items, scratch);
    }
}

void matmul_run(const Matmul *op, const void *x, const void *w, void *y, void *scratch, Team *team) {
    enum { BYTES_PER_GRAIN = 16 << 10 };
    const Igemm *p = &op->product;
    const int64_t w_count = op->w_count[0] * op->w_count[1], x_count = op->x_count[0] * op->x_count[1];
    Job job = {.op = op, .x = x, .w = w, .y = y, .converted = scratch};
    job.packed = job.converted + x_bytes(op);
    job.mult = (float *)(void *)(job.packed + w_bytes(op));
    job.threads = (char *)job.mult + op->mult_bytes;
    for (int64_t i = 0; i < op->desc.n; i++) job.mult[i] = op->desc.multiplier;
    for (int64_t i = 0; i < w_count; i++) igemm_pack_pad(p, job.packed + (size_t)i * op->w_stride);
    if (p->convert) team_run(team, convert_rows, &job, x_count * op->desc.m, BYTES_PER_GRAIN / p->seen_pixel + 1);
    team_run(team, pack_panels, &job, w_count * p->panels, BYTES_PER_GRAIN / (int64_t)p->w_panel + 1);
    team_run(team, multiply, &job, op->desc.batch[0] * op->desc.batch[1] * igemm_items(p), 1);
}
