/* Lowering: storage of values, steps, and the walk over the graph. */
#include "backends/cpu/plan.h"

#include "backends/cpu/convert.h"

#include <limits.h>
#include <string.h>

static const LowerRow rows[] = {
#define LOWER(domain, op, fn, slices) {domain, #op, fn, slices},
#include "backends/cpu/lower.def"
#undef LOWER
};

const LowerRow *lower_row(const Node *n) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strcmp(rows[i].op, n->op->name) && !strcmp(rows[i].domain, n->op->domain)) return &rows[i];
    return NULL;
}

bool lower_slices(const Lowering *l, NodeId id) {
    const LowerRow *row = lower_row(&l->g->nodes[id]);
    return row && row->slices;
}

/* ---- plan memory ---- */

Status plan_own(Plan *p, void *object, void (*undo)(void *)) {
    if (p->n_owned == p->cap_owned) {
        uint32_t cap = p->cap_owned ? 2 * p->cap_owned : 64;
        void **owned = mem_realloc(p->owned, cap * sizeof *owned);
        if (owned) p->owned = owned;
        void (**undos)(void *) = owned ? mem_realloc(p->undo, cap * sizeof *undos) : NULL;
        if (undos) p->undo = undos;
        if (!undos) {
            undo(object);
            return status_oom();
        }
        p->cap_owned = cap;
    }
    p->owned[p->n_owned] = object;
    p->undo[p->n_owned++] = undo;
    return NULL;
}

Status plan_memory(Plan *p, size_t bytes, void **out) {
    void *m = mem_alloc_aligned(bytes);
    if (!m) return status_oom();
    TRY(plan_own(p, m, mem_free));
    *out = m;
    return NULL;
}

Status plan_floats(Plan *p, const Tensor *t, const float **out) {
    if (t->elem == ELEM_F32 && (uintptr_t)t->data % _Alignof(float) == 0) {
        *out = (const float *)(const void *)t->data;
        return NULL;
    }
    void *m;
    TRY(plan_memory(p, (size_t)tensor_count(t) * sizeof(float), &m));
    tensor_to_f32(t, m);
    *out = m;
    return NULL;
}

Status plan_bytes(Plan *p, const Tensor *t, const void **out) {
    size_t align = (size_t)elem_bits(t->elem) / 8;
    if (align < 2 || (uintptr_t)t->data % align == 0) {
        *out = t->data;
        return NULL;
    }
    void *m;
    TRY(plan_memory(p, t->bytes, &m));
    memcpy(m, t->data, t->bytes);
    *out = m;
    return NULL;
}

/* ---- storage ---- */

bool has_nhwc(const Type *t) { return t->rank >= 3 && t->rank <= 5; }

Layout lower_layout(const Lowering *l, ValueId v) { return l->primary[v]; }

void lower_strides(const Type *t, Layout layout, int64_t ld, int64_t *strides) {
    if (t->rank == 0) return;
    int last = t->rank - 1;
    if (layout == LAYOUT_PLAIN) {
        strides[last] = 1;
        for (int i = last; i-- > 0;) strides[i] = strides[i + 1] * t->dims[i + 1];
        return;
    }
    strides[1] = 1;
    strides[last] = ld;
    for (int i = last; i-- > 2;) strides[i] = strides[i + 1] * t->dims[i + 1];
    strides[0] = strides[2] * t->dims[2];
}

static int64_t spatial(const Type *t) {
    int64_t n = 1;
    for (int i = 2; i < t->rank; i++) n *= t->dims[i];
    return n;
}

/* Bytes of a value; its element type has whole bytes (checked by plan creation). */
static size_t value_bytes(const Type *t) {
    size_t bytes = 0;
    if (!elem_bytes(t->elem, type_count(t), &bytes)) bytes = 0;
    return bytes;
}

