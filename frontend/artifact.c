#include "frontend/artifact.h"

#include "ir/file.h"
#include "ir/op.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static const char magic[8] = "PAREMDL\n";
enum { VERSION = 1, ALIGN = 64, MAX_SECTIONS = 16, N_SECTIONS = 3, NAME_BYTES = 24 };

typedef struct Header {
    char magic[8];
    uint32_t version, sections;
} Header;

typedef struct Section {
    char name[NAME_BYTES];
    uint64_t offset, bytes, checksum, reserved[2];
} Section;

static uint64_t align_up(uint64_t n) { return (n + ALIGN - 1) & ~(uint64_t)(ALIGN - 1); }

/* ---- reading ---- */

Status artifact_probe(const char *path, bool *is_artifact) {
    char head[sizeof magic] = {0};
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(head, 1, sizeof head, f) : 0;
    bool failed = !f || ferror(f);
    if (f) fclose(f);
    *is_artifact = n == sizeof magic && !memcmp(head, magic, sizeof magic);
    if (!failed) return NULL;
    Blob *b; /* the reader of whole files knows the reason */
    TRY(file_map(path, &b));
    blob_unref(b);
    return NULL;
}

static Status damaged(const char *path, const char *section, const char *what) {
    return status_make(STATUS_INVALID, "%s: section '%s' %s; the file is damaged: compile the model again", path,
                       section, what);
}

/* The section's bytes, checked. */
static Status find_section(const char *path, const Blob *file, const char *name, Section *out) {
    Header h;
    memcpy(&h, file->data, sizeof h);
    for (uint32_t i = 0; i < h.sections; i++) {
        Section s;
        memcpy(&s, file->data + sizeof h + i * sizeof s, sizeof s);
        if (strncmp(s.name, name, NAME_BYTES) != 0) continue;
        if (s.offset % ALIGN || s.offset > file->size || s.bytes > file->size - s.offset)
            return damaged(path, name, "reaches beyond the end of the file");
        if (XXH3_64bits(file->data + s.offset, s.bytes) != s.checksum)
            return damaged(path, name, "has a wrong checksum");
        *out = s;
        return NULL;
    }
    return damaged(path, name, "is missing");
}

static Status check_header(const char *path, const Blob *file) {
    Header h;
    if (file->size < sizeof h) return damaged(path, "header", "is cut short");
    memcpy(&h, file->data, sizeof h);
    if (memcmp(h.magic, magic, sizeof magic) != 0) return status_make(STATUS_INVALID, "%s is no .pare file", path);
    if (h.version != VERSION)
        return status_make(STATUS_UNSUPPORTED,
                           "%s has format version %u, this pare reads version %d: use the pare that wrote it", path,
                           h.version, VERSION);
    if (h.sections > MAX_SECTIONS || file->size < sizeof h + h.sections * sizeof(Section))
        return damaged(path, "header", "is cut short");
    return NULL;
}

static Status read_artifact(const char *path, Blob *file, Artifact *a) {
    TRY(check_header(path, file));
    Section manifest, graph, weights;
    TRY(find_section(path, file, "manifest", &manifest));
    TRY(find_section(path, file, "graph", &graph));
    TRY(find_section(path, file, "weights", &weights));
    a->bytes = file->size;
    TRY(sha256_bytes(file->data, file->size, a->sha256));
    TRY_ALLOC(a->manifest = mem_zalloc(manifest.bytes + 1));
    memcpy(a->manifest, file->data + manifest.offset, manifest.bytes);
    Blob *w = blob_slice(file, weights.offset, weights.bytes);
    TRY_ALLOC(w);
    Status s = graph_parse((const char *)file->data + graph.offset, graph.bytes, w, path, &a->graph);
    blob_unref(w);
    return s;
}

Status artifact_open(const char *path, Artifact *a) {
    *a = (Artifact){0};
    Blob *file;
    TRY(file_map(path, &file));
    Status s = read_artifact(path, file, a);
    blob_unref(file);
    if (s) artifact_close(a);
    return s;
}

void artifact_close(Artifact *a) {
    graph_free(a->graph);
    mem_free(a->manifest);
    *a = (Artifact){0};
}

/* ---- writing ---- */

Status artifact_save(const Graph *g, const char *manifest, const char *path) {
    static const char zeros[ALIGN];
    Buf text = {0}, weights = {0};
    Status s = graph_print(g, &text, &weights);
    if (!s && (text.failed || weights.failed)) s = status_oom();
    const FilePart content[N_SECTIONS] = {
        {manifest, strlen(manifest)}, {text.data, text.len}, {weights.data, weights.len}};
    static const char *const names[N_SECTIONS] = {"manifest", "graph", "weights"};
    struct {
        Header h;
        Section s[N_SECTIONS];
    } head = {.h = {.version = VERSION, .sections = N_SECTIONS}};
    memcpy(head.h.magic, magic, sizeof magic);
    FilePart parts[2 + 2 * N_SECTIONS] = {{&head, sizeof head}};
    uint64_t at = sizeof head;
    size_t n = 1;
    for (int i = 0; i < N_SECTIONS; i++) {
        uint64_t start = align_up(at);
        if (start > at) parts[n++] = (FilePart){zeros, start - at};
        if (content[i].size) parts[n++] = content[i];
        Section *x = &head.s[i];
        snprintf(x->name, sizeof x->name, "%s", names[i]);
        x->offset = start;
        x->bytes = content[i].size;
        x->checksum = XXH3_64bits(content[i].data ? content[i].data : "", content[i].size);
        at = start + content[i].size;
    }
    if (!s) s = file_write_atomic(path, parts, n);
    buf_free(&text);
    buf_free(&weights);
    return s;
}
