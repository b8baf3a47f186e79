/* What the parts of the recognize pass share.
 *
 *   recognize.c       the driver; clips, rectifiers, sigmoids, softmax: rules that are one pattern each
 *   recognize_gate.c  activations made of one nonlinear op and arithmetic around it, in any order
 *   recognize_norm.c  layer, instance and RMS normalization */
#ifndef PARE_PASSES_RECOGNIZE_H
#define PARE_PASSES_RECOGNIZE_H

#include "passes/edit.h"
#include "passes/match.h"

/* A rule: where `pattern` matches, apply() builds the replacement; *done says whether it did. */
typedef struct Rule {
    const char *root; /* op of the last node (the first word of every alternative of the pattern) */
    const char *pattern;
    Status (*apply)(Graph *g, const Match *m, bool *done);
} Rule;

/* Normalization rules; n of them. */
const Rule *recognize_norm_rules(int *n);
/* Takes a following Mul or Add by constants into a normalization's scale or bias. */
PARE_NODISCARD Status recognize_norm_affine(Graph *g, NodeId id, bool *done);
/* Tries to find an activation around node id (Erf, Tanh, Sigmoid, Clip, HardSigmoid). */
PARE_NODISCARD Status recognize_gate(Graph *g, NodeId id, bool *done);

/* Replaces the match's root by `op` with x alone, when x has the root's type. */
PARE_NODISCARD Status recognize_replace(Graph *g, const Match *m, const char *op, ValueId x, NodeId *node, bool *done);

#endif
