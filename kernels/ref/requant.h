/* The requantization of docs/numerics.md, in one place for every integer op's reference. */
#ifndef PARE_KERNELS_REF_REQUANT_H
#define PARE_KERNELS_REF_REQUANT_H

#include <math.h>
#include <stdint.h>

/* The int32 accumulator that an exact sum becomes: it wraps as 32-bit adds do, in any order. */
static inline int32_t requant_acc(double sum) { return (int32_t)(uint32_t)(uint64_t)(int64_t)sum; }

/* The quantized value of v, in units of y without its zero point: clamped in float to [lo - zp, hi - zp], rounded to
 * nearest even, zero point added as an integer. NaN gives lo. */
static inline int32_t requant_round(float v, int32_t zp, int32_t lo, int32_t hi) {
    float low = (float)(lo - zp), high = (float)(hi - zp);
    v = v > low ? v : low;
    v = v < high ? v : high;
    return zp + (int32_t)rintf(v);
}

/* y = zp + rne(clamp((float)acc * m)): one multiply, no fused add. */
static inline int32_t requantize(int32_t acc, float m, int32_t zp, int32_t lo, int32_t hi) {
    return requant_round((float)acc * m, zp, lo, hi);
}

/* The stored multiplier of scales s_x * s_w / s_y. */
static inline float requant_multiplier(double s_x, double s_w, double s_y) { return (float)(s_x * s_w / s_y); }

#endif
