/* Which opset a node needs, from the schemas of the standard. */
#include "frontend/onnx_export.h"

#include <string.h>

typedef struct Schema {
    const char *op;
    int since;
    const char *attrs, *in, *out; /* in, out: two letters a formal parameter, * = any number of the one before */
} Schema;

static const Schema schemas[] = {
#define TYPES(code, mask)
#define SCHEMA(op, since, attrs, in, out) {op, since, attrs, in, out},
#include "frontend/onnx_schemas.def"
#undef TYPES
#undef SCHEMA
};
enum { N_SCHEMAS = sizeof schemas / sizeof *schemas };

/* The codes count up from aa. */
static const uint64_t type_masks[] = {
#define TYPES(code, mask) mask,
#define SCHEMA(op, since, attrs, in, out)
#include "frontend/onnx_schemas.def"
#undef TYPES
#undef SCHEMA
};

/* Values of attributes that came later than the attribute. Source: the operator changelog of ONNX. */
static const struct {
    const char *op, *attr, *value;
    int since;
} late_values[] = {
    {"Pad", "mode", "wrap", 19},
    {"Resize", "coordinate_transformation_mode", "half_pixel_symmetric", 19},
    {"ScatterElements", "reduction", "max", 18},
    {"ScatterElements", "reduction", "min", 18},
    {"ScatterND", "reduction", "max", 18},
    {"ScatterND", "reduction", "min", 18},
};

