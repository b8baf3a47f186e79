#include "calib/range.h"

#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

static const struct {
    const char *name;
    Calibrator value;
} CALIBRATORS[] = {{"minmax", CALIBRATOR_MINMAX},
                   {"average", CALIBRATOR_AVERAGE},
                   {"percentile", CALIBRATOR_PERCENTILE},
                   {"mse", CALIBRATOR_MSE},
                   {"entropy", CALIBRATOR_ENTROPY}};
enum { N_CALIBRATORS = sizeof CALIBRATORS / sizeof *CALIBRATORS };

Status calibrator_parse(const char *name, Calibrator *out) {
    for (int i = 0; i < N_CALIBRATORS; i++)
        if (strcmp(name, CALIBRATORS[i].name) == 0) {
            *out = CALIBRATORS[i].value;
            return NULL;
        }
    return status_make(STATUS_USAGE, "unknown calibrator '%s': expected minmax, average, percentile, mse or entropy",
                       name);
}

const char *calibrator_name(Calibrator c) {
    for (int i = 0; i < N_CALIBRATORS; i++)
        if (CALIBRATORS[i].value == c) return CALIBRATORS[i].name;
    return "?";
}

void quant_limits(const QuantSpec *s, int32_t *qmin, int32_t *qmax) {
    int bits = elem_bits(s->elem) - (s->reduce_range ? 1 : 0);
    int32_t span = (int32_t)(1u << bits) - 1;
    bool is_signed = elem_is_signed(s->elem);
    *qmin = is_signed ? -(span / 2) - (s->symmetric ? 0 : 1) : 0;
    *qmax = is_signed ? span / 2 : span;
}

static bool valid_range(float lo, float hi) { return isfinite(lo) && isfinite(hi) && lo <= hi; }

/* The grid for a range that is known to be valid. */
static QuantParams params_of(double lo, double hi, const QuantSpec *s) {
    QuantParams p = {.scale = 1};
    quant_limits(s, &p.qmin, &p.qmax);
    lo = fmin(lo, 0);
    hi = fmax(hi, 0);
    double scale;
    if (s->symmetric) {
        p.zero_point = elem_is_signed(s->elem) ? 0 : (p.qmax + 1) / 2;
        scale = fmax(-lo, hi) / (double)(p.qmax - p.zero_point);
    } else {
        scale = (hi - lo) / (double)(p.qmax - p.qmin);
    }
    if (scale > 0) p.scale = (float)fmax(scale, (double)FLT_MIN);
    if (!s->symmetric) {
        /* From the stored scale, so that both ends lie where the integer arithmetic will put them. */
        double zero = rint((double)p.qmin - lo / (double)p.scale);
        p.zero_point = (int32_t)fmin(fmax(zero, (double)p.qmin), (double)p.qmax);
    }
    return p;
}

Status range_params(float lo, float hi, const QuantSpec *s, QuantParams *out) {
    if (!valid_range(lo, hi))
        return status_make(STATUS_INVALID, "no quantization range: [%g, %g] is not finite and ordered", (double)lo,
                           (double)hi);
    *out = params_of((double)lo, (double)hi, s);
    return NULL;
}

float quant_round_trip(float x, const QuantParams *p) {
    float q = rintf(x / p->scale) + (float)p->zero_point;
    q = q < (float)p->qmin ? (float)p->qmin : q;
    q = q > (float)p->qmax ? (float)p->qmax : q;
    return (q - (float)p->zero_point) * p->scale;
}

/* The histogram as cells in ascending order, values spread evenly inside each; zeros are not in it. */
typedef struct Cell {
    double lo, hi, n;
} Cell;
typedef struct Cells {
    int count;
    double min, max; /* of the observer */
    double total;    /* of n */
    Cell cell[2 * OBSERVER_BINS];
} Cells;

static void push_cell(Cells *c, double lo, double hi, uint64_t n) {
    if (n == 0) return;
    /* Nothing lies outside the observed extremes. */
    lo = fmax(lo, c->min);
    hi = fmin(hi, c->max);
    c->cell[c->count++] = (Cell){lo, fmax(lo, hi), (double)n};
    c->total += (double)n;
}

static void cells_fill(const Observer *o, Cells *c) {
    double width = observer_bin_width(o);
    c->count = 0;
    c->total = 0;
    c->min = (double)o->min;
    c->max = (double)o->max;
    for (int i = OBSERVER_BINS - 1; i >= 0; i--) push_cell(c, -(i + 1) * width, -i * width, o->negative[i]);
    for (int i = 0; i < OBSERVER_BINS; i++) push_cell(c, i * width, (i + 1) * width, o->positive[i]);
}

/* Integral from 0 to u of (v - rint(v))^2. */
static double sawtooth(double u) {
    double r = rint(u), d = u - r;
    return r * (1.0 / 12) + d * d * d * (1.0 / 3);
}

/* Integral from 0 to u of the squared quantization error, everything in units of the scale; the grid ends at a <= u <=
 * b. */
