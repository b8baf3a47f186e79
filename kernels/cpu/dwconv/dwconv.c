/* Frame of the depthwise kernels: choice, packing, splitting over the team, fused activations. */
#include "kernels/cpu/dwconv/dwconv.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/dwconv/dwq_pack.h"
#include "kernels/cpu/families.h"

/* Work is split over output rows; images with few rows (7x7 ...) are also split over channels. The split follows from
 * the shape alone. */
static int32_t dw_channel_step(const DwShape *s, int32_t block) {
    const int32_t all = (s->c + block - 1) / block * block;
    if ((int64_t)s->n * s->oh >= 32) return all;
    const int32_t least = block >= 64 ? block : 64 / block * block;
    const int32_t quarter = (s->c / 4 + least - 1) / least * least;
    return quarter < least ? least : quarter;
}

/* 0 for 3, 1 for 5, -1 for another kernel size; strides likewise 0 for 1, 1 for 2. */
static bool dw_is_small(const DwShape *s, int *k, int *stride) {
    if (s->kh != s->kw || s->sy != s->sx || s->dx != 1) return false;
    *k = s->kh == 3 ? 0 : s->kh == 5 ? 1 : -1;
    *stride = s->sx == 1 ? 0 : s->sx == 2 ? 1 : -1;
    return *k >= 0 && *stride >= 0;
}

static int32_t dw_blocks(int32_t c, int32_t block) { return (c + block - 1) / block; }

void dwconv_f32_prepare(DwconvF32 *d, uint32_t isa_bits) {
    int k, stride;
    d->ops = family_find("dwconv_f32", isa_bits)->ops;
    d->row = dw_is_small(&d->s, &k, &stride) ? d->ops->small[k][stride] : d->ops->any;
    d->c_step = dw_channel_step(&d->s, d->ops->block);
}

size_t dwconv_f32_packed_bytes(const DwconvF32 *d) {
    const size_t taps = (size_t)d->s.kh * (size_t)d->s.kw, block = (size_t)d->ops->block;
    return (size_t)dw_blocks(d->s.c, d->ops->block) * (taps + 1) * block * sizeof(float);
}

void dwconv_f32_pack(const DwconvF32 *d, const float *w, const float *bias, void *packed) {
    const size_t taps = (size_t)d->s.kh * (size_t)d->s.kw, block = (size_t)d->ops->block;
    memset(packed, 0, dwconv_f32_packed_bytes(d));
    for (size_t c = 0; c < (size_t)d->s.c; c++) {
        float *to = (float *)packed + c / block * (taps + 1) * block + c % block;
        if (bias) to[0] = bias[c];
        for (size_t t = 0; t < taps; t++) to[(t + 1) * block] = w[c * taps + t];
    }
}

static void dw_f32_act(const DwconvF32 *d, float *y, int32_t c0, int32_t c1) {
    if (!d->act.fn) return;
    const size_t width = (size_t)(c1 - c0);
    if (width == d->s.y_ld) {
        d->act.fn(y, y, width * (size_t)d->s.ow, d->act.a, d->act.b);
        return;
    }
    for (int32_t ox = 0; ox < d->s.ow; ox++) {
        float *p = y + (size_t)ox * d->s.y_ld + c0;
        d->act.fn(p, p, width, d->act.a, d->act.b);
    }
}

typedef struct {
    const void *d;
    const void *x;
    void *y;
} DwRun;

static void dw_f32_row(const DwconvF32 *d, const float *x, float *y, int64_t row, int32_t c0, int32_t c1) {
    const int64_t image = row / d->s.oh;
    float *to = y + (size_t)row * (size_t)d->s.ow * d->s.y_ld;
    d->row(d, x + (size_t)image * (size_t)d->s.h * (size_t)d->s.w * d->s.x_ld, to, (int32_t)(row % d->s.oh), c0, c1);
    dw_f32_act(d, to, c0, c1);
}

/* Item i is channel group i / (n*oh) of output row i % (n*oh): a thread keeps its channels' weights while it walks
 * rows. */
static void dw_f32_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const DwRun *r = arg;
    const DwconvF32 *d = r->d;
    const int64_t rows = (int64_t)d->s.n * d->s.oh;
    for (int64_t i = begin; i < end; i++) {
        const int32_t c0 = (int32_t)(i / rows) * d->c_step;
        const int32_t c1 = c0 + d->c_step < d->s.c ? c0 + d->c_step : d->s.c;
        dw_f32_row(d, r->x, r->y, i % rows, c0, c1);
    }
}

