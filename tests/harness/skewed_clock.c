/* Preloaded into a program: its wall clock is off by the seconds that the file SKEWED_CLOCK holds, from the
 * moment on at which they are written there. The monotonic clock goes on as it does when somebody sets a
 * machine's time, and a wait that is given an end by the wall clock ends when this program's clock says
 * so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* Also called in signal handlers: nothing but system calls. */
static long skew(void) {
    const char *path = getenv("SKEWED_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char line[32] = "";
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, line, sizeof line - 1);
    close(fd);
    return n > 0 ? strtol(line, NULL, 10) : 0;
}

int clock_gettime(clockid_t id, struct timespec *ret) {
    static int (*next)(clockid_t, struct timespec *);
    if (!next)
        next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = next(id, ret);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        ret->tv_sec += skew();
    return failed;
}

int gettimeofday(struct timeval *ret, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    *ret = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

int timespec_get(struct timespec *ret, int base) {
    return base == TIME_UTC && !clock_gettime(CLOCK_REALTIME, ret) ? base : 0;
}

/* librdkafka's waits: it takes their ends from gettimeofday and from timespec_get. */
int cnd_timedwait(cnd_t *condition, mtx_t *mutex, const struct timespec *deadline) {
    static int (*next)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec end = *deadline;
    if (!next)
        next = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
    end.tv_sec -= skew();
    return next(condition, mutex, &end);
}

time_t time(time_t *ret) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (ret)
        *ret = now.tv_sec;
    return now.tv_sec;
}
