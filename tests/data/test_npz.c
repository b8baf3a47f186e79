/* .npz archives: round trips, streaming, damage. */
#include "frontend/npz.h"

#include "data/scratch.h"

#include <sys/resource.h>

static Tensor ramp(ElemType e, int64_t rows, int64_t columns, int64_t start) {
    Tensor t;
    assert_ok(tensor_new(&t, e, 2, (int64_t[]){rows, columns}));
    for (int64_t i = 0; i < rows * columns; i++) tensor_set_i64(&t, i, (start + i) % 1000);
    return t;
}

static void write_two(const char *path, bool deflate) {
    NpzWriter *w;
    Tensor a = ramp(ELEM_F32, 4, 3, 0), b = ramp(ELEM_I64, 1, 2, 7);
    assert_ok(npz_writer_open(path, deflate, &w));
    assert_ok(npz_write(w, "a/b:0", &a));
    assert_ok(npz_append(w, "rows", &b));
    tensor_set_i64(&b, 1, -5);
    assert_ok(npz_append(w, "rows", &b));
    assert_ok(npz_writer_close(w));
    tensor_free(&a);
    tensor_free(&b);
}

static void round_trip(void **state) {
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        const char *path = scratch_path("r.npz");
        write_two(path, deflate);
        Npz *z;
        NpyArray a;
        assert_ok(npz_open(path, &z));
        assert_int_equal(npz_count(z), 2);
        assert_string_equal(npz_name(z, 0), "a/b:0");
        assert_int_equal(npz_find(z, "rows"), 1);
        assert_int_equal(npz_find(z, "row"), -1);
        char names[64];
        assert_string_equal(npz_names(z, names, sizeof names), "a/b:0, rows");
        assert_ok(npz_array(z, 0, &a));
        float f[12];
        /* Forwards, backwards, and again. */
        assert_ok(npy_read(&a, 6, 3, f));
        assert_true(f[0] == 6 && f[2] == 8);
        assert_ok(npy_read(&a, 0, 12, f));
        assert_true(f[0] == 0 && f[11] == 11);
        assert_ok(npy_read(&a, 11, 1, f));
        assert_true(f[0] == 11);
        npy_close(&a);
        assert_ok(npz_array(z, 1, &a));
        int64_t *rows;
        assert_int_equal(a.h.rank, 2);
        assert_int_equal(a.h.dims[0], 2);
        assert_ok(npy_read_int64(&a, &rows));
        assert_true(rows[0] == 7 && rows[1] == 8 && rows[2] == 7 && rows[3] == -5);
        mem_free(rows);
        npy_close(&a);
        npz_close(z);
    }
}

static void same_bytes_each_time(void **state) {
    (void)state;
    for (int deflate = 0; deflate < 2; deflate++) {
        write_two(scratch_path("one.npz"), deflate);
        setenv("TZ", "Asia/Kathmandu", 1); /* times in zip files are local */
        write_two(scratch_path("two.npz"), deflate);
        unsetenv("TZ");
        size_t n, m;
        uint8_t *one = scratch_read("one.npz", &n), *two = scratch_read("two.npz", &m);
        assert_int_equal(n, m);
        assert_memory_equal(one, two, n);
        /* Time and date of the first local header: midnight, 1980-01-01. */
        assert_memory_equal(one, "PK\3\4", 4);
        assert_memory_equal(one + 10, "\0\0\x21\0", 4);
        free(one);
        free(two);
    }
}

static void refuses_mixed_rows(void **state) {
    (void)state;
    NpzWriter *w;
    Tensor a = ramp(ELEM_F32, 1, 3, 0), b = ramp(ELEM_F32, 1, 4, 0), c = ramp(ELEM_F64, 1, 3, 0);
    assert_ok(npz_writer_open(scratch_path("m.npz"), false, &w));
    assert_ok(npz_append(w, "x", &a));
    assert_fails(npz_append(w, "x", &b), STATUS_INVALID, "'x'");
    assert_fails(npz_append(w, "x", &c), STATUS_INVALID, "float64[1,3]");
    assert_fails(npz_write(w, "x", &a), STATUS_INVALID, "twice");
    npz_writer_abort(w);
    assert_int_not_equal(access(scratch_path("m.npz"), F_OK), 0);
    tensor_free(&a);
    tensor_free(&b);
    tensor_free(&c);
}

static void leaves_nothing_behind(void **state) {
    (void)state;
    NpzWriter *w;
    Tensor a = ramp(ELEM_F32, 1, 3, 0);
    int before = scratch_count();
    assert_ok(npz_writer_open(scratch_path("no/such/folder.npz"), false, &w));
    assert_ok(npz_append(w, "x", &a));
    assert_fails(npz_writer_close(w), STATUS_ENVIRONMENT, "no/such/folder.npz");
    assert_int_equal(scratch_count(), before);
    tensor_free(&a);
}

