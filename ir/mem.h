/* Memory: one door to the heap (so that tests can count allocations and make the nth fail), and bump arenas.
 * Thread-safety: mem_* from any thread; an Arena belongs to one thread at a time. */
#ifndef PARE_IR_MEM_H
#define PARE_IR_MEM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEM_ALIGN 64 /* bytes; a cache line, and the widest vector */

/* malloc, calloc, realloc and free; NULL when memory is short. mem_zalloc returns zeroed bytes. A size of 0 is taken
 * as 1. */
void *mem_alloc(size_t bytes) __attribute__((malloc, alloc_size(1)));
void *mem_zalloc(size_t bytes) __attribute__((malloc, alloc_size(1)));
void *mem_realloc(void *p, size_t bytes) __attribute__((alloc_size(2)));
void mem_free(void *p);
/* MEM_ALIGN-aligned, not zeroed; freed by mem_free. */
void *mem_alloc_aligned(size_t bytes) __attribute__((malloc, alloc_size(1)));
char *mem_strdup(const char *s);

/* Another allocator for all of the above, process-wide: set before the first allocation. The struct is copied. */
typedef struct MemAllocator {
    void *(*allocate)(void *ctx, size_t bytes);
    void *(*aligned)(void *ctx, size_t alignment, size_t bytes); /* bytes is a multiple of alignment */
    void *(*reallocate)(void *ctx, void *p, size_t bytes);
    void (*release)(void *ctx, void *p);
    void *ctx;
} MemAllocator;
void mem_set_allocator(const MemAllocator *a);

/* Tests only: number of successful allocations so far; and let the nth allocation from now fail (n >= 1; 0 = never). */
uint64_t mem_count(void);
void mem_fail_at(uint64_t n);

/* a*b and a+b into *out; false on overflow. */
static inline bool size_mul(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool size_add(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }

/* A bump arena: everything is freed at once. */
typedef struct Arena Arena;
Arena *arena_new(void);
void arena_free(Arena *a);
/* Forgets all content, keeps the largest block. */
void arena_reset(Arena *a);
/* Zeroed, 16-byte aligned; NULL when memory is short. */
void *arena_alloc(Arena *a, size_t bytes);
/* MEM_ALIGN-aligned, zeroed. */
void *arena_alloc_aligned(Arena *a, size_t bytes);
#define ARENA_ARRAY(a, T, n) ((T *)arena_array((a), sizeof(T), (size_t)(n)))
void *arena_array(Arena *a, size_t elem_bytes, size_t n); /* overflow-checked; n = 0 gives a valid pointer */
char *arena_strdup(Arena *a, const char *s);
char *arena_strndup(Arena *a, const char *s, size_t n);
char *arena_printf(Arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A growing byte buffer on the heap. After a failed append `failed` is set and later appends do nothing, so that a
 * writer checks once at the end. */
typedef struct Buf {
    char *data; /* NUL-terminated when data is not NULL */
    size_t len, cap;
    bool failed;
} Buf;
void buf_append(Buf *b, const void *data, size_t n);
void buf_puts(Buf *b, const char *s);
void buf_printf(Buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_free(Buf *b);

#endif
