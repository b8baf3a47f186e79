#include "calib/metrics.h"

#include <math.h>

static const double Z95 = 1.959963984540054; /* 97.5 % quantile of the standard normal distribution */

int64_t metric_argmax(const float *x, int64_t n) {
    if (n <= 0) return -1;
    int64_t best = -1;
    for (int64_t i = 0; i < n; i++)
        if (!isnan(x[i]) && (best < 0 || x[i] > x[best])) best = i;
    return best < 0 ? 0 : best;
}

int64_t metric_argmax_tensor(const Tensor *t, int64_t first, int64_t n) {
    if (t->elem == ELEM_F32 && (uintptr_t)t->data % _Alignof(float) == 0)
        return metric_argmax((const float *)(const void *)t->data + first, n);
    if (n <= 0) return -1;
    int64_t best = -1;
    if (elem_is_int(t->elem)) {
        for (int64_t i = 0; i < n; i++)
            if (best < 0 || tensor_get_i64(t, first + i) > tensor_get_i64(t, first + best)) best = i;
        return best;
    }
    double top = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = tensor_get_f64(t, first + i);
        if (isnan(v) || (best >= 0 && v <= top)) continue;
        best = i;
        top = v;
    }
    return best < 0 ? 0 : best;
}

Interval metric_wilson(int64_t k, int64_t n) {
    if (n <= 0) return (Interval){0, 0, 1};
    double p = (double)k / (double)n, z2 = Z95 * Z95, m = (double)n;
    double center = p + z2 / (2 * m), half = Z95 * sqrt(p * (1 - p) / m + z2 / (4 * m * m)), scale = 1 + z2 / m;
    Interval i = {p, (center - half) / scale, (center + half) / scale};
    /* Exact at the ends, where rounding would leave 1e-17. */
    if (k == 0) i.lo = 0;
    if (k == n) i.hi = 1;
    return i;
}

/* Correlation of the two outcomes, with the continuity correction of method 10. */
static double pair_correlation(const PairedCounts *c, double n) {
    double e = (double)c->both, f = (double)c->only_a, g = (double)c->only_b, h = (double)c->neither;
    double margins = (e + f) * (g + h) * (e + g) * (f + h);
    if (margins <= 0) return 0;
    double cross = e * h - f * g;
    if (cross > n / 2)
        cross -= n / 2;
    else if (cross >= 0)
        cross = 0;
    return cross / sqrt(margins);
}

Interval metric_paired_difference(const PairedCounts *c) {
    int64_t n = c->both + c->only_a + c->only_b + c->neither;
    if (n <= 0) return (Interval){0, -1, 1};
    Interval a = metric_wilson(c->both + c->only_a, n), b = metric_wilson(c->both + c->only_b, n);
    double phi = pair_correlation(c, (double)n), difference = a.value - b.value;
    double down_a = a.value - a.lo, up_a = a.hi - a.value, down_b = b.value - b.lo, up_b = b.hi - b.value;
    double below = down_a * down_a - 2 * phi * down_a * up_b + up_b * up_b;
    double above = up_a * up_a - 2 * phi * up_a * down_b + down_b * down_b;
    return (Interval){difference, difference - sqrt(fmax(below, 0)), difference + sqrt(fmax(above, 0))};
}

Interval metric_agreement(const PairedCounts *c) { return metric_wilson(c->agree, c->samples); }

enum { LANES = 8 };
typedef struct LaneSums {
    double signal[LANES], noise[LANES], other[LANES], dot[LANES], max_abs[LANES];
} LaneSums;

static void lane_add(LaneSums *s, int lane, float ref, float x) {
    double r = (double)ref, v = (double)x, d = r - v;
    s->signal[lane] += r * r;
    s->noise[lane] += d * d;
    s->other[lane] += v * v;
    s->dot[lane] += r * v;
    d = fabs(d);
    s->max_abs[lane] = d > s->max_abs[lane] ? d : s->max_abs[lane];
}

static double lane_total(const double *lane) {
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

void error_add(ErrorSums *e, const float *ref, const float *x, int64_t n) {
    LaneSums s = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) lane_add(&s, j, ref[i + j], x[i + j]);
    for (; i < n; i++) lane_add(&s, (int)(i & (LANES - 1)), ref[i], x[i]);
    ErrorSums part = {lane_total(s.signal), lane_total(s.noise), lane_total(s.other), lane_total(s.dot), 0, n};
    for (int j = 0; j < LANES; j++) part.max_abs = fmax(part.max_abs, s.max_abs[j]);
    error_merge(e, &part);
}

void error_merge(ErrorSums *dst, const ErrorSums *src) {
    dst->signal += src->signal;
    dst->noise += src->noise;
    dst->other += src->other;
    dst->dot += src->dot;
    dst->max_abs = fmax(dst->max_abs, src->max_abs);
    dst->count += src->count;
}

Status error_add_tensors(ErrorSums *e, const Tensor *ref, const Tensor *x, const char *name) {
    bool same = ref->rank == x->rank;
    for (int i = 0; same && i < ref->rank; i++) same = ref->dims[i] == x->dims[i];
    if (!same) {
        char want[128], found[128];
        return status_make(STATUS_INVALID, "'%s': the two models differ in shape: reference %s, found %s", name,
                           tensor_describe(ref, want, sizeof want), tensor_describe(x, found, sizeof found));
    }
    enum { CHUNK = 4096 };
    int64_t n = tensor_count(ref);
    if (ref->elem == ELEM_F32 && x->elem == ELEM_F32 && ((uintptr_t)ref->data | (uintptr_t)x->data) % 4 == 0) {
        error_add(e, (const float *)(const void *)ref->data, (const float *)(const void *)x->data, n);
        return NULL;
    }
    float a[CHUNK], b[CHUNK];
    for (int64_t i = 0; i < n; i += CHUNK) {
        int64_t m = n - i < CHUNK ? n - i : CHUNK;
        for (int64_t j = 0; j < m; j++) {
            a[j] = (float)tensor_get_f64(ref, i + j);
            b[j] = (float)tensor_get_f64(x, i + j);
        }
        error_add(e, a, b, m);
    }
    return NULL;
}

double error_sqnr_db(const ErrorSums *e) {
    if (e->noise == 0) return INFINITY;
    return 10 * log10(e->signal / e->noise);
}

double error_cosine(const ErrorSums *e) {
    if (e->signal == 0 && e->other == 0) return 1;
    if (e->signal == 0 || e->other == 0) return 0;
    return e->dot / (sqrt(e->signal) * sqrt(e->other));
}
