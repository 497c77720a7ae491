/* quickstart: what a PostgreSQL source would ship, and whether its log may be read. Changes nothing. */
#include "capture/postgres/suggest.h"

#include <stdio.h>

struct looking {
    struct pg_options options;
    const struct suggest_ask *ask;
    struct suggestion *s;
    struct pg_rels rels;
    bool owns_all, partial;
};

static bool is_ours(const char *url) {
    return strncmp(url, "postgres://", 11) == 0 || strncmp(url, "postgresql://", 13) == 0;
}

/* Why this table cannot be shipped as it is, with the SQL that mends it; NULL: it can. */
static const char *obstacle(const struct looking *l, const struct pg_rel *rel) {
    CLEANUP_BUF sql = {0};
    struct arena *arena = &l->s->arena;
    put_table(&sql, rel->schema, rel->name);
    if (rel->persistence != 'p')
        return arena_printf(arena, "is unlogged: ALTER TABLE %s SET LOGGED", buf_cstr(&sql));
    if (!rel->schema_usable || !rel->readable)
        return arena_printf(arena, "may not be read by role %s: GRANT SELECT ON %s and USAGE on its schema",
                            l->rels.role, buf_cstr(&sql));
    if (rel->row_security)
        return arena_printf(arena, "hides rows from role %s by row-level security: ALTER ROLE ... BYPASSRLS",
                            l->rels.role);
    bool broken = rel->identity == 'i' && !rel->has_identity_index;
    if ((rel->identity == 'd' && !rel->has_key) || broken)
        return arena_printf(
            arena,
            "has no key, and its updates would be refused once it is published: add a primary key, or "
            "ALTER TABLE %s REPLICA IDENTITY FULL",
            buf_cstr(&sql));
    return NULL;
}

static void take(struct looking *l, const struct pg_rel *rel) {
    struct table_name *tables = (struct table_name *)(uintptr_t)l->s->tables;
    tables[l->s->n_tables++] =
        (struct table_name){arena_strdup(&l->s->arena, rel->schema), arena_strdup(&l->s->arena, rel->name)};
    l->owns_all &= rel->owned;
    l->partial |= rel->identity != 'f' && rel->identity != 'n' && rel->n_toastable > 0;
}

static void leave_out(struct looking *l, const struct pg_rel *rel, const char *why) {
    CLEANUP_FREE char *name = xasprintf("!%s.%s", rel->schema, rel->name);
    CLEANUP_FREE char *what = xasprintf("%s.%s %s", rel->schema, rel->name, why);
    CLEANUP_BUF comment = {0};
    suggest_put_comment(&comment, what);
    suggest_put_indented(&l->s->yaml, buf_slice(&comment), 2);
    buf_puts(&l->s->yaml, "  - ");
    suggest_put_text(&l->s->yaml, name, false);
    buf_putc(&l->s->yaml, '\n');
    buf_printf(&l->s->notes, "left out: %s\n", what);
}

static bool is_table(const struct pg_rel *rel) {
    return rel->kind == 'r' && rel->selected == SELECTION_TAKEN;
}

/* One pattern per schema that has a table to ship, so that tables made later are taken, too. */
static void put_patterns(struct looking *l) {
    const char *last = NULL;
    for (int i = 0; i < l->rels.n; i++) {
        const struct pg_rel *rel = &l->rels.items[i];
        if (!is_table(rel) || obstacle(l, rel))
            continue;
        take(l, rel);
        if (last && strcmp(last, rel->schema) == 0)
            continue;
        CLEANUP_FREE char *pattern = xasprintf("%s.*", rel->schema);
        buf_puts(&l->s->yaml, "  - ");
        suggest_put_text(&l->s->yaml, pattern, false);
        buf_putc(&l->s->yaml, '\n');
        last = rel->schema;
    }
    if (!last)
        buf_puts(&l->s->yaml, "  - \"public.*\"\n");
}

static void put_tables(struct looking *l) {
    l->s->tables = arena_alloc(&l->s->arena, sizeof *l->s->tables * (size_t)l->rels.n + 1);
    l->owns_all = true;
    buf_puts(&l->s->yaml, "# Patterns schema.table; '!' leaves out.\ntables:\n");
    put_patterns(l);
    for (int i = 0; i < l->rels.n; i++) {
        const char *why = is_table(&l->rels.items[i]) ? obstacle(l, &l->rels.items[i]) : NULL;
        if (why)
            leave_out(l, &l->rels.items[i], why);
    }
    if (!l->s->n_tables)
        buf_puts(&l->s->notes, "there is no table yet that can be shipped\n");
}

