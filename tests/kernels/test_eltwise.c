/* Elementwise rows against scalar oracles: float ones to their table's tolerance, integer ones bit for bit. */
#include "kernel_test.h"

#include "kernels/cpu/eltwise/binary.h"
#include "kernels/cpu/eltwise/quant.h"
#include "kernels/cpu/eltwise/unary.h"

static const float SPECIAL[] = {NAN,      INFINITY, -INFINITY, 0.0f,     -0.0f,  1.0f,   -1.0f,   0.5f,
                                -0.5f,    2.0f,     -2.0f,     88.0f,    -88.0f, 90.0f,  -90.0f,  105.0f,
                                -105.0f,  1e-6f,    -1e-6f,    1e-30f,   20.0f,  -20.0f, 3.4e38f, -3e38f,
                                0.97499f, 0.9751f,  0.624999f, 0.62501f, 16.0f,  -16.0f};

typedef double (*UnaryOracle)(double x, double a, double b);

#define UNARY(name, vexpr, oracle, tol)                                                                                \
    static double unary_oracle_##name(double x, double a, double b) {                                                  \
        (void)a, (void)b;                                                                                              \
        return oracle;                                                                                                 \
    }
#include "kernels/cpu/eltwise/unary.def"
#undef UNARY

static const struct {
    const char *name;
    UnaryOracle oracle;
    double tol;
} UNARIES[] = {
#define UNARY(name, vexpr, oracle, tol) {#name, unary_oracle_##name, 1e-7 * (tol)},
#include "kernels/cpu/eltwise/unary.def"
#undef UNARY
};

/* Parameters that each function reads as it likes. */
static void unary_parameters(UnaryKind kind, float *a, float *b) {
    *a = 0.25f, *b = 0.5f;
    if (kind == UNARY_clip) *a = -1.5f, *b = 6.0f;
    if (kind == UNARY_silu) *a = 1.0f;
    if (kind == UNARY_selu) *a = 1.67326324f, *b = 1.05070098f;
    if (kind == UNARY_celu) *a = 2.0f;
}

/* x * 0.0 where the oracle overflows in double only (exp of large numbers) still compares as float. */
static void check_unary(UnaryKind kind, uint32_t isa, const float *x, size_t n) {
    float a, b;
    unary_parameters(kind, &a, &b);
    const Activation act = activation_make(kind, a, b, isa);
    float *y = test_alloc((n + 1) * sizeof *y);
    const float guard = y[n];
    act.fn(y, x, n, act.a, act.b);
    assert_memory_equal(&y[n], &guard, sizeof guard);
    for (size_t i = 0; i < n; i++) {
        const double want = UNARIES[kind].oracle((double)x[i], (double)a, (double)b);
        const double rel = kind == UNARY_exp ? fabs(want) : 0.0; /* exponentials: relative error below 1 too */
        const double tol = rel > 0 && rel < 1 ? UNARIES[kind].tol * rel + 2e-38 : UNARIES[kind].tol;
        if (!test_near(y[i], want, tol / (rel > 0 && rel < 1 ? 1.0 + rel : 1.0)))
            fail_msg("%s isa bits %x of %.9g: %.9g, not %.9g", UNARIES[kind].name, isa, (double)x[i], (double)y[i],
                     want);
    }
    free(y);
}

static void test_unary(void **state) {
    (void)state;
    uint64_t seed = test_seed(3, 1);
    enum { N = 4000 };
    float *x = test_floats(&seed, N, -12.0f, 12.0f);
    memcpy(x, SPECIAL, sizeof SPECIAL);
    for (size_t i = 1000; i < N; i++) x[i] = i % 3 ? x[i] / 10.0f : x[i] * 9.0f;
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("unary_f32", isa), sizes[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, N};
    for (size_t i = 0; i < n_isa; i++)
        for (int kind = 0; kind < UNARY_COUNT; kind++)
            for (size_t s = 0; s < COUNT_OF(sizes); s++) check_unary((UnaryKind)kind, isa[i], x, sizes[s]);
    free(x);
}

