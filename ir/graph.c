#include "ir/graph.h"

#include "ir/names.h"
#include "ir/op.h"

#include <stdio.h>
#include <string.h>

/* ---- growth of the plain arrays (heap, since they move) ---- */

static bool grow(void **array, uint32_t n, uint32_t *cap, size_t elem) {
    if (n < *cap) return true;
    uint32_t want = *cap ? *cap * 2 : 16;
    void *p = want > *cap ? mem_realloc(*array, (size_t)want * elem) : NULL;
    if (!p) return false;
    *array = p;
    *cap = want;
    return true;
}
#define GROW(array, n, cap) grow((void **)&(array), (n), &(cap), sizeof *(array))

/* ---- creation ---- */

Status graph_new(Graph *parent, const char *name, Graph **out) {
    Graph *g = mem_zalloc(sizeof *g);
    if (!g) return status_oom();
    g->parent = parent;
    g->arena = arena_new();
    g->names = names_new();
    g->syms = parent ? parent->syms : symtab_new();
    if (g->arena) g->name = arena_strdup(g->arena, name ? name : "");
    if (!g->arena || !g->names || !g->syms || !g->name) {
        graph_free(g);
        return status_oom();
    }
    *out = g;
    return NULL;
}

static void free_attr(Attr *a) {
    if (a->kind == ATTR_TENSOR && a->t) tensor_free(a->t);
    if (a->kind == ATTR_GRAPH) graph_free(a->g);
}

static void free_attrs(Node *n) {
    for (int i = 0; i < n->n_attrs; i++) free_attr(&n->attrs[i]);
    n->n_attrs = 0;
}

static void drop_constant(Value *v) {
    if (v->constant) tensor_free(v->constant);
    v->constant = NULL;
}

void graph_free(Graph *g) {
    if (!g) return;
    for (uint32_t i = 0; i < g->n_nodes; i++) free_attrs(&g->nodes[i]);
    for (uint32_t i = 0; i < g->n_values; i++) {
        drop_constant(&g->values[i]);
        mem_free(g->values[i].uses);
    }
    mem_free(g->nodes);
    mem_free(g->values);
    mem_free(g->order);
    mem_free(g->inputs);
    mem_free(g->outputs);
    mem_free(g->captures);
    names_free(g->names);
    if (!g->parent) symtab_free(g->syms);
    arena_free(g->arena);
    mem_free(g);
}

/* ---- names ---- */

/* `want` when it is free, else want_1, want_2 …; in the arena. */
static const char *unique_name(Graph *g, NameKind kind, const char *want) {
    if (!want || !*want) want = kind == NAME_VALUE ? "value" : "node";
    if (names_find(g->names, kind, want) == NO_ID) return arena_strdup(g->arena, want);
    for (uint32_t k = names_suffix(g->names, kind, want);; k++) {
        const char *name = arena_printf(g->arena, "%s_%u", want, k);
        if (!name || names_find(g->names, kind, name) == NO_ID) return name;
    }
}

ValueId graph_find_value(const Graph *g, const char *name) { return names_find(g->names, NAME_VALUE, name); }
NodeId graph_find_node(const Graph *g, const char *name) { return names_find(g->names, NAME_NODE, name); }

/* ---- values ---- */

Status graph_add_value(Graph *g, const char *name, const Type *type, ValueId *out) {
    if (g->n_values >= NO_ID - 1) return status_make(STATUS_UNSUPPORTED, "the graph has more than 2^32-2 values");
    Type own_type = type ? *type : (Type){0}; /* *type may lie in the array that grows */
    TRY_ALLOC(GROW(g->values, g->n_values, g->cap_values));
    const char *own = unique_name(g, NAME_VALUE, name);
    TRY_ALLOC(own && names_put(g->names, NAME_VALUE, own, g->n_values));
    g->values[g->n_values] = (Value){.name = own, .type = own_type, .producer = NO_ID};
    *out = g->n_values++;
    return NULL;
}

