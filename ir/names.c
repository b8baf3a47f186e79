#include "ir/names.h"

#include "ir/mem.h"

#include <string.h>

typedef struct Slot {
    const char *name; /* NULL = never used */
    uint32_t id;      /* UINT32_MAX = removed */
    uint32_t suffix;
    NameKind kind;
} Slot;

struct NameIndex {
    Slot *slots;
    size_t n, cap; /* cap is a power of two */
};

NameIndex *names_new(void) { return mem_zalloc(sizeof(NameIndex)); }

void names_free(NameIndex *x) {
    if (!x) return;
    mem_free(x->slots);
    mem_free(x);
}

/* FNV-1a, 64 bits (Fowler, Noll, Vo). */
static uint64_t hash(NameKind kind, const char *s) {
    uint64_t h = 0xcbf29ce484222325u + (uint64_t)kind;
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    return h;
}

static Slot *find_slot(const NameIndex *x, NameKind kind, const char *name) {
    if (!x->cap) return NULL;
    size_t i = hash(kind, name) & (x->cap - 1);
    while (x->slots[i].name && (x->slots[i].kind != kind || strcmp(x->slots[i].name, name) != 0))
        i = (i + 1) & (x->cap - 1);
    return &x->slots[i];
}

uint32_t names_find(const NameIndex *x, NameKind kind, const char *name) {
    const Slot *s = find_slot(x, kind, name);
    return s && s->name ? s->id : UINT32_MAX;
}

static bool rehash(NameIndex *x) {
    NameIndex bigger = {.cap = x->cap ? 2 * x->cap : 64};
    bigger.slots = mem_zalloc(bigger.cap * sizeof(Slot));
    if (!bigger.slots) return false;
    for (size_t i = 0; i < x->cap; i++)
        if (x->slots[i].name) *find_slot(&bigger, x->slots[i].kind, x->slots[i].name) = x->slots[i];
    bigger.n = x->n;
    mem_free(x->slots);
    *x = bigger;
    return true;
}

bool names_put(NameIndex *x, NameKind kind, const char *name, uint32_t id) {
    if (2 * (x->n + 1) > x->cap && !rehash(x)) return false;
    Slot *s = find_slot(x, kind, name);
    if (!s->name) {
        x->n++;
        *s = (Slot){.suffix = 1};
    }
    s->name = name;
    s->kind = kind;
    s->id = id;
    return true;
}

void names_remove(NameIndex *x, NameKind kind, const char *name) {
    Slot *s = find_slot(x, kind, name);
    if (s && s->name) s->id = UINT32_MAX;
}

uint32_t names_suffix(NameIndex *x, NameKind kind, const char *name) {
    Slot *s = find_slot(x, kind, name);
    return s && s->name ? s->suffix++ : 1;
}
