/* Decoding of JPEG and PNG. */
#include "frontend/image.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <jpeglib.h>
#include <jerror.h>
#include <spng.h>

static const size_t MAX_PIXELS = (size_t)1 << 27;
enum { MAX_SCANS = 200 }; /* of a progressive JPEG; each costs a pass over the whole image */

bool image_is_name(const char *path) {
    static const char *const ENDINGS[] = {".jpg", ".jpeg", ".png"};
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
        size_t m = strlen(ENDINGS[i]);
        if (n > m && strcasecmp(path + n - m, ENDINGS[i]) == 0) return true;
    }
    return false;
}

void image_free(Image *im) {
    mem_free(im->pixels);
    *im = (Image){0};
}

static Status image_new(int64_t width, int64_t height, int channels, const char *name, Image *out) {
    if (width < 1 || height < 1 || (uint64_t)width > MAX_PIXELS || (uint64_t)height > MAX_PIXELS / (uint64_t)width)
        return status_make(STATUS_INVALID, "%s: expected an image of 1 to %zu pixels, found %lld x %lld", name,
                           MAX_PIXELS, (long long)width, (long long)height);
    *out = (Image){(int)width, (int)height, channels, mem_alloc((size_t)width * (size_t)height * (size_t)channels)};
    return out->pixels ? NULL : status_oom();
}

/* State that outlives a longjmp out of libjpeg. */
typedef struct JpegState {
    struct jpeg_decompress_struct d;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf back;
    char text[JMSG_LENGTH_MAX];
    const char *name;
    Image *out;
    Status status;
} JpegState;

static void jpeg_fail(j_common_ptr c) {
    JpegState *s = c->client_data;
    c->err->format_message(c, s->text);
    longjmp(s->back, 1);
}

static void jpeg_message(j_common_ptr c, int level) {
    /* libjpeg goes on with gray where the data ends: that is not the image. */
    if (level < 0 && (c->err->msg_code == JWRN_JPEG_EOF || c->err->msg_code == JWRN_HIT_MARKER)) jpeg_fail(c);
}

static void jpeg_progress(j_common_ptr c) {
    JpegState *s = c->client_data;
    if (s->d.input_scan_number <= MAX_SCANS) return;
    snprintf(s->text, sizeof s->text, "more than %d scans", MAX_SCANS);
    longjmp(s->back, 1);
}

static Status jpeg_layout(JpegState *s) {
    struct jpeg_decompress_struct *d = &s->d;
    switch (d->jpeg_color_space) {
    case JCS_GRAYSCALE:
        d->out_color_space = JCS_GRAYSCALE;
        break;
    case JCS_RGB:
    case JCS_YCbCr:
        d->out_color_space = JCS_RGB;
        break;
    default:
        return status_make(STATUS_UNSUPPORTED,
                           "%s: expected a gray, RGB or YCbCr JPEG, found %d components (CMYK?): convert it to RGB",
                           s->name, d->num_components);
    }
    d->dct_method = JDCT_ISLOW;
    d->do_fancy_upsampling = TRUE;
    int channels = d->out_color_space == JCS_RGB ? 3 : 1;
    return image_new(d->image_width, d->image_height, channels, s->name, s->out);
}

static void jpeg_run(JpegState *s, const uint8_t *data, size_t size) {
    struct jpeg_decompress_struct *d = &s->d;
    jpeg_create_decompress(d);
    d->client_data = s;
    s->progress.progress_monitor = jpeg_progress;
    d->progress = &s->progress;
    jpeg_mem_src(d, data, (unsigned long)size);
    (void)jpeg_read_header(d, TRUE);
    s->status = jpeg_layout(s);
    if (s->status) return;
    (void)jpeg_start_decompress(d);
    size_t row = (size_t)s->out->width * (size_t)s->out->channels;
    while (d->output_scanline < d->output_height) {
        JSAMPROW line = s->out->pixels + (size_t)d->output_scanline * row;
        (void)jpeg_read_scanlines(d, &line, 1);
    }
    (void)jpeg_finish_decompress(d);
}

static Status decode_jpeg(const uint8_t *data, size_t size, const char *name, Image *out) {
    JpegState *s = mem_zalloc(sizeof *s);
    if (!s) return status_oom();
    s->name = name;
    s->out = out;
    s->d.err = jpeg_std_error(&s->errors);
    s->errors.error_exit = jpeg_fail;
    s->errors.emit_message = jpeg_message;
    s->d.client_data = s;
    if (setjmp(s->back) == 0)
        jpeg_run(s, data, size);
    else
        s->status = status_make(STATUS_INVALID, "%s: broken JPEG: %s", name, s->text);
    jpeg_destroy_decompress(&s->d);
    Status status = s->status;
    mem_free(s);
    if (status) image_free(out);
    return status;
}

static Status png_fail(const char *name, int code) {
    return status_make(code == SPNG_EMEM ? STATUS_ENVIRONMENT : STATUS_INVALID, "%s: broken PNG: %s", name,
                       spng_strerror(code));
}

