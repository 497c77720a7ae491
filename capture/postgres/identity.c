#include "capture/postgres/identity.h"

#include <jansson.h>
#include <stdio.h>

#include "base/log.h"

#define MEND "take a new snapshot: millrace capture --config FILE --resnapshot"

static void copy_text(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from ? from : "");
}

/* ---- reading ---- */

enum code server_read(PGconn *conn, const struct source_env *env, bool replication, int64_t wait_ms,
                      struct pg_server *ret, struct err *err) {
    static const char sql[] =
        "SELECT s.system_identifier, c.timeline_id, CASE WHEN pg_is_in_recovery() THEN "
        "pg_last_wal_replay_lsn() ELSE pg_current_wal_flush_lsn() END, current_database() "
        "FROM pg_control_system() s, pg_control_checkpoint() c";
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(conn, env, wait_ms, "asking who the source is",
                                    replication ? "IDENTIFY_SYSTEM" : sql, &res, err);
    if (code)
        return code;
    if (PQntuples(res) != 1 || PQnfields(res) < 4)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "the source did not say who it is");
    *ret = (struct pg_server){.version = PQserverVersion(conn)};
    copy_text(ret->system, sizeof ret->system, pgsource_text(res, 0, 0));
    ret->timeline = (uint32_t)strtoul(pgsource_text(res, 0, 1), NULL, 10);
    ret->wal = lsn_parse(pgsource_text(res, 0, 2));
    copy_text(ret->database, sizeof ret->database, pgsource_text(res, 0, 3));
    return OK;
}

enum code slot_read(PGconn *conn, const struct source_env *env, const char *name, int64_t wait_ms,
                    struct pg_slot *ret, struct err *err) {
    int version = PQserverVersion(conn);
    const char *invalid = version >= 170000   ? "invalidation_reason"
                          : version >= 160000 ? "CASE WHEN conflicting THEN 'conflicting' END"
                                              : "NULL";
    CLEANUP_BUF sql = {0};
    buf_printf(&sql,
               "SELECT plugin, database, wal_status, %s, active_pid, restart_lsn, confirmed_flush_lsn, "
               "safe_wal_size, "
               "slot_type, active FROM pg_replication_slots WHERE slot_name = ",
               invalid);
    put_literal(&sql, name);
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(conn, env, wait_ms, "looking at the replication slot", buf_cstr(&sql), &res, err);
    if (code)
        return code;
    *ret = (struct pg_slot){.found = PQntuples(res) == 1, .safe_wal_bytes = -1};
    copy_text(ret->name, sizeof ret->name, name);
    if (!ret->found)
        return OK;
    copy_text(ret->plugin, sizeof ret->plugin, pgsource_text(res, 0, 0));
    copy_text(ret->database, sizeof ret->database, pgsource_text(res, 0, 1));
    copy_text(ret->wal_status, sizeof ret->wal_status, pgsource_text(res, 0, 2));
    copy_text(ret->invalid, sizeof ret->invalid, pgsource_text(res, 0, 3));
    ret->pid = (int)pgsource_number(res, 0, 4);
    ret->restart = lsn_parse(pgsource_text(res, 0, 5));
    ret->confirmed = lsn_parse(pgsource_text(res, 0, 6));
    ret->unconfirmed = PQgetisnull(res, 0, 6);
    if (!PQgetisnull(res, 0, 7))
        ret->safe_wal_bytes = strtoll(pgsource_text(res, 0, 7), NULL, 10);
    ret->logical = strcmp(pgsource_text(res, 0, 8), "logical") == 0;
    ret->active = pgsource_text(res, 0, 9)[0] == 't';
    return OK;
}

enum code slot_check_vacant(const struct pg_slot *slot, struct err *err) {
    if (!slot->found || !slot->active)
        return OK;
    return err_set(err, RETRY, ERR_SLOT_ACTIVE, "replication slot %s is in use by the server's process %d",
                   slot->name, slot->pid);
}

/* ---- our own state ---- */

