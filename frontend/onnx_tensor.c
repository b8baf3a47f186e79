#include "frontend/onnx_tensor.h"

#include "ir/file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { COPY_BELOW = 4096 }; /* bytes: smaller tensors are copied, so that they are aligned and quick to read */

/* ---- shape ---- */

static const char *tensor_name(const Onnx__TensorProto *p) { return p->name && *p->name ? p->name : "(unnamed)"; }

static Status dims_error(const TensorSource *s, const Onnx__TensorProto *p, const char *what, StatusCode code,
                         const char *problem) {
    return status_make(code, "%s: %s '%s': %s", s->file, what, tensor_name(p), problem);
}

/* Element type and dims of p into *t; the elements are counted with overflow checks. */
static Status read_shape(const TensorSource *s, const Onnx__TensorProto *p, const char *what, Tensor *t) {
    *t = (Tensor){.elem = (ElemType)p->data_type};
    if (!elem_name(t->elem))
        return status_make(STATUS_UNSUPPORTED, "%s: %s '%s' has element type %d, which pare does not know", s->file,
                           what, tensor_name(p), p->data_type);
    if (t->elem == ELEM_STRING) return dims_error(s, p, what, STATUS_UNSUPPORTED, "strings are not supported");
    if (t->elem == ELEM_UNDEFINED) return dims_error(s, p, what, STATUS_INVALID, "it has no element type");
    if (p->n_dims > MAX_RANK)
        return status_make(STATUS_UNSUPPORTED, "%s: %s '%s' has %zu dimensions; pare takes up to %d", s->file, what,
                           tensor_name(p), p->n_dims, MAX_RANK);
    if (p->segment) return dims_error(s, p, what, STATUS_UNSUPPORTED, "it is stored in segments");
    t->rank = (int)p->n_dims;
    return status_context(tensor_view(t, t->elem, t->rank, p->dims, NULL), "%s: %s '%s'", s->file, what,
                          tensor_name(p));
}

static Status size_error(const TensorSource *s, const Onnx__TensorProto *p, const char *what, const Tensor *t,
                         uint64_t found, const char *unit) {
    char text[160];
    return status_make(STATUS_INVALID, "%s: %s '%s': %s takes %zu bytes, but %" PRIu64 " %s are stored", s->file, what,
                       tensor_name(p), tensor_describe(t, text, sizeof text), t->bytes, found, unit);
}

/* ---- bytes that lie in a file ---- */

static Status take_bytes(Blob *file, const uint8_t *data, size_t offset, size_t n, Tensor *t) {
    if (file && n >= COPY_BELOW) {
        TRY_ALLOC(t->blob = blob_slice(file, offset, n));
    } else {
        TRY_ALLOC(t->blob = blob_new(n));
        if (n) memcpy(t->blob->data, data + offset, n);
    }
    t->data = t->blob->data;
    return NULL;
}

static const char *external_value(const Onnx__TensorProto *p, const char *key) {
    for (size_t i = 0; i < p->n_external_data; i++) {
        const Onnx__StringStringEntryProto *e = p->external_data[i];
        if (e->key && e->value && !strcmp(e->key, key)) return e->value;
    }
    return NULL;
}

const char *external_location(const Onnx__TensorProto *p) {
    bool external = p->has_data_location && p->data_location == ONNX__TENSOR_PROTO__DATA_LOCATION__EXTERNAL;
    const char *location = external ? external_value(p, "location") : NULL;
    return external && !location ? "" : location;
}

Status external_check_location(const char *file, const char *location) {
    bool bad = !*location || *location == '/';
    for (const char *part = location; !bad && part; part = strchr(part, '/')) {
        part += *part == '/';
        size_t n = strcspn(part, "/");
        bad = n == 2 && part[0] == '.' && part[1] == '.';
    }
    if (!bad) return NULL;
    return status_make(STATUS_INVALID, "%s: external data lies at '%s'; a path inside the model's folder was expected",
                       file, location);
}

