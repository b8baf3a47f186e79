/* What commands share: models from any file, the data flags, shapes, plans. */
#ifndef PARE_CLI_SESSION_H
#define PARE_CLI_SESSION_H

#include "backends/backend.h"
#include "calib/dataset.h"
#include "calib/evaluate.h"
#include "cli/args.h"
#include "ir/hash.h"

extern volatile int session_cancel; /* set by Ctrl-C */

/* ---- models ---- */

/* A model ready to plan: optimized, integer ops explicit. */
typedef struct Model {
    const char *path;
    Graph *graph;
    uint64_t bytes; /* of the file, with external data */
    char sha256[SHA256_HEX];
    bool artifact;       /* .pare */
    const char *variant; /* "fp32", "bf16", "int8" …: by what the graph holds */
} Model;

/* Opens .onnx or .pare (by content, not by name). `prepare`: run the default passes on ONNX models. */
PARE_NODISCARD Status model_load(const char *path, bool prepare, Model *m);
void model_free(Model *m);
/* "int8" when the graph has integer products, "bf16" when weights of products are stored so, else "fp32". */
const char *graph_variant(const Graph *g);

/* --shape name:1x3x224x224, repeated: sets input types. STATUS_USAGE names the flag's value. */
PARE_NODISCARD Status apply_shapes(Graph *g, const StringList *shapes);

/* ---- data ---- */

typedef struct DataFlags {
    const char *channels, *labels;
    int64_t resize, crop, label_offset, samples, eval_samples;
    RealList mean, std;
    StringList shapes;
} DataFlags;
#define DATA_OPTIONS(d)                                                                                                \
    {"--channels", NULL, OPT_STRING, &(d).channels, "ORDER", "of images: rgb (default), bgr or gray"},                 \
        {"--resize", NULL, OPT_INT, &(d).resize, "N", "short side of images, bilinear with antialiasing"},             \
        {"--crop", NULL, OPT_INT, &(d).crop, "N", "centre crop of images"},                                            \
        {"--mean", NULL, OPT_REALS, &(d).mean, "M[,M,M]", "subtracted from pixel values 0-255 (default 0)"},           \
        {"--std", NULL, OPT_REALS, &(d).std, "S[,S,S]", "pixel values are divided by it (default 1)"},                 \
        {"--labels", NULL, OPT_STRING, &(d).labels, "FILE", "labels in place of the data's own"},                      \
        {"--label-offset", NULL, OPT_INT, &(d).label_offset, "N", "added to each label"}, {                            \
        "--samples", NULL, OPT_INT, &(d).samples, "N", "use only N samples, chosen by the seed"                        \
    }
#define SHAPE_OPTION(d)                                                                                                \
    { "--shape", NULL, OPT_LIST, &(d).shapes, "NAME:DIMS", "shape of an input, as x:1x3x48x320; may be repeated" }
#define EVAL_SAMPLES_OPTION(d)                                                                                         \
    { "--eval-samples", NULL, OPT_INT, &(d).eval_samples, "N", "evaluate on only N samples, chosen by the seed" }

/* The flags as options of calib/dataset.h. */
PARE_NODISCARD Status data_options(const DataFlags *f, const CommonFlags *c, DataOptions *out);
PARE_NODISCARD Status open_data(const char *path, const DataFlags *f, const CommonFlags *c, bool calibration,
                                bool need_labels, int64_t samples, const Graph *g, Dataset **out);

/* ---- running ---- */

int session_threads(const CommonFlags *c);
/* The backend of --backend (NULL: cpu). */
PARE_NODISCARD Status session_backend(const char *name, const Backend **out);
/* Input types with batch 1 for a symbolic leading dimension. STATUS_USAGE names another dimension without a number. */
PARE_NODISCARD Status default_types(const Graph *g, Type *types);
/* Plans `g` for the shapes of `ds` (NULL: for its own, symbolic batch 1). */
PARE_NODISCARD Status plan_for(const Backend *b, const Graph *g, Dataset *ds, int threads, const ValueId *taps,
                               uint32_t n_taps, Plan **out);
/* Progress bar on a terminal; nothing elsewhere. `title` names the work. */
typedef struct Progress {
    const char *title;
    bool on;
} Progress;
Progress progress_new(const char *title, const CommonFlags *c);
void progress_show(void *progress, int64_t done, int64_t total);
/* Options for the drivers of calib/evaluate.h: threads, cancel, progress. */
RunOptions session_run_options(const CommonFlags *c, Progress *p);

/* Peak resident set of this process so far, bytes. */
int64_t peak_bytes(void);
double now_ms(void);

/* Writes `text` to FILE, or to standard output for "-"; NULL path: nothing. */
PARE_NODISCARD Status write_text(const char *path, const char *text, size_t len);

#endif
