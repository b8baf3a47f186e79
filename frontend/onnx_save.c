/* The entry of the exporter: choice of opset, packing, files. */
#include "frontend/onnx_export.h"
#include "ir/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum {
    DIRECT_BYTES = 4096,   /* runs of bytes from here on go to the file from where they lie */
    EXTERNAL_ALIGN = 4096, /* of tensors in the data file, so that readers can map them */
    EXTERNAL_MIN = 1024    /* smaller tensors stay in the model */
};
static const uint64_t EXTERNAL_DEFAULT = 1900000000u; /* a protobuf message must stay below 2^31 bytes */

/* ---- opset ---- */

typedef struct OpsetChoice {
    int asked, chosen;
    Buf problems;
    uint32_t n;
    bool microsoft;
} OpsetChoice;

static void add_problem(OpsetChoice *c, const Node *n, const char *why) {
    if (++c->n <= 20) buf_printf(&c->problems, "\n  %s '%s': %s", n->op->name, n->name, why);
}

static void check_node(const Graph *g, const Node *n, OpsetChoice *c) {
    char why[80] = "no opset has it with these attributes and element types";
    if (!strcmp(n->op->domain, "pare")) {
        add_problem(c, n, "is an op of pare's own, not of ONNX");
        return;
    }
    c->microsoft |= n->op->domain[0] != 0;
    int lowest = opset_lowest(g, n);
    if (lowest > c->asked) snprintf(why, sizeof why, "needs opset %d", lowest);
    if (c->asked ? !opset_fits(g, n, c->asked) : !lowest) add_problem(c, n, why);
    if (lowest > c->chosen) c->chosen = lowest;
}

static void check_nodes(const Graph *g, OpsetChoice *c) {
    for (uint32_t i = 0; i < g->n_order; i++) {
        const Node *n = &g->nodes[g->order[i]];
        check_node(g, n, c);
        for (int k = 0; k < n->n_attrs; k++)
            if (n->attrs[k].kind == ATTR_GRAPH) check_nodes(n->attrs[k].g, c);
    }
}

static Status choose_opset(const Graph *g, OpsetChoice *c) {
    if (c->asked && (c->asked < ONNX_DEFAULT_OPSET || c->asked > ONNX_NEWEST_OPSET))
        return status_make(STATUS_UNSUPPORTED, "opset %d was asked for; pare writes opsets %d to %d", c->asked,
                           ONNX_DEFAULT_OPSET, ONNX_NEWEST_OPSET);
    c->chosen = c->asked ? c->asked : ONNX_DEFAULT_OPSET;
    check_nodes(g, c);
    Status s = NULL;
    if (c->n > 20) buf_printf(&c->problems, "\n  and %u more", c->n - 20);
    if (c->problems.failed)
        s = status_oom();
    else if (c->n && c->asked)
        s = status_make(STATUS_UNSUPPORTED, "opset %d cannot express:%s", c->asked, c->problems.data);
    else if (c->n)
        s = status_make(STATUS_UNSUPPORTED, "ONNX cannot express:%s", c->problems.data);
    buf_free(&c->problems);
    return s;
}

/* The ir_version that came with each opset. Source: the version table of the ONNX project. */
static int64_t ir_version(int opset) {
    static const int8_t versions[] = {7, 7, 8, 8, 8, 8, 9, 9, 10, 10, 11, 12, 13, 13, 13, 14};
    return versions[opset - ONNX_DEFAULT_OPSET];
}

/* ---- packing without copies ---- */

/* Bytes in the order of the file: short ones in `small`, long ones where they lie. */
typedef struct Sink {
    ProtobufCBuffer base; /* first: protobuf-c hands it back */
    Buf small;
    FilePart *parts; /* data NULL: `size` further bytes of small */
    size_t n, cap;
    bool failed;
} Sink;

static void sink_part(Sink *s, const void *data, size_t size) {
    if (!data && s->n && !s->parts[s->n - 1].data) {
        s->parts[s->n - 1].size += size;
        return;
    }
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 64;
        FilePart *p = mem_realloc(s->parts, cap * sizeof *p);
        s->failed |= !p;
        if (!p) return;
        s->parts = p;
        s->cap = cap;
    }
    s->parts[s->n++] = (FilePart){data, size};
}

static void sink_append(ProtobufCBuffer *buffer, size_t n, const uint8_t *data) {
    Sink *s = (Sink *)buffer;
    if (!n || s->failed) return;
    if (n >= DIRECT_BYTES) {
        sink_part(s, data, n);
    } else {
        buf_append(&s->small, data, n);
        sink_part(s, NULL, n);
    }
}

static Status sink_write(Sink *s, const char *path) {
    if (s->failed || s->small.failed) return status_oom();
    size_t at = 0;
    for (size_t i = 0; i < s->n; i++)
        if (!s->parts[i].data) {
            s->parts[i].data = s->small.data + at;
            at += s->parts[i].size;
        }
    return file_write_atomic(path, s->parts, s->n);
}

