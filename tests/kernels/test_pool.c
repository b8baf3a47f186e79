/* Pooling rows against a scalar oracle. Integer results, and float averages (whose order is fixed), bit for bit. */
#include "kernel_test.h"

#include "kernels/cpu/pool/pool.h"

typedef struct {
    int32_t n, h, w, c, kh, kw, stride, dilation, pad,
        over; /* over: how far the last window may hang out (ceil_mode) */
    int32_t extra;
} Case;

static const Case CASES[] = {{1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0},    {2, 8, 8, 15, 2, 2, 2, 1, 0, 0, 0},
                             {1, 9, 7, 16, 3, 3, 2, 1, 1, 0, 3},   {1, 13, 13, 17, 3, 3, 2, 1, 0, 1, 0},
                             {1, 11, 10, 63, 3, 2, 1, 1, 1, 0, 0}, {1, 6, 29, 64, 3, 3, 1, 2, 1, 0, 2},
                             {1, 12, 12, 65, 5, 5, 3, 1, 2, 1, 0}, {3, 7, 7, 131, 7, 7, 1, 1, 0, 0, 0},
                             {1, 24, 5, 8, 4, 3, 2, 1, 1, 1, 1},   {1, 40, 3, 3, 3, 3, 1, 1, 1, 0, 0}};

static PoolShape shape_of(const Case *k) {
    const int32_t pads = 2 * k->pad + k->over;
    return (PoolShape){.n = k->n,
                       .h = k->h,
                       .w = k->w,
                       .c = k->c,
                       .oh = (k->h + pads - (k->kh - 1) * k->dilation - 1) / k->stride + 1,
                       .ow = (k->w + pads - (k->kw - 1) * k->dilation - 1) / k->stride + 1,
                       .kh = k->kh,
                       .kw = k->kw,
                       .sy = k->stride,
                       .sx = k->stride,
                       .dy = k->dilation,
                       .dx = k->dilation,
                       .pad_top = k->pad,
                       .pad_left = k->pad,
                       .pad_bottom = k->pad,
                       .pad_right = k->pad,
                       .x_ld = (size_t)(k->c + k->extra),
                       .y_ld = (size_t)(k->c + k->extra)};
}

/* What an oracle needs of one window, in float (bytes are exact in float). */
typedef struct {
    double max;
    float sum;
    int64_t isum;
    int32_t inside, padded;
    bool nan;
} Window;

static Window window_of(const PoolShape *s, const float *x, int32_t n, int32_t oy, int32_t ox, int32_t c) {
    Window v = {.max = -INFINITY};
    for (int32_t ky = 0; ky < s->kh; ky++)
        for (int32_t kx = 0; kx < s->kw; kx++) {
            const int32_t iy = oy * s->sy - s->pad_top + ky * s->dy, ix = ox * s->sx - s->pad_left + kx * s->dx;
            v.padded += iy < s->h + s->pad_bottom && ix < s->w + s->pad_right;
            if (iy < 0 || iy >= s->h || ix < 0 || ix >= s->w) continue;
            const float e =
                x[(((size_t)n * (size_t)s->h + (size_t)iy) * (size_t)s->w + (size_t)ix) * s->x_ld + (size_t)c];
            v.inside++;
            v.nan |= e != e;
            v.max = (double)e > v.max ? (double)e : v.max;
            v.sum += e;
            v.isum += e == e && !isinf(e) ? (int64_t)e : 0;
        }
    return v;
}

static size_t y_at(const PoolShape *s, int32_t n, int32_t oy, int32_t ox) {
    return (((size_t)n * (size_t)s->oh + (size_t)oy) * (size_t)s->ow + (size_t)ox) * s->y_ld;
}

#define FOR_OUTPUTS(s)                                                                                                 \
    for (int32_t n = 0; n < (s).n; n++)                                                                                \
        for (int32_t oy = 0; oy < (s).oh; oy++)                                                                        \
            for (int32_t ox = 0; ox < (s).ow; ox++)                                                                    \
                for (int32_t c = 0; c < (s).c; c++)

static size_t x_count(const PoolShape *s) { return (size_t)s->n * (size_t)s->h * (size_t)s->w * s->x_ld; }
static size_t y_count(const PoolShape *s) { return y_at(s, s->n, 0, 0); }

