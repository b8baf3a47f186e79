/* Ops that carry a state from call to call: CausalConvWithState and LinearAttention. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

static const Tensor *input(const EvalCtx *c, int i) { return i < c->n_in ? c->in[i] : NULL; }

static bool has_dims(const Tensor *t, int rank, const int64_t *dims) {
    bool same = t->rank == rank;
    for (int i = 0; same && i < rank; i++) same = t->dims[i] == dims[i];
    return same;
}

/* Values of t, or `n` zeros when it is absent; NULL when memory is short. */
static double *read_or_zero(EvalCtx *c, const Tensor *t, int64_t n) {
    return t ? ref_read_f64(c->scratch, t) : ARENA_ARRAY(c->scratch, double, n);
}

/* ---- CausalConvWithState: x [B, C, L], w [C, 1, k], past and present [B, C, k - 1] ---- */

Status infer_causal_conv(InferCtx *c) {
    c->out[0] = *c->in[0];
    ElemType e = infer_elem(c, 0);
    if (!infer_is_ranked(c, 0) || !infer_is_ranked(c, 1)) {
        infer_set_unranked(c, 1, e);
        return NULL;
    }
    const Type *x = c->in[0], *w = c->in[1];
    if (x->rank != 3 || w->rank != 3)
        return infer_error(c, STATUS_INVALID, "input and weight must have 3 dimensions, found %d and %d", x->rank,
                           w->rank);
    Dim dims[3] = {x->dims[0], x->dims[1], infer_dim_op(c, SYM_SUB, w->dims[2], 1)};
    return infer_set_dims(c, 1, e, 3, dims);
}

/* One channel: seq is the past and the input in a row. */
static void convolve(const double *seq, const double *w, int64_t k, int64_t len, double bias, bool silu, double *y) {
    for (int64_t i = 0; i < len; i++) {
        double v = bias;
        for (int64_t j = 0; j < k; j++) v += w[j] * seq[i + j];
        y[i] = silu ? v / (1 + exp(-v)) : v;
    }
}

Status eval_causal_conv(EvalCtx *c) {
    const Tensor *x = c->in[0], *w = c->in[1], *bias = input(c, 2), *past = input(c, 3);
    const char *activation = attr_string(c->node, "activation");
    bool silu = strcmp(activation, "silu") == 0 || strcmp(activation, "swish") == 0;
    TRY(ref_numeric_only(c));
    bool fits = x->rank == 3 && w->rank == 3 && w->dims[0] == x->dims[1] && w->dims[1] == 1 && w->dims[2] >= 1;
    int64_t k = fits ? w->dims[2] : 1, keep = k - 1, state[3] = {x->dims[0], x->dims[1], keep};
    if (fits && bias) fits = tensor_count(bias) == x->dims[1];
    if (fits && past) fits = has_dims(past, 3, state);
    if (!fits) return eval_error(c, STATUS_INVALID, "input, weight, bias and past_state do not fit each other");
    Tensor y, present;
    TRY(ref_output(c, 0, x->elem, 3, x->dims, &y));
    TRY(ref_output(c, 1, x->elem, 3, state, &present));
    int64_t rows = x->dims[0] * x->dims[1], len = x->dims[2];
    double *xs, *ws, *bs, *ps, *seq, *out;
    TRY_ALLOC(xs = ref_read_f64(c->scratch, x));
    TRY_ALLOC(ws = ref_read_f64(c->scratch, w));
    TRY_ALLOC(bs = read_or_zero(c, bias, x->dims[1]));
    TRY_ALLOC(ps = read_or_zero(c, past, tensor_count(&present)));
    TRY_ALLOC(seq = ARENA_ARRAY(c->scratch, double, keep + len));
    TRY_ALLOC(out = ARENA_ARRAY(c->scratch, double, len));
    for (int64_t r = 0; r < rows; r++) {
        int64_t ch = r % x->dims[1];
        for (int64_t i = 0; i < keep; i++) seq[i] = ps[r * keep + i];
        for (int64_t i = 0; i < len; i++) seq[keep + i] = xs[r * len + i];
        convolve(seq, ws + ch * k, k, len, bs[ch], silu, out);
        ref_store(&y, CLASS_F64, r * len, len, out);
        ref_store(&present, CLASS_F64, r * keep, keep, seq + len);
    }
    return NULL;
}

