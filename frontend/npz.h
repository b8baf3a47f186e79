/* .npz archives: reading arrays as streams, writing them row by row. */
#ifndef PARE_FRONTEND_NPZ_H
#define PARE_FRONTEND_NPZ_H

#include "frontend/npy.h"

typedef struct Npz Npz;

/* Opens an archive and lists its arrays (members that end in .npy; stored or deflated). A member whose declared size
 * its compressed bytes cannot hold is STATUS_INVALID. */
PARE_NODISCARD Status npz_open(const char *path, Npz **out);
void npz_close(Npz *z); /* arrays opened from it must be closed before */
int npz_count(const Npz *z);
const char *npz_name(const Npz *z, int i);    /* without ".npy" */
int npz_find(const Npz *z, const char *name); /* -1 when absent */
/* Opens an array. Reads of arrays of one archive are serialized by the caller. Deflated members are streamed: going
 * back starts them again. */
PARE_NODISCARD Status npz_array(Npz *z, int i, NpyArray *out);
/* All names in one string for messages: "input, labels". */
const char *npz_names(const Npz *z, char *buf, size_t cap);

/* Writing. Rows wait in memory up to 1 MiB an array and in unlinked temporary files beside the output beyond that; the
 * archive appears under its name, complete and synced, in npz_writer_close. Same calls, same bytes. */
typedef struct NpzWriter NpzWriter;
PARE_NODISCARD Status npz_writer_open(const char *path, bool deflate, NpzWriter **out);
/* The array `name` as a whole. */
PARE_NODISCARD Status npz_write(NpzWriter *w, const char *name, const Tensor *t);
/* Appends `t` along the first axis of the array `name` (made by the first call; rank 0 makes a vector). STATUS_INVALID
 * when type or other dims differ from before. */
PARE_NODISCARD Status npz_append(NpzWriter *w, const char *name, const Tensor *t);
/* Writes the archive and frees the writer, on failure too. */
PARE_NODISCARD Status npz_writer_close(NpzWriter *w);
void npz_writer_abort(NpzWriter *w); /* frees without writing; NULL is allowed */
/* One array as a .npy file. */
PARE_NODISCARD Status npy_write(const char *path, const Tensor *t);

#endif