static void case_f32(const Case *k, PoolKind kind, bool include_pad, uint32_t isa, Team *teams[]) {
    uint64_t seed = test_seed(k->h, k->c);
    PoolF32 p = {.s = shape_of(k), .kind = kind, .count_include_pad = include_pad};
    const size_t nx = x_count(&p.s), ny = y_count(&p.s);
    float *x = test_floats(&seed, nx, -4.0f, 4.0f), *want = test_alloc((ny + 16) * sizeof *want);
    if (nx > 100) x[3] = NAN, x[nx / 2] = INFINITY, x[nx - 5] = -INFINITY;
    FOR_OUTPUTS(p.s) {
        const Window v = window_of(&p.s, x, n, oy, ox, c);
        want[y_at(&p.s, n, oy, ox) + (size_t)c] =
            kind == POOL_MAX ? (v.nan ? NAN : (float)v.max) : v.sum / (float)(include_pad ? v.padded : v.inside);
    }
    pool_f32_prepare(&p, isa);
    for (int t = 0; t < TEST_TEAMS; t++) {
        float *y = test_alloc((ny + 16) * sizeof *y);
        pool_f32_run(&p, x, y, teams[t]);
        for (size_t i = 0; i < ny + 16; i++)
            if (!(y[i] == want[i] || (y[i] != y[i] && want[i] != want[i])))
                fail_msg("kind %d isa bits %x at %zu: %g, not %g", kind, isa, i, (double)y[i], (double)want[i]);
        free(y);
    }
    free(x), free(want);
}

static uint8_t oracle_requant(int64_t acc, float mult, int32_t zp, int32_t lo, int32_t hi) {
    const float v = fminf(fmaxf((float)(int32_t)acc * mult, (float)(lo - zp)), (float)(hi - zp));
    return (uint8_t)(zp + (int32_t)nearbyintf(v));
}

static void case_u8(const Case *k, PoolKind kind, bool include_pad, bool is_signed, uint32_t isa, Team *teams[]) {
    uint64_t seed = test_seed(k->w, k->c);
    PoolU8 p = {.s = shape_of(k), .kind = kind, .count_include_pad = include_pad, .scale = 1.37};
    p.x_zp = test_range(&seed, 0, 255), p.y_zp = test_range(&seed, 0, 255), p.lo = p.y_zp / 2, p.hi = 250;
    const size_t nx = x_count(&p.s), ny = y_count(&p.s);
    uint8_t *x = test_bytes(&seed, nx), *want = test_alloc(ny), *lut = test_bytes(&seed, 256);
    if (k->c % 2 == 0) p.lut = lut;
    float *xf = test_alloc(nx * sizeof *xf);
    if (is_signed) p.x_signed = p.y_signed = true, p.x_zp -= 128, p.y_zp -= 128, p.lo -= 128, p.hi -= 128;
    for (size_t i = 0; i < nx; i++) xf[i] = is_signed ? (float)(int8_t)x[i] : (float)x[i];
    FOR_OUTPUTS(p.s) {
        const Window v = window_of(&p.s, xf, n, oy, ox, c);
        const float mult = (float)(p.scale / (include_pad ? v.padded : v.inside));
        const uint8_t q = kind == POOL_MAX ? (uint8_t)(int32_t)v.max
                                           : oracle_requant(v.isum - v.inside * p.x_zp, mult, p.y_zp, p.lo, p.hi);
        want[y_at(&p.s, n, oy, ox) + (size_t)c] = p.lut ? lut[q] : q;
    }
    pool_u8_prepare(&p, isa);
    for (int t = 0; t < TEST_TEAMS; t++) {
        uint8_t *y = test_alloc(ny);
        pool_u8_run(&p, x, y, teams[t]);
        assert_memory_equal(y, want, ny);
        free(y);
    }
    free(x), free(xf), free(want), free(lut);
}

static void test_windows(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT], isa8[ISA_COUNT];
    const size_t n_isa = test_isas("pool_f32", isa), n_isa8 = test_isas("pool_u8", isa8);
    for (size_t k = 0; k < COUNT_OF(CASES); k++)
        for (int v = 0; v < 3; v++) {
            for (size_t i = 0; i < n_isa; i++) case_f32(&CASES[k], v ? POOL_AVERAGE : POOL_MAX, v == 2, isa[i], teams);
            for (size_t i = 0; i < n_isa8; i++)
                case_u8(&CASES[k], v ? POOL_AVERAGE : POOL_MAX, v == 2, k % 2 || v == 1, isa8[i], teams);
        }
    test_teams_free(teams);
}

