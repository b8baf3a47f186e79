/* Every igemm kernel row on its own against scalar loops, at every height and at column counts around the panels: the
 * rows that this CPU can run, and all vector rows once more as emulated by SIMDe. */
#include "kernels/cpu/igemm/tile.h"
#include "kernels/cpu/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef PARE_HAVE_SIMDE
#define ROW_PLAIN(...)
#define ROW_EMULATED(family, isa, mr, nr, kr, function)                                                                \
    {#function "_simde", KERNEL_##family, ISA_##isa, mr, nr, kr, (KernelFn)function##_simde},
#define DECLARE_PLAIN(...)
#define DECLARE_EMULATED(family, isa, mr, nr, kr, function) KernelFn_##family function##_simde;
#define ROW_AVX2                                            ROW_EMULATED
#define ROW_AVX_VNNI                                        ROW_EMULATED
#define ROW_AVX512                                          ROW_EMULATED
#define ROW_AVX512_VNNI                                     ROW_EMULATED
#define DECLARE_AVX2                                        DECLARE_EMULATED
#define DECLARE_AVX_VNNI                                    DECLARE_EMULATED
#define DECLARE_AVX512                                      DECLARE_EMULATED
#define DECLARE_AVX512_VNNI                                 DECLARE_EMULATED
#define FAMILY(family)

#define KERNEL(family, isa, mr, nr, kr, function) DECLARE_##isa(family, isa, mr, nr, kr, function)
#include "kernels/cpu/kernels.def"
#undef KERNEL

static const KernelRow EMULATED[] = {
#define KERNEL(family, isa, mr, nr, kr, function) ROW_##isa(family, isa, mr, nr, kr, function)
#include "kernels/cpu/kernels.def"
#undef KERNEL
};
enum { EMULATED_COUNT = sizeof EMULATED / sizeof EMULATED[0] };
#else
static const KernelRow EMULATED[1];
enum { EMULATED_COUNT = 0 };
#endif

enum { MAX_TAPS = 3, MAX_K = 40, MAX_COLUMNS = 64, LD = 71, GUARD = 3 };

static uint32_t random_state = 7;

static uint32_t random_u32(void) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state;
}

static float random_float(void) {
    static const float SPECIAL[] = {NAN, INFINITY, -INFINITY, -0.0f};
    if (random_u32() % 500 == 0) return SPECIAL[random_u32() % 4];
    return (float)(int)(random_u32() % 2001) / 1000.0f - 1.0f;
}

/* A tile in the plainest form: x[row][tap][c], w[column][tap][c]. */
typedef struct Case {
    int mr, n, taps, kc;
    bool extreme; /* 8-bit: largest products everywhere */
    IgemmType y_type;
    float xf[IGEMM_MAX_ROWS][MAX_TAPS][MAX_K], wf[MAX_COLUMNS][MAX_TAPS][MAX_K];
    int xq[IGEMM_MAX_ROWS][MAX_TAPS][MAX_K], wq[MAX_COLUMNS][MAX_TAPS][MAX_K];
    float bias_f[MAX_COLUMNS], mult[MAX_COLUMNS], residual[IGEMM_MAX_ROWS][LD];
    int32_t bias_q[MAX_COLUMNS], row_add[IGEMM_MAX_ROWS];
    bool with_residual, with_row_add;
    float lo, hi;
    int32_t y_zero;
} Case;

static void fill(Case *c) {
    for (int t = 0; t < c->taps; t++) {
        for (int k = 0; k < c->kc; k++) {
            for (int r = 0; r < c->mr; r++) {
                c->xf[r][t][k] = random_float();
                c->xq[r][t][k] = c->extreme ? 255 : (int)(random_u32() % 256);
            }
            for (int o = 0; o < MAX_COLUMNS; o++) {
                c->wf[o][t][k] = (float)(int)(random_u32() % 2001) / 1000.0f - 1.0f;
                c->wq[o][t][k] = c->extreme ? (o % 2 ? 127 : -128) : (int)(random_u32() % 256) - 128;
            }
        }
    }
    for (int o = 0; o < MAX_COLUMNS; o++) {
        c->bias_f[o] = (float)o * 0.25f;
        c->bias_q[o] = (int32_t)(random_u32() % 20000) - 10000;
        c->mult[o] = 0.01f / (float)(c->taps * c->kc) * (float)(1 + o % 7);
    }
    for (int r = 0; r < c->mr; r++) {
        c->row_add[r] = (int32_t)(random_u32() % 5000);
        for (int o = 0; o < LD; o++) c->residual[r][o] = random_float();
    }
}

