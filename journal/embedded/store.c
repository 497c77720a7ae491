#include "journal/embedded/store.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/stop.h"

#define HELD          "p.low, p.next"
#define ROW_BYTES_MAX (320 << 20) /* more than the largest record_bytes; a larger row is damage */

static const char *const texts[SQL_MAX] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SYNC_FULL] = "PRAGMA synchronous=FULL",
    [SQL_SYNC_NORMAL] = "PRAGMA synchronous=NORMAL",
    [SQL_PAGES] = "SELECT page_count - freelist_count FROM pragma_page_count, pragma_freelist_count",
    [SQL_EPOCH] = "SELECT epoch FROM pipeline",
    [SQL_PIPELINE] =
        "SELECT prefix, compaction_lag_ms, delete_retention_ms, retention_ms, retention_bytes FROM pipeline",
    [SQL_TAKE_OVER] =
        "UPDATE pipeline SET epoch = epoch + 1, compaction_lag_ms = ?1, delete_retention_ms = ?2, "
        "retention_ms = ?3, retention_bytes = ?4",
    [SQL_TOPICS] = "SELECT t.name, t.partitions, t.compacted, p.partition, p.next FROM topics t "
                   "JOIN partitions p ON p.topic = t.id ORDER BY t.id, p.partition",
    [SQL_TOPIC] = "SELECT id, partitions, compacted FROM topics WHERE name = ?1",
    [SQL_TOPIC_ADD] = "INSERT INTO topics (name, partitions, compacted) VALUES (?1, ?2, ?3)",
    [SQL_PARTITION] = "SELECT p.id, " HELD " FROM topics t JOIN partitions p ON p.topic = t.id "
                      "WHERE t.name = ?1 AND p.partition = ?2",
    [SQL_PARTITION_ADD] = "INSERT INTO partitions (topic, partition) VALUES (?1, ?2)",
    [SQL_PARTITIONS] =
        "SELECT p.id, t.name, p.partition, t.compacted, " HELD
        " FROM partitions p JOIN topics t ON t.id = p.topic WHERE p.id > ?1 ORDER BY p.id LIMIT 1",
    [SQL_NEXT] = "UPDATE partitions SET next = ?2 WHERE id = ?1 AND next = ?3",
    [SQL_LOW] = "UPDATE partitions SET low = ?2 WHERE id = ?1 AND low < ?2",
    [SQL_CHUNK_ADD] = "INSERT INTO chunks (part, first, last, ts_us, bytes, crc, records) VALUES (?1, ?2, "
                      "?3, ?4, ?5, ?6, ?7)",
    [SQL_CHUNK_AT] = "SELECT " HELD ", c.first, c.last, c.ts_us, c.crc, c.records, c.id FROM partitions p "
                     "LEFT JOIN chunks c ON c.part = p.id AND c.last >= ?2 AND c.last < p.next "
                     "WHERE p.id = ?1 ORDER BY c.last LIMIT 1",
    [SQL_CHUNK_BEFORE] =
        "SELECT " HELD ", c.first, c.last, c.ts_us, c.crc, c.records, c.id FROM partitions p "
        "JOIN chunks c ON c.part = p.id AND c.last < ?2 AND c.last < p.next "
        "WHERE p.id = ?1 ORDER BY c.last DESC LIMIT 1",
    [SQL_CHUNK_BETWEEN] = "SELECT 0, 0, first, last, ts_us, crc, records, id FROM chunks "
                          "WHERE part = ?1 AND last >= ?2 AND last < ?3 ORDER BY last LIMIT 1",
    /* Ids may be given again: two who tidy at a time must not take one chunk for another. */
    [SQL_CHUNK_DELETE] = "DELETE FROM chunks WHERE id = ?1 AND part = ?2 AND last = ?3",
    [SQL_CHUNK_REPLACE] = "DELETE FROM chunks WHERE id = ?1 AND part = ?2 AND last = ?3 AND crc = ?4",
    [SQL_CHUNKS_FROM] =
        "SELECT id, last, ts_us, bytes FROM chunks WHERE part = ?1 AND last < ?2 ORDER BY last LIMIT 64",
    [SQL_LEFT_OVER] =
        "SELECT p.id FROM partitions p "
        "WHERE EXISTS (SELECT 1 FROM chunks c WHERE c.part = p.id AND c.last >= p.next) LIMIT 1",
    [SQL_LEFT_OVER_DELETE] = "DELETE FROM chunks WHERE id IN (SELECT c.id FROM partitions p "
                             "JOIN chunks c ON c.part = p.id AND c.last >= p.next WHERE p.id = ?1 LIMIT 64)",
    [SQL_WEIGHT] = "SELECT coalesce(sum(bytes), 0) FROM chunks WHERE part = ?1 AND last >= ?2 AND last < ?3",
    [SQL_FIRST_YOUNG] =
        "SELECT last FROM chunks WHERE part = ?1 AND last >= ?2 AND ts_us > ?3 ORDER BY last LIMIT 1",
    [SQL_LAST_BEFORE] =
        "SELECT last FROM chunks WHERE part = ?1 AND last >= ?2 AND last < ?3 ORDER BY last DESC LIMIT 1",
    [SQL_FIRST] = "SELECT ts_us FROM chunks WHERE part = ?1 AND last < ?2 ORDER BY last LIMIT 1",
    [SQL_CLEANED] = "SELECT upto, at_ms FROM cleanings WHERE part = ?1 ORDER BY upto DESC",
    [SQL_CLEANING_ADD] = "INSERT OR REPLACE INTO cleanings (part, upto, at_ms) VALUES (?1, ?2, ?3)",
    [SQL_CLEANING_TRIM] = "DELETE FROM cleanings WHERE part = ?1 AND upto < ?2",
};