static Status open_external(TensorSource *s, const char *location, const char *what, const char *tensor, Blob **out) {
    for (size_t i = 0; i < s->n_external; i++)
        if (!strcmp(s->external[i].location, location)) {
            *out = s->external[i].bytes;
            return NULL;
        }
    TRY(external_check_location(s->file, location));
    if (!s->folder)
        return status_make(STATUS_ENVIRONMENT, "%s: %s '%s' lies in '%s', but no folder was given to read it from",
                           s->file, what, tensor, location);
    char *path = file_sibling(s->folder, location), *copy = mem_strdup(location);
    ExternalFile *grown = mem_realloc(s->external, (s->n_external + 1) * sizeof *grown);
    if (grown) s->external = grown;
    Status status = path && copy && grown ? file_map(path, out) : status_oom();
    mem_free(path);
    if (status) {
        mem_free(copy);
        return status_context(status, "%s: external data of %s '%s'", s->file, what, tensor);
    }
    s->external[s->n_external++] = (ExternalFile){copy, *out};
    return NULL;
}

/* A decimal number of the external_data entries; absent: `deflt`. */
static bool external_number(const Onnx__TensorProto *p, const char *key, uint64_t deflt, uint64_t *out) {
    const char *text = external_value(p, key);
    *out = deflt;
    if (!text) return true;
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno;
}

static Status read_external(TensorSource *s, const Onnx__TensorProto *p, const char *location, const char *what,
                            Tensor *t) {
    Blob *file = NULL;
    TRY(open_external(s, location, what, tensor_name(p), &file));
    uint64_t offset, length;
    bool ok = external_number(p, "offset", 0, &offset) && external_number(p, "length", t->bytes, &length);
    if (!ok) return dims_error(s, p, what, STATUS_INVALID, "the offset or length of its external data is no number");
    if (length != t->bytes) return size_error(s, p, what, t, length, "bytes of external data");
    if (offset > file->size || length > file->size - offset)
        return status_make(STATUS_INVALID,
                           "%s: %s '%s': its external data ends at byte %" PRIu64
                           ", but '%s' has %zu bytes (is it complete?)",
                           s->file, what, tensor_name(p), offset + length < offset ? UINT64_MAX : offset + length,
                           location, file->size);
    return take_bytes(file, file->data, (size_t)offset, (size_t)length, t);
}

/* ---- typed data fields ---- */

/* Which *_data field holds an element type, and how many entries there are. Sub-byte elements stand packed, one byte an
 * entry; complex ones take two entries. Source: onnx.proto, TensorProto. */
typedef enum TypedField { FIELD_FLOAT, FIELD_INT32, FIELD_INT64, FIELD_DOUBLE, FIELD_UINT64 } TypedField;

static TypedField typed_field(ElemType e) {
    switch (e) {
    case ELEM_F32:
    case ELEM_C64:
        return FIELD_FLOAT;
    case ELEM_F64:
    case ELEM_C128:
        return FIELD_DOUBLE;
    case ELEM_I64:
        return FIELD_INT64;
    case ELEM_U32:
    case ELEM_U64:
        return FIELD_UINT64;
    default:
        return FIELD_INT32;
    }
}

/* Stores the low `width` bytes of each number; false when one is not a value of `bits` bits, signed or not. */
static bool store_ints(const int32_t *from, size_t n, size_t width, uint8_t *to) {
    int64_t low = -((int64_t)1 << (8 * width - 1)), high = ((int64_t)1 << (8 * width)) - 1;
    for (size_t i = 0; i < n; i++) {
        if (from[i] < low || from[i] > high) return false;
        memcpy(to + i * width, &from[i], width); /* little-endian */
    }
    return true;
}

static bool store_uint64(const uint64_t *from, size_t n, size_t width, uint8_t *to) {
    for (size_t i = 0; i < n; i++) {
        if (width < 8 && from[i] >> (8 * width)) return false;
        memcpy(to + i * width, &from[i], width);
    }
    return true;
}

static Status read_typed(const TensorSource *s, const Onnx__TensorProto *p, const char *what, Tensor *t) {
    TypedField field = typed_field(t->elem);
    const size_t counts[] = {p->n_float_data, p->n_int32_data, p->n_int64_data, p->n_double_data, p->n_uint64_data};
    size_t entry = field == FIELD_FLOAT     ? 4
                   : field == FIELD_INT64   ? 8
                   : field == FIELD_DOUBLE  ? 8
                   : field == FIELD_UINT64  ? (size_t)elem_bits(t->elem) / 8
                   : elem_bits(t->elem) < 8 ? 1
                                            : (size_t)elem_bits(t->elem) / 8;
    size_t n = counts[field];
    if (n != t->bytes / entry || t->bytes % entry) return size_error(s, p, what, t, n, "entries of typed data");
    TRY_ALLOC(t->blob = blob_new(t->bytes));
    uint8_t *to = t->data = t->blob->data;
    bool ok = true;
    switch (field) {
    case FIELD_FLOAT:
        memcpy(to, n ? (const void *)p->float_data : "", t->bytes);
        break;
    case FIELD_INT64:
        memcpy(to, n ? (const void *)p->int64_data : "", t->bytes);
        break;
    case FIELD_DOUBLE:
        memcpy(to, n ? (const void *)p->double_data : "", t->bytes);
        break;
    case FIELD_UINT64:
        ok = store_uint64(p->uint64_data, n, entry, to);
        break;
    case FIELD_INT32:
        ok = store_ints(p->int32_data, n, entry, to);
        break;
    }
    return ok ? NULL : dims_error(s, p, what, STATUS_INVALID, "a number does not fit in its element type");
}

