/* Signal processing: DFT, STFT, MelWeightMatrix, HannWindow, HammingWindow, BlackmanWindow. */
#include "kernels/ref/dense.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

/* ---- the transform ---- */

/* X[k] = scale * sum over n of x[n] * exp(sign * 2 pi i k n / size), for k < bins. Input elements are `stride` complex
 * numbers apart (imaginary parts absent when `real`), `count` of them, zero after that. */
static void transform(const double *x, int64_t count, int64_t stride, bool real, int64_t size, double sign,
                      int64_t bins, double *out) {
    int64_t parts = real ? 1 : 2;
    if (count > size) count = size;
    for (int64_t k = 0; k < bins; k++) {
        double re = 0, im = 0;
        for (int64_t n = 0; n < count; n++) {
            /* k * n modulo size keeps the angle small, and so exact */
            double angle = sign * 2 * PI * (double)((__int128)k * n % size) / (double)size, c = cos(angle),
                   s = sin(angle);
            const double *v = x + n * stride * parts;
            double b = real ? 0 : v[1];
            re += v[0] * c - b * s;
            im += v[0] * s + b * c;
        }
        out[2 * k] = re;
        out[2 * k + 1] = im;
    }
}

/* The numbers 0 … size/2 of a one-sided spectrum. */
static int64_t bin_count(int64_t size, bool onesided) { return onesided ? size / 2 + 1 : size; }

/* ---- DFT ---- */

/* Axis of the signal dims [.., n, .., parts]: input 2, default -2. */
static Status dft_axis(const EvalCtx *c, int *axis) {
    const Tensor *t = dense_in(c, 2);
    if (t && tensor_count(t) != 1) return eval_error(c, STATUS_INVALID, "axis must be one number");
    TRY(ref_axis(c, t ? tensor_get_i64(t, 0) : -2, c->in[0]->rank, axis));
    if (*axis == c->in[0]->rank - 1) return eval_error(c, STATUS_INVALID, "the last axis holds the complex parts");
    return NULL;
}

Status infer_dft(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    const int64_t *v;
    int n, axis = 0;
    if (!infer_is_ranked(c, 0) || !infer_ints(c, 2, &v, &n)) {
        infer_set_unranked(c, 0, e);
        return NULL;
    }
    Type t = *c->in[0];
    if (t.rank < 2) return infer_error(c, STATUS_INVALID, "the input must have rank 2 or more");
    TRY(infer_axis(c, n == 1 ? v[0] : -2, t.rank, &axis));
    bool onesided = attr_int(c->node, "onesided") != 0, inverse = attr_int(c->node, "inverse") != 0;
    int n_len = 0;
    const Dim *len = dense_in_type(c, 1) ? infer_known(c, 1, &n_len) : NULL;
    Dim size = t.dims[axis];
    if (dense_in_type(c, 1)) size = len && n_len == 1 ? len[0] : infer_fresh(c);
    if (onesided && inverse && !dense_in_type(c, 1))
        size = infer_dim_op(c, SYM_MUL, infer_dim_op(c, SYM_SUB, size, 1), 2);
    if (onesided && !inverse) size = infer_dim_op(c, SYM_ADD, infer_dim_op(c, SYM_FLOORDIV, size, 2), 1);
    t.dims[axis] = size;
    t.dims[t.rank - 1] = onesided && inverse ? 1 : 2;
    infer_set(c, 0, e, t.rank, t.dims);
    return NULL;
}

/* One-sided spectra of real signals: the other half is the conjugate mirror image. */
static void mirror(double *spectrum, int64_t have, int64_t size) {
    for (int64_t k = have; k < size; k++) {
        spectrum[2 * k] = spectrum[2 * (size - k)];
        spectrum[2 * k + 1] = -spectrum[2 * (size - k) + 1];
    }
}

typedef struct Dft {
    int axis;
    bool onesided, inverse, real;
    int64_t count, size, bins, outer, inner; /* count: input elements along the axis */
} Dft;

