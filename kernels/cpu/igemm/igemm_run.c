/* The driver: walks over the work items and their tiles, calls the kernels and finishes the rows. */
#include "kernels/cpu/igemm/internal.h"

#include "kernels/cpu/kernels.h"

#include <string.h>

/* Table, activation and residual on `count` finished values of one row. */
static void finish_values(const IgemmRun *run, int64_t pixel, int64_t column, int64_t count) {
    const Igemm *op = run->op;
    const IgemmDesc *d = &op->desc;
    char *y = run->y + (pixel * d->ldy + column) * op->y_size;
    if (d->table != NULL)
        for (int64_t i = 0; i < count; i++) y[i] = (char)d->table[(uint8_t)y[i]];
    if (d->act != NULL) d->act((float *)y, (const float *)y, (size_t)count, d->act_a, d->act_b);
    if (d->residual != IGEMM_RESIDUAL_AFTER) return;
    const IgemmPost post = {.n = count,
                            .y = y,
                            .r = run->residual + (pixel * d->ldr + column) * op->y_size,
                            .y_type = d->y_type,
                            .y_zero = d->y_zero,
                            .add = &d->add};
    ((KernelFn_IGEMM_POST *)op->post->fn)(&post);
}

static void finish_rows(const IgemmRun *run, int64_t first, int rows, int64_t column, int64_t count) {
    const IgemmDesc *d = &run->op->desc;
    if (d->table == NULL && d->act == NULL && d->residual != IGEMM_RESIDUAL_AFTER) return;
    bool dense = count == d->ldy && (d->residual == IGEMM_NO_RESIDUAL || count == d->ldr);
    if (dense) {
        finish_values(run, first, column, count * rows);
        return;
    }
    for (int r = 0; r < rows; r++) finish_values(run, first + r, column, count);
}

/* Everything of a tile that stays the same from tile to tile. */
static IgemmTile tile_frame(const IgemmRun *run) {
    const Igemm *op = run->op;
    const IgemmDesc *d = &op->desc;
    const float zero = d->y_type == IGEMM_U8 || d->y_type == IGEMM_S8 ? (float)d->y_zero : 0.0f;
    return (IgemmTile){.a_step = IGEMM_MAX_ROWS,
                       .kc = op->kc,
                       .w_panel = (int64_t)op->w_panel,
                       .lo = d->lo - zero,
                       .hi = d->hi - zero,
                       .y_zero = d->y_zero,
                       .y_type = d->y_type,
                       .ldr = d->ldr,
                       .ldy = d->ldy};
}

/* A work item: tiles first .. last - 1 by panels begin .. end - 1 of a group. */
typedef struct Item {
    int64_t group, first, last, begin, end;
} Item;

static Item item_at(const Igemm *op, int64_t index) {
    const int64_t m_item = index % op->m_chunks, n_item = index / op->m_chunks % op->n_chunks;
    Item item = {.group = index / op->m_chunks / op->n_chunks,
                 .first = m_item * op->m_chunk,
                 .last = (m_item + 1) * op->m_chunk,
                 .begin = n_item * op->n_chunk,
                 .end = (n_item + 1) * op->n_chunk};
    if (item.last > op->tiles) item.last = op->tiles;
    if (item.end > op->panels) item.end = op->panels;
    return item;
}

/* All panels of an item for the rows that tile->a points at; w_skip bytes of each panel belong to taps left out. */
static void run_panels(const IgemmRun *run, const Item *item, IgemmTile *tile, int64_t pixel, int64_t w_skip) {
    const Igemm *op = run->op;
    const IgemmDesc *d = &op->desc;
    for (int64_t p = item->begin; p < item->end; p += op->width) {
        const int64_t v = item->end - p < op->width ? item->end - p : op->width;
        const int64_t column = p * op->lanes, left = op->ocg - column, index = item->group * op->panels + p;
        const int64_t at = item->group * op->ocg + column;
        tile->n = left < v * op->lanes ? left : v * op->lanes;
        tile->w = run->packed + op->w_offset + (size_t)index * op->w_panel + (size_t)w_skip;
        tile->bias = run->packed + op->bias_offset + index * op->lanes * 4;
        tile->mult = (const float *)(const void *)(run->packed + op->mult_offset) + index * op->lanes;
        tile->y = run->y + (pixel * d->ldy + at) * op->y_size;
        if (d->residual == IGEMM_RESIDUAL_BEFORE)
            tile->residual = (const float *)(const void *)run->residual + pixel * d->ldr + at;
        ((KernelFn_IGEMM_F32 *)op->rows[v - 1]->fn)(tile);
    }
}

