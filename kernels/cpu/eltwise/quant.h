/* Elementwise integer kernels and conversions between number formats, by docs/numerics.md. All results are the same bit
 * for bit on every ISA and team. In place is allowed where input and output elements have the same size. */
#ifndef PARE_KERNELS_CPU_ELTWISE_QUANT_H
#define PARE_KERNELS_CPU_ELTWISE_QUANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/cpu/eltwise/binary.h"
#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

/* y[i] = lut[x[i]]: every unary function on stored bytes, signed ones too (the index is the byte's bits). */
typedef void (*LutFn)(uint8_t *y, const uint8_t *x, size_t n, const uint8_t *lut);

/* Conversions of n contiguous elements. The zero point of an s8 tensor and its range are signed.
 *   quantize    q = zp + rne(clamp(x / scale, lo - zp, hi - zp)); a NaN gives zp
 *   dequantize  x = (q - zp) * scale */
typedef void (*QuantizeFn)(uint8_t *y, const float *x, size_t n, float scale, int32_t zp, int32_t lo, int32_t hi);
typedef void (*DequantizeFn)(float *y, const uint8_t *x, size_t n, float scale, int32_t zp);
/* bf16 as its 16 bits; rounding to nearest even, NaN stays NaN. */
typedef void (*ToBf16Fn)(uint16_t *y, const float *x, size_t n);
typedef void (*FromBf16Fn)(float *y, const uint16_t *x, size_t n);

/* Parameters of the integer additions and multiplications, all derived at planning:
 *   add  y = zp + rne(clamp(float(a - a_zp) * a_mult + float(b - b_zp) * b_mult, lo - zp, hi - zp)), two roundings then
 * the sum's mul  y = zp + rne(clamp(float((a - a_zp) * (b - b_zp)) * a_mult, lo - zp, hi - zp)) */
typedef struct {
    int32_t a_zp, b_zp;
    float a_mult, b_mult;
    int32_t y_zp, lo, hi;
    bool a_signed, b_signed, y_signed; /* int8 instead of uint8; zero points and bounds in the stored values' units */
} QBinaryParams;

typedef enum { QBINARY_ADD, QBINARY_MUL, QBINARY_COUNT } QBinaryKind;
typedef void (*QBinaryRowFn)(uint8_t *y, const uint8_t *a, const uint8_t *b, size_t n, const QBinaryParams *p);

/* One table row per ISA. */
typedef struct {
    LutFn lut;
    QuantizeFn quantize; /* u8 or s8 by lo, hi */
    DequantizeFn dequantize_u8, dequantize_s8;
    ToBf16Fn to_bf16;
    FromBf16Fn from_bf16;
    QBinaryRowFn qbinary[QBINARY_COUNT][BINARY_FORMS];
} QuantOps;

/* The rows for the ISAs in isa_bits; never NULL. */
const QuantOps *quant_ops(uint32_t isa_bits);

/* Integer addition or multiplication of 8-bit tensors with broadcasting; strides as in binary.h. */
typedef struct {
    EltNest nest;
    QBinaryKind kind;
    QBinaryParams p;
    const uint8_t *lut; /* applied last; NULL for none */
    /* set by prepare */
    const QuantOps *ops;
    QBinaryRowFn row;
    int64_t chunk;
    uint8_t gather[3];
} QBinary;

void qbinary_prepare(QBinary *e, uint32_t isa_bits);
void qbinary_run(const QBinary *e, uint8_t *y, const uint8_t *a, const uint8_t *b, Team *team);

/* Whole tensors of n contiguous elements, split over the team. */
void lut_u8_run(const QuantOps *ops, uint8_t *y, const uint8_t *x, size_t n, const uint8_t *lut, Team *team);
void quantize_run(const QuantOps *ops, void *y, const float *x, size_t n, float scale, int32_t zp, bool is_signed,
                  Team *team);
void dequantize_run(const QuantOps *ops, float *y, const void *x, size_t n, float scale, int32_t zp, bool is_signed,
                    Team *team);

#endif