/* Splitting over threads changes nothing, and in place works. */
static void test_unary_run(void **state) {
    (void)state;
    uint64_t seed = test_seed(5, 2);
    enum { N = 100003 };
    float *x = test_floats(&seed, N, -5.0f, 5.0f), *want = test_alloc(N * sizeof *want);
    const Activation act = activation_make(UNARY_gelu_erf, 0.0f, 0.0f, isa_mask());
    act.fn(want, x, N, 0.0f, 0.0f);
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    for (int t = 0; t < TEST_TEAMS; t++) {
        float *y = test_alloc(N * sizeof *y);
        memcpy(y, x, N * sizeof *y);
        unary_f32_run(&act, y, y, N, teams[t]);
        assert_memory_equal(y, want, N * sizeof *y);
        free(y);
    }
    test_teams_free(teams);
    free(x), free(want);
}

typedef double (*BinaryOracle)(double p, double q);
#define BINARY(name, vexpr, oracle, tol)                                                                               \
    static double binary_oracle_##name(double p, double q) { return oracle; }
#include "kernels/cpu/eltwise/binary.def"
#undef BINARY
static const BinaryOracle BINARIES[] = {
#define BINARY(name, vexpr, oracle, tol) binary_oracle_##name,
#include "kernels/cpu/eltwise/binary.def"
#undef BINARY
};

/* Shapes with the strides of y, a and b; 0 broadcasts. */
static const EltNest NESTS[] = {
    {.rank = 1, .dims = {1}, .stride = {{1}, {1}, {1}}},
    {.rank = 1, .dims = {10007}, .stride = {{1}, {1}, {1}}},
    {.rank = 1, .dims = {10007}, .stride = {{1}, {1}, {0}}},
    {.rank = 1, .dims = {37}, .stride = {{1}, {0}, {1}}},
    {.rank = 1, .dims = {37}, .stride = {{1}, {0}, {0}}},
    {.rank = 1, .dims = {700}, .stride = {{2}, {3}, {1}}},
    {.rank = 4, .dims = {2, 3, 5, 17}, .stride = {{255, 85, 17, 1}, {255, 85, 17, 1}, {0, 0, 0, 1}}},
    {.rank = 4, .dims = {2, 3, 5, 16}, .stride = {{240, 80, 16, 1}, {240, 80, 16, 1}, {16, 0, 0, 1}}},
    {.rank = 4, .dims = {2, 3, 5, 8}, .stride = {{330, 110, 22, 1}, {120, 40, 8, 1}, {15, 5, 1, 0}}},
    {.rank = 3, .dims = {7, 1, 33}, .stride = {{33, 33, 1}, {1, 0, 0}, {0, 0, 1}}},
    {.rank = 3, .dims = {3, 4, 5}, .stride = {{20, 5, 1}, {1, 3, 12}, {20, 5, 1}}}};

static size_t nest_extent(const EltNest *e, int t) {
    int64_t last = 0;
    for (int32_t d = 0; d < e->rank; d++) last += (e->dims[d] - 1) * e->stride[t][d];
    return (size_t)last + 1;
}

/* Offsets of the three operands at flat position i. */
static void nest_at(const EltNest *e, int64_t i, size_t at[3]) {
    at[0] = at[1] = at[2] = 0;
    for (int32_t d = e->rank - 1; d >= 0; d--) {
        for (int t = 0; t < 3; t++) at[t] += (size_t)(i % e->dims[d] * e->stride[t][d]);
        i /= e->dims[d];
    }
}

static int64_t nest_count(const EltNest *e) {
    int64_t n = 1;
    for (int32_t d = 0; d < e->rank; d++) n *= e->dims[d];
    return n;
}