void dwconv_f32_run(const DwconvF32 *d, const float *x, float *y, Team *team) {
    DwRun r = {.d = d, .x = x, .y = y};
    team_run(team, dw_f32_items, &r, (int64_t)d->s.n * d->s.oh * dw_blocks(d->s.c, d->c_step), 1);
}

void dwconv_f32_rows(const DwconvF32 *d, const float *x, float *y, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) dw_f32_row(d, x, y, (int64_t)row, 0, d->s.c);
}

/* What channel c's accumulator starts from on uint8: int8 inputs have 128 added, which the sum must lose again. */
static int32_t dw_u8_start(const DwconvU8 *d, const int8_t *w, const int32_t *bias, size_t c) {
    const size_t taps = (size_t)d->s.kh * (size_t)d->s.kw;
    uint32_t start = (uint32_t)bias[c];
    for (size_t t = 0; t < taps; t++) start -= (uint32_t)(w[c * taps + t] * d->x_flip);
    return (int32_t)start;
}

/* Largest |float(acc) * mult| that any input can cause, with room for the roundings. */
static double dw_u8_bound(const DwconvU8 *d, const int8_t *w, const int32_t *bias, const float *mult) {
    const size_t taps = (size_t)d->s.kh * (size_t)d->s.kw;
    double worst = 0.0;
    for (size_t c = 0; c < (size_t)d->s.c; c++) {
        int64_t sum = 0;
        for (size_t t = 0; t < taps; t++) sum += w[c * taps + t] < 0 ? -w[c * taps + t] : w[c * taps + t];
        const double acc = (double)sum * 255.0 + fabs((double)dw_u8_start(d, w, bias, c));
        const double v = acc * fabs((double)mult[c]) * 1.000001;
        worst = v > worst ? v : worst;
    }
    return worst;
}

/* Whether the kernels of `ops` compute this problem; all but the plain ones have limits. */
static bool dw_u8_applicable(const DwconvU8 *d, const DwconvU8Ops *ops, double bound) {
    if (ops->group == 1) return true;
    const int64_t groups = (d->s.kh + ops->group - 1) / ops->group;
    const int64_t columns = (((int64_t)d->s.kw - 1) * d->s.dx + 1) * groups;
    return columns <= ops->max_columns && bound < 2147483000.0;
}

/* The cheapest applicable row. */
static const DwconvU8Ops *dw_u8_choose(const DwconvU8 *d, double bound, uint32_t isa_bits) {
    size_t count;
    const Family *rows = family_rows(&count);
    const DwconvU8Ops *best = family_find("dwconv_u8", 0)->ops;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(rows[i].family, "dwconv_u8") != 0 || !(isa_bits >> rows[i].isa & 1u)) continue;
        const DwconvU8Ops *ops = rows[i].ops;
        const int64_t cost = (int64_t)dw_blocks(d->s.c, ops->block) * ops->cost;
        if (dw_u8_applicable(d, ops, bound) && cost < (int64_t)dw_blocks(d->s.c, best->block) * best->cost) best = ops;
    }
    return best;
}

void dwconv_u8_prepare(DwconvU8 *d, const int8_t *w, const int32_t *bias, const float *mult, uint32_t isa_bits) {
    int k, stride;
    d->x_flip = d->x_signed ? 128 : 0;
    d->y_flip = d->y_signed ? 128 : 0;
    d->ux_zp = d->x_zp + d->x_flip;
    d->uy_zp = d->y_zp + d->y_flip;
    d->ulo = d->lo + d->y_flip;
    d->uhi = d->hi + d->y_flip;
    d->ops = dw_u8_choose(d, dw_u8_bound(d, w, bias, mult), isa_bits);
    d->row = dw_is_small(&d->s, &k, &stride) ? d->ops->small[k][stride] : d->ops->any;
    d->c_step = dw_channel_step(&d->s, d->ops->block);
    d->lut_fn = quant_ops(isa_bits)->lut;
}

/* Bytes of one packed block: bias, mult and weights. */
static size_t dw_u8_block_bytes(const DwconvU8 *d) {
    const DwconvU8Ops *o = d->ops;
    const size_t block = (size_t)o->block, kw = (size_t)d->s.kw;
    if (o->group == 1) return block * (8 + (size_t)d->s.kh * kw);
    const size_t groups = (size_t)((d->s.kh + o->group - 1) / o->group);
    return block * 4 * (2 + groups * kw * (size_t)o->parts);
}

