/* Errors. A Status is NULL on success, otherwise an owned record with a code and one message that says what is wrong,
 * where (file, node, op, input), what was expected, what was found and what the user can do.
 * Thread-safety: a Status belongs to the thread that received it. */
#ifndef PARE_IR_STATUS_H
#define PARE_IR_STATUS_H

#include <stdarg.h>

#define PARE_NODISCARD    __attribute__((warn_unused_result))
#define PARE_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define PARE_NONNULL      __attribute__((returns_nonnull)) /* for analyzers: a made error is never NULL */

/* The values are the command line's exit codes. */
typedef enum StatusCode {
    STATUS_OK = 0,
    STATUS_GATE = 1,         /* a gate, comparison or --max-drop was not met */
    STATUS_USAGE = 2,        /* wrong flags or arguments */
    STATUS_INVALID = 3,      /* invalid content of an input */
    STATUS_UNSUPPORTED = 4,  /* valid, but outside what pare does */
    STATUS_ENVIRONMENT = 5,  /* file missing or unreadable, disk, memory, device */
    STATUS_INCONCLUSIVE = 6, /* a gate could not be decided */
    STATUS_INTERNAL = 70,    /* an invariant of our own did not hold */
    STATUS_INTERRUPTED = 130
} StatusCode;

typedef struct StatusRec *Status;

/* A new error. Falls back to a static "out of memory" record when the record cannot be allocated. */
PARE_NODISCARD PARE_NONNULL PARE_PRINTF(2, 3) Status status_make(StatusCode code, const char *fmt, ...);
PARE_NODISCARD PARE_NONNULL Status status_vmake(StatusCode code, const char *fmt, va_list ap);
/* The error for a failed allocation (never allocates). */
PARE_NODISCARD PARE_NONNULL Status status_oom(void);
/* Puts "context: " in front of the message of `s` and returns `s`; NULL stays NULL. */
PARE_NODISCARD PARE_PRINTF(2, 3) Status status_context(Status s, const char *fmt, ...);
/* STATUS_OK for NULL. */
StatusCode status_code(Status s);
/* The message without a trailing newline; "" for NULL. Owned by `s`. */
const char *status_text(Status s);
/* Frees an error; NULL is allowed. */
void status_free(Status s);

/* Returns the enclosing function with the error, if any. */
#define TRY(expr)                                                                                                      \
    do {                                                                                                               \
        Status try_status_ = (expr);                                                                                   \
        if (try_status_) return try_status_;                                                                           \
    } while (0)
/* Same for functions that clean up: sets the local `status` and jumps. */
#define TRY_GOTO(expr, label)                                                                                          \
    do {                                                                                                               \
        status = (expr);                                                                                               \
        if (status) goto label;                                                                                        \
    } while (0)
/* Fails with "out of memory" when the assigned pointer is NULL: TRY_ALLOC(p = mem_alloc(n)). */
#define TRY_ALLOC(assignment)                                                                                          \
    do {                                                                                                               \
        if (!(assignment)) return status_oom();                                                                        \
    } while (0)

#endif
