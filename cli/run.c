/* run, capture, sink: the long-lived commands. The main thread starts the roles, then waits for signals and
 * for roles that end:
 *
 *   SIGTERM, SIGINT -> every role stops, at most 5 s        SIGHUP -> the file is read again, sinks follow it
 *
 * When capture fails the process ends with the error's exit code; a failed sink leaves the others running and
 * ends the process only when nothing is left to run. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/server.h"

enum { STOP_MS = 4700, RELOAD_MS = 3000 };
static const char ROOM[] = "cli";

struct running {
    struct roles roles;    /* what the admin port sees; roles under its lock */
    struct role **leaving; /* stopped by a reload, and not ended in time: their peer may hold them up */
    int n_leaving;
    struct pipeline **pipelines; /* every configuration that a role may still use; the last is in force */
    int n_pipelines;
    char owner[128];
    int signal_fd, ended_fd;
    bool with_capture, with_sinks;
    const char *only_sink;
    int exit_code;
};

static struct pipeline *in_force(const struct running *r) {
    return r->pipelines[r->n_pipelines - 1];
}

static void add_role(struct running *r, const struct pipeline_sink *sink, int worker, bool resnapshot) {
    /* The first configuration's journal and schemas: a reload that changes them takes effect at the next
     * start. */
    struct role *role = role_start(r->pipelines[0], sink, worker, resnapshot, r->owner, r->ended_fd);
    pthread_mutex_lock(&r->roles.lock);
    r->roles.items = xrealloc(r->roles.items, (size_t)(r->roles.n + 1) * sizeof(*r->roles.items));
    r->roles.items[r->roles.n++] = role;
    pthread_mutex_unlock(&r->roles.lock);
}

static void add_sink(struct running *r, const struct pipeline_sink *sink, bool resnapshot) {
    log_info(ROOM, "sink starts", F_STR("sink", sink->name), F_INT("workers", sink->config.workers));
    for (int w = 0; w < sink->config.workers; w++)
        add_role(r, sink, w, resnapshot);
}

static struct role *take_out(struct running *r, int i) {
    pthread_mutex_lock(&r->roles.lock);
    struct role *role = r->roles.items[i];
    r->roles.items[i] = r->roles.items[--r->roles.n];
    pthread_mutex_unlock(&r->roles.lock);
    return role;
}

/* False: it has not ended by the deadline, or before the next signal. What it may still do is fenced by its
 * successor's epoch. */
static bool wait_ended(struct running *r, struct role *role, int64_t deadline) {
    while (!role_ended(role)) {
        int64_t left_ms = (deadline - clock_mono(&clock_system)) / 1000;
        struct pollfd fds[2] = {{.fd = r->ended_fd, .events = POLLIN},
                                {.fd = r->signal_fd, .events = POLLIN}};
        uint64_t n;
        if (left_ms <= 0 || (poll(fds, 2, (int)left_ms) > 0 && (fds[1].revents & POLLIN)))
            return role_ended(role);
        if ((fds[0].revents & POLLIN) && read(r->ended_fd, &n, sizeof n) < 0)
            continue;
    }
    return true;
}

static void remove_role(struct running *r, int i, int64_t deadline) {
    struct role *role = take_out(r, i);
    if (wait_ended(r, role, deadline)) {
        role_join(role);
        return;
    }
    log_warn(ROOM, "a role that must stop is held up; it ends by itself", F_STR("sink", role->sink->name),
             F_INT("worker", role->worker));
    r->leaving = xrealloc(r->leaving, (size_t)(r->n_leaving + 1) * sizeof(*r->leaving));
    r->leaving[r->n_leaving++] = role;
}

static void remove_sink(struct running *r, const char *name) {
    log_info(ROOM, "sink stops", F_STR("sink", name));
    int64_t deadline = clock_mono(&clock_system) + RELOAD_MS * 1000;
    for (int i = 0; i < r->roles.n; i++)
        if (r->roles.items[i]->sink && strcmp(r->roles.items[i]->sink->name, name) == 0)
            role_stop(r->roles.items[i]);
    for (int i = r->roles.n - 1; i >= 0; i--)
        if (r->roles.items[i]->sink && strcmp(r->roles.items[i]->sink->name, name) == 0)
            remove_role(r, i, deadline);
    uint64_t one = 1; /* the ends of other roles are looked at once more */
    if (write(r->ended_fd, &one, sizeof one) < 0)
        log_warn(ROOM, "eventfd refused a write");
}

