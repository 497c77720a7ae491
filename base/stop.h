/* A request to stop that can be polled for: one eventfd, set from a signal handler or another thread. */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

/* @threads any thread may call any function; stop_request is async-signal-safe. */
struct stop {
    int fd;
    volatile int asked;
};
void stop_init(struct stop *stop);
void stop_free(struct stop *stop);
void stop_request(struct stop *stop);
static inline bool stop_asked(const struct stop *stop) {
    return stop && __atomic_load_n(&stop->asked, __ATOMIC_ACQUIRE);
}

/* Waits until one of `fds` (at most 62) is ready, the stop is asked for, or `deadline_us` (monotonic,
 * clock_mono) has passed. Returns the number of ready fds (revents set), 0 on deadline or stop. */
int stop_poll(const struct stop *stop, struct pollfd *fds, int n, int64_t now_us, int64_t deadline_us);