size_t dwconv_u8_packed_bytes(const DwconvU8 *d) {
    return (size_t)dw_blocks(d->s.c, d->ops->block) * dw_u8_block_bytes(d);
}

static void dw_u8_pack_plain(const DwconvU8 *d, const int8_t *w, size_t c, int8_t *to) {
    const size_t taps = (size_t)d->s.kh * (size_t)d->s.kw, block = (size_t)d->ops->block;
    for (size_t t = 0; t < taps; t++) to[t * block + c % block] = w[c * taps + t];
}

/* Weight of filter row ky at column kx of channel c into the layout of dwq_pack.h. */
static void dw_u8_pack_groups(const DwconvU8 *d, const int8_t *w, size_t c, int8_t *to) {
    const size_t kh = (size_t)d->s.kh, kw = (size_t)d->s.kw, block = (size_t)d->ops->block;
    const size_t parts = (size_t)d->ops->parts, place = dwq_place(c % block, block);
    for (size_t ky = 0; ky < kh; ky++)
        for (size_t kx = 0; kx < kw; kx++) {
            const int8_t v = w[(c * kh + ky) * kw + kx];
            const size_t g = ky / DWQ_GROUP, r = ky % DWQ_GROUP;
            int8_t *column = to + (g * kw + kx) * parts * block * 4;
            if (parts == 1) {
                column[place * 4 + r] = v;
            } else {
                const int16_t wide = v;
                memcpy(column + (r % 2) * block * 4 + place * 4 + (r / 2) * 2, &wide, sizeof wide);
            }
        }
}

void dwconv_u8_pack(const DwconvU8 *d, const int8_t *w, const int32_t *bias, const float *mult, void *packed) {
    const size_t block = (size_t)d->ops->block, bytes = dw_u8_block_bytes(d);
    memset(packed, 0, dwconv_u8_packed_bytes(d));
    for (size_t c = 0; c < (size_t)d->s.c; c++) {
        char *to = (char *)packed + c / block * bytes;
        const bool plain = d->ops->group == 1;
        const size_t place = plain ? c % block : dwq_place(c % block, block);
        const int32_t start = dw_u8_start(d, w, bias, c);
        memcpy(to + place * 4, &start, 4);
        memcpy(to + block * 4 + place * 4, &mult[c], 4);
        (plain ? dw_u8_pack_plain : dw_u8_pack_groups)(d, w, c, (int8_t *)to + block * 8);
    }
}

static void dw_u8_lut(const DwconvU8 *d, uint8_t *y, int32_t c0, int32_t c1) {
    if (!d->lut) return;
    const size_t width = (size_t)(c1 - c0);
    if (width == d->s.y_ld) {
        d->lut_fn(y, y, width * (size_t)d->s.ow, d->lut);
        return;
    }
    for (int32_t ox = 0; ox < d->s.ow; ox++) {
        uint8_t *p = y + (size_t)ox * d->s.y_ld + c0;
        d->lut_fn(p, p, width, d->lut);
    }
}

static void dw_u8_row(const DwconvU8 *d, const uint8_t *x, uint8_t *y, int64_t row, int32_t c0, int32_t c1) {
    const int64_t image = row / d->s.oh;
    uint8_t *to = y + (size_t)row * (size_t)d->s.ow * d->s.y_ld;
    d->row(d, x + (size_t)image * (size_t)d->s.h * (size_t)d->s.w * d->s.x_ld, to, (int32_t)(row % d->s.oh), c0, c1);
    dw_u8_lut(d, to, c0, c1);
}

static void dw_u8_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const DwRun *r = arg;
    const DwconvU8 *d = r->d;
    const int64_t rows = (int64_t)d->s.n * d->s.oh;
    for (int64_t i = begin; i < end; i++) {
        const int32_t c0 = (int32_t)(i / rows) * d->c_step;
        const int32_t c1 = c0 + d->c_step < d->s.c ? c0 + d->c_step : d->s.c;
        dw_u8_row(d, r->x, r->y, i % rows, c0, c1);
    }
}

void dwconv_u8_run(const DwconvU8 *d, const uint8_t *x, uint8_t *y, Team *team) {
    DwRun r = {.d = d, .x = x, .y = y};
    team_run(team, dw_u8_items, &r, (int64_t)d->s.n * d->s.oh * dw_blocks(d->s.c, d->c_step), 1);
}

void dwconv_u8_rows(const DwconvU8 *d, const uint8_t *x, uint8_t *y, size_t begin, size_t end) {
    for (size_t row = begin; row < end; row++) dw_u8_row(d, x, y, (int64_t)row, 0, d->s.c);
}
