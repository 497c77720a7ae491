#include "capture/trigger/postgres/look.h"

#include <stdarg.h>
#include <stdio.h>

#include "capture/postgres/identity.h"

#define INSTALL "millrace source install --config FILE"
#define AGAIN_  "then take a new snapshot: millrace capture --config FILE --resnapshot"
static const char columns_wanted[] =
    "id bigint,xid xid8,relid oid,shape text,op \"char\",old text,new text,at "
    "timestamp with time zone";

struct looking {
    PGconn *sql;
    const struct pgtrigger_options *o;
    const struct source_env *env;
    int64_t wait_ms;
    struct feed_look *ret;
};

static void PRINTF_LIKE(4, 5)
    find(struct looking *l, enum err_id id, const char *mend, const char *fmt, ...) {
    CLEANUP_BUF what = {0};
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_puts(&what, text);
    feed_find(l->ret, FEED_ERROR, id, "", buf_cstr(&what), mend);
}

/* A template in which @S is the installation's schema, @L that as a literal and @R the reading role. */
static void put(struct buf *sql, const char *template, const struct pgtrigger_options *o) {
    for (const char *p = template; *p; p++) {
        if (*p != '@')
            buf_putc(sql, *p);
        else if (*++p == 'S')
            put_identifier(sql, o->schema);
        else
            put_literal(sql, *p == 'R' && o->reader ? o->reader : *p == 'R' ? "" : o->schema);
    }
}

static enum code ask(struct looking *l, const char *template, PGresult **ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    put(&sql, template, l->o);
    return pgsource_query(l->sql, l->env, l->wait_ms, "looking at the installation", buf_cstr(&sql), ret,
                          err);
}

/* ---- the change table ---- */

static const char exists_sql[] =
    "SELECT count(c.oid), coalesce(bool_and(has_schema_privilege(n.oid, 'USAGE')), false), "
    "coalesce(bool_and(CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE "
    "has_table_privilege(c.oid, 'SELECT') AND (c.relname <> 'changes' OR has_table_privilege(c.oid, "
    "'DELETE')) END), "
    "false), max(CASE WHEN c.relname = 'changes' THEN c.reltuples END)::bigint, "
    "(SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ',' ORDER BY a.attnum) "
    "FROM "
    "pg_attribute a JOIN pg_class t ON t.oid = a.attrelid JOIN pg_namespace m ON m.oid = t.relnamespace "
    "WHERE "
    "m.nspname = @L AND t.relname = 'changes' AND a.attnum > 0 AND NOT a.attisdropped), "
    "bool_or(c.relname = 'changes' AND c.relpersistence <> 'p') "
    "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = @L AND (c.relname, "
    "c.relkind) "
    "IN (('changes', 'r'), ('tables', 'r'), ('shapes', 'r'), ('installation', 'r'), ('change_id', 'S'))";

/* *ret_whole: it is there, and ours to read. */
static enum code look_exists(struct looking *l, bool *ret_whole, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code = ask(l, exists_sql, &res, err);
    if (code)
        return code;
    *ret_whole = false;
    int64_t found = pgsource_number(res, 0, 0);
    l->ret->rows = pgsource_number(res, 0, 3) > 0 ? pgsource_number(res, 0, 3) : 0;
    if (found == 0)
        find(l, ERR_SOURCE_TRIGGERS, INSTALL, "the source has no change table and triggers (schema %s)",
             l->o->schema);
    else if (found < 5)
        find(l, ERR_SOURCE_TRIGGERS, INSTALL ", " AGAIN_, "part of the installation in schema %s was dropped",
             l->o->schema);
    else if (pgsource_text(res, 0, 1)[0] != 't' || pgsource_text(res, 0, 2)[0] != 't')
        find(l, ERR_SOURCE_REFUSED,
             "as the role that installed: reader: NAME in the configuration, and " INSTALL,
             "our role may not read the change table of schema %s, or not delete from it", l->o->schema);
    else if (strcmp(pgsource_text(res, 0, 4), columns_wanted) != 0 || pgsource_text(res, 0, 5)[0] == 't')
        find(l, ERR_SOURCE_TRIGGERS,
             "take back what was done to it; or: millrace source uninstall --config FILE, " INSTALL
             ", " AGAIN_,
             "the change table %s.changes was altered: its columns are %s", l->o->schema,
             pgsource_text(res, 0, 4));
    else
        *ret_whole = true;
    return OK;
}

