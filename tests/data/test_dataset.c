/* Data sets: how arrays are cut, folders and labels, choosing, splitting, hashing, errors. */
#include "calib/dataset.h"
#include "calib/rng.h"
#include "frontend/npz.h"

#include "data/scratch.h"

#include <math.h>

#define ANY (SYM_FIRST - 1)
#define INPUT(text, e, r, ...)                                                                                         \
    ((DataInput){text, {.kind = TYPE_TENSOR, .elem = (e), .rank = (r), .dims = {__VA_ARGS__}}})

/* An array whose element i is i (modulo what the type holds). */
static Tensor ramp(ElemType e, int rank, const int64_t *dims) {
    Tensor t;
    assert_ok(tensor_new(&t, e, rank, dims));
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set_i64(&t, i, i);
    return t;
}

typedef struct Part {
    const char *name;
    ElemType elem;
    int rank;
    int64_t dims[4];
} Part;

static const char *npz_with(const char *name, int n, const Part *parts) {
    NpzWriter *w;
    const char *path = scratch_path(name);
    assert_ok(npz_writer_open(path, true, &w));
    for (int i = 0; i < n; i++) {
        Tensor t = ramp(parts[i].elem, parts[i].rank, parts[i].dims);
        assert_ok(npz_write(w, parts[i].name, &t));
        tensor_free(&t);
    }
    assert_ok(npz_writer_close(w));
    return path;
}
#define NPZ(name, ...) npz_with(name, (int)(sizeof((Part[]){__VA_ARGS__}) / sizeof(Part)), (Part[]){__VA_ARGS__})

static void expect_dims(const Tensor *t, int rank, const int64_t *dims) {
    assert_int_equal(t->rank, rank);
    for (int i = 0; i < rank; i++) assert_int_equal(t->dims[i], dims[i]);
}

static void model_rank_is_cut_by_the_leading_dim(void **state) {
    (void)state;
    const char *path = NPZ("cut.npz", {"x", ELEM_F32, 2, {6, 3}}, {"labels", ELEM_I64, 1, {6}});
    static const struct {
        int64_t lead, batch, reads, samples, rows;
    } CASES[] = {{1, 0, 6, 6, 1}, {ANY, 0, 6, 6, 1}, {ANY, 1, 6, 6, 1}, {ANY, 4, 2, 6, 4},
                 {3, 0, 2, 6, 3}, {6, 0, 1, 6, 6},   {ANY, 8, 1, 6, 8}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        DataInput in = INPUT("x", ELEM_F32, 2, CASES[i].lead, 3);
        DataOptions o = {.batch = CASES[i].batch};
        Dataset *ds;
        Tensor t = {0};
        int64_t labels[8], valid;
        assert_ok(dataset_open(path, &o, &in, 1, &ds));
        assert_int_equal(dataset_reads(ds), CASES[i].reads);
        assert_int_equal(dataset_samples(ds), CASES[i].samples);
        assert_int_equal(dataset_rows(ds), CASES[i].rows);
        int64_t seen = 0, rows = CASES[i].rows;
        for (int64_t r = 0; r < CASES[i].reads; r++) {
            assert_ok(dataset_read(ds, r, &t, labels, &valid));
            expect_dims(&t, 2, (int64_t[]){rows, 3});
            for (int64_t row = 0; row < rows; row++) {
                int64_t want = r * rows + row < 6 ? r * rows + row : 5; /* the last one is repeated */
                assert_true(tensor_get_i64(&t, row * 3 + 1) == want * 3 + 1);
                assert_int_equal(labels[row], row < valid ? want : -1);
            }
            seen += valid;
        }
        assert_int_equal(seen, 6);
        tensor_free(&t);
        dataset_free(ds);
    }
}

