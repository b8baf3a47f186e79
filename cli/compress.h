/* Quantizing and writing models: what quantize, compile and optimize share. */
#ifndef PARE_CLI_COMPRESS_H
#define PARE_CLI_COMPRESS_H

#include "calib/quantize.h"
#include "cli/session.h"

#include <jansson.h>

typedef struct QuantFlags {
    const char *precision, *calibrator, *algorithms, *qdq;
    StringList exclude_node, exclude_op;
    bool per_tensor, reduce_range;
    int64_t group_size;
} QuantFlags;
#define QUANT_OPTIONS(q)                                                                                               \
    {"--calibrator",  NULL,   OPT_STRING,                                                                              \
     &(q).calibrator, "NAME", "ranges: mse (default), minmax, average, percentile or entropy"},                        \
        {"--per-tensor", NULL, OPT_FLAG, &(q).per_tensor, NULL, "one weight scale a tensor instead of one a channel"}, \
        {"--algorithms", NULL, OPT_STRING, &(q).algorithms, "A,B", "repairs: bias-correction (default) or none"},      \
        {"--exclude-node", NULL, OPT_LIST, &(q).exclude_node, "REGEX", "nodes that stay in float; may be repeated"},   \
        {"--exclude-op", NULL, OPT_LIST, &(q).exclude_op, "REGEX", "ops that stay in float; may be repeated"},         \
        {"--qdq",  NULL,   OPT_STRING,                                                                                 \
         &(q).qdq, "FORM", "of .onnx output: ort (default) or tensorrt (symmetric, float bias)"},                      \
    {                                                                                                                  \
        "--reduce-range", NULL, OPT_FLAG, &(q).reduce_range, NULL,                                                     \
            "7-bit weights, for runtimes that saturate without VNNI"                                                   \
    }

/* Checked flags, with the compiled expressions of --exclude-*. */
typedef struct QuantSetup {
    QuantizeOptions options;
    struct ExcludeList *exclude;
} QuantSetup;
PARE_NODISCARD Status quant_setup(const QuantFlags *f, const CommonFlags *c, Progress *p, QuantSetup *out);
void quant_setup_free(QuantSetup *s);

/* The calibration set of --calib, or a seeded random one when `random` (never by itself). */
PARE_NODISCARD Status open_calibration(const char *path, bool random, const DataFlags *f, const CommonFlags *c,
                                       const Graph *g, Dataset **out);

/* What a manifest says besides the model: no paths, times or measurements. */
typedef struct Provenance {
    const char *source_sha256, *data_sha256; /* data NULL: no calibration */
    bool random_calibration;
    const char *precision, *calibrator;
} Provenance;

/* Writes a float or Q/DQ graph by the extension of `path`: .onnx as it is, .pare with integer ops made explicit.
 * STATUS_USAGE for another extension. `opset` 0: the lowest. */
PARE_NODISCARD Status write_model(const Graph *g, const char *path, int opset, const Provenance *p);
/* STATUS_USAGE unless path ends in .onnx or .pare: asked before any work is done. */
PARE_NODISCARD Status check_output(const char *path);
/* The output will be a .pare file. */
bool is_artifact_path(const char *path);
/* One line a layer that stays in float, to standard output. */
void print_floats(const QuantizeReport *r);

#endif