static Status dft_open(EvalCtx *c, Dft *d) {
    const Tensor *x = c->in[0], *len = dense_in(c, 1);
    enum { MAX_SIZE = 1 << 24 };
    if (x->rank < 2 || (x->dims[x->rank - 1] != 1 && x->dims[x->rank - 1] != 2))
        return eval_error(c, STATUS_INVALID, "the input's last dimension must be 1 (real) or 2 (complex)");
    TRY(dft_axis(c, &d->axis));
    d->onesided = attr_int(c->node, "onesided") != 0;
    d->inverse = attr_int(c->node, "inverse") != 0;
    d->real = x->dims[x->rank - 1] == 1;
    d->count = x->dims[d->axis];
    d->size = len && tensor_count(len) == 1 ? tensor_get_i64(len, 0) : d->count;
    if (!len && d->onesided && d->inverse) d->size = d->count > 0 ? (d->count - 1) * 2 : 0;
    if (d->size < 1 || d->size > MAX_SIZE)
        return eval_error(c, STATUS_INVALID, "a transform of length %lld", (long long)d->size);
    d->bins = bin_count(d->size, d->onesided && !d->inverse);
    d->outer = ref_product(x->dims, 0, d->axis);
    d->inner = ref_product(x->dims, d->axis + 1, x->rank - 1);
    return NULL;
}

/* One signal of the axis. `line` and `spectrum` hold size complex numbers. */
static void dft_line(const Dft *d, const double *x, double *line, double *spectrum) {
    double sign = d->inverse ? 1 : -1;
    if (!(d->inverse && d->onesided)) {
        transform(x, d->count, d->inner, d->real, d->size, sign, d->bins, spectrum);
    } else {
        int64_t have = d->count < bin_count(d->size, true) ? d->count : bin_count(d->size, true);
        memset(line, 0, (size_t)d->size * 2 * sizeof *line);
        for (int64_t k = 0; k < have; k++) {
            line[2 * k] = x[k * d->inner * (d->real ? 1 : 2)];
            line[2 * k + 1] = d->real ? 0 : x[k * d->inner * 2 + 1];
        }
        mirror(line, bin_count(d->size, true), d->size);
        transform(line, d->size, 1, false, d->size, sign, d->bins, spectrum);
    }
    for (int64_t k = 0; d->inverse && k < 2 * d->bins; k++) spectrum[k] /= (double)d->size;
}

Status eval_dft(EvalCtx *c) {
    const Tensor *xt = c->in[0];
    Dft d = {0};
    double *x, *y, *line, *spectrum;
    TRY(dft_open(c, &d));
    int64_t parts = d.onesided && d.inverse ? 1 : 2, in_parts = d.real ? 1 : 2, total, dims[MAX_RANK];
    if (__builtin_mul_overflow(d.outer * d.inner, d.bins * parts, &total))
        return eval_error(c, STATUS_INVALID, "the output is too large");
    TRY(dense_read(c, xt, &x));
    TRY(dense_f64(c, total, &y));
    TRY(dense_f64(c, 2 * d.size, &line));
    TRY(dense_f64(c, 2 * d.size, &spectrum));
    for (int64_t s = 0; s < d.outer * d.inner; s++) {
        int64_t o = s / d.inner, i = s % d.inner;
        dft_line(&d, x + (o * d.count * d.inner + i) * in_parts, line, spectrum);
        for (int64_t k = 0; k < d.bins; k++)
            for (int64_t p = 0; p < parts; p++) y[((o * d.bins + k) * d.inner + i) * parts + p] = spectrum[2 * k + p];
    }
    memcpy(dims, xt->dims, sizeof dims);
    dims[d.axis] = d.bins;
    dims[xt->rank - 1] = parts;
    return dense_store(c, 0, xt->elem, xt->rank, dims, y);
}

/* ---- STFT ---- */

/* Length of a frame: input 3, else the window's. -1 when unknown. */
static int64_t frame_length(InferCtx *c) {
    const int64_t *v;
    int n;
    if (dense_in_type(c, 3)) return infer_ints(c, 3, &v, &n) && n == 1 ? v[0] : -1;
    bool known = infer_is_ranked(c, 2) && c->in[2]->rank == 1 && !DIM_IS_SYM(c->in[2]->dims[0]);
    return known ? c->in[2]->dims[0] : -1;
}