static void whole_reads_without_row_labels(void **state) {
    (void)state;
    /* A fixed leading dim that is no batch: two labels for two reads. */
    const char *path = NPZ("units.npz", {"x", ELEM_F32, 2, {6, 3}}, {"labels", ELEM_I64, 1, {2}});
    DataInput in = INPUT("x", ELEM_F32, 2, 3, 3);
    DataOptions o = {0};
    Dataset *ds;
    Tensor t = {0};
    int64_t label;
    assert_ok(dataset_open(path, &o, &in, 1, &ds));
    assert_int_equal(dataset_reads(ds), 2);
    assert_int_equal(dataset_rows(ds), 1);
    assert_ok(dataset_read(ds, 1, &t, &label, NULL));
    assert_int_equal(label, 1);
    assert_int_equal(tensor_get_i64(&t, 0), 9);
    tensor_free(&t);
    dataset_free(ds);
    in.type.dims[0] = 4;
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_INVALID, "no multiple");
}

static void one_rank_more_counts_samples(void **state) {
    (void)state;
    const char *path = NPZ("more.npz", {"x", ELEM_F32, 3, {5, 2, 3}}, {"s", ELEM_F32, 1, {5}}, {"k", ELEM_I64, 0, {0}});
    DataInput in[] = {INPUT("x", ELEM_F32, 2, ANY, 3), INPUT("s", ELEM_F32, 0, 0), INPUT("k", ELEM_I64, 0, 0)};
    DataOptions o = {0};
    Dataset *ds;
    Tensor t[3] = {0};
    assert_ok(dataset_open(path, &o, in, 3, &ds));
    assert_int_equal(dataset_reads(ds), 5);
    assert_ok(dataset_read(ds, 4, t, NULL, NULL));
    expect_dims(&t[0], 2, (int64_t[]){2, 3});
    assert_int_equal(tensor_get_i64(&t[0], 0), 24);
    assert_int_equal(t[1].rank, 0);
    assert_int_equal(tensor_get_i64(&t[1], 0), 4);
    assert_int_equal(tensor_get_i64(&t[2], 0), 0);
    for (int i = 0; i < 3; i++) tensor_free(&t[i]);
    dataset_free(ds);
}

static void single_items_are_shared(void **state) {
    (void)state;
    const char *path = NPZ("shared.npz", {"x", ELEM_F32, 2, {8, 2}}, {"w", ELEM_F32, 2, {3, 2}},
                           {"one", ELEM_F32, 2, {1, 2}}, {"scale", ELEM_F32, 0, {0}});
    DataInput in[] = {INPUT("x", ELEM_F32, 2, ANY, 2), INPUT("w", ELEM_F32, 2, 3, 2), INPUT("one", ELEM_F32, 2, ANY, 2),
                      INPUT("scale", ELEM_F32, 0, 0)};
    for (int64_t batch = 1; batch <= 4; batch += 3) {
        DataOptions o = {.batch = batch};
        Dataset *ds;
        Tensor t[4] = {0};
        assert_ok(dataset_open(path, &o, in, 4, &ds));
        assert_int_equal(dataset_reads(ds), 8 / batch);
        for (int64_t r = 0; r < 2; r++) {
            assert_ok(dataset_read(ds, r, t, NULL, NULL));
            assert_int_equal(tensor_get_i64(&t[0], 0), 2 * r * batch);
            expect_dims(&t[1], 2, (int64_t[]){3, 2});
            assert_int_equal(tensor_get_i64(&t[1], 5), 5);
            expect_dims(&t[2], 2, (int64_t[]){batch, 2});
            assert_int_equal(tensor_get_i64(&t[2], 2 * batch - 1), 1);
        }
        for (int i = 0; i < 4; i++) tensor_free(&t[i]);
        dataset_free(ds);
    }
}

