/* Any bytes as an image: an error, or pixels that can be resized and normalized. */
#include "frontend/image.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (Channels c = CHANNELS_RGB; c <= CHANNELS_GRAY; c++) {
        ImageOptions o = {.channels = c, .resize = 9, .crop = 7, .std = {2, 3, 4}};
        Image im = {0};
        Status s = image_load(data, size, "fuzz", &o, &im);
        if (!s) {
            float planes[3 * 7 * 7];
            if (im.width != 7 || im.height != 7) abort();
            image_to_planes(&im, &o, planes);
        }
        status_free(s);
        image_free(&im);
    }
    return 0;
}
