/* Frame of the normalizations: splitting over the team, statistics of groups of channels. */
#include "kernels/cpu/norm/norm.h"

#include <math.h>

#include "kernels/cpu/families.h"

enum {
    NORM_GRAIN = 4096 /* elements handed out together */,
    GROUP_CHANNELS = 64 /* channels per item of a statistic */
};

const NormOps *norm_ops(uint32_t isa_bits) { return family_find("norm", isa_bits)->ops; }

static int64_t norm_grain(int64_t row) { return row > 0 && row < NORM_GRAIN ? NORM_GRAIN / row : 1; }

typedef struct {
    const void *p;
    const float *x, *residual;
    float *y, *sum;
} NormRun;

void softmax_prepare(Softmax *s, uint32_t isa_bits) { s->ops = norm_ops(isa_bits); }

static int64_t softmax_parts(const Softmax *s) { return (s->inner + s->ops->lanes - 1) / s->ops->lanes; }

/* An item is one row, or up to `lanes` neighbouring columns. */
static void softmax_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const NormRun *r = arg;
    const Softmax *s = r->p;
    const int64_t parts = softmax_parts(s), lanes = s->ops->lanes;
    for (int64_t i = begin; i < end; i++) {
        if (s->inner == 1) {
            const int64_t at = i * s->len;
            (s->log ? s->ops->log_softmax_row : s->ops->softmax_row)(r->y + at, r->x + at, (size_t)s->len);
            continue;
        }
        const int64_t column = i % parts * lanes, at = i / parts * s->len * s->inner + column;
        const int64_t n = s->inner - column < lanes ? s->inner - column : lanes;
        (s->log ? s->ops->log_softmax_columns : s->ops->softmax_columns)(r->y + at, r->x + at, (size_t)s->len,
                                                                         (size_t)s->inner, (size_t)n);
    }
}

void softmax_run(const Softmax *s, const float *x, float *y, Team *team) {
    NormRun r = {.p = s, .x = x, .y = y};
    if (s->len > 0) team_run(team, softmax_items, &r, s->outer * softmax_parts(s), norm_grain(s->len));
}

void row_norm_prepare(RowNorm *r, uint32_t isa_bits) { r->ops = norm_ops(isa_bits); }

static void row_norm_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const NormRun *run = arg;
    const RowNorm *r = run->p;
    const size_t n = (size_t)r->n;
    for (int64_t i = begin; i < end; i++) {
        const size_t at = (size_t)i * r->x_ld;
        const float *x = run->x + at, *residual = run->residual ? run->residual + at : NULL;
        float *y = run->y + (size_t)i * r->y_ld, *sum = run->sum ? run->sum + at : NULL;
        switch (r->kind) {
        case ROW_NORM_LAYER:
            r->ops->layer_norm_row(y, sum, x, residual, r->gamma, r->beta, n, r->epsilon);
            break;
        case ROW_NORM_RMS:
            r->ops->rms_norm_row(y, sum, x, residual, r->gamma, n, r->epsilon);
            break;
        case ROW_NORM_L2:
            r->ops->l2_norm_row(y, x, n, r->epsilon);
            break;
        }
    }
}

void row_norm_run(const RowNorm *r, const float *x, const float *residual, float *y, float *sum, Team *team) {
    NormRun run = {.p = r, .x = x, .residual = residual, .y = y, .sum = sum};
    if (r->n > 0) team_run(team, row_norm_items, &run, r->rows, norm_grain(r->n));
}

void group_norm_prepare(GroupNorm *g, uint32_t isa_bits) { g->ops = norm_ops(isa_bits); }

/* Two numbers per channel: the shift (later the scale) and the sums (later the bias). */
size_t group_norm_scratch_floats(const GroupNorm *g) { return 2 * (size_t)g->n * (size_t)g->c; }

typedef struct {
    const GroupNorm *g;
    const float *x;
    float *y, *shift, *sum;
    bool squares;
} GroupRun;

static int32_t group_parts(const GroupNorm *g) { return (g->c + GROUP_CHANNELS - 1) / GROUP_CHANNELS; }

/* An item is GROUP_CHANNELS channels of one image. */
static void group_sum_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const GroupRun *r = arg;
    const GroupNorm *g = r->g;
    const int32_t parts = group_parts(g);
    for (int64_t i = begin; i < end; i++) {
        const size_t image = (size_t)(i / parts), c0 = (size_t)(i % parts) * GROUP_CHANNELS, c = (size_t)g->c;
        const size_t at = image * c + c0, n = c - c0 < GROUP_CHANNELS ? c - c0 : GROUP_CHANNELS;
        g->ops->channel_sums(r->sum + at, r->x + image * (size_t)g->pixels * g->x_ld + c0,
                             r->squares ? r->shift + at : NULL, (size_t)g->pixels, g->x_ld, n);
    }
}

/* Mean over a group of what channel_sums left, per image and group; in double, in order. */
static double group_mean(const GroupNorm *g, const float *sum) {
    const int32_t per = g->c / g->groups;
    double total = 0.0;
    for (int32_t c = 0; c < per; c++) total += (double)sum[c];
    return total / ((double)per * (double)g->pixels);
}

static void group_affine_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const GroupRun *r = arg;
    const GroupNorm *g = r->g;
    for (int64_t i = begin; i < end; i++) {
        const size_t at = (size_t)(i / g->pixels) * (size_t)g->c;
        g->ops->channel_affine(r->y + (size_t)i * g->y_ld, r->x + (size_t)i * g->x_ld, r->shift + at, r->sum + at, 1,
                               g->x_ld, g->y_ld, (size_t)g->c);
    }
}

void group_norm_run(const GroupNorm *g, const float *x, float *y, float *scratch, Team *team) {
    const size_t all = (size_t)g->n * (size_t)g->c, per = (size_t)(g->c / g->groups);
    GroupRun r = {.g = g, .x = x, .y = y, .shift = scratch, .sum = scratch + all};
    team_run(team, group_sum_items, &r, (int64_t)g->n * group_parts(g), 1);
    for (size_t at = 0; at < all; at += per) {
        const float mean = (float)group_mean(g, r.sum + at);
        for (size_t c = at; c < at + per; c++) r.shift[c] = mean;
    }
    r.squares = true;
    team_run(team, group_sum_items, &r, (int64_t)g->n * group_parts(g), 1);
    for (size_t at = 0; at < all; at += per) {
        const double var = group_mean(g, r.sum + at), mean = (double)r.shift[at];
        const double k = 1.0 / sqrt(var + (double)g->epsilon);
        for (size_t c = at; c < at + per; c++) {
            const size_t ch = c % (size_t)g->c;
            const double gamma = g->gamma ? (double)g->gamma[ch] : 1.0, beta = g->beta ? (double)g->beta[ch] : 0.0;
            r.shift[c] = (float)(k * gamma);
            r.sum[c] = (float)(beta - mean * k * gamma);
        }
    }
    team_run(team, group_affine_items, &r, (int64_t)g->n * g->pixels, norm_grain(g->c));
}