static void arrays_that_do_not_fit_are_named(void **state) {
    (void)state;
    DataOptions o = {0};
    Dataset *ds;
    DataInput in = INPUT("x", ELEM_F32, 2, ANY, 3);
    const char *path = NPZ("bad.npz", {"x", ELEM_F64, 2, {6, 3}}, {"y", ELEM_F32, 2, {6, 4}});
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_INVALID,
                 "bad.npz: array 'x': expected float32[?,3] for input 'x', found float64[6,3]");
    in.name = "y";
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_INVALID,
                 "expected float32[?,3] for input 'y', found "
                 "float32[6,4]");
    in.name = "z";
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_INVALID, "for input 'z', found arrays: x, y");
    in = INPUT("y", ELEM_F32, 4, 1, 6, 2, 2);
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_INVALID, "found float32[6,4]");
    DataInput two[] = {INPUT("x", ELEM_F64, 2, ANY, 3), INPUT("y", ELEM_F32, 2, 2, 4)};
    assert_fails(dataset_open(path, &o, two, 2, &ds), STATUS_INVALID, "array 'y': expected 6 samples");
    assert_fails(dataset_open(scratch_path("gone.npz"), &o, &in, 1, &ds), STATUS_ENVIRONMENT, "gone.npz");
    scratch_text("junk.bin", "neither image nor array");
    assert_fails(dataset_open(scratch_path("junk.bin"), &o, &in, 1, &ds), STATUS_INVALID, "junk.bin: expected data");
    path = NPZ("few.npz", {"x", ELEM_F32, 2, {6, 3}}, {"labels", ELEM_I64, 1, {5}});
    in = INPUT("x", ELEM_F32, 2, ANY, 3);
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_INVALID, "as many labels as samples (6), found 5");
    path = NPZ("none.npz", {"x", ELEM_F32, 2, {0, 3}});
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_INVALID, "at least one sample");
    path = NPZ("plain.npz", {"x", ELEM_F32, 2, {6, 3}});
    o.need_labels = true;
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_INVALID, "--labels FILE");
    in.type.kind = TYPE_SEQUENCE;
    assert_fails(dataset_open(path, &o, &in, 1, &ds), STATUS_UNSUPPORTED, "no tensor");
}

static void npy_and_label_files(void **state) {
    (void)state;
    Tensor t = ramp(ELEM_F32, 2, (int64_t[]){4, 3}), l = ramp(ELEM_U8, 1, (int64_t[]){4});
    assert_ok(npy_write(scratch_path("x.npy"), &t));
    assert_ok(npy_write(scratch_path("l.npy"), &l));
    scratch_text("l.txt", "5\n6\n\n7\n8");
    scratch_text("l.csv", "\xef\xbb\xbfid,Label\r\n0,9\r\n1,-1\r\n2,11\r\n3,12\r\n");
    scratch_text("bad.txt", "5\nsix\n7\n8\n");
    DataInput in = INPUT("anything", ELEM_F32, 2, ANY, 3);
    static const struct {
        const char *file;
        int64_t want[4];
    } CASES[] = {{"l.npy", {0, 1, 2, 3}}, {"l.txt", {5, 6, 7, 8}}, {"l.csv", {9, -1, 11, 12}}};
    Dataset *ds;
    for (size_t i = 0; i < 3; i++) {
        DataOptions o = {.labels = scratch_path(CASES[i].file), .label_offset = 100};
        assert_ok(dataset_open(scratch_path("x.npy"), &o, &in, 1, &ds));
        for (int64_t r = 0; r < 4; r++) {
            int64_t label;
            assert_ok(dataset_read(ds, r, &t, &label, NULL));
            assert_int_equal(label, CASES[i].want[r] + 100);
        }
        dataset_free(ds);
    }
    DataOptions o = {.labels = scratch_path("bad.txt")};
    assert_fails(dataset_open(scratch_path("x.npy"), &o, &in, 1, &ds), STATUS_INVALID, "bad.txt: line 2");
    DataInput two[] = {in, in};
    o.labels = NULL;
    assert_fails(dataset_open(scratch_path("x.npy"), &o, two, 2, &ds), STATUS_INVALID, "one input");
    tensor_free(&t);
    tensor_free(&l);
}

