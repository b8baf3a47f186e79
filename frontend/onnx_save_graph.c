/* Graph -> message. Everything is in one arena; bytes of tensors and of attribute lists stay where they are. */
#include "frontend/onnx_export.h"

#include <string.h>

/* Names of one graph on their way out. Inside a subgraph no name may hide one from around it. */
typedef struct Names {
    const Graph *g;
    const struct Names *outer;
    const char **of; /* by ValueId */
    NameMap taken;
    uint32_t suffix;
} Names;

typedef struct Export {
    Arena *a;
    int opset;
    bool value_info;
} Export;

/* Protobuf-c takes char * for strings that it only reads. */
static char *loan(const char *s) { return (char *)(uintptr_t)s; }

static bool is_taken(const Names *n, const char *name) {
    uint32_t unused;
    for (; n; n = n->outer)
        if (name_map_find(&n->taken, name, &unused)) return true;
    return false;
}

static Status free_name(Export *x, Names *names, const char *want, const char **out) {
    *out = want;
    while (is_taken(names, *out)) TRY_ALLOC(*out = arena_printf(x->a, "%s_%u", want, names->suffix++));
    TRY_ALLOC(name_map_put(&names->taken, *out, 0));
    return NULL;
}

/* `owner`: the node of names->outer->g that owns the subgraph. */
static Status name_values(Export *x, Names *names, const Node *owner) {
    const Graph *g = names->g;
    TRY_ALLOC(names->of = ARENA_ARRAY(x->a, const char *, g->n_values));
    for (uint32_t i = 0; i < g->n_captures; i++)
        names->of[g->captures[i].inner] = names->outer->of[owner->in[g->captures[i].slot]];
    for (uint32_t i = 0; i < g->n_values; i++)
        if (!names->of[i]) TRY(free_name(x, names, g->values[i].name, &names->of[i]));
    return NULL;
}

/* ---- types ---- */

static Status export_type(Export *x, const Graph *g, const Type *t, Onnx__TypeProto **out);

static Status export_dim(Export *x, const Graph *g, Dim d, Onnx__TensorShapeProto__Dimension **out) {
    Onnx__TensorShapeProto__Dimension *p = arena_alloc(x->a, sizeof *p);
    TRY_ALLOC(*out = p);
    onnx__tensor_shape_proto__dimension__init(p);
    if (!DIM_IS_SYM(d)) {
        p->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        p->dim_value = d;
        return NULL;
    }
    int n = sym_print(g->syms, d, NULL, 0);
    char *text = ARENA_ARRAY(x->a, char, n + 1);
    TRY_ALLOC(text);
    sym_print(g->syms, d, text, (size_t)n + 1);
    if (strchr(text, '?')) return NULL; /* a size that nothing names: left open */
    p->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
    p->dim_param = text;
    return NULL;
}

static Status export_tensor_type(Export *x, const Graph *g, const Type *t, Onnx__TypeProto__Tensor **out) {
    Onnx__TypeProto__Tensor *p = arena_alloc(x->a, sizeof *p);
    TRY_ALLOC(*out = p);
    onnx__type_proto__tensor__init(p);
    p->has_elem_type = 1;
    p->elem_type = (int32_t)t->elem;
    if (t->rank < 0) return NULL;
    Onnx__TensorShapeProto *shape = arena_alloc(x->a, sizeof *shape);
    TRY_ALLOC(p->shape = shape);
    onnx__tensor_shape_proto__init(shape);
    TRY_ALLOC(shape->dim = ARENA_ARRAY(x->a, Onnx__TensorShapeProto__Dimension *, t->rank));
    for (int i = 0; i < t->rank; i++) TRY(export_dim(x, g, t->dims[i], &shape->dim[i]));
    shape->n_dim = (size_t)t->rank;
    return NULL;
}

static Status export_sequence(Export *x, const Graph *g, const Type *t, Onnx__TypeProto *p) {
    Onnx__TypeProto__Sequence *s = arena_alloc(x->a, sizeof *s);
    TRY_ALLOC(p->sequence_type = s);
    onnx__type_proto__sequence__init(s);
    p->value_case = ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE;
    return t->inner ? export_type(x, g, t->inner, &s->elem_type) : NULL;
}

