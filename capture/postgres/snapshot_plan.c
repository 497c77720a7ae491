#include "capture/postgres/snapshot_plan.h"

#define PAGES_PER_TASK 65536

void snapshot_plan_free(struct snapshot_plan *plan) {
    arena_free(&plan->arena);
}

/* ---- which ---- */

struct planning {
    PGconn *conn;
    const struct pg_options *options;
    const struct source_env *env;
    const char *publication;
    struct catalog *catalog;
    struct snapshot_plan *plan;
    struct pg_rels rels;
    bool *stores; /* per rel: holds rows of some unit */
    int *unit_of; /* per rel */
};

/* A table belongs to the snapshot if the stream will carry it: selected, and published under its own name. */
static void choose(struct planning *p, const struct pg_rel **ret_units) {
    p->stores = arena_zalloc(&p->plan->arena, (size_t)p->rels.n + 1);
    p->unit_of = arena_zalloc(&p->plan->arena, sizeof *p->unit_of * ((size_t)p->rels.n + 1));
    for (int i = 0; i < p->rels.n; i++) {
        const struct pg_rel *unit = &p->rels.items[i];
        bool streamed = p->publication ? unit->published : rel_is_unit(p->options, &p->rels, unit);
        if (unit->selected != SELECTION_TAKEN || !streamed || unit->persistence != 'p')
            continue;
        for (int k = 0; k < p->rels.n; k++) {
            bool own = &p->rels.items[k] == unit || unit->kind == 'p';
            if (own && rel_stores(unit, &p->rels.items[k])) {
                p->stores[k] = true;
                p->unit_of[k] = p->plan->n_units;
            }
        }
        ret_units[p->plan->n_units++] = unit;
    }
}

/* Locks in one statement; *ret_none if there is nothing to lock. */
static enum code lock_tables(struct planning *p, struct err *err) {
    CLEANUP_BUF sql = {0};
    for (int i = 0; i < p->rels.n; i++) {
        if (!p->stores[i])
            continue;
        buf_puts(&sql, sql.len ? ", ONLY " : "LOCK TABLE ONLY ");
        put_table(&sql, p->rels.items[i].schema, p->rels.items[i].name);
    }
    if (!sql.len)
        return OK;
    buf_puts(&sql, " IN ACCESS SHARE MODE");
    CLEANUP_RESULT *res = NULL;
    return pgsource_query(p->conn, p->env, 20000, "locking the tables for the snapshot", buf_cstr(&sql), &res,
                          err);
}

/* ---- pieces ---- */

static void task_add(struct snapshot_plan *plan, int unit, const char *sql) {
    if (plan->n_tasks == plan->cap_tasks) {
        int cap = plan->cap_tasks ? plan->cap_tasks * 2 : 64;
        struct snapshot_task *tasks = arena_alloc(&plan->arena, sizeof *tasks * (size_t)cap);
        if (plan->n_tasks)
            memcpy(tasks, plan->tasks, sizeof *tasks * (size_t)plan->n_tasks);
        plan->tasks = tasks;
        plan->cap_tasks = cap;
    }
    plan->tasks[plan->n_tasks++] = (struct snapshot_task){unit, arena_strdup(&plan->arena, sql)};
    plan->units[unit].tasks_left++;
}

/* Pages that come to be after the size was asked hold nothing that this snapshot sees, but the last piece is
 * open. */
static void plan_rel(struct planning *p, const struct pg_rel *rel, int unit, int64_t pages) {
    const struct pg_rel *filtered = rel->filter ? rel : NULL;
    for (int64_t from = 0; from == 0 || from < pages; from += PAGES_PER_TASK) {
        CLEANUP_BUF sql = {0};
        buf_printf(&sql, "COPY (SELECT %s FROM ONLY ", p->plan->units[unit].columns);
        put_table(&sql, rel->schema, rel->name);
        const char *and = " WHERE ";
        if (from > 0) {
            buf_printf(&sql, "%sctid >= '(%lld,0)'", and, (long long)from);
            and = " AND ";
        }
        if (from + PAGES_PER_TASK < pages) {
            buf_printf(&sql, "%sctid < '(%lld,0)'", and, (long long)from + PAGES_PER_TASK);
            and = " AND ";
        }
        if (filtered)
            buf_printf(&sql, "%s(%s)", and, filtered->filter);
        buf_puts(&sql, ") TO STDOUT");
        task_add(p->plan, unit, buf_cstr(&sql));
    }
}