/* ---- errors ---- */

/* SQLite does not keep that of a COMMIT. */
static int errno_of(const struct store *s) {
    int error = s->db ? sqlite3_system_errno(s->db) : 0;
    return s->error ? s->error : error;
}

/* sqlite3_step, and what the system said. */
static int step(struct store *s, sqlite3_stmt *statement) {
    errno = 0;
    int rc = sqlite3_step(statement);
    s->error = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : errno;
    return rc;
}

static bool disk_full(const struct store *s, int rc) {
    int error = errno_of(s);
    return (rc & 0xff) == SQLITE_FULL ||
           ((rc & 0xff) == SQLITE_IOERR && (error == ENOSPC || error == EDQUOT || error == EFBIG));
}

static enum code meaning(const struct store *s, int rc, enum err_id *ret_id, const char **ret_mend) {
    *ret_id = ERR_JOURNAL_UNREACHABLE;
    *ret_mend = "";
    if (disk_full(s, rc)) {
        *ret_id = ERR_JOURNAL_FULL;
        *ret_mend = ". Make room on its file system; nothing is lost, capture goes on by itself";
        return RETRY;
    }
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        *ret_mend = ". Another process keeps it locked: see who has it open (fuser, lsof)";
        return RETRY;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
        *ret_id = ERR_JOURNAL_REFUSED;
        *ret_mend =
            ". Let this user write the file, those beside it that begin with its name, and their directory";
        return FATAL;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_FORMAT:
    case SQLITE_ERROR:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_SCHEMA:
        *ret_id = ERR_JOURNAL_CORRUPT;
        *ret_mend =
            ". It is damaged, or was edited. Restore it from a backup with its -wal file, or move both away "
            "and "
            "begin a new one: millrace capture --config FILE --resnapshot (or run), then for each sink: "
            "millrace replay --sink NAME";
        return FATAL;
    default: /* I/O errors, no memory: may heal, and what was under way is not known */
        return RETRY;
    }
}