Status graph_add_input(Graph *g, const char *name, const Type *type, ValueId *out) {
    TRY_ALLOC(GROW(g->inputs, g->n_inputs, g->cap_inputs));
    TRY(graph_add_value(g, name, type, out));
    g->values[*out].is_input = true;
    g->inputs[g->n_inputs++] = *out;
    return NULL;
}

static Status own_tensor(Graph *g, Tensor tensor, Tensor **out) {
    Tensor *t = arena_alloc(g->arena, sizeof *t);
    if (!t) {
        tensor_free(&tensor);
        return status_oom();
    }
    *t = tensor;
    *out = t;
    return NULL;
}

Status graph_add_constant(Graph *g, const char *name, Tensor tensor, ValueId *out) {
    Type type = tensor_type(&tensor);
    Tensor *t;
    TRY(own_tensor(g, tensor, &t));
    Status s = graph_add_value(g, name, &type, out);
    if (s) {
        tensor_free(t);
        return s;
    }
    g->values[*out].constant = t;
    return NULL;
}

Status graph_add_output(Graph *g, ValueId v) {
    TRY_ALLOC(GROW(g->outputs, g->n_outputs, g->cap_outputs));
    g->values[v].is_output = true;
    g->outputs[g->n_outputs++] = v;
    return NULL;
}

Status graph_add_capture(Graph *g, uint32_t owner_slot, const char *name, const Type *type, ValueId *inner) {
    TRY_ALLOC(GROW(g->captures, g->n_captures, g->cap_captures));
    TRY(graph_add_value(g, name, type, inner));
    g->values[*inner].is_capture = true;
    g->captures[g->n_captures++] = (Capture){owner_slot, *inner};
    return NULL;
}

Status graph_make_constant(Graph *g, ValueId v, Tensor tensor) {
    Tensor *t;
    TRY(own_tensor(g, tensor, &t));
    NodeId producer = g->values[v].producer;
    if (producer != NO_ID) {
        ValueId spare;
        Status s = graph_add_value(g, g->values[v].name, &g->values[v].type, &spare);
        if (s) {
            tensor_free(t);
            return s;
        }
        uint32_t at = g->values[v].out_index;
        g->nodes[producer].out[at] = spare;
        g->values[spare].producer = producer;
        g->values[spare].out_index = at;
        g->values[v].producer = NO_ID;
    }
    drop_constant(&g->values[v]);
    g->values[v].constant = t;
    g->values[v].type = tensor_type(t);
    g->values[v].known = NULL;
    return NULL;
}

/* ---- links ---- */

static bool add_use(Graph *g, ValueId v, NodeId node, uint32_t slot) {
    if (v == NO_ID) return true;
    Value *value = &g->values[v];
    if (!GROW(value->uses, value->n_uses, value->cap_uses)) return false;
    value->uses[value->n_uses++] = (Use){node, slot};
    return true;
}

static void drop_use(Graph *g, ValueId v, NodeId node, uint32_t slot) {
    if (v == NO_ID) return;
    Value *value = &g->values[v];
    for (uint32_t i = 0; i < value->n_uses; i++)
        if (value->uses[i].node == node && value->uses[i].slot == slot) {
            memmove(&value->uses[i], &value->uses[i + 1], (value->n_uses - i - 1) * sizeof(Use));
            value->n_uses--;
            return;
        }
}

