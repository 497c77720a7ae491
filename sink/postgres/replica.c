/* Versions of tables bound to the replica's tables, made once and kept. */
#include <assert.h>

#include "base/log.h"
#include "sink/postgres/fit.h"
#include "sink/postgres/postgres.h"
#include "sink/postgres/sql.h"

static struct replica *find(struct pg_target *t, const struct table *table) {
    for (struct replica *r = t->replicas; r; r = r->next)
        if (r->table->digest == table->digest && strcmp(r->table->name, table->name) == 0 &&
            strcmp(r->table->schema, table->schema) == 0)
            return r;
    return NULL;
}

static void replica_free(struct pg_target *t, struct replica *r) {
    struct arena arena = r->arena; /* the struct lies in it */
    t->n_staged -= r->staged;
    arena_free(&arena);
}

/* Frees what `drop` says. */
static void sweep(struct pg_target *t, bool (*drop)(const struct replica *r, const void *arg),
                  const void *arg) {
    for (struct replica **at = &t->replicas; *at;) {
        struct replica *r = *at;
        if (drop(r, arg)) {
            *at = r->next;
            replica_free(t, r);
        } else
            at = &r->next;
    }
}

static bool drop_all(const struct replica *r, const void *arg) {
    (void)r, (void)arg;
    return true;
}

static bool drop_made_in(const struct replica *r, const void *tx) {
    return r->tx == *(const uint64_t *)tx;
}

static bool drop_same_name(const struct replica *r, const void *table) {
    const struct table *other = table;
    return strcmp(r->table->name, other->name) == 0 && strcmp(r->table->schema, other->schema) == 0;
}

void replicas_free(struct pg_target *t) {
    sweep(t, drop_all, NULL);
}

/* Stages and statements that the transaction made are gone with it (statements are not, but their ids are
 * never used again). */
void replicas_rollback(struct pg_target *t, bool all) {
    if (all)
        sweep(t, drop_all, NULL);
    else
        sweep(t, drop_made_in, &t->tx);
    for (struct replica *r = t->replicas; r; r = r->next)
        if (r->staged && r->staged_tx == t->tx) {
            r->staged = false;
            t->n_staged--;
        }
}

/* ---- binding ---- */

static const char *quoted(struct arena *arena, const char *name) {
    CLEANUP_BUF text = {0};
    sql_ident(&text, name);
    return arena_strndup(arena, text.data, text.len);
}

static void bind_column(struct replica *r, const struct shape *shape, int i) {
    const struct column *column = &r->table->columns[i];
    const struct shape_column *have = shape_column(shape, column->name);
    struct replica_column *to = &r->columns[i];
    to->name = quoted(&r->arena, column->name);
    to->key = column->key > 0;
    to->skip = !have || have->generated;
    if (to->skip)
        return;
    to->type = arena_strdup(&r->arena, have->type);
    to->oid = have->oid;
    to->print = pg_printer(column, to->type);
    to->form = pg_binary(column, to->oid);
    r->binary = r->binary && to->form;
    to->can_set = !to->key;
    if (to->key)
        to->equal = arena_strdup(&r->arena, shape->equal[column->key - 1]);
    r->n_written++;
    r->n_set += to->can_set;
}

static void bind_all_columns(struct replica *r, const struct shape *shape) {
    r->all_columns = arena_zalloc(&r->arena, ((size_t)shape->n_columns + 1) * sizeof *r->all_columns);
    for (int i = 0; i < shape->n_columns; i++) {
        if (shape->columns[i].generated)
            continue;
        r->all_columns[r->n_all++] = quoted(&r->arena, shape->columns[i].name);
        r->extras |= !table_column(r->table, shape->columns[i].name);
    }
}

static struct replica *bind(struct pg_target *t, const struct table *table, const struct shape *shape) {
    struct arena arena = {0};
    struct replica *r = arena_zalloc(&arena, sizeof *r);
    r->arena = arena;
    r->table = table_copy(table, &r->arena);
    r->tx = t->tx;
    r->id = t->next_id++;
    CLEANUP_BUF name = {0};
    sql_qualified(&name, table->schema, table->name);
    r->name = arena_strndup(&r->arena, name.data, name.len);
    r->label = arena_printf(&r->arena, "%s.%s", table->schema, table->name);
    r->columns = arena_zalloc(&r->arena, ((size_t)table->n_columns + 1) * sizeof *r->columns);
    r->binary = true;
    for (int i = 0; i < table->n_columns; i++)
        bind_column(r, shape, i);
    r->binary = r->binary && r->n_written > 0;
    bind_all_columns(r, shape);
    r->n_unique = shape->n_unique;
    r->truncates = shape->can_truncate && !shape->referenced;
    r->cascades = !t->session.role_replica && shape->referenced_at_all;
    r->next = t->replicas;
    t->replicas = r;
    return r;
}

