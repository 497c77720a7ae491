/* Where JSON replicas stand: a file in a directory of this program's own, shown in a glass in memory. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "glass.h"
#include "target_case.h"

static char directory[64], path[96];
static json_t *document;
static int64_t version;

static void open_directory(void) {
    snprintf(directory, sizeof directory, "%s/millrace-test-XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(directory))
        die("no directory could be made");
    snprintf(path, sizeof path, "%s/replica.json", directory);
    url = path;
}

static void empty(void) {
    char other[128];
    unlink(path);
    snprintf(other, sizeof other, "%s.lock", path);
    unlink(other);
}

static void drop_directory(void) {
    empty();
    rmdir(directory);
}

/* ---- into the glass ---- */

static void put_list(struct buf *sql, json_t *names, const char *end) {
    json_t *name;
    size_t i;
    json_array_foreach(names, i, name) buf_printf(sql, "%s\"%s\"", i ? ", " : "", json_string_value(name));
    buf_puts(sql, end);
}

static void show_row(sqlite3 *db, const char *table, json_t *row) {
    CLEANUP_BUF sql = {0};
    const char *column;
    json_t *value;
    buf_printf(&sql, "INSERT INTO \"%s\" (", table);
    json_object_foreach(row, column, value) buf_printf(&sql, "\"%s\",", column);
    sql.len--;
    buf_puts(&sql, ") VALUES (");
    for (size_t i = 0; i < json_object_size(row); i++)
        buf_puts(&sql, "?,");
    sql.data[sql.len - 1] = ')';
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db, buf_cstr(&sql), -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    int n = 1;
    json_object_foreach(row, column, value)
        sqlite3_bind_text(stmt, n++, json_string_value(value), -1, SQLITE_TRANSIENT);
    if (sqlite3_step(stmt) != SQLITE_DONE)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_finalize(stmt);
}

static void show_table(sqlite3 *db, const char *name, json_t *table) {
    CLEANUP_BUF sql = {0};
    const char *column;
    json_t *type, *row;
    char *flat = xstrdup(name);
    *strchr(flat, '.') = '_';
    buf_printf(&sql, "CREATE TABLE \"%s\" (", flat);
    json_object_foreach(json_object_get(table, "columns"), column, type)
        buf_printf(&sql, "\"%s\" %s,", column, json_string_value(type));
    sql.len--;
    if (json_is_true(json_object_get(table, "keyed"))) {
        buf_puts(&sql, ", PRIMARY KEY (");
        put_list(&sql, json_object_get(table, "naming"), ")");
    }
    buf_putc(&sql, ')');
    glass_sql(db, buf_cstr(&sql));
    json_object_foreach(json_object_get(table, "rows"), column,
                        row) for (json_int_t n = json_integer_value(json_array_get(row, 0)); n > 0; n--)
        show_row(db, flat, json_array_get(row, 1));
    free(flat);
}

static void show_sinks(sqlite3 *db) {
    const char *name;
    json_t *sink;
    if (json_object_size(json_object_get(document, "sinks")) > 0)
        glass_sql(db, "CREATE TABLE millrace_sink_worker (sink text, epoch text, owner text, seen_us text)");
    json_object_foreach(json_object_get(document, "sinks"), name, sink) {
        json_t *row = json_pack(
            "{s:s, s:o, s:O?, s:o}", "sink", name, "epoch",
            json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(sink, "epoch"))),
            "owner", json_object_get(sink, "owner"), "seen_us",
            json_sprintf("%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(sink, "seen_us"))));
        show_row(db, "millrace_sink_worker", row);
        json_decref(row);
    }
}

static sqlite3 *show(void) {
    sqlite3 *db;
    const char *name;
    json_t *table;
    FILE *in = fopen(path, "r");
    version = 0;
    document = NULL;
    if (in) {
        if (fscanf(in, "millrace-json 1 %" SCNd64 "\n", &version) != 1 ||
            !(document = json_loadf(in, 0, NULL)))
            fail_msg("the file is damaged");
        fclose(in);
    }
    if (!document)
        document = json_pack("{s:{}, s:{}}", "sinks", "tables");
    if (sqlite3_open(":memory:", &db) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    glass_sql(db, "BEGIN");
    json_object_foreach(json_object_get(document, "tables"), name, table) show_table(db, name, table);
    show_sinks(db);
    glass_sql(db, "COMMIT");
    return db;
}

/* ---- and back into the file ---- */

static json_t *text_or_null(sqlite3_stmt *stmt, int i) {
    const char *text = (const char *)sqlite3_column_text(stmt, i);
    return text ? json_string(text) : json_null();
}

static sqlite3_stmt *ask(sqlite3 *db, const char *fmt, const char *name) {
    char *sql = sqlite3_mprintf(fmt, name);
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s", sqlite3_errmsg(db));
    sqlite3_free(sql);
    return stmt;
}

static void take_columns(sqlite3 *db, const char *flat, json_t *table) {
    json_t *columns = json_object(), *key = json_array(), *all = json_array();
    sqlite3_stmt *stmt = ask(db, "SELECT name, type, pk FROM pragma_table_info(%Q)", flat);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        json_object_set_new(columns, (const char *)sqlite3_column_text(stmt, 0), text_or_null(stmt, 1));
        json_array_append_new(all, text_or_null(stmt, 0));
        if (sqlite3_column_int(stmt, 2))
            json_array_append_new(key, text_or_null(stmt, 0));
    }
    sqlite3_finalize(stmt);
    bool keyed = json_array_size(key) > 0;
    json_object_set_new(table, "columns", columns);
    json_object_set(table, "naming", keyed ? key : all);
    json_object_set_new(table, "keyed", json_boolean(keyed));
    json_decref(key);
    json_decref(all);
}

