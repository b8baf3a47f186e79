#include "ir/types.h"

#include <string.h>

typedef struct ElemInfo {
    const char *text;
    int bits;
} ElemInfo;

enum { ELEM_NUMBERS = 32 };
static const ElemInfo elems[ELEM_NUMBERS] = {
#define ELEM(name, number, bits, text) [number] = {text, bits},
#include "ir/elems.def"
#undef ELEM
};

static const ElemInfo *info(ElemType e) { return (unsigned)e < ELEM_NUMBERS && elems[e].text ? &elems[e] : NULL; }

const char *elem_name(ElemType e) { return info(e) ? info(e)->text : NULL; }
int elem_bits(ElemType e) { return info(e) ? info(e)->bits : 0; }

ElemType elem_from_name(const char *name) {
    for (int i = 1; i < ELEM_NUMBERS; i++)
        if (elems[i].text && !strcmp(elems[i].text, name)) return (ElemType)i;
    return ELEM_UNDEFINED;
}

bool elem_is_float(ElemType e) {
    return e == ELEM_F32 || e == ELEM_F64 || e == ELEM_F16 || e == ELEM_BF16 ||
           (e >= ELEM_F8E4M3FN && e <= ELEM_F8E5M2FNUZ) || e == ELEM_F4E2M1 || e == ELEM_F8E8M0;
}

static bool signed_int(ElemType e) {
    return e == ELEM_I8 || e == ELEM_I16 || e == ELEM_I32 || e == ELEM_I64 || e == ELEM_I4 || e == ELEM_I2;
}

static bool unsigned_int(ElemType e) {
    return e == ELEM_U8 || e == ELEM_U16 || e == ELEM_U32 || e == ELEM_U64 || e == ELEM_U4 || e == ELEM_U2;
}

bool elem_is_int(ElemType e) { return signed_int(e) || unsigned_int(e); }
bool elem_is_signed(ElemType e) { return signed_int(e) || elem_is_float(e); }

bool elem_bytes(ElemType e, int64_t n, size_t *bytes) {
    int bits = elem_bits(e);
    size_t total;
    if (!bits || n < 0 || __builtin_mul_overflow((size_t)n, (size_t)bits, &total)) return false;
    if (__builtin_add_overflow(total, (size_t)7, &total)) return false;
    *bytes = total / 8;
    return true;
}

Type type_tensor(ElemType e, int rank, const Dim *dims) {
    Type t = {.kind = TYPE_TENSOR, .elem = e, .rank = rank};
    for (int i = 0; i < rank; i++) t.dims[i] = dims[i];
    return t;
}

bool type_equal(const Type *a, const Type *b) {
    if (a->kind != b->kind) return false;
    if (a->kind == TYPE_UNKNOWN) return true;
    if (a->kind != TYPE_TENSOR) return a->inner && b->inner ? type_equal(a->inner, b->inner) : a->inner == b->inner;
    if (a->elem != b->elem || a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

bool type_is_static(const Type *t) {
    if (t->kind != TYPE_TENSOR || t->rank < 0) return false;
    for (int i = 0; i < t->rank; i++)
        if (DIM_IS_SYM(t->dims[i])) return false;
    return true;
}

int64_t type_count(const Type *t) {
    if (!type_is_static(t)) return -1;
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(n, t->dims[i], &n)) return -1;
    return n;
}
