/* @threads the handlers run on the HTTP thread and take roles->lock, then each role's lock. */
#include "cli/server.h"

#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "base/metrics.h"

#ifndef MILLRACE_VERSION
#define MILLRACE_VERSION "0.1.0"
#endif

const char *server_version(void) {
    return MILLRACE_VERSION;
}

static double resident_bytes(void) {
    char line[256], *resident = NULL;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return 0;
    if (fgets(line, sizeof line, f))
        resident = strchr(line, ' '); /* behind the total */
    fclose(f);
    return resident ? strtod(resident, NULL) * (double)sysconf(_SC_PAGESIZE) : 0;
}

static int page_metrics(void *arg, struct buf *out, const char **ret_type) {
    (void)arg;
    metric_set(metric_get(METRIC_GAUGE, "process_resident_memory_bytes", "Resident memory of this process.",
                          (const char *[]){NULL}),
               resident_bytes());
    *ret_type = "text/plain; version=0.0.4";
    metrics_print(out);
    return 200;
}

static int page_health(void *arg, struct buf *out, const char **ret_type) {
    (void)arg;
    *ret_type = "text/plain";
    buf_puts(out, "ok\n");
    return 200;
}

/* Ready: every role runs or stands by. */
static int page_ready(void *arg, struct buf *out, const char **ret_type) {
    struct roles *roles = arg;
    int bad = 0;
    *ret_type = "text/plain";
    pthread_mutex_lock(&roles->lock);
    for (int i = 0; i < roles->n; i++) {
        struct role_view view;
        role_read(roles->items[i], &view);
        if (view.state == ROLE_RUNNING || view.state == ROLE_STANDBY)
            continue;
        bad++;
        buf_printf(
            out, "%s %s worker %d: %s %s\n", roles->items[i]->sink ? "sink" : "capture",
            roles->items[i]->sink ? roles->items[i]->sink->name : roles->items[i]->pipeline->source_name,
            roles->items[i]->worker, role_state_name(view.state), view.err.id ? err_name(view.err.id) : "");
    }
    pthread_mutex_unlock(&roles->lock);
    if (!bad)
        buf_puts(out, "ready\n");
    return bad ? 503 : 200;
}

static json_t *role_json(struct role *role) {
    struct role_view view;
    role_read(role, &view);
    json_t *o = json_pack("{s:s, s:s, s:i, s:s, s:I, s:I}", "role", role->sink ? "sink" : "capture", "name",
                          role->sink ? role->sink->name : role->pipeline->source_name, "worker", role->worker,
                          "state", role_state_name(view.state), "since_us", (json_int_t)view.since_us,
                          "retries", (json_int_t)view.retries);
    if (view.err.id)
        json_object_set_new(o, "error",
                            json_pack("{s:s, s:s}", "name", err_name(view.err.id), "text", view.err.text));
    if (!role->sink)
        return o;
    json_object_set_new(o, "seq", json_integer((json_int_t)view.sink.commit_seq));
    json_object_set_new(o, "seq_newest", json_integer((json_int_t)view.sink.commit_seq_end));
    json_object_set_new(o, "commit_us", json_integer(view.sink.commit_us));
    json_object_set_new(o, "changes", json_integer((json_int_t)view.sink.changes));
    json_object_set_new(o, "building", json_boolean(view.sink.catching_up));
    return o;
}

static int page_status(void *arg, struct buf *out, const char **ret_type) {
    struct roles *roles = arg;
    json_t *list = json_array();
    pthread_mutex_lock(&roles->lock);
    for (int i = 0; i < roles->n; i++)
        json_array_append_new(list, role_json(roles->items[i]));
    pthread_mutex_unlock(&roles->lock);
    json_t *page = json_pack("{s:s, s:o}", "version", MILLRACE_VERSION, "roles", list);
    char *text = json_dumps(page, JSON_INDENT(1));
    json_decref(page);
    *ret_type = "application/json";
    buf_puts(out, text ? text : "{}");
    buf_putc(out, '\n');
    free(text);
    return 200;
}

enum code server_start(struct roles *roles, const char *listen, struct http_server **ret, struct err *err) {
    static struct http_route routes[4];
    const struct http_route all[4] = {{"/metrics", page_metrics, roles},
                                      {"/healthz", page_health, roles},
                                      {"/readyz", page_ready, roles},
                                      {"/v1/status", page_status, roles}};
    memcpy(routes, all, sizeof routes);
    return http_start(listen, routes, 4, ret, err);
}