static void chooses_by_seed(void **state) {
    (void)state;
    const char *path = NPZ("many.npz", {"x", ELEM_F32, 1, {100}});
    DataInput in = INPUT("x", ELEM_F32, 1, ANY);
    int64_t chosen[2][10];
    char hash[3][65];
    for (int i = 0; i < 3; i++) {
        DataOptions o = {.samples = 10, .seed = i == 2 ? 8 : 7};
        Dataset *ds;
        Tensor t = {0};
        assert_ok(dataset_open(path, &o, &in, 1, &ds));
        assert_int_equal(dataset_reads(ds), 10);
        int64_t last = -1;
        for (int64_t r = 0; r < 10; r++) {
            assert_ok(dataset_read(ds, r, &t, NULL, NULL));
            int64_t v = tensor_get_i64(&t, 0);
            assert_true(v > last && v < 100);
            last = v;
            char name[32];
            assert_int_equal(strtol(dataset_sample_name(ds, r, 0, name, sizeof name), NULL, 10), v);
            if (i < 2) chosen[i][r] = v;
        }
        assert_ok(dataset_sha256(ds, hash[i]));
        tensor_free(&t);
        dataset_free(ds);
    }
    assert_memory_equal(chosen[0], chosen[1], sizeof chosen[0]);
    assert_string_equal(hash[0], hash[1]);
    assert_string_not_equal(hash[0], hash[2]);
    /* The documented generator: xoshiro256** seeded by SplitMix64, Knuth's algorithm S. */
    Rng rng;
    int64_t want[10];
    rng_seed(&rng, 7, 0);
    rng_choose(&rng, 100, 10, want);
    assert_memory_equal(chosen[0], want, sizeof want);
}

static void splits_without_overlap(void **state) {
    (void)state;
    const char *path = NPZ("split.npz", {"x", ELEM_F32, 1, {50}});
    DataInput in = INPUT("x", ELEM_F32, 1, ANY);
    for (int64_t batch = 1; batch <= 4; batch += 3) {
        DataOptions o = {.batch = batch};
        Dataset *ds, *part[2], *head;
        assert_ok(dataset_open(path, &o, &in, 1, &ds));
        assert_ok(dataset_split(ds, 0.3, 1, &part[0], &part[1]));
        assert_int_equal(dataset_samples(part[0]) + dataset_samples(part[1]), 50);
        if (batch == 1) assert_int_equal(dataset_reads(part[0]), 15);
        dataset_free(ds);
        int seen[50] = {0};
        Tensor t = {0};
        for (int p = 0; p < 2; p++)
            for (int64_t r = 0; r < dataset_reads(part[p]); r++) {
                int64_t valid;
                assert_ok(dataset_read(part[p], r, &t, NULL, &valid));
                for (int64_t i = 0; i < valid; i++) seen[tensor_get_i64(&t, i)]++;
            }
        for (int i = 0; i < 50; i++) assert_int_equal(seen[i], 1);
        assert_ok(dataset_head(part[1], 3, &head));
        assert_int_equal(dataset_reads(head), 3);
        dataset_free(part[0]);
        dataset_free(part[1]);
        assert_ok(dataset_read(head, 2, &t, NULL, NULL));
        Dataset *none[2];
        Dataset *one;
        assert_ok(dataset_head(head, 1, &one));
        assert_fails(dataset_split(one, 0.5, 0, &none[0], &none[1]), STATUS_INVALID, "at least 2");
        dataset_free(one);
        dataset_free(head);
        tensor_free(&t);
    }
}