static Status export_optional(Export *x, const Graph *g, const Type *t, Onnx__TypeProto *p) {
    Onnx__TypeProto__Optional *o = arena_alloc(x->a, sizeof *o);
    TRY_ALLOC(p->optional_type = o);
    onnx__type_proto__optional__init(o);
    p->value_case = ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE;
    return t->inner ? export_type(x, g, t->inner, &o->elem_type) : NULL;
}

static Status export_type(Export *x, const Graph *g, const Type *t, Onnx__TypeProto **out) {
    Onnx__TypeProto *p = arena_alloc(x->a, sizeof *p);
    TRY_ALLOC(*out = p);
    onnx__type_proto__init(p);
    switch (t->kind) {
    case TYPE_TENSOR:
        p->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
        return export_tensor_type(x, g, t, &p->tensor_type);
    case TYPE_SEQUENCE:
        return export_sequence(x, g, t, p);
    case TYPE_OPTIONAL:
        return export_optional(x, g, t, p);
    case TYPE_UNKNOWN:
        break;
    }
    return NULL;
}

static Status export_info(Export *x, const Graph *g, const char *name, const Type *t, Onnx__ValueInfoProto **out) {
    Onnx__ValueInfoProto *p = arena_alloc(x->a, sizeof *p);
    TRY_ALLOC(*out = p);
    onnx__value_info_proto__init(p);
    p->name = loan(name);
    return export_type(x, g, t, &p->type);
}

/* ---- tensors ---- */

static Status export_tensor(Export *x, const Tensor *t, const char *name, Onnx__TensorProto **out) {
    Onnx__TensorProto *p = arena_alloc(x->a, sizeof *p);
    TRY_ALLOC(*out = p);
    if (t->encoding != ENC_DENSE)
        return status_make(STATUS_UNSUPPORTED, "tensor '%s' is stored in an encoding that ONNX does not have",
                           name ? name : "");
    onnx__tensor_proto__init(p);
    p->name = name ? loan(name) : p->name;
    p->has_data_type = 1;
    p->data_type = (int32_t)t->elem;
    p->n_dims = (size_t)t->rank;
    TRY_ALLOC(p->dims = ARENA_ARRAY(x->a, int64_t, t->rank));
    memcpy(p->dims, t->dims, (size_t)t->rank * sizeof *p->dims);
    p->has_raw_data = 1;
    p->raw_data = (ProtobufCBinaryData){t->bytes, t->data};
    return NULL;
}

/* ---- attributes ---- */

static Status export_subgraph(Export *x, const Names *outer, const Node *owner, const Graph *g, Onnx__GraphProto **out);

static Status export_strings(Export *x, const Attr *a, Onnx__AttributeProto *p) {
    p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRINGS;
    p->n_strings = (size_t)a->n;
    TRY_ALLOC(p->strings = ARENA_ARRAY(x->a, ProtobufCBinaryData, a->n));
    for (int64_t i = 0; i < a->n; i++)
        p->strings[i] = (ProtobufCBinaryData){strlen(a->strings[i]), (uint8_t *)loan(a->strings[i])};
    return NULL;
}

static Status export_attr(Export *x, const Names *names, const Node *n, const Attr *a, Onnx__AttributeProto **out) {
    Onnx__AttributeProto *p = arena_alloc(x->a, sizeof *p);
    TRY_ALLOC(*out = p);
    onnx__attribute_proto__init(p);
    p->name = loan(a->name);
    p->has_type = 1;
    switch (a->kind) {
    case ATTR_INT:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT;
        p->has_i = 1;
        p->i = a->i;
        break;
    case ATTR_FLOAT:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT;
        p->has_f = 1;
        p->f = a->f;
        break;
    case ATTR_STRING:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING;
        p->has_s = 1;
        p->s = (ProtobufCBinaryData){(size_t)a->n, (uint8_t *)loan(a->s)};
        break;
    case ATTR_INTS:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
        p->n_ints = (size_t)a->n;
        p->ints = (int64_t *)(uintptr_t)a->ints;
        break;
    case ATTR_FLOATS:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS;
        p->n_floats = (size_t)a->n;
        p->floats = (float *)(uintptr_t)a->floats;
        break;
    case ATTR_STRINGS:
        return export_strings(x, a, p);
    case ATTR_TENSOR:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR;
        return export_tensor(x, a->t, NULL, &p->t);
    case ATTR_GRAPH:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH;
        return export_subgraph(x, names, n, a->g, &p->g);
    case ATTR_TYPE:
        p->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TYPE_PROTO;
        return export_type(x, names->g, a->type, &p->tp);
    }
    return NULL;
}

