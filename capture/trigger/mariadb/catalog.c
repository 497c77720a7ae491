/* (MariaDB manual, "Information Schema COLUMNS, STATISTICS, REFERENTIAL_CONSTRAINTS, TRIGGERS,
 * INNODB_SYS_TABLES".) */
#include "capture/trigger/mariadb/catalog.h"

#include <stdio.h>

static const char doing_server[] = "reading the source's tables",
                  doing_registry[] = "reading the registry of captured tables";

void maria_catalog_free(struct maria_catalog *catalog) {
    for (int i = 0; i < catalog->n; i++)
        catalog->tables[i].columns = NULL;
    free(catalog->tables);
    arena_free(&catalog->arena);
    *catalog = (struct maria_catalog){0};
}

static struct maria_table *add(struct maria_catalog *c, const char *schema, const char *name) {
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->tables = xrealloc(c->tables, sizeof *c->tables * (size_t)c->cap);
    }
    struct maria_table *t = &c->tables[c->n++];
    *t = (struct maria_table){.schema = arena_strdup(&c->arena, schema),
                              .name = arena_strdup(&c->arena, name)};
    return t;
}

const struct maria_table *maria_catalog_find(const struct maria_catalog *c, const char *schema,
                                             const char *name) {
    for (int i = 0; i < c->n; i++)
        if (c->tables[i].live && strcmp(c->tables[i].name, name) == 0 &&
            strcmp(c->tables[i].schema, schema) == 0)
            return &c->tables[i];
    return NULL;
}

const struct maria_table *maria_catalog_number(const struct maria_catalog *c, uint64_t number) {
    for (int i = 0; i < c->n; i++)
        if (c->tables[i].number == number)
            return &c->tables[i];
    return NULL;
}

bool maria_same_shape(const struct maria_table *a, const struct maria_table *b) {
    if (a->n_columns != b->n_columns)
        return false;
    for (int i = 0; i < a->n_columns; i++) {
        const struct maria_column *x = &a->columns[i], *y = &b->columns[i];
        if (strcmp(x->name, y->name) != 0 || strcmp(x->type, y->type) != 0 ||
            strcmp(x->charset, y->charset) != 0 || x->key != y->key || x->nullable != y->nullable)
            return false;
    }
    return true;
}

/* ---- shapes ---- */

static struct maria_column *add_column(struct maria_catalog *c, struct maria_table *t) {
    if ((t->n_columns & (t->n_columns - 1)) == 0) { /* full at each power of two */
        size_t cap = t->n_columns ? (size_t)t->n_columns * 2 : 1;
        struct maria_column *columns = arena_zalloc(&c->arena, sizeof *columns * cap);
        if (t->n_columns)
            memcpy(columns, t->columns, sizeof *columns * (size_t)t->n_columns);
        t->columns = columns;
    }
    return &t->columns[t->n_columns++];
}

/* Columns of a row: name, type, data type, precision, scale, fraction, nullable, place in the key, character
 * set. */
static void read_column(struct maria_catalog *c, struct maria_table *t, MYSQL_ROW row) {
    *add_column(c, t) = (struct maria_column){
        .name = arena_strdup(&c->arena, field_text(row, 0)),
        .type = arena_strdup(&c->arena, field_text(row, 1)),
        .data = arena_strdup(&c->arena, field_text(row, 2)),
        .precision = (int)field_number(row, 3),
        .scale = (int)field_number(row, 4),
        .fraction = (int)field_number(row, 5),
        .nullable = field_number(row, 6) != 0,
        .key = (int)field_number(row, 7),
        .charset = arena_strdup(&c->arena, field_text(row, 8)),
    };
}

static void finish(struct maria_catalog *c, const struct maria_options *o, struct maria_table *t) {
    struct table *table = &t->table;
    t->selected = maria_selects(o, t->schema, t->name);
    *table = (struct table){.schema = t->schema, .name = t->name, .n_columns = t->n_columns};
    table->columns = arena_zalloc(&c->arena, sizeof *table->columns * (size_t)(t->n_columns + 1));
    table->key = arena_zalloc(&c->arena, sizeof *table->key * (size_t)(t->n_columns + 1));
    for (int i = 0; i < t->n_columns; i++) {
        const char *why = maria_column_kind(&t->columns[i], o->dates, &c->arena, &table->columns[i]);
        if (why && !t->refused)
            t->refused = arena_printf(&c->arena, "has the column %s of type %s, which %s", t->columns[i].name,
                                      t->columns[i].type, why);
        if (t->columns[i].key > 0 && t->columns[i].key <= t->n_columns) {
            table->key[t->columns[i].key - 1] = i;
            table->n_key++;
        }
    }
    table->incarnation = 0;
    table->digest = table_digest(table);
}

