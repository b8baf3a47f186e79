/* Writes quantization into the graph: integer weights and biases, QuantizeLinear and DequantizeLinear. */
#include "passes/edit.h"
#include "passes/quantize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Inserter {
    Graph *g;
    const QuantConfig *c;
    const QuantSelection *s;
    const ValueQuant *values;
    Arena *scratch;
    ValueId *input; /* by product: its input before anything was inserted */
} Inserter;

/* ---- constants ---- */

static Status add_scalar_scale(Graph *g, const char *name, float scale, ValueId *out) {
    double d = (double)scale;
    return edit_add_floats(g, name, ELEM_F32, 0, NULL, &d, out);
}

static Status add_zero_point(Graph *g, const char *name, ElemType e, int64_t n, int32_t zero, ValueId *out) {
    Tensor t;
    TRY(tensor_new(&t, e, n ? 1 : 0, &n));
    for (int64_t i = 0; i < tensor_count(&t); i++) tensor_set_i64(&t, i, zero);
    return graph_add_constant(g, name, t, out);
}

static Status add_vector(Graph *g, const char *name, const float *v, int64_t n, ValueId *out) {
    Tensor t;
    TRY(tensor_new(&t, ELEM_F32, 1, &n));
    memcpy(t.data, v, (size_t)n * sizeof *v);
    return graph_add_constant(g, name, t, out);
}

static const char *suffixed(Inserter *x, const char *name, const char *suffix) {
    return arena_printf(x->scratch, "%s%s", name, suffix);
}

/* ---- activations ---- */

/* The integer nodes among the readers of v take `result`. */
static void redirect_integer_readers(Inserter *x, ValueId v, ValueId result) {
    const Value *value = &x->g->values[v];
    for (uint32_t u = value->n_uses; u-- > 0;) {
        Use use = value->uses[u];
        if (x->s->integer[use.node]) graph_set_input(x->g, use.node, use.slot, result);
    }
}

/* DequantizeLinear(QuantizeLinear(v)). When v comes from an integer node all its readers take the result, so that the
 * node has one output form; otherwise only integer nodes do. */
static Status insert_pair(Inserter *x, ValueId v) {
    Graph *g = x->g;
    const ValueQuant *q = &x->values[x->s->set[v]];
    const char *name = g->values[v].name;
    ValueId in[3] = {v}, quantized = NO_ID, result = NO_ID;
    TRY(add_scalar_scale(g, suffixed(x, name, "_scale"), q->scale, &in[1]));
    TRY(add_zero_point(g, suffixed(x, name, "_zero_point"), x->c->activation, 0, q->zero_point, &in[2]));
    NodeId producer = g->values[v].producer;
    bool all = producer != NO_ID && x->s->integer[producer];
    Type type = g->values[v].type;
    TRY(graph_add_value(g, suffixed(x, name, "_dequantized"), &type, &result));
    if (all)
        TRY(graph_replace_uses(g, v, result));
    else
        redirect_integer_readers(x, v, result);
    TRY(graph_build(g, "", "QuantizeLinear", suffixed(x, name, "_quantize"), 3, in, &quantized, NULL));
    in[0] = quantized;
    TRY(graph_add_node(g, op_find("", "DequantizeLinear"), suffixed(x, name, "_dequantize"), 3, in, 1, &result, NULL));
    return NULL;
}

/* ---- weights ---- */

/* Scale of each channel along `axis`; the largest magnitude maps to the largest code. */
static void weight_scales(const Tensor *w, const float *data, int axis, int32_t qmax, bool per_tensor, float *scale) {
    int64_t channels = w->dims[axis], inner = 1, n = tensor_count(w);
    for (int i = axis + 1; i < w->rank; i++) inner *= w->dims[i];
    for (int64_t c = 0; c < channels; c++) scale[c] = 0;
    for (int64_t i = 0; i < n; i++) {
        float a = fabsf(data[i]);
        float *s = &scale[per_tensor ? 0 : i / inner % channels];
        if (a > *s) *s = a;
    }
    for (int64_t c = 0; c < channels; c++) {
        if (per_tensor) scale[c] = scale[0];
    }
    for (int64_t c = 0; c < channels; c++) {
        float s = scale[c] / (float)qmax;
        scale[c] = s >= 0x1p-126f ? s : 1.0f;
    }
}

typedef struct Weights {
    const Tensor *w;
    const float *data;
    float *scale; /* by channel */
    int64_t channels, inner;
    int axis;
    Tensor q;
} Weights;

/* Channels whose weights are next to nothing beside their bias: a larger scale, which loses nothing that the sum with
 * the bias would show, keeps the bias within 32 bits. */