Status infer_stft(InferCtx *c) {
    ElemType e = infer_elem(c, 0);
    const int64_t *step;
    int n;
    int64_t length = frame_length(c);
    bool onesided = attr_int(c->node, "onesided") != 0, has_step = infer_ints(c, 1, &step, &n) && n == 1 && step[0] > 0;
    Dim dims[4] = {infer_fresh(c), infer_fresh(c), length > 0 ? bin_count(length, onesided) : infer_fresh(c), 2};
    if (infer_is_ranked(c, 0) && c->in[0]->rank >= 2) {
        Dim signal = c->in[0]->dims[1];
        dims[0] = c->in[0]->dims[0];
        if (!DIM_IS_SYM(signal) && signal < length)
            return infer_error(c, STATUS_INVALID, "a frame is longer than the signal");
        if (length > 0 && has_step) {
            Dim room = infer_dim_op(c, SYM_SUB, signal, length);
            dims[1] = infer_dim_op(c, SYM_ADD, infer_dim_op(c, SYM_FLOORDIV, room, step[0]), 1);
        }
    }
    infer_set(c, 0, e, 4, dims);
    return NULL;
}

Status eval_stft(EvalCtx *c) {
    const Tensor *xt = c->in[0], *wt = dense_in(c, 2), *lt = dense_in(c, 3);
    double *x, *y, *window = NULL, *frame;
    bool onesided = attr_int(c->node, "onesided") != 0, real = xt->rank == 2 || xt->dims[xt->rank - 1] == 1;
    if (xt->rank < 2 || xt->rank > 3 || tensor_count(c->in[1]) != 1 || (!wt && !lt))
        return eval_error(c, STATUS_INVALID,
                          "signal [batch,n,1 or 2], a frame step, and a window or a length are needed");
    int64_t step = tensor_get_i64(c->in[1], 0), signal = xt->dims[1], parts = real ? 1 : 2;
    int64_t length = lt && tensor_count(lt) == 1 ? tensor_get_i64(lt, 0) : wt ? tensor_count(wt) : 0;
    if (step < 1 || length < 1 || length > signal || (wt && tensor_count(wt) != length))
        return eval_error(c, STATUS_INVALID, "frame step %lld and length %lld do not fit a signal of %lld",
                          (long long)step, (long long)length, (long long)signal);
    int64_t frames = (signal - length) / step + 1, bins = bin_count(length, onesided), total;
    if (__builtin_mul_overflow(xt->dims[0] * frames, bins * 2, &total))
        return eval_error(c, STATUS_INVALID, "the output is too large");
    TRY(dense_read(c, xt, &x));
    if (wt) TRY(dense_read(c, wt, &window));
    TRY(dense_f64(c, length * parts, &frame));
    TRY(dense_f64(c, total, &y));
    for (int64_t f = 0; f < xt->dims[0] * frames; f++) {
        const double *from = x + (f / frames * signal + f % frames * step) * parts;
        for (int64_t i = 0; i < length * parts; i++) frame[i] = from[i] * (window ? window[i / parts] : 1);
        transform(frame, length, 1, real, length, -1, bins, y + f * bins * 2);
    }
    return dense_store(c, 0, xt->elem, 4, (const int64_t[]){xt->dims[0], frames, bins, 2}, y);
}

/* ---- windows ---- */

static ElemType window_elem(const Node *n, const char *attr) {
    int64_t e = attr_int(n, attr);
    return e == 0 ? ELEM_F32 : (ElemType)e;
}

Status infer_window(InferCtx *c) {
    int n = 0;
    const Dim *size = infer_known(c, 0, &n);
    Dim dim = size && n == 1 ? size[0] : infer_fresh(c);
    infer_set(c, 0, window_elem(c->node, "output_datatype"), 1, &dim);
    return NULL;
}

