/* Protocol: libpq's asynchronous commands (manual 34.4), COPY (34.10). */
#include "sink/postgres/session.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "sink/postgres/connect.h"
#include "sink/postgres/outcome.h"
#include "sink/postgres/session_io.h"

#define DRAIN_US 1500000 /* after a cancel, and for the last words of a session */

/* ---- waiting ---- */

static int64_t now(const struct session *s) {
    return clock_mono(s->env->clock);
}

/* When the answer to a statement that is sent now is overdue: the server's own limit and some room for the
 * network. */
int64_t session_due(const struct session *s) {
    int64_t due = s->deaf ? now(s) + DRAIN_US : INT64_MAX;
    if (s->options->statement_timeout_ms > 0 && !s->deaf && !s->patient)
        due = now(s) + s->options->statement_timeout_ms * 1000 + 15000000;
    return s->deadline_us && s->deadline_us < due ? s->deadline_us : due;
}

/* PQcancel blocks for as long as the network does; a peer that leaves sent bytes unacknowledged is not
 * asked. */
static bool peer_acknowledges(const PGconn *conn) {
    struct tcp_info info;
    socklen_t len = sizeof info;
    if (getsockopt(PQsocket(conn), IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return true; /* not TCP */
    return info.tcpi_retransmits == 0;
}

enum code session_lost(struct session *s, struct err *err) {
    s->sqlstate[0] = 0;
    return outcome_of_connection(PQerrorMessage(s->conn), err);
}

/* OK: something can be read or written. */
static enum code wait_socket(struct session *s, bool write, int64_t deadline, struct err *err) {
    struct pollfd fd = {.fd = PQsocket(s->conn), .events = (short)(POLLIN | (write ? POLLOUT : 0))};
    const struct stop *stop = s->deaf ? NULL : s->env->stop;
    while (stop_poll(stop, &fd, 1, now(s), deadline) == 0) {
        if (stop_asked(stop))
            return err_set(err, RETRY, ERR_STOPPED, "stopped while the replica was at work");
        if (now(s) >= deadline)
            return err_set(err, RETRY, ERR_TARGET_UNREACHABLE, "the replica did not answer in time");
    }
    if ((fd.revents & (POLLIN | POLLERR | POLLHUP)) && !PQconsumeInput(s->conn))
        return session_lost(s, err);
    return OK;
}

enum code session_flush(struct session *s, int64_t deadline, struct err *err) {
    int left;
    while ((left = PQflush(s->conn)) != 0) {
        if (left < 0)
            return session_lost(s, err);
        enum code code = wait_socket(s, true, deadline, err);
        if (code != OK)
            return code;
    }
    return OK;
}

/* OK: PQgetResult will not block. */
enum code session_await(struct session *s, int64_t deadline, struct err *err) {
    while (PQisBusy(s->conn)) {
        enum code code = wait_socket(s, false, deadline, err);
        if (code != OK)
            return code;
    }
    return OK;
}

/* The stop came while the server was at work: ends the statement there and empties the line, so that the
 * session can still say its last words (rollback, release). If that fails the connection is thrown away. */
static void cut_short(struct session *s) {
    int64_t deadline = now(s) + DRAIN_US;
    s->deaf = true;
    if (PQstatus(s->conn) != CONNECTION_OK || !peer_acknowledges(s->conn))
        goto broken;
    PGcancel *cancel = PQgetCancel(s->conn);
    char reason[256];
    bool asked = cancel && PQcancel(cancel, reason, sizeof reason);
    PQfreeCancel(cancel);
    if (!asked || session_flush(s, deadline, NULL) != OK)
        goto broken;
    bool piped = PQpipelineStatus(s->conn) != PQ_PIPELINE_OFF;
    for (int nothing = 0; nothing < 2;) {
        if (session_await(s, deadline, NULL) != OK)
            goto broken;
        PGresult *result = PQgetResult(s->conn);
        if (!result && !piped)
            return;
        ExecStatusType status = PQresultStatus(result);
        nothing = result ? 0 : nothing + 1;
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC && PQexitPipelineMode(s->conn))
            return;
        if (status == PGRES_COPY_IN && PQputCopyEnd(s->conn, "stopped") < 0)
            goto broken;
    }
broken:
    PQfinish(s->conn);
    s->conn = NULL;
}

enum code session_interrupted(struct session *s, enum code code, enum err_id id) {
    if (id == ERR_STOPPED && s->conn)
        cut_short(s);
    return code;
}

/* ---- statements ---- */

static bool succeeded(ExecStatusType status) {
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_COPY_IN;
}

enum code session_failed(struct session *s, const PGresult *result, struct err *err) {
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!sqlstate)
        return session_lost(s, err);
    snprintf(s->sqlstate, sizeof s->sqlstate, "%s", sqlstate);
    return outcome_set(result, s->about, err);
}