static void widen_scales(float *scale, int64_t channels, bool per_tensor, const double *bias, float x_scale) {
    float widest = 0;
    for (int64_t c = 0; c < channels; c++) {
        double least = fabs(bias[c]) / ((double)x_scale * 0x1p26);
        if ((double)scale[c] < least) scale[c] = (float)least;
        if (scale[c] > widest) widest = scale[c];
    }
    for (int64_t c = 0; per_tensor && c < channels; c++) scale[c] = widest;
}

static Status quantize_weights(Inserter *x, const Node *n, const double *bias, float x_scale, Weights *out) {
    const Tensor *w = graph_constant(x->g, n->in[1]);
    int32_t qmax = x->c->reduce_range ? 63 : 127;
    float *data = ARENA_ARRAY(x->scratch, float, tensor_count(w));
    *out = (Weights){.w = w, .axis = quant_weight_axis(x->g, n), .data = data, .inner = 1};
    out->channels = w->dims[out->axis];
    for (int i = out->axis + 1; i < w->rank; i++) out->inner *= w->dims[i];
    out->scale = ARENA_ARRAY(x->scratch, float, out->channels);
    TRY_ALLOC(data && out->scale);
    tensor_to_f32(w, data);
    weight_scales(w, data, out->axis, qmax, x->c->per_tensor, out->scale);
    if (!x->c->float_bias) widen_scales(out->scale, out->channels, x->c->per_tensor, bias, x_scale);
    TRY(tensor_new(&out->q, ELEM_I8, w->rank, w->dims));
    int8_t *q = (int8_t *)out->q.data;
    int64_t count = tensor_count(w);
    for (int64_t i = 0; i < count; i++) {
        float v = nearbyintf(data[i] / out->scale[i / out->inner % out->channels]);
        q[i] = (int8_t)(v > (float)qmax ? qmax : v < (float)-qmax ? -qmax : (int32_t)v);
    }
    return NULL;
}

/* DequantizeLinear of a constant; `scale` has n elements (1: per tensor). */
static Status dequantized_constant(Inserter *x, const char *name, Tensor q, const float *scale, int64_t n, int axis,
                                   ValueId *out) {
    Graph *g = x->g;
    ElemType e = q.elem;
    ValueId in[3];
    NodeId id;
    TRY(graph_add_constant(g, suffixed(x, name, "_quantized"), q, &in[0]));
    if (n == 1)
        TRY(add_scalar_scale(g, suffixed(x, name, "_scale"), scale[0], &in[1]));
    else
        TRY(add_vector(g, suffixed(x, name, "_scale"), scale, n, &in[1]));
    TRY(add_zero_point(g, suffixed(x, name, "_zero_point"), e, n == 1 ? 0 : n, 0, &in[2]));
    *out = NO_ID;
    TRY(graph_add_node(g, op_find("", "DequantizeLinear"), suffixed(x, name, "_dequantize"), 3, in, 1, out, &id));
    return n == 1 ? NULL : attr_set_int(g, id, "axis", axis);
}

/* ---- biases ---- */

/* Σ over inputs of (ŵ - w) E[x] for each output channel, subtracted from the bias. */
static void correct_bias(const Graph *g, const Node *n, const Weights *w, const double *means, double *bias) {
    const int8_t *q = (const int8_t *)w->q.data;
    bool conv = op_is(n, "Conv");
    int64_t per_group = conv ? w->channels / attr_int(n, "group") : 0, kernel = 1;
    for (int i = 2; i < w->w->rank; i++) kernel *= w->w->dims[i];
    int64_t count = tensor_count(w->w);
    (void)g;
    for (int64_t i = 0; i < count; i++) {
        int64_t o = i / w->inner % w->channels, k;
        if (conv)
            k = o / per_group * w->w->dims[1] + i / kernel % w->w->dims[1];
        else
            k = w->axis == 0 ? i % w->inner : i / w->channels;
        bias[o] -= ((double)q[i] * (double)w->scale[o] - (double)w->data[i]) * means[k];
    }
}

/* A constant vector that the node's only user adds: the bias of a MatMul. Returns the Add, or NO_ID. */
static NodeId bias_add(const Graph *g, NodeId id, int *slot) {
    const Node *n = &g->nodes[id];
    NodeId user = graph_single_user(g, n->out[0]);
    if (user == NO_ID || !op_is(&g->nodes[user], "Add")) return NO_ID;
    const Node *add = &g->nodes[user];
    *slot = add->in[0] == n->out[0] ? 1 : 0;
    const Tensor *t = graph_constant(g, add->in[*slot]);
    const Type *y = &g->values[n->out[0]].type;
    int64_t columns = g->values[n->in[1]].type.dims[1];
    return t && t->elem == ELEM_F32 && y->rank >= t->rank && t->rank >= 1 && t->dims[t->rank - 1] == columns &&
                   tensor_count(t) == columns
               ? user
               : NO_ID;
}

/* Where the bias is: an input of the product, of an Add behind it, or nowhere yet. */
typedef struct BiasPlace {
    NodeId node;
    int slot;
    ValueId value; /* NO_ID: none yet */
} BiasPlace;

