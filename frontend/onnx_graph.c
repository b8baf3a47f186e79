/* Scopes and names: graphs, subgraphs with captures, and functions put in place of their calls. */
#include "frontend/onnx_import.h"

#include <string.h>

Status import_error(const Import *im, StatusCode code, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    Status s = status_vmake(code, fmt, ap);
    va_end(ap);
    return status_context(s, "%s", im->file);
}

static const char *text(const char *s) { return s ? s : ""; }

/* ---- names and declared types ---- */

Status scope_value(Scope *s, const char *name, const char *reader, ValueId *out) {
    *out = NO_ID;
    if (!*name) return NULL;
    uint32_t id;
    if (name_map_find(&s->values, name, &id)) {
        if (id == STRING_VALUE)
            return import_error(s->im, STATUS_UNSUPPORTED,
                                "'%s' reads '%s', a tensor of strings; strings are not supported", reader, name);
        *out = id == ABSENT_VALUE ? NO_ID : id;
        return NULL;
    }
    if (!s->outer)
        return import_error(s->im, STATUS_INVALID, "'%s' reads '%s', which no input, initializer or node defines",
                            reader, name);
    ValueId around, inner;
    TRY(scope_value(s->outer, name, reader, &around));
    if (around == NO_ID) return NULL;
    uint32_t slot;
    TRY(graph_node_add_capture(s->outer->g, s->owner, around, &slot));
    TRY(graph_add_capture(s->g, slot, name, &s->outer->g->values[around].type, &inner));
    TRY_ALLOC(name_map_put(&s->values, name, inner));
    *out = inner;
    return NULL;
}

/* Defines a name once. */
static Status define(Scope *s, const char *name, const char *what, uint32_t id) {
    uint32_t earlier;
    if (!*name) return import_error(s->im, STATUS_INVALID, "%s has no name", what);
    if (name_map_find(&s->values, name, &earlier))
        return import_error(s->im, STATUS_INVALID, "'%s' (%s) is defined twice", name, what);
    TRY_ALLOC(name_map_put(&s->values, name, id));
    return NULL;
}

static Status prefixed(Scope *s, const char *name, const char **out) {
    *out = *s->prefix ? arena_printf(s->im->scratch, "%s%s", s->prefix, name) : name;
    return *out ? NULL : status_oom();
}

/* Names of declared types: outputs come behind the intermediate values and win. */
static Status collect_info(Scope *s, const Body *b) {
    for (size_t i = 0; i < b->n_info + b->n_outputs; i++) {
        const Onnx__ValueInfoProto *v = i < b->n_info ? b->info[i] : b->outputs[i - b->n_info];
        if (v->name) TRY_ALLOC(name_map_put(&s->info, v->name, (uint32_t)i));
    }
    return NULL;
}

/* A declared type is only a help: what pare cannot represent is left out here, and refused where it is computed. */
static Status declared_type(Scope *s, const Body *b, const char *name, Type *out) {
    uint32_t i;
    *out = (Type){0};
    if (!name_map_find(&s->info, name, &i)) return NULL;
    const Onnx__ValueInfoProto *v = i < b->n_info ? b->info[i] : b->outputs[i - b->n_info];
    TypeReader r = {.arena = s->g->arena, .syms = s->g->syms, .symbols = &s->im->symbols};
    Status status = read_type(&r, v->type, out);
    if (status_code(status) != STATUS_UNSUPPORTED) return status;
    status_free(status);
    *out = (Type){0};
    return NULL;
}

/* ---- constants and inputs ---- */

static Status add_constant(Scope *s, const char *name, Tensor t, ValueId promised) {
    ValueId id = promised;
    const char *own;
    Status status = prefixed(s, name, &own);
    if (status) {
        tensor_free(&t);
        return status;
    }
    TRY(id == NO_ID ? graph_add_constant(s->g, own, t, &id) : graph_make_constant(s->g, id, t));
    return define(s, name, "a constant", id);
}

static Status import_initializers(Scope *s, const Onnx__GraphProto *p) {
    for (size_t i = 0; i < p->n_initializer; i++) {
        const Onnx__TensorProto *t = p->initializer[i];
        Tensor tensor;
        if (t->data_type == ELEM_STRING) {
            TRY(define(s, text(t->name), "an initializer", STRING_VALUE));
            continue;
        }
        TRY(source_tensor(&s->im->source, t, "initializer", &tensor));
        TRY(add_constant(s, text(t->name), tensor, NO_ID));
    }
    for (size_t i = 0; i < p->n_sparse_initializer; i++) {
        const Onnx__SparseTensorProto *t = p->sparse_initializer[i];
        Tensor tensor;
        TRY(source_sparse(&s->im->source, t, &tensor));
        TRY(add_constant(s, text(t->values->name), tensor, NO_ID));
    }
    return NULL;
}