/* ---- the server's ---- */

#define NOT_SYSTEM(column) column " NOT IN ('mysql', 'information_schema', 'performance_schema', 'sys')"

static struct maria_table *same_name(struct maria_catalog *c, const char *schema, const char *name) {
    for (int i = 0; i < c->n; i++)
        if (strcmp(c->tables[i].name, name) == 0 && strcmp(c->tables[i].schema, schema) == 0)
            return &c->tables[i];
    return NULL;
}

static enum code server_tables(MYSQL *db, const struct maria_options *o, struct maria_catalog *c,
                               struct err *err) {
    CLEANUP_ROWS *rows = NULL;
    enum code code = maria_query(
        db, doing_server,
        "SELECT TABLE_SCHEMA, TABLE_NAME, IFNULL(ENGINE, ''), TABLE_TYPE FROM information_schema.TABLES "
        "WHERE " NOT_SYSTEM("TABLE_SCHEMA") " AND TABLE_TYPE NOT LIKE '%VIEW' AND TABLE_TYPE <> 'SEQUENCE'"
                                            " AND TABLE_TYPE NOT LIKE 'TEMPORARY%' ORDER BY 1, 2",
        &rows, err);
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        if (!maria_selects(o, row[0], row[1]))
            continue;
        struct maria_table *t = add(c, row[0], row[1]);
        t->engine = arena_strdup(&c->arena, field_text(row, 2));
        t->type = arena_strdup(&c->arena, field_text(row, 3));
        t->live = true;
    }
    return code;
}

static enum code server_columns(MYSQL *db, struct maria_catalog *c, struct err *err) {
    CLEANUP_ROWS *rows = NULL;
    enum code code = maria_query(
        db, doing_server,
        "SELECT COLUMN_NAME, COLUMN_TYPE, DATA_TYPE, NUMERIC_PRECISION, NUMERIC_SCALE, DATETIME_PRECISION,"
        " IS_NULLABLE = 'YES', 0, IFNULL(CHARACTER_SET_NAME, ''), TABLE_SCHEMA, TABLE_NAME FROM "
        "information_schema.COLUMNS WHERE " NOT_SYSTEM(
            "TABLE_SCHEMA") " AND IS_GENERATED = 'NEVER' ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION",
        &rows, err);
    struct maria_table *t = NULL;
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        if (!t || strcmp(t->name, row[10]) != 0 || strcmp(t->schema, row[9]) != 0)
            t = same_name(c, row[9], row[10]);
        if (t)
            read_column(c, t, row);
    }
    return code;
}

static struct maria_column *column_named(struct maria_table *t, const char *name) {
    for (int i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

static enum code server_keys(MYSQL *db, struct maria_catalog *c, struct err *err) {
    CLEANUP_ROWS *rows = NULL;
    enum code code = maria_query(
        db, doing_server,
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, SEQ_IN_INDEX FROM information_schema.STATISTICS "
        "WHERE " NOT_SYSTEM("TABLE_SCHEMA") " AND INDEX_NAME = 'PRIMARY'",
        &rows, err);
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        struct maria_table *t = same_name(c, row[0], row[1]);
        struct maria_column *column = t ? column_named(t, row[2]) : NULL;
        if (column)
            column->key = (int)field_number(row, 3);
        else if (t)
            t->refused = arena_printf(
                &c->arena, "has the generated column %s in its key, which is not captured", row[2]);
    }
    return code;
}

static enum code server_cascades(MYSQL *db, struct maria_catalog *c, struct err *err) {
    CLEANUP_ROWS *rows = NULL;
    enum code code =
        maria_query(db, doing_server,
                    "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME FROM "
                    "information_schema.REFERENTIAL_CONSTRAINTS WHERE " NOT_SYSTEM(
                        "CONSTRAINT_SCHEMA") " AND (UPDATE_RULE NOT IN ('RESTRICT', 'NO ACTION') OR "
                                             "DELETE_RULE NOT IN ('RESTRICT', 'NO ACTION'))",
                    &rows, err);
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        struct maria_table *t = same_name(c, row[0], row[1]);
        if (t)
            t->cascade = arena_strdup(&c->arena, row[2]);
    }
    return code;
}