/* The constant input "axes" as the attribute that it was before opset 18. */
static Status export_axes(Export *x, const Graph *g, const Node *n, Onnx__NodeProto *p) {
    const Tensor *t = n->n_in > 1 ? graph_constant(g, n->in[1]) : NULL;
    if (!t) return NULL;
    Onnx__AttributeProto *axes = arena_alloc(x->a, sizeof *axes);
    TRY_ALLOC(axes);
    onnx__attribute_proto__init(axes);
    axes->name = loan("axes");
    axes->has_type = 1;
    axes->type = ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS;
    axes->n_ints = (size_t)tensor_count(t);
    TRY_ALLOC(axes->ints = ARENA_ARRAY(x->a, int64_t, axes->n_ints));
    for (size_t i = 0; i < axes->n_ints; i++) axes->ints[i] = tensor_get_i64(t, (int64_t)i);
    p->attribute[p->n_attribute++] = axes;
    return NULL;
}

/* ---- nodes ---- */

static Status export_values(Export *x, const Names *names, const ValueId *ids, int n, char ***out, size_t *count) {
    TRY_ALLOC(*out = ARENA_ARRAY(x->a, char *, n));
    for (int i = 0; i < n; i++) (*out)[i] = loan(ids[i] == NO_ID ? "" : names->of[ids[i]]);
    *count = (size_t)n;
    return NULL;
}

/* Optional outputs that nobody reads have no name. */
static Status export_node_outputs(Export *x, const Names *names, const Node *n, Onnx__NodeProto *p) {
    TRY(export_values(x, names, n->out, n->n_out, &p->output, &p->n_output));
    for (int i = n->op->min_out; i < n->n_out; i++) {
        const Value *v = &names->g->values[n->out[i]];
        if (!v->n_uses && !v->is_output) p->output[i] = loan("");
    }
    while (p->n_output > (size_t)n->op->min_out && !*p->output[p->n_output - 1]) p->n_output--;
    return NULL;
}

static Status export_node(Export *x, const Names *names, const Node *n, Onnx__NodeProto **out) {
    const Graph *g = names->g;
    Onnx__NodeProto *p = arena_alloc(x->a, sizeof *p);
    TRY_ALLOC(*out = p);
    onnx__node_proto__init(p);
    p->name = loan(n->name);
    p->op_type = loan(n->op->name);
    if (n->op->domain[0]) p->domain = loan(n->op->domain);
    bool axes = opset_inputs(g, n, x->opset) == LOWER_AXES_ATTR;
    TRY(export_values(x, names, n->in, axes ? 1 : n->n_in, &p->input, &p->n_input));
    TRY(export_node_outputs(x, names, n, p));
    TRY_ALLOC(p->attribute = ARENA_ARRAY(x->a, Onnx__AttributeProto *, n->n_attrs + 1));
    for (int i = 0; i < n->n_attrs; i++)
        if (opset_attr(g, n, i, x->opset) != LOWER_DROP_ATTR)
            TRY(export_attr(x, names, n, &n->attrs[i], &p->attribute[p->n_attribute++]));
    return axes ? export_axes(x, g, n, p) : NULL;
}

/* ---- graphs ---- */

