/* Ops that change nothing. Each row tells which input the output equals. */
#include "passes/noop.h"

#include <math.h>
#include <string.h>

typedef struct Noop {
    const Graph *g;
    const Node *n;
    Arena *scratch;
} Noop;

static bool same_type(const Noop *c, int i) {
    return i < c->n->n_in && edit_same_type(c->g, c->n->in[i], c->n->out[0]);
}

/* Constant input i of one value throughout. */
static bool is_all(const Noop *c, int i, double x) {
    const Tensor *t = i < c->n->n_in ? graph_constant(c->g, c->n->in[i]) : NULL;
    return t && tensor_count(t) <= (1 << 20) && edit_all_equal(t, x);
}

static int always(const Noop *c) {
    (void)c;
    return 0;
}
static int when_same_type(const Noop *c) { return same_type(c, 0) && edit_is_determined(c->g, c->n) ? 0 : -1; }
static int when_one_input(const Noop *c) { return c->n->n_in == 1 ? 0 : -1; }
static int when_one_output(const Noop *c) { return c->n->n_out == 1 ? 0 : -1; }

static int transpose(const Noop *c) {
    int64_t n;
    const int64_t *perm = attr_ints(c->n, "perm", &n);
    const Type *t = edit_ranked(c->g, c->n->in[0]);
    if (t && t->rank <= 1) return 0;
    for (int64_t i = 0; i < n; i++)
        if (perm[i] != i) return -1;
    return perm ? 0 : -1;
}

static int mul(const Noop *c) {
    if (is_all(c, 1, 1) && same_type(c, 0)) return 0;
    return is_all(c, 0, 1) && same_type(c, 1) ? 1 : -1;
}

static int divide(const Noop *c) { return is_all(c, 1, 1) && same_type(c, 0) ? 0 : -1; }
static int power(const Noop *c) { return is_all(c, 1, 1) && same_type(c, 0) ? 0 : -1; }

/* x + 0 turns -0 into 0, which only ops that look at the sign of a zero can tell. */
static bool users_ignore_zero_sign(const Noop *c) {
    const Value *v = &c->g->values[c->n->out[0]];
    for (uint32_t i = 0; i < v->n_uses; i++) {
        const Node *user = &c->g->nodes[v->uses[i].node];
        if (op_is(user, "Div") || op_is(user, "Reciprocal") || op_is(user, "Pow") || op_is(user, "BitCast"))
            return false;
    }
    return true;
}

static int add(const Noop *c) {
    for (int i = 0; i < 2; i++)
        if (is_all(c, 1 - i, 0) && same_type(c, i))
            return elem_is_float(c->g->values[c->n->out[0]].type.elem) && !users_ignore_zero_sign(c) ? -1 : i;
    return -1;
}

static int subtract(const Noop *c) { return is_all(c, 1, 0) && same_type(c, 0) ? 0 : -1; }

static int pad(const Noop *c) {
    const Tensor *pads = graph_constant(c->g, c->n->in[1]);
    return pads && edit_all_equal(pads, 0) ? 0 : -1;
}

/* Exporters write "to the end" as a large number: no dimension has that many elements. */
enum { TO_THE_END = 1000000000 };

/* A Slice that takes everything: of equal type, or with bounds from 0 to the end; steps must be 1. */
static int slice(const Noop *c) {
    const Node *n = c->n;
    int64_t count = 0, m = 0;
    bool same = same_type(c, 0);
    if (n->n_in == 5 && n->in[4] != NO_ID) {
        const int64_t *steps = edit_ints(c->g, n->in[4], c->scratch, &count);
        for (int64_t i = 0; steps && i < count; i++)
            if (steps[i] != 1) return -1;
        if (!steps) return -1;
    }
    if (same && edit_is_determined(c->g, n)) return 0;
    const int64_t *starts = edit_ints(c->g, n->in[1], c->scratch, &count);
    const int64_t *ends = edit_ints(c->g, n->in[2], c->scratch, &m);
    for (int64_t i = 0; starts && ends && i < count; i++)
        if (starts[i] != 0 || i >= m || ends[i] < TO_THE_END) return -1;
    return starts && ends ? 0 : -1;
}

/* The other input when one of two is the bound that Max or Min cannot pass. */
static int extremum(const Noop *c, double bound) {
    if (c->n->n_in == 1) return 0;
    for (int i = 0; c->n->n_in == 2 && i < 2; i++)
        if (is_all(c, 1 - i, bound) && same_type(c, i)) return i;
    return -1;
}

static int maximum(const Noop *c) { return extremum(c, -INFINITY); }
static int minimum(const Noop *c) { return extremum(c, INFINITY); }

static int where(const Noop *c) {
    for (int take = 0; take < 2; take++)
        if (is_all(c, 0, take) && same_type(c, take ? 1 : 2)) return take ? 1 : 2;
    return -1;
}

static int clip(const Noop *c) {
    double lo, hi;
    bool no_lo = c->n->n_in < 2 || c->n->in[1] == NO_ID || (edit_scalar(c->g, c->n->in[1], &lo) && lo == -INFINITY);
    bool no_hi = c->n->n_in < 3 || c->n->in[2] == NO_ID || (edit_scalar(c->g, c->n->in[2], &hi) && hi == INFINITY);
    return no_lo && no_hi ? 0 : -1;
}

static int cast(const Noop *c) {
    const Type *t = &c->g->values[c->n->in[0]].type;
    return t->kind == TYPE_TENSOR && t->elem != ELEM_UNDEFINED && (int64_t)t->elem == attr_int(c->n, "to") ? 0 : -1;
}

/* A mask that nobody reads, and no training: the output is the input. */
static int dropout(const Noop *c) {
    const Tensor *training = c->n->n_in > 2 ? graph_constant(c->g, c->n->in[2]) : NULL;
    bool off = c->n->n_in < 3 || c->n->in[2] == NO_ID || (training && edit_all_equal(training, 0));
    bool unread = c->n->n_out < 2 || (!c->g->values[c->n->out[1]].n_uses && !c->g->values[c->n->out[1]].is_output);
    return off && unread ? 0 : -1;
}

static const struct {
    const char *op;
    int (*source)(const Noop *c); /* input that the output equals, or -1 */
} rows[] = {
    {"Identity", always},
    {"Dropout", dropout},
    {"Cast", cast},
    {"Reshape", when_same_type},
    {"Flatten", when_same_type},
    {"Squeeze", when_same_type},
    {"Unsqueeze", when_same_type},
    {"Expand", when_same_type},
    {"Tile", when_same_type},
    {"Slice", slice},
    {"Pad", pad},
    {"Transpose", transpose},
    {"Mul", mul},
    {"Div", divide},
    {"Pow", power},
    {"Add", add},
    {"Sub", subtract},
    {"Concat", when_one_input},
    {"Max", maximum},
    {"Min", minimum},
    {"Sum", when_one_input},
    {"Mean", when_one_input},
    {"Where", where},
    {"Clip", clip},
    {"Split", when_one_output},
};

Status noop_remove(Graph *g, NodeId id, Arena *scratch, bool *removed) {
    Noop c = {g, &g->nodes[id], scratch};
    *removed = false;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!op_is(c.n, rows[i].op)) continue;
        int source = rows[i].source(&c);
        if (source >= 0) TRY(edit_bypass(g, id, c.n->in[source], removed));
        return NULL;
    }
    return NULL;
}
