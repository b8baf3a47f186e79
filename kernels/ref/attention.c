/* Attention (scaled dot products with masks, cache and grouped heads) and RotaryEmbedding. */
#include "kernels/ref/dense.h"

#include <math.h>
#include <string.h>

enum { IN_Q, IN_K, IN_V, IN_MASK, IN_PAST_K, IN_PAST_V, IN_LENGTHS };

/* ---- shape rules ---- */

/* A tensor seen as [batch, heads, sequence, size]: rank 4 as it is, rank 3 [batch, sequence, heads * size]. */
typedef struct HeadDims {
    Dim batch, heads, steps, size;
} HeadDims;

static Status head_dims(InferCtx *c, int i, int64_t heads, HeadDims *h) {
    const Type *t = c->in[i];
    if (t->rank == 4) {
        *h = (HeadDims){t->dims[0], t->dims[1], t->dims[2], t->dims[3]};
        return NULL;
    }
    if (t->rank != 3) return infer_error(c, STATUS_INVALID, "input %d must have rank 3 or 4, it has %d", i, t->rank);
    if (heads < 1) return infer_error(c, STATUS_INVALID, "inputs of rank 3 need q_num_heads and kv_num_heads");
    *h = (HeadDims){t->dims[0], heads, t->dims[1], infer_dim_op(c, SYM_FLOORDIV, t->dims[2], heads)};
    return NULL;
}

Status infer_attention(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    HeadDims q, k, v;
    for (int o = 0; o < c->n_out; o++)
        infer_set_unranked(c, o, o == 1 ? infer_elem(c, 1) : o == 2 ? infer_elem(c, 2) : e);
    for (int i = 0; i < 3; i++)
        if (!infer_is_ranked(c, i)) return NULL;
    TRY(head_dims(c, IN_Q, attr_int(c->node, "q_num_heads"), &q));
    TRY(head_dims(c, IN_K, attr_int(c->node, "kv_num_heads"), &k));
    TRY(head_dims(c, IN_V, attr_int(c->node, "kv_num_heads"), &v));
    if (dense_in_type(c, IN_PAST_K)) {
        bool known = infer_is_ranked(c, IN_PAST_K) && c->in[IN_PAST_K]->rank == 4;
        Dim past = known ? c->in[IN_PAST_K]->dims[2] : infer_fresh(c);
        k.steps = infer_dim_op(c, SYM_ADD, past, k.steps);
    }
    const Dim y4[] = {q.batch, q.heads, q.steps, v.size};
    const Dim y3[] = {q.batch, q.steps, infer_dim_op(c, SYM_MUL, q.heads, v.size)};
    const Dim key[] = {k.batch, k.heads, k.steps, k.size}, value[] = {v.batch, v.heads, k.steps, v.size};
    const Dim qk[] = {q.batch, q.heads, q.steps, k.steps};
    infer_set(c, 0, e, c->in[0]->rank, c->in[0]->rank == 4 ? y4 : y3);
    infer_set(c, 1, infer_elem(c, 1), 4, key);
    infer_set(c, 2, infer_elem(c, 2), 4, value);
    infer_set(c, 3, e, 4, qk);
    return NULL;
}

Status infer_rotary_embedding(InferCtx *c) {
    if (infer_is_ranked(c, 0) && c->in[0]->rank != 3 && c->in[0]->rank != 4)
        return infer_error(c, STATUS_INVALID, "the input must have rank 3 or 4, it has %d", c->in[0]->rank);
    return infer_same(c);
}

/* ---- values ---- */

/* A [batch, heads, steps, size] view of a dense array; rows of `size` lie together. */
typedef struct Heads {
    double *v;
    int64_t batch, heads, steps, size, s_batch, s_head, s_step;
} Heads;

static double *head_row(const Heads *h, int64_t b, int64_t head, int64_t step) {
    return h->v + b * h->s_batch + head * h->s_head + step * h->s_step;
}

