/* Small ONNX models for tests, made with protobuf-c. Memory is the builder's; running out of it ends the test program.
 */
#ifndef PARE_TESTS_SUPPORT_ONNX_BUILDER_H
#define PARE_TESTS_SUPPORT_ONNX_BUILDER_H

#include "ir/mem.h"
#include "ir/types.h"

#include "onnx.pb-c.h"

typedef struct OnnxBuilder {
    Arena *arena;
    Onnx__ModelProto model;
    Onnx__GraphProto *graph; /* the model's */
} OnnxBuilder;

/* A model of one graph without nodes. ir 0: no opset list. */
OnnxBuilder *ob_new(int64_t ir, int64_t opset);
void ob_free(OnnxBuilder *b);
void ob_import(OnnxBuilder *b, const char *domain, int64_t version);
/* The serialized model, in the builder's memory. */
const uint8_t *ob_pack(OnnxBuilder *b, size_t *n);

Onnx__GraphProto *ob_subgraph(OnnxBuilder *b, const char *name);
/* `in` and `out`: names separated by commas, "" for none. */
Onnx__FunctionProto *ob_function(OnnxBuilder *b, const char *domain, const char *name, const char *in, const char *out);

/* dims: "1,N,?" (numbers, symbols, ? = left open), "" = scalar, NULL = no shape; elem ELEM_UNDEFINED: no type at all.
 */
void ob_input(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, ElemType e, const char *dims);
void ob_output(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, ElemType e, const char *dims);
void ob_value_info(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, ElemType e, const char *dims);

/* A tensor with raw_data of n bytes (NULL: none). */
Onnx__TensorProto *ob_tensor(OnnxBuilder *b, const char *name, ElemType e, const char *dims, const void *raw, size_t n);
void ob_initializer(OnnxBuilder *b, Onnx__GraphProto *g, Onnx__TensorProto *t);
void ob_floats(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, const char *dims, const float *v, size_t n);
void ob_int64s(OnnxBuilder *b, Onnx__GraphProto *g, const char *name, const char *dims, const int64_t *v, size_t n);
/* Makes t refer to external data. offset and length as text, NULL: left out. */
void ob_external(OnnxBuilder *b, Onnx__TensorProto *t, const char *location, const char *offset, const char *length);

/* Nodes; `in` and `out` separated by commas, empty names are absent ("x,,scales"). */
Onnx__NodeProto *ob_node(OnnxBuilder *b, Onnx__GraphProto *g, const char *op, const char *name, const char *in,
                         const char *out);
Onnx__NodeProto *ob_function_node(OnnxBuilder *b, Onnx__FunctionProto *f, const char *op, const char *name,
                                  const char *in, const char *out);
Onnx__AttributeProto *ob_attr(OnnxBuilder *b, Onnx__NodeProto *n, const char *name);
void ob_attr_int(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, int64_t v);
void ob_attr_float(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, float v);
void ob_attr_string(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, const char *v);
void ob_attr_ints(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, const int64_t *v, size_t count);
void ob_attr_floats(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, const float *v, size_t count);
void ob_attr_tensor(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, Onnx__TensorProto *t);
void ob_attr_graph(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, Onnx__GraphProto *g);
/* An attribute of a node in a function that takes its value from the call. */
void ob_attr_ref(OnnxBuilder *b, Onnx__NodeProto *n, const char *name, const char *of_call);

#endif
