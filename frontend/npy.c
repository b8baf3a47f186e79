#include "frontend/npy.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PREFIX = 12,         /* magic, version and the longer form of the header's length */
    MAX_HEADER = 1 << 16 /* NumPy itself refuses headers beyond 10,000 characters */
};
static const size_t MAX_RESIDENT = (size_t)4 << 30; /* Fortran-ordered arrays are transposed in memory */

/* Rows of the element types that NumPy has: kind, bytes, type. */
static const struct {
    char kind;
    int bytes;
    ElemType elem;
} DTYPES[] = {{'b', 1, ELEM_BOOL},
              {'u', 1, ELEM_U8},
              {'i', 1, ELEM_I8},
              {'u', 2, ELEM_U16},
              {'i', 2, ELEM_I16},
              {'u', 4, ELEM_U32},
              {'i', 4, ELEM_I32},
              {'u', 8, ELEM_U64},
              {'i', 8, ELEM_I64},
              {'f', 2, ELEM_F16},
              {'f', 4, ELEM_F32},
              {'f', 8, ELEM_F64},
              {'c', 8, ELEM_C64},
              {'c', 16, ELEM_C128},
              /* Raw bits: bfloat16 and the float8 types as ml_dtypes stores them. */
              {'V', 1, ELEM_UNDEFINED},
              {'V', 2, ELEM_UNDEFINED},
              {'f', 1, ELEM_UNDEFINED}};
enum { N_DTYPES = sizeof DTYPES / sizeof *DTYPES };

/* The header is a Python dictionary literal; the cursor never passes its end. */
typedef struct Cursor {
    const char *at, *end;
    const char *what;
} Cursor;

static Status header_error(const Cursor *c, const char *expected) {
    int n = c->end - c->at > 24 ? 24 : (int)(c->end - c->at);
    return status_make(STATUS_INVALID, "%s: broken .npy header: expected %s, found '%.*s'", c->what, expected, n,
                       c->at);
}

static void skip_space(Cursor *c) {
    while (c->at < c->end && isspace((unsigned char)*c->at)) c->at++;
}

static bool take(Cursor *c, char ch) {
    skip_space(c);
    if (c->at == c->end || *c->at != ch) return false;
    c->at++;
    return true;
}

static bool take_word(Cursor *c, const char *word) {
    skip_space(c);
    size_t n = strlen(word);
    if ((size_t)(c->end - c->at) < n || memcmp(c->at, word, n) != 0) return false;
    c->at += n;
    return true;
}

static Status take_string(Cursor *c, char *out, size_t cap) {
    skip_space(c);
    char quote = c->at < c->end ? *c->at : 0;
    if (quote != '\'' && quote != '"') return header_error(c, "a quoted string");
    const char *start = ++c->at;
    while (c->at < c->end && *c->at != quote) c->at++;
    size_t n = (size_t)(c->at - start);
    if (c->at == c->end || n >= cap) return header_error(c, "a short quoted string");
    c->at++;
    memcpy(out, start, n);
    out[n] = 0;
    return NULL;
}

static Status take_shape(Cursor *c, NpyHeader *h) {
    if (!take(c, '(')) return header_error(c, "'(' of the shape");
    h->rank = 0;
    while (!take(c, ')')) {
        int64_t dim = 0;
        const char *start = c->at;
        for (; c->at < c->end && isdigit((unsigned char)*c->at); c->at++)
            if (__builtin_mul_overflow(dim, 10, &dim) || __builtin_add_overflow(dim, *c->at - '0', &dim))
                return header_error(c, "a dimension below 2^63");
        if (c->at == start) return header_error(c, "a dimension");
        (void)take(c, 'L'); /* Python 2 wrote long integers so */
        if (h->rank == NPY_MAX_RANK)
            return status_make(STATUS_UNSUPPORTED, "%s: expected at most %d dimensions, found more", c->what,
                               NPY_MAX_RANK);
        h->dims[h->rank++] = dim;
        if (take(c, ',')) continue;
        if (take(c, ')')) break;
        return header_error(c, "',' or ')' in the shape");
    }
    return NULL;
}

