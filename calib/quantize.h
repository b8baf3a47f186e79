/* Post-training quantization from samples: selection, calibration, ranges, insertion. */
#ifndef PARE_CALIB_QUANTIZE_H
#define PARE_CALIB_QUANTIZE_H

#include "calib/evaluate.h"
#include "calib/range.h"
#include "passes/quantize.h"

typedef struct QuantizeOptions {
    QuantConfig config;
    Calibrator calibrator;
    double percentile; /* 0 = the default of calib/range.h */
    bool bias_correction;
    RunOptions run;
} QuantizeOptions;

/* What calibration saw: kept between quantizations of the same graph with other selections (search). */
typedef struct Calibration Calibration;

/* Observes everything that any selection of `g` can need. `g` is optimized and inferred; it is not changed. */
PARE_NODISCARD Status calibration_new(const Graph *g, Dataset *samples, const QuantizeOptions *o, Calibration **out);
void calibration_free(Calibration *c); /* NULL is allowed */

typedef struct QuantizedLayer {
    const char *name, *op; /* of the graph given to quantize_graph */
    bool integer;
    const char *why; /* for layers in float */
} QuantizedLayer;

typedef struct QuantizeReport {
    QuantizedLayer *layers; /* products in order; strings live in `arena` */
    int n_layers, n_integer;
    Arena *arena;
} QuantizeReport;
void quantize_report_free(QuantizeReport *r);

/* A quantized copy of g (Q/DQ form) in *out. *report may be NULL. */
PARE_NODISCARD Status quantize_graph(const Graph *g, const Calibration *c, const QuantizeOptions *o, Graph **out,
                                     QuantizeReport *report);

#endif