static enum code look_at_tables(struct looking *l, PGconn *conn, const struct source_env *env,
                                struct err *err) {
    static const char *patterns[] = {"*.*", "!millrace.*"};
    l->options.tables = (struct text_list){patterns, 2};
    enum code code = rels_read(conn, &l->options, env, NULL, &l->s->arena, &l->rels, err);
    if (code)
        return code;
    buf_puts(&l->s->yaml, "url: ");
    suggest_put_text(&l->s->yaml, l->ask->written, true);
    buf_putc(&l->s->yaml, '\n');
    put_tables(l);
    return OK;
}

static const char server_sql[] = "SELECT current_setting('wal_level'), r.rolreplication OR r.rolsuper OR "
                                 "EXISTS (SELECT FROM pg_roles g WHERE "
                                 "g.rolname = 'rds_replication' AND pg_has_role(g.oid, 'USAGE')), "
                                 "quote_ident(current_user::text), current_database(), "
                                 "extract(epoch FROM pg_postmaster_start_time())::text || '/' || (SELECT oid "
                                 "FROM pg_database WHERE datname = "
                                 "current_database()) FROM pg_roles r WHERE r.rolname = current_user";

static enum code judge_log(const PGresult *res, struct err *err) {
    if (strcmp(pgsource_text(res, 0, 0), "logical") != 0)
        return err_set(err, REJECT, ERR_SOURCE_SETTING,
                       "wal_level is %s, and reading the log needs: ALTER SYSTEM SET wal_level = logical; "
                       "then a restart of the "
                       "server",
                       pgsource_text(res, 0, 0));
    if (pgsource_text(res, 0, 1)[0] != 't')
        return err_set(err, REJECT, ERR_SOURCE_REFUSED,
                       "the role may not read the log; as an administrator: ALTER ROLE %s REPLICATION",
                       pgsource_text(res, 0, 2));
    return OK;
}

static enum code look(struct looking *l, const struct source_env *env, int64_t wait_ms, bool *ret_log,
                      struct err *err) {
    CLEANUP_CONN *conn = NULL;
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_connect(&l->options, env, PG_SESSION_SQL, wait_ms, &conn, err);
    if (code == OK)
        code = pgsource_query(conn, env, wait_ms, "looking at the source", server_sql, &res, err);
    if (code == OK)
        code = look_at_tables(l, conn, env, err);
    if (code)
        return code;
    l->s->name = arena_strdup(&l->s->arena, pgsource_text(res, 0, 3));
    l->s->identity = arena_printf(&l->s->arena, "postgres %s", pgsource_text(res, 0, 4));
    *ret_log = judge_log(res, err) == OK;
    return OK;
}

enum code pgsource_suggest(const struct suggest_ask *ask, const struct source_env *env, int64_t wait_ms,
                           struct suggestion *ret, struct err *err) {
    struct looking l = {.options = {.url = ask->url}, .ask = ask, .s = ret};
    bool log = false;
    if (!is_ours(ask->url))
        return AGAIN;
    enum code code = look(&l, env, wait_ms, &log, err);
    if (code)
        return code;
    if (l.partial) {
        buf_puts(&ret->yaml, "# Updates may leave out large values that did not change, so the journal keeps "
                             "the whole history of\n"
                             "# such tables. It can forget old changes after ALTER TABLE ... REPLICA "
                             "IDENTITY FULL of each (the\n"
                             "# doctor names them) and without this line.\npartial_rows: history\n");
        buf_puts(&ret->notes, "the journal keeps the whole history of tables with large values "
                              "(partial_rows: history): see the file\n");
    }
    if (!l.owns_all)
        buf_puts(&ret->notes, "the role does not own all tables: an administrator has to create the "
                              "publication; the doctor has the SQL\n");
    return log ? OK : REJECT;
}

enum code pgsource_suggest_triggers(const struct suggest_ask *ask, const struct source_env *env,
                                    int64_t wait_ms, struct suggestion *ret, struct err *err) {
    struct looking l = {.options = {.url = ask->url}, .ask = ask, .s = ret};
    bool log;
    if (!is_ours(ask->url))
        return AGAIN;
    enum code code = look(&l, env, wait_ms, &log, err);
    if (code == OK)
        buf_puts(&ret->before, "millrace source install --config @FILE\n");
    return code;
}
