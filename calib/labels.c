/* Labels from files, and folder listings. */
#include "calib/source.h"
#include "frontend/npz.h"
#include "ir/file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

void labels_free(LabelList *l) {
    for (int64_t i = 0; l->files && i < l->n; i++) mem_free(l->files[i]);
    mem_free(l->files);
    mem_free(l->labels);
    *l = (LabelList){0};
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && strcasecmp(s + n - m, end) == 0;
}

static Status from_array(NpyArray *a, LabelList *out) {
    out->n = a->h.count;
    Status status = npy_read_int64(a, &out->labels);
    npy_close(a);
    return status;
}

static Status load_npz(const char *path, LabelList *out) {
    Npz *z = NULL;
    TRY(npz_open(path, &z));
    int at = npz_find(z, "labels");
    if (at < 0 && npz_count(z) == 1) at = 0;
    NpyArray a;
    Status status = at < 0 ? status_make(STATUS_INVALID, "%s: expected an array 'labels'", path) : npz_array(z, at, &a);
    if (!status) status = from_array(&a, out);
    npz_close(z);
    return status;
}

/* One field of a line of comma-separated values; quotes may surround it ("" inside stands for one). */
typedef struct Field {
    const char *at;
    size_t n;
    bool quoted;
} Field;

enum { MAX_FIELDS = 16 };

static int split_line(const char *at, const char *end, Field *fields) {
    int n = 0;
    while (n < MAX_FIELDS) {
        while (at < end && *at == ' ') at++;
        Field f = {.at = at, .quoted = at < end && *at == '"'};
        if (f.quoted) {
            f.at = ++at;
            while (at < end && (*at != '"' || (at + 1 < end && at[1] == '"'))) at += *at == '"' ? 2 : 1;
            f.n = (size_t)(at - f.at);
            while (at < end && *at != ',') at++;
        } else {
            while (at < end && *at != ',') at++;
            f.n = (size_t)(at - f.at);
            while (f.n && isspace((unsigned char)f.at[f.n - 1])) f.n--;
        }
        fields[n++] = f;
        if (at >= end) break;
        at++;
    }
    return n;
}

static bool field_is(const Field *f, const char *word) {
    return f->n == strlen(word) && strncasecmp(f->at, word, f->n) == 0;
}

static bool field_number(const Field *f, int64_t *out) {
    char text[32], *end;
    if (f->n == 0 || f->n >= sizeof text) return false;
    memcpy(text, f->at, f->n);
    text[f->n] = 0;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return errno == 0 && *end == 0 && end != text;
}

static char *field_text(const Field *f) {
    char *text = mem_alloc(f->n + 1);
    size_t n = 0;
    for (size_t i = 0; text && i < f->n; i++) {
        text[n++] = f->at[i];
        if (f->quoted && f->at[i] == '"') i++;
    }
    if (text) text[n] = 0;
    return text;
}

/* Reader of a text of labels: columns by the header, or label | file,label without one. */
typedef struct Table {
    const char *path;
    int file, label; /* columns, -1 = none */
    int64_t line, cap;
    LabelList *out;
} Table;

static Status add_row(Table *t, const Field *fields, int n) {
    LabelList *l = t->out;
    int64_t label;
    if (t->label >= n || t->file >= n || !field_number(&fields[t->label], &label))
        return status_make(STATUS_INVALID, "%s: line %lld: expected %s, found '%.*s'", t->path, (long long)t->line,
                           t->file >= 0 ? "file,label with an integer label" : "an integer label",
                           (int)(fields[0].n < 80 ? fields[0].n : 80), fields[0].at);
    if (l->n == t->cap) {
        int64_t cap = t->cap ? 2 * t->cap : 256;
        int64_t *labels = mem_realloc(l->labels, (size_t)cap * sizeof *labels);
        if (!labels) return status_oom();
        l->labels = labels;
        if (t->file >= 0) {
            char **files = mem_realloc(l->files, (size_t)cap * sizeof *files);
            if (!files) return status_oom();
            l->files = files;
        }
        t->cap = cap;
    }
    if (t->file >= 0) TRY_ALLOC(l->files[l->n] = field_text(&fields[t->file]));
    l->labels[l->n++] = label;
    return NULL;
}

