/* Preloaded into a server: while the file named by FULL_DISK_SWITCH exists, writes to files whose path
 * contains FULL_DISK_PATH fail as on a full disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int is_full(int fd) {
    const char *where = getenv("FULL_DISK_PATH"), *on = getenv("FULL_DISK_SWITCH");
    char link[64], path[PATH_MAX];
    if (!where || !on || access(on, F_OK) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n < 0)
        return 0;
    path[n] = 0;
    return strstr(path, where) != NULL;
}

ssize_t write(int fd, const void *bytes, size_t n) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next)
        next = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    if (is_full(fd)) {
        errno = ENOSPC;
        return -1;
    }
    return next(fd, bytes, n);
}