static void next_shares_one_pass(void **state) {
    (void)state;
    const char *path = NPZ("next.npz", {"x", ELEM_F32, 1, {5}});
    DataInput in = INPUT("x", ELEM_F32, 1, ANY);
    DataOptions o = {0};
    Dataset *ds;
    Tensor t = {0};
    int64_t cursor = 0, index;
    assert_ok(dataset_open(path, &o, &in, 1, &ds));
    for (int64_t i = 0; i < 5; i++) {
        assert_ok(dataset_next(ds, &cursor, &t, NULL, NULL, &index));
        assert_int_equal(index, i);
        assert_int_equal(tensor_get_i64(&t, 0), i);
    }
    assert_ok(dataset_next(ds, &cursor, &t, NULL, NULL, &index));
    assert_int_equal(index, -1);
    /* Memory of the tensor is used again. */
    const uint8_t *data = t.data;
    assert_ok(dataset_read(ds, 0, &t, NULL, NULL));
    assert_ptr_equal(t.data, data);
    /* But not when somebody else holds it. */
    Tensor kept = tensor_ref(&t);
    assert_ok(dataset_read(ds, 3, &t, NULL, NULL));
    assert_int_equal(tensor_get_i64(&kept, 0), 0);
    assert_int_equal(tensor_get_i64(&t, 0), 3);
    tensor_free(&kept);
    tensor_free(&t);
    dataset_free(ds);
}

static void hash_is_of_the_content(void **state) {
    (void)state;
    Part parts[] = {{"x", ELEM_F32, 2, {6, 3}}, {"labels", ELEM_I64, 1, {6}}};
    npz_with("h1.npz", 2, parts);
    scratch_folder("deeper");
    npz_with("deeper/h2.npz", 2, parts);
    parts[1].elem = ELEM_I32;
    npz_with("h3.npz", 1, parts);
    DataInput fixed = INPUT("x", ELEM_F32, 2, 1, 3), open = INPUT("x", ELEM_F32, 2, ANY, 3);
    struct {
        const char *file;
        const DataInput *in;
        DataOptions o;
    } cases[] = {{"h1.npz", &fixed, {.batch = 0}},
                 {"deeper/h2.npz", &open, {.batch = 4, .label_offset = 1}},
                 {"h3.npz", &fixed, {.batch = 0}},
                 {"h1.npz", &fixed, {.image = {.resize = 3}}}};
    char hash[4][65], key[4][65];
    for (int i = 0; i < 4; i++) {
        Dataset *ds;
        assert_ok(dataset_open(scratch_path(cases[i].file), &cases[i].o, cases[i].in, 1, &ds));
        assert_ok(dataset_sha256(ds, hash[i]));
        assert_ok(dataset_key(ds, key[i]));
        assert_int_equal(strlen(hash[i]), 64);
        dataset_free(ds);
    }
    assert_string_equal(hash[0], hash[1]);     /* other path, batch and offset */
    assert_string_not_equal(hash[0], hash[2]); /* no labels */
    assert_string_equal(hash[0], hash[3]);
    assert_string_not_equal(key[0], key[1]);
    assert_string_not_equal(key[0], key[3]);
}

static void nan_is_refused_where_asked(void **state) {
    (void)state;
    static const ElemType TYPES[] = {ELEM_F32, ELEM_F16, ELEM_F64};
    for (int e = 0; e < 3; e++) {
        Tensor t = ramp(TYPES[e], 2, (int64_t[]){4, 2});
        tensor_set_f64(&t, 5, e == 1 ? (double)INFINITY : (double)NAN);
        assert_ok(npy_write(scratch_path("nan.npy"), &t));
        DataInput in = INPUT("x", TYPES[e], 2, ANY, 2);
        DataOptions o = {.reject_nan = true};
        Dataset *ds;
        assert_ok(dataset_open(scratch_path("nan.npy"), &o, &in, 1, &ds));
        assert_ok(dataset_read(ds, 1, &t, NULL, NULL));
        assert_fails(dataset_read(ds, 2, &t, NULL, NULL), STATUS_INVALID, "sample 2: expected finite values");
        dataset_free(ds);
        o.reject_nan = false;
        assert_ok(dataset_open(scratch_path("nan.npy"), &o, &in, 1, &ds));
        assert_ok(dataset_read(ds, 2, &t, NULL, NULL));
        dataset_free(ds);
        tensor_free(&t);
    }
}

