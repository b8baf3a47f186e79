/* Indirect matrix product on NHWC tensors: one operator for Conv (any kernel, stride, dilation, padding, groups), Gemm
 * and MatMul with constant weights, in float or 8-bit integers; matmul.h has the product of two run-time tensors.
 *
 *   y[p, o] = post( bias[o] + sum over taps t, channels c of x[pixel(p, t), c] * w[o, t, c] )
 *
 * A matrix product [M, K] x [K, N] is the convolution of M pixels (n = 1, ih = oh = 1, iw = ow = M) with K input and N
 * output channels by a 1x1 kernel; igemm_gemm_desc() fills that in. A 1-D convolution has height 1.
 *
 * Life of an operator: fill an IgemmDesc, igemm_init() it into an Igemm (plain data; nothing is allocated, ever), pack
 * the weights once into memory of igemm_pack_bytes(), then igemm_run() as often as wanted with a scratch area of
 * igemm_scratch_bytes(). Init chooses the kernel by instruction set, so packed weights are valid only where
 * igemm_format() gives the same string. Packed weights do not depend on n, ih, iw, oh, ow, the strides between pixels,
 * or anything after the K loop but `y_type`; an operator may be initialised anew for another size and use the same
 * packed weights.
 *
 * Numerics: docs/numerics.md. Integer results are equal bit for bit on every instruction set; float results are equal
 * at every thread count, and the order of additions is bias, then the products in order of (tap, channel), each by one
 * fused multiply-add (plain C: multiply, then add). Padding reads 0, or the zero point: in float an infinite weight
 * therefore gives NaN at the border.
 *
 * An Igemm and packed weights are immutable and may be shared by threads; scratch and y belong to one run. Pointers
 * passed to run may have any alignment; packed weights and scratch must be 64-byte aligned. Nothing may overlap, except
 * that the residual may be y itself. */
#ifndef PARE_KERNELS_CPU_IGEMM_H
#define PARE_KERNELS_CPU_IGEMM_H

#include "kernels/cpu/isa.h"
#include "kernels/cpu/team.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum IgemmType { IGEMM_F32, IGEMM_U8, IGEMM_S8, IGEMM_S32 } IgemmType;

/* Where the residual r comes in. Float input: BEFORE: y = act(clamp(v + r)), AFTER: y = act(clamp(v)) + r.
 * 8-bit input: only AFTER; for 8-bit output both steps are rounded as if they were separate operators (see IgemmQAdd).
 */
typedef enum IgemmResidual { IGEMM_NO_RESIDUAL, IGEMM_RESIDUAL_BEFORE, IGEMM_RESIDUAL_AFTER } IgemmResidual;

/* y = f(x; a, b) on n floats, in place (y == x): the type of the rows of eltwise/unary.def. */
typedef void (*IgemmActFn)(float *y, const float *x, size_t n, float a, float b);

/* 8-bit residual: with q the stored (requantised, table applied) value, of y's type and zero point y_zero,
 *   y = rne(clamp(float(q - y_zero) * m_q + float(r - r_zero) * m_r, lo - zero, hi - zero)) + zero.
 * m_q = s_q / s_y, m_r = s_r / s_y. r and y have the type y_type. */
typedef struct IgemmQAdd {
    float m_q, m_r;
    int32_t r_zero, zero;
    float lo, hi; /* bounds of the stored value, within the range of its type */
} IgemmQAdd;

/* Zero-initialise, then set what is needed. */
typedef struct IgemmDesc {
    IgemmType x_type; /* F32, U8 or S8 */
    IgemmType y_type; /* F32 for x F32; otherwise U8, S8, S32 (the raw accumulator) or F32 (accumulator * multiplier) */
    int64_t n, ih, iw, oh, ow;
    int64_t ic, oc; /* over all groups; channels of group g are contiguous */
    int64_t groups, kh, kw, stride_h, stride_w, dilation_h, dilation_w; /* 0 is taken as 1 */
    int64_t pad_top, pad_left; /* what lies right and below follows from oh, ow */
    int64_t ldx, ldy, ldr;     /* elements from one pixel to the next in x, y, residual; 0: ic, oc, oc */

    /* y = act(clamp(v, lo, hi)); NaN passes. With lo == hi == 0 there is no bound, so that a zeroed description does
     * not clamp everything to 0. act is for F32 output only. For y_type U8, S8 the bounds are of the stored value. */
    float lo, hi;
    IgemmActFn act; /* NULL: none */
    float act_a, act_b;
    IgemmResidual residual;

    /* 8-bit input. */
    int32_t x_zero;   /* zero point of x */
    IgemmType w_type; /* U8, or else the weights are S8 */
    int32_t w_zero;   /* zero point of the weights; anything but 0 costs a sum over the activations of each tile */
    int32_t y_zero;   /* zero point of y (y_type U8, S8) */
    const uint8_t
        *table;    /* NULL, or 256 entries applied to the requantised byte (its bits as index); kept, not copied */
    IgemmQAdd add; /* with residual AFTER, for y_type U8, S8 */
} IgemmDesc;

