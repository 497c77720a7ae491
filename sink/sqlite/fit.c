/* Making the replica's table fit a version of the source's: create, add, widen, as the policy allows.
 *
 * No column but those of the key is declared NOT NULL: SQLite could never take that back when the source
 * does. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "base/log.h"
#include "sink/sqlite/sqlite.h"

static struct form_type type_of(const struct column *column) {
    return (struct form_type){.type = column->type, .kind = (int)column->kind, .scale = column->scale};
}

static void put_key(struct buf *sql, const struct table *table) {
    buf_putc(sql, '(');
    for (int k = 0; k < table->n_key; k++) {
        if (k)
            buf_puts(sql, ", ");
        lite_put_ident(sql, table->columns[table->key[k]].name);
    }
    buf_putc(sql, ')');
}

static void put_column(struct buf *sql, const struct column *column) {
    struct form_type type = type_of(column);
    lite_put_ident(sql, column->name);
    const char *declared = form_declared(&type);
    buf_printf(sql, "%s%s", *declared ? " " : "", declared);
}

/* What the replica's column is for from now on. */
static enum code record(struct lite_target *t, const char *flat, const struct column *column,
                        struct err *err) {
    static const char sql[] =
        "INSERT INTO millrace_sink_column (replica, name, type, kind, scale) VALUES (?1, ?2, ?3, ?4, ?5)"
        " ON CONFLICT (replica, name) DO UPDATE SET type = excluded.type, kind = excluded.kind,"
        " scale = excluded.scale";
    return db_run(&t->db, sql,
                  PARAMS(P_TEXT(flat), P_TEXT(column->name), P_TEXT(column->type),
                         P_TEXT(kind_name(column->kind)), P_INT(column->scale)),
                  NULL, err);
}

/* ---- creating ---- */

/* One integer as the key is the row's own number; any other key orders the rows themselves (WITHOUT ROWID),
 * so that there is one tree to write to instead of two. */
static void put_create(struct buf *sql, const struct table *table, const char *flat) {
    struct form_type first = table->n_key ? type_of(&table->columns[table->key[0]]) : (struct form_type){0};
    bool number = table->n_key == 1 && strcmp(form_declared(&first), "INTEGER") == 0;
    buf_puts(sql, "CREATE TABLE ");
    lite_put_ident(sql, flat);
    buf_puts(sql, " (");
    for (int i = 0; i < table->n_columns; i++) {
        if (i)
            buf_puts(sql, ", ");
        put_column(sql, &table->columns[i]);
        if (table->columns[i].key)
            buf_puts(sql, " NOT NULL");
    }
    if (table->n_key) {
        buf_puts(sql, ", PRIMARY KEY ");
        put_key(sql, table);
    }
    buf_puts(sql, table->n_key && !number ? ") WITHOUT ROWID" : ")");
}

enum code lite_fit_create(struct lite_target *t, const struct table *table, const char *flat,
                          struct err *err) {
    CLEANUP_BUF sql = {0};
    put_create(&sql, table, flat);
    if (!t->options->create_tables)
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "the replica has no table %s; run there: %.1500s; or set create_tables: true", flat,
                       buf_cstr(&sql));
    t->altered = true;
    enum code code = db_script(&t->db, buf_cstr(&sql), err);
    if (code == OK)
        code = db_run(&t->db, "DELETE FROM millrace_sink_column WHERE replica = ?1", PARAMS(P_TEXT(flat)),
                      NULL, err);
    for (int i = 0; i < table->n_columns && code == OK; i++)
        code = record(t, flat, &table->columns[i], err);
    if (code == OK)
        log_info("sink/sqlite", "table created", F_STR("table", flat));
    return code;
}

/* ---- defaults: what rows from before a column have, as the source printed it ---- */

static void put_text(struct buf *sql, const char *text) {
    buf_putc(sql, '\'');
    for (; *text; text++) {
        if (*text == '\'')
            buf_putc(sql, '\'');
        buf_putc(sql, *text);
    }
    buf_putc(sql, '\'');
}

static bool put_integer(struct buf *sql, const struct column *column, const char *text) {
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (column->kind == KIND_BOOL && (*text == 't' || *text == 'f')) {
        buf_putc(sql, *text == 't' ? '1' : '0');
        return true;
    }
    buf_printf(sql, "%lld", n);
    return end != text && !*end && errno == 0;
}

static bool put_float(struct buf *sql, const struct column *column, const char *text) {
    char *end;
    double d = column->kind == KIND_FLOAT32 ? (double)strtof(text, &end) : strtod(text, &end);
    if (end == text || *end)
        return false;
    if (isnan(d))
        buf_puts(sql, "'NaN'");
    else if (isinf(d))
        buf_puts(sql, d > 0 ? "9e999" : "-9e999");
    else
        buf_printf(sql, "%.17e", d);
    return true;
}

/* \x0123ab */
static bool put_bytes(struct buf *sql, const char *text) {
    if (text[0] != '\\' || text[1] != 'x' || strspn(text + 2, "0123456789abcdef") != strlen(text + 2))
        return false;
    buf_printf(sql, "x'%s'", text + 2);
    return true;
}