/* Whatever is in the schema belongs to its owner, nobody else can name its functions, and nothing comes
 * between a change and the change table. */
static const char strangers_sql[] =
    "SELECT string_agg(DISTINCT w, ', ') FROM ("
    "SELECT format('%I belongs to %s', c.relname, c.relowner::regrole) FROM pg_class c JOIN pg_namespace n "
    "ON n.oid = "
    "c.relnamespace WHERE n.nspname = @L AND c.relowner <> n.nspowner UNION ALL "
    "SELECT format('%I() belongs to %s', p.proname, p.proowner::regrole) FROM pg_proc p JOIN pg_namespace n "
    "ON n.oid = "
    "p.pronamespace WHERE n.nspname = @L AND p.proowner <> n.nspowner UNION ALL "
    "SELECT format('%s may use the schema', CASE a.grantee WHEN 0 THEN 'everybody' ELSE "
    "a.grantee::regrole::text END) "
    "FROM pg_namespace n, aclexplode(n.nspacl) a WHERE n.nspname = @L AND a.grantee <> n.nspowner AND "
    "pg_get_userbyid(a.grantee) NOT IN (current_user, @R) UNION ALL "
    "SELECT format('the change table has a trigger %I', tgname) FROM pg_trigger WHERE tgrelid = "
    "'@S.changes'::regclass "
    "AND tgtype & 4 <> 0 AND NOT tgisinternal UNION ALL "
    "SELECT format('the change table has a rule %I', rulename) FROM pg_rewrite WHERE ev_class = "
    "'@S.changes'::regclass "
    "UNION ALL SELECT 'the change table has lost its trigger against TRUNCATE' WHERE NOT EXISTS (SELECT FROM "
    "pg_trigger "
    "WHERE tgrelid = '@S.changes'::regclass AND tgname = 'keep_changes' AND tgenabled = 'A')) t(w)";

static enum code look_strangers(struct looking *l, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code = ask(l, strangers_sql, &res, err);
    if (code == OK && *pgsource_text(res, 0, 0))
        find(l, ERR_SOURCE_TRIGGERS,
             "take it back (REVOKE ALL ON SCHEMA ..., DROP TRIGGER ...), or: millrace source uninstall "
             "--config FILE, " INSTALL ", " AGAIN_,
             "what is recorded in schema %s cannot be trusted: %s", l->o->schema, pgsource_text(res, 0, 0));
    return code;
}

static const char facts_sql[] =
    "SELECT i.identity, i.format, s.last_value, s.is_called, pg_total_relation_size((SELECT c.oid FROM "
    "pg_class c JOIN "
    "pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = @L AND c.relname = 'changes')), "
    "@S.here(), i.place <> @S.here() FROM @S.installation i, @S.change_id s";

static void put_server(struct looking *l, char *ret, size_t size) {
    struct pg_server server = {0};
    struct err ignored; /* a managed server may keep its control file to itself */
    if (server_read(l->sql, l->env, false, l->wait_ms, &server, &ignored) == OK)
        snprintf(ret, size, "/%s/%u", server.system, server.timeline);
}

