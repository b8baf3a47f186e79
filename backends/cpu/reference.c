/* Fallback: a step that calls the op table's evaluation. Inputs are given row-major; outputs have prescribed memory. */
#include "backends/cpu/plan.h"

#include <string.h>

typedef struct ReferenceOp {
    const Graph *g;
    const Node *node;
    Tensor *in, *out; /* shapes; data is set at run time; constants keep theirs */
} ReferenceOp;

static Status run_reference(const Step *s, Context *c) {
    const ReferenceOp *op = s->op;
    const Node *n = op->node;
    Arena *a = c->eval_scratch;
    arena_reset(a);
    const Tensor **in = ARENA_ARRAY(a, const Tensor *, n->n_in);
    Tensor *in_data = ARENA_ARRAY(a, Tensor, n->n_in), *out = ARENA_ARRAY(a, Tensor, n->n_out);
    TRY_ALLOC(in && in_data && out);
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] == NO_ID) continue;
        in_data[i] = op->in[i];
        if (s->in[i].at != AT_NONE) in_data[i].data = operand_ptr(c, &s->in[i]);
        in[i] = &in_data[i];
    }
    for (int i = 0; i < n->n_out; i++) {
        out[i] = op->out[i];
        if (s->out[i].at != AT_NONE) out[i].data = operand_ptr(c, &s->out[i]);
    }
    EvalCtx e = {.g = op->g, .node = n, .scratch = a, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out};
    TRY(n->op->eval(&e));
    for (int i = 0; i < n->n_out; i++) {
        if (!out[i].blob) continue; /* written in place, as it should be */
        bool fits = s->out[i].at != AT_NONE && out[i].bytes == op->out[i].bytes;
        if (fits) memcpy(operand_ptr(c, &s->out[i]), out[i].data, out[i].bytes);
        tensor_free(&out[i]);
        if (!fits && s->out[i].at != AT_NONE)
            return status_make(STATUS_INTERNAL, "%s '%s': its output has another size than planned", n->op->name,
                               n->name);
    }
    return NULL;
}

Status lower_reference(Lowering *l, NodeId id) {
    const Node *n = &l->g->nodes[id];
    Plan *p = l->p;
    Tensor *in = ARENA_ARRAY(p->memory, Tensor, n->n_in), *out = ARENA_ARRAY(p->memory, Tensor, n->n_out);
    Operand *where_in = ARENA_ARRAY(l->scratch, Operand, n->n_in),
            *where_out = ARENA_ARRAY(l->scratch, Operand, n->n_out);
    TRY_ALLOC(in && out && where_in && where_out);
    for (int i = 0; i < n->n_in; i++) {
        if (n->in[i] == NO_ID) continue;
        const Type *t = lower_type(l, n->in[i]);
        const Tensor *constant = graph_constant(l->g, n->in[i]);
        if (constant) {
            in[i] = *constant; /* the plan's graph keeps it alive */
            continue;
        }
        TRY(tensor_view(&in[i], t->elem, t->rank, t->dims, NULL));
        TRY(lower_read(l, n->in[i], LAYOUT_PLAIN, &where_in[i], NULL));
    }
    for (int i = 0; i < n->n_out; i++) {
        if (n->out[i] == NO_ID) continue;
        const Type *t = lower_type(l, n->out[i]);
        TRY(tensor_view(&out[i], t->elem, t->rank, t->dims, NULL));
        TRY(lower_write(l, n->out[i], LAYOUT_PLAIN, &where_out[i], NULL));
    }
    Step *s;
    TRY(lower_step(l, n->name, n->op->name, "reference", run_reference, sizeof(ReferenceOp), n->n_in, n->n_out, &s));
    *(ReferenceOp *)s->op = (ReferenceOp){l->g, n, in, out};
    if (n->n_in) memcpy(s->in, where_in, n->n_in * sizeof *where_in);
    if (n->n_out) memcpy(s->out, where_out, n->n_out * sizeof *where_out);
    return lower_commit(l, s);
}
