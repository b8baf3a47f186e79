#include "support/onnx_builder.h"

#include <stdlib.h>
#include <string.h>

static void *take(void *p) {
    if (!p) abort();
    return p;
}
#define NEW(b, T) ((T *)take(arena_alloc((b)->arena, sizeof(T))))

static char *own(OnnxBuilder *b, const char *s) { return take(arena_strdup(b->arena, s)); }

/* A list of pointers with one more at its end. */
static void *pushed(OnnxBuilder *b, void *list, size_t n, void *item) {
    void **grown = take(ARENA_ARRAY(b->arena, void *, n + 1));
    if (n) memcpy(grown, list, n * sizeof *grown);
    grown[n] = item;
    return grown;
}
#define PUSH(b, list, n, item) ((list) = pushed((b), (list), (n), (item)), (n)++)

/* Calls add for every part of a text that is separated by commas; "" has none. */
static size_t split(OnnxBuilder *b, const char *text, char ***out) {
    char **parts = NULL;
    size_t n = 0;
    for (const char *p = text; *text && p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL)
        PUSH(b, parts, n, take(arena_strndup(b->arena, p, strcspn(p, ","))));
    *out = parts;
    return n;
}

OnnxBuilder *ob_new(int64_t ir, int64_t opset) {
    OnnxBuilder *b = take(mem_zalloc(sizeof *b));
    b->arena = take(arena_new());
    onnx__model_proto__init(&b->model);
    b->model.has_ir_version = 1;
    b->model.ir_version = ir;
    if (opset) ob_import(b, "", opset);
    b->graph = b->model.graph = ob_subgraph(b, "test");
    return b;
}

void ob_free(OnnxBuilder *b) {
    arena_free(b->arena);
    mem_free(b);
}

static Onnx__OperatorSetIdProto *opset(OnnxBuilder *b, const char *domain, int64_t version) {
    Onnx__OperatorSetIdProto *p = NEW(b, Onnx__OperatorSetIdProto);
    onnx__operator_set_id_proto__init(p);
    p->domain = own(b, domain);
    p->has_version = 1;
    p->version = version;
    return p;
}

void ob_import(OnnxBuilder *b, const char *domain, int64_t version) {
    PUSH(b, b->model.opset_import, b->model.n_opset_import, opset(b, domain, version));
}

const uint8_t *ob_pack(OnnxBuilder *b, size_t *n) {
    *n = onnx__model_proto__get_packed_size(&b->model);
    uint8_t *bytes = take(arena_array(b->arena, 1, *n));
    onnx__model_proto__pack(&b->model, bytes);
    return bytes;
}

Onnx__GraphProto *ob_subgraph(OnnxBuilder *b, const char *name) {
    Onnx__GraphProto *g = NEW(b, Onnx__GraphProto);
    onnx__graph_proto__init(g);
    g->name = own(b, name);
    return g;
}

Onnx__FunctionProto *ob_function(OnnxBuilder *b, const char *domain, const char *name, const char *in,
                                 const char *out) {
    Onnx__FunctionProto *f = NEW(b, Onnx__FunctionProto);
    onnx__function_proto__init(f);
    f->domain = own(b, domain);
    f->name = own(b, name);
    f->n_input = split(b, in, &f->input);
    f->n_output = split(b, out, &f->output);
    f->opset_import = b->model.opset_import;
    f->n_opset_import = b->model.n_opset_import;
    PUSH(b, b->model.functions, b->model.n_functions, f);
    return f;
}

/* ---- types ---- */

static Onnx__TensorShapeProto *shape(OnnxBuilder *b, const char *dims) {
    Onnx__TensorShapeProto *s = NEW(b, Onnx__TensorShapeProto);
    onnx__tensor_shape_proto__init(s);
    char **parts;
    size_t n = split(b, dims, &parts);
    for (size_t i = 0; i < n; i++) {
        Onnx__TensorShapeProto__Dimension *d = NEW(b, Onnx__TensorShapeProto__Dimension);
        onnx__tensor_shape_proto__dimension__init(d);
        char *end;
        d->dim_value = strtoll(parts[i], &end, 10);
        d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (*end && strcmp(parts[i], "?") != 0) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM;
            d->dim_param = parts[i];
        } else if (*end) {
            d->value_case = ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE__NOT_SET;
        }
        PUSH(b, s->dim, s->n_dim, d);
    }
    return s;
}

static Onnx__ValueInfoProto *info(OnnxBuilder *b, const char *name, ElemType e, const char *dims) {
    Onnx__ValueInfoProto *v = NEW(b, Onnx__ValueInfoProto);
    onnx__value_info_proto__init(v);
    v->name = own(b, name);
    if (e == ELEM_UNDEFINED) return v;
    v->type = NEW(b, Onnx__TypeProto);
    onnx__type_proto__init(v->type);
    v->type->value_case = ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    Onnx__TypeProto__Tensor *t = v->type->tensor_type = NEW(b, Onnx__TypeProto__Tensor);
    onnx__type_proto__tensor__init(t);
    t->has_elem_type = 1;
    t->elem_type = (int32_t)e;
    if (dims) t->shape = shape(b, dims);
    return v;
}

void ob_input(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, ElemType e, const char *dims) {
    PUSH(b, g->input, g->n_input, info(b, name, e, dims));
}
void ob_output(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, ElemType e, const char *dims) {
    PUSH(b, g->output, g->n_output, info(b, name, e, dims));
}
void ob_value_info(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, ElemType e, const char *dims) {
    PUSH(b, g->value_info, g->n_value_info, info(b, name, e, dims));
}

/* ---- tensors ---- */

