/* The shared labelled data (PARE_DATA), against values of NumPy 2.4 and Pillow 13. Skipped without it. */
#include "calib/dataset.h"
#include "ir/file.h"

#include "data/scratch.h"

#define INPUT(text, r, ...)                                                                                            \
    ((DataInput){text, {.kind = TYPE_TENSOR, .elem = ELEM_F32, .rank = (r), .dims = {__VA_ARGS__}}})
static const ImageOptions IMAGENET = {.mean = {123.675f, 116.28f, 103.53f}, .std = {58.395f, 57.12f, 57.375f}};

static uint64_t fnv1a(const uint8_t *p, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static const char *data_path(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", getenv("PARE_DATA"), name);
    return path;
}

static void photographs(void **state) {
    (void)state;
    static const struct {
        const char *file;
        Channels channels;
        int resize, crop, width, height;
        uint64_t hash;
    } ROWS[] = {
        {"imagenet/eval/0001.jpg", CHANNELS_RGB, 0, 224, 224, 224, 0xe6d1281db7778813u},
        {"imagenet/eval/0001.jpg", CHANNELS_RGB, 224, 224, 224, 224, 0x0ef93a467f6db046u},
        {"imagenet/eval/0001.jpg", CHANNELS_BGR, 100, 0, 100, 100, 0x22f77294d93dce1au},
        {"imagenet/eval/0001.jpg", CHANNELS_GRAY, 300, 256, 256, 256, 0xc57623067141c08au},
        {"imagenet/eval/0501.jpg", CHANNELS_RGB, 0, 224, 224, 224, 0x0e7c3ca7b0579cd1u},
        {"imagenet/eval/0501.jpg", CHANNELS_BGR, 300, 256, 256, 256, 0xdce76d784369c405u},
        {"cifar10/eval/bird/0338.jpg", CHANNELS_RGB, 0, 0, 32, 32, 0x898308ca2b09c112u},
        {"cifar10/eval/bird/0338.jpg", CHANNELS_RGB, 224, 0, 224, 224, 0xb61b7a13154d19fcu},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        ImageOptions o = {.channels = ROWS[i].channels, .resize = ROWS[i].resize, .crop = ROWS[i].crop};
        Blob *b;
        Image im;
        assert_ok(file_map(data_path(ROWS[i].file), &b));
        assert_ok(image_load(b->data, b->size, ROWS[i].file, &o, &im));
        assert_int_equal(im.width, ROWS[i].width);
        assert_int_equal(im.height, ROWS[i].height);
        assert_int_equal(fnv1a(im.pixels, (size_t)im.width * (size_t)im.height * (size_t)im.channels), ROWS[i].hash);
        image_free(&im);
        blob_unref(b);
    }
}

static void imagenet(void **state) {
    (void)state;
    DataInput in = INPUT("data", 4, SYM_FIRST, 3, 224, 224);
    DataOptions o = {.image = IMAGENET, .need_labels = true};
    o.image.crop = 224;
    Dataset *ds;
    Tensor t = {0};
    int64_t label, sum = 0;
    assert_ok(dataset_open(data_path("imagenet/eval"), &o, &in, 1, &ds));
    assert_int_equal(dataset_samples(ds), 800);
    assert_ok(dataset_read(ds, 0, &t, &label, NULL));
    assert_int_equal(label, 1);
    assert_int_equal(fnv1a(t.data, t.bytes), 4547101775489962295u);
    for (int64_t i = 0; i < 800; i += 100) {
        char name[32];
        assert_ok(dataset_read(ds, i, &t, &label, NULL));
        assert_int_equal(strtol(dataset_sample_name(ds, i, 0, name, sizeof name), NULL, 10),
                         label); /* files are named so */
        sum += label;
    }
    assert_true(sum > 0);
    tensor_free(&t);
    dataset_free(ds);
}

static void cifar10(void **state) {
    (void)state;
    DataInput in = INPUT("input", 4, SYM_FIRST, 3, 32, 32);
    DataOptions o = {.image = IMAGENET, .batch = 1000};
    Dataset *ds;
    Tensor t = {0};
    static int64_t labels[1000];
    assert_ok(dataset_open(data_path("cifar10/eval"), &o, &in, 1, &ds));
    assert_int_equal(dataset_reads(ds), 10);
    for (int64_t r = 0; r < 10; r += 3) {
        assert_ok(dataset_read(ds, r, &t, labels, NULL));
        for (int i = 0; i < 1000; i++) assert_int_equal(labels[i], r);
    }
    tensor_free(&t);
    dataset_free(ds);
}

static void arrays(void **state) {
    (void)state;
    static const struct {
        const char *file;
        DataInput in;
        int64_t samples;
        uint64_t first, middle, last;
        int64_t label_sum;
    } ROWS[] = {
        {"kws/eval.npz", INPUT("input", 4, SYM_FIRST, 1, 49, 10), 800, 643665205149347789u, 17914794354420830217u,
         17160267062060417332u, 4316},
        {"speech/calib.npz", INPUT("audio", 2, 1, 16000), 100, 13912748457934927961u, 2629908681739158061u,
         11881170333728446117u, 596},
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        DataOptions o = {.reject_nan = true};
        Dataset *ds;
        Tensor t = {0};
        int64_t n = ROWS[i].samples, label, sum = 0;
        assert_ok(dataset_open(data_path(ROWS[i].file), &o, &ROWS[i].in, 1, &ds));
        assert_int_equal(dataset_reads(ds), n);
        for (int64_t r = 0; r < n; r++) {
            assert_ok(dataset_read(ds, r, &t, &label, NULL));
            sum += label;
            uint64_t hash = r == 0 || r == n / 2 || r == n - 1 ? fnv1a(t.data, t.bytes) : 0;
            if (r == 0) assert_int_equal(hash, ROWS[i].first);
            if (r == n / 2) assert_int_equal(hash, ROWS[i].middle);
            if (r == n - 1) assert_int_equal(hash, ROWS[i].last);
        }
        assert_int_equal(sum, ROWS[i].label_sum);
        tensor_free(&t);
        dataset_free(ds);
    }
}

int main(void) {
    const char *require = getenv("PARE_REQUIRE_DATA");
    if (!getenv("PARE_DATA")) return require && require[0] == '1' ? 1 : 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(photographs),
        cmocka_unit_test(imagenet),
        cmocka_unit_test(cifar10),
        cmocka_unit_test(arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
