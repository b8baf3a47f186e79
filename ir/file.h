/* Files: whole-file reading as shared bytes, and outputs that appear whole or not at all.
 *
 * Small files are read into memory; large ones are mapped, so that weights stay on disk until they are touched. A
 * mapped file that another process cuts short would raise SIGBUS at the first touch behind its new end. The first
 * mapping therefore installs a SIGBUS handler that puts zeroed pages there and remembers the file; file_check_maps
 * reports it. Faults outside our mappings go on to the handler that was there before. Thread-safety: everything here
 * may be called from any thread. */
#ifndef PARE_IR_FILE_H
#define PARE_IR_FILE_H

#include "ir/tensor.h"

/* All bytes of `path` (a regular file, or a pipe or device that is read to its end). The blob has one reference.
 * STATUS_ENVIRONMENT when the file is missing, unreadable or a folder. */
PARE_NODISCARD Status file_map(const char *path, Blob **out);
/* STATUS_ENVIRONMENT naming the file when one that is mapped now became shorter, or unreadable, while it was used: what
 * was computed from its bytes since is void. To be called after weights were read (load, plan, export) and before their
 * blobs are released. */
PARE_NODISCARD Status file_check_maps(void);
/* Size in bytes. STATUS_ENVIRONMENT when there is no such file. */
PARE_NODISCARD Status file_size(const char *path, uint64_t *bytes);

/* One run of bytes of an output. */
typedef struct FilePart {
    const void *data;
    size_t size;
} FilePart;

/* Writes the parts to a new file in the folder of `path`, syncs it, and renames it to `path`, so that `path` is either
 * untouched or complete. A device or pipe at `path` is written directly. Nothing is left behind on failure.
 * STATUS_ENVIRONMENT with the system's reason. */
PARE_NODISCARD Status file_write_atomic(const char *path, const FilePart *parts, size_t n);
/* Removes the unfinished files of file_write_atomic. Async-signal-safe: for the SIGINT handler of the program. */
void file_unlink_temporaries(void);

/* "dir/name" from the folder of `path` and a relative name; NULL when memory is short. Freed with mem_free. */
char *file_sibling(const char *path, const char *name);

#endif
