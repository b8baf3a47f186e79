/* Frame of the reductions. */
#include "kernels/cpu/move/reduce.h"

#include "kernels/cpu/families.h"

enum { REDUCE_GRAIN = 4096 /* elements handed out together */ };

void reduce_prepare(Reduce *r, uint32_t isa_bits) { r->ops = family_find("reduce", isa_bits)->ops; }

typedef struct {
    const Reduce *r;
    const float *x;
    float *y;
} ReduceRun;

static int64_t reduce_parts(const Reduce *r) { return (r->inner + r->ops->lanes - 1) / r->ops->lanes; }

/* An item is one row, or up to `lanes` neighbouring columns. */
static void reduce_items(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const ReduceRun *run = arg;
    const Reduce *r = run->r;
    const int64_t parts = reduce_parts(r), lanes = r->ops->lanes;
    for (int64_t i = begin; i < end; i++) {
        if (r->inner == 1) {
            run->y[i] = r->ops->row[r->kind](run->x + i * r->len, (size_t)r->len);
            continue;
        }
        const int64_t column = i % parts * lanes, outer = i / parts;
        const int64_t n = r->inner - column < lanes ? r->inner - column : lanes;
        r->ops->columns[r->kind](run->y + outer * r->inner + column, run->x + outer * r->len * r->inner + column,
                                 (size_t)r->len, (size_t)r->inner, (size_t)n);
    }
}

void reduce_run(const Reduce *r, const float *x, float *y, Team *team) {
    ReduceRun run = {.r = r, .x = x, .y = y};
    const int64_t grain = r->len > 0 && r->len < REDUCE_GRAIN ? REDUCE_GRAIN / r->len : 1;
    if (r->len > 0) team_run(team, reduce_items, &run, r->outer * reduce_parts(r), grain);
}
