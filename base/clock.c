#include "base/clock.h"

#include <sys/random.h>
#include <time.h>

enum { WAIT_MS_MIN = 100, WAIT_MS_MAX = 10000 };

static int64_t read_us(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t system_mono(void *arg) {
    (void)arg;
    return read_us(CLOCK_MONOTONIC);
}

static int64_t system_wall(void *arg) {
    (void)arg;
    return read_us(CLOCK_REALTIME);
}

const struct clock clock_system = {.mono_us = system_mono, .wall_us = system_wall};

/* Agents that lost one server at one moment must not come back at one moment: the seed is not the time, if it
 * can be. */
static void backoff_seed(struct backoff *b, const struct clock *c) {
    if (getrandom(&b->seed, sizeof b->seed, GRND_NONBLOCK) != sizeof b->seed)
        b->seed = (uint64_t)clock_mono(c);
    b->seed |= 1; /* 0 means "not seeded", and is the one value xorshift cannot leave */
}

static uint64_t xorshift(uint64_t x) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
}

int64_t backoff_next_ms(struct backoff *b, const struct clock *c) {
    if (!b->seed)
        backoff_seed(b, c);
    b->seed = xorshift(b->seed);
    int64_t most = b->tries >= 6 ? WAIT_MS_MAX : (int64_t)WAIT_MS_MIN << (b->tries + 1);
    if (b->tries < 6)
        b->tries++;
    return WAIT_MS_MIN + (int64_t)((b->seed >> 11) % (uint64_t)(most - WAIT_MS_MIN + 1));
}

void backoff_reset(struct backoff *b) {
    b->tries = 0;
}
