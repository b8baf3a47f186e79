/* The CPU backend: hand kernels and oneDNN, channels-last, one arena, no allocation per inference. */
#include "backends/backend.h"

#include "backends/cpu/bf16.h"
#include "backends/cpu/plan.h"

#include <string.h>
#include <time.h>

extern const Backend backend_cpu, backend_ref;

/* ---- plan ---- */

static void cpu_plan_free(Plan *p) {
    if (!p) return;
    if (p->reference) backend_ref.plan_free(p->reference);
    for (uint32_t i = 0; i < p->n_owned; i++) p->undo[i](p->owned[i]);
    mem_free(p->owned);
    mem_free(p->undo);
    mem_free(p->steps);
    mem_free(p->info);
    mem_free(p->buffers);
    arena_free(p->memory);
    graph_free(p->graph);
    mem_free(p);
}

/* Everything has a fixed size and whole bytes, and no node owns a subgraph. */
static bool is_static(const Graph *g) {
    for (uint32_t k = 0; k < g->n_order; k++) {
        const Node *n = &g->nodes[g->order[k]];
        if (n->op->flags & OPF_CONTROL) return false;
        for (int i = 0; i < n->n_out; i++) {
            const Type *t = n->out[i] == NO_ID ? NULL : &g->values[n->out[i]].type;
            if (t && (!type_is_static(t) || type_count(t) < 0 || elem_bits(t->elem) < 8)) return false;
        }
    }
    return true;
}

static Status check_bound(const Graph *g) {
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const Value *v = &g->values[g->inputs[i]];
        if (!type_is_static(&v->type))
            return status_make(
                STATUS_USAGE,
                "input '%s' has dimensions without a number; give its shape, as in --shape %s:1x3x224x224", v->name,
                v->name);
    }
    return NULL;
}

static Status fill_plan(Plan *p, const PlanOptions *o) {
    Graph *g = p->graph;
    if (o->inputs) {
        for (uint32_t i = 0; i < g->n_inputs; i++) g->values[g->inputs[i]].type = o->inputs[i];
        TRY(graph_bind(g, NULL, NULL));
    }
    TRY(check_bound(g));
    if (!is_static(g)) return backend_ref.plan(g, o, &p->reference);
    p->threads = o->threads < 1 ? 1 : o->threads;
    p->isa = isa_mask();
    TRY_ALLOC(p->memory = arena_new());
    Arena *scratch = arena_new();
    TRY_ALLOC(scratch);
    Lowering l = {.p = p, .g = g, .o = o, .scratch = scratch};
    Status s = bf16_widen(g, scratch, &l.narrow);
    if (!s) s = lower_graph(&l);
    arena_free(scratch);
    return s;
}

static Status cpu_plan(const Graph *g, const PlanOptions *o, Plan **out) {
    Plan *p = mem_zalloc(sizeof *p);
    if (!p) return status_oom();
    p->backend = &backend_cpu;
    Status s = graph_clone(g, &p->graph);
    if (!s) s = fill_plan(p, o);
    if (s) {
        cpu_plan_free(p);
        return s;
    }
    *out = p;
    return NULL;
}

/* ---- context ---- */

static void cpu_context_free(Context *c) {
    if (!c) return;
    if (c->reference) backend_ref.context_free(c->reference);
    for (int i = 0; c->state && i < c->plan->n_steps; i++)
        if (c->plan->steps[i].state) c->plan->steps[i].state->close(c->state[i]);
    team_destroy(c->team);
    mem_free(c->state);
    mem_free(c->arena);
    mem_free(c->scratch);
    mem_free(c->ms);
    arena_free(c->eval_scratch);
    mem_free(c);
}

static Status fill_context(Context *c) {
    const Plan *p = c->plan;
    if (p->reference) return backend_ref.context(p->reference, &c->reference);
    TRY_ALLOC(c->arena = mem_alloc_aligned(p->arena_bytes));
    TRY_ALLOC(c->scratch = mem_alloc_aligned(p->scratch_bytes));
    TRY_ALLOC(c->ms = mem_zalloc((size_t)(p->n_steps + 1) * sizeof *c->ms));
    TRY_ALLOC(c->eval_scratch = arena_new());
    TRY_ALLOC(c->state = mem_zalloc((size_t)(p->n_steps + 1) * sizeof *c->state));
    for (int i = 0; i < p->n_steps; i++)
        if (p->steps[i].state) TRY(p->steps[i].state->open(&p->steps[i], &c->state[i]));
    if (p->threads > 1 && !(c->team = team_create(p->threads)))
        return status_make(STATUS_ENVIRONMENT, "%d threads could not be started", p->threads);
    return NULL;
}