enum code state_read(const char *text, struct pg_state *ret, struct err *err) {
    *ret = (struct pg_state){0};
    if (!text || !*text)
        return OK;
    json_t *root = json_loads(text, 0, NULL);
    const char *system = NULL, *slot = NULL, *database = NULL, *phase = NULL, *flushed = NULL;
    const char *stale = NULL;
    json_int_t timeline = 0, publication = 0;
    if (!root || json_unpack(root, "{s:s, s:I, s:s, s:s, s:s, s:s, s?I, s?s}", "system", &system, "timeline",
                             &timeline, "slot", &slot, "database", &database, "phase", &phase, "flushed",
                             &flushed, "publication", &publication, "stale", &stale) != 0) {
        json_decref(root);
        return err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                       "the state that is stored with the position was not written by a PostgreSQL source");
    }
    ret->found = true;
    copy_text(ret->system, sizeof ret->system, system);
    copy_text(ret->slot, sizeof ret->slot, slot);
    copy_text(ret->database, sizeof ret->database, database);
    copy_text(ret->phase, sizeof ret->phase, phase);
    ret->timeline = (uint32_t)timeline;
    ret->publication = (uint32_t)publication;
    ret->flushed = ret->reach = lsn_parse(flushed);
    copy_text(ret->stale, sizeof ret->stale, stale);
    json_decref(root);
    return OK;
}

void state_reaches(struct pg_state *state, uint64_t commit) {
    if (commit >= state->reach)
        state->reach = commit + 1;
}

static void put_json_text(struct buf *ret, const char *text) {
    buf_putc(ret, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == '"' || *p == '\\')
            buf_printf(ret, "\\u%04x", *p);
        else
            buf_putc(ret, (char)*p);
    }
    buf_putc(ret, '"');
}

void state_put(struct buf *ret, const struct pg_server *server, const char *slot, const char *phase,
               uint64_t flushed, const char *stale) {
    buf_printf(ret, "{\"system\":\"%s\",\"timeline\":%u,\"slot\":", server->system, server->timeline);
    put_json_text(ret, slot);
    buf_puts(ret, ",\"database\":");
    put_json_text(ret, server->database);
    buf_printf(ret, ",\"phase\":\"%s\",\"flushed\":\"" LSN_FMT "\",\"server\":\"%d\",\"publication\":%u",
               phase, LSN_ARGS(flushed), server->version, server->publication);
    if (*stale) {
        buf_puts(ret, ",\"stale\":");
        put_json_text(ret, stale);
    }
    buf_putc(ret, '}');
}

/* ---- judging ---- */

enum code slot_check(const struct pg_slot *slot, const char *database, struct err *err) {
    if (!slot->logical || strcmp(slot->plugin, "pgoutput") != 0 || strcmp(slot->database, database) != 0)
        return err_set(
            err, FATAL, ERR_SOURCE_SETTING,
            "replication slot %s is a %s slot of plugin '%s' in database '%s', not ours (pgoutput in '%s'); "
            "name another one with `slot:`, or drop it: SELECT pg_drop_replication_slot('%s')",
            slot->name, slot->logical ? "logical" : "physical", slot->plugin, slot->database, database,
            slot->name);
    if (strcmp(slot->wal_status, "lost") == 0 || slot->invalid[0])
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "the server has invalidated replication slot %s (%s%s%s), confirmed up to " LSN_FMT
                       ": the log after it is gone, most often by max_slot_wal_keep_size; %s",
                       slot->name, slot->wal_status, slot->invalid[0] ? ", " : "", slot->invalid,
                       LSN_ARGS(slot->confirmed), MEND);
    return OK;
}

enum code stale_check(const char *stale, struct err *err) {
    if (!*stale)
        return OK;
    return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                   "rows were changed without an event in the log (%s); %s, or set silent_changes: warn to "
                   "go on without",
                   stale, MEND);
}

