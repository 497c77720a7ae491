/* The replica's table as the file tells it ("PRAGMA Functions" of SQLite's manual). */
#include <strings.h>

#include "sink/sqlite/sqlite.h"

const struct shape_column *lite_shape_column(const struct shape *shape, const char *name) {
    for (int i = 0; i < shape->n_columns; i++)
        if (strcasecmp(shape->columns[i].name, name) == 0)
            return &shape->columns[i];
    return NULL;
}

static int kind_named(const char *name) {
    int kind = 0;
    while (kind < KIND_COUNT && strcmp(kind_name((enum kind)kind), name) != 0)
        kind++;
    return kind;
}

static enum code read_table(struct lite_target *t, const char *flat, struct shape *ret, struct err *err) {
    static const char sql[] =
        "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE";
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_ask(&t->db, sql, PARAMS(P_TEXT(flat)), &stmt, err);
    ret->exists = stmt != NULL;
    ret->is_table = stmt && strcmp(db_text(stmt, 0), "table") == 0;
    ret->without_rowid = stmt && sqlite3_column_int(stmt, 1);
    return code;
}

static struct shape_column column_of(sqlite3_stmt *stmt, struct arena *arena) {
    struct shape_column column = {
        .name = arena_strdup(arena, db_text(stmt, 0)),
        .declared = arena_strdup(arena, db_text(stmt, 1)),
        .not_null = sqlite3_column_int(stmt, 2),
        .has_default = sqlite3_column_type(stmt, 3) != SQLITE_NULL,
        .primary = sqlite3_column_int(stmt, 4) > 0,
        .generated = sqlite3_column_int(stmt, 5) > 0,
    };
    if (sqlite3_column_type(stmt, 6) != SQLITE_NULL)
        column.made_for = (struct form_type){.type = arena_strdup(arena, db_text(stmt, 6)),
                                             .kind = kind_named(db_text(stmt, 7)),
                                             .scale = sqlite3_column_int(stmt, 8)};
    if (column.made_for.kind == KIND_COUNT)
        column.made_for = (struct form_type){0};
    return column;
}

static enum code read_columns(struct lite_target *t, const char *flat, struct arena *arena, struct shape *ret,
                              struct err *err) {
    static const char sql[] =
        "SELECT x.name, x.type, x.\"notnull\", x.dflt_value, x.pk, x.hidden, c.type, c.kind, c.scale,"
        " count(*) OVER () FROM pragma_table_xinfo(?1) x LEFT JOIN millrace_sink_column c"
        " ON c.replica = ?1 AND c.name = x.name ORDER BY x.cid";
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_ask(&t->db, sql, PARAMS(P_TEXT(flat)), &stmt, err);
    bool row = stmt != NULL;
    size_t n = row ? (size_t)sqlite3_column_int64(stmt, 9) : 0;
    ret->columns = arena_zalloc(arena, (n + 1) * sizeof *ret->columns);
    while (code == OK && row) {
        ret->columns[ret->n_columns++] = column_of(stmt, arena);
        code = db_step(&t->db, stmt, &row, err);
    }
    return code;
}

/* ---- unique indexes ---- */

static bool in_key(const struct table *table, const char *name) {
    const struct column *column = name ? table_column(table, name) : NULL;
    return column && column->key > 0;
}

/* Rows of the query: index, partial, column, collation; grouped by index. */
static enum code read_indexes(struct lite_target *t, const struct table *table, const char *flat,
                              struct shape *ret, bool *primary, struct err *err) {
    static const char sql[] =
        "SELECT i.partial, i.origin = 'pk', count(*), group_concat(x.name, char(0)),"
        " count(*) FILTER (WHERE x.coll = 'BINARY'), i.name FROM pragma_index_list(?1) i"
        " JOIN pragma_index_xinfo(i.name) x WHERE i.\"unique\" AND x.key GROUP BY i.seq";
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_ask(&t->db, sql, PARAMS(P_TEXT(flat)), &stmt, err);
    for (bool row = stmt != NULL; code == OK && row;) {
        int n = sqlite3_column_int(stmt, 2), same = 0;
        const char *name = db_text(stmt, 3), *end = name + sqlite3_column_bytes(stmt, 3);
        for (; name < end; name += strlen(name) + 1)
            same += in_key(table, name);
        bool binary = sqlite3_column_int(stmt, 4) == n;
        bool key = n == table->n_key && same == n && binary && !sqlite3_column_int(stmt, 0);
        *primary |= sqlite3_column_int(stmt, 1);
        ret->key |= key;
        ret->unique |= !key;
        code = db_step(&t->db, stmt, &row, err);
    }
    return code;
}

/* INTEGER PRIMARY KEY is the row's number itself and has no index. */
static void read_row_number(const struct table *table, struct shape *ret) {
    for (int i = 0; i < ret->n_columns; i++) {
        if (!ret->columns[i].primary)
            continue;
        bool key = table->n_key == 1 && in_key(table, ret->columns[i].name);
        ret->key |= key;
        ret->unique |= !key;
        ret->columns[i].has_default = true;
    }
}

/* How the columns of the key compare must be how the source tells keys apart: byte by byte. */
static enum code check_collations(struct lite_target *t, const struct table *table, const char *flat,
                                  const struct shape *shape, struct err *err) {
    for (int k = 0; k < table->n_key; k++) {
        const char *name = table->columns[table->key[k]].name, *collation = NULL;
        if (!lite_shape_column(shape, name))
            continue;
        int result =
            sqlite3_table_column_metadata(t->db.conn, "main", flat, name, NULL, &collation, NULL, NULL, NULL);
        if (result == SQLITE_OK && strcasecmp(collation, "BINARY") != 0)
            return err_set(err, REJECT, ERR_TARGET_TABLE,
                           "table %s of the replica compares column %s of its key by collation %s, under "
                           "which different keys "
                           "of the source are the same; make it anew without COLLATE",
                           flat, name, collation);
    }
    return OK;
}

static enum code read_empty(struct lite_target *t, const char *flat, struct shape *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_STMT *stmt = NULL;
    buf_puts(&sql, "SELECT 1 FROM ");
    lite_put_ident(&sql, flat);
    buf_puts(&sql, " LIMIT 1");
    enum code code = db_ask(&t->db, buf_cstr(&sql), NO_PARAMS, &stmt, err);
    ret->empty = stmt == NULL;
    return code;
}

enum code lite_shape_read(struct lite_target *t, const struct table *table, const char *flat,
                          struct arena *arena, struct shape *ret, struct err *err) {
    bool primary = false;
    *ret = (struct shape){0};
    enum code code = read_table(t, flat, ret, err);
    if (code == OK && ret->exists && !ret->is_table)
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "%s is not a table in the replica, but a view or a virtual table", flat);
    if (code != OK || !ret->exists)
        return code;
    code = read_columns(t, flat, arena, ret, err);
    if (code == OK)
        code = read_empty(t, flat, ret, err);
    if (code == OK)
        code = read_indexes(t, table, flat, ret, &primary, err);
    if (code == OK && !primary)
        read_row_number(table, ret);
    return code == OK ? check_collations(t, table, flat, ret, err) : code;
}