static Status cpu_context(const Plan *p, Context **out) {
    Context *c = mem_zalloc(sizeof *c);
    if (!c) return status_oom();
    c->plan = p;
    Status s = fill_context(c);
    if (s) {
        cpu_context_free(c);
        return s;
    }
    *out = c;
    return NULL;
}

/* ---- run ---- */

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

typedef struct Tap {
    TapFn fn;
    void *ctx;
} Tap;

static Status call_taps(Context *c, const StepTap *taps, uint32_t n, const Tap *tap) {
    for (uint32_t i = 0; i < n; i++) {
        const Type *t = &c->plan->graph->values[taps[i].value].type;
        Tensor view;
        TRY(tensor_view(&view, t->elem, t->rank, t->dims, operand_ptr(c, &taps[i].where)));
        TRY(tap->fn(tap->ctx, taps[i].value, &view, taps[i].nhwc));
    }
    return NULL;
}

static Status run_steps(Context *c, const Tap *tap) {
    const Plan *p = c->plan;
    if (tap) TRY(call_taps(c, p->input_taps, p->n_input_taps, tap));
    for (int i = 0; i < p->n_steps; i++) {
        const Step *s = &p->steps[i];
        double start = c->profiling ? now_ms() : 0;
        TRY(s->run(s, c));
        if (c->profiling) c->ms[i] += now_ms() - start;
        if (tap && s->n_taps) TRY(call_taps(c, s->taps, s->n_taps, tap));
    }
    return NULL;
}

static Status run_with(Context *c, const Tensor *inputs, Tensor *outputs, const Tap *tap) {
    const Plan *p = c->plan;
    const Graph *g = p->graph;
    c->inputs = inputs;
    FpState saved = fp_enter();
    Status s = run_steps(c, tap);
    fp_leave(saved);
    TRY(s);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const Type *t = &g->values[g->outputs[i]].type;
        TRY(tensor_view(&outputs[i], t->elem, t->rank, t->dims, operand_ptr(c, &p->outputs[i])));
    }
    return NULL;
}

static Status cpu_run(Context *c, const Tensor *inputs, Tensor *outputs) {
    if (c->reference) return backend_ref.run(c->reference, inputs, outputs);
    return run_with(c, inputs, outputs, NULL);
}

static Status cpu_run_tapped(Context *c, const Tensor *inputs, Tensor *outputs, TapFn fn, void *ctx) {
    if (c->reference) return backend_ref.run_tapped(c->reference, inputs, outputs, fn, ctx);
    return run_with(c, inputs, outputs, &(Tap){fn, ctx});
}

static int cpu_steps(const Plan *p, const StepInfo **info) {
    if (p->reference) return backend_ref.steps(p->reference, info);
    *info = p->info;
    return p->n_steps;
}

static void cpu_profile(Context *c, bool on, const double **ms) {
    if (c->reference) {
        backend_ref.profile(c->reference, on, ms);
        return;
    }
    c->profiling = on;
    if (ms) *ms = c->ms;
}

static size_t cpu_arena_bytes(const Plan *p) { return p->arena_bytes + p->scratch_bytes; }

static const char *cpu_isa(void) { return isa_name(isa_best()); }

const Backend backend_cpu = {
    .name = "cpu",
    .doc = "hand kernels per instruction set and oneDNN, channels-last, one arena",
    .plan = cpu_plan,
    .plan_free = cpu_plan_free,
    .context = cpu_context,
    .context_free = cpu_context_free,
    .run = cpu_run,
    .run_tapped = cpu_run_tapped,
    .steps = cpu_steps,
    .profile = cpu_profile,
    .arena_bytes = cpu_arena_bytes,
    .isa = cpu_isa,
};
