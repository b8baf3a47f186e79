/* Recurrent layers: RNN, GRU, LSTM with all their attributes. */
#include "kernels/ref/dense.h"

#include <math.h>
#include <string.h>

/* ---- activations ---- */

typedef double (*ActFn)(double x, double alpha, double beta);

static double act_relu(double x, double a, double b) { return (void)a, (void)b, x > 0 ? x : 0; }
static double act_tanh(double x, double a, double b) { return (void)a, (void)b, tanh(x); }
static double act_sigmoid(double x, double a, double b) { return (void)a, (void)b, 1 / (1 + exp(-x)); }
static double act_affine(double x, double a, double b) { return a * x + b; }
static double act_leaky(double x, double a, double b) { return (void)b, x < 0 ? a * x : x; }
static double act_thresholded(double x, double a, double b) { return (void)b, x > a ? x : 0; }
static double act_scaled_tanh(double x, double a, double b) { return a * tanh(b * x); }
static double act_hard_sigmoid(double x, double a, double b) { return fmin(fmax(a * x + b, 0), 1); }
static double act_elu(double x, double a, double b) { return (void)b, x < 0 ? a * expm1(x) : x; }
static double act_softsign(double x, double a, double b) { return (void)a, (void)b, x / (1 + fabs(x)); }
static double act_softplus(double x, double a, double b) { return (void)a, (void)b, log1p(exp(-fabs(x))) + fmax(x, 0); }

static const struct {
    const char *name;
    ActFn fn;
    double alpha, beta; /* defaults; NAN: the function takes none */
} activations[] = {{"Relu", act_relu, NAN, NAN},
                   {"Tanh", act_tanh, NAN, NAN},
                   {"Sigmoid", act_sigmoid, NAN, NAN},
                   {"Affine", act_affine, 1, 0},
                   {"LeakyRelu", act_leaky, 0.01, NAN},
                   {"ThresholdedRelu", act_thresholded, 1, NAN},
                   {"ScaledTanh", act_scaled_tanh, 1, 1},
                   {"HardSigmoid", act_hard_sigmoid, 0.2, 0.5},
                   {"Elu", act_elu, 1, NAN},
                   {"Softsign", act_softsign, NAN, NAN},
                   {"Softplus", act_softplus, NAN, NAN}};

typedef struct Act {
    ActFn fn;
    double alpha, beta;
} Act;

/* What the three layers share. Directions: 0 forward (or the only one), 1 backward of a bidirectional layer. */
typedef struct Recurrent {
    int gates, n_acts, dirs;
    bool reverse, layout; /* layout: batch first */
    int64_t steps, batch, in, hidden;
    double clip; /* 0: none */
    Act acts[2][3];
    const double *w, *r, *b, *p; /* b, p NULL when absent */
    double *x, *h, *c;           /* states [dirs][batch][hidden]; c NULL but for LSTM */
    const int64_t *lengths;      /* NULL: all are `steps` long */
    double *y;
    bool input_forget, linear_before_reset;
} Recurrent;

static double apply(const Recurrent *l, const Act *a, double x) {
    if (l->clip > 0) x = x > l->clip ? l->clip : x < -l->clip ? -l->clip : x;
    return a->fn(x, a->alpha, a->beta);
}

/* Alphas and betas are consumed in order by the functions that take them. */
static Status read_acts(const EvalCtx *c, Recurrent *l, const char *const *deflt) {
    const Attr *names = attr_find(c->node, "activations");
    int64_t na, nb, ia = 0, ib = 0;
    const float *alphas = attr_floats(c->node, "activation_alpha", &na);
    const float *betas = attr_floats(c->node, "activation_beta", &nb);
    if (names && names->n != l->dirs * l->n_acts)
        return eval_error(c, STATUS_INVALID, "activations must name %d functions", l->dirs * l->n_acts);
    for (int k = 0; k < l->dirs * l->n_acts; k++) {
        const char *name = names ? names->strings[k] : deflt[k % l->n_acts];
        size_t f = 0, n = sizeof activations / sizeof *activations;
        while (f < n && strcmp(activations[f].name, name) != 0) f++;
        if (f == n) return eval_error(c, STATUS_INVALID, "'%s' is no activation function", name);
        Act *a = &l->acts[k / l->n_acts][k % l->n_acts];
        *a = (Act){activations[f].fn, activations[f].alpha, activations[f].beta};
        if (!isnan(a->alpha) && ia < na) a->alpha = (double)alphas[ia++];
        if (!isnan(a->beta) && ib < nb) a->beta = (double)betas[ib++];
    }
    return NULL;
}

