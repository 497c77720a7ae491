/* The script that makes an installation what the options say.
 *
 * MariaDB commits at every CREATE, so nothing here is one transaction; the order makes a script that ended
 * half-way harmless: a new identity is given before triggers are mended, a table's new number is written down
 * before triggers bear it, and it comes in force last. Until then look.c finds triggers that are not the
 * registered ones.
 *
 * What was not captured is made up for where that is possible, under a lock against writers: a new table's
 * rows are appended as created, rows of a table with new columns as updated. Otherwise the installation gets
 * a new identity, and a capture asks for a new snapshot. */
#include <inttypes.h>
#include <stdio.h>

#include "capture/trigger/mariadb/mariadb.h"

static const char doing[] = "looking at the installation";

struct plan {
    const struct maria_options *options;
    struct maria_catalog server, registry;
    bool first;      /* there is nothing yet */
    bool renewed;    /* the identity was made anew */
    uint32_t number; /* greatest one given */
    struct buf *sql;
};

static void put_ours(struct plan *p, const char *table) {
    maria_put_table(p->sql, p->options->database, table);
}

/* ---- change table and registry ---- */

static const struct {
    const char *name, *columns;
} home[] = {
    {"changes", "id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, tbl INT UNSIGNED NOT NULL,"
                " op CHAR(1) CHARACTER SET ascii NOT NULL, old LONGBLOB, new LONGBLOB,"
                " at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6)"},
    {"cuts", "cut BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, whole BOOL NOT NULL, ids LONGTEXT "
             "CHARACTER SET ascii NOT NULL"},
    {"tables",
     "number INT UNSIGNED NOT NULL PRIMARY KEY, slot INT UNSIGNED NOT NULL, table_schema VARCHAR(64) NOT "
     "NULL,"
     " table_name VARCHAR(64) NOT NULL, live BOOL NOT NULL, made TEXT NOT NULL, incarnation TEXT NOT NULL"},
    {"columns",
     "number INT UNSIGNED NOT NULL, place INT NOT NULL, name VARCHAR(64) NOT NULL, type LONGTEXT NOT NULL,"
     " data VARCHAR(64) NOT NULL, charset VARCHAR(64) NOT NULL, numeric_digits INT NOT NULL, scale INT NOT "
     "NULL, fraction INT NOT NULL,"
     " nullable BOOL NOT NULL, key_place INT NOT NULL, PRIMARY KEY (number, place)"},
    {"source",
     "format INT NOT NULL PRIMARY KEY, installation CHAR(36) NOT NULL, low BIGINT UNSIGNED NOT NULL,"
     " deleted BIGINT UNSIGNED NOT NULL, changes TEXT NOT NULL"},
};
enum { HOME_TABLES = sizeof home / sizeof *home };

void maria_put_home(struct buf *sql, const struct maria_options *o) {
    buf_puts(sql, "CREATE DATABASE IF NOT EXISTS ");
    maria_put_name(sql, o->database);
    buf_puts(sql, " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n");
    for (int i = 0; i < HOME_TABLES; i++) {
        buf_puts(sql, "CREATE TABLE IF NOT EXISTS ");
        maria_put_table(sql, o->database, home[i].name);
        buf_printf(sql, " (%s) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;\n", home[i].columns);
    }
    buf_puts(sql, "INSERT INTO ");
    maria_put_table(sql, o->database, "source");
    buf_printf(sql, " SELECT %d, UUID(), 0, 0, ", REGISTRY_FORMAT);
    maria_put_incarnation(sql, o->database, "changes");
    buf_puts(sql, " FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM ");
    maria_put_table(sql, o->database, "source");
    buf_puts(sql, ");\n");
}

enum code maria_installed(MYSQL *db, const struct maria_options *o, bool *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    uint64_t n;
    buf_puts(&sql, "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_NAME IN ('changes', 'cuts', "
                   "'tables', 'columns', 'source') AND TABLE_SCHEMA = ");
    maria_put_string(&sql, o->database);
    enum code code = maria_number(db, doing, buf_cstr(&sql), &n, err);
    *ret = n == HOME_TABLES;
    return code;
}

