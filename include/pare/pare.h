/* pare: run compiled (.pare) and ONNX models from C.
 *
 * A model is immutable and may be used from any number of threads; every thread runs its own context. Nothing is
 * printed and the process is never ended: calls return a code and fill in a pare_error that says what is wrong and what
 * to do.
 *
 *   pare_error e;
 *   pare_model *m;
 *   pare_context *c;
 *   if (pare_model_load("model.pare", &m, &e) || pare_context_new(m, 2, &c, &e)) { puts(e.message); ... }
 *   pare_tensor x = {.type = PARE_FLOAT32, .rank = 4, .dims = {1, 3, 224, 224}, .data = pixels};
 *   pare_tensor y;
 *   if (pare_set_input(c, 0, &x, &e) || pare_run(c, &e) || pare_get_output(c, 0, &y, &e)) { ... }
 */
#ifndef PARE_PARE_H
#define PARE_PARE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && defined(PARE_BUILDING)
#define PARE_API __attribute__((visibility("default")))
#else
#define PARE_API
#endif

/* Result codes: the same numbers as the exit codes of the program. */
enum {
    PARE_OK = 0,
    PARE_USAGE = 2,       /* a wrong argument */
    PARE_INVALID = 3,     /* invalid content of a file */
    PARE_UNSUPPORTED = 4, /* valid, but outside what pare does; the message lists all of it */
    PARE_ENVIRONMENT = 5, /* file missing or unreadable, memory, threads */
    PARE_INTERNAL = 70    /* a defect of pare */
};

typedef struct pare_error {
    int code;
    char message[1024]; /* NUL-terminated; cut when it is longer */
} pare_error;

/* Element types, numbered as in ONNX TensorProto.DataType. */
typedef enum pare_type {
    PARE_FLOAT32 = 1,
    PARE_UINT8 = 2,
    PARE_INT8 = 3,
    PARE_UINT16 = 4,
    PARE_INT16 = 5,
    PARE_INT32 = 6,
    PARE_INT64 = 7,
    PARE_BOOL = 9,
    PARE_FLOAT16 = 10,
    PARE_FLOAT64 = 11,
    PARE_UINT32 = 12,
    PARE_UINT64 = 13,
    PARE_BFLOAT16 = 16
} pare_type;

enum { PARE_MAX_RANK = 8 };

/* A row-major tensor. In a description of a model's input or output, a dimension of -1 is not fixed. */
typedef struct pare_tensor {
    pare_type type;
    int rank;
    int64_t dims[PARE_MAX_RANK];
    const void *data;
    size_t bytes; /* of data; ignored by pare_set_input */
} pare_tensor;

typedef struct pare_model pare_model;
typedef struct pare_context pare_context;

/* "0.1.0" */
PARE_API const char *pare_version(void);

/* Memory for everything that the library makes, process-wide. Call before anything else, once; all four are needed and
 * must be thread-safe. `aligned` returns memory that `release` frees. */
typedef struct pare_allocator {
    void *(*allocate)(void *ctx, size_t bytes);
    void *(*aligned)(void *ctx, size_t alignment, size_t bytes);
    void *(*reallocate)(void *ctx, void *p, size_t bytes);
    void (*release)(void *ctx, void *p);
    void *ctx;
} pare_allocator;
PARE_API int pare_set_allocator(const pare_allocator *allocator, pare_error *error);

/* Opens a .pare or .onnx file (told apart by content). On success *model is the caller's, freed by pare_model_free
 * after all its contexts. `error` may be NULL everywhere. */
PARE_API int pare_model_load(const char *path, pare_model **model, pare_error *error);
PARE_API void pare_model_free(pare_model *model); /* NULL is allowed */

/* Inputs and outputs in the model's order. The name is owned by the model; NULL for a wrong index. */
PARE_API int pare_input_count(const pare_model *model);
PARE_API int pare_output_count(const pare_model *model);
PARE_API const char *pare_input_name(const pare_model *model, int index);
PARE_API const char *pare_output_name(const pare_model *model, int index);
/* Type and shape (data NULL). PARE_USAGE for a wrong index. */
PARE_API int pare_input_info(const pare_model *model, int index, pare_tensor *info);
PARE_API int pare_output_info(const pare_model *model, int index, pare_tensor *info);

/* A context for one thread at a time; it computes with `threads` threads (1 … 256) of its own. */
PARE_API int pare_context_new(pare_model *model, int threads, pare_context **context, pare_error *error);
PARE_API void pare_context_free(pare_context *context); /* NULL is allowed */

/* Gives input `index`. The data is not copied: it must stay in place until pare_run returns. PARE_USAGE names the input
 * when type or shape do not fit the model. */
PARE_API int pare_set_input(pare_context *context, int index, const pare_tensor *tensor, pare_error *error);
/* Computes. The first run with new shapes plans them (milliseconds, memory); later runs with them allocate nothing. */
PARE_API int pare_run(pare_context *context, pare_error *error);
/* Output `index` of the last run: points into the context, valid until its next pare_run, pare_set_input with another
 * shape, or its end. */
PARE_API int pare_get_output(pare_context *context, int index, pare_tensor *tensor, pare_error *error);

#ifdef __cplusplus
}
#endif

#endif
