/* Standard quantization ops: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, QLinearConv, QLinearMatMul,
 * ConvInteger, MatMulInteger. */
#include "kernels/ref/conv.h"
#include "kernels/ref/quant.h"
#include "kernels/ref/requant.h"

#include <math.h>
#include <string.h>

/* ---- shape rules ---- */

Status infer_quantize_linear(InferCtx *c) {
    int64_t dtype = attr_int(c->node, "output_dtype");
    ElemType e = infer_is_tensor(c, 2) ? c->in[2]->elem : dtype != 0 ? (ElemType)dtype : ELEM_U8;
    return infer_same_as(c, e);
}

Status infer_dequantize_linear(InferCtx *c) {
    int64_t dtype = attr_int(c->node, "output_dtype");
    return infer_same_as(c, dtype != 0 ? (ElemType)dtype : infer_elem(c, 1));
}

Status infer_dynamic_quantize_linear(InferCtx *c) {
    infer_set(c, 1, ELEM_F32, 0, NULL);
    infer_set(c, 2, ELEM_U8, 0, NULL);
    return infer_same_as(c, ELEM_U8);
}

Status infer_qlinear_conv(InferCtx *c) { return conv_infer(c, 0, 3, 8, infer_elem(c, 7)); }
Status infer_conv_integer(InferCtx *c) { return conv_infer(c, 0, 1, -1, ELEM_I32); }
Status infer_qlinear_matmul(InferCtx *c) { return matmul_infer(c, 0, 3, false, infer_elem(c, 7)); }
Status infer_matmul_integer(InferCtx *c) { return matmul_infer(c, 0, 1, false, ELEM_I32); }

/* ---- QuantizeLinear, DequantizeLinear ---- */

/* Which scale belongs to element (outer o, axis a, inner i). */
typedef struct Granularity {
    int64_t outer, n, inner;  /* the tensor seen around the axis */
    int64_t block, blocks;    /* block: elements of the axis that share a scale; n: per tensor */
    bool per_tensor, blocked; /* neither: one scale an axis index */
} Granularity;

static int64_t scale_index(const Granularity *g, int64_t o, int64_t a, int64_t i) {
    if (g->per_tensor) return 0;
    return g->blocked ? (o * g->blocks + a / g->block) * g->inner + i : a;
}

static Status granularity(const EvalCtx *c, const Tensor *x, const Tensor *scale, Granularity *g) {
    int64_t block = attr_int(c->node, "block_size");
    int axis;
    *g = (Granularity){.outer = 1, .n = 1, .inner = tensor_count(x)};
    g->per_tensor = block == 0 && tensor_count(scale) == 1;
    if (g->per_tensor) return NULL;
    TRY(ref_axis(c, attr_int(c->node, "axis"), x->rank, &axis));
    g->outer = ref_product(x->dims, 0, axis);
    g->n = x->dims[axis];
    g->inner = ref_product(x->dims, axis + 1, x->rank);
    if (block == 0) {
        if (tensor_count(scale) == g->n) return NULL;
        return eval_error(c, STATUS_INVALID, "there are %lld scales, axis %d has %lld elements",
                          (long long)tensor_count(scale), axis, (long long)g->n);
    }
    g->blocked = true;
    g->block = block;
    g->blocks = block > 0 ? g->n / block + (g->n % block != 0) : 0;
    bool fits = block > 0 && scale->rank == x->rank;
    for (int i = 0; i < x->rank && fits; i++) fits = scale->dims[i] == (i == axis ? g->blocks : x->dims[i]);
    if (fits) return NULL;
    return eval_error(c, STATUS_INVALID, "the scales do not have one element per block of %lld", (long long)block);
}

/* Scales and zero points (zeros when absent) as arrays of the same length. */
static Status read_scales(const EvalCtx *c, const Tensor *scale, const Tensor *zero, double **s, double **z) {
    TRY(dense_read(c, scale, s));
    if (!zero) return dense_f64(c, tensor_count(scale), z);
    if (tensor_count(zero) != tensor_count(scale))
        return eval_error(c, STATUS_INVALID, "there are %lld scales and %lld zero points",
                          (long long)tensor_count(scale), (long long)tensor_count(zero));
    return dense_read(c, zero, z);
}

