/* Gemm and MatMul with constant weights. */
#include "backends/cpu/lower_product.h"
#include "backends/cpu/lower_quant.h"
#include "kernels/cpu/igemm/matmul.h"

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

/* ---- both operands computed ---- */

typedef struct BatchDims {
    int64_t outer, inner; /* batches */
    int64_t outer_stride, inner_stride;
} BatchDims;

/* The leading dims of an operand against those of the result, as at most two levels; false when they do not fold. */
static bool fold_batches(const Type *y, const Type *t, BatchDims *b) {
    int64_t stride = t->dims[t->rank - 1] * t->dims[t->rank - 2];
    int64_t dims[MAX_RANK], strides[MAX_RANK];
    int levels = 0;
    for (int i = y->rank - 3; i >= 0; i--) { /* innermost first; neighbours that go on in one stride are one level */
        int k = i - (y->rank - t->rank);
        int64_t have = k < 0 ? 1 : t->dims[k];
        int64_t s = have == 1 && y->dims[i] != 1 ? 0 : stride;
        if (y->dims[i] == 1) continue;
        if (levels && strides[levels - 1] * dims[levels - 1] == s)
            dims[levels - 1] *= y->dims[i];
        else {
            dims[levels] = y->dims[i];
            strides[levels++] = s;
        }
        stride *= have;
    }
    if (levels > 2) return false;
    *b = (BatchDims){levels > 1 ? dims[1] : 1, levels ? dims[0] : 1, levels > 1 ? strides[1] : 0,
                     levels ? strides[0] : 0};
    return true;
}

static Status run_matmul(const Step *s, Context *c) {
    matmul_run(s->op, STEP_IN(s, c, 0), STEP_IN(s, c, 1), STEP_OUT(s, c, 0), c->scratch, c->team);
    return NULL;
}

static Status lower_products(Lowering *l, NodeId id, bool *done) {
    const Node *n = &l->g->nodes[id];
    const Type *a = lower_type(l, n->in[0]), *b = lower_type(l, n->in[1]), *y = lower_type(l, n->out[0]);
    BatchDims x, w;
    bool fits = a->rank >= 2 && b->rank >= 2 && a->elem == ELEM_F32 && b->elem == ELEM_F32 && type_count(y) > 0;
    if (!fits || !fold_batches(y, a, &x) || !fold_batches(y, b, &w)) return NULL;
    if (x.outer != w.outer || x.inner != w.inner) { /* the operands fold at different places: one level each way */
        bool shared = w.inner_stride == 0 && w.outer_stride == 0;
        if (!shared) return NULL;
    }
    MatmulDesc d = {.x_type = IGEMM_F32, .w_type = IGEMM_F32, .y_type = IGEMM_F32, .m = a->dims[a->rank - 2]};
    d.k = a->dims[a->rank - 1];
    d.n = b->dims[b->rank - 1];
    d.batch[0] = x.outer;
    d.batch[1] = x.inner;
    d.x_batch[0] = x.outer_stride;
    d.x_batch[1] = x.inner_stride;
    d.w_batch[0] = w.outer_stride;
    d.w_batch[1] = w.inner_stride;
    d.y_batch[1] = d.m * d.n;
    d.y_batch[0] = d.y_batch[1] * x.inner;
    Matmul op;
    if (!matmul_init(&op, &d)) return NULL;
    *done = true;
    Operand xo, wo, yo;
    TRY(lower_read(l, n->in[0], LAYOUT_PLAIN, &xo, NULL));
    TRY(lower_read(l, n->in[1], LAYOUT_PLAIN, &wo, NULL));
    TRY(lower_write(l, n->out[0], LAYOUT_PLAIN, &yo, NULL));
    Step *s;
    TRY(lower_step(l, n->name, n->op->name, matmul_kernel_name(&op), run_matmul, sizeof op, 2, 1, &s));
    *(Matmul *)s->op = op;
    s->scratch_bytes = matmul_scratch_bytes(&op, l->p->threads);
    s->in[0] = xo;
    s->in[1] = wo;
    s->out[0] = yo;
    return lower_commit(l, s);
}

Status lower_matmul(Lowering *l, NodeId id, const Group *group, bool *done) {
    if (group || matmul_has_kernel(l->g, &l->g->nodes[id])) return lower_matrix(l, id, group, false, done);
    return lower_products(l, id, done);
}