static void renew(struct plan *p, const char *why) {
    if (p->first || p->renewed)
        return;
    p->renewed = true;
    buf_printf(p->sql, "-- %s: changes may have been missed, a new snapshot will be needed.\nDELETE FROM ",
               why);
    put_ours(p, "cuts");
    buf_puts(p->sql, ";\nUPDATE ");
    put_ours(p, "source");
    buf_puts(p->sql, " SET installation = UUID(), low = 0, deleted = 0, changes = ");
    maria_put_incarnation(p->sql, p->options->database, "changes");
    buf_puts(p->sql, ";\n");
}

/* ---- triggers ---- */

static void put_triggers(struct plan *p, const struct maria_table *t) {
    static const char events[] = "iud";
    static const char *const names[] = {"INSERT", "UPDATE", "DELETE"};
    for (int i = 0; events[i]; i++) {
        char name[MARIA_NAME_MAX];
        maria_trigger_name(p->options, t, events[i], name);
        buf_puts(p->sql, "CREATE OR REPLACE TRIGGER ");
        maria_put_table(p->sql, t->schema, name);
        buf_printf(p->sql, " AFTER %s ON ", names[i]);
        maria_put_table(p->sql, t->schema, t->name);
        buf_puts(p->sql, " FOR EACH ROW ");
        maria_put_trigger_body(p->sql, p->options, t, events[i]);
        buf_puts(p->sql, ";\n");
    }
}

static void put_where_table(struct plan *p, const struct maria_table *t) {
    buf_puts(p->sql, " WHERE table_schema = ");
    maria_put_string(p->sql, t->schema);
    buf_puts(p->sql, " AND table_name = ");
    maria_put_string(p->sql, t->name);
}

static void put_retire(struct plan *p, const struct maria_table *t, uint32_t but) {
    buf_puts(p->sql, "UPDATE ");
    put_ours(p, "tables");
    buf_puts(p->sql, " SET live = 0");
    put_where_table(p, t);
    buf_printf(p->sql, " AND number <> %u;\n", but);
}

static void put_in_force(struct plan *p, const struct maria_table *t) {
    put_retire(p, t, t->number);
    buf_puts(p->sql, "UPDATE ");
    put_ours(p, "tables");
    buf_puts(p->sql, " SET live = 1, made = ");
    maria_put_made(p->sql, p->options, t);
    buf_puts(p->sql, ", incarnation = ");
    maria_put_incarnation(p->sql, t->schema, t->name);
    buf_printf(p->sql, " WHERE number = %u;\n", t->number);
}

static void put_registered(struct plan *p, const struct maria_table *t) {
    buf_puts(p->sql, "INSERT INTO ");
    put_ours(p, "tables");
    buf_printf(p->sql, " VALUES (%u, %u, ", t->number, t->slot);
    maria_put_string(p->sql, t->schema);
    buf_puts(p->sql, ", ");
    maria_put_string(p->sql, t->name);
    buf_puts(p->sql, ", 0, '', '');\nINSERT INTO ");
    put_ours(p, "columns");
    buf_puts(p->sql, " VALUES ");
    for (int i = 0; i < t->n_columns; i++) {
        const struct maria_column *c = &t->columns[i];
        const char *texts[] = {c->name, c->type, c->data, c->charset};
        buf_printf(p->sql, "%s(%u, %d", i ? ", " : "", t->number, i + 1);
        for (int k = 0; k < 4; k++) {
            buf_puts(p->sql, ", ");
            maria_put_string(p->sql, texts[k]);
        }
        buf_printf(p->sql, ", %d, %d, %d, %d, %d)", c->precision, c->scale, c->fraction, c->nullable, c->key);
    }
    buf_puts(p->sql, ";\n");
}

/* ---- what was not captured ---- */

