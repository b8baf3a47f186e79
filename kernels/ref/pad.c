/* Pad and CenterCropPad. */
#include "kernels/ref/ref.h"

#include <string.h>

typedef enum PadMode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } PadMode;

static Status read_mode(const EvalCtx *c, PadMode *mode) {
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const char *name = attr_string(c->node, "mode");
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, names[i]) == 0) {
            *mode = (PadMode)i;
            return NULL;
        }
    }
    return eval_error(c, STATUS_INVALID, "attribute mode is '%s'", name);
}

/* Which element of an axis of `dim` stands at position i (may be outside); -1: the constant. */
static int64_t pad_source(PadMode mode, int64_t i, int64_t dim) {
    if (i >= 0 && i < dim) return i;
    if (mode == PAD_CONSTANT || dim == 0) return -1;
    if (mode == PAD_EDGE) return i < 0 ? 0 : dim - 1;
    int64_t period = mode == PAD_WRAP ? dim : 2 * (dim - 1);
    if (period == 0) return 0;
    int64_t at = i % period;
    if (at < 0) at += period;
    return at < dim ? at : period - at;
}

/* Output 0: x placed at before[] in [dims], everything else by `mode` (constant: element 0 of `fill`, zero when NULL).
 */
static Status place(EvalCtx *c, PadMode mode, const int64_t *before, const int64_t *dims, const Tensor *fill) {
    const Tensor *x = c->in[0];
    int64_t *map[MAX_RANK], from[MAX_RANK], idx[MAX_RANK] = {0}, n = 0;
    int rank = x->rank;
    Tensor y;
    TRY(ref_output(c, 0, x->elem, rank, dims, &y));
    for (int d = 0; d < rank; d++) {
        TRY_ALLOC(map[d] = ARENA_ARRAY(c->scratch, int64_t, dims[d]));
        for (int64_t i = 0; i < dims[d]; i++) map[d][i] = pad_source(mode, i - before[d], x->dims[d]);
    }
    memset(y.data, 0, y.bytes);
    if (fill) ref_fill(x->elem, y.data, tensor_count(&y), fill->data, 0);
    if (tensor_count(&y) == 0) return NULL;
    ref_strides(rank, x->dims, from);
    do {
        int64_t at = 0;
        bool inside = true;
        for (int d = 0; d < rank && inside; d++) {
            inside = map[d][idx[d]] >= 0;
            at += map[d][idx[d]] * from[d];
        }
        if (inside) ref_copy(x->elem, y.data, n, x->data, at, 1);
        n++;
    } while (ref_next(rank, dims, idx));
    return NULL;
}

Status infer_pad(InferCtx *c) {
    int n_pads, n_axes;
    const int64_t *axes;
    ElemType e = infer_elem(c, 0);
    const Dim *pads = infer_known(c, 1, &n_pads);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    Type t = *c->in[0];
    bool listed = c->n_in > 3 && c->in[3];
    if (!pads || !infer_ints(c, 3, &axes, &n_axes)) {
        infer_set_fresh(c, 0, e, t.rank);
        return NULL;
    }
    int n = listed ? n_axes : t.rank;
    if (n_pads != 2 * n)
        return infer_error(c, STATUS_INVALID, "input pads has %d elements, expected %d", n_pads, 2 * n);
    for (int i = 0; i < n; i++) {
        int axis;
        TRY(infer_axis(c, listed ? axes[i] : i, t.rank, &axis));
        Dim d = infer_dim_op(c, SYM_ADD, t.dims[axis], infer_dim_op(c, SYM_ADD, pads[i], pads[n + i]));
        if (DIM_IS_NUM(d) && d < 0) return infer_error(c, STATUS_INVALID, "axis %d becomes shorter than 0", axis);
        t.dims[axis] = d;
    }
    infer_set(c, 0, e, t.rank, t.dims);
    return NULL;
}

Status eval_pad(EvalCtx *c) {
    const Tensor *x = c->in[0], *fill = c->n_in > 2 ? c->in[2] : NULL;
    int64_t *pads, *axes, n_pads, n, dims[MAX_RANK], before[MAX_RANK] = {0};
    PadMode mode;
    TRY(ref_numeric_only(c));
    TRY(read_mode(c, &mode));
    TRY(ref_ints(c, 1, &pads, &n_pads));
    TRY(ref_ints(c, 3, &axes, &n));
    if (!axes) n = x->rank;
    if (n_pads != 2 * n)
        return eval_error(c, STATUS_INVALID, "input pads has %lld elements, expected %lld", (long long)n_pads,
                          2 * (long long)n);
    if (fill && (fill->elem != x->elem || tensor_count(fill) != 1))
        return eval_error(c, STATUS_INVALID, "constant_value must be one %s", elem_name(x->elem));
    memcpy(dims, x->dims, sizeof dims);
    for (int64_t i = 0; i < n; i++) {
        int axis;
        int64_t sum;
        TRY(ref_axis(c, axes ? axes[i] : i, x->rank, &axis));
        before[axis] = pads[i];
        bool fits = !__builtin_add_overflow(pads[i], pads[n + i], &sum) &&
                    !__builtin_add_overflow(dims[axis], sum, &dims[axis]);
        if (!fits || dims[axis] < 0 || (x->dims[axis] == 0 && mode != PAD_CONSTANT && dims[axis] > 0)) {
            return eval_error(c, STATUS_INVALID, "pads %lld and %lld do not fit axis %d with %lld elements",
                              (long long)pads[i], (long long)pads[n + i], axis, (long long)x->dims[axis]);
        }
    }
    return place(c, mode, before, dims, fill);
}

Status infer_center_crop_pad(InferCtx *c) {
    int n;
    const Dim *shape = infer_known(c, 1, &n);
    int64_t n_axes;
    const int64_t *axes = attr_ints(c->node, "axes", &n_axes);
    if (!infer_is_ranked(c, 0)) {
        infer_set_unranked(c, 0, infer_elem(c, 0));
        return NULL;
    }
    Type t = *c->in[0];
    if (shape && n != (axes ? n_axes : t.rank)) return infer_error(c, STATUS_INVALID, "input shape has %d elements", n);
    for (int i = 0; i < (axes ? n_axes : t.rank); i++) {
        int axis;
        TRY(infer_axis(c, axes ? axes[i] : i, t.rank, &axis));
        t.dims[axis] = shape ? shape[i] : infer_fresh(c);
    }
    return infer_set_dims(c, 0, t.elem, t.rank, t.dims);
}

Status eval_center_crop_pad(EvalCtx *c) {
    const Tensor *x = c->in[0];
    int64_t *shape, n, n_axes, dims[MAX_RANK], before[MAX_RANK] = {0};
    const int64_t *axes = attr_ints(c->node, "axes", &n_axes);
    TRY(ref_numeric_only(c));
    TRY(ref_ints(c, 1, &shape, &n));
    if (n != (axes ? n_axes : x->rank))
        return eval_error(c, STATUS_INVALID, "input shape has %lld elements", (long long)n);
    memcpy(dims, x->dims, sizeof dims);
    for (int64_t i = 0; i < n; i++) {
        int axis;
        TRY(ref_axis(c, axes ? axes[i] : i, x->rank, &axis));
        if (shape[i] < 0)
            return eval_error(c, STATUS_INVALID, "target dimension %d is %lld", (int)i, (long long)shape[i]);
        dims[axis] = shape[i];
        int64_t have = x->dims[axis];
        before[axis] = have > shape[i] ? -((have - shape[i]) / 2) : (shape[i] - have) / 2;
    }
    return place(c, PAD_CONSTANT, before, dims, NULL);
}
