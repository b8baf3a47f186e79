/* Any bytes as a list of labels: an error, or a list with at least one. */
#include "calib/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memfd_create("labels", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    LabelList l;
    Status s = labels_load(path, &l);
    if (!s && l.n < 1) abort();
    status_free(s);
    labels_free(&l);
    close(fd);
    return 0;
}