enum code identity_check(const struct pg_server *server, const struct pg_slot *slot,
                         const struct pg_state *state, struct err *err) {
    if (strcmp(server->system, state->system) != 0)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "the source is another database cluster (system identifier %s, ours was %s); our "
                       "position is " LSN_FMT ", its log ends at " LSN_FMT "; %s",
                       server->system, state->system, LSN_ARGS(state->flushed), LSN_ARGS(server->wal), MEND);
    if (strcmp(server->database, state->database) != 0)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "the source is database '%s', our position " LSN_FMT " belongs to database '%s'; %s",
                       server->database, LSN_ARGS(state->flushed), state->database, MEND);
    if (server->wal < state->reach)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "the source's log ends at " LSN_FMT " on timeline %u, before our position " LSN_FMT
                       " on timeline %u: it was restored from an older backup, or a standby that lagged "
                       "behind took over; %s",
                       LSN_ARGS(server->wal), server->timeline, LSN_ARGS(state->reach), state->timeline,
                       MEND);
    if (!slot->found)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "replication slot %s does not exist any more; our position is " LSN_FMT
                       ", the source's log ends at " LSN_FMT ", and what lies between is lost; %s",
                       slot->name, LSN_ARGS(state->flushed), LSN_ARGS(server->wal), MEND);
    enum code code = slot_check(slot, server->database, err);
    if (code) {
        if (err)
            err->id =
                ERR_NEEDS_RESNAPSHOT; /* with a position of ours a strange slot of that name is a lost one */
        return code;
    }
    if (slot->unconfirmed || slot->confirmed > state->flushed)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "replication slot %s stands at " LSN_FMT ", after our position " LSN_FMT
                       ": it was moved ahead or dropped and made again; %s",
                       slot->name, LSN_ARGS(slot->confirmed), LSN_ARGS(state->flushed), MEND);
    return OK;
}

enum code timeline_check(const char *history, uint32_t server_timeline, uint32_t our_timeline, uint64_t reach,
                         struct err *err) {
    for (const char *line = history; line && *line;) {
        char *behind;
        unsigned long timeline = strtoul(line, &behind, 10);
        uint64_t left = lsn_parse(behind);
        if (left && timeline == our_timeline) {
            if (reach <= left)
                return OK;
            return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                           "the source is now on timeline %u, which left timeline %u at " LSN_FMT
                           ", before our position " LSN_FMT ": we hold changes that it never had; %s",
                           server_timeline, our_timeline, LSN_ARGS(left), LSN_ARGS(reach), MEND);
        }
        line = strchr(line, '\n');
        line = line ? line + 1 : NULL;
    }
    return err_set(
        err, FATAL, ERR_NEEDS_RESNAPSHOT,
        "the source is on timeline %u, which does not descend from timeline %u of our position " LSN_FMT
        "; %s",
        server_timeline, our_timeline, LSN_ARGS(reach), MEND);
}

enum code identity_check_timeline(PGconn *replication, const struct source_env *env,
                                  const struct pg_server *server, const struct pg_state *state,
                                  struct err *err) {
    if (server->timeline == state->timeline)
        return OK;
    if (server->timeline < state->timeline)
        return timeline_check("", server->timeline, state->timeline, state->reach, err);
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "TIMELINE_HISTORY %u", server->timeline);
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(replication, env, 10000, "asking for the timeline's history",
                                    buf_cstr(&sql), &res, err);
    if (code)
        return code;
    if (PQntuples(res) != 1 || PQnfields(res) < 2)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "the source did not tell its timeline's history");
    return timeline_check(pgsource_text(res, 0, 1), server->timeline, state->timeline, state->reach, err);
}

enum code identity_ask_timeline(const struct pg_options *options, const struct source_env *env,
                                int64_t wait_ms, const struct pg_server *server, const struct pg_state *state,
                                struct err *err) {
    if (server->timeline == state->timeline)
        return OK;
    struct err why;
    CLEANUP_CONN *conn = NULL;
    if (pgsource_connect(options, env, PG_SESSION_REPLICATION, wait_ms, &conn, &why) != OK ||
        identity_check_timeline(conn, env, server, state, &why) != FATAL)
        return OK;
    if (err)
        *err = why;
    return FATAL;
}