/* The form of op that is valid in opset; NULL when there is none. Rows are sorted by op, those of one op by opset. */
static const Schema *schema_at(const char *op, int opset) {
    int low = 0, high = N_SCHEMAS;
    while (low < high) { /* the first row of op */
        int middle = low + (high - low) / 2;
        if (strcmp(schemas[middle].op, op) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    const Schema *found = NULL;
    for (; low < N_SCHEMAS && schemas[low].since <= opset && !strcmp(schemas[low].op, op); low++) found = &schemas[low];
    return found;
}

static bool has_word(const char *words, const char *word) {
    size_t n = strlen(word);
    for (const char *p = words; *p; p += strspn(p, " ")) {
        size_t len = strcspn(p, " ");
        if (len == n && !memcmp(p, word, n)) return true;
        p += len;
    }
    return false;
}

/* ---- element types ---- */

enum { TENSOR_BIT = 61, SEQUENCE_BIT = 62, OPTIONAL_BIT = 63 };

static bool type_fits(const Type *t, uint64_t mask) {
    static const int bits[] = {[TYPE_UNKNOWN] = -1,
                               [TYPE_TENSOR] = TENSOR_BIT,
                               [TYPE_SEQUENCE] = SEQUENCE_BIT,
                               [TYPE_OPTIONAL] = OPTIONAL_BIT};
    if (bits[t->kind] >= 0 && !(mask >> bits[t->kind] & 1)) return false;
    while (t->kind != TYPE_TENSOR && t->inner) t = t->inner;
    return t->kind != TYPE_TENSOR || t->elem == ELEM_UNDEFINED || (mask >> t->elem & 1);
}

static bool types_fit(const Graph *g, const ValueId *values, int n, const char *formals) {
    for (int i = 0; i < n; i++) {
        if (!*formals) return false;
        int code = (formals[0] - 'a') * 26 + (formals[1] - 'a');
        if (values[i] != NO_ID && !type_fits(&g->values[values[i]].type, type_masks[code])) return false;
        if (formals[2] != '*') formals += 2;
    }
    return true;
}

/* Outputs beyond the last one that anybody reads are not written. */
static int used_outputs(const Graph *g, const Node *n) {
    int count = n->n_out;
    for (; count > n->op->min_out; count--) {
        const Value *v = &g->values[n->out[count - 1]];
        if (v->n_uses || v->is_output) break;
    }
    return count;
}

/* ---- attributes ---- */

static bool has_default_value(const Node *n, const Attr *a) {
    size_t len;
    const char *text;
    if (!op_attr_kind(n->op, a->name, &len, &text) || !text) return false;
    Node bare = *n;
    bare.n_attrs = 0; /* so that the getters answer with the default */
    switch (a->kind) {
    case ATTR_INT:
        return attr_int(&bare, a->name) == a->i;
    case ATTR_FLOAT:
        return attr_float(&bare, a->name) == a->f;
    case ATTR_STRING:
        return (size_t)a->n == len && !memcmp(text, a->s, len);
    default:
        return false;
    }
}

/* Before opset 18 Split without sizes cut into equal parts, as many as it has outputs. */
static bool splits_evenly(const Graph *g, const Node *n) {
    const Type *x = graph_in_type(g, n, 0);
    if (!x || x->kind != TYPE_TENSOR || x->rank < 0) return false;
    int64_t axis = attr_int(n, "axis");
    if (axis < 0) axis += x->rank;
    return axis >= 0 && axis < x->rank && !DIM_IS_SYM(x->dims[axis]) && x->dims[axis] % n->n_out == 0;
}

LowerKind opset_attr(const Graph *g, const Node *n, int i, int opset) {
    const Attr *a = &n->attrs[i];
    const Schema *s = n->op->domain[0] ? NULL : schema_at(n->op->name, opset);
    if (!s || has_word(s->attrs, a->name)) return LOWER_NONE;
    bool droppable = has_default_value(n, a);
    if (!strcmp(a->name, "noop_with_empty_axes")) droppable |= opset_inputs(g, n, opset) == LOWER_AXES_ATTR;
    if (op_is(n, "Split") && !strcmp(a->name, "num_outputs")) droppable |= splits_evenly(g, n);
    return droppable ? LOWER_DROP_ATTR : LOWER_NONE;
}

LowerKind opset_inputs(const Graph *g, const Node *n, int opset) {
    const Schema *s = n->op->domain[0] ? NULL : schema_at(n->op->name, opset);
    if (!s || strncmp(n->op->name, "Reduce", 6) != 0 || !has_word(s->attrs, "axes")) return LOWER_NONE;
    if (n->n_in < 2 || n->in[1] == NO_ID) return attr_int(n, "noop_with_empty_axes") ? LOWER_NONE : LOWER_AXES_ATTR;
    const Tensor *axes = graph_constant(g, n->in[1]);
    return axes && axes->elem == ELEM_I64 && tensor_count(axes) > 0 ? LOWER_AXES_ATTR : LOWER_NONE;
}

static bool attrs_fit(const Graph *g, const Node *n, const Schema *s, int opset) {
    for (int i = 0; i < n->n_attrs; i++) {
        const Attr *a = &n->attrs[i];
        if (!has_word(s->attrs, a->name) && opset_attr(g, n, i, opset) != LOWER_DROP_ATTR) return false;
        for (size_t k = 0; k < sizeof late_values / sizeof *late_values; k++)
            if (a->kind == ATTR_STRING && opset < late_values[k].since && op_is(n, late_values[k].op) &&
                !strcmp(a->name, late_values[k].attr) && !strcmp(a->s, late_values[k].value))
                return false;
    }
    return true;
}

/* With ceil_mode, forms before opset 22 also count a last window that lies in the padding alone. */
static bool counts_padding_window(const Graph *g, const Node *n) {
    int64_t n_kernel, n_strides, n_pads, n_dilations;
    const int64_t *kernel = attr_ints(n, "kernel_shape", &n_kernel), *strides = attr_ints(n, "strides", &n_strides);
    const int64_t *pads = attr_ints(n, "pads", &n_pads), *dilations = attr_ints(n, "dilations", &n_dilations);
    const Type *x = graph_in_type(g, n, 0), *y = &g->values[n->out[0]].type;
    if (!x || x->kind != TYPE_TENSOR || y->kind != TYPE_TENSOR || x->rank != n_kernel + 2 || y->rank != x->rank)
        return false;
    for (int64_t i = 0; i < n_kernel; i++) {
        Dim in = x->dims[i + 2], out = y->dims[i + 2];
        if (DIM_IS_SYM(in) || DIM_IS_SYM(out)) continue;
        int64_t stride = i < n_strides ? strides[i] : 1, dilation = i < n_dilations ? dilations[i] : 1;
        int64_t room = in + (i + n_kernel < n_pads ? pads[i] + pads[i + n_kernel] : 0) - dilation * (kernel[i] - 1) - 1;
        if (stride > 0 && out != (room + stride - 1) / stride + 1) return true;
    }
    return false;
}

static bool ceil_fits(const Graph *g, const Node *n, int opset) {
    bool pool = op_is(n, "MaxPool") || op_is(n, "AveragePool") || op_is(n, "LpPool");
    if (opset >= 22 || !pool || !attr_int(n, "ceil_mode") || strcmp(attr_string(n, "auto_pad"), "NOTSET") != 0)
        return true;
    return !counts_padding_window(g, n);
}

bool opset_fits(const Graph *g, const Node *n, int opset) {
    if (n->op->domain[0]) return true; /* other domains have versions of their own */
    const Schema *s = schema_at(n->op->name, opset);
    if (!s) return false;
    bool axes = opset_inputs(g, n, opset) == LOWER_AXES_ATTR;
    if (opset < n->op->since && !axes) return false;
    return attrs_fit(g, n, s, opset) && ceil_fits(g, n, opset) && types_fit(g, n->in, axes ? 1 : n->n_in, s->in) &&
           types_fit(g, n->out, used_outputs(g, n), s->out);
}

int opset_lowest(const Graph *g, const Node *n) {
    for (int opset = ONNX_DEFAULT_OPSET; opset <= ONNX_NEWEST_OPSET; opset++)
        if (opset_fits(g, n, opset)) return opset;
    return 0;
}
