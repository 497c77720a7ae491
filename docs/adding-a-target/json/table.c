/* Tables of the file: whose rows they hold, and how they grow with their source. */
#include <string.h>

#include "base/utf8.h"
#include "sink/json/json.h"

static char *name_of(const struct table *table) {
    return xasprintf("%s.%s", table->schema, table->name);
}

static bool is_text(json_t *object, const char *name, const char *text) {
    const char *have = json_string_value(json_object_get(object, name));
    return have && text ? strcmp(have, text) == 0 : !have && !text;
}

static enum code check_name(const char *name, struct err *err) {
    json_t *text = json_string(name); /* NULL: no UTF-8 */
    json_decref(text);
    if (text && *name)
        return OK;
    return err_set(err, REJECT, ERR_TARGET_TABLE,
                   "a name of a table or column is empty, or no UTF-8: rename it");
}

static enum code check_names(const struct table *table, struct err *err) {
    enum code code = check_name(table->name, err);
    for (int i = 0; i < table->n_columns && code == OK; i++)
        code = check_name(table->columns[i].name, err);
    return code;
}

/* ---- where the rows come from ---- */

/* 1: the same table as when it was written, 0: another one under its name, -1: not known. */
static int same_incarnation(json_t *entry, const struct table *table) {
    uint64_t was = (uint64_t)json_integer_value(json_object_get(entry, "incarnation"));
    return !was || !table->incarnation ? -1 : was == table->incarnation;
}

/* The source renamed a table that this sink wrote: its rows follow. */
static void follow(struct json_target *t, json_t *tables, const struct table *table, const char *name) {
    const char *old;
    json_t *entry;
    json_object_foreach(tables, old, entry) {
        if (strcmp(old, name) != 0 && same_incarnation(entry, table) == 1 &&
            is_text(entry, "sink", t->env.sink) && !json_is_true(json_object_get(entry, "stale"))) {
            json_object_set(tables, name, entry);
            json_object_del(tables, old);
            return;
        }
    }
}

static enum code check_origin(struct json_target *t, json_t *entry, const struct mapped *mapped,
                              const char *source, const char *name, struct err *err) {
    int same = same_incarnation(entry, mapped->table);
    const char *was = json_string_value(json_object_get(entry, "source"));
    if (!was)
        return OK;
    if (strcmp(was, source) != 0 && same != 1)
        return err_set(
            err, FATAL, ERR_CONFIG,
            "table %s of the replica holds the rows of source table %s, and %s would be written there, too; "
            "give one of them another name (rename), then: millrace replay --sink %s",
            name, was, source, t->env.sink);
    if (same != 0 && !is_text(entry, "filter", mapped->filter))
        return err_set(
            err, FATAL, ERR_CONFIG,
            "the filter (where) of %s was changed after sink %s wrote its rows; restore it, or build the "
            "replica anew: millrace replay --sink %s",
            source, t->env.sink, t->env.sink);
    for (int i = 0; i < mapped->source->n_columns && same != 0; i++) {
        const char *before = json_string_value(
            json_object_get(json_object_get(entry, "names"), mapped->source->columns[i].name));
        if (before && strcmp(before, mapped->table->columns[i].name) != 0)
            return err_set(err, FATAL, ERR_CONFIG,
                           "column %s of %s was written as %s by sink %s and is renamed otherwise now; "
                           "restore the name, "
                           "or build the replica anew: millrace replay --sink %s",
                           mapped->source->columns[i].name, source, before, t->env.sink, t->env.sink);
    }
    return OK;
}

static void note_origin(json_t *entry, const struct mapped *mapped, const char *source) {
    json_t *names = json_object();
    for (int i = 0; i < mapped->source->n_columns; i++)
        json_object_set_new(names, mapped->source->columns[i].name,
                            json_string(mapped->table->columns[i].name));
    json_object_set_new(entry, "names", names);
    json_object_set_new(entry, "source", json_string(source));
    json_object_set_new(entry, "filter", mapped->filter ? json_string(mapped->filter) : json_null());
}

/* Rows that this sink did not write are never mixed with those it writes. */
static enum code settle(struct json_target *t, json_t *entry, const struct table *table, const char *name,
                        bool fresh, bool may_clear, struct err *err) {
    json_t *rows = json_member(entry, "rows");
    const char *sink = json_string_value(json_object_get(entry, "sink"));
    bool ours = sink && strcmp(sink, t->env.sink) == 0;
    if (sink && !ours)
        return err_set(err, FATAL, ERR_CONFIG,
                       "table %s holds the rows of sink %s: give it another name (rename)", name, sink);
    bool stale =
        ours && (json_is_true(json_object_get(entry, "stale")) || same_incarnation(entry, table) == 0);
    bool foreign = !ours && fresh && json_object_size(rows) > 0;
    if (foreign && !may_clear)
        return err_set(err, FATAL, ERR_TARGET_NOT_EMPTY,
                       "table %s of the replica holds rows that sink %s did not write; empty it or give the "
                       "sink another "
                       "table by rename",
                       name, t->env.sink);
    if (stale || foreign)
        json_object_clear(rows);
    json_object_set_new(entry, "sink", json_string(t->env.sink));
    json_object_set_new(entry, "stale", json_false());
    if (table->incarnation)
        json_object_set_new(entry, "incarnation", json_integer((json_int_t)table->incarnation));
    return OK;
}

