/* Index of a graph's names: (kind, name) -> id. Internal to ir/. The strings are the graph's. */
#ifndef PARE_IR_NAMES_H
#define PARE_IR_NAMES_H

#include <stdbool.h>
#include <stdint.h>

typedef enum NameKind { NAME_VALUE, NAME_NODE } NameKind;
typedef struct NameIndex NameIndex;

NameIndex *names_new(void);
void names_free(NameIndex *x);
uint32_t names_find(const NameIndex *x, NameKind kind, const char *name); /* UINT32_MAX when absent */
/* Inserts or overwrites; `name` must outlive the index. False when memory is short. */
bool names_put(NameIndex *x, NameKind kind, const char *name, uint32_t id);
void names_remove(NameIndex *x, NameKind kind, const char *name);
/* Where to start looking for a free suffix of a taken name: keeps repeated requests linear. */
uint32_t names_suffix(NameIndex *x, NameKind kind, const char *name);

#endif
