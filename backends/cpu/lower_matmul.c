/* Gemm and MatMul with constant weights. */
#include "backends/cpu/lower_product.h"
#include "backends/cpu/lower_quant.h"

#include <string.h>

/* A weight matrix [K, N] (or [N, K] with transB) that all batches share. */
static const Tensor *matrix_of(const Graph *g, const Node *n) {
    const Tensor *w = n->n_in > 1 ? graph_constant(g, n->in[1]) : NULL;
    return w && w->rank == 2 ? w : NULL;
}

static bool bias_fits(const Graph *g, const Node *n) {
    if (n->n_in < 3 || n->in[2] == NO_ID) return true;
    const Tensor *b = graph_constant(g, n->in[2]);
    int64_t columns = g->values[n->out[0]].type.dims[1];
    return b && b->elem == ELEM_F32 && b->rank >= 1 && b->dims[b->rank - 1] == columns && tensor_count(b) == columns;
}

bool matmul_has_kernel(const Graph *g, const Node *n) {
    const Tensor *w = matrix_of(g, n);
    const Type *x = &g->values[n->in[0]].type;
    if (!w || x->rank < 1) return false;
    if (op_is(n, "MatMul")) return w->elem == ELEM_F32 && x->elem == ELEM_F32;
    if (op_is(n, "Gemm"))
        return w->elem == ELEM_F32 && x->elem == ELEM_F32 && x->rank == 2 && !attr_int(n, "transA") &&
               attr_float(n, "alpha") == 1.0f && attr_float(n, "beta") == 1.0f && bias_fits(g, n);
    return op_is_pare(n, "QMatMul") && w->elem == ELEM_I8 && n->n_in == 4 && n->in[2] != NO_ID && n->in[3] != NO_ID &&
           graph_constant(g, n->in[2]) && graph_constant(g, n->in[3]) && !attr_int(n, "b_zero_point") &&
           graph_constant(g, n->in[3])->rank == 1 &&
           graph_constant(g, n->in[3])->dims[0] == g->values[n->out[0]].type.dims[g->values[n->out[0]].type.rank - 1];
}

static Status lower_matrix(Lowering *l, NodeId id, const Group *group, bool trans_b, bool *done) {
    const Node *n = &l->g->nodes[id];
    if (!matmul_has_kernel(l->g, n)) return NULL;
    *done = true;
    const Tensor *w = matrix_of(l->g, n);
    int64_t k = w->dims[trans_b ? 1 : 0], columns = w->dims[trans_b ? 0 : 1];
    Product p = {.node = n, .group = group, .x = n->in[0], .w = w, .layout = trans_b ? IGEMM_NK : IGEMM_KN};
    if (n->n_in > 2 && n->in[2] != NO_ID) p.bias = graph_constant(l->g, n->in[2]);
    if (op_is_pare(n, "QMatMul")) {
        igemm_gemm_desc(&p.desc, IGEMM_U8, IGEMM_U8, type_count(lower_type(l, n->in[0])) / k, columns, k);
        TRY(integer_product(l, &p, "a_zero_point"));
        return lower_product(l, &p);
    }
    igemm_gemm_desc(&p.desc, IGEMM_F32, IGEMM_F32, type_count(lower_type(l, n->in[0])) / k, columns, k);
    return lower_product(l, &p);
}

Status lower_qmatmul(Lowering *l, NodeId id, const Group *group, bool *done) {
    return lower_matrix(l, id, group, attr_int(&l->g->nodes[id], "trans_b") != 0, done);
}

Status lower_gemm(Lowering *l, NodeId id, const Group *group, bool *done) {
    return lower_matrix(l, id, group, attr_int(&l->g->nodes[id], "transB") != 0, done);
}

Status lower_matmul(Lowering *l, NodeId id, const Group *group, bool *done) {
    return lower_matrix(l, id, group, false, done);
}
