/* Passes: graph -> graph. One file a pass; the table and the runner are in pass.c.
 *
 * A pipeline is text: "fold,fuse,quantize(w=int8,a=uint8),integer". */
#ifndef PARE_PASSES_PASS_H
#define PARE_PASSES_PASS_H

#include "ir/op.h"

/* key=value options of one pass in a pipeline text. */
typedef struct PassOptions {
    const char *const *keys;
    const char *const *values; /* "" for a bare key */
    int n;
    void *env; /* PassEnv of the runner: calibration statistics and the like; NULL when there are none */
} PassOptions;
/* Value of `key`, or `deflt`. */
const char *pass_option(const PassOptions *o, const char *key, const char *deflt);

/* What a pass did, in numbers: shown by -v, kept in the report. */
typedef struct PassStats {
    uint32_t changed;       /* rewrites done */
    uint32_t nodes_removed; /* net */
    int64_t bytes_saved;    /* of constants, net */
} PassStats;

typedef struct Pass {
    const char *name, *doc;
    Status (*run)(Graph *g, const PassOptions *o, PassStats *stats);
} Pass;

int pass_count(void);
const Pass *pass_at(int i);
const Pass *pass_find(const char *name);

typedef struct PipelineOptions {
    bool verify;            /* run the verifier after every pass */
    const char *dump_after; /* name of a pass or NULL */
    void (*dump)(void *ctx, const char *pass, const Graph *g);
    void (*stats)(void *ctx, const char *pass, const PassStats *s);
    void *ctx;
    void *env;
} PipelineOptions;
/* Runs the passes of `text` in order. The runner sorts, eliminates dead code and infers again after every pass.
 * STATUS_USAGE for an unknown pass or option, with the list of those that exist. */
PARE_NODISCARD Status pipeline_run(Graph *g, const char *text, const PipelineOptions *o);
/* The default pipeline before quantization and lowering: no numeric change beyond rounding of folded constants. */
extern const char PIPELINE_OPTIMIZE[];

#endif
