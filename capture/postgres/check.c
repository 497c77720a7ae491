/* doctor: everything about the source that can be known before starting, and how to mend it. */
#include <stdio.h>

#include "base/finding.h"
#include "base/log.h"
#include "capture/postgres/publication.h"
#include "capture/postgres/source.h"

struct checking {
    const struct pg_options *options;
    const struct source_env *env;
    PGconn *conn;
    struct buf *findings;
    int64_t wait_ms;
};

static void finding(struct checking *c, const char *level, const char *id, const char *what,
                    const char *mend) {
    finding_put(c->findings, level, id, what, mend);
}

static void finding_err(struct checking *c, const struct err *err) {
    finding(c, "error", err_name(err->id), err->text, "");
}

/* ---- server and role ---- */

static const char server_sql[] =
    "SELECT current_setting('wal_level'), current_setting('max_wal_senders')::int - (SELECT count(*) FROM "
    "pg_stat_replication), "
    "current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots), "
    "current_setting('max_slot_wal_keep_size'), r.rolreplication OR r.rolsuper OR pg_has_role(current_user, "
    "coalesce((SELECT oid FROM pg_roles WHERE rolname = 'rds_replication'), r.oid), 'USAGE') AND "
    "(r.rolreplication OR "
    "EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication')), current_user, "
    "current_setting('server_encoding'), "
    "has_database_privilege(current_database(), 'CREATE'), current_database(), "
    "current_setting('wal_sender_timeout') "
    "FROM pg_roles r WHERE r.rolname = current_user";

static void check_rights(struct checking *c, const PGresult *res) {
    CLEANUP_BUF mend = {0};
    const char *role = pgsource_text(res, 0, 5);
    if (pgsource_text(res, 0, 4)[0] != 't') {
        buf_puts(&mend, "ALTER ROLE ");
        put_identifier(&mend, role);
        buf_puts(&mend, " REPLICATION");
        finding(c, "error", "source-refused", "the role may not replicate", buf_cstr(&mend));
    } else {
        finding(c, "ok", "source-role", "the role may replicate", "");
    }
    if (c->options->create && pgsource_text(res, 0, 7)[0] != 't') {
        buf_clear(&mend);
        buf_puts(&mend, "GRANT CREATE ON DATABASE ");
        put_identifier(&mend, pgsource_text(res, 0, 8));
        buf_puts(&mend, " TO ");
        put_identifier(&mend, role);
        buf_puts(&mend, ", or let an administrator create the publication");
        finding(c, "warn", "source-create", "the role may not create publications in this database",
                buf_cstr(&mend));
    }
}

static void check_limits(struct checking *c, const PGresult *res, bool slot_found) {
    if (strcmp(pgsource_text(res, 0, 0), "logical") != 0)
        finding(c, "error", "source-setting", "wal_level is not logical",
                "ALTER SYSTEM SET wal_level = logical; then restart the server");
    else
        finding(c, "ok", "source-wal-level", "wal_level is logical", "");
    int64_t senders = pgsource_number(res, 0, 1), slots = pgsource_number(res, 0, 2);
    if (senders < 1)
        finding(c, "error", "source-setting", "no free WAL sender",
                "ALTER SYSTEM SET max_wal_senders higher; then restart the server");
    if (slots < 1)
        finding(c, slot_found ? "warn" : "error", "source-setting",
                "no free replication slot (a new snapshot needs one)",
                "ALTER SYSTEM SET max_replication_slots higher; then restart the server");
    if (strcmp(pgsource_text(res, 0, 3), "-1") == 0)
        finding(
            c, "warn", "source-keep-size",
            "max_slot_wal_keep_size is unlimited: while capture is away, its slot can fill the source's disk",
            "ALTER SYSTEM SET max_slot_wal_keep_size = '64GB' (what the disk can spare); SELECT "
            "pg_reload_conf()");
    else
        finding(c, "ok", "source-keep-size", "max_slot_wal_keep_size bounds what an absent capture may cost",
                "");
    if (strcmp(pgsource_text(res, 0, 6), "UTF8") != 0)
        finding(c, "warn", "source-encoding", "the database's encoding is not UTF8; the server will convert",
                "");
}

static enum code check_server_settings(struct checking *c, bool slot_found, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(c->conn, c->env, c->wait_ms, "reading the source's settings", server_sql, &res, err);
    if (code)
        return code;
    if (PQntuples(res) != 1)
        return OK;
    check_rights(c, res);
    check_limits(c, res, slot_found);
    return OK;
}

/* ---- slot ---- */

