/* Decoding and resizing. The expected pixels are those of Pillow 13 (Image.open, convert, resize with BILINEAR, crop).
 */
#include "frontend/image.h"
#include "ir/file.h"

#include "data/scratch.h"

static uint64_t fnv1a(const uint8_t *p, size_t n) {
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static Blob *sample(const char *name) {
    char path[512];
    Blob *b;
    snprintf(path, sizeof path, "%s/tests/fuzz/corpus/image/%s", PARE_SOURCE_DIR, name);
    assert_ok(file_map(path, &b));
    return b;
}

static const struct {
    const char *file;
    Channels channels;
    int resize, crop, width, height;
    uint64_t hash;
} PILLOW[] = {
    {"rgb420.jpg", CHANNELS_RGB, 0, 0, 28, 20, 0x546c1012ce02a74bu},
    {"rgb420.jpg", CHANNELS_GRAY, 0, 0, 28, 20, 0x48dba30dc95ca88eu},
    {"rgb420.jpg", CHANNELS_BGR, 13, 11, 11, 11, 0xce1c9aeac054d8f9u},
    {"rgb422.jpg", CHANNELS_RGB, 0, 0, 28, 20, 0xec9788c9e366a8dfu},
    {"rgb422.jpg", CHANNELS_GRAY, 0, 0, 28, 20, 0xff2f7c96295e5934u},
    {"rgb422.jpg", CHANNELS_BGR, 13, 11, 11, 11, 0xc7abb7e8d4014da8u},
    {"rgb444_progressive.jpg", CHANNELS_RGB, 0, 0, 28, 20, 0xc6e210c152426dafu},
    {"rgb444_progressive.jpg", CHANNELS_GRAY, 0, 0, 28, 20, 0x4f5cc271e0e577fau},
    {"rgb444_progressive.jpg", CHANNELS_BGR, 13, 11, 11, 11, 0x638f5f2c7049e2f1u},
    {"gray.jpg", CHANNELS_RGB, 0, 0, 28, 20, 0x2e96104ec2be992eu},
    {"gray.jpg", CHANNELS_GRAY, 0, 0, 28, 20, 0xcff1a1f99c570c50u},
    {"gray.jpg", CHANNELS_BGR, 13, 11, 11, 11, 0x86fdded95860273au},
    {"rgb.png", CHANNELS_RGB, 0, 0, 28, 20, 0xd71f5b773ea16019u},
    {"rgb.png", CHANNELS_GRAY, 0, 0, 28, 20, 0x29c83db69824413eu},
    {"rgb.png", CHANNELS_BGR, 13, 11, 11, 11, 0x8d97d6697acd64f9u},
    {"gray.png", CHANNELS_RGB, 0, 0, 28, 20, 0xedb6cfb121add1bcu},
    {"gray.png", CHANNELS_GRAY, 0, 0, 28, 20, 0x29c83db69824413eu},
    {"gray.png", CHANNELS_BGR, 13, 11, 11, 11, 0xc0928823a31fe9ebu},
    {"palette.png", CHANNELS_RGB, 0, 0, 28, 20, 0xdf1ceab1fea10d14u},
    {"palette.png", CHANNELS_GRAY, 0, 0, 28, 20, 0x041e317b6e832421u},
    {"palette.png", CHANNELS_BGR, 13, 11, 11, 11, 0x70271aff32a47ce7u},
    {"rgba.png", CHANNELS_RGB, 0, 0, 28, 20, 0xd71f5b773ea16019u},
    {"rgba.png", CHANNELS_GRAY, 0, 0, 28, 20, 0x29c83db69824413eu},
    {"rgba.png", CHANNELS_BGR, 13, 11, 11, 11, 0x8d97d6697acd64f9u},
    {"bits.png", CHANNELS_RGB, 0, 0, 28, 20, 0xed83d620995a57f8u},
    {"bits.png", CHANNELS_GRAY, 0, 0, 28, 20, 0xbf72985dd9bfc9feu},
    {"bits.png", CHANNELS_BGR, 13, 11, 11, 11, 0x5462b22a8309f8ebu},
    {"rgb420.jpg", CHANNELS_RGB, 7, 0, 9, 7, 0x8759cb5323758758u},
    {"rgb420.jpg", CHANNELS_RGB, 20, 20, 20, 20, 0x5efdf2a9f017d235u},
    {"rgb420.jpg", CHANNELS_RGB, 61, 33, 33, 33, 0x1e14782fec6742bcu},
    {"rgb420.jpg", CHANNELS_RGB, 1, 1, 1, 1, 0xb78ba8197b75a705u},
    {"rgb420.jpg", CHANNELS_GRAY, 19, 0, 26, 19, 0x47ce8765934a81a4u},
};

static void equals_pillow(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof PILLOW / sizeof *PILLOW; i++) {
        ImageOptions o = {.channels = PILLOW[i].channels, .resize = PILLOW[i].resize, .crop = PILLOW[i].crop};
        Blob *b = sample(PILLOW[i].file);
        Image im;
        assert_ok(image_load(b->data, b->size, PILLOW[i].file, &o, &im));
        assert_int_equal(im.width, PILLOW[i].width);
        assert_int_equal(im.height, PILLOW[i].height);
        assert_int_equal(im.channels, o.channels == CHANNELS_GRAY ? 1 : 3);
        uint64_t hash = fnv1a(im.pixels, (size_t)im.width * (size_t)im.height * (size_t)im.channels);
        if (hash != PILLOW[i].hash)
            fail_msg("%s, channels %d, resize %d, crop %d: pixels differ", PILLOW[i].file, (int)o.channels, o.resize,
                     o.crop);
        image_free(&im);
        blob_unref(b);
    }
}

