/* Questions from outside about a trigger-fed source, each with a short session of its own: status, doctor,
 * and `millrace source`. */
#include <jansson.h>

#include "base/finding.h"
#include "capture/trigger/state.h"
#include "capture/trigger/trigger.h"

#define MEND "take a new snapshot: millrace capture --config FILE --resnapshot"
enum { SETUP_WAIT_MS = 20000 };

static const char *level_name(enum feed_level level) {
    return level == FEED_ERROR ? "error" : level == FEED_WARN ? "warn" : "ok";
}

/* Why the stream cannot go on from what is stored; "" if it can. */
static void continuity(const struct trigger_state *state, const struct source_resume *resume,
                       const struct feed_look *look, struct buf *why) {
    if (!state->found || !state->streaming)
        return;
    if (*state->stale)
        buf_printf(why, "rows changed without change rows (%s)", state->stale);
    else if (strcmp(state->identity, look->identity) != 0)
        buf_printf(why, "the installation is another one than the stored position belongs to (%s, now %s)",
                   state->identity, look->identity);
    else if (resume->position.commit > look->last_id)
        buf_printf(
            why,
            "the stored position %llu lies beyond the last recorded change %llu: the database was set back",
            (unsigned long long)resume->position.commit, (unsigned long long)look->last_id);
}

static enum code look_at(const struct feed_ops *feed, const void *options, const struct source_env *env,
                         int64_t wait_ms, struct feed_look *ret, bool *ret_active, struct err *err) {
    struct feed *f = NULL;
    struct err busy;
    enum code code = feed->connect(options, env, wait_ms, &f, err);
    if (code == OK)
        code = feed->look(f, wait_ms, ret, err);
    if (code == OK)
        *ret_active = feed->claim(f, &busy) == RETRY && busy.id == ERR_SLOT_ACTIVE;
    feed->close(f);
    return code;
}

enum code trigger_check(const struct feed_ops *feed, const void *options, const struct source_env *env,
                        const struct source_resume *resume, int64_t wait_ms, struct buf *findings,
                        struct err *err) {
    struct feed_look look = {0};
    struct trigger_state state = {0};
    CLEANUP_BUF why = {0};
    bool active;
    struct err problem;
    enum code code = resume && resume->found ? trigger_state_read(resume->state, &state, err) : OK;
    if (code == OK && look_at(feed, options, env, wait_ms, &look, &active, &problem) != OK)
        finding_put(findings, "error", err_name(problem.id), problem.text, "");
    for (const struct feed_finding *f = look.findings; f; f = f->next)
        finding_put(findings, level_name(f->level), f->name, f->what, f->mend);
    if (code == OK && look.installed)
        continuity(&state, resume, &look, &why);
    if (why.len)
        finding_put(findings, "error", err_name(ERR_NEEDS_RESNAPSHOT), buf_cstr(&why), MEND);
    feed_look_free(&look);
    trigger_state_free(&state);
    return code;
}

/* Fills state and why. */
static void put_state(json_t *root, const struct trigger_state *state, const struct source_resume *resume,
                      const struct feed_look *look, bool active) {
    CLEANUP_BUF why = {0};
    struct err stop;
    const char *name = active ? "streaming" : "stopped";
    if (state->found && !state->streaming)
        name = "snapshot";
    if (look->installed)
        continuity(state, resume, look, &why);
    if (why.len)
        name = err_name(ERR_NEEDS_RESNAPSHOT);
    else if (feed_look_judge(look, &stop) != OK) {
        name = err_name(stop.id);
        buf_puts(&why, stop.text);
    }
    json_object_set_new(root, "state", json_string(name));
    if (why.len)
        json_object_set_new(root, "why", json_string(buf_cstr(&why)));
}

enum code trigger_status(const struct feed_ops *feed, const void *options, const struct source_env *env,
                         const struct source_resume *resume, int64_t wait_ms, struct buf *json,
                         struct err *err) {
    struct feed_look look = {0};
    struct trigger_state state = {0};
    struct err problem;
    bool active = false;
    enum code code = resume && resume->found ? trigger_state_read(resume->state, &state, err) : OK;
    if (code)
        return code;
    json_t *root = json_object();
    if (state.found) {
        CLEANUP_FREE char *position = xasprintf("%llu", (unsigned long long)resume->position.commit);
        json_object_set_new(root, "position", json_string(position));
    }
    if (look_at(feed, options, env, wait_ms, &look, &active, &problem) != OK) {
        json_object_set_new(root, "state", json_string("unreachable"));
        json_object_set_new(root, "why", json_string(problem.text));
    } else {
        put_state(root, &state, resume, &look, active);
        json_object_set_new(root, "installation", json_string(look.identity));
        json_object_set_new(root, "last_change", json_integer((json_int_t)look.last_id));
        json_object_set_new(root, "change_rows", json_integer(look.rows));
        json_object_set_new(root, "lag_bytes", json_integer(look.bytes));
        json_object_set_new(root, "slot_bytes_behind", json_integer(look.bytes));
    }
    char *text = json_dumps(root, JSON_COMPACT);
    buf_puts(json, text ? text : "{}");
    free(text);
    json_decref(root);
    feed_look_free(&look);
    trigger_state_free(&state);
    return OK;
}

enum code trigger_setup(const struct feed_ops *feed, const void *options, const struct source_env *env,
                        enum source_setup what, bool print, struct buf *out, struct err *err) {
    struct feed *f = NULL;
    CLEANUP_BUF sql = {0};
    enum code code = feed->connect(options, env, SETUP_WAIT_MS, &f, err);
    if (code == OK)
        code = feed->script(f, what == SETUP_INSTALL ? FEED_INSTALL : FEED_UNINSTALL, &sql, err);
    if (code == OK && print)
        buf_put_slice(out, buf_slice(&sql));
    else if (code == OK && sql.len)
        code = feed->run(f, buf_cstr(&sql), err);
    feed->close(f);
    return code;
}
