/* Calibration cache: observers in a JSON file, valid for one model and one data set. */
#ifndef PARE_CALIB_CACHE_H
#define PARE_CALIB_CACHE_H

#include "calib/observer.h"

typedef struct CacheKey {
    const char *model_sha256; /* of the model file */
    const char *data_key;     /* dataset_key: content and preprocessing */
} CacheKey;

typedef struct CacheEntry {
    const char *name; /* the value's name */
    Observer *observer;
} CacheEntry;

/* Text of the file. Same observers, same bytes; floats are written so that they read back exactly. */
PARE_NODISCARD Status cache_print(const CacheKey *key, const CacheEntry *entries, int n, Buf *text);
/* Reads `text` back. *n = 0 and *out = NULL when it was made for another model or other data. STATUS_INVALID (naming
 * `file`) for anything that is no calibration cache. Free with cache_free. */
PARE_NODISCARD Status cache_parse(const char *text, size_t len, const char *file, const CacheKey *key, CacheEntry **out,
                                  int *n);
void cache_free(CacheEntry *entries, int n);
/* The same through a file; a missing file counts as made for other data. Writing is atomic. */
PARE_NODISCARD Status cache_save(const char *path, const CacheKey *key, const CacheEntry *entries, int n);
PARE_NODISCARD Status cache_load(const char *path, const CacheKey *key, CacheEntry **out, int *n);

#endif
