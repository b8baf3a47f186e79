#include "calib/observer.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <string.h>

enum {
    MIN_EXPONENT = -100, /* so that 2^(12 - exponent) is a normal float */
    SIDE_BITS = 12,      /* log2(OBSERVER_BINS) */
    ZERO_SLOTS = 8,      /* zeros come in runs: counting them in turn avoids waiting for the last store */
    BLOCK = 512
};
_Static_assert(OBSERVER_BINS == 1 << SIDE_BITS, "bins are a power of two");

FixedSum fixed_from(double v) {
    if (!(v == v)) return 0;
    double limit = 0x1p54;
    if (v > limit) v = limit;
    if (v < -limit) v = -limit;
    return (FixedSum)rint(v * 0x1p56);
}

double fixed_to_double(FixedSum s) { return (double)s * 0x1p-56; }

static FixedSum fixed_add(FixedSum a, FixedSum b) {
    FixedSum sum;
    if (!__builtin_add_overflow(a, b, &sum)) return sum;
    FixedSum top = (FixedSum)(~(unsigned __int128)0 >> 1);
    return a > 0 ? top : -top;
}

Status observer_new(int64_t channels, Observer **out) {
    *out = NULL;
    Observer *o = mem_zalloc(sizeof *o);
    if (!o) return status_oom();
    o->min = INFINITY;
    o->max = -INFINITY;
    o->exponent = INT_MIN;
    o->channels = channels;
    o->positive = mem_zalloc(sizeof(uint64_t) * (2 * OBSERVER_BINS + ZERO_SLOTS));
    size_t bytes = 0;
    bool fits = size_mul((size_t)channels, sizeof(ObserverChannel), &bytes);
    if (fits && channels > 0) {
        o->channel = mem_alloc(bytes);
        o->scratch = mem_alloc((size_t)channels * sizeof(double));
    }
    if (!fits || !o->positive || (channels > 0 && (!o->channel || !o->scratch))) {
        observer_free(o);
        return status_oom();
    }
    o->negative = o->positive + OBSERVER_BINS;
    for (int64_t c = 0; c < channels; c++) o->channel[c] = (ObserverChannel){.min = INFINITY, .max = -INFINITY};
    *out = o;
    return NULL;
}

void observer_free(Observer *o) {
    if (!o) return;
    mem_free(o->positive);
    mem_free(o->channel);
    mem_free(o->scratch);
    mem_free(o);
}

double observer_bin_width(const Observer *o) { return o->exponent == INT_MIN ? 0 : ldexp(1, o->exponent - SIDE_BITS); }

double observer_channel_mean(const Observer *o, int64_t c) {
    return o->per_channel ? fixed_to_double(o->channel[c].sum) / (double)o->per_channel : 0;
}

/* Adds groups of 2^shift neighbours together. */
static void coarsen(uint64_t *bins, int shift) {
    for (int i = 1; i < OBSERVER_BINS; i++) {
        int to = shift > SIDE_BITS ? 0 : i >> shift;
        if (to == i) continue;
        bins[to] += bins[i];
        bins[i] = 0;
    }
}

static void grow_to(Observer *o, int exponent) {
    if (o->exponent == INT_MIN) o->exponent = exponent;
    if (exponent <= o->exponent) return;
    coarsen(o->positive, exponent - o->exponent);
    coarsen(o->negative, exponent - o->exponent);
    o->exponent = exponent;
}

/* What one call's elements have in common. */
typedef struct Extent {
    float min, max;
    int64_t bad; /* NaN and Inf */
} Extent;

/* The hot loops work on blocks of fixed size and on the bits of floats as integers: so compilers vectorize them for the
 * baseline instruction set, whose float comparisons could trap. */
typedef union Block {
    float f[BLOCK];
    int32_t bits[BLOCK];
} Block;

/* `m` elements, filled up with the first one. */
static void load_block(Block *b, const float *x, int m) {
    memcpy(b->f, x, (size_t)m * sizeof(float));
    for (int i = m; i < BLOCK; i++) b->f[i] = x[0];
}

/* Integers that compare as the floats do, and back. */
static inline int32_t ordered(int32_t bits) { return bits ^ (-(bits < 0) & INT32_MAX); }

static float from_ordered(int32_t key) {
    union {
        int32_t bits;
        float f;
    } u = {.bits = ordered(key)};
    return u.f;
}

enum { INF_BITS = 0x7f800000, LANES = 8 };