enum code maria_catalog_server(MYSQL *db, const struct maria_options *o, struct maria_catalog *c,
                               struct err *err) {
    enum code code = server_tables(db, o, c, err);
    if (code == OK)
        code = server_columns(db, c, err);
    if (code == OK)
        code = server_keys(db, c, err);
    if (code == OK)
        code = server_cascades(db, c, err);
    for (int i = 0; code == OK && i < c->n; i++)
        finish(c, o, &c->tables[i]);
    return code;
}

/* ---- the registry's ---- */

static enum code registry_tables(MYSQL *db, const struct maria_options *o, struct maria_catalog *c,
                                 struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_ROWS *rows = NULL;
    buf_puts(&sql, "SELECT table_schema, table_name, number, slot, live, made, incarnation FROM ");
    maria_put_table(&sql, o->database, "tables");
    buf_puts(&sql, " ORDER BY number");
    enum code code = maria_query(db, doing_registry, buf_cstr(&sql), &rows, err);
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        struct maria_table *t = add(c, field_text(row, 0), field_text(row, 1));
        t->number = (uint32_t)field_number(row, 2);
        t->slot = (uint32_t)field_number(row, 3);
        t->live = field_number(row, 4) != 0;
        t->made = arena_strdup(&c->arena, field_text(row, 5));
        t->incarnation = arena_strdup(&c->arena, field_text(row, 6));
    }
    return code;
}

enum code maria_catalog_registry(MYSQL *db, const struct maria_options *o, struct maria_catalog *c,
                                 struct err *err) {
    enum code code = registry_tables(db, o, c, err);
    if (code)
        return code;
    CLEANUP_BUF sql = {0};
    CLEANUP_ROWS *rows = NULL;
    buf_puts(&sql, "SELECT name, type, data, numeric_digits, scale, fraction, nullable, key_place, charset, "
                   "number FROM ");
    maria_put_table(&sql, o->database, "columns");
    buf_puts(&sql, " ORDER BY number, place");
    code = maria_query(db, doing_registry, buf_cstr(&sql), &rows, err);
    struct maria_table *t = NULL;
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        if (!t || t->number != field_number(row, 9))
            t = (struct maria_table *)maria_catalog_number(c, field_number(row, 9));
        if (t)
            read_column(c, t, row);
    }
    for (int i = 0; code == OK && i < c->n; i++)
        finish(c, o, &c->tables[i]);
    return code;
}

/* ---- what tells whether it is still the same ---- */

/* The triggers of several pipelines stand side by side in a table's database. */
void maria_trigger_name(const struct maria_options *o, const struct maria_table *table, char event,
                        char *ret) {
    snprintf(ret, MARIA_NAME_MAX, "%s_%u_%c", o->database, table->slot, event);
}

void maria_put_made(struct buf *sql, const struct maria_options *o, const struct maria_table *t) {
    buf_puts(sql, "IFNULL((SELECT GROUP_CONCAT(TRIGGER_NAME, ' ', CREATED ORDER BY TRIGGER_NAME) FROM "
                  "information_schema.TRIGGERS"
                  " WHERE TRIGGER_SCHEMA = ");
    maria_put_string(sql, t->schema);
    buf_puts(sql, " AND EVENT_OBJECT_TABLE = ");
    maria_put_string(sql, t->name);
    for (const char *event = "iud"; *event; event++) {
        char name[MARIA_NAME_MAX];
        maria_trigger_name(o, t, *event, name);
        buf_puts(sql, *event == 'i' ? " AND TRIGGER_NAME IN (" : ", ");
        maria_put_string(sql, name);
    }
    buf_puts(sql, ")), '')");
}

static void put_file_name(struct buf *sql, const char *name) {
    buf_puts(sql, "CAST(CAST(CONVERT(");
    maria_put_string(sql, name);
    buf_puts(sql, " USING filename) AS BINARY) AS CHAR CHARACTER SET utf8mb3)");
}

