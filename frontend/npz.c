/* Reading .npz archives through libzip. */
#include "frontend/npz.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

/* Deflate cannot pack more than this many bytes into one (zlib's technical notes). */
static const uint64_t MAX_DEFLATE_RATIO = 1032;

typedef struct Member {
    char *name; /* without ".npy" */
    uint64_t index;
    uint64_t size;
    bool stored;
} Member;

struct Npz {
    char *path;
    zip_t *zip;
    Member *members;
    int n;
};

static Status check_member(const Npz *z, const zip_stat_t *st) {
    zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if ((st->valid & needed) != needed)
        return status_make(STATUS_INVALID, "%s: broken zip archive: a member lacks its size", z->path);
    if ((st->valid & ZIP_STAT_ENCRYPTION_METHOD) && st->encryption_method != ZIP_EM_NONE)
        return status_make(STATUS_UNSUPPORTED, "%s: '%s' is encrypted", z->path, st->name);
    if (st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE)
        return status_make(STATUS_UNSUPPORTED,
                           "%s: '%s': expected a stored or deflated member, found compression method %d", z->path,
                           st->name, (int)st->comp_method);
    bool stored = st->comp_method == ZIP_CM_STORE;
    uint64_t most = st->comp_size;
    if (!stored && __builtin_mul_overflow(most, MAX_DEFLATE_RATIO, &most)) most = UINT64_MAX;
    if (stored ? st->size != st->comp_size : st->size > most)
        return status_make(STATUS_INVALID, "%s: '%s': %llu stored bytes cannot hold the %llu declared", z->path,
                           st->name, (unsigned long long)st->comp_size, (unsigned long long)st->size);
    return NULL;
}

static Status list_members(Npz *z) {
    zip_int64_t entries = zip_get_num_entries(z->zip, 0);
    if (entries < 0 || entries > INT32_MAX) return status_make(STATUS_INVALID, "%s: too many members", z->path);
    TRY_ALLOC(z->members = mem_zalloc((size_t)entries * sizeof *z->members));
    for (zip_int64_t i = 0; i < entries; i++) {
        zip_stat_t st;
        zip_stat_init(&st);
        if (zip_stat_index(z->zip, (zip_uint64_t)i, 0, &st) != 0)
            return status_make(STATUS_INVALID, "%s: broken zip archive: %s", z->path, zip_strerror(z->zip));
        size_t length = st.name ? strlen(st.name) : 0;
        if (length < 4 || strcmp(st.name + length - 4, ".npy") != 0) continue;
        TRY(check_member(z, &st));
        Member *m = &z->members[z->n];
        TRY_ALLOC(m->name = mem_strdup(st.name));
        z->n++;
        m->name[length - 4] = 0;
        m->index = (uint64_t)i;
        m->size = st.size;
        m->stored = st.comp_method == ZIP_CM_STORE;
        for (int j = 0; j + 1 < z->n; j++)
            if (strcmp(z->members[j].name, m->name) == 0)
                return status_make(STATUS_INVALID, "%s: array '%s' is there twice", z->path, m->name);
    }
    return NULL;
}

static Status open_zip(Npz *z) {
    FILE *probe = fopen(z->path, "rbe");
    if (!probe) return status_make(STATUS_ENVIRONMENT, "%s: cannot be opened: %s", z->path, strerror(errno));
    fclose(probe);
    int code = 0;
    z->zip = zip_open(z->path, ZIP_RDONLY, &code);
    if (!z->zip) {
        zip_error_t e;
        zip_error_init_with_code(&e, code);
        StatusCode kind = code == ZIP_ER_MEMORY || code == ZIP_ER_READ ? STATUS_ENVIRONMENT : STATUS_INVALID;
        Status status = status_make(kind, "%s: expected a .npz (zip) archive: %s", z->path, zip_error_strerror(&e));
        zip_error_fini(&e);
        return status;
    }
    return list_members(z);
}

Status npz_open(const char *path, Npz **out) {
    *out = NULL;
    Npz *z = mem_zalloc(sizeof *z);
    if (!z) return status_oom();
    z->path = mem_strdup(path);
    Status status = z->path ? open_zip(z) : status_oom();
    if (status)
        npz_close(z);
    else
        *out = z;
    return status;
}

