/* The verifier: invariants of the IR that every editing function and every pass must keep. */
#include "ir/names.h"
#include "ir/op.h"

#include <inttypes.h>
#include <string.h>

typedef struct Verifier {
    const Graph *g;
    Arena *scratch;
    bool *defined; /* by value id: inputs, captures, constants, outputs of the nodes passed so far */
} Verifier;

static PARE_NODISCARD PARE_PRINTF(2, 3) Status breach(const Graph *g, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    Status st = status_vmake(STATUS_INTERNAL, fmt, ap);
    va_end(ap);
    return status_context(st, "graph '%s'", g->name ? g->name : "");
}

/* ---- values ---- */

static Status verify_type(const Graph *g, const char *name, const Type *t, int depth) {
    if (t->kind == TYPE_UNKNOWN) return NULL;
    if (depth > 32) return breach(g, "the type of '%s' nests too deep", name);
    if (t->kind != TYPE_TENSOR) return t->inner ? verify_type(g, name, t->inner, depth + 1) : NULL;
    if (!elem_name(t->elem)) return breach(g, "value '%s' has the unknown element type %d", name, (int)t->elem);
    if (t->rank < -1 || t->rank > MAX_RANK) return breach(g, "value '%s' has rank %d", name, t->rank);
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] < 0 && !DIM_IS_SYM(t->dims[i]))
            return breach(g, "value '%s' has dimension %" PRId64 " of size %" PRId64, name, (int64_t)i, t->dims[i]);
    return NULL;
}

static Status verify_tensor(const Graph *g, const char *name, const Tensor *t) {
    int64_t n = 1;
    bool ok = t->rank >= 0 && t->rank <= MAX_RANK;
    for (int i = 0; ok && i < t->rank; i++) ok = t->dims[i] >= 0 && !__builtin_mul_overflow(n, t->dims[i], &n);
    size_t bytes;
    if (!ok) return breach(g, "constant '%s' has a broken shape", name);
    if (t->encoding == ENC_DENSE && elem_bytes(t->elem, n, &bytes) && bytes != t->bytes)
        return breach(g, "constant '%s' has %zu bytes, its type needs %zu", name, t->bytes, bytes);
    if (t->bytes && !t->data) return breach(g, "constant '%s' has no data", name);
    return NULL;
}

static Status verify_producer(const Graph *g, ValueId v) {
    const Value *x = &g->values[v];
    int sources = (x->producer != NO_ID) + (x->constant != NULL) + x->is_input + x->is_capture;
    if (sources > 1) return breach(g, "value '%s' has %d sources", x->name, sources);
    if (!sources && (x->n_uses || x->is_output)) return breach(g, "value '%s' is used but nothing defines it", x->name);
    if (x->producer == NO_ID) return NULL;
    const Node *p = x->producer < g->n_nodes ? &g->nodes[x->producer] : NULL;
    if (!p || p->dead || x->out_index >= p->n_out || p->out[x->out_index] != v)
        return breach(g, "value '%s' and its producer do not agree", x->name);
    return NULL;
}

static Status verify_uses(const Graph *g, ValueId v) {
    const Value *x = &g->values[v];
    for (uint32_t i = 0; i < x->n_uses; i++) {
        Use u = x->uses[i];
        const Node *n = u.node < g->n_nodes ? &g->nodes[u.node] : NULL;
        if (!n || n->dead || u.slot >= (uint32_t)n->n_in + n->n_captures || n->in[u.slot] != v)
            return breach(g, "a use of value '%s' is not an input of its node", x->name);
    }
    return NULL;
}

static Status verify_value(const Graph *g, ValueId v) {
    const Value *x = &g->values[v];
    if (!x->name) return breach(g, "value %" PRIu32 " has no name", v);
    bool live = x->n_uses || x->is_output || x->producer != NO_ID;
    if (live && graph_find_value(g, x->name) != v) return breach(g, "the name '%s' finds another value", x->name);
    TRY(verify_type(g, x->name, &x->type, 0));
    TRY(verify_producer(g, v));
    TRY(verify_uses(g, v));
    if (!x->constant) return NULL;
    TRY(verify_tensor(g, x->name, x->constant));
    Type t = tensor_type(x->constant);
    return type_equal(&t, &x->type) ? NULL : breach(g, "constant '%s' has another type than its tensor", x->name);
}

/* ---- nodes ---- */

static Status verify_attrs(const Graph *g, const Node *n) {
    for (int i = 0; i < n->n_attrs; i++) {
        const Attr *a = &n->attrs[i];
        if (op_attr_kind(n->op, a->name, NULL, NULL) != (char)a->kind)
            return breach(g, "node '%s': %s has no attribute '%s' of kind '%c'", n->name, n->op->name, a->name,
                          (char)a->kind);
        if (a->kind == ATTR_TENSOR) TRY(verify_tensor(g, n->name, a->t));
        for (int k = 0; k < i; k++)
            if (!strcmp(n->attrs[k].name, a->name)) return breach(g, "node '%s' has '%s' twice", n->name, a->name);
    }
    return NULL;
}

static Status verify_subgraph(const Graph *g, const Node *n, const Graph *sub) {
    if (sub->parent != g || sub->syms != g->syms)
        return breach(g, "node '%s': its subgraph '%s' belongs to another graph", n->name, sub->name);
    for (uint32_t i = 0; i < sub->n_captures; i++) {
        Capture c = sub->captures[i];
        if (c.slot < n->n_in || c.slot >= (uint32_t)n->n_in + n->n_captures || c.inner >= sub->n_values ||
            !sub->values[c.inner].is_capture)
            return breach(g, "node '%s': capture %" PRIu32 " of subgraph '%s' is broken", n->name, i, sub->name);
    }
    return graph_verify(sub);
}