static void copy_image(const char *from, const char *to) {
    char path[512];
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/image/%s", PARE_SOURCE_DIR, from);
    FILE *f = fopen(path, "rb");
    char data[4096];
    assert_non_null(f);
    size_t n = fread(data, 1, sizeof data, f);
    fclose(f);
    scratch_write(to, data, n);
}

static void images_in_class_folders(void **state) {
    (void)state;
    scratch_folder("classes");
    static const char *const CLASSES[] = {"classes/b", "classes/B", "classes/a"};
    for (int i = 0; i < 3; i++) {
        char to[64];
        scratch_folder(CLASSES[i]);
        for (int k = 0; k < 2; k++) {
            snprintf(to, sizeof to, "%s/%d.JPG", CLASSES[i], k);
            copy_image("rgb420.jpg", to);
        }
        snprintf(to, sizeof to, "%s/notes.txt", CLASSES[i]);
        scratch_text(to, "no image");
    }
    DataInput in = INPUT("x", ELEM_F32, 4, ANY, 3, 20, 20);
    DataOptions o = {.image.crop = 20, .batch = 4};
    Dataset *ds;
    Tensor t = {0};
    int64_t labels[4], valid;
    char text[64];
    assert_ok(dataset_open(scratch_path("classes"), &o, &in, 1, &ds));
    assert_true(dataset_is_images(ds));
    assert_string_equal(dataset_describe(ds, text, sizeof text), "images, 6 samples with labels");
    assert_int_equal(dataset_samples(ds), 6);
    assert_ok(dataset_read(ds, 0, &t, labels, &valid));
    expect_dims(&t, 4, (int64_t[]){4, 3, 20, 20});
    /* Bytewise order: B before a before b. */
    assert_true(labels[0] == 0 && labels[1] == 0 && labels[2] == 1 && labels[3] == 1);
    assert_string_equal(dataset_sample_name(ds, 0, 0, text, sizeof text), "B/0.JPG");
    assert_ok(dataset_read(ds, 1, &t, labels, &valid));
    assert_int_equal(valid, 2);
    assert_true(labels[0] == 2 && labels[1] == 2 && labels[2] == -1);
    tensor_free(&t);
    dataset_free(ds);
    o.image.crop = 0;
    assert_ok(dataset_open(scratch_path("classes"), &o, &in, 1, &ds));
    assert_fails(dataset_read(ds, 0, &t, labels, &valid), STATUS_INVALID,
                 "B/0.JPG: expected an image for input 'x' float32[?,3,20,20], found 20 x 28");
    dataset_free(ds);
    copy_image("cmyk.jpg", "classes/a/zz.jpg");
    scratch_text("classes/b/broken.jpg", "\xff\xd8\xff");
    o.image.crop = 20;
    o.batch = 1;
    assert_ok(dataset_open(scratch_path("classes"), &o, &in, 1, &ds));
    assert_fails(dataset_read(ds, 4, &t, labels, NULL), STATUS_UNSUPPORTED, "a/zz.jpg");
    assert_fails(dataset_read(ds, 7, &t, labels, NULL), STATUS_INVALID, "b/broken.jpg");
    dataset_free(ds);
    tensor_free(&t);
}