static enum code look_facts(struct looking *l, struct err *err) {
    char server[48] = "";
    CLEANUP_RESULT *res = NULL;
    put_server(l, server, sizeof server);
    enum code code = ask(l, facts_sql, &res, err);
    if (code)
        return code;
    if (PQntuples(res) != 1 || pgsource_number(res, 0, 1) != PGTRIGGER_FORMAT) {
        find(l, ERR_SOURCE_TRIGGERS, INSTALL ", " AGAIN_,
             "the installation in schema %s is of another version", l->o->schema);
        return OK;
    }
    l->ret->installed = true;
    snprintf(l->ret->identity, sizeof l->ret->identity, "%.40s/%.24s%s", pgsource_text(res, 0, 0),
             pgsource_text(res, 0, 5), server);
    if (pgsource_text(res, 0, 6)[0] == 't')
        find(l, ERR_SOURCE_TRIGGERS, INSTALL ", " AGAIN_,
             "the installation in schema %s is a copy of one in another database", l->o->schema);
    l->ret->last_id = pgsource_text(res, 0, 3)[0] == 't' ? (uint64_t)pgsource_number(res, 0, 2) : 0;
    l->ret->bytes = pgsource_number(res, 0, 4);
    return OK;
}

static const char writer_sql[] =
    "SELECT coalesce('process ' || w.pid, 'prepared transaction ' || w.gid), extract(epoch FROM "
    "clock_timestamp() - "
    "w.since)::bigint FROM (SELECT l.pid, NULL, a.xact_start FROM pg_locks l JOIN pg_stat_activity a USING "
    "(pid) WHERE "
    "l.locktype = 'relation' AND l.granted AND l.mode = 'RowExclusiveLock' AND l.relation = "
    "'@S.changes'::regclass AND "
    "l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) UNION ALL "
    "SELECT NULL, p.gid, p.prepared FROM pg_locks l JOIN pg_prepared_xacts p ON l.virtualtransaction = '-1/' "
    "|| "
    "p.transaction WHERE l.locktype = 'relation' AND l.relation = '@S.changes'::regclass AND p.database = "
    "current_database()) w(pid, gid, since) WHERE w.since < clock_timestamp() - interval '1 minute' ORDER BY "
    "w.since "
    "LIMIT 1";

/* Nothing after the first change of a transaction is handed over before it ends. */
static enum code look_writers(struct looking *l, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code = ask(l, writer_sql, &res, err);
    if (code || PQntuples(res) == 0)
        return code;
    CLEANUP_FREE char *what =
        xasprintf("%s has held a transaction with changes open for %s s: later changes wait for it",
                  pgsource_text(res, 0, 0), pgsource_text(res, 0, 1));
    feed_find(l->ret, FEED_WARN, ERR_NONE, "old-writer", what,
              "end it: COMMIT, pg_terminate_backend(), or ROLLBACK PREPARED");
    return OK;
}

static void look_size(struct looking *l) {
    int64_t budget = l->o->change_table_bytes;
    CLEANUP_FREE char *what =
        xasprintf("the change table takes %lld MB of its budget of %lld MB (change_table_bytes)",
                  (long long)l->ret->bytes >> 20, (long long)budget >> 20);
    static const char mend[] = "is capture running, and does the journal take its changes? millrace status";
    if (l->ret->bytes > budget)
        feed_find(l->ret, FEED_WARN, ERR_NONE, "change-table-over-budget", what, mend);
    else if (l->ret->bytes > budget / 5 * 4)
        feed_find(l->ret, FEED_WARN, ERR_NONE, "change-table-nearly-full", what, mend);
    else
        feed_find(l->ret, FEED_OK, ERR_NONE, "change-table", what, "");
}

/* ---- triggers ---- */

static const char watch_sql[] =
    "SELECT t.name, c.oid IS NULL, c.oid IS NOT NULL AND to_regclass(t.name) IS DISTINCT FROM "
    "c.oid::regclass, "
    "(SELECT count(*) FROM pg_trigger g WHERE g.tgrelid = t.relid AND g.tgname IN (" PGTRIGGER_NAMES
    ") AND g.tgenabled IN ('A', 'O')), c.oid::regclass, t.mark <> @S.mark(t.relid), "
    "(SELECT pg_total_relation_size(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
    "WHERE "
    "n.nspname = @L AND c.relname = 'changes'), EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = t.relid "
    "AND "
    "g.tgname IN (" PGTRIGGER_NAMES
    ") AND g.tgenabled = 'O') FROM @S.tables t LEFT JOIN pg_class c ON c.oid = "
    "t.relid ORDER BY 1";