/* ---- shape rule ---- */

static int direction_count(const Node *n) { return strcmp(attr_string(n, "direction"), "bidirectional") == 0 ? 2 : 1; }

Status infer_recurrent(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    bool first = attr_int(c->node, "layout") != 0;
    int64_t hidden = attr_int(c->node, "hidden_size");
    Dim h = hidden > 0 ? hidden : infer_is_ranked(c, 2) && c->in[2]->rank == 3 ? c->in[2]->dims[2] : infer_fresh(c);
    if (infer_is_ranked(c, 0) && c->in[0]->rank != 3)
        return infer_error(c, STATUS_INVALID, "the input must have rank 3, it has %d", c->in[0]->rank);
    Dim d0 = infer_is_ranked(c, 0) ? c->in[0]->dims[0] : infer_fresh(c);
    Dim d1 = infer_is_ranked(c, 0) ? c->in[0]->dims[1] : infer_fresh(c);
    Dim steps = first ? d1 : d0, batch = first ? d0 : d1, dirs = direction_count(c->node);
    const Dim y[] = {steps, dirs, batch, h}, y_first[] = {batch, steps, dirs, h};
    const Dim state[] = {dirs, batch, h}, state_first[] = {batch, dirs, h};
    infer_set(c, 0, e, 4, first ? y_first : y);
    infer_set(c, 1, e, 3, first ? state_first : state);
    infer_set(c, 2, e, 3, first ? state_first : state);
    return NULL;
}

/* ---- values ---- */

static Status need_count(const EvalCtx *c, int i, int64_t count) {
    const Tensor *t = dense_in(c, i);
    if (!t || tensor_count(t) == count) return NULL;
    return eval_error(c, STATUS_INVALID, "input %d has %lld elements, %lld are expected", i, (long long)tensor_count(t),
                      (long long)count);
}

/* Input i [dirs,batch,hidden] (batch first with layout 1) as [dirs][batch][hidden]; zeros when absent. */
static Status read_state(const EvalCtx *c, const Recurrent *l, int i, double **state) {
    int64_t n = l->dirs * l->batch * l->hidden;
    TRY(need_count(c, i, n));
    TRY(dense_f64(c, n, state));
    if (!dense_in(c, i)) return NULL;
    double *v;
    TRY(dense_read(c, c->in[i], &v));
    for (int64_t k = 0; k < n; k++) {
        int64_t d = k / (l->batch * l->hidden), b = k / l->hidden % l->batch;
        (*state)[k] = v[(l->layout ? b * l->dirs + d : d * l->batch + b) * l->hidden + k % l->hidden];
    }
    return NULL;
}

static Status write_state(EvalCtx *c, const Recurrent *l, int o, const double *state) {
    if (!dense_wants(c->node, o)) return NULL;
    int64_t n = l->dirs * l->batch * l->hidden, dims[3] = {l->dirs, l->batch, l->hidden};
    int64_t first[3] = {l->batch, l->dirs, l->hidden};
    double *v;
    TRY(dense_f64(c, n, &v));
    for (int64_t k = 0; k < n; k++) {
        int64_t d = k / (l->batch * l->hidden), b = k / l->hidden % l->batch;
        v[(l->layout ? b * l->dirs + d : d * l->batch + b) * l->hidden + k % l->hidden] = state[k];
    }
    return dense_store(c, o, c->in[0]->elem, 3, l->layout ? first : dims, v);
}

static Status read_lengths(EvalCtx *c, Recurrent *l) {
    if (!dense_in(c, 4)) return NULL;
    int64_t *v, n;
    TRY(need_count(c, 4, l->batch));
    TRY(ref_ints(c, 4, &v, &n));
    for (int64_t i = 0; i < n; i++)
        if (v[i] < 0 || v[i] > l->steps)
            return eval_error(c, STATUS_INVALID, "sequence length %lld is outside 0 to %lld", (long long)v[i],
                              (long long)l->steps);
    l->lengths = v;
    return NULL;
}

