/* The reference backend: evaluates the op table's functions node by node. Slow, complete, the oracle of the others.
 * Handles data-dependent shapes and subgraphs; allocates as it goes. */
#include "backends/backend.h"

#include <string.h>
#include <time.h>

extern const Backend backend_ref;

struct Plan {
    const Backend *backend;
    Graph *graph; /* bound to the plan's shapes */
    StepInfo *steps;
    bool *tapped; /* by value id */
};

struct Context {
    const Plan *plan;
    Tensor *values;     /* by value id; owned unless the value is an input */
    uint32_t *last_use; /* by value id: position in the order after which it is not needed */
    Arena *scratch;
    double *ms;
    bool profiling;
};

/* Runs one graph: the root, or a subgraph with its owner's captures. */
typedef struct Frame {
    const Graph *g;
    Tensor *values;
    const uint32_t *last_use;
    Arena *scratch;
    double *ms; /* NULL when nobody profiles */
    const bool *tapped;
    TapFn tap;
    void *tap_ctx;
} Frame;

static Status run_subgraph(EvalCtx *c, const Graph *sub, int n_in, const Tensor *in, int n_out, Tensor *out);

static const Tensor *value_tensor(const Frame *f, ValueId v) {
    if (v == NO_ID) return NULL;
    return f->g->values[v].constant ? f->g->values[v].constant : &f->values[v];
}

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static Status eval_node(Frame *f, const Node *n) {
    arena_reset(f->scratch);
    int n_all = n->n_in + n->n_captures;
    const Tensor **in = ARENA_ARRAY(f->scratch, const Tensor *, n_all);
    Tensor *out = ARENA_ARRAY(f->scratch, Tensor, n->n_out);
    TRY_ALLOC(in && out);
    for (int i = 0; i < n_all; i++) in[i] = value_tensor(f, n->in[i]);
    EvalCtx c = {.g = f->g, .node = n, .scratch = f->scratch, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out};
    c.captures = in + n->n_in;
    c.run_subgraph = run_subgraph;
    Status s = n->op->eval(&c);
    for (int i = 0; i < n->n_out; i++) {
        if (s || n->out[i] == NO_ID)
            tensor_free(&out[i]);
        else
            f->values[n->out[i]] = out[i];
    }
    return s;
}

static void release_dead(Frame *f, const Node *n, uint32_t position) {
    for (int i = 0; i < n->n_in + n->n_captures; i++)
        if (n->in[i] != NO_ID && f->last_use[n->in[i]] == position) tensor_free(&f->values[n->in[i]]);
    for (int i = 0; i < n->n_out; i++)
        if (n->out[i] != NO_ID && f->last_use[n->out[i]] == position) tensor_free(&f->values[n->out[i]]);
}

static Status tap_outputs(Frame *f, const Node *n) {
    for (int i = 0; f->tap && i < n->n_out; i++)
        if (n->out[i] != NO_ID && f->tapped[n->out[i]])
            TRY(f->tap(f->tap_ctx, n->out[i], &f->values[n->out[i]], false));
    return NULL;
}

static Status run_frame(Frame *f) {
    for (uint32_t i = 0; i < f->g->n_order; i++) {
        const Node *n = &f->g->nodes[f->g->order[i]];
        double start = f->ms ? now_ms() : 0;
        TRY(eval_node(f, n));
        if (f->ms) f->ms[i] += now_ms() - start;
        TRY(tap_outputs(f, n));
        release_dead(f, n, i);
    }
    return NULL;
}

/* Position after which each value is dead: UINT32_MAX for outputs and for inputs (the caller owns those). */
static void find_last_uses(const Graph *g, uint32_t *last_use) {
    for (uint32_t i = 0; i < g->n_order; i++) {
        const Node *n = &g->nodes[g->order[i]];
        for (int k = 0; k < n->n_in + n->n_captures; k++)
            if (n->in[k] != NO_ID) last_use[n->in[k]] = i;
        for (int k = 0; k < n->n_out; k++)
            if (n->out[k] != NO_ID) last_use[n->out[k]] = i;
    }
    for (uint32_t v = 0; v < g->n_values; v++)
        if (g->values[v].is_output || g->values[v].is_input || g->values[v].is_capture || g->values[v].constant)
            last_use[v] = UINT32_MAX;
}

static void free_values(const Graph *g, Tensor *values) {
    for (uint32_t v = 0; v < g->n_values; v++)
        if (!g->values[v].is_input && !g->values[v].is_capture) tensor_free(&values[v]);
}

/* An owned tensor of the caller for output k of the frame. */
static Status take_output(const Frame *f, uint32_t k, Tensor *out) {
    const Tensor *t = value_tensor(f, f->g->outputs[k]);
    if (t->blob) {
        *out = tensor_ref(t);
        return NULL;
    }
    return tensor_clone(out, t);
}

static Status run_inner(EvalCtx *c, const Graph *sub, Frame *f, int n_in, const Tensor *in, int n_out, Tensor *out) {
    for (int i = 0; i < n_in; i++) f->values[sub->inputs[i]] = in[i];
    for (uint32_t i = 0; i < sub->n_captures; i++)
        f->values[sub->captures[i].inner] = *c->captures[sub->captures[i].slot - c->node->n_in];
    TRY(run_frame(f));
    for (int i = 0; i < n_out; i++) TRY(take_output(f, (uint32_t)i, &out[i]));
    return NULL;
}

