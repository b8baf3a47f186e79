/* Post-training quantization in two steps that share one selection:
 *
 *   quant_select   decides which nodes compute in integers and which values therefore need a range
 *   quant_insert   given the ranges, writes the model with QuantizeLinear / DequantizeLinear around those nodes,
 * integer weights and biases (the form that ONNX Runtime fuses)
 *
 * The pass `integer` (passes/integer.c) then turns the patterns into explicit integer ops. Ranges come from calibration
 * (calib/quantize.h drives all of it). */
#ifndef PARE_PASSES_QUANTIZE_H
#define PARE_PASSES_QUANTIZE_H

#include "ir/op.h"

typedef struct QuantConfig {
    ElemType activation; /* ELEM_U8 or ELEM_I8 */
    bool symmetric;      /* zero point 0 (I8) for activations: --qdq tensorrt */
    bool float_bias;     /* leave biases in float: --qdq tensorrt */
    bool per_tensor;     /* weights: one scale for the whole tensor instead of one a channel */
    bool reduce_range;   /* 7-bit weights, for runtimes whose int8 products saturate */
    /* true: node n must stay in float; *why (static or owned by ctx) says so in reports. NULL: none. */
    bool (*keep_float)(void *ctx, const Graph *g, const Node *n, const char **why);
    void *ctx;
} QuantConfig;

/* Why a node that could compute in integers does not; for reports. */
typedef struct FloatNode {
    NodeId node;
    const char *why;
} FloatNode;

typedef struct QuantSelection {
    bool *integer;   /* by node */
    bool *quantized; /* by value: gets a QuantizeLinear / DequantizeLinear pair */
    uint32_t *set;   /* by value: values with the same number share one range (concatenations, movement) */
    ValueId *watch;  /* values to observe for ranges, n_watch; the range of a set covers all of its watched values */
    uint32_t n_watch;
    NodeId *products; /* integer Conv, Gemm, MatMul in order */
    uint32_t n_products;
    FloatNode *floats; /* products that stay in float */
    uint32_t n_floats;
} QuantSelection;

/* All arrays are in `a`. The graph must be optimized (PIPELINE_OPTIMIZE) and inferred. */
PARE_NODISCARD Status quant_select(const Graph *g, const QuantConfig *c, Arena *a, QuantSelection *s);

/* real = scale * (q - zero_point) */
typedef struct ValueQuant {
    float scale;
    int32_t zero_point;
} ValueQuant;

/* Means of a product's input channels (E[x] by channel: conv: axis 1, matrices: last axis) for bias correction, or
 * NULL. Length: channels of the input. */
typedef const double *(*InputMeansFn)(void *ctx, ValueId input);

/* Edits g. `values` is indexed by set number. Bias correction (Nagel et al., "Data-Free Quantization Through Weight
 * Equalization and Bias Correction", ICCV 2019, with means from calibration data): the expected error of each output
 * channel that weight rounding causes is taken out of the bias. */
PARE_NODISCARD Status quant_insert(Graph *g, const QuantConfig *c, const QuantSelection *s, const ValueQuant *values,
                                   InputMeansFn means, void *means_ctx);

/* Channel axis of a product's weights (Conv 0, Gemm transB 0, otherwise 1) and of its input. */
int quant_weight_axis(const Graph *g, const Node *n);
int quant_input_axis(const Graph *g, const Node *n);

#endif
