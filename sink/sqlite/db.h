/* The replica's file: one connection of SQLite in WAL mode (SQLite manual, "Write-Ahead Logging").
 *
 *   one writer at a time: BEGIN IMMEDIATE takes the file's write lock, or waits lock_timeout for it
 *   readers see the newest commit of their moment, never wait for us, and never make us wait
 *
 * Every wait is ended early by the stop. One thread at a time. After RETRY nothing of the open transaction is
 * there. */
#pragma once

#include <sqlite3.h>

#include "sink/sqlite/options.h"
#include "sink/target.h"

struct db {
    sqlite3 *conn;
    const struct target_env *env;
    const struct sqlite_options *options;
    const char *about;     /* table that is worked on, for error texts; or NULL */
    bool deaf;             /* closing: the stop is no longer looked at */
    int64_t busy_ms;       /* longest wait for a lock, 0 = for ever */
    int64_t busy_until_us; /* end of the wait that is going on */
    int wal_pages;         /* in the -wal file after the newest commit */
    int wal_tried;         /* how many there were when a checkpoint last left some */
    bool wal_told;         /* somebody was told that a reader holds it */
    sqlite3_stmt *begin, *commit;
};

/* DB_CREATE: makes the file if it is not there. DB_LOOK: only looks at what is there, changes nothing; a file
 * that is not there is OK with conn NULL. */
enum db_mode { DB_CREATE, DB_LOOK };
/* RETRY/TARGET_UNREACHABLE, TARGET_FULL; FATAL/TARGET_REFUSED, TARGET_CORRUPT, CONFIG (the path names no
 * file). db_close() is due also after a failure. */
MUST_CHECK enum code db_open(struct db *db, const struct sqlite_options *options,
                             const struct target_env *env, enum db_mode mode, int64_t wait_ms,
                             struct err *err);
void db_close(struct db *db);
/* Turns on WAL mode, which stays with the file. FATAL/TARGET_REFUSED: its file system cannot. */
MUST_CHECK enum code db_wal(struct db *db, struct err *err);

/* ---- statements ---- */

void cleanup_stmt(sqlite3_stmt **stmt);
#define CLEANUP_STMT __attribute__((cleanup(cleanup_stmt))) sqlite3_stmt

/* A parameter: a number, or a text that outlives the statement's use (NULL: SQL NULL). */
struct param {
    bool number;
    int64_t i;
    const char *text;
};
#define P_INT(n)  ((struct param){.number = true, .i = (int64_t)(n)})
#define P_TEXT(t) ((struct param){.text = (t)})
#define PARAMS(...) \
    (const struct param[]){__VA_ARGS__}, sizeof((const struct param[]){__VA_ARGS__}) / sizeof(struct param)
#define NO_PARAMS NULL, 0

/* Compiles; the caller finalizes. NULL after a failure. */
MUST_CHECK enum code db_prepare(struct db *db, const char *sql, sqlite3_stmt **ret, struct err *err);
/* The same for a statement that is kept, once: nothing if *stmt is there. */
MUST_CHECK enum code db_keep(struct db *db, const char *sql, sqlite3_stmt **stmt, struct err *err);
void db_bind(sqlite3_stmt *stmt, const struct param *params, size_t n);
/* One step: *row tells whether there is one. After the last row, and after a failure, the statement is
 * reset. */
MUST_CHECK enum code db_step(struct db *db, sqlite3_stmt *stmt, bool *row, struct err *err);
/* Runs a bound statement that gives no rows; `changes` may be NULL. */
MUST_CHECK enum code db_finish(struct db *db, sqlite3_stmt *stmt, int64_t *changes, struct err *err);
/* Compile, bind, run. `changes` may be NULL. */
MUST_CHECK enum code db_run(struct db *db, const char *sql, const struct param *params, size_t n,
                            int64_t *changes, struct err *err);
/* Compile, bind, first row: *ret is NULL if there is none; the caller finalizes. */
MUST_CHECK enum code db_ask(struct db *db, const char *sql, const struct param *params, size_t n,
                            sqlite3_stmt **ret, struct err *err);
/* Several statements without parameters. */
MUST_CHECK enum code db_script(struct db *db, const char *sql, struct err *err);

/* The text of a column of the current row, "" for NULL; valid until the next step. */
const char *db_text(sqlite3_stmt *stmt, int column);

/* Sets the error from what SQLite says of the newest call. */
enum code db_failed(struct db *db, int result, struct err *err);
/* Whether the newest failure was a value that must be unique (beside `primary`: the primary key's). */
bool db_failed_unique(const struct db *db);

/* ---- transactions ---- */

bool db_in_transaction(const struct db *db);
/* Takes the write lock, if no transaction is open. RETRY/TARGET_UNREACHABLE: another program has it, or the
 * file was deleted or replaced while it was open. */
MUST_CHECK enum code db_begin(struct db *db, struct err *err);
/* Commits, and moves pages from the -wal file into the database when there are many. */
MUST_CHECK enum code db_commit(struct db *db, struct err *err);
/* Ends an open transaction; nothing of it is there afterwards. */
void db_rollback(struct db *db);