static bool has_use(const Value *x, NodeId id, uint32_t slot) {
    for (uint32_t i = 0; i < x->n_uses; i++)
        if (x->uses[i].node == id && x->uses[i].slot == slot) return true;
    return false;
}

static Status verify_inputs(const Verifier *k, NodeId id, const Node *n) {
    const Graph *g = k->g;
    for (uint32_t i = 0; i < (uint32_t)n->n_in + n->n_captures; i++) {
        ValueId v = n->in[i];
        if (v == NO_ID && i < n->n_in && (int)i >= n->op->min_in) continue;
        if (v == NO_ID) return breach(g, "node '%s' (%s): input %" PRIu32 " is required", n->name, n->op->name, i);
        if (v >= g->n_values) return breach(g, "node '%s': input %" PRIu32 " is no value", n->name, i);
        if (!has_use(&g->values[v], id, i))
            return breach(g, "node '%s': its use of '%s' is not recorded", n->name, g->values[v].name);
        if (!k->defined[v]) return breach(g, "node '%s' comes before '%s' is computed", n->name, g->values[v].name);
    }
    return NULL;
}

static Status verify_arity(const Graph *g, const Node *n) {
    const OpDef *op = n->op;
    bool in_ok = n->n_in >= op->min_in && (op->max_in == OP_MANY || n->n_in <= op->max_in);
    bool out_ok = n->n_out >= op->min_out && (op->max_out == OP_MANY || n->n_out <= op->max_out);
    if (in_ok && out_ok) return NULL;
    return breach(g, "node '%s': %s with %d inputs and %d outputs", n->name, op->name, n->n_in, n->n_out);
}

static Status verify_node(const Verifier *k, NodeId id, const Node *n) {
    const Graph *g = k->g;
    if (!n->op || !n->name) return breach(g, "node %" PRIu32 " has no op or no name", id);
    if (graph_find_node(g, n->name) != id) return breach(g, "the name '%s' finds another node", n->name);
    TRY(verify_arity(g, n));
    TRY(verify_inputs(k, id, n));
    for (int i = 0; i < n->n_out; i++) {
        ValueId v = n->out[i];
        if (v >= g->n_values || g->values[v].producer != id || g->values[v].out_index != (uint32_t)i)
            return breach(g, "node '%s': output %d does not name it as its producer", n->name, i);
        k->defined[v] = true;
    }
    TRY(verify_attrs(g, n));
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].kind == ATTR_GRAPH) TRY(verify_subgraph(g, n, n->attrs[i].g));
    return NULL;
}

/* ---- graph ---- */

static Status verify_order(const Verifier *k) {
    const Graph *g = k->g;
    bool *seen = ARENA_ARRAY(k->scratch, bool, g->n_nodes);
    TRY_ALLOC(seen);
    uint32_t live = 0, ordered = 0;
    for (NodeId i = 0; i < g->n_nodes; i++) live += !g->nodes[i].dead;
    for (uint32_t i = 0; i < g->n_order; i++) {
        NodeId id = g->order[i];
        if (id >= g->n_nodes || seen[id]) return breach(g, "entry %" PRIu32 " of the order is broken", i);
        seen[id] = true;
        if (g->nodes[id].dead) continue;
        ordered++;
        TRY(verify_node(k, id, &g->nodes[id]));
    }
    return live == ordered ? NULL : breach(g, "%" PRIu32 " nodes live, %" PRIu32 " are in the order", live, ordered);
}

static Status verify_interface(const Verifier *k) {
    const Graph *g = k->g;
    uint32_t inputs = 0, captures = 0;
    bool *is_output = ARENA_ARRAY(k->scratch, bool, g->n_values);
    TRY_ALLOC(is_output);
    for (uint32_t i = 0; i < g->n_inputs; i++)
        if (g->inputs[i] >= g->n_values || !g->values[g->inputs[i]].is_input)
            return breach(g, "input %" PRIu32 " is broken", i);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        if (g->outputs[i] >= g->n_values) return breach(g, "output %" PRIu32 " is no value", i);
        is_output[g->outputs[i]] = true;
    }
    for (ValueId v = 0; v < g->n_values; v++) {
        const Value *x = &g->values[v];
        inputs += x->is_input;
        captures += x->is_capture;
        if (x->is_output != is_output[v]) return breach(g, "value '%s' and the list of outputs do not agree", x->name);
        k->defined[v] = x->is_input || x->is_capture || x->constant;
    }
    if (inputs != g->n_inputs || captures != g->n_captures)
        return breach(g, "the lists of inputs or captures are incomplete");
    return NULL;
}

static Status verify_with(const Verifier *k) {
    const Graph *g = k->g;
    TRY(verify_interface(k));
    for (ValueId v = 0; v < g->n_values; v++) TRY(verify_value(g, v));
    return verify_order(k);
}

Status graph_verify(const Graph *g) {
    Verifier k = {.g = g};
    TRY_ALLOC(k.scratch = arena_new());
    k.defined = ARENA_ARRAY(k.scratch, bool, g->n_values);
    Status st = k.defined ? verify_with(&k) : status_oom();
    arena_free(k.scratch);
    return st;
}
