/* The public C API over backends/ and frontend/. */
#include "pare/pare.h"

#include "api/load.h"
#include "backends/backend.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { MAX_PLANS = 32 }; /* shapes of one model that stay planned; older plans stay too, more are refused */

/* A plan for one set of input shapes and one number of threads. */
typedef struct Planned {
    Plan *plan;
    Type *inputs;
    int threads;
} Planned;

struct pare_model {
    Graph *graph;
    const Backend *backend;
    pthread_mutex_t lock; /* of plans */
    Planned plans[MAX_PLANS];
    int n_plans;
};

struct pare_context {
    pare_model *model;
    int threads;
    Tensor *inputs, *outputs;
    bool *given;
    Type *types;      /* of the inputs as given */
    const Plan *plan; /* of `context` */
    Context *context; /* NULL before the first run */
    bool stale;       /* shapes changed since `context` was made */
    bool has_run;
};

/* ---- errors ---- */

static int report(Status s, pare_error *error) {
    int code = status_code(s);
    if (error) {
        error->code = code;
        snprintf(error->message, sizeof error->message, "%s", status_text(s));
    }
    status_free(s);
    return code;
}

const char *pare_version(void) { return PARE_VERSION; }

int pare_set_allocator(const pare_allocator *a, pare_error *error) {
    if (!a || !a->allocate || !a->aligned || !a->reallocate || !a->release)
        return report(status_make(STATUS_USAGE, "pare_set_allocator needs all four functions"), error);
    mem_set_allocator(&(MemAllocator){a->allocate, a->aligned, a->reallocate, a->release, a->ctx});
    return report(NULL, error);
}

/* ---- models ---- */

int pare_model_load(const char *path, pare_model **model, pare_error *error) {
    if (!path || !model)
        return report(status_make(STATUS_USAGE, "pare_model_load needs a path and a place for the model"), error);
    *model = NULL;
    pare_model *m = mem_zalloc(sizeof *m);
    if (!m) return report(status_oom(), error);
    m->backend = backend_find("cpu");
    Status s = load_graph(path, &m->graph);
    if (!s && pthread_mutex_init(&m->lock, NULL)) s = status_make(STATUS_ENVIRONMENT, "a lock cannot be made");
    if (s) {
        graph_free(m->graph);
        mem_free(m);
        return report(s, error);
    }
    *model = m;
    return report(NULL, error);
}

void pare_model_free(pare_model *m) {
    if (!m) return;
    for (int i = 0; i < m->n_plans; i++) {
        m->backend->plan_free(m->plans[i].plan);
        mem_free(m->plans[i].inputs);
    }
    pthread_mutex_destroy(&m->lock);
    graph_free(m->graph);
    mem_free(m);
}

int pare_input_count(const pare_model *m) { return (int)m->graph->n_inputs; }
int pare_output_count(const pare_model *m) { return (int)m->graph->n_outputs; }

static const Value *value_at(const Graph *g, const ValueId *ids, uint32_t n, int index) {
    return index >= 0 && (uint32_t)index < n ? &g->values[ids[index]] : NULL;
}
static const Value *input_at(const pare_model *m, int i) {
    return value_at(m->graph, m->graph->inputs, m->graph->n_inputs, i);
}
static const Value *output_at(const pare_model *m, int i) {
    return value_at(m->graph, m->graph->outputs, m->graph->n_outputs, i);
}

const char *pare_input_name(const pare_model *m, int i) { return input_at(m, i) ? input_at(m, i)->name : NULL; }
const char *pare_output_name(const pare_model *m, int i) { return output_at(m, i) ? output_at(m, i)->name : NULL; }

static int describe(const Value *v, pare_tensor *info) {
    if (!v || !info) return PARE_USAGE;
    *info = (pare_tensor){.type = (pare_type)v->type.elem, .rank = v->type.rank};
    for (int i = 0; i < v->type.rank; i++) info->dims[i] = DIM_IS_SYM(v->type.dims[i]) ? -1 : v->type.dims[i];
    return PARE_OK;
}

int pare_input_info(const pare_model *m, int i, pare_tensor *info) { return describe(input_at(m, i), info); }
int pare_output_info(const pare_model *m, int i, pare_tensor *info) { return describe(output_at(m, i), info); }

/* ---- contexts ---- */

void pare_context_free(pare_context *c) {
    if (!c) return;
    if (c->context) c->model->backend->context_free(c->context);
    mem_free(c->inputs);
    mem_free(c->outputs);
    mem_free(c->given);
    mem_free(c->types);
    mem_free(c);
}

int pare_context_new(pare_model *model, int threads, pare_context **context, pare_error *error) {
    if (!model || !context || threads < 1 || threads > 256)
        return report(status_make(STATUS_USAGE, "pare_context_new needs a model and 1 to 256 threads"), error);
    *context = NULL;
    pare_context *c = mem_zalloc(sizeof *c);
    if (!c) return report(status_oom(), error);
    c->model = model;
    c->threads = threads;
    size_t n = model->graph->n_inputs + 1;
    c->inputs = mem_zalloc(n * sizeof *c->inputs);
    c->given = mem_zalloc(n);
    c->types = mem_zalloc(n * sizeof *c->types);
    c->outputs = mem_zalloc((model->graph->n_outputs + 1) * sizeof *c->outputs);
    if (!c->inputs || !c->given || !c->types || !c->outputs) {
        pare_context_free(c);
        return report(status_oom(), error);
    }
    *context = c;
    return report(NULL, error);
}

