/* One node: its attributes, its upgrade to pare's form, and its place in the graph. */
#include "frontend/onnx_import.h"

#include <string.h>

static const char *text(const char *s) { return s ? s : ""; }

Status node_name(Scope *s, const Onnx__NodeProto *p, const char **out) {
    const char *name = text(p->name);
    for (size_t i = 0; !*name && i < p->n_output; i++) name = p->output[i];
    if (!*name) name = text(p->op_type);
    *out = *s->prefix ? arena_printf(s->im->scratch, "%s%s", s->prefix, name) : name;
    return *out ? NULL : status_oom();
}

/* ---- attributes ---- */

Status resolve_attr(Scope *s, const Onnx__AttributeProto *a, const Onnx__AttributeProto **out, Scope **scope) {
    while (a && a->ref_attr_name && *a->ref_attr_name) {
        const char *name = a->ref_attr_name;
        if (!s->call)
            return import_error(s->im, STATUS_INVALID, "attribute '%s' refers to '%s', but stands in no function",
                                text(a->name), name);
        const Call *call = s->call;
        const Onnx__AttributeProto *found = NULL;
        for (size_t i = 0; i < call->node->n_attribute; i++)
            if (!strcmp(text(call->node->attribute[i]->name), name)) found = call->node->attribute[i];
        s = call->scope;
        for (size_t i = 0; !found && i < call->fn->n_attribute_proto; i++)
            if (!strcmp(text(call->fn->attribute_proto[i]->name), name)) found = call->fn->attribute_proto[i];
        a = found;
    }
    *out = a;
    *scope = s;
    return NULL;
}

/* The type field came with ir_version 2; before it, the only field in use told. */
static Onnx__AttributeProto__AttributeType attr_type(const Onnx__AttributeProto *a) {
    if (a->has_type && a->type != ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED) return a->type;
    if (a->has_f) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
    if (a->has_i) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
    if (a->has_s) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
    if (a->t) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
    if (a->g) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
    if (a->n_floats) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
    if (a->n_ints) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
    if (a->n_strings) return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS;
    return ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__UNDEFINED;
}

static Status copy_string(Arena *a, const ProtobufCBinaryData *from, const char **out) {
    char *s = ARENA_ARRAY(a, char, from->len + 1);
    TRY_ALLOC(s);
    if (from->len) memcpy(s, from->data, from->len);
    *out = s;
    return NULL;
}

static Status read_strings(Arena *arena, const Onnx__AttributeProto *a, Attr *out) {
    const char **strings = ARENA_ARRAY(arena, const char *, a->n_strings);
    TRY_ALLOC(strings);
    for (size_t i = 0; i < a->n_strings; i++) TRY(copy_string(arena, &a->strings[i], &strings[i]));
    *out = (Attr){.kind = ATTR_STRINGS, .n = (int64_t)a->n_strings, .strings = strings};
    return NULL;
}

static Status read_tensor_attr(Scope *s, const Onnx__AttributeProto *a, const char *node, Attr *out) {
    if (!a->t)
        return import_error(s->im, STATUS_INVALID, "attribute '%s' of '%s' lacks its tensor", text(a->name), node);
    Tensor *t = arena_alloc(s->im->scratch, sizeof *t);
    TRY_ALLOC(t);
    TRY(status_context(source_tensor(&s->im->source, a->t, "tensor", t), "attribute '%s' of '%s'", text(a->name),
                       node));
    *out = (Attr){.kind = ATTR_TENSOR, .t = t};
    return NULL;
}

static Status read_type_attr(Scope *s, const Onnx__AttributeProto *a, const char *node, Attr *out) {
    Type *type = arena_alloc(s->im->scratch, sizeof *type);
    TRY_ALLOC(type);
    TypeReader r = {.arena = s->g->arena, .syms = s->g->syms};
    TRY(status_context(read_type(&r, a->tp, type), "%s: attribute '%s' of '%s'", s->im->file, text(a->name), node));
    *out = (Attr){.kind = ATTR_TYPE, .type = type};
    return NULL;
}

