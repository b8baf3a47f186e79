/* Integer depthwise convolution in plain C: the general row, which serves every shape. */
#include "kernels/cpu/dwconv/dwconv.h"
#include "kernels/cpu/eltwise/requant.h"

enum { DW_BLOCK = 32 };

/* Packed: per block int32 bias[32], float mult[32], then int8 w[tap][32]. */
static void dw_pixel(const DwconvU8 *d, const uint8_t *x, uint8_t *y, int32_t iy, int32_t ix, int32_t c,
                     int32_t lanes) {
    const DwShape *s = &d->s;
    const size_t taps = (size_t)s->kh * (size_t)s->kw;
    const char *block = (const char *)d->packed + (size_t)(c / DW_BLOCK) * DW_BLOCK * (8 + taps);
    const int32_t *bias = (const int32_t *)(const void *)block;
    const float *mult = (const float *)(const void *)(block + 4 * DW_BLOCK);
    const int8_t *w = (const int8_t *)(block + 8 * DW_BLOCK);
    const uint8_t flip = d->x_flip;
    uint32_t acc[DW_BLOCK]; /* sums are taken modulo 2^32 */
    for (int i = 0; i < DW_BLOCK; i++) acc[i] = (uint32_t)bias[i];
    for (int32_t ky = 0; ky < s->kh; ky++)
        for (int32_t kx = 0; kx < s->kw; kx++, w += DW_BLOCK) {
            const int32_t py = iy + ky * s->dy, px = ix + kx * s->dx;
            if (py < 0 || py >= s->h || px < 0 || px >= s->w) {
                for (int i = 0; i < DW_BLOCK; i++) acc[i] += (uint32_t)(d->ux_zp * w[i]);
                continue;
            }
            const uint8_t *p = x + ((size_t)py * (size_t)s->w + (size_t)px) * s->x_ld + c;
            if (lanes == DW_BLOCK)
                for (int i = 0; i < DW_BLOCK; i++) {
                    const int32_t product = (int16_t)((p[i] ^ flip) * w[i]); /* fits: 255 * 128 < 2^15 */
                    acc[i] += (uint32_t)product;
                }
            else
                for (int i = 0; i < lanes; i++) acc[i] += (uint32_t)((p[i] ^ flip) * w[i]);
        }
    for (int i = 0; i < lanes; i++) y[i] = requant_u8((int32_t)acc[i], mult[i], d->uy_zp, d->ulo, d->uhi) ^ d->y_flip;
}

static void dw_any(const DwconvU8 *d, const uint8_t *x, uint8_t *y, int32_t oy, int32_t c0, int32_t c1) {
    for (int32_t ox = 0; ox < d->s.ow; ox++)
        for (int32_t c = c0; c < c1; c += DW_BLOCK)
            dw_pixel(d, x, y + (size_t)ox * d->s.y_ld + c, oy * d->s.sy - d->s.pad_top, ox * d->s.sx - d->s.pad_left, c,
                     c1 - c < DW_BLOCK ? c1 - c : DW_BLOCK);
}

const DwconvU8Ops dwconv_u8_plain = {
    .block = DW_BLOCK, .group = 1, .cost = 170, .small = {{dw_any, dw_any}, {dw_any, dw_any}}, .any = dw_any};