/* 2024-01-02 03:04:05.5+00 stands as 2024-01-02T03:04:05.5Z. */
static bool put_zoned(struct buf *sql, const char *text) {
    size_t n = strlen(text);
    bool infinite = strcmp(text, "infinity") == 0 || strcmp(text, "-infinity") == 0;
    if (infinite)
        buf_printf(sql, "'%s'", text);
    if (infinite || n < 22 || text[10] != ' ' || strcmp(text + n - 3, "+00") != 0 ||
        strspn(text + 11, "0123456789:.") != n - 14 || strspn(text, "0123456789-") != 10)
        return infinite;
    buf_printf(sql, "'%.10sT%.*sZ'", text, (int)n - 14, text + 11);
    return true;
}

static bool put_default(struct buf *sql, const struct column *column) {
    struct form_type type = type_of(column);
    const char *declared = form_declared(&type), *text = column->missing;
    if (strcmp(declared, "INTEGER") == 0)
        return put_integer(sql, column, text);
    if (!*declared)
        return put_float(sql, column, text);
    if (strcmp(declared, "BLOB") == 0)
        return put_bytes(sql, text);
    if (column->kind == KIND_ZONED_TIMESTAMP)
        return put_zoned(sql, text);
    if (column->kind == KIND_JSON && strncmp(column->type, "json", 4) != 0)
        return false; /* hstore stands as JSON */
    put_text(sql, text);
    return true;
}

/* ---- altering ---- */

struct plan {
    struct lite_target *t;
    const struct table *table;
    const char *flat;
    const struct shape *shape;
    bool changed;
};

static bool evolves(const struct plan *p) {
    return p->t->options->schema_change == SCHEMA_EVOLVE;
}

static enum code alter(struct plan *p, struct buf *sql, struct err *err) {
    p->changed = true;
    log_info("sink/sqlite", "table altered", F_STR("table", p->flat), F_STR("by", buf_cstr(sql)));
    return db_script(&p->t->db, buf_cstr(sql), err);
}

/* "ALTER TABLE t ADD COLUMN c TEXT DEFAULT .." */
static enum code put_add(const struct plan *p, struct buf *sql, const struct column *column,
                         struct err *err) {
    buf_puts(sql, "ALTER TABLE ");
    lite_put_ident(sql, p->flat);
    buf_puts(sql, " ADD COLUMN ");
    put_column(sql, column);
    if (!column->missing)
        return OK;
    buf_puts(sql, " DEFAULT ");
    return put_default(sql, column)
               ? OK
               : err_set(err, REJECT, ERR_TARGET_VALUE,
                         "table %s, column %s: its default cannot be written here", p->flat, column->name);
}

static enum code add_column(struct plan *p, const struct column *column, struct err *err) {
    CLEANUP_BUF sql = {0};
    if (p->t->options->schema_change == SCHEMA_IGNORE && column->key == 0)
        return OK;
    enum code code = put_add(p, &sql, column, err);
    if (code != OK)
        return code;
    if (!evolves(p))
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "table %s: the replica lacks a column; run there: %.1500s", p->flat, buf_cstr(&sql));
    if (!column->missing && !column->nullable && !p->shape->empty)
        log_warn("sink/sqlite",
                 "a column was added to a table with rows: what the source filled into older rows without "
                 "changing them is "
                 "not known here; millrace capture --resnapshot brings it",
                 F_STR("table", p->flat));
    code = alter(p, &sql, err);
    return code == OK ? record(p->t, p->flat, column, err) : code;
}

/* "UPDATE t SET to = millrace_form(from)" */
static enum code convert(struct plan *p, const struct form *form, const char *to, const char *from,
                         struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "UPDATE ");
    lite_put_ident(&sql, p->flat);
    buf_puts(&sql, " SET ");
    lite_put_ident(&sql, to);
    buf_puts(&sql, " = millrace_form(");
    lite_put_ident(&sql, from);
    buf_puts(&sql, ")");
    int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
    int result = sqlite3_create_function(p->t->db.conn, "millrace_form", 1, flags, (void *)(uintptr_t)form,
                                         form_function, NULL, NULL);
    if (result != SQLITE_OK)
        return db_failed(&p->t->db, result, err);
    enum code code = alter(p, &sql, err);
    sqlite3_create_function(p->t->db.conn, "millrace_form", 1, flags, NULL, NULL, NULL, NULL);
    return code;
}

static enum code run_on(struct plan *p, const char *before, const char *name, const char *between,
                        const char *other, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "ALTER TABLE ");
    lite_put_ident(&sql, p->flat);
    buf_puts(&sql, before);
    lite_put_ident(&sql, name);
    buf_puts(&sql, between);
    if (other)
        lite_put_ident(&sql, other);
    return alter(p, &sql, err);
}

