/* Frame of resizing: source positions of every output row and column (ONNX Resize), then rows over the team. */
#include "kernels/cpu/move/resize.h"

#include <math.h>
#include <string.h>

#include "kernels/cpu/families.h"

/* One axis: sizes, scale, and the part of the input that tf_crop_and_resize looks at. */
typedef struct {
    int32_t in, out;
    double scale, start, end;
} ResizeAxis;

static double resize_source(const ResizeAxis *a, ResizeCoord coord, int32_t i) {
    const double x = i, in = a->in, out = a->out;
    switch (coord) {
    case RESIZE_HALF_PIXEL:
        return (x + 0.5) / a->scale - 0.5;
    case RESIZE_HALF_PIXEL_SYMMETRIC:
        return in / 2.0 * (1.0 - out / (a->scale * in)) + (x + 0.5) / a->scale - 0.5;
    case RESIZE_PYTORCH_HALF_PIXEL:
        return a->out > 1 ? (x + 0.5) / a->scale - 0.5 : 0.0;
    case RESIZE_ALIGN_CORNERS:
        return a->out > 1 ? x * (in - 1.0) / (out - 1.0) : 0.0;
    case RESIZE_ASYMMETRIC:
        return x / a->scale;
    case RESIZE_TF_CROP_AND_RESIZE:
        break;
    }
    if (a->out == 1) return 0.5 * (a->start + a->end) * (in - 1.0);
    return a->start * (in - 1.0) + x * (a->end - a->start) * (in - 1.0) / (out - 1.0);
}

static double resize_round(double x, ResizeNearest mode) {
    switch (mode) {
    case RESIZE_ROUND_PREFER_FLOOR:
        return ceil(x - 0.5);
    case RESIZE_ROUND_PREFER_CEIL:
        return floor(x + 0.5);
    case RESIZE_FLOOR:
        return floor(x);
    case RESIZE_CEIL:
        break;
    }
    return ceil(x);
}

static int32_t resize_clamp(double i, int32_t size) {
    return i < 0.0 ? 0 : i > (double)(size - 1) ? size - 1 : (int32_t)i;
}

static void resize_taps(const Resize *r, const ResizeAxis *a, ResizeTap *taps) {
    for (int32_t i = 0; i < a->out; i++) {
        const double x = resize_source(a, r->coord, i);
        const double low = r->linear ? floor(x) : resize_round(x, r->nearest);
        taps[i].i0 = resize_clamp(low, a->in);
        taps[i].i1 = r->linear ? resize_clamp(low + 1.0, a->in) : taps[i].i0;
        taps[i].w1 = r->linear ? (float)(x - low) : 0.0f;
        taps[i].outside = r->coord == RESIZE_TF_CROP_AND_RESIZE && !(x >= 0.0 && x <= (double)(a->in - 1));
    }
}

static double resize_scale(float given, int32_t in, int32_t out) {
    return given > 0.0f ? (double)given : (double)out / (double)in;
}

void resize_prepare(Resize *r, uint32_t isa_bits) {
    r->ops = family_find("resize", isa_bits)->ops;
    const ResizeAxis v = {.in = r->h,
                          .out = r->oh,
                          .scale = resize_scale(r->scale_h, r->h, r->oh),
                          .start = (double)r->roi[0],
                          .end = (double)r->roi[2]};
    const ResizeAxis u = {.in = r->w,
                          .out = r->ow,
                          .scale = resize_scale(r->scale_w, r->w, r->ow),
                          .start = (double)r->roi[1],
                          .end = (double)r->roi[3]};
    resize_taps(r, &v, r->rows);
    resize_taps(r, &u, r->cols);
}

typedef struct {
    const Resize *r;
    const char *x;
    char *y;
} ResizeRun;

static void resize_row_nearest(const Resize *r, const char *image, char *y, const ResizeTap *v) {
    const size_t pixel = r->x_ld * (size_t)r->elem_bytes, bytes = (size_t)r->c * (size_t)r->elem_bytes;
    const char *row = image + (size_t)v->i0 * (size_t)r->w * pixel;
    for (int32_t ox = 0; ox < r->ow; ox++, y += r->y_ld * (size_t)r->elem_bytes)
        memcpy(y, row + (size_t)r->cols[ox].i0 * pixel, bytes);
}

static void resize_row_linear(const Resize *r, const float *image, float *y, const ResizeTap *v) {
    const float *row0 = image + (size_t)v->i0 * (size_t)r->w * r->x_ld;
    const float *row1 = image + (size_t)v->i1 * (size_t)r->w * r->x_ld;
    for (int32_t ox = 0; ox < r->ow; ox++, y += r->y_ld) {
        const ResizeTap *u = &r->cols[ox];
        const size_t at0 = (size_t)u->i0 * r->x_ld, at1 = (size_t)u->i1 * r->x_ld;
        const float w0 = 1.0f - v->w1, w1 = v->w1, u0 = 1.0f - u->w1, u1 = u->w1;
        r->ops->mix(y, (const float *const[4]){row0 + at0, row0 + at1, row1 + at0, row1 + at1},
                    (const float[4]){w0 * u0, w0 * u1, w1 * u0, w1 * u1}, (size_t)r->c);
    }
}

static void resize_extrapolate(const Resize *r, float *y, const ResizeTap *v) {
    for (int32_t ox = 0; ox < r->ow; ox++, y += r->y_ld)
        if (v->outside || r->cols[ox].outside)
            for (int32_t c = 0; c < r->c; c++) y[c] = r->extrapolation;
}

static void resize_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const ResizeRun *run = arg;
    const Resize *r = run->r;
    const size_t image = (size_t)r->h * (size_t)r->w * r->x_ld * (size_t)r->elem_bytes;
    const size_t line = (size_t)r->ow * r->y_ld * (size_t)r->elem_bytes;
    for (int64_t i = begin; i < end; i++) {
        const char *x = run->x + (size_t)(i / r->oh) * image;
        char *y = run->y + (size_t)i * line;
        const ResizeTap *v = &r->rows[i % r->oh];
        if (r->linear)
            resize_row_linear(r, (const float *)(const void *)x, (float *)(void *)y, v);
        else
            resize_row_nearest(r, x, y, v);
        if (r->coord == RESIZE_TF_CROP_AND_RESIZE && r->elem_bytes == 4) resize_extrapolate(r, (float *)(void *)y, v);
    }
}

void resize_run(const Resize *r, const void *x, void *y, Team *team) {
    ResizeRun run = {.r = r, .x = x, .y = y};
    team_run(team, resize_items, &run, (int64_t)r->n * r->oh, 1);
}
