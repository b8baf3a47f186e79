/* Steps that move elements: transposes, slices, pads, splits, expansion, gathers. All are strided moves. */
#include "backends/cpu/plan.h"

#include "kernels/cpu/move/move.h"

#include <string.h>

static Status run_move(const Step *s, Context *c) {
    move_run(s->op, STEP_OUT(s, c, 0), STEP_IN(s, c, 0), c->team);
    return NULL;
}

static Status move_step(Lowering *l, const Node *n, Move m, Operand x, Operand y) {
    move_prepare(&m, l->p->isa);
    return lower_simple(l, n, n->op->name, &(SimpleStep){"move", run_move, &m, sizeof m, x, y});
}

static bool fits_move(const Type *t) {
    int bits = elem_bits(t->elem);
    return t->rank <= MOVE_MAX_RANK && (bits == 8 || bits == 16 || bits == 32 || bits == 64);
}

static int32_t elem_size(const Type *t) { return elem_bits(t->elem) / 8; }

/* ---- transposes ---- */

static Status permutation(const Node *n, int rank, int32_t *perm) {
    int64_t count;
    const int64_t *p = attr_ints(n, "perm", &count);
    for (int i = 0; i < rank; i++) perm[i] = (int32_t)(p ? p[i] : rank - 1 - i);
    return NULL;
}

static bool is_rotation(const int32_t *perm, int rank, bool to_last) {
    bool ok = rank >= 3 && perm[0] == 0;
    for (int i = 1; ok && i < rank; i++) {
        if (to_last) /* 0, 2, 3, …, 1 */
            ok = perm[i] == (i == rank - 1 ? 1 : i + 1);
        else /* 0, last, 1, 2, … */
            ok = perm[i] == (i == 1 ? rank - 1 : i - 1);
    }
    return ok;
}

Status lower_transpose(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *x = lower_type(l, n->in[0]), *y = lower_type(l, n->out[0]);
    int32_t perm[MAX_RANK];
    if (!fits_move(x) || l->g->values[n->in[0]].constant || x->rank < 1) return NULL;
    *done = true;
    TRY(permutation(n, x->rank, perm));
    Operand from, to;
    int64_t ld;
    bool last = lower_layout(l, n->in[0]) == LAYOUT_NHWC;
    if (last && is_rotation(perm, x->rank, true)) { /* channels-last bytes read as row-major: nothing moves */
        TRY(lower_read(l, n->in[0], LAYOUT_NHWC, &from, &ld));
        if (ld == x->dims[1]) return lower_alias(l, n->out[0], LAYOUT_PLAIN, from, y->dims[1]);
    }
    TRY(lower_read(l, n->in[0], LAYOUT_PLAIN, &from, NULL));
    if (!last && is_rotation(perm, x->rank, false) && has_nhwc(y))
        return lower_alias(l, n->out[0], LAYOUT_NHWC, from, y->dims[1]);
    TRY(lower_write(l, n->out[0], LAYOUT_PLAIN, &to, NULL));
    Move m = {0};
    move_from_permutation(&m, x->rank, x->dims, perm, elem_size(x));
    return move_step(l, n, m, from, to);
}

/* ---- boxes: a part of x goes to a part of y, both in the layout that x has ---- */

typedef struct Box {
    int64_t dims[MAX_RANK];                 /* of what moves, in logical order */
    int64_t from[MAX_RANK], step[MAX_RANK]; /* start and step in x; a step may be negative */
    int64_t to[MAX_RANK];                   /* start in y */
} Box;

/* Fills in the move of a box and shifts the operands to its first elements. Channels-last boxes walk channels
 * innermost. */
static Move box_move(const Type *x, const Type *y, Layout layout, int64_t ldx, int64_t ldy, const Box *b, Operand *from,
                     Operand *to) {
    int64_t sx[MAX_RANK], sy[MAX_RANK];
    lower_strides(x, layout, ldx, sx);
    lower_strides(y, layout, ldy, sy);
    Move m = {.rank = x->rank, .elem_bytes = elem_size(x)};
    int64_t x0 = 0, y0 = 0;
    for (int i = 0; i < x->rank; i++) {
        int at = layout == LAYOUT_PLAIN || i == 0 ? i : i == 1 ? x->rank - 1 : i - 1;
        m.dims[at] = b->dims[i];
        m.from_stride[at] = sx[i] * b->step[i];
        m.to_stride[at] = sy[i];
        x0 += sx[i] * b->from[i];
        y0 += sy[i] * b->to[i];
    }
    from->offset += (size_t)(x0 * m.elem_bytes);
    to->offset += (size_t)(y0 * m.elem_bytes);
    return m;
}

