#include "calib/quantize.h"

#include <string.h>

typedef struct Watched {
    Observer *range;    /* all elements */
    Observer *channels; /* by input channel, for values that feed products */
} Watched;

struct Calibration {
    Watched *values; /* by value id */
    uint32_t n_values;
};

void calibration_free(Calibration *c) {
    if (!c) return;
    for (uint32_t v = 0; c->values && v < c->n_values; v++) {
        observer_free(c->values[v].range);
        observer_free(c->values[v].channels);
    }
    mem_free(c->values);
    mem_free(c);
}

/* ---- calibration ---- */

typedef struct WatchList {
    Watch *items;
    Observer ***slot; /* where each result goes */
    ValueId *taps;
    int n;
} WatchList;

static void add_watch(WatchList *l, Watch w, Observer **slot) {
    l->items[l->n] = w;
    l->slot[l->n] = slot;
    l->taps[l->n++] = w.value;
}

/* The selection with nothing excluded watches whatever a stricter one could: fewer integer nodes only end regions
 * earlier, at values that are watched already or are products' inputs, which all are. */
static Status list_watches(const Graph *g, const QuantizeOptions *o, Arena *a, Calibration *c, WatchList *l) {
    QuantConfig all = o->config;
    all.keep_float = NULL;
    QuantSelection s;
    TRY(quant_select(g, &all, a, &s));
    size_t most = (size_t)g->n_values + 2 * (size_t)s.n_products + 1;
    l->items = ARENA_ARRAY(a, Watch, most);
    l->slot = ARENA_ARRAY(a, Observer **, most);
    l->taps = ARENA_ARRAY(a, ValueId, most);
    bool *seen = ARENA_ARRAY(a, bool, g->n_values);
    TRY_ALLOC(l->items && l->slot && l->taps && seen);
    for (uint32_t i = 0; i < s.n_watch; i++) {
        seen[s.watch[i]] = true;
        add_watch(l, (Watch){.value = s.watch[i]}, &c->values[s.watch[i]].range);
    }
    for (uint32_t i = 0; i < s.n_products; i++) {
        const Node *n = &g->nodes[s.products[i]];
        ValueId v = n->in[0];
        int axis = quant_input_axis(g, n);
        if (!seen[v]) add_watch(l, (Watch){.value = v}, &c->values[v].range);
        seen[v] = true;
        Dim channels = g->values[v].type.dims[axis];
        if (!o->bias_correction || DIM_IS_SYM(channels) || c->values[v].channels) continue;
        bool listed = false;
        for (int k = 0; k < l->n; k++) listed |= l->slot[k] == &c->values[v].channels;
        if (!listed) add_watch(l, (Watch){v, axis, channels}, &c->values[v].channels);
    }
    return NULL;
}

/* The backend taps each value once. */
static uint32_t unique_taps(ValueId *taps, int n) {
    uint32_t m = 0;
    for (int i = 0; i < n; i++) {
        bool seen = false;
        for (uint32_t k = 0; k < m; k++) seen |= taps[k] == taps[i];
        if (!seen) taps[m++] = taps[i];
    }
    return m;
}

static Status observe(const Graph *g, Dataset *samples, const QuantizeOptions *o, Arena *a, WatchList *l) {
    const Backend *backend = backend_find("cpu");
    Type *types = ARENA_ARRAY(a, Type, g->n_inputs);
    Observer **results = ARENA_ARRAY(a, Observer *, l->n);
    TRY_ALLOC(types && results);
    TRY(dataset_types(samples, types, NULL));
    PlanOptions plan = {.threads = 1, .inputs = types, .taps = l->taps};
    plan.n_taps = unique_taps(l->taps, l->n);
    Plan *p;
    TRY(backend->plan(g, &plan, &p));
    EvalModel m = {.backend = backend, .plan = p, .n_inputs = (int)g->n_inputs, .n_outputs = (int)g->n_outputs};
    Status s = calibrate(&m, l->items, l->n, samples, &o->run, results);
    backend->plan_free(p);
    for (int i = 0; !s && i < l->n; i++) *l->slot[i] = results[i];
    return s;
}

Status calibration_new(const Graph *g, Dataset *samples, const QuantizeOptions *o, Calibration **out) {
    Calibration *c = mem_zalloc(sizeof *c);
    Arena *a = arena_new();
    WatchList l = {0};
    Status s = NULL;
    if (c && a) {
        c->n_values = g->n_values;
        c->values = mem_zalloc((g->n_values + 1) * sizeof *c->values);
    }
    if (!c || !a || !c->values) s = status_oom();
    if (!s) s = list_watches(g, o, a, c, &l);
    if (!s && l.n) s = observe(g, samples, o, a, &l);
    arena_free(a);
    if (s) {
        calibration_free(c);
        return s;
    }
    *out = c;
    return NULL;
}