Status graph_add_node(Graph *g, const OpDef *op, const char *name, int n_in, const ValueId *in, int n_out, ValueId *out,
                      NodeId *node) {
    if (n_in > UINT16_MAX || n_out > UINT16_MAX)
        return status_make(STATUS_UNSUPPORTED, "%s '%s' has more than 65535 inputs or outputs", op->name,
                           name ? name : "");
    TRY_ALLOC(GROW(g->nodes, g->n_nodes, g->cap_nodes));
    TRY_ALLOC(GROW(g->order, g->n_order, g->cap_order));
    if (!name && n_out && out[0] != NO_ID) name = g->values[out[0]].name;
    const char *own = unique_name(g, NAME_NODE, name ? name : op->name);
    NodeId id = g->n_nodes;
    Node n = {.op = op, .name = own, .n_in = (uint16_t)n_in, .n_out = (uint16_t)n_out};
    n.in = ARENA_ARRAY(g->arena, ValueId, n_in);
    n.out = ARENA_ARRAY(g->arena, ValueId, n_out);
    TRY_ALLOC(own && n.in && n.out && names_put(g->names, NAME_NODE, own, id));
    for (int i = 0; i < n_out; i++) {
        if (out[i] == NO_ID) TRY(graph_add_value(g, own, NULL, &out[i]));
        n.out[i] = out[i];
    }
    g->nodes[g->n_nodes++] = n;
    g->order[g->n_order++] = id;
    for (int i = 0; i < n_out; i++) {
        g->values[out[i]].producer = id;
        g->values[out[i]].out_index = (uint32_t)i;
    }
    for (int i = 0; i < n_in; i++) {
        n.in[i] = in[i];
        TRY_ALLOC(add_use(g, in[i], id, (uint32_t)i));
    }
    if (node) *node = id;
    return NULL;
}

Status graph_build(Graph *g, const char *domain, const char *op, const char *name, int n_in, const ValueId *in,
                   ValueId *out, NodeId *node) {
    const OpDef *def = op_find(domain, op);
    if (!def) return status_make(STATUS_INTERNAL, "op %s.%s is not in the table", domain, op);
    ValueId v = NO_ID;
    TRY(graph_add_node(g, def, name, n_in, in, 1, &v, node));
    *out = v;
    return NULL;
}

static Status widen_inputs(Graph *g, NodeId id, ValueId v) {
    Node *n = &g->nodes[id];
    uint32_t total = (uint32_t)n->n_in + n->n_captures;
    ValueId *in = ARENA_ARRAY(g->arena, ValueId, total + 1);
    TRY_ALLOC(in);
    memcpy(in, n->in, total * sizeof *in);
    in[total] = v;
    n->in = in;
    TRY_ALLOC(add_use(g, v, id, total));
    return NULL;
}

Status graph_node_add_capture(Graph *g, NodeId id, ValueId outer, uint32_t *slot) {
    Node *n = &g->nodes[id];
    for (uint32_t i = n->n_in; i < (uint32_t)n->n_in + n->n_captures; i++)
        if (n->in[i] == outer) {
            *slot = i;
            return NULL;
        }
    *slot = (uint32_t)n->n_in + n->n_captures;
    TRY(widen_inputs(g, id, outer));
    g->nodes[id].n_captures++;
    return NULL;
}

void graph_remove_capture(Graph *sub, ValueId inner) {
    for (uint32_t i = 0; i < sub->n_captures; i++)
        if (sub->captures[i].inner == inner) {
            memmove(&sub->captures[i], &sub->captures[i + 1], (sub->n_captures - i - 1) * sizeof(Capture));
            sub->n_captures--;
            break;
        }
    sub->values[inner].is_capture = false;
}

/* The use of v by (node, from) becomes one by (node, to). */
static void move_use(Graph *g, ValueId v, NodeId node, uint32_t from, uint32_t to) {
    for (uint32_t i = 0; v != NO_ID && i < g->values[v].n_uses; i++)
        if (g->values[v].uses[i].node == node && g->values[v].uses[i].slot == from) g->values[v].uses[i].slot = to;
}

void graph_node_remove_capture(Graph *g, NodeId id, uint32_t slot) {
    Node *n = &g->nodes[id];
    uint32_t total = (uint32_t)n->n_in + n->n_captures;
    drop_use(g, n->in[slot], id, slot);
    for (uint32_t i = slot + 1; i < total; i++) {
        n->in[i - 1] = n->in[i];
        move_use(g, n->in[i], id, i, i - 1);
    }
    n->n_captures--;
    for (int a = 0; a < n->n_attrs; a++) {
        Graph *sub = n->attrs[a].kind == ATTR_GRAPH ? n->attrs[a].g : NULL;
        for (uint32_t i = 0; sub && i < sub->n_captures; i++) sub->captures[i].slot -= sub->captures[i].slot > slot;
    }
}

