/* cse: constants of equal content become one, then nodes with the same op, attributes and inputs become one. */
#include "passes/edit.h"

#include <string.h>

typedef struct Cse {
    Graph *g;
    Arena *scratch;
    PassStats *stats;
    uint32_t *heads, *next; /* chained hash table over ids; NO_ID ends a chain */
    uint32_t mask;
} Cse;

static uint64_t mix(uint64_t h, const void *data, size_t n) {
    const uint8_t *p = data;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u; /* FNV-1a */
    return h;
}
static uint64_t mix_u64(uint64_t h, uint64_t x) { return mix(h, &x, sizeof x); }

static Status table_init(Cse *c, uint32_t n) {
    uint32_t size = 16;
    while (size < n && size < 1u << 30) size *= 2;
    c->mask = size - 1;
    c->heads = ARENA_ARRAY(c->scratch, uint32_t, size);
    c->next = ARENA_ARRAY(c->scratch, uint32_t, n);
    TRY_ALLOC(c->heads && c->next);
    memset(c->heads, 0xff, size * sizeof *c->heads);
    return NULL;
}

/* ---- constants ---- */

enum { SAMPLE = 1024 }; /* bytes at each end that the hash looks at: equal hashes are compared in full anyway */

static uint64_t hash_tensor(const Tensor *t) {
    size_t n = t->bytes < SAMPLE ? t->bytes : SAMPLE;
    uint64_t h = mix_u64((uint64_t)t->elem, t->bytes);
    h = mix(h, t->dims, (size_t)t->rank * sizeof *t->dims);
    return mix(mix(h, t->data, n), t->data + t->bytes - n, n);
}

static bool equal_tensors(const Tensor *a, const Tensor *b) {
    return a->elem == b->elem && a->rank == b->rank && a->encoding == b->encoding && a->bytes == b->bytes &&
           !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) &&
           (a->data == b->data || !memcmp(a->data, b->data, a->bytes));
}

static Status merge_constants(Cse *c) {
    Graph *g = c->g;
    TRY(table_init(c, g->n_values));
    for (ValueId v = 0; v < g->n_values; v++) {
        const Tensor *t = g->values[v].constant;
        if (!t || g->values[v].is_output || !g->values[v].n_uses) continue;
        uint32_t *head = &c->heads[hash_tensor(t) & c->mask], same = *head;
        while (same != NO_ID && !equal_tensors(g->values[same].constant, t)) same = c->next[same];
        if (same != NO_ID) {
            TRY(graph_replace_uses(g, v, same));
            c->stats->changed++;
        } else {
            c->next[v] = *head;
            *head = v;
        }
    }
    return NULL;
}

/* ---- nodes ---- */

static uint64_t hash_attr(const Attr *a) {
    uint64_t h = mix(mix_u64((uint64_t)a->kind, (uint64_t)a->n), a->name, strlen(a->name));
    switch (a->kind) {
    case ATTR_INT:
        return mix_u64(h, (uint64_t)a->i);
    case ATTR_FLOAT:
        return mix(h, &a->f, sizeof a->f);
    case ATTR_STRING:
        return mix(h, a->s, (size_t)a->n);
    case ATTR_INTS:
        return mix(h, a->ints, (size_t)a->n * sizeof *a->ints);
    case ATTR_FLOATS:
        return mix(h, a->floats, (size_t)a->n * sizeof *a->floats);
    default:
        return h;
    }
}

/* Equality of bits: NaN equals itself, 0 and -0 differ. */
static bool equal_floats(const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t x, y;
        memcpy(&x, &a[i], sizeof x);
        memcpy(&y, &b[i], sizeof y);
        if (x != y) return false;
    }
    return true;
}

static bool equal_content(const Attr *a, const Attr *b) {
    switch (a->kind) {
    case ATTR_INT:
        return a->i == b->i;
    case ATTR_FLOAT:
        return equal_floats(&a->f, &b->f, 1);
    case ATTR_STRING:
        return !memcmp(a->s, b->s, (size_t)a->n);
    case ATTR_INTS:
        return !a->n || !memcmp(a->ints, b->ints, (size_t)a->n * sizeof *a->ints);
    case ATTR_FLOATS:
        return equal_floats(a->floats, b->floats, a->n);
    case ATTR_STRINGS:
        for (int64_t i = 0; i < a->n; i++)
            if (strcmp(a->strings[i], b->strings[i])) return false;
        return true;
    case ATTR_TENSOR:
        return equal_tensors(a->t, b->t);
    case ATTR_TYPE:
        return type_equal(a->type, b->type);
    case ATTR_GRAPH:
        return false;
    }
    return false;
}

static bool equal_attrs(const Node *a, const Node *b) {
    if (a->n_attrs != b->n_attrs) return false;
    for (int i = 0; i < a->n_attrs; i++) {
        const Attr *other = attr_find(b, a->attrs[i].name);
        if (!other || other->kind != a->attrs[i].kind || other->n != a->attrs[i].n ||
            !equal_content(&a->attrs[i], other))
            return false;
    }
    return true;
}

/* The inputs in canonical order: those of a commutative op by id. */
static ValueId input_at(const Node *n, int i) {
    bool swap = (n->op->flags & OPF_COMMUTATIVE) && n->n_in >= 2 && i < 2 && n->in[0] > n->in[1];
    return n->in[swap ? 1 - i : i];
}

static uint64_t hash_node(const Node *n) {
    uint64_t h = mix_u64(mix_u64(0, (uint64_t)(n->op - op_at(0))), n->n_out);
    for (int i = 0; i < n->n_in; i++) h = mix_u64(h, input_at(n, i));
    uint64_t attrs = 0; /* their order does not matter */
    for (int i = 0; i < n->n_attrs; i++) attrs += hash_attr(&n->attrs[i]);
    return mix_u64(h, attrs);
}

static bool equal_nodes(const Node *a, const Node *b) {
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out) return false;
    for (int i = 0; i < a->n_in; i++)
        if (input_at(a, i) != input_at(b, i)) return false;
    return equal_attrs(a, b);
}

/* Two model outputs keep a node each: merging them would only put an Identity in its place. */
static bool may_merge(const Graph *g, const Node *a, const Node *b) {
    for (int i = 0; i < a->n_out; i++)
        if (g->values[a->out[i]].is_output && g->values[b->out[i]].is_output) return false;
    return true;
}

static Status merge_nodes(Cse *c) {
    Graph *g = c->g;
    NodeList list;
    TRY(edit_nodes(g, c->scratch, &list));
    TRY(table_init(c, g->n_nodes));
    for (uint32_t i = 0; i < list.n; i++) {
        NodeId id = list.ids[i];
        const Node *n = &g->nodes[id];
        if (n->op->flags & (OPF_RANDOM | OPF_CONTROL)) continue;
        uint32_t *head = &c->heads[hash_node(n) & c->mask], same = *head;
        while (same != NO_ID && !(equal_nodes(&g->nodes[same], n) && may_merge(g, &g->nodes[same], n)))
            same = c->next[same];
        if (same == NO_ID) {
            c->next[id] = *head;
            *head = id;
            continue;
        }
        for (int k = 0; k < n->n_out; k++) TRY(graph_replace_uses(g, n->out[k], g->nodes[same].out[k]));
        graph_remove_node(g, id);
        c->stats->changed++;
    }
    return NULL;
}

Status pass_cse(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    Cse c = {.g = g, .stats = stats};
    TRY_ALLOC(c.scratch = arena_new());
    Status st = merge_constants(&c);
    if (!st) st = merge_nodes(&c);
    arena_free(c.scratch);
    return st;
}