/* Inputs that have an initializer are constants: pare has no overridable defaults. */
static Status import_inputs(Scope *s, const Onnx__GraphProto *p) {
    TypeReader r = {.arena = s->g->arena, .syms = s->g->syms, .collect = !s->outer};
    if (!s->outer) r.symbols = &s->im->symbols;
    for (size_t i = 0; i < p->n_input; i++) {
        const Onnx__ValueInfoProto *v = p->input[i];
        uint32_t id;
        if (name_map_find(&s->values, text(v->name), &id) && (s->g->n_values <= id || s->g->values[id].constant))
            continue;
        Type type;
        TRY(status_context(read_type(&r, v->type, &type), "%s: input '%s'", s->im->file, text(v->name)));
        TRY(graph_add_input(s->g, text(v->name), &type, &id));
        TRY(define(s, text(v->name), "an input", id));
    }
    return NULL;
}

/* ---- nodes ---- */

static Status declare_constant_node(Scope *s, const Onnx__NodeProto *p, ValueId promised) {
    Tensor t;
    bool is_string = false;
    if (p->n_output != 1)
        return import_error(s->im, STATUS_INVALID, "Constant '%s' must have one output", text(p->name));
    TRY(constant_content(s, p, &t, &is_string));
    if (is_string) return define(s, p->output[0], "a constant", STRING_VALUE);
    return add_constant(s, p->output[0], t, promised);
}

/* Every output of every node gets its value before any node is built, so that nodes and subgraphs may stand in any
 * order. `promised` holds the values that a function's outputs become. */
static Status declare_outputs(Scope *s, const Body *b, const NameMap *promised) {
    for (size_t i = 0; i < b->n_nodes; i++) {
        const Onnx__NodeProto *p = b->nodes[i];
        if (++s->im->n_nodes > MAX_IMPORTED_NODES)
            return import_error(s->im, STATUS_UNSUPPORTED,
                                "the model has more than %d nodes once its functions are in place", MAX_IMPORTED_NODES);
        for (size_t k = 0; k < p->n_output; k++) {
            const char *name = p->output[k], *own;
            ValueId id = NO_ID;
            if (!*name) continue;
            if (promised && !name_map_find(promised, name, &id)) id = NO_ID;
            if (is_constant_node(p)) {
                TRY(declare_constant_node(s, p, id));
                continue;
            }
            Type type;
            TRY(declared_type(s, b, name, &type));
            TRY(prefixed(s, name, &own));
            if (id == NO_ID) TRY(graph_add_value(s->g, own, &type, &id));
            TRY(define(s, name, "a node's output", id));
        }
    }
    return NULL;
}

static Status import_call(Scope *s, const Onnx__NodeProto *p, const Onnx__FunctionProto *fn);

static Status import_body(Scope *s, const Body *b, const NameMap *promised) {
    TRY(collect_info(s, b));
    TRY(declare_outputs(s, b, promised));
    for (size_t i = 0; i < b->n_nodes; i++) {
        const Onnx__FunctionProto *fn = find_function(s->im, b->nodes[i]);
        if (fn)
            TRY(import_call(s, b->nodes[i], fn));
        else if (!is_constant_node(b->nodes[i]))
            TRY(import_node(s, b->nodes[i]));
    }
    return NULL;
}

/* ---- functions ---- */

static Status bind_inputs(Scope *s, const Onnx__NodeProto *p, const Onnx__FunctionProto *fn, Scope *inside) {
    if (p->n_input > fn->n_input)
        return import_error(s->im, STATUS_INVALID, "'%s' gives %zu inputs to function '%s', which takes %zu",
                            text(p->name), p->n_input, text(fn->name), fn->n_input);
    for (size_t i = 0; i < fn->n_input; i++) {
        ValueId id = NO_ID;
        if (i < p->n_input) TRY(scope_value(s, p->input[i], text(p->name), &id));
        TRY(define(inside, fn->input[i], "an input of a function", id == NO_ID ? ABSENT_VALUE : id));
    }
    return NULL;
}

static Status promise_outputs(Scope *s, const Onnx__NodeProto *p, const Onnx__FunctionProto *fn, NameMap *promised) {
    if (p->n_output > fn->n_output)
        return import_error(s->im, STATUS_INVALID, "'%s' takes %zu outputs of function '%s', which has %zu",
                            text(p->name), p->n_output, text(fn->name), fn->n_output);
    for (size_t i = 0; i < p->n_output; i++) {
        uint32_t id;
        if (*p->output[i] && name_map_find(&s->values, p->output[i], &id))
            TRY_ALLOC(name_map_put(promised, fn->output[i], id));
    }
    return NULL;
}