/* Stores quantized values: rounded doubles saturate; 8-bit floats saturate only when asked to. */
static Status store_codes(EvalCtx *c, ElemType e, const Tensor *like, const double *v, bool saturate) {
    Tensor out;
    TRY(ref_output(c, 0, e, like->rank, like->dims, &out));
    int64_t n = tensor_count(&out);
    if (elem_is_float(e) && elem_bits(e) == 8) {
        for (int64_t i = 0; i < n; i++) out.data[i] = f32_to_f8((float)v[i], e, saturate);
        return NULL;
    }
    ref_store(&out, CLASS_F64, 0, n, v);
    return NULL;
}

/* y = saturate(rne(x / scale) + zero). The division is one of floats, as runtimes do it: a double would break ties
 * differently. */
Status eval_quantize_linear(EvalCtx *c) {
    const Tensor *t = c->in[0], *zero = dense_in(c, 2);
    int64_t dtype = attr_int(c->node, "output_dtype");
    ElemType e = zero ? zero->elem : dtype != 0 ? (ElemType)dtype : ELEM_U8;
    Granularity g;
    double *x, *s, *z;
    TRY(granularity(c, t, c->in[1], &g));
    TRY(read_scales(c, c->in[1], zero, &s, &z));
    TRY(dense_read(c, t, &x));
    bool integer = elem_is_int(e);
    for (int64_t o = 0, at = 0; o < g.outer; o++)
        for (int64_t a = 0; a < g.n; a++)
            for (int64_t i = 0; i < g.inner; i++, at++) {
                int64_t k = scale_index(&g, o, a, i);
                float q = (float)x[at] / (float)s[k];
                x[at] = !integer ? (double)q : isnan(q) ? z[k] : (double)rintf(q) + z[k];
            }
    return store_codes(c, e, t, x, attr_int(c->node, "saturate") != 0);
}

/* y = (x - zero) * scale, one float multiply. */
Status eval_dequantize_linear(EvalCtx *c) {
    const Tensor *t = c->in[0], *scale = c->in[1];
    int64_t dtype = attr_int(c->node, "output_dtype");
    Granularity g;
    double *x, *s, *z;
    TRY(granularity(c, t, scale, &g));
    TRY(read_scales(c, scale, dense_in(c, 2), &s, &z));
    TRY(dense_read(c, t, &x));
    for (int64_t o = 0, at = 0; o < g.outer; o++)
        for (int64_t a = 0; a < g.n; a++)
            for (int64_t i = 0; i < g.inner; i++, at++) {
                int64_t k = scale_index(&g, o, a, i);
                x[at] = (double)((float)(x[at] - z[k]) * (float)s[k]);
            }
    return dense_store(c, 0, dtype != 0 ? (ElemType)dtype : scale->elem, t->rank, t->dims, x);
}

void quant_dynamic(double *x, int64_t n, double *scale, double *zero) {
    float low = 0, high = 0; /* the range always holds 0 */
    for (int64_t i = 0; i < n; i++) {
        low = fminf(low, (float)x[i]);
        high = fmaxf(high, (float)x[i]);
    }
    float s = high == low ? 1.0f : (high - low) / 255.0f;
    *zero = (double)fminf(fmaxf(rintf(0.0f - low / s), 0.0f), 255.0f);
    *scale = (double)s;
    for (int64_t i = 0; i < n; i++) x[i] = fmin(fmax((double)rintf((float)x[i] / s) + *zero, 0), 255);
}

Status eval_dynamic_quantize_linear(EvalCtx *c) {
    const Tensor *t = c->in[0];
    double *x, scale, zero;
    TRY(dense_read(c, t, &x));
    quant_dynamic(x, tensor_count(t), &scale, &zero);
    if (dense_wants(c->node, 1)) TRY(dense_store(c, 1, ELEM_F32, 0, NULL, &scale));
    if (dense_wants(c->node, 2)) TRY(dense_store(c, 2, ELEM_U8, 0, NULL, &zero));
    return store_codes(c, ELEM_U8, t, x, true);
}