Status source_tensor(TensorSource *s, const Onnx__TensorProto *p, const char *what, Tensor *out) {
    Tensor t;
    TRY(read_shape(s, p, what, &t));
    const char *location = external_location(p);
    Status status = NULL;
    if (location) {
        status = read_external(s, p, location, what, &t);
    } else if (p->has_raw_data) {
        WireRange r = wire_raw_data(s->ranges, p);
        if (r.size != t.bytes) return size_error(s, p, what, &t, r.size, "bytes");
        status = take_bytes(s->bytes, s->data, r.offset, r.size, &t);
    } else {
        status = read_typed(s, p, what, &t);
    }
    if (status)
        tensor_free(&t);
    else
        *out = t;
    return status;
}

void source_free(TensorSource *s) {
    for (size_t i = 0; i < s->n_external; i++) {
        mem_free(s->external[i].location);
        blob_unref(s->external[i].bytes);
    }
    mem_free(s->external);
    s->external = NULL;
    s->n_external = 0;
    blob_unref(s->bytes);
    s->bytes = NULL;
}

/* ---- sparse tensors ---- */

/* Flat positions: indices is [n] (flat) or [n, rank]. */
static bool sparse_position(const Tensor *indices, const Tensor *dense, int64_t k, int64_t *out) {
    int64_t flat = 0;
    if (indices->rank == 1) {
        flat = tensor_get_i64(indices, k);
    } else {
        for (int d = 0; d < dense->rank; d++) {
            int64_t i = tensor_get_i64(indices, k * dense->rank + d);
            if (i < 0 || i >= dense->dims[d]) return false;
            flat = flat * dense->dims[d] + i;
        }
    }
    *out = flat;
    return flat >= 0 && flat < tensor_count(dense);
}

static Status scatter_sparse(const TensorSource *s, const char *name, const Tensor *values, const Tensor *indices,
                             Tensor *out) {
    int64_t n = tensor_count(values), at;
    size_t width = (size_t)elem_bits(values->elem) / 8;
    bool ok = values->rank == 1 && indices->elem == ELEM_I64 && width && indices->dims[0] == n &&
              (indices->rank == 1 || (indices->rank == 2 && indices->dims[1] == out->rank));
    for (int64_t k = 0; ok && k < n; k++) {
        ok = sparse_position(indices, out, k, &at);
        if (ok) memcpy(out->data + (size_t)at * width, values->data + (size_t)k * width, width);
    }
    return ok ? NULL
              : status_make(STATUS_INVALID, "%s: sparse tensor '%s': its indices do not fit its values and shape",
                            s->file, name);
}

Status source_sparse(TensorSource *s, const Onnx__SparseTensorProto *p, Tensor *out) {
    if (!p->values || !p->indices)
        return status_make(STATUS_INVALID, "%s: a sparse tensor lacks values or indices", s->file);
    if (p->n_dims > MAX_RANK)
        return status_make(STATUS_UNSUPPORTED, "%s: sparse tensor '%s' has more than %d dimensions", s->file,
                           tensor_name(p->values), MAX_RANK);
    Tensor values = {0}, indices = {0};
    Status status;
    *out = (Tensor){0};
    TRY_GOTO(source_tensor(s, p->values, "sparse tensor", &values), done);
    TRY_GOTO(source_tensor(s, p->indices, "indices of sparse tensor", &indices), done);
    TRY_GOTO(tensor_new(out, values.elem, (int)p->n_dims, p->dims), done);
    TRY_GOTO(scatter_sparse(s, tensor_name(p->values), &values, &indices, out), done);
done:
    tensor_free(&values);
    tensor_free(&indices);
    if (status) tensor_free(out);
    return status;
}