/* Reads all results of what was sent; keeps the last good one, or reports the first failure. Stops at
 * COPY. */
static enum code collect(struct session *s, int64_t deadline, PGresult **ret, struct err *err) {
    enum code outcome = OK;
    for (;;) {
        enum code code = session_await(s, deadline, err);
        if (code != OK)
            return code;
        PGresult *result = PQgetResult(s->conn);
        if (!result)
            return outcome;
        ExecStatusType status = PQresultStatus(result);
        if (!succeeded(status) && outcome == OK)
            outcome = session_failed(s, result, err);
        if (ret && outcome == OK) {
            PQclear(*ret);
            *ret = result;
        } else
            PQclear(result);
        if (status == PGRES_COPY_IN)
            return outcome;
        if (status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH)
            return err_set(err, RETRY, ERR_TARGET_UNREACHABLE,
                           "the replica sends rows that nobody asked for");
        if (now(s) >= deadline)
            return err_set(err, RETRY, ERR_TARGET_UNREACHABLE, "the replica's answer has no end");
    }
}

static enum code exchange(struct session *s, PGresult **ret, struct err *err) {
    struct err own = {0};
    int64_t deadline = session_due(s);
    enum code code = session_flush(s, deadline, &own);
    if (code == OK)
        code = collect(s, deadline, ret, &own);
    if (code == OK)
        return OK;
    if (ret) {
        PQclear(*ret);
        *ret = NULL;
    }
    if (err)
        *err = own;
    return session_interrupted(s, code, own.id);
}

enum code session_ready(struct session *s, struct err *err) {
    s->sqlstate[0] = 0;
    if (!s->conn)
        return err_set(err, RETRY, ERR_TARGET_UNREACHABLE, "the connection to the replica is closed");
    if (!s->deaf && stop_asked(s->env->stop))
        return err_set(err, RETRY, ERR_STOPPED, "stopped");
    return OK;
}

enum code session_run(struct session *s, const char *sql, int n, const char *const *params, PGresult **ret,
                      struct err *err) {
    if (ret)
        *ret = NULL;
    enum code code = session_ready(s, err);
    if (code != OK)
        return code;
    if (!PQsendQueryParams(s->conn, sql, n, NULL, params, NULL, NULL, 0))
        return session_lost(s, err);
    return exchange(s, ret, err);
}

enum code session_script(struct session *s, const char *sql, struct err *err) {
    enum code code = session_ready(s, err);
    if (code != OK)
        return code;
    if (!PQsendQuery(s->conn, sql))
        return session_lost(s, err);
    return exchange(s, NULL, err);
}

enum code session_begin(struct session *s, struct err *err) {
    if (s->in_transaction)
        return OK;
    bool deferred = s->options->triggers == TRIGGERS_FIRE;
    enum code code = session_script(s, deferred ? "BEGIN; SET CONSTRAINTS ALL DEFERRED" : "BEGIN", err);
    if (code == OK)
        s->in_transaction = true;
    return code;
}

enum code session_patient(struct session *s, bool patient, struct err *err) {
    CLEANUP_BUF sql = {0};
    s->patient = patient;
    buf_printf(&sql, "SET LOCAL statement_timeout = %lld",
               patient ? 0LL : (long long)s->options->statement_timeout_ms);
    return session_script(s, buf_cstr(&sql), err);
}

/* A script whose failure ends the session. Not ended by the stop; the SQLSTATE of the newest failure is
 * kept. */
static void last_words(struct session *s, const char *sql) {
    bool deaf = s->deaf;
    s->deaf = true;
    char sqlstate[sizeof s->sqlstate];
    memcpy(sqlstate, s->sqlstate, sizeof sqlstate);
    if (session_script(s, sql, NULL) != OK)
        session_close(s);
    memcpy(s->sqlstate, sqlstate, sizeof sqlstate);
    s->deaf = deaf;
}

void session_rollback(struct session *s) {
    s->in_transaction = false;
    if (!s->conn || PQtransactionStatus(s->conn) == PQTRANS_IDLE)
        return;
    last_words(s, "ROLLBACK"); /* the server rolls back, too, when the line is cut */
}

void session_forget(struct session *s) {
    if (s->conn)
        last_words(s, "DEALLOCATE ALL; DISCARD TEMP");
}

/* ---- copy ---- */

enum code session_copy_begin(struct session *s, const char *sql, struct err *err) {
    enum code code = session_ready(s, err);
    if (code != OK)
        return code;
    if (!PQsendQuery(s->conn, sql))
        return session_lost(s, err);
    return exchange(s, NULL, err);
}

