#include "sink/sqlite/db.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/log.h"
#include "sink/sqlite/outcome.h"

/* ---- waiting ---- */

static bool stopped(const struct db *db) {
    return !db->deaf && stop_asked(db->env->stop);
}

/* SQLite asks again and again while the file is locked; zero gives up. */
static int on_busy(void *arg, int tries) {
    struct db *db = arg;
    int64_t now = clock_mono(db->env->clock);
    if (tries == 0)
        db->busy_until_us = now + db->busy_ms * 1000;
    if (stopped(db) || (db->busy_ms > 0 && now >= db->busy_until_us))
        return 0;
    int64_t pause_us = tries < 10 ? 1000 : tries < 50 ? 5000 : 25000;
    stop_poll(db->deaf ? NULL : db->env->stop, NULL, 0, now, now + pause_us);
    return 1;
}

/* Called every so many steps of a statement: non-zero ends it. */
static int on_progress(void *arg) {
    return stopped(arg);
}

static int on_wal(void *arg, sqlite3 *conn, const char *name, int pages) {
    (void)conn, (void)name;
    ((struct db *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

/* ---- errors ---- */

static const char *mend_of(enum err_id id) {
    switch (id) {
    case ERR_TARGET_REFUSED:
        return "; check the path and who may write there";
    case ERR_TARGET_CORRUPT:
        return "; move it away together with its -wal and -shm, and the replica is built anew from the "
               "journal";
    case ERR_TARGET_FULL:
        return "; check the disk's room and that the file may be written";
    default:
        return "";
    }
}

enum code db_failed(struct db *db, int result, struct err *err) {
    int system_errno = db->conn ? sqlite3_system_errno(db->conn) : 0;
    struct outcome outcome = lite_outcome_of(result, system_errno);
    if (stopped(db) && outcome.code == RETRY)
        return err_set(err, RETRY, ERR_STOPPED, "stopped while the replica was written");
    const char *text =
        outcome_may_quote(result) && db->conn ? sqlite3_errmsg(db->conn) : sqlite3_errstr(result);
    if (result == SQLITE_CONSTRAINT_TRIGGER)
        text = "a trigger refused the row";
    bool system = system_errno && ((result & 0xff) == SQLITE_IOERR || (result & 0xff) == SQLITE_CANTOPEN);
    return err_set(err, outcome.code, outcome.id, "%s%s%s: %.800s%s%s%s", db->about ? "table " : "",
                   db->about ? db->about : db->options->path, db->about ? " of the replica" : "", text,
                   system ? ": " : "", system ? strerror(system_errno) : "", mend_of(outcome.id));
}

bool db_failed_unique(const struct db *db) {
    return sqlite3_extended_errcode(db->conn) == SQLITE_CONSTRAINT_UNIQUE;
}

/* ---- opening ---- */

static enum code set_up(struct db *db, enum db_mode mode, struct err *err) {
    static const char look[] = "PRAGMA query_only = on";
    static const char write[] =
        "PRAGMA synchronous = normal; PRAGMA temp_store = memory; PRAGMA cache_size = -16384;"
        "PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864";
    int act = db->options->triggers == TRIGGERS_FIRE;
    sqlite3_extended_result_codes(db->conn, 1);
    sqlite3_busy_handler(db->conn, on_busy, db);
    sqlite3_progress_handler(db->conn, 20000, on_progress, db);
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_ENABLE_TRIGGER, act, NULL);
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_ENABLE_FKEY, act, NULL);
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_TRUSTED_SCHEMA, act, NULL);
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(db->conn, SQLITE_DBCONFIG_DQS_DDL, 0, NULL);
    enum code code = db_script(db, mode == DB_LOOK ? look : write, err);
    sqlite3_wal_hook(db->conn, on_wal, db); /* after the pragma, which puts a hook of its own there */
    return code;
}

/* SQLite takes other paths for a database that is gone when it is closed. */
static bool names_file(const char *path) {
    struct stat at;
    bool directory = stat(path, &at) == 0 && S_ISDIR(at.st_mode);
    return *path && strcmp(path, ":memory:") != 0 && !directory;
}

