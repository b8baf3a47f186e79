/* Metrics against published and independently computed values. */
#include "calib/metrics.h"
#include "calib/rng.h"

#include "data/scratch.h"

#include <math.h>

#define assert_near(a, b, tolerance) assert_true(fabs((a) - (b)) <= (tolerance))

static void argmax(void **state) {
    (void)state;
    assert_int_equal(metric_argmax((const float[]){1, 3, 2}, 3), 1);
    assert_int_equal(metric_argmax((const float[]){3, 1, 3}, 3), 0); /* the lowest of equals */
    assert_int_equal(metric_argmax((const float[]){NAN, -5, NAN}, 3), 1);
    assert_int_equal(metric_argmax((const float[]){NAN, NAN}, 2), 0);
    assert_int_equal(metric_argmax((const float[]){-INFINITY, -INFINITY}, 2), 0);
    assert_int_equal(metric_argmax(NULL, 0), -1);
    static const ElemType ELEMS[] = {ELEM_F32, ELEM_F16, ELEM_F64, ELEM_U8, ELEM_I64};
    for (int e = 0; e < 5; e++) {
        Tensor t;
        assert_ok(tensor_new(&t, ELEMS[e], 2, (int64_t[]){2, 3}));
        static const int VALUES[] = {9, 0, 0, 1, 7, 7};
        for (int i = 0; i < 6; i++) tensor_set_i64(&t, i, VALUES[i]);
        assert_int_equal(metric_argmax_tensor(&t, 0, 6), 0);
        assert_int_equal(metric_argmax_tensor(&t, 3, 3), 1);
        tensor_free(&t);
    }
    /* Integers that a double cannot tell apart. */
    Tensor t;
    assert_ok(tensor_new(&t, ELEM_I64, 1, (int64_t[]){2}));
    tensor_set_i64(&t, 0, ((int64_t)1 << 60) + 1);
    tensor_set_i64(&t, 1, ((int64_t)1 << 60) + 2);
    assert_int_equal(metric_argmax_tensor(&t, 0, 2), 1);
    tensor_free(&t);
}

static void wilson(void **state) {
    (void)state;
    /* statsmodels' proportion_confint(724, 800, method="wilson") and (0, 10), (10, 10). */
    Interval i = metric_wilson(724, 800);
    assert_near(i.value, 0.905, 1e-15);
    assert_near(i.lo, 0.8827025849814862, 1e-12);
    assert_near(i.hi, 0.9234265252919163, 1e-12);
    i = metric_wilson(0, 10);
    assert_true(i.lo == 0);
    assert_near(i.hi, 0.2775327998628892, 1e-12);
    i = metric_wilson(10, 10);
    assert_true(i.hi == 1);
    assert_near(i.lo, 0.7224672001371106, 1e-12);
    i = metric_wilson(0, 0);
    assert_true(i.lo == 0 && i.hi == 1);
}

static void paired(void **state) {
    (void)state;
    /* Airway hyper-responsiveness before and after transplantation, 21 children: Fagerland, Lydersen and Laake
     * (Statistics in Medicine 33, 2014) report -0.286 with -0.507 to -0.026 for this method. */
    Interval i = metric_paired_difference(&(PairedCounts){.both = 1, .only_a = 1, .only_b = 7, .neither = 12});
    assert_near(i.value, -0.286, 5e-4);
    assert_near(i.lo, -0.507, 5e-4);
    assert_near(i.hi, -0.026, 5e-4);
    i = metric_paired_difference(&(PairedCounts){.both = 700, .only_a = 20, .only_b = 12, .neither = 68});
    assert_near(i.value, 0.01, 1e-12);
    assert_near(i.lo, -0.004331635653437272, 1e-12);
    assert_near(i.hi, 0.024710240010417096, 1e-12);
    /* Swapping the models mirrors the interval; equal models are centred. */
    Interval j = metric_paired_difference(&(PairedCounts){.both = 700, .only_a = 12, .only_b = 20, .neither = 68});
    assert_near(i.lo, -j.hi, 1e-15);
    i = metric_paired_difference(&(PairedCounts){.both = 50});
    assert_true(i.value == 0);
    assert_near(i.hi, 0.07134759913335864, 1e-12);
    i = metric_paired_difference(&(PairedCounts){0});
    assert_true(i.lo == -1 && i.hi == 1);
    i = metric_agreement(&(PairedCounts){.agree = 724, .samples = 800});
    assert_near(i.lo, 0.8827025849814862, 1e-12);
}