enum code store_error(const struct store *s, int rc, const char *doing, struct err *err) {
    enum err_id id;
    const char *mend;
    int error = (rc & 0xff) == SQLITE_IOERR || (rc & 0xff) == SQLITE_CANTOPEN ? errno_of(s) : 0;
    enum code code = meaning(s, rc, &id, &mend);
    if ((rc & 0xff) == SQLITE_BUSY && s->env && stop_asked(s->env->stop))
        return err_set(err, RETRY, ERR_STOPPED, "asked to stop");
    return err_set(err, code, id, "journal file '%s': cannot %s: %s%s%s%s%s", s->journal->path, doing,
                   s->db && sqlite3_extended_errcode(s->db) == rc ? sqlite3_errmsg(s->db)
                                                                  : sqlite3_errstr(rc),
                   error ? " (" : "", error ? strerror(error) : "", error ? ")" : "", mend);
}

/* ---- opening ---- */

/* Somebody holds a lock: a short nap, unless the time is over. */
static int busy(void *arg, int tries) {
    static const int naps_us[] = {100, 200, 500, 1000, 2000, 5000, 10000};
    const int n = sizeof naps_us / sizeof *naps_us;
    struct store *s = arg;
    int64_t now = clock_mono(s->env->clock), nap = naps_us[tries < n ? tries : n - 1];
    if (now >= s->deadline_us || stop_asked(s->env->stop))
        return 0;
    stop_poll(s->env->stop, NULL, 0, now, now + nap < s->deadline_us ? now + nap : s->deadline_us);
    return 1;
}

static int number_of(struct store *s, const char *pragma, int64_t *ret) {
    sqlite3_stmt *row = NULL;
    int rc = sqlite3_prepare_v2(s->db, pragma, -1, &row, NULL);
    if (rc == SQLITE_OK && (rc = sqlite3_step(row)) == SQLITE_ROW) {
        *ret = sqlite3_column_int64(row, 0);
        rc = SQLITE_OK;
    }
    sqlite3_finalize(row);
    return rc;
}

/* Is it ours, and of a form that we know? */
static enum code check_form(struct store *s, struct err *err) {
    int64_t id = 0, format = 0;
    int rc = number_of(s, "PRAGMA application_id", &id);
    if (rc == SQLITE_OK)
        rc = number_of(s, "PRAGMA user_version", &format);
    if (rc != SQLITE_OK)
        return store_error(s, rc, "open it", err);
    if (id != EMBEDDED_APPLICATION_ID)
        return err_set(
            err, FATAL, ERR_JOURNAL_REFUSED,
            "'%s' is not a journal of Millrace: choose another journal.embedded.path, or move the file away",
            s->journal->path);
    if (format != EMBEDDED_FORMAT)
        return err_set(err, FATAL, ERR_JOURNAL_REFUSED,
                       "journal file '%s' has format %" PRId64
                       " and this Millrace knows format %d: use the version that "
                       "wrote it, or a newer one",
                       s->journal->path, format, EMBEDDED_FORMAT);
    return OK;
}

static enum code check_prefix(struct store *s, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_PIPELINE, &row, err, "");
    if (code != OK)
        return code == AGAIN ? store_error(s, SQLITE_CORRUPT, "find its pipeline", err) : code;
    const char *prefix = (const char *)sqlite3_column_text(row, 0);
    if (!prefix || strcmp(prefix, s->journal->prefix) != 0)
        code = err_set(
            err, FATAL, ERR_JOURNAL_TOPIC,
            "journal file '%s' is that of topic_prefix '%s', and this is '%s': one file serves one pipeline. "
            "Choose another journal.embedded.path, or restore topic_prefix",
            s->journal->path, prefix ? prefix : "", s->journal->prefix);
    struct embedded_journal *j = (struct embedded_journal *)s->journal;
    int64_t changes_us = sqlite3_column_int64(row, 1) * 1000,
            deletes_us = sqlite3_column_int64(row, 2) * 1000;
    atomic_store(&j->changes_us, changes_us < j->options->compaction_lag_ms * 1000
                                     ? changes_us
                                     : j->options->compaction_lag_ms * 1000);
    atomic_store(&j->deletes_us, deletes_us < j->options->delete_retention_ms * 1000
                                     ? deletes_us
                                     : j->options->delete_retention_ms * 1000);
    store_end(row);
    return code;
}

