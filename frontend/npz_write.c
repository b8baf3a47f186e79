/* Writing .npz archives: arrays grow row by row in spools, libzip packs them at the end. */
#include "frontend/npz.h"
#include "ir/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zip.h>

enum { SPOOL_BUFFER = 1 << 20 };

/* Bytes of one array: header, then what was spilled to a file, then what is still in memory. */
typedef struct Spool {
    char *name; /* of the member, with ".npy" */
    ElemType elem;
    int rank;
    int64_t dims[NPY_MAX_RANK];
    Buf header, memory;
    int fd; /* -1 until something was spilled */
    size_t spilled;
} Spool;

/* One reading of a spool by libzip. */
typedef struct SpoolReader {
    const Spool *spool;
    size_t at;
    zip_error_t error;
} SpoolReader;

/* The archive in the making: an unlinked file that libzip reads and writes. */
typedef struct Target {
    int fd;
    size_t size, read_at, write_at;
    zip_error_t error;
} Target;

struct NpzWriter {
    char *path;
    bool deflate;
    Spool *spools;
    int n, cap;
};

/* An unlinked temporary file beside `path`, else where the system keeps such files (when `path` is a device). */
static Status temporary_file(const char *path, int *fd) {
    const char *system = getenv("TMPDIR");
    char *folder = file_sibling(path, ".");
    if (!folder) return status_oom();
    *fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    mem_free(folder);
    char *name = *fd < 0 ? file_sibling(path, ".npz-XXXXXX") : NULL;
    if (name) {
        *fd = mkostemp(name, O_CLOEXEC);
        if (*fd >= 0) unlink(name);
        mem_free(name);
    }
    if (*fd < 0) *fd = open(system ? system : P_tmpdir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (*fd < 0) return status_make(STATUS_ENVIRONMENT, "%s: no temporary file beside it: %s", path, strerror(errno));
    return NULL;
}

static bool write_fully(int fd, const void *data, size_t n, size_t offset) {
    for (const char *from = data; n;) {
        ssize_t done = pwrite(fd, from, n, (off_t)offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return false;
        from += done;
        offset += (size_t)done;
        n -= (size_t)done;
    }
    return true;
}

Status npz_writer_open(const char *path, bool deflate, NpzWriter **out) {
    *out = NULL;
    NpzWriter *w = mem_zalloc(sizeof *w);
    if (!w) return status_oom();
    w->deflate = deflate;
    w->path = mem_strdup(path);
    if (!w->path) {
        mem_free(w);
        return status_oom();
    }
    *out = w;
    return NULL;
}

void npz_writer_abort(NpzWriter *w) {
    if (!w) return;
    for (int i = 0; i < w->n; i++) {
        Spool *s = &w->spools[i];
        mem_free(s->name);
        buf_free(&s->header);
        buf_free(&s->memory);
        if (s->fd >= 0) close(s->fd);
    }
    mem_free(w->spools);
    mem_free(w->path);
    mem_free(w);
}

static Status new_spool(NpzWriter *w, const char *name, const Tensor *t, Spool **out) {
    if (w->n == w->cap) {
        int cap = w->cap ? 2 * w->cap : 4;
        Spool *grown = mem_realloc(w->spools, (size_t)cap * sizeof *grown);
        if (!grown) return status_oom();
        w->spools = grown;
        w->cap = cap;
    }
    size_t n = strlen(name);
    Spool *s = &w->spools[w->n];
    *s = (Spool){.elem = t->elem, .rank = t->rank, .fd = -1};
    if (elem_bits(t->elem) == 0)
        return status_make(STATUS_UNSUPPORTED, "%s: '%s' has element type %s, which .npz files here do not hold",
                           w->path, name, elem_name(t->elem));
    TRY_ALLOC(s->name = mem_alloc(n + 5));
    memcpy(s->name, name, n);
    memcpy(s->name + n, ".npy", 5);
    memcpy(s->dims, t->dims, (size_t)t->rank * sizeof *s->dims);
    w->n++;
    *out = s;
    return NULL;
}

static Spool *find_spool(NpzWriter *w, const char *name) {
    size_t n = strlen(name);
    for (int i = 0; i < w->n; i++)
        if (strncmp(w->spools[i].name, name, n) == 0 && strcmp(w->spools[i].name + n, ".npy") == 0)
            return &w->spools[i];
    return NULL;
}

static Status spool_flush(const NpzWriter *w, Spool *s) {
    if (s->fd < 0) TRY(temporary_file(w->path, &s->fd));
    if (!write_fully(s->fd, s->memory.data, s->memory.len, s->spilled))
        return status_make(STATUS_ENVIRONMENT, "%s: temporary file beside it cannot be written: %s", w->path,
                           strerror(errno));
    s->spilled += s->memory.len;
    s->memory.len = 0;
    return NULL;
}

static Status spool_bytes(const NpzWriter *w, Spool *s, const Tensor *t) {
    int64_t count = tensor_count(t);
    if (elem_bits(t->elem) >= 8) {
        for (size_t at = 0; at < t->bytes;) {
            size_t n = t->bytes - at < SPOOL_BUFFER ? t->bytes - at : SPOOL_BUFFER;
            buf_append(&s->memory, t->data + at, n);
            at += n;
            if (s->memory.failed) return status_oom();
            if (s->memory.len >= SPOOL_BUFFER) TRY(spool_flush(w, s));
        }
        return NULL;
    }
    /* NumPy has no packed elements: one byte each. */
    unsigned bits = (unsigned)elem_bits(t->elem), mask = (1u << bits) - 1;
    for (int64_t i = 0; i < count; i++) {
        uint64_t at = (uint64_t)i * bits;
        uint8_t v = (uint8_t)((unsigned)t->data[at / 8] >> (at % 8) & mask);
        if (elem_is_int(t->elem) && elem_is_signed(t->elem)) v = (uint8_t)(int8_t)tensor_get_i64(t, i);
        buf_append(&s->memory, &v, 1);
        if (s->memory.failed) return status_oom();
        if (s->memory.len >= SPOOL_BUFFER) TRY(spool_flush(w, s));
    }
    return NULL;
}

Status npz_write(NpzWriter *w, const char *name, const Tensor *t) {
    Spool *s = NULL;
    if (find_spool(w, name)) return status_make(STATUS_INVALID, "%s: array '%s' written twice", w->path, name);
    TRY(new_spool(w, name, t, &s));
    return spool_bytes(w, s, t);
}

Status npz_append(NpzWriter *w, const char *name, const Tensor *t) {
    Spool *s = find_spool(w, name);
    int64_t rows = t->rank ? t->dims[0] : 1;
    if (!s) {
        TRY(new_spool(w, name, t, &s));
        s->rank = t->rank ? t->rank : 1;
        s->dims[0] = 0;
    }
    bool same = s->elem == t->elem && s->rank == (t->rank ? t->rank : 1);
    for (int i = 1; same && i < s->rank; i++) same = s->dims[i] == t->dims[i];
    if (!same) {
        char text[160];
        return status_make(STATUS_INVALID,
                           "%s: array '%s': rows differ in type or shape, found %s: write such outputs "
                           "one sample at a time",
                           w->path, name, tensor_describe(t, text, sizeof text));
    }
    if (__builtin_add_overflow(s->dims[0], rows, &s->dims[0]))
        return status_make(STATUS_INVALID, "%s: array '%s': too many rows", w->path, name);
    return spool_bytes(w, s, t);
}

static zip_int64_t fill_stat(void *data, zip_uint64_t len, size_t size, zip_error_t *error) {
    zip_stat_t *st = ZIP_SOURCE_GET_ARGS(zip_stat_t, data, len, error);
    if (!st) return -1;
    zip_stat_init(st);
    st->size = size;
    st->valid = ZIP_STAT_SIZE;
    return sizeof *st;
}

static size_t spool_size(const Spool *s) { return s->header.len + s->spilled + s->memory.len; }

static zip_int64_t spool_read(SpoolReader *r, char *dst, size_t n) {
    const Spool *s = r->spool;
    size_t left = spool_size(s) - r->at, start = s->header.len, tail = start + s->spilled;
    if (n > left) n = left;
    if (n == 0) return 0;
    if (r->at < start) {
        n = n < start - r->at ? n : start - r->at;
        memcpy(dst, s->header.data + r->at, n);
    } else if (r->at < tail) {
        n = n < tail - r->at ? n : tail - r->at;
        ssize_t got = pread(s->fd, dst, n, (off_t)(r->at - start));
        if (got <= 0) {
            zip_error_set(&r->error, ZIP_ER_READ, errno);
            return -1;
        }
        n = (size_t)got;
    } else {
        memcpy(dst, s->memory.data + (r->at - tail), n);
    }
    r->at += n;
    return (zip_int64_t)n;
}

static zip_int64_t spool_source(void *ctx, void *data, zip_uint64_t len, zip_source_cmd_t command) {
    SpoolReader *r = ctx;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        r->at = 0;
        return 0;
    case ZIP_SOURCE_READ:
        return spool_read(r, data, len);
    case ZIP_SOURCE_CLOSE:
        return 0;
    case ZIP_SOURCE_STAT:
        return fill_stat(data, len, spool_size(r->spool), &r->error);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&r->error, data, len);
    case ZIP_SOURCE_FREE:
        mem_free(r);
        return 0;
    case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_READABLE;
    default:
        zip_error_set(&r->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

static zip_int64_t target_seek(Target *t, size_t *position, void *data, zip_uint64_t len) {
    zip_int64_t to = zip_source_seek_compute_offset(*position, t->size, data, len, &t->error);
    if (to < 0) return -1;
    *position = (size_t)to;
    return 0;
}

static zip_int64_t target_read(Target *t, void *dst, size_t n) {
    ssize_t got = pread(t->fd, dst, n, (off_t)t->read_at);
    if (got < 0) {
        zip_error_set(&t->error, ZIP_ER_READ, errno);
        return -1;
    }
    t->read_at += (size_t)got;
    return got;
}

static zip_int64_t target_write(Target *t, const void *src, size_t n) {
    if (!write_fully(t->fd, src, n, t->write_at)) {
        zip_error_set(&t->error, ZIP_ER_WRITE, errno);
        return -1;
    }
    t->write_at += n;
    if (t->write_at > t->size) t->size = t->write_at;
    return (zip_int64_t)n;
}

static zip_int64_t target_source(void *ctx, void *data, zip_uint64_t len, zip_source_cmd_t command) {
    Target *t = ctx;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        t->read_at = 0;
        return 0;
    case ZIP_SOURCE_READ:
        return target_read(t, data, len);
    case ZIP_SOURCE_STAT:
        return fill_stat(data, len, t->size, &t->error);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&t->error, data, len);
    case ZIP_SOURCE_SEEK:
        return target_seek(t, &t->read_at, data, len);
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)t->read_at;
    case ZIP_SOURCE_BEGIN_WRITE:
        t->write_at = 0;
        return 0;
    case ZIP_SOURCE_WRITE:
        return target_write(t, data, len);
    case ZIP_SOURCE_SEEK_WRITE:
        return target_seek(t, &t->write_at, data, len);
    case ZIP_SOURCE_TELL_WRITE:
        return (zip_int64_t)t->write_at;
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
    case ZIP_SOURCE_COMMIT_WRITE:
    case ZIP_SOURCE_ROLLBACK_WRITE:
    case ZIP_SOURCE_REMOVE:
        return 0;
    case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_WRITABLE;
    default:
        zip_error_set(&t->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

static Status zip_failure(const NpzWriter *w, zip_error_t *e) {
    return status_make(STATUS_ENVIRONMENT, "%s: the archive cannot be written: %s", w->path, zip_error_strerror(e));
}

static Status add_member(NpzWriter *w, zip_t *zip, Spool *s) {
    npy_write_header(&s->header, s->elem, s->rank, s->dims);
    if (s->header.failed) return status_oom();
    SpoolReader *r = mem_alloc(sizeof *r);
    if (!r) return status_oom();
    *r = (SpoolReader){.spool = s};
    zip_error_init(&r->error);
    zip_source_t *source = zip_source_function(zip, spool_source, r);
    if (!source) {
        mem_free(r);
        return zip_failure(w, zip_get_error(zip));
    }
    zip_int64_t index = zip_file_add(zip, s->name, source, ZIP_FL_ENC_UTF_8);
    if (index < 0) {
        zip_source_free(source);
        return zip_failure(w, zip_get_error(zip));
    }
    /* The first day that zip files know: same content, same bytes. */
    enum { DOS_1980_01_01 = 0x21 };
    zip_int32_t method = w->deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE;
    if (zip_file_set_dostime(zip, (zip_uint64_t)index, 0, DOS_1980_01_01, 0) != 0 ||
        zip_set_file_compression(zip, (zip_uint64_t)index, method, 0) != 0)
        return zip_failure(w, zip_get_error(zip));
    return NULL;
}

static Status pack(NpzWriter *w, Target *t) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *target = zip_source_function_create(target_source, t, &error);
    zip_t *zip = target ? zip_open_from_source(target, ZIP_CREATE | ZIP_TRUNCATE, &error) : NULL;
    Status status = NULL;
    if (!zip) {
        status = zip_failure(w, &error);
        zip_source_free(target);
        zip_error_fini(&error);
        return status;
    }
    for (int i = 0; i < w->n && !status; i++) status = add_member(w, zip, &w->spools[i]);
    if (!status && zip_close(zip) == 0) return NULL;
    if (!status) status = zip_failure(w, zip_get_error(zip));
    zip_discard(zip);
    return status;
}

/* An empty archive: what libzip does not write. */
static const uint8_t EMPTY_ZIP[22] = {'P', 'K', 5, 6};

static Status publish(const NpzWriter *w, const Target *t) {
    if (w->n == 0) return file_write_atomic(w->path, &(FilePart){EMPTY_ZIP, sizeof EMPTY_ZIP}, 1);
    void *bytes = mmap(NULL, t->size, PROT_READ, MAP_PRIVATE, t->fd, 0);
    if (bytes == MAP_FAILED)
        return status_make(STATUS_ENVIRONMENT, "%s: the archive cannot be mapped: %s", w->path, strerror(errno));
    Status status = file_write_atomic(w->path, &(FilePart){bytes, t->size}, 1);
    munmap(bytes, t->size);
    return status;
}

Status npz_writer_close(NpzWriter *w) {
    Target t = {.fd = -1};
    zip_error_init(&t.error);
    Status status = temporary_file(w->path, &t.fd);
    if (!status && w->n > 0) status = pack(w, &t);
    if (!status) status = publish(w, &t);
    if (t.fd >= 0) close(t.fd);
    npz_writer_abort(w);
    return status;
}

Status npy_write(const char *path, const Tensor *t) {
    if (elem_bits(t->elem) < 8)
        return status_make(STATUS_UNSUPPORTED, "%s: .npy files do not hold %s", path, elem_name(t->elem));
    Buf header = {0};
    npy_write_header(&header, t->elem, t->rank, t->dims);
    FilePart parts[2] = {{header.data, header.len}, {t->data, t->bytes}};
    Status status = header.failed ? status_oom() : file_write_atomic(path, parts, 2);
    buf_free(&header);
    return status;
}
