#include "passes/match.h"

#include "passes/edit.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum PatKind {
    PAT_OP,
    PAT_VALUE,
    PAT_NUMBER,
    PAT_SCALAR,
    PAT_CONST,
    PAT_ABSENT,
    PAT_THROUGH,
    PAT_EITHER
} PatKind;

enum { PAT_MAX_INPUTS = 5 };

typedef struct Pat {
    PatKind kind;
    int name; /* number of the name that the value is bound to, or -1 */
    const char *op;
    double number;
    int n;
    struct Pat *in[PAT_MAX_INPUTS];
} Pat;

struct Pattern {
    Pat *root;
    const char *names[MATCH_MAX_NAMES];
    int n_names;
};

/* ---- parser ---- */

typedef struct PatParser {
    Arena *a;
    Pattern *p;
    const char *s;
    bool failed, out_of_memory; /* the second implies the first */
} PatParser;

static void skip_blanks(PatParser *x) { x->s += strspn(x->s, " "); }

static bool take(PatParser *x, char c) {
    skip_blanks(x);
    if (*x->s != c) return false;
    x->s++;
    return true;
}

static const char *word(PatParser *x) {
    skip_blanks(x);
    const char *start = x->s;
    while (isalnum((unsigned char)*x->s) || *x->s == '_') x->s++;
    const char *w = arena_strndup(x->a, start, (size_t)(x->s - start));
    x->out_of_memory = x->out_of_memory || !w;
    x->failed = x->failed || !w || x->s == start;
    return w ? w : "";
}

static int name_number(PatParser *x, const char *name) {
    Pattern *p = x->p;
    for (int i = 0; i < p->n_names; i++)
        if (!strcmp(p->names[i], name)) return i;
    if (p->n_names == MATCH_MAX_NAMES) {
        x->failed = true;
        return 0;
    }
    p->names[p->n_names] = name;
    return p->n_names++;
}

static Pat *parse_either(PatParser *x);

static void parse_inputs(PatParser *x, Pat *p) {
    do {
        if (p->n == PAT_MAX_INPUTS)
            x->failed = true;
        else
            p->in[p->n++] = parse_either(x);
    } while (!x->failed && take(x, ','));
    x->failed = x->failed || !take(x, ')');
}

/* A name that stands for a value, is bound to one, or is an op. */
static void parse_word(PatParser *x, Pat *p) {
    const char *w = word(x);
    if (take(x, '(')) {
        p->kind = PAT_OP;
        p->op = w;
        parse_inputs(x, p);
    } else {
        p->kind = PAT_VALUE;
        p->name = name_number(x, w);
    }
}

static Pat *parse_one(PatParser *x) {
    Pat *p = x->failed ? NULL : arena_alloc(x->a, sizeof *p);
    if (!p) {
        x->out_of_memory = x->out_of_memory || !x->failed;
        x->failed = true;
        return NULL;
    }
    p->name = -1;
    skip_blanks(x);
    char c = *x->s;
    size_t ident = strspn(x->s, "abcdefghijklmnopqrstuvwxyz0123456789");
    if (islower((unsigned char)c) && x->s[ident] == '=') {
        int name = name_number(x, word(x));
        x->s++;
        Pat *named = parse_one(x);
        if (named && named->name >= 0) x->failed = true; /* two names for one value */
        if (named) named->name = name;
        return named;
    }
    if (isdigit((unsigned char)c) || c == '-') {
        char *end;
        p->kind = PAT_NUMBER;
        p->number = strtod(x->s, &end);
        x->s = end;
    } else if (take(x, '$') || take(x, '#')) {
        p->kind = c == '$' ? PAT_SCALAR : PAT_CONST;
        p->name = name_number(x, word(x));
    } else if (take(x, '_')) {
        p->kind = PAT_ABSENT;
    } else if (take(x, '~')) {
        p->kind = PAT_THROUGH;
        p->n = 1;
        p->in[0] = parse_one(x);
    } else if (take(x, '(')) {
        p = parse_either(x);
        x->failed = x->failed || !take(x, ')');
    } else {
        parse_word(x, p);
    }
    return p;
}

static Pat *parse_either(PatParser *x) {
    Pat *first = parse_one(x);
    if (!take(x, '|')) return first;
    Pat *p = arena_alloc(x->a, sizeof *p);
    if (!p) {
        x->failed = x->out_of_memory = true;
        return NULL;
    }
    *p = (Pat){.kind = PAT_EITHER, .name = -1, .n = 1, .in = {first}};
    do {
        if (p->n == PAT_MAX_INPUTS)
            x->failed = true;
        else
            p->in[p->n++] = parse_one(x);
    } while (!x->failed && take(x, '|'));
    return p;
}

Status match_compile(Arena *a, const char *text, const Pattern **out) {
    Pattern *p = arena_alloc(a, sizeof *p);
    TRY_ALLOC(p);
    PatParser x = {.a = a, .p = p, .s = text};
    p->root = parse_either(&x);
    skip_blanks(&x);
    if (x.out_of_memory) return status_oom();
    if (x.failed || *x.s) return status_make(STATUS_INTERNAL, "broken pattern '%s' at '%s'", text, x.s);
    *out = p;
    return NULL;
}

/* ---- matching ---- */

bool match_close(double a, double b) { return fabs(a - b) <= 4e-6 * fabs(b) || a == b; }

