#include "sink/postgres/fit.h"

#include "base/log.h"
#include "sink/postgres/sql.h"
#include "sink/postgres/user_types.h"
#include "sink/values/type_name.h"

enum code fit_names(struct session *s, const struct table *table, struct err *err) {
    if (!sql_name_ok(s, table->schema) || !sql_name_ok(s, table->name))
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "table '%.100s.%.100s' has a name that PostgreSQL cannot hold (1 to 63 bytes of "
                       "UTF-8): rename it in "
                       "the sink's configuration",
                       table->schema, table->name);
    for (int i = 0; i < table->n_columns; i++)
        if (!sql_name_ok(s, table->columns[i].name))
            return err_set(
                err, REJECT, ERR_TARGET_TABLE,
                "column '%.100s' of %s.%s has a name that PostgreSQL cannot hold (1 to 63 bytes of UTF-8): "
                "rename it in the sink's configuration",
                table->columns[i].name, table->schema, table->name);
    return OK;
}

/* ---- creating ---- */

static void put_key(struct buf *sql, const struct table *table) {
    buf_putc(sql, '(');
    for (int k = 0; k < table->n_key; k++) {
        if (k)
            buf_puts(sql, ", ");
        sql_ident(sql, table->columns[table->key[k]].name);
    }
    buf_putc(sql, ')');
}

static void put_create(struct buf *sql, const struct table *table) {
    buf_puts(sql, "CREATE TABLE ");
    sql_qualified(sql, table->schema, table->name);
    buf_puts(sql, " (");
    for (int i = 0; i < table->n_columns; i++) {
        if (i)
            buf_puts(sql, ", ");
        sql_ident(sql, table->columns[i].name);
        buf_printf(sql, " %s%s", table->columns[i].type, table->columns[i].nullable ? "" : " NOT NULL");
    }
    if (table->n_key) {
        buf_puts(sql, ", PRIMARY KEY ");
        put_key(sql, table);
    }
    buf_putc(sql, ')');
}

/* On a connection of its own, so that two workers that create tables of one schema do not wait for each
 * other. */
enum code fit_schema(struct session *s, const char *schema, struct err *err) {
    static const char sql_have[] = "SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1::pg_catalog.name";
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(s, sql_have, 1, &schema, &result, err);
    if (code != OK || PQntuples(result) > 0)
        return code;
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "CREATE SCHEMA IF NOT EXISTS ");
    sql_ident(&sql, schema);
    struct session side;
    code = session_open(&side, s->options, s->env, 10000, err);
    if (code != OK)
        return code;
    code = session_run(&side, buf_cstr(&sql), 0, NULL, NULL, err);
    if (code != OK && session_failed_with(&side, STATE_UNIQUE_VIOLATION))
        code = OK; /* somebody was quicker */
    session_close(&side);
    return code;
}

enum code fit_create(struct session *s, const struct table *table, struct err *err) {
    CLEANUP_BUF sql = {0};
    put_create(&sql, table);
    if (!s->options->create_tables)
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "the replica has no table %s.%s; run there: %.1500s; or set create_tables: true",
                       table->schema, table->name, buf_cstr(&sql));
    enum code code = fit_schema(s, table->schema, err);
    if (code == OK)
        code = user_types_ensure(s, table, true, SCHEMA_EVOLVE, err);
    for (int i = 0; i < table->n_columns && code == OK; i++) {
        code = user_types_resolve(s, table->columns[i].type, err);
        if (code != OK)
            err_prefix(err, "%s.%s, column %s", table->schema, table->name, table->columns[i].name);
    }
    if (code == OK)
        code = session_run(s, buf_cstr(&sql), 0, NULL, NULL, err);
    if (code == OK)
        log_info("sink/postgres", "table created", F_STR("schema", table->schema),
                 F_STR("table", table->name));
    return code;
}

/* ---- altering ---- */

struct plan {
    struct session *s;
    const struct table *table;
    const struct shape *shape;
    struct buf actions; /* of one ALTER TABLE */
    struct buf mend;    /* what the policy or the types forbid, as SQL */
    const char *what;   /* about the first of `mend` */
    bool added;         /* a column was added: its older values are not known */
};

static void next_action(struct buf *actions) {
    if (actions->len)
        buf_puts(actions, ", ");
}

/* Where an action goes: to those we do, or to those the operator must do. */
static struct buf *action(struct plan *p, bool allowed, const char *what) {
    struct buf *to = allowed ? &p->actions : &p->mend;
    if (!allowed && !p->what)
        p->what = what;
    next_action(to);
    return to;
}

static bool evolves(const struct plan *p) {
    return p->s->options->schema_change == SCHEMA_EVOLVE;
}

static enum code plan_missing(struct plan *p, const struct column *column, bool empty, struct err *err) {
    if (p->s->options->schema_change == SCHEMA_IGNORE && column->key == 0)
        return OK;
    struct buf *to = action(p, evolves(p), "the replica lacks a column");
    if (to == &p->actions) {
        enum code code = user_types_resolve(p->s, column->type, err);
        if (code != OK)
            return code;
        p->added |= !empty && !column->missing && !column->nullable;
    }
    buf_puts(to, "ADD COLUMN ");
    sql_ident(to, column->name);
    buf_printf(to, " %s%s", column->type, empty && !column->nullable ? " NOT NULL" : "");
    if (!column->missing)
        return OK;
    buf_puts(to, " DEFAULT ");
    return sql_literal(p->s, to, column->missing)
               ? OK
               : err_set(err, REJECT, ERR_TARGET_VALUE,
                         "table %s.%s, column %s: its default cannot be written here", p->table->schema,
                         p->table->name, column->name);
}

