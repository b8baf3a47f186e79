/* Depthwise convolution rows against a scalar oracle: integer ones bit for bit, float ones to rounding, at 1 to 3
 * threads. */
#include "kernel_test.h"

#include "kernels/cpu/dwconv/dwconv.h"

typedef struct {
    int32_t n, h, w, c, k, stride, dilation, pad, pad_more; /* pad_more: right and bottom, beyond pad */
    int32_t extra;                                          /* pixel pitch beyond c, input and output */
} Case;

static const Case CASES[] = {
    {1, 1, 1, 1, 3, 1, 1, 1, 0, 0},     {1, 7, 7, 15, 3, 1, 1, 1, 0, 0},   {1, 7, 9, 16, 3, 1, 1, 1, 0, 3},
    {2, 8, 8, 17, 3, 2, 1, 1, 0, 0},    {1, 9, 11, 63, 3, 2, 1, 0, 1, 1},  {1, 10, 13, 64, 3, 1, 1, 1, 0, 0},
    {1, 5, 37, 65, 3, 1, 1, 1, 0, 7},   {1, 12, 12, 31, 5, 1, 1, 2, 0, 0}, {1, 13, 19, 33, 5, 2, 1, 2, 0, 0},
    {1, 14, 14, 129, 5, 2, 1, 1, 2, 0}, {1, 11, 11, 24, 7, 1, 1, 3, 0, 0}, {1, 11, 17, 70, 3, 1, 2, 2, 0, 0},
    {1, 17, 17, 40, 3, 2, 3, 3, 0, 0},  {1, 3, 3, 96, 5, 1, 1, 2, 0, 0},   {1, 40, 6, 8, 3, 1, 1, 1, 0, 0},
    {1, 9, 9, 67, 1, 1, 1, 0, 0, 0},    {3, 2, 70, 32, 3, 1, 1, 1, 0, 0},  {1, 4, 4, 5, 4, 1, 1, 2, 1, 0},
    {1, 21, 21, 130, 9, 3, 2, 8, 0, 5}, {1, 90, 90, 3, 31, 1, 2, 15, 0, 0}};

/* The last two cases take long when emulated. */
static size_t test_case_count(void) { return COUNT_OF(CASES) - (test_emulated ? 2 : 0); }

static DwShape shape_of(const Case *k) {
    const int32_t span = (k->k - 1) * k->dilation + 1, pads = 2 * k->pad + k->pad_more;
    return (DwShape){.n = k->n,
                     .h = k->h,
                     .w = k->w,
                     .c = k->c,
                     .oh = (k->h + pads - span) / k->stride + 1,
                     .ow = (k->w + pads - span) / k->stride + 1,
                     .kh = k->k,
                     .kw = k->k,
                     .sy = k->stride,
                     .sx = k->stride,
                     .dy = k->dilation,
                     .dx = k->dilation,
                     .pad_top = k->pad,
                     .pad_left = k->pad,
                     .x_ld = (size_t)(k->c + k->extra),
                     .y_ld = (size_t)(k->c + k->extra)};
}

static size_t x_count(const DwShape *s) { return (size_t)s->n * (size_t)s->h * (size_t)s->w * s->x_ld; }
static size_t y_count(const DwShape *s) { return (size_t)s->n * (size_t)s->oh * (size_t)s->ow * s->y_ld; }

/* Index of the input element of a tap, or -1 in the padding. */
static ptrdiff_t tap_at(const DwShape *s, int32_t n, int32_t oy, int32_t ox, int32_t ky, int32_t kx, int32_t c) {
    const int32_t iy = oy * s->sy - s->pad_top + ky * s->dy, ix = ox * s->sx - s->pad_left + kx * s->dx;
    if (iy < 0 || iy >= s->h || ix < 0 || ix >= s->w) return -1;
    return (((ptrdiff_t)n * s->h + iy) * s->w + ix) * (ptrdiff_t)s->x_ld + c;
}

/* Calls fn for every output element with its index. */
typedef void (*PointFn)(void *arg, const DwShape *s, int32_t n, int32_t oy, int32_t ox, int32_t c, size_t at);
static void each_output(const DwShape *s, PointFn fn, void *arg) {
    for (int32_t n = 0; n < s->n; n++)
        for (int32_t oy = 0; oy < s->oh; oy++)
            for (int32_t ox = 0; ox < s->ow; ox++)
                for (int32_t c = 0; c < s->c; c++)
                    fn(arg, s, n, oy, ox, c,
                       (((size_t)n * (size_t)s->oh + (size_t)oy) * (size_t)s->ow + (size_t)ox) * s->y_ld + (size_t)c);
}