static Status write_model(const Onnx__ModelProto *m, const char *path) {
    Sink s = {.base = {.append = sink_append}};
    onnx__model_proto__pack_to_buffer(m, &s.base);
    Status status = sink_write(&s, path);
    buf_free(&s.small);
    mem_free(s.parts);
    return status;
}

/* ---- external data ---- */

static Status entry(Arena *a, const char *key, const char *value, Onnx__StringStringEntryProto **out) {
    Onnx__StringStringEntryProto *e = arena_alloc(a, sizeof *e);
    TRY_ALLOC(*out = e);
    onnx__string_string_entry_proto__init(e);
    e->key = (char *)(uintptr_t)key;
    e->value = (char *)(uintptr_t)value;
    TRY_ALLOC(value);
    return NULL;
}

static Status make_external(Arena *a, Onnx__TensorProto *t, const char *location, uint64_t offset) {
    TRY_ALLOC(t->external_data = ARENA_ARRAY(a, Onnx__StringStringEntryProto *, 3));
    TRY(entry(a, "location", location, &t->external_data[0]));
    TRY(entry(a, "offset", arena_printf(a, "%" PRIu64, offset), &t->external_data[1]));
    TRY(entry(a, "length", arena_printf(a, "%zu", t->raw_data.len), &t->external_data[2]));
    t->n_external_data = 3;
    t->has_data_location = 1;
    t->data_location = ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    t->has_raw_data = 0;
    return NULL;
}

/* Moves the initializers of the root graph to FILE.data beside the model. */
static Status write_external(Arena *a, Onnx__GraphProto *g, const char *path) {
    static const uint8_t zeros[EXTERNAL_ALIGN];
    const char *slash = strrchr(path, '/');
    const char *location = arena_printf(a, "%s.data", slash ? slash + 1 : path);
    const char *file = arena_printf(a, "%s.data", path);
    FilePart *parts = ARENA_ARRAY(a, FilePart, 2 * g->n_initializer);
    TRY_ALLOC(location && file && parts);
    size_t n = 0;
    uint64_t at = 0;
    for (size_t i = 0; i < g->n_initializer; i++) {
        Onnx__TensorProto *t = g->initializer[i];
        size_t size = t->raw_data.len, gap = (size_t)(-at & (EXTERNAL_ALIGN - 1));
        if (size < EXTERNAL_MIN) continue;
        parts[n++] = (FilePart){zeros, gap};
        parts[n++] = (FilePart){t->raw_data.data, size};
        TRY(make_external(a, t, location, at + gap));
        at += gap + size;
    }
    return file_write_atomic(file, parts, n);
}

/* ---- the model ---- */

static Status import_opset(Arena *a, const char *domain, int64_t version, Onnx__OperatorSetIdProto **out) {
    Onnx__OperatorSetIdProto *p = arena_alloc(a, sizeof *p);
    TRY_ALLOC(*out = p);
    onnx__operator_set_id_proto__init(p);
    p->domain = (char *)(uintptr_t)domain;
    p->has_version = 1;
    p->version = version;
    return NULL;
}

static Status save(const Graph *g, Arena *a, const char *path, const OnnxSaveOptions *o, const OpsetChoice *c) {
    Onnx__ModelProto m = ONNX__MODEL_PROTO__INIT;
    Onnx__OperatorSetIdProto *opsets[2];
    TRY(import_opset(a, "", c->chosen, &opsets[0]));
    TRY(import_opset(a, "com.microsoft", 1, &opsets[1]));
    m.opset_import = opsets;
    m.n_opset_import = c->microsoft ? 2 : 1;
    m.has_ir_version = 1;
    m.ir_version = ir_version(c->chosen);
    m.producer_name = (char *)(uintptr_t) "pare";
    m.producer_version = (char *)(uintptr_t)PARE_VERSION;
    TRY(export_graph(g, a, c->chosen, o->value_info, &m.graph));
    uint64_t bytes = 0;
    for (size_t i = 0; i < m.graph->n_initializer; i++) bytes += m.graph->initializer[i]->raw_data.len;
    if (bytes > (o->external_above ? o->external_above : EXTERNAL_DEFAULT)) TRY(write_external(a, m.graph, path));
    TRY(file_check_maps());
    return write_model(&m, path);
}

Status onnx_save(const Graph *g, const char *path, const OnnxSaveOptions *o) {
    static const OnnxSaveOptions defaults;
    if (!o) o = &defaults;
    OpsetChoice c = {.asked = o->opset};
    TRY(status_context(choose_opset(g, &c), "%s", path));
    Arena *a = arena_new();
    TRY_ALLOC(a);
    Status s = save(g, a, path, o, &c);
    arena_free(a);
    return status_context(s, "writing %s", path);
}
