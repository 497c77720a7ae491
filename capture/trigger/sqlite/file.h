/* One connection of SQLite to the captured file, and its statements.
 *
 * One thread. Waits for the locks of other programs as long as lsource_patience() says, 0 = not at all. */
#pragma once

#include <sqlite3.h>

#include "capture/source.h"
#include "capture/trigger/sqlite/options.h"

struct lfile {
    sqlite3 *conn;
    const struct lsource_options *options;
};

/* RETRY/SOURCE_UNREACHABLE, FATAL/SOURCE_REFUSED, CONFIG. lfile_close() is due also after a failure. */
MUST_CHECK enum code lfile_open(struct lfile *file, const struct lsource_options *options, int64_t wait_ms,
                                struct err *err);
void lfile_close(struct lfile *file);
void lfile_patience(struct lfile *file, int64_t wait_ms);
/* The file that is open is no longer the one that stands at the path: RETRY/SOURCE_UNREACHABLE. */
MUST_CHECK enum code lfile_in_place(struct lfile *file, struct err *err);

/* Sets the error from what SQLite says of the newest call. AGAIN: another program has the lock. */
enum code lfile_failed(struct lfile *file, const char *doing, struct err *err);

void cleanup_lstmt(sqlite3_stmt **stmt);
#define CLEANUP_LSTMT __attribute__((cleanup(cleanup_lstmt))) sqlite3_stmt

MUST_CHECK enum code lfile_prepare(struct lfile *file, const char *sql, sqlite3_stmt **ret, struct err *err);
/* One step: *row tells whether there is one. After the last row, and after a failure, the statement is
 * reset. */
MUST_CHECK enum code lfile_step(struct lfile *file, sqlite3_stmt *stmt, bool *row, struct err *err);
/* Any number of statements. What fails leaves no transaction open. */
MUST_CHECK enum code lfile_run(struct lfile *file, const char *sql, struct err *err);
/* The first row's first column as a number, 0 if there is none. */
MUST_CHECK enum code lfile_number(struct lfile *file, const char *sql, int64_t *ret, struct err *err);
void lfile_rollback(struct lfile *file);

/* The text of a column of the current row, "" for NULL; valid until the next step. */
const char *lfile_text(sqlite3_stmt *stmt, int column);
/* "name", with quotes doubled: names are hostile; every one passes through here. */
void put_lident(struct buf *sql, const char *name);
/* 'text', with quotes doubled. */
void put_ltext(struct buf *sql, const char *text);
