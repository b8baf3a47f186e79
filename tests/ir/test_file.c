/* Files: reading, whole-file writing, hashes. */
#include "data/scratch.h"
#include "ir/file.h"
#include "ir/hash.h"

#include <pthread.h>
#include <sys/wait.h>

static void assert_content(const char *path, const void *data, size_t n) {
    Blob *b;
    assert_null(file_map(path, &b));
    assert_int_equal(b->size, n);
    assert_memory_equal(b->data, data, n);
    blob_unref(b);
}

static void writes_parts_in_order(void **state) {
    (void)state;
    enum { LONG = 300000 };
    char *expected = malloc(LONG + 6), *middle = malloc(LONG);
    memset(middle, 'm', LONG);
    memcpy(expected, "abc", 3);
    memcpy(expected + 3, middle, LONG);
    memcpy(expected + 3 + LONG, "xyz", 3);
    const FilePart parts[] = {{"ab", 2}, {"", 0}, {"c", 1}, {middle, LONG}, {"xyz", 3}};
    assert_null(file_write_atomic(scratch_path("out"), parts, 5));
    assert_content(scratch_path("out"), expected, LONG + 6);
    assert_int_equal(scratch_count(), 1);
    uint64_t bytes;
    assert_null(file_size(scratch_path("out"), &bytes));
    assert_int_equal(bytes, LONG + 6);
    free(expected);
    free(middle);
}

static void a_failed_write_leaves_the_old_file(void **state) {
    (void)state;
    assert_null(file_write_atomic(scratch_path("out"), &(FilePart){"old", 3}, 1));
    const FilePart bad[] = {{"new", 3}, {(const void *)1, 1 << 20}}; /* the system refuses that address */
    Status s = file_write_atomic(scratch_path("out"), bad, 2);
    assert_int_equal(status_code(s), STATUS_ENVIRONMENT);
    assert_non_null(strstr(status_text(s), "out"));
    status_free(s);
    assert_content(scratch_path("out"), "old", 3);
    assert_int_equal(scratch_count(), 1);
    s = file_write_atomic(scratch_path("no/such/folder"), bad, 1);
    assert_int_equal(status_code(s), STATUS_ENVIRONMENT);
    status_free(s);
    s = file_write_atomic(scratch, bad, 1);
    assert_int_equal(status_code(s), STATUS_ENVIRONMENT);
    status_free(s);
}

static void devices_are_written_directly(void **state) {
    (void)state;
    assert_null(file_write_atomic("/dev/null", &(FilePart){"x", 1}, 1));
    struct stat st;
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));
}

/* 4 GiB: it is still being written when the child is told to clean up, and ends. */
static void *write_forever(void *path) {
    char *page = calloc(1, 1 << 20);
    static FilePart parts[4096];
    for (size_t i = 0; i < 4096; i++) parts[i] = (FilePart){page, 1 << 20};
    status_free(file_write_atomic(path, parts, 4096));
    return NULL;
}

static void interrupted_writes_leave_nothing(void **state) {
    (void)state;
    const char *path = scratch_path("huge");
    int before = scratch_count();
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        char copy[128];
        snprintf(copy, sizeof copy, "%s", path);
        pthread_create(&thread, NULL, write_forever, copy);
        while (scratch_count() == before) usleep(100);
        usleep(20000); /* past the moment between the file's making and its registration */
        file_unlink_temporaries();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_int_equal(scratch_count(), before);
}

static void reads_pipes_to_their_end(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    char text[20000], path[32];
    memset(text, 'p', sizeof text);
    assert_int_equal(write(ends[1], text, sizeof text), sizeof text);
    close(ends[1]);
    snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    assert_content(path, text, sizeof text);
    close(ends[0]);
}

static void known_hashes(void **state) {
    (void)state;
    char hex[SHA256_HEX]; /* the examples of FIPS 180-2 */
    assert_null(sha256_bytes("abc", 3, hex));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_null(sha256_bytes("", 0, hex));
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void siblings(void **state) {
    (void)state;
    char *a = file_sibling("x/y.onnx", "w.bin"), *b = file_sibling("y.onnx", "w.bin");
    assert_string_equal(a, "x/w.bin");
    assert_string_equal(b, "w.bin");
    mem_free(a);
    mem_free(b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_parts_in_order),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(devices_are_written_directly),
        cmocka_unit_test(interrupted_writes_leave_nothing),
        cmocka_unit_test(reads_pipes_to_their_end),
        cmocka_unit_test(known_hashes),
        cmocka_unit_test(siblings),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