enum code db_open(struct db *db, const struct sqlite_options *options, const struct target_env *env,
                  enum db_mode mode, int64_t wait_ms, struct err *err) {
    *db = (struct db){.env = env, .options = options, .busy_ms = wait_ms};
    if (!names_file(options->path))
        return err_set(err, FATAL, ERR_CONFIG, "path of sink %s: '%s' names no file", env->sink,
                       options->path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE |
                (mode == DB_CREATE ? SQLITE_OPEN_CREATE : 0);
    int result = sqlite3_open_v2(options->path, &db->conn, flags, NULL);
    bool none = result == SQLITE_CANTOPEN && db->conn && sqlite3_system_errno(db->conn) == ENOENT;
    if (none && mode == DB_LOOK) {
        db_close(db);
        return OK;
    }
    if (result != SQLITE_OK)
        return db_failed(db, result, err);
    enum code code = set_up(db, mode, err);
    return code == OK ? db_script(db, "SELECT count(*) FROM sqlite_schema", err)
                      : code; /* reads the file at last */
}

void db_close(struct db *db) {
    sqlite3_finalize(db->begin);
    sqlite3_finalize(db->commit);
    db->begin = db->commit = NULL;
    db->deaf = true;
    int result = sqlite3_close(db->conn);
    assert(result == SQLITE_OK); /* no statement of ours was forgotten */
    db->conn = NULL;
}

enum code db_wal(struct db *db, struct err *err) {
    CLEANUP_STMT *stmt = NULL;
    if (sqlite3_db_readonly(db->conn, "main"))
        return err_set(err, RETRY, ERR_TARGET_FULL, "%s is read-only for this user%s", db->options->path,
                       mend_of(ERR_TARGET_FULL));
    enum code code = db_ask(db, "PRAGMA journal_mode = wal", NO_PARAMS, &stmt, err);
    if (code != OK || strcmp(db_text(stmt, 0), "wal") == 0)
        return code;
    return err_set(
        err, FATAL, ERR_TARGET_REFUSED,
        "%s cannot be written while it is read (journal_mode is '%s' and cannot be wal); put it on a disk of "
        "this host",
        db->options->path, db_text(stmt, 0));
}

/* ---- statements ---- */

void cleanup_stmt(sqlite3_stmt **stmt) {
    sqlite3_finalize(*stmt);
}

enum code db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret, struct err *err) {
    int result = sqlite3_prepare_v3(db->conn, sql, -1, SQLITE_PREPARE_PERSISTENT, ret, NULL);
    return result == SQLITE_OK ? OK : db_failed(db, result, err);
}

enum code db_keep(struct db *db, const char *sql, sqlite3_stmt **stmt, struct err *err) {
    return *stmt ? OK : db_prepare(db, sql, stmt, err);
}

void db_bind(sqlite3_stmt *stmt, const struct param *params, size_t n) {
    for (int i = 0; i < (int)n; i++) {
        int result = params[i].number ? sqlite3_bind_int64(stmt, i + 1, params[i].i)
                                      : sqlite3_bind_text(stmt, i + 1, params[i].text, -1, SQLITE_STATIC);
        assert(result == SQLITE_OK);
    }
}

enum code db_step(struct db *db, sqlite3_stmt *stmt, bool *row, struct err *err) {
    int result = sqlite3_step(stmt);
    *row = result == SQLITE_ROW;
    if (*row)
        return OK;
    enum code code = result == SQLITE_DONE ? OK : db_failed(db, result, err);
    sqlite3_reset(stmt);
    return code;
}

enum code db_finish(struct db *db, sqlite3_stmt *stmt, int64_t *changes, struct err *err) {
    bool row = true;
    enum code code = OK;
    while (code == OK && row)
        code = db_step(db, stmt, &row, err);
    if (changes)
        *changes = code == OK ? sqlite3_changes64(db->conn) : 0;
    return code;
}

enum code db_run(struct db *db, const char *sql, const struct param *params, size_t n, int64_t *changes,
                 struct err *err) {
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_prepare(db, sql, &stmt, err);
    if (code != OK)
        return code;
    db_bind(stmt, params, n);
    return db_finish(db, stmt, changes, err);
}

