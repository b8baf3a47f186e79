#include "ir/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Atomic uint64_t allocations;
static _Atomic uint64_t countdown; /* 0 = off; the allocation that takes it from 1 to 0 fails */

uint64_t mem_count(void) { return atomic_load(&allocations); }
void mem_fail_at(uint64_t n) { atomic_store(&countdown, n); }

static bool may_allocate(void) {
    atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
    uint64_t c = atomic_load_explicit(&countdown, memory_order_relaxed);
    while (c && !atomic_compare_exchange_weak(&countdown, &c, c - 1)) {}
    return c != 1;
}

static void *libc_allocate(void *ctx, size_t bytes) {
    (void)ctx;
    return malloc(bytes);
}
static void *libc_aligned(void *ctx, size_t alignment, size_t bytes) {
    (void)ctx;
    return aligned_alloc(alignment, bytes);
}
static void *libc_reallocate(void *ctx, void *p, size_t bytes) {
    (void)ctx;
    return realloc(p, bytes);
}
static void libc_release(void *ctx, void *p) {
    (void)ctx;
    free(p);
}

static MemAllocator heap = {libc_allocate, libc_aligned, libc_reallocate, libc_release, NULL};

void mem_set_allocator(const MemAllocator *a) { heap = *a; }

void *mem_alloc(size_t bytes) { return may_allocate() ? heap.allocate(heap.ctx, bytes ? bytes : 1) : NULL; }

void *mem_zalloc(size_t bytes) {
    void *p = mem_alloc(bytes);
    return p ? memset(p, 0, bytes ? bytes : 1) : NULL;
}

void *mem_realloc(void *p, size_t bytes) {
    return may_allocate() ? heap.reallocate(heap.ctx, p, bytes ? bytes : 1) : NULL;
}

void mem_free(void *p) {
    if (p) heap.release(heap.ctx, p);
}

void *mem_alloc_aligned(size_t bytes) {
    size_t rounded;
    if (!size_add(bytes ? bytes : 1, MEM_ALIGN - 1, &rounded) || !may_allocate()) return NULL;
    return heap.aligned(heap.ctx, MEM_ALIGN, rounded & ~(size_t)(MEM_ALIGN - 1));
}

char *mem_strdup(const char *s) {
    size_t n = strlen(s) + 1;
    char *p = mem_alloc(n);
    if (p) memcpy(p, s, n);
    return p;
}

enum { BLOCK_BYTES = 64 * 1024 };

typedef struct Block {
    struct Block *next;
    size_t size, used;
    _Alignas(MEM_ALIGN) uint8_t bytes[];
} Block;

struct Arena {
    Block *blocks; /* newest first */
};

Arena *arena_new(void) { return mem_zalloc(sizeof(Arena)); }

static void free_blocks(Block *b) {
    while (b) {
        Block *next = b->next;
        mem_free(b);
        b = next;
    }
}

void arena_free(Arena *a) {
    if (!a) return;
    free_blocks(a->blocks);
    mem_free(a);
}

void arena_reset(Arena *a) {
    Block *largest = NULL;
    for (Block *b = a->blocks; b; b = b->next)
        if (!largest || b->size > largest->size) largest = b;
    for (Block *b = a->blocks, *next; b; b = next) {
        next = b->next;
        if (b != largest) mem_free(b);
    }
    a->blocks = largest;
    if (largest) {
        largest->next = NULL;
        largest->used = 0;
    }
}

static void *bump(Arena *a, size_t bytes, size_t align) {
    Block *b = a->blocks;
    if (b) {
        size_t at = (b->used + align - 1) & ~(align - 1);
        if (at <= b->size && bytes <= b->size - at) {
            b->used = at + bytes;
            return memset(b->bytes + at, 0, bytes);
        }
    }
    size_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES, total;
    if (!size_add(sizeof(Block), size, &total) || !(b = mem_alloc_aligned(total))) return NULL;
    *b = (Block){.next = a->blocks, .size = size, .used = bytes};
    a->blocks = b;
    return memset(b->bytes, 0, bytes);
}

void *arena_alloc(Arena *a, size_t bytes) { return bump(a, bytes ? bytes : 1, 16); }
void *arena_alloc_aligned(Arena *a, size_t bytes) { return bump(a, bytes ? bytes : 1, MEM_ALIGN); }

void *arena_array(Arena *a, size_t elem_bytes, size_t n) {
    size_t bytes;
    return size_mul(elem_bytes, n, &bytes) ? arena_alloc(a, bytes) : NULL;
}

char *arena_strndup(Arena *a, const char *s, size_t n) {
    char *p = n < SIZE_MAX ? arena_alloc(a, n + 1) : NULL;
    if (p) memcpy(p, s, n);
    return p;
}

char *arena_strdup(Arena *a, const char *s) { return arena_strndup(a, s, strlen(s)); }

char *arena_printf(Arena *a, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p) vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(ap);
    return p;
}

static bool buf_reserve(Buf *b, size_t more) {
    size_t need;
    if (b->failed || !size_add(b->len, more, &need) || !size_add(need, 1, &need)) {
        b->failed = true;
        return false;
    }
    if (need <= b->cap) return true;
    size_t cap = b->cap < 256 ? 256 : b->cap;
    while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *p = mem_realloc(b->data, cap);
    if (!p) {
        b->failed = true;
        return false;
    }
    b->data = p;
    b->cap = cap;
    return true;
}

void buf_append(Buf *b, const void *data, size_t n) {
    if (!buf_reserve(b, n)) return;
    if (n) memcpy(b->data + b->len, data, n);
    b->len += n;
    b->data[b->len] = 0;
}

void buf_puts(Buf *b, const char *s) { buf_append(b, s, strlen(s)); }

void buf_printf(Buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0) b->failed = true;
    if (n >= 0 && buf_reserve(b, (size_t)n)) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void buf_free(Buf *b) {
    mem_free(b->data);
    *b = (Buf){0};
}