Onnx__TensorProto *ob_tensor(OnnxBuilder *b, const char *name, ElemType e, const char *dims, const void *raw,
                             size_t n) {
    Onnx__TensorProto *t = NEW(b, Onnx__TensorProto);
    onnx__tensor_proto__init(t);
    t->name = own(b, name);
    t->has_data_type = 1;
    t->data_type = (int32_t)e;
    char **parts;
    t->n_dims = split(b, dims, &parts);
    t->dims = take(ARENA_ARRAY(b->arena, int64_t, t->n_dims));
    for (size_t i = 0; i < t->n_dims; i++) t->dims[i] = strtoll(parts[i], NULL, 10);
    t->has_raw_data = raw != NULL;
    t->raw_data.len = raw ? n : 0;
    t->raw_data.data = take(arena_array(b->arena, 1, n));
    if (raw && n) memcpy(t->raw_data.data, raw, n);
    return t;
}

void ob_initializer(OnnxBuilder *b, Onnx__GraphProto *g, Onnx__TensorProto *t) {
    PUSH(b, g->initializer, g->n_initializer, t);
}
void ob_floats(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, const char *dims, const float *v, size_t n) {
    ob_initializer(b, g, ob_tensor(b, name, ELEM_F32, dims, v, n * sizeof *v));
}
void ob_int64s(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, const char *dims, const int64_t *v, size_t n) {
    ob_initializer(b, g, ob_tensor(b, name, ELEM_I64, dims, v, n * sizeof *v));
}

static void add_entry(OnnxBuilder *b, Onnx__TensorProto *t, const char *key, const char *value) {
    if (!value) return;
    Onnx__StringStringEntryProto *e = NEW(b, Onnx__StringStringEntryProto);
    onnx__string_string_entry_proto__init(e);
    e->key = own(b, key);
    e->value = own(b, value);
    PUSH(b, t->external_data, t->n_external_data, e);
}

void ob_external(OnnxBuilder *b, Onnx__TensorProto *t, const char *location, const char *offset, const char *length) {
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    add_entry(b, t, "location", location);
    add_entry(b, t, "offset", offset);
    add_entry(b, t, "length", length);
}

/* ---- nodes ---- */

static Onnx__NodeProto *node(OnnxBuilder *b, const char *op, const char *name, const char *in, const char *out) {
    Onnx__NodeProto *n = NEW(b, Onnx__NodeProto);
    onnx__node_proto__init(n);
    const char *dot = strrchr(op, '.'); /* "domain.Op" */
    n->op_type = own(b, dot ? dot + 1 : op);
    if (dot) n->domain = take(arena_strndup(b->arena, op, (size_t)(dot - op)));
    n->name = own(b, name);
    n->n_input = split(b, in, &n->input);
    n->n_output = split(b, out, &n->output);
    return n;
}

Onnx__NodeProto *ob_node(OnnxBuilder *b, Onnx__GraphProto *g, const char *op, const char *name, const char *in,
                         const char *out) {
    Onnx__NodeProto *n = node(b, op, name, in, out);
    PUSH(b, g->node, g->n_node, n);
    return n;
}

Onnx__NodeProto *ob_function_node(OnnxBuilder *b, Onnx__FunctionProto *f, const char *op, const char *name,
                                  const char *in, const char *out) {
    Onnx__NodeProto *n = node(b, op, name, in, out);
    PUSH(b, f->node, f->n_node, n);
    return n;
}

Onnx__AttributeProto *ob_attr(OnnxBuilder *b, Onnx__NodeProto *n, const char *name) {
    Onnx__AttributeProto *a = NEW(b, Onnx__AttributeProto);
    onnx__attribute_proto__init(a);
    a->name = own(b, name);
    PUSH(b, n->attribute, n->n_attribute, a);
    return a;
}

static Onnx__AttributeProto *typed(OnnxBuilder *b, Onnx__NodeProto *n, const char *name,
                                   Onnx__AttributeProto__AttributeType type) {
    Onnx__AttributeProto *a = ob_attr(b, n, name);
    a->has_type = 1;
    a->type = type;
    return a;
}

void ob_attr_int(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, int64_t v) {
    Onnx__AttributeProto *a = typed(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INT);
    a->has_i = 1;
    a->i = v;
}

void ob_attr_float(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, float v) {
    Onnx__AttributeProto *a = typed(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOAT);
    a->has_f = 1;
    a->f = v;
}

void ob_attr_string(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, const char *v) {
    Onnx__AttributeProto *a = typed(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__STRING);
    a->has_s = 1;
    a->s = (ProtobufCBinaryData){strlen(v), (uint8_t *)own(b, v)};
}

void ob_attr_ints(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, const int64_t *v, size_t count) {
    Onnx__AttributeProto *a = typed(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__INTS);
    a->n_ints = count;
    a->ints = take(ARENA_ARRAY(b->arena, int64_t, count));
    if (count) memcpy(a->ints, v, count * sizeof *v);
}

void ob_attr_floats(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, const float *v, size_t count) {
    Onnx__AttributeProto *a = typed(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__FLOATS);
    a->n_floats = count;
    a->floats = take(ARENA_ARRAY(b->arena, float, count));
    if (count) memcpy(a->floats, v, count * sizeof *v);
}

void ob_attr_tensor(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, Onnx__TensorProto *t) {
    typed(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__TENSOR)->t = t;
}

void ob_attr_graph(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, Onnx__GraphProto *g) {
    typed(b, n, name, ONNX__ATTRIBUTE_PROTO__ATTRIBUTE_TYPE__GRAPH)->g = g;
}

void ob_attr_ref(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, const char *of_call) {
    ob_attr(b, n, name)->ref_attr_name = own(b, of_call);
}