/* The view of a tensor of rank 3 or 4 whose elements are at v. */
static Status view_heads(const EvalCtx *c, const Tensor *t, int64_t heads, double *v, Heads *h) {
    const int64_t *d = t->dims;
    if (t->rank == 4) {
        *h = (Heads){v, d[0], d[1], d[2], d[3], d[1] * d[2] * d[3], d[2] * d[3], d[3]};
        return NULL;
    }
    if (t->rank != 3 || heads < 1 || d[2] % heads != 0)
        return eval_error(c, STATUS_INVALID,
                          "rank 4, or rank 3 with a number of heads that divides the last dim, is needed");
    int64_t size = d[2] / heads;
    *h = (Heads){v, d[0], heads, d[1], size, d[1] * d[2], size, d[2]};
    return NULL;
}

static Status read_heads(const EvalCtx *c, int i, int64_t heads, Heads *h) {
    double *v;
    TRY(dense_read(c, c->in[i], &v));
    return view_heads(c, c->in[i], heads, v, h);
}

/* Past and new rows, one after the other, as a dense [batch, heads, past + steps, size]. */
static Status present_heads(const EvalCtx *c, int ipast, const Heads *now, Heads *all) {
    Heads past = {0};
    if (dense_in(c, ipast)) {
        if (c->in[ipast]->rank != 4) return eval_error(c, STATUS_INVALID, "the past must have rank 4");
        TRY(read_heads(c, ipast, 0, &past));
        if (past.batch != now->batch || past.heads != now->heads || past.size != now->size)
            return eval_error(c, STATUS_INVALID, "the past does not fit the new keys or values");
    }
    int64_t steps = past.steps + now->steps;
    *all = (Heads){
        NULL, now->batch, now->heads, steps, now->size, now->heads * steps * now->size, steps * now->size, now->size};
    TRY(dense_f64(c, all->batch * all->s_batch, &all->v));
    for (int64_t r = 0; r < all->batch * all->heads * steps; r++) {
        int64_t b = r / (all->heads * steps), h = r / steps % all->heads, s = r % steps;
        const double *from = s < past.steps ? head_row(&past, b, h, s) : head_row(now, b, h, s - past.steps);
        memcpy(head_row(all, b, h, s), from, (size_t)now->size * sizeof *from);
    }
    return NULL;
}

typedef struct Attend {
    Heads q, k, v;
    int64_t past, left, right; /* window bounds, -1: open */
    bool causal, mask_bool;
    double scale, softcap;
    const double *mask; /* NULL: none */
    int64_t mask_stride[4], mask_steps;
    const int64_t *lengths; /* valid keys per sample, or NULL */
    int64_t mode;           /* what qk_matmul_output shows */
} Attend;

static Status read_mask(const EvalCtx *c, Attend *a) {
    const Tensor *t = dense_in(c, IN_MASK);
    if (!t) return NULL;
    const int64_t want[4] = {a->q.batch, a->q.heads, a->q.steps, a->k.steps};
    int64_t stride = 1;
    bool fits = t->rank >= 1 && t->rank <= 4;
    for (int i = t->rank - 1; i >= 0 && fits; i--) {
        int at = 4 - t->rank + i;
        bool last = i == t->rank - 1;
        fits = last ? t->dims[i] <= want[at] : t->dims[i] == want[at] || t->dims[i] == 1;
        a->mask_stride[at] = t->dims[i] == 1 && !last ? 0 : stride;
        stride *= t->dims[i];
    }
    if (!fits) return eval_error(c, STATUS_INVALID, "the mask does not broadcast to [batch, heads, queries, keys]");
    double *v;
    TRY(dense_read(c, t, &v));
    a->mask = v;
    a->mask_steps = t->dims[t->rank - 1];
    a->mask_bool = t->elem == ELEM_BOOL;
    return NULL;
}

/* What is added to the product of query i and key j. */
static double bias_of(const Attend *a, int64_t b, int64_t h, int64_t i, int64_t j) {
    double none = (double)-INFINITY, bias = 0;
    int64_t at = i + (a->lengths ? a->lengths[b] - a->q.steps : a->past); /* the query's place among the keys */
    if (a->mask) {
        if (j >= a->mask_steps) return none;
        double m =
            a->mask[b * a->mask_stride[0] + h * a->mask_stride[1] + i * a->mask_stride[2] + j * a->mask_stride[3]];
        bias = !a->mask_bool ? m : m != 0 ? 0 : none;
    }
    bool hidden = (a->causal && j > at) || (a->left >= 0 && at - j > a->left) || (a->right >= 0 && j - at > a->right) ||
                  (a->lengths && j >= a->lengths[b]);
    return hidden ? none : bias;
}

