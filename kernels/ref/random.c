/* Random ops. The generator is splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014),
 * seeded by the attribute, or by the node's name when that is absent: the same model gives the same bytes. */
#include "kernels/ref/ref.h"

#include <math.h>
#include <string.h>

static uint64_t next_bits(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t seed_of(const Node *n) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    if (attr_find(n, "seed")) {
        float f = attr_float(n, "seed");
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        return bits;
    }
    for (const char *s = n->name; *s; s++) h = (h ^ (uint8_t)*s) * 0x100000001b3u;
    return h;
}

/* In [0, 1). */
static double uniform(uint64_t *state) { return (double)(next_bits(state) >> 11) * 0x1p-53; }

/* Box and Muller: A Note on the Generation of Random Normal Deviates, 1958. */
static double normal(uint64_t *state) {
    double u = 1 - uniform(state), v = uniform(state);
    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

typedef double (*Draw)(uint64_t *state);

/* Output 0 = shift + scale · draw. */
static Status fill(EvalCtx *c, ElemType e, int rank, const int64_t *dims, Draw draw, double shift, double scale) {
    uint64_t state = seed_of(c->node);
    Tensor y;
    if (!elem_is_float(e)) return eval_error(c, STATUS_INVALID, "attribute dtype must be a float type");
    TRY(ref_output(c, 0, e, rank, dims, &y));
    int64_t n = tensor_count(&y);
    for (int64_t i = 0; i < n; i++) {
        double v = shift + scale * draw(&state);
        ref_store(&y, CLASS_F64, i, 1, &v);
    }
    return NULL;
}

static ElemType dtype(const Node *n, ElemType deflt) {
    return attr_find(n, "dtype") ? (ElemType)attr_int(n, "dtype") : deflt;
}

static Status infer_from_shape(InferCtx *c) {
    int64_t n;
    const int64_t *dims = attr_ints(c->node, "shape", &n);
    if (!dims || n > MAX_RANK) return infer_error(c, STATUS_INVALID, "attribute shape is missing or too long");
    return infer_set_dims(c, 0, dtype(c->node, ELEM_F32), (int)n, dims);
}

static Status fill_shape(EvalCtx *c, Draw draw, double shift, double scale) {
    int64_t n;
    const int64_t *dims = attr_ints(c->node, "shape", &n);
    if (!dims || n > MAX_RANK) return eval_error(c, STATUS_INVALID, "attribute shape is missing or too long");
    return fill(c, dtype(c->node, ELEM_F32), (int)n, dims, draw, shift, scale);
}

static Status fill_like(EvalCtx *c, Draw draw, double shift, double scale) {
    const Tensor *x = c->in[0];
    return fill(c, dtype(c->node, x->elem), x->rank, x->dims, draw, shift, scale);
}

static double low(const EvalCtx *c) { return (double)attr_float(c->node, "low"); }
static double span(const EvalCtx *c) { return (double)attr_float(c->node, "high") - low(c); }
static double mean(const EvalCtx *c) { return (double)attr_float(c->node, "mean"); }
static double deviation(const EvalCtx *c) { return (double)attr_float(c->node, "scale"); }

Status infer_random(InferCtx *c) { return infer_from_shape(c); }
Status infer_random_like(InferCtx *c) { return infer_same_as(c, dtype(c->node, infer_elem(c, 0))); }
Status eval_random_uniform(EvalCtx *c) { return fill_shape(c, uniform, low(c), span(c)); }
Status eval_random_normal(EvalCtx *c) { return fill_shape(c, normal, mean(c), deviation(c)); }
Status eval_random_uniform_like(EvalCtx *c) { return fill_like(c, uniform, low(c), span(c)); }
Status eval_random_normal_like(EvalCtx *c) { return fill_like(c, normal, mean(c), deviation(c)); }

Status eval_bernoulli(EvalCtx *c) {
    const Tensor *x = c->in[0];
    uint64_t state = seed_of(c->node);
    Tensor y;
    TRY(ref_numeric_only(c));
    TRY(ref_output(c, 0, dtype(c->node, x->elem), x->rank, x->dims, &y));
    int64_t n = tensor_count(x);
    for (int64_t i = 0; i < n; i++) {
        int64_t v = uniform(&state) < tensor_get_f64(x, i);
        ref_store(&y, CLASS_I64, i, 1, &v);
    }
    return NULL;
}

Status infer_multinomial(InferCtx *c) {
    Dim dims[2] = {infer_is_ranked(c, 0) && c->in[0]->rank == 2 ? c->in[0]->dims[0] : infer_fresh(c),
                   attr_int(c->node, "sample_size")};
    return infer_set_dims(c, 0, (ElemType)attr_int(c->node, "dtype"), 2, dims);
}

/* Draws classes from [batch, classes] unnormalized log-probabilities. */
Status eval_multinomial(EvalCtx *c) {
    const Tensor *x = c->in[0];
    uint64_t state = seed_of(c->node);
    int64_t samples = attr_int(c->node, "sample_size");
    double *p;
    Tensor y;
    TRY(ref_numeric_only(c));
    if (x->rank != 2 || samples < 0 || x->dims[1] == 0)
        return eval_error(c, STATUS_INVALID, "needs [batch, classes] and a sample_size");
    int64_t classes = x->dims[1];
    TRY(ref_output(c, 0, (ElemType)attr_int(c->node, "dtype"), 2, (int64_t[]){x->dims[0], samples}, &y));
    TRY_ALLOC(p = ref_read_f64(c->scratch, x));
    for (int64_t b = 0; b < x->dims[0]; b++, p += classes) {
        double top = p[0], sum = 0;
        for (int64_t k = 0; k < classes; k++) top = fmax(top, p[k]);
        for (int64_t k = 0; k < classes; k++) sum += p[k] = exp(p[k] - top);
        for (int64_t s = 0; s < samples; s++) {
            double u = uniform(&state) * sum;
            int64_t k = 0;
            for (; k < classes - 1 && u >= p[k]; k++) u -= p[k];
            ref_store(&y, CLASS_I64, b * samples + s, 1, &k);
        }
    }
    return NULL;
}
