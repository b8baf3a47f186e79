/* NegativeLogLikelihoodLoss and SoftmaxCrossEntropyLoss: losses over [N, C, d1 … dk] with targets [N, d1 … dk]. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

Status infer_loss(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    if (c->n_out > 1) c->out[1] = *c->in[0]; /* log-probabilities of SoftmaxCrossEntropyLoss */
    if (strcmp(attr_string(c->node, "reduction"), "none") != 0) {
        infer_set(c, 0, e, 0, NULL);
    } else if (infer_is_tensor(c, 1)) {
        c->out[0] = *c->in[1];
        c->out[0].elem = e;
    } else {
        infer_set_unranked(c, 0, e);
    }
    return NULL;
}

typedef struct Loss {
    int64_t n, classes, inner; /* input seen as [n, classes, inner], target as [n, inner] */
    const double *log_p;
    const int64_t *target;
    const double *weight; /* NULL: all 1 */
    bool ignores;
    int64_t ignored;
} Loss;

static Status read_loss(EvalCtx *c, Loss *l) {
    const Tensor *x = c->in[0], *t = c->in[1], *w = c->n_in > 2 ? c->in[2] : NULL;
    TRY(ref_numeric_only(c));
    bool fits = x->rank >= 2 && t->rank == x->rank - 1 && t->dims[0] == x->dims[0];
    for (int d = 2; fits && d < x->rank; d++) fits = t->dims[d - 1] == x->dims[d];
    if (fits && w) fits = tensor_count(w) == x->dims[1];
    if (!fits) return eval_error(c, STATUS_INVALID, "input, target and weight do not fit each other");
    l->n = x->dims[0];
    l->classes = x->dims[1];
    l->inner = ref_product(x->dims, 2, x->rank);
    TRY_ALLOC(l->target = ref_read_i64(c->scratch, t));
    l->weight = NULL;
    if (w) TRY_ALLOC(l->weight = ref_read_f64(c->scratch, w));
    l->ignores = attr_find(c->node, "ignore_index") != NULL;
    l->ignored = l->ignores ? attr_int(c->node, "ignore_index") : 0;
    return NULL;
}

/* Loss of every sample into each[], its weight into applied[]. */
static Status sample_losses(const EvalCtx *c, const Loss *l, double *each, double *applied) {
    for (int64_t i = 0; i < l->n * l->inner; i++) {
        int64_t k = l->target[i];
        bool ignored = l->ignores && k == l->ignored;
        if (!ignored && (k < 0 || k >= l->classes)) {
            return eval_error(c, STATUS_INVALID, "target %lld is outside the %lld classes", (long long)k,
                              (long long)l->classes);
        }
        applied[i] = ignored ? 0 : l->weight ? l->weight[k] : 1;
        each[i] = ignored ? 0 : -applied[i] * l->log_p[(i / l->inner * l->classes + k) * l->inner + i % l->inner];
    }
    return NULL;
}

static Status reduce_loss(EvalCtx *c, const Loss *l) {
    const char *reduction = attr_string(c->node, "reduction");
    int64_t samples = l->n * l->inner;
    double *each, *applied, sum = 0, weight = 0;
    Tensor y;
    TRY_ALLOC(each = ARENA_ARRAY(c->scratch, double, samples));
    TRY_ALLOC(applied = ARENA_ARRAY(c->scratch, double, samples));
    TRY(sample_losses(c, l, each, applied));
    if (strcmp(reduction, "none") == 0) {
        TRY(ref_output(c, 0, c->in[0]->elem, c->in[1]->rank, c->in[1]->dims, &y));
        ref_store(&y, CLASS_F64, 0, samples, each);
        return NULL;
    }
    for (int64_t i = 0; i < samples; i++) {
        sum += each[i];
        weight += applied[i];
    }
    if (strcmp(reduction, "mean") == 0) sum /= weight;
    TRY(ref_output(c, 0, c->in[0]->elem, 0, NULL, &y));
    ref_store(&y, CLASS_F64, 0, 1, &sum);
    return NULL;
}

Status eval_nll_loss(EvalCtx *c) {
    Loss l;
    TRY(read_loss(c, &l));
    TRY_ALLOC(l.log_p = ref_read_f64(c->scratch, c->in[0]));
    return reduce_loss(c, &l);
}

/* x becomes log softmax over the classes. */
static void log_softmax(double *x, const Loss *l) {
    for (int64_t i = 0; i < l->n * l->inner; i++) {
        double *v = x + i / l->inner * l->classes * l->inner + i % l->inner, top = -INFINITY, sum = 0;
        for (int64_t k = 0; k < l->classes; k++) top = fmax(top, v[k * l->inner]);
        for (int64_t k = 0; k < l->classes; k++) sum += exp(v[k * l->inner] - top);
        for (int64_t k = 0; k < l->classes; k++) v[k * l->inner] -= top + log(sum);
    }
}

Status eval_softmax_cross_entropy_loss(EvalCtx *c) {
    const Tensor *x = c->in[0];
    Loss l;
    double *p;
    TRY(read_loss(c, &l));
    TRY_ALLOC(p = ref_read_f64(c->scratch, x));
    log_softmax(p, &l);
    l.log_p = p;
    if (c->n_out > 1 && c->node->out[1] != NO_ID) {
        Tensor y;
        TRY(ref_output(c, 1, x->elem, x->rank, x->dims, &y));
        ref_store(&y, CLASS_F64, 0, tensor_count(x), p);
    }
    return reduce_loss(c, &l);
}
