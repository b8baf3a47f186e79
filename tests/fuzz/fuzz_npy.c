/* Any bytes as a .npy file: an error, or an array whose elements can all be read. */
#include "frontend/npy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Bytes {
    const uint8_t *data;
    size_t size;
} Bytes;

static Status read_bytes(void *ctx, size_t offset, void *dst, size_t n) {
    const Bytes *b = ctx;
    if (offset > b->size || n > b->size - offset) abort(); /* the reader must not ask for more than there is */
    if (n) memcpy(dst, b->data + offset, n);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Bytes b = {data, size};
    NpyArray a;
    Status s = npy_open_source((ByteSource){read_bytes, NULL, &b, size}, "fuzz.npy", &a);
    if (!s) {
        uint8_t item[16];
        char text[160];
        for (int64_t i = 0; i < a.h.count && !s; i += 1 + a.h.count / 64) s = npy_read(&a, i, 1, item);
        if (strlen(npy_describe(&a.h, text, sizeof text)) >= sizeof text) abort();
    }
    status_free(s);
    npy_close(&a);
    return 0;
}
