/* Einsum: sums of products over named axes. The equation is read once into axes; both the shape rule and the value
 * work on them. */
#include "kernels/ref/dense.h"

#include <ctype.h>
#include <string.h>

enum { MAX_TERMS = 8, MAX_AXES = 26 * 2 + MAX_RANK, ELLIPSIS = 26 * 2 };

/* Axis numbers: letters 0 … 51 (A-Z, a-z), then the ellipsis' axes, aligned at the right: ELLIPSIS + MAX_RANK - 1 is
 * the last one. */
typedef struct Equation {
    int n_terms;
    int rank[MAX_TERMS + 1]; /* terms, then the output */
    int axis[MAX_TERMS + 1][MAX_RANK];
} Equation;

static int letter_axis(char c) {
    return isupper((unsigned char)c) ? c - 'A' : islower((unsigned char)c) ? c - 'a' + 26 : -1;
}

/* One term of rank `rank` (-1: the output, whose ellipsis has `dots` axes). NULL or what is wrong. */
static const char *read_term(const char **text, int rank, int dots, int *axes, int *count) {
    int n = 0, letters = 0;
    for (const char *s = *text; *s && *s != ',' && *s != '-'; s++) letters += letter_axis(*s) >= 0;
    if (rank >= 0) dots = rank - letters;
    bool seen = false;
    for (; **text && **text != ',' && **text != '-'; ++*text) {
        int axis = letter_axis(**text);
        if (**text == ' ') continue;
        if (axis >= 0) {
            if (n == MAX_RANK) return "a term has too many letters";
            axes[n++] = axis;
            continue;
        }
        if (strncmp(*text, "...", 3) != 0 || seen) return "a term holds something else than letters and one '...'";
        if (dots < 0 || n + dots > MAX_RANK) return "a term has more letters than its input has dimensions";
        for (int i = 0; i < dots; i++) axes[n++] = ELLIPSIS + MAX_RANK - dots + i;
        *text += 2;
        seen = true;
    }
    if (rank >= 0 && n != rank) return "a term does not name every dimension of its input";
    *count = n;
    return NULL;
}

/* Without "->": the ellipsis, then all letters that occur once, in order (A-Z, a-z). */
static const char *implicit_output(Equation *e, int dots) {
    int times[MAX_AXES] = {0}, n = 0, *out = e->axis[e->n_terms];
    for (int t = 0; t < e->n_terms; t++)
        for (int i = 0; i < e->rank[t]; i++) times[e->axis[t][i]]++;
    for (int i = 0; i < dots; i++) out[n++] = ELLIPSIS + MAX_RANK - dots + i;
    for (int a = 0; a < ELLIPSIS; a++) {
        if (times[a] != 1) continue;
        if (n == MAX_RANK) return "the output has too many dimensions";
        out[n++] = a;
    }
    e->rank[e->n_terms] = n;
    return NULL;
}

static const char *read_equation(const char *text, int n_terms, const int *ranks, Equation *e) {
    const char *bad = NULL;
    int dots = 0;
    if (n_terms < 1 || n_terms > MAX_TERMS) return "1 to 8 inputs are supported";
    e->n_terms = n_terms;
    for (int t = 0; t < n_terms && !bad; t++) {
        if (t && *text++ != ',') return "the equation has fewer terms than there are inputs";
        bad = read_term(&text, ranks[t], 0, e->axis[t], &e->rank[t]);
        int have = 0;
        for (int i = 0; !bad && i < e->rank[t]; i++) have += e->axis[t][i] >= ELLIPSIS;
        dots = have > dots ? have : dots;
    }
    if (bad) return bad;
    if (!*text) return implicit_output(e, dots);
    if (strncmp(text, "->", 2) != 0) return "the equation has more terms than there are inputs";
    text += 2;
    bad = read_term(&text, -1, dots, e->axis[n_terms], &e->rank[n_terms]);
    return bad ? bad : *text ? "something follows the output term" : NULL;
}

/* ---- shape rule ---- */

Status infer_einsum(InferCtx *c) {
    Equation e = {0};
    int ranks[MAX_TERMS];
    Dim size[MAX_AXES], dims[MAX_RANK];
    for (int t = 0; t < c->n_in; t++) {
        if (!c->in[t]) return infer_error(c, STATUS_INVALID, "input %d is absent", t);
        if (!infer_is_ranked(c, t)) {
            infer_set_unranked(c, 0, infer_elem(c, 0));
            return NULL;
        }
        if (t < MAX_TERMS) ranks[t] = c->in[t]->rank;
    }
    const char *bad = read_equation(attr_string(c->node, "equation"), c->n_in, ranks, &e);
    if (bad) return infer_error(c, STATUS_INVALID, "equation '%s': %s", attr_string(c->node, "equation"), bad);
    for (int a = 0; a < MAX_AXES; a++) size[a] = 1;
    for (int t = 0; t < e.n_terms; t++)
        for (int i = 0; i < e.rank[t]; i++) {
            Dim *s = &size[e.axis[t][i]], d = c->in[t]->dims[i];
            if (*s == 1 || (DIM_IS_SYM(*s) && !DIM_IS_SYM(d) && d != 1)) *s = d;
        }
    for (int i = 0; i < e.rank[e.n_terms]; i++) dims[i] = size[e.axis[e.n_terms][i]];
    infer_set(c, 0, infer_elem(c, 0), e.rank[e.n_terms], dims);
    return NULL;
}

