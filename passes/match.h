/* Patterns over the graph, written as text, so that recognising a decomposed op is one line:
 *
 *   Div(d=Sub(x, ReduceMean(x, ax)), Sqrt(Add(ReduceMean(Pow(d, 2)|Mul(d, d), ax), $eps)))
 *
 *   Name(…)     a node of the default domain; inputs of commutative ops match in both orders; trailing absent inputs
 * need not be written x           any value; a second x must be the same value d=…         the value that … matches, by
 * name 2, -0.5     a constant with one element of that value (relative tolerance 4e-6, the rounding of constants in
 * files) $eps        any constant with one element #w          any constant _           an absent input ~…          …
 * seen through ops that only insert or remove dimensions of size 1 (Reshape, Squeeze, Unsqueeze, Expand to the same
 * number of elements) A|B         either
 *
 * A match is closed: what the matched nodes but the last compute is used inside the match only, so that replacing the
 * last node removes all of them. */
#ifndef PARE_PASSES_MATCH_H
#define PARE_PASSES_MATCH_H

#include "ir/op.h"

enum { MATCH_MAX_NAMES = 16, MATCH_MAX_NODES = 32 };

typedef struct Pattern Pattern;

typedef struct Match {
    const Graph *g;
    const Pattern *pattern;
    ValueId values[MATCH_MAX_NAMES]; /* by the pattern's own numbering of names; NO_ID = unbound */
    NodeId nodes[MATCH_MAX_NODES];   /* matched nodes; the first is the root */
    int n_nodes;
} Match;

/* Parses a pattern into the arena. STATUS_INTERNAL for a broken text: patterns are our own. */
PARE_NODISCARD Status match_compile(Arena *a, const char *text, const Pattern **out);
/* Matches with node `root` as the last one. */
bool match_at(const Graph *g, const Pattern *p, NodeId root, Match *m);
/* The value of a name; NO_ID when the alternative that holds it was not taken. */
ValueId match_value(const Match *m, const char *name);
/* The element of a scalar constant bound to `name` ("eps" for $eps), 0 when unbound. */
double match_scalar(const Match *m, const char *name);
/* The node that computes a named value, NULL when there is none. */
const Node *match_node(const Match *m, const char *name);

/* v, or what it was before ops that only insert or remove dimensions of size 1. */
ValueId match_through_views(const Graph *g, ValueId v);
/* a is about b: to a relative 4e-6. */
bool match_close(double a, double b);

#endif
