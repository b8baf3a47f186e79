/* Observers: exactness and independence of order, layout and partition. */
#include "calib/observer.h"
#include "calib/rng.h"

#include "data/scratch.h"

#include <float.h>
#include <limits.h>
#include <math.h>

enum { N = 6000 };

/* Values of many sizes: normal, zeros, spikes far outside. */
static void fill(float *x, int n, uint64_t seed) {
    Rng r;
    rng_seed(&r, seed, 0);
    for (int i = 0; i < n; i++) {
        uint64_t kind = rng_below(&r, 100);
        double v = rng_normal(&r);
        x[i] = (float)(kind < 30 ? 0 : kind < 97 ? v : kind < 99 ? v * 1e4 : v * 1e-6);
    }
    x[0] = -0.0f;
    x[1] = 0x1p-140f; /* subnormal */
    x[2] = -0x1p-149f;
}

static void expect_same(const Observer *a, const Observer *b) {
    assert_int_equal(a->count, b->count);
    assert_int_equal(a->zeros, b->zeros);
    assert_int_equal(a->non_finite, b->non_finite);
    assert_int_equal(a->exponent, b->exponent);
    assert_int_equal(a->per_channel, b->per_channel);
    assert_true(a->min == b->min && a->max == b->max);
    assert_true(a->sum_min == b->sum_min && a->sum_max == b->sum_max);
    assert_memory_equal(a->positive, b->positive, 2 * OBSERVER_BINS * sizeof(uint64_t));
    assert_int_equal(a->channels, b->channels);
    for (int64_t c = 0; c < a->channels; c++) {
        assert_true(a->channel[c].sum == b->channel[c].sum);
        assert_true(a->channel[c].min == b->channel[c].min && a->channel[c].max == b->channel[c].max);
    }
}

static uint64_t total(const Observer *o) {
    uint64_t n = 0;
    for (int i = 0; i < OBSERVER_BINS; i++) n += o->positive[i] + o->negative[i];
    return n;
}

static void counts_are_exact(void **state) {
    (void)state;
    static float x[N];
    fill(x, N, 1);
    Observer *o;
    assert_ok(observer_new(0, &o));
    for (int i = 0; i < N; i += 100) assert_ok(observer_add(o, x + i, 1, 1, 100));
    int64_t zeros = 0;
    uint64_t bins[2][OBSERVER_BINS] = {{0}};
    double width = observer_bin_width(o);
    float min = INFINITY, max = -INFINITY;
    for (int i = 0; i < N; i++) {
        zeros += x[i] == 0;
        if (x[i] != 0) bins[x[i] < 0][(int)(fabs((double)x[i]) / width)]++;
        min = fminf(min, x[i]);
        max = fmaxf(max, x[i]);
    }
    assert_int_equal(o->count, N);
    assert_int_equal(o->zeros, zeros);
    assert_memory_equal(o->positive, bins[0], sizeof bins[0]);
    assert_memory_equal(o->negative, bins[1], sizeof bins[1]);
    assert_true(o->min == min && o->max == max);
    assert_true(fmaxf(-min, max) < width * OBSERVER_BINS && fmaxf(-min, max) >= width * OBSERVER_BINS / 2);
    observer_free(o);
}

/* Any order, any grouping, any number of workers: the same observer to the bit. */
static void partition_does_not_matter(void **state) {
    (void)state;
    enum { CALLS = 30, CHANNELS = 5, PER_CALL = N / CALLS };
    static float x[N];
    fill(x, N, 2);
    Observer *whole;
    assert_ok(observer_new(CHANNELS, &whole));
    for (int k = 0; k < CALLS; k++)
        assert_ok(observer_add(whole, x + k * PER_CALL, 2, CHANNELS, PER_CALL / 2 / CHANNELS));
    for (int workers = 1; workers <= 4; workers++) {
        Observer *part[4], *sum;
        assert_ok(observer_new(CHANNELS, &sum));
        for (int w = 0; w < workers; w++) assert_ok(observer_new(CHANNELS, &part[w]));
        for (int k = CALLS - 1; k >= 0; k--)
            assert_ok(
                observer_add(part[(k * 7 + 3) % workers], x + k * PER_CALL, 2, CHANNELS, PER_CALL / 2 / CHANNELS));
        for (int w = 0; w < workers; w++) {
            assert_ok(observer_merge(sum, part[w]));
            observer_free(part[w]);
        }
        expect_same(whole, sum);
        observer_free(sum);
    }
    observer_free(whole);
}