void npz_close(Npz *z) {
    if (!z) return;
    for (int i = 0; i < z->n; i++) mem_free(z->members[i].name);
    mem_free(z->members);
    if (z->zip) zip_discard(z->zip);
    mem_free(z->path);
    mem_free(z);
}

int npz_count(const Npz *z) { return z->n; }
const char *npz_name(const Npz *z, int i) { return z->members[i].name; }

int npz_find(const Npz *z, const char *name) {
    for (int i = 0; i < z->n; i++)
        if (strcmp(z->members[i].name, name) == 0) return i;
    return -1;
}

const char *npz_names(const Npz *z, char *buf, size_t cap) {
    size_t at = 0;
    if (cap) buf[0] = 0;
    for (int i = 0; i < z->n && at < cap; i++) {
        int n = snprintf(buf + at, cap - at, "%s%s", i ? ", " : "", z->members[i].name);
        at += n > 0 ? (size_t)n : 0;
    }
    return buf;
}

/* One member, opened as a stream. */
typedef struct Stream {
    const Npz *z;
    const Member *m;
    zip_file_t *file; /* NULL until the first read */
    uint64_t at;
} Stream;

static Status stream_error(const Stream *s) {
    const char *why = s->file ? zip_file_strerror(s->file) : zip_strerror(s->z->zip);
    return status_make(STATUS_INVALID, "%s: array '%s' is damaged: %s", s->z->path, s->m->name, why);
}

static Status stream_restart(Stream *s) {
    if (s->file) zip_fclose(s->file);
    s->file = zip_fopen_index(s->z->zip, s->m->index, 0);
    s->at = 0;
    return s->file ? NULL : stream_error(s);
}

static Status stream_take(Stream *s, void *dst, size_t n) {
    for (char *to = dst; n;) {
        zip_int64_t got = zip_fread(s->file, to, n);
        if (got < 0) return stream_error(s);
        if (got == 0)
            return status_make(STATUS_INVALID, "%s: array '%s' is truncated: expected %llu bytes, found %llu",
                               s->z->path, s->m->name, (unsigned long long)s->m->size, (unsigned long long)s->at);
        to += got;
        n -= (size_t)got;
        s->at += (uint64_t)got;
    }
    return NULL;
}

static Status stream_read(void *ctx, size_t offset, void *dst, size_t n) {
    Stream *s = ctx;
    if (!s->file || (!s->m->stored && offset < s->at)) TRY(stream_restart(s));
    if (s->m->stored && offset != s->at) {
        if (zip_fseek(s->file, (zip_int64_t)offset, SEEK_SET) != 0) return stream_error(s);
        s->at = offset;
    }
    char skipped[8192];
    while (s->at < offset) {
        uint64_t left = offset - s->at;
        TRY(stream_take(s, skipped, left < sizeof skipped ? (size_t)left : sizeof skipped));
    }
    TRY(stream_take(s, dst, n));
    if (s->at < s->m->size) return NULL;
    /* Only a read past the end makes libzip compare the checksum. */
    zip_int64_t more = zip_fread(s->file, skipped, 1);
    if (more < 0) return stream_error(s);
    if (more > 0)
        return status_make(STATUS_INVALID, "%s: array '%s' is damaged: longer than the %llu bytes declared", s->z->path,
                           s->m->name, (unsigned long long)s->m->size);
    return NULL;
}

static void stream_close(void *ctx) {
    Stream *s = ctx;
    if (s->file) zip_fclose(s->file);
    mem_free(s);
}

Status npz_array(Npz *z, int i, NpyArray *out) {
    *out = (NpyArray){0};
    const Member *m = &z->members[i];
    char what[512];
    snprintf(what, sizeof what, "%s: array '%s'", z->path, m->name);
    if (m->size > SIZE_MAX) return status_make(STATUS_UNSUPPORTED, "%s is too large for this machine", what);
    Stream *s = mem_alloc(sizeof *s);
    if (!s) return status_oom();
    *s = (Stream){z, m, NULL, 0};
    return npy_open_source((ByteSource){stream_read, stream_close, s, (size_t)m->size}, what, out);
}