static const int64_t *constant_ints(Lowering *l, const Node *n, int slot, int64_t *count) {
    const Tensor *t = slot < n->n_in && n->in[slot] != NO_ID ? graph_constant(l->g, n->in[slot]) : NULL;
    if (!t) return NULL;
    *count = tensor_count(t);
    int64_t *v = ARENA_ARRAY(l->scratch, int64_t, *count);
    for (int64_t i = 0; v && i < *count; i++) v[i] = tensor_get_i64(t, i);
    return v;
}

static Status box_step(Lowering *l, const Node *n, ValueId xv, ValueId yv, const Box *b) {
    const Type *x = lower_type(l, xv), *y = lower_type(l, yv);
    Layout layout = lower_layout(l, xv);
    Operand from, to;
    int64_t ldx = 0, ldy = 0;
    TRY(lower_read(l, xv, layout, &from, layout == LAYOUT_NHWC ? &ldx : NULL));
    TRY(lower_write(l, yv, layout, &to, layout == LAYOUT_NHWC ? &ldy : NULL));
    Move m = box_move(x, y, layout, ldx, ldy, b, &from, &to);
    return move_step(l, n, m, from, to);
}

Status lower_slice(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *x = lower_type(l, n->in[0]), *y = lower_type(l, n->out[0]);
    int64_t n_start = 0, n_axes = 0, n_steps = 0;
    const int64_t *starts = constant_ints(l, n, 1, &n_start), *axes = constant_ints(l, n, 3, &n_axes),
                  *steps = constant_ints(l, n, 4, &n_steps);
    bool fits = starts && fits_move(x) && !l->g->values[n->in[0]].constant && type_count(y) > 0;
    fits = fits && (axes || n->n_in < 4 || n->in[3] == NO_ID) && (steps || n->n_in < 5 || n->in[4] == NO_ID);
    if (!fits) return NULL;
    *done = true;
    Box b = {0};
    for (int i = 0; i < x->rank; i++) {
        b.dims[i] = y->dims[i];
        b.step[i] = 1;
    }
    for (int64_t k = 0; k < n_start; k++) {
        int64_t axis = axes ? axes[k] : k, step = steps ? steps[k] : 1;
        if (axis < 0) axis += x->rank;
        int64_t size = x->dims[axis], start = starts[k] < 0 ? starts[k] + size : starts[k],
                top = step < 0 ? size - 1 : size;
        b.from[axis] = start < 0 ? 0 : start > top ? top : start;
        b.step[axis] = step;
    }
    return box_step(l, n, n->in[0], n->out[0], &b);
}

Status lower_split(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *x = lower_type(l, n->in[0]);
    if (!fits_move(x) || l->g->values[n->in[0]].constant) return NULL;
    *done = true;
    int axis = (int)attr_int(n, "axis");
    if (axis < 0) axis += x->rank;
    int64_t start = 0;
    for (int k = 0; k < n->n_out; k++) {
        if (n->out[k] == NO_ID) continue;
        const Type *y = lower_type(l, n->out[k]);
        Box b = {0};
        for (int i = 0; i < x->rank; i++) {
            b.dims[i] = y->dims[i];
            b.step[i] = 1;
        }
        b.from[axis] = start;
        start += y->dims[axis];
        Operand nothing;
        if (type_count(y) > 0)
            TRY(box_step(l, n, n->in[0], n->out[k], &b));
        else
            TRY(lower_write(l, n->out[k], LAYOUT_PLAIN, &nothing, NULL));
    }
    return NULL;
}

/* ---- constant padding: the whole output is filled, then the input is put into it ---- */

typedef struct PadStep {
    Move inner;
    Move whole;
    size_t inner_offset; /* bytes in the output */
    uint64_t value;
} PadStep;

static Status run_pad(const Step *s, Context *c) {
    const PadStep *p = s->op;
    uint8_t *y = STEP_OUT(s, c, 0);
    move_fill(&p->whole, y, &p->value);
    move_run(&p->inner, y + p->inner_offset, STEP_IN(s, c, 0), c->team);
    return NULL;
}

static bool pad_value(Lowering *l, const Node *n, uint64_t *bits) {
    *bits = 0;
    if (n->n_in < 3 || n->in[2] == NO_ID) return true;
    const Tensor *t = graph_constant(l->g, n->in[2]);
    if (!t || tensor_count(t) != 1 || t->bytes > sizeof *bits) return false;
    memcpy(bits, t->data, t->bytes);
    return true;
}