/* ---- preparing ---- */

/* Without the right to switch triggers off we go on only where there is nothing to switch off. */
static enum code check_triggers(struct pg_target *t, const struct table *table, const struct shape *shape,
                                struct err *err) {
    if (t->session.role_replica || t->options->triggers == TRIGGERS_FIRE || !shape->triggers)
        return OK;
    const char *role = PQuser(t->session.conn);
    if (t->session.version >= 150000)
        return err_set(
            err, FATAL, ERR_TARGET_REFUSED,
            "table %s.%s has triggers or foreign keys, which must not act on applied rows; run on the "
            "replica as "
            "superuser: GRANT SET ON PARAMETER session_replication_role TO \"%s\"; or set triggers: fire",
            table->schema, table->name, role);
    return err_set(
        err, FATAL, ERR_TARGET_REFUSED,
        "table %s.%s has triggers or foreign keys, which must not act on applied rows; run on the replica as "
        "superuser: ALTER ROLE \"%s\" SUPERUSER; or set triggers: fire",
        table->schema, table->name, role);
}

/* The shape after what the policy allows has been done. */
static enum code fitted_shape(struct pg_target *t, const struct table *table, struct arena *arena,
                              struct shape *shape, bool *ret_created, struct err *err) {
    struct session *s = &t->session;
    enum code code = shape_read(s, table, arena, shape, err);
    *ret_created = code == OK && shape->oid == 0;
    if (*ret_created) {
        t->altered = true;
        code = fit_create(s, table, err);
        if (code == OK)
            code = shape_read(s, table, arena, shape, err);
    }
    bool changed = false;
    if (code == OK)
        code = fit_alter(s, table, shape, &changed, err);
    if (code != OK || !changed)
        return code;
    t->altered = true;
    sweep(t, drop_same_name, table); /* other versions are bound to the old shape */
    return shape_read(s, table, arena, shape, err);
}

/* Rows that this sink did not write are never mixed with those it writes. */
static enum code settle(struct pg_target *t, struct replica *r, bool fresh, bool may_clear, struct err *err) {
    enum table_state state;
    enum code code = progress_table_state(t, r->table, &state, err);
    if (code != OK || state == TABLE_WRITTEN)
        return code;
    bool empty = true;
    if (state == TABLE_STALE || fresh)
        code = shape_read_empty(&t->session, r->table, &empty, err);
    if (code == OK && !empty && state == TABLE_NEW && !may_clear)
        return err_set(err, FATAL, ERR_TARGET_NOT_EMPTY,
                       "table %s of the replica holds rows that sink %s did not write; empty it (TRUNCATE "
                       "%s) or give the "
                       "sink another table by rename",
                       r->label, t->env.sink, r->name);
    if (code == OK && !empty) {
        log_info("sink/postgres", "table emptied to be built anew", F_STR("table", r->label));
        code = replica_clear(t, r, false, false, err);
    }
    return code == OK ? progress_table_written(t, r->table, err) : code;
}

/* The source renamed a table that this sink wrote: the replica's follows, its rows stay. Only one worker
 * knows the order of changes under the old and the new name. */
static enum code follow_rename(struct pg_target *t, const struct table *table, struct arena *arena,
                               struct err *err) {
    static const char sql_taken[] =
        "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname = $1::pg_catalog.name AND c.relname = $2::pg_catalog.name";
    const char *schema, *name, *params[] = {table->schema, table->name};
    CLEANUP_RESULT *result = NULL;
    enum code code = progress_table_before(t, table, arena, &schema, &name, err);
    if (code != OK || !name)
        return code;
    code = session_run(&t->session, sql_taken, 2, params, &result, err);
    if (code != OK)
        return code;
    if (PQntuples(result) > 0 || t->workers > 1 || t->session.options->schema_change != SCHEMA_EVOLVE)
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "the source renamed table %s.%s to %s.%s, and the replica cannot follow by itself; "
                       "mend: millrace "
                       "capture --resnapshot, then millrace replay --sink %s",
                       schema, name, table->schema, table->name, t->env.sink);
    code = fit_schema(&t->session, table->schema, err);
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "ALTER TABLE ");
    sql_ident(&sql, schema), buf_putc(&sql, '.'), sql_ident(&sql, name);
    buf_puts(&sql, " SET SCHEMA ");
    sql_ident(&sql, table->schema);
    if (code == OK && strcmp(schema, table->schema) != 0)
        code = session_run(&t->session, buf_cstr(&sql), 0, NULL, NULL, err);
    buf_clear(&sql);
    buf_puts(&sql, "ALTER TABLE ");
    sql_ident(&sql, table->schema), buf_putc(&sql, '.'), sql_ident(&sql, name);
    buf_puts(&sql, " RENAME TO ");
    sql_ident(&sql, table->name);
    if (code == OK && strcmp(name, table->name) != 0)
        code = session_run(&t->session, buf_cstr(&sql), 0, NULL, NULL, err);
    t->altered = true;
    if (code != OK)
        return code;
    log_info("sink/postgres", "table renamed as in the source", F_STR("from_schema", schema),
             F_STR("from", name), F_STR("schema", table->schema), F_STR("table", table->name));
    return progress_table_renamed(t, table, schema, name, err);
}

