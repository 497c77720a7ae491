/* What the file says of the tables that a sink has written to. */
#include "base/log.h"
#include "sink/sqlite/sqlite.h"

enum code table_state(struct lite_target *t, const struct table *table, enum table_state *ret,
                      struct err *err) {
    static const char sql[] =
        "SELECT stale OR (?4 <> 0 AND incarnation <> ?4) IS TRUE FROM millrace_sink_table"
        " WHERE sink = ?1 AND schema = ?2 AND name = ?3 AND written";
    CLEANUP_STMT *stmt = NULL;
    *ret = TABLE_NEW;
    enum code code = db_ask(
        &t->db, sql,
        PARAMS(P_TEXT(t->env.sink), P_TEXT(table->schema), P_TEXT(table->name), P_INT(table->incarnation)),
        &stmt, err);
    if (code == OK && stmt)
        *ret = sqlite3_column_int(stmt, 0) ? TABLE_STALE : TABLE_WRITTEN;
    return code;
}

/* Another table of this sink, which a replay left under that name, does not come back to empty it. */
static enum code forget_others(struct lite_target *t, const struct table *table, const char *flat,
                               struct err *err) {
    static const char sql[] = "DELETE FROM millrace_sink_table WHERE sink = ?1 AND replica = ?2 AND stale"
                              " AND (schema, name) <> (?3, ?4)";
    return db_run(&t->db, sql,
                  PARAMS(P_TEXT(t->env.sink), P_TEXT(flat), P_TEXT(table->schema), P_TEXT(table->name)), NULL,
                  err);
}

enum code table_written(struct lite_target *t, const struct table *table, const char *flat, struct err *err) {
    static const char sql[] =
        "INSERT INTO millrace_sink_table (sink, schema, name, replica, written, incarnation)"
        " VALUES (?1, ?2, ?3, ?4, 1, nullif(?5, 0)) ON CONFLICT (sink, schema, name) DO UPDATE SET replica = "
        "excluded.replica,"
        " written = 1, stale = 0, incarnation = coalesce(excluded.incarnation, incarnation)";
    enum code code = db_run(&t->db, sql,
                            PARAMS(P_TEXT(t->env.sink), P_TEXT(table->schema), P_TEXT(table->name),
                                   P_TEXT(flat), P_INT(table->incarnation)),
                            NULL, err);
    return code == OK ? forget_others(t, table, flat, err) : code;
}

enum code table_alone(struct lite_target *t, const struct table *table, const char *flat, struct err *err) {
    static const char sql[] = "SELECT sink, coalesce(source, schema || '.' || name) FROM millrace_sink_table "
                              "WHERE replica = ?1 AND written"
                              " AND NOT (sink = ?2 AND (stale OR (schema = ?3 AND name = ?4))) LIMIT 1";
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_ask(
        &t->db, sql, PARAMS(P_TEXT(flat), P_TEXT(t->env.sink), P_TEXT(table->schema), P_TEXT(table->name)),
        &stmt, err);
    if (code != OK || !stmt)
        return code;
    return err_set(err, FATAL, ERR_CONFIG,
                   "table %s of the replica holds the rows of %s (sink %s), and %s.%s would be written "
                   "there, too: SQLite has "
                   "no schemas and takes A for a; give one of them another name (rename)",
                   flat, db_text(stmt, 1), db_text(stmt, 0), table->schema, table->name);
}

/* ---- renamed at the source ---- */

struct before {
    const char *schema, *name, *flat;
};

static enum code find_before(struct lite_target *t, const struct table *table, struct arena *arena,
                             struct before *ret, struct err *err) {
    static const char sql[] =
        "SELECT schema, name, replica FROM millrace_sink_table WHERE sink = ?1 AND incarnation = ?2"
        " AND written AND NOT stale AND (schema, name) <> (?3, ?4)";
    CLEANUP_STMT *stmt = NULL;
    *ret = (struct before){0};
    if (!table->incarnation)
        return OK;
    enum code code = db_ask(
        &t->db, sql,
        PARAMS(P_TEXT(t->env.sink), P_INT(table->incarnation), P_TEXT(table->schema), P_TEXT(table->name)),
        &stmt, err);
    if (code == OK && stmt)
        *ret = (struct before){arena_strdup(arena, db_text(stmt, 0)), arena_strdup(arena, db_text(stmt, 1)),
                               arena_strdup(arena, db_text(stmt, 2))};
    return code;
}

static enum code move_records(struct lite_target *t, const struct table *table, const char *flat,
                              const struct before *before, struct err *err) {
    static const char forget[] =
        "DELETE FROM millrace_sink_table WHERE sink = ?1 AND schema = ?2 AND name = ?3";
    static const char move[] = "UPDATE millrace_sink_table SET schema = ?2, name = ?3, replica = ?6"
                               " WHERE sink = ?1 AND schema = ?4 AND name = ?5";
    enum code code = db_run(
        &t->db, forget, PARAMS(P_TEXT(t->env.sink), P_TEXT(table->schema), P_TEXT(table->name)), NULL, err);
    if (code == OK)
        code = db_run(&t->db, move,
                      PARAMS(P_TEXT(t->env.sink), P_TEXT(table->schema), P_TEXT(table->name),
                             P_TEXT(before->schema), P_TEXT(before->name), P_TEXT(flat)),
                      NULL, err);
    if (code != OK || sqlite3_stricmp(flat, before->flat) == 0)
        return code;
    code = db_run(&t->db, "DELETE FROM millrace_sink_column WHERE replica = ?1", PARAMS(P_TEXT(flat)), NULL,
                  err);
    return code == OK ? db_run(&t->db, "UPDATE millrace_sink_column SET replica = ?1 WHERE replica = ?2",
                               PARAMS(P_TEXT(flat), P_TEXT(before->flat)), NULL, err)
                      : code;
}