static BiasPlace find_bias(const Graph *g, NodeId id) {
    const Node *n = &g->nodes[id];
    if (op_is(n, "MatMul")) {
        int slot = 0;
        NodeId add = bias_add(g, id, &slot);
        return add == NO_ID ? (BiasPlace){NO_ID, 0, NO_ID} : (BiasPlace){add, slot, g->nodes[add].in[slot]};
    }
    return (BiasPlace){id, 2, n->n_in > 2 ? n->in[2] : NO_ID};
}

static Status set_bias(Inserter *x, const BiasPlace *p, ValueId v) {
    if (p->slot < x->g->nodes[p->node].n_in) {
        graph_set_input(x->g, p->node, (uint32_t)p->slot, v);
        return NULL;
    }
    return graph_append_input(x->g, p->node, v);
}

static Status write_bias(Inserter *x, const BiasPlace *p, const char *name, const double *bias, const Weights *w,
                         float x_scale) {
    Graph *g = x->g;
    Tensor t;
    ValueId v;
    float *scale = ARENA_ARRAY(x->scratch, float, w->channels);
    TRY_ALLOC(scale);
    bool fits = !x->c->float_bias;
    for (int64_t c = 0; c < w->channels; c++) {
        scale[c] = x_scale * w->scale[c];
        fits = fits && scale[c] >= 0x1p-126f && fabs(bias[c] / (double)scale[c]) < 0x1p30;
    }
    TRY(tensor_new(&t, fits ? ELEM_I32 : ELEM_F32, 1, &w->channels));
    for (int64_t c = 0; c < w->channels; c++)
        tensor_set_f64(&t, c, fits ? nearbyint(bias[c] / (double)scale[c]) : bias[c]);
    if (fits)
        TRY(dequantized_constant(x, name, t, scale, x->c->per_tensor ? 1 : w->channels, 0, &v));
    else
        TRY(graph_add_constant(g, name, t, &v));
    return set_bias(x, p, v);
}

/* ---- one product ---- */

static Status insert_product(Inserter *x, uint32_t k, const double *means) {
    Graph *g = x->g;
    NodeId id = x->s->products[k];
    BiasPlace place = find_bias(g, id);
    const Tensor *weights = graph_constant(g, g->nodes[id].in[1]);
    int64_t channels = weights->dims[quant_weight_axis(g, &g->nodes[id])];
    double *bias = ARENA_ARRAY(x->scratch, double, channels);
    TRY_ALLOC(bias);
    const Tensor *old = place.value == NO_ID ? NULL : graph_constant(g, place.value);
    for (int64_t c = 0; old && c < channels; c++) bias[c] = tensor_get_f64(old, tensor_count(old) == 1 ? 0 : c);
    float x_scale = x->values[x->s->set[x->input[k]]].scale;
    Weights w;
    TRY(quantize_weights(x, &g->nodes[id], bias, x_scale, &w));
    if (means) correct_bias(g, &g->nodes[id], &w, means, bias);
    const char *weight_name = g->values[g->nodes[id].in[1]].name;
    const char *bias_name = old ? g->values[place.value].name : suffixed(x, g->nodes[id].name, "_bias");
    bool wanted = old || (means && place.node != NO_ID);
    if (wanted) TRY(write_bias(x, &place, bias_name, bias, &w, x_scale));
    ValueId v;
    TRY(dequantized_constant(x, weight_name, w.q, w.scale, x->c->per_tensor ? 1 : w.channels, w.axis, &v));
    graph_set_input(g, id, 1, v);
    return NULL;
}

static Status insert_all(Inserter *x, InputMeansFn means, void *ctx) {
    Graph *g = x->g;
    const QuantSelection *s = x->s;
    uint32_t n_values = g->n_values;
    TRY_ALLOC(x->input = ARENA_ARRAY(x->scratch, ValueId, s->n_products));
    for (uint32_t k = 0; k < s->n_products; k++) x->input[k] = g->nodes[s->products[k]].in[0];
    for (uint32_t v = 0; v < n_values; v++)
        if (s->quantized[v]) TRY(insert_pair(x, v));
    for (uint32_t k = 0; k < s->n_products; k++) TRY(insert_product(x, k, means ? means(ctx, x->input[k]) : NULL));
    TRY(graph_sort(g));
    graph_eliminate_dead(g);
    return graph_infer(g);
}

Status quant_insert(Graph *g, const QuantConfig *c, const QuantSelection *s, const ValueQuant *values,
                    InputMeansFn means, void *means_ctx) {
    Inserter x = {.g = g, .c = c, .s = s, .values = values};
    TRY_ALLOC(x.scratch = arena_new());
    Status st = insert_all(&x, means, means_ctx);
    arena_free(x.scratch);
    return st;
}
