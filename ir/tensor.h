/* Tensors and the reference-counted bytes behind them. */
#ifndef PARE_IR_TENSOR_H
#define PARE_IR_TENSOR_H

#include "ir/mem.h"
#include "ir/status.h"
#include "ir/types.h"

/* Reference-counted bytes: aligned heap memory, or a range of something else (a mapped file) that `release` gives back.
 * Thread-safety: blob_ref/blob_unref from any thread; content is immutable once shared. */
typedef struct Blob {
    _Atomic int refs;
    uint8_t *data;
    size_t size;
    void (*release)(void *owner); /* NULL: data is heap memory of this blob */
    void *owner;
} Blob;
/* Fresh MEM_ALIGN-aligned zeroed bytes, one reference. */
Blob *blob_new(size_t bytes);
/* Wraps foreign bytes; release(owner) is called with the last reference. */
Blob *blob_wrap(const void *data, size_t bytes, void (*release)(void *), void *owner);
/* A range of `base` that keeps it alive. */
Blob *blob_slice(Blob *base, size_t offset, size_t bytes);
Blob *blob_ref(Blob *b);
void blob_unref(Blob *b); /* NULL is allowed */

/* How the stored bytes represent the values. Dense is plain row-major ONNX order; other encodings (sparse mask, N:M,
 * palette) are rows added here with their passes. */
typedef enum Encoding { ENC_DENSE } Encoding;

/* A tensor with numbers for dims, row-major. `data` points into blob, or to memory of someone else when blob is NULL
 * (arena buffers, caller's inputs). Data of a blob of a mapped file may be unaligned: read it through tensor_aligned or
 * memcpy. Copies of the struct are plain views; tensor_copy takes a reference. */
typedef struct Tensor {
    ElemType elem;
    int rank;
    int64_t dims[MAX_RANK];
    Encoding encoding;
    Blob *blob;
    uint8_t *data;
    size_t bytes;
} Tensor;

/* Owned, zeroed. STATUS_INVALID when the size overflows. */
PARE_NODISCARD Status tensor_new(Tensor *t, ElemType e, int rank, const int64_t *dims);
/* A view of foreign memory; t->bytes is computed. STATUS_INVALID on overflow. */
PARE_NODISCARD Status tensor_view(Tensor *t, ElemType e, int rank, const int64_t *dims, const void *data);
/* Number of elements (product of dims). */
int64_t tensor_count(const Tensor *t);
/* New reference to the same bytes. */
Tensor tensor_ref(const Tensor *t);
/* Deep copy into aligned owned memory. */
PARE_NODISCARD Status tensor_clone(Tensor *out, const Tensor *t);
/* Makes data aligned to its element (at least) and owned, copying when needed. */
PARE_NODISCARD Status tensor_align(Tensor *t);
/* Makes the bytes safe to write: clones when shared, mapped or foreign. */
PARE_NODISCARD Status tensor_make_writable(Tensor *t);
void tensor_free(Tensor *t); /* drops the reference, zeroes the struct */
Type tensor_type(const Tensor *t);
/* "float32[1,3,224,224]" into buf. */
const char *tensor_describe(const Tensor *t, char *buf, size_t cap);

/* Element i as double / int64 (any numeric element type incl. fp16, bf16, fp8, 4-bit; bool is 0/1; unaligned data is
 * fine). */
double tensor_get_f64(const Tensor *t, int64_t i);
int64_t tensor_get_i64(const Tensor *t, int64_t i);
/* Stores with rounding to nearest even and, for integers, saturation. */
void tensor_set_f64(Tensor *t, int64_t i, double v);
void tensor_set_i64(Tensor *t, int64_t i, int64_t v);
/* All elements to float32 (dst has tensor_count elements). */
void tensor_to_f32(const Tensor *t, float *dst);

/* Scalar conversions; from float: round to nearest even. fp8 "saturate" as in ONNX Cast. */
float f16_to_f32(uint16_t h);
uint16_t f32_to_f16(float f);
float bf16_to_f32(uint16_t h);
uint16_t f32_to_bf16(float f);
float f8_to_f32(uint8_t v, ElemType e);
uint8_t f32_to_f8(float f, ElemType e, bool saturate);

#endif