/* ---- columns and key ---- */

/* Rows from before the column have what the source gave them. */
static void add_column(json_t *entry, const struct column *column) {
    const char *name;
    json_t *row;
    json_object_set_new(json_object_get(entry, "columns"), column->name, json_string(column->type));
    json_object_foreach(json_object_get(entry, "rows"), name, row) json_object_set_new(
        json_array_get(row, 1), column->name, column->missing ? json_string(column->missing) : json_null());
}

/* Without a key, a row is named by all of its columns. */
static json_t *naming_columns(json_t *entry, const struct table *table) {
    json_t *list = json_array();
    const char *name;
    json_t *type;
    for (int k = 0; k < table->n_key; k++)
        json_array_append_new(list, json_string(table->columns[table->key[k]].name));
    if (table->n_key == 0)
        json_object_foreach(json_object_get(entry, "columns"), name, type)
            json_array_append_new(list, json_string(name));
    return list;
}

/* Gives all rows the names of another key. */
static enum code name_rows(json_t *entry, json_t *columns, bool keyed, const char *table, struct err *err) {
    json_t *rows = json_object(), *row;
    const char *old;
    json_object_foreach(json_object_get(entry, "rows"), old, row) {
        char *name = json_row_name(json_array_get(row, 1), columns);
        bool taken = keyed && json_object_get(rows, name);
        json_object_set(rows, name, row);
        free(name);
        if (taken) {
            json_decref(rows);
            return err_set(
                err, REJECT, ERR_TARGET_TABLE,
                "rows of table %s are equal in what is the source's key now: build it anew (millrace replay)",
                table);
        }
    }
    json_object_set_new(entry, "rows", rows);
    return OK;
}

static enum code fit(json_t *entry, const struct table *table, const char *name, struct err *err) {
    json_t *columns = json_member(entry, "columns");
    for (int i = 0; i < table->n_columns; i++)
        if (!json_object_get(columns, table->columns[i].name))
            add_column(entry, &table->columns[i]);
    json_t *naming = naming_columns(entry, table);
    enum code code = OK;
    if (!json_equal(naming, json_object_get(entry, "naming")))
        code = name_rows(entry, naming, table->n_key > 0, name, err);
    json_object_set_new(entry, "naming", naming);
    json_object_set_new(entry, "keyed", json_boolean(table->n_key > 0));
    return code;
}

/* ---- prepare, clear ---- */

static enum code prepare(struct json_target *t, const struct mapped *mapped, bool fresh, bool may_clear,
                         json_t **ret, struct err *err) {
    const struct table *table = mapped->table;
    CLEANUP_FREE char *name = name_of(table);
    CLEANUP_FREE char *source = mapped->source ? name_of(mapped->source) : NULL;
    enum code code = json_begin(t, err);
    if (code == OK)
        code = check_names(table, err);
    if (code != OK)
        return json_undo(t, code);
    json_t *tables = json_member(t->file.root, "tables");
    follow(t, tables, table, name);
    json_t *entry = *ret = json_member(tables, name);
    if (source && is_text(entry, "sink", t->env.sink) && !json_is_true(json_object_get(entry, "stale")))
        code = check_origin(t, entry, mapped, source, name, err);
    if (code == OK)
        code = settle(t, entry, table, name, fresh, may_clear, err);
    if (code == OK)
        code = fit(entry, table, name, err);
    if (code != OK)
        return json_undo(t, code);
    if (source)
        note_origin(entry, mapped, source);
    return OK;
}

enum code json_prepare(struct target *target, const struct mapped *mapped, bool fresh, bool may_clear,
                       struct err *err) {
    json_t *entry;
    return prepare(json_of(target), mapped, fresh, may_clear, &entry, err);
}

enum code json_table(struct json_target *t, const struct table *table, json_t **ret, struct err *err) {
    struct mapped mapped = {.table =
                                (struct table *)(uintptr_t)table}; /* json_prepare looked at its origin */
    return prepare(t, &mapped, false, false, ret, err);
}

enum code json_clear(struct target *target, const struct table *table, bool snapshot, bool restart_identity,
                     struct err *err) {
    (void)snapshot, (void)restart_identity; /* readers have the file of before */
    json_t *entry;
    enum code code = json_table(json_of(target), table, &entry, err);
    if (code == OK)
        json_object_clear(json_object_get(entry, "rows"));
    return code;
}

void json_clear_stale(struct json_target *t) {
    const char *name;
    json_t *entry;
    json_object_foreach(json_member(t->file.root, "tables"), name, entry) {
        if (is_text(entry, "sink", t->env.sink) && json_is_true(json_object_get(entry, "stale")))
            json_object_clear(json_object_get(entry, "rows"));
    }
}