/* ---- LinearAttention: a recurrence over a state S [d_k, d_v] a key/value head ---- */

Status infer_linear_attention(InferCtx *c) {
    int64_t heads = attr_int(c->node, "q_num_heads"), kv = attr_int(c->node, "kv_num_heads");
    ElemType e = infer_elem(c, 0), state = infer_is_tensor(c, 3) ? infer_elem(c, 3) : e;
    if (heads <= 0 || kv <= 0)
        return infer_error(c, STATUS_INVALID, "attributes q_num_heads and kv_num_heads must be positive");
    if (!infer_is_ranked(c, 0) || !infer_is_ranked(c, 2) || c->in[0]->rank != 3 || c->in[2]->rank != 3) {
        infer_set_unranked(c, 0, e);
        infer_set_unranked(c, 1, state);
        return NULL;
    }
    const Dim *q = c->in[0]->dims, *v = c->in[2]->dims;
    Dim d_k = infer_dim_op(c, SYM_FLOORDIV, q[2], heads), d_v = infer_dim_op(c, SYM_FLOORDIV, v[2], kv);
    infer_set(c, 0, e, 3, (Dim[]){q[0], q[1], infer_dim_op(c, SYM_MUL, d_v, heads)});
    infer_set(c, 1, state, 4, (Dim[]){q[0], kv, d_k, d_v});
    return NULL;
}

typedef struct LinearAttention {
    int64_t batch, len, heads, kv, d_k, d_v;
    bool gated, delta;
    int64_t decays, betas; /* values a token: kv or kv·d_k; kv or 1 */
    double scale, *q, *k, *v, *decay, *beta;
    double *state; /* [batch, kv, d_k, d_v] */
} LinearAttention;

/* One token of one key/value head: S = decay·S + β k ⊗ (v - decay·Sᵀk), the subtraction only by the delta rules. */
static void update_state(const LinearAttention *a, int64_t token, int64_t head, double *s, double *u) {
    const double *k = a->k + (token * a->kv + head) * a->d_k, *v = a->v + (token * a->kv + head) * a->d_v;
    double beta = a->delta ? a->beta[token * a->betas + (a->betas == 1 ? 0 : head)] : 1;
    for (int64_t i = 0; a->gated && i < a->d_k; i++) {
        bool each = a->decays != a->kv;
        double g = exp(a->decay[token * a->decays + (each ? head * a->d_k + i : head)]);
        for (int64_t j = 0; j < a->d_v; j++) s[i * a->d_v + j] *= g;
    }
    for (int64_t j = 0; j < a->d_v; j++) {
        u[j] = v[j];
        for (int64_t i = 0; a->delta && i < a->d_k; i++) u[j] -= s[i * a->d_v + j] * k[i];
    }
    for (int64_t i = 0; i < a->d_k; i++) {
        for (int64_t j = 0; j < a->d_v; j++) s[i * a->d_v + j] += beta * k[i] * u[j];
    }
}

/* The query heads that share key/value head `head`: o = scale · Sᵀq. */
static void read_state(const LinearAttention *a, int64_t token, int64_t head, const double *s, double *o, Tensor *y) {
    int64_t group = a->heads / a->kv;
    for (int64_t h = head * group; h < (head + 1) * group; h++) {
        const double *q = a->q + (token * a->heads + h) * a->d_k;
        for (int64_t j = 0; j < a->d_v; j++) {
            double sum = 0;
            for (int64_t i = 0; i < a->d_k; i++) sum += q[i] * s[i * a->d_v + j];
            o[j] = a->scale * sum;
        }
        ref_store(y, CLASS_F64, (token * a->heads + h) * a->d_v, a->d_v, o);
    }
}

