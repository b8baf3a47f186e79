/* Arrays of NumPy's .npy format (versions 1 to 3; NumPy's "NEP 1" and numpy.lib.format), alone or as members of a .npz,
 * read piece by piece: memory does not grow with the array.
 *
 * Element types: bool, signed and unsigned integers of 1 to 8 bytes, float16/32/64, complex; big-endian data is
 * swapped. Void types of 1 and 2 bytes ("V2": how ml_dtypes writes bfloat16 and float8) are raw bits. Strings, objects,
 * dates and records are refused. Fortran order is turned into C order on reading; such an array is held in memory as a
 * whole. Thread-safety: reads of one array are serialized by the caller. */
#ifndef PARE_FRONTEND_NPY_H
#define PARE_FRONTEND_NPY_H

#include "ir/status.h"
#include "ir/tensor.h"

enum { NPY_MAX_RANK = MAX_RANK + 1 }; /* a tensor and a sample axis */

typedef struct NpyHeader {
    ElemType elem; /* UNDEFINED for raw bits of void types */
    int item_bytes;
    bool swap;    /* data is big-endian */
    bool fortran; /* first axis varies fastest (never set where that is the same as C order) */
    int rank;
    int64_t dims[NPY_MAX_RANK];
    int64_t count;  /* elements */
    size_t bytes;   /* of the data: count * item_bytes */
    size_t offset;  /* of the data from the start of the file */
    char descr[16]; /* as in the file, for messages */
} NpyHeader;

/* Parses the first `size` bytes of a file, of which the header must be a part. `what` names the array in messages. */
PARE_NODISCARD Status npy_parse(const uint8_t *data, size_t size, const char *what, NpyHeader *out);
/* How many bytes npy_parse needs, from the first 12 bytes; 0 when these are no .npy. */
size_t npy_header_bytes(const uint8_t first[12]);
/* Appends the header for C-order data; sub-byte types are described by one byte an element. */
void npy_write_header(Buf *b, ElemType elem, int rank, const int64_t *dims);

/* Where the bytes come from. `read` delivers exactly n bytes from `offset` on, or an error that names the file. */
typedef struct ByteSource {
    Status (*read)(void *ctx, size_t offset, void *dst, size_t n);
    void (*close)(void *ctx);
    void *ctx;
    size_t size;
} ByteSource;

typedef struct NpyArray {
    NpyHeader h;
    char *what; /* file and array, for messages */
    ByteSource src;
    uint8_t *resident; /* Fortran order: the data in C order */
} NpyArray;

/* Reads and checks the header; takes the source (closes it on failure too). */
PARE_NODISCARD Status npy_open_source(ByteSource src, const char *what, NpyArray *out);
/* Opens a .npy file. STATUS_ENVIRONMENT when it cannot be read. */
PARE_NODISCARD Status npy_open(const char *path, NpyArray *out);
void npy_close(NpyArray *a);
/* n elements from `first` in C order, little-endian, into dst (n * item_bytes). */
PARE_NODISCARD Status npy_read(NpyArray *a, int64_t first, int64_t n, void *dst);
/* True when the stored elements are those of `e` (raw bits match types of their size that NumPy lacks). */
bool npy_matches(const NpyHeader *h, ElemType e);
/* The whole of an integer or boolean array as int64; the caller frees *out with mem_free. */
PARE_NODISCARD Status npy_read_int64(NpyArray *a, int64_t **out);
/* "float32[800,1,49,10]" into buf. */
const char *npy_describe(const NpyHeader *h, char *buf, size_t cap);

#endif