static double error_integral(double u, double a, double b) {
    if (u > b) return sawtooth(b) + (u - b) * (u - b) * (u - b) * (1.0 / 3);
    if (u < a) return sawtooth(a) + (u - a) * (u - a) * (u - a) * (1.0 / 3);
    return sawtooth(u);
}

/* Sum over the cells of n * mean squared error. */
static double cells_error(const Cells *c, const QuantParams *p) {
    double inverse = 1 / (double)p->scale, a = p->qmin - p->zero_point, b = p->qmax - p->zero_point, sum = 0;
    double last_u = NAN, last = 0;
    for (int i = 0; i < c->count; i++) {
        double u = c->cell[i].lo * inverse, v = c->cell[i].hi * inverse;
        if (v - u < 1e-6) {
            /* All values (nearly) alike: the error at the point. */
            double q = fmin(fmax(rint(u), a), b) - u;
            sum += c->cell[i].n * q * q;
            continue;
        }
        double start = u == last_u ? last : error_integral(u, a, b), end = error_integral(v, a, b);
        sum += c->cell[i].n * (end - start) / (v - u);
        last_u = v;
        last = end;
    }
    return sum * (double)p->scale * (double)p->scale;
}

double range_mse(const Observer *o, const QuantParams *p) {
    if (o->count == 0) return 0;
    Cells *c = mem_alloc(sizeof *c);
    if (!c) return NAN;
    cells_fill(o, c);
    double mse = cells_error(c, p) / (double)o->count;
    mem_free(c);
    return mse;
}

typedef struct Range {
    double lo, hi;
} Range;

static double range_error(const Cells *c, Range r, const QuantSpec *s) {
    QuantParams p = params_of(r.lo, r.hi, s);
    return cells_error(c, &p);
}

/* Which ends a search moves. */
enum { END_LO = 1, END_HI = 2 };

static Range scaled(Range r, int ends, double f) {
    return (Range){ends & END_LO ? r.lo * f : r.lo, ends & END_HI ? r.hi * f : r.hi};
}

/* Moves the given ends of `r` to the best of 100 fractions of `full`, then of 20 between the neighbours of that one.
 * The widest range wins a tie. */
static bool improve(const Cells *c, const QuantSpec *s, Range full, int ends, Range *r, double *error) {
    enum { COARSE = 100, FINE = 10 };
    bool better = false;
    int best = 0;
    for (int pass = 0; pass < 2; pass++) {
        int from = pass ? best * FINE + FINE - 1 : COARSE, to = pass ? best * FINE - FINE + 1 : 1;
        if (pass && best == 0) break;
        for (int i = from; i >= to; i--) {
            double f = pass ? (double)i / (COARSE * FINE) : (double)i / COARSE;
            if (f > 1) continue;
            Range moved = scaled(full, ends, f);
            Range candidate = {ends & END_LO ? moved.lo : r->lo, ends & END_HI ? moved.hi : r->hi};
            double e = range_error(c, candidate, s);
            if (!(e < *error)) continue;
            *error = e;
            *r = candidate;
            better = true;
            if (!pass) best = i;
        }
    }
    return better;
}

static Range choose_mse(const Cells *c, const QuantSpec *s, Range full) {
    Range r = full;
    double error = range_error(c, r, s);
    if (s->symmetric) {
        (void)improve(c, s, full, END_LO | END_HI, &r, &error);
        return r;
    }
    /* Both together first: clipping one end alone may not pay until the other is clipped too. */
    (void)improve(c, s, full, END_LO | END_HI, &r, &error);
    for (int round = 0; round < 3; round++) {
        bool high = full.hi > 0 && improve(c, s, full, END_HI, &r, &error);
        bool low = full.lo < 0 && improve(c, s, full, END_LO, &r, &error);
        if (!high && !low) break;
    }
    return r;
}

/* The magnitude below which `keep` elements lie, counted from the zeros outwards; one or both sides. */
static double magnitude_quantile(const Observer *o, bool negative, bool positive, double keep, double limit) {
    double seen = (double)o->zeros, width = observer_bin_width(o);
    if (keep <= seen) return 0;
    for (int i = 0; i < OBSERVER_BINS; i++) {
        double n = (negative ? (double)o->negative[i] : 0) + (positive ? (double)o->positive[i] : 0);
        if (n > 0 && seen + n >= keep) return fmin(limit, width * (i + fmax(0, (keep - seen) / n)));
        seen += n;
    }
    return limit;
}

static Range choose_percentile(const Observer *o, double percent, bool symmetric, Range full) {
    double outside = (double)o->count * (1 - percent / 100);
    if (symmetric) {
        double t = magnitude_quantile(o, true, true, (double)o->count - outside, full.hi);
        return (Range){-t, t};
    }
    /* Two tails share what is left out; values of one sign have one tail. */
    double tail = full.lo < 0 && full.hi > 0 ? outside / 2 : outside;
    double negatives = 0;
    for (int i = 0; i < OBSERVER_BINS; i++) negatives += (double)o->negative[i];
    double positives = (double)o->count - (double)o->zeros - negatives, zeros = (double)o->zeros;
    return (Range){full.lo < 0 ? -magnitude_quantile(o, true, false, zeros + negatives - tail, -full.lo) : 0,
                   full.hi > 0 ? magnitude_quantile(o, false, true, zeros + positives - tail, full.hi) : 0};
}

