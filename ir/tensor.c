#include "ir/tensor.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

Blob *blob_new(size_t bytes) {
    Blob *b = mem_zalloc(sizeof *b);
    uint8_t *data = b ? mem_alloc_aligned(bytes) : NULL;
    if (!data) {
        mem_free(b);
        return NULL;
    }
    memset(data, 0, bytes);
    *b = (Blob){.refs = 1, .data = data, .size = bytes};
    return b;
}

Blob *blob_wrap(const void *data, size_t bytes, void (*release)(void *), void *owner) {
    Blob *b = mem_zalloc(sizeof *b);
    if (b)
        *b = (Blob){.refs = 1, .data = (uint8_t *)(uintptr_t)data, .size = bytes, .release = release, .owner = owner};
    return b;
}

static void release_base(void *base) { blob_unref(base); }

Blob *blob_slice(Blob *base, size_t offset, size_t bytes) {
    Blob *b = blob_wrap(base->data + offset, bytes, release_base, base);
    if (b) blob_ref(base);
    return b;
}

Blob *blob_ref(Blob *b) {
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void blob_unref(Blob *b) {
    if (!b || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1) return;
    if (b->release)
        b->release(b->owner);
    else
        mem_free(b->data);
    mem_free(b);
}

static Status set_shape(Tensor *t, ElemType e, int rank, const int64_t *dims) {
    *t = (Tensor){.elem = e, .rank = rank};
    int64_t n = 1;
    bool ok = rank >= 0 && rank <= MAX_RANK, zero = false;
    for (int i = 0; ok && i < rank; i++) {
        t->dims[i] = dims[i];
        zero |= dims[i] == 0;
        ok = dims[i] >= 0 && (dims[i] == 0 || !__builtin_mul_overflow(n, dims[i], &n));
    }
    if (ok && elem_bytes(e, zero ? 0 : n, &t->bytes)) return NULL;
    char text[160];
    return status_make(STATUS_INVALID, "a tensor of %s does not fit in memory or has an element type without a size",
                       tensor_describe(t, text, sizeof text));
}

Status tensor_new(Tensor *t, ElemType e, int rank, const int64_t *dims) {
    TRY(set_shape(t, e, rank, dims));
    TRY_ALLOC(t->blob = blob_new(t->bytes));
    t->data = t->blob->data;
    return NULL;
}

Status tensor_view(Tensor *t, ElemType e, int rank, const int64_t *dims, const void *data) {
    TRY(set_shape(t, e, rank, dims));
    t->data = (uint8_t *)(uintptr_t)data;
    return NULL;
}

int64_t tensor_count(const Tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dims[i];
    return n;
}

Tensor tensor_ref(const Tensor *t) {
    if (t->blob) blob_ref(t->blob);
    return *t;
}

Status tensor_clone(Tensor *out, const Tensor *t) {
    Blob *b = blob_new(t->bytes);
    if (!b) return status_oom();
    if (t->bytes) memcpy(b->data, t->data, t->bytes);
    *out = *t;
    out->blob = b;
    out->data = b->data;
    return NULL;
}

static Status replace_by_clone(Tensor *t) {
    Tensor copy;
    TRY(tensor_clone(&copy, t));
    tensor_free(t);
    *t = copy;
    return NULL;
}

Status tensor_align(Tensor *t) {
    size_t align = (size_t)elem_bits(t->elem) / 8;
    if (align < 1) align = 1;
    if (align > 8) align = 8;
    return t->blob && (uintptr_t)t->data % align == 0 ? NULL : replace_by_clone(t);
}

Status tensor_make_writable(Tensor *t) {
    bool own = t->blob && !t->blob->release && atomic_load(&t->blob->refs) == 1;
    return own ? NULL : replace_by_clone(t);
}

void tensor_free(Tensor *t) {
    blob_unref(t->blob);
    *t = (Tensor){0};
}

Type tensor_type(const Tensor *t) { return type_tensor(t->elem, t->rank, t->dims); }

const char *tensor_describe(const Tensor *t, char *buf, size_t cap) {
    const char *name = elem_name(t->elem);
    int at = snprintf(buf, cap, "%s[", name ? name : "?");
    for (int i = 0; i < t->rank && i < MAX_RANK && at >= 0 && (size_t)at < cap; i++)
        at += snprintf(buf + at, cap - (size_t)at, "%s%" PRId64, i ? "," : "", t->dims[i]);
    if (at >= 0 && (size_t)at < cap) snprintf(buf + at, cap - (size_t)at, "]");
    return buf;
}

/* ---- scalar conversions ---- */

static float bits_f32(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

static uint32_t f32_bits(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exp = (h >> 10) & 31, man = h & 0x3ff;
    if (exp == 31) return bits_f32(sign | 0x7f800000 | man << 13);
    if (exp) return bits_f32(sign | (exp + 112) << 23 | man << 13);
    float v = ldexpf((float)man, -24);
    return sign ? -v : v;
}

uint16_t f32_to_f16(float f) {
    uint32_t u = f32_bits(f), sign = (u >> 16) & 0x8000, mag = u & 0x7fffffff;
    if (mag > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (mag >= 0x477ff000) return (uint16_t)(sign | 0x7c00); /* rounds to infinity */
    if (mag < 0x38800000) {                                  /* subnormal: let the float unit round */
        float scaled = nearbyintf(ldexpf(bits_f32(mag), 24));
        return (uint16_t)(sign | (uint32_t)scaled);
    }
    uint32_t rounded = mag + 0xfff + ((mag >> 13) & 1);
    return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}

float bf16_to_f32(uint16_t h) { return bits_f32((uint32_t)h << 16); }

uint16_t f32_to_bf16(float f) {
    uint32_t u = f32_bits(f);
    if ((u & 0x7fffffff) > 0x7f800000) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7fff + ((u >> 16) & 1)) >> 16);
}

/* OCP and "fnuz" 8-bit floats (ONNX technical note on float 8). */
typedef struct F8 {
    int exp_bits, man_bits, bias;
    bool fnuz, has_inf;
} F8;

static F8 f8_format(ElemType e) {
    switch (e) {
    case ELEM_F8E4M3FN:
        return (F8){4, 3, 7, false, false};
    case ELEM_F8E4M3FNUZ:
        return (F8){4, 3, 8, true, false};
    case ELEM_F8E5M2:
        return (F8){5, 2, 15, false, true};
    default:
        return (F8){5, 2, 16, true, false};
    }
}

float f8_to_f32(uint8_t v, ElemType e) {
    if (e == ELEM_F8E8M0) return v == 255 ? NAN : ldexpf(1, (int)v - 127);
    F8 f = f8_format(e);
    int mag = v & 127, exp = mag >> f.man_bits, man = mag & ((1 << f.man_bits) - 1);
    int top = (1 << f.exp_bits) - 1;
    if (f.fnuz && v == 0x80) return NAN;
    if (f.has_inf && exp == top) return man ? NAN : (v & 128 ? -INFINITY : INFINITY);
    if (!f.fnuz && !f.has_inf && mag == 127) return NAN;
    float r = exp ? ldexpf((float)(man | 1 << f.man_bits), exp - f.bias - f.man_bits)
                  : ldexpf((float)man, 1 - f.bias - f.man_bits);
    return v & 128 ? -r : r;
}

static float f8_max(F8 f, ElemType e) {
    uint8_t code = f.has_inf ? 0x7b : f.fnuz ? 0x7f : 0x7e;
    return f8_to_f32(code, e);
}

uint8_t f32_to_f8(float v, ElemType e, bool saturate) {
    if (e == ELEM_F8E8M0) {
        if (isnan(v) || v < 0) return 255;
        if (v == 0) return 0;
        int x = (int)nearbyint(log2((double)v)) + 127;
        return (uint8_t)(x < 0 ? 0 : x > 254 ? 254 : x);
    }
    F8 f = f8_format(e);
    uint8_t sign = signbit(v) ? 128 : 0, nan = f.fnuz ? 0x80 : (uint8_t)(sign | 0x7f);
    float a = fabsf(v), max = f8_max(f, e);
    if (isnan(v)) return nan;
    if (a == 0) return f.fnuz ? 0 : sign;
    int x;
    frexpf(a, &x); /* a = m * 2^x, m in [0.5, 1) */
    int low = 1 - f.bias;
    int scale = (x - 1 < low ? low : x - 1) - f.man_bits;
    float r = isinf(a) ? a : ldexpf(nearbyintf(ldexpf(a, -scale)), scale);
    if (r > max) {
        if (saturate)
            r = max;
        else
            return f.has_inf ? (uint8_t)(sign | 0x7c) : nan;
    }
    if (r == 0) return f.fnuz ? 0 : sign;
    frexpf(r, &x);
    int code = x - 1 < low
                   ? (int)ldexpf(r, f.bias - 1 + f.man_bits)
                   : ((x - 1 + f.bias) << f.man_bits) + ((int)ldexpf(r, f.man_bits - (x - 1)) - (1 << f.man_bits));
    return (uint8_t)(sign | code);
}

static const float f4_values[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};

static float f4_to_f32(unsigned v) { return v & 8 ? -f4_values[v & 7] : f4_values[v & 7]; }

static unsigned f32_to_f4(float v) {
    float a = fabsf(v);
    unsigned best = 0;
    for (unsigned i = 1; i < 8; i++) {
        float mid = (f4_values[i - 1] + f4_values[i]) / 2;
        if (a > mid || (a == mid && i % 2 == 0)) best = i; /* ties to the even code */
    }
    return best | (signbit(v) ? 8 : 0);
}

/* ---- element access ---- */

#define LOAD(T, t, i)                                                                                                  \
    ({                                                                                                                 \
        T v_;                                                                                                          \
        memcpy(&v_, (t)->data + (size_t)(i) * sizeof(T), sizeof(T));                                                   \
        v_;                                                                                                            \
    })
#define STORE(T, t, i, x)                                                                                              \
    do {                                                                                                               \
        T v_ = (T)(x);                                                                                                 \
        memcpy((t)->data + (size_t)(i) * sizeof(T), &v_, sizeof(T));                                                   \
    } while (0)

static unsigned get_bits(const Tensor *t, int64_t i, int bits) {
    int64_t bit = i * bits;
    return (unsigned)(t->data[bit >> 3] >> (bit & 7)) & ((1U << bits) - 1);
}

static void set_bits(Tensor *t, int64_t i, int bits, unsigned v) {
    int64_t bit = i * bits;
    unsigned mask = ((1U << bits) - 1) << (bit & 7);
    uint8_t *p = &t->data[bit >> 3];
    *p = (uint8_t)((*p & ~mask) | ((v << (bit & 7)) & mask));
}

static int64_t sign_extend(unsigned v, int bits) { return (int64_t)(v ^ 1U << (bits - 1)) - (1 << (bits - 1)); }

double tensor_get_f64(const Tensor *t, int64_t i) {
    switch (t->elem) {
    case ELEM_F32:
        return (double)LOAD(float, t, i);
    case ELEM_F64:
        return LOAD(double, t, i);
    case ELEM_F16:
        return (double)f16_to_f32(LOAD(uint16_t, t, i));
    case ELEM_BF16:
        return (double)bf16_to_f32(LOAD(uint16_t, t, i));
    case ELEM_F8E4M3FN:
    case ELEM_F8E4M3FNUZ:
    case ELEM_F8E5M2:
    case ELEM_F8E5M2FNUZ:
    case ELEM_F8E8M0:
        return (double)f8_to_f32(t->data[i], t->elem);
    case ELEM_F4E2M1:
        return (double)f4_to_f32(get_bits(t, i, 4));
    case ELEM_U64:
        return (double)LOAD(uint64_t, t, i);
    default:
        return (double)tensor_get_i64(t, i);
    }
}

int64_t tensor_get_i64(const Tensor *t, int64_t i) {
    switch (t->elem) {
    case ELEM_U8:
    case ELEM_BOOL:
        return t->data[i];
    case ELEM_I8:
        return LOAD(int8_t, t, i);
    case ELEM_U16:
        return LOAD(uint16_t, t, i);
    case ELEM_I16:
        return LOAD(int16_t, t, i);
    case ELEM_I32:
        return LOAD(int32_t, t, i);
    case ELEM_U32:
        return LOAD(uint32_t, t, i);
    case ELEM_I64:
        return LOAD(int64_t, t, i);
    case ELEM_U64:
        return (int64_t)LOAD(uint64_t, t, i);
    case ELEM_U4:
        return get_bits(t, i, 4);
    case ELEM_I4:
        return sign_extend(get_bits(t, i, 4), 4);
    case ELEM_U2:
        return get_bits(t, i, 2);
    case ELEM_I2:
        return sign_extend(get_bits(t, i, 2), 2);
    default: {
        if (!elem_is_float(t->elem)) return 0;
        double v = tensor_get_f64(t, i);
        return v != v ? 0 : v >= 0x1p63 ? INT64_MAX : v <= -0x1p63 ? INT64_MIN : (int64_t)v;
    }
    }
}

/* [low, high] of an integer type. */
static void int_range(ElemType e, int64_t *low, int64_t *high) {
    int bits = e == ELEM_BOOL ? 1 : elem_bits(e);
    bool is_signed = elem_is_signed(e);
    *low = is_signed ? (bits == 64 ? INT64_MIN : -((int64_t)1 << (bits - 1))) : 0;
    *high = bits == 64 ? INT64_MAX : ((int64_t)1 << (is_signed ? bits - 1 : bits)) - 1;
}

void tensor_set_i64(Tensor *t, int64_t i, int64_t v) {
    if (elem_is_float(t->elem)) {
        tensor_set_f64(t, i, (double)v);
        return;
    }
    int64_t low, high;
    int_range(t->elem, &low, &high);
    v = v < low ? low : v > high ? high : v;
    switch (elem_bits(t->elem)) {
    case 2:
        set_bits(t, i, 2, (unsigned)v & 3);
        break;
    case 4:
        set_bits(t, i, 4, (unsigned)v & 15);
        break;
    case 8:
        t->data[i] = (uint8_t)v;
        break;
    case 16:
        STORE(uint16_t, t, i, v);
        break;
    case 32:
        STORE(uint32_t, t, i, v);
        break;
    case 64:
        STORE(int64_t, t, i, v);
        break;
    default:
        break;
    }
}

void tensor_set_f64(Tensor *t, int64_t i, double v) {
    switch (t->elem) {
    case ELEM_F32:
        STORE(float, t, i, v);
        break;
    case ELEM_F64:
        STORE(double, t, i, v);
        break;
    case ELEM_F16:
        STORE(uint16_t, t, i, f32_to_f16((float)v));
        break;
    case ELEM_BF16:
        STORE(uint16_t, t, i, f32_to_bf16((float)v));
        break;
    case ELEM_F8E4M3FN:
    case ELEM_F8E4M3FNUZ:
    case ELEM_F8E5M2:
    case ELEM_F8E5M2FNUZ:
    case ELEM_F8E8M0:
        t->data[i] = f32_to_f8((float)v, t->elem, true);
        break;
    case ELEM_F4E2M1:
        set_bits(t, i, 4, f32_to_f4((float)v));
        break;
    default: {
        double r = v != v ? 0 : nearbyint(v);
        tensor_set_i64(t, i, r >= 0x1p63 ? INT64_MAX : r <= -0x1p63 ? INT64_MIN : (int64_t)r);
    }
    }
}

void tensor_to_f32(const Tensor *t, float *dst) {
    int64_t n = tensor_count(t);
    if (t->elem == ELEM_F32) {
        if (n) memcpy(dst, t->data, (size_t)n * sizeof(float));
        return;
    }
    for (int64_t i = 0; i < n; i++) dst[i] = (float)tensor_get_f64(t, i);
}
