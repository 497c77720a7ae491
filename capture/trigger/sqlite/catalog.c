/* (SQLite manual, "PRAGMA table_list, table_xinfo, index_list, index_xinfo".) */
#include <jansson.h>
#include <stdio.h>

#include "capture/trigger/sqlite/sqlite.h"

enum { COLUMNS_MAX = 990 }; /* the change table has two for each, and SQLite 2000 */

void lcatalog_free(struct lcatalog *c) {
    free(c->tables);
    arena_free(&c->arena);
    *c = (struct lcatalog){0};
}

static struct ltable *add_table(struct lcatalog *c, const char *name) {
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->tables = xrealloc(c->tables, sizeof(struct ltable *) * (size_t)c->cap);
    }
    struct ltable *t = arena_zalloc(&c->arena, sizeof *t);
    t->name = arena_strdup(&c->arena, name);
    return c->tables[c->n++] = t;
}

struct ltable *lcatalog_find(const struct lcatalog *c, const char *name) {
    for (int i = 0; i < c->n; i++)
        if (c->tables[i]->live && strcasecmp(c->tables[i]->name, name) == 0)
            return c->tables[i];
    return NULL;
}

struct ltable *lcatalog_shape(const struct lcatalog *c, int64_t shape) {
    for (int i = 0; i < c->n; i++)
        if (c->tables[i]->shape == shape)
            return c->tables[i];
    return NULL;
}

/* Grows by doubling at powers of two. */
static void *grown(struct arena *arena, void *old, int n, size_t size) {
    if (n & (n - 1))
        return old;
    void *grown = arena_zalloc(arena, size * (size_t)(n ? n * 2 : 1));
    if (n)
        memcpy(grown, old, size * (size_t)n);
    return grown;
}

/* ---- the file's tables ---- */