/* InnoDB names a table after its files: database/table, and database/table#P#partition. */
void maria_put_incarnation(struct buf *sql, const char *schema, const char *table) {
    CLEANUP_BUF name = {0};
    buf_puts(&name, "CONCAT(");
    put_file_name(&name, schema);
    buf_puts(&name, ", '/', ");
    put_file_name(&name, table);
    buf_puts(&name, ")");
    buf_puts(sql, "IFNULL((SELECT GROUP_CONCAT(TABLE_ID ORDER BY TABLE_ID) FROM "
                  "information_schema.INNODB_SYS_TABLES WHERE NAME = ");
    buf_puts(sql, buf_cstr(&name));
    buf_puts(sql, " OR LEFT(NAME, CHAR_LENGTH(");
    buf_puts(sql, buf_cstr(&name));
    buf_puts(sql, ") + 3) = CONCAT(");
    buf_puts(sql, buf_cstr(&name));
    buf_puts(sql, ", '#P#')), '')");
}

enum code maria_catalog_marks(MYSQL *db, const struct maria_options *o, struct maria_catalog *c,
                              struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_ROWS *rows = NULL;
    for (int i = 0; i < c->n; i++) {
        struct maria_table *t = &c->tables[i];
        t->made_now = t->incarnation_now = "";
        if (!t->live)
            continue;
        buf_printf(&sql, "%sSELECT %u, ", sql.len ? " UNION ALL " : "", t->number);
        maria_put_made(&sql, o, t);
        buf_puts(&sql, ", ");
        maria_put_incarnation(&sql, t->schema, t->name);
    }
    enum code code = sql.len ? maria_query(db, "looking at the triggers", buf_cstr(&sql), &rows, err) : OK;
    for (MYSQL_ROW row; code == OK && rows && (row = mysql_fetch_row(rows));) {
        struct maria_table *t = (struct maria_table *)maria_catalog_number(c, field_number(row, 0));
        t->made_now = arena_strdup(&c->arena, field_text(row, 1));
        t->incarnation_now = arena_strdup(&c->arena, field_text(row, 2));
    }
    return code;
}

/* ---- what cannot be captured ---- */

static bool has_control(const char *name) {
    for (; *name; name++)
        if ((unsigned char)*name < ' ')
            return true;
    return false;
}

enum err_id maria_refused(const struct maria_table *t, struct buf *why) {
    buf_printf(why, "table %s.%s ", t->schema, t->name);
    if (strcmp(t->type, "BASE TABLE") != 0)
        buf_puts(why, "is system-versioned: its history would be captured as rows");
    else if (strcmp(t->engine, "InnoDB") != 0)
        buf_printf(why,
                   "has the engine %s, which has no transactions: what it rolls back would be captured; "
                   "ALTER TABLE ... ENGINE=InnoDB",
                   t->engine);
    else if (t->cascade)
        buf_printf(
            why,
            "has the foreign key %s with ON DELETE or ON UPDATE CASCADE, SET NULL or SET DEFAULT: MariaDB "
            "changes rows by it without firing triggers; make it RESTRICT",
            t->cascade);
    else if (t->refused)
        buf_puts(why, t->refused);
    else if (!t->table.n_key) {
        buf_puts(why, "has no primary key; add one");
        return ERR_TABLE_WITHOUT_KEY;
    } else if (has_control(t->name) || has_control(t->schema))
        buf_puts(why, "has a control character in its name");
    else {
        buf_clear(why);
        return ERR_NONE;
    }
    return ERR_SOURCE_TABLE;
}

/* ---- triggers ---- */

void maria_put_trigger_body(struct buf *sql, const struct maria_options *o, const struct maria_table *t,
                            char event) {
    buf_puts(sql, "INSERT INTO ");
    maria_put_table(sql, o->database, "changes");
    buf_printf(sql, " (tbl, op, old, new) VALUES (%u, '%c', ", t->number,
               event == 'i'   ? OP_CREATE
               : event == 'u' ? OP_UPDATE
                              : OP_DELETE);
    if (event == 'i')
        buf_puts(sql, "NULL");
    else
        maria_put_row(sql, t->columns, t->n_columns, "OLD.");
    buf_puts(sql, ", ");
    if (event == 'd')
        buf_puts(sql, "NULL");
    else
        maria_put_row(sql, t->columns, t->n_columns, "NEW.");
    buf_putc(sql, ')');
}