/* Counting what is allocated takes a lock that all threads share. No harm where somebody was here before
 * us. */
static void configure_process(void) {
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int configure(struct store *s, enum store_role role) {
    static const int off[] = {SQLITE_DBCONFIG_TRUSTED_SCHEMA, SQLITE_DBCONFIG_ENABLE_TRIGGER,
                              SQLITE_DBCONFIG_ENABLE_VIEW, SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION};
    int rc = sqlite3_busy_handler(s->db, busy, s);
    sqlite3_limit(s->db, SQLITE_LIMIT_LENGTH, ROW_BYTES_MAX);
    for (size_t i = 0; i < sizeof off / sizeof *off && rc == SQLITE_OK; i++)
        rc = sqlite3_db_config(s->db, off[i], 0, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL); /* closing must be quick */
    if (rc == SQLITE_OK) /* synchronous: NORMAL until a transaction asks for more */
        rc = sqlite3_exec(
            s->db,
            role == STORE_READER
                ? "PRAGMA query_only=1; PRAGMA cell_size_check=1; PRAGMA temp_store=MEMORY"
                : "PRAGMA synchronous=NORMAL; PRAGMA wal_autocheckpoint=0; PRAGMA cell_size_check=1; "
                  "PRAGMA temp_store=MEMORY",
            NULL, NULL, NULL);
    return rc;
}

enum code store_open(struct store *s, const struct embedded_journal *j, const struct journal_env *env,
                     enum store_role role, int64_t deadline_us, struct err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct stat file;
    pthread_once(&once, configure_process);
    *s = (struct store){.journal = j, .env = env, .deadline_us = deadline_us};
    enum code code = store_place(j, err);
    if (code != OK)
        return code;
    int rc = sqlite3_open_v2(
        j->path, &s->db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_PRIVATECACHE, NULL);
    if (rc == SQLITE_OK && sqlite3_db_readonly(s->db, "main") == 1)
        rc = SQLITE_READONLY; /* its mode forbids more, and SQLite opened it all the same */
    if (rc == SQLITE_OK)
        rc = configure(s, role);
    code = rc == SQLITE_OK ? check_form(s, err) : store_error(s, rc, "open it", err);
    if (code == OK)
        code = check_prefix(s, err);
    if (code == OK && stat(j->path, &file) < 0)
        code =
            err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE, "journal file '%s': %s", j->path, strerror(errno));
    if (code == OK) {
        s->device = file.st_dev;
        s->inode = file.st_ino;
        return OK;
    }
    store_close(s);
    return code;
}

void store_close(struct store *s) {
    for (int i = 0; i < SQL_MAX; i++) {
        sqlite3_finalize(s->statements[i]);
        s->statements[i] = NULL;
    }
    sqlite3_close(s->db);
    s->db = NULL;
    s->open = false;
}

/* ---- statements ---- */

static int bind_all(sqlite3_stmt *statement, const char *types, va_list arguments) {
    int rc = SQLITE_OK;
    for (int i = 1; *types && rc == SQLITE_OK; types++, i++) {
        if (*types == 'i') {
            rc = sqlite3_bind_int64(statement, i, va_arg(arguments, int64_t));
        } else if (*types == 's') {
            rc = sqlite3_bind_text(statement, i, va_arg(arguments, const char *), -1, SQLITE_STATIC);
        } else {
            assert(*types == 'b');
            struct slice bytes = va_arg(arguments, struct slice);
            rc = sqlite3_bind_blob64(statement, i, bytes.data, bytes.len, SQLITE_STATIC);
        }
    }
    return rc;
}

static int prepare(struct store *s, enum sql sql, const char *types, va_list arguments) {
    int rc = SQLITE_OK;
    if (!s->statements[sql])
        rc = sqlite3_prepare_v3(s->db, texts[sql], -1, SQLITE_PREPARE_PERSISTENT, &s->statements[sql], NULL);
    return rc == SQLITE_OK ? bind_all(s->statements[sql], types, arguments) : rc;
}