static struct lcolumn *column_of(const struct ltable *t, const char *name) {
    for (int i = 0; i < t->n_columns; i++)
        if (strcasecmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

static enum code read_columns(struct lfile *f, struct lcatalog *c, struct ltable *t, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    static const char sql[] =
        "SELECT name, type, dflt_value, \"notnull\", pk, hidden FROM pragma_table_xinfo(?1)";
    enum code code = lfile_prepare(f, sql, &stmt, err);
    if (code != OK)
        return code;
    sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
    for (bool row = true; (code = lfile_step(f, stmt, &row, err)) == OK && row;) {
        if (sqlite3_column_int(stmt, 5) != 0)
            continue; /* generated */
        t->columns = grown(&c->arena, t->columns, t->n_columns, sizeof *t->columns);
        struct lcolumn *column = &t->columns[t->n_columns++];
        bool fallback = sqlite3_column_type(stmt, 2) != SQLITE_NULL;
        *column = (struct lcolumn){
            .name = arena_strdup(&c->arena, lfile_text(stmt, 0)),
            .declared = arena_strdup(&c->arena, lfile_text(stmt, 1)),
            .fallback = fallback ? arena_strdup(&c->arena, lfile_text(stmt, 2)) : NULL,
            .not_null = sqlite3_column_int(stmt, 3) != 0,
            .key = sqlite3_column_int(stmt, 4),
        };
    }
    return code;
}

static void set_rowid(struct ltable *t) {
    static const char *const names[] = {"rowid", "_rowid_", "oid"};
    for (size_t i = 0; !t->without_rowid && !t->rowid && i < sizeof names / sizeof *names; i++)
        if (!column_of(t, names[i]))
            t->rowid = names[i];
}

/* A key of one column declared INTEGER without an index of its own is the row's number. */
static void set_number(struct ltable *t, bool key_indexed) {
    for (int i = 0; i < t->n_columns && !t->without_rowid && !key_indexed; i++)
        t->columns[i].number = t->columns[i].key > 0;
}

static enum code read_unique(struct lfile *f, struct lcatalog *c, struct ltable *t, const char *index,
                             struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    static const char sql[] = "SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno";
    enum code code = lfile_prepare(f, sql, &stmt, err);
    if (code != OK)
        return code;
    sqlite3_bind_text(stmt, 1, index, -1, SQLITE_STATIC);
    struct lunique unique = {0};
    for (bool row = true; (code = lfile_step(f, stmt, &row, err)) == OK && row;) {
        const char *name = lfile_text(stmt, 0);
        if (!column_of(t, name)) {
            t->refused =
                arena_printf(&c->arena,
                             "its unique index %s has an expression or a generated column: rows that "
                             "REPLACE removes by it could not be told",
                             index);
            return OK;
        }
        unique.columns = grown(&c->arena, unique.columns, unique.n, sizeof *unique.columns);
        unique.collations = grown(&c->arena, unique.collations, unique.n, sizeof *unique.collations);
        unique.columns[unique.n] = arena_strdup(&c->arena, name);
        unique.collations[unique.n++] = arena_strdup(&c->arena, lfile_text(stmt, 1));
    }
    t->uniques = grown(&c->arena, t->uniques, t->n_uniques, sizeof *t->uniques);
    t->uniques[t->n_uniques++] = unique;
    return code;
}

static enum code read_uniques(struct lfile *f, struct lcatalog *c, struct ltable *t, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    bool key_indexed = false;
    static const char sql[] =
        "SELECT name, origin, partial FROM pragma_index_list(?1) WHERE \"unique\" ORDER BY name";
    enum code code = lfile_prepare(f, sql, &stmt, err);
    if (code != OK)
        return code;
    sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
    for (bool row = true; code == OK && (code = lfile_step(f, stmt, &row, err)) == OK && row;) {
        key_indexed |= strcmp(lfile_text(stmt, 1), "pk") == 0;
        if (sqlite3_column_int(stmt, 2))
            t->refused =
                arena_printf(&c->arena,
                             "its unique index %s is partial: rows that REPLACE removes by it could not "
                             "be told",
                             lfile_text(stmt, 0));
        else
            code = read_unique(f, c, t, lfile_text(stmt, 0), err);
    }
    set_number(t, key_indexed);
    return code;
}

/* [["name", "declared", not null, place in the key], ...] */
static void set_shape_text(struct lcatalog *c, struct ltable *t) {
    json_t *root = json_array();
    for (int i = 0; i < t->n_columns; i++) {
        const struct lcolumn *column = &t->columns[i];
        json_array_append_new(
            root, json_pack("[s, s, i, i]", column->name, column->declared, column->not_null, column->key));
    }
    char *text = json_dumps(root, JSON_COMPACT);
    t->shape_text = arena_strdup(&c->arena, text ? text : "");
    if (!text)
        t->refused = "a name in it is no UTF-8";
    free(text);
    json_decref(root);
}

enum code lcatalog_read(struct lfile *f, struct lcatalog *c, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    enum code code = lfile_prepare(
        f,
        "SELECT name, wr FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE "
        "'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'millrace\\_%' ESCAPE '\\' ORDER BY name",
        &stmt, err);
    for (bool row = true; code == OK && (code = lfile_step(f, stmt, &row, err)) == OK && row;) {
        struct ltable *t = add_table(c, lfile_text(stmt, 0));
        t->live = true;
        t->without_rowid = sqlite3_column_int(stmt, 1) != 0;
        code = read_columns(f, c, t, err);
        set_rowid(t);
        if (code == OK)
            code = read_uniques(f, c, t, err);
        if (t->n_columns > COLUMNS_MAX)
            t->refused = "it has more than 990 columns";
        set_shape_text(c, t);
    }
    return code;
}

/* ---- the registry's ---- */

void put_ladded(struct buf *out, const struct ltable *t) {
    json_t *root = json_object();
    for (int i = 0; i < t->n_columns; i++)
        if (t->columns[i].added)
            json_object_set_new(root, t->columns[i].name,
                                t->columns[i].missing ? json_string(t->columns[i].missing) : json_null());
    char *text = json_dumps(root, JSON_COMPACT);
    buf_puts(out, text ? text : "{}");
    free(text);
    json_decref(root);
}

static bool parse_shape(struct lcatalog *c, struct ltable *t, const char *columns, const char *added) {
    json_t *root = json_loads(columns, 0, NULL), *more = json_loads(added, 0, NULL), *one;
    size_t i;
    bool fine = json_is_array(root) && json_is_object(more) && json_array_size(root) <= COLUMNS_MAX;
    t->columns = fine ? arena_zalloc(&c->arena, sizeof *t->columns * (json_array_size(root) + 1)) : NULL;
    for (i = 0; fine && i < json_array_size(root) && (one = json_array_get(root, i)); i++) {
        const char *name, *declared;
        int not_null, key;
        fine = json_unpack(one, "[s, s, i, i]", &name, &declared, &not_null, &key) == 0;
        if (!fine)
            break;
        const json_t *missing = json_object_get(more, name);
        t->columns[t->n_columns++] = (struct lcolumn){
            .name = arena_strdup(&c->arena, name),
            .declared = arena_strdup(&c->arena, declared),
            .not_null = not_null,
            .key = key,
            .added = missing != NULL,
            .missing = json_is_string(missing) ? arena_strdup(&c->arena, json_string_value(missing)) : NULL,
        };
    }
    json_decref(root);
    json_decref(more);
    return fine;
}

/* What a change refers to. */
static void make_table(struct lcatalog *c, struct ltable *t) {
    struct table *table = &t->table;
    size_t n = (size_t)t->n_columns + 1;
    *table = (struct table){.schema = "main", .name = t->name, .n_columns = t->n_columns};
    table->columns = arena_zalloc(&c->arena, sizeof *table->columns * n);
    table->key = arena_zalloc(&c->arena, sizeof *table->key * n);
    for (int i = 0; i < t->n_columns; i++) {
        const struct lcolumn *from = &t->columns[i];
        struct column *to = &table->columns[i];
        lvalue_kind(from->declared, to);
        to->name = from->name;
        to->key = from->key;
        to->nullable = !from->key && (!from->not_null || from->added);
        to->missing = from->missing;
        if (from->key > 0 && from->key <= t->n_columns) {
            table->key[from->key - 1] = i;
            table->n_key++;
        }
    }
    table->digest = table_digest(table);
}

enum code lregistry_read(struct lfile *f, struct lcatalog *c, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    enum code code = lfile_prepare(
        f, "SELECT shape, name, live, columns, added FROM millrace_shapes ORDER BY shape", &stmt, err);
    for (bool row = true; code == OK && (code = lfile_step(f, stmt, &row, err)) == OK && row;) {
        int64_t shape = sqlite3_column_int64(stmt, 0);
        struct ltable *t = lcatalog_shape(c, shape);
        if (!t) {
            t = add_table(c, lfile_text(stmt, 1));
            t->shape = shape;
            t->shape_text = arena_strdup(&c->arena, lfile_text(stmt, 3));
            if (!parse_shape(c, t, t->shape_text, lfile_text(stmt, 4)))
                return err_set(err, FATAL, ERR_SOURCE_TRIGGERS,
                               "the registry of %s (table millrace_shapes) was altered: shape %lld cannot be "
                               "read; make the installation anew: millrace source uninstall, then install",
                               f->options->path, (long long)shape);
            make_table(c, t);
        }
        t->live = sqlite3_column_int(stmt, 2) != 0;
    }
    return code;
}
