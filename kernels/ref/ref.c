/* Reading, writing, broadcasting and moving elements for the reference kernels. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

/* ---- element types ---- */

RefClass ref_class(ElemType e) {
    if (e == ELEM_BOOL) return CLASS_BOOL;
    if (e == ELEM_F64) return CLASS_F64;
    if (elem_is_float(e)) return CLASS_F32;
    if (elem_is_int(e)) return elem_is_signed(e) ? CLASS_I64 : CLASS_U64;
    return CLASS_NONE;
}

ElemType ref_class_elem(RefClass cls) {
    static const ElemType elems[] = {ELEM_UNDEFINED, ELEM_F32, ELEM_F64, ELEM_I64, ELEM_U64, ELEM_BOOL};
    return elems[cls];
}

static int64_t f64_to_i64(double v) {
    if (v != v) return 0;
    if (v >= 0x1p63) return INT64_MAX;
    if (v <= -0x1p63) return INT64_MIN;
    return (int64_t)v;
}

static uint64_t f64_to_u64(double v) {
    if (!(v > 0)) return 0;
    return v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
}

/* Conversions between C types; an overload for each source and target class. */
#define FLOAT_TO_F32(v)  (float)(v)
#define FLOAT_TO_F64(v)  (double)(v)
#define FLOAT_TO_I64(v)  f64_to_i64((double)(v))
#define FLOAT_TO_U64(v)  f64_to_u64((double)(v))
#define FLOAT_TO_BOOL(v) (uint8_t)((v) != 0)
#define INT_TO_F32(v)    (float)(v)
#define INT_TO_F64(v)    (double)(v)
#define INT_TO_I64(v)    (int64_t)(v)
#define INT_TO_U64(v)    (uint64_t)(v)
#define INT_TO_BOOL(v)   (uint8_t)((v) != 0)

#define LOAD_LOOP(S, D, CONV)                                                                                          \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        S v;                                                                                                           \
        memcpy(&v, src + (size_t)(i * step) * sizeof v, sizeof v);                                                     \
        ((D *)dst)[i] = CONV(v);                                                                                       \
    }