static void error_sums(void **state) {
    (void)state;
    enum { N = 1003 };
    static float ref[N], x[N];
    Rng r;
    rng_seed(&r, 3, 0);
    double signal = 0, noise = 0, other = 0, dot = 0, largest = 0;
    for (int i = 0; i < N; i++) {
        ref[i] = (float)rng_normal(&r);
        x[i] = ref[i] + 0.01f * (float)rng_normal(&r);
        double a = (double)ref[i], b = (double)x[i];
        signal += a * a;
        noise += (a - b) * (a - b);
        other += b * b;
        dot += a * b;
        largest = fmax(largest, fabs(a - b));
    }
    ErrorSums e = {0};
    error_add(&e, ref, x, N);
    assert_near(e.signal / signal, 1, 1e-12);
    assert_near(error_sqnr_db(&e), 10 * log10(signal / noise), 1e-9);
    assert_true(error_sqnr_db(&e) > 38 && error_sqnr_db(&e) < 42);
    assert_near(error_cosine(&e), dot / sqrt(signal * other), 1e-12);
    assert_true(e.max_abs == largest && e.count == N);
    /* In halves: the same up to rounding; a merge is the same as adding in order. */
    ErrorSums a = {0}, b = {0}, both = {0};
    error_add(&a, ref, x, 500);
    error_add(&b, ref + 500, x + 500, N - 500);
    error_add(&both, ref, x, 500);
    error_add(&both, ref + 500, x + 500, N - 500);
    error_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof a);
}

static void error_ends(void **state) {
    (void)state;
    const float zero[2] = {0, 0}, one[2] = {1, -1}, bad[2] = {NAN, 0};
    ErrorSums same = {0}, none = {0}, lost = {0}, broken = {0};
    error_add(&same, one, one, 2);
    assert_true(isinf(error_sqnr_db(&same)) && error_sqnr_db(&same) > 0);
    assert_near(error_cosine(&same), 1, 1e-15);
    error_add(&none, zero, zero, 2);
    assert_true(isinf(error_sqnr_db(&none)) && error_cosine(&none) == 1);
    error_add(&lost, zero, one, 2);
    assert_true(isinf(error_sqnr_db(&lost)) && error_sqnr_db(&lost) < 0 && error_cosine(&lost) == 0);
    error_add(&broken, one, bad, 2);
    assert_true(isnan(error_sqnr_db(&broken)) && isnan(error_cosine(&broken)));
}

static void error_of_tensors(void **state) {
    (void)state;
    Tensor f, h, other;
    assert_ok(tensor_new(&f, ELEM_F32, 2, (int64_t[]){3, 2000}));
    assert_ok(tensor_new(&h, ELEM_F16, 2, (int64_t[]){3, 2000}));
    assert_ok(tensor_new(&other, ELEM_F32, 2, (int64_t[]){2000, 3}));
    for (int i = 0; i < 6000; i++) {
        tensor_set_f64(&f, i, i % 7 - 3);
        tensor_set_f64(&h, i, i % 7 - 3);
    }
    ErrorSums e = {0};
    assert_ok(error_add_tensors(&e, &f, &h, "v"));
    assert_true(e.noise == 0 && e.count == 6000 && e.signal > 0);
    assert_fails(error_add_tensors(&e, &f, &other, "conv3"), STATUS_INVALID, "'conv3': the two models differ in shape");
    tensor_free(&f);
    tensor_free(&h);
    tensor_free(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(argmax),     cmocka_unit_test(wilson),     cmocka_unit_test(paired),
        cmocka_unit_test(error_sums), cmocka_unit_test(error_ends), cmocka_unit_test(error_of_tensors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
