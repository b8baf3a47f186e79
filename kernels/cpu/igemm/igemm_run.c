/* The driver: walks over tiles, points at or gathers their rows, calls the kernels and finishes the rows. */
#include "kernels/cpu/igemm/igemm.h"

#include "kernels/cpu/igemm/tile.h"
#include "kernels/cpu/kernels.h"

#include <string.h>

typedef struct Run {
    const Igemm *op;
    const char *packed, *x, *residual;
    char *y, *scratch;
} Run;

/* Consecutive output pixels of one image row: output (image, oy, ox) and `count` more to the right. */
typedef struct Span {
    int64_t image, oy, ox, count;
} Span;

static Span span_at(const IgemmDesc *d, int64_t pixel) {
    int64_t row = pixel / d->ow;
    return (Span){.image = row / d->oh, .oy = row % d->oh, .ox = pixel % d->ow};
}

/* The part of the `rest` pixels from s on that lies in one image row. */
static void span_cut(const IgemmDesc *d, Span *s, int64_t rest) {
    s->count = rest < d->ow - s->ox ? rest : d->ow - s->ox;
}

static void span_next(const IgemmDesc *d, Span *s) {
    s->ox += s->count;
    if (s->ox < d->ow) return;
    s->ox = 0;
    if (++s->oy < d->oh) return;
    s->oy = 0;
    s->image++;
}

/* Input row that tap row ky reads for output row s->oy, or NULL in the padding. */
static const char *input_row(const Igemm *op, const char *x, const Span *s, int64_t ky) {
    const IgemmDesc *d = &op->desc;
    int64_t iy = s->oy * d->stride_h - d->pad_top + ky * d->dilation_h;
    if (iy < 0 || iy >= d->ih) return NULL;
    return x + (s->image * d->ih + iy) * d->iw * d->ldx * op->x_size;
}

/* Copies n activations in the form that the kernel wants. */
static void copy_elements(const Igemm *op, char *to, const char *from, int64_t n) {
    const uint8_t sign = op->desc.x_type == IGEMM_S8 ? 0x80 : 0;
    if (op->kr == 2) {
        ((KernelFn_IGEMM_WIDEN *)op->widen->fn)((int16_t *)(void *)to, (const uint8_t *)from, n, sign);
    } else if (sign != 0) {
        for (int64_t i = 0; i < n; i++) to[i] = (char)((uint8_t)from[i] ^ sign);
    } else {
        int64_t bytes = n * op->x_size, i = 0;
        for (; i + 16 <= bytes; i += 16) memcpy(to + i, from + i, 16);
        for (; i + 4 <= bytes; i += 4) memcpy(to + i, from + i, 4);
        for (; i < bytes; i++) to[i] = from[i];
    }
}

/* Copies one tap as packed, from the input row `row` (NULL in the padding), for the window or pixel that starts at ix.
 */
static void copy_tap(const Igemm *op, const char *row, const char *pad, int64_t ix, char *to) {
    const IgemmDesc *d = &op->desc;
    const int64_t size = op->kr == 2 ? 2 : op->x_size, pixel = d->ldx * op->x_size, pixels = op->merged ? d->kw : 1;
    if (row != NULL && d->ldx == op->icg && d->dilation_w == 1 && ix >= 0 && ix + pixels <= d->iw) {
        copy_elements(op, to, row + ix * pixel, pixels * op->icg);
    } else {
        for (int64_t i = 0; i < pixels; i++, ix += d->dilation_w) {
            const bool inside = row != NULL && ix >= 0 && ix < d->iw;
            copy_elements(op, to + i * op->icg * size, inside ? row + ix * pixel : pad, op->icg);
        }
    }
    const int64_t used = pixels * op->icg;
    if (used < op->kc) memset(to + used * size, 0, (size_t)((op->kc - used) * size));
}