static Status recurrent_open(EvalCtx *c, Recurrent *l, const char *const *acts) {
    const Tensor *x = c->in[0], *w = c->in[1], *r = c->in[2];
    const char *direction = attr_string(c->node, "direction");
    double *b = NULL, *wv, *rv;
    l->dirs = direction_count(c->node);
    l->reverse = strcmp(direction, "reverse") == 0;
    if (!l->reverse && l->dirs == 1 && strcmp(direction, "forward") != 0)
        return eval_error(c, STATUS_INVALID, "direction must be forward, reverse or bidirectional");
    l->layout = attr_int(c->node, "layout") != 0;
    l->clip = (double)attr_float(c->node, "clip");
    if (x->rank != 3 || w->rank != 3 || r->rank != 3)
        return eval_error(c, STATUS_INVALID, "input, W and R must have rank 3");
    l->steps = x->dims[l->layout ? 1 : 0];
    l->batch = x->dims[l->layout ? 0 : 1];
    l->in = x->dims[2];
    l->hidden = r->dims[2];
    int64_t gh = l->gates * l->hidden;
    TRY(need_count(c, 1, l->dirs * gh * l->in));
    TRY(need_count(c, 2, l->dirs * gh * l->hidden));
    TRY(need_count(c, 3, l->dirs * 2 * gh));
    TRY(dense_read(c, x, &l->x));
    TRY(dense_read(c, w, &wv));
    TRY(dense_read(c, r, &rv));
    if (dense_in(c, 3)) TRY(dense_read(c, c->in[3], &b));
    TRY(dense_transpose(c, l->dirs, gh, l->in, wv, &wv));
    l->w = wv;
    l->r = rv;
    l->b = b;
    TRY(read_lengths(c, l));
    TRY(read_state(c, l, 5, &l->h));
    TRY(dense_f64(c, l->steps * l->dirs * l->batch * l->hidden, &l->y));
    return read_acts(c, l, acts);
}

/* Row `gate` of R times h, for hidden unit j. */
static double recur(const Recurrent *l, int d, int gate, int64_t j, const double *h) {
    const double *r = l->r + ((d * l->gates + gate) * l->hidden + j) * l->hidden;
    double sum = 0;
    for (int64_t k = 0; k < l->hidden; k++) sum += r[k] * h[k];
    return sum;
}

/* Bias of W (0) or R (1). */
static double bias(const Recurrent *l, int d, int which, int gate, int64_t j) {
    return l->b ? l->b[(d * 2 + which) * l->gates * l->hidden + gate * l->hidden + j] : 0;
}

/* W·x of a gate plus both biases plus R·h. */
static double gate_sum(const Recurrent *l, int d, const double *xw, int gate, int64_t j, const double *h) {
    return xw[gate * l->hidden + j] + bias(l, d, 0, gate, j) + bias(l, d, 1, gate, j) + recur(l, d, gate, j, h);
}

/* One step of one sequence: h and c become the next states; xw = W·x of all gates; `tmp` holds 2 * hidden numbers. */
typedef void (*CellFn)(const Recurrent *l, int d, const double *xw, double *h, double *c, double *tmp);

static void cell_rnn(const Recurrent *l, int d, const double *xw, double *h, double *c, double *tmp) {
    (void)c;
    for (int64_t j = 0; j < l->hidden; j++) tmp[j] = apply(l, &l->acts[d][0], gate_sum(l, d, xw, 0, j, h));
    memcpy(h, tmp, (size_t)l->hidden * sizeof *h);
}

/* Gates z (update), r (reset), h (candidate). */
static void cell_gru(const Recurrent *l, int d, const double *xw, double *h, double *c, double *tmp) {
    (void)c;
    double *reset = tmp, *next = tmp + l->hidden;
    const Act *f = &l->acts[d][0], *g = &l->acts[d][1];
    for (int64_t j = 0; j < l->hidden; j++) {
        reset[j] = apply(l, f, gate_sum(l, d, xw, 1, j, h));
        if (!l->linear_before_reset) reset[j] *= h[j]; /* the gate acts on the state before R */
    }
    for (int64_t j = 0; j < l->hidden; j++) {
        double z = apply(l, f, gate_sum(l, d, xw, 0, j, h)), candidate;
        if (l->linear_before_reset)
            candidate =
                xw[2 * l->hidden + j] + bias(l, d, 0, 2, j) + reset[j] * (recur(l, d, 2, j, h) + bias(l, d, 1, 2, j));
        else
            candidate = gate_sum(l, d, xw, 2, j, reset);
        next[j] = (1 - z) * apply(l, g, candidate) + z * h[j];
    }
    memcpy(h, next, (size_t)l->hidden * sizeof *h);
}

