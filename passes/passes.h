/* The entry points of the passes (rows in passes/passes.def). */
#ifndef PARE_PASSES_PASSES_H
#define PARE_PASSES_PASSES_H

#include "passes/pass.h"

#define PASS(name, run, doc, keys) Status run(Graph *g, const PassOptions *o, PassStats *stats);
#include "passes/passes.def"
#undef PASS

#endif