enum code db_ask(struct db *db, const char *sql, const struct param *params, size_t n, sqlite3_stmt **ret,
                 struct err *err) {
    bool row = false;
    enum code code = db_prepare(db, sql, ret, err);
    if (code != OK)
        return code;
    db_bind(*ret, params, n);
    code = db_step(db, *ret, &row, err);
    if (code == OK && row)
        return OK;
    sqlite3_finalize(*ret);
    *ret = NULL;
    return code;
}

enum code db_script(struct db *db, const char *sql, struct err *err) {
    int result = sqlite3_exec(db->conn, sql, NULL, NULL, NULL);
    return result == SQLITE_OK ? OK : db_failed(db, result, err);
}

const char *db_text(sqlite3_stmt *stmt, int column) {
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return text ? text : "";
}

/* ---- transactions ---- */

bool db_in_transaction(const struct db *db) {
    return db->conn && !sqlite3_get_autocommit(db->conn);
}

/* What is written to a file that has no name any more is gone with us; in its place stands another
 * replica. */
static enum code check_in_place(struct db *db, struct err *err) {
    int moved = 0;
    int result = sqlite3_file_control(db->conn, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (result == SQLITE_OK && !moved)
        return OK;
    return err_set(
        err, RETRY, ERR_TARGET_UNREACHABLE,
        "%s was deleted or replaced while it was open; what stands there now goes on from its own position",
        db->options->path);
}

enum code db_begin(struct db *db, struct err *err) {
    if (db_in_transaction(db))
        return OK;
    enum code code = check_in_place(db, err);
    if (code == OK)
        code = db_keep(db, "BEGIN IMMEDIATE", &db->begin, err);
    return code == OK ? db_finish(db, db->begin, NULL, err) : code;
}

/* Pages go from the -wal file to the database in portions: each one syncs both files. A reader that stays in
 * one transaction keeps the rest waiting; from CHECKPOINT_LARGE on it is waited for, shortly, so that the
 * -wal file can begin anew where readers only follow one another closely. */
enum { CHECKPOINT_PAGES = 4096, CHECKPOINT_LARGE = 16 * CHECKPOINT_PAGES, CHECKPOINT_WAIT_MS = 100 };

static void checkpoint(struct db *db) {
    if (db->wal_pages < db->wal_tried)
        db->wal_tried = 0, db->wal_told = false; /* it began anew */
    if (db->wal_pages - db->wal_tried < CHECKPOINT_PAGES)
        return;
    bool large = db->wal_pages >= CHECKPOINT_LARGE;
    int pages = 0, moved = 0;
    int64_t usual_ms = db->busy_ms;
    db->busy_ms = CHECKPOINT_WAIT_MS;
    int result = sqlite3_wal_checkpoint_v2(
        db->conn, NULL, large ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
    db->busy_ms = usual_ms;
    db->wal_tried = db->wal_pages;
    if (result != SQLITE_OK && (result & 0xff) != SQLITE_BUSY)
        log_warn("sink/sqlite", "a checkpoint failed; the next one will try again",
                 F_STR("path", db->options->path), F_STR("why", sqlite3_errmsg(db->conn)));
    if (!large || moved >= pages || db->wal_told)
        return;
    db->wal_told = true;
    log_warn("sink/sqlite", "a reader stays in one transaction: the -wal file grows until it ends",
             F_STR("path", db->options->path), F_INT("wal_pages", pages));
}

enum code db_commit(struct db *db, struct err *err) {
    assert(db_in_transaction(db));
    enum code code = check_in_place(db, err);
    if (code == OK)
        code = db_keep(db, "COMMIT", &db->commit, err);
    if (code == OK)
        code = db_finish(db, db->commit, NULL, err);
    if (code == OK)
        checkpoint(db);
    return code;
}

void db_rollback(struct db *db) {
    if (!db_in_transaction(db))
        return;
    bool deaf = db->deaf;
    db->deaf = true; /* the stop would end this, too */
    int result = sqlite3_exec(db->conn, "ROLLBACK", NULL, NULL, NULL);
    db->deaf = deaf;
    if (result != SQLITE_OK)
        log_debug("sink/sqlite", "rollback", F_STR("why", sqlite3_errmsg(db->conn)));
}