/* What is wrong with one registered table; OK, or FATAL with all words but the mend. */
static enum code judge_table(const PGresult *res, int row, const char **ret_mend, struct err *err) {
    const char *name = pgsource_text(res, row, 0);
    *ret_mend = INSTALL ", " AGAIN_;
    if (pgsource_text(res, row, 1)[0] == 't') /* dropped, as any source's table may be */
        return OK;
    int64_t fine = pgsource_number(res, row, 3);
    if (fine < 4)
        return err_set(
            err, FATAL, ERR_SOURCE_TRIGGERS,
            "%d of the 4 triggers of table %s are gone or disabled: changes of it may have been missed",
            (int)(4 - fine), name);
    if (pgsource_text(res, row, 5)[0] == 't')
        return err_set(
            err, FATAL, ERR_SOURCE_TRIGGERS,
            "the triggers of table %s, or what they run, were altered or switched off and on since they were "
            "installed: changes of it may have been missed",
            name);
    *ret_mend = INSTALL "; nothing was missed";
    if (pgsource_text(res, row, 2)[0] == 't')
        return err_set(err, FATAL, ERR_SOURCE_TABLE, "table %s was renamed to %s", name,
                       pgsource_text(res, row, 4));
    return OK;
}

/* A warning with the tables of some rows, if there are any. */
static void find_tables(struct looking *l, const char *name, const struct table_trouble *tables,
                        const char *what, const char *mend) {
    if (!tables->n)
        return;
    CLEANUP_FREE char *text = xasprintf("%s: %.*s", what, (int)tables->names.len, tables->names.data);
    feed_find(l->ret, FEED_WARN, ERR_NONE, name, text, mend);
}

static void add_name(struct table_trouble *tables, const char *name) {
    if (tables->n++ < 8)
        buf_printf(&tables->names, "%s%s", tables->n > 1 ? ", " : "", name);
    else if (tables->n == 9)
        buf_puts(&tables->names, " and more");
}

/* Only the owner of a table can have them fire always. */
static void look_origin(struct looking *l, const PGresult *res) {
    CLEANUP_TROUBLE origin = {0};
    for (int i = 0; i < PQntuples(res); i++)
        if (pgsource_text(res, i, 7)[0] == 't')
            add_name(&origin, pgsource_text(res, i, 0));
    find_tables(
        l, "triggers-not-always", &origin,
        "writes by sessions with session_replication_role = replica are not recorded in tables that the "
        "installing role does not own",
        "uninstall, and install as a role that owns them");
}

static enum code look_triggers(struct looking *l, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code = ask(l, watch_sql, &res, err);
    if (code)
        return code;
    int wrong = 0;
    for (int i = 0; i < PQntuples(res); i++) {
        struct err what;
        const char *mend;
        if (judge_table(res, i, &mend, &what) != OK)
            feed_find(l->ret, FEED_ERROR, what.id, "", what.text, mend), wrong++;
        else if (pgsource_text(res, i, 1)[0] == 't') {
            CLEANUP_FREE char *text = xasprintf("table %s was dropped", pgsource_text(res, i, 0));
            feed_find(l->ret, FEED_WARN, ERR_NONE, "table-dropped", text, INSTALL " forgets it");
        }
    }
    look_origin(l, res);
    CLEANUP_FREE char *text = xasprintf("%d tables have their triggers", PQntuples(res) - wrong);
    if (!wrong)
        feed_find(l->ret, FEED_OK, ERR_NONE, "triggers", text, "");
    return OK;
}

