/* dce: the runner removes what no output needs after every pass, in subgraphs too; this pass is the place to ask for
 * nothing else. It also removes uses of values by nodes whose outputs are all unused inside one walk. */
#include "passes/edit.h"

Status pass_dce(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    stats->changed += graph_eliminate_dead(g);
    return NULL;
}
