/* Reading and mapping; see file.h for the treatment of files that shrink. */
#include "ir/file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAP_THRESHOLD = 1 << 20, /* bytes; below, one read() is cheaper than page faults */
    MAX_MAPS = 256,          /* guarded mappings at a time; further files are read into memory */
    PATH_KEPT = 512
};

/* One mapping. The handler walks the table without a lock: `begin` is 0 while a slot is free or in change. */
typedef struct MapSlot {
    _Atomic uintptr_t begin;
    _Atomic size_t size;
    _Atomic bool taken, damaged;
    char path[PATH_KEPT];
} MapSlot;

static MapSlot slots[MAX_MAPS];
static struct sigaction previous;
static size_t page_bytes;
static pthread_mutex_t guard_lock = PTHREAD_MUTEX_INITIALIZER;

static bool cover_fault(uintptr_t address) {
    for (int i = 0; i < MAX_MAPS; i++) {
        uintptr_t begin = atomic_load(&slots[i].begin);
        if (!begin || address < begin || address - begin >= atomic_load(&slots[i].size)) continue;
        uintptr_t page = address & ~(uintptr_t)(page_bytes - 1);
        void *p = mmap((void *)page, page_bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        if (p == MAP_FAILED) return false;
        atomic_store(&slots[i].damaged, true);
        return true;
    }
    return false;
}

static void on_sigbus(int sig, siginfo_t *info, void *context) {
    int saved = errno;
    bool covered = cover_fault((uintptr_t)info->si_addr);
    errno = saved;
    if (covered) return;
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(sig, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(sig);
    } else {
        sigaction(SIGBUS, &previous, NULL); /* the access is repeated and ends the process as it would have */
    }
}

/* Before every mapping, because the host program may have set a handler of its own since the last one. */
static void install_guard(void) {
    struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK}, current;
    action.sa_sigaction = on_sigbus;
    sigemptyset(&action.sa_mask);
    pthread_mutex_lock(&guard_lock);
    page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    bool ours =
        !sigaction(SIGBUS, NULL, &current) && (current.sa_flags & SA_SIGINFO) && current.sa_sigaction == on_sigbus;
    if (!ours) {
        previous = current;
        sigaction(SIGBUS, &action, NULL);
    }
    pthread_mutex_unlock(&guard_lock);
}

static MapSlot *take_slot(const char *path) {
    for (int i = 0; i < MAX_MAPS; i++) {
        if (atomic_exchange(&slots[i].taken, true)) continue;
        size_t n = strnlen(path, PATH_KEPT - 1);
        memcpy(slots[i].path, path, n);
        slots[i].path[n] = 0;
        return &slots[i];
    }
    return NULL;
}

static void unmap_slot(void *owner) {
    MapSlot *slot = owner;
    void *begin = (void *)atomic_exchange(&slot->begin, 0);
    if (begin) munmap(begin, atomic_load(&slot->size));
    atomic_store(&slot->taken, false);
}

static Status system_error(const char *path, const char *action) {
    int e = errno;
    char text[128];
    return status_make(STATUS_ENVIRONMENT, "%s: cannot %s: %s", path, action, strerror_r(e, text, sizeof text));
}

/* Maps `size` bytes of fd. *out stays NULL when mapping is not possible, and reading should be tried. */
static Status map_fd(int fd, size_t size, const char *path, Blob **out) {
    install_guard();
    MapSlot *slot = take_slot(path);
    if (!slot) return NULL;
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED) {
        atomic_store(&slot->taken, false);
        return NULL;
    }
    atomic_store(&slot->damaged, false);
    atomic_store(&slot->size, size);
    atomic_store(&slot->begin, (uintptr_t)p);
    *out = blob_wrap(p, size, unmap_slot, slot);
    if (*out) return NULL;
    unmap_slot(slot);
    return status_oom();
}

static void free_bytes(void *p) { mem_free(p); }

/* Reads to the end; `expected` is a hint. */
static Status read_fd(int fd, size_t expected, const char *path, Blob **out) {
    size_t cap = expected + 1, n = 0; /* one more, to see the end without growing */
    uint8_t *data = mem_alloc_aligned(cap);
    TRY_ALLOC(data);
    for (;;) {
        ssize_t got = read(fd, data + n, cap - n);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) {
            Status s = system_error(path, "be read");
            mem_free(data);
            return s;
        }
        if (got == 0) break;
        n += (size_t)got;
        if (n < cap) continue;
        uint8_t *larger = size_add(cap, cap, &cap) ? mem_alloc_aligned(cap) : NULL;
        if (larger) memcpy(larger, data, n);
        mem_free(data);
        TRY_ALLOC(data = larger);
    }
    *out = blob_wrap(data, n, free_bytes, data);
    if (*out) return NULL;
    mem_free(data);
    return status_oom();
}

static Status load_fd(int fd, const char *path, Blob **out) {
    struct stat st;
    if (fstat(fd, &st)) return system_error(path, "be examined");
    if (S_ISDIR(st.st_mode)) return status_make(STATUS_ENVIRONMENT, "%s: is a folder; a file was expected", path);
    size_t size = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size : 0;
    *out = NULL;
    if (size >= MAP_THRESHOLD) TRY(map_fd(fd, size, path, out));
    return *out ? NULL : read_fd(fd, size ? size : 4096, path, out);
}

Status file_map(const char *path, Blob **out) {
    int fd;
    do fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) return system_error(path, "be opened");
    Status s = load_fd(fd, path, out);
    close(fd);
    return s;
}

Status file_check_maps(void) {
    for (int i = 0; i < MAX_MAPS; i++)
        if (atomic_load(&slots[i].begin) && atomic_load(&slots[i].damaged))
            return status_make(STATUS_ENVIRONMENT,
                               "%s: became shorter or unreadable while it was in use; run again when it is complete",
                               slots[i].path);
    return NULL;
}

Status file_size(const char *path, uint64_t *bytes) {
    struct stat st;
    if (stat(path, &st)) return system_error(path, "be examined");
    if (S_ISDIR(st.st_mode)) return status_make(STATUS_ENVIRONMENT, "%s: is a folder; a file was expected", path);
    *bytes = (uint64_t)st.st_size;
    return NULL;
}
