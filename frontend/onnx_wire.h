/* The bounded scan of an ONNX file that runs before protobuf-c sees it.
 *
 * protobuf-c copies every bytes field and recurses as deep as the file asks. The scan checks nesting and lengths
 * against the schema, and copies the message without its raw_data fields (weights), without documentation and without
 * fields that the schema does not have. In place of each raw_data stands the 8-byte index of a range of the file.
 * Source: the protocol buffers encoding; onnx.proto. */
#ifndef PARE_FRONTEND_ONNX_WIRE_H
#define PARE_FRONTEND_ONNX_WIRE_H

#include "ir/mem.h"
#include "ir/status.h"

#include "onnx.pb-c.h"

enum { WIRE_MAX_DEPTH = 64 };

/* Where one raw_data lies in the file. */
typedef struct WireRange {
    size_t offset, size;
} WireRange;

typedef struct WireRanges {
    WireRange *at;
    size_t n, cap;
} WireRanges;

typedef struct WireModel {
    Onnx__ModelProto *model; /* raw_data fields hold an index into ranges */
    WireRanges ranges;
} WireModel;

/* Scans and unpacks `n` bytes, called `file` in messages. STATUS_INVALID for anything that is no ONNX model: the
 * message says at which byte it broke. On failure *out needs no freeing. */
PARE_NODISCARD Status wire_read_model(const uint8_t *data, size_t n, const char *file, WireModel *out);
void wire_free(WireModel *m);
/* Same for any message of the schema (test data holds TensorProto files). *out is freed with wire_free_message, and
 * ranges->at with mem_free. */
PARE_NODISCARD Status wire_read_message(const ProtobufCMessageDescriptor *desc, const uint8_t *data, size_t n,
                                        const char *file, WireRanges *ranges, ProtobufCMessage **out);
void wire_free_message(ProtobufCMessage *m);
/* The range of a raw_data field. */
WireRange wire_raw_data(const WireRanges *ranges, const Onnx__TensorProto *t);

#endif
