/* What `millrace status` tells of a replica. */
#include "sink/sqlite/sqlite.h"

static const char status_sql[] =
    "SELECT json_object('workers', (SELECT json_group_array(json_object('worker', worker, 'workers', "
    "workers, 'owner', owner,"
    "  'seen_s', iif(seen_us = 0, NULL, round((?2 - seen_us) / 1e6, 3)), 'epoch', epoch, 'commit_seq', "
    "commit_seq,"
    "  'position', json_array(generation, commit_lsn, ordinal), 'commit_us', commit_us,"
    "  'rebuild', json(iif(rebuild, 'true', 'false'))))"
    "  FROM (SELECT * FROM millrace_sink_worker WHERE sink = ?1 ORDER BY worker)),"
    " 'parked', (SELECT json_group_array(json_object('schema', schema, 'table', name, 'reason', "
    "parked_reason,"
    "  'since', strftime('%Y-%m-%dT%H:%M:%fZ', parked_us / 1e6, 'unixepoch')))"
    "  FROM (SELECT * FROM millrace_sink_table WHERE sink = ?1 AND parked_reason IS NOT NULL ORDER BY "
    "schema, name)))";

static enum code tell(struct db *db, struct buf *json, struct err *err) {
    bool exists = false;
    CLEANUP_STMT *stmt = NULL;
    enum code code = db->conn ? lite_schema_exists(db, &exists, err) : OK;
    if (code == OK && exists)
        code = db_ask(db, status_sql, PARAMS(P_TEXT(db->env->sink), P_INT(clock_wall(db->env->clock))), &stmt,
                      err);
    if (code == OK)
        buf_puts(json, stmt ? db_text(stmt, 0) : "{\"workers\":[],\"parked\":[]}");
    return code;
}

enum code lite_status(const void *options, const struct target_env *env, int64_t wait_ms, struct buf *json,
                      struct err *err) {
    struct db db;
    enum code code = db_open(&db, options, env, DB_LOOK, wait_ms, err);
    if (code == OK)
        code = tell(&db, json, err);
    db_close(&db);
    return code;
}