static Status run_subgraph(EvalCtx *c, const Graph *sub, int n_in, const Tensor *in, int n_out, Tensor *out) {
    if ((uint32_t)n_in != sub->n_inputs || (uint32_t)n_out != sub->n_outputs)
        return eval_error(c, STATUS_INVALID, "subgraph '%s' has %u inputs and %u outputs, expected %d and %d",
                          sub->name, sub->n_inputs, sub->n_outputs, n_in, n_out);
    Arena *memory = arena_new(), *scratch = arena_new();
    Frame f = {.g = sub, .scratch = scratch};
    uint32_t *last_use = memory ? ARENA_ARRAY(memory, uint32_t, sub->n_values) : NULL;
    f.values = memory ? ARENA_ARRAY(memory, Tensor, sub->n_values) : NULL;
    f.last_use = last_use;
    Status s = scratch && last_use && f.values ? NULL : status_oom();
    if (!s) {
        find_last_uses(sub, last_use);
        s = run_inner(c, sub, &f, n_in, in, n_out, out);
        free_values(sub, f.values);
    }
    arena_free(memory);
    arena_free(scratch);
    return s;
}

/* ---- the vtable ---- */

static void ref_plan_free(Plan *p) {
    if (!p) return;
    graph_free(p->graph);
    mem_free(p->steps);
    mem_free(p->tapped);
    mem_free(p);
}

static Status fill_plan(Plan *p, const PlanOptions *o) {
    Graph *g = p->graph;
    if (o->inputs) {
        for (uint32_t i = 0; i < g->n_inputs; i++) g->values[g->inputs[i]].type = o->inputs[i];
        TRY(graph_bind(g, NULL, NULL));
    }
    TRY_ALLOC(p->steps = mem_zalloc((g->n_order + 1) * sizeof *p->steps));
    TRY_ALLOC(p->tapped = mem_zalloc(g->n_values + 1));
    for (uint32_t i = 0; i < o->n_taps; i++) p->tapped[o->taps[i]] = true;
    for (uint32_t i = 0; i < g->n_order; i++) {
        const Node *n = &g->nodes[g->order[i]];
        p->steps[i] = (StepInfo){.name = n->name, .op = n->op->name, .kernel = "ref"};
    }
    return NULL;
}

static Status ref_plan(const Graph *g, const PlanOptions *o, Plan **out) {
    Plan *p = mem_zalloc(sizeof *p);
    if (!p) return status_oom();
    p->backend = &backend_ref;
    Status s = graph_clone(g, &p->graph);
    if (!s) s = fill_plan(p, o);
    if (s) {
        ref_plan_free(p);
        return s;
    }
    *out = p;
    return NULL;
}

static void ref_context_free(Context *c) {
    if (!c) return;
    if (c->values) free_values(c->plan->graph, c->values);
    mem_free(c->values);
    mem_free(c->last_use);
    mem_free(c->ms);
    arena_free(c->scratch);
    mem_free(c);
}

static Status ref_context(const Plan *p, Context **out) {
    Context *c = mem_zalloc(sizeof *c);
    if (!c) return status_oom();
    c->plan = p;
    c->values = mem_zalloc((p->graph->n_values + 1) * sizeof *c->values);
    c->last_use = mem_zalloc((p->graph->n_values + 1) * sizeof *c->last_use);
    c->ms = mem_zalloc((p->graph->n_order + 1) * sizeof *c->ms);
    c->scratch = arena_new();
    if (!c->values || !c->last_use || !c->ms || !c->scratch) {
        ref_context_free(c);
        return status_oom();
    }
    find_last_uses(p->graph, c->last_use);
    *out = c;
    return NULL;
}

static Status ref_run_tapped(Context *c, const Tensor *inputs, Tensor *outputs, TapFn tap, void *tap_ctx) {
    const Graph *g = c->plan->graph;
    free_values(g, c->values); /* the previous run's outputs */
    Frame f = {.g = g, .values = c->values, .last_use = c->last_use, .scratch = c->scratch, .tapped = c->plan->tapped};
    f.ms = c->profiling ? c->ms : NULL;
    f.tap = tap;
    f.tap_ctx = tap_ctx;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        c->values[g->inputs[i]] = inputs[i];
        if (tap && f.tapped[g->inputs[i]]) TRY(tap(tap_ctx, g->inputs[i], &inputs[i], false));
    }
    TRY(run_frame(&f));
    for (uint32_t k = 0; k < g->n_outputs; k++) {
        outputs[k] = *value_tensor(&f, g->outputs[k]);
        outputs[k].blob = NULL; /* a view into the context */
    }
    return NULL;
}

static Status ref_run(Context *c, const Tensor *inputs, Tensor *outputs) {
    return ref_run_tapped(c, inputs, outputs, NULL, NULL);
}

static int ref_steps(const Plan *p, const StepInfo **info) {
    *info = p->steps;
    return (int)p->graph->n_order;
}

static void ref_profile(Context *c, bool on, const double **ms) {
    c->profiling = on;
    if (ms) *ms = c->ms;
}

static size_t ref_arena_bytes(const Plan *p) {
    (void)p;
    return 0;
}

static const char *ref_isa(void) { return "plain"; }

const Backend backend_ref = {
    .name = "ref",
    .doc = "plain C evaluation of the op table, node by node",
    .plan = ref_plan,
    .plan_free = ref_plan_free,
    .context = ref_context,
    .context_free = ref_context_free,
    .run = ref_run,
    .run_tapped = ref_run_tapped,
    .steps = ref_steps,
    .profile = ref_profile,
    .arena_bytes = ref_arena_bytes,
    .isa = ref_isa,
};
