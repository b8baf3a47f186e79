/* Bilinear resize of 8-bit images with antialiasing: a triangle filter as wide as the reduction, rows first, then
 * columns, 22-bit fixed-point coefficients, rounding to 8 bits after each pass. */
#include "frontend/image.h"

#include <math.h>
#include <string.h>

enum { PRECISION = 22 }; /* 8 bits of value, 2 of headroom and this make 32 */

/* Output i is the sum of taps[i * width + j] * in[first[i] + j], j < n[i]. */
typedef struct Taps {
    int *first, *n;
    int32_t *weight;
    size_t width;
} Taps;

static void taps_free(Taps *t) {
    mem_free(t->first);
    mem_free(t->n);
    mem_free(t->weight);
}

/* The filter of one output sample at `centre` of the input. */
static void fill_taps(Taps *t, int i, int in, double centre, double support, double *w) {
    int first = (int)(centre - support + 0.5), end = (int)(centre + support + 0.5);
    if (first < 0) first = 0;
    if (end > in) end = in;
    double sum = 0;
    for (int j = 0; first + j < end; j++) {
        double distance = fabs((first + j - centre + 0.5) * (1 / support));
        w[j] = distance < 1 ? 1 - distance : 0;
        sum += w[j];
    }
    t->first[i] = first;
    t->n[i] = end - first;
    for (int j = 0; first + j < end; j++)
        t->weight[(size_t)i * t->width + (size_t)j] = (int32_t)(w[j] / sum * (1 << PRECISION) + 0.5);
}

static Status make_taps(int in, int out, Taps *t) {
    double scale = (double)in / out, support = scale > 1 ? scale : 1;
    size_t bytes, count = (size_t)out;
    t->width = (size_t)ceil(support) * 2 + 1;
    if (!size_mul(count, t->width * sizeof *t->weight, &bytes)) return status_oom();
    t->first = mem_alloc(count * sizeof(int));
    t->n = mem_alloc(count * sizeof(int));
    t->weight = mem_alloc(bytes);
    double *w = mem_alloc(t->width * sizeof *w);
    bool ready = t->first && t->n && t->weight && w;
    for (int i = 0; ready && i < out; i++) fill_taps(t, i, in, (i + 0.5) * scale, support, w);
    mem_free(w);
    return ready ? NULL : status_oom();
}

static uint8_t rounded(int32_t sum) {
    int32_t v = sum >> PRECISION;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Filters along x: every row of `in` gets a row of `out`, `channels` interleaved. */
static void filter_rows(const Taps *t, const Image *in, Image *out) {
    size_t channels = (size_t)in->channels, in_row = (size_t)in->width * channels;
    uint8_t *to = out->pixels;
    for (int y = 0; y < in->height; y++) {
        const uint8_t *row = in->pixels + (size_t)y * in_row;
        for (int x = 0; x < out->width; x++) {
            const int32_t *w = t->weight + (size_t)x * t->width;
            for (size_t c = 0; c < channels; c++) {
                const uint8_t *p = row + (size_t)t->first[x] * channels + c;
                int32_t sum = 1 << (PRECISION - 1);
                for (int j = 0; j < t->n[x]; j++) sum += w[j] * p[(size_t)j * channels];
                *to++ = rounded(sum);
            }
        }
    }
}

/* Filters along y: sums whole rows, so that the inner loop runs over neighbours. */
static void filter_columns(const Taps *t, const Image *in, Image *out, int32_t *sums) {
    size_t row = (size_t)in->width * (size_t)in->channels;
    for (int y = 0; y < out->height; y++) {
        for (size_t x = 0; x < row; x++) sums[x] = 1 << (PRECISION - 1);
        for (int j = 0; j < t->n[y]; j++) {
            int32_t w = t->weight[(size_t)y * t->width + (size_t)j];
            const uint8_t *p = in->pixels + (size_t)(t->first[y] + j) * row;
            for (size_t x = 0; x < row; x++) sums[x] += w * p[x];
        }
        for (size_t x = 0; x < row; x++) out->pixels[(size_t)y * row + x] = rounded(sums[x]);
    }
}

static Status image_like(const Image *im, int width, int height, Image *out) {
    size_t bytes;
    if (!size_mul((size_t)width, (size_t)height, &bytes) || !size_mul(bytes, (size_t)im->channels, &bytes) ||
        bytes > INT32_MAX)
        return status_make(STATUS_INVALID, "resize to %d x %d pixels is too large", width, height);
    *out = (Image){width, height, im->channels, mem_alloc(bytes)};
    return out->pixels ? NULL : status_oom();
}

static Status resize_width(const Image *im, int width, Image *out) {
    Taps t = {0};
    Status status = image_like(im, width, im->height, out);
    if (!status && width == im->width)
        memcpy(out->pixels, im->pixels, (size_t)width * (size_t)im->height * (size_t)im->channels);
    else if (!status && !(status = make_taps(im->width, width, &t)))
        filter_rows(&t, im, out);
    taps_free(&t);
    return status;
}

static Status resize_height(const Image *im, int height, Image *out) {
    Taps t = {0};
    int32_t *sums = NULL;
    Status status = image_like(im, im->width, height, out);
    if (!status) status = make_taps(im->height, height, &t);
    if (!status && !(sums = mem_alloc((size_t)im->width * (size_t)im->channels * sizeof *sums))) status = status_oom();
    if (!status) filter_columns(&t, im, out, sums);
    mem_free(sums);
    taps_free(&t);
    return status;
}

Status image_resize(const Image *im, int width, int height, Image *out) {
    *out = (Image){0};
    if (width < 1 || height < 1)
        return status_make(STATUS_INVALID, "resize to %d x %d: expected at least 1 x 1 pixels", width, height);
    Status status = resize_width(im, width, out);
    if (!status && height != im->height) {
        Image narrow = *out;
        *out = (Image){0};
        status = resize_height(&narrow, height, out);
        image_free(&narrow);
    }
    if (status) image_free(out);
    return status;
}

Status image_resize_short(const Image *im, int side, Image *out) {
    int small = im->width < im->height ? im->width : im->height, large = im->width ^ im->height ^ small;
    int64_t other = (int64_t)large * side / small;
    if (other > INT32_MAX) other = INT32_MAX;
    bool wide = im->width > im->height;
    return image_resize(im, wide ? (int)other : side, wide ? side : (int)other, out);
}
