/* Sessions with a MariaDB server: how they are opened, asked, and how their errors are decided.
 * The client library blocks; every session has time limits, and every statement asked here is short. */
#pragma once

#include <mysql.h>

#include "capture/source.h"
#include "capture/trigger/mariadb/options.h"

enum { MARIA_PATIENT = -1 };
/* Opens a session with every format fixed: utf8mb4, UTC, our sql_mode, READ COMMITTED, autocommit. Blocks at
 * most wait_ms (and 10 s), each later answer at most 20 s; MARIA_PATIENT: answers take what they take. The
 * caller owns *ret (mysql_close). RETRY/SOURCE_UNREACHABLE, FATAL/SOURCE_REFUSED, SOURCE_SETTING (no MariaDB,
 * or older than 10.6), CONFIG (the URL). */
MUST_CHECK enum code maria_connect(const struct maria_options *options, int64_t wait_ms, MYSQL **ret,
                                   struct err *err);
/* What every session of ours sets, triggers' included, one statement. */
extern const char maria_session_sql[];

/* Asks a statement that has no rows, or whose rows nobody wants. `doing` begins the error's sentence. */
MUST_CHECK enum code maria_exec(MYSQL *db, const char *doing, const char *sql, struct err *err);
/* Asks for all rows at once; the caller owns *ret (mysql_free_result). */
MUST_CHECK enum code maria_query(MYSQL *db, const char *doing, const char *sql, MYSQL_RES **ret,
                                 struct err *err);
/* Asks for rows that are fetched one by one; nothing else can be asked of the session until the last one. */
MUST_CHECK enum code maria_stream(MYSQL *db, const char *doing, const char *sql, MYSQL_RES **ret,
                                  struct err *err);
/* The number in the first column of the first row; 0 if there is none. */
MUST_CHECK enum code maria_number(MYSQL *db, const char *doing, const char *sql, uint64_t *ret,
                                  struct err *err);

/* Decides the session's last error. Quotes the server's message only. */
enum code maria_error(MYSQL *db, const char *doing, struct err *err);

void maria_put_name(struct buf *sql, const char *name);                      /* `name` */
void maria_put_table(struct buf *sql, const char *schema, const char *name); /* `schema`.`name` */
void maria_put_string(struct buf *sql, const char *text);                    /* 'text', for our sql_mode */

static inline uint64_t field_number(MYSQL_ROW row, int i) {
    return row[i] ? strtoull(row[i], NULL, 10) : 0;
}
static inline const char *field_text(MYSQL_ROW row, int i) {
    return row[i] ? row[i] : "";
}

void maria_free_result(MYSQL_RES **result); /* for CLEANUP_ROWS */
#define CLEANUP_ROWS __attribute__((cleanup(maria_free_result))) MYSQL_RES
