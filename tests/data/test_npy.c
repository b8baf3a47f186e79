/* .npy headers and elements. Expected layouts are those that NumPy 2.4 writes. */
#include "frontend/npy.h"
#include "frontend/npz.h"

#include "data/scratch.h"

/* A version 1 file with this dictionary and data. */
static size_t make_npy(uint8_t *file, const char *dictionary, const void *data, size_t n) {
    size_t length = strlen(dictionary), total = (10 + length + 1 + 63) / 64 * 64;
    memcpy(file, "\x93NUMPY\1\0", 8);
    file[8] = (uint8_t)(total - 10);
    file[9] = (uint8_t)((total - 10) >> 8);
    memset(file + 10, ' ', total - 10);
    memcpy(file + 10, dictionary, length);
    file[total - 1] = '\n';
    if (n) memcpy(file + total, data, n);
    return total + n;
}

static Status open_npy(const char *dictionary, const void *data, size_t n, NpyArray *out) {
    uint8_t file[4096];
    size_t size = make_npy(file, dictionary, data, n);
    scratch_write("a.npy", file, size);
    return npy_open(scratch_path("a.npy"), out);
}

static void reads_every_type(void **state) {
    (void)state;
    static const struct {
        const char *descr;
        ElemType elem;
        int bytes;
        bool swap;
    } ROWS[] = {{"|b1", ELEM_BOOL, 1, false},      {"|u1", ELEM_U8, 1, false},       {"|i1", ELEM_I8, 1, false},
                {"<u2", ELEM_U16, 2, false},       {">u2", ELEM_U16, 2, true},       {"<i2", ELEM_I16, 2, false},
                {"<u4", ELEM_U32, 4, false},       {"<i4", ELEM_I32, 4, false},      {">i4", ELEM_I32, 4, true},
                {"<u8", ELEM_U64, 8, false},       {"<i8", ELEM_I64, 8, false},      {"<f2", ELEM_F16, 2, false},
                {"<f4", ELEM_F32, 4, false},       {"=f4", ELEM_F32, 4, false},      {">f8", ELEM_F64, 8, true},
                {"<c8", ELEM_C64, 8, false},       {"<c16", ELEM_C128, 16, false},   {"<V2", ELEM_UNDEFINED, 2, false},
                {"|V1", ELEM_UNDEFINED, 1, false}, {"<f1", ELEM_UNDEFINED, 1, false}};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        char dictionary[128];
        uint8_t data[96] = {0};
        snprintf(dictionary, sizeof dictionary, "{'descr': '%s', 'fortran_order': False, 'shape': (2, 3), }",
                 ROWS[i].descr);
        NpyArray a;
        assert_ok(open_npy(dictionary, data, sizeof data, &a));
        assert_int_equal(a.h.elem, ROWS[i].elem);
        assert_int_equal(a.h.item_bytes, ROWS[i].bytes);
        assert_int_equal(a.h.swap, ROWS[i].swap);
        assert_int_equal(a.h.rank, 2);
        assert_int_equal(a.h.count, 6);
        npy_close(&a);
    }
}

static void swaps_big_endian(void **state) {
    (void)state;
    NpyArray a;
    static const uint8_t BIG[] = {0x01, 0x02, 0x03, 0x04, 0xff, 0xff, 0xff, 0xfe};
    int32_t v[2];
    assert_ok(open_npy("{'descr': '>i4', 'fortran_order': False, 'shape': (2,), }", BIG, sizeof BIG, &a));
    assert_ok(npy_read(&a, 0, 2, v));
    assert_int_equal(v[0], 0x01020304);
    assert_int_equal(v[1], -2);
    npy_close(&a);
    /* Complex numbers swap by halves: 1 + 2i. */
    static const uint8_t COMPLEX[] = {0x3f, 0x80, 0, 0, 0x40, 0, 0, 0};
    float c[2];
    assert_ok(open_npy("{'descr': '>c8', 'fortran_order': False, 'shape': (1,), }", COMPLEX, sizeof COMPLEX, &a));
    assert_ok(npy_read(&a, 0, 1, c));
    assert_true(c[0] == 1 && c[1] == 2);
    npy_close(&a);
}

static void turns_fortran_order(void **state) {
    (void)state;
    /* numpy.asfortranarray(arange(24).reshape(2, 3, 4)) */
    uint8_t data[24], got[24];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 4; k++) data[i + 2 * j + 6 * k] = (uint8_t)(12 * i + 4 * j + k);
    NpyArray a;
    assert_ok(open_npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3, 4), }", data, 24, &a));
    assert_ok(npy_read(&a, 0, 24, got));
    for (int i = 0; i < 24; i++) assert_int_equal(got[i], i);
    assert_ok(npy_read(&a, 13, 2, got));
    assert_int_equal(got[0], 13);
    npy_close(&a);
    /* One long axis: both orders are the same, nothing needs to be held. */
    assert_ok(open_npy("{'descr': '|u1', 'fortran_order': True, 'shape': (1, 24), }", data, 24, &a));
    assert_false(a.h.fortran);
    npy_close(&a);
}

