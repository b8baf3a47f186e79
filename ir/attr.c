/* Attributes of nodes and deep copies of graphs. */
#include "ir/graph.h"
#include "ir/op.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

const Attr *attr_find(const Node *n, const char *name) {
    for (int i = 0; i < n->n_attrs; i++)
        if (!strcmp(n->attrs[i].name, name)) return &n->attrs[i];
    return NULL;
}

/* The default's text in the op's row; asserts that the row has the attribute. */
static const char *default_text(const Node *n, const char *name, AttrKind kind) {
    size_t len;
    const char *text;
    char k = op_attr_kind(n->op, name, &len, &text);
    assert(k == (char)kind);
    (void)k, (void)kind, (void)len;
    return text;
}

int64_t attr_int(const Node *n, const char *name) {
    const Attr *a = attr_find(n, name);
    if (a) return a->i;
    const char *text = default_text(n, name, ATTR_INT);
    return text ? strtoll(text, NULL, 10) : 0;
}

float attr_float(const Node *n, const char *name) {
    const Attr *a = attr_find(n, name);
    if (a) return a->f;
    const char *text = default_text(n, name, ATTR_FLOAT);
    return text ? strtof(text, NULL) : 0;
}

/* String defaults are compared by callers, so they need a NUL: the handful that the table has is interned here. */
static const char *intern_default(const char *text, size_t len) {
    static const char *const known[] = {"NOTSET",   "DCR",      "half_pixel", "nearest",    "round_prefer_floor",
                                        "constant", "none",     "linear",     "zeros",      "stretch",
                                        "forward",  "bilinear", "avg",        "default",    "up",
                                        "MAX",      "NFKC",     "mean",       "gated_delta"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i]) == len && !memcmp(known[i], text, len)) return known[i];
    assert(len == 0 && "add the default to the list above");
    return "";
}

const char *attr_string(const Node *n, const char *name) {
    const Attr *a = attr_find(n, name);
    if (a) return a->s;
    size_t len;
    const char *text;
    char k = op_attr_kind(n->op, name, &len, &text);
    assert(k == ATTR_STRING);
    (void)k;
    return text ? intern_default(text, len) : "";
}

const int64_t *attr_ints(const Node *n, const char *name, int64_t *count) {
    const Attr *a = attr_find(n, name);
    *count = a ? a->n : 0;
    return a ? a->ints : NULL;
}

const float *attr_floats(const Node *n, const char *name, int64_t *count) {
    const Attr *a = attr_find(n, name);
    *count = a ? a->n : 0;
    return a ? a->floats : NULL;
}

static void *copy_bytes(Arena *a, const void *src, size_t elem, int64_t n) {
    void *p = arena_array(a, elem, (size_t)n);
    if (p && n) memcpy(p, src, elem * (size_t)n);
    return p;
}

static const Type *copy_type(Arena *a, const Type *t) {
    Type *copy = arena_alloc(a, sizeof *copy);
    if (!copy) return NULL;
    *copy = *t;
    if (t->inner && !(copy->inner = copy_type(a, t->inner))) return NULL;
    return copy;
}

/* Content of a into the arena of g. Tensors and graphs are taken as they are. */
static Status copy_content(Graph *g, const Attr *a, Attr *out) {
    *out = *a;
    TRY_ALLOC(out->name = arena_strdup(g->arena, a->name));
    switch (a->kind) {
    case ATTR_STRING:
        TRY_ALLOC(out->s = arena_strndup(g->arena, a->s, (size_t)a->n));
        break;
    case ATTR_INTS:
        TRY_ALLOC(out->ints = copy_bytes(g->arena, a->ints, sizeof *a->ints, a->n));
        break;
    case ATTR_FLOATS:
        TRY_ALLOC(out->floats = copy_bytes(g->arena, a->floats, sizeof *a->floats, a->n));
        break;
    case ATTR_STRINGS: {
        const char **s = ARENA_ARRAY(g->arena, const char *, a->n);
        TRY_ALLOC(s);
        for (int64_t i = 0; i < a->n; i++) TRY_ALLOC(s[i] = arena_strdup(g->arena, a->strings[i]));
        out->strings = s;
        break;
    }
    case ATTR_TENSOR: {
        Tensor *t = arena_alloc(g->arena, sizeof *t);
        TRY_ALLOC(t);
        *t = *a->t;
        out->t = t;
        break;
    }
    case ATTR_TYPE:
        TRY_ALLOC(out->type = copy_type(g->arena, a->type));
        break;
    case ATTR_INT:
    case ATTR_FLOAT:
    case ATTR_GRAPH:
        break;
    }
    return NULL;
}

Status attr_set(Graph *g, NodeId id, const Attr *a) {
    Attr copy;
    TRY(copy_content(g, a, &copy));
    attr_remove(g, id, a->name);
    Node *n = &g->nodes[id];
    Attr *attrs = ARENA_ARRAY(g->arena, Attr, n->n_attrs + 1);
    TRY_ALLOC(attrs);
    if (n->n_attrs) memcpy(attrs, n->attrs, n->n_attrs * sizeof *attrs);
    attrs[n->n_attrs++] = copy;
    n->attrs = attrs;
    return NULL;
}

