/* Offsets of buffers with known lifetimes in one arena: greedy by size (Pisarchyk and Lee, "Efficient Memory Management
 * for Deep Neural Net Inference", 2020): the largest buffers first, each at the lowest place where no buffer that lives
 * at the same time lies. */
#include "backends/cpu/plan.h"

#include <stdlib.h>

typedef struct Item {
    size_t bytes;
    uint32_t buffer;
} Item;

static int larger_first(const void *x, const void *y) {
    const Item *a = x, *b = y;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    return a->buffer < b->buffer ? -1 : a->buffer > b->buffer;
}

static bool live_together(const Buffer *a, const Buffer *b) { return a->first <= b->last && b->first <= a->last; }

/* Lowest offset for `b` among the buffers placed so far, which `placed` lists by rising offset. */
static size_t lowest_fit(const Plan *p, const Buffer *b, const uint32_t *placed, uint32_t n) {
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        const Buffer *x = &p->buffers[placed[i]];
        if (!live_together(x, b)) continue;
        if (at + b->bytes <= x->offset) break;
        if (x->offset + x->bytes > at) at = x->offset + x->bytes;
    }
    return at;
}

static void insert_by_offset(const Plan *p, uint32_t *placed, uint32_t n, uint32_t buffer) {
    uint32_t i = n;
    for (; i && p->buffers[placed[i - 1]].offset > p->buffers[buffer].offset; i--) placed[i] = placed[i - 1];
    placed[i] = buffer;
}

Status plan_arena(Plan *p) {
    Item *items = ARENA_ARRAY(p->memory, Item, p->n_buffers);
    uint32_t *placed = ARENA_ARRAY(p->memory, uint32_t, p->n_buffers);
    TRY_ALLOC(items && placed);
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        Buffer *b = &p->buffers[i];
        b->bytes = (b->bytes + MEM_ALIGN - 1) & ~(size_t)(MEM_ALIGN - 1);
        items[i] = (Item){b->bytes, i};
    }
    qsort(items, p->n_buffers, sizeof *items, larger_first);
    for (uint32_t i = 0; i < p->n_buffers; i++) {
        Buffer *b = &p->buffers[items[i].buffer];
        b->offset = lowest_fit(p, b, placed, i);
        insert_by_offset(p, placed, i, items[i].buffer);
        if (b->offset + b->bytes > p->arena_bytes) p->arena_bytes = b->offset + b->bytes;
    }
    return NULL;
}