static void images_with_a_list(void **state) {
    (void)state;
    scratch_folder("list");
    copy_image("gray.png", "list/one, \"two\".png");
    copy_image("rgb.png", "list/b.png");
    scratch_text("list/labels.csv", "file,label\n\"one, \"\"two\"\".png\",4\nb.png,2\n");
    DataInput in = INPUT("x", ELEM_U8, 4, 1, 1, ANY, ANY);
    DataOptions o = {.label_offset = 1};
    Dataset *ds;
    Tensor t = {0};
    int64_t label;
    bool uniform = true;
    Type type;
    assert_ok(dataset_open(scratch_path("list"), &o, &in, 1, &ds));
    assert_ok(dataset_read(ds, 0, &t, &label, NULL));
    assert_int_equal(label, 5);
    expect_dims(&t, 4, (int64_t[]){1, 1, 20, 28});
    assert_ok(dataset_read(ds, 1, &t, &label, NULL));
    assert_int_equal(label, 3);
    assert_ok(dataset_types(ds, &type, &uniform));
    assert_false(uniform);
    assert_true(type.rank == 4 && type.dims[3] == 28 && type.elem == ELEM_U8);
    dataset_free(ds);
    /* A file of labels by name takes the place of the list's. */
    scratch_text("other.csv", "b.png,7\n\"one, \"\"two\"\".png\",8\n");
    o.labels = scratch_path("other.csv");
    assert_ok(dataset_open(scratch_path("list"), &o, &in, 1, &ds));
    assert_ok(dataset_read(ds, 0, &t, &label, NULL));
    assert_int_equal(label, 9);
    dataset_free(ds);
    o.labels = NULL;
    o.image.channels = CHANNELS_RGB;
    assert_fails(dataset_open(scratch_path("list"), &o, &in, 1, &ds), STATUS_INVALID, "--channels");
    o.image.channels = CHANNELS_AUTO;
    in = INPUT("x", ELEM_F32, 4, 1, 224, 224, 3);
    assert_fails(dataset_open(scratch_path("list"), &o, &in, 1, &ds), STATUS_UNSUPPORTED, "[N,C,H,W]");
    in = INPUT("x", ELEM_F32, 4, 1, 3, ANY, ANY);
    scratch_text("list/labels.csv", "file,label\nabsent.png,4\n");
    assert_ok(dataset_open(scratch_path("list"), &o, &in, 1, &ds));
    assert_fails(dataset_read(ds, 0, &t, &label, NULL), STATUS_ENVIRONMENT, "absent.png");
    dataset_free(ds);
    /* One image by itself; a folder without images. */
    assert_ok(dataset_open(scratch_path("list/b.png"), &o, &in, 1, &ds));
    assert_int_equal(dataset_reads(ds), 1);
    assert_false(dataset_has_labels(ds));
    dataset_free(ds);
    scratch_folder("nothing");
    assert_fails(dataset_open(scratch_path("nothing"), &o, &in, 1, &ds), STATUS_INVALID, "found none");
    tensor_free(&t);
}

/* TensorProto of int32 or float with the dims [n] and raw data, written by hand. */
static void write_tensor(const char *name, int type, int n, const void *raw) {
    uint8_t b[64] = {0x08, (uint8_t)n, 0x10, (uint8_t)type, 0x4a, (uint8_t)(4 * n)};
    size_t bytes = 4 * (size_t)n;
    memcpy(b + 6, raw, bytes);
    scratch_write(name, b, 6 + bytes);
}

static void onnx_test_data(void **state) {
    (void)state;
    scratch_folder("model");
    for (int i = 0; i < 11; i++) {
        char name[64];
        snprintf(name, sizeof name, "model/test_data_set_%d", i);
        scratch_folder(name);
        float f[2] = {(float)i, 0.5f};
        int32_t k[1] = {10 * i};
        snprintf(name, sizeof name, "model/test_data_set_%d/input_0.pb", i);
        write_tensor(name, ELEM_F32, 2, f);
        snprintf(name, sizeof name, "model/test_data_set_%d/input_1.pb", i);
        write_tensor(name, ELEM_I32, 1, k);
    }
    DataInput in[] = {INPUT("x", ELEM_F32, 1, ANY), INPUT("k", ELEM_I32, 1, 1)};
    DataOptions o = {0};
    Dataset *ds;
    Tensor t[2] = {0};
    char text[64], hash[65];
    bool uniform;
    Type types[2];
    assert_ok(dataset_open(scratch_path("model"), &o, in, 2, &ds));
    assert_int_equal(dataset_reads(ds), 11);
    assert_ok(dataset_read(ds, 10, t, NULL, NULL));
    assert_int_equal(tensor_get_i64(&t[0], 0), 10);
    assert_int_equal(tensor_get_i64(&t[1], 0), 100);
    assert_string_equal(dataset_sample_name(ds, 10, 0, text, sizeof text), "test_data_set_10");
    assert_ok(dataset_types(ds, types, &uniform));
    assert_false(uniform);
    assert_ok(dataset_sha256(ds, hash));
    dataset_free(ds);
    assert_ok(dataset_open(scratch_path("model/test_data_set_3"), &o, in, 2, &ds));
    assert_int_equal(dataset_reads(ds), 1);
    dataset_free(ds);
    in[0].type.elem = ELEM_F64;
    assert_ok(dataset_open(scratch_path("model"), &o, in, 2, &ds));
    assert_fails(dataset_read(ds, 0, t, NULL, NULL), STATUS_INVALID, "input_0.pb: expected float64[?]");
    dataset_free(ds);
    for (int i = 0; i < 2; i++) tensor_free(&t[i]);
}

