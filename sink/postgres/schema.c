/* Schema millrace of the replica: where a sink keeps what it knows.
 *
 *   sink_worker  one row per part of a sink: who owns it, in which epoch, and how far it is
 *   sink_offset  one row per partition that a part has read from
 *   sink_table   one row per table that a sink has written to */
#include "sink/postgres/postgres.h"

static const char exists_sql[] = "SELECT pg_catalog.count(*) = 3 FROM pg_catalog.pg_class c JOIN "
                                 "pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                                 " WHERE n.nspname = 'millrace' AND c.relkind = 'r' AND c.relname IN "
                                 "('sink_worker', 'sink_offset', 'sink_table')";

/* The lock lets one of two processes that start together do it. Positions are unsigned 64-bit numbers kept as
 * int8. */
static const char create_sql[] =
    "BEGIN;"
    "SELECT pg_catalog.pg_advisory_xact_lock(4733218904127104);"
    "CREATE SCHEMA IF NOT EXISTS millrace;"
    "CREATE TABLE IF NOT EXISTS millrace.sink_worker ("
    " sink text, worker int, workers int NOT NULL, epoch bigint NOT NULL, owner text,"
    " seen timestamptz NOT NULL DEFAULT '-infinity', backend int, backend_start timestamptz,"
    " commit_seq bigint NOT NULL DEFAULT 0, commits_next bigint NOT NULL DEFAULT 0,"
    " generation bigint NOT NULL DEFAULT 0, commit_lsn bigint NOT NULL DEFAULT 0, ordinal bigint NOT NULL "
    "DEFAULT 0,"
    " commit_us bigint NOT NULL DEFAULT 0, rebuild boolean NOT NULL DEFAULT false, pipeline text,"
    " PRIMARY KEY (sink, worker)) WITH (fillfactor = 50);"
    "CREATE TABLE IF NOT EXISTS millrace.sink_offset ("
    " sink text, worker int, topic text, partition int, next bigint NOT NULL,"
    " generation bigint NOT NULL, commit_lsn bigint NOT NULL, ordinal bigint NOT NULL,"
    " PRIMARY KEY (sink, topic, partition)) WITH (fillfactor = 50);"
    "CREATE TABLE IF NOT EXISTS millrace.sink_table ("
    " sink text, schema text, name text, written boolean NOT NULL DEFAULT false, stale boolean NOT NULL "
    "DEFAULT false,"
    " incarnation bigint, source text, filter text, source_columns text[], columns text[], parked_reason "
    "text, parked_at timestamptz, PRIMARY KEY (sink, schema, name));"
    "COMMIT";

enum code progress_schema_exists(struct session *s, bool *ret, struct err *err) {
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(s, exists_sql, 0, NULL, &result, err);
    if (code == OK)
        *ret = result_bool(result, 0, 0);
    return code;
}

enum code progress_schema(struct session *s, struct err *err) {
    bool exists = false;
    s->about = "schema millrace";
    enum code code = progress_schema_exists(s, &exists, err);
    if (code != OK || exists)
        return code;
    code = session_script(s, create_sql, err);
    if (code == OK)
        return OK;
    session_rollback(s);
    if (!s->conn || !session_failed_with(s, STATE_PRIVILEGE))
        return code;
    return err_set(err, FATAL, ERR_TARGET_REFUSED,
                   "role \"%s\" cannot create schema millrace; run on the replica as its owner: "
                   "GRANT CREATE ON DATABASE \"%s\" TO \"%s\"",
                   PQuser(s->conn), PQdb(s->conn), PQuser(s->conn));
}
