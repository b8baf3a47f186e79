/* The entry of the importer: files, checks of the whole model, hashes. */
#include "frontend/onnx_import.h"
#include "ir/file.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static Status check_model(Import *im) {
    const Onnx__ModelProto *m = im->wire.model;
    if (!m->graph)
        return import_error(im, STATUS_INVALID, "not an ONNX model: it has no graph (the file may be of another kind)");
    if (!m->has_ir_version || m->ir_version < 1)
        return import_error(im, STATUS_INVALID,
                            "not an ONNX model: it has no ir_version (the file may be of another kind)");
    if (m->ir_version > ONNX_NEWEST_IR)
        return import_error(im, STATUS_UNSUPPORTED,
                            "ir_version %" PRId64 " is newer than %d, the newest that pare knows", m->ir_version,
                            ONNX_NEWEST_IR);
    /* Lists of opsets came with ir_version 3. */
    im->opsets = (OpsetList){m->opset_import, m->n_opset_import, m->ir_version < 3 ? 1 : -1};
    if (!m->graph->n_output) return import_error(im, STATUS_INVALID, "the graph has no outputs");
    return survey_model(im);
}

static Status build(Import *im, const OnnxLoadOptions *o, Graph **out) {
    TRY_ALLOC(im->scratch = arena_new());
    im->symbols.arena = im->scratch;
    TRY(wire_read_model(im->source.data, im->source.size, im->file, &im->wire));
    im->source.ranges = &im->wire.ranges;
    TRY(check_model(im));
    Graph *g;
    TRY(import_root(im, &g));
    Status s = o && o->raw ? NULL : status_context(graph_infer(g), "%s", im->file);
    if (!s) s = file_check_maps();
    if (s)
        graph_free(g);
    else
        *out = g;
    return s;
}

static Status run_import(Import *im, const OnnxLoadOptions *o, Graph **out) {
    im->source.file = im->file;
    Status s = build(im, o, out);
    wire_free(&im->wire);
    source_free(&im->source);
    arena_free(im->scratch);
    return s;
}

Status onnx_load(const char *path, const OnnxLoadOptions *o, Graph **out) {
    Import im = {.file = path, .source = {.folder = path}};
    TRY(file_map(path, &im.source.bytes));
    im.source.data = im.source.bytes->data;
    im.source.size = im.source.bytes->size;
    return run_import(&im, o, out);
}

Status onnx_load_bytes(const void *data, size_t n, const char *name, const OnnxLoadOptions *o, Graph **out) {
    Import im = {.file = name, .source = {.data = data, .size = n}};
    char *folder = NULL;
    if (o && o->folder) {
        size_t len = strlen(o->folder);
        TRY_ALLOC(folder = mem_alloc(len + 2));
        memcpy(folder, o->folder, len);
        memcpy(folder + len, "/", 2);
        im.source.folder = folder;
    }
    Status s = run_import(&im, o, out);
    mem_free(folder);
    return s;
}

/* ---- single tensors ---- */

static Status read_tensor(const Blob *bytes, const char *path, TensorSource *source, Tensor *out) {
    WireRanges ranges = {0};
    ProtobufCMessage *message = NULL;
    Status s = wire_read_message(&onnx__tensor_proto__descriptor, bytes->data, bytes->size, path, &ranges, &message);
    source->ranges = &ranges; /* for this call only. cppcheck-suppress autoVariables */
    if (!s) s = source_tensor(source, (const Onnx__TensorProto *)message, "tensor", out);
    wire_free_message(message);
    mem_free(ranges.at);
    return s;
}

Status onnx_load_tensor(const char *path, Tensor *out) {
    TensorSource source = {.file = path, .folder = path};
    TRY(file_map(path, &source.bytes));
    source.data = source.bytes->data;
    Status s = read_tensor(source.bytes, path, &source, out);
    source_free(&source);
    return s;
}

/* ---- hash and size, with external data ---- */

typedef struct Locations {
    const char **at;
    size_t n, cap;
} Locations;

static Status add_location(Locations *l, const char *location) {
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->at[i], location)) return NULL;
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        const char **p = mem_realloc(l->at, cap * sizeof *p);
        TRY_ALLOC(p);
        l->at = p;
        l->cap = cap;
    }
    l->at[l->n++] = location;
    return NULL;
}

/* External locations of all tensors below a message, found through the schema: whatever may hold a tensor is seen. The
 * scan has bounded the depth. */
static Status collect_locations(const ProtobufCMessage *m, Locations *l) {
    if (m->descriptor == &onnx__tensor_proto__descriptor) {
        const char *location = external_location((const Onnx__TensorProto *)m);
        return location ? add_location(l, location) : NULL;
    }
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        const char *base = (const char *)m;
        if (f->type != PROTOBUF_C_TYPE_MESSAGE || (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)) continue;
        bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
        size_t n = 1;
        if (repeated) memcpy(&n, base + f->quantifier_offset, sizeof n);
        ProtobufCMessage *const *list = (ProtobufCMessage *const *)(const void *)(base + f->offset);
        if (repeated) memcpy(&list, base + f->offset, sizeof list);
        for (size_t k = 0; k < n; k++)
            if (list[k]) TRY(collect_locations(list[k], l));
    }
    return NULL;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

/* Calls visit for the model file and then for its external data files, in order. */
static Status visit_files(const char *path, Status (*visit)(void *ctx, const Blob *bytes), void *ctx) {
    Blob *bytes;
    TRY(file_map(path, &bytes));
    WireModel wire = {0};
    Locations l = {0};
    Status status = visit(ctx, bytes);
    if (!status) status = wire_read_model(bytes->data, bytes->size, path, &wire);
    if (!status) status = collect_locations((const ProtobufCMessage *)wire.model, &l);
    if (!status && l.n) qsort(l.at, l.n, sizeof *l.at, by_bytes);
    for (size_t i = 0; i < l.n && !status; i++) {
        status = external_check_location(path, l.at[i]);
        char *file = status ? NULL : file_sibling(path, l.at[i]);
        Blob *data = NULL;
        if (!status) status = file ? file_map(file, &data) : status_oom();
        if (!status) status = visit(ctx, data);
        blob_unref(data);
        mem_free(file);
    }
    if (!status) status = file_check_maps();
    mem_free(l.at);
    wire_free(&wire);
    blob_unref(bytes);
    return status;
}

static Status hash_file(void *ctx, const Blob *bytes) {
    sha256_add(ctx, bytes->data, bytes->size);
    return NULL;
}

Status onnx_hash(const char *path, char hex[SHA256_HEX]) {
    Sha256 *h = sha256_new();
    TRY_ALLOC(h);
    Status s = visit_files(path, hash_file, h);
    sha256_finish(h, hex);
    return s;
}

static Status count_file(void *ctx, const Blob *bytes) {
    *(uint64_t *)ctx += bytes->size;
    return NULL;
}

Status onnx_bytes(const char *path, uint64_t *bytes) {
    *bytes = 0;
    return visit_files(path, count_file, bytes);
}