static enum code is_taken(struct lite_target *t, const char *flat, bool *ret, struct err *err) {
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_ask(&t->db, "SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE",
                            PARAMS(P_TEXT(flat)), &stmt, err);
    *ret = stmt != NULL;
    return code;
}

static enum code follow(struct lite_target *t, const struct table *table, const char *flat,
                        const struct before *before, struct err *err) {
    bool taken = false, moves = sqlite3_stricmp(before->flat, flat) != 0;
    enum code code = moves ? is_taken(t, flat, &taken, err) : OK;
    if (code != OK)
        return code;
    if (taken || t->options->schema_change != SCHEMA_EVOLVE)
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "the source renamed table %s.%s to %s.%s, and the replica cannot follow by itself; "
                       "mend: millrace "
                       "capture --resnapshot, then millrace replay --sink %s",
                       before->schema, before->name, table->schema, table->name, t->env.sink);
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "ALTER TABLE ");
    lite_put_ident(&sql, before->flat);
    buf_puts(&sql, " RENAME TO ");
    lite_put_ident(&sql, flat);
    t->altered = true;
    lite_replicas_forget(t, before->flat);
    code = moves ? db_script(&t->db, buf_cstr(&sql), err) : OK;
    if (code == OK)
        code = move_records(t, table, flat, before, err);
    if (code == OK)
        log_info("sink/sqlite", "table renamed as in the source", F_STR("from", before->flat),
                 F_STR("table", flat));
    return code;
}

enum code table_follow(struct lite_target *t, const struct table *table, const char *flat, struct err *err) {
    struct arena arena = {0};
    struct before before;
    enum code code = find_before(t, table, &arena, &before, err);
    if (code == OK && before.name)
        code = follow(t, table, flat, &before, err);
    arena_free(&arena);
    return code;
}

/* ---- after a rebuild ---- */

enum code tables_empty_stale(struct lite_target *t, struct err *err) {
    static const char next_sql[] =
        "SELECT s.replica FROM millrace_sink_table s JOIN sqlite_schema m ON m.type = 'table'"
        " AND m.name = s.replica WHERE s.sink = ?1 AND s.stale";
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_ask(&t->db, next_sql, PARAMS(P_TEXT(t->env.sink)), &stmt, err);
    for (bool row = stmt != NULL; code == OK && row;) {
        code = table_clear(t, db_text(stmt, 0), err);
        if (code == OK)
            code = db_step(&t->db, stmt, &row, err);
    }
    return code == OK ? db_run(&t->db, "UPDATE millrace_sink_table SET stale = 0 WHERE sink = ?1 AND stale",
                               PARAMS(P_TEXT(t->env.sink)), NULL, err)
                      : code;
}

/* ---- parked ---- */

/* changes 0: the part is somebody else's. */
static enum code park(struct lite_target *t, const char *schema, const char *table, const char *reason,
                      int64_t *changes, struct err *err) {
    static const char sql[] =
        "INSERT INTO millrace_sink_table (sink, schema, name, parked_reason, parked_us) SELECT ?1, ?2, ?3, "
        "?4,"
        " iif(?4 IS NULL, NULL, ?7) WHERE ?6 = 0 OR EXISTS (SELECT 1 FROM millrace_sink_worker WHERE sink = "
        "?1"
        " AND worker = ?5 AND epoch = ?6) ON CONFLICT (sink, schema, name) DO UPDATE SET"
        " parked_us = iif(parked_reason = excluded.parked_reason, parked_us, excluded.parked_us),"
        " parked_reason = excluded.parked_reason";
    return db_run(&t->db, sql,
                  PARAMS(P_TEXT(t->env.sink), P_TEXT(schema), P_TEXT(table), P_TEXT(reason), P_INT(t->worker),
                         P_INT(t->epoch), P_INT(clock_wall(t->env.clock))),
                  changes, err);
}

static enum code unpark_topic(struct lite_target *t, const char *topic, struct err *err) {
    return db_run(&t->db, "DELETE FROM millrace_sink_table WHERE sink = ?1 AND schema = '' AND name = ?2",
                  PARAMS(P_TEXT(t->env.sink), P_TEXT(topic)), NULL, err);
}

enum code lite_park(struct target *target, const char *schema, const char *table, const char *reason,
                    struct err *err) {
    struct lite_target *t = lite_of(target);
    bool was_open = db_in_transaction(&t->db);
    int64_t changes = 1;
    t->db.about = NULL;
    enum code code = db_begin(&t->db, err);
    if (code == OK) /* a topic's row stands for nothing else */
        code =
            !*schema && !reason ? unpark_topic(t, table, err) : park(t, schema, table, reason, &changes, err);
    if (code == OK && changes == 0)
        code = lite_not_owner(t, err);
    if (code == OK && !was_open)
        code = db_commit(&t->db, err);
    return code == OK ? OK : lite_undo(t, code);
}
