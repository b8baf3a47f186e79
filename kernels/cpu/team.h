/* A persistent team of threads that executes loops: the only source of parallelism of the CPU kernels.
 *
 * A team belongs to one execution context. team_run() splits [0, n_items) into ranges whose bounds are multiples of
 * `grain`, gives each thread a contiguous share (so that the core that wrote a part of a buffer tends to read it in the
 * next loop) and lets idle threads take work from the others. Kernels must compute every item independently of the
 * range it arrives in; then results are the same at every thread count.
 *
 * Fork and join cost about a microsecond while the threads are hot: they spin for a short while after a loop and then
 * sleep. Nothing is allocated and no lock is taken per call unless a thread sleeps. A thread that wakes late finds the
 * loop closed and delays nobody. */
#ifndef PARE_KERNELS_CPU_TEAM_H
#define PARE_KERNELS_CPU_TEAM_H

#include <stdint.h>

enum { TEAM_MAX_THREADS = 256 };

typedef struct Team Team;

/* Executes items begin <= i < end; thread_id is in [0, team_size) and no two concurrent calls of one loop share it, so
 * it may index per-thread scratch. */
typedef void (*TeamFn)(void *arg, int64_t begin, int64_t end, int thread_id);

/* Starts n_threads - 1 threads (the caller of team_run is the remaining one). n_threads is clamped to
 * [1, TEAM_MAX_THREADS]. Returns NULL when memory or threads cannot be had; the caller owns the result. */
Team *team_create(int n_threads);

/* Stops and joins the threads. NULL is allowed. No team_run may be in flight. */
void team_destroy(Team *team);

/* Number of threads, 1 for NULL: the number of per-thread scratch areas a kernel needs. */
int team_size(const Team *team);

/* Runs fn over [0, n_items) and returns when all is done. grain >= 1 is the smallest range worth handing out. `team`
 * may be NULL (the caller does everything). A call from inside fn, or from a second thread while the team is busy, runs
 * on the caller alone with thread_id 0. The floating-point state of the caller holds in all threads. */
void team_run(Team *team, TeamFn fn, void *arg, int64_t n_items, int64_t grain);

#endif