/* Sets the columns from the first line; *header says whether it was one. */
static Status read_header(Table *t, const Field *fields, int n, bool *header) {
    t->file = t->label = -1;
    *header = false;
    for (int i = 0; i < n; i++) {
        if (field_is(&fields[i], "file")) t->file = i;
        if (field_is(&fields[i], "label")) t->label = i;
    }
    if (t->label >= 0) {
        *header = true;
        return NULL;
    }
    if (t->file >= 0 || n > 2) return status_make(STATUS_INVALID, "%s: expected the header file,label", t->path);
    t->label = n - 1;
    t->file = n - 2;
    return NULL;
}

static Status parse_text(const char *path, const char *text, size_t size, LabelList *out) {
    Table t = {.path = path, .out = out};
    const char *end = text + size;
    bool first = true;
    for (const char *at = text; at < end;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = stop ? stop : end;
        Field fields[MAX_FIELDS];
        t.line++;
        bool blank = true;
        for (const char *p = at; p < line_end && blank; p++) blank = isspace((unsigned char)*p);
        if (!blank) {
            int n = split_line(at, line_end, fields);
            bool header = false;
            if (first) TRY(read_header(&t, fields, n, &header));
            first = false;
            if (!header) TRY(add_row(&t, fields, n));
        }
        at = stop ? stop + 1 : end;
    }
    if (out->n == 0) return status_make(STATUS_INVALID, "%s: expected labels, found none", path);
    return NULL;
}

static Status load_text(const char *path, LabelList *out) {
    Blob *bytes = NULL;
    TRY(file_map(path, &bytes));
    const char *text = (const char *)bytes->data;
    size_t n = bytes->size;
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) { /* byte order mark */
        text += 3;
        n -= 3;
    }
    Status status = parse_text(path, text, n, out);
    blob_unref(bytes);
    return status;
}

Status labels_load(const char *path, LabelList *out) {
    *out = (LabelList){0};
    NpyArray a;
    Status status;
    if (ends_with(path, ".npz")) {
        status = load_npz(path, out);
    } else if (ends_with(path, ".npy")) {
        status = npy_open(path, &a);
        if (!status) status = from_array(&a, out);
    } else {
        status = load_text(path, out);
    }
    if (status) labels_free(out);
    return status;
}

bool path_is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *path_join(const char *folder, const char *name) {
    size_t n = strlen(folder), m = strlen(name);
    char *path = mem_alloc(n + m + 2);
    if (!path) return NULL;
    memcpy(path, folder, n);
    if (n && folder[n - 1] != '/') path[n++] = '/';
    memcpy(path + n, name, m + 1);
    return path;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static Status add_name(Listing *l, int64_t *cap, const char *name) {
    if (l->n == *cap) {
        int64_t grown = *cap ? 2 * *cap : 64;
        char **names = mem_realloc(l->names, (size_t)grown * sizeof *names);
        if (!names) return status_oom();
        l->names = names;
        *cap = grown;
    }
    TRY_ALLOC(l->names[l->n] = mem_strdup(name));
    l->n++;
    return NULL;
}

Status listing_read(const char *folder, Listing *out) {
    *out = (Listing){0};
    DIR *d = opendir(folder);
    if (!d) return status_make(STATUS_ENVIRONMENT, "%s: cannot be opened: %s", folder, strerror(errno));
    Status status = NULL;
    int64_t cap = 0;
    for (const struct dirent *e; !status && (e = readdir(d));)
        if (e->d_name[0] != '.') status = add_name(out, &cap, e->d_name);
    closedir(d);
    if (!status && out->n > 1) qsort(out->names, (size_t)out->n, sizeof *out->names, by_bytes);
    if (status) listing_free(out);
    return status;
}

void listing_free(Listing *l) {
    for (int64_t i = 0; i < l->n; i++) mem_free(l->names[i]);
    mem_free(l->names);
    *l = (Listing){0};
}