static enum code plan_tasks(struct planning *p, const struct pg_rel *const *units, struct err *err) {
    CLEANUP_BUF sql = {0};
    for (int i = 0; i < p->rels.n; i++)
        if (p->stores[i])
            buf_printf(&sql, "%s%u",
                       sql.len
                           ? ", "
                           : "SELECT c.oid, pg_relation_size(c.oid) / current_setting('block_size')::int, "
                             "c.relfilenode IS DISTINCT FROM pg_relation_filenode(c.oid) FROM pg_class c "
                             "WHERE c.oid IN (",
                       p->rels.items[i].oid);
    if (!sql.len)
        return OK;
    buf_puts(&sql, ")");
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(p->conn, p->env, 20000, "measuring the tables", buf_cstr(&sql), &res, err);
    if (code)
        return code;
    for (int i = 0; i < PQntuples(res); i++) {
        struct pg_rel *rel = rels_find(&p->rels, (uint32_t)strtoul(pgsource_text(res, i, 0), NULL, 10));
        if (!rel)
            continue;
        if (pgsource_text(res, i, 2)[0] == 't')
            return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE,
                           "table %s.%s was rewritten or truncated while its snapshot began; beginning again",
                           rel->schema, rel->name);
        int unit = p->unit_of[rel - p->rels.items];
        if (!rel->filter)
            rel->filter = units[unit]->filter; /* published as its root: the root's filter */
        p->plan->rows += rel->rows;
        plan_rel(p, rel, unit, strtoll(pgsource_text(res, i, 1), NULL, 10));
    }
    return OK;
}

/* ---- columns ---- */

/* The names that the publication publishes of a table, as JSON; NULL before PostgreSQL 15. */
static enum code published_columns(struct planning *p, const struct pg_rel *rel, char **ret,
                                   struct err *err) {
    *ret = NULL;
    if (PQserverVersion(p->conn) < 150000 || !p->publication)
        return OK;
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT to_json(attnames) FROM pg_publication_tables WHERE pubname = ");
    put_literal(&sql, p->publication);
    buf_puts(&sql, " AND schemaname = ");
    put_literal(&sql, rel->schema);
    buf_puts(&sql, " AND tablename = ");
    put_literal(&sql, rel->name);
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(p->conn, p->env, 10000, "reading the publication's columns",
                                    buf_cstr(&sql), &res, err);
    if (code == OK && PQntuples(res) == 1 && !PQgetisnull(res, 0, 0))
        *ret = xstrdup(pgsource_text(res, 0, 0));
    return code;
}

static enum code plan_unit(struct planning *p, const struct pg_rel *rel, struct snapshot_unit *unit,
                           struct pgoutput_relation *shape, struct err *err) {
    CLEANUP_FREE char *published = NULL;
    enum code code = published_columns(p, rel, &published, err);
    bool found = false;
    if (code == OK)
        code = catalog_shape(p->catalog, rel->oid, published, &p->plan->arena, shape, &found, err);
    if (code == OK && !found)
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "table %s.%s was dropped while its snapshot began",
                       rel->schema, rel->name);
    if (!p->publication) /* whole rows come, whatever the identity */
        shape->identity = 'f';
    if (code == OK)
        code = catalog_take(p->catalog, shape, &unit->relation, err);
    if (code)
        return code;
    if (!unit->relation->table) /* selected as a partition, and attached no more: somebody's DDL ended before
                                   our lock */
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "table %s.%s changed while its snapshot began",
                       rel->schema, rel->name);
    CLEANUP_BUF list = {0};
    for (int i = 0; i < shape->n; i++) {
        int at = unit->relation->to[i];
        if (at < 0)
            continue;
        buf_puts(&list, list.len ? ", " : "");
        put_identifier(&list, unit->relation->table->columns[at].name);
    }
    unit->columns = arena_strdup(&p->plan->arena, buf_cstr(&list));
    return OK;
}

enum code snapshot_plan_make(PGconn *conn, const struct pg_options *options, const struct source_env *env,
                             const char *publication, struct catalog *catalog, struct snapshot_plan *ret,
                             struct err *err) {
    struct planning p = {conn, options, env, publication, catalog, ret, {0}, NULL, NULL};
    enum code code = rels_read(conn, options, env, publication, &ret->arena, &p.rels, err);
    if (code)
        return code;
    const struct pg_rel **units = arena_alloc(&ret->arena, sizeof *units * ((size_t)p.rels.n + 1));
    choose(&p, units);
    ret->units = arena_zalloc(&ret->arena, sizeof *ret->units * ((size_t)ret->n_units + 1));
    code = lock_tables(&p, err);
    struct pgoutput_relation *shape = xcalloc(1, sizeof *shape);
    for (int i = 0; i < ret->n_units && code == OK; i++)
        code = plan_unit(&p, units[i], &ret->units[i], shape, err);
    free(shape);
    return code ? code : plan_tasks(&p, units, err);
}
