/* One measured model: what bench, eval and report.json say of it. */
#ifndef PARE_CLI_VARIANT_H
#define PARE_CLI_VARIANT_H

#include "calib/metrics.h"
#include "ir/hash.h"

#include <jansson.h>

typedef struct Latency {
    double median, p10, p90, p99; /* ms */
    int rounds;                   /* runs measured; 0 = not measured */
} Latency;

typedef struct Variant {
    const char *name, *file, *target, *isa;
    uint64_t bytes;
    char sha256[SHA256_HEX];
    int threads;
    int64_t batch;
    double open_ms; /* < 0: not measured */
    Latency latency;
    bool has_accuracy, has_agreement, has_sqnr;
    int64_t samples, correct;
    char data_sha256[SHA256_HEX];
    double agreement, sqnr_db;
    int64_t peak_bytes;
    double metric; /* of --metric-cmd */
    bool has_metric;
} Variant;

/* Percentiles of n run times (sorts them in place). */
Latency latency_of(double *ms, int n);
/* A new reference. Numbers that are not measured are left out; an infinite SQNR is null. NULL when memory is short. */
json_t *variant_json(const Variant *v);
json_t *interval_json(const Interval *i, double factor);
/* Top-1 in percent with its 95 % interval. */
Interval variant_accuracy(const Variant *v);
/* Serializes with sorted-as-inserted keys and writes to FILE or - ; frees `root`. */
PARE_NODISCARD Status json_write(const char *path, json_t *root);
double round_to(double v, int digits);

#endif