Status graph_append_input(Graph *g, NodeId id, ValueId v) {
    if (g->nodes[id].n_captures)
        return status_make(STATUS_INTERNAL, "an input cannot be appended to '%s', which has captures",
                           g->nodes[id].name);
    TRY(widen_inputs(g, id, v));
    g->nodes[id].n_in++;
    return NULL;
}

void graph_set_input(Graph *g, NodeId id, uint32_t slot, ValueId v) {
    ValueId old = g->nodes[id].in[slot];
    if (old == v) return;
    drop_use(g, old, id, slot);
    g->nodes[id].in[slot] = v;
    /* The use list of `old` just lost an entry, but `v` may have to grow: a failure here would break the links, so the
     * slot is left absent, which the verifier and every consumer report. */
    if (!add_use(g, v, id, slot)) g->nodes[id].in[slot] = NO_ID;
}

static void swap_names(Graph *g, ValueId a, ValueId b) {
    const char *name = g->values[a].name;
    g->values[a].name = g->values[b].name;
    g->values[b].name = name;
    names_put(g->names, NAME_VALUE, g->values[a].name, a);
    names_put(g->names, NAME_VALUE, g->values[b].name, b);
}

Status graph_replace_uses(Graph *g, ValueId from, ValueId to) {
    if (from == to) return NULL;
    Value *f = &g->values[from], *t = &g->values[to];
    while (t->n_uses + f->n_uses > t->cap_uses) {
        uint32_t n = t->cap_uses;
        TRY_ALLOC(grow((void **)&t->uses, n, &t->cap_uses, sizeof *t->uses));
    }
    for (uint32_t i = 0; i < f->n_uses; i++) {
        g->nodes[f->uses[i].node].in[f->uses[i].slot] = to;
        t->uses[t->n_uses++] = f->uses[i];
    }
    f->n_uses = 0;
    if (!f->is_output) return NULL;
    /* The model's output name must survive. An input or another output keeps its own name, so that an Identity stands
     * between them. */
    if (t->is_input || t->is_output || t->is_capture || t->constant) {
        ValueId out = from;
        if (f->producer != NO_ID) {
            NodeId p = f->producer;
            ValueId spare;
            TRY(graph_add_value(g, g->values[from].name, &g->values[from].type, &spare));
            g->nodes[p].out[g->values[from].out_index] = spare;
            g->values[spare].producer = p;
            g->values[spare].out_index = g->values[from].out_index;
            g->values[from].producer = NO_ID;
        }
        const OpDef *identity = op_find("", "Identity");
        return graph_add_node(g, identity, NULL, 1, &to, 1, &out, NULL);
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == from) g->outputs[i] = to;
    t->is_output = true;
    f->is_output = false;
    swap_names(g, from, to);
    return NULL;
}

void graph_remove_node(Graph *g, NodeId id) {
    Node *n = &g->nodes[id];
    for (uint32_t i = 0; i < (uint32_t)n->n_in + n->n_captures; i++) drop_use(g, n->in[i], id, i);
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != NO_ID) g->values[n->out[i]].producer = NO_ID;
    free_attrs(n);
    names_remove(g->names, NAME_NODE, n->name);
    n->dead = true;
    n->n_in = n->n_out = n->n_captures = 0;
    for (uint32_t i = 0; i < g->n_order; i++)
        if (g->order[i] == id) {
            memmove(&g->order[i], &g->order[i + 1], (g->n_order - i - 1) * sizeof(NodeId));
            g->n_order--;
            break;
        }
}

NodeId graph_single_user(const Graph *g, ValueId v) {
    const Value *value = &g->values[v];
    return value->n_uses == 1 && !value->is_output ? value->uses[0].node : NO_ID;
}

const Tensor *graph_constant(const Graph *g, ValueId v) { return v == NO_ID ? NULL : g->values[v].constant; }

const Type *graph_in_type(const Graph *g, const Node *n, int i) {
    return i < n->n_in && n->in[i] != NO_ID ? &g->values[n->in[i]].type : NULL;
}

