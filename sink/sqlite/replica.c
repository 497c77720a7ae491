/* Versions of tables bound to the replica's tables, made once and kept. */
#include <assert.h>

#include "base/log.h"
#include "sink/sqlite/sqlite.h"

static struct replica *find(struct lite_target *t, const struct table *table) {
    for (struct replica *r = t->replicas; r; r = r->next)
        if (r->table->digest == table->digest && strcmp(r->table->name, table->name) == 0 &&
            strcmp(r->table->schema, table->schema) == 0)
            return r;
    return NULL;
}

static void replica_free(struct replica *r) {
    sqlite3_stmt *const statements[] = {r->insert, r->update, r->remove, r->partial};
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        sqlite3_finalize(statements[i]);
    struct arena arena = r->arena; /* the struct lies in it */
    arena_free(&arena);
}

/* Frees what `drop` says. */
static void sweep(struct lite_target *t, bool (*drop)(const struct replica *r, const void *arg),
                  const void *arg) {
    for (struct replica **at = &t->replicas; *at;) {
        struct replica *r = *at;
        if (drop(r, arg)) {
            *at = r->next;
            replica_free(r);
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

static bool drop_of_name(const struct replica *r, const void *flat) {
    return sqlite3_stricmp(r->flat, flat) == 0;
}

void lite_replicas_free(struct lite_target *t) {
    sweep(t, drop_all, NULL);
}

void lite_replicas_forget(struct lite_target *t, const char *flat) {
    sweep(t, drop_of_name, flat);
}

void lite_replicas_rollback(struct lite_target *t, bool all) {
    sweep(t, all ? drop_all : drop_made_in, &t->tx);
}

/* ---- binding ---- */

static const char *quoted(struct arena *arena, const char *name) {
    CLEANUP_BUF text = {0};
    lite_put_ident(&text, name);
    return arena_strndup(arena, text.data, text.len);
}

static void bind_column(struct replica *r, const struct shape *shape, int i) {
    const struct column *column = &r->table->columns[i];
    const struct shape_column *have = lite_shape_column(shape, column->name);
    struct replica_column *to = &r->columns[i];
    to->name = quoted(&r->arena, column->name);
    to->key = column->key > 0;
    to->skip = !have || have->generated;
    bool holds = to->skip || (have->made_for.type && form_between(column, &have->made_for, &to->form));
    assert(holds); /* fit.c saw to it */
    to->can_set = !to->skip && !to->key;
    r->n_written += !to->skip;
    r->n_set += to->can_set;
}

static int column_named(const struct table *table, const char *name) {
    for (int i = 0; i < table->n_columns; i++)
        if (sqlite3_stricmp(table->columns[i].name, name) == 0)
            return i;
    return -1;
}

static void bind_all_columns(struct replica *r, const struct shape *shape) {
    r->all = arena_zalloc(&r->arena, ((size_t)shape->n_columns + 1) * sizeof *r->all);
    for (int i = 0; i < shape->n_columns; i++) {
        if (shape->columns[i].generated)
            continue;
        int ours = column_named(r->table, shape->columns[i].name);
        r->all[r->n_all++] = (struct any_column){quoted(&r->arena, shape->columns[i].name), ours};
        r->extras |= ours < 0;
    }
}

/* One of the names of a row's number that no column has; NULL: all are taken, or there is none. */
static const char *rowid_of(const struct shape *shape) {
    static const char *const names[] = {"_rowid_", "rowid", "oid"};
    for (size_t i = 0; i < 3 && !shape->without_rowid; i++)
        if (!lite_shape_column(shape, names[i]))
            return names[i];
    return NULL;
}

static struct replica *bind(struct lite_target *t, const struct table *table, const char *flat,
                            const struct shape *shape) {
    struct arena arena = {0};
    struct replica *r = arena_zalloc(&arena, sizeof *r);
    r->arena = arena;
    r->table = table_copy(table, &r->arena);
    r->tx = t->tx;
    r->flat = arena_strdup(&r->arena, flat);
    r->name = quoted(&r->arena, flat);
    r->columns = arena_zalloc(&r->arena, ((size_t)table->n_columns + 1) * sizeof *r->columns);
    r->mask = arena_zalloc(&r->arena, (size_t)table->n_columns + 1);
    for (int i = 0; i < table->n_columns; i++)
        bind_column(r, shape, i);
    bind_all_columns(r, shape);
    r->rowid = rowid_of(shape);
    r->unique = shape->unique;
    r->next = t->replicas;
    t->replicas = r;
    return r;
}

/* ---- preparing ---- */

/* Made anew, a table that somebody dropped would silently lack the rows that it had. */
static enum code check_there(struct lite_target *t, const struct table *table, const char *flat, bool exists,
                             struct err *err) {
    enum table_state state = TABLE_NEW;
    enum code code = exists ? OK : table_state(t, table, &state, err);
    if (code != OK || state != TABLE_WRITTEN)
        return code;
    return err_set(err, REJECT, ERR_TARGET_DIVERGED,
                   "table %s of the replica is gone, with the rows that sink %s wrote there; build it anew: "
                   "millrace replay "
                   "--sink %s",
                   flat, t->env.sink, t->env.sink);
}

/* The shape after what the policy allows has been done. */
static enum code fitted_shape(struct lite_target *t, const struct table *table, const char *flat,
                              struct arena *arena, struct shape *shape, struct err *err) {
    bool changed = false;
    enum code code = lite_shape_read(t, table, flat, arena, shape, err);
    if (code == OK)
        code = check_there(t, table, flat, shape->exists, err);
    if (code == OK && !shape->exists) {
        code = lite_fit_create(t, table, flat, err);
        changed = true;
    } else if (code == OK)
        code = lite_fit_alter(t, table, flat, shape, &changed, err);
    if (code != OK || !changed)
        return code;
    lite_replicas_forget(t, flat); /* other versions are bound to the old shape */
    return lite_shape_read(t, table, flat, arena, shape, err);
}

/* Without a key rows are told apart by their number. */
static enum code check_rowid(const struct replica *r, struct err *err) {
    if (r->table->n_key > 0 || r->rowid)
        return OK;
    return err_set(err, REJECT, ERR_TARGET_TABLE,
                   "table %s has no key in the source, and its rows have no number in the replica (WITHOUT "
                   "ROWID, or columns "
                   "named rowid, _rowid_ and oid); make it anew, or rename such a column",
                   r->flat);
}

/* Rows that this sink did not write are never mixed with those it writes. */
static enum code settle(struct lite_target *t, const struct table *table, const char *flat,
                        const struct shape *shape, bool fresh, bool may_clear, struct err *err) {
    enum table_state state;
    enum code code = table_state(t, table, &state, err);
    if (code != OK || state == TABLE_WRITTEN)
        return code;
    bool foreign = state == TABLE_NEW && fresh && !shape->empty;
    if (foreign && !may_clear)
        return err_set(err, FATAL, ERR_TARGET_NOT_EMPTY,
                       "table %s of the replica holds rows that sink %s did not write; empty it (DELETE FROM "
                       "%s) or give the "
                       "sink another table by rename",
                       flat, t->env.sink, flat);
    if (!shape->empty && (state == TABLE_STALE || foreign)) {
        log_info("sink/sqlite", "table emptied to be built anew", F_STR("table", flat));
        code = table_clear(t, flat, err);
    }
    return code == OK ? table_written(t, table, flat, err) : code;
}

static enum code make(struct lite_target *t, const struct mapped *mapped, bool fresh, bool may_clear,
                      struct arena *arena, struct err *err) {
    const struct table *table = mapped->table;
    const char *flat = flat_name(table, arena);
    struct shape shape;
    enum code code = names_check(table, flat, err);
    if (code == OK)
        code = table_follow(t, table, flat, err);
    if (code == OK)
        code = table_alone(t, table, flat, err);
    if (code == OK && mapped->source)
        code = lite_origin_check(t, mapped, err);
    if (code == OK)
        code = fitted_shape(t, table, flat, arena, &shape, err);
    if (code == OK)
        code = settle(t, table, flat, &shape, fresh, may_clear, err);
    if (code == OK)
        code = check_rowid(bind(t, table, flat, &shape), err);
    return code == OK && mapped->source ? lite_origin_note(t, mapped, err) : code;
}

static enum code prepare(struct lite_target *t, const struct mapped *mapped, bool fresh, bool may_clear,
                         struct replica **ret, struct err *err) {
    struct arena arena = {0};
    t->db.about = NULL;
    enum code code = db_begin(&t->db, err);
    if (code == OK && !find(t, mapped->table))
        code = make(t, mapped, fresh, may_clear, &arena, err);
    arena_free(&arena);
    *ret = code == OK ? find(t, mapped->table) : NULL;
    return code == OK ? OK : lite_undo(t, code);
}

enum code lite_prepare(struct target *target, const struct mapped *mapped, bool fresh, bool may_clear,
                       struct err *err) {
    struct replica *r;
    return prepare(lite_of(target), mapped, fresh, may_clear, &r, err);
}

enum code lite_replica_get(struct lite_target *t, const struct table *table, struct replica **ret,
                           struct err *err) {
    struct mapped mapped = {
        .table = (struct table *)(uintptr_t)table}; /* its origin was looked at by lite_prepare */
    return prepare(t, &mapped, false, false, ret, err);
}

enum code table_clear(struct lite_target *t, const char *flat, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "DELETE FROM ");
    lite_put_ident(&sql, flat);
    return db_run(&t->db, buf_cstr(&sql), NO_PARAMS, NULL, err);
}