/* SQLite cannot declare a column otherwise: a new one takes its place, behind the others. */
static enum code replace_column(struct plan *p, const struct column *column, const struct form *form,
                                struct err *err) {
    char old_name[] = "millrace was";
    CLEANUP_BUF add = {0};
    enum code code = run_on(p, " RENAME COLUMN ", column->name, " TO ", old_name, err);
    if (code == OK)
        code = put_add(p, &add, column, err);
    if (code == OK)
        code = alter(p, &add, err);
    if (code == OK)
        code = convert(p, form, column->name, old_name, err);
    if (code == OK)
        code = run_on(p, " DROP COLUMN ", old_name, "", NULL, err);
    if (code == REJECT)
        err_prefix(
            err,
            "column %s of table %s cannot become %s while indexes, views or triggers use it; drop them first",
            column->name, p->flat, column->type);
    return code;
}

static enum code cannot_hold(const struct plan *p, const struct column *column, const char *was,
                             struct err *err) {
    return err_set(err, REJECT, ERR_TARGET_TABLE,
                   "table %s, column %s: it is for %.100s, which does not hold the source's %.100s%s; mend: "
                   "DROP TABLE %s in the "
                   "replica, then: millrace replay --sink %s",
                   p->flat, column->name, was, column->type,
                   evolves(p) ? ""
                              : " (with schema_change: evolve it is widened where that changes no value)",
                   p->flat, p->t->env.sink);
}

static enum code widen(struct plan *p, const struct column *column, const struct form_type *was,
                       struct err *err) {
    struct column old = {.name = column->name,
                         .type = was->type,
                         .kind = (enum kind)was->kind,
                         .scale = was->scale,
                         .length = -1};
    struct form_type now = type_of(column);
    struct form form;
    bool possible = evolves(p) && form_widens(was, column) && form_between(&old, &now, &form);
    bool stays = possible && strcmp(form_declared(was), form_declared(&now)) == 0;
    if (!possible || (!stays && column->key))
        return cannot_hold(p, column, was->type, err);
    enum code code = OK;
    if (!stays)
        code = replace_column(p, column, &form, err);
    else if (!form_same(&form))
        code = convert(p, &form, column->name, column->name, err);
    p->changed = true;
    return code == OK ? record(p->t, p->flat, column, err) : code;
}

static enum code fit_column(struct plan *p, const struct column *column, struct err *err) {
    const struct shape_column *have = lite_shape_column(p->shape, column->name);
    struct form_type type = type_of(column);
    struct form form;
    if (!have)
        return add_column(p, column, err);
    if (have->generated)
        return OK;
    if (have->made_for.type && form_kept_by(&have->made_for, have->declared))
        return form_between(column, &have->made_for, &form) ? OK : widen(p, column, &have->made_for, err);
    const char *right = form_declared(&type);
    if (!form_kept_by(&type, have->declared))
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "table %s, column %s: declared %s, SQLite would change what is written there; declare "
                       "it %s for the "
                       "source's %s",
                       p->flat, column->name, have->declared, *right ? right : "without a type",
                       column->type);
    p->changed = true;
    return record(p->t, p->flat, column, err);
}

/* Columns of the replica's own must not ask for a value. */
static enum code check_own(const struct plan *p, struct err *err) {
    for (int i = 0; i < p->shape->n_columns; i++) {
        const struct shape_column *have = &p->shape->columns[i];
        bool filled = !have->not_null || have->has_default || have->generated;
        bool taken = false;
        for (int c = 0; c < p->table->n_columns; c++)
            taken |= sqlite3_stricmp(p->table->columns[c].name, have->name) == 0;
        if (!filled && !taken)
            return err_set(err, REJECT, ERR_TARGET_TABLE,
                           "table %s: column %s is NOT NULL and the source does not fill it; give it a "
                           "DEFAULT, or drop it",
                           p->flat, have->name);
    }
    return OK;
}

/* Without it no row could be found: a unique index over exactly the source's key. */
static enum code fit_key(struct plan *p, struct err *err) {
    if (p->table->n_key == 0 || p->shape->key)
        return OK;
    CLEANUP_BUF sql = {0}, name = {0};
    buf_printf(&name, "millrace_key_%s", p->flat);
    buf_puts(&sql, "CREATE UNIQUE INDEX ");
    lite_put_ident(&sql, buf_cstr(&name));
    buf_puts(&sql, " ON ");
    lite_put_ident(&sql, p->flat);
    buf_putc(&sql, ' ');
    put_key(&sql, p->table);
    if (!evolves(p))
        return err_set(
            err, REJECT, ERR_TARGET_TABLE,
            "table %s of the replica has no unique index over the source's key; run there: %.1200s", p->flat,
            buf_cstr(&sql));
    return alter(p, &sql, err);
}

enum code lite_fit_alter(struct lite_target *t, const struct table *table, const char *flat,
                         const struct shape *shape, bool *changed, struct err *err) {
    struct plan p = {.t = t, .table = table, .flat = flat, .shape = shape};
    enum code code = OK;
    for (int i = 0; i < table->n_columns && code == OK; i++)
        code = fit_column(&p, &table->columns[i], err);
    if (code == OK)
        code = check_own(&p, err);
    if (code == OK)
        code = fit_key(&p, err);
    *changed = p.changed;
    t->altered |= p.changed;
    return code;
}
