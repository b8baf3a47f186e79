#include "frontend/onnx_wire.h"

#include <string.h>

enum { LENGTH_BYTES = 5 }; /* room for a length that is known only after its message was copied */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LENGTH = 2, WIRE_32 = 5 };

/* ---- protobuf-c on ir/mem.h; it reports a failed allocation and a bad message alike, so the former is noted ---- */

static void *proto_alloc(void *failed, size_t n) {
    void *p = mem_alloc(n);
    if (!p && failed) *(bool *)failed = true;
    return p;
}

static void proto_free(void *failed, void *p) {
    (void)failed;
    mem_free(p);
}

void wire_free_message(ProtobufCMessage *m) {
    ProtobufCAllocator allocator = {proto_alloc, proto_free, NULL};
    if (m) protobuf_c_message_free_unpacked(m, &allocator);
}

/* ---- scan ---- */

typedef struct Scan {
    const uint8_t *data;
    const char *file;
    Buf out;
    WireRanges *ranges;
} Scan;

static Status broken(const Scan *s, size_t at, const char *what) {
    return status_make(STATUS_INVALID,
                       "%s: not a valid ONNX file: %s at byte %zu (the file may be cut off or of another kind)",
                       s->file, what, at);
}

/* A base-128 number at *at, below `end`. */
static Status read_varint(const Scan *s, size_t *at, size_t end, uint64_t *out) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (*at >= end) return broken(s, *at, "a number is cut off");
        uint8_t byte = s->data[(*at)++];
        if (shift == 63 && (byte & 0x7e)) break;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = v;
            return NULL;
        }
    }
    return broken(s, *at, "a number has more than 64 bits");
}

static size_t put_varint(uint8_t *p, uint64_t v) {
    size_t n = 0;
    for (; v >= 0x80; v >>= 7) p[n++] = (uint8_t)(v | 0x80);
    p[n++] = (uint8_t)v;
    return n;
}

/* A length in exactly LENGTH_BYTES bytes: all but the last carry the continuation bit. */
static void put_length(uint8_t *p, size_t v) {
    for (int i = 0; i < LENGTH_BYTES; i++, v >>= 7) p[i] = (uint8_t)((v & 0x7f) | (i + 1 < LENGTH_BYTES ? 0x80 : 0));
}

typedef struct Field {
    const ProtobufCFieldDescriptor *desc; /* NULL: not in the schema */
    unsigned index, wire;
    size_t tag_at, payload, end; /* payload and end of the field's content */
} Field;

static Status read_field(const Scan *s, const ProtobufCMessageDescriptor *desc, size_t *at, size_t end, Field *f) {
    uint64_t tag, length = 0;
    f->tag_at = *at;
    TRY(read_varint(s, at, end, &tag));
    if (tag >> 3 == 0 || tag >> 32) return broken(s, f->tag_at, "a field number is out of range");
    f->wire = (unsigned)(tag & 7);
    f->desc = protobuf_c_message_descriptor_get_field(desc, (unsigned)(tag >> 3));
    f->index = f->desc ? (unsigned)(f->desc - desc->fields) : 0;
    f->payload = *at;
    switch (f->wire) {
    case WIRE_VARINT:
        TRY(read_varint(s, at, end, &length));
        length = 0;
        break;
    case WIRE_64:
        length = 8;
        break;
    case WIRE_32:
        length = 4;
        break;
    case WIRE_LENGTH:
        TRY(read_varint(s, at, end, &length));
        f->payload = *at;
        break;
    default:
        return broken(s, f->tag_at, "a field has an unknown encoding");
    }
    if (length > end - *at) return broken(s, f->tag_at, "a length runs past the end");
    *at += (size_t)length;
    f->end = *at;
    return NULL;
}

/* Fields that pare never reads: documentation, training, placement on devices. */
static bool is_dropped(const ProtobufCFieldDescriptor *f) {
    static const char *const names[] = {
        "doc_string",    "metadata_props",          "training_info", "device_configurations",
        "configuration", "quantization_annotation", "denotation"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(f->name, names[i])) return true;
    return false;
}

static Status put_range(Scan *s, const Field *f) {
    WireRanges *r = s->ranges;
    if (r->n == r->cap) {
        size_t cap = r->cap ? r->cap * 2 : 64;
        WireRange *p = mem_realloc(r->at, cap * sizeof *p);
        TRY_ALLOC(p);
        r->at = p;
        r->cap = cap;
    }
    uint64_t index = r->n;
    r->at[r->n++] = (WireRange){f->payload, f->end - f->payload};
    uint8_t head[16];
    size_t n = put_varint(head, (uint64_t)f->desc->id << 3 | WIRE_LENGTH);
    n += put_varint(head + n, sizeof index);
    buf_append(&s->out, head, n);
    buf_append(&s->out, &index, sizeof index);
    return NULL;
}