/* Outputs that no node of the function defines: an input handed through. */
static Status settle_outputs(Scope *s, const Onnx__FunctionProto *fn, Scope *inside, const NameMap *promised) {
    for (size_t i = 0; i < fn->n_output; i++) {
        ValueId id, from;
        if (!name_map_find(promised, fn->output[i], &id)) continue;
        TRY(scope_value(inside, fn->output[i], text(fn->name), &from));
        if (from == id) continue;
        const OpDef *identity = op_find("", "Identity");
        if (from == NO_ID || !identity)
            return import_error(s->im, STATUS_UNSUPPORTED, "output '%s' of function '%s' is an absent input",
                                fn->output[i], text(fn->name));
        TRY(graph_add_node(s->g, identity, NULL, 1, &from, 1, &id, NULL));
    }
    return NULL;
}

static Status import_call(Scope *s, const Onnx__NodeProto *p, const Onnx__FunctionProto *fn) {
    Call call = {.fn = fn, .node = p, .scope = s, .depth = s->call ? s->call->depth + 1 : 0};
    for (const Call *c = s->call; c; c = c->scope->call)
        if (c->fn == fn) return import_error(s->im, STATUS_INVALID, "function '%s' calls itself", text(fn->name));
    if (call.depth > MAX_CALL_DEPTH)
        return import_error(s->im, STATUS_UNSUPPORTED, "functions call each other more than %d levels deep",
                            MAX_CALL_DEPTH);
    const char *name;
    TRY(node_name(s, p, &name));
    Scope inside = {.im = s->im,
                    .g = s->g,
                    .values = {.arena = s->im->scratch},
                    .info = {.arena = s->im->scratch},
                    .call = &call,
                    .opsets = {fn->opset_import, fn->n_opset_import, -1},
                    .inferred = s->inferred};
    TRY_ALLOC(inside.prefix = arena_printf(s->im->scratch, "%s/", name));
    NameMap promised = {.arena = s->im->scratch};
    TRY(bind_inputs(s, p, fn, &inside));
    TRY(promise_outputs(s, p, fn, &promised));
    Body body = {.nodes = fn->node, .n_nodes = fn->n_node, .info = fn->value_info, .n_info = fn->n_value_info};
    TRY(import_body(&inside, &body, &promised));
    return settle_outputs(s, fn, &inside, &promised);
}

/* ---- graphs ---- */

static Status import_outputs(Scope *s, const Onnx__GraphProto *p) {
    for (size_t i = 0; i < p->n_output; i++) {
        ValueId id;
        const char *name = text(p->output[i]->name);
        TRY(scope_value(s, name, "the list of outputs", &id));
        if (id == NO_ID)
            return import_error(s->im, STATUS_INVALID, "output %zu of graph '%s' has no name", i, text(p->name));
        TRY(graph_add_output(s->g, id));
    }
    return NULL;
}

/* Values that an op of an older opset produced in training only have no producer now. */
static Status check_producers(const Scope *s) {
    for (uint32_t i = 0; i < s->g->n_values; i++) {
        const Value *v = &s->g->values[i];
        bool defined = v->producer != NO_ID || v->constant || v->is_input || v->is_capture;
        if (!defined && (v->n_uses || v->is_output))
            return import_error(
                s->im, STATUS_UNSUPPORTED,
                "'%s' is used, but its node produces it in training only: export the model for inference", v->name);
    }
    return NULL;
}

static Status import_graph(Scope *s, const Onnx__GraphProto *p) {
    TRY(import_initializers(s, p));
    TRY(import_inputs(s, p));
    Body body = {.nodes = p->node,
                 .n_nodes = p->n_node,
                 .info = p->value_info,
                 .n_info = p->n_value_info,
                 .outputs = p->output,
                 .n_outputs = p->n_output};
    TRY(import_body(s, &body, NULL));
    TRY(import_outputs(s, p));
    TRY(check_producers(s));
    return status_context(graph_sort(s->g), "%s", s->im->file);
}

static Status import_into(Import *im, Scope *outer, NodeId owner, const Onnx__GraphProto *p, const OpsetList *opsets,
                          Graph **out) {
    Graph *g;
    TRY(graph_new(outer ? outer->g : NULL, text(p->name), &g));
    int64_t version = opset_of(opsets, "");
    g->opset = version > 0 ? (int)version : 0;
    uint32_t inferred = 0;
    Scope s = {.im = im,
               .g = g,
               .outer = outer,
               .owner = owner,
               .values = {.arena = im->scratch},
               .info = {.arena = im->scratch},
               .prefix = "",
               .call = outer ? outer->call : NULL,
               .opsets = *opsets,
               .inferred = &inferred};
    Status status = import_graph(&s, p);
    if (status) {
        graph_free(g);
        return status;
    }
    *out = g;
    return NULL;
}

Status import_subgraph(Scope *s, NodeId owner, const Onnx__GraphProto *p, Graph **out) {
    return import_into(s->im, s, owner, p, &s->opsets, out);
}

Status import_root(Import *im, Graph **out) {
    return import_into(im, NULL, NO_ID, im->wire.model->graph, &im->opsets, out);
}
