/* What the functions of the upgrade table are written with. */
#include "frontend/upgrade.h"

#include <string.h>

Status upgrade_error(const Upgrade *u, StatusCode code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    Status s = status_vmake(code, fmt, ap);
    va_end(ap);
    return status_context(s, "%s '%s' (opset %d)", u->n->op, u->n->name, u->n->version);
}

static int find_attr(const SourceNode *n, const char *name) {
    for (int i = 0; i < n->n_attrs; i++)
        if (!strcmp(n->attrs[i].name, name)) return i;
    return -1;
}

Status upgrade_attr(Upgrade *u, const char *name, AttrKind kind, const Attr **out) {
    int i = find_attr(u->n, name);
    *out = i < 0 ? NULL : &u->n->attrs[i];
    if (i < 0 || u->n->attrs[i].kind == kind) return NULL;
    return upgrade_error(u, STATUS_INVALID, "attribute '%s' has kind '%c'; '%c' was expected", name,
                         u->n->attrs[i].kind, kind);
}

static void free_attr(Attr *a) {
    if (a->kind == ATTR_TENSOR && a->t) tensor_free(a->t);
}

void upgrade_drop(Upgrade *u, const char *name) {
    int i = find_attr(u->n, name);
    if (i < 0) return;
    free_attr(&u->n->attrs[i]);
    u->n->n_attrs--;
    memmove(&u->n->attrs[i], &u->n->attrs[i + 1], (size_t)(u->n->n_attrs - i) * sizeof(Attr));
}

Status upgrade_set(Upgrade *u, Attr a) {
    upgrade_drop(u, a.name);
    Attr *attrs = ARENA_ARRAY(u->scratch, Attr, u->n->n_attrs + 1);
    TRY_ALLOC(attrs);
    if (u->n->n_attrs) memcpy(attrs, u->n->attrs, (size_t)u->n->n_attrs * sizeof *attrs);
    attrs[u->n->n_attrs++] = a;
    u->n->attrs = attrs;
    return NULL;
}

void source_node_free(SourceNode *n) {
    for (int i = 0; i < n->n_attrs; i++) free_attr(&n->attrs[i]);
    n->n_attrs = 0;
}

Status upgrade_name(Upgrade *u, const char *what, const char **out) {
    TRY_ALLOC(*out = arena_printf(u->scratch, "%s/%s", u->n->name, what));
    return NULL;
}

Status upgrade_ints(Upgrade *u, const char *what, const int64_t *v, int64_t n, ValueId *out) {
    const char *name;
    TRY(upgrade_name(u, what, &name));
    Tensor t;
    TRY(tensor_new(&t, ELEM_I64, n >= 0, &n));
    memcpy(t.data, v, t.bytes);
    return graph_add_constant(u->g, name, t, out);
}

Status upgrade_floats(Upgrade *u, const char *what, ValueId like, const float *v, int64_t n, ValueId *out) {
    const char *name;
    Type type;
    TRY(upgrade_name(u, what, &name));
    TRY(upgrade_type(u, like, &type));
    ElemType e = type.kind == TYPE_TENSOR && elem_is_float(type.elem) ? type.elem : ELEM_F32;
    Tensor t;
    TRY(tensor_new(&t, e, n >= 0, &n));
    for (int64_t i = 0; i < (n < 0 ? 1 : n); i++) tensor_set_f64(&t, i, (double)v[i]);
    return graph_add_constant(u->g, name, t, out);
}

ValueId upgrade_input(const Upgrade *u, int i) { return i < u->n->n_in ? u->n->in[i] : NO_ID; }

Status upgrade_set_input(Upgrade *u, int i, ValueId v) {
    if (i >= u->n->n_in) {
        ValueId *in = ARENA_ARRAY(u->scratch, ValueId, i + 1);
        TRY_ALLOC(in);
        for (int k = 0; k <= i; k++) in[k] = upgrade_input(u, k);
        u->n->in = in;
        u->n->n_in = i + 1;
    }
    u->n->in[i] = v;
    return NULL;
}

Status upgrade_before(Upgrade *u, const char *op, const char *what, int n_in, const ValueId *in, const Attr *attrs,
                      int n_attrs, ValueId *out) {
    const char *name;
    NodeId id;
    TRY(upgrade_name(u, what, &name));
    TRY(graph_build(u->g, "", op, name, n_in, in, out, &id));
    for (int i = 0; i < n_attrs; i++) TRY(attr_set(u->g, id, &attrs[i]));
    return NULL;
}

Status upgrade_const_ints(Upgrade *u, int i, const int64_t **v, int64_t *n) {
    const Tensor *t = graph_constant(u->g, upgrade_input(u, i));
    *n = -1;
    if (!t || !(elem_is_int(t->elem) || elem_is_float(t->elem))) return NULL;
    int64_t count = tensor_count(t);
    int64_t *out = ARENA_ARRAY(u->scratch, int64_t, count);
    TRY_ALLOC(out);
    for (int64_t k = 0; k < count; k++)
        out[k] = elem_is_int(t->elem) ? tensor_get_i64(t, k) : (int64_t)tensor_get_f64(t, k);
    *v = out;
    *n = count;
    return NULL;
}

/* ---- types on demand ---- */

/* Types of one node's outputs where they are not known yet. What a rule finds wrong is left to graph_infer, which runs
 * on the whole graph and reports it. */
static Status infer_one(Graph *g, NodeId id, Arena *scratch) {
    const Node *n = &g->nodes[id];
    if (n->op->flags & OPF_CONTROL) return NULL;
    InferCtx c = {.g = g, .node = n, .scratch = scratch, .n_in = n->n_in, .n_out = n->n_out};
    c.in = ARENA_ARRAY(scratch, const Type *, n->n_in);
    c.out = ARENA_ARRAY(scratch, Type, n->n_out);
    Type *in = ARENA_ARRAY(scratch, Type, n->n_in);
    TRY_ALLOC(c.in && c.out && in);
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] == NO_ID) continue;
        in[i] = g->values[n->in[i]].type;
        if (in[i].kind == TYPE_UNKNOWN) in[i] = (Type){.kind = TYPE_TENSOR, .rank = -1};
        c.in[i] = &in[i];
    }
    Status s = n->op->infer(&c);
    bool memory = status_code(s) == STATUS_ENVIRONMENT;
    if (memory) return s;
    status_free(s);
    if (s) return NULL;
    n = &g->nodes[id];
    for (int i = 0; i < n->n_out; i++) {
        Type *have = &g->values[n->out[i]].type;
        if (have->kind == TYPE_UNKNOWN || (have->kind == TYPE_TENSOR && have->rank < 0)) *have = c.out[i];
    }
    return NULL;
}

Status upgrade_type(Upgrade *u, ValueId v, Type *out) {
    *out = (Type){0};
    if (v == NO_ID) return NULL;
    const Type *have = &u->g->values[v].type;
    bool known = have->kind != TYPE_UNKNOWN && !(have->kind == TYPE_TENSOR && have->rank < 0);
    if (!known && *u->inferred < u->g->n_order) {
        Arena *scratch = arena_new();
        TRY_ALLOC(scratch);
        Status s = NULL;
        for (; !s && *u->inferred < u->g->n_order; ++*u->inferred) {
            arena_reset(scratch);
            s = infer_one(u->g, u->g->order[*u->inferred], scratch);
        }
        arena_free(scratch);
        TRY(s);
    }
    *out = u->g->values[v].type;
    return NULL;
}
