/* The script that makes the installation, brings it up to date, or removes it. Where changes may be missing,
 * the table's rows are written into the change table once more, in the same transaction: a truncate, then all
 * rows. */
#include <ctype.h>
#include <stdio.h>

#include "capture/trigger/sqlite/sqlite.h"

struct plan {
    struct lstate state;
    struct lcatalog now, registry;
    struct buf *sql;
    int64_t shape; /* of the next table */
};

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS millrace_source (one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT "
    "NULL,\n"
    "    identity TEXT NOT NULL, confirmed INTEGER NOT NULL);\n"
    "CREATE TABLE IF NOT EXISTS millrace_shapes (shape INTEGER PRIMARY KEY, name TEXT NOT NULL, live INTEGER "
    "NOT NULL,\n"
    "    columns TEXT NOT NULL, added TEXT NOT NULL);\n"
    "CREATE TABLE IF NOT EXISTS millrace_changes (id INTEGER PRIMARY KEY, shape INTEGER NOT NULL, op TEXT "
    "NOT NULL,\n"
    "    at INTEGER NOT NULL, number INTEGER);\n"
    "INSERT OR IGNORE INTO millrace_source VALUES (1, 1, lower(hex(randomblob(16))), 0);\n";

static void put_tables(struct plan *p, const struct lsource_options *o) {
    int width = 0;
    for (int i = 0; i < p->now.n; i++)
        if (lsource_selects(o, p->now.tables[i]->name) && p->now.tables[i]->n_columns > width)
            width = p->now.tables[i]->n_columns;
    if (!p->state.installed)
        buf_puts(p->sql, tables);
    for (int i = p->state.width + 1; i <= 2 * width; i++)
        buf_printf(p->sql, "ALTER TABLE millrace_changes ADD COLUMN v%d;\n", i);
}

static void put_shape(struct plan *p, const struct ltable *t) {
    CLEANUP_BUF added = {0};
    put_ladded(&added, t);
    buf_puts(p->sql, "UPDATE millrace_shapes SET live = 0 WHERE name = ");
    put_ltext(p->sql, t->name);
    buf_printf(p->sql, ";\nINSERT INTO millrace_shapes VALUES (%lld, ", (long long)p->shape);
    put_ltext(p->sql, t->name);
    buf_puts(p->sql, ", 1, ");
    put_ltext(p->sql, t->shape_text);
    buf_puts(p->sql, ", ");
    put_ltext(p->sql, buf_cstr(&added));
    buf_puts(p->sql, ");\n");
}

static void put_triggers(struct plan *p, const struct ltable *t) {
    for (int i = 0; i < LTRIGGERS; i++) {
        size_t before = p->sql->len;
        put_ltrigger(p->sql, t, p->shape, (enum ltrigger)i);
        if (p->sql->len > before)
            buf_puts(p->sql, ";\n");
    }
}

static void put_drop(struct plan *p, int64_t shape) {
    for (int i = 0; i < LTRIGGERS; i++) {
        buf_puts(p->sql, "DROP TRIGGER IF EXISTS ");
        put_ltrigger_name(p->sql, shape, (enum ltrigger)i);
        buf_puts(p->sql, ";\n");
    }
}

/* ---- rows that are told anew ---- */

static void put_rows_head(struct plan *p, const struct ltable *t, int n, char op) {
    buf_puts(p->sql, "INSERT INTO millrace_changes (shape, op, at, number");
    put_lvalues(p->sql, 1, n);
    buf_printf(p->sql, ") SELECT %lld, '%c', %s, ", (long long)p->shape, op, lnow);
    put_lrowid(p->sql, t, "");
}

static void put_whole_table(struct plan *p, const struct ltable *t) {
    buf_printf(p->sql, "INSERT INTO millrace_changes (shape, op, at) VALUES (%lld, 't', %s);\n",
               (long long)p->shape, lnow);
    put_rows_head(p, t, t->n_columns, 'i');
    put_lcolumns(p->sql, t, "");
    buf_puts(p->sql, " FROM ");
    put_lident(p->sql, t->name);
    buf_puts(p->sql, ";\n");
}

static const char *missing_of(const struct lcolumn *column) {
    return column->missing ? column->fallback : "NULL";
}

/* An update of each row whose new columns have not what rows without them are taken to have. */
static void put_added_rows(struct plan *p, const struct ltable *t) {
    const char *word = " WHERE ";
    put_rows_head(p, t, 2 * t->n_columns, 'u');
    for (int i = 0; i < t->n_columns; i++) {
        buf_puts(p->sql, ", ");
        if (t->columns[i].added)
            buf_puts(p->sql, missing_of(&t->columns[i]));
        else
            put_lident(p->sql, t->columns[i].name);
    }
    put_lcolumns(p->sql, t, "");
    buf_puts(p->sql, " FROM ");
    put_lident(p->sql, t->name);
    for (int i = 0; i < t->n_columns; i++) {
        if (!t->columns[i].added)
            continue;
        buf_puts(p->sql, word);
        put_lident(p->sql, t->columns[i].name);
        buf_printf(p->sql, " COLLATE BINARY IS NOT %s", missing_of(&t->columns[i]));
        word = " OR ";
    }
    buf_puts(p->sql, ";\n");
}

/* ---- columns that were added ---- */

/* A default that is a plain number or text of the column's own kind, as the replica's text; others count as
 * NULL. */
static const char *plain_default(const struct lcolumn *column, struct arena *arena) {
    struct column kind;
    const char *text = column->fallback;
    lvalue_kind(column->declared, &kind);
    if (!text)
        return NULL;
    size_t len = strlen(text), digits = strspn(text + (*text == '-'), "0123456789");
    if (kind.kind == KIND_INT64 && digits && digits < 19 && digits + (*text == '-') == len)
        return text;
    bool quoted = len >= 2 && text[0] == '\'' && text[len - 1] == '\'' && !memchr(text + 1, '\'', len - 2);
    bool text_column = kind.kind == KIND_TEXT &&
                       (strcasestr(column->declared, "TEXT") || strcasestr(column->declared, "CHAR"));
    return quoted && text_column ? arena_strndup(arena, text + 1, len - 2) : NULL;
}

static void mark_added(struct plan *p, struct ltable *now, const struct ltable *registered) {
    for (int i = 0; i < now->n_columns; i++) {
        struct lcolumn *column = &now->columns[i];
        if (i < registered->n_columns) { /* what was added before stays so */
            column->added = registered->columns[i].added;
            column->missing = registered->columns[i].missing;
            continue;
        }
        column->added = true;
        column->missing = plain_default(column, &p->now.arena);
    }
}

/* Columns that were added before are in the rows by now. */
static void put_added(struct plan *p, struct ltable *t, const struct ltable *registered) {
    mark_added(p, t, registered);
    put_shape(p, t);
    put_triggers(p, t);
    for (int i = 0; i < registered->n_columns; i++)
        t->columns[i].added = false;
    put_added_rows(p, t);
}

/* ---- the script ---- */

static bool has_column(const struct ltable *t, const char *name) {
    for (int i = 0; i < t->n_columns; i++)
        if (strcasecmp(t->columns[i].name, name) == 0)
            return true;
    return false;
}

/* A replica that has the table already gets its new columns before their values. */
static void put_new(struct plan *p, struct ltable *t, const struct ltable *registered) {
    for (int i = 0; registered && i < t->n_columns; i++)
        t->columns[i].added = !has_column(registered, t->columns[i].name);
    put_shape(p, t);
    put_triggers(p, t);
    if (p->state.installed) /* otherwise the snapshot is to come */
        put_whole_table(p, t);
}

static enum code put_table(struct plan *p, struct lfile *f, struct ltable *t, struct err *err) {
    CLEANUP_BUF why = {0};
    const struct ltable *registered = lcatalog_find(&p->registry, t->name);
    enum lfit fit = LFIT_BROKEN;
    enum code code = OK;
    if (t->refused)
        return err_set(
            err, FATAL, ERR_SOURCE_TABLE,
            "table main.%s: %s; mend that, or leave the table out: tables: [\"main.*\", \"!main.%s\"]",
            t->name, t->refused, t->name);
    if (registered)
        code = lfit_look(f, registered, t, &fit, &why, err);
    if (code != OK || fit == LFIT_WHOLE)
        return code;
    buf_puts(p->sql, "-- table ");
    for (const char *c = t->name; *c; c++)
        buf_putc(p->sql, isprint((unsigned char)*c) ? *c : '?');
    buf_puts(p->sql, "\n");
    if (registered)
        put_drop(p, registered->shape);
    p->shape = p->state.next_shape++;
    if (fit == LFIT_ADDED)
        put_added(p, t, registered);
    else
        put_new(p, t, registered);
    return OK;
}

/* Tables that are gone, or no longer selected: their triggers go, too. */
static void put_gone(struct plan *p, const struct lsource_options *o) {
    for (int i = 0; i < p->registry.n; i++) {
        const struct ltable *t = p->registry.tables[i];
        if (!t->live || (lcatalog_find(&p->now, t->name) && lsource_selects(o, t->name)))
            continue;
        put_drop(p, t->shape);
        buf_printf(p->sql, "UPDATE millrace_shapes SET live = 0 WHERE shape = %lld;\n", (long long)t->shape);
    }
}

static enum code put_install(struct plan *p, struct lfile *f, const struct lsource_options *o,
                             struct err *err) {
    CLEANUP_BUF all = {0};
    struct buf *sql = p->sql;
    enum code code = OK;
    int selected = 0;
    p->sql = &all;
    put_gone(p, o);
    for (int i = 0; code == OK && i < p->now.n; i++)
        if (lsource_selects(o, p->now.tables[i]->name)) {
            selected++;
            code = put_table(p, f, p->now.tables[i], err);
        }
    p->sql = sql;
    if (code == OK && !selected)
        return err_set(err, FATAL, ERR_SOURCE_TABLE, "%s has no table that `tables` selects", o->path);
    if (code != OK || !all.len)
        return code;
    buf_puts(sql, "BEGIN IMMEDIATE;\n");
    put_tables(p, o);
    buf_put_slice(sql, buf_slice(&all));
    buf_puts(sql,
             "-- the newest trigger: one of ours that is newer was not made here\n"
             "DROP TRIGGER IF EXISTS millrace_end;\n"
             "CREATE TRIGGER millrace_end AFTER DELETE ON millrace_source BEGIN SELECT 1; END;\nCOMMIT;\n");
    return OK;
}

static enum code put_uninstall(struct lfile *f, struct buf *sql, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    enum code code =
        lfile_prepare(f,
                      "SELECT type, name FROM sqlite_schema WHERE name GLOB 'millrace_[0-9]*_*' AND "
                      "type = 'trigger' OR name IN ('millrace_source', 'millrace_shapes', "
                      "'millrace_changes') AND type = 'table' ORDER BY type DESC, name",
                      &stmt, err);
    size_t before = sql->len;
    for (bool row = true; code == OK && (code = lfile_step(f, stmt, &row, err)) == OK && row;) {
        if (sql->len == before)
            buf_puts(sql, "BEGIN IMMEDIATE;\n");
        buf_printf(sql, "DROP %s IF EXISTS ",
                   strcmp(lfile_text(stmt, 0), "table") == 0 ? "TABLE" : "TRIGGER");
        put_lident(sql, lfile_text(stmt, 1));
        buf_puts(sql, ";\n");
    }
    if (sql->len > before)
        buf_puts(sql, "COMMIT;\n");
    return code;
}

enum code lsource_script(struct feed *feed, enum feed_script what, struct buf *sql, struct err *err) {
    struct lsource *s = lself(feed);
    struct plan plan = {.sql = sql};
    enum code code = lfile_run(&s->file, "BEGIN", err);
    if (code == OK && what == FEED_UNINSTALL)
        code = put_uninstall(&s->file, sql, err);
    else if (code == OK) {
        code = lstate_read(&s->file, &plan.state, err);
        if (code == OK && !plan.state.installed)
            plan.state.next_shape = 1;
        if (code == OK)
            code = lcatalog_read(&s->file, &plan.now, err);
        if (code == OK && plan.state.installed)
            code = lregistry_read(&s->file, &plan.registry, err);
        if (code == OK)
            code = put_install(&plan, &s->file, s->options, err);
    }
    lfile_rollback(&s->file);
    lcatalog_free(&plan.now);
    lcatalog_free(&plan.registry);
    return code == AGAIN ? (err->code = RETRY) : code;
}

enum code lsource_run(struct feed *feed, const char *sql, struct err *err) {
    struct lsource *s = lself(feed);
    enum code code = lfile_run(&s->file, sql, err);
    return code == AGAIN ? (err->code = RETRY) : code;
}
