/* The report of `pare optimize`: one JSON object, from which the Markdown, the HTML page and the table are made. */
#ifndef PARE_CLI_REPORT_H
#define PARE_CLI_REPORT_H

#include "calib/quantize.h"
#include "cli/accuracy.h"

enum { MAX_VARIANTS = 4 };

typedef struct ReportVariant {
    Variant v;
    Interval difference; /* points against fp32, paired; valid with has_difference */
    bool has_difference;
    double latency_ratio; /* fp32's median ÷ this one's */
} ReportVariant;

typedef struct Report {
    const char *model, *calib, *eval;
    const char *source_sha256;
    ReportVariant variants[MAX_VARIANTS];
    int n;
    int chosen;      /* index in variants */
    double max_drop; /* < 0: not asked for */
    bool random_calibration;
    const char *calibrator;
    int64_t calib_samples;
    const QuantizeReport *layers; /* of the chosen variant, or NULL */
    const LayerList *sqnr;        /* by layer, or NULL */
    Buf log;                      /* lines of the search, in order */
} Report;

/* report.json, report.md and report.html into the folder. */
PARE_NODISCARD Status report_write(const Report *r, const char *folder);
json_t *report_json(const Report *r);
/* The table: variant, bytes, accuracy with its interval, agreement, latency with spread, speed-up. */
void report_table(const Report *r, Buf *out, bool markdown);
/* Self-contained page (report_html.c). */
void report_html(const Report *r, Buf *out);

#endif
