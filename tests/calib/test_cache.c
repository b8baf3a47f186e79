/* The calibration cache: exact round trips, keys, damage. */
#include "calib/cache.h"
#include "calib/rng.h"

#include "data/scratch.h"

#include <math.h>

static const CacheKey KEY = {"0123abcd", "fedc4567"};

static Observer *example(int64_t channels, uint64_t seed) {
    Observer *o;
    float x[600];
    Rng r;
    rng_seed(&r, seed, 0);
    for (int i = 0; i < 600; i++) x[i] = (float)rng_normal(&r) * 1e3f;
    x[5] = 0;
    x[6] = INFINITY;
    assert_ok(observer_new(channels, &o));
    if (seed) assert_ok(observer_add(o, x, 2, channels ? channels : 1, channels ? 300 / channels : 300));
    return o;
}

static void fill(CacheEntry *e) {
    e[0] = (CacheEntry){"conv/1:0", example(3, 1)};
    e[1] = (CacheEntry){"odd \"name\"\n\\\x01 ü", example(0, 2)};
    e[2] = (CacheEntry){"empty", example(2, 0)};
}

static void unfill(CacheEntry *e) {
    for (int i = 0; i < 3; i++) observer_free(e[i].observer);
}

static void round_trip(void **state) {
    (void)state;
    CacheEntry e[3], *back;
    int n;
    fill(e);
    assert_ok(cache_save(scratch_path("c.json"), &KEY, e, 3));
    assert_ok(cache_load(scratch_path("c.json"), &KEY, &back, &n));
    assert_int_equal(n, 3);
    for (int i = 0; i < 3; i++) {
        const Observer *a = e[i].observer, *b = back[i].observer;
        assert_string_equal(back[i].name, e[i].name);
        assert_memory_equal(a->positive, b->positive, 2 * OBSERVER_BINS * sizeof(uint64_t));
        assert_true(a->count == b->count && a->zeros == b->zeros && a->non_finite == b->non_finite);
        assert_true(a->calls == b->calls && a->min == b->min && a->max == b->max && a->exponent == b->exponent);
        assert_true(a->sum_min == b->sum_min && a->sum_max == b->sum_max && a->per_channel == b->per_channel);
        assert_int_equal(a->channels, b->channels);
        for (int64_t c = 0; c < a->channels; c++) {
            assert_true(a->channel[c].sum == b->channel[c].sum);
            assert_true(a->channel[c].min == b->channel[c].min && a->channel[c].max == b->channel[c].max);
        }
    }
    /* What was read prints as what was written. */
    Buf one = {0}, two = {0};
    assert_ok(cache_print(&KEY, e, 3, &one));
    assert_ok(cache_print(&KEY, back, 3, &two));
    assert_string_equal(one.data, two.data);
    buf_free(&one);
    buf_free(&two);
    cache_free(back, n);
    unfill(e);
}

static void other_keys_find_nothing(void **state) {
    (void)state;
    CacheEntry e[3], *back;
    int n;
    fill(e);
    assert_ok(cache_save(scratch_path("k.json"), &KEY, e, 3));
    unfill(e);
    static const CacheKey OTHERS[] = {{"0123abce", "fedc4567"}, {"0123abcd", "fedc4568"}};
    for (int i = 0; i < 2; i++) {
        assert_ok(cache_load(scratch_path("k.json"), &OTHERS[i], &back, &n));
        assert_true(n == 0 && back == NULL);
    }
    assert_ok(cache_load(scratch_path("absent.json"), &KEY, &back, &n));
    assert_true(n == 0 && back == NULL);
}

static Status parse(const char *text) {
    CacheEntry *back = NULL;
    int n = 0;
    Status s = cache_parse(text, strlen(text), "x.json", &KEY, &back, &n);
    cache_free(back, n);
    return s;
}

static void refuses_what_is_no_cache(void **state) {
    (void)state;
    static const char *const BROKEN[] = {
        "", "[]", "{}", "{\"schema_version\": 1}", "nonsense", "{\"schema_version\": 2, \"kind\": \"calibration\"}"};
    for (size_t i = 0; i < sizeof BROKEN / sizeof *BROKEN; i++)
        assert_fails(parse(BROKEN[i]), STATUS_INVALID, "x.json");
}

/* One field after the other made wrong: each is found. */
static void refuses_damaged_fields(void **state) {
    (void)state;
    CacheEntry e[3];
    Buf text = {0};
    fill(e);
    assert_ok(cache_print(&KEY, e, 1, &text));
    unfill(e);
    assert_ok(parse(text.data));
    static const char *const KEYS[] = {"count",    "zeros",    "non_finite", "calls",    "min",
                                       "max",      "sum_min",  "sum_max",    "exponent", "per_channel",
                                       "negative", "positive", "channels"};
    for (size_t i = 0; i < sizeof KEYS / sizeof *KEYS; i++) {
        char quoted[32];
        snprintf(quoted, sizeof quoted, "\"%s\":", KEYS[i]);
        char *at = strstr(text.data, quoted);
        assert_non_null(at);
        at[1] ^= 0x20; /* another name */
        assert_fails(parse(text.data), STATUS_INVALID, KEYS[i]);
        at[1] ^= 0x20;
    }
    char *count = strstr(text.data, "\"count\": ") + 9;
    *count = *count == '1' ? '2' : '1'; /* no longer the sum of the bins */
    assert_fails(parse(text.data), STATUS_INVALID, "count");
    buf_free(&text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(other_keys_find_nothing),
        cmocka_unit_test(refuses_what_is_no_cache),
        cmocka_unit_test(refuses_damaged_fields),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
