/* Several statements in one round trip, for small batches: a quiet system is quick.
 *
 * Protocol: libpq pipeline mode (manual 34.5). Bounded by PIPELINE_MAX statements, so that neither side's
 * buffers can fill up while both write. */
#include <assert.h>

#include "sink/postgres/session.h"
#include "sink/postgres/session_io.h"

enum code pipeline_begin(struct session *s, struct err *err) {
    enum code code = session_ready(s, err);
    if (code != OK)
        return code;
    return PQenterPipelineMode(s->conn) ? OK : session_lost(s, err);
}

enum code pipeline_prepare(struct session *s, const char *name, const char *sql, int n, const Oid *types,
                           struct err *err) {
    return PQsendPrepare(s->conn, name, sql, n, types) ? OK : session_lost(s, err);
}

enum code pipeline_prepared(struct session *s, const char *name, int n, const char *const *params,
                            struct err *err) {
    return PQsendQueryPrepared(s->conn, name, n, params, NULL, NULL, 0) ? OK : session_lost(s, err);
}

enum code pipeline_run(struct session *s, const char *sql, int n, const char *const *params,
                       struct err *err) {
    return PQsendQueryParams(s->conn, sql, n, NULL, params, NULL, NULL, 0) ? OK : session_lost(s, err);
}

/* The results of one statement, up to the NULL that ends them. */
static enum code collect_one(struct session *s, int64_t deadline, enum code so_far, uint64_t *done,
                             struct err *err) {
    *done = 0;
    for (;;) {
        enum code code = session_await(s, deadline, err);
        if (code != OK)
            return code;
        PGresult *result = PQgetResult(s->conn);
        if (!result)
            return so_far;
        ExecStatusType status = PQresultStatus(result);
        if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK)
            *done = result_rows(result);
        else if (status != PGRES_PIPELINE_ABORTED && so_far == OK)
            so_far = session_failed(s, result, err);
        PQclear(result);
    }
}

/* The mark that ends the pipeline. */
static enum code collect_sync(struct session *s, int64_t deadline, struct err *err) {
    enum code code = session_await(s, deadline, err);
    if (code != OK)
        return code;
    PGresult *result = PQgetResult(s->conn);
    bool synced = PQresultStatus(result) == PGRES_PIPELINE_SYNC;
    PQclear(result);
    return synced && PQexitPipelineMode(s->conn) ? OK : session_lost(s, err);
}

/* An error of waiting (the connection is of no more use) is told apart from an error of a statement by its
 * sync. */
enum code pipeline_end(struct session *s, int n, uint64_t *done, struct err *err) {
    assert(n <= PIPELINE_MAX);
    struct err own = {0};
    int64_t deadline = session_due(s);
    if (!PQpipelineSync(s->conn))
        return session_lost(s, err);
    enum code code = session_flush(s, deadline, &own), outcome = OK;
    for (int i = 0; i < n && code == OK; i++) {
        outcome = collect_one(s, deadline, outcome, &done[i], &own);
        if (outcome != OK && s->sqlstate[0] == 0)
            code = outcome; /* not the server's answer: the line is gone */
    }
    if (code == OK)
        code = collect_sync(s, deadline, outcome == OK ? &own : NULL);
    if (code == OK)
        code = outcome;
    if (code != OK && err)
        *err = own;
    return session_interrupted(s, code, own.id);
}

void pipeline_abandon(struct session *s) {
    int64_t deadline = session_due(s);
    if (!s->conn || PQpipelineStatus(s->conn) == PQ_PIPELINE_OFF)
        return;
    bool synced = PQpipelineSync(s->conn) && session_flush(s, deadline, NULL) == OK;
    for (int nothing = 0; synced && nothing < 2;) {
        if (session_await(s, deadline, NULL) != OK)
            break;
        PGresult *result = PQgetResult(s->conn);
        ExecStatusType status = PQresultStatus(result);
        nothing = result ? 0 : nothing + 1;
        PQclear(result);
        if (status == PGRES_PIPELINE_SYNC && PQexitPipelineMode(s->conn))
            return;
    }
    session_close(s);
}
