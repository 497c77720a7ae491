/* Preloaded into a process: what it writes to files whose path begins with POWER_PATH is lost when the power
 * fails, unless it was synced. power.py fails it.
 *
 * Before each write the bytes that stood there go into a file of directory POWER_UNDO, one for each file
 * (named by its inode); a sync empties it. A killed process leaves it behind, as it leaves its page cache:
 * only power.py, which puts the old bytes back, is a power cut. A sync takes up to POWER_SYNC_US, so that
 * deaths fall into it, and no disk is asked.
 *
 *   undo file   end, [offset, bytes written, size of the file before, n, n old bytes]...   (each number 8
 * bytes) what lies from `end` on is half a record of somebody who was killed entries     paths that were
 * made, a line each, until their directory is synced
 *
 * Threads and processes: each access opens the undo file and holds its lock, or waits for it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEXT(name) __typeof__(name) *next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static int tracked_path(const char *path) {
    const char *where = getenv("POWER_PATH");
    size_t n = where ? strlen(where) : 0;
    return n && strncmp(path, where, n) == 0 && !strstr(path, "-shm") && !strstr(path, "-tick");
}

static int path_of(int fd, char *ret) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, ret, PATH_MAX - 1);
    if (n < 0)
        return 0;
    ret[n] = 0;
    return 1;
}

static int tracked(int fd) {
    char path[PATH_MAX];
    int saved = errno, yes = path_of(fd, path) && tracked_path(path);
    errno = saved;
    return yes;
}

/* Opened and locked: without an undo file the test would mean nothing. */
static int undo_begin(const char *name) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", getenv("POWER_UNDO"), name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        abort();
    return fd;
}

static void undo_end(int undo) {
    int saved = errno;
    close(undo);
    errno = saved;
}

static int undo_of(const struct stat *st) {
    char name[32];
    snprintf(name, sizeof name, "%llu", (unsigned long long)st->st_ino);
    return undo_begin(name);
}

static int undo_of_open(int fd, struct stat *ret) {
    if (fstat(fd, ret) < 0)
        abort();
    int undo = undo_of(ret);
    if (fstat(fd, ret) < 0) /* now that nobody writes */
        abort();
    return undo;
}

/* Keeps what stands in [at, at + n) of the file. */
static void keep(int undo, int fd, uint64_t at, uint64_t written, uint64_t n, uint64_t size) {
    NEXT(pwrite);
    uint64_t end = sizeof end, head[4] = {at, written, size, at >= size ? 0 : n < size - at ? n : size - at};
    size_t length = sizeof head + head[3];
    char *record = malloc(length);
    if (!record || pread(undo, &end, sizeof end, 0) < 0)
        abort();
    memcpy(record, head, sizeof head);
    if (pread(fd, record + sizeof head, head[3], (off_t)at) != (ssize_t)head[3] ||
        next(undo, record, length, (off_t)end) != (ssize_t)length)
        abort();
    end += length;
    if (next(undo, &end, sizeof end, 0) != sizeof end)
        abort();
    free(record);
}

#define KEPT_WRITE(fd, n, at, call)                                 \
    do {                                                            \
        if (!tracked(fd))                                           \
            return call;                                            \
        struct stat st;                                             \
        int undo = undo_of_open(fd, &st);                           \
        keep(undo, fd, (uint64_t)(at), n, n, (uint64_t)st.st_size); \
        __typeof__(call) done = call;                               \
        undo_end(undo);                                             \
        return done;                                                \
    } while (0)

ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at) {
    NEXT(pwrite);
    KEPT_WRITE(fd, n, at, next(fd, bytes, n, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at) {
    NEXT(pwrite64);
    KEPT_WRITE(fd, n, at, next(fd, bytes, n, at));
}

ssize_t write(int fd, const void *bytes, size_t n) {
    NEXT(write);
    KEPT_WRITE(fd, n, lseek(fd, 0, SEEK_CUR), next(fd, bytes, n));
}

static int cut(int fd, off_t size, int (*next)(int, off_t)) {
    struct stat st;
    if (!tracked(fd))
        return next(fd, size);
    int undo = undo_of_open(fd, &st);
    keep(undo, fd, (uint64_t)size, 0, (uint64_t)st.st_size, (uint64_t)st.st_size);
    int done = next(fd, size);
    undo_end(undo);
    return done;
}

int ftruncate(int fd, off_t size) {
    NEXT(ftruncate);
    return cut(fd, size, next);
}

int ftruncate64(int fd, off64_t size) {
    NEXT(ftruncate64);
    return cut(fd, size, next);
}

/* ---- syncs ---- */

static void take_time(void) {
    const char *most = getenv("POWER_SYNC_US");
    static __thread unsigned seed;
    if (!seed)
        seed = (unsigned)getpid() ^ (unsigned)(uintptr_t)&seed;
    if (most && atoi(most) > 0)
        usleep((useconds_t)(rand_r(&seed) % atoi(most)));
}

/* Does the path begin with the name of a directory? Then what was made in it stays. */
static int is_directory(int fd, const char *path) {
    struct stat st;
    const char *where = getenv("POWER_PATH");
    return fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) && where && strncmp(where, path, strlen(path)) == 0;
}

static int sync_any(int fd, int (*next)(int)) {
    char path[PATH_MAX];
    struct stat st;
    if (!path_of(fd, path))
        return next(fd);
    int directory = is_directory(fd, path);
    if (!directory && !tracked_path(path))
        return next(fd);
    int undo = directory ? undo_begin("entries") : undo_of_open(fd, &st);
    take_time();
    if (ftruncate(undo, 0) < 0)
        abort();
    undo_end(undo);
    return 0;
}

int fsync(int fd) {
    NEXT(fsync);
    return sync_any(fd, next);
}

int fdatasync(int fd) {
    NEXT(fdatasync);
    return sync_any(fd, next);
}

/* ---- names ---- */

static void keep_entry(const char *path) {
    int undo = undo_begin("entries");
    if (lseek(undo, 0, SEEK_END) < 0 || dprintf(undo, "%s\n", path) < 0)
        abort();
    undo_end(undo);
}

/* A new file may get the inode of one that is gone. (That a name comes back is left out.) */
int unlink(const char *path) {
    NEXT(unlink);
    struct stat st;
    if (!tracked_path(path) || stat(path, &st) < 0)
        return next(path);
    int undo = undo_of(&st), done = next(path);
    if (done == 0 && st.st_nlink == 1 && ftruncate(undo, 0) < 0)
        abort();
    undo_end(undo);
    return done;
}

static int open_any(const char *path, int flags, mode_t mode, int (*next)(const char *, int, ...)) {
    bool made = (flags & O_CREAT) && tracked_path(path) && access(path, F_OK) < 0;
    int fd = next(path, flags, mode);
    if (made && fd >= 0)
        keep_entry(path);
    return fd;
}

static mode_t mode_of(int flags, va_list arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    NEXT(open);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_any(path, flags, mode, next);
}

int open64(const char *path, int flags, ...) {
    NEXT(open64);
    va_list arguments;
    va_start(arguments, flags);
    mode_t mode = mode_of(flags, arguments);
    va_end(arguments);
    return open_any(path, flags, mode, next);
}

int link(const char *from, const char *to) {
    NEXT(link);
    int done = next(from, to);
    if (done == 0 && tracked_path(to))
        keep_entry(to);
    return done;
}