/* The operands in the row's packed form. */
typedef struct Packed {
    _Alignas(64) float xf[MAX_TAPS][IGEMM_MAX_ROWS][MAX_K];
    uint8_t x8[MAX_TAPS][IGEMM_MAX_ROWS][MAX_K];
    int16_t x16[MAX_TAPS][IGEMM_MAX_ROWS][MAX_K];
    _Alignas(64) char w[MAX_COLUMNS * MAX_TAPS * MAX_K * 4];
    const void *pointers[MAX_TAPS][IGEMM_MAX_ROWS];
} Packed;

static void put_weight(const Case *c, const KernelRow *row, Packed *p, int64_t at, int o, int t, int k) {
    if (row->family == KERNEL_IGEMM_F32)
        ((float *)(void *)p->w)[at] = c->wf[o][t][k];
    else if (row->kr == 2)
        ((int16_t *)(void *)p->w)[at] = (int16_t)c->wq[o][t][k];
    else
        ((int8_t *)p->w)[at] = (int8_t)c->wq[o][t][k];
}

static void pack(const Case *c, const KernelRow *row, int lanes, Packed *p) {
    const int64_t panel = (int64_t)c->taps * c->kc * lanes;
    for (int t = 0; t < c->taps; t++) {
        for (int k = 0; k < c->kc; k++) {
            for (int r = 0; r < c->mr; r++) {
                p->xf[t][r][k] = c->xf[r][t][k];
                p->x8[t][r][k] = (uint8_t)c->xq[r][t][k];
                p->x16[t][r][k] = (int16_t)c->xq[r][t][k];
            }
            for (int o = 0; o < row->nr; o++) {
                int64_t step = (int64_t)t * c->kc + k;
                int64_t at = o / lanes * panel + (step / row->kr * lanes + o % lanes) * row->kr + step % row->kr;
                put_weight(c, row, p, at, o, t, k);
            }
        }
        for (int r = 0; r < c->mr; r++) {
            const void *x = row->kr == 2 ? (const void *)p->x16[t][r] : p->x8[t][r];
            p->pointers[t][r] = row->family == KERNEL_IGEMM_F32 ? p->xf[t][r] : x;
        }
    }
}

static float clamp(float lo, float x, float hi) {
    x = lo > x ? lo : x;
    return hi < x ? hi : x;
}

static bool expected_float(const Case *c, int r, int o, float got) {
    double sum = (double)c->bias_f[o], magnitude = 1.0;
    for (int t = 0; t < c->taps; t++)
        for (int k = 0; k < c->kc; k++) {
            double product = (double)c->xf[r][t][k] * (double)c->wf[o][t][k];
            sum += product, magnitude += fabs(product);
        }
    if (c->with_residual) sum += (double)c->residual[r][o];
    sum = (double)c->lo > sum ? (double)c->lo : sum;
    sum = (double)c->hi < sum ? (double)c->hi : sum;
    if (isnan(sum)) return isnan(got);
    if (isinf(sum)) return (double)got == sum;
    return fabs(sum - (double)got) <= 6e-8 * (double)(c->taps * c->kc + 4) * (magnitude + fabs(sum));
}

