/* quickstart: whether a PostgreSQL replica holds rows already where ours are to be written. Changes
 * nothing. */
#include "sink/postgres/postgres.h"

static const char look_sql[] = "SELECT pg_catalog.current_database(), true, "
                               "extract(epoch FROM pg_catalog.pg_postmaster_start_time())::text || '/' || "
                               "(SELECT oid FROM pg_catalog.pg_database "
                               "WHERE datname = pg_catalog.current_database()), "
                               "EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'millrace')";
static const char table_sql[] = "SELECT pg_catalog.pg_relation_size(c.oid) > 0 FROM pg_catalog.pg_class c "
                                "JOIN pg_catalog.pg_namespace n ON n.oid = "
                                "c.relnamespace WHERE n.nspname = $1 AND c.relname = $2";

static enum code look_at_tables(struct session *s, const struct suggest_ask *ask, bool before,
                                struct buf *notes, struct err *err) {
    for (int i = 0; i < ask->n_tables; i++) {
        CLEANUP_RESULT *result = NULL;
        const char *const params[] = {ask->tables[i].schema, ask->tables[i].name};
        enum code code = session_run(s, table_sql, 2, params, &result, err);
        if (code != OK)
            return code;
        if (result_bool(result, 0, 0))
            buf_printf(notes, "%s.%s is there and may hold rows%s\n", params[0], params[1],
                       before
                           ? ", perhaps of an earlier run"
                           : ", and the sink stops on rows that it did not write: empty it, or use rename:");
    }
    return OK;
}

enum code pg_suggest(const struct suggest_ask *ask, const struct target_env *env, int64_t wait_ms,
                     struct suggestion *ret, struct err *err) {
    struct postgres_options options = {.url = ask->url};
    struct session s;
    CLEANUP_RESULT *result = NULL;
    if (strncmp(ask->url, "postgres://", 11) != 0 && strncmp(ask->url, "postgresql://", 13) != 0)
        return AGAIN;
    enum code code = session_open(&s, &options, env, wait_ms, err);
    if (code != OK)
        return code;
    s.deadline_us = clock_mono(env->clock) + wait_ms * 1000;
    code = session_run(&s, look_sql, 0, NULL, &result, err);
    if (code == OK)
        code = look_at_tables(&s, ask, result_bool(result, 0, 3), &ret->notes, err);
    if (code == OK) {
        ret->name = arena_strdup(&ret->arena, result_name(result, 0, 0));
        ret->identity = arena_printf(&ret->arena, "postgres %s", result_name(result, 0, 2));
        buf_puts(&ret->yaml, "url: ");
        suggest_put_text(&ret->yaml, ask->written, true);
        buf_putc(&ret->yaml, '\n');
    }
    session_close(&s);
    return code;
}