/* Observers of unlike ranges, merged both ways. */
static void merging_aligns_ranges(void **state) {
    (void)state;
    static const float SMALL[] = {0.7f, -0.3f, 0.01f, 0, 0.9f}, LARGE[] = {700, -0.5f, 3, 90};
    Observer *whole;
    assert_ok(observer_new(0, &whole));
    assert_ok(observer_add(whole, SMALL, 1, 1, 5));
    assert_ok(observer_add(whole, LARGE, 1, 1, 4));
    for (int swap = 0; swap < 2; swap++) {
        Observer *a, *b;
        assert_ok(observer_new(0, &a));
        assert_ok(observer_new(0, &b));
        assert_ok(observer_add(swap ? b : a, SMALL, 1, 1, 5));
        assert_ok(observer_add(swap ? a : b, LARGE, 1, 1, 4));
        assert_ok(observer_merge(a, b));
        expect_same(whole, a);
        observer_free(a);
        observer_free(b);
    }
    observer_free(whole);
}

static void layouts_agree(void **state) {
    (void)state;
    /* 2 x 3 x 4 x 5, as NCHW and as NHWC bytes; small integers, so that sums are exact in any order. */
    Tensor nchw, nhwc;
    int64_t dims[] = {2, 3, 4, 5};
    assert_ok(tensor_new(&nchw, ELEM_F32, 4, dims));
    assert_ok(tensor_new(&nhwc, ELEM_F32, 4, dims));
    for (int64_t n = 0; n < 2; n++)
        for (int64_t c = 0; c < 3; c++)
            for (int64_t i = 0; i < 20; i++) {
                double v = (double)(n * 100 + c * 20 + i) - 70;
                tensor_set_f64(&nchw, (n * 3 + c) * 20 + i, v);
                tensor_set_f64(&nhwc, (n * 20 + i) * 3 + c, v);
            }
    for (int axis = 0; axis < 4; axis++) {
        Observer *a, *b;
        assert_ok(observer_new(dims[axis], &a));
        assert_ok(observer_new(dims[axis], &b));
        assert_ok(observer_add_tensor(a, &nchw, axis, false));
        assert_ok(observer_add_tensor(b, &nhwc, axis, true));
        expect_same(a, b);
        if (axis == 1) {
            assert_true(fabs(observer_channel_mean(a, 2) - (50 + 40 + 9.5 - 70)) < 1e-12);
            assert_true(a->channel[2].min == -30 && a->channel[2].max == 89);
        }
        Observer *h;
        Tensor half;
        assert_ok(tensor_new(&half, ELEM_F16, 4, dims));
        for (int64_t i = 0; i < 120; i++) tensor_set_f64(&half, i, tensor_get_f64(&nchw, i));
        assert_ok(observer_new(dims[axis], &h));
        assert_ok(observer_add_tensor(h, &half, axis, false));
        expect_same(a, h);
        tensor_free(&half);
        observer_free(h);
        observer_free(a);
        observer_free(b);
    }
    Observer *o;
    assert_ok(observer_new(7, &o));
    assert_fails(observer_add_tensor(o, &nchw, 1, false), STATUS_INVALID, "expected 7 channels on axis 1");
    observer_free(o);
    tensor_free(&nchw);
    tensor_free(&nhwc);
}

