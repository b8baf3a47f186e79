/* Accuracy and error measures. Accumulators add in call order: feed them in sample order for results that do not depend
 * on threads (calib/evaluate.h does). */
#ifndef PARE_CALIB_METRICS_H
#define PARE_CALIB_METRICS_H

#include "ir/status.h"
#include "ir/tensor.h"

/* Index of the largest element, the lowest such index on ties; NaN counts as smaller than everything. -1 when empty. */
int64_t metric_argmax(const float *x, int64_t n);
/* The same for `n` elements from `first` of any numeric tensor. */
int64_t metric_argmax_tensor(const Tensor *t, int64_t first, int64_t n);

typedef struct Interval {
    double value, lo, hi;
} Interval;
/* Proportion k/n with Wilson's score interval at 95 % (Wilson 1927, JASA 22), 0 … 1. n = 0 gives 0 in [0, 1]. */
Interval metric_wilson(int64_t k, int64_t n);

/* Paired results of two models on the same samples. */
typedef struct PairedCounts {
    int64_t both, only_a, only_b, neither; /* correct by */
    int64_t agree, samples;                /* same prediction; all samples (labels are not needed for these two) */
} PairedCounts;
/* Difference of the two proportions, a - b, with a 95 % interval for paired data: Newcombe's hybrid score method
 * (Statistics in Medicine 17, 1998, 2635-2650, method 10). */
Interval metric_paired_difference(const PairedCounts *c);
/* Share of samples with the same prediction, with Wilson's interval. */
Interval metric_agreement(const PairedCounts *c);

/* Signal-to-quantization-noise ratio and cosine similarity of a tensor against its reference. */
typedef struct ErrorSums {
    double signal, noise, other, dot, max_abs; /* sums of ref^2, (ref-x)^2, x^2, ref*x; largest |ref-x| */
    int64_t count;
} ErrorSums;
/* Adds n elements; sums are made in double over 8 fixed lanes, so that the result does not depend on the machine. NaN
 * in either makes all sums NaN. */
void error_add(ErrorSums *e, const float *ref, const float *x, int64_t n);
/* STATUS_INVALID when the tensors differ in shape. */
PARE_NODISCARD Status error_add_tensors(ErrorSums *e, const Tensor *ref, const Tensor *x, const char *name);
void error_merge(ErrorSums *dst, const ErrorSums *src);
/* 10 log10(signal / noise); +Inf without noise, -Inf for noise without signal. */
double error_sqnr_db(const ErrorSums *e);
/* 1 when both are all zero, 0 when one is. */
double error_cosine(const ErrorSums *e);

#endif
