/* Scalar requantization of docs/numerics.md, for plain kernels and remainders. */
#ifndef PARE_KERNELS_CPU_ELTWISE_REQUANT_H
#define PARE_KERNELS_CPU_ELTWISE_REQUANT_H

#include <stdint.h>

/* Nearest even of |x| < 2^22, by pushing the fraction out of the mantissa. */
static inline int32_t requant_rne(float x) {
    const float pushed = x + 12582912.0f;
    return (int32_t)(pushed - 12582912.0f);
}

/* zp + rne(clamp(v, lo - zp, hi - zp)) */
static inline int32_t requant_clamp(float v, int32_t zp, int32_t lo, int32_t hi) {
    const float low = (float)(lo - zp), high = (float)(hi - zp);
    v = v < low ? low : v;
    v = v > high ? high : v;
    return zp + requant_rne(v);
}

static inline uint8_t requant_u8(int32_t acc, float mult, int32_t zp, int32_t lo, int32_t hi) {
    return (uint8_t)requant_clamp((float)acc * mult, zp, lo, hi);
}

#endif