static bool wanted(const struct running *r, const struct pipeline_sink *sink) {
    return r->with_sinks && (!r->only_sink || strcmp(r->only_sink, sink->name) == 0);
}

static void start_roles(struct running *r, bool resnapshot) {
    if (r->with_capture)
        add_role(r, NULL, 0, resnapshot);
    for (int i = 0; i < in_force(r)->n_sinks; i++)
        if (wanted(r, &in_force(r)->sinks[i]))
            add_sink(r, &in_force(r)->sinks[i], resnapshot && r->with_capture);
}

/* ---- reload ---- */

/* True if the sink runs as the file now says, and no table of it is parked. */
static bool runs_well(struct running *r, const struct pipeline_sink *sink) {
    int found = 0;
    for (int i = 0; i < r->roles.n; i++) {
        struct role *role = r->roles.items[i];
        if (!role->sink || strcmp(role->sink->name, sink->name) != 0)
            continue;
        pthread_mutex_lock(&role->lock);
        bool well = !role->ended && role->n_parked == 0 && strcmp(role->sink->text, sink->text) == 0;
        pthread_mutex_unlock(&role->lock);
        if (!well)
            return false;
        found++;
    }
    return found > 0;
}

static bool runs_at_all(const struct running *r, const char *name) {
    for (int i = 0; i < r->roles.n; i++)
        if (r->roles.items[i]->sink && strcmp(r->roles.items[i]->sink->name, name) == 0)
            return true;
    return false;
}

static void drop_gone(struct running *r) {
    for (int i = 0; i < r->roles.n; i++) {
        const struct pipeline_sink *old = r->roles.items[i]->sink;
        if (!old || pipeline_find_sink(in_force(r), old->name))
            continue;
        char name[64];
        snprintf(name, sizeof name, "%s", old->name);
        remove_sink(r, name);
        i = -1;
    }
}

static void reload(struct running *r) {
    struct err err = {0};
    struct pipeline *fresh;
    if (strcmp(in_force(r)->path, "-") == 0) {
        log_error(ROOM,
                  "reload refused: the configuration came from standard input and cannot be read again");
        return;
    }
    if (pipeline_read(in_force(r)->path, &fresh, &err) != OK) {
        log_error(ROOM, "reload refused, the old configuration stays", F_STR("name", err_name(err.id)),
                  F_STR("error", err.text));
        return;
    }
    r->pipelines = xrealloc(r->pipelines, (size_t)(r->n_pipelines + 1) * sizeof(*r->pipelines));
    r->pipelines[r->n_pipelines++] = fresh;
    log_setup((enum log_level)fresh->log.level, fresh->log.format == 1);
    log_info(ROOM, "configuration read again; changes of source, journal, schemas and http take effect at "
                   "the next start");
    drop_gone(r);
    for (int i = 0; i < fresh->n_sinks; i++) {
        const struct pipeline_sink *sink = &fresh->sinks[i];
        if (!wanted(r, sink) || runs_well(r, sink))
            continue;
        if (runs_at_all(r, sink->name))
            remove_sink(r, sink->name);
        add_sink(r, sink, false);
    }
}

/* ---- the loop ---- */

/* True: the process must end. */
static bool roles_ended(struct running *r) {
    uint64_t n;
    if (read(r->ended_fd, &n, sizeof n) < 0 && errno != EAGAIN)
        return true;
    int alive = 0;
    bool capture_failed = false;
    for (int i = 0; i < r->roles.n; i++) {
        struct role *role = r->roles.items[i];
        struct role_view view;
        role_read(role, &view);
        if (!role_ended(role))
            alive++;
        if (view.state != ROLE_FAILED)
            continue;
        if (!r->exit_code)
            r->exit_code = err_exit(view.err.id);
        capture_failed |=
            !role->sink && view.err.id != ERR_JOURNAL_MOVED; /* sinks then apply the journal to its end */
        if (!role->sink)
            r->exit_code = err_exit(view.err.id);
    }
    return capture_failed || alive == 0;
}

