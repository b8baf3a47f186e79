#include "backends/backend.h"

#include <string.h>

extern const Backend backend_ref, backend_cpu;

static const Backend *const table[] = {&backend_cpu, &backend_ref};
enum { N_BACKENDS = sizeof table / sizeof *table };

int backend_count(void) { return N_BACKENDS; }
const Backend *backend_at(int i) { return i >= 0 && i < N_BACKENDS ? table[i] : NULL; }

const Backend *backend_find(const char *name) {
    for (int i = 0; i < N_BACKENDS; i++)
        if (!strcmp(table[i]->name, name)) return table[i];
    return NULL;
}