static void empty_and_sub_byte(void **state) {
    (void)state;
    NpzWriter *w;
    Npz *z;
    NpyArray a;
    assert_ok(npz_writer_open(scratch_path("e.npz"), false, &w));
    assert_ok(npz_writer_close(w));
    assert_ok(npz_open(scratch_path("e.npz"), &z));
    assert_int_equal(npz_count(z), 0);
    npz_close(z);
    Tensor t, scalar;
    assert_ok(tensor_new(&t, ELEM_I4, 1, (int64_t[]){3}));
    for (int i = 0; i < 3; i++) tensor_set_i64(&t, i, i - 2);
    assert_ok(tensor_new(&scalar, ELEM_BF16, 0, NULL));
    tensor_set_f64(&scalar, 0, 1.5);
    assert_ok(npz_writer_open(scratch_path("e.npz"), true, &w));
    assert_ok(npz_write(w, "i4", &t));
    assert_ok(npz_append(w, "bf16", &scalar));
    assert_ok(npz_writer_close(w));
    assert_ok(npz_open(scratch_path("e.npz"), &z));
    assert_ok(npz_array(z, 0, &a));
    int8_t v[3];
    assert_int_equal(a.h.elem, ELEM_I8);
    assert_ok(npy_read(&a, 0, 3, v));
    assert_true(v[0] == -2 && v[1] == -1 && v[2] == 0);
    npy_close(&a);
    assert_ok(npz_array(z, 1, &a));
    uint16_t bits;
    assert_true(npy_matches(&a.h, ELEM_BF16));
    assert_false(npy_matches(&a.h, ELEM_F16));
    assert_ok(npy_read(&a, 0, 1, &bits));
    assert_int_equal(bits, 0x3fc0);
    npy_close(&a);
    npz_close(z);
    tensor_free(&t);
    tensor_free(&scalar);
}

/* 96 MiB through the writer and the reader, row by row, while the heap holds a few. */
static void memory_stays_flat(void **state) {
    (void)state;
    enum { ROWS = 96, COLUMNS = 1 << 18 };
    NpzWriter *w;
    Npz *z;
    NpyArray a;
    Tensor t = ramp(ELEM_F32, 1, COLUMNS, 3);
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    assert_ok(npz_writer_open(scratch_path("big.npz"), true, &w));
    for (int i = 0; i < ROWS; i++) assert_ok(npz_append(w, "x", &t));
    assert_ok(npz_writer_close(w));
    assert_ok(npz_open(scratch_path("big.npz"), &z));
    assert_ok(npz_array(z, 0, &a));
    float *row = malloc(COLUMNS * sizeof *row);
    assert_non_null(row);
    for (int i = 0; i < ROWS; i++) {
        assert_ok(npy_read(&a, (int64_t)i * COLUMNS, COLUMNS, row));
        assert_memory_equal(row, t.data, COLUMNS * sizeof *row);
    }
    free(row);
    npy_close(&a);
    npz_close(z);
    getrusage(RUSAGE_SELF, &after);
    long limit = 24 * 1024; /* KiB; sanitizers keep freed memory */
    if (getenv("ASAN_OPTIONS") == NULL) assert_true(after.ru_maxrss - before.ru_maxrss < limit);
    tensor_free(&t);
}

/* Every byte of a small archive changed in turn: an error or equal content, never anything else. */
static void survives_damage(void **state) {
    (void)state;
    write_two(scratch_path("good.npz"), true);
    size_t n;
    uint8_t *file = scratch_read("good.npz", &n);
    int errors = 0;
    for (size_t i = 0; i < n; i++) {
        file[i] ^= 0x55;
        scratch_write("bad.npz", file, n);
        file[i] ^= 0x55;
        Npz *z = NULL;
        NpyArray a = {0};
        float f[12];
        Status s = npz_open(scratch_path("bad.npz"), &z);
        int at = s ? -1 : npz_find(z, "a/b:0");
        if (!s && at >= 0) s = npz_array(z, at, &a);
        if (!s && at >= 0 && a.h.count == 12 && a.h.elem == ELEM_F32) {
            s = npy_read(&a, 0, 12, f);
            for (int k = 0; !s && k < 12; k++) assert_true(f[k] == (float)k);
        }
        errors += s != NULL;
        status_free(s);
        npy_close(&a);
        npz_close(z);
    }
    assert_true(errors > 20);
    for (size_t cut = 0; cut < n; cut++) {
        scratch_write("bad.npz", file, cut);
        Npz *z;
        assert_fails(npz_open(scratch_path("bad.npz"), &z), STATUS_INVALID, "bad.npz");
    }
    free(file);
}

static void refuses_impossible_sizes(void **state) {
    (void)state;
    /* A stored member that declares 4 GiB - 1 of content. */
    NpzWriter *w;
    Npz *z;
    Tensor t = ramp(ELEM_U8, 1, 8, 0);
    assert_ok(npz_writer_open(scratch_path("s.npz"), false, &w));
    assert_ok(npz_write(w, "x", &t));
    assert_ok(npz_writer_close(w));
    tensor_free(&t);
    size_t n;
    uint8_t *file = scratch_read("s.npz", &n);
    for (size_t i = 0; i + 4 < n; i++)
        if (memcmp(file + i, "PK\1\2", 4) == 0) memset(file + i + 24, 0xfe, 4);
    scratch_write("s.npz", file, n);
    free(file);
    assert_fails(npz_open(scratch_path("s.npz"), &z), STATUS_INVALID, "cannot hold");
    assert_fails(npz_open(scratch_path("none.npz"), &z), STATUS_ENVIRONMENT, "none.npz");
    scratch_text("t.npz", "this is no archive at all, just text");
    assert_fails(npz_open(scratch_path("t.npz"), &z), STATUS_INVALID, "t.npz");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),         cmocka_unit_test(same_bytes_each_time),
        cmocka_unit_test(refuses_mixed_rows), cmocka_unit_test(leaves_nothing_behind),
        cmocka_unit_test(empty_and_sub_byte), cmocka_unit_test(memory_stays_flat),
        cmocka_unit_test(survives_damage),    cmocka_unit_test(refuses_impossible_sizes),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