static void check_binary(const EltNest *nest, BinaryKind kind, uint32_t isa, bool fused, Team *team) {
    uint64_t seed = test_seed(nest->dims[0], kind);
    const size_t na = nest_extent(nest, 1), nb = nest_extent(nest, 2), ny = nest_extent(nest, 0);
    float *a = test_floats(&seed, na, kind == BINARY_pow ? 0.01f : -3.0f, 3.0f),
          *b = test_floats(&seed, nb, -3.0f, 3.0f);
    if (na > 40) a[0] = NAN, a[7] = INFINITY, a[11] = -INFINITY, a[13] = -0.0f;
    if (nb > 40) b[5] = NAN, b[7] = INFINITY, b[12] = -INFINITY, b[13] = 0.0f;
    float *y = test_alloc(ny * sizeof *y), *want = test_alloc(ny * sizeof *want);
    BinaryF32 e = {.nest = *nest, .kind = kind, .lo = fused ? -1.0f : -INFINITY, .hi = fused ? 2.0f : INFINITY};
    if (fused) e.act = activation_make(UNARY_affine, 2.0f, 1.0f, isa);
    for (int64_t i = 0; i < nest_count(nest); i++) {
        size_t at[3];
        nest_at(nest, i, at);
        double v = BINARIES[kind]((double)a[at[1]], (double)b[at[2]]);
        if (fused) v = 2.0 * (v < -1.0 ? -1.0 : v > 2.0 ? 2.0 : v) + 1.0;
        want[at[0]] = (float)v;
    }
    binary_f32_prepare(&e, isa);
    binary_f32_run(&e, y, a, b, team);
    for (size_t i = 0; i < ny; i++)
        if (!test_near(y[i], (double)want[i], 2e-6))
            fail_msg("binary %d isa bits %x at %zu: %g, not %g", kind, isa, i, (double)y[i], (double)want[i]);
    free(a), free(b), free(y), free(want);
}

static void test_binary(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("binary_f32", isa);
    for (size_t i = 0; i < n_isa; i++)
        for (size_t k = 0; k < COUNT_OF(NESTS); k++)
            for (int kind = 0; kind < BINARY_COUNT; kind++)
                for (int t = 0; t < TEST_TEAMS; t++)
                    check_binary(&NESTS[k], (BinaryKind)kind, isa[i], t == 1, teams[t]);
    test_teams_free(teams);
}

static int32_t oracle_round(float v, int32_t zp, int32_t lo, int32_t hi) {
    return zp + (int32_t)nearbyintf(fminf(fmaxf(v, (float)(lo - zp)), (float)(hi - zp)));
}

static void check_qbinary(const EltNest *nest, QBinaryKind kind, uint32_t isa, bool use_lut, bool is_signed,
                          Team *team) {
    uint64_t seed = test_seed(nest->dims[0] + kind, use_lut);
    const size_t ny = nest_extent(nest, 0);
    uint8_t *a = test_bytes(&seed, nest_extent(nest, 1)), *b = test_bytes(&seed, nest_extent(nest, 2));
    uint8_t *lut = test_bytes(&seed, 256), *y = test_alloc(ny), *want = test_alloc(ny);
    QBinary e = {.nest = *nest, .kind = kind, .lut = use_lut ? lut : NULL};
    e.p = (QBinaryParams){.a_zp = test_range(&seed, 0, 255), .b_zp = test_range(&seed, 0, 255)};
    e.p.y_zp = test_range(&seed, 0, 255), e.p.lo = use_lut ? e.p.y_zp : 0, e.p.hi = 255;
    e.p.a_mult = test_float(&seed, 0.001f, 0.02f), e.p.b_mult = test_float(&seed, 0.1f, 2.0f);
    if (kind == QBINARY_ADD) e.p.a_mult *= 100.0f;
    if (is_signed) {
        e.p.a_signed = e.p.y_signed = true, e.p.b_signed = kind == QBINARY_ADD;
        e.p.a_zp -= 128, e.p.y_zp -= 128, e.p.lo -= 128, e.p.hi -= 128;
        if (e.p.b_signed) e.p.b_zp -= 128;
    }
    for (int64_t i = 0; i < nest_count(nest); i++) {
        size_t at[3];
        nest_at(nest, i, at);
        const int32_t av = e.p.a_signed ? (int8_t)a[at[1]] : a[at[1]], bv = e.p.b_signed ? (int8_t)b[at[2]] : b[at[2]];
        const int32_t p = av - e.p.a_zp, q = bv - e.p.b_zp;
        const float pa = (float)p * e.p.a_mult, qb = (float)q * e.p.b_mult, pq = (float)(p * q) * e.p.a_mult;
        const int32_t r = oracle_round(kind == QBINARY_ADD ? pa + qb : pq, e.p.y_zp, e.p.lo, e.p.hi);
        want[at[0]] = use_lut ? lut[(uint8_t)r] : (uint8_t)r;
    }
    qbinary_prepare(&e, isa);
    qbinary_run(&e, y, a, b, team);
    assert_memory_equal(y, want, ny);
    free(a), free(b), free(lut), free(y), free(want);
}

