/* Weights into panels: [group][panel][kp / kr][lanes][kr], columns and channels beyond the last are 0. */
#include "kernels/cpu/igemm/internal.h"

#include <string.h>

enum { MOST_LANES = 64 };

/* Where weight (o, tap, c) of the caller's array lies, in elements; o counts over all groups. */
typedef struct Strides {
    int64_t o, tap, c;
} Strides;

static Strides strides_of(const Igemm *op, const IgemmWeights *weights) {
    const int64_t taps = op->desc.kh * op->desc.kw;
    if (weights->layout == IGEMM_OIHW) return (Strides){op->icg * taps, 1, taps};
    const int64_t ld = weights->ld;
    if (weights->layout == IGEMM_KN) return (Strides){1, op->icg * (ld ? ld : op->desc.oc), ld ? ld : op->desc.oc};
    return (Strides){ld ? ld : op->icg * taps, op->icg, 1};
}

/* Position of the first channel of a tap in a column. */
static int64_t tap_start(const Igemm *op, int64_t tap) {
    const int64_t kw = op->desc.kw;
    return op->merged ? tap / kw * op->kc + tap % kw * op->icg : tap * op->kc;
}

/* Channels of one tap, from position k of the columns: to[k / kr][lane][k % kr]. */
#define PACK_TAP(name, From, To, kr, flip, count)                                                                      \
    static void name(const From *w, Strides s, int64_t channels, int64_t k, int64_t lanes, int64_t all_lanes, To *to,  \
                     int64_t *sums) {                                                                                  \
        for (int64_t c = 0; c < channels; c++, k++, w += s.c) {                                                        \
            To *column = to + k / (kr) * (kr)*all_lanes + k % (kr);                                                    \
            for (int64_t lane = 0; lane < lanes; lane++) {                                                             \
                const To value = (To)(flip(w[lane * s.o]));                                                            \
                column[lane * (kr)] = value;                                                                           \
                count(sums, lane, value);                                                                              \
            }                                                                                                          \
        }                                                                                                              \
    }
#define AS_IT_IS(x)            (x)
#define LESS_128(x)            ((x)-128)
#define NO_SUM(sums, lane, x)  (void)(sums)
#define ADD_SUM(sums, lane, x) (sums)[lane] += (x)
PACK_TAP(pack_f32, float, float, 1, AS_IT_IS, NO_SUM)
PACK_TAP(pack_s8_1, int8_t, int8_t, 1, AS_IT_IS, ADD_SUM)
PACK_TAP(pack_s8_2, int8_t, int16_t, 2, AS_IT_IS, ADD_SUM)
PACK_TAP(pack_s8_4, int8_t, int8_t, 4, AS_IT_IS, ADD_SUM)
PACK_TAP(pack_u8_1, uint8_t, int8_t, 1, LESS_128, ADD_SUM)
PACK_TAP(pack_u8_2, uint8_t, int16_t, 2, LESS_128, ADD_SUM)
PACK_TAP(pack_u8_4, uint8_t, int8_t, 4, LESS_128, ADD_SUM)

static void pack_tap(const Igemm *op, const char *w, Strides s, int64_t k, int64_t lanes, void *to, int64_t *sums) {
    const int64_t n = op->icg, all = op->lanes;
    const bool u8 = op->desc.w_type == IGEMM_U8;
    const void *from = w;
    if (op->desc.x_type == IGEMM_F32)
        pack_f32(from, s, n, k, lanes, all, to, sums);
    else if (op->kr == 1 && u8)
        pack_u8_1(from, s, n, k, lanes, all, to, sums);
    else if (op->kr == 2 && u8)
        pack_u8_2(from, s, n, k, lanes, all, to, sums);
    else if (u8)
        pack_u8_4(from, s, n, k, lanes, all, to, sums);
    else if (op->kr == 1)
        pack_s8_1(from, s, n, k, lanes, all, to, sums);
    else if (op->kr == 2)
        pack_s8_2(from, s, n, k, lanes, all, to, sums);
    else
        pack_s8_4(from, s, n, k, lanes, all, to, sums);
}

void igemm_pack_panel(const Igemm *op, const IgemmWeights *weights, void *packed, int64_t index) {
    const IgemmDesc *d = &op->desc;
    const Strides s = strides_of(op, weights);
    const int64_t group = index / op->panels, first = index % op->panels * op->lanes, o = group * op->ocg + first;
    const int64_t lanes = op->ocg - first < op->lanes ? op->ocg - first : op->lanes;
    char *to = (char *)packed + op->w_offset + (size_t)index * op->w_panel;
    const char *w = (const char *)weights->w + o * s.o * (d->x_type == IGEMM_F32 ? 4 : 1);
    int32_t *bias = (int32_t *)(void *)((char *)packed + op->bias_offset) + index * op->lanes;
    int64_t sums[MOST_LANES] = {0};
    if (lanes < op->lanes || op->kp != d->kh * d->kw * op->icg) memset(to, 0, op->w_panel);
    memset(bias, 0, (size_t)op->lanes * 4);
    if (weights->bias != NULL) memcpy(bias, (const char *)weights->bias + o * 4, (size_t)lanes * 4);
    for (int64_t tap = 0; tap < d->kh * d->kw; tap++)
        pack_tap(op, w + tap * s.tap * (d->x_type == IGEMM_F32 ? 4 : 1), s, tap_start(op, tap), lanes, to, sums);
    if (d->x_type == IGEMM_F32) return;
    const uint32_t x_zero = igemm_seen_zero(d), both = x_zero * (uint32_t)igemm_seen_w_zero(d);
    const uint32_t terms = (uint32_t)(d->kh * d->kw * op->icg);
    for (int64_t lane = 0; lane < lanes; lane++)
        bias[lane] = (int32_t)((uint32_t)bias[lane] - x_zero * (uint32_t)sums[lane] + terms * both);
    float *mult = (float *)(void *)((char *)packed + op->mult_offset) + index * op->lanes;
    memset(mult, 0, (size_t)op->lanes * sizeof *mult);
    if (d->y_type != IGEMM_S32) memcpy(mult, weights->multiplier + o, (size_t)lanes * sizeof *mult);
}

/* What taps in the padding read; and the gaps between the parts. */
void igemm_pack_pad(const Igemm *op, void *packed) {
    char *pad = (char *)packed + op->pad_offset;
    memset(packed, 0, op->w_offset);
    if (op->desc.x_type == IGEMM_F32) return;
    const uint8_t zero = igemm_seen_zero(&op->desc);
    for (int64_t i = 0; i < op->kc; i++) {
        if (op->kr == 2)
            ((int16_t *)(void *)pad)[i] = zero;
        else
            pad[i] = (char)zero;
    }
}

typedef struct Packing {
    const Igemm *op;
    const IgemmWeights *weights;
    void *packed;
} Packing;

static void pack_panels(void *arg, int64_t begin, int64_t end, int thread_id) {
    (void)thread_id;
    const Packing *p = arg;
    for (int64_t i = begin; i < end; i++) igemm_pack_panel(p->op, p->weights, p->packed, i);
}

void igemm_pack_with(const Igemm *op, const IgemmWeights *weights, void *packed, Team *team) {
    Packing packing = {.op = op, .weights = weights, .packed = packed};
    igemm_pack_pad(op, packed);
    team_run(team, pack_panels, &packing, op->desc.groups * op->panels, 1);
}

void igemm_pack(const Igemm *op, const IgemmWeights *weights, void *packed) {
    igemm_pack_with(op, weights, packed, NULL);
}
