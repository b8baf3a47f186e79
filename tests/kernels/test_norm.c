/* Softmax and normalizations against double oracles, at 1 to 3 threads with equal bits. */
#include "kernel_test.h"

#include "kernels/cpu/norm/norm.h"

static const int64_t LENGTHS[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1000, 4099, 9001};

static void near_all(const char *what, const float *got, const double *want, size_t n, double tol, uint32_t isa) {
    for (size_t i = 0; i < n; i++)
        if (!test_near(got[i], want[i], tol))
            fail_msg("%s isa bits %x at %zu: %.9g, not %.9g", what, isa, i, (double)got[i], want[i]);
}

static void oracle_softmax(const Softmax *s, const float *x, double *y) {
    for (int64_t o = 0; o < s->outer * s->inner; o++) {
        const int64_t at = o / s->inner * s->len * s->inner + o % s->inner;
        double max = -INFINITY, sum = 0.0;
        for (int64_t i = 0; i < s->len; i++) {
            const double v = (double)x[at + i * s->inner];
            max = v > max ? v : max;
        }
        for (int64_t i = 0; i < s->len; i++) sum += exp((double)x[at + i * s->inner] - max);
        for (int64_t i = 0; i < s->len; i++) {
            const double d = (double)x[at + i * s->inner] - max;
            y[at + i * s->inner] = s->log ? d - log(sum) : exp(d) / sum;
        }
    }
}

static void case_softmax(Softmax s, const float *x, Team *teams[], uint32_t isa, double tol) {
    const size_t n = (size_t)(s.outer * s.len * s.inner);
    double *want = test_alloc(n * sizeof *want);
    float *first = test_alloc(n * sizeof *first);
    oracle_softmax(&s, x, want);
    softmax_prepare(&s, isa);
    for (int t = 0; t < test_team_count(); t++) {
        float *y = t ? test_alloc(n * sizeof *y) : first;
        if (t == 2) memcpy(y, x, n * sizeof *y); /* in place */
        softmax_run(&s, t == 2 ? y : x, y, teams[t]);
        near_all(s.log ? "log softmax" : "softmax", y, want, n, tol, isa);
        assert_memory_equal(y, first, n * sizeof *y);
        if (t) free(y);
    }
    free(want), free(first);
}

static void test_softmax(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("norm", isa);
    for (size_t i = 0; i < n_isa; i++)
        for (size_t k = 0; k < COUNT_OF(LENGTHS); k++)
            for (int v = 0; v < 4; v++) {
                uint64_t seed = test_seed(LENGTHS[k], v);
                Softmax s = {.outer = 3, .len = LENGTHS[k], .inner = v / 2 ? 1 + LENGTHS[k] % 37 : 1, .log = v % 2};
                const size_t n = (size_t)(s.outer * s.len * s.inner);
                float *x = test_floats(&seed, n, -20.0f, 20.0f);
                for (size_t j = 0; j < n / 3; j++) x[j] += 500.0f; /* the maximum must be taken off */
                if (s.len > 2) x[s.inner] = -INFINITY;
                case_softmax(s, x, teams, isa[i], 2e-6);
                if (n > 20) x[n - 1] = NAN, x[n / 2] = INFINITY;
                case_softmax(s, x, teams, isa[i], 2e-6);
                free(x);
            }
    test_teams_free(teams);
}

static void oracle_row(const RowNorm *r, const float *x, const float *residual, double *y, double *sum) {
    double total = 0.0, squares = 0.0, dev = 0.0;
    const double n = (double)r->n;
    for (int64_t i = 0; i < r->n; i++) {
        sum[i] = (double)(residual ? x[i] + residual[i] : x[i]);
        total += sum[i];
        squares += sum[i] * sum[i];
    }
    const double mean = total / n, e = (double)r->epsilon;
    for (int64_t i = 0; i < r->n; i++) dev += (sum[i] - mean) * (sum[i] - mean);
    for (int64_t i = 0; i < r->n; i++) {
        const double g = r->gamma ? (double)r->gamma[i] : 1.0, b = r->beta ? (double)r->beta[i] : 0.0;
        if (r->kind == ROW_NORM_LAYER) y[i] = (sum[i] - mean) / sqrt(dev / n + e) * g + b;
        if (r->kind == ROW_NORM_RMS) y[i] = sum[i] / sqrt(squares / n + e) * g;
        if (r->kind == ROW_NORM_L2) y[i] = (double)x[i] / fmax(sqrt(squares), e);
    }
}

