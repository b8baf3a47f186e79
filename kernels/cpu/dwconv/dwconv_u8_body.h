/* Body of the integer depthwise rows on vectors; included by dwconv_u8_<isa>.c after a dwq_*.h layer, which gives
 *   DWQ_CB, DWQ_NX    channels per block (bytes per vector); outputs per tile
 *   dwq_b             CB bytes: dwq_load, dwq_loadn (first n, the rest undefined), dwq_set1, dwq_xor
 *   dwq_i             a vector of CB/4 int32
 *   DWQ_PARTS         vectors that 4 interleaved rows need per j (1 for byte dot products, 2 for 16-bit ones)
 *   dwq_interleave    4 rows of bytes to DWQ_J * DWQ_PARTS vectors in memory
 *   dwq_dot           acc += sum of 4 rows' products
 *   dwq_requant       4 accumulators to CB bytes
 *   DWQ_COST          time of a block in arbitrary units, to choose between block sizes (measured on 14x14 images, 3x3)
 *
 * Two steps per run of outputs and block of channels: the image columns under the run are interleaved once into a
 * buffer (padding becomes the zero point there), then every output sums its columns' dot products. */
#include <string.h>

#include "kernels/cpu/dwconv/dwconv.h"
#include "kernels/cpu/dwconv/dwq_pack.h"
#include "kernels/cpu/eltwise/vf_name.h"

#define DW_INLINE static inline __attribute__((always_inline))

enum {
    DW_RUN = 16, /* outputs per run */
    DW_BUFFER = 32768,
    DW_COLUMN = DWQ_J * DWQ_PARTS * DWQ_CB /* bytes of one interleaved column of one group */
};

typedef struct {
    const DwconvU8 *d;
    const uint8_t *rows; /* the image */
    int32_t iy;          /* image row of filter row 0 */
    int32_t groups;
    const char *block;
    int32_t c, lanes;
} DwRun;

/* Image columns ix .. ix+n of all groups of rows. */
DW_INLINE void dw_columns(const DwRun *r, char *to, int32_t ix, int32_t n, int32_t groups) {
    const DwShape *s = &r->d->s;
    const dwq_b zp = dwq_set1((uint8_t)r->d->ux_zp), flip = dwq_set1(r->d->x_flip);
    for (int32_t g = 0; g < groups; g++) {
        const uint8_t *row[DWQ_GROUP];
        for (int32_t i = 0; i < DWQ_GROUP; i++) {
            const int32_t ky = g * DWQ_GROUP + i, py = r->iy + ky * s->dy;
            const bool inside = ky < s->kh && py >= 0 && py < s->h;
            row[i] = inside ? r->rows + (size_t)py * (size_t)s->w * s->x_ld + r->c : NULL;
        }
        for (int32_t j = 0; j < n; j++) {
            dwq_b v[DWQ_GROUP] = {zp, zp, zp, zp};
            const int32_t px = ix + j;
            if (px >= 0 && px < s->w) {
                const size_t at = (size_t)px * s->x_ld;
#pragma GCC unroll 4
                for (int i = 0; i < DWQ_GROUP; i++)
                    if (row[i])
                        v[i] = dwq_xor(flip,
                                       r->lanes == DWQ_CB ? dwq_load(row[i] + at) : dwq_loadn(row[i] + at, r->lanes));
            }
            dwq_interleave(to + (size_t)(j * groups + g) * DW_COLUMN, v);
        }
    }
}

