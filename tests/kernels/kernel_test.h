/* Helpers shared by the kernel tests: a seeded generator, guarded buffers, the ISA rows to try and the team sizes. */
#ifndef PARE_TESTS_KERNELS_KERNEL_TEST_H
#define PARE_TESTS_KERNELS_KERNEL_TEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/cpu/isa.h"
#include "kernels/cpu/families.h"
#include "kernels/cpu/team.h"

#define COUNT_OF(a) (sizeof(a) / sizeof(a)[0])

/* A generator's state from two small numbers. */
static inline uint64_t test_seed(int64_t a, int64_t b) {
    return UINT64_C(0x9e3779b97f4a7c15) * (uint64_t)(2 * a + 1) + (uint64_t)b;
}

/* xorshift64*: the same numbers on every machine. */
static inline uint32_t test_random(uint64_t *state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return (uint32_t)((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

static inline int32_t test_range(uint64_t *state, int32_t lo, int32_t hi) {
    return lo + (int32_t)(test_random(state) % (uint32_t)(hi - lo + 1));
}

static inline float test_float(uint64_t *state, float lo, float hi) {
    return lo + (hi - lo) * ((float)(test_random(state) >> 8) / 16777216.0f);
}

/* 64-byte aligned memory filled with a pattern that shows writes outside of an output (0xa5, as a float -2.9e-16). */
static inline void *test_alloc(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    assert_non_null(p);
    memset(p, 0xa5, (bytes + 127) / 64 * 64);
    return p;
}

static inline float *test_floats(uint64_t *state, size_t n, float lo, float hi) {
    float *p = test_alloc(n * sizeof *p);
    for (size_t i = 0; i < n; i++) p[i] = test_float(state, lo, hi);
    return p;
}

static inline uint8_t *test_bytes(uint64_t *state, size_t n) {
    uint8_t *p = test_alloc(n);
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)test_random(state);
    return p;
}

/* Same bits, or both NaN, or near: absolutely or relatively. */
static inline bool test_near(float got, double want, double tol) {
    if (want != want) return got != got;
    if (isinf(want) || isinf((float)want)) return got == (float)want;
    return fabs((double)got - want) <= tol * (1.0 + fabs(want));
}

/* Bits of the ISAs to try one by one: those of the family's rows that this CPU has; all but plain C when emulated. */
static bool test_emulated;
static inline size_t test_isas(const char *family, uint32_t bits[ISA_COUNT]) {
    size_t n = 0, count;
    const Family *rows = family_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].family, family) == 0 && (test_emulated ? rows[i].isa != ISA_PLAIN : isa_has(rows[i].isa)))
            bits[n++] = 1u << rows[i].isa;
    assert_true(n > 0);
    return n;
}

#ifdef PARE_HAVE_SIMDE
#include "kernels/cpu/families_types.h"

#define SUFFIX_PLAIN(object)              object
#define SUFFIX_AVX2(object)               object##_simde
#define SUFFIX_AVX_VNNI(object)           object##_simde
#define SUFFIX_AVX512(object)             object##_simde
#define SUFFIX_AVX512_VNNI(object)        object##_simde
#define FAMILY(family, type, isa, suffix) extern const type SUFFIX_##isa(family##_##suffix);
#include "kernels/cpu/families.def"
#undef FAMILY
static const Family TEST_EMULATED[] = {
#define FAMILY(family, type, isa, suffix) {#family, ISA_##isa, &SUFFIX_##isa(family##_##suffix)},
#include "kernels/cpu/families.def"
#undef FAMILY
};

/* Has the vector rows' emulated copies take their place from here on. */
static inline bool test_emulate(void) {
    family_override(TEST_EMULATED, COUNT_OF(TEST_EMULATED));
    return test_emulated = true;
}
#else
static inline bool test_emulate(void) { return false; }
#endif

/* The tests on the rows that this CPU has, then on SIMDe's emulation of all vector rows where it is built in. */
#define RUN_NATIVE_AND_EMULATED(tests)                                                                                 \
    (cmocka_run_group_tests_name("native", tests, NULL, NULL) ||                                                       \
     (test_emulate() && cmocka_run_group_tests_name("emulated", tests, NULL, NULL)))

/* Teams of 1, 2 and 3 threads. */
enum { TEST_TEAMS = 3 };
static inline void test_teams(Team *teams[TEST_TEAMS]) {
    for (int i = 0; i < TEST_TEAMS; i++) {
        teams[i] = team_create(i + 1);
        assert_non_null(teams[i]);
    }
}
/* Emulated rows are slow, and splitting is the frames' doing: one team is enough for them. */
static inline int test_team_count(void) { return test_emulated ? 1 : TEST_TEAMS; }
static inline void test_teams_free(Team *teams[TEST_TEAMS]) {
    for (int i = 0; i < TEST_TEAMS; i++) team_destroy(teams[i]);
}

#endif