/* Points at the windows of a span where they lie in x, and copies those that do not. */
static void point_windows(const Igemm *op, const char *x, const char *pad, const Span *s, char *copies,
                          const void **to) {
    const IgemmDesc *d = &op->desc;
    const int64_t pixel = d->ldx * op->x_size, tap_bytes = op->kc * op->x_size;
    const bool dense = d->ldx == op->icg && d->dilation_w == 1;
    for (int64_t ky = 0; ky < d->kh; ky++, to += IGEMM_MAX_ROWS) {
        const char *row = input_row(op, x, s, ky);
        int64_t ix = s->ox * d->stride_w - d->pad_left;
        for (int64_t i = 0; i < s->count; i++, ix += d->stride_w) {
            if (row == NULL) {
                to[i] = pad;
            } else if (dense && ix >= 0 && ix + op->window <= d->iw) {
                to[i] = row + ix * pixel;
            } else {
                char *copy = copies + (size_t)i * op->gather_stride + ky * tap_bytes;
                copy_tap(op, row, pad, ix, copy);
                to[i] = copy;
            }
        }
    }
}

static void point_pixels(const Igemm *op, const char *x, const char *pad, const Span *s, const void **to) {
    const IgemmDesc *d = &op->desc;
    const int64_t pixel = d->ldx * op->x_size;
    for (int64_t ky = 0; ky < d->kh; ky++) {
        const char *row = input_row(op, x, s, ky);
        for (int64_t kx = 0; kx < d->kw; kx++, to += IGEMM_MAX_ROWS) {
            int64_t ix = s->ox * d->stride_w - d->pad_left + kx * d->dilation_w;
            for (int64_t i = 0; i < s->count; i++, ix += d->stride_w)
                to[i] = row != NULL && ix >= 0 && ix < d->iw ? row + ix * pixel : pad;
        }
    }
}

/* Fills pointers[tap][row] for the pixels first .. first + rows - 1; `copies` is room for them. */
static void point_rows(const Igemm *op, const char *x, const char *pad, int64_t first, int rows, char *copies,
                       const void **pointers) {
    if (op->flat) {
        const int64_t pixel = op->desc.ldx * op->x_size;
        for (int r = 0; r < rows; r++) pointers[r] = x + (first + r) * pixel;
        return;
    }
    Span s = span_at(&op->desc, first);
    for (int r = 0; r < rows; r += (int)s.count) {
        if (r > 0) span_next(&op->desc, &s);
        span_cut(&op->desc, &s, rows - r);
        if (op->merged)
            point_windows(op, x, pad, &s, copies + (size_t)r * op->gather_stride, pointers + r);
        else
            point_pixels(op, x, pad, &s, pointers + r);
    }
}

/* One output pixel's whole reduction in the packed order. */
static void gather_row(const Igemm *op, const char *x, const char *pad, const Span *s, char *to) {
    const IgemmDesc *d = &op->desc;
    const int64_t step = op->kc * (op->kr == 2 ? 2 : op->x_size), taps_w = op->merged ? 1 : d->kw;
    for (int64_t ky = 0; ky < d->kh; ky++) {
        const char *row = input_row(op, x, s, ky);
        const int64_t ix = s->ox * d->stride_w - d->pad_left;
        for (int64_t kx = 0; kx < taps_w; kx++, to += step) copy_tap(op, row, pad, ix + kx * d->dilation_w, to);
    }
}

static void gather_rows(const Igemm *op, const char *x, const char *pad, int64_t first, int rows, char *to) {
    Span s = span_at(&op->desc, first);
    for (int r = 0; r < rows; r++, to += op->gather_stride) {
        s.count = 1;
        gather_row(op, x, pad, &s, to);
        span_next(&op->desc, &s);
    }
}

