/* Range choosers: from an observer to quantization parameters. Pure functions, any thread. */
#ifndef PARE_CALIB_RANGE_H
#define PARE_CALIB_RANGE_H

#include "calib/observer.h"

typedef enum Calibrator {
    CALIBRATOR_MINMAX,     /* smallest and largest value */
    CALIBRATOR_AVERAGE,    /* mean over the samples of each sample's smallest and largest value */
    CALIBRATOR_PERCENTILE, /* the range that holds RangeOptions.percentile of the values */
    CALIBRATOR_MSE,        /* least mean squared error of quantized values, both ends searched */
    CALIBRATOR_ENTROPY     /* least Kullback-Leibler divergence (Migacz, GTC 2017), zeros left out */
} Calibrator;
/* Names as in --calibrator: minmax, average, percentile, mse, entropy. STATUS_USAGE lists them. */
PARE_NODISCARD Status calibrator_parse(const char *name, Calibrator *out);
const char *calibrator_name(Calibrator c);

/* The integer grid. */
typedef struct QuantSpec {
    ElemType elem;     /* U8 I8 U16 I16 U4 I4 */
    bool symmetric;    /* zero point in the middle: 0 (signed) or half the range (unsigned); range +-qmax */
    bool reduce_range; /* 7 bits of 8: for kernels whose int16 intermediate would saturate */
} QuantSpec;

/* real = scale * (q - zero_point), qmin <= q <= qmax. */
typedef struct QuantParams {
    float scale;
    int32_t zero_point, qmin, qmax;
} QuantParams;

typedef struct RangeOptions {
    Calibrator calibrator;
    double percentile; /* percent, 0 = 99.99; total over both tails */
    QuantSpec spec;
} RangeOptions;

/* qmin and qmax of a grid. Signed symmetric grids leave out the lowest value (-127 … 127), so that -x is as exact as x.
 */
void quant_limits(const QuantSpec *s, int32_t *qmin, int32_t *qmax);
/* The range [lo, hi], lo <= 0 <= hi, symmetric when the grid is. STATUS_INVALID for NaN or Inf among the values and for
 * an observer without values; `name` is the value's name in messages. Deterministic. */
PARE_NODISCARD Status range_choose(const Observer *o, const RangeOptions *opt, const char *name, float *lo, float *hi);
/* Scale and zero point for a range (widened to hold 0, which is then exact). Degenerate ranges give scale 1; the scale
 * is never subnormal. STATUS_INVALID for NaN, Inf or lo > hi. */
PARE_NODISCARD Status range_params(float lo, float hi, const QuantSpec *s, QuantParams *out);
/* Mean squared error of quantizing what the observer saw with `p`, from the histogram. */
double range_mse(const Observer *o, const QuantParams *p);
/* x quantized and back, in float: round to nearest even, saturating. */
float quant_round_trip(float x, const QuantParams *p);

#endif
