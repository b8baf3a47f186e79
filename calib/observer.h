/* Observers: what calibration remembers of a value, in constant memory.
 *
 * The histogram has OBSERVER_BINS bins on each side of zero over [0, 2^exponent). When a value does not fit, the range
 * doubles and neighbours are added together, which is exact: the result depends only on the values, not on their order
 * or on how threads shared them. Means are sums in fixed point (128 bits, unit 2^-56) for the same reason.
 * Thread-safety: an observer belongs to one thread; merge afterwards. */
#ifndef PARE_CALIB_OBSERVER_H
#define PARE_CALIB_OBSERVER_H

#include "ir/status.h"
#include "ir/tensor.h"

enum { OBSERVER_BINS = 4096 }; /* on each side; at least half of them are used on the side of the largest magnitude */

/* A sum that does not depend on the order: each double is rounded once to a multiple of 2^-56 and clamped to +-2^54. */
typedef __int128 FixedSum;
FixedSum fixed_from(double v); /* NaN gives 0 */
double fixed_to_double(FixedSum s);

typedef struct ObserverChannel {
    FixedSum sum; /* over all elements of the channel */
    float min, max;
} ObserverChannel;

typedef struct Observer {
    int64_t count;             /* finite elements */
    int64_t zeros;             /* of those, equal to 0: they take no bin */
    int64_t non_finite;        /* NaN and Inf: counted, otherwise ignored */
    int64_t calls;             /* tensors observed */
    float min, max;            /* of the finite elements; +Inf, -Inf when there are none */
    FixedSum sum_min, sum_max; /* of each call's min and max: their means are the averaged range */
    int exponent;              /* bins cover magnitudes below 2^exponent; INT_MIN before the first non-zero value */
    uint64_t *negative;        /* OBSERVER_BINS counts: bin i holds -x in [i, i+1) * 2^exponent / OBSERVER_BINS */
    uint64_t *positive;
    int64_t channels;    /* 0 = no per-channel statistics */
    int64_t per_channel; /* elements seen of each channel */
    ObserverChannel *channel;
    double *scratch; /* one call's sums by channel */
} Observer;

/* `channels` per-channel statistics (0: none). */
PARE_NODISCARD Status observer_new(int64_t channels, Observer **out);
void observer_free(Observer *o); /* NULL is allowed */
/* Adds x[outer][channels][inner] (row-major). NCHW is (N, C, H*W), NHWC is (N*H*W, C, 1); an observer without channels
 * takes (1, 1, n). The number of channels is an invariant of the caller. */
PARE_NODISCARD Status observer_add(Observer *o, const float *x, int64_t outer, int64_t channels, int64_t inner);
/* Adds any numeric tensor; `axis` is the channel's axis of the logical dims (ignored without channels), `nhwc` says
 * that the bytes lie channels-last. STATUS_INVALID when the axis has another size than the observer's channels. */
PARE_NODISCARD Status observer_add_tensor(Observer *o, const Tensor *t, int axis, bool nhwc);
/* dst becomes what it were had it seen src's values too. Both have the same number of channels. */
PARE_NODISCARD Status observer_merge(Observer *dst, const Observer *src);
/* Mean of a channel's elements; 0 when there are none. */
double observer_channel_mean(const Observer *o, int64_t c);
double observer_bin_width(const Observer *o); /* 0 before the first non-zero value */

#endif