/* ---- values ---- */

/* All axes in use, output axes first, with each term's stride along them. */
typedef struct Nest {
    int n, n_out;
    int64_t size[MAX_AXES], stride[MAX_TERMS][MAX_AXES];
} Nest;

static Status build_nest(const EvalCtx *c, const Equation *e, Nest *nest) {
    int place[MAX_AXES];
    memset(place, -1, sizeof place);
    for (int t = e->n_terms, round = 0; round <= e->n_terms; t = round++)
        for (int i = 0; i < e->rank[t]; i++) {
            int a = e->axis[t][i];
            if (place[a] >= 0 && t == e->n_terms)
                return eval_error(c, STATUS_INVALID, "the output names an axis twice");
            if (place[a] < 0) {
                place[a] = nest->n;
                nest->size[nest->n++] = 1;
            }
            if (t == e->n_terms) nest->n_out = nest->n;
        }
    for (int t = 0; t < e->n_terms; t++) {
        int64_t strides[MAX_RANK];
        ref_strides(e->rank[t], c->in[t]->dims, strides);
        for (int i = 0; i < e->rank[t]; i++) {
            int64_t *size = &nest->size[place[e->axis[t][i]]], d = c->in[t]->dims[i];
            if (d != 1 && *size != 1 && *size != d)
                return eval_error(c, STATUS_INVALID, "an axis has %lld and %lld elements", (long long)*size,
                                  (long long)d);
            if (d != 1) {
                *size = d;
                nest->stride[t][place[e->axis[t][i]]] += strides[i]; /* a repeated letter walks a diagonal */
            }
        }
    }
    return NULL;
}

/* The sum of one output element, whose first input elements are at `at`. */
static double sum_products(const Nest *nest, int n_terms, const double *const *x, const int64_t *at) {
    int64_t idx[MAX_AXES] = {0}, pos[MAX_TERMS], inner = nest->n > nest->n_out ? nest->size[nest->n - 1] : 1;
    int last = nest->n - 1, outer = nest->n > nest->n_out ? last - nest->n_out : 0;
    double sum = 0;
    memcpy(pos, at, sizeof pos);
    for (;;) {
        for (int64_t k = 0; k < inner; k++) {
            double p = 1;
            for (int t = 0; t < n_terms; t++) p *= x[t][pos[t] + (inner > 1 ? k * nest->stride[t][last] : 0)];
            sum += p;
        }
        int a = outer - 1;
        for (; a >= 0; a--) { /* the next combination of the other summed axes */
            int axis = nest->n_out + a;
            bool wrap = ++idx[a] == nest->size[axis];
            for (int t = 0; t < n_terms; t++)
                pos[t] += wrap ? -(nest->size[axis] - 1) * nest->stride[t][axis] : nest->stride[t][axis];
            if (!wrap) break;
            idx[a] = 0;
        }
        if (a < 0) return sum;
    }
}

Status eval_einsum(EvalCtx *c) {
    Equation e = {0};
    Nest nest = {0};
    int ranks[MAX_TERMS] = {0};
    const double *x[MAX_TERMS];
    double *y, *v;
    TRY(ref_numeric_only(c));
    for (int t = 0; t < c->n_in && t < MAX_TERMS; t++) {
        if (!c->in[t]) return eval_error(c, STATUS_INVALID, "input %d is absent", t);
        ranks[t] = c->in[t]->rank;
    }
    const char *bad = read_equation(attr_string(c->node, "equation"), c->n_in, ranks, &e);
    if (bad) return eval_error(c, STATUS_INVALID, "equation '%s': %s", attr_string(c->node, "equation"), bad);
    TRY(build_nest(c, &e, &nest));
    for (int t = 0; t < e.n_terms; t++) {
        TRY(dense_read(c, c->in[t], &v));
        x[t] = v;
    }
    int64_t total = ref_product(nest.size, 0, nest.n_out), idx[MAX_RANK] = {0};
    TRY(dense_f64(c, total, &y));
    bool empty = ref_product(nest.size, nest.n_out, nest.n) == 0;
    for (int64_t i = 0; i < total && !empty; i++, ref_next(nest.n_out, nest.size, idx)) {
        int64_t at[MAX_TERMS] = {0};
        for (int t = 0; t < e.n_terms; t++)
            for (int a = 0; a < nest.n_out; a++) at[t] += idx[a] * nest.stride[t][a];
        y[i] = sum_products(&nest, e.n_terms, x, at);
    }
    return dense_store(c, 0, c->in[0]->elem, nest.n_out, nest.size, y);
}
