/* pare's explicit integer ops (domain "pare"): the oracle of every integer kernel. The contract is docs/numerics.md.
 *
 * Codes are uint8 or int8; real value = scale * (code - zero point). Scales do not appear: the lowering pass stores the
 * float multipliers. All ops share these attributes where they apply:
 *   x_zero_point / a_zero_point, b_zero_point, y_zero_point   zero points of inputs and output
 *   lo, hi    fused clamp in codes of the output, narrowed to the range of its type
 *   y_elem    ElemType number of the output: 2 uint8, 3 int8, 1 float32 (the scaled accumulator: no rounding, no
 * clamp), 6 int32 (the accumulator itself; not for QAdd)
 *
 *   QConv(x [N,C,..], w int8 [O,C/group,..], bias int32 [O], mult float32 [O] or [1]), attributes of Conv
 *       acc = bias + sum w * (x - x_zero_point), outside x: 0;  y = y_zero_point + rne(clamp(acc * mult))
 *   QMatMul(a [..,M,K], b [..,K,N] or, trans_b, [..,N,K]; bias int32 [N] or absent; mult float32 [N] or [1])
 *       acc = bias + sum (a - a_zero_point) * (b - b_zero_point)
 *   QAdd(a, b), broadcast:  y from (a - a_zero_point) * a_mult + (b - b_zero_point) * b_mult, two products, one sum
 *   QMul(a, b), broadcast:  acc = (a - a_zero_point) * (b - b_zero_point), y from acc * mult
 *   QLut(x, table [256]):   y = table[code's bits as uint8]; the output has the table's element type
 *   QAveragePool(x), attributes of AveragePool: acc = sum of (x - x_zero_point) over the window inside x, y from
 *       acc * (float)((double)mult / count), count as AveragePool divides; mult is (float)(s_x / s_y)
 *   QGlobalAveragePool(x):  acc = the sum over a whole plane, y from acc * mult; mult is (float)(s_x / (s_y * plane))
 */
#include "kernels/ref/conv.h"
#include "kernels/ref/matmul.h"
#include "kernels/ref/pool.h"
#include "kernels/ref/requant.h"

#include <string.h>

/* ---- shape rules ---- */

static Status need_codes(const InferCtx *c, int i) {
    ElemType e = infer_elem(c, i);
    if (e == ELEM_UNDEFINED || e == ELEM_U8 || e == ELEM_I8) return NULL;
    return infer_error(c, STATUS_INVALID, "input %d must be uint8 or int8, it is %s", i, elem_name(e));
}

static bool is_out_elem(int64_t e) { return e == ELEM_U8 || e == ELEM_I8 || e == ELEM_F32 || e == ELEM_I32; }
#define OUT_ELEMS "y_elem must be 1 (float32), 2 (uint8), 3 (int8) or 6 (int32)"

static Status out_elem(const InferCtx *c, ElemType *e) {
    int64_t v = attr_int(c->node, "y_elem");
    if (!is_out_elem(v)) return infer_error(c, STATUS_INVALID, OUT_ELEMS);
    *e = (ElemType)v;
    return NULL;
}

Status infer_q_conv(InferCtx *c) {
    ElemType e = ELEM_UNDEFINED;
    TRY(need_codes(c, 0));
    TRY(need_codes(c, 1));
    TRY(out_elem(c, &e));
    return conv_infer(c, 0, 1, 2, e);
}

Status infer_q_matmul(InferCtx *c) {
    ElemType e = ELEM_UNDEFINED;
    TRY(need_codes(c, 0));
    TRY(need_codes(c, 1));
    TRY(out_elem(c, &e));
    TRY(dense_need(c, 1, (const int[]){3}));
    return matmul_infer(c, 0, 1, attr_int(c->node, "trans_b") != 0, e);
}

Status infer_q_binary(InferCtx *c) {
    ElemType e = ELEM_UNDEFINED;
    TRY(need_codes(c, 0));
    TRY(need_codes(c, 1));
    TRY(out_elem(c, &e));
    return infer_broadcast_all(c, e);
}

Status infer_q_lut(InferCtx *c) {
    TRY(need_codes(c, 0));
    return infer_same_as(c, infer_elem(c, 1));
}

Status infer_q_average_pool(InferCtx *c) {
    ElemType e = ELEM_UNDEFINED;
    TRY(need_codes(c, 0));
    TRY(out_elem(c, &e));
    return pool_infer(c, e, ELEM_UNDEFINED);
}

Status infer_q_global_average_pool(InferCtx *c) {
    ElemType e = ELEM_UNDEFINED;
    TRY(need_codes(c, 0));
    TRY(out_elem(c, &e));
    return pool_infer_global(c, e);
}

