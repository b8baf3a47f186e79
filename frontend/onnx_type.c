/* Declared types of ONNX messages. */
#include "frontend/onnx_tensor.h"

#include <string.h>

/* The symbol of a dim_param. The text form of the graph and expressions of symbols need names without blanks, brackets
 * and leading digits. Names that begin with '?' are those of unknown sizes, which are equal to nothing. */
static Dim symbol(SymTab *syms, const char *name) {
    char clean[100];
    size_t n = strlen(name);
    if (*name == '?' || n + 2 > sizeof clean) return sym_fresh(syms);
    bool digit = (*name >= '0' && *name <= '9') || *name == '-';
    clean[0] = '_';
    memcpy(clean + digit, name, n + 1);
    for (char *p = clean; *p; p++)
        if (strchr(" ,()[]<>=+*/^%\n\r\t\"", *p)) *p = '_';
    return sym_named(syms, clean);
}

static Status read_dim(TypeReader *r, const Onnx__TensorShapeProto__Dimension *d, Dim *out) {
    uint32_t unused;
    const char *name = d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM ? d->dim_param : NULL;
    if (d->value_case == ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE && d->dim_value >= 0) {
        *out = d->dim_value;
        return NULL;
    }
    bool named = name && *name;
    if (named && r->collect) TRY_ALLOC(name_map_put(r->symbols, name, 0));
    if (named && r->symbols) named = name_map_find(r->symbols, name, &unused);
    *out = named ? symbol(r->syms, name) : sym_fresh(r->syms);
    return *out == INT64_MIN ? status_oom() : NULL;
}

static Status read_tensor_type(TypeReader *r, const Onnx__TypeProto__Tensor *p, Type *out) {
    *out = (Type){.kind = TYPE_TENSOR, .elem = (ElemType)p->elem_type, .rank = -1};
    if (!elem_name(out->elem))
        return status_make(STATUS_UNSUPPORTED, "element type %d is not one that pare knows", p->elem_type);
    if (!p->shape) return NULL;
    if (p->shape->n_dim > MAX_RANK)
        return status_make(STATUS_UNSUPPORTED, "%zu dimensions; pare takes up to %d", p->shape->n_dim, MAX_RANK);
    out->rank = (int)p->shape->n_dim;
    for (int i = 0; i < out->rank; i++) TRY(read_dim(r, p->shape->dim[i], &out->dims[i]));
    return NULL;
}

static Status read_inner(TypeReader *r, const Onnx__TypeProto *p, TypeKind kind, Type *out) {
    Type *inner = arena_alloc(r->arena, sizeof *inner);
    TRY_ALLOC(inner);
    TRY(read_type(r, p, inner));
    *out = (Type){.kind = kind, .inner = inner};
    return NULL;
}

Status read_type(TypeReader *r, const Onnx__TypeProto *p, Type *out) {
    *out = (Type){0};
    if (!p) return NULL;
    switch (p->value_case) {
    case ONNX__TYPE_PROTO__VALUE__NOT_SET:
        return NULL;
    case ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE:
        return read_tensor_type(r, p->tensor_type, out);
    case ONNX__TYPE_PROTO__VALUE_SEQUENCE_TYPE:
        return read_inner(r, p->sequence_type->elem_type, TYPE_SEQUENCE, out);
    case ONNX__TYPE_PROTO__VALUE_OPTIONAL_TYPE:
        return read_inner(r, p->optional_type->elem_type, TYPE_OPTIONAL, out);
    default:
        return status_make(STATUS_UNSUPPORTED, "maps, sparse and opaque types are not supported");
    }
}