/* Divergence of the quantized from the true distribution for the range `r`: P is the histogram with the clipped mass in
 * the end cells; Q spreads each level's mass, without the clipped part, evenly over its cells. */
static double divergence(const Cells *c, Range r, const QuantSpec *s) {
    static const double TINY = 1e-12; /* share of a cell that Q gives nothing to */
    QuantParams p = params_of(r.lo, r.hi, s);
    int first = 0, last = c->count - 1;
    double below = 0, above = 0;
    while (first < last && c->cell[first].hi <= r.lo) below += c->cell[first++].n;
    while (last > first && c->cell[last].lo >= r.hi) above += c->cell[last--].n;
    double inside = c->total - below - above, sum = 0;
    if (!(inside > 0)) return INFINITY;
    for (int i = first; i <= last;) {
        double level = rint((c->cell[i].lo + c->cell[i].hi) * 0.5 / (double)p.scale), mass = 0;
        int end = i;
        while (end <= last && rint((c->cell[end].lo + c->cell[end].hi) * 0.5 / (double)p.scale) == level)
            mass += c->cell[end++].n;
        double q = fmax(mass / (end - i) / inside, TINY);
        for (; i < end; i++) {
            double n = c->cell[i].n + (i == first ? below : 0) + (i == last ? above : 0);
            double share = n / c->total;
            sum += share * log(share / q);
        }
    }
    return sum;
}

static Range choose_entropy(const Cells *c, const QuantSpec *s, Range full, double width) {
    QuantParams p = params_of(full.lo, full.hi, s);
    double largest = fmax(-full.lo, full.hi);
    int levels = p.qmax - p.qmin, bins = (int)ceil(largest / width);
    /* The measure compares cells with levels: with fewer cells than levels it sees no rounding at all. */
    if (bins < 2 * levels) return full;
    enum { CANDIDATES = 256 };
    int step = bins / CANDIDATES > 1 ? bins / CANDIDATES : 1;
    Range best = full;
    double least = divergence(c, full, s);
    for (int i = bins - step; i >= levels / 2; i -= step) {
        double t = i * width;
        Range r = {fmax(full.lo, -t), fmin(full.hi, t)};
        double d = divergence(c, r, s);
        if (!(d < least)) continue;
        least = d;
        best = r;
    }
    return best;
}

static Range average_range(const Observer *o, Range full) {
    double calls = o->calls > 0 ? (double)o->calls : 1;
    Range r = {fmin(fixed_to_double(o->sum_min) / calls, 0), fmax(fixed_to_double(o->sum_max) / calls, 0)};
    return (Range){fmax(r.lo, full.lo), fmin(r.hi, full.hi)};
}

static Range mirrored(Range r) {
    double t = fmax(-r.lo, r.hi);
    return (Range){-t, t};
}

static Status check_observer(const Observer *o, const RangeOptions *opt, const char *name) {
    if (o->non_finite)
        return status_make(STATUS_INVALID,
                           "'%s': %lld of %lld values are NaN or infinite: expected finite values (check the "
                           "calibration data and the model)",
                           name, (long long)o->non_finite, (long long)o->count + o->non_finite);
    if (o->count == 0)
        return status_make(STATUS_INVALID, "'%s': no values were seen: expected at least one calibration sample", name);
    if (!(opt->percentile >= 0 && opt->percentile <= 100))
        return status_make(STATUS_USAGE, "percentile %g: expected a number from 0 to 100", opt->percentile);
    return NULL;
}

Status range_choose(const Observer *o, const RangeOptions *opt, const char *name, float *lo, float *hi) {
    *lo = *hi = 0;
    TRY(check_observer(o, opt, name));
    bool symmetric = opt->spec.symmetric;
    Range full = {fmin((double)o->min, 0), fmax((double)o->max, 0)};
    if (symmetric) full = mirrored(full);
    Range r = full;
    if (opt->calibrator == CALIBRATOR_AVERAGE) r = average_range(o, full);
    if (opt->calibrator == CALIBRATOR_PERCENTILE)
        r = choose_percentile(o, opt->percentile > 0 ? opt->percentile : 99.99, symmetric, full);
    bool searched = opt->calibrator == CALIBRATOR_MSE || opt->calibrator == CALIBRATOR_ENTROPY;
    if (searched && o->exponent != INT_MIN) {
        Cells *c = mem_alloc(sizeof *c);
        if (!c) return status_oom();
        cells_fill(o, c);
        r = opt->calibrator == CALIBRATOR_MSE ? choose_mse(c, &opt->spec, full)
                                              : choose_entropy(c, &opt->spec, full, observer_bin_width(o));
        mem_free(c);
    }
    if (symmetric) r = mirrored(r);
    *lo = (float)r.lo;
    *hi = (float)r.hi;
    return NULL;
}
