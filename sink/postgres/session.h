/* A connection to the replica: non-blocking libpq with deadlines, ended early by the stop.
 *
 * Protocol: PostgreSQL frontend/backend protocol 3 through libpq (manual, chapter 34). One thread. After
 * RETRY the session is of no more use except for session_close. */
#pragma once

#include <libpq-fe.h>

#include "sink/postgres/options.h"
#include "sink/target.h"

struct session {
    PGconn *conn;
    const struct target_env *env;
    const struct postgres_options *options;
    int version;       /* 150020 */
    bool role_replica; /* session_replication_role is replica: neither triggers nor foreign keys act */
    bool in_transaction;
    bool patient;        /* what runs takes as long as a table is large: no limit, here or there */
    bool deaf;           /* closing: the stop is no longer looked at */
    int64_t deadline_us; /* of everything, 0 = none */
    int64_t backend_pid;
    char sqlstate[6];  /* of the newest failure, "" if the server gave none */
    const char *about; /* table that is worked on, for error texts; or NULL */
};

#define STATE_UNIQUE_VIOLATION "23505"
#define STATE_PRIVILEGE        "42501"
static inline bool session_failed_with(const struct session *s, const char *sqlstate) {
    return strcmp(s->sqlstate, sqlstate) == 0;
}

/* A value that must be unique was there already (or an exclusion constraint says so). */
static inline bool session_failed_unique(const struct session *s) {
    return session_failed_with(s, STATE_UNIQUE_VIOLATION) || session_failed_with(s, "23P01");
}

/* Connects and sets the session up: UTC, fixed formats, empty search_path, triggers off unless asked. Blocks
 * at most wait_ms. RETRY/TARGET_UNREACHABLE, TARGET_FULL; FATAL/TARGET_REFUSED, CONFIG (the URL cannot be
 * read). A refused session_replication_role is no error: see role_replica. */
MUST_CHECK enum code session_open(struct session *s, const struct postgres_options *options,
                                  const struct target_env *env, int64_t wait_ms, struct err *err);
void session_close(struct session *s);

/* One statement with n parameters in text form (NULL = SQL NULL), types inferred. `ret` NULL: the result is
 * thrown away; otherwise the caller clears it (it is NULL after a failure). Codes by outcome.h. */
MUST_CHECK enum code session_run(struct session *s, const char *sql, int n, const char *const *params,
                                 PGresult **ret, struct err *err);
/* Several statements without parameters, separated by ';'. */
MUST_CHECK enum code session_script(struct session *s, const char *sql, struct err *err);
/* BEGIN, if no transaction is open. */
MUST_CHECK enum code session_begin(struct session *s, struct err *err);
/* Lifts the limit of a statement's time until the end of the transaction, or sets it again. */
MUST_CHECK enum code session_patient(struct session *s, bool patient, struct err *err);
/* Ends an open transaction; nothing of it is there afterwards, whatever happens to the connection. */
void session_rollback(struct session *s);
/* Drops temporary tables and prepared statements. Outside a transaction. */
void session_forget(struct session *s);

/* COPY ... FROM STDIN (FORMAT text): begin, put any number of whole rows, end. Put blocks while the server is
 * slow. After a failure of put, end must still be called, with its reason. `rows` may be NULL. */
MUST_CHECK enum code session_copy_begin(struct session *s, const char *sql, struct err *err);
MUST_CHECK enum code session_copy_put(struct session *s, const struct buf *rows, struct err *err);
MUST_CHECK enum code session_copy_end(struct session *s, const char *failed, uint64_t *rows, struct err *err);

/* Pipelines: several statements, one wait. Begin, queue statements, end. `done[i]` gets the number of rows
 * that statement i touched. The first failure is returned and those behind it were not run; session is then
 * out of pipeline mode again in any case. At most PIPELINE_MAX statements. */
enum { PIPELINE_MAX = 64 };
MUST_CHECK enum code pipeline_begin(struct session *s, struct err *err);
MUST_CHECK enum code pipeline_prepare(struct session *s, const char *name, const char *sql, int n,
                                      const Oid *types, struct err *err);
MUST_CHECK enum code pipeline_prepared(struct session *s, const char *name, int n, const char *const *params,
                                       struct err *err);
MUST_CHECK enum code pipeline_run(struct session *s, const char *sql, int n, const char *const *params,
                                  struct err *err);
/* Throws the statements away that were queued so far (some may have run): only a rollback can follow. */
void pipeline_abandon(struct session *s);
MUST_CHECK enum code pipeline_end(struct session *s, int n, uint64_t *done, struct err *err);

/* Rows touched, 0 if the statement has none. */
uint64_t result_rows(const PGresult *result);
/* A field as text, NULL for SQL NULL. */
const char *result_text(const PGresult *result, int row, int column);
/* The same where NULL cannot be right: "". All of these take a server that answers with fewer rows or columns
 * than it was asked for: text NULL or "", 0, false. */
const char *result_name(const PGresult *result, int row, int column);
int64_t result_int(const PGresult *result, int row, int column);
bool result_bool(const PGresult *result, int row, int column);

void result_free(PGresult **result);
#define CLEANUP_RESULT __attribute__((cleanup(result_free))) PGresult