static void test_qbinary(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("quant", isa);
    for (size_t i = 0; i < n_isa; i++)
        for (size_t k = 0; k < COUNT_OF(NESTS); k++)
            for (int kind = 0; kind < QBINARY_COUNT; kind++)
                for (int t = 0; t < TEST_TEAMS; t++)
                    check_qbinary(&NESTS[k], (QBinaryKind)kind, isa[i], t == 2, (k + (size_t)t) % 2, teams[t]);
    test_teams_free(teams);
}

static void check_conversions(const QuantOps *ops, size_t n, Team *team) {
    uint64_t seed = test_seed((int64_t)n, 9);
    float *x = test_floats(&seed, n, -40.0f, 40.0f), *back = test_alloc(n * sizeof *back);
    uint8_t *q = test_alloc(n + 64), *bytes = test_bytes(&seed, n), *lut = test_bytes(&seed, 256);
    for (size_t i = 0; i < n; i++) /* halves are ties at scale 0.25 */
        if (i % 3 == 0) x[i] = (float)test_range(&seed, -300, 300) * 0.125f;
    for (size_t i = 0; i < n && i < 23; i++) x[i] = SPECIAL[i];
    if (n > 30) memcpy(&x[30], &(uint32_t){0x7fc12355}, sizeof x[30]); /* a NaN with low bits set */
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        const int32_t zp = is_signed ? -7 : 131, lo = is_signed ? -128 : 0, hi = is_signed ? 127 : 255;
        quantize_run(ops, q, x, n, 0.25f, zp, is_signed, team);
        for (size_t i = 0; i < n; i++)
            assert_int_equal(q[i], x[i] != x[i] ? (uint8_t)zp : (uint8_t)oracle_round(x[i] / 0.25f, zp, lo, hi));
        dequantize_run(ops, back, bytes, n, 0.37f, zp, is_signed, team);
        for (size_t i = 0; i < n; i++) {
            const int32_t v = is_signed ? (int8_t)bytes[i] : bytes[i];
            const float want = (float)(v - zp) * 0.37f;
            assert_memory_equal(&back[i], &want, sizeof want);
        }
    }
    assert_int_equal(q[n], 0xa5);
    lut_u8_run(ops, q, bytes, n, lut, team);
    for (size_t i = 0; i < n; i++) assert_int_equal(q[i], lut[bytes[i]]);
    assert_int_equal(q[n], 0xa5);
    free(x), free(back), free(q), free(bytes), free(lut);
}

static uint16_t oracle_bf16(float x) {
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    if (x != x) return (uint16_t)(b >> 16 | 0x40);
    const uint32_t rest = b & 0xffff, up = rest > 0x8000 || (rest == 0x8000 && (b >> 16 & 1));
    return (uint16_t)((b >> 16) + up);
}

static void check_bf16(const QuantOps *ops, size_t n) {
    uint64_t seed = test_seed((int64_t)n, 4);
    float *x = test_floats(&seed, n, -1e3f, 1e3f), *back = test_alloc((n + 1) * sizeof *back);
    uint16_t *h = test_alloc((n + 1) * sizeof *h);
    for (size_t i = 0; i < n; i++) {
        const uint32_t tie = test_random(&seed) & 0xff7f8000u;
        if (i % 4 == 1) memcpy(&x[i], &tie, sizeof tie);
    }
    for (size_t i = 0; i < n && i < COUNT_OF(SPECIAL); i++) x[i] = SPECIAL[i];
    ops->to_bf16(h, x, n);
    ops->from_bf16(back, h, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(h[i], oracle_bf16(x[i]));
        const uint32_t want = (uint32_t)h[i] << 16;
        assert_memory_equal(&back[i], &want, sizeof want);
    }
    assert_int_equal(h[n], 0xa5a5);
    free(x), free(back), free(h);
}

static void test_conversions(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("quant", isa), sizes[] = {1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 50021};
    for (size_t i = 0; i < n_isa; i++)
        for (size_t s = 0; s < COUNT_OF(sizes); s++) {
            check_conversions(quant_ops(isa[i]), sizes[s], teams[s % TEST_TEAMS]);
            check_bf16(quant_ops(isa[i]), sizes[s]);
        }
    test_teams_free(teams);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_unary), cmocka_unit_test(test_unary_run),
                                       cmocka_unit_test(test_binary), cmocka_unit_test(test_qbinary),
                                       cmocka_unit_test(test_conversions)};
    return RUN_NATIVE_AND_EMULATED(tests);
}