/* How the caller's weights lie in memory. Groups: OIHW has ic / groups as I. */
typedef enum IgemmLayout {
    IGEMM_OIHW,            /* ONNX Conv */
    IGEMM_OHWI,            /* as NHWC runtimes keep it */
    IGEMM_KN,              /* ONNX MatMul, Gemm: [K, N]; with kernels [kh, kw, I, O] */
    IGEMM_NK = IGEMM_OHWI, /* Gemm with transB: [N, K] */
} IgemmLayout;

/* Constant operands, in the units of docs/numerics.md. */
typedef struct IgemmWeights {
    const void *w; /* float, int8_t or uint8_t */
    IgemmLayout layout;
    int64_t ld;              /* KN, NK: elements from one row to the next; 0: no gap */
    const void *bias;        /* float, or int32_t in units s_x * s_w; NULL: 0 */
    const float *multiplier; /* 8-bit input with y_type U8, S8, F32: [oc], s_x * s_w[o] / s_y; else ignored */
} IgemmWeights;

/* A kernel call covers at most this many panels of columns; see tile.h. */
enum { IGEMM_WIDTHS = 4 };

struct KernelRow;

/* A prepared operator. Plain data; callers only pass it on. "Seen" is what kernels read: x itself, or a converted copy.
 */
typedef struct Igemm {
    IgemmDesc desc;                             /* with defaults filled in */
    const struct KernelRow *rows[IGEMM_WIDTHS]; /* rows[v - 1]: the kernel for v panels, or NULL */
    const struct KernelRow *post, *widen;
    int lanes, kr;  /* columns of a panel; reduction elements that stand together */
    int width;      /* panels of a kernel call, but for the last one of a row of tiles */
    bool convert;   /* x is copied into scratch before the product, in the form that the kernels want */
    bool merged;    /* the taps of a kernel row form one longer tap (few channels) */
    bool flat;      /* output pixel i reads input pixel i only */
    bool skip_taps; /* kernel rows that lie in the padding for a whole tile add nothing and are left out */
    int64_t x_size, y_size, w_size, seen_size; /* bytes of an element */
    int64_t seen_pixel, seen_group;            /* bytes from one pixel, and group, to the next */
    int64_t seen_iw, seen_left;                /* pixels of an input row; how many of them lie left of x */
    int64_t icg, ocg;                          /* channels per group */
    int64_t m, tiles, row_tiles;               /* output pixels; tiles; tiles of an output row, or 0: they span rows */
    int64_t tile_base, tile_rest;              /* pixels of a tile; how many tiles, of all or of a row, have one more */
    int64_t taps, kc, kp;                      /* taps and their padded length as packed; kp = taps * kc */
    int64_t window;                            /* pixels that a merged tap reads, with those under its padding */
    int64_t panels;                            /* of a group */
    int64_t n_chunk, n_chunks, m_chunk, m_chunks; /* panels, tiles of a work item; numbers of such chunks */
    size_t bias_offset, mult_offset, pad_offset, w_offset, w_panel, pack_bytes; /* the packed weights */
    size_t convert_bytes, copy_stride, copy_bytes, thread_bytes;                /* scratch */
} Igemm;

/* Fills `desc` with zeros and the geometry of y[m, n] = x[m, k] * w[k, n]. */
void igemm_gemm_desc(IgemmDesc *desc, IgemmType x_type, IgemmType y_type, int64_t m, int64_t n, int64_t k);

/* Prepares for the fastest instruction set that isa_has(). Returns false, with *op undefined, when the description is
 * impossible (extents not positive, groups that do not divide, types that do not go together, zero points out of range)
 * or some size overflows. */
bool igemm_init(Igemm *op, const IgemmDesc *desc);

/* The same for one instruction set (tests); false also when the family has no row for it or the CPU lacks it. */
bool igemm_init_isa(Igemm *op, const IgemmDesc *desc, Isa isa);

/* Names the layout of the packed weights, as "igemm_f32/16x1". Static storage for the caller's buffer of `size` bytes.
 */
void igemm_format(const Igemm *op, char *text, size_t size);

/* The name of the kernel for reports, as "igemm_f32_avx512_x2". */
const char *igemm_kernel_name(const Igemm *op);

size_t igemm_pack_bytes(const Igemm *op);
/* Writes igemm_pack_bytes() bytes to `packed` (64-byte aligned). Deterministic, padding included. igemm_pack_with()
 * shares the work out over a team. */
void igemm_pack(const Igemm *op, const IgemmWeights *weights, void *packed);
void igemm_pack_with(const Igemm *op, const IgemmWeights *weights, void *packed, Team *team);

/* Bytes of scratch for a team of n_threads; may be 0. */
size_t igemm_scratch_bytes(const Igemm *op, int n_threads);

/* Runs. `residual` is read when desc.residual says so. `scratch` (64-byte aligned) holds igemm_scratch_bytes(op,
 * team_size(team)) bytes. */
void igemm_run(const Igemm *op, const void *packed, const void *x, const void *residual, void *y, void *scratch,
               Team *team);

#endif