enum code pgtrigger_registered(PGconn *sql, const struct pgtrigger_options *o, const struct source_env *env,
                               const struct pg_rels *rels, uint32_t **ret, int *ret_n, uint32_t **ret_dropped,
                               int *ret_n_dropped, struct err *err) {
    struct looking l = {sql, o, env, 10000, NULL};
    *ret = *ret_dropped = NULL;
    *ret_n = *ret_n_dropped = 0;
    CLEANUP_RESULT *there = NULL;
    enum code code =
        ask(&l,
            "SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = @L "
            "AND c.relname = 'tables' AND c.relkind = 'r'",
            &there, err);
    if (code || PQntuples(there) == 0)
        return code;
    CLEANUP_RESULT *res = NULL;
    code = ask(&l, "SELECT relid FROM @S.tables ORDER BY relid", &res, err);
    if (code)
        return code;
    *ret = xcalloc((size_t)PQntuples(res) + 1, sizeof **ret);
    *ret_dropped = xcalloc((size_t)PQntuples(res) + 1, sizeof **ret);
    for (int i = 0; i < PQntuples(res); i++) {
        uint32_t oid = (uint32_t)pgsource_number(res, i, 0);
        const struct pg_rel *rel = rels_find(rels, oid);
        (*ret)[(*ret_n)++] = oid;
        if (!rel || !install_takes(rel))
            (*ret_dropped)[(*ret_n_dropped)++] = oid;
    }
    return OK;
}

/* ---- the tables ---- */

static void look_unselected(struct looking *l, const struct pg_rels *rels, const uint32_t *dropped, int n) {
    CLEANUP_TROUBLE unselected = {0};
    for (int i = 0; i < n; i++) {
        const struct pg_rel *rel = rels_find(rels, dropped[i]);
        CLEANUP_FREE char *name = rel ? xasprintf("%s.%s", rel->schema, rel->name) : NULL;
        if (rel)
            add_name(&unselected, name);
    }
    find_tables(l, "tables-not-selected", &unselected,
                "changes of tables that are not selected any more are recorded", INSTALL " ends it");
}

static enum code look_uninstalled(struct looking *l, const struct pg_rels *rels, struct err *err) {
    CLEANUP_FREE uint32_t *registered = NULL, *dropped = NULL;
    CLEANUP_BUF names = {0};
    int n, n_dropped, lacking = 0;
    enum code code =
        pgtrigger_registered(l->sql, l->o, l->env, rels, &registered, &n, &dropped, &n_dropped, err);
    for (int i = 0; code == OK && i < rels->n; i++) {
        const struct pg_rel *rel = &rels->items[i];
        bool known = !install_takes(rel);
        for (int k = 0; k < n && !known; k++)
            known = registered[k] == rel->oid;
        if (!known && lacking++ < 8)
            buf_printf(&names, "%s%s.%s", lacking > 1 ? ", " : "", rel->schema, rel->name);
    }
    look_unselected(l, rels, dropped, n_dropped);
    if (lacking)
        find(l, ERR_SOURCE_TRIGGERS, INSTALL "; the rows that are there come with it",
             "selected tables have no triggers: %s%s", buf_cstr(&names), lacking > 8 ? " and more" : "");
    return code;
}

static const char deferrable_sql[] =
    "SELECT i.indrelid FROM pg_index i JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype = 'p' "
    "WHERE k.condeferrable";

/* The order of changes rests on a key that is held by one row at a time. */
static enum code look_deferrable(struct looking *l, const struct pg_rels *rels, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code = ask(l, deferrable_sql, &res, err);
    for (int i = 0; code == OK && i < PQntuples(res); i++) {
        const struct pg_rel *rel = rels_find(rels, (uint32_t)pgsource_number(res, i, 0));
        if (rel && install_takes(rel))
            find(
                l, ERR_SOURCE_TABLE, "make it NOT DEFERRABLE, or exclude the table in `tables` with '!'",
                "the primary key of table %s.%s is DEFERRABLE, so that two rows can have one key for a while",
                rel->schema, rel->name);
    }
    return code;
}