/* Table, activation and residual on `count` finished values of one row. */
static void finish_values(const Run *run, int64_t pixel, int64_t column, int64_t count) {
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

static void finish_rows(const Run *run, int64_t first, int rows, int64_t column, int64_t count) {
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
static IgemmTile tile_frame(const Run *run) {
    const Igemm *op = run->op;
    const IgemmDesc *d = &op->desc;
    const float zero = d->y_type == IGEMM_U8 || d->y_type == IGEMM_S8 ? (float)d->y_zero : 0.0f;
    return (IgemmTile){.a_step = IGEMM_MAX_ROWS,
                       .taps = op->gather ? 1 : op->taps,
                       .kc = op->gather ? op->kp : op->kc,
                       .w_panel = (int64_t)op->w_panel,
                       .lo = d->lo - zero,
                       .hi = d->hi - zero,
                       .y_zero = d->y_zero,
                       .y_type = d->y_type,
                       .ldr = d->ldr,
                       .ldy = d->ldy};
}

/* The panels begin .. end - 1 of a group, for the rows that tile->a points at. */
static void run_panels(const Run *run, IgemmTile *tile, int64_t group, int64_t pixel, int64_t begin, int64_t end) {
    const Igemm *op = run->op;
    const IgemmDesc *d = &op->desc;
    for (int64_t p = begin; p < end; p += op->width) {
        const int64_t v = end - p < op->width ? end - p : op->width;
        const int64_t column = p * op->lanes, left = op->ocg - column, index = group * op->panels + p;
        const int64_t at = group * op->ocg + column;
        tile->n = left < v * op->lanes ? left : v * op->lanes;
        tile->w = run->packed + op->w_offset + (size_t)index * op->w_panel;
        tile->bias = run->packed + op->bias_offset + index * op->lanes * 4;
        tile->mult = (const float *)(run->packed + op->mult_offset) + index * op->lanes;
        tile->y = run->y + (pixel * d->ldy + at) * op->y_size;
        if (d->residual == IGEMM_RESIDUAL_BEFORE) tile->residual = (const float *)run->residual + pixel * d->ldr + at;
        ((KernelFn_IGEMM_F32 *)op->rows[v - 1]->fn)(tile);
    }
}

static void run_item(const Run *run, int64_t item, char *scratch) {
    const Igemm *op = run->op;
    const int64_t m_item = item % op->m_chunks, n_item = item / op->m_chunks % op->n_chunks;
    const int64_t group = item / op->m_chunks / op->n_chunks;
    const int64_t begin = n_item * op->n_chunk;
    const int64_t end = begin + op->n_chunk < op->panels ? begin + op->n_chunk : op->panels;
    const int64_t first_column = begin * op->lanes;
    const int64_t columns = (end * op->lanes < op->ocg ? end * op->lanes : op->ocg) - first_column;
    const char *x = run->x + group * op->icg * op->x_size, *pad = run->packed + op->pad_offset;
    char *gathered = scratch;
    const void **pointers = (const void **)(void *)(scratch + op->gather_bytes);
    IgemmTile tile = tile_frame(run);
    tile.a = pointers;
    int64_t last = (m_item + 1) * op->m_chunk < op->tiles ? (m_item + 1) * op->m_chunk : op->tiles;
    for (int64_t t = m_item * op->m_chunk; t < last; t++) {
        const int64_t pixel = op->m * t / op->tiles;
        tile.mr = (int)(op->m * (t + 1) / op->tiles - pixel);
        if (op->gather) {
            gather_rows(op, x, pad, pixel, tile.mr, gathered);
            for (int r = 0; r < tile.mr; r++) pointers[r] = gathered + (size_t)r * op->gather_stride;
        } else {
            point_rows(op, x, pad, pixel, tile.mr, gathered, pointers);
        }
        run_panels(run, &tile, group, pixel, begin, end);
        finish_rows(run, pixel, tile.mr, group * op->ocg + first_column, columns);
    }
}

static void run_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    const Run *run = arg;
    char *scratch = run->scratch + run->op->thread_bytes * (size_t)thread_id;
    for (int64_t item = begin; item < end; item++) run_item(run, item, scratch);
}

void igemm_run(const Igemm *op, const void *packed, const void *x, const void *residual, void *y, void *scratch,
               Team *team) {
    Run run = {.op = op, .packed = packed, .x = x, .residual = residual, .y = y, .scratch = scratch};
    team_run(team, run_items, &run, op->desc.groups * op->n_chunks * op->m_chunks, 1);
}
