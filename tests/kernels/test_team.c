/* ctest: tsan */
/* The thread team and the choice of instruction set. */
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

enum { MOST_ITEMS = 3000, MOST_THREADS = 5 };

typedef struct Visits {
    int count[MOST_ITEMS];
    int64_t grain, n;
    int bad;
    FpState fp;
    int in_use[MOST_THREADS]; /* as scratch indexed by thread_id is: two calls at once would race */
} Visits;

static void visit(void *arg, int64_t begin, int64_t end, int thread_id) {
    Visits *v = arg;
    v->in_use[thread_id]++;
    if (begin % v->grain != 0 || (end % v->grain != 0 && end != v->n) || begin >= end) v->bad = 1;
    if (fp_current() != v->fp) v->bad = 1;
    for (int64_t i = begin; i < end; i++) v->count[i]++;
    v->in_use[thread_id]--;
}

static void check_visits(const Visits *v) {
    assert_false(v->bad);
    for (int64_t i = 0; i < MOST_ITEMS; i++) assert_int_equal(v->count[i], i < v->n ? 1 : 0);
}

static void test_every_item_once(void **state) {
    (void)state;
    static Visits v;
    const FpState saved = fp_enter();
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        Team *team = team_create(threads);
        assert_non_null(team);
        assert_int_equal(team_size(team), threads);
        for (int64_t n = 0; n < MOST_ITEMS; n += 1 + n / 3) {
            for (int64_t grain = 1; grain < 100; grain *= 7) {
                v = (Visits){.grain = grain, .n = n, .fp = fp_current()};
                team_run(team, visit, &v, n, grain);
                check_visits(&v);
            }
        }
        team_destroy(team);
    }
    fp_leave(saved);
}

static void test_no_team_is_serial(void **state) {
    (void)state;
    static Visits v;
    v = (Visits){.grain = 1, .n = 17, .fp = fp_current()};
    assert_int_equal(team_size(NULL), 1);
    team_run(NULL, visit, &v, 17, 1);
    check_visits(&v);
    team_destroy(NULL);
}

/* Sleeping threads wake up for later loops. */
static void test_work_after_sleep(void **state) {
    (void)state;
    static Visits v;
    Team *team = team_create(3);
    for (int i = 0; i < 5; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
        v = (Visits){.grain = 1, .n = MOST_ITEMS, .fp = fp_current()};
        team_run(team, visit, &v, MOST_ITEMS, 1);
        check_visits(&v);
    }
    team_destroy(team);
}

typedef struct Nested {
    Team *team;
    Visits inner[8];
} Nested;

static void run_inner(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    Nested *n = arg;
    for (int64_t i = begin; i < end; i++) {
        n->inner[i] = (Visits){.grain = 1, .n = 100, .fp = fp_current()};
        team_run(n->team, visit, &n->inner[i], 100, 1);
    }
}

static void test_nested_loops(void **state) {
    (void)state;
    static Nested n;
    n.team = team_create(3);
    team_run(n.team, run_inner, &n, 8, 1);
    for (int i = 0; i < 8; i++) check_visits(&n.inner[i]);
    team_destroy(n.team);
}

static void *other_caller(void *arg) {
    Team *team = arg;
    static Visits v;
    for (int i = 0; i < 300; i++) {
        v = (Visits){.grain = 1, .n = 50, .fp = fp_current()};
        team_run(team, visit, &v, 50, 1);
        check_visits(&v);
    }
    return NULL;
}

static void test_two_callers(void **state) {
    (void)state;
    static Visits v;
    Team *team = team_create(2);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, other_caller, team), 0);
    for (int i = 0; i < 300; i++) {
        v = (Visits){.grain = 1, .n = 50, .fp = fp_current()};
        team_run(team, visit, &v, 50, 1);
        check_visits(&v);
    }
    pthread_join(thread, NULL);
    team_destroy(team);
}

static void test_floating_point_state(void **state) {
    (void)state;
    volatile float tiny = 1e-30f;
    const FpState before = fp_current(), saved = fp_enter();
#if defined(__x86_64__) || defined(__aarch64__)
    volatile float flushed = tiny * 1e-10f;
    assert_true(flushed == 0.0f);
#endif
    fp_leave(saved);
    assert_true(fp_current() == before);
    volatile float kept = tiny * 1e-10f;
    assert_true(kept != 0.0f);
}

static void test_isa_levels(void **state) {
    (void)state;
    const uint32_t all = (1u << ISA_COUNT) - 1;
    uint32_t mask = all;
    assert_true(isa_lower("plain", &mask));
    assert_int_equal(mask, 1u << ISA_PLAIN);
    assert_true(isa_lower("avx512_vnni", &mask)); /* never raises */
    assert_int_equal(mask, 1u << ISA_PLAIN);
    mask = all;
    assert_true(isa_lower("avx2", &mask));
    assert_int_equal(mask, 1u << ISA_PLAIN | 1u << ISA_AVX2);
    mask = all;
    assert_true(isa_lower("avx512", &mask));
    assert_false(mask & 1u << ISA_AVX512_VNNI);
    assert_true(mask & 1u << ISA_AVX512);
    mask = all;
    assert_false(isa_lower("sse9", &mask));
    assert_int_equal(mask, all);
    assert_true(isa_has(ISA_PLAIN));
    assert_true(isa_has(isa_best()));
    for (Isa isa = ISA_PLAIN; isa < ISA_COUNT; isa++) assert_string_not_equal(isa_name(isa), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_item_once),  cmocka_unit_test(test_no_team_is_serial),
        cmocka_unit_test(test_work_after_sleep), cmocka_unit_test(test_nested_loops),
        cmocka_unit_test(test_two_callers),      cmocka_unit_test(test_floating_point_state),
        cmocka_unit_test(test_isa_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