static const char *doing(enum sql sql) {
    switch (sql) {
    case SQL_BEGIN:
    case SQL_COMMIT:
    case SQL_CHUNK_ADD:
    case SQL_NEXT:
        return "write to it";
    default:
        return "read it";
    }
}

void store_end(sqlite3_stmt *row) {
    sqlite3_reset(row);
    sqlite3_clear_bindings(row);
}

enum code store_next(struct store *s, sqlite3_stmt *row, struct err *err) {
    int rc = step(s, row);
    if (rc == SQLITE_ROW)
        return OK;
    enum code code = rc == SQLITE_DONE ? AGAIN : store_error(s, rc, "read it", err);
    store_end(row);
    return code;
}

enum code store_row(struct store *s, enum sql sql, sqlite3_stmt **ret, struct err *err, const char *types,
                    ...) {
    va_list arguments;
    va_start(arguments, types);
    int rc = prepare(s, sql, types, arguments);
    va_end(arguments);
    *ret = s->statements[sql];
    return rc == SQLITE_OK ? store_next(s, *ret, err) : store_error(s, rc, doing(sql), err);
}

enum code store_run(struct store *s, enum sql sql, struct err *err, const char *types, ...) {
    va_list arguments;
    va_start(arguments, types);
    int rc = prepare(s, sql, types, arguments);
    va_end(arguments);
    if (rc == SQLITE_OK)
        while ((rc = step(s, s->statements[sql])) == SQLITE_ROW)
            ;
    enum code code = rc == SQLITE_DONE ? OK : store_error(s, rc, doing(sql), err);
    if (s->statements[sql])
        store_end(s->statements[sql]);
    return code;
}

int store_changed(const struct store *s) {
    return sqlite3_changes(s->db);
}

/* ---- transactions ---- */

static enum code check_epoch(struct store *s, int64_t epoch, struct err *err) {
    sqlite3_stmt *row;
    enum code code = epoch < 0 ? AGAIN : store_row(s, SQL_EPOCH, &row, err, "");
    if (epoch < 0)
        return OK;
    if (code != OK)
        return code == AGAIN ? store_error(s, SQLITE_CORRUPT, "find its pipeline", err) : code;
    int64_t now = sqlite3_column_int64(row, 0);
    store_end(row);
    return now == epoch
               ? OK
               : err_set(err, RETRY, ERR_JOURNAL_FENCED,
                         "journal file '%s': another capture agent has become the writer of the pipeline",
                         s->journal->path);
}

enum code store_begin(struct store *s, bool full_sync, int64_t epoch, struct err *err) {
    assert(!s->open);
    enum code code = OK;
    if (s->full_sync != full_sync)
        code = store_run(s, full_sync ? SQL_SYNC_FULL : SQL_SYNC_NORMAL, err, "");
    if (code == OK)
        s->full_sync = full_sync;
    if (code == OK)
        code = store_run(s, SQL_BEGIN, err, "");
    if (code == RETRY && (sqlite3_errcode(s->db) & 0xff) == SQLITE_BUSY)
        return AGAIN;
    if (code != OK)
        return code;
    s->open = true;
    code = check_epoch(s, epoch, err);
    if (code != OK)
        store_rollback(s);
    return code;
}

enum code store_commit(struct store *s, struct err *err) {
    assert(s->open);
    enum code code = store_run(s, SQL_COMMIT, err, "");
    if (code == OK)
        s->open = false;
    else
        store_rollback(s);
    return code;
}

void store_rollback(struct store *s) {
    struct err unused;
    if (s->open && !sqlite3_get_autocommit(s->db))
        (void)!store_run(s, SQL_ROLLBACK, &unused, "");
    s->open = false;
}

enum code store_used(struct store *s, int64_t *ret, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_PAGES, &row, err, "");
    if (code != OK)
        return code == AGAIN ? store_error(s, SQLITE_CORRUPT, "count its pages", err) : code;
    *ret = sqlite3_column_int64(row, 0) * EMBEDDED_PAGE_BYTES;
    store_end(row);
    return OK;
}