/* The documented order: 4 interleaved partial sums. */
static float oracle_global(const float *x, int64_t pixels, size_t ld) {
    float s[4] = {0};
    for (int64_t i = 0; i < pixels; i++) s[i % 4] += x[(size_t)i * ld];
    return ((s[0] + s[1]) + (s[2] + s[3])) / (float)pixels;
}

static void case_global(int64_t pixels, int32_t c, uint32_t isa, Team *team) {
    uint64_t seed = test_seed(pixels, c);
    const int32_t n = 2;
    const size_t x_ld = (size_t)c + 3, y_ld = (size_t)c + 1, nx = (size_t)n * (size_t)pixels * x_ld;
    float *x = test_floats(&seed, nx, -1.0f, 3.0f), *y = test_alloc((size_t)n * y_ld * sizeof *y);
    uint8_t *xb = test_bytes(&seed, nx), *yb = test_alloc((size_t)n * y_ld), *lut = test_bytes(&seed, 256);
    if (pixels > 257) memset(xb, c % 3 ? 255 : 127, nx); /* the largest sums */
    GlobalPoolF32 p = {.n = n, .c = c, .pixels = pixels, .x_ld = x_ld, .y_ld = y_ld, .kind = POOL_AVERAGE};
    GlobalPoolU8 q = {.n = n, .c = c, .pixels = pixels, .x_ld = x_ld, .y_ld = y_ld, .x_zp = 77, .y_zp = 3, .hi = 255};
    q.mult = (float)(1.9 / (double)pixels);
    q.lut = c % 2 ? lut : NULL;
    if (c % 3 == 0) q.x_signed = q.y_signed = true, q.x_zp -= 128, q.y_zp -= 128, q.lo = -128, q.hi = 127;
    global_pool_f32_prepare(&p, isa);
    global_pool_u8_prepare(&q, isa);
    global_pool_f32_run(&p, x, y, team);
    global_pool_u8_run(&q, xb, yb, team);
    for (int32_t i = 0; i < n; i++)
        for (size_t ch = 0; ch < (size_t)c; ch++) {
            const size_t at = (size_t)i * (size_t)pixels * x_ld + ch, to = (size_t)i * y_ld + ch;
            assert_true(y[to] == oracle_global(x + at, pixels, x_ld));
            int64_t sum = 0;
            for (int64_t j = 0; j < pixels; j++)
                sum += (q.x_signed ? (int8_t)xb[at + (size_t)j * x_ld] : xb[at + (size_t)j * x_ld]) - q.x_zp;
            const uint8_t want = oracle_requant(sum, q.mult, q.y_zp, q.lo, q.hi);
            assert_int_equal(yb[to], q.lut ? lut[want] : want);
        }
    p.kind = POOL_MAX;
    x[0] = NAN;
    global_pool_f32_run(&p, x, y, team);
    assert_true(y[0] != y[0]);
    for (size_t ch = 1; ch < (size_t)c; ch++) {
        float want = -INFINITY;
        for (int64_t j = 0; j < pixels; j++) want = fmaxf(want, x[ch + (size_t)j * x_ld]);
        assert_true(y[ch] == want);
    }
    free(x), free(y), free(xb), free(yb), free(lut);
}

static void test_global(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("pool_f32", isa);
    const int64_t pixels[] = {1, 2, 3, 4, 5, 49, 64, 257, 258, 1031};
    const int32_t channels[] = {1, 7, 8, 15, 16, 17, 63, 64, 65, 130};
    for (size_t i = 0; i < n_isa; i++)
        for (size_t a = 0; a < COUNT_OF(pixels); a++)
            for (size_t b = 0; b < COUNT_OF(channels); b++)
                case_global(pixels[a], channels[b], isa[i], teams[(a + b) % TEST_TEAMS]);
    test_teams_free(teams);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_windows), cmocka_unit_test(test_global)};
    return RUN_NATIVE_AND_EMULATED(tests);
}