static Status set_input(pare_context *c, int index, const pare_tensor *t) {
    const Value *v = c ? input_at(c->model, index) : NULL;
    if (!v || !t || (!t->data && t->rank >= 0))
        return status_make(STATUS_USAGE, "pare_set_input: there is no input %d, or no data", index);
    const Type *want = &v->type;
    if ((int)t->type != (int)want->elem)
        return status_make(STATUS_USAGE, "input '%s' takes %s, not %s", v->name, elem_name(want->elem),
                           elem_name((ElemType)t->type) ? elem_name((ElemType)t->type) : "an unknown type");
    if (t->rank < 0 || t->rank > MAX_RANK || (want->rank >= 0 && t->rank != want->rank))
        return status_make(STATUS_USAGE, "input '%s' has %d dimensions, not %d", v->name, want->rank, t->rank);
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] < 0 || (want->rank >= 0 && !DIM_IS_SYM(want->dims[i]) && want->dims[i] != t->dims[i]))
            return status_make(STATUS_USAGE, "input '%s': dimension %d is %lld, not %lld", v->name, i,
                               (long long)want->dims[i], (long long)t->dims[i]);
    Type type = type_tensor(want->elem, t->rank, t->dims);
    if (!c->given[index] || !type_equal(&type, &c->types[index])) c->stale = true;
    c->types[index] = type;
    c->given[index] = true;
    return tensor_view(&c->inputs[index], want->elem, t->rank, t->dims, t->data);
}

int pare_set_input(pare_context *c, int index, const pare_tensor *t, pare_error *error) {
    return report(set_input(c, index, t), error);
}

static bool same_types(const Type *a, const Type *b, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!type_equal(&a[i], &b[i])) return false;
    return true;
}

/* The plan for the context's shapes; made once. The model's lock is held. */
static Status find_plan(pare_context *c, const Plan **out) {
    pare_model *m = c->model;
    uint32_t n = m->graph->n_inputs;
    for (int i = 0; i < m->n_plans; i++)
        if (m->plans[i].threads == c->threads && same_types(m->plans[i].inputs, c->types, n)) {
            *out = m->plans[i].plan;
            return NULL;
        }
    if (m->n_plans == MAX_PLANS)
        return status_make(STATUS_USAGE,
                           "the model has been run with %d sets of shapes already; load it again for more", MAX_PLANS);
    Planned *p = &m->plans[m->n_plans];
    *p = (Planned){.threads = c->threads, .inputs = mem_alloc((n + 1) * sizeof *p->inputs)};
    TRY_ALLOC(p->inputs);
    memcpy(p->inputs, c->types, n * sizeof *p->inputs);
    Status s = m->backend->plan(m->graph, &(PlanOptions){.threads = c->threads, .inputs = p->inputs}, &p->plan);
    if (s) {
        mem_free(p->inputs);
        return s;
    }
    m->n_plans++;
    *out = p->plan;
    return NULL;
}

static Status ensure_context(pare_context *c) {
    if (c->context && !c->stale) return NULL;
    pthread_mutex_lock(&c->model->lock);
    const Plan *plan = NULL;
    Status s = find_plan(c, &plan);
    pthread_mutex_unlock(&c->model->lock);
    TRY(s);
    if (!c->context || plan != c->plan) {
        if (c->context) c->model->backend->context_free(c->context);
        c->context = NULL;
        TRY(c->model->backend->context(plan, &c->context));
        c->plan = plan;
    }
    c->stale = false;
    return NULL;
}

static Status run(pare_context *c) {
    if (!c) return status_make(STATUS_USAGE, "pare_run needs a context");
    const Graph *g = c->model->graph;
    c->has_run = false;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        if (!c->given[i]) return status_make(STATUS_USAGE, "input '%s' was not given", g->values[g->inputs[i]].name);
    TRY(ensure_context(c));
    TRY(c->model->backend->run(c->context, c->inputs, c->outputs));
    c->has_run = true;
    return NULL;
}

int pare_run(pare_context *c, pare_error *error) { return report(run(c), error); }

int pare_get_output(pare_context *c, int index, pare_tensor *t, pare_error *error) {
    if (!c || !t || !output_at(c->model, index))
        return report(status_make(STATUS_USAGE, "there is no output %d", index), error);
    if (!c->has_run) return report(status_make(STATUS_USAGE, "pare_run has not computed anything yet"), error);
    const Tensor *y = &c->outputs[index];
    *t = (pare_tensor){.type = (pare_type)y->elem, .rank = y->rank, .data = y->data, .bytes = y->bytes};
    for (int i = 0; i < y->rank; i++) t->dims[i] = y->dims[i];
    return report(NULL, error);
}
