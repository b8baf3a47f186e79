#include "support/equiv.h"

#include "backends/backend.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t next_random(uint64_t *s) { /* splitmix64 */
    uint64_t z = (*s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double uniform(uint64_t *s) { return (double)(next_random(s) >> 11) * 0x1p-53; }

void equiv_fill(Tensor *t, uint64_t *seed, int64_t max_int) {
    int64_t n = tensor_count(t);
    for (int64_t i = 0; i < n; i++) {
        if (elem_is_float(t->elem))
            tensor_set_f64(t, i, 2 * (uniform(seed) + uniform(seed) + uniform(seed)) - 3);
        else if (t->elem == ELEM_BOOL)
            tensor_set_i64(t, i, (int64_t)(next_random(seed) & 1));
        else
            tensor_set_i64(t, i, (int64_t)(next_random(seed) % (uint64_t)(max_int + 1)));
    }
}

static int64_t bind_dim(void *ctx, const char *name) {
    const EquivOptions *o = ctx;
    size_t n = strlen(name);
    for (const char *p = o->dims; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (!strncmp(p, name, n) && p[n] == '=') return strtoll(p + n + 1, NULL, 10);
    return o->other_dims;
}

/* One graph with its plan, context and results. */
typedef struct Run {
    Graph *g;
    Plan *plan;
    Context *ctx;
    Tensor *outputs;
} Run;

static Status run_start(const Backend *b, const Graph *g, const EquivOptions *o, const Tensor *inputs, Run *r) {
    EquivOptions bound = *o;
    TRY(graph_clone(g, &r->g));
    TRY(graph_bind(r->g, bind_dim, &bound));
    TRY(b->plan(r->g, &(PlanOptions){.threads = 1}, &r->plan));
    TRY(b->context(r->plan, &r->ctx));
    TRY_ALLOC(r->outputs = mem_zalloc((g->n_outputs + 1) * sizeof *r->outputs));
    return b->run(r->ctx, inputs, r->outputs);
}

static void run_end(const Backend *b, Run *r) {
    if (r->ctx) b->context_free(r->ctx);
    if (r->plan) b->plan_free(r->plan);
    graph_free(r->g);
    mem_free(r->outputs);
}

static Status compare(const char *name, const Tensor *a, const Tensor *b, const EquivOptions *o, double *worst) {
    Type x = tensor_type(a), y = tensor_type(b);
    if (!type_equal(&x, &y)) {
        char s[160], t[160];
        return status_make(STATUS_INVALID, "output '%s' is %s, then %s", name, tensor_describe(a, s, sizeof s),
                           tensor_describe(b, t, sizeof t));
    }
    double scale = 1, diff = 0;
    int64_t n = tensor_count(a), at = 0;
    for (int64_t i = 0; i < n; i++) {
        double u = tensor_get_f64(a, i), v = tensor_get_f64(b, i);
        if (isfinite(u) && fabs(u) > scale) scale = fabs(u);
        double d = u == v || (isnan(u) && isnan(v)) ? 0 : fabs(u - v);
        if (!(d <= diff)) diff = d, at = i;
        if (isnan(d)) break;
    }
    diff /= scale;
    if (worst && !(diff <= *worst)) *worst = diff;
    if (diff <= o->tolerance) return NULL;
    return status_make(STATUS_INVALID, "output '%s'[%" PRId64 "]: %.9g, then %.9g (difference %.3g of the largest)",
                       name, at, tensor_get_f64(a, at), tensor_get_f64(b, at), diff);
}

static Status make_inputs(const Graph *g, const EquivOptions *o, Tensor *inputs) {
    EquivOptions bound = *o;
    uint64_t seed = o->seed;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const Type *t = &g->values[g->inputs[i]].type;
        int64_t dims[MAX_RANK] = {0};
        if (t->kind != TYPE_TENSOR || t->rank < 0) return status_make(STATUS_INVALID, "input %u has no shape", i);
        for (int k = 0; k < t->rank; k++) dims[k] = sym_eval(g->syms, t->dims[k], bind_dim, &bound);
        TRY(tensor_new(&inputs[i], t->elem, t->rank, dims));
        equiv_fill(&inputs[i], &seed, o->max_int);
    }
    return NULL;
}

static Status check_with(const Graph *a, const Graph *b, const EquivOptions *o, double *worst, Tensor *inputs,
                         Run r[2]) {
    const Backend *ref = backend_find("ref");
    TRY(make_inputs(a, o, inputs));
    TRY(status_context(run_start(ref, a, o, inputs, &r[0]), "before"));
    TRY(status_context(run_start(ref, b, o, inputs, &r[1]), "after"));
    for (uint32_t i = 0; i < a->n_outputs; i++) {
        const char *name = a->values[a->outputs[i]].name, *other = b->values[b->outputs[i]].name;
        if (strcmp(name, other)) return status_make(STATUS_INVALID, "output '%s' became '%s'", name, other);
        TRY(compare(name, &r[0].outputs[i], &r[1].outputs[i], o, worst));
    }
    return NULL;
}

Status equiv_check(const Graph *a, const Graph *b, const EquivOptions *o, double *worst) {
    if (a->n_inputs != b->n_inputs || a->n_outputs != b->n_outputs)
        return status_make(STATUS_INVALID, "the number of inputs or outputs changed");
    Run r[2] = {{0}, {0}};
    if (worst) *worst = 0;
    Tensor *inputs = mem_zalloc((a->n_inputs + 1) * sizeof *inputs);
    if (!inputs) return status_oom();
    Status st = check_with(a, b, o, worst, inputs, r);
    for (int i = 0; i < 2; i++) run_end(backend_find("ref"), &r[i]);
    for (uint32_t i = 0; i < a->n_inputs; i++) tensor_free(&inputs[i]);
    mem_free(inputs);
    return st;
}