Status lower_pad(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *x = lower_type(l, n->in[0]), *y = lower_type(l, n->out[0]);
    int64_t n_pads = 0, n_axes = 0;
    const int64_t *pads = constant_ints(l, n, 1, &n_pads), *axes = constant_ints(l, n, 3, &n_axes);
    PadStep p = {0};
    bool fits = pads && fits_move(x) && !l->g->values[n->in[0]].constant && !strcmp(attr_string(n, "mode"), "constant");
    if (!fits || !pad_value(l, n, &p.value) || (n->n_in > 3 && n->in[3] != NO_ID && !axes)) return NULL;
    Box b = {0};
    for (int i = 0; i < x->rank; i++) {
        b.dims[i] = x->dims[i];
        b.step[i] = 1;
    }
    for (int64_t k = 0; k < n_pads / 2; k++) {
        int64_t axis = axes ? axes[k] : k;
        if (axis < 0) axis += x->rank;
        b.to[axis] = pads[k];
        if (pads[k] < 0 || pads[k + n_pads / 2] < 0) return NULL; /* cuts: rare, the reference does it */
    }
    *done = true;
    Layout layout = lower_layout(l, n->in[0]);
    Operand from, to, inner;
    int64_t ldx = 0, ldy = 0;
    TRY(lower_read(l, n->in[0], layout, &from, layout == LAYOUT_NHWC ? &ldx : NULL));
    TRY(lower_write(l, n->out[0], layout, &to, layout == LAYOUT_NHWC ? &ldy : NULL));
    inner = to;
    p.inner = box_move(x, y, layout, ldx, ldy, &b, &from, &inner);
    p.inner_offset = inner.offset - to.offset;
    Box all = {0};
    for (int i = 0; i < y->rank; i++) {
        all.dims[i] = y->dims[i];
        all.step[i] = 1;
    }
    Operand unused_from = to, unused_to = to;
    p.whole = box_move(y, y, layout, ldy, ldy, &all, &unused_from, &unused_to);
    move_prepare(&p.inner, l->p->isa);
    return lower_simple(l, n, n->op->name, &(SimpleStep){"pad", run_pad, &p, sizeof p, from, to});
}

Status lower_expand(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *x = lower_type(l, n->in[0]), *y = lower_type(l, n->out[0]);
    if (!fits_move(x) || l->g->values[n->in[0]].constant || x->rank > y->rank || y->rank < 1) return NULL;
    *done = true;
    int64_t sx[MAX_RANK] = {0};
    Operand from, to;
    TRY(lower_read(l, n->in[0], LAYOUT_PLAIN, &from, NULL));
    TRY(lower_write(l, n->out[0], LAYOUT_PLAIN, &to, NULL));
    Move m = {.rank = y->rank, .elem_bytes = elem_size(x)};
    lower_strides(x, LAYOUT_PLAIN, 0, sx);
    lower_strides(y, LAYOUT_PLAIN, 0, m.to_stride);
    for (int i = 0; i < y->rank; i++) {
        int k = i - (y->rank - x->rank);
        m.dims[i] = y->dims[i];
        m.from_stride[i] = k < 0 || x->dims[k] == 1 ? 0 : sx[k];
    }
    return move_step(l, n, m, from, to);
}

/* ---- gathers ---- */

typedef struct GatherStep {
    int64_t outer, n_rows, n_index;
    size_t row_bytes;
    const char *name;
} GatherStep;

static Status run_gather(const Step *s, Context *c) {
    const GatherStep *g = s->op;
    const int64_t *index = STEP_IN(s, c, 1);
    if (!gather_check(index, g->n_index, g->n_rows))
        return status_make(STATUS_INVALID, "Gather '%s': an index lies outside the %lld rows", g->name,
                           (long long)g->n_rows);
    gather_run(STEP_OUT(s, c, 0), STEP_IN(s, c, 0), index, g->outer, g->n_index, g->n_rows, g->row_bytes, c->team);
    return NULL;
}

Status lower_gather(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *x = lower_type(l, n->in[0]), *index = lower_type(l, n->in[1]);
    if (index->elem != ELEM_I64 || elem_bits(x->elem) < 8 || x->rank < 1) return NULL;
    *done = true;
    int axis = (int)attr_int(n, "axis");
    if (axis < 0) axis += x->rank;
    GatherStep g = {.outer = 1,
                    .n_rows = x->dims[axis],
                    .n_index = type_count(index),
                    .row_bytes = (size_t)elem_size(x),
                    .name = n->name};
    for (int i = 0; i < axis; i++) g.outer *= x->dims[i];
    for (int i = axis + 1; i < x->rank; i++) g.row_bytes *= (size_t)x->dims[i];
    Operand from, at, to;
    TRY(lower_read(l, n->in[0], LAYOUT_PLAIN, &from, NULL));
    TRY(lower_read(l, n->in[1], LAYOUT_PLAIN, &at, NULL));
    TRY(lower_write(l, n->out[0], LAYOUT_PLAIN, &to, NULL));
    Step *s;
    TRY(lower_step(l, n->name, n->op->name, "gather", run_gather, sizeof g, 2, 1, &s));
    *(GatherStep *)s->op = g;
    s->in[0] = from;
    s->in[1] = at;
    s->out[0] = to;
    return lower_commit(l, s);
}