/* ---- convolutions on integers ---- */

Status quant_scalar(const EvalCtx *c, int i, double deflt, double *v) {
    const Tensor *t = dense_in(c, i);
    *v = deflt;
    if (!t) return NULL;
    if (tensor_count(t) != 1) return eval_error(c, STATUS_INVALID, "input %d must have one element", i);
    *v = tensor_get_f64(t, 0);
    return NULL;
}

Status quant_spread(const EvalCtx *c, int i, int64_t n, double deflt, double **v) {
    const Tensor *t = dense_in(c, i);
    int64_t count = t ? tensor_count(t) : 1;
    if (count != 1 && count != n)
        return eval_error(c, STATUS_INVALID, "input %d must have 1 or %lld elements, it has %lld", i, (long long)n,
                          (long long)count);
    TRY(dense_f64(c, n, v));
    for (int64_t k = 0; k < n; k++) (*v)[k] = t ? tensor_get_f64(t, count == 1 ? 0 : k) : deflt;
    return NULL;
}

/* The exact sums of x (minus input ix_zero) and w (minus the per-channel input iw_zero). */
static Status conv_sums(const EvalCtx *c, int iw, int ix_zero, int iw_zero, const Tensor *bias, ConvShape *s,
                        double **y) {
    double xz, *wz, *x, *w, *b = NULL;
    TRY(conv_shape(c, c->in[0], c->in[iw], bias, s));
    TRY(quant_scalar(c, ix_zero, 0, &xz));
    TRY(quant_spread(c, iw_zero, s->o, 0, &wz));
    TRY(dense_read_minus(c, c->in[0], xz, &x));
    TRY(dense_read(c, c->in[iw], &w));
    int64_t per = s->o ? tensor_count(c->in[iw]) / s->o : 0;
    for (int64_t i = 0; i < per * s->o; i++) w[i] -= wz[i / per];
    if (bias) TRY(dense_read(c, bias, &b));
    return conv_f64(c, s, x, w, b, y);
}

/* The range of an 8- or 16-bit type. */
static void code_range(ElemType e, int32_t *lo, int32_t *hi) {
    int bits = elem_bits(e);
    *lo = elem_is_signed(e) ? -(1 << (bits - 1)) : 0;
    *hi = elem_is_signed(e) ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
}

Status quant_out(const EvalCtx *c, int iscale, int izero, ElemType deflt, QuantOut *o) {
    double zp;
    TRY(quant_scalar(c, iscale, 1, &o->scale));
    TRY(quant_scalar(c, izero, 0, &zp));
    o->e = dense_in(c, izero) ? c->in[izero]->elem : deflt;
    if (!elem_is_int(o->e) || elem_bits(o->e) > 16)
        return eval_error(c, STATUS_UNSUPPORTED, "the output type %s is no 8- or 16-bit integer", elem_name(o->e));
    o->zp = (int32_t)zp;
    code_range(o->e, &o->lo, &o->hi);
    return NULL;
}

double quant_code(const QuantOut *o, double v) {
    double q = rint((double)((float)v / (float)o->scale)) + o->zp;
    return q > o->lo ? q < o->hi ? q : o->hi : o->lo;
}

Status eval_qlinear_conv(EvalCtx *c) {
    ConvShape s;
    QuantOut code = {0};
    double *y, *ws, xs;
    TRY(quant_out(c, 6, 7, ELEM_U8, &code));
    TRY(conv_sums(c, 3, 2, 5, dense_in(c, 8), &s, &y));
    TRY(quant_scalar(c, 1, 1, &xs));
    TRY(quant_spread(c, 4, s.o, 1, &ws));
    int64_t plane = ref_product(s.out, 0, 3);
    for (int64_t i = 0; i < s.n * s.o; i++) {
        float m = requant_multiplier(xs, ws[i % s.o], code.scale);
        for (int64_t k = i * plane; k < (i + 1) * plane; k++)
            y[k] = requantize(requant_acc(y[k]), m, code.zp, code.lo, code.hi);
    }
    return dense_store(c, 0, code.e, s.rank, s.dims, y);
}

