/* Cast, CastLike and BitCast. Conversion rules: ONNX operator specification of Cast. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

static bool is_float8(ElemType e) { return e >= ELEM_F8E4M3FN && e <= ELEM_F8E5M2FNUZ; }

/* float8e8m0 is 2^(v - 127), 255 is NaN. */
static uint8_t f32_to_e8m0(float f, const char *round_mode, bool saturate) {
    if (f != f) return 255;
    int exponent;
    float fraction = frexpf(fabsf(f), &exponent); /* [0.5, 1) */
    if (f == 0 || (!isinf(f) && exponent - 1 < -127)) return saturate ? 0 : 255;
    if (isinf(f)) return saturate ? 254 : 255;
    int e = exponent - 1 + 127;
    if (strcmp(round_mode, "up") == 0)
        e += fraction > 0.5f;
    else if (strcmp(round_mode, "nearest") == 0)
        e += fraction >= 0.75f;
    if (e > 254) return saturate ? 254 : 255;
    return (uint8_t)e;
}

/* Types that Cast rounds by rules of its own. */
static void cast_special(const EvalCtx *c, Tensor *y, const float *v, int64_t first, int64_t n) {
    bool saturate = attr_int(c->node, "saturate") != 0;
    const char *round_mode = attr_string(c->node, "round_mode");
    for (int64_t i = 0; i < n; i++) {
        y->data[first + i] =
            y->elem == ELEM_F8E8M0 ? f32_to_e8m0(v[i], round_mode, saturate) : f32_to_f8(v[i], y->elem, saturate);
    }
}

static Status cast_to(EvalCtx *c, ElemType to) {
    const Tensor *x = c->in[0];
    RefClass from = ref_class(x->elem);
    Tensor y;
    double buf[REF_BLOCK];
    if (ref_class(to) == CLASS_NONE || from == CLASS_NONE) {
        return eval_error(c, STATUS_UNSUPPORTED, "conversion from %s to %s is not evaluated", elem_name(x->elem),
                          elem_name(to));
    }
    TRY(ref_output(c, 0, to, x->rank, x->dims, &y));
    int64_t total = tensor_count(x);
    /* a float that does not fit wraps like an integer, as processors and numpy do it */
    bool to_int = elem_is_int(to) && (from == CLASS_F32 || from == CLASS_F64);
    RefClass through = !to_int ? from : to == ELEM_U64 ? CLASS_U64 : CLASS_I64;
    bool special = is_float8(to) || to == ELEM_F8E8M0;
    for (int64_t i = 0; i < total; i += REF_BLOCK) {
        int64_t n = total - i < REF_BLOCK ? total - i : REF_BLOCK;
        RefClass cls = special ? CLASS_F32 : through;
        ref_load(x, cls, i, 1, n, buf);
        if (special)
            cast_special(c, &y, (const float *)buf, i, n);
        else
            ref_store(&y, cls, i, n, buf);
    }
    return NULL;
}

Status eval_cast(EvalCtx *c) { return cast_to(c, (ElemType)attr_int(c->node, "to")); }

Status eval_cast_like(EvalCtx *c) { return cast_to(c, c->in[1]->elem); }

Status eval_bit_cast(EvalCtx *c) {
    const Tensor *x = c->in[0];
    ElemType to = (ElemType)attr_int(c->node, "to");
    Tensor y;
    if (elem_bits(to) == 0 || elem_bits(to) != elem_bits(x->elem)) {
        return eval_error(c, STATUS_INVALID, "%s and %s differ in width", elem_name(x->elem), elem_name(to));
    }
    TRY(ref_output(c, 0, to, x->rank, x->dims, &y));
    ref_copy(to, y.data, 0, x->data, 0, tensor_count(x));
    return NULL;
}

/* Integer content survives a conversion to int32 and wider; narrower ones might wrap. */
static Status known_cast(InferCtx *c, ElemType from, ElemType to) {
    bool ints = (elem_is_int(from) || from == ELEM_BOOL) && elem_is_int(to);
    return ints && elem_bits(to) >= 32 ? known_pass(c) : NULL;
}

Status infer_cast(InferCtx *c) {
    int64_t to = attr_int(c->node, "to");
    if (to <= 0 || to > INT32_MAX || !elem_name((ElemType)to)) {
        return infer_error(c, STATUS_INVALID, "attribute to = %lld names no element type", (long long)to);
    }
    TRY(infer_same_as(c, (ElemType)to));
    return known_cast(c, infer_elem(c, 0), (ElemType)to);
}

Status infer_bit_cast(InferCtx *c) {
    int64_t to = attr_int(c->node, "to");
    if (to <= 0 || to > INT32_MAX || !elem_name((ElemType)to)) {
        return infer_error(c, STATUS_INVALID, "attribute to = %lld names no element type", (long long)to);
    }
    return infer_same_as(c, (ElemType)to);
}

Status infer_cast_like(InferCtx *c) {
    TRY(infer_same_as(c, infer_elem(c, 1)));
    return known_cast(c, infer_elem(c, 0), infer_elem(c, 1));
}
