/* Forms of the first opsets, and changed defaults. */
#include "frontend/upgrade.h"

#include <string.h>
#include <strings.h>

/* B stands at axes axis … of A: trailing axes of size 1 make that numpy broadcasting. */
static Status append_axes(Upgrade *u, ValueId v, int64_t rank, int64_t extra, ValueId *out) {
    int64_t axes[MAX_RANK];
    if (extra > MAX_RANK) return upgrade_error(u, STATUS_INVALID, "has more than %d dimensions", MAX_RANK);
    for (int64_t i = 0; i < extra; i++) axes[i] = rank + i;
    ValueId in[2] = {v, NO_ID};
    TRY(upgrade_ints(u, "axes", axes, extra, &in[1]));
    return upgrade_before(u, "Unsqueeze", "unsqueeze", 2, in, NULL, 0, out);
}

Status upgrade_binary_broadcast(Upgrade *u) {
    const Attr *broadcast, *axis;
    TRY(upgrade_attr(u, "broadcast", ATTR_INT, &broadcast));
    TRY(upgrade_attr(u, "axis", ATTR_INT, &axis));
    if (broadcast && broadcast->i && axis) {
        Type a, b;
        TRY(upgrade_type(u, upgrade_input(u, 0), &a));
        TRY(upgrade_type(u, upgrade_input(u, 1), &b));
        if (a.kind != TYPE_TENSOR || b.kind != TYPE_TENSOR || a.rank < 0 || b.rank < 0)
            return upgrade_error(u, STATUS_UNSUPPORTED,
                                 "its 'axis' attribute needs inputs whose numbers of dimensions are known");
        int64_t at = axis->i < 0 ? axis->i + a.rank : axis->i, extra = a.rank - at - b.rank;
        if (at < 0 || extra < 0)
            return upgrade_error(u, STATUS_INVALID, "its second input does not fit at axis %d of the first",
                                 (int)axis->i);
        if (extra) TRY(append_axes(u, u->n->in[1], b.rank, extra, &u->n->in[1]));
    }
    upgrade_drop(u, "broadcast");
    upgrade_drop(u, "axis");
    return NULL;
}

/* C broadcasts by numpy's rules in every opset; the attribute only allowed it. */
Status upgrade_gemm_broadcast(Upgrade *u) {
    upgrade_drop(u, "broadcast");
    return NULL;
}

/* A slope of one dimension belongs to axis 1. */
Status upgrade_prelu_slope(Upgrade *u) {
    Type x, slope;
    TRY(upgrade_type(u, upgrade_input(u, 0), &x));
    TRY(upgrade_type(u, upgrade_input(u, 1), &slope));
    if (x.kind != TYPE_TENSOR || slope.kind != TYPE_TENSOR || x.rank <= 2 || slope.rank != 1 || slope.dims[0] == 1)
        return NULL;
    return append_axes(u, u->n->in[1], 1, x.rank - 2, &u->n->in[1]);
}

Status upgrade_cast_name(Upgrade *u) {
    static const struct {
        const char *name;
        ElemType elem;
    } names[] = {{"FLOAT", ELEM_F32},     {"UINT8", ELEM_U8},       {"INT8", ELEM_I8},    {"UINT16", ELEM_U16},
                 {"INT16", ELEM_I16},     {"INT32", ELEM_I32},      {"INT64", ELEM_I64},  {"BOOL", ELEM_BOOL},
                 {"FLOAT16", ELEM_F16},   {"DOUBLE", ELEM_F64},     {"UINT32", ELEM_U32}, {"UINT64", ELEM_U64},
                 {"COMPLEX64", ELEM_C64}, {"COMPLEX128", ELEM_C128}};
    const Attr *a;
    TRY(upgrade_attr(u, "to", ATTR_STRING, &a));
    for (size_t i = 0; a && i < sizeof names / sizeof *names; i++)
        if (!strcasecmp(names[i].name, a->s))
            return upgrade_set(u, (Attr){.name = "to", .kind = ATTR_INT, .i = names[i].elem});
    return upgrade_error(u, STATUS_INVALID, "attribute 'to' is missing or names no element type");
}

Status upgrade_concat_axis(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "axis", ATTR_INT, &a));
    return a ? NULL : upgrade_set(u, (Attr){.name = "axis", .kind = ATTR_INT, .i = 1});
}

Status upgrade_lp_integer(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "p", ATTR_FLOAT, &a));
    return a ? upgrade_set(u, (Attr){.name = "p", .kind = ATTR_INT, .i = (int64_t)a->f}) : NULL;
}

