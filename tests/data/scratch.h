/* Helpers of the data tests: a scratch folder, files with given content, checks of a Status. */
#ifndef PARE_TESTS_DATA_SCRATCH_H
#define PARE_TESTS_DATA_SCRATCH_H

#include "ir/status.h"
#include "ir/tensor.h"

#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char scratch[64];

static inline int scratch_setup(void **state) {
    (void)state;
    snprintf(scratch, sizeof scratch, "/tmp/pare-test-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline int scratch_teardown(void **state) {
    (void)state;
    return nftw(scratch, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* "scratch/name" in one of a few static buffers. */
static inline const char *scratch_path(const char *name) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", scratch, name);
    return path;
}

static inline void scratch_write(const char *name, const void *data, size_t n) {
    FILE *f = fopen(scratch_path(name), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static inline void scratch_text(const char *name, const char *text) { scratch_write(name, text, strlen(text)); }
static inline void scratch_folder(const char *name) { assert_int_equal(mkdir(scratch_path(name), 0777), 0); }

/* The whole of a file; freed with free. */
static inline uint8_t *scratch_read(const char *name, size_t *n) {
    FILE *f = fopen(scratch_path(name), "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = malloc(*n + 1);
    assert_non_null(data);
    assert_int_equal(fread(data, 1, *n, f), *n);
    fclose(f);
    return data;
}

static inline int scratch_count(void) {
    DIR *d = opendir(scratch);
    int n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n - 2;
}

#define assert_ok(expr)                                                                                                \
    do {                                                                                                               \
        Status ok_status_ = (expr);                                                                                    \
        if (ok_status_) fail_msg("%s", status_text(ok_status_));                                                       \
    } while (0)

/* The call fails with `code` and a message that contains `text`. */
#define assert_fails(expr, code, text) assert_failed_with((expr), (code), (text), __FILE__, __LINE__)

static inline void assert_failed_with(Status s, StatusCode code, const char *text, const char *file, int line) {
    if (!s) print_error("%s:%d: expected an error with '%s'\n", file, line, text);
    assert_non_null(s);
    if (status_code(s) != code || !strstr(status_text(s), text))
        print_error("%s:%d: expected code %d with '%s', found %d: %s\n", file, line, (int)code, text,
                    (int)status_code(s), status_text(s));
    assert_int_equal(status_code(s), code);
    assert_non_null(strstr(status_text(s), text));
    status_free(s);
}

#endif