/* A name may be an output once: further mentions of the value go through Identity. */
static Status export_outputs(Export *x, Names *names, Onnx__GraphProto *p) {
    const Graph *g = names->g;
    bool *seen = ARENA_ARRAY(x->a, bool, g->n_values);
    TRY_ALLOC(seen && (p->output = ARENA_ARRAY(x->a, Onnx__ValueInfoProto *, g->n_outputs)));
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        ValueId v = g->outputs[i];
        const char *name = names->of[v];
        if (seen[v]) {
            char **ends = ARENA_ARRAY(x->a, char *, 2);
            Onnx__NodeProto *n = arena_alloc(x->a, sizeof *n);
            TRY_ALLOC(ends && n);
            TRY(free_name(x, names, names->of[v], &name));
            onnx__node_proto__init(n);
            ends[0] = loan(names->of[v]);
            ends[1] = loan(name);
            n->name = ends[1];
            n->op_type = loan("Identity");
            n->input = ends;
            n->output = ends + 1;
            n->n_input = n->n_output = 1;
            p->node[p->n_node++] = n;
        }
        seen[v] = true;
        TRY(export_info(x, g, name, &g->values[v].type, &p->output[p->n_output++]));
    }
    return NULL;
}

/* A constant whose only readers take it as an attribute is not written. */
static bool is_written(const Export *x, const Graph *g, const Value *v) {
    if (v->is_output) return true;
    for (uint32_t i = 0; i < v->n_uses; i++) {
        const Node *n = &g->nodes[v->uses[i].node];
        if (v->uses[i].slot != 1 || opset_inputs(g, n, x->opset) != LOWER_AXES_ATTR) return true;
    }
    return false;
}

static Status export_constants(Export *x, const Names *names, Onnx__GraphProto *p) {
    const Graph *g = names->g;
    size_t n = 0;
    for (uint32_t i = 0; i < g->n_values; i++) n += g->values[i].constant != NULL;
    TRY_ALLOC(p->initializer = ARENA_ARRAY(x->a, Onnx__TensorProto *, n));
    for (uint32_t i = 0; i < g->n_values; i++) {
        const Value *v = &g->values[i];
        if (!v->constant || !is_written(x, g, v)) continue;
        TRY(export_tensor(x, v->constant, names->of[i], &p->initializer[p->n_initializer++]));
    }
    return NULL;
}

static Status export_value_info(Export *x, const Names *names, Onnx__GraphProto *p) {
    const Graph *g = names->g;
    TRY_ALLOC(p->value_info = ARENA_ARRAY(x->a, Onnx__ValueInfoProto *, g->n_values));
    for (uint32_t i = 0; i < g->n_values; i++) {
        const Value *v = &g->values[i];
        if (v->producer == NO_ID || v->is_output || v->type.kind == TYPE_UNKNOWN) continue;
        TRY(export_info(x, g, names->of[i], &v->type, &p->value_info[p->n_value_info++]));
    }
    return NULL;
}

static Status export_into(Export *x, Names *names, Onnx__GraphProto **out) {
    const Graph *g = names->g;
    Onnx__GraphProto *p = arena_alloc(x->a, sizeof *p);
    TRY_ALLOC(*out = p);
    onnx__graph_proto__init(p);
    p->name = loan(g->name && *g->name ? g->name : "graph");
    TRY_ALLOC(p->input = ARENA_ARRAY(x->a, Onnx__ValueInfoProto *, g->n_inputs));
    for (uint32_t i = 0; i < g->n_inputs; i++)
        TRY(export_info(x, g, names->of[g->inputs[i]], &g->values[g->inputs[i]].type, &p->input[p->n_input++]));
    TRY(export_constants(x, names, p));
    TRY_ALLOC(p->node = ARENA_ARRAY(x->a, Onnx__NodeProto *, (size_t)g->n_order + g->n_outputs));
    for (uint32_t i = 0; i < g->n_order; i++) TRY(export_node(x, names, &g->nodes[g->order[i]], &p->node[p->n_node++]));
    TRY(export_outputs(x, names, p));
    return x->value_info ? export_value_info(x, names, p) : NULL;
}

static Status export_subgraph(Export *x, const Names *outer, const Node *owner, const Graph *g,
                              Onnx__GraphProto **out) {
    Names names = {.g = g, .outer = outer, .taken = {.arena = x->a}, .suffix = 1};
    TRY(name_values(x, &names, owner));
    return export_into(x, &names, out);
}

Status export_graph(const Graph *g, Arena *a, int opset, bool value_info, Onnx__GraphProto **out) {
    Export x = {.a = a, .opset = opset, .value_info = value_info};
    Names names = {.g = g, .taken = {.arena = a}, .suffix = 1};
    TRY(name_values(&x, &names, NULL));
    return export_into(&x, &names, out);
}
