/* @threads see role.h */
#include "cli/role.h"

#include <unistd.h>

#include "base/log.h"
#include "base/metrics.h"

enum { FINISH_MS = 3000, SNAPSHOT_BEGINS_US = 300000000 };

const char *role_state_name(enum role_state state) {
    static const char *const names[] = {"starting", "standby", "running", "retrying", "stopped", "failed"};
    return names[state];
}

static const char *room_of(const struct role *role) {
    return role->sink ? "sink" : "capture";
}
static const char *name_of(const struct role *role) {
    return role->sink ? role->sink->name : role->pipeline->source_name;
}

static void set_state(struct role *role, enum role_state state, const struct err *err) {
    pthread_mutex_lock(&role->lock);
    bool changed = role->view.state != state;
    role->view.state = state;
    if (changed)
        role->view.since_us = clock_wall(&clock_system);
    if (err)
        role->view.err = *err;
    if (state == ROLE_RUNNING)
        role->view.err = (struct err){0};
    role->n_parked = role->parked.n;
    pthread_mutex_unlock(&role->lock);
}

static void set_view(struct role *role, const struct sink_progress_view *view) {
    pthread_mutex_lock(&role->lock);
    role->view.sink = *view;
    pthread_mutex_unlock(&role->lock);
}

static void count_error(struct role *role, const struct err *err) {
    const char *labels[] = {"room", room_of(role), "name", name_of(role), "error", err_name(err->id), NULL};
    metric_add(metric_get(METRIC_COUNTER, "millrace_errors_total", "Errors by name, healed or not.", labels),
               1);
}

/* Runs one capture from open to its end. */
static enum code capture_run(struct role *role, const struct capture_env *env, struct backoff *backoff,
                             struct err *err) {
    struct capture *capture;
    enum code code = capture_open(env, &capture, err);
    if (code != OK)
        return code;
    set_state(role, ROLE_RUNNING, NULL);
    for (unsigned steps = 0; (code == OK || code == AGAIN) && !stop_asked(&role->stop); steps++) {
        code = capture_step(capture, err);
        if (code == AGAIN)
            capture_wait(capture);
        if (steps == 1000)
            backoff_reset(backoff);
    }
    struct err finish = {0};
    enum code finished = code == RETRY ? OK : capture_finish(capture, FINISH_MS, &finish);
    if (finished != OK && finished != AGAIN)
        log_warn("capture", "the last transaction was not finished", F_STR("name", err_name(finish.id)),
                 F_STR("error", finish.text));
    if (capture_committed(capture))
        role->resnapshot = false;
    capture_close(capture);
    return code;
}

static enum code sink_run(struct role *role, const struct sink_env *env, struct backoff *backoff,
                          struct err *err) {
    struct sink *sink;
    enum code code = sink_open(env, &sink, err);
    if (code != OK)
        return code;
    while ((code == OK || code == AGAIN) && !stop_asked(&role->stop)) {
        code = sink_step(sink, err);
        struct sink_progress_view view = sink_view(sink);
        set_view(role, &view);
        enum role_state state = view.owner ? ROLE_RUNNING : ROLE_STANDBY;
        if (role->view.state != state && (code == OK || code == AGAIN))
            set_state(role, state, NULL);
        if (code == AGAIN && view.owner)
            backoff_reset(backoff);
        if (code == AGAIN)
            sink_wait(sink);
    }
    sink_close(sink);
    return code;
}

static enum code run_once(struct role *role, struct backoff *backoff, struct err *err) {
    struct pipeline *p = role->pipeline;
    struct pipeline_schemas schemas = {p, {&clock_system, &role->stop}};
    if (role->sink) {
        struct sink_env env = {&clock_system,       &role->stop,        role->sink->name,
                               role->owner,         role->sink->target, role->sink->target_options,
                               p->journal,          pipeline_schemas,   &schemas,
                               &role->sink->config, role->worker,       (int)role->sink->config.workers,
                               &role->parked};
        return sink_run(role, &env, backoff, err);
    }
    struct capture_env env = {&clock_system,  &role->stop,     p->source,        p->source_options,
                              p->source_name, p->journal,      pipeline_schemas, &schemas,
                              &p->capture,    role->resnapshot};
    return capture_run(role, &env, backoff, err);
}

