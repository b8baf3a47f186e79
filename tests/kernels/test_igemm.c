/* ctest: tsan */
/* The igemm operator against a scalar loop nest, for every instruction set of this CPU, at 1, 2 and 3 threads: integer
 * results bit for bit, float results within rounding of a sum in double and bitwise equal across thread counts. */
#include "kernels/cpu/igemm/igemm.h"
#include "kernels/cpu/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { SLACK = 5, CANARY = 64, CANARY_BYTE = 0xa5, TEAMS = 3 };

static Team *teams[TEAMS];

static uint32_t random_state = 1;

static uint32_t random_u32(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static int64_t random_in(int64_t lo, int64_t hi) { return lo + (int64_t)(random_u32() % (uint32_t)(hi - lo + 1)); }

static float random_float(void) { return (float)random_in(-1000, 1000) / 997.0f; }

/* Values that break kernels, besides ordinary ones. */
typedef enum Fill { FILL_RANDOM, FILL_SPECIAL } Fill;

static void fill_floats(float *p, int64_t n, Fill fill) {
    static const float SPECIAL[] = {NAN, INFINITY, -INFINITY, -0.0f, 0.0f, 1e-30f, 1e30f};
    for (int64_t i = 0; i < n; i++) {
        bool special = fill == FILL_SPECIAL && random_in(0, 40) == 0;
        p[i] = special ? SPECIAL[random_in(0, 6)] : random_float();
    }
}

static void fill_bytes(uint8_t *p, int64_t n, Fill fill, uint8_t extreme) {
    for (int64_t i = 0; i < n; i++)
        p[i] = fill == FILL_SPECIAL && random_in(0, 9) != 0 ? extreme : (uint8_t)random_in(0, 255);
}

static void *allocate(size_t n) {
    void *p = aligned_alloc(64, (n + 63) / 64 * 64 + CANARY);
    assert_non_null(p);
    memset(p, CANARY_BYTE, (n + 63) / 64 * 64 + CANARY);
    return p;
}

static void check_canary(const void *p, size_t n) {
    for (size_t i = 0; i < CANARY; i++) assert_int_equal(((const uint8_t *)p)[n + i], CANARY_BYTE);
}

/* All operands of one case. */
typedef struct Problem {
    IgemmDesc d;
    Fill fill;
    int64_t x_count, y_count, r_count, taps, icg, ocg;
    void *x, *residual, *w, *bias;
    float *mult;
    uint8_t table[256];
    void *expected;     /* of y's type */
    double *magnitudes; /* float: sum of |products|, for the tolerance */
} Problem;

static bool is_byte(IgemmType t) { return t == IGEMM_U8 || t == IGEMM_S8; }
static size_t size_of(IgemmType t) { return is_byte(t) ? 1 : 4; }
static int32_t byte_at(const void *p, IgemmType t, int64_t i) {
    return t == IGEMM_U8 ? ((const uint8_t *)p)[i] : ((const int8_t *)p)[i];
}

static void set_defaults(IgemmDesc *d) {
    int64_t *ones[] = {&d->groups, &d->kh, &d->kw, &d->stride_h, &d->stride_w, &d->dilation_h, &d->dilation_w};
    for (size_t i = 0; i < 7; i++)
        if (*ones[i] == 0) *ones[i] = 1;
    if (d->ldx == 0) d->ldx = d->ic;
    if (d->ldy == 0) d->ldy = d->oc;
    if (d->ldr == 0) d->ldr = d->oc;
    if (d->lo != 0.0f || d->hi != 0.0f) return;
    d->lo = is_byte(d->y_type) ? (d->y_type == IGEMM_S8 ? -128.0f : 0.0f) : -INFINITY;
    d->hi = is_byte(d->y_type) ? d->lo + 255.0f : INFINITY;
}

static void fill_problem(Problem *p) {
    const IgemmDesc *d = &p->d;
    const bool f32 = d->x_type == IGEMM_F32;
    const int64_t w_count = d->oc * p->icg * p->taps;
    p->x = malloc((size_t)p->x_count * size_of(d->x_type));
    p->residual = malloc((size_t)p->r_count * size_of(d->y_type));
    p->w = malloc((size_t)w_count * (f32 ? 4 : 1));
    p->bias = malloc((size_t)d->oc * 4);
    p->mult = malloc((size_t)d->oc * sizeof(float));
    if (f32) {
        fill_floats(p->x, p->x_count, p->fill);
        fill_floats(p->w, w_count, FILL_RANDOM);
        fill_floats(p->bias, d->oc, FILL_RANDOM);
    } else {
        fill_bytes(p->x, p->x_count, p->fill, d->x_type == IGEMM_U8 ? 255 : 128);
        fill_bytes(p->w, w_count, p->fill, random_in(0, 1) ? 128 : 127);
        for (int64_t o = 0; o < d->oc; o++) {
            ((int32_t *)p->bias)[o] = (int32_t)random_in(-5000, 5000);
            double scale = (double)random_in(1, 1000) / (double)(p->icg * p->taps) / 3e4;
            p->mult[o] = (float)scale;
        }
    }
    if (d->y_type == IGEMM_F32)
        fill_floats(p->residual, p->r_count, p->fill);
    else if (is_byte(d->y_type))
        fill_bytes(p->residual, p->r_count, p->fill, 255);
    for (int i = 0; i < 256; i++) p->table[i] = (uint8_t)(i * 7 + 3);
    if (d->table != NULL) p->d.table = p->table;
}

static float clamp(float lo, float x, float hi) {
    x = lo > x ? lo : x;
    return hi < x ? hi : x;
}

static double act_double(double x) { return x * 0.5 + 1.0; }
static void act_half(float *y, const float *x, size_t n, float a, float b) {
    for (size_t i = 0; i < n; i++) y[i] = x[i] * a + b;
}

/* Calls visit-like arithmetic for one output: sums over the taps that lie inside. */
static void expect_one(Problem *p, int64_t image, int64_t oy, int64_t ox, int64_t o) {
    const IgemmDesc *d = &p->d;
    const bool f32 = d->x_type == IGEMM_F32;
    const int64_t pixel = (image * d->oh + oy) * d->ow + ox, g = o / p->ocg;
    double sum = f32 ? (double)((float *)p->bias)[o] : 0.0, magnitude = fabs(sum);
    uint32_t acc = f32 ? 0 : (uint32_t)((int32_t *)p->bias)[o];
    for (int64_t ky = 0; ky < d->kh; ky++) {
        for (int64_t kx = 0; kx < d->kw; kx++) {
            int64_t iy = oy * d->stride_h - d->pad_top + ky * d->dilation_h;
            int64_t ix = ox * d->stride_w - d->pad_left + kx * d->dilation_w;
            if (iy < 0 || iy >= d->ih || ix < 0 || ix >= d->iw) continue;
            for (int64_t c = 0; c < p->icg; c++) {
                int64_t xi = ((image * d->ih + iy) * d->iw + ix) * d->ldx + g * p->icg + c;
                int64_t wi = (o * p->icg + c) * p->taps + ky * d->kw + kx;
                if (f32) {
                    double product = (double)((float *)p->x)[xi] * (double)((float *)p->w)[wi];
                    sum += product, magnitude += fabs(product);
                } else {
                    int32_t x = byte_at(p->x, d->x_type, xi) - d->x_zero;
                    acc += (uint32_t)(x * (byte_at(p->w, d->w_type == IGEMM_U8 ? IGEMM_U8 : IGEMM_S8, wi) - d->w_zero));
                }
            }
        }
    }
    const int64_t at = pixel * d->ldy + o, ri = pixel * d->ldr + o;
    float *yf = p->expected;
    p->magnitudes[at] = magnitude;
    if (f32) {
        if (d->residual == IGEMM_RESIDUAL_BEFORE) sum += (double)((float *)p->residual)[ri];
        sum = (double)d->lo > sum ? (double)d->lo : sum;
        sum = (double)d->hi < sum ? (double)d->hi : sum;
        if (d->act != NULL) sum = act_double(sum);
        if (d->residual == IGEMM_RESIDUAL_AFTER) sum += (double)((float *)p->residual)[ri];
        yf[at] = (float)sum;
    } else if (d->y_type == IGEMM_S32) {
        ((uint32_t *)p->expected)[at] = acc;
    } else if (d->y_type == IGEMM_F32) {
        yf[at] = clamp(d->lo, (float)(int32_t)acc * p->mult[o], d->hi);
        if (d->residual == IGEMM_RESIDUAL_AFTER) yf[at] += ((float *)p->residual)[ri];
    } else {
        float zero = (float)d->y_zero, f = clamp(d->lo - zero, (float)(int32_t)acc * p->mult[o], d->hi - zero);
        uint8_t q = (uint8_t)((int32_t)lrintf(f) + d->y_zero);
        if (d->table != NULL) q = d->table[q];
        if (d->residual == IGEMM_RESIDUAL_AFTER) {
            float a = (float)(byte_at(&q, d->y_type, 0) - d->y_zero) * d->add.m_q;
            float b = (float)(byte_at(p->residual, d->y_type, ri) - d->add.r_zero) * d->add.m_r;
            float z = (float)d->add.zero;
            q = (uint8_t)((int32_t)lrintf(clamp(d->add.lo - z, a + b, d->add.hi - z)) + d->add.zero);
        }
        ((uint8_t *)p->expected)[at] = q;
    }
}

static void fill_expected(Problem *p) {
    const IgemmDesc *d = &p->d;
    p->expected = allocate((size_t)p->y_count * size_of(d->y_type));
    p->magnitudes = calloc((size_t)p->y_count, sizeof(double));
    for (int64_t image = 0; image < d->n; image++)
        for (int64_t oy = 0; oy < d->oh; oy++)
            for (int64_t ox = 0; ox < d->ow; ox++)
                for (int64_t o = 0; o < d->oc; o++) expect_one(p, image, oy, ox, o);
}

static void free_problem(Problem *p) {
    void *all[] = {p->x, p->residual, p->w, p->bias, p->mult, p->expected, p->magnitudes};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) free(all[i]);
}