static void accepts_header_variants(void **state) {
    (void)state;
    NpyArray a;
    float one = 1, got = 0;
    static const char *const GOOD[] = {
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), }",
        "{\"shape\":(1,),\"fortran_order\":False,\"descr\":\"<f4\"}",
        "{ 'fortran_order' : False , 'shape' : ( 1L , 1L ) , 'descr' : '<f4' }",
    };
    for (size_t i = 0; i < sizeof GOOD / sizeof *GOOD; i++) {
        assert_ok(open_npy(GOOD[i], &one, 4, &a));
        assert_int_equal(a.h.count, 1);
        assert_ok(npy_read(&a, 0, 1, &got));
        assert_true(got == 1);
        npy_close(&a);
    }
    /* Version 2: four bytes of length. */
    uint8_t file[256] = "\x93NUMPY\2\0";
    static const char TEXT[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
    file[8] = sizeof TEXT - 1;
    memcpy(file + 12, TEXT, sizeof TEXT - 1);
    memcpy(file + 12 + sizeof TEXT - 1, &one, 4);
    scratch_write("v2.npy", file, 12 + sizeof TEXT - 1 + 4);
    assert_ok(npy_open(scratch_path("v2.npy"), &a));
    assert_ok(npy_read(&a, 0, 1, &got));
    npy_close(&a);
    /* No elements at all, whatever the other dims say. */
    assert_ok(
        open_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (9223372036854775807, 9, 0), }", NULL, 0, &a));
    assert_int_equal(a.h.count, 0);
    npy_close(&a);
}

static void refuses_broken_headers(void **state) {
    (void)state;
    static const struct {
        const char *dictionary;
        StatusCode code;
        const char *text;
    } ROWS[] = {
        {"{'descr': '<U5', 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED, "strings"},
        {"{'descr': '|S5', 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED, "strings"},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED, "objects"},
        {"{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED, "<M8[ns]"},
        {"{'descr': '<f16', 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED, "<f16"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED, "records"},
        {"{'descr': '', 'fortran_order': False, 'shape': (1,), }", STATUS_UNSUPPORTED, "''"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1,1), }", STATUS_UNSUPPORTED,
         "dimensions"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }", STATUS_INVALID, "True or False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", STATUS_INVALID, "a dimension"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", STATUS_INVALID, "2^63"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", STATUS_INVALID, "overflows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2305843009213693952,), }", STATUS_INVALID, "overflows"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }", STATUS_INVALID, "truncated"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1", STATUS_INVALID, "in the shape"},
        {"{'descr': '<f4', 'fortran_order': False}", STATUS_INVALID, "shape"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}", STATUS_INVALID, "once"},
        {"{'descr: <f4", STATUS_INVALID, "quoted string"},
        {"", STATUS_INVALID, "'{'"},
    };
    float data[2] = {0};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        NpyArray a;
        assert_fails(open_npy(ROWS[i].dictionary, data, 8, &a), ROWS[i].code, ROWS[i].text);
    }
}

static void refuses_other_files(void **state) {
    (void)state;
    NpyArray a;
    scratch_text("b.npy", "hello");
    assert_fails(npy_open(scratch_path("b.npy"), &a), STATUS_INVALID, "b.npy");
    scratch_text("c.npy", "\x93NUMPX is no such array");
    assert_fails(npy_open(scratch_path("c.npy"), &a), STATUS_INVALID, "expected a .npy array");
    scratch_write("d.npy", "\x93NUMPY\2\0\xff\xff\xff\x7f", 12);
    assert_fails(npy_open(scratch_path("d.npy"), &a), STATUS_INVALID, "truncated");
    assert_fails(npy_open(scratch_path("absent.npy"), &a), STATUS_ENVIRONMENT, "absent.npy");
    assert_fails(npy_open(scratch, &a), STATUS_ENVIRONMENT, "regular file");
}

static void writes_what_numpy_writes(void **state) {
    (void)state;
    Tensor t;
    assert_ok(tensor_new(&t, ELEM_F32, 2, (int64_t[]){2, 3}));
    for (int i = 0; i < 6; i++) tensor_set_f64(&t, i, i);
    assert_ok(npy_write(scratch_path("w.npy"), &t));
    size_t n;
    uint8_t *file = scratch_read("w.npy", &n);
    /* numpy.save of the same array: 128 bytes of header, then the data. */
    char want[128];
    memset(want, ' ', sizeof want);
    memcpy(want, "\x93NUMPY\1\0\x76\0", 10);
    static const char TEXT[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }";
    memcpy(want + 10, TEXT, sizeof TEXT - 1);
    want[127] = '\n';
    assert_int_equal(n, 128 + 24);
    assert_memory_equal(file, want, 128);
    assert_memory_equal(file + 128, t.data, 24);
    free(file);
    tensor_free(&t);
}

static void reads_labels_of_any_width(void **state) {
    (void)state;
    NpyArray a;
    static const int16_t LABELS[] = {3, -1, 500};
    int64_t *v;
    assert_ok(open_npy("{'descr': '<i2', 'fortran_order': False, 'shape': (3,), }", LABELS, sizeof LABELS, &a));
    assert_ok(npy_read_int64(&a, &v));
    assert_true(v[0] == 3 && v[1] == -1 && v[2] == 500);
    mem_free(v);
    npy_close(&a);
    float f[3] = {0};
    assert_ok(open_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", f, sizeof f, &a));
    assert_fails(npy_read_int64(&a, &v), STATUS_INVALID, "expected integers, found float32[3]");
    npy_close(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type),         cmocka_unit_test(swaps_big_endian),
        cmocka_unit_test(turns_fortran_order),      cmocka_unit_test(accepts_header_variants),
        cmocka_unit_test(refuses_broken_headers),   cmocka_unit_test(refuses_other_files),
        cmocka_unit_test(writes_what_numpy_writes), cmocka_unit_test(reads_labels_of_any_width),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