static void block_extent(const Block *b, int32_t *low, int32_t *high, int32_t *bad) {
    for (int i = 0; i < BLOCK; i += LANES)
        for (int j = 0; j < LANES; j++) {
            int32_t bits = b->bits[i + j], key = ordered(bits);
            int32_t off = -((bits & INT32_MAX) >= INF_BITS); /* all ones for NaN and Inf */
            int32_t key_low = (key & ~off) | (off & INT32_MAX), key_high = (key & ~off) | (off & INT32_MIN);
            low[j] = key_low < low[j] ? key_low : low[j];
            high[j] = key_high > high[j] ? key_high : high[j];
            bad[j] -= off;
        }
}

static Extent extent_of(const float *x, int64_t n) {
    int32_t low[LANES], high[LANES];
    Extent e = {INFINITY, -INFINITY, 0};
    for (int j = 0; j < LANES; j++) {
        low[j] = INT32_MAX;
        high[j] = INT32_MIN;
    }
    for (int64_t start = 0; start < n; start += BLOCK) {
        Block b;
        int32_t bad[LANES] = {0};
        int m = n - start < BLOCK ? (int)(n - start) : BLOCK;
        load_block(&b, x + start, m);
        block_extent(&b, low, high, bad);
        for (int j = 0; j < LANES; j++) e.bad += bad[j];
        if (!isfinite(x[start])) e.bad -= BLOCK - m; /* what filled the block up */
    }
    for (int j = 0; j < LANES; j++) {
        if (low[j] != INT32_MAX) e.min = fminf(e.min, from_ordered(low[j]));
        if (high[j] != INT32_MIN) e.max = fmaxf(e.max, from_ordered(high[j]));
    }
    e.min += 0.0f; /* -0 becomes 0: which of the two comes first must not matter */
    e.max += 0.0f;
    return e;
}

/* Bins of a block's elements, every |x| < 2^exponent. Scaling by a power of two is exact, and where it would underflow
 * the bin is 0 anyway, so truncation puts a value where later doublings would. */
static void block_bins(const Block *b, float scale, int32_t *index) {
    for (int i = 0; i < BLOCK; i++) {
        int32_t bits = b->bits[i], zero = -((bits & INT32_MAX) == 0);
        int32_t bin = (int32_t)(fabsf(b->f[i]) * scale) + (-(bits < 0) & OBSERVER_BINS);
        index[i] = (bin & ~zero) | ((2 * OBSERVER_BINS + (i & (ZERO_SLOTS - 1))) & zero);
    }
}

static void count_bins(Observer *o, const float *x, int64_t n) {
    uint64_t *bins = o->positive, *zeros = bins + 2 * OBSERVER_BINS;
    float scale = ldexpf(1, SIDE_BITS - (o->exponent == INT_MIN ? 0 : o->exponent));
    for (int64_t start = 0; start < n; start += BLOCK) {
        Block b;
        int32_t index[BLOCK];
        int m = n - start < BLOCK ? (int)(n - start) : BLOCK;
        load_block(&b, x + start, m);
        block_bins(&b, scale, index);
        for (int i = 0; i < m; i++) bins[index[i]]++;
    }
    for (int i = 0; i < ZERO_SLOTS; i++) {
        o->zeros += (int64_t)zeros[i];
        zeros[i] = 0;
    }
}

/* Sum of one channel's run in fixed lanes. */
static double sum_run(const float *x, int64_t n, float *min, float *max) {
    double lane[LANES] = {0};
    float low[LANES], high[LANES];
    for (int j = 0; j < LANES; j++) {
        low[j] = *min;
        high[j] = *max;
    }
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float v = x[i + j];
            lane[j] += (double)v;
            low[j] = v < low[j] ? v : low[j];
            high[j] = v > high[j] ? v : high[j];
        }
    for (int j = 0; i < n; i++, j++) {
        lane[j] += (double)x[i];
        low[j] = x[i] < low[j] ? x[i] : low[j];
        high[j] = x[i] > high[j] ? x[i] : high[j];
    }
    for (int j = 0; j < LANES; j++) {
        *min = low[j] < *min ? low[j] : *min;
        *max = high[j] > *max ? high[j] : *max;
    }
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

static void add_channels(Observer *o, const float *x, int64_t outer, int64_t inner) {
    int64_t channels = o->channels;
    memset(o->scratch, 0, (size_t)channels * sizeof(double));
    for (int64_t n = 0; n < outer; n++)
        for (int64_t c = 0; c < channels; c++) {
            ObserverChannel *ch = &o->channel[c];
            const float *run = x + (n * channels + c) * inner;
            o->scratch[c] += sum_run(run, inner, &ch->min, &ch->max);
        }
    for (int64_t c = 0; c < channels; c++) o->channel[c].sum = fixed_add(o->channel[c].sum, fixed_from(o->scratch[c]));
    o->per_channel += outer * inner;
}