/* a0 - a1 cos(2 pi i / n) + a2 cos(4 pi i / n), with n = size when periodic, size - 1 when symmetric. */
static Status eval_cosine_window(EvalCtx *c, double a0, double a1, double a2) {
    if (tensor_count(c->in[0]) != 1) return eval_error(c, STATUS_INVALID, "the size must be one number");
    int64_t size = tensor_get_i64(c->in[0], 0);
    double *y;
    if (size < 0 || size > INT32_MAX)
        return eval_error(c, STATUS_INVALID, "a window of %lld elements", (long long)size);
    TRY(dense_f64(c, size, &y));
    double n = (double)(attr_int(c->node, "periodic") != 0 ? size : size - 1);
    for (int64_t i = 0; i < size; i++) {
        double t = n > 0 ? 2 * PI * (double)i / n : 0;
        y[i] = a0 - a1 * cos(t) + a2 * cos(2 * t);
    }
    return dense_store(c, 0, window_elem(c->node, "output_datatype"), 1, &size, y);
}

Status eval_hann_window(EvalCtx *c) { return eval_cosine_window(c, 0.5, 0.5, 0); }
Status eval_hamming_window(EvalCtx *c) { return eval_cosine_window(c, 25.0 / 46, 21.0 / 46, 0); }
Status eval_blackman_window(EvalCtx *c) { return eval_cosine_window(c, 0.42, 0.5, 0.08); }

/* ---- MelWeightMatrix ---- */

Status infer_mel_weight_matrix(InferCtx *c) {
    int n_mel = 0, n_dft = 0;
    const Dim *mel = infer_known(c, 0, &n_mel), *dft = infer_known(c, 1, &n_dft);
    Dim dims[2] = {infer_fresh(c), infer_fresh(c)};
    if (dft && n_dft == 1) dims[0] = infer_dim_op(c, SYM_ADD, infer_dim_op(c, SYM_FLOORDIV, dft[0], 2), 1);
    if (mel && n_mel == 1) dims[1] = mel[0];
    infer_set(c, 0, window_elem(c->node, "output_datatype"), 2, dims);
    return NULL;
}

static double mel_of(double hz) { return 2595 * log10(1 + hz / 700); }
static double hz_of(double mel) { return 700 * (pow(10, mel / 2595) - 1); }

/* Triangles between neighbouring band edges, edges in whole spectrum bins. */
Status eval_mel_weight_matrix(EvalCtx *c) {
    double v[5], *y;
    for (int i = 0; i < 5; i++) {
        if (tensor_count(c->in[i]) != 1) return eval_error(c, STATUS_INVALID, "input %d must be one number", i);
        v[i] = tensor_get_f64(c->in[i], 0);
    }
    bool fits = v[0] >= 1 && v[0] < 1e6 && v[1] >= 1 && v[1] < 1e7 && v[2] >= 1 && v[3] >= 0 && v[4] <= v[2];
    if (!fits) return eval_error(c, STATUS_INVALID, "bands, length, rate and band limits do not fit each other");
    int64_t bands = (int64_t)v[0], bins = (int64_t)v[1] / 2 + 1, *edges;
    double low = mel_of(v[3]), step = (mel_of(v[4]) - low) / (double)(bands + 2);
    TRY(dense_f64(c, bins * bands, &y));
    TRY_ALLOC(edges = ARENA_ARRAY(c->scratch, int64_t, bands + 2));
    for (int64_t i = 0; i < bands + 2; i++) {
        edges[i] = (int64_t)floor((v[1] + 1) * hz_of(low + (double)i * step) / v[2]);
        if (edges[i] < 0 || edges[i] >= bins)
            return eval_error(c, STATUS_INVALID, "a band edge lies outside the spectrum");
    }
    for (int64_t b = 0; b < bands; b++) {
        int64_t lo = edges[b], mid = edges[b + 1], hi = edges[b + 2];
        if (lo == mid) y[mid * bands + b] = 1;
        for (int64_t k = lo; k <= mid && lo < mid; k++) y[k * bands + b] = (double)(k - lo) / (double)(mid - lo);
        for (int64_t k = mid; k < hi && mid < hi; k++) y[k * bands + b] = (double)(hi - k) / (double)(hi - mid);
    }
    return dense_store(c, 0, window_elem(c->node, "output_datatype"), 2, (const int64_t[]){bins, bands}, y);
}
