/* The report as one self-contained page: plots are inline SVG, nothing is loaded from elsewhere. */
#include "cli/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static void escape(Buf *b, const char *s) {
    for (; *s; s++) {
        if (*s == '<')
            buf_puts(b, "&lt;");
        else if (*s == '&')
            buf_puts(b, "&amp;");
        else if (*s == '"')
            buf_puts(b, "&quot;");
        else
            buf_append(b, s, 1);
    }
}

/* ---- plots ---- */

typedef struct Point {
    double x, y, lo, hi; /* y with its interval */
    const char *label;
    bool chosen;
} Point;

enum { PLOT_W = 520, PLOT_H = 320, LEFT = 64, RIGHT = 24, TOP = 20, BOTTOM = 48 };
static const char *const colours[MAX_VARIANTS] = {"#4e6e8e", "#d1495b", "#e39a2d", "#3b8f6b"};

typedef struct Axis {
    double lo, hi, step;
} Axis;

/* About five ticks at 1, 2 or 5 times a power of ten. */
static Axis axis_for(double lo, double hi) {
    if (hi - lo < 1e-9) hi = lo + 1;
    double raw = (hi - lo) / 5, p = pow(10, floor(log10(raw))), f = raw / p;
    double step = p * (f < 1.5 ? 1 : f < 3.5 ? 2 : f < 7.5 ? 5 : 10);
    return (Axis){floor(lo / step) * step, ceil(hi / step) * step, step};
}

static double px(const Axis *a, double v) { return LEFT + (v - a->lo) / (a->hi - a->lo) * (PLOT_W - LEFT - RIGHT); }
static double py(const Axis *a, double v) {
    return PLOT_H - BOTTOM - (v - a->lo) / (a->hi - a->lo) * (PLOT_H - TOP - BOTTOM);
}

static void draw_axes(Buf *b, const Axis *x, const Axis *y, const char *x_title, const char *y_title) {
    for (int i = 0; i <= (int)((x->hi - x->lo) / x->step + 0.5); i++) {
        double v = x->lo + i * x->step;
        buf_printf(b,
                   "<line class='grid' x1='%.1f' x2='%.1f' y1='%d' y2='%d'/><text x='%.1f' y='%d' "
                   "text-anchor='middle'>%.6g</text>\n",
                   px(x, v), px(x, v), TOP, PLOT_H - BOTTOM, px(x, v), PLOT_H - BOTTOM + 16, v);
    }
    for (int i = 0; i <= (int)((y->hi - y->lo) / y->step + 0.5); i++) {
        double v = y->lo + i * y->step;
        buf_printf(b,
                   "<line class='grid' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/><text x='%d' y='%.1f' "
                   "text-anchor='end'>%.6g</text>\n",
                   LEFT, PLOT_W - RIGHT, py(y, v), py(y, v), LEFT - 6, py(y, v) + 4, v);
    }
    buf_printf(b, "<text x='%d' y='%d' text-anchor='middle'>%s</text>\n", (LEFT + PLOT_W - RIGHT) / 2, PLOT_H - 10,
               x_title);
    buf_printf(b, "<text transform='translate(14 %d) rotate(-90)' text-anchor='middle'>%s</text>\n",
               (TOP + PLOT_H - BOTTOM) / 2, y_title);
}

static void draw_point(Buf *b, const Axis *x, const Axis *y, const Point *p, int i) {
    double cx = px(x, p->x), cy = py(y, p->y);
    buf_printf(b, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' stroke='%s' stroke-width='2'/>\n", cx, cx,
               py(y, p->lo), py(y, p->hi), colours[i]);
    buf_printf(b, "<circle cx='%.1f' cy='%.1f' r='%d' fill='%s'/>\n", cx, cy, p->chosen ? 7 : 5, colours[i]);
    bool flip = cx > PLOT_W - RIGHT - 90;
    buf_printf(b, "<text class='label' x='%.1f' y='%.1f'%s fill='%s'>%s%s</text>\n", flip ? cx - 11 : cx + 11, cy - 8,
               flip ? " text-anchor='end'" : "", colours[i], p->label, p->chosen ? " (chosen)" : "");
}

static void plot(Buf *b, const Point *p, int n, const char *title, const char *x_title) {
    if (!n) return;
    double x_hi = 0, y_lo = 100, y_hi = 0;
    for (int i = 0; i < n; i++) {
        x_hi = fmax(x_hi, p[i].x);
        y_lo = fmin(y_lo, p[i].lo);
        y_hi = fmax(y_hi, p[i].hi);
    }
    Axis x = axis_for(0, x_hi), y = axis_for(y_lo, y_hi);
    buf_printf(b, "<figure><figcaption>%s</figcaption><svg viewBox='0 0 %d %d' role='img' aria-label='%s'>\n", title,
               PLOT_W, PLOT_H, title);
    draw_axes(b, &x, &y, x_title, "top-1, %");
    for (int i = 0; i < n; i++) draw_point(b, &x, &y, &p[i], i);
    buf_puts(b, "</svg></figure>\n");
}

static void plots(const Report *r, Buf *b) {
    Point latency[MAX_VARIANTS], size[MAX_VARIANTS];
    int n = 0;
    for (int i = 0; i < r->n; i++) {
        const Variant *v = &r->variants[i].v;
        if (!v->has_accuracy || !v->latency.rounds) continue;
        Interval a = variant_accuracy(v);
        latency[n] = (Point){v->latency.median, a.value, a.lo, a.hi, v->name, i == r->chosen};
        size[n] = latency[n];
        size[n++].x = (double)v->bytes / 1e6;
    }
    buf_puts(b, "<div class='plots'>\n");
    plot(b, latency, n, "Accuracy against latency", "median latency, ms");
    plot(b, size, n, "Accuracy against size", "size, MB");
    buf_puts(b, "</div>\n");
}