/* In place; a row without any key gives zeros. */
static void softmax_row(double *v, int64_t n, bool empty) {
    double top = (double)-INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++) top = v[j] > top || isnan(v[j]) ? v[j] : top;
    if (empty || (isinf(top) && top < 0)) {
        memset(v, 0, (size_t)n * sizeof *v);
        return;
    }
    for (int64_t j = 0; j < n; j++) sum += v[j] = exp(v[j] - top);
    for (int64_t j = 0; j < n; j++) v[j] /= sum;
}

/* One query row: the logits in `row` become weights, y the weighted values; `shown` (may be NULL) gets what mode asks.
 */
static void attend_row(const Attend *a, int64_t b, int64_t h, int64_t i, double *row, double *shown, double *y) {
    int64_t kv = h / (a->q.heads / a->k.heads), n = a->k.steps;
    const double *q = head_row(&a->q, b, h, i);
    bool empty = true;
    for (int64_t j = 0; j < n; j++) {
        const double *k = head_row(&a->k, b, kv, j);
        double dot = 0;
        for (int64_t d = 0; d < a->q.size; d++) dot += q[d] * k[d];
        dot *= a->scale;
        if (shown && a->mode == 0) shown[j] = dot;
        if (a->softcap > 0) dot = a->softcap * tanh(dot / a->softcap);
        if (shown && a->mode == 1) shown[j] = dot;
        double bias = bias_of(a, b, h, i, j);
        empty = empty && isinf(bias) && bias < 0;
        row[j] = dot + bias;
    }
    if (shown && a->mode == 2) memcpy(shown, row, (size_t)n * sizeof *row);
    softmax_row(row, n, empty);
    if (shown && a->mode == 3) memcpy(shown, row, (size_t)n * sizeof *row);
    for (int64_t j = 0; j < n; j++) {
        const double *v = head_row(&a->v, b, kv, j);
        for (int64_t d = 0; d < a->v.size; d++) y[d] += row[j] * v[d];
    }
}

