/* What `millrace doctor` asks of a replica. Nothing is changed there. */
#include "base/finding.h"
#include "sink/postgres/postgres.h"

/* One row of booleans and what each means when it is false. */
static const char check_sql[] =
    "SELECT NOT pg_catalog.pg_is_in_recovery(),"
    " pg_catalog.current_setting('default_transaction_read_only') = 'off',"
    " pg_catalog.has_database_privilege(pg_catalog.current_database(), 'TEMPORARY'),"
    " pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),"
    " EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'millrace'),"
    " COALESCE((SELECT pg_catalog.bool_and(pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, "
    "DELETE'))"
    "  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "  WHERE n.nspname = 'millrace' AND c.relkind = 'r' AND c.relname LIKE 'sink%'), true),"
    " pg_catalog.getdatabaseencoding() = 'UTF8', pg_catalog.getdatabaseencoding(),"
    " pg_catalog.quote_ident(pg_catalog.current_database()), pg_catalog.quote_ident(current_user)";

static void check_write(const PGresult *result, struct buf *findings) {
    if (!result_bool(result, 0, 0))
        finding_put(findings, "error", "replica-standby", "the server is a standby and takes no writes",
                    "point the sink's url at a primary");
    else if (!result_bool(result, 0, 1))
        finding_put(findings, "error", "replica-read-only", "default_transaction_read_only is on",
                    "ALTER ROLE ... SET default_transaction_read_only = off");
    else
        finding_put(findings, "ok", "replica-writable", "the replica takes writes", "");
}

static void check_rights(const PGresult *result, const struct postgres_options *options,
                         struct buf *findings) {
    const char *database = result_name(result, 0, 8), *role = result_name(result, 0, 9);
    CLEANUP_FREE char *create = xasprintf("GRANT CREATE ON DATABASE %s TO %s", database, role);
    CLEANUP_FREE char *temporary = xasprintf("GRANT TEMPORARY ON DATABASE %s TO %s", database, role);
    CLEANUP_FREE char *tables = xasprintf("GRANT USAGE ON SCHEMA millrace TO %s; GRANT SELECT, INSERT, "
                                          "UPDATE, DELETE ON ALL TABLES IN SCHEMA millrace TO %s",
                                          role, role);
    bool may_create = result_bool(result, 0, 3), schema = result_bool(result, 0, 4);
    if (!schema && !may_create)
        finding_put(findings, "error", "replica-schema", "the role cannot create schema millrace", create);
    else if (!result_bool(result, 0, 5))
        finding_put(findings, "error", "replica-schema",
                    "the role cannot write the tables of schema millrace", tables);
    else
        finding_put(findings, "ok", "replica-schema",
                    schema ? "schema millrace is there" : "schema millrace can be created", "");
    if (!may_create && options->create_tables)
        finding_put(findings, "warn", "replica-create",
                    "the role cannot create schemas, so tables of new schemas cannot be created", create);
    if (!result_bool(result, 0, 2))
        finding_put(findings, "error", "replica-temporary",
                    "the role cannot create temporary tables, which batches go through", temporary);
}

static void check_session(const struct session *s, const PGresult *result, struct buf *findings) {
    CLEANUP_FREE char *grant = xasprintf(
        "as superuser: GRANT SET ON PARAMETER session_replication_role TO %s", result_name(result, 0, 9));
    if (s->options->triggers == TRIGGERS_OFF && !s->role_replica)
        finding_put(
            findings, "warn", "replica-triggers",
            "the role cannot switch triggers and foreign keys off; tables that have them will be refused",
            s->version >= 150000 ? grant
                                 : "before PostgreSQL 15 only a superuser can; or set triggers: fire");
    if (!result_bool(result, 0, 6)) {
        CLEANUP_FREE char *what =
            xasprintf("the database's encoding is %s: characters it lacks cannot be written",
                      result_name(result, 0, 7));
        finding_put(findings, "warn", "replica-encoding", what, "use a database with encoding UTF8");
    }
}

enum code pg_check(const void *options, const struct target_env *env, int64_t wait_ms, struct buf *findings,
                   struct err *err) {
    struct session s;
    struct err why = {0};
    CLEANUP_RESULT *result = NULL;
    enum code code = session_open(&s, options, env, wait_ms, &why);
    if (code != OK && why.id == ERR_STOPPED)
        return err_set(err, code, why.id, "%s", why.text);
    if (code != OK) {
        finding_put(findings, "error", err_name(why.id), why.text,
                    "check the sink's url, the server and its pg_hba.conf");
        return OK;
    }
    finding_put(findings, "ok", "replica-reachable", "the replica answers", "");
    s.deadline_us = clock_mono(env->clock) + wait_ms * 1000;
    code = session_run(&s, check_sql, 0, NULL, &result, err);
    if (code == OK) {
        check_write(result, findings);
        check_rights(result, s.options, findings);
        check_session(&s, result, findings);
    }
    session_close(&s);
    return code;
}