/* ---- the page ---- */

static const char style[] =
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1120px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;width:100%;margin:1em 0}th,td{text-align:left;padding:.35em .7em;border-bottom:1px "
    "solid #ddd}"
    "td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}tr.chosen{background:#f3f7f4;font-weight:600}"
    ".plots{display:flex;flex-wrap:wrap;gap:1em}figure{flex:1 1 420px;margin:0}figcaption{font-weight:600}"
    "svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:#555}svg text.label{font-weight:600}"
    ".grid{stroke:#e4e4e4}.note{color:#666}pre{background:#f6f6f6;padding:.8em;overflow:auto}code{font-size:.92em}";

static void variant_rows(const Report *r, Buf *b) {
    buf_puts(b, "<table><tr><th>variant</th><th class='n'>bytes</th><th class='n'>of fp32</th><th class='n'>top-1, % "
                "[95 %]</th><th class='n'>difference "
                "[95 %]</th><th class='n'>agreement</th><th class='n'>ms, median [p10, p90]</th><th "
                "class='n'>speed-up</th></tr>\n");
    for (int i = 0; i < r->n; i++) {
        const ReportVariant *x = &r->variants[i];
        const Variant *v = &x->v;
        Interval a = variant_accuracy(v);
        buf_printf(b, "<tr%s><td>%s</td><td class='n'>%" PRIu64 "</td><td class='n'>%.3f</td><td class='n'>",
                   i == r->chosen ? " class='chosen'" : "", v->name, v->bytes,
                   (double)v->bytes / (double)r->variants[0].v.bytes);
        if (v->has_accuracy) buf_printf(b, "%.2f [%.2f, %.2f]", a.value, a.lo, a.hi);
        buf_puts(b, "</td><td class='n'>");
        if (x->has_difference)
            buf_printf(b, "%+.2f [%+.2f, %+.2f]", x->difference.value, x->difference.lo, x->difference.hi);
        buf_puts(b, "</td><td class='n'>");
        if (v->has_agreement) buf_printf(b, "%.4f", v->agreement);
        buf_puts(b, "</td><td class='n'>");
        if (v->latency.rounds) buf_printf(b, "%.3f [%.3f, %.3f]", v->latency.median, v->latency.p10, v->latency.p90);
        buf_puts(b, "</td><td class='n'>");
        if (x->latency_ratio > 0) buf_printf(b, "%.2f×", x->latency_ratio);
        buf_puts(b, "</td></tr>\n");
    }
    buf_puts(b, "</table>\n");
}

static void layer_rows(const Report *r, Buf *b) {
    if (r->layers) {
        buf_printf(b, "<h2>Layers</h2><p>%d of %d products compute in int8.</p>\n", r->layers->n_integer,
                   r->layers->n_layers);
        bool any = r->layers->n_integer < r->layers->n_layers;
        if (any) buf_puts(b, "<table><tr><th>in float</th><th>op</th><th>why</th></tr>\n");
        for (int i = 0; i < r->layers->n_layers; i++) {
            const QuantizedLayer *l = &r->layers->layers[i];
            if (l->integer) continue;
            buf_puts(b, "<tr><td><code>");
            escape(b, l->name);
            buf_printf(b, "</code></td><td>%s</td><td>", l->op);
            escape(b, l->why ? l->why : "");
            buf_puts(b, "</td></tr>\n");
        }
        if (any) buf_puts(b, "</table>\n");
    }
    if (!r->sqnr || !r->sqnr->n) return;
    buf_puts(b, "<h2>Error by layer</h2><p class='note'>Signal-to-quantization-noise ratio of every value against the "
                "fp32 model.</p><table><tr><th>layer</th>"
                "<th class='n'>SQNR, dB</th><th></th></tr>\n");
    for (int i = 0; i < r->sqnr->n; i++) {
        buf_puts(b, "<tr><td><code>");
        escape(b, r->sqnr->rows[i].name);
        buf_printf(b, "</code></td><td class='n'>%.1f</td><td>%s</td></tr>\n", r->sqnr->rows[i].sqnr_db,
                   i == r->sqnr->jump ? "the error jumps here" : "");
    }
    buf_puts(b, "</table>\n");
}

void report_html(const Report *r, Buf *b) {
    const Variant *base = &r->variants[0].v;
    buf_puts(b, "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='viewport' "
                "content='width=device-width'><title>pare: ");
    escape(b, r->model);
    buf_printf(b, "</title><style>%s</style></head><body>\n<h1>", style);
    escape(b, r->model);
    buf_printf(b, "</h1>\n<p>Chosen: <b>%s</b>, written as <code>model.onnx</code> and <code>model.pare</code>.</p>\n",
               r->variants[r->chosen].v.name);
    variant_rows(r, b);
    plots(r, b);
    buf_printf(b,
               "<p class='note'>Accuracy: top-1 with Wilson's 95 %% interval; difference: against fp32 on the same "
               "samples, in points (paired). Latency: one "
               "inference, %d threads, %s, taking turns, %d runs. Calibrated on %" PRId64 " %s with %s.</p>\n",
               base->threads, base->isa, base->latency.rounds, r->calib_samples,
               r->random_calibration ? "random samples: accuracy means nothing" : "samples", r->calibrator);
    if (r->log.data) {
        buf_printf(b, "<h2>Search for --max-drop %g</h2><pre>", r->max_drop);
        escape(b, r->log.data);
        buf_puts(b, "</pre>\n");
    }
    layer_rows(r, b);
    buf_printf(b, "<p class='note'>pare %s; source SHA-256 %s</p>\n</body></html>\n", PARE_VERSION, r->source_sha256);
}