enum code session_copy_put(struct session *s, const struct buf *rows, struct err *err) {
    struct err own = {0};
    int64_t deadline = session_due(s);
    enum code code = OK;
    if (!s->deaf && stop_asked(s->env->stop))
        code = err_set(&own, RETRY, ERR_STOPPED, "stopped");
    if (code == OK && PQputCopyData(s->conn, rows->data, (int)rows->len) < 0)
        code = session_lost(s, &own);
    if (code == OK)
        code = session_flush(s, deadline, &own);
    if (code != OK && err)
        *err = own;
    return code;
}

enum code session_copy_end(struct session *s, const char *reason, uint64_t *rows, struct err *err) {
    s->sqlstate[0] = 0;
    if (PQputCopyEnd(s->conn, reason) < 0)
        return session_lost(s, err);
    PGresult *result = NULL;
    enum code code;
    if (reason && stop_asked(s->env->stop)) { /* the answer is awaited for a moment only */
        bool deaf = s->deaf;
        s->deaf = true;
        code = exchange(s, &result, err);
        s->deaf = deaf;
    } else
        code = exchange(s, &result, err);
    if (rows)
        *rows = code == OK ? result_rows(result) : 0;
    PQclear(result);
    return code;
}

/* ---- opening, closing ---- */

/* Fixed formats and limits. synchronous_commit=off is safe because position and rows are lost together, and
 * the journal still has them. row_security=off makes a policy an error instead of a filter. */
static const char settings[] =
    "SET client_encoding = 'UTF8'; SET search_path = ''; SET timezone = 'UTC'; SET datestyle = 'ISO, YMD';"
    "SET intervalstyle = 'iso_8601'; SET bytea_output = 'hex'; SET lc_monetary = 'C'; SET xmloption = "
    "'content';"
    "SET standard_conforming_strings = on; SET extra_float_digits = 1; SET row_security = off;"
    "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = off; SET jit = off;"
    "SET client_min_messages = warning; SET temp_buffers = '32MB'; SET client_connection_check_interval = "
    "'1s';"
    "SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 2; SET tcp_keepalives_count = 3;"
    "SET tcp_user_timeout = '15s'; SET idle_in_transaction_session_timeout = '5min';";

static enum code set_up(struct session *s, struct err *err) {
    s->version = PQserverVersion(s->conn);
    s->backend_pid = PQbackendPID(s->conn);
    if (s->version < 140000)
        return err_set(err, FATAL, ERR_TARGET_REFUSED, "the replica is PostgreSQL %s; 14 or newer is needed",
                       PQparameterStatus(s->conn, "server_version"));
    enum code code = session_script(s, settings, err);
    if (code != OK)
        return code;
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "SET lock_timeout = %lld; SET statement_timeout = %lld",
               (long long)s->options->lock_timeout_ms, (long long)s->options->statement_timeout_ms);
    code = session_script(s, buf_cstr(&sql), err);
    if (code != OK || s->options->triggers == TRIGGERS_FIRE)
        return code;
    code = session_script(s, "SET session_replication_role = replica", err);
    s->role_replica = code == OK;
    return code != OK && session_failed_with(s, STATE_PRIVILEGE) ? OK : code;
}

static void drop_notice(void *arg, const PGresult *result) {
    (void)arg;
    (void)result;
}

enum code session_open(struct session *s, const struct postgres_options *options,
                       const struct target_env *env, int64_t wait_ms, struct err *err) {
    *s = (struct session){.options = options, .env = env};
    s->deadline_us = now(s) + wait_ms * 1000;
    enum code code = connect_session(s, wait_ms, err);
    if (code == OK) {
        PQsetNoticeReceiver(s->conn, drop_notice, NULL);
        code = set_up(s, err);
    }
    s->deadline_us = 0;
    if (code != OK)
        session_close(s);
    return code;
}

void session_close(struct session *s) {
    PQfinish(s->conn);
    s->conn = NULL;
}

/* ---- results ---- */

uint64_t result_rows(const PGresult *result) {
    return result ? strtoull(PQcmdTuples((PGresult *)(uintptr_t)result), NULL, 10) : 0;
}

const char *result_text(const PGresult *result, int row, int column) {
    bool there = row < PQntuples(result) && column < PQnfields(result);
    return there && !PQgetisnull(result, row, column) ? PQgetvalue(result, row, column) : NULL;
}

const char *result_name(const PGresult *result, int row, int column) {
    const char *text = result_text(result, row, column);
    return text ? text : "";
}

int64_t result_int(const PGresult *result, int row, int column) {
    return strtoll(result_name(result, row, column), NULL, 10);
}

bool result_bool(const PGresult *result, int row, int column) {
    return result_name(result, row, column)[0] == 't';
}

void result_free(PGresult **result) {
    PQclear(*result);
    *result = NULL;
}
