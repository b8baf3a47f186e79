#include "calib/search.h"

#include "passes/pass.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- selections ---- */

/* The user's exclusions, and a set of names that is float (or, inverted, everything but it is). */
typedef struct Choice {
    const QuantizeOptions *user;
    const LayerRanking *ranking;
    int first, count; /* rows of the ranking that are meant */
    bool only;        /* true: just these are integer; false: just these are float */
    char why[96];
} Choice;

static int row_of(const LayerRanking *r, const char *name) {
    for (int i = 0; i < r->n; i++)
        if (!strcmp(r->layers[i].name, name)) return i;
    return -1;
}

static bool choose_float(void *ctx, const Graph *g, const Node *n, const char **why) {
    Choice *c = ctx;
    const QuantConfig *user = &c->user->config;
    if (user->keep_float && user->keep_float(user->ctx, g, n, why)) return true;
    int row = row_of(c->ranking, n->name);
    if (row < 0) return false;
    bool meant = row >= c->first && row < c->first + c->count;
    if (meant == c->only) return false;
    if (!c->only)
        snprintf(c->why, sizeof c->why, "--max-drop: in int8 it alone brings the output's SQNR down to %.1f dB",
                 c->ranking->layers[row].sqnr_db);
    *why = c->only ? "" : c->why;
    return true;
}

static Status quantize_choice(const Graph *g, const Calibration *c, Choice *choice, Graph **out,
                              QuantizeReport *report) {
    QuantizeOptions o = *choice->user;
    o.config.keep_float = choose_float;
    o.config.ctx = choice;
    return quantize_graph(g, c, &o, out, report);
}

/* A plan of the integer form of a Q/DQ graph. */
static Status plan_integer(const Graph *qdq, const Backend *b, const Type *types, Plan **out) {
    Graph *copy;
    TRY(graph_clone(qdq, &copy));
    Status s = pipeline_run(copy, "integer,fold,dce,cse", &(PipelineOptions){0});
    PlanOptions po = {.threads = 1, .inputs = types};
    if (!s) s = b->plan(copy, &po, out);
    graph_free(copy);
    return s;
}

static Status model_types(const Graph *g, Dataset *ds, Type **types) {
    TRY_ALLOC(*types = mem_zalloc((g->n_inputs + 1) * sizeof **types));
    return dataset_types(ds, *types, NULL);
}

static EvalModel eval_model(const Graph *g, const Backend *b, const Plan *p) {
    return (EvalModel){.backend = b, .plan = p, .n_inputs = (int)g->n_inputs, .n_outputs = (int)g->n_outputs};
}

/* ---- ranking ---- */

void ranking_free(LayerRanking *r) {
    for (int i = 0; i < r->n; i++) {
        mem_free(r->layers[i].name);
        mem_free(r->layers[i].op);
    }
    mem_free(r->layers);
    *r = (LayerRanking){0};
}

/* Names of the integer products. */
static Status list_layers(const Graph *g, const Calibration *c, const QuantizeOptions *o, LayerRanking *out) {
    Graph *q;
    QuantizeReport r;
    TRY(quantize_graph(g, c, o, &q, &r));
    graph_free(q);
    Status s = (out->layers = mem_zalloc((size_t)(r.n_layers + 1) * sizeof *out->layers)) ? NULL : status_oom();
    for (int i = 0; !s && out->layers && i < r.n_layers; i++) {
        if (!r.layers[i].integer) continue;
        LayerCost *l = &out->layers[out->n++];
        l->name = mem_strdup(r.layers[i].name);
        l->op = mem_strdup(r.layers[i].op);
        if (!l->name || !l->op) s = status_oom();
    }
    quantize_report_free(&r);
    return s;
}

/* Weights of the product, times the positions it is applied at when time is what counts (symbolic sizes, such as the
 * batch, are the same for all layers and left out). */
static double layer_price(const Graph *g, const char *name, Objective objective) {
    NodeId id = graph_find_node(g, name);
    const Node *n = id == NO_ID ? NULL : &g->nodes[id];
    const Tensor *w = n && n->n_in > 1 ? graph_constant(g, n->in[1]) : NULL;
    if (!w) return 1;
    double price = (double)tensor_count(w);
    const Type *y = &g->values[n->out[0]].type;
    bool conv = op_is(n, "Conv");
    for (int i = conv ? 2 : 1; objective == OBJECTIVE_LATENCY && i < y->rank - (conv ? 0 : 1); i++)
        if (!DIM_IS_SYM(y->dims[i])) price *= (double)y->dims[i];
    return price > 1 ? price : 1;
}

/* Noise power relative to the signal, for each unit of the price. */
static double harm(const LayerCost *l) { return pow(10, -l->sqnr_db / 10) / l->price; }

static int worst_first(const void *a, const void *b) {
    const LayerCost *x = a, *y = b;
    double p = harm(x), q = harm(y);
    if (p != q) return p > q ? -1 : 1;
    return strcmp(x->name, y->name);
}

static Status cost_of(const Graph *g, const Calibration *c, Choice *choice, const EvalModel *reference,
                      const Type *types, Dataset *ds, double *sqnr_db) {
    Graph *q;
    Plan *p = NULL;
    EvalResult r;
    TRY(quantize_choice(g, c, choice, &q, NULL));
    Status s = plan_integer(q, reference->backend, types, &p);
    graph_free(q);
    if (s) return s;
    EvalModel m = eval_model(g, reference->backend, p);
    RunOptions run = choice->user->run;
    run.progress = NULL;
    s = evaluate(&m, reference, ds, &run, NULL, NULL, &r);
    reference->backend->plan_free(p);
    if (!s) *sqnr_db = error_sqnr_db(&r.first_output);
    return s;
}