static void wait_for_end(struct running *r) {
    for (;;) {
        struct pollfd fds[2] = {{.fd = r->signal_fd, .events = POLLIN},
                                {.fd = r->ended_fd, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        struct signalfd_siginfo info;
        if ((fds[0].revents & POLLIN) && read(r->signal_fd, &info, sizeof info) == sizeof info) {
            if (info.ssi_signo == SIGHUP) {
                reload(r);
                continue;
            }
            r->exit_code = 0;
            log_info(ROOM, "stopping", F_STR("signal", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT"));
            return;
        }
        if ((fds[1].revents & POLLIN) && roles_ended(r))
            return;
    }
}

/* Waits until every role has ended or the time is over; what is left is safe to cut off, as a crash is. */
static bool stop_roles(struct running *r) {
    for (int i = 0; i < r->roles.n; i++)
        role_stop(r->roles.items[i]);
    int64_t deadline = clock_mono(&clock_system) + STOP_MS * 1000;
    for (;;) {
        int alive = 0;
        for (int i = 0; i < r->roles.n; i++)
            alive += !role_ended(r->roles.items[i]);
        for (int i = 0; i < r->n_leaving; i++)
            alive += !role_ended(r->leaving[i]);
        int64_t left_ms = (deadline - clock_mono(&clock_system)) / 1000;
        if (alive == 0)
            return true;
        if (left_ms <= 0)
            return false;
        struct pollfd fd = {.fd = r->ended_fd, .events = POLLIN};
        uint64_t n;
        if (poll(&fd, 1, (int)left_ms) > 0 && read(r->ended_fd, &n, sizeof n) < 0)
            continue;
    }
}

static void free_all(struct running *r) {
    while (r->roles.n > 0)
        role_join(take_out(r, r->roles.n - 1));
    for (int i = 0; i < r->n_leaving; i++)
        role_join(r->leaving[i]);
    free(r->leaving);
    free(r->roles.items);
    for (int i = 0; i < r->n_pipelines; i++)
        pipeline_free(r->pipelines[i]);
    free(r->pipelines);
    pthread_mutex_destroy(&r->roles.lock);
    close(r->signal_fd);
    close(r->ended_fd);
}

static void name_owner(struct running *r) {
    char host[64] = "?";
    uint32_t random = 0;
    gethostname(host, sizeof host - 1);
    if (getrandom(&random, sizeof random, 0) < 0)
        random = (uint32_t)clock_wall(&clock_system);
    snprintf(r->owner, sizeof r->owner, "%s:%d:%08x", host, (int)getpid(), random);
}

static void take_signals(struct running *r) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    r->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    r->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

static int run_roles(struct running *r, bool resnapshot) {
    struct err err = {0};
    struct http_server *server = NULL;
    take_signals(r);
    name_owner(r);
    pthread_mutex_init(&r->roles.lock, NULL);
    const char *listen = in_force(r)->http.listen;
    if (listen && *listen && server_start(&r->roles, listen, &server, &err) != OK) {
        free_all(r);
        return command_fail(&err);
    }
    log_info(ROOM, "start", F_STR("version", server_version()), F_INT("sinks", in_force(r)->n_sinks),
             F_INT("http_port", server ? http_port(server) : 0));
    start_roles(r, resnapshot);
    wait_for_end(r);
    bool clean = stop_roles(r);
    http_stop(server);
    if (!clean) {
        log_warn(
            ROOM,
            "a role did not stop in time and is cut off; nothing is lost, it goes on from the last commit");
        _exit(r->exit_code);
    }
    free_all(r);
    log_info(ROOM, "stopped", F_INT("exit", r->exit_code));
    return r->exit_code;
}

static int start(const struct arguments *args, bool with_capture, bool with_sinks) {
    int code;
    struct running r = {.with_capture = with_capture, .with_sinks = with_sinks, .only_sink = args->sink};
    struct pipeline *p = command_pipeline(args, &code);
    if (!p)
        return code;
    struct err err = {0};
    if (with_capture && !p->source)
        err_set(&err, FATAL, ERR_CONFIG, "%s: there is no source: to capture", args->config);
    else if (with_sinks && !with_capture && p->n_sinks == 0)
        err_set(&err, FATAL, ERR_CONFIG, "%s: there are no sinks:", args->config);
    else if (args->sink && !pipeline_find_sink(p, args->sink))
        err_set(&err, FATAL, ERR_CONFIG, "%s: there is no sink named %s", args->config, args->sink);
    if (err.id) {
        pipeline_free(p);
        return command_fail(&err);
    }
    r.pipelines = xmalloc(sizeof(*r.pipelines));
    r.pipelines[r.n_pipelines++] = p;
    return run_roles(&r, args->resnapshot);
}

int command_run(const struct arguments *args) {
    return start(args, true, true);
}
int command_capture(const struct arguments *args) {
    return start(args, true, false);
}
int command_sink(const struct arguments *args) {
    return start(args, false, true);
}
