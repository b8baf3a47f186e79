/* Outputs that appear whole or not at all. */
#include "ir/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_TEMPORARIES = 64, MAX_TRIES = 1000 };

/* Names of unfinished files: whoever exchanges a pointer out of its slot removes the file. */
static _Atomic(const char *) temporaries[MAX_TEMPORARIES];

void file_unlink_temporaries(void) {
    for (int i = 0; i < MAX_TEMPORARIES; i++) {
        const char *name = atomic_exchange(&temporaries[i], NULL);
        if (name) unlink(name); /* the string is left: freeing is not safe in a handler */
    }
}

static int register_temporary(const char *name) {
    for (int i = 0; i < MAX_TEMPORARIES; i++) {
        const char *expected = NULL;
        if (atomic_compare_exchange_strong(&temporaries[i], &expected, name)) return i;
    }
    return -1;
}

static Status write_error(const char *path, const char *action) {
    int e = errno;
    char text[128];
    return status_make(STATUS_ENVIRONMENT, "%s: cannot %s: %s", path, action, strerror_r(e, text, sizeof text));
}

char *file_sibling(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    size_t dir = slash ? (size_t)(slash - path) + 1 : 0, n = strlen(name);
    char *out = mem_alloc(dir + n + 1);
    if (!out) return NULL;
    memcpy(out, path, dir);
    memcpy(out + dir, name, n + 1);
    return out;
}

static Status write_all(int fd, const FilePart *parts, size_t n, const char *path) {
    enum { CHUNK = 1 << 30 }; /* one write() takes less than 2 GiB */
    for (size_t i = 0; i < n; i++) {
        const char *at = parts[i].data;
        for (size_t left = parts[i].size; left;) {
            ssize_t done = write(fd, at, left < CHUNK ? left : CHUNK);
            if (done < 0 && errno == EINTR) continue;
            if (done < 0) return write_error(path, "be written");
            at += done;
            left -= (size_t)done;
        }
    }
    return NULL;
}

/* Tiny parts (the structure of a model) are many: they are joined before they go to the system. */
static Status write_joined(int fd, const FilePart *parts, size_t n, const char *path) {
    enum { JOIN = 1 << 16 };
    char *buffer = mem_alloc(JOIN);
    TRY_ALLOC(buffer);
    Status s = NULL;
    size_t used = 0;
    for (size_t i = 0; i <= n && !s; i++) {
        bool fits = i < n && parts[i].size <= JOIN - used;
        if (!fits && used) {
            s = write_all(fd, &(FilePart){buffer, used}, 1, path);
            used = 0;
            fits = i < n && parts[i].size <= JOIN;
        }
        if (s || i == n) break;
        if (!fits) {
            s = write_all(fd, &parts[i], 1, path);
        } else if (parts[i].size) {
            memcpy(buffer + used, parts[i].data, parts[i].size);
            used += parts[i].size;
        }
    }
    mem_free(buffer);
    return s;
}

/* A fresh file beside `path`, made with the process's umask. */
static Status open_temporary(const char *path, char **name, int *fd) {
    static _Atomic unsigned counter;
    const char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    for (int tries = 0; tries < MAX_TRIES; tries++) {
        char suffix[64];
        snprintf(suffix, sizeof suffix, ".%ld.%u.part", (long)getpid(), atomic_fetch_add(&counter, 1));
        size_t n = (size_t)(base - path), len = strlen(path) + strlen(suffix) + 2;
        char *p = mem_alloc(len);
        TRY_ALLOC(p);
        snprintf(p, len, "%.*s.%s%s", (int)n, path, base, suffix);
        *fd = open(p, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (*fd >= 0) {
            *name = p;
            return NULL;
        }
        mem_free(p);
        if (errno != EEXIST && errno != EINTR) return write_error(path, "be created");
    }
    return status_make(STATUS_ENVIRONMENT, "%s: cannot be created: every temporary name is taken", path);
}

/* So that the new name itself survives a power cut. Some file systems refuse to sync folders: not an error. */
static void sync_folder(const char *path) {
    char *dir = file_sibling(path, ".");
    int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        (void)!fsync(fd);
        close(fd);
    }
    mem_free(dir);
}

static Status write_replacing(const char *path, const FilePart *parts, size_t n) {
    char *name;
    int fd = -1;
    TRY(open_temporary(path, &name, &fd));
    int slot = register_temporary(name);
    Status s = slot < 0 ? status_make(STATUS_ENVIRONMENT, "%s: more than %d files are being written at once", path,
                                      MAX_TEMPORARIES)
                        : write_joined(fd, parts, n, path);
    if (!s && fsync(fd)) s = write_error(path, "be synced");
    if (close(fd) && !s) s = write_error(path, "be written");
    if (!s && rename(name, path)) s = write_error(path, "be put in place");
    if (s) unlink(name);
    /* Taken out only by whoever finds the name still there: the handler keeps the string it saw. */
    const char *expected = name;
    if (slot < 0 || atomic_compare_exchange_strong(&temporaries[slot], &expected, NULL)) mem_free(name);
    if (!s) sync_folder(path);
    return s;
}

Status file_write_atomic(const char *path, const FilePart *parts, size_t n) {
    struct stat st;
    bool replaceable = stat(path, &st) || S_ISREG(st.st_mode);
    if (replaceable) return write_replacing(path, parts, n);
    if (S_ISDIR(st.st_mode)) return status_make(STATUS_ENVIRONMENT, "%s: is a folder; name a file", path);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return write_error(path, "be opened for writing");
    Status s = write_joined(fd, parts, n, path);
    if (close(fd) && !s) s = write_error(path, "be written");
    return s;
}
