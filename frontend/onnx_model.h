/* ONNX models: reading and writing. The only door of frontend/ for models. */
#ifndef PARE_FRONTEND_ONNX_MODEL_H
#define PARE_FRONTEND_ONNX_MODEL_H

#include "ir/graph.h"
#include "ir/hash.h"

typedef struct OnnxLoadOptions {
    const char *folder; /* onnx_load_bytes: where external data lies; NULL: a model with external data is refused */
    bool raw;           /* leave out type and shape inference at the end */
} OnnxLoadOptions;

/* Reads a model of opset 1 to ONNX_NEWEST_OPSET (ir_version 1 and later) into a graph whose nodes all have pare's one
 * form; types are inferred. Functions of the model are inlined; Constant nodes and initializers become constants.
 * Weights stay in the mapped file (ir/file.h). o may be NULL. STATUS_INVALID      the file is no ONNX model, or its
 * content contradicts itself; file, node and tensor are named STATUS_UNSUPPORTED  one error that lists every op,
 * attribute and type outside what pare does, with node names STATUS_ENVIRONMENT  the file or its external data is
 * missing or unreadable */
PARE_NODISCARD Status onnx_load(const char *path, const OnnxLoadOptions *o, Graph **out);
/* Same from memory; the bytes are copied where the graph needs them. `name` stands for the file in messages. */
PARE_NODISCARD Status onnx_load_bytes(const void *data, size_t n, const char *name, const OnnxLoadOptions *o,
                                      Graph **out);
enum { ONNX_OLDEST_OPSET = 1, ONNX_NEWEST_OPSET = 28, ONNX_NEWEST_IR = 14 };

/* One tensor from a TensorProto file (ONNX test data). *out is owned by the caller. */
PARE_NODISCARD Status onnx_load_tensor(const char *path, Tensor *out);

/* SHA-256 of the model file, followed by those of its external data files in bytewise order of their names: of a model
 * without external data it is the file's own. Works on any bytes that scan as ONNX. */
PARE_NODISCARD Status onnx_hash(const char *path, char hex[SHA256_HEX]);
/* Bytes of the model file and its external data files. */
PARE_NODISCARD Status onnx_bytes(const char *path, uint64_t *bytes);

typedef struct OnnxSaveOptions {
    int opset;               /* 0: the lowest that can express the model, at least ONNX_DEFAULT_OPSET */
    bool value_info;         /* write the types of intermediate values */
    uint64_t external_above; /* weights go to FILE.data when they are more than this; 0: 1.9 GB, which ONNX needs */
} OnnxSaveOptions;
enum { ONNX_DEFAULT_OPSET = 13 };

/* Writes a model of standard ops; the file appears whole or not at all; same graph, same bytes. o may be NULL.
 * STATUS_UNSUPPORTED lists the nodes that the opset cannot express, or that are no standard ops; STATUS_ENVIRONMENT
 * when writing fails. Reads g only. */
PARE_NODISCARD Status onnx_save(const Graph *g, const char *path, const OnnxSaveOptions *o);

#endif
