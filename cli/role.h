/* A role: one crank on one thread, opened anew with back-off whenever it can heal, ended when a person must
 * decide.
 *
 * @threads role_start, role_stop, role_join, role_read: the main thread (role_read also the HTTP thread). The
 * crank runs on the role's own thread; what others see of it is copied under the role's lock. */
#pragma once

#include <pthread.h>

#include "cli/pipeline.h"

enum role_state { ROLE_STARTING, ROLE_STANDBY, ROLE_RUNNING, ROLE_RETRYING, ROLE_STOPPED, ROLE_FAILED };
const char *role_state_name(enum role_state state);

struct role_view {
    enum role_state state;
    struct err err;   /* newest error; code OK: none */
    int64_t since_us; /* wall clock of the last change of state */
    uint64_t retries;
    struct sink_progress_view sink; /* sinks only */
};

struct role {
    struct pipeline *pipeline;        /* borrowed */
    const struct pipeline_sink *sink; /* NULL: capture */
    int worker;
    bool resnapshot;
    const char *owner;
    struct stop stop;
    int ended_fd; /* eventfd to tell the main thread */
    pthread_t thread;
    pthread_mutex_t lock;
    struct role_view view;     /* under lock */
    struct sink_parked parked; /* the role's thread only; read by others as a count under lock */
    size_t n_parked;           /* under lock */
    bool ended;                /* under lock */
};

struct role *role_start(struct pipeline *pipeline, const struct pipeline_sink *sink, int worker,
                        bool resnapshot, const char *owner, int ended_fd);
void role_stop(struct role *role); /* asks; does not wait */
void role_join(struct role *role); /* waits for the thread, frees */
bool role_ended(struct role *role);
void role_read(struct role *role, struct role_view *ret);