static enum code look_tables(struct looking *l, bool whole, struct err *err) {
    struct arena arena = {0};
    struct pg_rels rels;
    struct err what;
    enum code code = rels_read(l->sql, &l->o->pg, l->env, NULL, &arena, &rels, err);
    if (code == OK && rels_check_named(&l->o->pg, &rels, &what) != OK)
        feed_find(l->ret, FEED_ERROR, what.id, "", what.text, "");
    if (code == OK && rels_check_readable(&l->o->pg, &rels, &what) != OK)
        feed_find(l->ret, FEED_ERROR, what.id, "", what.text, "");
    if (code == OK)
        code = look_deferrable(l, &rels, err);
    if (code == OK && whole)
        code = look_uninstalled(l, &rels, err);
    CLEANUP_TROUBLE unlogged = {0};
    if (code == OK)
        rels_unlogged(&l->o->pg, &rels, &unlogged);
    if (unlogged.n) {
        CLEANUP_FREE char *text =
            xasprintf("unlogged tables are not captured: %s", buf_cstr(&unlogged.names));
        feed_find(l->ret, FEED_WARN, ERR_NONE, "unlogged", text, buf_cstr(&unlogged.sql));
    }
    arena_free(&arena);
    return code;
}

enum code pgtrigger_look(PGconn *sql, const struct pgtrigger_options *o, const struct source_env *env,
                         int64_t wait_ms, struct feed_look *ret, struct err *err) {
    struct looking l = {sql, o, env, wait_ms, ret};
    bool whole = false;
    enum code code = look_exists(&l, &whole, err);
    if (code == OK && whole)
        code = look_facts(&l, err);
    if (code == OK && ret->installed)
        code = look_strangers(&l, err);
    if (code == OK && ret->installed)
        code = look_triggers(&l, err);
    if (code == OK && ret->installed)
        code = look_writers(&l, err);
    if (code == OK)
        code = look_tables(&l, ret->installed, err);
    if (code == OK && ret->installed)
        look_size(&l);
    return code;
}

/* ---- while capture runs ---- */

static enum code watch_triggers(struct looking *l, int64_t *ret_bytes, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code = ask(l, watch_sql, &res, err);
    for (int i = 0; code == OK && i < PQntuples(res); i++) {
        struct err what;
        const char *mend;
        *ret_bytes = pgsource_number(res, i, 6);
        if (judge_table(res, i, &mend, &what) != OK)
            code = err_set(err, FATAL, what.id, "%s; %s", what.text, mend);
    }
    return code;
}

/* Selected tables that were made, or made anew, since capture began. */
static enum code watch_tables(struct looking *l, struct err *err) {
    struct feed_look found = {0};
    struct arena arena = {0};
    struct pg_rels rels;
    l->ret = &found;
    enum code code = rels_read(l->sql, &l->o->pg, l->env, NULL, &arena, &rels, err);
    if (code == OK)
        code = look_uninstalled(l, &rels, err);
    if (code == OK)
        code = feed_look_judge(&found, err);
    feed_look_free(&found);
    arena_free(&arena);
    l->ret = NULL;
    return code;
}

enum code pgtrigger_watch(PGconn *sql, const struct pgtrigger_options *o, const struct source_env *env,
                          int64_t *ret_bytes, struct err *err) {
    struct looking l = {sql, o, env, 10000, NULL};
    struct err lost;
    enum code code = watch_triggers(&l, ret_bytes, &lost);
    if (code == OK)
        code = watch_tables(&l, &lost);
    if (code &&
        strstr(lost.text, "SQLSTATE 42")) /* tables or functions of the installation are gone, or rights */
        return err_set(err, FATAL, ERR_SOURCE_TRIGGERS, "%s; " INSTALL ", " AGAIN_, lost.text);
    if (code && strstr(lost.text, "SQLSTATE 55P03")) /* somebody locked them: the next look tells */
        return OK;
    if (code)
        *err = lost;
    return code;
}