typedef struct {
    const DwconvU8 *d;
    const uint8_t *x;
    const int8_t *w;
    const int32_t *bias;
    const float *mult;
    uint8_t *y;
} OracleU8;

static void oracle_u8(void *arg, const DwShape *s, int32_t n, int32_t oy, int32_t ox, int32_t c, size_t at) {
    const OracleU8 *o = arg;
    int64_t acc = o->bias[c];
    for (int32_t ky = 0; ky < s->kh; ky++)
        for (int32_t kx = 0; kx < s->kw; kx++) {
            const ptrdiff_t i = tap_at(s, n, oy, ox, ky, kx, c);
            const int32_t x = i < 0 ? o->d->x_zp : o->d->x_signed ? (int8_t)o->x[i] : o->x[i];
            acc += x * o->w[(c * s->kh + ky) * s->kw + kx];
        }
    assert_in_range((uint64_t)(acc + INT32_MAX), 0, 2ull * INT32_MAX);
    const float low = (float)(o->d->lo - o->d->y_zp), high = (float)(o->d->hi - o->d->y_zp);
    const float v = fminf(fmaxf((float)(int32_t)acc * o->mult[c], low), high);
    const uint8_t q = (uint8_t)(o->d->y_zp + (int32_t)nearbyintf(v));
    o->y[at] = o->d->lut ? o->d->lut[q] : q;
}

static void check_u8(DwconvU8 *d, const OracleU8 *o, uint32_t isa, Team *teams[]) {
    const size_t n = y_count(&d->s);
    dwconv_u8_prepare(d, o->w, o->bias, o->mult, isa);
    void *packed = test_alloc(dwconv_u8_packed_bytes(d));
    dwconv_u8_pack(d, o->w, o->bias, o->mult, packed);
    d->packed = packed;
    for (int t = 0; t < test_team_count(); t++) {
        uint8_t *y = test_alloc(n + 64);
        dwconv_u8_run(d, o->x, y, teams[t]);
        assert_memory_equal(y, o->y, n + 64);
        free(y);
    }
    uint8_t *y = test_alloc(n + 64);
    const size_t rows = (size_t)d->s.n * (size_t)d->s.oh;
    dwconv_u8_rows(d, o->x, y, 0, rows / 2);
    dwconv_u8_rows(d, o->x, y, rows / 2, rows);
    assert_memory_equal(y, o->y, n + 64);
    free(y);
    free(packed);
}

/* mult_scale large drives results far past the clamp (and past the vector rows' proof, so the plain row is taken). */
static void case_u8(const Case *k, float mult_scale, bool extreme, int is_signed, Team *teams[]) {
    const int32_t shift = is_signed & 1 ? 128 : 0, y_shift = is_signed & 2 ? 128 : 0;
    uint64_t seed = test_seed(k->h, k->c);
    DwconvU8 d = {.s = shape_of(k), .x_zp = (extreme ? 255 : test_range(&seed, 0, 255)) - shift};
    d.x_signed = is_signed & 1, d.y_signed = is_signed & 2;
    d.y_zp = test_range(&seed, 0, 255);
    d.hi = extreme ? 255 : test_range(&seed, d.y_zp, 255);
    d.lo = extreme ? 0 : test_range(&seed, 0, d.y_zp);
    d.y_zp -= y_shift, d.lo -= y_shift, d.hi -= y_shift;
    const size_t c = (size_t)k->c, taps = (size_t)(k->k * k->k);
    uint8_t *lut = test_bytes(&seed, 256);
    if (k->c % 2) d.lut = lut;
    uint8_t *x = test_bytes(&seed, x_count(&d.s));
    int8_t *w = (int8_t *)test_bytes(&seed, c * taps);
    if (extreme) {
        memset(x, 255, x_count(&d.s));
        memset(w, 0x80, c * taps / 2);
        memset(w + c * taps / 2, 0x7f, c * taps - c * taps / 2);
    }
    int32_t *bias = test_alloc(c * sizeof *bias);
    float *mult = test_alloc(c * sizeof *mult);
    for (size_t i = 0; i < c; i++) {
        bias[i] = test_range(&seed, -20000, 20000);
        mult[i] = mult_scale * test_float(&seed, 0.2f, 1.0f);
    }
    OracleU8 o = {.d = &d, .x = x, .w = w, .bias = bias, .mult = mult, .y = test_alloc(y_count(&d.s) + 64)};
    each_output(&d.s, oracle_u8, &o);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("dwconv_u8", isa);
    for (size_t i = 0; i < n_isa; i++) check_u8(&d, &o, isa[i], teams);
    free(lut), free(x), free(w), free(bias), free(mult), free(o.y);
}