/* ---- values ---- */

typedef struct OutCode {
    ElemType e;
    int32_t zp, lo, hi;
} OutCode;

static Status out_code(const EvalCtx *c, OutCode *o) {
    int64_t e = attr_int(c->node, "y_elem"), zp = attr_int(c->node, "y_zero_point");
    int64_t lo = attr_int(c->node, "lo"), hi = attr_int(c->node, "hi");
    if (!is_out_elem(e)) return eval_error(c, STATUS_INVALID, OUT_ELEMS);
    int64_t low = e == ELEM_I8 ? -128 : 0, high = e == ELEM_I8 ? 127 : 255;
    lo = lo < low ? low : lo;
    hi = hi > high ? high : hi;
    if ((e == ELEM_U8 || e == ELEM_I8) && (zp < low || zp > high || lo > hi))
        return eval_error(c, STATUS_INVALID, "zero point and clamp do not fit the output type");
    *o = (OutCode){(ElemType)e, (int32_t)zp, (int32_t)lo, (int32_t)hi};
    return NULL;
}

/* What a sum becomes: a code, the accumulator, or the scaled accumulator. */
static double finish(const OutCode *o, double sum, float mult) {
    int32_t acc = requant_acc(sum);
    if (o->e == ELEM_I32) return acc;
    return o->e == ELEM_F32 ? (double)((float)acc * mult) : (double)requantize(acc, mult, o->zp, o->lo, o->hi);
}

/* The multipliers of input i, for n channels. */
static Status multipliers(const EvalCtx *c, int i, int64_t n, float **m) {
    const Tensor *t = dense_in(c, i);
    int64_t count = t ? tensor_count(t) : 0;
    if (!t || t->elem != ELEM_F32 || (count != 1 && count != n))
        return eval_error(c, STATUS_INVALID, "the multipliers must be 1 or %lld float32 numbers", (long long)n);
    TRY_ALLOC(*m = ARENA_ARRAY(c->scratch, float, n));
    for (int64_t k = 0; k < n; k++) ref_load(t, CLASS_F32, count == 1 ? 0 : k, 1, 1, *m + k);
    return NULL;
}

Status eval_q_conv(EvalCtx *c) {
    const Tensor *bias = c->in[2];
    ConvShape s;
    OutCode code = {0};
    float *m;
    double *x, *w, *b, *y;
    TRY(out_code(c, &code));
    TRY(conv_shape(c, c->in[0], c->in[1], bias, &s));
    TRY(multipliers(c, 3, s.o, &m));
    TRY(dense_read_minus(c, c->in[0], (double)attr_int(c->node, "x_zero_point"), &x));
    TRY(dense_read(c, c->in[1], &w));
    TRY(dense_read(c, bias, &b));
    TRY(conv_f64(c, &s, x, w, b, &y));
    int64_t plane = ref_product(s.out, 0, 3);
    for (int64_t i = 0; i < s.n * s.o; i++)
        for (int64_t k = i * plane; k < (i + 1) * plane; k++) y[k] = finish(&code, y[k], m[i % s.o]);
    return dense_store(c, 0, code.e, s.rank, s.dims, y);
}

Status eval_q_matmul(EvalCtx *c) {
    const Tensor *at = c->in[0], *bt = c->in[1], *bias = dense_in(c, 2);
    bool trans_b = attr_int(c->node, "trans_b") != 0 && bt->rank > 1;
    MatMulShape s;
    OutCode code = {0};
    float *m;
    double *a, *b, *y, *add = NULL;
    TRY(out_code(c, &code));
    TRY(matmul_shape(c, at, bt, trans_b, &s));
    TRY(multipliers(c, 3, s.n, &m));
    if (bias && tensor_count(bias) != s.n)
        return eval_error(c, STATUS_INVALID, "the bias has %lld elements, there are %lld columns",
                          (long long)tensor_count(bias), (long long)s.n);
    if (bias) TRY(dense_read(c, bias, &add));
    TRY(dense_read_minus(c, at, (double)attr_int(c->node, "a_zero_point"), &a));
    TRY(dense_read_minus(c, bt, (double)attr_int(c->node, "b_zero_point"), &b));
    if (trans_b) TRY(dense_transpose(c, s.b_count, s.n, s.k, b, &b));
    TRY(matmul_f64(c, &s, a, b, &y));
    int64_t count = s.batch * s.m * s.n;
    for (int64_t i = 0; i < count; i++) y[i] = finish(&code, y[i] + (add ? add[i % s.n] : 0), m[i % s.n]);
    return dense_store(c, 0, code.e, s.rank, s.dims, y);
}