/* load_<elem>: native elements at src to any class. */
#define DEFINE_LOAD(E, S, KIND)                                                                                        \
    static void load_##E(const uint8_t *src, RefClass cls, int64_t step, int64_t n, void *dst) {                       \
        switch (cls) {                                                                                                 \
        case CLASS_F32:                                                                                                \
            LOAD_LOOP(S, float, KIND##_TO_F32) break;                                                                  \
        case CLASS_F64:                                                                                                \
            LOAD_LOOP(S, double, KIND##_TO_F64) break;                                                                 \
        case CLASS_I64:                                                                                                \
            LOAD_LOOP(S, int64_t, KIND##_TO_I64) break;                                                                \
        case CLASS_U64:                                                                                                \
            LOAD_LOOP(S, uint64_t, KIND##_TO_U64) break;                                                               \
        case CLASS_BOOL:                                                                                               \
            LOAD_LOOP(S, uint8_t, KIND##_TO_BOOL) break;                                                               \
        case CLASS_NONE:                                                                                               \
            break;                                                                                                     \
        }                                                                                                              \
    }
#define KIND_F32              FLOAT
#define KIND_F64              FLOAT
#define KIND_I64              INT
#define KIND_U64              INT
#define DEFINE_LOAD2(...)     DEFINE_LOAD(__VA_ARGS__)
#define DEFINE_LOAD1(E, S, C) DEFINE_LOAD2(E, S, KIND_##C)
REF_NATIVE_ELEMS(DEFINE_LOAD1)

static size_t class_bytes(RefClass cls) {
    return cls == CLASS_BOOL ? 1 : cls == CLASS_F32 ? sizeof(float) : sizeof(double);
}

/* Element types without a C type: through the scalar accessors. */
static void load_other(const Tensor *t, RefClass cls, int64_t first, int64_t step, int64_t n, uint8_t *dst) {
    bool is_float = elem_is_float(t->elem);
    for (int64_t i = 0; i < n; i++, dst += class_bytes(cls)) {
        int64_t at = first + i * step;
        double f = is_float ? tensor_get_f64(t, at) : 0;
        int64_t v = is_float ? 0 : tensor_get_i64(t, at);
        if (is_float)
            load_F64((const uint8_t *)&f, cls, 0, 1, dst);
        else
            load_I64((const uint8_t *)&v, cls, 0, 1, dst);
    }
}

void ref_load(const Tensor *t, RefClass cls, int64_t first, int64_t step, int64_t n, void *dst) {
    switch (t->elem) {
#define LOAD_CASE(E, S, C)                                                                                             \
    case ELEM_##E:                                                                                                     \
        load_##E(t->data + (size_t)first * sizeof(S), cls, step, n, dst);                                              \
        return;
        REF_NATIVE_ELEMS(LOAD_CASE)
    case ELEM_BOOL:
        load_U8(t->data + first, cls, step, n, dst);
        return;
    default:
        load_other(t, cls, first, step, n, dst);
    }
}

/* Truncation and saturation to `bits` wide integers. */
static int64_t saturate_i64(double v, unsigned bits) {
    int64_t hi = (int64_t)(UINT64_MAX >> (65 - bits)), x = f64_to_i64(v);
    return x > hi ? hi : x < -hi - 1 ? -hi - 1 : x;
}
static uint64_t saturate_u64(double v, unsigned bits) {
    uint64_t hi = UINT64_MAX >> (64 - bits), x = f64_to_u64(v);
    return x > hi ? hi : x;
}

#define STORE_F32(D, v) (D)(v)
#define STORE_F64(D, v) (D)(v)
#define STORE_I64(D, v) (D) saturate_i64((double)(v), 8 * sizeof(D))
#define STORE_U64(D, v) (D) saturate_u64((double)(v), 8 * sizeof(D))
#define STORE_LOOP(S, D, EXPR)                                                                                         \
    for (int64_t i = 0; i < n; i++) {                                                                                  \
        S v = ((const S *)src)[i];                                                                                     \
        D d = EXPR;                                                                                                    \
        memcpy(dst + (size_t)i * sizeof d, &d, sizeof d);                                                              \
    }
/* store_<elem>: any class to native elements at dst. */
#define DEFINE_STORE(E, D, C)                                                                                          \
    static void store_##E(uint8_t *dst, RefClass cls, int64_t n, const void *src) {                                    \
        switch (cls) {                                                                                                 \
        case CLASS_F32:                                                                                                \
            STORE_LOOP(float, D, STORE_##C(D, v)) break;                                                               \
        case CLASS_F64:                                                                                                \
            STORE_LOOP(double, D, STORE_##C(D, v)) break;                                                              \
        case CLASS_I64:                                                                                                \
            STORE_LOOP(int64_t, D, (D)v) break;                                                                        \
        case CLASS_U64:                                                                                                \
            STORE_LOOP(uint64_t, D, (D)v) break;                                                                       \
        case CLASS_BOOL:                                                                                               \
            STORE_LOOP(uint8_t, D, (D)v) break;                                                                        \
        case CLASS_NONE:                                                                                               \
            break;                                                                                                     \
        }                                                                                                              \
    }
REF_NATIVE_ELEMS(DEFINE_STORE)

/* 16-bit floats, 4-bit integers and the like. Integers wrap to the width of the element first. */
static void store_other(Tensor *t, RefClass cls, int64_t first, int64_t n, const uint8_t *src) {
    bool is_float = elem_is_float(t->elem), is_signed = elem_is_signed(t->elem);
    unsigned bits = (unsigned)elem_bits(t->elem);
    for (int64_t i = 0; i < n; i++, src += class_bytes(cls)) {
        if (cls == CLASS_F32 || cls == CLASS_F64) {
            float f = 0;
            double v;
            if (cls == CLASS_F32) memcpy(&f, src, sizeof f);
            if (cls == CLASS_F32)
                v = (double)f;
            else
                memcpy(&v, src, sizeof v);
            if (is_float)
                tensor_set_f64(t, first + i, v);
            else
                tensor_set_i64(t, first + i, is_signed ? saturate_i64(v, bits) : (int64_t)saturate_u64(v, bits));
            continue;
        }
        uint64_t v = *src;
        if (cls != CLASS_BOOL) memcpy(&v, src, sizeof v);
        if (is_float) {
            tensor_set_f64(t, first + i, cls == CLASS_I64 ? (double)(int64_t)v : (double)v);
        } else {
            unsigned shift = 64 - bits;
            tensor_set_i64(t, first + i, is_signed ? (int64_t)(v << shift) >> shift : (int64_t)(v << shift >> shift));
        }
    }
}

static void store_bool(uint8_t *dst, RefClass cls, int64_t n, const uint8_t *src) {
    for (int64_t i = 0; i < n; i++, src += class_bytes(cls)) {
        if (cls == CLASS_BOOL)
            load_U8(src, CLASS_BOOL, 0, 1, dst + i);
        else if (cls == CLASS_F32)
            load_F32(src, CLASS_BOOL, 0, 1, dst + i);
        else if (cls == CLASS_F64)
            load_F64(src, CLASS_BOOL, 0, 1, dst + i);
        else
            load_U64(src, CLASS_BOOL, 0, 1, dst + i);
    }
}

void ref_store(Tensor *t, RefClass cls, int64_t first, int64_t n, const void *src) {
    switch (t->elem) {
#define STORE_CASE(E, S, C)                                                                                            \
    case ELEM_##E:                                                                                                     \
        store_##E(t->data + (size_t)first * sizeof(S), cls, n, src);                                                   \
        return;
        REF_NATIVE_ELEMS(STORE_CASE)
    case ELEM_BOOL:
        store_bool(t->data + first, cls, n, src);
        return;
    default:
        store_other(t, cls, first, n, src);
    }
}

#define DEFINE_READ(NAME, T, CLS)                                                                                      \
    T *ref_read_##NAME(Arena *scratch, const Tensor *t) {                                                              \
        int64_t n = tensor_count(t);                                                                                   \
        T *v = ARENA_ARRAY(scratch, T, n);                                                                             \
        if (v) ref_load(t, CLS, 0, 1, n, v);                                                                           \
        return v;                                                                                                      \
    }
DEFINE_READ(f32, float, CLASS_F32)
DEFINE_READ(f64, double, CLASS_F64)
DEFINE_READ(i64, int64_t, CLASS_I64)

Status ref_ints(EvalCtx *c, int i, int64_t **v, int64_t *n) {
    const Tensor *t = i < c->n_in ? c->in[i] : NULL;
    *v = NULL;
    *n = 0;
    if (!t) return NULL;
    if (!elem_is_int(t->elem)) {
        return eval_error(c, STATUS_INVALID, "input %d must hold integers, found %s", i, elem_name(t->elem));
    }
    *n = tensor_count(t);
    TRY_ALLOC(*v = ref_read_i64(c->scratch, t));
    return NULL;
}

Status ref_numeric_only(EvalCtx *c) {
    for (int i = 0; i < c->n_in; i++) {
        if (c->in[i] && ref_class(c->in[i]->elem) == CLASS_NONE) {
            return eval_error(c, STATUS_UNSUPPORTED, "input %d has elements of type %s, which are not evaluated", i,
                              elem_name(c->in[i]->elem));
        }
    }
    return NULL;
}

Status ref_output(EvalCtx *c, int i, ElemType e, int rank, const int64_t *dims, Tensor *view) {
    void *data;
    Status s = eval_output(c, i, e, rank, dims, &data);
    if (!s) s = tensor_view(view, e, rank, dims, data);
    if (s) return status_context(s, "%s '%s'", c->node->op->name, c->node->name);
    if (view->bytes && elem_bits(e) < 8) view->data[view->bytes - 1] = 0; /* unused bits of the last byte */
    return NULL;
}

Status ref_scratch(EvalCtx *c, ElemType e, int rank, const int64_t *dims, Tensor *t) {
    size_t bytes;
    void *data;
    if (!elem_bytes(e, ref_product(dims, 0, rank), &bytes))
        return eval_error(c, STATUS_INVALID, "a tensor is too large");
    TRY_ALLOC(data = arena_alloc(c->scratch, bytes));
    return tensor_view(t, e, rank, dims, data);
}

/* ---- indexing ---- */

int64_t ref_product(const int64_t *dims, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= dims[i];
    return n;
}

void ref_strides(int rank, const int64_t *dims, int64_t *strides) {
    int64_t n = 1;
    for (int i = rank - 1; i >= 0; i--) {
        strides[i] = n;
        n *= dims[i];
    }
}

bool ref_next(int rank, const int64_t *dims, int64_t *idx) {
    for (int i = rank - 1; i >= 0; i--) {
        if (++idx[i] < dims[i]) return true;
        idx[i] = 0;
    }
    return false;
}

Status ref_axis(const EvalCtx *c, int64_t axis, int rank, int *out) {
    if (axis < -rank || axis >= rank) {
        return eval_error(c, STATUS_INVALID, "axis %lld is outside [-%d, %d)", (long long)axis, rank, rank);
    }
    *out = (int)(axis < 0 ? axis + rank : axis);
    return NULL;
}

/* ---- broadcasting ---- */

Status ref_broadcast(const EvalCtx *c, int n, const Tensor *const *in, int *rank, int64_t *dims) {
    *rank = 0;
    for (int i = 0; i < n; i++) {
        if (in[i]->rank > *rank) *rank = in[i]->rank;
    }
    for (int d = 0; d < *rank; d++) dims[d] = 1;
    for (int i = 0; i < n; i++) {
        for (int d = 0; d < in[i]->rank; d++) {
            int64_t *to = &dims[*rank - in[i]->rank + d], from = in[i]->dims[d];
            if (*to == 1)
                *to = from;
            else if (from != 1 && from != *to) {
                return eval_error(c, STATUS_INVALID, "input %d does not broadcast: dimension %d is %lld, expected %lld",
                                  i, d, (long long)from, (long long)*to);
            }
        }
    }
    return NULL;
}

void ref_broadcast_strides(const Tensor *t, int rank, const int64_t *dims, int64_t *strides) {
    int64_t own[MAX_RANK], off = rank - t->rank;
    ref_strides(t->rank, t->dims, own);
    for (int d = 0; d < rank; d++) {
        bool repeats = d < off || (t->dims[d - off] == 1 && dims[d] != 1);
        strides[d] = repeats ? 0 : own[d - off];
    }
}

/* Merges neighbouring dims that every operand walks with one stride, so that inner loops are long. */
static int merge_dims(int rank, int64_t *dims, int n, int64_t strides[][MAX_RANK]) {
    int out = 0;
    for (int d = 0; d < rank; d++) {
        if (dims[d] == 1 && rank > 1) {
            continue;
        }
        bool merge = out > 0;
        for (int i = 0; i < n && merge; i++) merge = strides[i][out - 1] == strides[i][d] * dims[d];
        if (!merge) out++;
        dims[out - 1] = merge ? dims[out - 1] * dims[d] : dims[d];
        for (int i = 0; i < n; i++) strides[i][out - 1] = strides[i][d];
    }
    return out;
}

static void map_row(const RefMap *m, Tensor *y, const int64_t *from, const int64_t *step, int64_t to, int64_t n) {
    double buf[REF_MAX_MAP][REF_BLOCK], out[REF_BLOCK];
    const void *x[REF_MAX_MAP] = {buf[0], buf[1], buf[2]};
    for (int64_t i = 0; i < n; i += REF_BLOCK) {
        int64_t len = n - i < REF_BLOCK ? n - i : REF_BLOCK;
        for (int k = 0; k < m->n_in; k++) ref_load(m->in[k], m->in_class, from[k] + i * step[k], step[k], len, buf[k]);
        m->fn(x, out, len, m->param);
        ref_store(y, m->out_class, to + i, len, out);
    }
}

void ref_map_into(const RefMap *m, Tensor *y) {
    int64_t dims[MAX_RANK], strides[REF_MAX_MAP][MAX_RANK], idx[MAX_RANK] = {0}, from[REF_MAX_MAP], step[REF_MAX_MAP];
    if (tensor_count(y) == 0) return;
    for (int d = 0; d < y->rank; d++) dims[d] = y->dims[d];
    for (int k = 0; k < m->n_in; k++) ref_broadcast_strides(m->in[k], y->rank, dims, strides[k]);
    int rank = merge_dims(y->rank, dims, m->n_in, strides), outer = rank ? rank - 1 : 0;
    int64_t inner = rank ? dims[rank - 1] : 1, at = 0;
    do {
        for (int k = 0; k < m->n_in; k++) {
            from[k] = 0;
            step[k] = rank ? strides[k][rank - 1] : 0;
            for (int d = 0; d < outer; d++) from[k] += idx[d] * strides[k][d];
        }
        map_row(m, y, from, step, at, inner);
        at += inner;
    } while (ref_next(outer, dims, idx));
}

Status ref_map(EvalCtx *c, const RefMap *m) {
    int rank;
    int64_t dims[MAX_RANK];
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_broadcast(c, m->n_in, m->in, &rank, dims));
    TRY(ref_output(c, 0, m->out_elem, rank, dims, &y));
    ref_map_into(m, &y);
    return NULL;
}

/* ---- movement ---- */

static unsigned get_bits(const uint8_t *p, int64_t i, unsigned bits) {
    unsigned per = 8 / bits;
    return (unsigned)(p[(uint64_t)i / per] >> ((uint64_t)i % per * bits)) & ((1u << bits) - 1);
}

static void set_bits(uint8_t *p, int64_t i, unsigned bits, unsigned v) {
    unsigned per = 8 / bits, shift = (unsigned)((uint64_t)i % per) * bits, mask = ((1u << bits) - 1) << shift;
    uint8_t *at = &p[(uint64_t)i / per];
    *at = (uint8_t)((*at & ~mask) | (v << shift));
}

/* n elements with strides; the one place that knows about sub-byte elements. */
static void copy_row(ElemType e, uint8_t *dst, int64_t d, int64_t dstep, const uint8_t *src, int64_t s, int64_t sstep,
                     int64_t n) {
    unsigned bits = (unsigned)elem_bits(e);
    if (bits < 8) {
        for (int64_t i = 0; i < n; i++) set_bits(dst, d + i * dstep, bits, get_bits(src, s + i * sstep, bits));
        return;
    }
    size_t size = bits / 8;
    if (dstep == 1 && sstep == 1) {
        if (n > 0) memcpy(dst + (size_t)d * size, src + (size_t)s * size, (size_t)n * size);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        memcpy(dst + (d + i * dstep) * (int64_t)size, src + (s + i * sstep) * (int64_t)size, size);
    }
}

void ref_copy(ElemType e, uint8_t *dst, int64_t dst_first, const uint8_t *src, int64_t src_first, int64_t n) {
    copy_row(e, dst, dst_first, 1, src, src_first, 1, n);
}

void ref_fill(ElemType e, uint8_t *dst, int64_t n, const uint8_t *src, int64_t from) {
    copy_row(e, dst, 0, 1, src, from, 0, n);
}

void ref_copy_strided(ElemType e, int rank, const int64_t *dims, uint8_t *dst, int64_t doff, const int64_t *dstride,
                      const uint8_t *src, int64_t soff, const int64_t *sstride) {
    int64_t d[MAX_RANK], st[2][MAX_RANK], idx[MAX_RANK] = {0};
    if (ref_product(dims, 0, rank) == 0) return;
    for (int i = 0; i < rank; i++) {
        d[i] = dims[i];
        st[0][i] = dstride[i];
        st[1][i] = sstride[i];
    }
    int r = merge_dims(rank, d, 2, st), outer = r ? r - 1 : 0;
    do {
        int64_t to = doff, from = soff;
        for (int i = 0; i < outer; i++) {
            to += idx[i] * st[0][i];
            from += idx[i] * st[1][i];
        }
        copy_row(e, dst, to, r ? st[0][r - 1] : 1, src, from, r ? st[1][r - 1] : 1, r ? d[r - 1] : 1);
    } while (ref_next(outer, d, idx));
}

Status ref_reshaped(EvalCtx *c, int rank, const int64_t *dims) {
    const Tensor *x = c->in[0];
    Tensor y;
    if (ref_class(x->elem) == CLASS_NONE) TRY(ref_numeric_only(c));
    TRY(ref_output(c, 0, x->elem, rank, dims, &y));
    ref_copy(x->elem, y.data, 0, x->data, 0, tensor_count(x));
    return NULL;
}
