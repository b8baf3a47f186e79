#include "kernels/cpu/team.h"

#include "kernels/cpu/isa.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

enum {
    CACHE_LINE = 64,
    SPIN_NS = 60 * 1000,  /* how long an idle thread stays hot: longer than the gaps between layers */
    PAUSES_PER_CHECK = 32 /* pauses between looks at the clock */
};

/* A share of the loop in units of grains: begin in the low half, end in the high half. The owner takes from the front,
 * thieves from the back; both by compare-and-swap on this one word. */
typedef struct Share {
    _Alignas(CACHE_LINE) _Atomic uint64_t range;
} Share;

typedef struct Worker {
    Team *team;
    int id;
    pthread_t thread;
} Worker;

/* `state` opens and closes loops: generation in the high 32 bits, OPEN, and the number of threads inside in the low
 * bits. Everything else of the job is written before the word is published and read only by threads that entered. */
#define STATE_OPEN   ((uint64_t)1 << 31)
#define STATE_INSIDE (STATE_OPEN - 1)

struct Team {
    _Alignas(CACHE_LINE) _Atomic uint64_t state;
    _Alignas(CACHE_LINE) TeamFn fn;
    void *arg;
    int64_t n_items, grain;
    int n_shares;
    FpState fp;
    _Alignas(CACHE_LINE) atomic_flag busy;
    _Atomic int sleepers;
    _Atomic bool stop;
    int n_threads;
    int n_started;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    Worker *workers;
    Share *shares;
};

static inline void cpu_pause(void) {
#if PARE_X86_64
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t range_make(uint64_t begin, uint64_t end) { return begin | (end << 32); }

/* Takes part of a share. The owner takes half of what is left, so that few calls are made and the rest can still be
 * stolen; a thief takes half from the other end. Returns the number of units taken, from *begin. */
static uint64_t share_take(Share *share, bool own, uint64_t *begin) {
    uint64_t old = atomic_load_explicit(&share->range, memory_order_relaxed);
    for (;;) {
        uint64_t lo = old & 0xffffffffu, hi = old >> 32;
        if (lo >= hi) return 0;
        uint64_t take = (hi - lo + 1) / 2;
        uint64_t rest = own ? range_make(lo + take, hi) : range_make(lo, hi - take);
        if (atomic_compare_exchange_weak_explicit(&share->range, &old, rest, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            *begin = own ? lo : hi - take;
            return take;
        }
    }
}

static void run_units(const Team *team, uint64_t begin, uint64_t count, int thread_id) {
    int64_t first = (int64_t)begin * team->grain;
    int64_t last = (int64_t)(begin + count) * team->grain;
    if (last > team->n_items) last = team->n_items;
    team->fn(team->arg, first, last, thread_id);
}

/* Works until no unit is left to begin: first the own share, then the others'. */
static void run_shares(Team *team, int thread_id) {
    uint64_t begin, count;
    for (int i = 0; i < team->n_shares; i++) {
        Share *share = &team->shares[(thread_id + i) % team->n_shares];
        while ((count = share_take(share, i == 0 && thread_id < team->n_shares, &begin)) != 0)
            run_units(team, begin, count, thread_id);
    }
}

/* Enters the loop of a newer generation than *seen, if one is open. */
static bool try_enter(Team *team, uint32_t *seen) {
    uint64_t s = atomic_load_explicit(&team->state, memory_order_acquire);
    while ((s & STATE_OPEN) != 0 && (uint32_t)(s >> 32) != *seen) {
        if (atomic_compare_exchange_weak_explicit(&team->state, &s, s + 1, memory_order_acquire,
                                                  memory_order_acquire)) {
            *seen = (uint32_t)(s >> 32);
            return true;
        }
    }
    return false;
}

static bool work_waiting(Team *team, uint32_t seen) {
    uint64_t s = atomic_load(&team->state);
    return ((s & STATE_OPEN) != 0 && (uint32_t)(s >> 32) != seen) || atomic_load(&team->stop);
}

/* Spins for a while, then sleeps, until there may be work or the team stops. `sleepers` and `state` are sequentially
 * consistent: either the opener sees the sleeper or the sleeper sees the open loop. */
static void wait_for_work(Team *team, uint32_t seen) {
    uint64_t deadline = now_ns() + SPIN_NS;
    do {
        for (int i = 0; i < PAUSES_PER_CHECK; i++) {
            if (work_waiting(team, seen)) return;
            cpu_pause();
        }
    } while (now_ns() < deadline);
    pthread_mutex_lock(&team->mutex);
    atomic_fetch_add(&team->sleepers, 1);
    while (!work_waiting(team, seen)) pthread_cond_wait(&team->wake, &team->mutex);
    atomic_fetch_sub(&team->sleepers, 1);
    pthread_mutex_unlock(&team->mutex);
}

static void *worker_main(void *p) {
    Worker *worker = p;
    Team *team = worker->team;
    uint32_t seen = 0;
    while (!atomic_load_explicit(&team->stop, memory_order_relaxed)) {
        if (!try_enter(team, &seen)) {
            wait_for_work(team, seen);
            continue;
        }
        fp_leave(team->fp);
        run_shares(team, worker->id);
        atomic_fetch_sub_explicit(&team->state, 1, memory_order_release);
    }
    return NULL;
}

static void wake_sleepers(Team *team) {
    if (atomic_load(&team->sleepers) == 0) return;
    pthread_mutex_lock(&team->mutex);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->mutex);
}

int team_size(const Team *team) { return team == NULL ? 1 : team->n_threads; }

void team_destroy(Team *team) {
    if (team == NULL) return;
    atomic_store(&team->stop, true);
    wake_sleepers(team);
    for (int i = 0; i < team->n_started; i++) pthread_join(team->workers[i].thread, NULL);
    pthread_cond_destroy(&team->wake);
    pthread_mutex_destroy(&team->mutex);
    free(team->shares);
    free(team->workers);
    free(team);
}

static bool start_threads(Team *team) {
    for (int i = 0; i < team->n_threads - 1; i++) {
        Worker *worker = &team->workers[i];
        *worker = (Worker){.team = team, .id = i + 1};
        if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0) return false;
        team->n_started++;
    }
    return true;
}

