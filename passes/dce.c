/* dce: nodes, constants and captures that no output needs. Of nodes and constants the runner takes care after every
 * pass, in subgraphs too. */
#include "passes/inline.h"

Status pass_dce(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    stats->changed += graph_eliminate_dead(g);
    FOR_NODES (g, id, n) {
        bool done = false;
        if (n->op->flags & OPF_CONTROL) TRY(inline_captures(g, id, &done));
        stats->changed += done;
    }
    return NULL;
}