/* Any attribute but a subgraph. Lists point into the message, which lives as long as the import. */
static Status read_attr(Scope *s, const Onnx__AttributeProto *a, const char *node, Attr *out) {
    switch (attr_type(a)) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        *out = (Attr){.kind = ATTR_FLOAT, .f = a->f};
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        *out = (Attr){.kind = ATTR_INT, .i = a->i};
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
        *out = (Attr){.kind = ATTR_STRING, .n = (int64_t)a->s.len};
        TRY(copy_string(s->im->scratch, &a->s, &out->s));
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
        *out = (Attr){.kind = ATTR_FLOATS, .n = (int64_t)a->n_floats, .floats = a->floats};
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        *out = (Attr){.kind = ATTR_INTS, .n = (int64_t)a->n_ints, .ints = a->ints};
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
        TRY(read_strings(s->im->scratch, a, out));
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
        TRY(read_tensor_attr(s, a, node, out));
        break;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTO:
        TRY(read_type_attr(s, a, node, out));
        break;
    default:
        return import_error(s->im, STATUS_UNSUPPORTED, "attribute '%s' of '%s' has a kind that pare does not know",
                            text(a->name), node);
    }
    return NULL;
}

/* ---- Constant ---- */

bool is_constant_node(const Onnx__NodeProto *p) {
    return p->op_type && !strcmp(p->op_type, "Constant") && !*onnx_domain(p->domain);
}

static Status list_tensor(ElemType e, bool scalar, size_t n, const void *data, Tensor *out) {
    int64_t dim = (int64_t)n;
    TRY(tensor_new(out, e, scalar ? 0 : 1, &dim));
    if (out->bytes) memcpy(out->data, data, out->bytes);
    return NULL;
}

static Status constant_value(Scope *s, const Onnx__AttributeProto *a, const char *name, Tensor *out, bool *is_string) {
    switch (attr_type(a)) {
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT:
        return list_tensor(ELEM_F32, true, 1, &a->f, out);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT:
        return list_tensor(ELEM_I64, true, 1, &a->i, out);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS:
        return list_tensor(ELEM_F32, false, a->n_floats, a->floats, out);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS:
        return list_tensor(ELEM_I64, false, a->n_ints, a->ints, out);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING:
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS:
        *is_string = true;
        return NULL;
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR:
        if (!a->t) break;
        *is_string = a->t->data_type == ELEM_STRING;
        return *is_string ? NULL
                          : status_context(source_tensor(&s->im->source, a->t, "value", out), "Constant '%s'", name);
    case ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__SPARSE_TENSOR:
        if (!a->sparse_tensor) break;
        return source_sparse(&s->im->source, a->sparse_tensor, out);
    default:
        break;
    }
    return import_error(s->im, STATUS_INVALID, "Constant '%s': attribute '%s' holds no value", name, text(a->name));
}

Status constant_content(Scope *s, const Onnx__NodeProto *p, Tensor *out, bool *is_string) {
    const Onnx__AttributeProto *a = NULL;
    Scope *scope = s;
    const char *name;
    TRY(node_name(s, p, &name));
    if (p->n_attribute == 1) TRY(resolve_attr(s, p->attribute[0], &a, &scope));
    if (!a) return import_error(s->im, STATUS_INVALID, "Constant '%s' must have one attribute with its value", name);
    return constant_value(s, a, name, out, is_string);
}

/* ---- nodes ---- */

/* A subgraph that is built when its owner is in the graph. */
typedef struct PendingGraph {
    const char *name;
    const Onnx__GraphProto *graph;
    Scope *scope;
} PendingGraph;