static void test_u8(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    for (size_t i = 0; i < test_case_count(); i++) {
        case_u8(&CASES[i], 0.01f, false, 0, teams);
        case_u8(&CASES[i], 0.0002f, false, (int)(i % 4), teams);
        case_u8(&CASES[i], 1.0f, true, 0, teams);
        case_u8(&CASES[i], 3e6f, true, 3, teams);
    }
    test_teams_free(teams);
}

typedef struct {
    const DwconvF32 *d;
    const float *x, *w, *bias;
    float *y;
} OracleF32;

static void oracle_f32(void *arg, const DwShape *s, int32_t n, int32_t oy, int32_t ox, int32_t c, size_t at) {
    const OracleF32 *o = arg;
    double acc = o->bias ? (double)o->bias[c] : 0.0;
    for (int32_t ky = 0; ky < s->kh; ky++)
        for (int32_t kx = 0; kx < s->kw; kx++) {
            const ptrdiff_t i = tap_at(s, n, oy, ox, ky, kx, c);
            if (i >= 0) acc += (double)o->x[i] * (double)o->w[(c * s->kh + ky) * s->kw + kx];
        }
    acc = acc < (double)o->d->lo ? (double)o->d->lo : acc;
    acc = acc > (double)o->d->hi ? (double)o->d->hi : acc;
    o->y[at] = (float)(o->d->act.fn ? acc / (1.0 + exp(-acc)) : acc);
}

static void check_f32(DwconvF32 *d, const OracleF32 *o, uint32_t isa, Team *teams[]) {
    const size_t n = y_count(&d->s), bytes = (n + 16) * sizeof(float);
    if (d->act.fn) d->act = activation_make(UNARY_silu, 1.0f, 0.0f, isa);
    dwconv_f32_prepare(d, isa);
    void *packed = test_alloc(dwconv_f32_packed_bytes(d));
    dwconv_f32_pack(d, o->w, o->bias, packed);
    d->packed = packed;
    float *first = test_alloc(bytes);
    for (int t = 0; t < test_team_count(); t++) {
        float *y = t ? test_alloc(bytes) : first;
        dwconv_f32_run(d, o->x, y, teams[t]);
        for (size_t i = 0; i < n; i++)
            if (!test_near(y[i], (double)o->y[i], 2e-6 * sqrt(d->s.kh * d->s.kw)))
                fail_msg("isa bits %x c %d k %d at %zu: %g, not %g", isa, d->s.c, d->s.kh, i, (double)y[i],
                         (double)o->y[i]);
        assert_memory_equal(y, first, bytes);
        if (t) free(y);
    }
    free(first);
    free(packed);
}

static void case_f32(const Case *k, int variant, Team *teams[]) {
    uint64_t seed = test_seed(k->c, k->h);
    DwconvF32 d = {.s = shape_of(k), .lo = -INFINITY, .hi = INFINITY};
    if (variant == 1) d.lo = 0.0f, d.hi = 0.5f;
    if (variant == 2) d.act = activation_make(UNARY_silu, 1.0f, 0.0f, 0);
    const size_t c = (size_t)k->c, taps = (size_t)(k->k * k->k), nx = x_count(&d.s);
    float *x = test_floats(&seed, nx, -1.0f, 1.0f);
    float *w = test_floats(&seed, c * taps, -1.0f, 1.0f), *bias = test_floats(&seed, c, -1.0f, 1.0f);
    if (variant == 3) {
        const float special[] = {NAN, INFINITY, -INFINITY, -0.0f};
        for (size_t i = 0; i < 4; i++) x[(nx - 1) * i / 4] = special[i];
    }
    OracleF32 o = {.d = &d, .x = x, .w = w, .bias = variant ? bias : NULL, .y = test_alloc((y_count(&d.s) + 16) * 4)};
    each_output(&d.s, oracle_f32, &o);
    uint32_t isa[ISA_COUNT];
    const size_t n_isa = test_isas("dwconv_f32", isa);
    for (size_t i = 0; i < n_isa; i++) check_f32(&d, &o, isa[i], teams);
    free(x), free(w), free(bias), free(o.y);
}

static void test_f32(void **state) {
    (void)state;
    Team *teams[TEST_TEAMS];
    test_teams(teams);
    for (size_t i = 0; i < test_case_count(); i++)
        for (int variant = 0; variant < 4; variant++) case_f32(&CASES[i], variant, teams);
    test_teams_free(teams);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_u8), cmocka_unit_test(test_f32)};
    return RUN_NATIVE_AND_EMULATED(tests);
}