static Status attend_open(EvalCtx *c, Attend *a) {
    Heads k, v;
    int64_t heads = attr_int(c->node, "kv_num_heads"), n;
    int64_t *lengths;
    TRY(read_heads(c, IN_Q, attr_int(c->node, "q_num_heads"), &a->q));
    TRY(read_heads(c, IN_K, heads, &k));
    TRY(read_heads(c, IN_V, heads, &v));
    TRY(present_heads(c, IN_PAST_K, &k, &a->k));
    TRY(present_heads(c, IN_PAST_V, &v, &a->v));
    a->past = a->k.steps - k.steps;
    bool fits = a->q.batch == a->k.batch && a->k.batch == a->v.batch && a->k.heads == a->v.heads &&
                a->k.steps == a->v.steps && a->q.size == a->k.size && a->k.heads > 0 && a->q.heads % a->k.heads == 0;
    if (!fits) return eval_error(c, STATUS_INVALID, "queries, keys and values do not fit each other");
    a->scale = attr_find(c->node, "scale") ? (double)attr_float(c->node, "scale") : 1 / sqrt((double)a->q.size);
    a->softcap = (double)attr_float(c->node, "softcap");
    a->causal = attr_int(c->node, "is_causal") != 0;
    a->left = attr_int(c->node, "left_window_size");
    a->right = attr_int(c->node, "right_window_size");
    a->mode = attr_int(c->node, "qk_matmul_output_mode");
    TRY(ref_ints(c, IN_LENGTHS, &lengths, &n));
    if (lengths && n != a->q.batch)
        return eval_error(c, STATUS_INVALID, "nonpad_kv_seqlen needs one number per sample");
    for (int64_t i = 0; i < n; i++) /* set by the call above. NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        if (lengths[i] < 0 || lengths[i] > a->k.steps)
            return eval_error(c, STATUS_INVALID, "nonpad_kv_seqlen %lld is outside 0 to %lld", (long long)lengths[i],
                              (long long)a->k.steps);
    a->lengths = lengths;
    return read_mask(c, a);
}

/* Output o [batch, heads, steps, size] of a dense view. */
static Status store_heads(EvalCtx *c, int o, ElemType e, const Heads *h) {
    if (!dense_wants(c->node, o)) return NULL;
    return dense_store(c, o, e, 4, (const int64_t[]){h->batch, h->heads, h->steps, h->size}, h->v);
}

Status eval_attention(EvalCtx *c) {
    Attend a = {0};
    Heads y;
    double *row, *shown = NULL;
    TRY(attend_open(c, &a));
    bool flat = c->in[IN_Q]->rank == 3;
    int64_t rows = a.q.batch * a.q.heads * a.q.steps, wide = a.q.heads * a.v.size;
    y = (Heads){NULL,
                a.q.batch,
                a.q.heads,
                a.q.steps,
                a.v.size,
                wide * a.q.steps,
                flat ? a.v.size : a.q.steps * a.v.size,
                flat ? wide : a.v.size};
    TRY(dense_f64(c, rows * a.v.size, &y.v));
    TRY(dense_f64(c, a.k.steps, &row));
    if (dense_wants(c->node, 3)) TRY(dense_f64(c, rows * a.k.steps, &shown));
    for (int64_t r = 0; r < rows; r++) {
        int64_t b = r / (a.q.heads * a.q.steps), h = r / a.q.steps % a.q.heads, i = r % a.q.steps;
        attend_row(&a, b, h, i, row, shown ? shown + r * a.k.steps : NULL, head_row(&y, b, h, i));
    }
    ElemType e = c->in[IN_Q]->elem;
    TRY(store_heads(c, 1, c->in[IN_K]->elem, &a.k));
    TRY(store_heads(c, 2, c->in[IN_V]->elem, &a.v));
    if (shown) TRY(dense_store(c, 3, e, 4, (const int64_t[]){a.q.batch, a.q.heads, a.q.steps, a.k.steps}, shown));
    if (flat) return dense_store(c, 0, e, 3, (const int64_t[]){a.q.batch, a.q.steps, wide}, y.v);
    return store_heads(c, 0, e, &y);
}

/* ---- RotaryEmbedding ---- */

/* Rotates pairs (x1, x2) of one row: halves of the rotated part, or neighbours when interleaved. */
static void rotate_row(double *x, int64_t half, bool interleaved, const double *cosine, const double *sine) {
    for (int64_t i = 0; i < half; i++) {
        double *x1 = interleaved ? x + 2 * i : x + i, *x2 = interleaved ? x1 + 1 : x + half + i, a = *x1, b = *x2;
        *x1 = cosine[i] * a - sine[i] * b;
        *x2 = sine[i] * a + cosine[i] * b;
    }
}

Status eval_rotary_embedding(EvalCtx *c) {
    const Tensor *t = c->in[0], *ct = c->in[1], *st = c->in[2];
    Heads x;
    double *cosine, *sine;
    int64_t *ids, n_ids, dim = attr_int(c->node, "rotary_embedding_dim");
    TRY(read_heads(c, 0, attr_int(c->node, "num_heads"), &x));
    if (dim == 0) dim = x.size;
    TRY(ref_ints(c, 3, &ids, &n_ids));
    int64_t half = dim / 2, last = ct->rank > 0 ? ct->dims[ct->rank - 1] : 0;
    int64_t entries = last > 0 ? tensor_count(ct) / last : 0, tokens = x.batch * x.steps;
    bool fits = dim >= 0 && dim <= x.size && dim % 2 == 0 && last == half && tensor_count(st) == tensor_count(ct);
    fits = fits && (ids ? n_ids == tokens : entries == tokens);
    if (!fits) return eval_error(c, STATUS_INVALID, "the caches and position ids do not fit the input");
    TRY(dense_read(c, ct, &cosine));
    TRY(dense_read(c, st, &sine));
    bool interleaved = attr_int(c->node, "interleaved") != 0;
    for (int64_t r = 0; r < tokens; r++) {
        int64_t at = ids ? ids[r] : r;
        if (at < 0 || at >= entries)
            return eval_error(c, STATUS_INVALID, "position %lld is outside the caches", (long long)at);
        for (int64_t h = 0; h < x.heads; h++)
            rotate_row(head_row(&x, r / x.steps, h, r % x.steps), half, interleaved, cosine + at * half,
                       sine + at * half);
    }
    return dense_store(c, 0, t->elem, t->rank, t->dims, x.v);
}