static char *row_name(json_t *row, json_t *naming) {
    json_t *texts = json_array(), *name;
    size_t i;
    json_array_foreach(naming, i, name)
        json_array_append(texts, json_object_get(row, json_string_value(name)));
    char *text = json_dumps(texts, JSON_COMPACT);
    json_decref(texts);
    return text;
}

static void take_rows(sqlite3 *db, const char *flat, json_t *table) {
    json_t *rows = json_object();
    sqlite3_stmt *stmt = ask(db, "SELECT * FROM \"%w\"", flat);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        json_t *row = json_object();
        for (int i = 0; i < sqlite3_column_count(stmt); i++)
            json_object_set_new(row, sqlite3_column_name(stmt, i), text_or_null(stmt, i));
        char *name = row_name(row, json_object_get(table, "naming"));
        json_int_t n = json_integer_value(json_array_get(json_object_get(rows, name), 0));
        json_object_set_new(rows, name, json_pack("[I, o]", n + 1, row));
        free(name);
    }
    sqlite3_finalize(stmt);
    json_object_set_new(table, "rows", rows);
}

static void take_tables(sqlite3 *db) {
    json_t *tables = json_object();
    sqlite3_stmt *stmt =
        ask(db, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'shop\\_%%' ESCAPE '\\'",
            NULL);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *flat = (const char *)sqlite3_column_text(stmt, 0);
        char *name = xstrdup(flat);
        *strchr(name, '_') = '.';
        json_t *table = json_object_get(json_object_get(document, "tables"), name);
        table = table ? json_incref(table) : json_object();
        take_columns(db, flat, table);
        take_rows(db, flat, table);
        json_object_set_new(tables, name, table);
        free(name);
    }
    sqlite3_finalize(stmt);
    json_object_set_new(document, "tables", tables);
}

static void take_sinks(sqlite3 *db) {
    if (!glass_has(db, "millrace.sink_worker"))
        return;
    sqlite3_stmt *stmt = ask(db, "SELECT sink, epoch, owner, seen_us FROM millrace_sink_worker", NULL);
    while (sqlite3_step(stmt) == SQLITE_ROW) {
        json_t *sink =
            json_object_get(json_object_get(document, "sinks"), (const char *)sqlite3_column_text(stmt, 0));
        json_object_set_new(sink, "epoch", json_integer(sqlite3_column_int64(stmt, 1)));
        json_object_set_new(sink, "owner", text_or_null(stmt, 2));
        json_object_set_new(sink, "seen_us", json_integer(sqlite3_column_int64(stmt, 3)));
    }
    sqlite3_finalize(stmt);
}

static void store(void) {
    char next[128];
    snprintf(next, sizeof next, "%s.next", path);
    FILE *out = fopen(next, "w");
    if (!out || fprintf(out, "millrace-json 1 %" PRId64 "\n", version + 1) < 0 ||
        json_dumpf(document, out, 0) != 0 || fclose(out) != 0 || rename(next, path) != 0)
        fail_msg("the file could not be written");
}

static void hide(sqlite3 *db) {
    sqlite3_close(db);
    json_decref(document);
}

static void run_sql(const char *text) {
    sqlite3 *db = show();
    glass_sql(db, text);
    take_tables(db);
    take_sinks(db);
    store();
    hide(db);
}

static void see_rows(const char *text, char *ret, size_t size) {
    sqlite3 *db = show();
    glass_see(db, text, ret, size);
    hide(db);
}

static bool has_relation(const char *table) {
    sqlite3 *db = show();
    bool found = glass_has(db, table);
    hide(db);
    return found;
}

const struct place json_place = {
    .kind = "json",
    .option = "path",
    .open = open_directory,
    .close = drop_directory,
    .empty = empty,
    .sql = run_sql,
    .see = see_rows,
    .has_table = has_relation,
    .key = glass_key_of,
    .unseen = "UPDATE millrace.sink_worker SET seen_us = 1",
};
