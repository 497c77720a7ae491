/* The tables of ours in the replica's file, where a sink keeps what it knows.
 *
 *   millrace_sink_worker  one row per part of a sink: who owns it, in which epoch, and how far it is
 *   millrace_sink_offset  one row per partition that a part has read from
 *   millrace_sink_table   one row per table that a sink has written to
 *   millrace_sink_column  one row per column of those tables: the source's type that it is for
 *
 * Positions are unsigned 64-bit numbers kept as signed ones. Times are microseconds since 1970. */
#include "sink/sqlite/sqlite.h"

enum { FORMAT = 1 };

static const char create_sql[] =
    "CREATE TABLE millrace_format (version INTEGER NOT NULL);"
    "INSERT INTO millrace_format VALUES (1);"
    "CREATE TABLE millrace_sink_worker (sink TEXT NOT NULL, worker INTEGER NOT NULL, workers INTEGER NOT "
    "NULL,"
    " epoch INTEGER NOT NULL, owner TEXT, seen_us INTEGER NOT NULL DEFAULT 0, commit_seq INTEGER NOT NULL "
    "DEFAULT 0,"
    " commits_next INTEGER NOT NULL DEFAULT 0, generation INTEGER NOT NULL DEFAULT 0, commit_lsn INTEGER NOT "
    "NULL DEFAULT 0,"
    " ordinal INTEGER NOT NULL DEFAULT 0, commit_us INTEGER NOT NULL DEFAULT 0, rebuild INTEGER NOT NULL "
    "DEFAULT 0,"
    " pipeline TEXT, PRIMARY KEY (sink, worker)) WITHOUT ROWID;"
    "CREATE TABLE millrace_sink_offset (sink TEXT NOT NULL, worker INTEGER NOT NULL, topic TEXT NOT NULL,"
    " partition INTEGER NOT NULL, next INTEGER NOT NULL, generation INTEGER NOT NULL, commit_lsn INTEGER NOT "
    "NULL,"
    " ordinal INTEGER NOT NULL, PRIMARY KEY (sink, topic, partition)) WITHOUT ROWID;"
    "CREATE TABLE millrace_sink_table (sink TEXT NOT NULL, schema TEXT NOT NULL, name TEXT NOT NULL,"
    " replica TEXT COLLATE NOCASE, written INTEGER NOT NULL DEFAULT 0, stale INTEGER NOT NULL DEFAULT 0,"
    " incarnation INTEGER, source TEXT, filter TEXT, columns TEXT, parked_reason TEXT, parked_us INTEGER,"
    " PRIMARY KEY (sink, schema, name)) WITHOUT ROWID;"
    "CREATE TABLE millrace_sink_column (replica TEXT NOT NULL COLLATE NOCASE, name TEXT NOT NULL COLLATE "
    "NOCASE,"
    " type TEXT NOT NULL, kind TEXT NOT NULL, scale INTEGER NOT NULL, PRIMARY KEY (replica, name)) WITHOUT "
    "ROWID;";

/* The columns of ours that every version of the format has; somebody else's table of that name lacks some. */
static const char ours_sql[] =
    "SELECT count(*) FROM millrace_format f LEFT JOIN (SELECT sink, worker, epoch, commit_seq FROM "
    "millrace_sink_worker)"
    " LEFT JOIN (SELECT sink, topic, next FROM millrace_sink_offset) LEFT JOIN (SELECT sink, replica, "
    "written FROM"
    " millrace_sink_table) LEFT JOIN (SELECT replica, type FROM millrace_sink_column) WHERE false";

static enum code foreign(struct db *db, const char *name, struct err *err) {
    return err_set(err, FATAL, ERR_TARGET_REFUSED,
                   "%s has a table %s that is not Millrace's: it belongs to another program, or was changed; "
                   "give the sink "
                   "another path",
                   db->options->path, name);
}

static enum code check_version(struct db *db, struct err *err) {
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_run(db, ours_sql, NO_PARAMS, NULL, err);
    if (code == OK)
        code = db_ask(db, "SELECT max(version) FROM millrace_format", NO_PARAMS, &stmt, err);
    if (code == REJECT)
        return foreign(db, "millrace_format", err);
    if (code != OK)
        return code;
    int64_t version = sqlite3_column_int64(stmt, 0);
    if (version > FORMAT)
        return err_set(err, FATAL, ERR_TARGET_REFUSED,
                       "%s was written by a newer Millrace (format %lld; this one knows %d): run that one, "
                       "or give the sink "
                       "another path",
                       db->options->path, (long long)version, FORMAT);
    return version == FORMAT ? OK : foreign(db, "millrace_format", err);
}

enum code lite_schema_exists(struct db *db, bool *ret, struct err *err) {
    static const char sql[] =
        "SELECT count(*), min(name) FROM sqlite_schema WHERE lower(name) IN ('millrace_format',"
        " 'millrace_sink_worker', 'millrace_sink_offset', 'millrace_sink_table',"
        " 'millrace_sink_column')";
    CLEANUP_STMT *stmt = NULL;
    *ret = false;
    enum code code = db_ask(db, sql, NO_PARAMS, &stmt, err);
    if (code != OK || sqlite3_column_int(stmt, 0) == 0)
        return code;
    *ret = true;
    return sqlite3_column_int(stmt, 0) == 5 ? check_version(db, err) : foreign(db, db_text(stmt, 1), err);
}

enum code lite_schema_ensure(struct db *db, struct err *err) {
    bool exists = false;
    enum code code = db_wal(db, err);
    if (code == OK)
        code = lite_schema_exists(db, &exists, err);
    if (code != OK || exists)
        return code;
    code = db_begin(db, err); /* of two processes that start together one does it */
    if (code == OK)
        code = lite_schema_exists(db, &exists, err);
    if (code == OK && !exists)
        code = db_script(db, create_sql, err);
    if (code == OK)
        code = db_commit(db, err);
    db_rollback(db);
    return code;
}
