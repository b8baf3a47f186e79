/* Range choosers against brute force over the samples themselves. */
#include "calib/range.h"
#include "calib/rng.h"

#include "data/scratch.h"

#include <float.h>
#include <math.h>

enum { N = 200000 };
static float samples[N];

/* Exactly normal numbers by Box and Muller. */
static double gauss(Rng *r) {
    double u = rng_unit(r) + 0x1p-54, v = rng_unit(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

typedef enum Shape { NORMAL, RELU, SHIFTED, OUTLIERS, UNIFORM, ONE_SIDED_OUTLIERS, N_SHAPES } Shape;

static Observer *observe(Shape shape) {
    Rng r;
    rng_seed(&r, 5, shape);
    for (int i = 0; i < N; i++) {
        double v = shape == UNIFORM ? rng_unit(&r) * 2 - 1 : gauss(&r);
        if (shape == RELU) v = v > 0 ? v : 0;
        if (shape == SHIFTED) v = v * 0.5 + 1;
        if (shape == OUTLIERS && i % 20000 == 7) v *= 100;
        if (shape == ONE_SIDED_OUTLIERS && i % 50000 == 7) v = -20;
        samples[i] = (float)v;
    }
    Observer *o;
    assert_ok(observer_new(0, &o));
    for (int i = 0; i < N; i += 1000) assert_ok(observer_add(o, samples + i, 1, 1, 1000));
    return o;
}

static double true_mse(const QuantParams *p) {
    double sum = 0;
    for (int i = 0; i < N; i++) {
        double d = (double)samples[i] - (double)quant_round_trip(samples[i], p);
        sum += d * d;
    }
    return sum / N;
}

static void limits(void **state) {
    (void)state;
    static const struct {
        QuantSpec spec;
        int32_t qmin, qmax;
    } ROWS[] = {{{ELEM_U8, false, false}, 0, 255},         {{ELEM_I8, false, false}, -128, 127},
                {{ELEM_I8, true, false}, -127, 127},       {{ELEM_U8, true, false}, 0, 255},
                {{ELEM_U8, false, true}, 0, 127},          {{ELEM_I8, false, true}, -64, 63},
                {{ELEM_I8, true, true}, -63, 63},          {{ELEM_U16, false, false}, 0, 65535},
                {{ELEM_I16, false, false}, -32768, 32767}, {{ELEM_I16, true, false}, -32767, 32767},
                {{ELEM_U4, false, false}, 0, 15},          {{ELEM_I4, true, false}, -7, 7}};
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        int32_t qmin, qmax;
        quant_limits(&ROWS[i].spec, &qmin, &qmax);
        assert_int_equal(qmin, ROWS[i].qmin);
        assert_int_equal(qmax, ROWS[i].qmax);
    }
}

static void known_params(void **state) {
    (void)state;
    QuantParams p;
    assert_ok(range_params(-1, 3, &(QuantSpec){ELEM_U8, false, false}, &p));
    assert_true(p.scale == (float)(4.0 / 255) && p.zero_point == 64);
    assert_ok(range_params(-1, 3, &(QuantSpec){ELEM_I8, false, false}, &p));
    assert_true(p.scale == (float)(4.0 / 255) && p.zero_point == -64);
    assert_ok(range_params(-1, 3, &(QuantSpec){ELEM_I8, true, false}, &p));
    assert_true(p.scale == (float)(3.0 / 127) && p.zero_point == 0);
    assert_ok(range_params(-1, 3, &(QuantSpec){ELEM_U8, true, false}, &p));
    assert_true(p.scale == (float)(3.0 / 127) && p.zero_point == 128);
    /* Ranges on one side of zero are widened to it. */
    assert_ok(range_params(2, 6, &(QuantSpec){ELEM_U8, false, false}, &p));
    assert_true(p.scale == (float)(6.0 / 255) && p.zero_point == 0);
    assert_ok(range_params(-6, -2, &(QuantSpec){ELEM_U8, false, false}, &p));
    assert_true(p.scale == (float)(6.0 / 255) && p.zero_point == 255);
}

static void zero_is_always_exact(void **state) {
    (void)state;
    static const float ENDS[] = {0, 0x1p-149f, FLT_MIN, 1e-30f, 0.1f, 1, 3, 1e4f, 1e30f, FLT_MAX};
    static const ElemType ELEMS[] = {ELEM_U8, ELEM_I8, ELEM_U16, ELEM_I16, ELEM_U4, ELEM_I4};
    int n = sizeof ENDS / sizeof *ENDS;
    for (int i = 0; i < n * n * 6 * 4; i++) {
        float lo = -ENDS[i % n], hi = ENDS[i / n % n];
        QuantSpec s = {ELEMS[i / n / n % 6], i / n / n / 6 % 2, i / n / n / 12 % 2};
        QuantParams p;
        assert_ok(range_params(lo, hi, &s, &p));
        assert_true(isfinite(p.scale) && p.scale >= FLT_MIN && isfinite(1 / p.scale));
        assert_in_range(p.zero_point - p.qmin, 0, p.qmax - p.qmin);
        assert_true(quant_round_trip(0, &p) == 0);
        /* Ends are kept to within a step, plus what the zero point's rounding moves. */
        double slack = 1.01 * (double)p.scale;
        if (hi < FLT_MAX && lo > -FLT_MAX) {
            assert_true(fabs((double)quant_round_trip(hi, &p) - (double)hi) <= slack);
            assert_true(fabs((double)quant_round_trip(lo, &p) - (double)lo) <= slack);
        }
    }
    QuantParams p;
    QuantSpec s = {ELEM_U8, false, false};
    assert_ok(range_params(0, 0, &s, &p));
    assert_true(p.scale == 1 && p.zero_point == 0);
    assert_fails(range_params(NAN, 1, &s, &p), STATUS_INVALID, "finite");
    assert_fails(range_params(0, INFINITY, &s, &p), STATUS_INVALID, "finite");
    assert_fails(range_params(1, -1, &s, &p), STATUS_INVALID, "ordered");
}

static void rounds_to_even_and_saturates(void **state) {
    (void)state;
    QuantParams p = {.scale = 1, .zero_point = 0, .qmin = -127, .qmax = 127};
    assert_true(quant_round_trip(0.5f, &p) == 0 && quant_round_trip(1.5f, &p) == 2);
    assert_true(quant_round_trip(-2.5f, &p) == -2);
    assert_true(quant_round_trip(1e30f, &p) == 127 && quant_round_trip(-INFINITY, &p) == -127);
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static void percentile_is_a_quantile(void **state) {
    (void)state;
    for (Shape shape = 0; shape < N_SHAPES; shape++) {
        Observer *o = observe(shape);
        double width = observer_bin_width(o);
        qsort(samples, N, sizeof *samples, by_value);
        static const double PERCENTS[] = {99.99, 99, 90};
        for (int i = 0; i < 3; i++) {
            RangeOptions opt = {CALIBRATOR_PERCENTILE, i ? PERCENTS[i] : 0, {ELEM_U8, false, false}};
            double outside = N * (1 - PERCENTS[i] / 100);
            bool two_sided = samples[0] < 0 && samples[N - 1] > 0;
            int tail = (int)(outside / (two_sided ? 2 : 1) + 0.5);
            float lo, hi;
            assert_ok(range_choose(o, &opt, "v", &lo, &hi));
            double want_hi = (double)samples[N - 1 - tail], want_lo = two_sided ? fmin((double)samples[tail], 0) : 0;
            /* Neighbouring samples may be further apart than a bin, far out. */
            double gap = (double)samples[N - tail > N - 1 ? N - 1 : N - tail] - (double)samples[N - 2 - tail];
            assert_true(fabs((double)hi - want_hi) <= width + gap);
            gap = tail ? (double)samples[tail + 1] - (double)samples[tail - 1] : 0;
            assert_true(fabs((double)lo - want_lo) <= width + gap);
            opt.spec = (QuantSpec){ELEM_I8, true, false};
            assert_ok(range_choose(o, &opt, "v", &lo, &hi));
            assert_true(lo == -hi);
            int inside = 0;
            for (int k = 0; k < N; k++) inside += fabsf(samples[k]) <= hi;
            assert_true(fabs(inside - (N - outside)) <= N * 0.002 + 2);
        }
        observer_free(o);
    }
}

static void histogram_error_is_the_samples_error(void **state) {
    (void)state;
    static const double CLIPS[] = {1, 0.8, 0.5, 0.1, 0.02};
    static const ElemType ELEMS[] = {ELEM_U8, ELEM_I8, ELEM_U4, ELEM_I4};
    for (Shape shape = 0; shape < N_SHAPES; shape++) {
        Observer *o = observe(shape);
        for (int i = 0; i < 5 * 4 * 2; i++) {
            QuantSpec s = {ELEMS[i % 4], i / 4 % 2, false};
            QuantParams p;
            double f = CLIPS[i / 8];
            assert_ok(range_params((float)((double)fminf(o->min, 0) * f), (float)((double)o->max * f), &s, &p));
            double want = true_mse(&p), got = range_mse(o, &p);
            assert_true(fabs(got - want) <= 0.02 * want);
        }
        observer_free(o);
    }
}

static void mse_finds_the_best_range(void **state) {
    (void)state;
    static const ElemType ELEMS[] = {ELEM_U8, ELEM_I4};
    for (Shape shape = 0; shape < N_SHAPES; shape++)
        for (int e = 0; e < 4; e++) {
            Observer *o = observe(shape);
            QuantSpec s = {ELEMS[e % 2], e / 2, false};
            RangeOptions opt = {CALIBRATOR_MSE, 0, s};
            QuantParams p;
            float lo, hi;
            assert_ok(range_choose(o, &opt, "v", &lo, &hi));
            assert_ok(range_params(lo, hi, &s, &p));
            double got = true_mse(&p), best = INFINITY, full_lo = fmin((double)o->min, 0), full_hi = (double)o->max;
            for (int i = 1; i <= 24; i++)
                for (int k = 1; k <= (full_lo < 0 && !s.symmetric ? 24 : 1); k++) {
                    double a = full_hi * i / 24, b = s.symmetric ? full_lo * i / 24 : full_lo * k / 24;
                    assert_ok(range_params((float)b, (float)a, &s, &p));
                    best = fmin(best, range_mse(o, &p));
                }
            if (!(got <= best * 1.03)) fail_msg("shape %d, case %d: %g, brute force %g", (int)shape, e, got, best);
            observer_free(o);
        }
}

/* Known optima of a clipped uniform quantizer for the normal distribution (Banner et al., NeurIPS 2019: 2.55 sigma at 4
 * bits, 3.92 sigma at 8 bits). */
static void mse_of_the_normal_distribution(void **state) {
    (void)state;
    Observer *o = observe(NORMAL);
    RangeOptions opt = {CALIBRATOR_MSE, 0, {ELEM_I4, true, false}};
    float lo, hi;
    assert_ok(range_choose(o, &opt, "v", &lo, &hi));
    assert_true(hi > 2.4f && hi < 2.75f);
    opt.spec.elem = ELEM_I8;
    assert_ok(range_choose(o, &opt, "v", &lo, &hi));
    assert_true(hi > 3.75f && hi < 4.2f);
    observer_free(o);
}

static void outliers_are_clipped(void **state) {
    (void)state;
    static const Calibrator CLIPPING[] = {CALIBRATOR_PERCENTILE, CALIBRATOR_ENTROPY};
    for (int i = 0; i < 4; i++) {
        Observer *o = observe(OUTLIERS);
        RangeOptions opt = {CLIPPING[i % 2], 0, {i < 2 ? ELEM_U8 : ELEM_I8, i >= 2, false}};
        float lo, hi;
        assert_ok(range_choose(o, &opt, "v", &lo, &hi));
        assert_true(hi < 12 && hi > 2 && lo > -12 && lo < -2);
        opt.calibrator = CALIBRATOR_MINMAX;
        assert_ok(range_choose(o, &opt, "v", &lo, &hi));
        assert_true(fmaxf(hi, -lo) > 50);
        observer_free(o);
    }
}

static void entropy_keeps_what_is_dense(void **state) {
    (void)state;
    for (Shape shape = 0; shape < N_SHAPES; shape++) {
        if (shape == OUTLIERS) continue;
        Observer *o = observe(shape);
        RangeOptions opt = {CALIBRATOR_ENTROPY, 0, {ELEM_U8, false, false}};
        float lo, hi;
        assert_ok(range_choose(o, &opt, "v", &lo, &hi));
        assert_true(lo <= 0 && hi > 0 && hi <= o->max && (lo >= o->min || lo == 0));
        if (shape == UNIFORM) assert_true(hi > 0.97f && lo < -0.97f);
        if (shape == RELU) assert_true(lo == 0 && hi > 2.2f);
        opt.spec.elem = ELEM_U16; /* more levels than cells: nothing to measure, nothing clipped */
        assert_ok(range_choose(o, &opt, "v", &lo, &hi));
        assert_true(hi == o->max);
        observer_free(o);
    }
}

static void average_of_the_calls(void **state) {
    (void)state;
    static const float CALLS[3][2] = {{-1, 4}, {-3, 8}, {-2, 0}};
    Observer *o;
    assert_ok(observer_new(0, &o));
    for (int i = 0; i < 3; i++) assert_ok(observer_add(o, CALLS[i], 1, 1, 2));
    RangeOptions opt = {CALIBRATOR_AVERAGE, 0, {ELEM_U8, false, false}};
    float lo, hi;
    assert_ok(range_choose(o, &opt, "v", &lo, &hi));
    assert_true(lo == -2 && hi == 4);
    opt.spec.symmetric = true;
    assert_ok(range_choose(o, &opt, "v", &lo, &hi));
    assert_true(lo == -4 && hi == 4);
    observer_free(o);
}

static void degenerate_observers(void **state) {
    (void)state;
    static const float CASES[][3] = {{0, 0, 0}, {2, 2, 2}, {-2, -2, -2}, {0x1p-149f, 0, 0}, {FLT_MAX, -FLT_MAX, 0}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++)
        for (Calibrator c = CALIBRATOR_MINMAX; c <= CALIBRATOR_ENTROPY; c++)
            for (int sym = 0; sym < 2; sym++) {
                Observer *o;
                assert_ok(observer_new(0, &o));
                assert_ok(observer_add(o, CASES[i], 1, 1, 3));
                RangeOptions opt = {c, 0, {ELEM_I8, sym, false}};
                QuantParams p;
                float lo, hi;
                assert_ok(range_choose(o, &opt, "v", &lo, &hi));
                assert_ok(range_params(lo, hi, &opt.spec, &p));
                float x = CASES[i][0], y = quant_round_trip(x, &p);
                if (fabsf(x) == 2) assert_true(fabsf(x - y) < 1e-2f);
                observer_free(o);
            }
    Observer *o;
    float lo, hi;
    RangeOptions opt = {CALIBRATOR_MSE, 0, {ELEM_I8, false, false}};
    assert_ok(observer_new(0, &o));
    assert_fails(range_choose(o, &opt, "conv1", &lo, &hi), STATUS_INVALID, "'conv1': no values");
    assert_ok(observer_add(o, &(float){NAN}, 1, 1, 1));
    assert_fails(range_choose(o, &opt, "conv1", &lo, &hi), STATUS_INVALID, "'conv1': 1 of 1 values are NaN");
    observer_free(o);
}

static void calibrator_names(void **state) {
    (void)state;
    for (Calibrator c = CALIBRATOR_MINMAX; c <= CALIBRATOR_ENTROPY; c++) {
        Calibrator back;
        assert_ok(calibrator_parse(calibrator_name(c), &back));
        assert_int_equal(back, c);
    }
    Calibrator c;
    assert_fails(calibrator_parse("kl", &c), STATUS_USAGE, "expected minmax, average, percentile, mse or entropy");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits),
        cmocka_unit_test(known_params),
        cmocka_unit_test(zero_is_always_exact),
        cmocka_unit_test(rounds_to_even_and_saturates),
        cmocka_unit_test(percentile_is_a_quantile),
        cmocka_unit_test(histogram_error_is_the_samples_error),
        cmocka_unit_test(mse_finds_the_best_range),
        cmocka_unit_test(mse_of_the_normal_distribution),
        cmocka_unit_test(outliers_are_clipped),
        cmocka_unit_test(entropy_keeps_what_is_dense),
        cmocka_unit_test(average_of_the_calls),
        cmocka_unit_test(degenerate_observers),
        cmocka_unit_test(calibrator_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
