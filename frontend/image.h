/* Images to tensors: decode, resize, crop, normalize.
 *
 * JPEG by libjpeg-turbo with its default decoder (accurate integer DCT, smooth chroma upsampling), PNG by libspng. The
 * resize is the two-pass 8-bit bilinear filter with antialiasing that Pillow's Image.resize(BILINEAR) documents:
 * support scaled by the reduction, coefficients in fixed point, rounding to 8 bits between the passes. Orientation tags
 * (EXIF) are not applied and colour profiles are not converted. Thread-safety: every function may be called from any
 * thread. */
#ifndef PARE_FRONTEND_IMAGE_H
#define PARE_FRONTEND_IMAGE_H

#include "ir/status.h"
#include "ir/tensor.h"

typedef enum Channels { CHANNELS_AUTO, CHANNELS_RGB, CHANNELS_BGR, CHANNELS_GRAY } Channels;

typedef struct ImageOptions {
    Channels channels; /* AUTO is RGB here; datasets make it gray for models of one input channel */
    int resize;        /* short side in pixels, 0 = none */
    int crop;          /* side of the centre square in pixels, offset floor((size - crop) / 2); 0 = none */
    float mean[3];     /* subtracted per channel, in the order of `channels`, on 0-255 values; a gray image uses [0] */
    float std[3];      /* then divided by; 0 is taken as 1 (an all-zero struct means no normalization) */
} ImageOptions;

/* Interleaved 8-bit pixels, rows without gaps. */
typedef struct Image {
    int width, height;
    int channels; /* 1 or 3 */
    uint8_t *pixels;
} Image;

/* True for names that end in .jpg, .jpeg or .png (any case). */
bool image_is_name(const char *path);
/* Decodes `size` bytes of a file; `name` is for messages. Colour becomes gray by ITU-R BT.601 luma of the decoded RGB;
 * alpha is dropped. STATUS_INVALID for broken or truncated content and for more than 2^27 pixels, STATUS_UNSUPPORTED
 * for CMYK and YCCK. The pixels are freed by image_free. */
PARE_NODISCARD Status image_decode(const uint8_t *data, size_t size, const char *name, Channels channels, Image *out);
void image_free(Image *im);
/* Bilinear resize with antialiasing to exactly width x height; `out` is fresh. */
PARE_NODISCARD Status image_resize(const Image *im, int width, int height, Image *out);
/* Short side to `side`; the long side becomes floor(long * side / short), as torchvision's Resize does. */
PARE_NODISCARD Status image_resize_short(const Image *im, int side, Image *out);
/* Decodes, resizes and crops as `o` says (not yet normalized). STATUS_INVALID when the crop is larger than the image.
 */
PARE_NODISCARD Status image_load(const uint8_t *data, size_t size, const char *name, const ImageOptions *o, Image *out);
/* The normalized planes of decoded pixels: dst[c][y][x] = (pixel - mean[c]) / std[c], in float32. */
void image_to_planes(const Image *im, const ImageOptions *o, float *dst);

#endif