static void describe(const Problem *p, const Igemm *op, int threads, int64_t at) {
    const IgemmDesc *d = &p->d;
    print_error(
        "%s threads %d element %ld: types %d->%d n %ld in %ldx%ldx%ld out %ldx%ldx%ld groups %ld kernel %ldx%ld "
        "stride %ld,%ld dilation %ld,%ld pad %ld,%ld ld %ld %ld residual %d\n",
        igemm_kernel_name(op), threads, (long)at, d->x_type, d->y_type, (long)d->n, (long)d->ih, (long)d->iw,
        (long)d->ic, (long)d->oh, (long)d->ow, (long)d->oc, (long)d->groups, (long)d->kh, (long)d->kw,
        (long)d->stride_h, (long)d->stride_w, (long)d->dilation_h, (long)d->dilation_w, (long)d->pad_top,
        (long)d->pad_left, (long)d->ldx, (long)d->ldy, d->residual);
}

static bool close_enough(const Problem *p, int64_t at, float got) {
    float want = ((const float *)p->expected)[at];
    if (isnan(want)) return isnan(got);
    if (isinf(want)) return got == want;
    double terms = (double)(p->icg * p->taps + 4);
    return fabs((double)got - (double)want) <= terms * 6e-8 * (p->magnitudes[at] + 1.0);
}