/* One elementwise combination of codes a and b without their zero points. */
typedef struct Binary {
    OutCode code;
    double a_zp, b_zp;
    float a_mult, b_mult; /* QMul has one, in a_mult */
} Binary;

static void add_block(const void *const *x, void *y, int64_t n, const void *param) {
    const Binary *p = param;
    const double *a = x[0], *b = x[1];
    double *out = y;
    for (int64_t i = 0; i < n; i++) {
        float pa = (float)(a[i] - p->a_zp) * p->a_mult, pb = (float)(b[i] - p->b_zp) * p->b_mult, sum = pa + pb;
        out[i] = p->code.e == ELEM_F32 ? (double)sum : (double)requant_round(sum, p->code.zp, p->code.lo, p->code.hi);
    }
}

static void mul_block(const void *const *x, void *y, int64_t n, const void *param) {
    const Binary *p = param;
    const double *a = x[0], *b = x[1];
    double *out = y;
    for (int64_t i = 0; i < n; i++) out[i] = finish(&p->code, (a[i] - p->a_zp) * (b[i] - p->b_zp), p->a_mult);
}

static Status eval_binary(EvalCtx *c, Binary *p, RefFn fn) {
    p->a_zp = (double)attr_int(c->node, "a_zero_point");
    p->b_zp = (double)attr_int(c->node, "b_zero_point");
    RefMap m = {2, {c->in[0], c->in[1]}, CLASS_F64, CLASS_F64, p->code.e, fn, p};
    return ref_map(c, &m);
}

Status eval_q_add(EvalCtx *c) {
    Binary p = {.a_mult = attr_float(c->node, "a_mult"), .b_mult = attr_float(c->node, "b_mult")};
    TRY(out_code(c, &p.code));
    if (p.code.e == ELEM_I32) return eval_error(c, STATUS_INVALID, "QAdd has no int32 accumulator to give out");
    return eval_binary(c, &p, add_block);
}

Status eval_q_mul(EvalCtx *c) {
    Binary p = {.a_mult = attr_float(c->node, "mult")};
    TRY(out_code(c, &p.code));
    return eval_binary(c, &p, mul_block);
}

Status eval_q_lut(EvalCtx *c) {
    const Tensor *x = c->in[0], *table = c->in[1];
    if (tensor_count(table) != 256 || elem_bits(x->elem) != 8)
        return eval_error(c, STATUS_INVALID, "8-bit codes and a table of 256 elements are needed");
    Tensor out;
    TRY(ref_output(c, 0, table->elem, x->rank, x->dims, &out));
    int64_t n = tensor_count(x);
    for (int64_t i = 0; i < n; i++) ref_copy(table->elem, out.data, i, table->data, x->data[i], 1);
    return NULL;
}

Status eval_q_average_pool(EvalCtx *c) {
    Pool p;
    OutCode code = {0};
    double *y;
    int64_t *counts;
    bool padded = attr_int(c->node, "count_include_pad") != 0;
    TRY(out_code(c, &code));
    TRY(pool_sums(c, (double)attr_int(c->node, "x_zero_point"), padded, &p, &y, &counts));
    int64_t plane = ref_product(p.out, 0, MAX_SPATIAL);
    double scale = (double)attr_float(c->node, "mult");
    for (int64_t i = 0; i < p.planes * plane; i++)
        y[i] = finish(&code, y[i], (float)(scale / (double)counts[i % plane]));
    return dense_store(c, 0, code.e, p.rank, p.dims, y);
}

Status eval_q_global_average_pool(EvalCtx *c) {
    const Tensor *t = c->in[0];
    OutCode code = {0};
    double *x, *y;
    TRY(out_code(c, &code));
    if (t->rank < 2) return eval_error(c, STATUS_INVALID, "the input must have rank 2 or more, it has %d", t->rank);
    TRY(dense_read_minus(c, t, (double)attr_int(c->node, "x_zero_point"), &x));
    int64_t dims[MAX_RANK] = {t->dims[0], t->dims[1]}, planes = dims[0] * dims[1], n = ref_product(t->dims, 2, t->rank);
    for (int i = 2; i < t->rank; i++) dims[i] = 1;
    TRY(dense_f64(c, planes, &y));
    float m = attr_float(c->node, "mult");
    for (int64_t i = 0; i < planes; i++) {
        for (int64_t k = 0; k < n; k++) y[i] += x[i * n + k];
        y[i] = finish(&code, y[i], m);
    }
    return dense_store(c, 0, code.e, t->rank, dims, y);
}