static Status scan_message(Scan *s, const ProtobufCMessageDescriptor *desc, size_t at, size_t end, int depth);

static Status scan_submessage(Scan *s, const Field *f, int depth) {
    if (depth + 1 > WIRE_MAX_DEPTH) return broken(s, f->tag_at, "messages are nested deeper than 64 levels");
    uint8_t head[16 + LENGTH_BYTES] = {0};
    size_t n = put_varint(head, (uint64_t)f->desc->id << 3 | WIRE_LENGTH) + LENGTH_BYTES;
    buf_append(&s->out, head, n);
    size_t start = s->out.len;
    TRY(scan_message(s, f->desc->descriptor, f->payload, f->end, depth + 1));
    size_t length = s->out.len - start;
    if (length > INT32_MAX) return broken(s, f->tag_at, "a message (apart from weights) is larger than 2 GiB");
    put_length((uint8_t *)s->out.data + start - LENGTH_BYTES, length);
    return NULL;
}

static Status scan_message(Scan *s, const ProtobufCMessageDescriptor *desc, size_t at, size_t end, int depth) {
    uint64_t seen = 0; /* no message of the schema has 64 fields */
    while (at < end) {
        Field f = {0};
        TRY(read_field(s, desc, &at, end, &f));
        if (!f.desc || is_dropped(f.desc)) continue;
        bool message = f.desc->type == PROTOBUF_C_TYPE_MESSAGE && f.wire == WIRE_LENGTH;
        bool raw =
            desc == &onnx__tensor_proto__descriptor && !strcmp(f.desc->name, "raw_data") && f.wire == WIRE_LENGTH;
        /* A singular message given twice would be merged: no writer does that, and one tensor would have two ranges. */
        if ((message || raw) && f.desc->label != PROTOBUF_C_LABEL_REPEATED) {
            if (seen >> f.index & 1) return broken(s, f.tag_at, "a field that may occur once occurs twice");
            seen |= (uint64_t)1 << f.index;
        }
        if (message)
            TRY(scan_submessage(s, &f, depth));
        else if (raw)
            TRY(put_range(s, &f));
        else
            buf_append(&s->out, s->data + f.tag_at, f.end - f.tag_at);
    }
    return s->out.failed ? status_oom() : NULL;
}

Status wire_read_message(const ProtobufCMessageDescriptor *desc, const uint8_t *data, size_t n, const char *file,
                         WireRanges *ranges, ProtobufCMessage **out) {
    Scan s = {.data = data, .file = file, .ranges = ranges};
    Status status = scan_message(&s, desc, 0, n, 0);
    if (!status) {
        bool failed = false;
        ProtobufCAllocator allocator = {proto_alloc, proto_free, &failed};
        const uint8_t *bytes = s.out.data ? (const uint8_t *)s.out.data : (const uint8_t *)"";
        *out = protobuf_c_message_unpack(desc, &allocator, s.out.len, bytes);
        if (!*out && failed)
            status = status_oom();
        else if (!*out)
            status = status_make(STATUS_INVALID,
                                 "%s: not a valid ONNX file: a field does not have the type that the ONNX "
                                 "schema gives it (the file may be cut off or of another kind)",
                                 file);
    }
    buf_free(&s.out);
    return status;
}

Status wire_read_model(const uint8_t *data, size_t n, const char *file, WireModel *out) {
    *out = (WireModel){0};
    if (!n) return status_make(STATUS_INVALID, "%s: the file is empty; an ONNX model was expected", file);
    ProtobufCMessage *message = NULL;
    Status s = wire_read_message(&onnx__model_proto__descriptor, data, n, file, &out->ranges, &message);
    out->model = (Onnx__ModelProto *)message;
    if (s) wire_free(out);
    return s;
}

void wire_free(WireModel *m) {
    wire_free_message((ProtobufCMessage *)m->model);
    mem_free(m->ranges.at);
    *m = (WireModel){0};
}

WireRange wire_raw_data(const WireRanges *ranges, const Onnx__TensorProto *t) {
    uint64_t index = UINT64_MAX;
    if (t->raw_data.len == sizeof index) memcpy(&index, t->raw_data.data, sizeof index);
    return index < ranges->n ? ranges->at[index] : (WireRange){0, 0};
}