/* Float sums within tolerance; everything else, and what lies between the pixels, bit for bit. */
static void compare(const Problem *p, const Igemm *op, const void *y, int threads) {
    const IgemmDesc *d = &p->d;
    const size_t size = size_of(d->y_type);
    for (int64_t i = 0; i < p->y_count; i++) {
        bool inside = i % d->ldy < d->oc && d->x_type == IGEMM_F32;
        bool same = inside ? close_enough(p, i, ((const float *)y)[i])
                           : memcmp((const char *)y + (size_t)i * size, (const char *)p->expected + (size_t)i * size,
                                    size) == 0;
        if (!same && !inside && d->y_type == IGEMM_F32)
            same = isnan(((const float *)y)[i]) && isnan(((const float *)p->expected)[i]);
        if (!same) {
            describe(p, op, threads, i);
            fail();
        }
    }
}

static void run_problem(const Problem *p, Isa isa) {
    Igemm op;
    assert_true(igemm_init_isa(&op, &p->d, isa));
    IgemmWeights weights = {.w = p->w, .layout = IGEMM_OIHW, .bias = p->bias, .multiplier = p->mult};
    char *packed = allocate(igemm_pack_bytes(&op));
    igemm_pack(&op, &weights, packed);
    check_canary(packed, igemm_pack_bytes(&op));
    const size_t y_bytes = (size_t)p->y_count * size_of(p->d.y_type);
    void *first = NULL;
    for (int t = 0; t < TEAMS; t++) {
        char *y = allocate(y_bytes), *scratch = allocate(igemm_scratch_bytes(&op, t + 1));
        igemm_run(&op, packed, p->x, p->residual, y, scratch, teams[t]);
        check_canary(y, y_bytes);
        check_canary(scratch, igemm_scratch_bytes(&op, t + 1));
        compare(p, &op, y, t + 1);
        if (first != NULL) assert_memory_equal(y, first, y_bytes);
        free(scratch);
        if (first == NULL)
            first = y;
        else
            free(y);
    }
    free(first);
    free(packed);
}

