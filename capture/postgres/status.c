/* Where the source stands, seen from a short session of its own. */
#include <jansson.h>
#include <stdio.h>

#include "base/log.h"
#include "capture/postgres/identity.h"
#include "capture/postgres/publication.h"
#include "capture/postgres/source.h"

static void set_lsn(json_t *to, const char *name, uint64_t lsn) {
    char text[32];
    snprintf(text, sizeof text, LSN_FMT, LSN_ARGS(lsn));
    json_object_set_new(to, name, json_string(text));
}

static void set_distance(json_t *to, const char *name, uint64_t from, uint64_t end) {
    json_object_set_new(to, name, json_integer(end > from ? (json_int_t)(end - from) : 0));
}

static enum code dump(json_t *root, struct buf *json) {
    char *text = json_dumps(root, JSON_COMPACT);
    buf_puts(json, text ? text : "{}");
    free(text);
    json_decref(root);
    return OK;
}

/* The name of the state, and why where that is not plain. */
static const char *state_of(const struct pg_options *options, const struct source_env *env, int64_t wait_ms,
                            const struct pg_server *server, const struct pg_slot *slot,
                            const struct pg_publication *publication, const struct pg_state *state,
                            struct err *why) {
    bool streaming = state->found && strcmp(state->phase, "stream") == 0;
    why->text[0] = 0;
    if (streaming && (identity_check(server, slot, state, why) != OK ||
                      identity_ask_timeline(options, env, wait_ms, server, state, why) != OK))
        return "needs-resnapshot";
    if (streaming && options->silent_changes == PG_SILENT_STOP && stale_check(state->stale, why) != OK)
        return "needs-resnapshot";
    if (streaming && publication_check(publication, state->publication, state->flushed, why) != OK)
        return "needs-resnapshot";
    if (!streaming && slot->found && slot_check(slot, server->database, why) != OK)
        return "needs-resnapshot";
    if (state->found && !streaming)
        return "snapshot";
    return slot->active ? "streaming" : "stopped";
}

static void put_slot(json_t *root, const struct pg_slot *slot, const struct pg_server *server) {
    json_object_set_new(root, "slot", json_string(slot->name));
    json_object_set_new(root, "slot_found", json_boolean(slot->found));
    set_lsn(root, "wal", server->wal);
    if (!slot->found)
        return;
    set_lsn(root, "confirmed", slot->confirmed);
    set_lsn(root, "restart", slot->restart);
    set_distance(root, "lag_bytes", slot->confirmed, server->wal);
    set_distance(root, "slot_bytes_behind", slot->restart, server->wal);
    json_object_set_new(root, "wal_status", json_string(slot->wal_status));
    json_object_set_new(root, "safe_wal_bytes",
                        slot->safe_wal_bytes < 0 ? json_null() : json_integer(slot->safe_wal_bytes));
    json_object_set_new(root, "active_pid", slot->active ? json_integer(slot->pid) : json_null());
}

enum code pgsource_status(const void *options, const struct source_env *env,
                          const struct source_resume *resume, int64_t wait_ms, struct buf *json,
                          struct err *err) {
    const struct pg_options *o = options;
    struct pg_server server = {0};
    struct pg_slot slot = {0};
    struct pg_state state = {0};
    struct err why;
    struct pg_publication publication = {0};
    char name[PG_NAME_MAX], published[PG_NAME_MAX];
    pgsource_publication(o, env->name, published);
    pgsource_slot(o, env->name, name);
    enum code code = resume && resume->found ? state_read(resume->state, &state, err) : OK;
    if (code)
        return code;
    if (state.found)
        state_reaches(&state, resume->position.commit);
    CLEANUP_CONN *conn = NULL;
    code = pgsource_connect(o, env, PG_SESSION_SQL, wait_ms, &conn, &why);
    if (code == OK)
        code = server_read(conn, env, false, wait_ms, &server, &why);
    if (code == OK)
        code = slot_read(conn, env, name, wait_ms, &slot, &why);
    if (code == OK)
        code = publication_read(conn, env, published, &publication, &why);
    json_t *root = json_object();
    if (state.found)
        set_lsn(root, "position", state.flushed);
    if (code) {
        json_object_set_new(root, "state", json_string("unreachable"));
        json_object_set_new(root, "slot", json_string(name));
        json_object_set_new(root, "why", json_string(why.text));
        return dump(root, json);
    }
    json_object_set_new(root, "state",
                        json_string(state_of(o, env, wait_ms, &server, &slot, &publication, &state, &why)));
    if (why.text[0])
        json_object_set_new(root, "why", json_string(why.text));
    put_slot(root, &slot, &server);
    return dump(root, json);
}