static Status new_buffer(Plan *p, size_t bytes, uint32_t *index) {
    if (p->n_buffers == p->cap_buffers) {
        uint32_t cap = p->cap_buffers ? 2 * p->cap_buffers : 64;
        Buffer *b = mem_realloc(p->buffers, cap * sizeof *b);
        TRY_ALLOC(b);
        p->buffers = b;
        p->cap_buffers = cap;
    }
    p->buffers[p->n_buffers] = (Buffer){.bytes = bytes ? bytes : 1, .first = INT_MAX, .last = -1};
    *index = p->n_buffers++;
    return NULL;
}

Status lower_buffer(Lowering *l, size_t bytes, Operand *out) {
    *out = (Operand){.at = AT_ARENA};
    return new_buffer(l->p, bytes, &out->index);
}

static bool same_bytes(const Type *t, int64_t ld) { return t->dims[1] == ld && (spatial(t) == 1 || t->dims[1] == 1); }

static Status constant_operand(Lowering *l, ValueId v, Layout layout, Operand *out) {
    const Tensor *t = l->g->values[v].constant;
    const void *bytes;
    TRY(plan_bytes(l->p, t, &bytes));
    if (layout == LAYOUT_NHWC && !same_bytes(lower_type(l, v), t->dims[1])) {
        void *m;
        TRY(plan_memory(l->p, t->bytes, &m));
        const ConvertOp op = convert_op(lower_type(l, v), LAYOUT_NHWC, t->dims[1]);
        convert_run(&op, bytes, m, NULL);
        bytes = m;
    }
    *out = (Operand){.at = AT_CONST, .ptr = bytes};
    return NULL;
}

Status lower_constant(Lowering *l, ValueId v, Operand *out) { return constant_operand(l, v, LAYOUT_PLAIN, out); }

static Status run_convert(const Step *s, Context *c) {
    convert_run(s->op, STEP_IN(s, c, 0), STEP_OUT(s, c, 0), c->team);
    return NULL;
}

/* A step from the primary storage to `layout`, dense. */
static Status convert_value(Lowering *l, ValueId v, Layout layout) {
    const Type *t = lower_type(l, v);
    Layout from = l->primary[v];
    Storage src = l->storage[v][from], dst = {.ld = t->rank > 1 ? t->dims[1] : 0};
    uint32_t index;
    TRY(new_buffer(l->p, value_bytes(t), &index));
    dst.where = (Operand){.at = AT_ARENA, .index = index};
    Step *s;
    const char *name = l->g->values[v].name;
    TRY(lower_step(l, name, layout == LAYOUT_NHWC ? "to channels-last" : "to channels-first", "convert", run_convert,
                   sizeof(ConvertOp), 1, 1, &s));
    ConvertOp *op = s->op;
    *op = from == layout ? convert_compact(t, layout, src.ld)
                         : convert_op(t, layout, from == LAYOUT_NHWC ? src.ld : dst.ld);
    s->in[0] = src.where;
    s->out[0] = dst.where;
    TRY(lower_commit(l, s));
    l->storage[v][layout] = dst;
    return NULL;
}

Status lower_read(Lowering *l, ValueId v, Layout layout, Operand *out, int64_t *ld) {
    const Type *t = lower_type(l, v);
    int64_t channels = t->rank > 1 ? t->dims[1] : 1;
    if (l->g->values[v].constant) {
        if (ld) *ld = channels;
        return constant_operand(l, v, layout, out);
    }
    Storage *have = &l->storage[v][layout];
    const Storage *primary = &l->storage[v][l->primary[v]];
    if (primary->where.at == AT_NONE)
        return status_make(STATUS_INTERNAL, "value '%s' is read before it is computed", l->g->values[v].name);
    bool fits = have->where.at != AT_NONE && (layout == LAYOUT_PLAIN || ld || have->ld == channels);
    if (!fits && has_nhwc(t) && same_bytes(t, primary->ld))
        *have = *primary;
    else if (!fits)
        TRY(convert_value(l, v, layout));
    *out = have->where;
    if (ld) *ld = have->ld;
    return NULL;
}