Status rank_layers(const Graph *g, const Calibration *c, const QuantizeOptions *o, Dataset *samples, int reads,
                   Objective objective, LayerRanking *out) {
    *out = (LayerRanking){0};
    const Backend *b = backend_find("cpu");
    Dataset *head = NULL;
    Type *types = NULL;
    Plan *p = NULL;
    double *costs = NULL;
    Status s = list_layers(g, c, o, out);
    if (!s) s = dataset_head(samples, reads, &head);
    if (!s) s = model_types(g, head, &types);
    PlanOptions po = {.threads = 1, .inputs = types};
    if (!s) s = b->plan(g, &po, &p);
    if (!s && !(costs = mem_zalloc((size_t)(out->n + 1) * sizeof *costs))) s = status_oom();
    EvalModel reference = eval_model(g, b, p);
    for (int i = 0; !s && i < out->n; i++) {
        Choice choice = {.user = o, .ranking = out, .first = i, .count = 1, .only = true};
        s = cost_of(g, c, &choice, &reference, types, head, &costs[i]);
        if (o->run.progress) o->run.progress(o->run.progress_ctx, i + 1, out->n);
    }
    for (int i = 0; !s && costs && i < out->n; i++) {
        out->layers[i].sqnr_db = costs[i];
        out->layers[i].price = layer_price(g, out->layers[i].name, objective);
    }
    if (!s) qsort(out->layers, (size_t)out->n, sizeof *out->layers, worst_first);
    if (p) b->plan_free(p);
    dataset_free(head);
    mem_free(types);
    mem_free(costs);
    if (s) ranking_free(out);
    return s;
}

/* ---- bisection ---- */

typedef struct Search {
    const Graph *g;
    const Calibration *c;
    const QuantizeOptions *o;
    const LayerRanking *ranking;
    const EvalModel *float_model;
    Dataset *ds;
    const SearchOptions *s;
    const Type *types;
} Search;

static double drop_points(const EvalResult *r) {
    return 100.0 * (double)(r->correct_b - r->correct_a) / (double)r->samples;
}

/* Quantizes with the first n layers in float and measures the drop. */
static Status try_float(Search *x, int n, SearchResult *out, QuantizeReport *report) {
    Choice choice = {.user = x->o, .ranking = x->ranking, .count = n};
    Plan *p = NULL;
    EvalResult r;
    *out = (SearchResult){.n_float = n, .evaluations = out->evaluations + 1};
    TRY(quantize_choice(x->g, x->c, &choice, &out->graph, report));
    Status s = plan_integer(out->graph, x->float_model->backend, x->types, &p);
    EvalModel m = eval_model(x->g, x->float_model->backend, p);
    if (!s) s = evaluate(&m, x->float_model, x->ds, &x->o->run, NULL, NULL, &r);
    if (p) x->float_model->backend->plan_free(p);
    if (s) return s;
    out->drop = drop_points(&r);
    char line[128];
    snprintf(line, sizeof line, "%d of %d layers in float: drop %.3f points", n, x->ranking->n, out->drop);
    if (x->s->say) x->s->say(x->s->ctx, line);
    return NULL;
}

static void drop_result(SearchResult *r, QuantizeReport *report) {
    graph_free(r->graph);
    r->graph = NULL;
    quantize_report_free(report);
}

static Status bisect(Search *x, SearchResult *best, QuantizeReport *report) {
    int low = 0, high = x->ranking->n; /* low fails (0 is the all-int8 model), high is all float */
    SearchResult at = {0};
    QuantizeReport text = {0};
    while (high - low > 1) {
        if (x->s->deadline_ms > 0 && x->s->clock_ms() > x->s->deadline_ms) {
            if (x->s->say) x->s->say(x->s->ctx, "--time-budget is used up: the best so far is taken");
            break;
        }
        /* Few layers usually do: the probe grows from 1 until it holds, then halves. */
        int probe = high == x->ranking->n ? (low ? 2 * low : 1) : (low + high) / 2;
        if (probe >= high) probe = (low + high) / 2;
        Status s = try_float(x, probe, &at, &text);
        if (s) {
            drop_result(&at, &text);
            return s;
        }
        best->evaluations = at.evaluations;
        if (at.drop > x->s->max_drop + 1e-9) {
            low = probe;
            drop_result(&at, &text);
            continue;
        }
        high = probe;
        drop_result(best, report);
        *best = at;
        *report = text;
        at.graph = NULL;
        text = (QuantizeReport){0};
    }
    return NULL;
}

Status search_mixed(const Graph *g, const Calibration *c, const QuantizeOptions *o, const LayerRanking *ranking,
                    const EvalModel *float_model, Dataset *deciding, const SearchOptions *s, SearchResult *out,
                    QuantizeReport *report) {
    *out = (SearchResult){0};
    *report = (QuantizeReport){0};
    Type *types = NULL;
    Status st = model_types(g, deciding, &types);
    Search x = {g, c, o, ranking, float_model, deciding, s, types};
    if (!st) st = bisect(&x, out, report);
    mem_free(types);
    if (st) drop_result(out, report);
    return st;
}