/* nx outputs whose first column is col; K (columns), S, D, groups and nx are constants in the fast kernels. */
DW_INLINE void dw_tile(const DwRun *r, const char *col, uint8_t *y, int K, int S, int D, int groups, int nx) {
    const size_t vec = DWQ_CB; /* bytes of a vector */
    const char *w = r->block + 2 * DWQ_J * vec;
    dwq_i acc[DWQ_NX][DWQ_J];
#pragma GCC unroll 4
    for (int j = 0; j < DWQ_J; j++) {
#pragma GCC unroll 4
        for (int i = 0; i < nx; i++) acc[i][j] = dwq_load_i(r->block + (size_t)j * vec);
#pragma GCC unroll 2
        for (int g = 0; g < groups; g++)
#pragma GCC unroll 5
            for (int kx = 0; kx < K; kx++) {
                const char *wk = w + ((size_t)(g * K + kx) * DWQ_J * DWQ_PARTS + (size_t)j) * vec;
#pragma GCC unroll 4
                for (int i = 0; i < nx; i++) {
                    const size_t at = (size_t)((i * S + kx * D) * groups + g) * DW_COLUMN + (size_t)j * vec;
                    acc[i][j] = dwq_dot(acc[i][j], col + at, wk);
                }
            }
    }
#pragma GCC unroll 4
    for (int i = 0; i < nx; i++) {
        const dwq_b b = dwq_requant(acc[i], r->block + DWQ_J * vec, r->d);
        uint8_t *to = y + (size_t)i * r->d->s.y_ld;
        if (r->lanes == DWQ_CB)
            dwq_store(to, b);
        else
            dwq_storen(to, b, r->lanes);
    }
}

DW_INLINE void dw_run(const DwconvU8 *d, const uint8_t *x, uint8_t *y, int32_t oy, int32_t c0, int32_t c1, int K, int S,
                      int D, int groups) {
    char buffer[DW_BUFFER] __attribute__((aligned(64)));
    const int32_t span = (K - 1) * D + 1, fit = DW_BUFFER / (DW_COLUMN * groups);
    const int32_t most = (fit - span) / S + 1, run = most < DW_RUN ? most : DW_RUN;
    const size_t block_bytes = (size_t)(2 + groups * K * DWQ_PARTS) * DWQ_J * DWQ_CB;
    DwRun r = {.d = d, .rows = x, .iy = oy * d->s.sy - d->s.pad_top, .groups = groups};
    for (int32_t ox = 0; ox < d->s.ow; ox += run) {
        const int32_t n = d->s.ow - ox < run ? d->s.ow - ox : run;
        for (int32_t c = c0; c < c1; c += DWQ_CB) {
            r.c = c;
            r.lanes = c1 - c < DWQ_CB ? c1 - c : DWQ_CB;
            r.block = (const char *)d->packed + (size_t)(c / DWQ_CB) * block_bytes;
            dw_columns(&r, buffer, ox * S - d->s.pad_left, (n - 1) * S + span, groups);
            int32_t i = 0;
            const size_t step = (size_t)(S * groups) * DW_COLUMN;
            uint8_t *to = y + (size_t)ox * d->s.y_ld + c;
            for (; i + DWQ_NX <= n; i += DWQ_NX)
                dw_tile(&r, buffer + (size_t)i * step, to + (size_t)i * d->s.y_ld, K, S, D, groups, DWQ_NX);
            for (; i < n; i++) dw_tile(&r, buffer + (size_t)i * step, to + (size_t)i * d->s.y_ld, K, S, D, groups, 1);
        }
    }
}

#define DW_SMALL(name, K, S)                                                                                           \
    static void name(const DwconvU8 *d, const uint8_t *x, uint8_t *y, int32_t oy, int32_t c0, int32_t c1) {            \
        dw_run(d, x, y, oy, c0, c1, K, S, 1, (K + DWQ_GROUP - 1) / DWQ_GROUP);                                         \
    }
DW_SMALL(dw_k3s1, 3, 1)
DW_SMALL(dw_k3s2, 3, 2)
DW_SMALL(dw_k5s1, 5, 1)
DW_SMALL(dw_k5s2, 5, 2)

static void dw_any(const DwconvU8 *d, const uint8_t *x, uint8_t *y, int32_t oy, int32_t c0, int32_t c1) {
    dw_run(d, x, y, oy, c0, c1, d->s.kw, d->s.sx, d->s.dx, (d->s.kh + DWQ_GROUP - 1) / DWQ_GROUP);
}

const DwconvU8Ops VF_NAME(dwconv_u8) = {.block = DWQ_CB,
                                        .group = DWQ_GROUP,
                                        .parts = DWQ_PARTS,
                                        .max_columns = DW_BUFFER / DW_COLUMN,
                                        .cost = DWQ_COST,
                                        .small = {{dw_k3s1, dw_k3s2}, {dw_k5s1, dw_k5s2}},
                                        .any = dw_any};