static void case_row(RowNormKind kind, int64_t n, int v, uint32_t isa, Team *teams[]) {
    uint64_t seed = test_seed(n, v);
    RowNorm r = {.kind = kind, .rows = 5, .n = n, .epsilon = 1e-5f};
    r.x_ld = (size_t)n + (size_t)v, r.y_ld = (size_t)n + 2 * (size_t)v;
    const size_t nx = 5 * r.x_ld, ny = 5 * r.y_ld;
    /* a large mean: a one-pass variance would fail */
    float *x = test_floats(&seed, nx, 200.0f, 203.0f), *res = test_floats(&seed, nx, -1.0f, 1.0f);
    float *gamma = test_floats(&seed, (size_t)n, -2.0f, 2.0f), *beta = test_floats(&seed, (size_t)n, -2.0f, 2.0f);
    double *want = test_alloc((size_t)n * sizeof *want), *total = test_alloc((size_t)n * sizeof *total);
    const bool residual = v > 0 && kind != ROW_NORM_L2, keep = v > 1 && kind != ROW_NORM_L2;
    if (v) r.gamma = gamma, r.beta = beta;
    row_norm_prepare(&r, isa);
    for (int t = 0; t < test_team_count(); t++) {
        float *y = test_alloc(ny * sizeof *y), *sum = test_alloc(nx * sizeof *sum);
        row_norm_run(&r, x, residual ? res : NULL, y, keep ? sum : NULL, teams[t]);
        for (size_t i = 0; i < 5; i++) {
            oracle_row(&r, x + i * r.x_ld, residual ? res + i * r.x_ld : NULL, want, total);
            near_all("row norm", y + i * r.y_ld, want, (size_t)n, 1e-4, isa);
            if (keep) near_all("sum", sum + i * r.x_ld, total, (size_t)n, 0.0, isa);
        }
        free(y), free(sum);
    }
    free(x), free(res), free(gamma), free(beta), free(want), free(total);
}

static void test_rows(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("norm", isa);
    for (size_t i = 0; i < n_isa; i++)
        for (size_t k = 0; k < COUNT_OF(LENGTHS); k++)
            for (int v = 0; v < 3; v++) {
                case_row(ROW_NORM_LAYER, LENGTHS[k], v, isa[i], teams);
                case_row(ROW_NORM_RMS, LENGTHS[k], v, isa[i], teams);
                case_row(ROW_NORM_L2, LENGTHS[k], v, isa[i], teams);
            }
    test_teams_free(teams);
}

static void oracle_group(const GroupNorm *g, const float *x, double *y, int32_t n, int32_t group) {
    const int32_t per = g->c / g->groups;
    const double count = (double)per * (double)g->pixels;
    double mean = 0.0, var = 0.0;
    for (int pass = 0; pass < 3; pass++) {
        for (int64_t p = 0; p < g->pixels; p++)
            for (int32_t c = group * per; c < (group + 1) * per; c++) {
                const size_t pixel = (size_t)n * (size_t)g->pixels + (size_t)p;
                const double v = (double)x[pixel * g->x_ld + (size_t)c];
                if (pass == 0) mean += v / count;
                if (pass == 1) var += (v - mean) * (v - mean) / count;
                const double k = (g->gamma ? (double)g->gamma[c] : 1.0) / sqrt(var + (double)g->epsilon);
                if (pass == 2) y[pixel * g->y_ld + (size_t)c] = (v - mean) * k + (g->beta ? (double)g->beta[c] : 0.0);
            }
    }
}

static void case_group(int32_t c, int32_t groups, int64_t pixels, bool affine, uint32_t isa, Team *teams[]) {
    uint64_t seed = test_seed(c, pixels);
    GroupNorm g = {.n = 2, .c = c, .groups = groups, .pixels = pixels, .epsilon = 1e-5f};
    g.x_ld = (size_t)c + 2, g.y_ld = (size_t)c + 1;
    const size_t nx = 2 * (size_t)pixels * g.x_ld, ny = 2 * (size_t)pixels * g.y_ld;
    float *x = test_floats(&seed, nx, -3.0f, 5.0f), *gamma = test_floats(&seed, (size_t)c, -2.0f, 2.0f);
    float *beta = test_floats(&seed, (size_t)c, -2.0f, 2.0f), *first = test_alloc(ny * sizeof *first);
    double *want = test_alloc(ny * sizeof *want);
    if (affine) g.gamma = gamma, g.beta = beta;
    for (int32_t n = 0; n < 2; n++)
        for (int32_t i = 0; i < groups; i++) oracle_group(&g, x, want, n, i);
    group_norm_prepare(&g, isa);
    float *scratch = test_alloc(group_norm_scratch_floats(&g) * sizeof *scratch);
    for (int t = 0; t < test_team_count(); t++) {
        float *y = t ? test_alloc(ny * sizeof *y) : first;
        group_norm_run(&g, x, y, scratch, teams[t]);
        for (size_t p = 0; p < 2 * (size_t)pixels; p++)
            near_all("group norm", y + p * g.y_ld, want + p * g.y_ld, (size_t)c, 1e-5, isa);
        assert_memory_equal(y, first, ny * sizeof *y);
        if (t) free(y);
    }
    free(x), free(gamma), free(beta), free(first), free(want), free(scratch);
}

static void test_groups(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("norm", isa);
    for (size_t i = 0; i < n_isa; i++) {
        case_group(1, 1, 9, false, isa[i], teams);
        case_group(17, 17, 64, true, isa[i], teams);
        case_group(96, 8, 50, true, isa[i], teams);
        case_group(130, 1, 771, true, isa[i], teams);
        case_group(64, 32, 1, false, isa[i], teams);
    }
    test_teams_free(teams);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_softmax), cmocka_unit_test(test_rows),
                                       cmocka_unit_test(test_groups)};
    return RUN_NATIVE_AND_EMULATED(tests);
}
