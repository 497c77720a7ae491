/* One connection to the journal's file: opening and checking it, statements, transactions, and what SQLite's
 * errors mean.
 *
 * A connection belongs to one thread (SQLITE_OPEN_NOMUTEX). Transactions are short: a reader's ends with its
 * statement, a writer's within milliseconds, so that nobody keeps the write-ahead log from being used again
 * from its beginning. */
#pragma once

#include <sqlite3.h>
#include <sys/types.h>

#include "journal/embedded/embedded.h"

enum sql {
    SQL_BEGIN,
    SQL_COMMIT,
    SQL_ROLLBACK,
    SQL_SYNC_FULL,
    SQL_SYNC_NORMAL,
    SQL_PAGES,
    SQL_EPOCH,
    SQL_PIPELINE,
    SQL_TAKE_OVER,
    SQL_TOPICS,
    SQL_TOPIC,
    SQL_TOPIC_ADD,
    SQL_PARTITION,
    SQL_PARTITION_ADD,
    SQL_PARTITIONS,
    SQL_NEXT,
    SQL_LOW,
    SQL_CHUNK_ADD,
    SQL_CHUNK_AT,
    SQL_CHUNK_BEFORE,
    SQL_CHUNK_BETWEEN,
    SQL_CHUNK_DELETE,
    SQL_CHUNK_REPLACE,
    SQL_CHUNKS_FROM,
    SQL_LEFT_OVER,
    SQL_LEFT_OVER_DELETE,
    SQL_WEIGHT,
    SQL_FIRST_YOUNG,
    SQL_LAST_BEFORE,
    SQL_FIRST,
    SQL_CLEANED,
    SQL_CLEANING_ADD,
    SQL_CLEANING_TRIM,
    SQL_MAX,
};

enum store_role { STORE_READER, STORE_WRITER, STORE_UPKEEP };

struct store {
    sqlite3 *db; /* NULL: closed */
    const struct embedded_journal *journal;
    const struct journal_env *env;
    int64_t deadline_us; /* waits for locks end then; set before every call that may wait */
    bool full_sync;      /* a commit is on disk when it returns */
    bool open;           /* a write transaction is */
    int error;           /* errno behind the last error, 0 = not known */
    dev_t device;        /* the file, to notice that another one stands in its place */
    ino_t inode;
    sqlite3_stmt *statements[SQL_MAX];
};

/* Opens the file there is; nothing is made. AGAIN: there is none. RETRY/JOURNAL_UNREACHABLE: locked by
 * somebody until the deadline; FATAL/JOURNAL_REFUSED: not ours, of a newer Millrace, on a network file
 * system, no right to it; FATAL/JOURNAL_CORRUPT. The store must not move while it is open. */
MUST_CHECK enum code store_open(struct store *s, const struct embedded_journal *j,
                                const struct journal_env *env, enum store_role role, int64_t deadline_us,
                                struct err *err);
void store_close(struct store *s);
/* Makes the file if there is none (file.c): it appears whole, or not at all. Errors as above;
 * RETRY/JOURNAL_FULL. */
MUST_CHECK enum code store_create(const struct embedded_journal *j, struct err *err);
/* Whether the file may be used, by its directory and file system; AGAIN: there is no file (file.c). */
MUST_CHECK enum code store_place(const struct embedded_journal *j, struct err *err);
/* RETRY/JOURNAL_UNREACHABLE if the path leads to another file than the one that is open, or to none
 * (file.c). */
MUST_CHECK enum code store_same_file(const struct store *s, struct err *err);

/* Runs a statement without rows. `types`: i (int64_t), s (const char *), b (struct slice) for each argument;
 * texts and bytes must live until it returns. */
MUST_CHECK enum code store_run(struct store *s, enum sql sql, struct err *err, const char *types, ...);
/* Begins a statement; OK: its first row, then store_next, and store_end where it is left before the end.
 * AGAIN: no (more) rows. */
MUST_CHECK enum code store_row(struct store *s, enum sql sql, sqlite3_stmt **ret, struct err *err,
                               const char *types, ...);
MUST_CHECK enum code store_next(struct store *s, sqlite3_stmt *row, struct err *err);
void store_end(sqlite3_stmt *row);
/* Rows that the last store_run changed. */
int store_changed(const struct store *s);

/* A write transaction. AGAIN: somebody else writes, until the deadline. RETRY/JOURNAL_FENCED: the epoch in
 * the file is not `epoch` (-1: whatever it is). */
MUST_CHECK enum code store_begin(struct store *s, bool full_sync, int64_t epoch, struct err *err);
/* After an error the transaction is rolled back, or its outcome is not known: close the store. */
MUST_CHECK enum code store_commit(struct store *s, struct err *err);
void store_rollback(struct store *s); /* if one is open */

/* Bytes of the file that hold something. */
MUST_CHECK enum code store_used(struct store *s, int64_t *ret, struct err *err);
/* Sets the error that `rc` (SQLite's) means. */
enum code store_error(const struct store *s, int rc, const char *doing, struct err *err);