/* Gates i (input), o (output), f (forget), c (cell); peepholes P in the order i, o, f. */
static void cell_lstm(const Recurrent *l, int d, const double *xw, double *h, double *c, double *tmp) {
    const Act *f = &l->acts[d][0], *g = &l->acts[d][1], *out = &l->acts[d][2];
    const double *p = l->p ? l->p + d * 3 * l->hidden : NULL;
    for (int64_t j = 0; j < l->hidden; j++) {
        double i = apply(l, f, gate_sum(l, d, xw, 0, j, h) + (p ? p[j] * c[j] : 0));
        double forget = gate_sum(l, d, xw, 2, j, h) + (p ? p[2 * l->hidden + j] * c[j] : 0);
        forget = l->input_forget ? 1 - i : apply(l, f, forget);
        c[j] = forget * c[j] + i * apply(l, g, gate_sum(l, d, xw, 3, j, h));
        double o = apply(l, f, gate_sum(l, d, xw, 1, j, h) + (p ? p[l->hidden + j] * c[j] : 0));
        tmp[j] = o * out->fn(c[j], out->alpha, out->beta);
    }
    memcpy(h, tmp, (size_t)l->hidden * sizeof *h);
}

static void run_sequence(Recurrent *l, CellFn cell, int d, int64_t n, const double *xw, double *tmp) {
    int64_t length = l->lengths ? l->lengths[n] : l->steps, gh = l->gates * l->hidden;
    bool backward = l->reverse || d == 1;
    double *h = l->h + (d * l->batch + n) * l->hidden, *c = l->c ? l->c + (d * l->batch + n) * l->hidden : NULL;
    for (int64_t s = 0; s < length; s++) {
        int64_t t = backward ? length - 1 - s : s;
        cell(l, d, xw + (l->layout ? n * l->steps + t : t * l->batch + n) * gh, h, c, tmp);
        int64_t at = l->layout ? (n * l->steps + t) * l->dirs + d : (t * l->dirs + d) * l->batch + n;
        memcpy(l->y + at * l->hidden, h, (size_t)l->hidden * sizeof *h);
    }
}

static Status recurrent_run(EvalCtx *c, Recurrent *l, CellFn cell) {
    double *xw, *tmp;
    int64_t gh = l->gates * l->hidden, rows = l->steps * l->batch;
    TRY(dense_f64(c, 2 * l->hidden, &tmp));
    for (int d = 0; d < l->dirs; d++) {
        TRY(dense_f64(c, rows * gh, &xw));
        dense_matmul(rows, gh, l->in, l->x, l->w + d * gh * l->in, xw);
        for (int64_t n = 0; n < l->batch; n++) run_sequence(l, cell, d, n, xw, tmp);
    }
    int64_t dims[4] = {l->steps, l->dirs, l->batch, l->hidden}, first[4] = {l->batch, l->steps, l->dirs, l->hidden};
    if (dense_wants(c->node, 0)) TRY(dense_store(c, 0, c->in[0]->elem, 4, l->layout ? first : dims, l->y));
    TRY(write_state(c, l, 1, l->h));
    return l->c ? write_state(c, l, 2, l->c) : NULL;
}

Status eval_rnn(EvalCtx *c) {
    static const char *const acts[] = {"Tanh"};
    Recurrent l = {.gates = 1, .n_acts = 1};
    TRY(recurrent_open(c, &l, acts));
    return recurrent_run(c, &l, cell_rnn);
}

Status eval_gru(EvalCtx *c) {
    static const char *const acts[] = {"Sigmoid", "Tanh"};
    Recurrent l = {.gates = 3, .n_acts = 2, .linear_before_reset = attr_int(c->node, "linear_before_reset") != 0};
    TRY(recurrent_open(c, &l, acts));
    return recurrent_run(c, &l, cell_gru);
}

Status eval_lstm(EvalCtx *c) {
    static const char *const acts[] = {"Sigmoid", "Tanh", "Tanh"};
    Recurrent l = {.gates = 4, .n_acts = 3, .input_forget = attr_int(c->node, "input_forget") != 0};
    double *p = NULL;
    TRY(recurrent_open(c, &l, acts));
    TRY(read_state(c, &l, 6, &l.c));
    TRY(need_count(c, 7, l.dirs * 3 * l.hidden));
    if (dense_in(c, 7)) TRY(dense_read(c, c->in[7], &p));
    l.p = p;
    return recurrent_run(c, &l, cell_lstm);
}