static Status png_pixels(spng_ctx *c, const char *name, Image *out) {
    enum { MAX_SIDE = 1 << 20, MAX_CHUNK = 1 << 26 };
    struct spng_ihdr header;
    int code = spng_set_image_limits(c, MAX_SIDE, MAX_SIDE);
    if (!code) code = spng_set_chunk_limits(c, MAX_CHUNK, MAX_CHUNK);
    if (!code) code = spng_get_ihdr(c, &header);
    size_t bytes = 0;
    if (!code) code = spng_decoded_image_size(c, SPNG_FMT_RGB8, &bytes);
    if (code) return png_fail(name, code);
    TRY(image_new((int64_t)header.width, (int64_t)header.height, 3, name, out));
    code = spng_decode_image(c, out->pixels, bytes, SPNG_FMT_RGB8, 0);
    return code ? png_fail(name, code) : NULL;
}

static Status decode_png(const uint8_t *data, size_t size, const char *name, Image *out) {
    spng_ctx *c = spng_ctx_new(0);
    if (!c) return status_oom();
    int code = spng_set_png_buffer(c, data, size);
    Status status = code ? png_fail(name, code) : png_pixels(c, name, out);
    spng_ctx_free(c);
    if (status) image_free(out);
    return status;
}

/* ITU-R BT.601 luma in 16-bit fixed point, rounded. Equal channels keep their value. */
static uint8_t luma(const uint8_t *p) {
    return (uint8_t)((19595u * p[0] + 38470u * p[1] + 7471u * p[2] + 32768u) >> 16);
}

static Status to_channels(Image *im, Channels channels) {
    size_t n = (size_t)im->width * (size_t)im->height;
    uint8_t *p = im->pixels;
    if (channels == CHANNELS_GRAY && im->channels == 3) {
        for (size_t i = 0; i < n; i++) p[i] = luma(p + 3 * i);
        im->channels = 1;
    } else if (channels == CHANNELS_BGR && im->channels == 3) {
        for (size_t i = 0; i < n; i++) {
            uint8_t red = p[3 * i];
            p[3 * i] = p[3 * i + 2];
            p[3 * i + 2] = red;
        }
    } else if (channels != CHANNELS_GRAY && im->channels == 1) {
        uint8_t *wide = mem_alloc(3 * n);
        if (!wide) return status_oom();
        for (size_t i = 0; i < n; i++) memset(wide + 3 * i, p[i], 3);
        mem_free(p);
        im->pixels = wide;
        im->channels = 3;
    }
    return NULL;
}

Status image_decode(const uint8_t *data, size_t size, const char *name, Channels channels, Image *out) {
    *out = (Image){0};
    if (size >= 3 && data[0] == 0xff && data[1] == 0xd8 && data[2] == 0xff)
        TRY(decode_jpeg(data, size, name, out));
    else if (size >= 8 && memcmp(data, "\x89PNG\r\n\x1a\n", 8) == 0)
        TRY(decode_png(data, size, name, out));
    else
        return status_make(STATUS_INVALID, "%s: expected a JPEG or PNG image, found other content", name);
    Status status = to_channels(out, channels);
    if (status) image_free(out);
    return status;
}

/* Cuts the centre square in place. */
static Status crop_centre(Image *im, int side, const char *name) {
    if (im->width < side || im->height < side)
        return status_make(STATUS_INVALID, "%s: expected at least %d x %d pixels for --crop %d, found %d x %d", name,
                           side, side, side, im->width, im->height);
    size_t pixel = (size_t)im->channels, row = (size_t)im->width * pixel, kept = (size_t)side * pixel;
    const uint8_t *from =
        im->pixels + (size_t)((im->height - side) / 2) * row + (size_t)((im->width - side) / 2) * pixel;
    for (int y = 0; y < side; y++) memmove(im->pixels + (size_t)y * kept, from + (size_t)y * row, kept);
    im->width = im->height = side;
    return NULL;
}

Status image_load(const uint8_t *data, size_t size, const char *name, const ImageOptions *o, Image *out) {
    TRY(image_decode(data, size, name, o->channels, out));
    Status status = NULL;
    if (o->resize > 0) {
        Image resized = {0};
        status = status_context(image_resize_short(out, o->resize, &resized), "%s", name);
        image_free(out);
        *out = resized;
    }
    if (!status && o->crop > 0) status = crop_centre(out, o->crop, name);
    if (status) image_free(out);
    return status;
}

void image_to_planes(const Image *im, const ImageOptions *o, float *dst) {
    size_t n = (size_t)im->width * (size_t)im->height, step = (size_t)im->channels;
    for (int c = 0; c < im->channels; c++) {
        float table[256], std = o->std[c] == 0 ? 1 : o->std[c];
        for (int v = 0; v < 256; v++) table[v] = ((float)v - o->mean[c]) / std;
        const uint8_t *p = im->pixels + c;
        for (size_t i = 0; i < n; i++) *dst++ = table[p[i * step]];
    }
}