static void non_finite_is_counted_apart(void **state) {
    (void)state;
    const float x[] = {1, NAN, -2, INFINITY, 0, -INFINITY};
    Observer *o;
    assert_ok(observer_new(2, &o));
    assert_ok(observer_add(o, x, 1, 2, 3));
    assert_int_equal(o->non_finite, 3);
    assert_int_equal(o->count, 3);
    assert_int_equal(o->zeros, 1);
    assert_int_equal(total(o), 2);
    assert_true(o->min == -2 && o->max == 1);
    assert_true(observer_channel_mean(o, 0) * 3 == -1);
    const float bad[] = {NAN, NAN};
    assert_ok(observer_add(o, bad, 1, 2, 1));
    assert_int_equal(o->non_finite, 5);
    assert_int_equal(o->calls, 1);
    observer_free(o);
}

static void extremes(void **state) {
    (void)state;
    const float x[] = {FLT_MAX, -FLT_MAX, FLT_MIN, -FLT_MIN, 0x1p-149f, 0};
    Observer *up, *down, *zero;
    assert_ok(observer_new(1, &up));
    assert_ok(observer_new(1, &down));
    for (int i = 0; i < 6; i++) {
        assert_ok(observer_add(up, x + i, 1, 1, 1));
        assert_ok(observer_add(down, x + 5 - i, 1, 1, 1));
    }
    expect_same(up, down);
    assert_int_equal(up->exponent, 128);
    assert_int_equal(up->positive[OBSERVER_BINS - 1], 1);
    assert_int_equal(up->negative[OBSERVER_BINS - 1], 1);
    assert_int_equal(up->positive[0], 2);
    observer_free(up);
    observer_free(down);
    const float nothing[3] = {0, -0.0f, 0};
    assert_ok(observer_new(0, &zero));
    assert_ok(observer_add(zero, nothing, 1, 1, 3));
    assert_ok(observer_add(zero, nothing, 0, 1, 3));
    assert_int_equal(zero->exponent, INT_MIN);
    assert_int_equal(zero->zeros, 3);
    assert_int_equal(zero->calls, 1);
    assert_true(observer_bin_width(zero) == 0);
    observer_free(zero);
}

static void fixed_sums(void **state) {
    (void)state;
    static const double VALUES[] = {0, 1, -1, 0.1, 1e15, -0x1p-56, 12345.678};
    for (size_t i = 0; i < sizeof VALUES / sizeof *VALUES; i++) {
        double back = fixed_to_double(fixed_from(VALUES[i]));
        assert_true(fabs(back - VALUES[i]) <= 0x1p-57);
    }
    assert_true(fixed_from(1e300) == fixed_from(0x1p54));
    assert_true(fixed_from((double)-INFINITY) == -fixed_from(0x1p54));
    assert_true(fixed_from((double)NAN) == 0);
}

static void generator(void **state) {
    (void)state;
    /* xoshiro256** from the state 1, 2, 3, 4: the first outputs of the authors' program. */
    Rng r = {{1, 2, 3, 4}};
    static const uint64_t WANT[] = {11520u, 0u, 1509978240u, 1215971899390074240u};
    for (int i = 0; i < 4; i++) assert_int_equal(rng_next(&r), WANT[i]);
    int seen[10] = {0};
    for (int i = 0; i < 10000; i++) seen[rng_below(&r, 10)]++;
    for (int i = 0; i < 10; i++) assert_in_range(seen[i], 850, 1150);
    assert_int_equal(rng_below(&r, 0), 0);
    int64_t all[5];
    rng_choose(&r, 5, 5, all);
    for (int i = 0; i < 5; i++) assert_int_equal(all[i], i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_exact),
        cmocka_unit_test(partition_does_not_matter),
        cmocka_unit_test(merging_aligns_ranges),
        cmocka_unit_test(layouts_agree),
        cmocka_unit_test(non_finite_is_counted_apart),
        cmocka_unit_test(extremes),
        cmocka_unit_test(fixed_sums),
        cmocka_unit_test(generator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