static enum code check_slot(struct checking *c, const struct source_resume *resume, bool *ret_found,
                            struct err *err) {
    struct pg_server server;
    struct pg_slot slot;
    struct pg_state state;
    struct err why;
    char name[PG_NAME_MAX];
    pgsource_slot(c->options, c->env->name, name);
    enum code code = server_read(c->conn, c->env, false, c->wait_ms, &server, err);
    if (code == OK)
        code = slot_read(c->conn, c->env, name, c->wait_ms, &slot, err);
    if (code == OK)
        code = state_read(resume && resume->found ? resume->state : NULL, &state, err);
    if (code)
        return code;
    *ret_found = slot.found;
    if (resume && state.found)
        state_reaches(&state, resume->position.commit);
    bool streaming = state.found && strcmp(state.phase, "stream") == 0;
    bool stop = streaming && c->options->silent_changes == PG_SILENT_STOP;
    if (stop && stale_check(state.stale, &why))
        finding_err(c, &why);
    if (streaming && identity_ask_timeline(c->options, c->env, c->wait_ms, &server, &state, &why))
        finding_err(c, &why);
    if (streaming    ? identity_check(&server, &slot, &state, &why)
        : slot.found ? slot_check(&slot, server.database, &why)
                     : OK)
        finding_err(c, &why);
    else if (slot.found)
        finding(c, "ok", "source-slot", "the replication slot is there and covers our position", "");
    else
        finding(c, c->options->create ? "ok" : "error", "source-slot",
                "the replication slot does not exist yet",
                c->options->create
                    ? ""
                    : "SELECT pg_create_logical_replication_slot with plugin pgoutput, or create: true");
    return OK;
}

/* ---- tables ---- */

typedef void trouble_f(const struct pg_options *, const struct pg_rels *, struct table_trouble *);

static void check_trouble(struct checking *c, const struct pg_rels *rels, trouble_f *find, const char *level,
                          const char *id, const char *what) {
    CLEANUP_TROUBLE t = {0};
    find(c->options, rels, &t);
    if (!t.n)
        return;
    CLEANUP_BUF text = {0};
    buf_printf(&text, "%s: %s", what, buf_cstr(&t.names));
    if (t.n > 8)
        buf_printf(&text, " and %d more", t.n - 8);
    finding(c, level, id, buf_cstr(&text), buf_cstr(&t.sql));
}

static enum code check_publication(struct checking *c, const struct pg_rels *rels, const char *name,
                                   struct err *err) {
    struct pg_publication p;
    enum code code = publication_read(c->conn, c->env, name, &p, err);
    if (code)
        return code;
    CLEANUP_BUF sql = {0};
    CLEANUP_TROUBLE lacks = {0};
    if (!p.found) {
        publication_put_create(&sql, c->options, rels, name);
        finding(c, c->options->create ? "ok" : "error", "source-publication",
                "the publication does not exist yet", buf_cstr(&sql));
        return OK;
    }
    if (!p.complete)
        finding(c, "error", "source-publication", "the publication leaves out some kinds of changes",
                "ALTER PUBLICATION ... SET (publish = 'insert, update, delete, truncate')");
    publication_lacks(c->options, rels, name, &lacks);
    if (lacks.n)
        finding(c, p.owned && c->options->create ? "warn" : "error", "source-publication",
                "the publication lacks selected tables; rows they already hold need a new snapshot",
                buf_cstr(&lacks.sql));
    else
        finding(c, "ok", "source-publication", "the publication has all selected tables", "");
    return OK;
}

static enum code check_tables(struct checking *c, struct arena *arena, struct err *err) {
    struct pg_rels rels;
    struct err why;
    char name[PG_NAME_MAX];
    pgsource_publication(c->options, c->env->name, name);
    enum code code = rels_read(c->conn, c->options, c->env, name, arena, &rels, err);
    if (code)
        return code;
    if (rels_check_named(c->options, &rels, &why)) {
        finding_err(c, &why);
        return OK;
    }
    bool refuse = c->options->partial_rows == PG_PARTIAL_REFUSE;
    check_trouble(c, &rels, rels_identity_mixed, "error", "source-table",
                  "partitions and their root differ in replica identity");
    check_trouble(c, &rels, rels_without_key, "error", "table-without-key",
                  "the source would refuse updates and deletes of published tables without a key");
    check_trouble(
        c, &rels, rels_partial, refuse ? "error" : "ok", "partial-rows",
        refuse
            ? "updates may leave out large values (or set partial_rows: history)"
            : "topics of these tables keep their whole history, because updates may leave out large values");
    check_trouble(c, &rels, rels_unreadable, "error", "source-refused", "no right to read");
    check_trouble(c, &rels, rels_schema_unusable, "error", "source-refused", "no right to use schemas");
    check_trouble(c, &rels, rels_row_security, "error", "source-refused",
                  "row-level security hides rows from the role");
    if (rels_check_columns(c->options, &rels, &why))
        finding_err(c, &why);
    check_trouble(c, &rels, rels_unlogged, "warn", "source-unlogged", "unlogged tables are not captured");
    return check_publication(c, &rels, name, err);
}

enum code pgsource_check(const void *options, const struct source_env *env,
                         const struct source_resume *resume, int64_t wait_ms, struct buf *findings,
                         struct err *err) {
    struct checking c = {options, env, NULL, findings, wait_ms};
    struct err why;
    CLEANUP_CONN *conn = NULL;
    if (pgsource_connect(options, env, PG_SESSION_SQL, wait_ms, &conn, &why)) {
        finding_err(&c, &why);
        return OK;
    }
    c.conn = conn;
    struct arena arena = {0};
    bool slot_found = false;
    enum code code = check_slot(&c, resume, &slot_found, err);
    if (code == OK)
        code = check_server_settings(&c, slot_found, err);
    if (code == OK)
        code = check_tables(&c, &arena, err);
    arena_free(&arena);
    return code;
}
