/* A small map from names to numbers, in an arena. Internal to frontend/. */
#ifndef PARE_FRONTEND_ONNX_NAMES_H
#define PARE_FRONTEND_ONNX_NAMES_H

#include "ir/mem.h"

typedef struct NameSlot {
    const char *name; /* NULL: free */
    uint32_t value;
} NameSlot;

/* {.arena = a} is an empty map. Names are not copied: they must outlive it. */
typedef struct NameMap {
    Arena *arena;
    NameSlot *slots;
    uint32_t n, cap; /* cap is a power of two */
} NameMap;

bool name_map_find(const NameMap *m, const char *name, uint32_t *value);
/* Inserts or overwrites; false when memory is short. */
bool name_map_put(NameMap *m, const char *name, uint32_t value);

#endif
