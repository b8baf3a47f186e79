/* ctest: tsan */
/* Batched products of two run-time matrices against scalar loops, for every instruction set of this CPU, at 1, 2 and 3
 * threads: integers bit for bit, floats within rounding and equal across thread counts. */
#include "kernels/cpu/igemm/matmul.h"
#include "kernels/cpu/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { TEAMS = 3 };

static Team *teams[TEAMS];
static uint32_t random_state = 99;

static int64_t random_in(int64_t lo, int64_t hi) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return lo + (int64_t)(random_state % (uint32_t)(hi - lo + 1));
}

static bool is_byte(IgemmType t) { return t == IGEMM_U8 || t == IGEMM_S8; }
static size_t size_of(IgemmType t) { return is_byte(t) ? 1 : 4; }

static void *random_operand(IgemmType type, int64_t count) {
    char *p = malloc((size_t)count * size_of(type));
    assert_non_null(p);
    for (int64_t i = 0; i < count; i++) {
        if (type == IGEMM_F32)
            ((float *)(void *)p)[i] = (float)random_in(-1000, 1000) * 0.001f;
        else
            p[i] = (char)random_in(0, 255);
    }
    return p;
}

static double at(const void *p, IgemmType type, int64_t i) {
    if (type == IGEMM_F32) return (double)((const float *)p)[i];
    return type == IGEMM_U8 ? ((const uint8_t *)p)[i] : ((const int8_t *)p)[i];
}

/* Sums are exact in double for the 8-bit types. */
static bool good(const MatmulDesc *d, const void *x, const void *w, const void *y, int64_t x0, int64_t w0, int64_t y0,
                 int64_t row, int64_t column) {
    double sum = 0.0, magnitude = 1.0;
    for (int64_t k = 0; k < d->k; k++) {
        double a = at(x, d->x_type, x0 + row * d->ldx + k) - d->x_zero;
        double b = at(w, d->w_type, w0 + (d->w_transposed ? column * d->ldw + k : k * d->ldw + column)) - d->w_zero;
        sum += a * b, magnitude += fabs(a * b);
    }
    const int64_t i = y0 + row * d->ldy + column;
    if (d->y_type == IGEMM_S32) return (double)((const int32_t *)y)[i] == sum;
    if (d->x_type == IGEMM_F32)
        return fabs((double)((const float *)y)[i] - sum) <= 6e-8 * (double)(d->k + 2) * magnitude;
    float f = (float)sum * d->multiplier;
    if (d->y_type == IGEMM_F32) return ((const float *)y)[i] == f;
    const float least = d->y_type == IGEMM_U8 ? 0.0f : -128.0f, zero = (float)d->y_zero;
    f = fminf(fmaxf(f, least - zero), least + 255.0f - zero);
    return ((const uint8_t *)y)[i] == (uint8_t)((int32_t)lrintf(f) + d->y_zero);
}

static void run_isa(const MatmulDesc *d, const void *x, const void *w, int64_t y_count, Isa isa) {
    Matmul op;
    if (!matmul_init_isa(&op, d, isa)) {
        assert_false(isa_has(isa) && isa == ISA_PLAIN);
        return;
    }
    char *first = NULL;
    for (int t = 0; t < TEAMS; t++) {
        const size_t bytes = (matmul_scratch_bytes(&op, t + 1) + 63) / 64 * 64;
        char *scratch = aligned_alloc(64, bytes + 64), *y = calloc((size_t)y_count, size_of(d->y_type));
        assert_non_null(scratch);
        assert_non_null(y);
        memset(scratch, 0xee, bytes + 64);
        matmul_run(&op, x, w, y, scratch, teams[t]);
        for (int i = 0; i < 64; i++) assert_int_equal((uint8_t)scratch[bytes + (size_t)i], 0xee);
        for (int64_t b = 0; b < d->batch[0] * d->batch[1] * d->m * d->n; b++) {
            const int64_t column = b % d->n, row = b / d->n % d->m, batch = b / d->n / d->m;
            const int64_t outer = batch / d->batch[1], inner = batch % d->batch[1];
            if (!good(d, x, w, y, outer * d->x_batch[0] + inner * d->x_batch[1],
                      outer * d->w_batch[0] + inner * d->w_batch[1], outer * d->y_batch[0] + inner * d->y_batch[1], row,
                      column)) {
                print_error(
                    "%s: m %ld n %ld k %ld batch %ld,%ld types %d %d %d transposed %d: batch %ld row %ld column "
                    "%ld\n",
                    matmul_kernel_name(&op), (long)d->m, (long)d->n, (long)d->k, (long)d->batch[0], (long)d->batch[1],
                    (int)d->x_type, (int)d->w_type, (int)d->y_type, d->w_transposed, (long)batch, (long)row,
                    (long)column);
                fail();
            }
        }
        if (first != NULL) assert_memory_equal(first, y, (size_t)y_count * size_of(d->y_type));
        free(scratch);
        if (first == NULL)
            first = y;
        else
            free(y);
    }
    free(first);
}

