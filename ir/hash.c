#include "ir/hash.h"

#include "ir/mem.h"

#include <nettle/sha2.h>

struct Sha256 {
    struct sha256_ctx ctx;
};

Sha256 *sha256_new(void) {
    Sha256 *h = mem_alloc(sizeof *h);
    if (h) sha256_init(&h->ctx);
    return h;
}

void sha256_add(Sha256 *h, const void *data, size_t n) {
    if (n) sha256_update(&h->ctx, n, data);
}

void sha256_finish(Sha256 *h, char hex[SHA256_HEX]) {
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(&h->ctx, sizeof digest, digest);
    for (size_t i = 0; i < sizeof digest; i++) {
        hex[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        hex[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    hex[SHA256_HEX - 1] = 0;
    mem_free(h);
}

Status sha256_bytes(const void *data, size_t n, char hex[SHA256_HEX]) {
    Sha256 *h = sha256_new();
    TRY_ALLOC(h);
    sha256_add(h, data, n);
    sha256_finish(h, hex);
    return NULL;
}