/* Sizes from the inputs; false when they do not fit each other. */
static bool read_sizes(const EvalCtx *c, LinearAttention *a) {
    const Tensor *q = c->in[0], *k = c->in[1], *v = c->in[2], *past = input(c, 3), *decay = input(c, 4),
                 *beta = input(c, 5);
    const char *rule = attr_string(c->node, "update_rule");
    a->heads = attr_int(c->node, "q_num_heads");
    a->kv = attr_int(c->node, "kv_num_heads");
    a->delta = strcmp(rule, "delta") == 0 || strcmp(rule, "gated_delta") == 0;
    a->gated = strcmp(rule, "gated") == 0 || strcmp(rule, "gated_delta") == 0;
    if (q->rank != 3 || k->rank != 3 || v->rank != 3 || a->heads <= 0 || a->kv <= 0 || a->heads % a->kv) return false;
    if (q->dims[2] % a->heads || v->dims[2] % a->kv) return false;
    a->batch = q->dims[0];
    a->len = q->dims[1];
    a->d_k = q->dims[2] / a->heads;
    a->d_v = v->dims[2] / a->kv;
    int64_t keys[3] = {a->batch, a->len, a->kv * a->d_k}, values[3] = {a->batch, a->len, a->kv * a->d_v};
    int64_t state[4] = {a->batch, a->kv, a->d_k, a->d_v};
    bool fits = has_dims(k, 3, keys) && has_dims(v, 3, values) && (!past || has_dims(past, 4, state));
    if (a->gated) fits = fits && decay && decay->rank == 3 && decay->dims[0] == a->batch && decay->dims[1] == a->len;
    if (a->delta) fits = fits && beta && beta->rank == 3 && beta->dims[0] == a->batch && beta->dims[1] == a->len;
    if (!fits) return false;
    a->decays = a->gated ? decay->dims[2] : 0;
    a->betas = a->delta ? beta->dims[2] : 0;
    return (!a->gated || a->decays == a->kv || a->decays == keys[2]) &&
           (!a->delta || a->betas == a->kv || a->betas == 1);
}

Status eval_linear_attention(EvalCtx *c) {
    LinearAttention a = {0};
    Tensor y, present;
    TRY(ref_numeric_only(c));
    if (!read_sizes(c, &a))
        return eval_error(c, STATUS_INVALID, "query, key, value, past_state, decay and beta do not fit each other");
    double scale = (double)attr_float(c->node, "scale"), *u, *o;
    a.scale = scale != 0 ? scale : 1 / sqrt((double)a.d_k);
    const Tensor *past = input(c, 3);
    ElemType e = c->in[0]->elem, state = past ? past->elem : e;
    TRY(ref_output(c, 0, e, 3, (int64_t[]){a.batch, a.len, a.heads * a.d_v}, &y));
    TRY(ref_output(c, 1, state, 4, (int64_t[]){a.batch, a.kv, a.d_k, a.d_v}, &present));
    TRY_ALLOC(a.q = ref_read_f64(c->scratch, c->in[0]));
    TRY_ALLOC(a.k = ref_read_f64(c->scratch, c->in[1]));
    TRY_ALLOC(a.v = ref_read_f64(c->scratch, c->in[2]));
    TRY_ALLOC(a.state = read_or_zero(c, past, tensor_count(&present)));
    TRY_ALLOC(a.decay = read_or_zero(c, a.gated ? c->in[4] : NULL, 0));
    TRY_ALLOC(a.beta = read_or_zero(c, a.delta ? c->in[5] : NULL, 0));
    TRY_ALLOC(u = ARENA_ARRAY(c->scratch, double, a.d_v));
    TRY_ALLOC(o = ARENA_ARRAY(c->scratch, double, a.d_v));
    for (int64_t b = 0; b < a.batch; b++) {
        for (int64_t t = 0; t < a.len; t++) {
            for (int64_t h = 0; h < a.kv; h++) {
                double *s = a.state + (b * a.kv + h) * a.d_k * a.d_v;
                update_state(&a, b * a.len + t, h, s, u);
                read_state(&a, b * a.len + t, h, s, o, &y);
            }
        }
    }
    ref_store(&present, CLASS_F64, 0, tensor_count(&present), a.state);
    return NULL;
}