static bool isa_has_family(KernelFamily family, Isa isa) {
    size_t count;
    const KernelRow *rows = kernel_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (rows[i].family == family && rows[i].isa == isa) return isa_has(isa);
    return false;
}

static void check(IgemmDesc d, Fill fill) {
    set_defaults(&d);
    Problem p = {.d = d, .fill = fill, .taps = d.kh * d.kw, .icg = d.ic / d.groups, .ocg = d.oc / d.groups};
    p.x_count = d.n * d.ih * d.iw * d.ldx;
    p.y_count = d.n * d.oh * d.ow * d.ldy;
    p.r_count = d.n * d.oh * d.ow * d.ldr;
    fill_problem(&p);
    fill_expected(&p);
    KernelFamily family = d.x_type == IGEMM_F32 ? KERNEL_IGEMM_F32 : KERNEL_IGEMM_Q8;
    for (Isa isa = ISA_PLAIN; isa < ISA_COUNT; isa++)
        if (isa_has_family(family, isa)) run_problem(&p, isa);
    free_problem(&p);
}

static const uint8_t SOME_TABLE[256]; /* marks the wish for a table; fill_problem puts its own */

/* Everything besides the geometry, at random but possible. */
static void randomize_rest(IgemmDesc *d) {
    static const IgemmType IN[] = {IGEMM_F32, IGEMM_U8, IGEMM_U8, IGEMM_S8};
    static const IgemmType OUT[] = {IGEMM_U8, IGEMM_S8, IGEMM_U8, IGEMM_S32, IGEMM_F32};
    d->x_type = IN[random_in(0, 3)];
    d->y_type = d->x_type == IGEMM_F32 ? IGEMM_F32 : OUT[random_in(0, 4)];
    if (random_in(0, 2) == 0) d->ldx = d->ic + random_in(1, SLACK);
    if (random_in(0, 2) == 0) d->ldy = d->oc + random_in(1, SLACK);
    if (random_in(0, 2) == 0) d->ldr = d->oc + random_in(1, SLACK);
    d->lo = -INFINITY, d->hi = INFINITY;
    if (d->x_type == IGEMM_F32) {
        if (random_in(0, 1)) d->lo = 0.0f, d->hi = random_in(0, 1) ? 6.0f : INFINITY;
        if (random_in(0, 2) == 0) d->act = act_half, d->act_a = 0.5f, d->act_b = 1.0f;
        d->residual = (IgemmResidual)random_in(0, 2);
        return;
    }
    d->x_zero = (int32_t)random_in(0, 255) - (d->x_type == IGEMM_S8 ? 128 : 0);
    if (random_in(0, 3) == 0)
        d->w_type = IGEMM_U8, d->w_zero = (int32_t)random_in(0, 1) * 90;
    else if (random_in(0, 3) == 0)
        d->w_zero = (int32_t)random_in(-128, 127);
    if (d->y_type != IGEMM_S32 && random_in(0, 1)) d->residual = IGEMM_RESIDUAL_AFTER;
    if (!is_byte(d->y_type)) return;
    const int32_t least = d->y_type == IGEMM_S8 ? -128 : 0;
    d->y_zero = least + (int32_t)random_in(0, 255);
    d->lo = (float)(least + (int32_t)random_in(0, 20)), d->hi = (float)(least + 255 - (int32_t)random_in(0, 20));
    if (random_in(0, 2) == 0) d->table = SOME_TABLE;
    d->add = (IgemmQAdd){.m_q = 0.73f,
                         .m_r = 0.51f,
                         .r_zero = least + (int32_t)random_in(0, 255),
                         .zero = least + (int32_t)random_in(0, 255),
                         .lo = (float)least,
                         .hi = (float)(least + 255)};
}

