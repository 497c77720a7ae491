/* Crosses threads: `asked` and the eventfd are the whole of it, both safe in a signal handler. */
#include "base/stop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { FDS_MAX = 62 };

void stop_init(struct stop *stop) {
    stop->asked = 0;
    stop->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop->fd < 0)
        abort(); /* before anything was begun, without a descriptor to spare */
}

void stop_free(struct stop *stop) {
    if (stop->fd >= 0)
        close(stop->fd);
    stop->fd = -1;
}

void stop_request(struct stop *stop) {
    int saved = errno;
    uint64_t one = 1;
    __atomic_store_n(&stop->asked, 1, __ATOMIC_SEQ_CST);
    if (write(stop->fd, &one, sizeof one) < 0)
        errno = saved; /* only when the counter is full: then it is readable */
    errno = saved;
}

static int64_t mono_us(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* Like poll with microseconds (INT64_MAX = for ever), and goes on after a signal that does not ask for a
 * stop. The caller's clock may be a simulated one; how long a signal interrupted us is measured with the real
 * one. */
static int poll_through_signals(const struct stop *stop, struct pollfd *fds, nfds_t n, int64_t wait_us) {
    int64_t begun = mono_us();
    for (int64_t left = wait_us;; left = wait_us - (mono_us() - begun)) {
        if (left < 0)
            left = 0;
        struct timespec ts = {.tv_sec = left / 1000000, .tv_nsec = left % 1000000 * 1000};
        int ready = ppoll(fds, n, wait_us == INT64_MAX ? NULL : &ts, NULL);
        if (ready >= 0)
            return ready;
        assert(errno == EINTR || errno == ENOMEM);
        if (stop_asked(stop) || errno == ENOMEM)
            return 0;
    }
}

int stop_poll(const struct stop *stop, struct pollfd *fds, int n, int64_t now_us, int64_t deadline_us) {
    assert(n >= 0 && n <= FDS_MAX);
    struct pollfd all[FDS_MAX + 1];
    if (n)
        memcpy(all, fds, (size_t)n * sizeof *fds);
    all[n] = (struct pollfd){.fd = stop ? stop->fd : -1, .events = POLLIN};
    for (int i = 0; i < n; i++)
        fds[i].revents = 0;
    if (stop_asked(stop))
        return 0;

    int64_t wait_us = deadline_us <= now_us ? 0 : deadline_us == INT64_MAX ? INT64_MAX : deadline_us - now_us;
    int ready = poll_through_signals(stop, all, (nfds_t)n + 1, wait_us);
    if (ready <= 0 || stop_asked(stop) || all[n].revents)
        return 0;
    for (int i = 0; i < n; i++)
        fds[i].revents = all[i].revents;
    return ready;
}