Status eval_conv_integer(EvalCtx *c) {
    ConvShape s;
    double *y;
    TRY(conv_sums(c, 1, 2, 3, NULL, &s, &y));
    int64_t n = s.n * s.o * ref_product(s.out, 0, 3);
    for (int64_t i = 0; i < n; i++) y[i] = requant_acc(y[i]);
    return dense_store(c, 0, ELEM_I32, s.rank, s.dims, y);
}

/* ---- matrix products on integers ---- */

Status quant_matrix(const EvalCtx *c, int i, int64_t count, int64_t n, double deflt, double **v, int64_t *step) {
    const Tensor *t = dense_in(c, i);
    bool each = t && count > 1 && tensor_count(t) == count * n && tensor_count(t) != n;
    *step = each ? n : 0;
    return each ? dense_read(c, t, v) : quant_spread(c, i, n, deflt, v);
}

Status quant_matmul(const EvalCtx *c, int ia, int ib, int ia_zero, int ib_zero, MatMulShape *s, double **y) {
    double *a, *b, *az, *bz;
    int64_t a_step, b_step;
    TRY(matmul_shape(c, c->in[ia], c->in[ib], false, s));
    TRY(quant_matrix(c, ia_zero, s->a_count, s->m, 0, &az, &a_step));
    TRY(quant_matrix(c, ib_zero, s->b_count, s->n, 0, &bz, &b_step));
    TRY(dense_read(c, c->in[ia], &a));
    TRY(dense_read(c, c->in[ib], &b));
    int64_t na = s->a_count * s->m * s->k, nb = s->b_count * s->k * s->n;
    for (int64_t i = 0; i < na; i++) a[i] -= az[i / (s->m * s->k) * a_step + i / s->k % s->m];
    for (int64_t i = 0; i < nb; i++) b[i] -= bz[i / (s->k * s->n) * b_step + i % s->n];
    return matmul_f64(c, s, a, b, y);
}

Status eval_matmul_integer(EvalCtx *c) {
    MatMulShape s;
    double *y;
    TRY(quant_matmul(c, 0, 1, 2, 3, &s, &y));
    int64_t n = s.batch * s.m * s.n;
    for (int64_t i = 0; i < n; i++) y[i] = requant_acc(y[i]);
    return dense_store(c, 0, ELEM_I32, s.rank, s.dims, y);
}

Status eval_qlinear_matmul(EvalCtx *c) {
    MatMulShape s;
    QuantOut code = {0};
    double *y, *as, *bs;
    int64_t a_step, b_step, idx[MAX_RANK] = {0};
    TRY(quant_out(c, 6, 7, ELEM_U8, &code));
    TRY(quant_matmul(c, 0, 3, 2, 5, &s, &y));
    TRY(quant_matrix(c, 1, s.a_count, s.m, 1, &as, &a_step));
    TRY(quant_matrix(c, 4, s.b_count, s.n, 1, &bs, &b_step));
    for (int64_t i = 0; i < s.batch; i++, ref_next(s.batch_rank, s.batch_dims, idx)) {
        const double *sa = as + matmul_matrix(&s, s.a_stride, idx) * a_step;
        const double *sb = bs + matmul_matrix(&s, s.b_stride, idx) * b_step;
        for (int64_t k = 0; k < s.m * s.n; k++) {
            double *v = &y[i * s.m * s.n + k];
            float m = requant_multiplier(sa[k / s.n], sb[k % s.n], code.scale);
            *v = requantize(requant_acc(*v), m, code.zp, code.lo, code.hi);
        }
    }
    return dense_store(c, 0, code.e, s.rank, s.dims, y);
}