static Status set_type(NpyHeader *h, const char *what) {
    char order = h->descr[0], kind = h->descr[1];
    char *end;
    long bytes = strtol(h->descr + (strlen(h->descr) > 2 ? 2 : strlen(h->descr)), &end, 10);
    if (strchr("SUaO", kind) && kind)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: arrays of strings or objects ('%s') cannot be model inputs: "
                           "expected numbers",
                           what, h->descr);
    for (int i = 0; i < N_DTYPES && *end == 0 && strchr("<>|=", order); i++)
        if (DTYPES[i].kind == kind && DTYPES[i].bytes == bytes) {
            h->elem = DTYPES[i].elem;
            h->item_bytes = DTYPES[i].bytes;
            h->swap = order == '>' && bytes > 1;
            return NULL;
        }
    return status_make(STATUS_UNSUPPORTED,
                       "%s: element type '%s' is not supported: expected bool, integers, float16, float32, float64, "
                       "complex, or 1- or 2-byte raw values",
                       what, h->descr);
}

static Status parse_entry(Cursor *c, NpyHeader *h, unsigned *seen) {
    char key[24];
    TRY(take_string(c, key, sizeof key));
    if (!take(c, ':')) return header_error(c, "':'");
    unsigned bit;
    if (strcmp(key, "descr") == 0) {
        bit = 1;
        skip_space(c);
        if (c->at < c->end && *c->at == '[')
            return status_make(STATUS_UNSUPPORTED,
                               "%s: records (structured arrays) cannot be model inputs: expected "
                               "one element type",
                               c->what);
        TRY(take_string(c, h->descr, sizeof h->descr));
    } else if (strcmp(key, "fortran_order") == 0) {
        bit = 2;
        h->fortran = take_word(c, "True");
        if (!h->fortran && !take_word(c, "False")) return header_error(c, "True or False");
    } else if (strcmp(key, "shape") == 0) {
        bit = 4;
        TRY(take_shape(c, h));
    } else {
        return header_error(c, "'descr', 'fortran_order' or 'shape' before this");
    }
    if (*seen & bit) return header_error(c, "each key once");
    *seen |= bit;
    return NULL;
}

static Status parse_dictionary(Cursor *c, NpyHeader *h) {
    unsigned seen = 0;
    if (!take(c, '{')) return header_error(c, "'{'");
    while (!take(c, '}')) {
        TRY(parse_entry(c, h, &seen));
        if (take(c, ',')) continue;
        if (take(c, '}')) break;
        return header_error(c, "',' or '}'");
    }
    if (seen != 7) return header_error(c, "descr, fortran_order and shape before the end");
    return NULL;
}

static uint32_t little(const uint8_t *p, int n) {
    uint32_t v = 0;
    for (int i = 0; i < n; i++) v |= (uint32_t)p[i] << (8 * i);
    return v;
}

static size_t length_bytes(const uint8_t *first) {
    if (memcmp(first, "\x93NUMPY", 6) != 0 || first[6] < 1 || first[6] > 3) return 0;
    return first[6] == 1 ? 2 : 4;
}

size_t npy_header_bytes(const uint8_t first[12]) {
    size_t n = length_bytes(first);
    return n ? 8 + n + little(first + 8, (int)n) : 0;
}

Status npy_parse(const uint8_t *data, size_t size, const char *what, NpyHeader *out) {
    *out = (NpyHeader){0};
    size_t bytes = size >= PREFIX ? npy_header_bytes(data) : 0;
    if (!bytes) return status_make(STATUS_INVALID, "%s: expected a .npy array, found other content", what);
    if (bytes > size || bytes > MAX_HEADER)
        return status_make(STATUS_INVALID, "%s: truncated .npy header: expected %zu bytes, found %zu", what, bytes,
                           size);
    const char *text = (const char *)data;
    Cursor c = {text + 8 + length_bytes(data), text + bytes, what};
    TRY(parse_dictionary(&c, out));
    TRY(set_type(out, what));
    int64_t count = 1;
    bool fits = true, empty = false;
    int long_axes = 0;
    for (int i = 0; i < out->rank; i++) {
        empty |= out->dims[i] == 0;
        long_axes += out->dims[i] > 1;
    }
    for (int i = 0; i < out->rank && !empty; i++) fits &= !__builtin_mul_overflow(count, out->dims[i], &count);
    out->count = empty ? 0 : count;
    fits = fits && size_mul((size_t)out->count, (size_t)out->item_bytes, &out->bytes);
    if (!fits || out->bytes > PTRDIFF_MAX - MAX_HEADER)
        return status_make(STATUS_INVALID, "%s: the shape's size overflows", what);
    if (long_axes < 2) out->fortran = false;
    out->offset = bytes;
    return NULL;
}

