#include "frontend/onnx_names.h"

#include <string.h>

static uint64_t hash_name(const char *s) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    return h ^ h >> 32;
}

/* The slot of `name`, or the free one where it would go. */
static NameSlot *probe(NameSlot *slots, uint32_t cap, const char *name) {
    uint32_t i = (uint32_t)hash_name(name) & (cap - 1);
    while (slots[i].name && strcmp(slots[i].name, name) != 0) i = (i + 1) & (cap - 1);
    return &slots[i];
}

bool name_map_find(const NameMap *m, const char *name, uint32_t *value) {
    if (!m->cap) return false;
    const NameSlot *slot = probe(m->slots, m->cap, name);
    if (slot->name) *value = slot->value;
    return slot->name != NULL;
}

static bool widen(NameMap *m) {
    uint32_t cap = m->cap ? m->cap * 2 : 64;
    NameSlot *slots = cap ? ARENA_ARRAY(m->arena, NameSlot, cap) : NULL;
    if (!slots) return false;
    for (uint32_t i = 0; i < m->cap; i++)
        if (m->slots[i].name) *probe(slots, cap, m->slots[i].name) = m->slots[i];
    m->slots = slots;
    m->cap = cap;
    return true;
}

bool name_map_put(NameMap *m, const char *name, uint32_t value) {
    if (m->n >= m->cap / 2 && !widen(m)) return false;
    NameSlot *slot = probe(m->slots, m->cap, name);
    if (!slot->name) m->n++;
    *slot = (NameSlot){name, value};
    return true;
}