Status upgrade_rnn_sequence(Upgrade *u) {
    upgrade_drop(u, "output_sequence");
    return NULL;
}

Status upgrade_selu_defaults(Upgrade *u) {
    static const Attr defaults[] = {{.name = "alpha", .kind = ATTR_FLOAT, .f = 1.6732f},
                                    {.name = "gamma", .kind = ATTR_FLOAT, .f = 1.0507f}};
    for (int i = 0; i < 2; i++) {
        const Attr *a;
        TRY(upgrade_attr(u, defaults[i].name, ATTR_FLOAT, &a));
        if (!a) TRY(upgrade_set(u, defaults[i]));
    }
    return NULL;
}

Status upgrade_tile_axis(Upgrade *u) {
    Type x;
    const int64_t *tiles, *axis;
    int64_t n_tiles, n_axis, repeats[MAX_RANK];
    TRY(upgrade_type(u, upgrade_input(u, 0), &x));
    TRY(upgrade_const_ints(u, 1, &tiles, &n_tiles));
    TRY(upgrade_const_ints(u, 2, &axis, &n_axis));
    if (n_tiles != 1 || n_axis != 1 || x.kind != TYPE_TENSOR || x.rank < 0)
        return upgrade_error(u, STATUS_UNSUPPORTED,
                             "needs constant 'tiles' and 'axis' and a known number of dimensions");
    if (*axis < 0 || *axis >= x.rank) return upgrade_error(u, STATUS_INVALID, "axis is outside the input's dimensions");
    for (int i = 0; i < x.rank; i++) repeats[i] = i == *axis ? *tiles : 1;
    ValueId v;
    TRY(upgrade_ints(u, "repeats", repeats, x.rank, &v));
    u->n->n_in = 2;
    u->n->in[1] = v;
    return NULL;
}

/* ---- normalization and dropout ---- */

Status upgrade_batch_norm_spatial(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "spatial", ATTR_INT, &a));
    if (a && !a->i)
        return upgrade_error(u, STATUS_UNSUPPORTED, "statistics for every position (spatial=0) are not supported");
    upgrade_drop(u, "spatial");
    upgrade_drop(u, "is_test");
    return NULL;
}

/* Outputs 1 to 4 were those of training; a model that reads one is refused when nothing is found to produce it. */
Status upgrade_batch_norm_outputs(Upgrade *u) {
    if (u->n->n_out > 1) u->n->n_out = 1;
    return NULL;
}

/* Scale and bias had one element a group; now they have one a channel. */
Status upgrade_group_norm_channels(Upgrade *u) {
    const Attr *groups;
    Type x;
    TRY(upgrade_attr(u, "num_groups", ATTR_INT, &groups));
    TRY(upgrade_type(u, upgrade_input(u, 0), &x));
    if (!groups || groups->i <= 0)
        return upgrade_error(u, STATUS_INVALID, "attribute 'num_groups' is missing or not positive");
    if (x.kind != TYPE_TENSOR || x.rank < 2 || DIM_IS_SYM(x.dims[1]))
        return upgrade_error(u, STATUS_UNSUPPORTED, "needs an input whose number of channels is known");
    if (x.dims[1] % groups->i) return upgrade_error(u, STATUS_INVALID, "the channels do not divide into the groups");
    int64_t column[2] = {groups->i, 1}, wide[2] = {groups->i, x.dims[1] / groups->i}, flat = -1;
    ValueId shapes[3];
    TRY(upgrade_ints(u, "column", column, 2, &shapes[0]));
    TRY(upgrade_ints(u, "wide", wide, 2, &shapes[1]));
    TRY(upgrade_ints(u, "flat", &flat, 1, &shapes[2]));
    static const char *const ops[] = {"Reshape", "Expand", "Reshape"}, *const names[] = {"column", "repeat",
                                                                                         "per_channel"};
    for (int i = 1; i < 3 && i < u->n->n_in; i++)
        for (int k = 0; k < 3; k++) {
            ValueId in[2] = {u->n->in[i], shapes[k]};
            TRY(upgrade_before(u, ops[k], names[k], 2, in, NULL, 0, &u->n->in[i]));
        }
    return NULL;
}