Status attr_set_int(Graph *g, NodeId n, const char *name, int64_t v) {
    return attr_set(g, n, &(Attr){.name = name, .kind = ATTR_INT, .i = v});
}
Status attr_set_float(Graph *g, NodeId n, const char *name, float v) {
    return attr_set(g, n, &(Attr){.name = name, .kind = ATTR_FLOAT, .f = v});
}
Status attr_set_string(Graph *g, NodeId n, const char *name, const char *v) {
    return attr_set(g, n, &(Attr){.name = name, .kind = ATTR_STRING, .n = (int64_t)strlen(v), .s = v});
}
Status attr_set_ints(Graph *g, NodeId n, const char *name, const int64_t *v, int64_t count) {
    return attr_set(g, n, &(Attr){.name = name, .kind = ATTR_INTS, .n = count, .ints = v});
}
Status attr_set_floats(Graph *g, NodeId n, const char *name, const float *v, int64_t count) {
    return attr_set(g, n, &(Attr){.name = name, .kind = ATTR_FLOATS, .n = count, .floats = v});
}

void attr_remove(Graph *g, NodeId id, const char *name) {
    Node *n = &g->nodes[id];
    for (int i = 0; i < n->n_attrs; i++) {
        if (strcmp(n->attrs[i].name, name) != 0) continue;
        if (n->attrs[i].kind == ATTR_TENSOR) tensor_free(n->attrs[i].t);
        if (n->attrs[i].kind == ATTR_GRAPH) graph_free(n->attrs[i].g);
        memmove(&n->attrs[i], &n->attrs[i + 1], (size_t)(n->n_attrs - i - 1) * sizeof(Attr));
        n->n_attrs--;
        return;
    }
}

static Status clone_into(const Graph *src, Graph *parent, Graph **out);

/* A copy whose tensor has its own reference and whose graph is a clone. */
static Status set_cloned(Graph *g, NodeId to, const Attr *a) {
    if (a->kind == ATTR_TENSOR) {
        Tensor t = tensor_ref(a->t);
        Attr b = *a;
        b.t = &t;
        Status s = attr_set(g, to, &b);
        if (s) tensor_free(&t);
        return s;
    }
    if (a->kind == ATTR_GRAPH) {
        Attr b = *a;
        TRY(clone_into(a->g, g, &b.g));
        Status s = attr_set(g, to, &b);
        if (s) graph_free(b.g);
        return s;
    }
    return attr_set(g, to, a);
}

Status attr_copy_all(Graph *g, NodeId to, const Graph *src, const Node *from) {
    (void)src;
    const OpDef *op = g->nodes[to].op;
    int n = from->n_attrs;
    const Attr *attrs = from->attrs;
    for (int i = 0; i < n; i++)
        if (op_attr_kind(op, attrs[i].name, NULL, NULL)) TRY(set_cloned(g, to, &attrs[i]));
    return NULL;
}

static Status clone_values(const Graph *src, Graph *g) {
    for (uint32_t i = 0; i < src->n_values; i++) {
        const Value *v = &src->values[i];
        ValueId id;
        TRY(graph_add_value(g, v->name, &v->type, &id));
        Value *w = &g->values[id];
        w->is_input = v->is_input;
        w->is_capture = v->is_capture;
        if (v->type.inner) TRY_ALLOC(w->type.inner = copy_type(g->arena, v->type.inner));
        if (v->known) TRY_ALLOC(w->known = copy_bytes(g->arena, v->known, sizeof *v->known, v->n_known));
        w->n_known = v->n_known;
        if (!v->constant) continue;
        TRY_ALLOC(w->constant = arena_alloc(g->arena, sizeof(Tensor)));
        *w->constant = tensor_ref(v->constant);
    }
    return NULL;
}

static Status clone_node(const Graph *src, Graph *g, const Node *n) {
    NodeId id;
    ValueId *out = ARENA_ARRAY(g->arena, ValueId, n->n_out);
    TRY_ALLOC(out);
    if (n->n_out) memcpy(out, n->out, n->n_out * sizeof *out);
    TRY(graph_add_node(g, n->op, n->name, n->n_in, n->in, n->n_out, out, &id));
    for (uint32_t c = n->n_in; c < (uint32_t)n->n_in + n->n_captures; c++) {
        uint32_t slot;
        TRY(graph_node_add_capture(g, id, n->in[c], &slot));
    }
    return attr_copy_all(g, id, src, n);
}

static Status clone_content(const Graph *src, Graph *g) {
    TRY(clone_values(src, g));
    for (uint32_t i = 0; i < src->n_order; i++) TRY(clone_node(src, g, &src->nodes[src->order[i]]));
    TRY_ALLOC(g->inputs = mem_alloc((src->n_inputs + 1) * sizeof *g->inputs));
    if (src->n_inputs) memcpy(g->inputs, src->inputs, src->n_inputs * sizeof *g->inputs);
    g->n_inputs = src->n_inputs;
    g->cap_inputs = src->n_inputs + 1;
    TRY_ALLOC(g->captures = mem_alloc((src->n_captures + 1) * sizeof *g->captures));
    if (src->n_captures) memcpy(g->captures, src->captures, src->n_captures * sizeof *g->captures);
    g->n_captures = src->n_captures;
    g->cap_captures = src->n_captures + 1;
    for (uint32_t i = 0; i < src->n_outputs; i++) TRY(graph_add_output(g, src->outputs[i]));
    return NULL;
}

/* Symbols keep their ids: a root clone re-interns the source's table in order. */
static Status clone_into(const Graph *src, Graph *parent, Graph **out) {
    Graph *g;
    TRY(graph_new(parent, src->name, &g));
    g->opset = src->opset;
    Status s = parent || symtab_copy(g->syms, src->syms) ? clone_content(src, g) : status_oom();
    if (s) {
        graph_free(g);
        return s;
    }
    *out = g;
    return NULL;
}

Status graph_clone(const Graph *g, Graph **out) { return clone_into(g, NULL, out); }