/* The first pixel of tile t. */
static int64_t tile_begin(const Igemm *op, int64_t t) {
    const int64_t row = op->row_tiles > 0 ? t / op->row_tiles : 0, part = t - row * op->row_tiles;
    return row * op->desc.ow + part * op->tile_base + (part < op->tile_rest ? part : op->tile_rest);
}

static int64_t sum_seen(const void *a, int64_t n, int kr) {
    const int16_t *wide = a;
    const uint8_t *bytes = a;
    int64_t sum = 0;
    if (kr == 2)
        for (int64_t i = 0; i < n; i++) sum += wide[i];
    else
        for (int64_t i = 0; i < n; i++) sum += bytes[i];
    return sum;
}

/* What a zero point of the weights takes from all accumulators of a row: its product with the sum of the activations.
 */
static void sum_rows(const Igemm *op, const IgemmTile *tile, int32_t *row_add) {
    const int64_t count = op->merged ? op->desc.kw * op->icg : op->icg;
    for (int r = 0; r < tile->mr; r++) {
        int64_t sum = 0;
        for (int64_t tap = 0; tap < tile->taps; tap++) sum += sum_seen(tile->a[tap * tile->a_step + r], count, op->kr);
        row_add[r] = (int32_t)(uint32_t)(-sum * igemm_seen_w_zero(&op->desc));
    }
}

static void run_tiles(const IgemmRun *run, const Item *item, char *scratch) {
    const Igemm *op = run->op;
    const char *x = run->x + item->group * op->seen_group, *pad = run->packed + op->pad_offset;
    const int64_t column = item->begin * op->lanes, end = item->end * op->lanes;
    const int64_t columns = (end < op->ocg ? end : op->ocg) - column;
    const int64_t row_taps = op->merged ? 1 : op->desc.kw;
    const void **pointers = (const void **)(void *)(scratch + op->copy_bytes);
    int32_t row_add[IGEMM_MAX_ROWS];
    IgemmTile tile = tile_frame(run);
    if (op->desc.x_type != IGEMM_F32 && igemm_seen_w_zero(&op->desc) != 0) tile.row_add = row_add;
    int64_t pixel = tile_begin(op, item->first);
    Span span = igemm_span_at(&op->desc, pixel);
    for (int64_t t = item->first; t < item->last; t++) {
        const int64_t next = tile_begin(op, t + 1);
        tile.mr = (int)(next - pixel);
        const KernelRows kept = igemm_point_rows(op, x, pad, &span, pixel, tile.mr, scratch, pointers);
        const int64_t skipped = kept.first * row_taps;
        tile.a = pointers + skipped * IGEMM_MAX_ROWS;
        tile.taps = (kept.end - kept.first) * row_taps;
        if (tile.row_add != NULL) sum_rows(op, &tile, row_add);
        run_panels(run, item, &tile, pixel, skipped * op->kc * op->lanes * op->w_size);
        finish_rows(run, pixel, tile.mr, item->group * op->ocg + column, columns);
        pixel = next;
    }
}

int64_t igemm_items(const Igemm *op) { return op->desc.groups * op->n_chunks * op->m_chunks; }

void igemm_run_item(const IgemmRun *run, int64_t index, char *scratch) {
    const Item item = item_at(run->op, index);
    run_tiles(run, &item, scratch);
}

typedef struct Job {
    IgemmRun run;
    char *scratch;
} Job;

static void run_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    const Job *job = arg;
    char *scratch = job->scratch + job->run.op->thread_bytes * (size_t)thread_id;
    for (int64_t i = begin; i < end; i++) igemm_run_item(&job->run, i, scratch);
}