/* ---- ranges ---- */

/* One observer for all watched values of a set. */
static Status set_params(const Graph *g, const Calibration *c, const QuantizeOptions *o, const QuantSelection *s,
                         uint32_t set, ValueQuant *out) {
    Observer *sum;
    const char *name = g->values[set].name;
    TRY(observer_new(0, &sum));
    Status st = NULL;
    for (uint32_t i = 0; !st && i < s->n_watch; i++) {
        ValueId v = s->watch[i];
        if (s->set[v] != set) continue;
        if (!c->values[v].range)
            st = status_make(STATUS_INTERNAL, "value '%s' was not observed", g->values[v].name);
        else
            st = observer_merge(sum, c->values[v].range);
    }
    RangeOptions range = {.calibrator = o->calibrator, .percentile = o->percentile};
    range.spec = (QuantSpec){.elem = o->config.activation, .symmetric = o->config.symmetric};
    float lo, hi;
    QuantParams p;
    if (!st) st = range_choose(sum, &range, name, &lo, &hi);
    if (!st) st = range_params(lo, hi, &range.spec, &p);
    if (!st) *out = (ValueQuant){p.scale, p.zero_point};
    observer_free(sum);
    return st;
}

static Status choose_ranges(const Graph *g, const Calibration *c, const QuantizeOptions *o, const QuantSelection *s,
                            ValueQuant *values) {
    for (uint32_t i = 0; i < s->n_watch; i++) {
        uint32_t set = s->set[s->watch[i]];
        if (values[set].scale == 0) TRY(set_params(g, c, o, s, set, &values[set]));
    }
    return NULL;
}

/* ---- quantization ---- */

typedef struct Means {
    const Calibration *c;
    Arena *a;
} Means;

static const double *input_means(void *ctx, ValueId input) {
    Means *m = ctx;
    const Observer *o = m->c->values[input].channels;
    double *means = o ? ARENA_ARRAY(m->a, double, o->channels) : NULL;
    for (int64_t i = 0; means && i < o->channels; i++) means[i] = observer_channel_mean(o, i);
    return means;
}

static Status fill_report(const Graph *g, const QuantSelection *s, QuantizeReport *r) {
    TRY_ALLOC(r->arena = arena_new());
    TRY_ALLOC(r->layers = ARENA_ARRAY(r->arena, QuantizedLayer, s->n_products + s->n_floats));
    for (uint32_t k = 0; k < g->n_order; k++) {
        NodeId id = g->order[k];
        const char *why = NULL;
        bool is_float = false, is_product = false;
        for (uint32_t i = 0; i < s->n_floats; i++)
            if (s->floats[i].node == id) is_float = true, why = s->floats[i].why;
        for (uint32_t i = 0; i < s->n_products; i++) is_product |= s->products[i] == id;
        if (!is_float && !is_product) continue;
        QuantizedLayer *l = &r->layers[r->n_layers++];
        *l = (QuantizedLayer){
            .name = arena_strdup(r->arena, g->nodes[id].name), .op = g->nodes[id].op->name, .integer = is_product};
        if (why) l->why = arena_strdup(r->arena, why);
        TRY_ALLOC(l->name && (!why || l->why));
        r->n_integer += is_product;
    }
    return NULL;
}

void quantize_report_free(QuantizeReport *r) {
    arena_free(r->arena);
    *r = (QuantizeReport){0};
}

static Status quantize_copy(const Calibration *c, const QuantizeOptions *o, Arena *a, Graph *copy,
                            QuantizeReport *report) {
    /* The copy has other node ids: everything is selected on it, and value ids are the same in both. */
    QuantSelection s;
    TRY(quant_select(copy, &o->config, a, &s));
    ValueQuant *values = ARENA_ARRAY(a, ValueQuant, copy->n_values);
    TRY_ALLOC(values);
    TRY(choose_ranges(copy, c, o, &s, values));
    if (report) TRY(fill_report(copy, &s, report));
    Means means = {c, a};
    return quant_insert(copy, &o->config, &s, values, o->bias_correction ? input_means : NULL, &means);
}

Status quantize_graph(const Graph *g, const Calibration *c, const QuantizeOptions *o, Graph **out,
                      QuantizeReport *report) {
    Arena *a = arena_new();
    Graph *copy = NULL;
    if (report) *report = (QuantizeReport){0};
    Status s = a ? graph_clone(g, &copy) : status_oom();
    if (!s) s = quantize_copy(c, o, a, copy, report);
    arena_free(a);
    if (s) {
        graph_free(copy);
        if (report) quantize_report_free(report);
        return s;
    }
    *out = copy;
    return NULL;
}