/* Elements to add, all finite, with their extremes known. */
static void add_finite(Observer *o, const float *x, int64_t n, Extent e) {
    if (n == 0) return;
    float largest = fmaxf(fabsf(e.min), fabsf(e.max));
    if (largest > 0) {
        int exponent;
        (void)frexpf(largest, &exponent);
        grow_to(o, exponent < MIN_EXPONENT ? MIN_EXPONENT : exponent);
    }
    count_bins(o, x, n);
    o->count += n;
    o->min = fminf(o->min, e.min);
    o->max = fmaxf(o->max, e.max);
}

Status observer_add(Observer *o, const float *x, int64_t outer, int64_t channels, int64_t inner) {
    assert(o->channels == 0 || o->channels == channels);
    int64_t n = outer * channels * inner;
    if (n == 0) return NULL;
    Extent e = extent_of(x, n);
    float *clean = NULL;
    if (e.bad) {
        /* Range choosers refuse such an observer; the rest of its statistics still tells where the values were. */
        TRY_ALLOC(clean = mem_alloc((size_t)n * sizeof(float)));
        for (int64_t i = 0; i < n; i++) clean[i] = isfinite(x[i]) ? x[i] : 0;
        int64_t kept = 0;
        if (o->channels) add_channels(o, clean, outer, inner);
        for (int64_t i = 0; i < n; i++)
            if (isfinite(x[i])) clean[kept++] = x[i];
        o->non_finite += e.bad;
        x = clean;
        n = kept;
    } else if (o->channels) {
        add_channels(o, x, outer, inner);
    }
    if (n > 0) {
        add_finite(o, x, n, e);
        o->sum_min = fixed_add(o->sum_min, fixed_from((double)e.min));
        o->sum_max = fixed_add(o->sum_max, fixed_from((double)e.max));
        o->calls++;
    }
    mem_free(clean);
    return NULL;
}

static int64_t product(const int64_t *dims, int from, int to) {
    int64_t p = 1;
    for (int i = from; i < to; i++) p *= dims[i];
    return p;
}

Status observer_add_tensor(Observer *o, const Tensor *t, int axis, bool nhwc) {
    int64_t outer = 1, channels = 1, inner = tensor_count(t);
    if (o->channels) {
        if (axis < 0 || axis >= t->rank || t->dims[axis] != o->channels) {
            char text[128];
            return status_make(STATUS_INVALID, "observed tensor %s: expected %lld channels on axis %d",
                               tensor_describe(t, text, sizeof text), (long long)o->channels, axis);
        }
        /* Dims in the order of the bytes: channels-last keeps axis 0, then 2 …, then 1. */
        int64_t dims[MAX_RANK];
        int at = axis;
        memcpy(dims, t->dims, sizeof dims);
        if (nhwc && t->rank > 2) {
            for (int i = 1; i + 1 < t->rank; i++) dims[i] = t->dims[i + 1];
            dims[t->rank - 1] = t->dims[1];
            at = axis == 0 ? 0 : axis == 1 ? t->rank - 1 : axis - 1;
        }
        outer = product(dims, 0, at);
        channels = dims[at];
        inner = product(dims, at + 1, t->rank);
    }
    if (t->elem == ELEM_F32 && (uintptr_t)t->data % _Alignof(float) == 0)
        return observer_add(o, (const float *)(const void *)t->data, outer, channels, inner);
    float *x = mem_alloc((size_t)tensor_count(t) * sizeof(float));
    if (!x) return status_oom();
    tensor_to_f32(t, x);
    Status status = observer_add(o, x, outer, channels, inner);
    mem_free(x);
    return status;
}

Status observer_merge(Observer *dst, const Observer *src) {
    assert(dst->channels == src->channels);
    dst->non_finite += src->non_finite;
    if (src->exponent != INT_MIN) {
        grow_to(dst, src->exponent);
        int shift = dst->exponent - src->exponent;
        for (int i = 0; i < OBSERVER_BINS; i++) {
            int to = shift > SIDE_BITS ? 0 : i >> shift;
            dst->positive[to] += src->positive[i];
            dst->negative[to] += src->negative[i];
        }
    }
    dst->count += src->count;
    dst->zeros += src->zeros;
    dst->calls += src->calls;
    dst->min = fminf(dst->min, src->min);
    dst->max = fmaxf(dst->max, src->max);
    dst->sum_min = fixed_add(dst->sum_min, src->sum_min);
    dst->sum_max = fixed_add(dst->sum_max, src->sum_max);
    dst->per_channel += src->per_channel;
    for (int64_t c = 0; c < dst->channels; c++) {
        ObserverChannel *d = &dst->channel[c];
        const ObserverChannel *s = &src->channel[c];
        d->sum = fixed_add(d->sum, s->sum);
        d->min = fminf(d->min, s->min);
        d->max = fmaxf(d->max, s->max);
    }
    return NULL;
}