static const struct maria_column *column_named(const struct maria_table *t, const char *name) {
    for (int i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

/* " WHERE a IS NOT NULL OR ..." of the columns that `old` has not; false: there is none. */
static bool put_new_columns(struct buf *sql, const struct maria_table *t, const struct maria_table *old) {
    bool any = false;
    for (int i = 0; i < t->n_columns; i++) {
        if (column_named(old, t->columns[i].name))
            continue;
        buf_puts(sql, any ? " OR " : " WHERE ");
        maria_put_name(sql, t->columns[i].name);
        buf_puts(sql, " IS NOT NULL");
        any = true;
    }
    return any;
}

/* The columns that both have stand in the same order and make the same key: no name can have changed its
 * meaning. */
static bool same_columns_but_some(const struct maria_table *t, const struct maria_table *old) {
    const struct maria_column *last = NULL;
    for (int i = 0; i < t->n_columns; i++) {
        const struct maria_column *was = column_named(old, t->columns[i].name);
        if (!was && t->columns[i].key)
            return false;
        if (!was)
            continue;
        if (was->key != t->columns[i].key || (last && was < last))
            return false;
        last = was;
    }
    return t->table.n_key == old->table.n_key;
}

/* Triggers are replaced and rows appended while nobody else writes. */
static void put_triggers_and_rows(struct plan *p, const struct maria_table *t, const struct maria_table *old,
                                  struct buf *where) {
    buf_puts(p->sql, "LOCK TABLES ");
    maria_put_table(p->sql, t->schema, t->name);
    buf_puts(p->sql, " WRITE, ");
    put_ours(p, "changes");
    buf_puts(p->sql, " WRITE;\n");
    put_triggers(p, t);
    buf_puts(p->sql, "INSERT INTO ");
    put_ours(p, "changes");
    buf_printf(p->sql, " (tbl, op, old, new) SELECT %u, '%c', ", t->number, old ? OP_UPDATE : OP_CREATE);
    if (old)
        maria_put_row(p->sql, t->columns, t->n_columns, "");
    else
        buf_puts(p->sql, "NULL");
    buf_puts(p->sql, ", ");
    maria_put_row(p->sql, t->columns, t->n_columns, "");
    buf_puts(p->sql, " FROM ");
    maria_put_table(p->sql, t->schema, t->name);
    buf_put_slice(p->sql, buf_slice(where));
    buf_puts(p->sql, ";\nUNLOCK TABLES;\n");
}

/* ---- tables ---- */

static void put_heading(struct plan *p, const struct maria_table *t, const char *what) {
    buf_printf(p->sql, "\n-- %s.%s: %s\n", t->schema, t->name, what);
}

static bool was_known(const struct plan *p, const struct maria_table *t) {
    for (int i = 0; i < p->registry.n; i++)
        if (strcmp(p->registry.tables[i].name, t->name) == 0 &&
            strcmp(p->registry.tables[i].schema, t->schema) == 0)
            return true;
    return false;
}

static void plan_new(struct plan *p, struct maria_table *t) {
    CLEANUP_BUF where = {0};
    bool append = !p->first && !p->renewed && !was_known(p, t);
    t->number = t->slot = ++p->number;
    put_heading(p, t, append ? "captured from now on, its rows appended as created" : "captured from now on");
    if (!append)
        renew(p, "the table was captured before, and then was not");
    put_registered(p, t);
    if (append)
        put_triggers_and_rows(p, t, NULL, &where);
    else
        put_triggers(p, t);
    put_in_force(p, t);
}

static void plan_changed(struct plan *p, struct maria_table *t, const struct maria_table *old) {
    CLEANUP_BUF where = {0};
    bool exact = strcmp(old->made, old->made_now) == 0 &&
                 strcmp(old->incarnation, old->incarnation_now) == 0 && same_columns_but_some(t, old);
    t->number = ++p->number;
    t->slot = old->slot;
    bool append = exact && !p->renewed && put_new_columns(&where, t, old);
    put_heading(p, t,
                append ? "has new columns; rows that have a value in them are appended as updated"
                       : "has other columns");
    if (!exact)
        renew(p, "its triggers or its rows were changed as well");
    put_registered(p, t);
    if (append)
        put_triggers_and_rows(p, t, old, &where);
    else
        put_triggers(p, t);
    put_in_force(p, t);
}

static void plan_table(struct plan *p, struct maria_table *t) {
    const struct maria_table *old = maria_catalog_find(&p->registry, t->schema, t->name);
    if (!old) {
        plan_new(p, t);
        return;
    }
    if (!maria_same_shape(t, old)) {
        plan_changed(p, t, old);
        return;
    }
    if (strcmp(old->made, old->made_now) == 0)
        return;
    put_heading(p, t, "its triggers are made anew");
    renew(p, "triggers were dropped or changed");
    t->number = old->number;
    t->slot = old->slot;
    put_triggers(p, t);
    put_in_force(p, t);
}

static void plan_gone(struct plan *p) {
    for (int i = 0; i < p->registry.n; i++) {
        const struct maria_table *t = &p->registry.tables[i];
        if (!t->live || maria_catalog_find(&p->server, t->schema, t->name))
            continue;
        put_heading(p, t, "captured no more");
        put_retire(p, t, 0);
    }
}

static bool is_of(const struct plan *p, const struct maria_table *t, const char *trigger) {
    for (const char *event = "iud"; *event; event++) {
        char name[MARIA_NAME_MAX];
        maria_trigger_name(p->options, t, *event, name);
        if (strcmp(name, trigger) == 0)
            return true;
    }
    return false;
}

/* Triggers of ours that no table in force has: of renamed or deselected tables, and of scripts that ended
 * half-way. */
static enum code plan_strays(struct plan *p, MYSQL *db, bool all, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_BUF like = {0};
    CLEANUP_ROWS *rows = NULL;
    buf_puts(&like, "INSERT INTO ");
    maria_put_table(&like, p->options->database, "changes");
    buf_puts(&sql, "SELECT TRIGGER_SCHEMA, TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS "
                   "WHERE LEFT(ACTION_STATEMENT, ");
    buf_printf(&sql, "%zu) = ", like.len);
    maria_put_string(&sql, buf_cstr(&like));
    enum code code = maria_query(db, doing, buf_cstr(&sql), &rows, err);
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        const struct maria_table *t = maria_catalog_find(&p->registry, row[0], row[2]);
        const struct maria_table *there = maria_catalog_find(&p->server, row[0], row[2]);
        if (!all && t && there && is_of(p, t, row[1]))
            continue;
        buf_puts(p->sql, "DROP TRIGGER IF EXISTS ");
        maria_put_table(p->sql, row[0], row[1]);
        buf_puts(p->sql, ";\n");
    }
    return code;
}

/* ---- the script ---- */

static void plan_free(struct plan *p) {
    maria_catalog_free(&p->server);
    maria_catalog_free(&p->registry);
}

static enum code plan_begin(struct plan *p, struct maria_feed *f, struct err *err) {
    bool installed;
    enum code code = maria_installed(f->control, p->options, &installed, err);
    p->first = !installed;
    if (code == OK)
        code = maria_catalog_server(f->control, p->options, &p->server, err);
    if (code == OK && installed)
        code = maria_catalog_registry(f->control, p->options, &p->registry, err);
    if (code == OK && installed)
        code = maria_catalog_marks(f->control, p->options, &p->registry, err);
    for (int i = 0; i < p->registry.n; i++)
        if (p->registry.tables[i].number > p->number)
            p->number = p->registry.tables[i].number;
    return code;
}

static enum code refuse(const struct plan *p, struct err *err) {
    if (!p->server.n)
        return err_set(err, FATAL, ERR_SOURCE_TABLE,
                       "no table of the source is taken by `tables` (or by the database in `url`), or the "
                       "account has no right on any");
    for (int i = 0; i < p->server.n; i++) {
        CLEANUP_BUF why = {0};
        enum err_id id = maria_refused(&p->server.tables[i], &why);
        if (id != ERR_NONE)
            return err_set(err, FATAL, id, "%s, or exclude the table: tables: [..., \"!%s.%s\"]",
                           buf_cstr(&why), p->server.tables[i].schema, p->server.tables[i].name);
    }
    return OK;
}

/* The account that reads may be another one than the one that installs. */
static enum code put_preface(struct plan *p, MYSQL *db, struct err *err) {
    CLEANUP_ROWS *rows = NULL;
    enum code code = maria_query(db, doing,
                                 "SELECT CONCAT(QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', 1)), '@', "
                                 "QUOTE(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)))",
                                 &rows, err);
    MYSQL_ROW row = code == OK ? mysql_fetch_row(rows) : NULL;
    if (!row)
        return code;
    buf_puts(p->sql,
             "-- Triggers run with the rights of the account that runs this script: keep that account.\n"
             "-- What the account that captures needs:\n");
    buf_printf(p->sql, "--   GRANT PROCESS ON *.* TO %s;\n--   GRANT SELECT, INSERT, UPDATE, DELETE ON ",
               row[0]);
    maria_put_name(p->sql, p->options->database);
    buf_printf(p->sql, ".* TO %s;\n", row[0]);
    for (int i = 0; i < p->server.n; i++) {
        buf_puts(p->sql, "--   GRANT SELECT, TRIGGER ON ");
        maria_put_table(p->sql, p->server.tables[i].schema, p->server.tables[i].name);
        buf_printf(p->sql, " TO %s;\n", row[0]);
    }
    buf_puts(p->sql, maria_session_sql);
    buf_puts(p->sql, ";\n");
    return code;
}

static enum code changes_replaced(struct plan *p, MYSQL *db, bool *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    uint64_t same = 1;
    buf_puts(&sql, "SELECT changes = ");
    maria_put_incarnation(&sql, p->options->database, "changes");
    buf_puts(&sql, " FROM ");
    maria_put_table(&sql, p->options->database, "source");
    enum code code = p->first ? OK : maria_number(db, doing, buf_cstr(&sql), &same, err);
    *ret = !same;
    return code;
}

static enum code put_install(struct plan *p, MYSQL *db, struct err *err) {
    bool replaced = false;
    enum code code = refuse(p, err);
    if (code == OK)
        code = put_preface(p, db, err);
    if (code == OK)
        code = changes_replaced(p, db, &replaced, err);
    if (code)
        return code;
    maria_put_home(p->sql, p->options);
    if (replaced)
        renew(p, "the change table was emptied, altered or made anew by somebody else");
    plan_gone(p);
    code = plan_strays(p, db, false, err);
    for (int i = 0; code == OK && i < p->server.n; i++)
        plan_table(p, &p->server.tables[i]);
    return code;
}

/* The database goes, too, if it holds nothing else. */
static enum code put_uninstall(struct plan *p, MYSQL *db, struct err *err) {
    CLEANUP_BUF sql = {0};
    uint64_t n;
    enum code code = plan_strays(p, db, true, err);
    buf_puts(&sql, "SELECT count(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = ");
    maria_put_string(&sql, p->options->database);
    if (code == OK)
        code = maria_number(db, doing, buf_cstr(&sql), &n, err);
    if (code || p->first)
        return code;
    if (n == HOME_TABLES) {
        buf_puts(p->sql, "DROP DATABASE ");
        maria_put_name(p->sql, p->options->database);
        buf_puts(p->sql, ";\n");
    }
    for (int i = 0; n != HOME_TABLES && i < HOME_TABLES; i++) {
        buf_puts(p->sql, "DROP TABLE ");
        put_ours(p, home[i].name);
        buf_puts(p->sql, ";\n");
    }
    return OK;
}

enum code maria_script(struct feed *feed, enum feed_script what, struct buf *sql, struct err *err) {
    struct maria_feed *f = maria_self(feed);
    struct plan p = {.options = f->options, .sql = sql};
    enum code code = plan_begin(&p, f, err);
    if (code == OK)
        code = what == FEED_INSTALL ? put_install(&p, f->control, err) : put_uninstall(&p, f->control, err);
    plan_free(&p);
    return code;
}

/* What one statement of several left behind. */
static enum code end_statement(MYSQL *db, struct err *err) {
    mysql_free_result(mysql_store_result(db));
    return mysql_errno(db) ? maria_error(db, "installing", err) : OK;
}

static enum code run_in(MYSQL *db, const char *sql, struct err *err) {
    if (mysql_set_server_option(db, MYSQL_OPTION_MULTI_STATEMENTS_ON) != 0 ||
        mysql_real_query(db, sql, strlen(sql)) != 0)
        return maria_error(db, "installing", err);
    enum code code = end_statement(db, err);
    while (code == OK && mysql_more_results(db))
        code = mysql_next_result(db) > 0 ? maria_error(db, "installing", err) : end_statement(db, err);
    return code;
}

enum code maria_run(struct feed *feed, const char *sql, struct err *err) {
    MYSQL *db = NULL;
    enum code code = maria_connect(maria_self(feed)->options, MARIA_PATIENT, &db, err);
    if (code == OK)
        code = run_in(db, sql, err);
    if (db)
        mysql_close(db);
    return code;
}
