/* Calibration cache. JSON written by hand (so that bytes do not depend on a library's formatting), read by jansson. */
#include "calib/cache.h"

#include "ir/file.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SCHEMA_VERSION = 1 };

static void put_string(Buf *b, const char *s) {
    buf_puts(b, "\"");
    for (; *s; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c < 0x20)
            buf_printf(b, "\\u%04x", c);
        else
            buf_append(b, s, 1);
    }
    buf_puts(b, "\"");
}

/* Exact: hexadecimal floats as strings, which hold infinities too; sums as two 64-bit halves. */
static void put_float(Buf *b, const char *key, float v) {
    buf_printf(b, "\"%s\": \"%a\"", key, (double)v + 0.0); /* -0 prints as 0 */
}

static void put_fixed(Buf *b, const char *key, FixedSum v) {
    unsigned __int128 u = (unsigned __int128)v;
    buf_printf(b, "\"%s\": \"%016" PRIx64 "%016" PRIx64 "\"", key, (uint64_t)(u >> 64), (uint64_t)u);
}

/* Bins as "index count" pairs: most are empty. */
static void put_bins(Buf *b, const char *key, const uint64_t *bins) {
    buf_printf(b, "\"%s\": \"", key);
    const char *space = "";
    for (int i = 0; i < OBSERVER_BINS; i++)
        if (bins[i]) {
            buf_printf(b, "%s%d %" PRIu64, space, i, bins[i]);
            space = " ";
        }
    buf_puts(b, "\"");
}

static void put_observer(Buf *b, const CacheEntry *e) {
    const Observer *o = e->observer;
    buf_puts(b, "{\"name\": ");
    put_string(b, e->name);
    buf_printf(b, ", \"count\": %" PRId64 ", \"zeros\": %" PRId64 ", \"non_finite\": %" PRId64 ", \"calls\": %" PRId64,
               o->count, o->zeros, o->non_finite, o->calls);
    buf_puts(b, ",\n  ");
    put_float(b, "min", o->min);
    buf_puts(b, ", ");
    put_float(b, "max", o->max);
    buf_puts(b, ", ");
    put_fixed(b, "sum_min", o->sum_min);
    buf_puts(b, ", ");
    put_fixed(b, "sum_max", o->sum_max);
    buf_printf(b, ", \"exponent\": %d,\n  ", o->exponent == INT_MIN ? 0 : o->exponent);
    put_bins(b, "negative", o->negative);
    buf_puts(b, ",\n  ");
    put_bins(b, "positive", o->positive);
    buf_printf(b, ",\n  \"per_channel\": %" PRId64 ", \"channels\": [", o->per_channel);
    for (int64_t c = 0; c < o->channels; c++) {
        buf_puts(b, c ? ",\n   {" : "\n   {");
        put_fixed(b, "sum", o->channel[c].sum);
        buf_puts(b, ", ");
        put_float(b, "min", o->channel[c].min);
        buf_puts(b, ", ");
        put_float(b, "max", o->channel[c].max);
        buf_puts(b, "}");
    }
    buf_puts(b, "]}");
}

Status cache_print(const CacheKey *key, const CacheEntry *entries, int n, Buf *text) {
    buf_printf(text, "{\"schema_version\": %d, \"kind\": \"calibration\", \"model_sha256\": ", SCHEMA_VERSION);
    put_string(text, key->model_sha256);
    buf_puts(text, ", \"data_key\": ");
    put_string(text, key->data_key);
    buf_puts(text, ",\n \"observers\": [");
    for (int i = 0; i < n; i++) {
        buf_puts(text, i ? ",\n " : "\n ");
        put_observer(text, &entries[i]);
    }
    buf_puts(text, "\n]}\n");
    return text->failed ? status_oom() : NULL;
}

/* Reading: every getter leaves a message about the first thing that is wrong. */
typedef struct Reader {
    const char *file;
    const char *entry; /* name of the observer */
    const char *wrong; /* key that is missing or broken; NULL = all is well */
} Reader;

static int64_t get_int(Reader *r, const json_t *o, const char *key, int64_t low) {
    const json_t *v = json_object_get(o, key);
    if (!json_is_integer(v) || json_integer_value(v) < low) {
        if (!r->wrong) r->wrong = key;
        return low;
    }
    return json_integer_value(v);
}

static const char *get_string(Reader *r, const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    if (!s && !r->wrong) r->wrong = key;
    return s ? s : "";
}

static float get_float(Reader *r, const json_t *o, const char *key) {
    const char *s = get_string(r, o, key);
    char *end;
    float v = strtof(s, &end);
    if ((*end || end == s || isnan(v)) && !r->wrong) r->wrong = key;
    return v;
}

static FixedSum get_fixed(Reader *r, const json_t *o, const char *key) {
    const char *s = get_string(r, o, key);
    unsigned __int128 u = 0;
    if (strlen(s) != 32 || strspn(s, "0123456789abcdef") != 32) {
        if (!r->wrong) r->wrong = key;
        return 0;
    }
    for (int i = 0; i < 32; i++) u = u << 4 | (unsigned)(s[i] <= '9' ? s[i] - '0' : s[i] - 'a' + 10);
    return (FixedSum)u;
}