static Status add_tap(Lowering *l, ValueId v, Operand where, Layout layout) {
    if (!l->tapped[v]) return NULL;
    StepTap *taps = ARENA_ARRAY(l->scratch, StepTap, l->n_pending + 1);
    TRY_ALLOC(taps);
    if (l->n_pending) memcpy(taps, l->pending, l->n_pending * sizeof *taps);
    taps[l->n_pending++] = (StepTap){v, where, layout == LAYOUT_NHWC};
    l->pending = taps;
    return NULL;
}

Status lower_write(Lowering *l, ValueId v, Layout layout, Operand *out, int64_t *ld) {
    const Type *t = lower_type(l, v);
    Storage s = l->slice[v];
    if (s.where.at == AT_NONE || layout != LAYOUT_NHWC || !ld) {
        uint32_t index;
        TRY(new_buffer(l->p, value_bytes(t), &index));
        s = (Storage){.where = {.at = AT_ARENA, .index = index}, .ld = t->rank > 1 ? t->dims[1] : 0};
    }
    l->primary[v] = layout;
    l->storage[v][layout] = s;
    *out = s.where;
    if (ld) *ld = s.ld;
    return add_tap(l, v, s.where, layout);
}

static Status run_nothing(const Step *s, Context *c) {
    (void)s;
    (void)c;
    return NULL;
}

Status lower_alias(Lowering *l, ValueId v, Layout layout, Operand where, int64_t ld) {
    l->primary[v] = layout;
    l->storage[v][layout] = (Storage){where, ld};
    if (!l->tapped[v]) return NULL;
    TRY(add_tap(l, v, where, layout));
    Step *s;
    TRY(lower_step(l, l->g->values[v].name, "view", "none", run_nothing, 0, 1, 0, &s));
    s->in[0] = where;
    return lower_commit(l, s);
}

/* ---- steps ---- */

Status lower_step(Lowering *l, const char *name, const char *label, const char *kernel, StepFn run, size_t op_bytes,
                  int n_in, int n_out, Step **step) {
    Plan *p = l->p;
    Step *s = arena_alloc(l->scratch, sizeof *s);
    TRY_ALLOC(s);
    if (p->n_steps == p->cap_steps) {
        int cap = p->cap_steps ? 2 * p->cap_steps : 64;
        Step *steps = mem_realloc(p->steps, (size_t)cap * sizeof *steps);
        if (steps) p->steps = steps;
        StepInfo *info = steps ? mem_realloc(p->info, (size_t)cap * sizeof *info) : NULL;
        TRY_ALLOC(info);
        p->info = info;
        p->cap_steps = cap;
    }
    s->run = run;
    s->n_in = (uint32_t)n_in;
    s->n_out = (uint32_t)n_out;
    s->op = arena_alloc_aligned(p->memory, op_bytes);
    s->in = ARENA_ARRAY(p->memory, Operand, n_in);
    s->out = ARENA_ARRAY(p->memory, Operand, n_out);
    StepInfo info = {.name = arena_strdup(p->memory, name), .op = arena_strdup(p->memory, label)};
    info.kernel = arena_strdup(p->memory, kernel);
    TRY_ALLOC(s->op && s->in && s->out && info.name && info.op && info.kernel);
    p->info[p->n_steps] = info;
    *step = s;
    return NULL;
}

static void touch(Plan *p, const Operand *o, int step) {
    if (o->at != AT_ARENA) return;
    Buffer *b = &p->buffers[o->index];
    if (step < b->first) b->first = step;
    if (step > b->last) b->last = step;
}