void npy_write_header(Buf *b, ElemType elem, int rank, const int64_t *dims) {
    char descr[8] = "|V1";
    int bits = elem_bits(elem);
    if (bits == 16) memcpy(descr, "<V2", 4);
    if (bits < 8) memcpy(descr, elem_is_float(elem) ? "|V1" : elem_is_signed(elem) ? "|i1" : "|u1", 4);
    for (int i = 0; i < N_DTYPES; i++)
        if (DTYPES[i].elem == elem && elem != ELEM_UNDEFINED)
            snprintf(descr, sizeof descr, "%c%c%d", DTYPES[i].bytes == 1 ? '|' : '<', DTYPES[i].kind, DTYPES[i].bytes);
    char text[64 + 24 * NPY_MAX_RANK];
    size_t n = (size_t)snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < rank; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%lld%s", (long long)dims[i],
                              rank == 1      ? ","
                              : i + 1 < rank ? ", "
                                             : "");
    n += (size_t)snprintf(text + n, sizeof text - n, "), }");
    /* Spaces and a newline put the data on a multiple of 64 bytes. */
    size_t total = (10 + n + 1 + 63) / 64 * 64;
    uint8_t prefix[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)(total - 10), (uint8_t)((total - 10) >> 8)};
    buf_append(b, prefix, sizeof prefix);
    buf_append(b, text, n);
    for (size_t i = 10 + n; i + 1 < total; i++) buf_append(b, " ", 1);
    buf_append(b, "\n", 1);
}

/* C order from Fortran order: element e of the result from its place in `src`. */
static void transpose(const NpyHeader *h, const uint8_t *src, uint8_t *dst) {
    int64_t index[NPY_MAX_RANK] = {0}, stride[NPY_MAX_RANK] = {0}, at = 0;
    size_t item = (size_t)h->item_bytes;
    int64_t step = 1;
    for (int i = 0; i < h->rank; i++) {
        stride[i] = step;
        step *= h->dims[i];
    }
    for (int64_t e = 0; e < h->count; e++) {
        memcpy(dst + (size_t)e * item, src + (size_t)at * item, item);
        for (int i = h->rank - 1; i >= 0; i--) {
            at += stride[i];
            if (++index[i] < h->dims[i]) break;
            at -= stride[i] * h->dims[i];
            index[i] = 0;
        }
    }
}

static Status load_resident(NpyArray *a) {
    if (a->h.bytes > MAX_RESIDENT)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: a Fortran-ordered array of %zu bytes is too large: save it in C "
                           "order (numpy.ascontiguousarray)",
                           a->what, a->h.bytes);
    uint8_t *raw = mem_alloc(a->h.bytes);
    if (!raw) return status_oom();
    Status status = a->src.read(a->src.ctx, a->h.offset, raw, a->h.bytes);
    if (!status && !(a->resident = mem_alloc(a->h.bytes))) status = status_oom();
    if (!status) transpose(&a->h, raw, a->resident);
    mem_free(raw);
    return status;
}

static Status open_header(NpyArray *a) {
    uint8_t first[PREFIX];
    if (a->src.size < PREFIX)
        return status_make(STATUS_INVALID, "%s: expected a .npy array, found %zu bytes", a->what, a->src.size);
    TRY(a->src.read(a->src.ctx, 0, first, PREFIX));
    size_t bytes = npy_header_bytes(first);
    if (bytes < PREFIX || bytes > MAX_HEADER || bytes > a->src.size) return npy_parse(first, PREFIX, a->what, &a->h);
    uint8_t *header = mem_alloc(bytes);
    if (!header) return status_oom();
    memcpy(header, first, PREFIX);
    Status status = a->src.read(a->src.ctx, PREFIX, header + PREFIX, bytes - PREFIX);
    if (!status) status = npy_parse(header, bytes, a->what, &a->h);
    mem_free(header);
    if (status) return status;
    if (a->h.bytes > a->src.size - a->h.offset)
        return status_make(STATUS_INVALID, "%s: truncated: expected %zu bytes of data, found %zu", a->what, a->h.bytes,
                           a->src.size - a->h.offset);
    return a->h.fortran ? load_resident(a) : NULL;
}

Status npy_open_source(ByteSource src, const char *what, NpyArray *out) {
    *out = (NpyArray){.src = src, .what = mem_strdup(what)};
    Status status = out->what ? open_header(out) : status_oom();
    if (status) npy_close(out);
    return status;
}

void npy_close(NpyArray *a) {
    if (a->src.close) a->src.close(a->src.ctx);
    mem_free(a->what);
    mem_free(a->resident);
    *a = (NpyArray){0};
}

