/* layout: Transposes and Reshapes are cancelled, merged and moved to where they meet. Values do not change by a bit. */
#include "passes/layout.h"

#include <string.h>

bool layout_perm(const Graph *g, const Node *n, int64_t *perm, int *rank) {
    int64_t count;
    const int64_t *given = attr_ints(n, "perm", &count);
    const Type *t = edit_ranked(g, n->in[0]);
    if (!t || (given && count != t->rank)) return false;
    *rank = t->rank;
    for (int i = 0; i < t->rank; i++) perm[i] = given ? given[i] : t->rank - 1 - i;
    return true;
}

/* The constant target that turns `in` into `out`: numbers, 0 where a symbol stands at its place, -1 once. */
static bool express_target(const Type *in, const Type *out, int64_t *target) {
    bool free_used = false, empty = false;
    for (int i = 0; i < out->rank; i++) {
        Dim d = out->dims[i];
        target[i] = d;
        empty |= d == 0;
        if (!DIM_IS_SYM(d)) continue;
        bool same_place = i < in->rank && in->dims[i] == d;
        if (!same_place && free_used) return false;
        free_used |= !same_place;
        target[i] = same_place ? 0 : -1;
    }
    return !empty;
}

bool layout_can_reshape(const Type *in, const Type *out) {
    int64_t target[MAX_RANK];
    return express_target(in, out, target);
}

Status layout_insert_reshape(Graph *g, NodeId before, const char *name, ValueId x, const Type *type, ValueId *out,
                             bool *ok) {
    int64_t target[MAX_RANK];
    ValueId shape;
    NodeId node;
    const Type *in = edit_ranked(g, x);
    *ok = in && express_target(in, type, target);
    if (!*ok) return NULL;
    TRY(edit_add_ints(g, "shape", target, type->rank, &shape));
    return edit_insert(g, before, "Reshape", name, 2, (ValueId[]){x, shape}, type, out, &node);
}

Status layout_replace_by_reshape(Graph *g, NodeId id, ValueId x, bool *done) {
    int64_t target[MAX_RANK];
    ValueId shape;
    NodeId node;
    const Type *in = edit_ranked(g, x), *out = edit_ranked(g, g->nodes[id].out[0]);
    *done = in && out && express_target(in, out, target);
    if (!*done) return NULL;
    TRY(edit_add_ints(g, "shape", target, out->rank, &shape));
    return edit_replace(g, id, op_find("", "Reshape"), 2, (ValueId[]){x, shape}, &node);
}

static Status visit_all(Graph *g, Arena *lists, Arena *scratch, uint32_t *changed) {
    NodeList list;
    arena_reset(lists);
    TRY(edit_nodes(g, lists, &list));
    *changed = 0;
    for (uint32_t i = 0; i < list.n; i++) {
        bool done = false;
        arena_reset(scratch);
        if (!g->nodes[list.ids[i]].dead) TRY(layout_view(g, list.ids[i], &done));
        if (!g->nodes[list.ids[i]].dead && !done) TRY(layout_transpose(g, list.ids[i], scratch, &done));
        *changed += done;
    }
    TRY(graph_sort(g));
    return graph_infer(g);
}

/* Every rewrite removes a node or moves one towards the outputs, so this ends; the bound is for safety only. */
enum { MAX_ROUNDS = 1000 };

Status pass_layout(Graph *g, const PassOptions *o, PassStats *stats) {
    (void)o;
    Arena *lists = arena_new(), *scratch = arena_new();
    Status st = lists && scratch ? NULL : status_oom();
    uint32_t changed = 1;
    for (int i = 0; !st && changed && i < MAX_ROUNDS; i++) {
        st = visit_all(g, lists, scratch, &changed);
        stats->changed += changed;
    }
    arena_free(lists);
    arena_free(scratch);
    return st;
}