static int64_t out_extent(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t pad) {
    int64_t span = in + pad - (kernel - 1) * dilation - 1;
    return span < 0 ? 0 : span / stride + 1;
}

static void test_random_convolutions(void **state) {
    (void)state;
    for (int i = 0; i < 400; i++) {
        IgemmDesc d = {.n = random_in(1, 2), .ih = random_in(1, 11), .iw = random_in(1, 19)};
        d.groups = random_in(0, 3) == 0 ? random_in(2, 3) : 1;
        d.ic = random_in(1, random_in(0, 1) ? 40 : 5) * d.groups;
        d.oc = random_in(1, random_in(0, 1) ? 70 : 9) * d.groups;
        d.kh = random_in(1, 4), d.kw = random_in(1, 4);
        d.stride_h = random_in(1, 3), d.stride_w = random_in(1, 3);
        d.dilation_h = random_in(1, 2), d.dilation_w = random_in(1, 2);
        d.pad_top = random_in(0, 3), d.pad_left = random_in(0, 3);
        d.oh = out_extent(d.ih, d.kh, d.stride_h, d.dilation_h, d.pad_top + random_in(0, 3));
        d.ow = out_extent(d.iw, d.kw, d.stride_w, d.dilation_w, d.pad_left + random_in(0, 3));
        if (d.oh == 0 || d.ow == 0) continue;
        randomize_rest(&d);
        check(d, random_in(0, 2) == 0 ? FILL_SPECIAL : FILL_RANDOM);
    }
}

/* Around every tile: rows and columns of tile - 1, tile, tile + 1 of every kernel row, and reductions around its kr. */
static void test_products_around_tiles(void **state) {
    (void)state;
    size_t count;
    const KernelRow *rows = kernel_rows(&count);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].family != KERNEL_IGEMM_F32 && rows[i].family != KERNEL_IGEMM_Q8) continue;
        for (int dm = -1; dm <= 1; dm++) {
            for (int dn = -1; dn <= 1; dn++) {
                IgemmDesc d;
                int64_t m = rows[i].mr + dm, n = rows[i].nr + dn, k = rows[i].kr * random_in(1, 9) + random_in(0, 1);
                if (m == 0) continue;
                igemm_gemm_desc(&d, IGEMM_F32, IGEMM_F32, m, n, k);
                randomize_rest(&d);
                check(d, FILL_RANDOM);
            }
        }
    }
}

/* Sizes that are split over many work items, pixels a page apart, and one pixel by many columns. */
static void test_large_products(void **state) {
    (void)state;
    static const int64_t MNK[][3] = {{1, 1000, 517}, {1, 2053, 64},  {3, 257, 1024}, {49, 130, 1024},
                                     {301, 67, 259}, {40, 48, 4096}, {997, 13, 31},  {2, 5, 9973}};
    for (size_t i = 0; i < sizeof MNK / sizeof MNK[0]; i++) {
        for (int type = 0; type < 2; type++) {
            IgemmDesc d;
            igemm_gemm_desc(&d, type == 0 ? IGEMM_F32 : IGEMM_U8, type == 0 ? IGEMM_F32 : IGEMM_U8, MNK[i][0],
                            MNK[i][1], MNK[i][2]);
            if (type == 1) d.x_zero = 131, d.y_zero = 120;
            check(d, FILL_RANDOM);
            if (type == 1) check(d, FILL_SPECIAL);
        }
    }
}