static bool expected_q8(const Case *c, int r, int o, const void *y, int64_t at) {
    uint32_t acc = (uint32_t)c->bias_q[o] + (c->with_row_add ? (uint32_t)c->row_add[r] : 0);
    for (int t = 0; t < c->taps; t++)
        for (int k = 0; k < c->kc; k++) acc += (uint32_t)(c->xq[r][t][k] * c->wq[o][t][k]);
    if (c->y_type == IGEMM_S32) return ((const uint32_t *)y)[at] == acc;
    float f = clamp(c->lo, (float)(int32_t)acc * c->mult[o], c->hi);
    if (c->y_type == IGEMM_F32) return ((const float *)y)[at] == f;
    return ((const uint8_t *)y)[at] == (uint8_t)((int32_t)lrintf(f) + c->y_zero);
}

static void run_case(Case *c, const KernelRow *row, int lanes) {
    static Packed p;
    static _Alignas(64) char y[(IGEMM_MAX_ROWS * LD + GUARD) * 4];
    fill(c);
    pack(c, row, lanes, &p);
    memset(y, 0x5a, sizeof y);
    const bool f32 = row->family == KERNEL_IGEMM_F32;
    IgemmTile tile = {.mr = c->mr,
                      .n = c->n,
                      .a = &p.pointers[0][0],
                      .a_step = IGEMM_MAX_ROWS,
                      .taps = c->taps,
                      .kc = c->kc,
                      .w = p.w,
                      .w_panel = (int64_t)c->taps * c->kc * lanes *
                                 (f32            ? 4
                                  : row->kr == 2 ? 2
                                                 : 1),
                      .bias = f32 ? (const void *)c->bias_f : c->bias_q,
                      .row_add = c->with_row_add ? c->row_add : NULL,
                      .mult = c->mult,
                      .lo = c->lo,
                      .hi = c->hi,
                      .y_zero = c->y_zero,
                      .y_type = c->y_type,
                      .residual = c->with_residual && f32 ? &c->residual[0][0] : NULL,
                      .ldr = LD,
                      .y = y,
                      .ldy = LD};
    ((KernelFn_IGEMM_F32 *)row->fn)(&tile);
    const int64_t size = c->y_type == IGEMM_U8 || c->y_type == IGEMM_S8 ? 1 : 4;
    for (int r = 0; r < c->mr; r++) {
        for (int o = 0; o < LD; o++) {
            const int64_t at = (int64_t)r * LD + o;
            bool good = true;
            if (o >= c->n) {
                for (int64_t b = 0; b < size; b++) good = good && y[at * size + b] == 0x5a;
            } else {
                good =
                    f32 ? expected_float(c, r, o, ((const float *)(const void *)y)[at]) : expected_q8(c, r, o, y, at);
            }
            if (!good) {
                print_error("%s: mr %d n %d taps %d kc %d type %d: row %d column %d\n", row->name, c->mr, c->n, c->taps,
                            c->kc, (int)c->y_type, r, o);
                fail();
            }
        }
    }
}

static void check_shape(const KernelRow *row, int lanes, int mr, int n) {
    static const IgemmType TYPES[] = {IGEMM_U8, IGEMM_S8, IGEMM_S32, IGEMM_F32};
    static Case c;
    const bool f32 = row->family == KERNEL_IGEMM_F32;
    for (int variant = 0; variant < 4; variant++) {
        c = (Case){.mr = mr, .n = n, .taps = 1 + variant % 3, .extreme = variant == 3};
        c.kc = row->kr * (1 + (int)(random_u32() % (uint32_t)(MAX_K / row->kr)));
        c.y_type = f32 ? IGEMM_F32 : TYPES[(variant + mr) % 4];
        c.with_residual = variant % 2 == 1;
        c.with_row_add = variant % 2 == 0;
        c.lo = variant == 0 ? -INFINITY : -0.5f, c.hi = variant == 0 ? INFINITY : 3.0f;
        if (c.y_type == IGEMM_U8) c.y_zero = 77, c.lo = -77.0f, c.hi = 178.0f;
        if (c.y_type == IGEMM_S8) c.y_zero = -5, c.lo = -123.0f, c.hi = 132.0f;
        run_case(&c, row, lanes);
    }
}

