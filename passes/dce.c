/* dce: nodes and constants that no output needs. The runner does the same after every pass, in subgraphs too; this pass
 * is for pipelines that want nothing else. */
#include "passes/edit.h"

Status pass_dce(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    stats->changed += graph_eliminate_dead(g);
    return NULL;
}