/* Where the weights come from must not matter. */
static void test_weight_layouts(void **state) {
    (void)state;
    enum { IC = 6, OC = 11, TAPS = 6 };
    float oihw[OC * IC * TAPS], ohwi[OC * IC * TAPS], kn[OC * IC * TAPS];
    fill_floats(oihw, OC * IC * TAPS, FILL_RANDOM);
    for (int o = 0; o < OC; o++)
        for (int c = 0; c < IC; c++)
            for (int t = 0; t < TAPS; t++) {
                float w = oihw[(o * IC + c) * TAPS + t];
                ohwi[(o * TAPS + t) * IC + c] = w;
                kn[(t * IC + c) * OC + o] = w;
            }
    IgemmDesc d = {.n = 1, .ih = 5, .iw = 5, .ic = IC, .oh = 4, .ow = 3, .oc = OC, .kh = 2, .kw = 3};
    Igemm op;
    assert_true(igemm_init(&op, &d));
    char *first = allocate(igemm_pack_bytes(&op)), *other = allocate(igemm_pack_bytes(&op));
    igemm_pack(&op, &(IgemmWeights){.w = oihw, .layout = IGEMM_OIHW}, first);
    igemm_pack(&op, &(IgemmWeights){.w = ohwi, .layout = IGEMM_OHWI}, other);
    assert_memory_equal(first, other, igemm_pack_bytes(&op));
    igemm_pack(&op, &(IgemmWeights){.w = kn, .layout = IGEMM_KN}, other);
    assert_memory_equal(first, other, igemm_pack_bytes(&op));
    free(first);
    free(other);
}

static void test_impossible_descriptions(void **state) {
    (void)state;
    Igemm op;
    IgemmDesc good, d;
    igemm_gemm_desc(&good, IGEMM_U8, IGEMM_U8, 3, 4, 5);
    assert_true(igemm_init(&op, &good));
    assert_false((d = good, d.iw = 0, igemm_init(&op, &d)));
    assert_false((d = good, d.groups = 2, igemm_init(&op, &d)));
    assert_false((d = good, d.ldx = 4, igemm_init(&op, &d)));
    assert_false((d = good, d.x_zero = 256, igemm_init(&op, &d)));
    assert_false((d = good, d.y_zero = -1, igemm_init(&op, &d)));
    assert_false((d = good, d.lo = -1.0f, d.hi = 4.0f, igemm_init(&op, &d)));
    assert_false((d = good, d.hi = NAN, igemm_init(&op, &d)));
    assert_false((d = good, d.residual = IGEMM_RESIDUAL_BEFORE, igemm_init(&op, &d)));
    assert_false((d = good, d.x_type = IGEMM_F32, igemm_init(&op, &d)));
    assert_false((d = good, d.ic = d.ldx = INT64_MAX / 2, igemm_init(&op, &d)));
    assert_false((d = good, d.oh = INT64_MAX / 2, d.ow = 3, igemm_init(&op, &d)));
    assert_false((d = good, d.kh = d.kw = INT64_MAX / 8, igemm_init(&op, &d)));
    assert_false((d = good, d.stride_w = INT64_MAX / 2, igemm_init(&op, &d)));
}

static int start_teams(void **state) {
    (void)state;
    for (int t = 0; t < TEAMS; t++) {
        teams[t] = team_create(t + 1);
        if (teams[t] == NULL) return -1;
    }
    return 0;
}

static int stop_teams(void **state) {
    (void)state;
    for (int t = 0; t < TEAMS; t++) team_destroy(teams[t]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_convolutions),     cmocka_unit_test(test_products_around_tiles),
        cmocka_unit_test(test_large_products),          cmocka_unit_test(test_weight_layouts),
        cmocka_unit_test(test_impossible_descriptions),
    };
    return cmocka_run_group_tests(tests, start_teams, stop_teams);
}