/* Copies n activations in the form that the kernels see. */
static void convert_elements(const Igemm *op, char *to, const char *from, int64_t n) {
    const uint8_t sign = op->desc.x_type == IGEMM_S8 ? 0x80 : 0;
    if (op->kr == 2) {
        ((KernelFn_IGEMM_WIDEN *)op->widen->fn)((int16_t *)(void *)to, (const uint8_t *)from, n, sign);
    } else if (sign == 0) {
        memcpy(to, from, (size_t)(n * op->x_size));
    } else {
        for (int64_t i = 0; i < n; i++) to[i] = (char)((uint8_t)from[i] ^ sign);
    }
}

typedef struct Conversion {
    const Igemm *op;
    const char *x, *pad;
    char *to;
} Conversion;

/* Pixels of the padding left or right of a row. */
static void convert_padding(const Conversion *c, char *to, int64_t pixels) {
    const int64_t bytes = c->op->icg * c->op->seen_size;
    for (int64_t i = 0; i < pixels; i++) memcpy(to + i * c->op->seen_pixel, c->pad, (size_t)bytes);
}

void igemm_convert_pixels(const Igemm *op, char *to, const char *from, int64_t pixels) {
    const IgemmDesc *d = &op->desc;
    const int64_t used = op->icg * op->seen_size;
    if (d->ldx == d->ic && op->seen_pixel == d->ic * op->seen_size) {
        convert_elements(op, to, from, pixels * d->ic);
        return;
    }
    for (int64_t i = 0; i < pixels; i++, from += d->ldx * op->x_size, to += op->seen_pixel) {
        for (int64_t g = 0; g < d->groups; g++) {
            char *group = to + g * op->seen_group;
            convert_elements(op, group, from + g * op->icg * op->x_size, op->icg);
            memset(group + used, 0, (size_t)(op->seen_group - used));
        }
    }
}

static void convert_rows(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const Conversion *c = arg;
    const Igemm *op = c->op;
    const IgemmDesc *d = &op->desc;
    const int64_t room = op->seen_iw - op->seen_left, pixels = room < d->iw ? room : d->iw;
    for (int64_t row = begin; row < end; row++) {
        char *to = c->to + row * op->seen_iw * op->seen_pixel;
        convert_padding(c, to, op->seen_left);
        to += op->seen_left * op->seen_pixel;
        igemm_convert_pixels(op, to, c->x + row * d->iw * d->ldx * op->x_size, pixels);
        convert_padding(c, to + pixels * op->seen_pixel, room - pixels);
    }
}

/* Without columns of padding an image is one long row, to be cut anywhere. */
static void convert_range(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const Conversion *c = arg;
    igemm_convert_pixels(c->op, c->to + begin * c->op->seen_pixel, c->x + begin * c->op->desc.ldx * c->op->x_size,
                         end - begin);
}

static void convert(const Igemm *op, const void *packed, const void *x, void *to, Team *team) {
    enum { BYTES_PER_GRAIN = 16 << 10 };
    const IgemmDesc *d = &op->desc;
    Conversion c = {.op = op, .x = x, .pad = (const char *)packed + op->pad_offset, .to = to};
    if (op->seen_iw == d->iw && op->seen_left == 0)
        team_run(team, convert_range, &c, d->n * d->ih * d->iw, BYTES_PER_GRAIN / op->seen_pixel + 1);
    else
        team_run(team, convert_rows, &c, d->n * d->ih, BYTES_PER_GRAIN / (op->seen_pixel * op->seen_iw) + 1);
}

void igemm_run(const Igemm *op, const void *packed, const void *x, const void *residual, void *y, void *scratch,
               Team *team) {
    Job job = {.run = {.op = op, .packed = packed, .x = x, .residual = residual, .y = y},
               .scratch = (char *)scratch + op->convert_bytes};
    if (op->convert) {
        convert(op, packed, x, scratch, team);
        job.run.x = scratch;
    }
    team_run(team, run_items, &job, igemm_items(op), 1);
}