/* A file read by position. */
typedef struct FileCtx {
    int fd;
    char name[]; /* for messages */
} FileCtx;

static Status file_read_at(void *ctx, size_t offset, void *dst, size_t n) {
    FileCtx *f = ctx;
    char *to = dst;
    while (n) {
        ssize_t got = pread(f->fd, to, n < SSIZE_MAX ? n : SSIZE_MAX, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return status_make(STATUS_ENVIRONMENT, "%s: cannot be read: %s", f->name, strerror(errno));
        if (got == 0) return status_make(STATUS_ENVIRONMENT, "%s: became shorter while it was read", f->name);
        to += got;
        offset += (size_t)got;
        n -= (size_t)got;
    }
    return NULL;
}

static void file_close_ctx(void *ctx) {
    FileCtx *f = ctx;
    close(f->fd);
    mem_free(f);
}

Status npy_open(const char *path, NpyArray *out) {
    *out = (NpyArray){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = errno;
        if (fd >= 0) close(fd);
        return status_make(STATUS_ENVIRONMENT, "%s: cannot be opened: %s", path, strerror(e));
    }
    if (!S_ISREG(st.st_mode)) {
        close(fd);
        return status_make(STATUS_ENVIRONMENT, "%s: expected a regular file", path);
    }
    FileCtx *f = mem_alloc(sizeof *f + strlen(path) + 1);
    if (!f) {
        close(fd);
        return status_oom();
    }
    f->fd = fd;
    memcpy(f->name, path, strlen(path) + 1);
    return npy_open_source((ByteSource){file_read_at, file_close_ctx, f, (size_t)st.st_size}, path, out);
}

static void swap_items(uint8_t *p, size_t n, size_t item) {
    for (size_t i = 0; i < n; i++, p += item)
        for (size_t j = 0; j < item / 2; j++) {
            uint8_t t = p[j];
            p[j] = p[item - 1 - j];
            p[item - 1 - j] = t;
        }
}

Status npy_read(NpyArray *a, int64_t first, int64_t n, void *dst) {
    if (n == 0) return NULL;
    size_t item = (size_t)a->h.item_bytes, at = (size_t)first * item, bytes = (size_t)n * item;
    if (a->resident)
        memcpy(dst, a->resident + at, bytes);
    else
        TRY(a->src.read(a->src.ctx, a->h.offset + at, dst, bytes));
    /* Both halves of a complex number are swapped by themselves. */
    bool complex = a->h.elem == ELEM_C64 || a->h.elem == ELEM_C128;
    if (a->h.swap) swap_items(dst, (size_t)n * (complex ? 2 : 1), complex ? item / 2 : item);
    return NULL;
}

bool npy_matches(const NpyHeader *h, ElemType e) {
    if (h->elem != ELEM_UNDEFINED) return h->elem == e;
    bool numpy_lacks = e == ELEM_BF16 || (elem_is_float(e) && elem_bits(e) == 8);
    return numpy_lacks && elem_bits(e) == 8 * h->item_bytes;
}

Status npy_read_int64(NpyArray *a, int64_t **out) {
    *out = NULL;
    if (a->h.elem != ELEM_BOOL && !elem_is_int(a->h.elem)) {
        char text[160];
        return status_make(STATUS_INVALID, "%s: expected integers, found %s", a->what,
                           npy_describe(&a->h, text, sizeof text));
    }
    size_t bytes;
    Tensor t;
    if (!size_mul((size_t)a->h.count, sizeof **out, &bytes)) return status_oom();
    TRY(tensor_new(&t, a->h.elem, 1, &a->h.count));
    int64_t *values = mem_alloc(bytes);
    Status status = values ? npy_read(a, 0, a->h.count, t.data) : status_oom();
    for (int64_t i = 0; values && !status && i < a->h.count; i++) values[i] = tensor_get_i64(&t, i);
    tensor_free(&t);
    if (status)
        mem_free(values);
    else
        *out = values;
    return status;
}

const char *npy_describe(const NpyHeader *h, char *buf, size_t cap) {
    int n = snprintf(buf, cap, "%s[", h->elem == ELEM_UNDEFINED ? h->descr : elem_name(h->elem));
    for (int i = 0; i < h->rank && n >= 0 && (size_t)n < cap; i++)
        n += snprintf(buf + n, cap - (size_t)n, "%s%lld", i ? "," : "", (long long)h->dims[i]);
    if (n >= 0 && (size_t)n < cap) snprintf(buf + n, cap - (size_t)n, "]");
    return buf;
}
