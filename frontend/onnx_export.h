/* What the parts of the exporter share. Internal to frontend/.
 *
 * onnx_save.c        the entry: choice of opset, packing, files
 * onnx_save_graph.c  graph -> message
 * onnx_opset.c       which opset a node needs */
#ifndef PARE_FRONTEND_ONNX_EXPORT_H
#define PARE_FRONTEND_ONNX_EXPORT_H

#include "frontend/onnx_model.h"
#include "frontend/onnx_names.h"
#include "ir/op.h"

#include "onnx.pb-c.h"

/* Attributes that a form before `opset` lacks although it can do the same: they are left out (default values), or said
 * in another way. */
typedef enum LowerKind {
    LOWER_NONE,
    LOWER_DROP_ATTR, /* the attribute has its default value, or says what the older form does anyway */
    LOWER_AXES_ATTR  /* input 1, constant or absent, becomes the attribute "axes" */
} LowerKind;

/* True when the form of the node's op in `opset` can express it. */
bool opset_fits(const Graph *g, const Node *n, int opset);
/* The lowest such opset in [ONNX_DEFAULT_OPSET, ONNX_NEWEST_OPSET]; 0 when there is none. */
int opset_lowest(const Graph *g, const Node *n);
/* How attribute i is written in `opset`: LOWER_NONE as it is, LOWER_DROP_ATTR not at all. */
LowerKind opset_attr(const Graph *g, const Node *n, int i, int opset);
/* How the inputs are written: LOWER_NONE, or LOWER_AXES_ATTR. */
LowerKind opset_inputs(const Graph *g, const Node *n, int opset);

/* Builds the message of g (a root graph) in arena a. Bytes of tensors are not copied: g must outlive the message.
 * `value_info`: with types of intermediate values. */
PARE_NODISCARD Status export_graph(const Graph *g, Arena *a, int opset, bool value_info, Onnx__GraphProto **out);

#endif
