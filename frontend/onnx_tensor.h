/* Tensors and types of ONNX messages. Internal to frontend/. */
#ifndef PARE_FRONTEND_ONNX_TENSOR_H
#define PARE_FRONTEND_ONNX_TENSOR_H

#include "frontend/onnx_names.h"
#include "frontend/onnx_wire.h"
#include "ir/tensor.h"

/* An external data file, mapped at its first use. */
typedef struct ExternalFile {
    char *location;
    Blob *bytes;
} ExternalFile;

/* Where the bytes of a model's tensors come from. */
typedef struct TensorSource {
    const char *file;   /* for messages */
    const char *folder; /* path whose folder holds external data; NULL: none allowed */
    Blob *bytes;        /* the model file; NULL: `data` is somebody else's and large tensors are copied */
    const uint8_t *data;
    size_t size;
    const WireRanges *ranges;
    ExternalFile *external;
    size_t n_external;
} TensorSource;

/* The content of p as an owned tensor: a range of the mapped file when it is large, else a copy. `what` names it in
 * errors
 * ("initializer"). STATUS_INVALID for sizes that disagree, STATUS_UNSUPPORTED for strings and element types without a
 * row, STATUS_ENVIRONMENT for external data that cannot be read. */
PARE_NODISCARD Status source_tensor(TensorSource *s, const Onnx__TensorProto *p, const char *what, Tensor *out);
/* The same for a sparse tensor, as dense. */
PARE_NODISCARD Status source_sparse(TensorSource *s, const Onnx__SparseTensorProto *p, Tensor *out);
void source_free(TensorSource *s);
/* Location of external data of p, or NULL when it has none. */
const char *external_location(const Onnx__TensorProto *p);
/* STATUS_INVALID unless `location` stays inside the model's folder. */
PARE_NODISCARD Status external_check_location(const char *file, const char *location);

/* How symbolic dims of a declared type are read. */
typedef struct TypeReader {
    Arena *arena; /* of inner types */
    SymTab *syms;
    NameMap *symbols; /* names that count as symbols; NULL: all. Others become fresh symbols */
    bool collect;     /* add the names seen to `symbols` */
} TypeReader;
/* STATUS_UNSUPPORTED for maps, sparse and opaque types and ranks above MAX_RANK. p may be NULL: TYPE_UNKNOWN. */
PARE_NODISCARD Status read_type(TypeReader *r, const Onnx__TypeProto *p, Type *out);

#endif
