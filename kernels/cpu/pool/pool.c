/* Frame of the pooling kernels: windows cut to the image, splitting over the team. */
#include "kernels/cpu/pool/pool.h"

#include "kernels/cpu/eltwise/requant.h"
#include "kernels/cpu/families.h"

enum { GLOBAL_CHANNELS = 64 /* channels per item of a global pool */ };

/* Positions of one axis of a window: taps [first, first + count) lie inside the image, `padded` inside the padded
 * image. */
typedef struct {
    int32_t first, count, padded;
} PoolSpan;

static PoolSpan pool_span(int32_t start, int32_t k, int32_t step, int32_t size, int32_t pad_end) {
    int32_t a = 0, b = k, padded = k;
    while (a < b && start + a * step < 0) a++;
    while (b > a && start + (b - 1) * step >= size) b--;
    while (padded > 1 && start + (padded - 1) * step >= size + pad_end) padded--;
    return (PoolSpan){.first = a, .count = b - a, .padded = padded};
}

/* The window of output (oy, ox); *at is its first pixel's element offset within the image. */
static PoolWindow pool_window_at(const PoolShape *s, bool include_pad, int32_t oy, int32_t ox, size_t *at) {
    const int32_t iy = oy * s->sy - s->pad_top, ix = ox * s->sx - s->pad_left;
    const PoolSpan v = pool_span(iy, s->kh, s->dy, s->h, s->pad_bottom);
    const PoolSpan u = pool_span(ix, s->kw, s->dx, s->w, s->pad_right);
    const size_t py = (size_t)(iy + v.first * s->dy), px = (size_t)(ix + u.first * s->dx);
    *at = (py * (size_t)s->w + px) * s->x_ld;
    return (PoolWindow){.ny = v.count,
                        .nx = u.count,
                        .row_pitch = (ptrdiff_t)s->w * (ptrdiff_t)s->x_ld * s->dy,
                        .col_pitch = (ptrdiff_t)s->x_ld * s->dx,
                        .count = include_pad ? v.padded * u.padded : v.count * u.count};
}

typedef struct {
    const void *p;
    const void *x;
    void *y;
} PoolRun;

/* An item is one output row. */
static void pool_f32_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const PoolRun *r = arg;
    const PoolF32 *p = r->p;
    const PoolShape *s = &p->s;
    for (int64_t row = begin; row < end; row++) {
        const float *x = (const float *)r->x + (size_t)(row / s->oh) * (size_t)s->h * (size_t)s->w * s->x_ld;
        float *y = (float *)r->y + (size_t)row * (size_t)s->ow * s->y_ld;
        for (int32_t ox = 0; ox < s->ow; ox++, y += s->y_ld) {
            size_t at;
            const PoolWindow win = pool_window_at(s, p->count_include_pad, (int32_t)(row % s->oh), ox, &at);
            p->ops->window[p->kind](p, &win, x + at, y);
        }
    }
}

void pool_f32_prepare(PoolF32 *p, uint32_t isa_bits) { p->ops = family_find("pool_f32", isa_bits)->ops; }

void pool_f32_run(const PoolF32 *p, const float *x, float *y, Team *team) {
    PoolRun r = {.p = p, .x = x, .y = y};
    team_run(team, pool_f32_items, &r, (int64_t)p->s.n * p->s.oh, 1);
}

static void pool_u8_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const PoolRun *r = arg;
    const PoolU8 *p = r->p;
    const PoolShape *s = &p->s;
    for (int64_t row = begin; row < end; row++) {
        const uint8_t *x = (const uint8_t *)r->x + (size_t)(row / s->oh) * (size_t)s->h * (size_t)s->w * s->x_ld;
        uint8_t *y = (uint8_t *)r->y + (size_t)row * (size_t)s->ow * s->y_ld;
        for (int32_t ox = 0; ox < s->ow; ox++, y += s->y_ld) {
            size_t at;
            const PoolWindow win = pool_window_at(s, p->count_include_pad, (int32_t)(row % s->oh), ox, &at);
            p->ops->window[p->kind](p, &win, x + at, y);
            if (p->lut) p->lut_fn(y, y, (size_t)s->c, p->lut);
        }
    }
}