/* ---- order ---- */

/* Min-heap of positions in the old order, so that the sort is stable. */
static void heap_push(uint32_t *heap, uint32_t *n, uint32_t x) {
    uint32_t i = (*n)++;
    for (; i && heap[(i - 1) / 2] > x; i = (i - 1) / 2) heap[i] = heap[(i - 1) / 2];
    heap[i] = x;
}

static uint32_t heap_pop(uint32_t *heap, uint32_t *n) {
    uint32_t top = heap[0], x = heap[--*n], i = 0;
    for (uint32_t child; (child = 2 * i + 1) < *n; i = child) {
        if (child + 1 < *n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= x) break;
        heap[i] = heap[child];
    }
    heap[i] = x;
    return top;
}

static Status sort_into(Graph *g, uint32_t *position, uint32_t *waiting, uint32_t *heap, NodeId *sorted) {
    uint32_t n_heap = 0, n_sorted = 0;
    for (uint32_t i = 0; i < g->n_order; i++) position[g->order[i]] = i;
    for (uint32_t i = 0; i < g->n_order; i++) {
        const Node *n = &g->nodes[g->order[i]];
        uint32_t producers = 0;
        for (uint32_t k = 0; k < (uint32_t)n->n_in + n->n_captures; k++)
            producers += n->in[k] != NO_ID && g->values[n->in[k]].producer != NO_ID;
        waiting[g->order[i]] = producers;
        if (!producers) heap_push(heap, &n_heap, i);
    }
    while (n_heap) {
        NodeId id = g->order[heap_pop(heap, &n_heap)];
        sorted[n_sorted++] = id;
        const Node *n = &g->nodes[id];
        for (int o = 0; o < n->n_out; o++) {
            const Value *v = n->out[o] == NO_ID ? NULL : &g->values[n->out[o]];
            for (uint32_t u = 0; v && u < v->n_uses; u++)
                if (--waiting[v->uses[u].node] == 0) heap_push(heap, &n_heap, position[v->uses[u].node]);
        }
    }
    if (n_sorted == g->n_order) {
        if (n_sorted) memcpy(g->order, sorted, n_sorted * sizeof *sorted);
        return NULL;
    }
    for (uint32_t i = 0; i < g->n_order; i++)
        if (waiting[g->order[i]])
            return status_make(STATUS_INVALID, "the graph has a cycle through node '%s' (%s)",
                               g->nodes[g->order[i]].name, g->nodes[g->order[i]].op->name);
    return NULL;
}

Status graph_sort(Graph *g) {
    Arena *scratch = arena_new();
    if (!scratch) return status_oom();
    uint32_t *position = ARENA_ARRAY(scratch, uint32_t, g->n_nodes),
             *waiting = ARENA_ARRAY(scratch, uint32_t, g->n_nodes);
    uint32_t *heap = ARENA_ARRAY(scratch, uint32_t, g->n_order), *sorted = ARENA_ARRAY(scratch, uint32_t, g->n_order);
    Status s = position && waiting && heap && sorted ? sort_into(g, position, waiting, heap, sorted) : status_oom();
    arena_free(scratch);
    return s;
}

static bool node_is_needed(const Graph *g, const Node *n) {
    for (int i = 0; i < n->n_out; i++) {
        if (n->out[i] == NO_ID) continue;
        const Value *v = &g->values[n->out[i]];
        if (v->n_uses || v->is_output) return true;
    }
    return false;
}

uint32_t graph_eliminate_dead(Graph *g) {
    uint32_t removed = 0, before;
    do {
        before = removed;
        for (uint32_t i = g->n_order; i-- > 0;)
            if (i < g->n_order && !node_is_needed(g, &g->nodes[g->order[i]])) {
                graph_remove_node(g, g->order[i]);
                removed++;
            }
    } while (removed != before);
    for (uint32_t i = 0; i < g->n_values; i++) {
        Value *v = &g->values[i];
        if (v->constant && !v->n_uses && !v->is_output) drop_constant(v);
    }
    return removed;
}
