/* (SQLite manual, "Result and Error Codes", "PRAGMA data_version".) */
#include "capture/trigger/sqlite/file.h"

#include <assert.h>
#include <errno.h>
#include <sys/stat.h>

#include "base/log.h"

/* ---- errors ---- */

static bool not_allowed(int system_errno) {
    return system_errno == EACCES || system_errno == EPERM || system_errno == EISDIR ||
           system_errno == ENOTDIR || system_errno == ELOOP;
}

static enum code outcome(int result, int system_errno, enum err_id *ret_id) {
    *ret_id = ERR_SOURCE_UNREACHABLE;
    switch (result & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return AGAIN;
    case SQLITE_READONLY:
        if (result == SQLITE_READONLY_DBMOVED)
            return RETRY;
        *ret_id = ERR_SOURCE_REFUSED;
        return FATAL;
    case SQLITE_CANTOPEN:
        if (!not_allowed(system_errno))
            return RETRY;
        *ret_id = ERR_SOURCE_REFUSED;
        return FATAL;
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_NOTADB:
        *ret_id = ERR_SOURCE_REFUSED;
        return FATAL;
    case SQLITE_CORRUPT:
        *ret_id = ERR_SOURCE_PROTOCOL;
        return FATAL;
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_RANGE:
        *ret_id = ERR_SOURCE_TRIGGERS;
        return FATAL;
    default:
        return RETRY;
    }
}

enum code lfile_failed(struct lfile *f, const char *doing, struct err *err) {
    int result = sqlite3_extended_errcode(f->conn);
    int system_errno = f->conn ? sqlite3_system_errno(f->conn) : 0;
    enum err_id id;
    enum code code = outcome(result, system_errno, &id);
    bool system = system_errno && ((result & 0xff) == SQLITE_IOERR || (result & 0xff) == SQLITE_CANTOPEN);
    const char *text = f->conn ? sqlite3_errmsg(f->conn) : "out of memory";
    return err_set(
        err, code, id, "%s of %s: %.500s%s%s%s", doing, f->options->path, text, system ? ": " : "",
        system ? strerror(system_errno) : "",
        id == ERR_SOURCE_REFUSED ? "; check the path, that it is a database, and who may write there" : "");
}

/* ---- opening ---- */

static const char settings[] =
    "PRAGMA synchronous = full; PRAGMA temp_store = memory; PRAGMA cache_size = -4096; PRAGMA mmap_size = 0;"
    "SELECT count(*) FROM sqlite_schema";

static enum code set_up(struct lfile *f, struct err *err) {
    sqlite3_extended_result_codes(f->conn, 1);
    sqlite3_db_config(f->conn, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(f->conn, SQLITE_DBCONFIG_DQS_DML, 0, NULL);
    sqlite3_db_config(f->conn, SQLITE_DBCONFIG_ENABLE_FKEY, 0, NULL);
    enum code code = lfile_run(f, settings, err);
    if (code != OK)
        return code == AGAIN ? (err->code = RETRY) : code;
    if (sqlite3_db_readonly(f->conn, "main"))
        return err_set(
            err, FATAL, ERR_SOURCE_REFUSED,
            "%s is read-only for this user: confirmed rows of the change table could not be deleted; "
            "give it the right to write the file and its folder",
            f->options->path);
    return OK;
}

enum code lfile_open(struct lfile *f, const struct lsource_options *options, int64_t wait_ms,
                     struct err *err) {
    struct stat at;
    *f = (struct lfile){.options = options};
    if (!*options->path || strcmp(options->path, ":memory:") == 0)
        return err_set(err, FATAL, ERR_CONFIG, "path of the source: '%s' names no file", options->path);
    if (stat(options->path, &at) == 0 && !S_ISREG(at.st_mode))
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "%s is no file", options->path);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    if (sqlite3_open_v2(options->path, &f->conn, flags, NULL) != SQLITE_OK)
        return lfile_failed(f, "opening", err);
    lfile_patience(f, wait_ms);
    return set_up(f, err);
}

void lfile_close(struct lfile *f) {
    int result = sqlite3_close(f->conn);
    assert(result == SQLITE_OK); /* no statement of ours was forgotten */
    f->conn = NULL;
}

void lfile_patience(struct lfile *f, int64_t wait_ms) {
    sqlite3_busy_timeout(f->conn, (int)wait_ms);
}

enum code lfile_in_place(struct lfile *f, struct err *err) {
    int moved = 0;
    sqlite3_file_control(f->conn, "main", SQLITE_FCNTL_HAS_MOVED, &moved);
    if (!moved)
        return OK;
    return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE,
                   "%s was deleted or replaced while it was read; what stands there now is looked at anew",
                   f->options->path);
}

/* ---- statements ---- */

void cleanup_lstmt(sqlite3_stmt **stmt) {
    sqlite3_finalize(*stmt);
}

enum code lfile_prepare(struct lfile *f, const char *sql, sqlite3_stmt **ret, struct err *err) {
    int result = sqlite3_prepare_v2(f->conn, sql, -1, ret, NULL);
    return result == SQLITE_OK ? OK : lfile_failed(f, "reading", err);
}

enum code lfile_step(struct lfile *f, sqlite3_stmt *stmt, bool *row, struct err *err) {
    int result = sqlite3_step(stmt);
    *row = result == SQLITE_ROW;
    if (*row)
        return OK;
    enum code code = result == SQLITE_DONE ? OK : lfile_failed(f, "reading", err);
    sqlite3_reset(stmt);
    return code;
}

enum code lfile_run(struct lfile *f, const char *sql, struct err *err) {
    if (sqlite3_exec(f->conn, sql, NULL, NULL, NULL) == SQLITE_OK)
        return OK;
    enum code code = lfile_failed(f, "a statement", err);
    lfile_rollback(f);
    return code;
}

enum code lfile_number(struct lfile *f, const char *sql, int64_t *ret, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    bool row = false;
    enum code code = lfile_prepare(f, sql, &stmt, err);
    if (code == OK)
        code = lfile_step(f, stmt, &row, err);
    *ret = row ? sqlite3_column_int64(stmt, 0) : 0;
    return code;
}

void lfile_rollback(struct lfile *f) {
    if (f->conn && !sqlite3_get_autocommit(f->conn) &&
        sqlite3_exec(f->conn, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        log_debug("capture", "rollback", F_STR("why", sqlite3_errmsg(f->conn)));
}

const char *lfile_text(sqlite3_stmt *stmt, int column) {
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return text ? text : "";
}

static void put_quoted(struct buf *sql, const char *text, char quote) {
    buf_putc(sql, quote);
    for (; *text; text++) {
        if (*text == quote)
            buf_putc(sql, quote);
        buf_putc(sql, *text);
    }
    buf_putc(sql, quote);
}

void put_lident(struct buf *sql, const char *name) {
    put_quoted(sql, name, '"');
}

void put_ltext(struct buf *sql, const char *text) {
    put_quoted(sql, text, '\'');
}