void pool_u8_prepare(PoolU8 *p, uint32_t isa_bits) {
    p->ops = family_find("pool_u8", isa_bits)->ops;
    p->lut_fn = quant_ops(isa_bits)->lut;
}

void pool_u8_run(const PoolU8 *p, const uint8_t *x, uint8_t *y, Team *team) {
    PoolRun r = {.p = p, .x = x, .y = y};
    team_run(team, pool_u8_items, &r, (int64_t)p->s.n * p->s.oh, 1);
}

void global_pool_f32_prepare(GlobalPoolF32 *p, uint32_t isa_bits) { p->ops = family_find("pool_f32", isa_bits)->ops; }
void global_pool_u8_prepare(GlobalPoolU8 *p, uint32_t isa_bits) { p->ops = family_find("pool_u8", isa_bits)->ops; }

static int32_t global_groups(int32_t c) { return (c + GLOBAL_CHANNELS - 1) / GLOBAL_CHANNELS; }

/* An item is GLOBAL_CHANNELS channels of one image. */
static void global_f32_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const PoolRun *r = arg;
    const GlobalPoolF32 *p = r->p;
    const int32_t groups = global_groups(p->c);
    for (int64_t i = begin; i < end; i++) {
        const size_t image = (size_t)(i / groups);
        const int32_t c0 = (int32_t)(i % groups) * GLOBAL_CHANNELS;
        const int32_t c1 = p->c - c0 < GLOBAL_CHANNELS ? p->c : c0 + GLOBAL_CHANNELS;
        p->ops->global((const float *)r->x + image * (size_t)p->pixels * p->x_ld, (float *)r->y + image * p->y_ld,
                       p->pixels, p->x_ld, c0, c1, p->kind);
    }
}

void global_pool_f32_run(const GlobalPoolF32 *p, const float *x, float *y, Team *team) {
    PoolRun r = {.p = p, .x = x, .y = y};
    team_run(team, global_f32_items, &r, (int64_t)p->n * global_groups(p->c), 1);
}

static void global_u8_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const PoolRun *r = arg;
    const GlobalPoolU8 *p = r->p;
    const int32_t groups = global_groups(p->c);
    for (int64_t i = begin; i < end; i++) {
        const size_t image = (size_t)(i / groups);
        const int32_t c0 = (int32_t)(i % groups) * GLOBAL_CHANNELS;
        const int32_t n = p->c - c0 < GLOBAL_CHANNELS ? p->c - c0 : GLOBAL_CHANNELS;
        const uint8_t *x = (const uint8_t *)r->x + image * (size_t)p->pixels * p->x_ld + c0;
        uint8_t *y = (uint8_t *)r->y + image * p->y_ld + c0;
        int32_t sum[GLOBAL_CHANNELS];
        p->ops->global_sum(x, sum, p->pixels, p->x_ld, 0, n, p->x_signed);
        const int32_t x_zp = p->x_zp + (p->x_signed ? 128 : 0);
        for (int32_t c = 0; c < n; c++) {
            const int32_t acc = sum[c] - (int32_t)p->pixels * x_zp;
            const uint8_t q = requant_u8(acc, p->mult, p->y_zp, p->lo, p->hi);
            y[c] = p->lut ? p->lut[q] : q;
        }
    }
}

void global_pool_u8_run(const GlobalPoolU8 *p, const uint8_t *x, uint8_t *y, Team *team) {
    PoolRun r = {.p = p, .x = x, .y = y};
    team_run(team, global_u8_items, &r, (int64_t)p->n * global_groups(p->c), 1);
}
