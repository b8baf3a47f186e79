/* Weights into panels: [group][panel][kp / kr][lanes][kr], columns and channels beyond the last are 0. */
#include "kernels/cpu/igemm/internal.h"

#include <string.h>

/* Where weight (o, tap, c) of the caller's array lies, in elements; o counts over all groups. */
typedef struct Strides {
    int64_t o, tap, c;
} Strides;

static Strides strides_of(const Igemm *op, IgemmLayout layout) {
    const int64_t taps = op->desc.kh * op->desc.kw;
    if (layout == IGEMM_OIHW) return (Strides){op->icg * taps, 1, taps};
    if (layout == IGEMM_KN) return (Strides){1, op->icg * op->desc.oc, op->desc.oc};
    return (Strides){op->icg * taps, op->icg, 1};
}

/* Position of (tap, c, lane) within a panel. */
static int64_t place(const Igemm *op, int64_t tap, int64_t c, int64_t lane) {
    const int64_t kw = op->desc.kw;
    const int64_t k = op->merged ? tap / kw * op->kc + tap % kw * op->icg + c : tap * op->kc + c;
    return (k / op->kr * op->lanes + lane) * op->kr + k % op->kr;
}

static void pack_panel_f32(const Igemm *op, const float *w, Strides s, int64_t lanes, float *to) {
    for (int64_t tap = 0; tap < op->desc.kh * op->desc.kw; tap++)
        for (int64_t c = 0; c < op->icg; c++)
            for (int64_t lane = 0; lane < lanes; lane++)
                to[place(op, tap, c, lane)] = w[lane * s.o + tap * s.tap + c * s.c];
}

/* Also sums each column; sums are modulo 2^32. */
static void pack_panel_q8(const Igemm *op, const int8_t *w, Strides s, int64_t lanes, void *to, uint32_t *sums) {
    for (int64_t tap = 0; tap < op->desc.kh * op->desc.kw; tap++) {
        for (int64_t c = 0; c < op->icg; c++) {
            for (int64_t lane = 0; lane < lanes; lane++) {
                int32_t value = w[lane * s.o + tap * s.tap + c * s.c];
                int64_t at = place(op, tap, c, lane);
                sums[lane] += (uint32_t)value;
                if (op->kr == 2)
                    ((int16_t *)to)[at] = (int16_t)value;
                else
                    ((int8_t *)to)[at] = (int8_t)value;
            }
        }
    }
}

static void pack_columns(const Igemm *op, const IgemmWeights *weights, int64_t group, int64_t panel, char *packed) {
    const Strides s = strides_of(op, weights->layout);
    const int64_t first = panel * op->lanes, o = group * op->ocg + first, index = group * op->panels + panel;
    const int64_t lanes = op->ocg - first < op->lanes ? op->ocg - first : op->lanes;
    char *to = packed + op->w_offset + (size_t)index * op->w_panel;
    if (op->desc.x_type == IGEMM_F32) {
        float *bias = (float *)(packed + op->bias_offset) + index * op->lanes;
        pack_panel_f32(op, (const float *)weights->w + o * s.o, s, lanes, (float *)to);
        if (weights->bias != NULL) memcpy(bias, (const float *)weights->bias + o, (size_t)lanes * sizeof *bias);
        return;
    }
    int32_t *bias = (int32_t *)(packed + op->bias_offset) + index * op->lanes;
    float *mult = (float *)(packed + op->mult_offset) + index * op->lanes;
    uint32_t sums[64] = {0};
    pack_panel_q8(op, (const int8_t *)weights->w + o * s.o, s, lanes, to, sums);
    for (int64_t lane = 0; lane < lanes; lane++) {
        uint32_t start = weights->bias != NULL ? (uint32_t)((const int32_t *)weights->bias)[o + lane] : 0;
        bias[lane] = (int32_t)(start - (uint32_t)igemm_seen_zero(&op->desc) * sums[lane]);
    }
    if (op->desc.y_type != IGEMM_S32) memcpy(mult, weights->multiplier + o, (size_t)lanes * sizeof *mult);
}

/* What taps in the padding read. */
static void pack_pad(const Igemm *op, char *to) {
    if (op->desc.x_type == IGEMM_F32) return;
    const uint8_t zero = igemm_seen_zero(&op->desc);
    for (int64_t i = 0; i < op->kc; i++) {
        if (op->kr == 2)
            ((int16_t *)(void *)to)[i] = zero;
        else
            to[i] = (char)zero;
    }
}

void igemm_pack(const Igemm *op, const IgemmWeights *weights, void *packed) {
    memset(packed, 0, op->pack_bytes);
    pack_pad(op, (char *)packed + op->pad_offset);
    for (int64_t group = 0; group < op->desc.groups; group++)
        for (int64_t panel = 0; panel < op->panels; panel++) pack_columns(op, weights, group, panel, packed);
}