/* All elements are kept at inference: the mask is true everywhere (before opset 10, one of the data's type). */
static Status dropout_mask(Upgrade *u) {
    ValueId in[1] = {u->n->in[0]}, shape;
    TRY(upgrade_before(u, "Shape", "shape", 1, in, NULL, 0, &shape));
    Type x;
    TRY(upgrade_type(u, u->n->in[0], &x));
    ElemType e = u->n->version >= 10 ? ELEM_BOOL : x.kind == TYPE_TENSOR && x.elem ? x.elem : ELEM_F32;
    const char *name;
    TRY(upgrade_name(u, "mask", &name));
    const OpDef *op = op_find("", "ConstantOfShape");
    if (!op) return upgrade_error(u, STATUS_UNSUPPORTED, "its mask is used");
    NodeId id;
    TRY(graph_add_node(u->g, op, name, 1, &shape, 1, &u->n->out[1], &id));
    int64_t one = 1;
    Tensor t;
    TRY(tensor_new(&t, e, 1, &one));
    tensor_set_f64(&t, 0, 1);
    Status s = attr_set(u->g, id, &(Attr){.name = "value", .kind = ATTR_TENSOR, .t = &t});
    if (s) tensor_free(&t);
    return s;
}

Status upgrade_dropout(Upgrade *u) {
    const Tensor *t = graph_constant(u->g, upgrade_input(u, 2));
    bool off =
        upgrade_input(u, 2) == NO_ID || (t && t->elem == ELEM_BOOL && tensor_count(t) == 1 && !tensor_get_i64(t, 0));
    if (!off)
        return upgrade_error(u, STATUS_UNSUPPORTED, "training mode is not supported: export the model for inference");
    if (u->n->n_in < 1) return upgrade_error(u, STATUS_INVALID, "has no input");
    if (u->n->n_out > 1 && u->n->out[1] != NO_ID) TRY(dropout_mask(u));
    if (u->n->n_out > 1) u->n->n_out = 1;
    u->n->n_in = 1;
    while (u->n->n_attrs) upgrade_drop(u, u->n->attrs[0].name);
    return NULL;
}

/* ---- softmax ---- */

/* Opsets below 13 made the input two-dimensional at `axis` and worked on the rows. */
static Status softmax_rows(Upgrade *u, int64_t axis) {
    SourceNode *n = u->n;
    ValueId in[2] = {n->in[0], NO_ID}, flat, rows = NO_ID;
    TRY(upgrade_before(u, "Flatten", "flatten", 1, in, &(Attr){.name = "axis", .kind = ATTR_INT, .i = axis}, 1, &flat));
    TRY(upgrade_before(u, "Shape", "shape", 1, in, NULL, 0, &in[1]));
    NodeId id;
    TRY(graph_build(u->g, "", n->op, n->name, 1, &flat, &rows, &id));
    TRY(attr_set_int(u->g, id, "axis", -1));
    in[0] = rows;
    const char *name;
    TRY(upgrade_name(u, "reshape", &name));
    const OpDef *reshape = op_find("", "Reshape");
    if (!reshape) return upgrade_error(u, STATUS_UNSUPPORTED, "its old form is not supported");
    n->emitted = true;
    return graph_add_node(u->g, reshape, name, 2, in, 1, n->out, NULL);
}

Status upgrade_softmax_flatten(Upgrade *u) {
    const Attr *a;
    Type x;
    if (u->n->n_in != 1 || u->n->n_out != 1)
        return upgrade_error(u, STATUS_INVALID, "must have one input and one output");
    TRY(upgrade_attr(u, "axis", ATTR_INT, &a));
    TRY(upgrade_type(u, u->n->in[0], &x));
    int64_t axis = a ? a->i : 1;
    bool single = false; /* the rows are the elements along `axis`: nothing but ones behind it */
    if (x.kind == TYPE_TENSOR && x.rank >= 0) {
        if (axis < 0) axis += x.rank;
        if (axis < 0 || axis > x.rank)
            return upgrade_error(u, STATUS_INVALID, "axis is outside the input's dimensions");
        single = axis < x.rank;
        for (int64_t i = axis + 1; i < x.rank; i++) single &= x.dims[i] == 1;
    }
    return single ? upgrade_set(u, (Attr){.name = "axis", .kind = ATTR_INT, .i = axis}) : softmax_rows(u, axis);
}

/* ---- renamed values of attributes ---- */

Status upgrade_grid_sample_modes(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "mode", ATTR_STRING, &a));
    const char *mode = !a || !strcmp(a->s, "bilinear") ? "linear" : !strcmp(a->s, "bicubic") ? "cubic" : a->s;
    return upgrade_set(u, (Attr){.name = "mode", .kind = ATTR_STRING, .n = (int64_t)strlen(mode), .s = mode});
}

Status upgrade_roi_align_mode(Upgrade *u) {
    static const char mode[] = "output_half_pixel"; /* the default became half_pixel */
    return upgrade_set(
        u, (Attr){.name = "coordinate_transformation_mode", .kind = ATTR_STRING, .n = sizeof mode - 1, .s = mode});
}