/* Every prefix, and every byte changed: an error that names the file, or pixels of the size in the header. */
static void survives_damage(void **state) {
    (void)state;
    static const char *const FILES[] = {"rgb420.jpg", "rgb444_progressive.jpg", "palette.png", "rgba.png"};
    for (size_t f = 0; f < sizeof FILES / sizeof *FILES; f++) {
        Blob *b = sample(FILES[f]);
        uint8_t *copy = malloc(b->size);
        assert_non_null(copy);
        Image im;
        for (size_t n = 0; n + 2 < b->size; n++) {
            memcpy(copy, b->data, n);
            Status s = image_decode(copy, n, FILES[f], CHANNELS_RGB, &im);
            /* PNG's last chunk is not needed for the pixels. */
            bool tail = strstr(FILES[f], ".png") && n + 16 >= b->size;
            if (!s && !tail) fail_msg("%s cut to %zu bytes was accepted", FILES[f], n);
            if (s) assert_non_null(strstr(status_text(s), FILES[f]));
            status_free(s);
            image_free(&im);
        }
        for (size_t i = 0; i < b->size; i++) {
            memcpy(copy, b->data, b->size);
            copy[i] ^= 0xff;
            Status s = image_decode(copy, b->size, FILES[f], CHANNELS_RGB, &im);
            assert_true(status_code(s) == STATUS_OK || status_code(s) == STATUS_INVALID ||
                        status_code(s) == STATUS_UNSUPPORTED);
            status_free(s);
            image_free(&im);
        }
        free(copy);
        blob_unref(b);
    }
}

static void refuses_what_it_cannot_mean(void **state) {
    (void)state;
    Image im;
    Blob *b = sample("cmyk.jpg");
    assert_fails(image_decode(b->data, b->size, "cmyk.jpg", CHANNELS_RGB, &im), STATUS_UNSUPPORTED, "CMYK");
    blob_unref(b);
    assert_fails(image_decode((const uint8_t *)"GIF89a..", 8, "x.gif", CHANNELS_RGB, &im), STATUS_INVALID, "x.gif");
    assert_fails(image_decode((const uint8_t *)"", 0, "empty.jpg", CHANNELS_RGB, &im), STATUS_INVALID, "empty.jpg");
    b = sample("gray.png");
    ImageOptions o = {.crop = 21};
    assert_fails(image_load(b->data, b->size, "gray.png", &o, &im), STATUS_INVALID, "at least 21 x 21");
    blob_unref(b);
}

static void normalizes_to_planes(void **state) {
    (void)state;
    uint8_t pixels[] = {0, 1, 2, 255, 128, 10};
    Image im = {2, 1, 3, pixels};
    ImageOptions o = {.mean = {0, 1, 127.5f}, .std = {0, 2, 127.5f}};
    float planes[6];
    image_to_planes(&im, &o, planes);
    const float want[] = {0, 255, 0, 63.5f, (2 - 127.5f) / 127.5f, (10 - 127.5f) / 127.5f};
    for (int i = 0; i < 6; i++) assert_true(planes[i] == want[i]);
}

static void names(void **state) {
    (void)state;
    assert_true(image_is_name("a.JPG") && image_is_name("b.jpeg") && image_is_name("c.Png"));
    assert_false(image_is_name(".jpg") || image_is_name("jpg") || image_is_name("a.jpg.txt"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_pillow),
        cmocka_unit_test(survives_damage),
        cmocka_unit_test(refuses_what_it_cannot_mean),
        cmocka_unit_test(normalizes_to_planes),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
