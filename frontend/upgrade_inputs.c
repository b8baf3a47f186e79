/* Attributes that became inputs. */
#include "frontend/upgrade.h"

#include <string.h>

/* Moves an int list from attribute `name` to input i. `required` absent is an error. */
static Status ints_to_input(Upgrade *u, const char *name, int i, bool required) {
    const Attr *a;
    TRY(upgrade_attr(u, name, ATTR_INTS, &a));
    if (!a) return required ? upgrade_error(u, STATUS_INVALID, "attribute '%s' is missing", name) : NULL;
    ValueId v;
    TRY(upgrade_ints(u, name, a->ints, a->n, &v));
    TRY(upgrade_set_input(u, i, v));
    upgrade_drop(u, name);
    return NULL;
}

static Status float_to_input(Upgrade *u, const char *name, int i) {
    const Attr *a;
    TRY(upgrade_attr(u, name, ATTR_FLOAT, &a));
    if (!a) return NULL;
    ValueId v;
    TRY(upgrade_floats(u, name, upgrade_input(u, 0), &a->f, -1, &v));
    TRY(upgrade_set_input(u, i, v));
    upgrade_drop(u, name);
    return NULL;
}

Status upgrade_clip_inputs(Upgrade *u) {
    TRY(float_to_input(u, "min", 1));
    return float_to_input(u, "max", 2);
}

Status upgrade_pad_paddings(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "paddings", ATTR_INTS, &a));
    if (!a) return upgrade_error(u, STATUS_INVALID, "attribute 'paddings' is missing");
    Attr pads = *a;
    pads.name = "pads";
    upgrade_drop(u, "paddings");
    return upgrade_set(u, pads);
}

Status upgrade_pad_inputs(Upgrade *u) {
    TRY(ints_to_input(u, "pads", 1, true));
    return float_to_input(u, "value", 2);
}

Status upgrade_slice_inputs(Upgrade *u) {
    TRY(ints_to_input(u, "starts", 1, true));
    TRY(ints_to_input(u, "ends", 2, true));
    return ints_to_input(u, "axes", 3, false);
}

/* An empty list of the attribute form reduces all axes, as does an absent input. */
Status upgrade_reduce_axes(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "axes", ATTR_INTS, &a));
    if (a && a->n == 0) {
        upgrade_drop(u, "axes");
        return NULL;
    }
    return ints_to_input(u, "axes", 1, false);
}

Status upgrade_squeeze_axes(Upgrade *u) { return ints_to_input(u, "axes", 1, !strcmp(u->n->op, "Unsqueeze")); }

Status upgrade_reshape_shape(Upgrade *u) { return ints_to_input(u, "shape", 1, true); }

Status upgrade_split_input(Upgrade *u) { return ints_to_input(u, "split", 1, false); }

Status upgrade_split_equal(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "num_outputs", ATTR_INT, &a));
    if (a || upgrade_input(u, 1) != NO_ID) return NULL;
    return upgrade_set(u, (Attr){.name = "num_outputs", .kind = ATTR_INT, .i = u->n->n_out});
}

Status upgrade_topk_input(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "k", ATTR_INT, &a));
    if (!a) return upgrade_error(u, STATUS_INVALID, "attribute 'k' is missing");
    ValueId v;
    TRY(upgrade_ints(u, "k", &a->i, 1, &v));
    TRY(upgrade_set_input(u, 1, v));
    upgrade_drop(u, "k");
    return NULL;
}

Status upgrade_dft_axis(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "axis", ATTR_INT, &a));
    int64_t axis = a ? a->i : 1;
    ValueId v;
    TRY(upgrade_ints(u, "axis", &axis, -1, &v));
    TRY(upgrade_set_input(u, 2, v));
    upgrade_drop(u, "axis");
    return NULL;
}

/* ---- Upsample and Resize ---- */

Status upgrade_upsample_attrs(Upgrade *u) {
    const Attr *height, *width;
    TRY(upgrade_attr(u, "height_scale", ATTR_FLOAT, &height));
    TRY(upgrade_attr(u, "width_scale", ATTR_FLOAT, &width));
    if (!height || !width)
        return upgrade_error(u, STATUS_INVALID, "attribute 'height_scale' or 'width_scale' is missing");
    float *scales = ARENA_ARRAY(u->scratch, float, 4);
    TRY_ALLOC(scales);
    scales[0] = scales[1] = 1;
    scales[2] = height->f;
    scales[3] = width->f;
    upgrade_drop(u, "height_scale");
    upgrade_drop(u, "width_scale");
    return upgrade_set(u, (Attr){.name = "scales", .kind = ATTR_FLOATS, .n = 4, .floats = scales});
}

Status upgrade_upsample_scales(Upgrade *u) {
    const Attr *a;
    TRY(upgrade_attr(u, "scales", ATTR_FLOATS, &a));
    if (!a) return upgrade_error(u, STATUS_INVALID, "attribute 'scales' is missing");
    ValueId v;
    TRY(upgrade_floats(u, "scales", NO_ID, a->floats, a->n, &v));
    TRY(upgrade_set_input(u, 1, v));
    upgrade_drop(u, "scales");
    return NULL;
}

/* Before opset 11 an output pixel came from floor(x / scale). */
static Status scales_form(Upgrade *u) {
    ValueId scales = upgrade_input(u, 1);
    TRY(upgrade_set_input(u, 2, scales));
    TRY(upgrade_set_input(u, 1, NO_ID));
    const Attr *mode;
    TRY(upgrade_attr(u, "mode", ATTR_STRING, &mode));
    if (mode && !strcmp(mode->s, "bilinear"))
        TRY(upgrade_set(u, (Attr){.name = "mode", .kind = ATTR_STRING, .n = 6, .s = "linear"}));
    TRY(upgrade_set(u,
                    (Attr){.name = "coordinate_transformation_mode", .kind = ATTR_STRING, .n = 10, .s = "asymmetric"}));
    return upgrade_set(u, (Attr){.name = "nearest_mode", .kind = ATTR_STRING, .n = 5, .s = "floor"});
}

Status upgrade_resize_scales(Upgrade *u) { return scales_form(u); }
Status upgrade_upsample_resize(Upgrade *u) { return scales_form(u); }

/* Opset 11 wanted an empty tensor where roi or scales is not used; later ones take an absent input. */
Status upgrade_resize_absent(Upgrade *u) {
    for (int i = 1; i < u->n->n_in && i < 3; i++) {
        const Tensor *t = graph_constant(u->g, u->n->in[i]);
        if (t && tensor_count(t) == 0) u->n->in[i] = NO_ID;
    }
    return NULL;
}
