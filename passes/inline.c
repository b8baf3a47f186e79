#include "passes/inline.h"

#include <string.h>

/* ---- captures ---- */

static bool is_captured(const Node *n, uint32_t slot) {
    for (int a = 0; a < n->n_attrs; a++)
        for (uint32_t i = 0; n->attrs[a].kind == ATTR_GRAPH && i < n->attrs[a].g->n_captures; i++)
            if (n->attrs[a].g->captures[i].slot == slot) return true;
    return false;
}

static Status settle_captures(const Graph *g, const Node *n, Graph *sub, bool *done) {
    for (uint32_t i = sub->n_captures; i-- > 0;) {
        ValueId inner = sub->captures[i].inner;
        const Tensor *t = graph_constant(g, n->in[sub->captures[i].slot]);
        bool unread = !sub->values[inner].n_uses && !sub->values[inner].is_output;
        if (!unread && (!t || !t->blob)) continue;
        graph_remove_capture(sub, inner);
        *done = true;
        if (!unread) TRY(graph_make_constant(sub, inner, tensor_ref(t)));
    }
    return NULL;
}

Status inline_captures(Graph *g, NodeId id, bool *done) {
    const Node *n = &g->nodes[id];
    for (int a = 0; a < n->n_attrs; a++)
        if (n->attrs[a].kind == ATTR_GRAPH) TRY(settle_captures(g, n, n->attrs[a].g, done));
    for (uint32_t slot = (uint32_t)n->n_in + n->n_captures; slot-- > n->n_in;)
        if (!is_captured(n, slot)) graph_node_remove_capture(g, id, slot);
    return NULL;
}

/* ---- If ---- */

typedef struct Inline {
    Graph *g;
    const Graph *sub;
    ValueId *map; /* value of sub -> value of g */
    Arena *scratch;
    uint32_t position;
} Inline;

static Status copy_values(Inline *k, const Node *owner) {
    const Graph *sub = k->sub;
    for (uint32_t i = 0; i < sub->n_captures; i++) k->map[sub->captures[i].inner] = owner->in[sub->captures[i].slot];
    for (ValueId v = 0; v < sub->n_values; v++) {
        const Value *x = &sub->values[v];
        if (!x->constant) continue;
        Tensor t = tensor_ref(x->constant);
        if (!t.blob) TRY(tensor_clone(&t, x->constant));
        TRY(graph_add_constant(k->g, x->name, t, &k->map[v]));
    }
    return NULL;
}

static Status copy_node(Inline *k, const Node *n) {
    int n_in = n->n_in + n->n_captures;
    ValueId *in = ARENA_ARRAY(k->scratch, ValueId, n_in), *out = ARENA_ARRAY(k->scratch, ValueId, n->n_out);
    NodeId id;
    TRY_ALLOC(in && out);
    for (int i = 0; i < n_in; i++) in[i] = n->in[i] == NO_ID ? NO_ID : k->map[n->in[i]];
    for (int i = 0; i < n->n_out; i++) {
        const Value *x = &k->sub->values[n->out[i]];
        /* Sequences and optionals point into the subgraph's memory: inference finds them again. */
        TRY(graph_add_value(k->g, x->name, x->type.kind == TYPE_TENSOR ? &x->type : NULL, &out[i]));
        k->map[n->out[i]] = out[i];
    }
    TRY(graph_add_node(k->g, n->op, n->name, n->n_in, in, n->n_out, out, &id));
    for (int i = n->n_in; i < n_in; i++) {
        uint32_t slot;
        TRY(graph_node_add_capture(k->g, id, in[i], &slot));
        if (slot != (uint32_t)i) return status_make(STATUS_INTERNAL, "node '%s' captures a value twice", n->name);
    }
    edit_move_last(k->g, k->position++);
    return attr_copy_all(k->g, id, k->sub, n);
}

Status inline_if(Graph *g, NodeId id, Arena *scratch, bool *done) {
    const Node *n = &g->nodes[id];
    const Tensor *cond = op_is(n, "If") ? graph_constant(g, n->in[0]) : NULL;
    if (!cond || tensor_count(cond) != 1) return NULL;
    const Attr *branch = attr_find(n, tensor_get_i64(cond, 0) ? "then_branch" : "else_branch");
    if (!branch || branch->g->n_outputs != n->n_out || branch->g->n_inputs) return NULL;
    Inline k = {.g = g, .sub = branch->g, .scratch = scratch, .position = edit_position(g, id)};
    TRY_ALLOC(k.map = ARENA_ARRAY(scratch, ValueId, k.sub->n_values));
    for (ValueId v = 0; v < k.sub->n_values; v++) k.map[v] = NO_ID;
    TRY(copy_values(&k, n));
    for (uint32_t i = 0; i < k.sub->n_order; i++) TRY(copy_node(&k, &k.sub->nodes[k.sub->order[i]]));
    for (uint32_t i = 0; i < k.sub->n_outputs; i++)
        TRY(graph_replace_uses(g, g->nodes[id].out[i], k.map[k.sub->outputs[i]]));
    graph_remove_node(g, id);
    *done = true;
    return NULL;
}
