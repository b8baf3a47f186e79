#include "backends/cpu/bf16.h"

#include "backends/backend.h"
#include "kernels/cpu/isa.h"

const char *bf16_missing(void) {
    if (!PARE_ONEDNN) return "this build is without oneDNN";
    if (isa_has(ISA_AVX512_BF16) || isa_has(ISA_AMX_BF16)) return NULL;
    return "this CPU has neither AVX512-BF16 nor AMX-BF16";
}

static Status widen(Graph *g, NodeId id) {
    const Node *n = &g->nodes[id];
    const ValueId v = n->out[0];
    const Tensor *from = graph_constant(g, n->in[0]);
    Tensor t;
    TRY(tensor_new(&t, ELEM_F32, from->rank, from->dims));
    tensor_to_f32(from, (float *)(void *)t.data);
    TRY(graph_make_constant(g, v, t));
    graph_remove_node(g, id);
    return NULL;
}

Status bf16_widen(Graph *g, Arena *scratch, const bool **narrow) {
    bool *marks = ARENA_ARRAY(scratch, bool, g->n_values);
    TRY_ALLOC(marks);
    *narrow = marks;
    for (uint32_t id = 0; id < g->n_nodes; id++) {
        const Node *n = &g->nodes[id];
        if (n->dead || !op_is(n, "Cast")) continue;
        const Tensor *t = graph_constant(g, n->in[0]);
        if (!t || t->elem != ELEM_BF16 || g->values[n->out[0]].type.elem != ELEM_F32) continue;
        marks[n->out[0]] = true;
        TRY(widen(g, id));
    }
    return NULL;
}
