/* Sessions with the source: how they are opened, asked, and how their errors are decided. */
#pragma once

#include <libpq-fe.h>
#include <stdlib.h>

#include "capture/postgres/options.h"

/* A field as text, "" where it is NULL, and also where a server answered with fewer rows or columns than were
 * asked for. */
static inline const char *pgsource_text(const PGresult *res, int row, int column) {
    return row < PQntuples(res) && column < PQnfields(res) ? PQgetvalue(res, row, column) : "";
}

/* The same as a number, 0 where it is none. */
static inline int64_t pgsource_number(const PGresult *res, int row, int column) {
    return strtoll(pgsource_text(res, row, column), NULL, 10);
}

enum pg_session { PG_SESSION_SQL, PG_SESSION_REPLICATION };

/* Opens a session with every format fixed (see values.h). Blocks at most wait_ms (and 10 s); a stop ends the
 * wait. The caller owns *ret (PQfinish). RETRY/SOURCE_UNREACHABLE, RETRY/STOPPED, FATAL/SOURCE_REFUSED,
 * FATAL/SOURCE_SETTING (older than PostgreSQL 14, or a server encoding that says nothing), FATAL/CONFIG (the
 * URL). */
MUST_CHECK enum code pgsource_connect(const struct pg_options *options, const struct source_env *env,
                                      enum pg_session kind, int64_t wait_ms, PGconn **ret, struct err *err);

/* Asks one statement (simple protocol, as walsenders demand) and waits at most wait_ms for its result. The
 * caller owns *ret (PQclear). `doing` begins the error's sentence. Codes as pgsource_error; after RETRY the
 * session is of no use. */
MUST_CHECK enum code pgsource_query(PGconn *conn, const struct source_env *env, int64_t wait_ms,
                                    const char *doing, const char *sql, PGresult **ret, struct err *err);
/* The same when the statement has been sent. *ret may be PGRES_COPY_BOTH or PGRES_COPY_OUT. */
MUST_CHECK enum code pgsource_wait(PGconn *conn, const struct source_env *env, int64_t wait_ms,
                                   const char *doing, PGresult **ret, struct err *err);

/* Decides an error by SQLSTATE; `res` may be NULL (the connection failed). Quotes the server's message
 * only. */
enum code pgsource_error(PGconn *conn, const PGresult *res, struct err *err, const char *doing);
/* An error of the replication stream or of a slot command, where more of them mean that the slot is lost. */
enum code pgsource_stream_error(PGconn *conn, const PGresult *res, struct err *err, const char *doing);

/* Appends `text` quoted as an SQL literal or identifier (for our statements and for SQL shown to people). */
void put_literal(struct buf *sql, const char *text);
void put_identifier(struct buf *sql, const char *name);
void put_table(struct buf *sql, const char *schema, const char *name);

void pgsource_clear(PGresult **result); /* for CLEANUP_RESULT */
#define CLEANUP_RESULT __attribute__((cleanup(pgsource_clear))) PGresult
void pgsource_finish(PGconn **conn);
#define CLEANUP_CONN __attribute__((cleanup(pgsource_finish))) PGconn

/* "16/B374D848" to a number; 0 if it is none. */
uint64_t lsn_parse(const char *text);