/* Rows are found by their key, so it must be one that we write. */
static enum code check_key(const struct table *table, const struct shape *shape, struct err *err) {
    if (table->n_key > 0 && !shape->key_index)
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "table %s.%s of the replica has no unique index over the source's key", table->schema,
                       table->name);
    for (int k = 0; k < table->n_key; k++) {
        const char *name = table->columns[table->key[k]].name;
        const struct shape_column *have = shape_column(shape, name);
        if (have && !have->generated)
            continue;
        CLEANUP_BUF sql = {0};
        buf_puts(&sql, "ALTER TABLE ");
        sql_ident(&sql, table->schema), buf_putc(&sql, '.'), sql_ident(&sql, table->name);
        buf_puts(&sql, " ALTER COLUMN "), sql_ident(&sql, name);
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "column %s of the key of table %s.%s is generated in the replica and cannot be "
                       "written: %s DROP EXPRESSION",
                       name, table->schema, table->name, buf_cstr(&sql));
    }
    return OK;
}

static enum code prepare(struct pg_target *t, const struct mapped *mapped, bool fresh, bool may_clear,
                         struct replica **ret, struct err *err) {
    const struct table *table = mapped->table;
    struct arena arena = {0};
    struct shape shape;
    struct replica *bound = NULL;
    bool created = false;
    t->session.about = NULL;
    enum code code = session_begin(&t->session, err);
    if (code == OK && !find(t, table)) {
        code = fit_names(&t->session, table, err);
        if (code == OK) /* another version of it was built: this one looks for the key */
            code = late_keys_add(t, table, err);
        if (code == OK)
            code = follow_rename(t, table, &arena, err);
        if (code == OK && mapped->source)
            code = origin_check(t, mapped, err);
        if (code == OK)
            code = fitted_shape(t, table, &arena, &shape, &created, err);
        if (code == OK)
            code = check_triggers(t, table, &shape, err);
        if (code == OK)
            code = check_key(table, &shape, err);
        if (code == OK) {
            bound = bind(t, table, &shape);
            bound->created = created;
            code = settle(t, bound, fresh, may_clear, err);
        }
        if (code == OK && mapped->source)
            code = origin_note(t, mapped, err);
    }
    arena_free(&arena);
    *ret = code == OK ? find(t, table) : NULL;
    return code == OK ? OK : pg_undo(t, code);
}

enum code pg_prepare(struct target *target, const struct mapped *mapped, bool fresh, bool may_clear,
                     struct err *err) {
    struct replica *r;
    return prepare(pg_of(target), mapped, fresh, may_clear, &r, err);
}

enum code replica_get(struct pg_target *t, const struct table *table, struct replica **ret, struct err *err) {
    *ret = find(t, table);
    if (*ret)
        return session_begin(&t->session, err);
    struct mapped mapped = {
        .table = (struct table *)(uintptr_t)table}; /* its origin was looked at by pg_prepare */
    return prepare(t, &mapped, false, false, ret, err);
}

enum code replica_clear(struct pg_target *t, const struct replica *r, bool truncate, bool restart_identity,
                        struct err *err) {
    CLEANUP_BUF sql = {0};
    if (truncate && r->truncates)
        buf_printf(&sql, "TRUNCATE %s%s", r->name, restart_identity ? " RESTART IDENTITY" : "");
    else
        buf_printf(&sql, "DELETE FROM %s", r->name);
    t->session.about = r->label;
    return session_run(&t->session, buf_cstr(&sql), 0, NULL, NULL, err);
}