ValueId match_through_views(const Graph *g, ValueId v) {
    while (v != NO_ID && g->values[v].producer != NO_ID) {
        const Node *n = &g->nodes[g->values[v].producer];
        if (!op_is(n, "Reshape") && !op_is(n, "Squeeze") && !op_is(n, "Unsqueeze") && !op_is(n, "Expand")) break;
        const Type *in = edit_ranked(g, n->in[0]), *out = edit_ranked(g, v);
        if (!in || !out || !edit_same_without_ones(in, out)) break;
        v = n->in[0];
    }
    return v;
}

static bool match_pat(Match *m, const Pat *p, ValueId v);

static bool bind(Match *m, int name, ValueId v) {
    if (name < 0) return true;
    if (m->values[name] != NO_ID) return m->values[name] == v;
    m->values[name] = v;
    return true;
}

static int inputs_given(const Node *n) {
    int k = n->n_in;
    while (k && n->in[k - 1] == NO_ID) k--;
    return k;
}

static bool match_inputs(Match *m, const Pat *p, const Node *n, bool swap) {
    Match saved = *m;
    for (int i = 0; i < p->n; i++) {
        int at = swap && i < 2 ? 1 - i : i;
        ValueId v = at < n->n_in ? n->in[at] : NO_ID;
        if (!match_pat(m, p->in[i], v)) {
            *m = saved;
            return false;
        }
    }
    return true;
}

static bool add_node(Match *m, NodeId id) {
    for (int i = 0; i < m->n_nodes; i++)
        if (m->nodes[i] == id) return true;
    if (m->n_nodes == MATCH_MAX_NODES) return false;
    m->nodes[m->n_nodes++] = id;
    return true;
}

static bool match_op(Match *m, const Pat *p, NodeId id) {
    const Node *n = &m->g->nodes[id];
    if (!op_is(n, p->op) || inputs_given(n) > p->n) return false;
    Match saved = *m;
    if (add_node(m, id) && (match_inputs(m, p, n, false) ||
                            ((n->op->flags & OPF_COMMUTATIVE) && p->n == 2 && match_inputs(m, p, n, true))))
        return true;
    *m = saved;
    return false;
}

/* Adds the view nodes between v and what is behind them. */
static bool match_through(Match *m, const Pat *p, ValueId v) {
    ValueId base = match_through_views(m->g, v);
    Match saved = *m;
    bool ok = true;
    for (ValueId at = v; ok && at != base; at = m->g->nodes[m->g->values[at].producer].in[0])
        ok = add_node(m, m->g->values[at].producer);
    if (ok && match_pat(m, p->in[0], base)) return true;
    *m = saved;
    return false;
}

static bool match_kind(Match *m, const Pat *p, ValueId v) {
    double x;
    switch (p->kind) {
    case PAT_ABSENT:
        return v == NO_ID;
    case PAT_VALUE:
        return v != NO_ID;
    case PAT_NUMBER:
        return edit_scalar(m->g, v, &x) && match_close(x, p->number);
    case PAT_SCALAR:
        return edit_scalar(m->g, v, &x);
    case PAT_CONST:
        return graph_constant(m->g, v) != NULL;
    case PAT_THROUGH:
        return v != NO_ID && match_through(m, p, v);
    case PAT_OP:
        return v != NO_ID && m->g->values[v].producer != NO_ID && match_op(m, p, m->g->values[v].producer);
    case PAT_EITHER:
        for (int i = 0; i < p->n; i++)
            if (match_pat(m, p->in[i], v)) return true;
        return false;
    }
    return false;
}

static bool match_pat(Match *m, const Pat *p, ValueId v) {
    Match saved = *m;
    if (match_kind(m, p, v) && bind(m, p->name, v)) return true;
    *m = saved;
    return false;
}

static bool used_inside(const Match *m, NodeId user) {
    for (int i = 0; i < m->n_nodes; i++)
        if (m->nodes[i] == user) return true;
    return false;
}

static bool is_closed(const Match *m) {
    for (int i = 1; i < m->n_nodes; i++) {
        const Node *n = &m->g->nodes[m->nodes[i]];
        for (int o = 0; o < n->n_out; o++) {
            const Value *v = &m->g->values[n->out[o]];
            if (v->is_output) return false;
            for (uint32_t u = 0; u < v->n_uses; u++)
                if (!used_inside(m, v->uses[u].node)) return false;
        }
    }
    return true;
}

bool match_at(const Graph *g, const Pattern *p, NodeId root, Match *m) {
    *m = (Match){.g = g, .pattern = p};
    for (int i = 0; i < MATCH_MAX_NAMES; i++) m->values[i] = NO_ID;
    const Node *n = &g->nodes[root];
    return n->n_out == 1 && match_pat(m, p->root, n->out[0]) && m->n_nodes && m->nodes[0] == root && is_closed(m);
}

ValueId match_value(const Match *m, const char *name) {
    for (int i = 0; i < m->pattern->n_names; i++)
        if (!strcmp(m->pattern->names[i], name)) return m->values[i];
    return NO_ID;
}

double match_scalar(const Match *m, const char *name) {
    double x = 0;
    return edit_scalar(m->g, match_value(m, name), &x) ? x : 0;
}

const Node *match_node(const Match *m, const char *name) {
    ValueId v = match_value(m, name);
    NodeId p = v == NO_ID ? NO_ID : m->g->values[v].producer;
    return p == NO_ID ? NULL : &m->g->nodes[p];
}
