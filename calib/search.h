/* Mixed precision: which products go back to float so that accuracy is kept. */
#ifndef PARE_CALIB_SEARCH_H
#define PARE_CALIB_SEARCH_H

#include "calib/quantize.h"

/* What one product costs when it alone computes in int8. */
typedef struct LayerCost {
    char *name, *op;
    double sqnr_db; /* of the model's outputs against float, over the ranking samples */
    double price;   /* what float costs there: multiply-accumulates, or weights (Objective) */
} LayerCost;

/* What going back to float should cost little of. */
typedef enum Objective { OBJECTIVE_LATENCY, OBJECTIVE_SIZE } Objective;

typedef struct LayerRanking {
    LayerCost *layers; /* the most noise for its price first */
    int n;
} LayerRanking;
void ranking_free(LayerRanking *r);

/* Quantizes each integer product of `g` alone and measures the outputs on the first `reads` reads of `samples`. `o`
 * excludes as the user wants. Deterministic. STATUS_INTERRUPTED when o->run.cancel is set. */
PARE_NODISCARD Status rank_layers(const Graph *g, const Calibration *c, const QuantizeOptions *o, Dataset *samples,
                                  int reads, Objective objective, LayerRanking *out);

typedef struct SearchOptions {
    double max_drop;    /* points of top-1 */
    double deadline_ms; /* of a monotonic clock; 0 = none. When it passes, the best found so far is taken */
    double (*clock_ms)(void);
    /* Told of every decision: "7 layers in float: drop 0.41 points". */
    void (*say)(void *ctx, const char *line);
    void *ctx;
} SearchOptions;

typedef struct SearchResult {
    Graph *graph; /* Q/DQ form; NULL: only float meets the drop */
    int n_float;  /* the first n_float layers of the ranking are in float */
    double drop;  /* on the deciding samples */
    int evaluations;
} SearchResult;

/* The fewest layers, taken from the top of the ranking, that have to be float so that top-1 on `deciding` falls by at
 * most max_drop: bisection with full evaluations of the deciding samples. `float_model` runs g. */
PARE_NODISCARD Status search_mixed(const Graph *g, const Calibration *c, const QuantizeOptions *o,
                                   const LayerRanking *ranking, const EvalModel *float_model, Dataset *deciding,
                                   const SearchOptions *s, SearchResult *out, QuantizeReport *report);

#endif
