/* Accuracy of models that are ready to run, and where their layers part. */
#ifndef PARE_CLI_ACCURACY_H
#define PARE_CLI_ACCURACY_H

#include "cli/session.h"
#include "cli/variant.h"

typedef struct Scored {
    Model model;
    Plan *plan;
    EvalModel eval;
} Scored;
/* Plans the model for the shapes of ds, one thread a sample. */
PARE_NODISCARD Status scored_plan(Scored *x, const Backend *b, Dataset *ds);
void scored_free(Scored *x);
Variant scored_variant(const Scored *x, const CommonFlags *c, const char *data_sha256);
/* Accuracy of a and b (may be NULL), agreement and SQNR of a against b. */
void take_accuracy(const EvalResult *r, Variant *a, Variant *b);

/* Signal-to-quantization-noise by layer: values that both models name alike. */
typedef struct LayerError {
    char *name;
    double sqnr_db;
} LayerError;
typedef struct LayerList {
    LayerError *rows;
    int n;
    int jump; /* index of the first row behind which the SQNR falls the most, -1 */
} LayerList;
/* Both models as written (Q/DQ kept): empty when one is compiled, since integer values have no float twin. Uses at most
 * 16 reads of ds. */
PARE_NODISCARD Status compare_layers(const char *model, const char *original, Dataset *ds, const CommonFlags *c,
                                     LayerList *out);
/* The same for graphs at hand. */
PARE_NODISCARD Status compare_graphs(const Graph *a, const Graph *b, Dataset *ds, const CommonFlags *c, LayerList *out);
void layers_free(LayerList *l);
void print_layers(const LayerList *l);
json_t *layers_json(const LayerList *l);

#endif