static Status read_attrs(Scope *s, const Onnx__NodeProto *p, SourceNode *n, PendingGraph *graphs, size_t *n_graphs) {
    for (size_t i = 0; i < p->n_attribute; i++) {
        const Onnx__AttributeProto *a;
        Scope *scope;
        const char *name = text(p->attribute[i]->name);
        TRY(resolve_attr(s, p->attribute[i], &a, &scope));
        if (!a) continue;
        for (int k = 0; k < n->n_attrs; k++)
            if (!strcmp(n->attrs[k].name, name))
                return import_error(s->im, STATUS_INVALID, "'%s' has attribute '%s' twice", n->name, name);
        if (attr_type(a) == ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH && a->g) {
            graphs[(*n_graphs)++] = (PendingGraph){name, a->g, scope};
            continue;
        }
        TRY(read_attr(s, a, n->name, &n->attrs[n->n_attrs]));
        n->attrs[n->n_attrs++].name = name;
    }
    return NULL;
}

static Status read_values(Scope *s, const Onnx__NodeProto *p, SourceNode *n) {
    Arena *a = s->im->scratch;
    if (p->n_input > UINT16_MAX || p->n_output > UINT16_MAX || p->n_attribute > UINT16_MAX)
        return import_error(s->im, STATUS_UNSUPPORTED, "'%s' has more than 65535 inputs, outputs or attributes",
                            n->name);
    n->in = ARENA_ARRAY(a, ValueId, p->n_input);
    n->out = ARENA_ARRAY(a, ValueId, p->n_output);
    n->attrs = ARENA_ARRAY(a, Attr, p->n_attribute);
    TRY_ALLOC(n->in && n->out && n->attrs);
    n->n_in = (int)p->n_input;
    n->n_out = (int)p->n_output;
    for (int i = 0; i < n->n_in; i++) TRY(scope_value(s, p->input[i], n->name, &n->in[i]));
    for (int i = 0; i < n->n_out; i++) {
        n->out[i] = NO_ID;
        if (*p->output[i]) TRY(scope_value(s, p->output[i], n->name, &n->out[i]));
    }
    return NULL;
}

static Status add_subgraphs(Scope *s, NodeId id, const PendingGraph *graphs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        Attr a = {.name = graphs[i].name, .kind = ATTR_GRAPH};
        if (op_attr_kind(s->g->nodes[id].op, a.name, NULL, NULL) != ATTR_GRAPH)
            return import_error(s->im, STATUS_INVALID, "attribute '%s' of '%s' is a graph", a.name,
                                s->g->nodes[id].name);
        TRY(import_subgraph(graphs[i].scope, id, graphs[i].graph, &a.g));
        Status status = attr_set(s->g, id, &a);
        if (status) {
            graph_free(a.g);
            return status;
        }
    }
    return NULL;
}

static Status convert(Scope *s, const Onnx__NodeProto *p, SourceNode *n) {
    PendingGraph *graphs = ARENA_ARRAY(s->im->scratch, PendingGraph, p->n_attribute);
    size_t n_graphs = 0;
    TRY_ALLOC(graphs);
    TRY(read_values(s, p, n));
    TRY(read_attrs(s, p, n, graphs, &n_graphs));
    Upgrade u = {.g = s->g, .scratch = s->im->scratch, .inferred = s->inferred, .n = n};
    NodeId id = NO_ID;
    TRY(status_context(upgrade_node(&u), "%s", s->im->file));
    if (!n->emitted) TRY(status_context(upgrade_emit(&u, &id), "%s", s->im->file));
    return id == NO_ID ? NULL : add_subgraphs(s, id, graphs, n_graphs);
}

Status import_node(Scope *s, const Onnx__NodeProto *p) {
    SourceNode n = {.domain = onnx_domain(p->domain), .op = text(p->op_type)};
    int64_t version = opset_of(&s->opsets, n.domain);
    n.version = version > INT32_MAX ? INT32_MAX : (int)version;
    TRY(node_name(s, p, &n.name));
    Status status = convert(s, p, &n);
    source_node_free(&n);
    return status;
}