static MatmulDesc random_desc(void) {
    static const IgemmType OUT[] = {IGEMM_U8, IGEMM_S8, IGEMM_S32, IGEMM_F32};
    MatmulDesc d = {.m = random_in(1, 40), .n = random_in(1, 70), .k = random_in(1, 50)};
    d.batch[0] = random_in(1, 3), d.batch[1] = random_in(1, 3);
    if (random_in(0, 2) > 0) {
        d.x_type = random_in(0, 1) ? IGEMM_U8 : IGEMM_S8, d.w_type = random_in(0, 1) ? IGEMM_U8 : IGEMM_S8;
        d.y_type = OUT[random_in(0, 3)];
        d.x_zero = (int32_t)random_in(0, 127), d.w_zero = (int32_t)random_in(0, 127);
        d.y_zero = (int32_t)random_in(0, 100);
        d.multiplier = 0.01f / (float)d.k;
    }
    d.w_transposed = random_in(0, 1);
    /* Heads side by side in a row, as in attention, or plain batches, or one operand for all. */
    const bool heads = random_in(0, 1);
    const int64_t row = d.w_transposed ? d.k : d.n, column = d.w_transposed ? d.n : d.k;
    d.ldx = heads ? d.k * d.batch[1] : d.k + random_in(0, 3);
    d.ldw = heads ? row * d.batch[1] : row + random_in(0, 3);
    d.ldy = heads ? d.n * d.batch[1] : d.n;
    d.x_batch[1] = heads ? d.k : d.m * d.ldx;
    d.w_batch[1] = heads ? row : column * d.ldw;
    d.y_batch[1] = heads ? d.n : d.m * d.ldy;
    d.x_batch[0] = d.m * d.ldx * (heads ? 1 : d.batch[1]);
    d.w_batch[0] = column * d.ldw * (heads ? 1 : d.batch[1]);
    d.y_batch[0] = d.m * d.ldy * (heads ? 1 : d.batch[1]);
    if (random_in(0, 3) == 0) d.w_batch[0] = 0;
    if (random_in(0, 3) == 0) d.w_batch[1] = 0;
    if (random_in(0, 5) == 0) d.x_batch[1] = 0;
    return d;
}

static void test_random_products(void **state) {
    (void)state;
    for (int i = 0; i < 150; i++) {
        const MatmulDesc d = random_desc();
        const int64_t room = d.batch[0] * d.batch[1];
        void *x = random_operand(d.x_type, room * d.m * (d.ldx + 4)),
             *w = random_operand(d.w_type, room * 70 * (d.ldw + 4));
        for (Isa isa = ISA_PLAIN; isa < ISA_COUNT; isa++) run_isa(&d, x, w, room * d.m * d.ldy, isa);
        free(x);
        free(w);
    }
}

static void test_impossible_descriptions(void **state) {
    (void)state;
    Matmul op;
    const MatmulDesc good_one = {.m = 2, .n = 3, .k = 4, .batch = {2, 1}, .y_batch = {6, 0}};
    MatmulDesc d = good_one;
    assert_true(matmul_init(&op, &d));
    assert_false((d = good_one, d.y_batch[0] = 0, matmul_init(&op, &d)));
    assert_false((d = good_one, d.w_type = IGEMM_S8, matmul_init(&op, &d)));
    assert_false((d = good_one, d.ldw = 2, matmul_init(&op, &d)));
    assert_false((d = good_one, d.k = 0, matmul_init(&op, &d)));
    assert_false((d = good_one, d.batch[0] = INT64_MAX / 2, matmul_init(&op, &d)));
    assert_false((d = good_one, d.batch[1] = -1, matmul_init(&op, &d)));
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
        cmocka_unit_test(test_random_products),
        cmocka_unit_test(test_impossible_descriptions),
    };
    return cmocka_run_group_tests(tests, start_teams, stop_teams);
}
