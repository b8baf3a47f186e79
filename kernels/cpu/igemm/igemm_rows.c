/* Where the rows of a tile lie: pointers to input pixels, or to windows of them, for every tap. */
#include "kernels/cpu/igemm/internal.h"

#include <string.h>

Span igemm_span_at(const IgemmDesc *d, int64_t pixel) {
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

/* Input row that kernel row ky reads for output row s->oy, or NULL in the padding. */
static const char *input_row(const Igemm *op, const char *x, const Span *s, int64_t ky) {
    const IgemmDesc *d = &op->desc;
    int64_t iy = s->oy * d->stride_h - d->pad_top + ky * d->dilation_h;
    if (iy < 0 || iy >= d->ih) return NULL;
    return x + ((s->image * d->ih + iy) * op->seen_iw + op->seen_left) * op->seen_pixel;
}

/* Small copies, many of them. */
static void copy_bytes(char *to, const char *from, int64_t n) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) memcpy(to + i, from + i, 16);
    for (; i + 4 <= n; i += 4) memcpy(to + i, from + i, 4);
    for (; i < n; i++) to[i] = from[i];
}

/* Copies the window that starts at column ix of an input row, pixel by pixel. */
static void copy_window(const Igemm *op, const char *row, const char *pad, int64_t ix, char *to) {
    const IgemmDesc *d = &op->desc;
    const int64_t bytes = op->icg * op->seen_size;
    for (int64_t i = 0; i < d->kw; i++, ix += d->dilation_w)
        copy_bytes(to + i * bytes, ix >= 0 && ix < d->iw ? row + ix * op->seen_pixel : pad, bytes);
    const int64_t used = d->kw * op->icg;
    if (used < op->kc) memset(to + used * op->seen_size, 0, (size_t)((op->kc - used) * op->seen_size));
}

/* to[i] = from + i * step for begin <= i < end. A run from the first row of a tile on may fill all IGEMM_MAX_ROWS (what
 * lies beyond is never read, or written again): a loop of fixed length is several times faster. */
static void point_run(const void **to, const char *from, int64_t step, int64_t begin, int64_t end, bool all) {
    const uintptr_t address = (uintptr_t)from;
    if (all && begin == 0) {
        for (int i = 0; i < IGEMM_MAX_ROWS; i++) to[i] = (const void *)(address + (uintptr_t)i * (uintptr_t)step);
        return;
    }
    for (int64_t i = begin; i < end; i++) to[i] = (const void *)(address + (uintptr_t)i * (uintptr_t)step);
}

/* The first i in [0, most] with start + i * step >= bound, or `most`. */
static int64_t first_at_least(int64_t bound, int64_t start, int64_t step, int64_t most) {
    if (start >= bound) return 0;
    if (start + (most - 1) * step < bound) return most; /* mostly one of these: no division */
    return (bound - start + step - 1) / step;
}

/* Points at the windows of a span where they lie in x, and copies those that do not. */
static void point_windows(const Igemm *op, const char *x, const char *pad, const Span *s, char *copies, const void **to,
                          bool all) {
    const IgemmDesc *d = &op->desc;
    const int64_t step = d->stride_w * op->seen_pixel, tap_bytes = op->kc * op->seen_size;
    const int64_t ix0 = s->ox * d->stride_w - d->pad_left;
    const bool dense = op->seen_pixel == op->icg * op->seen_size && d->dilation_w == 1;
    /* Windows begin .. end - 1 lie inside. */
    const int64_t begin = dense ? first_at_least(-op->seen_left, ix0, d->stride_w, s->count) : s->count;
    const int64_t most = op->seen_iw - op->seen_left - op->window; /* where the last window inside may begin */
    int64_t end = dense ? first_at_least(most + 1, ix0, d->stride_w, s->count) : s->count;
    if (end < begin) end = begin;
    for (int64_t ky = 0; ky < d->kh; ky++, to += IGEMM_MAX_ROWS) {
        const char *row = input_row(op, x, s, ky);
        if (row == NULL) {
            point_run(to, pad, 0, 0, s->count, all);
            continue;
        }
        point_run(to, row + ix0 * op->seen_pixel, step, begin, end, all);
        for (int64_t i = begin > 0 ? 0 : end; i < s->count; i = i + 1 == begin ? end : i + 1) {
            char *copy = copies + (size_t)i * op->copy_stride + ky * tap_bytes;
            copy_window(op, row, pad, ix0 + i * d->stride_w, copy);
            to[i] = copy;
        }
    }
}

static void point_pixels(const Igemm *op, const char *x, const char *pad, const Span *s, const void **to, bool all) {
    const IgemmDesc *d = &op->desc;
    const int64_t step = d->stride_w * op->seen_pixel;
    for (int64_t kx = 0; kx < d->kw; kx++) {
        const int64_t ix0 = s->ox * d->stride_w - d->pad_left + kx * d->dilation_w;
        const int64_t begin = first_at_least(0, ix0, d->stride_w, s->count);
        int64_t end = first_at_least(d->iw, ix0, d->stride_w, s->count);
        if (end < begin) end = begin;
        for (int64_t ky = 0; ky < d->kh; ky++) {
            const void **tap = to + (ky * d->kw + kx) * IGEMM_MAX_ROWS;
            const char *row = input_row(op, x, s, ky);
            if (row == NULL) {
                point_run(tap, pad, 0, 0, s->count, all);
                continue;
            }
            point_run(tap, row + ix0 * op->seen_pixel, step, begin, end, all);
            if (begin > 0) point_run(tap, pad, 0, 0, begin, false);
            if (end < s->count) point_run(tap, pad, 0, end, s->count, false);
        }
    }
}

/* Adds the kernel rows that lie inside the input for a span. */
static void keep_kernel_rows(const IgemmDesc *d, const Span *s, KernelRows *kept) {
    const int64_t iy0 = s->oy * d->stride_h - d->pad_top;
    const int64_t first = first_at_least(0, iy0, d->dilation_h, d->kh);
    const int64_t end = first_at_least(d->ih, iy0, d->dilation_h, d->kh);
    if (first < kept->first) kept->first = first;
    if (end > kept->end) kept->end = end;
}

KernelRows igemm_point_rows(const Igemm *op, const char *x, const char *pad, Span *span, int64_t first, int rows,
                            char *copies, const void **pointers) {
    const IgemmDesc *d = &op->desc;
    if (op->flat) {
        point_run(pointers, x + first * op->seen_pixel, op->seen_pixel, 0, rows, true);
        return (KernelRows){0, 1};
    }
    KernelRows kept = {d->kh, 0};
    for (int r = 0; r < rows; r += (int)span->count) {
        span_cut(d, span, rows - r);
        if (op->merged)
            point_windows(op, x, pad, span, copies + (size_t)r * op->copy_stride, pointers + r, r == 0);
        else
            point_pixels(op, x, pad, span, pointers + r, r == 0);
        keep_kernel_rows(d, span, &kept);
        span_next(d, span);
    }
    if (kept.end < kept.first) kept.end = kept.first; /* all of it in the padding */
    return op->skip_taps ? kept : (KernelRows){0, d->kh};
}
