/* Concatenation without copying: feature maps that are joined over channels are written side by side at once. */
#include "backends/cpu/plan.h"

/* True when the value's step can write channels-last with a pitch (lower_write with ld): products, pools, elementwise.
 */
static bool writes_slices(const Lowering *l, ValueId v) {
    const Value *value = &l->g->values[v];
    if (value->producer == NO_ID || value->constant || value->is_output || l->tapped[v]) return false;
    const Node *n = &l->g->nodes[value->producer];
    NodeId root = l->group[value->producer] ? l->group[value->producer]->root : value->producer;
    return lower_slices(l, root) && n->out[0] == v;
}

bool concat_over_channels(const Graph *g, const Node *n) {
    if (!op_is(n, "Concat") || g->values[n->out[0]].type.rank != 4) return false;
    int64_t axis = attr_int(n, "axis");
    return axis == 1 || axis == -3;
}

Status place_concats(Lowering *l) {
    Graph *g = l->g;
    for (uint32_t k = 0; k < g->n_order; k++) {
        const Node *n = &g->nodes[g->order[k]];
        if (!concat_over_channels(g, n)) continue;
        bool all = !l->tapped[n->out[0]];
        for (int i = 0; all && i < n->n_in; i++)
            all =
                g->values[n->in[i]].n_uses == 1 && l->slice[n->in[i]].where.at == AT_NONE && writes_slices(l, n->in[i]);
        if (!all) continue;
        const Type *t = lower_type(l, n->out[0]);
        size_t elem = (size_t)elem_bits(t->elem) / 8, channel = 0, bytes;
        if (!elem_bytes(t->elem, type_count(t), &bytes)) continue;
        Operand whole;
        TRY(lower_buffer(l, bytes, &whole));
        l->slice[n->out[0]] = (Storage){whole, t->dims[1]};
        for (int i = 0; i < n->n_in; i++) {
            Operand part = whole;
            part.offset = channel * elem;
            l->slice[n->in[i]] = (Storage){part, t->dims[1]};
            channel += (size_t)lower_type(l, n->in[i])->dims[1];
        }
    }
    return NULL;
}