Team *team_create(int n_threads) {
    if (n_threads < 1) n_threads = 1;
    if (n_threads > TEAM_MAX_THREADS) n_threads = TEAM_MAX_THREADS;
    size_t n = (size_t)n_threads;
    Team *team = aligned_alloc(CACHE_LINE, sizeof *team);
    Worker *workers = calloc(n, sizeof *workers);
    Share *shares = aligned_alloc(CACHE_LINE, n * sizeof *shares);
    if (team == NULL || workers == NULL || shares == NULL) goto fail;
    *team = (Team){.busy = ATOMIC_FLAG_INIT, .n_threads = n_threads, .workers = workers, .shares = shares};
    if (pthread_mutex_init(&team->mutex, NULL) != 0) goto fail;
    if (pthread_cond_init(&team->wake, NULL) != 0) {
        pthread_mutex_destroy(&team->mutex);
        goto fail;
    }
    if (!start_threads(team)) {
        team_destroy(team);
        return NULL;
    }
    return team;
fail:
    free(shares);
    free(workers);
    free(team);
    return NULL;
}

/* Publishes the loop, works on it, closes it and waits for the threads inside. */
static void fork_join(Team *team, int64_t units) {
    int64_t n_shares = units < team->n_threads ? units : team->n_threads;
    team->n_shares = (int)n_shares;
    for (int64_t i = 0; i < n_shares; i++) {
        uint64_t range = range_make((uint64_t)(units * i / n_shares), (uint64_t)(units * (i + 1) / n_shares));
        atomic_store_explicit(&team->shares[i].range, range, memory_order_relaxed);
    }
    uint64_t generation = (atomic_load_explicit(&team->state, memory_order_relaxed) >> 32) + 1;
    if ((uint32_t)generation == 0) generation = 1; /* 0 is what a new thread has seen */
    atomic_store(&team->state, (generation << 32) | STATE_OPEN);
    wake_sleepers(team);
    run_shares(team, 0);
    atomic_fetch_and_explicit(&team->state, ~STATE_OPEN, memory_order_relaxed);
    uint64_t spins = 0;
    while ((atomic_load_explicit(&team->state, memory_order_acquire) & STATE_INSIDE) != 0) {
        cpu_pause();
        /* On a crowded machine the awaited thread may need this core. */
        if (++spins % 1024 == 0) sched_yield();
    }
}

void team_run(Team *team, TeamFn fn, void *arg, int64_t n_items, int64_t grain) {
    if (n_items <= 0) return;
    if (grain < 1) grain = 1;
    bool alone = team == NULL || team->n_threads == 1 || n_items <= grain;
    if (alone || atomic_flag_test_and_set_explicit(&team->busy, memory_order_acquire)) {
        fn(arg, 0, n_items, 0);
        return;
    }
    /* Share bounds are 32-bit; a coarser grain is a multiple of the wanted one. */
    while (n_items / grain >= INT32_MAX) grain *= 2;
    int64_t units = n_items / grain + (n_items % grain != 0);
    team->fn = fn;
    team->arg = arg;
    team->n_items = n_items;
    team->grain = grain;
    team->fp = fp_current();
    fork_join(team, units);
    atomic_flag_clear_explicit(&team->busy, memory_order_release);
}