static void random_data_is_seeded(void **state) {
    (void)state;
    DataInput in[] = {INPUT("f", ELEM_F32, 2, ANY, 5000), INPUT("h", ELEM_F16, 1, 4), INPUT("i", ELEM_I64, 1, 1000),
                      INPUT("b", ELEM_BOOL, 1, 64), INPUT("s", ELEM_F32, 0, 0)};
    Dataset *ds[2];
    Tensor t[2][5] = {0};
    for (int i = 0; i < 2; i++) {
        assert_ok(dataset_random(in, 5, 3, 2, 9, &ds[i]));
        assert_true(dataset_is_random(ds[i]));
        assert_int_equal(dataset_reads(ds[i]), 3);
        assert_ok(dataset_read(ds[i], 2, t[i], NULL, NULL));
    }
    expect_dims(&t[0][0], 2, (int64_t[]){2, 5000});
    for (int i = 0; i < 5; i++) assert_memory_equal(t[0][i].data, t[1][i].data, t[0][i].bytes);
    double sum = 0, square = 0;
    for (int64_t i = 0; i < 10000; i++) {
        double v = tensor_get_f64(&t[0][0], i);
        sum += v;
        square += v * v;
    }
    assert_true(sum / 10000 > -0.05 && sum / 10000 < 0.05);
    assert_true(square / 10000 > 0.95 && square / 10000 < 1.05);
    int64_t low = 99, high = 0;
    for (int64_t i = 0; i < 1000; i++) {
        int64_t v = tensor_get_i64(&t[0][2], i);
        low = v < low ? v : low;
        high = v > high ? v : high;
    }
    assert_true(low == 0 && high == 99);
    for (int64_t i = 0; i < 64; i++) assert_true(t[0][3].data[i] <= 1);
    assert_ok(dataset_read(ds[1], 0, t[1], NULL, NULL));
    assert_memory_not_equal(t[0][0].data, t[1][0].data, t[0][0].bytes);
    for (int i = 0; i < 2; i++) {
        dataset_free(ds[i]);
        for (int k = 0; k < 5; k++) tensor_free(&t[i][k]);
    }
    in[0].type.dims[1] = ANY;
    assert_fails(dataset_random(in, 5, 3, 1, 0, &ds[0]), STATUS_USAGE, "--shape f:");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(model_rank_is_cut_by_the_leading_dim),
        cmocka_unit_test(whole_reads_without_row_labels),
        cmocka_unit_test(one_rank_more_counts_samples),
        cmocka_unit_test(single_items_are_shared),
        cmocka_unit_test(arrays_that_do_not_fit_are_named),
        cmocka_unit_test(npy_and_label_files),
        cmocka_unit_test(chooses_by_seed),
        cmocka_unit_test(splits_without_overlap),
        cmocka_unit_test(next_shares_one_pass),
        cmocka_unit_test(hash_is_of_the_content),
        cmocka_unit_test(nan_is_refused_where_asked),
        cmocka_unit_test(images_in_class_folders),
        cmocka_unit_test(images_with_a_list),
        cmocka_unit_test(onnx_test_data),
        cmocka_unit_test(random_data_is_seeded),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