/* Panels of a family and instruction set are as wide as its first row. */
static int lanes_of(const KernelRow *rows, size_t count, const KernelRow *row) {
    for (size_t i = 0; i < count; i++)
        if (rows[i].family == row->family && rows[i].isa == row->isa) return rows[i].nr;
    return row->nr;
}

static void check_rows(const KernelRow *rows, size_t count, bool native) {
    size_t checked = 0;
    for (size_t i = 0; i < count; i++) {
        const KernelRow *row = &rows[i];
        if (row->family != KERNEL_IGEMM_F32 && row->family != KERNEL_IGEMM_Q8) continue;
        if (native && !isa_has(row->isa)) continue;
        const int lanes = lanes_of(rows, count, row), most = row->nr, least = most - lanes + 1;
        for (int mr = 1; mr <= row->mr; mr++)
            for (int n = least; n <= most; n += n == least || n >= most - 2 ? 1 : 3) check_shape(row, lanes, mr, n);
        checked++;
    }
    assert_true(checked > 0);
}

static void test_native_rows(void **state) {
    (void)state;
    size_t count;
    const KernelRow *rows = kernel_rows(&count);
    check_rows(rows, count, true);
}

static void test_emulated_rows(void **state) {
    (void)state;
    if (EMULATED_COUNT == 0) skip();
    check_rows(EMULATED, EMULATED_COUNT, false);
}

/* Widths around the vectors; the residual additions of all rows agree with the plain one bit for bit. */
static void check_post(const KernelRow *row, IgemmType type, int64_t n) {
    enum { MOST = 70 };
    const IgemmQAdd add = {.m_q = 0.9f, .m_r = 0.7f, .r_zero = 3, .zero = 9, .lo = 1.0f, .hi = 120.0f};
    uint32_t y[MOST], want[MOST], r[MOST];
    for (int i = 0; i < MOST; i++) {
        float a = (float)(int)(random_u32() % 2000) - 1000.0f;
        y[i] = random_u32(), r[i] = random_u32();
        if (type == IGEMM_F32) memcpy(&y[i], &a, 4), memcpy(&r[i], &(float){a * 3.7f}, 4);
    }
    memcpy(want, y, sizeof y);
    IgemmPost post = {.n = n, .y = want, .r = r, .y_type = type, .y_zero = 100, .add = &add};
    ((KernelFn_IGEMM_POST *)kernel_best_for(KERNEL_IGEMM_POST, ISA_PLAIN)->fn)(&post);
    post.y = y;
    ((KernelFn_IGEMM_POST *)row->fn)(&post);
    assert_memory_equal(y, want, sizeof y);
}

static void check_widen(const KernelRow *row, int64_t n, uint8_t sign) {
    uint8_t from[80];
    int16_t to[81];
    for (int i = 0; i < 80; i++) from[i] = (uint8_t)random_u32(), to[i] = -1;
    ((KernelFn_IGEMM_WIDEN *)row->fn)(to, from, n, sign);
    for (int64_t i = 0; i < n; i++) assert_int_equal(to[i], from[i] ^ sign);
    assert_int_equal(to[n], -1);
}

static void check_helpers(const KernelRow *rows, size_t count, bool native) {
    for (size_t i = 0; i < count; i++) {
        if (native && !isa_has(rows[i].isa)) continue;
        for (int64_t n = 1; n <= 70; n++) {
            if (rows[i].family == KERNEL_IGEMM_POST) {
                check_post(&rows[i], IGEMM_F32, n);
                check_post(&rows[i], IGEMM_U8, n);
                check_post(&rows[i], IGEMM_S8, n);
            } else if (rows[i].family == KERNEL_IGEMM_WIDEN) {
                check_widen(&rows[i], n, 0);
                check_widen(&rows[i], n, 0x80);
            }
        }
    }
}

static void test_helper_rows(void **state) {
    (void)state;
    size_t count;
    const KernelRow *rows = kernel_rows(&count);
    check_helpers(rows, count, true);
    check_helpers(EMULATED, EMULATED_COUNT, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native_rows),
        cmocka_unit_test(test_emulated_rows),
        cmocka_unit_test(test_helper_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