static enum code plan_type(struct plan *p, const struct column *column, const struct shape_column *have,
                           struct err *err) {
    struct type_name source, replica;
    if (strcmp(column->type, have->type) == 0)
        return OK;
    bool parsed = type_parse(column->type, &source), widens = false;
    if (parsed && type_parse(have->type, &replica)) {
        if (type_widens(&source, &replica) || type_holds_any(&replica))
            return OK;
        widens = type_widens(&replica, &source);
    }
    if (!parsed)
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "%s.%s, column %s: type name '%.200s' is not one that PostgreSQL prints",
                       p->table->schema, p->table->name, column->name, column->type);
    struct buf *to = action(
        p, evolves(p) && widens && !have->domain,
        "the type of a column does not hold the source's values (if older changes are still to come, make it "
        "text first, which holds both)");
    buf_puts(to, "ALTER COLUMN ");
    sql_ident(to, column->name);
    buf_printf(to, " TYPE %s", column->type);
    if (!widens) {
        buf_puts(to, " USING ");
        sql_ident(to, column->name);
        buf_printf(to, "::%s", column->type);
    }
    return widens ? user_types_resolve(p->s, column->type, err) : OK;
}

static void plan_nullable(struct plan *p, const char *name, bool allowed) {
    struct buf *to =
        action(p, allowed, "a column that the source no longer fills must not be NULL in the replica");
    buf_puts(to, "ALTER COLUMN ");
    sql_ident(to, name);
    buf_puts(to, " DROP NOT NULL");
}

static enum code plan_column(struct plan *p, const struct column *column, bool empty, struct err *err) {
    const struct shape_column *have = shape_column(p->shape, column->name);
    if (!have)
        return plan_missing(p, column, empty, err);
    if (have->generated)
        return OK;
    enum code code = plan_type(p, column, have, err);
    if (code != OK)
        return code;
    if (evolves(p) && column->nullable && have->not_null && !have->primary && !have->identity)
        plan_nullable(p, column->name, true);
    if (evolves(p) && have->identity == 'a') {
        struct buf *to = action(p, true, NULL);
        buf_puts(to, "ALTER COLUMN ");
        sql_ident(to, column->name);
        buf_puts(to, " SET GENERATED BY DEFAULT");
    }
    return OK;
}

/* Without it no row could be found: a unique index over exactly the source's key. */
static enum code plan_key(struct plan *p, bool empty, bool *changed, struct err *err) {
    if (p->table->n_key == 0 || p->shape->key_index)
        return OK;
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "CREATE UNIQUE INDEX ON ");
    sql_qualified(&sql, p->table->schema, p->table->name);
    buf_putc(&sql, ' ');
    put_key(&sql, p->table);
    if (!evolves(p))
        return err_set(
            err, REJECT, ERR_TARGET_TABLE,
            "table %s.%s of the replica has no unique index over the source's key; run there: %.1200s",
            p->table->schema, p->table->name, buf_cstr(&sql));
    if (!empty)
        log_warn("sink/postgres", "a unique index over the source's key is built",
                 F_STR("schema", p->table->schema), F_STR("table", p->table->name));
    *changed = true;
    return session_run(p->s, buf_cstr(&sql), 0, NULL, NULL, err);
}

static enum code run_actions(struct plan *p, bool *changed, struct err *err) {
    if (p->actions.len == 0)
        return OK;
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "ALTER TABLE ");
    sql_qualified(&sql, p->table->schema, p->table->name);
    buf_printf(&sql, " %s", buf_cstr(&p->actions));
    enum code code = session_run(p->s, buf_cstr(&sql), 0, NULL, NULL, err);
    if (code != OK)
        return code;
    *changed = true;
    log_info("sink/postgres", "table altered", F_STR("schema", p->table->schema),
             F_STR("table", p->table->name), F_STR("by", buf_cstr(&p->actions)));
    if (p->added)
        log_warn("sink/postgres",
                 "a column was added to a table with rows: what the source filled into older rows without "
                 "changing them is not known here; millrace capture --resnapshot brings it",
                 F_STR("schema", p->table->schema), F_STR("table", p->table->name));
    return OK;
}

static enum code plan_all(struct plan *p, bool empty, struct err *err) {
    for (int i = 0; i < p->table->n_columns; i++) {
        enum code code = plan_column(p, &p->table->columns[i], empty, err);
        if (code != OK)
            return code;
    }
    for (int i = 0; i < p->shape->n_columns; i++) {
        const struct shape_column *have = &p->shape->columns[i];
        bool filled = have->has_default || have->generated || have->identity || !have->not_null;
        if (!filled && !table_column(p->table, have->name))
            plan_nullable(p, have->name, evolves(p) && !have->primary);
    }
    if (p->mend.len == 0)
        return OK;
    return err_set(err, REJECT, ERR_TARGET_TABLE,
                   "table %s.%s: %s; run on the replica: ALTER TABLE \"%s\".\"%s\" %.1200s", p->table->schema,
                   p->table->name, p->what, p->table->schema, p->table->name, buf_cstr(&p->mend));
}

enum code fit_alter(struct session *s, const struct table *table, const struct shape *shape, bool *changed,
                    struct err *err) {
    struct plan p = {.s = s, .table = table, .shape = shape};
    bool empty = false;
    *changed = false;
    enum code code =
        user_types_ensure(s, table, s->options->create_tables && evolves(&p), s->options->schema_change, err);
    if (code == OK)
        code = shape_read_empty(s, table, &empty, err);
    if (code == OK)
        code = plan_all(&p, empty, err);
    if (code == OK)
        code = run_actions(&p, changed, err);
    if (code == OK)
        code = plan_key(&p, empty, changed, err);
    buf_free(&p.actions);
    buf_free(&p.mend);
    return code;
}
