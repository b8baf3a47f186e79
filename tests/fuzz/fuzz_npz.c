/* Any bytes as a .npz archive: an error, or arrays whose elements can be read in any order. */
#include "frontend/npz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static Status read_array(Npz *z, int i) {
    NpyArray a;
    TRY(npz_array(z, i, &a));
    Status s = NULL;
    uint8_t item[16];
    for (int64_t k = 0; k < a.h.count && !s; k += 1 + a.h.count / 8) s = npy_read(&a, k, 1, item);
    if (!s && a.h.count > 0) s = npy_read(&a, 0, 1, item);
    npy_close(&a);
    return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memfd_create("fuzz.npz", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    Npz *z = NULL;
    status_free(npz_open(path, &z));
    for (int i = 0; z && i < npz_count(z) && i < 4; i++) status_free(read_array(z, i));
    npz_close(z);
    close(fd);
    return 0;
}
