/* Ops that move nothing, and concatenation. */
#include "backends/cpu/plan.h"

#include <string.h>

/* Reshape, Flatten, Squeeze, Unsqueeze, Identity: the same bytes under another type. */
Status lower_view(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *t = lower_type(l, n->out[0]);
    if (l->g->values[n->in[0]].constant) return NULL;
    *done = true;
    Operand x;
    Layout layout = LAYOUT_PLAIN;
    int64_t ld = t->rank > 1 ? t->dims[1] : 0;
    if (op_is(n, "Identity")) layout = lower_layout(l, n->in[0]);
    TRY(lower_read(l, n->in[0], layout, &x, layout == LAYOUT_NHWC ? &ld : NULL));
    return lower_alias(l, n->out[0], layout, x, ld);
}

/* ---- concatenation ---- */

typedef struct CopyPart {
    int64_t rows, bytes, x_pitch, y_pitch; /* of a row, in bytes */
} CopyPart;

typedef struct CopyJob {
    const CopyPart *part;
    const uint8_t *x;
    uint8_t *y;
} CopyJob;

static void copy_rows(void *arg, int64_t begin, int64_t end, int thread) {
    (void)thread;
    const CopyJob *j = arg;
    for (int64_t r = begin; r < end; r++)
        memcpy(j->y + r * j->part->y_pitch, j->x + r * j->part->x_pitch, (size_t)j->part->bytes);
}

static Status run_copy(const Step *s, Context *c) {
    const CopyPart *part = s->op;
    CopyJob job = {part, STEP_IN(s, c, 0), STEP_OUT(s, c, 0)};
    team_run(c->team, copy_rows, &job, part->rows, 1 + 16384 / (part->bytes + 1));
    return NULL;
}

static Status copy_step(Lowering *l, const Node *n, Operand x, Operand y, CopyPart part) {
    return lower_simple(l, n, n->op->name, &(SimpleStep){"copy", run_copy, &part, sizeof part, x, y});
}

/* Over channels: parts that could not be written in place are copied to theirs. */
static Status concat_channels(Lowering *l, const Node *n) {
    const Type *t = lower_type(l, n->out[0]);
    Operand whole;
    int64_t ld, channel = 0, size = elem_bits(t->elem) / 8;
    TRY(lower_write(l, n->out[0], LAYOUT_NHWC, &whole, &ld));
    for (int i = 0; i < n->n_in; i++) {
        const Type *part = lower_type(l, n->in[i]);
        Operand x, y = whole;
        int64_t ldx;
        TRY(lower_read(l, n->in[i], LAYOUT_NHWC, &x, &ldx));
        y.offset += (size_t)(channel * size);
        channel += part->dims[1];
        if (x.at == AT_ARENA && x.index == y.index && x.offset == y.offset) continue;
        CopyPart copy = {type_count(part) / (part->dims[1] ? part->dims[1] : 1), part->dims[1] * size, ldx * size,
                         ld * size};
        TRY(copy_step(l, n, x, y, copy));
    }
    return NULL;
}

Status lower_concat(Lowering *l, NodeId id, const Group *group, bool *done) {
    (void)group;
    const Node *n = &l->g->nodes[id];
    const Type *t = lower_type(l, n->out[0]);
    int axis = (int)attr_int(n, "axis");
    if (axis < 0) axis += t->rank;
    *done = true;
    bool last = false;
    for (int i = 0; i < n->n_in; i++)
        last |= !l->g->values[n->in[i]].constant && lower_layout(l, n->in[i]) == LAYOUT_NHWC;
    if (concat_over_channels(l->g, n) && last) return concat_channels(l, n);
    int64_t outer = 1, inner = elem_bits(t->elem) / 8, at = 0;
    for (int i = 0; i < axis; i++) outer *= t->dims[i];
    for (int i = axis + 1; i < t->rank; i++) inner *= t->dims[i];
    Operand whole;
    TRY(lower_write(l, n->out[0], LAYOUT_PLAIN, &whole, NULL));
    for (int i = 0; i < n->n_in; i++) {
        Operand x, y = whole;
        TRY(lower_read(l, n->in[i], LAYOUT_PLAIN, &x, NULL));
        int64_t bytes = lower_type(l, n->in[i])->dims[axis] * inner;
        y.offset += (size_t)at;
        at += bytes;
        if (bytes) TRY(copy_step(l, n, x, y, (CopyPart){outer, bytes, bytes, t->dims[axis] * inner}));
    }
    return NULL;
}