static void wait_before_retry(struct role *role, struct backoff *backoff, const struct err *err) {
    int64_t ms = backoff_next_ms(backoff, &clock_system), now = clock_mono(&clock_system);
    log_warn(room_of(role), "will try again", F_STR("of", name_of(role)), F_INT("worker", role->worker),
             F_STR("name", err_name(err->id)), F_STR("error", err->text), F_INT("in_ms", ms));
    const char *labels[] = {"room", room_of(role), "name", name_of(role), NULL};
    metric_add(metric_get(METRIC_COUNTER, "millrace_retries_total",
                          "Times a role was thrown away and opened anew.", labels),
               1);
    pthread_mutex_lock(&role->lock);
    role->view.retries++;
    pthread_mutex_unlock(&role->lock);
    set_state(role, ROLE_RETRYING, err);
    stop_poll(&role->stop, NULL, 0, now, now + ms * 1000);
}

/* What stopped a sink in the journal is replaced by the snapshot that was asked for with the same command: it
 * waits until that has begun. */
static bool snapshot_mends(const struct role *role, enum code code, const struct err *err, int64_t begun_us) {
    bool journal =
        (err->id >= ERR_JOURNAL_UNREACHABLE && err->id <= ERR_JOURNAL_GAP && err->id != ERR_JOURNAL_OTHER) ||
        err->id == ERR_SCHEMA_UNKNOWN;
    return role->sink && role->resnapshot && code == FATAL && journal &&
           clock_mono(&clock_system) - begun_us < SNAPSHOT_BEGINS_US;
}

static void *role_main(void *arg) {
    struct role *role = arg;
    struct backoff backoff = {0};
    enum code code = OK;
    struct err err = {0};
    int64_t begun_us = clock_mono(&clock_system);
    while (!stop_asked(&role->stop)) {
        err = (struct err){0};
        code = run_once(role, &backoff, &err);
        if (stop_asked(&role->stop))
            break;
        if (code == OK || code == AGAIN)
            continue;
        count_error(role, &err);
        if (code != RETRY && !snapshot_mends(role, code, &err, begun_us))
            break;
        wait_before_retry(role, &backoff, &err);
    }
    bool failed = (code == FATAL || code == REJECT) && err.id != ERR_STOPPED;
    if (failed)
        log_error(room_of(role), "stopped", F_STR("of", name_of(role)), F_INT("worker", role->worker),
                  F_STR("name", err_name(err.id)), F_STR("error", err.text));
    set_state(role, failed ? ROLE_FAILED : ROLE_STOPPED, failed ? &err : NULL);
    pthread_mutex_lock(&role->lock);
    role->ended = true;
    pthread_mutex_unlock(&role->lock);
    uint64_t one = 1;
    if (write(role->ended_fd, &one, sizeof one) < 0)
        log_warn("cli", "eventfd refused a write");
    return NULL;
}

struct role *role_start(struct pipeline *pipeline, const struct pipeline_sink *sink, int worker,
                        bool resnapshot, const char *owner, int ended_fd) {
    struct role *role = xcalloc(1, sizeof *role);
    *role = (struct role){.pipeline = pipeline,
                          .sink = sink,
                          .worker = worker,
                          .resnapshot = resnapshot,
                          .owner = owner,
                          .ended_fd = ended_fd};
    stop_init(&role->stop);
    pthread_mutex_init(&role->lock, NULL);
    role->view.since_us = clock_wall(&clock_system);
    if (pthread_create(&role->thread, NULL, role_main, role) != 0)
        abort();
    return role;
}

void role_stop(struct role *role) {
    stop_request(&role->stop);
}

void role_join(struct role *role) {
    pthread_join(role->thread, NULL);
    pthread_mutex_destroy(&role->lock);
    stop_free(&role->stop);
    sink_parked_free(&role->parked);
    free(role);
}

bool role_ended(struct role *role) {
    pthread_mutex_lock(&role->lock);
    bool ended = role->ended;
    pthread_mutex_unlock(&role->lock);
    return ended;
}

void role_read(struct role *role, struct role_view *ret) {
    pthread_mutex_lock(&role->lock);
    *ret = role->view;
    pthread_mutex_unlock(&role->lock);
}