Status lower_commit(Lowering *l, Step *s) {
    Plan *p = l->p;
    for (uint32_t i = 0; i < s->n_in; i++) touch(p, &s->in[i], p->n_steps);
    for (uint32_t i = 0; i < s->n_out; i++) touch(p, &s->out[i], p->n_steps);
    if (s->scratch_bytes > p->scratch_bytes) p->scratch_bytes = s->scratch_bytes;
    if (l->n_pending) {
        StepTap *taps = ARENA_ARRAY(p->memory, StepTap, l->n_pending);
        TRY_ALLOC(taps);
        memcpy(taps, l->pending, l->n_pending * sizeof *taps);
        s->taps = taps;
        s->n_taps = l->n_pending;
        l->n_pending = 0;
    }
    p->steps[p->n_steps++] = *s;
    return NULL;
}

Status lower_simple(Lowering *l, const Node *n, const char *label, const SimpleStep *step) {
    Step *s;
    TRY(lower_step(l, n->name, label, step->kernel, step->run, step->op_bytes, 1, 1, &s));
    memcpy(s->op, step->op, step->op_bytes);
    s->in[0] = step->x;
    s->out[0] = step->y;
    return lower_commit(l, s);
}

/* ---- the walk ---- */

static Status lower_node(Lowering *l, NodeId id) {
    const Group *group = l->group[id];
    if (group && group->tail != id) return NULL; /* made with its tail */
    NodeId root = group ? group->root : id;
    const LowerRow *row = lower_row(&l->g->nodes[root]);
    bool done = false;
    if (row) TRY(row->lower(l, root, group, &done));
    if (done) return NULL;
    if (group)
        return status_make(STATUS_INTERNAL, "%s '%s': its kernel does not do what was fused into it (%s)",
                           l->g->nodes[root].op->name, l->g->nodes[root].name, group->label);
    return lower_reference(l, id);
}

static Status lower_inputs(Lowering *l) {
    const Graph *g = l->g;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        ValueId v = g->inputs[i];
        const Type *t = lower_type(l, v);
        Operand where = {.at = AT_INPUT, .index = i};
        l->storage[v][LAYOUT_PLAIN] = (Storage){where, t->rank > 1 ? t->dims[1] : 0};
        TRY(add_tap(l, v, where, LAYOUT_PLAIN));
    }
    Plan *p = l->p;
    p->n_input_taps = l->n_pending;
    TRY_ALLOC(p->input_taps = ARENA_ARRAY(p->memory, StepTap, l->n_pending));
    if (l->n_pending) memcpy(p->input_taps, l->pending, l->n_pending * sizeof *p->input_taps);
    l->n_pending = 0;
    return NULL;
}

static Status lower_outputs(Lowering *l) {
    Plan *p = l->p;
    const Graph *g = l->g;
    TRY_ALLOC(p->outputs = ARENA_ARRAY(p->memory, Operand, g->n_outputs));
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        TRY(lower_read(l, g->outputs[i], LAYOUT_PLAIN, &p->outputs[i], NULL));
        if (p->outputs[i].at == AT_ARENA) p->buffers[p->outputs[i].index].last = INT_MAX;
    }
    return NULL;
}

Status lower_graph(Lowering *l) {
    Graph *g = l->g;
    TRY_ALLOC(l->storage = arena_array(l->scratch, sizeof *l->storage, g->n_values));
    TRY_ALLOC(l->primary = ARENA_ARRAY(l->scratch, Layout, g->n_values));
    TRY_ALLOC(l->slice = ARENA_ARRAY(l->scratch, Storage, g->n_values));
    TRY_ALLOC(l->group = ARENA_ARRAY(l->scratch, Group *, g->n_nodes));
    TRY_ALLOC(l->tapped = ARENA_ARRAY(l->scratch, bool, g->n_values));
    for (uint32_t i = 0; i < l->o->n_taps; i++) l->tapped[l->o->taps[i]] = true;
    TRY(find_groups(l));
    TRY(lower_inputs(l));
    TRY(place_concats(l));
    for (uint32_t i = 0; i < g->n_order; i++) TRY(lower_node(l, g->order[i]));
    TRY(lower_outputs(l));
    return plan_arena(l->p);
}
