/* Time as an argument, so that the same code runs in a simulation. */
#pragma once

#include <stdint.h>

struct clock {
    int64_t (*mono_us)(void *arg); /* microseconds, never goes back; for deadlines */
    /* microseconds since 1970 UTC; for people and for records, never for order */
    int64_t (*wall_us)(void *arg);
    void *arg;
};

extern const struct clock clock_system;
static inline int64_t clock_mono(const struct clock *c) {
    return c->mono_us(c->arg);
}
static inline int64_t clock_wall(const struct clock *c) {
    return c->wall_us(c->arg);
}
/* Seconds since `then_us` on the wall; 0 where another machine's clock, or this one after a jump, says that
 * it is yet to come. */
static inline double clock_age_s(const struct clock *c, int64_t then_us) {
    int64_t now_us = clock_wall(c);
    return now_us > then_us ? (double)(now_us - then_us) / 1e6 : 0;
}

/* Exponential back-off with full jitter: 100 ms .. 10 s. Zero-initialised is ready. */
struct backoff {
    unsigned tries;
    uint64_t seed;
};
int64_t backoff_next_ms(struct backoff *b, const struct clock *c);
void backoff_reset(struct backoff *b);