/* Fills the bins; their total is returned (kept below 2^62). */
static int64_t get_bins(Reader *r, const json_t *o, const char *key, uint64_t *bins) {
    const char *s = get_string(r, o, key);
    int64_t total = 0, last = -1;
    while (*s) {
        char *end;
        errno = 0;
        long long index = strtoll(s, &end, 10);
        bool good = end != s && index > last && index < OBSERVER_BINS && *end == ' ';
        s = end;
        long long count = good ? strtoll(s, &end, 10) : 0;
        if (!good || end == s || count <= 0 || errno || count > INT64_MAX / 4 - total) {
            if (!r->wrong) r->wrong = key;
            return 0;
        }
        bins[index] = (uint64_t)count;
        total += count;
        last = index;
        s = *end == ' ' ? end + 1 : end;
    }
    return total;
}

static void get_channels(Reader *r, const json_t *list, Observer *o) {
    for (int64_t c = 0; c < o->channels; c++) {
        const json_t *v = json_array_get(list, (size_t)c);
        o->channel[c].sum = get_fixed(r, v, "sum");
        o->channel[c].min = get_float(r, v, "min");
        o->channel[c].max = get_float(r, v, "max");
    }
}

static Status read_observer(Reader *r, const json_t *v, CacheEntry *out) {
    r->entry = get_string(r, v, "name");
    const json_t *channels = json_object_get(v, "channels");
    if (!json_is_array(channels) && !r->wrong) r->wrong = "channels";
    if (r->wrong) return NULL;
    TRY_ALLOC(out->name = mem_strdup(r->entry));
    TRY(observer_new((int64_t)json_array_size(channels), &out->observer));
    Observer *o = out->observer;
    o->count = get_int(r, v, "count", 0);
    o->zeros = get_int(r, v, "zeros", 0);
    o->non_finite = get_int(r, v, "non_finite", 0);
    o->calls = get_int(r, v, "calls", 0);
    o->min = get_float(r, v, "min");
    o->max = get_float(r, v, "max");
    o->sum_min = get_fixed(r, v, "sum_min");
    o->sum_max = get_fixed(r, v, "sum_max");
    o->per_channel = get_int(r, v, "per_channel", 0);
    int64_t exponent = get_int(r, v, "exponent", -1000);
    int64_t binned = get_bins(r, v, "negative", o->negative) + get_bins(r, v, "positive", o->positive);
    get_channels(r, channels, o);
    if ((exponent < -200 || exponent > 200) && !r->wrong) r->wrong = "exponent";
    if (binned > 0) o->exponent = (int)exponent;
    bool consistent = o->zeros <= o->count && binned == o->count - o->zeros && (o->count == 0 || o->min <= o->max);
    if (!consistent && !r->wrong) r->wrong = "count";
    return NULL;
}

void cache_free(CacheEntry *entries, int n) {
    for (int i = 0; i < n && entries; i++) {
        mem_free((void *)(uintptr_t)entries[i].name);
        observer_free(entries[i].observer);
    }
    mem_free(entries);
}

static Status broken(const Reader *r) {
    return status_make(STATUS_INVALID, "%s: no valid calibration cache: '%s'%s%s is missing or broken: remove the file",
                       r->file, r->wrong, r->entry ? " of " : "", r->entry ? r->entry : "");
}

static Status read_root(Reader *r, const json_t *root, const CacheKey *key, CacheEntry **out, int *n) {
    const char *kind = get_string(r, root, "kind"), *model = get_string(r, root, "model_sha256");
    const char *data = get_string(r, root, "data_key");
    const json_t *list = json_object_get(root, "observers");
    if (get_int(r, root, "schema_version", 1) != SCHEMA_VERSION && !r->wrong) r->wrong = "schema_version";
    if (strcmp(kind, "calibration") != 0 && !r->wrong) r->wrong = "kind";
    if ((!json_is_array(list) || json_array_size(list) > INT32_MAX) && !r->wrong) r->wrong = "observers";
    if (r->wrong) return broken(r);
    if (strcmp(model, key->model_sha256) != 0 || strcmp(data, key->data_key) != 0) return NULL;
    int count = (int)json_array_size(list);
    CacheEntry *entries = mem_zalloc((size_t)count * sizeof *entries);
    if (!entries) return status_oom();
    Status status = NULL;
    for (int i = 0; i < count && !status; i++) {
        status = read_observer(r, json_array_get(list, (size_t)i), &entries[i]);
        if (!status && r->wrong) status = broken(r);
    }
    if (status) {
        cache_free(entries, count);
        return status;
    }
    *out = entries;
    *n = count;
    return NULL;
}

Status cache_parse(const char *text, size_t len, const char *file, const CacheKey *key, CacheEntry **out, int *n) {
    *out = NULL;
    *n = 0;
    json_error_t error;
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    if (!root) return status_make(STATUS_INVALID, "%s: line %d: no valid JSON: %s", file, error.line, error.text);
    Reader r = {.file = file};
    Status status = read_root(&r, root, key, out, n);
    json_decref(root);
    return status;
}

Status cache_save(const char *path, const CacheKey *key, const CacheEntry *entries, int n) {
    Buf text = {0};
    Status status = cache_print(key, entries, n, &text);
    if (!status) status = file_write_atomic(path, &(FilePart){text.data, text.len}, 1);
    buf_free(&text);
    return status;
}

Status cache_load(const char *path, const CacheKey *key, CacheEntry **out, int *n) {
    *out = NULL;
    *n = 0;
    if (access(path, F_OK) != 0) return NULL;
    Blob *bytes = NULL;
    TRY(file_map(path, &bytes));
    Status status = cache_parse((const char *)bytes->data, bytes->size, path, key, out, n);
    blob_unref(bytes);
    return status;
}
