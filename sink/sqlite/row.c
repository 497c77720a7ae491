/* One row on its way to a statement, and what is to be said of single rows. */
#include "base/log.h"
#include "sink/sqlite/sqlite.h"

/* "(1,abc)": a row's key for people. */
static void put_key_values(const struct replica *r, const struct value *row, struct buf *ret) {
    buf_putc(ret, '(');
    for (int k = 0; k < r->table->n_key; k++) {
        int i = r->table->key[k];
        const struct column *column = &r->table->columns[i];
        if (k)
            buf_putc(ret, ',');
        bool printed = row[i].tag != VALUE_ABSENT && row[i].tag != VALUE_NULL;
        if (printed && pg_printer(column, column->type)(column, &row[i], ret))
            buf_puts(ret, "?");
    }
    buf_putc(ret, ')');
}

enum code lite_value_refused(const struct replica *r, int i, const struct value *row, const char *reason,
                             struct err *err) {
    CLEANUP_BUF key = {0};
    put_key_values(r, row, &key);
    return err_set(err, REJECT, ERR_TARGET_VALUE, "table %s, row %.300s, column %s (%s): %s", r->flat,
                   buf_cstr(&key), r->table->columns[i].name, r->table->columns[i].type, reason);
}

enum code row_bind(struct lite_target *t, const struct replica *r, const struct value *row, int i,
                   sqlite3_stmt *stmt, int n, struct err *err) {
    if (row[i].tag == VALUE_ABSENT)
        return lite_value_refused(r, i, row, "a row to be inserted lacks this column", err);
    if (row[i].tag == VALUE_NULL && r->columns[i].key) /* an INTEGER PRIMARY KEY would make a number up */
        return lite_value_refused(r, i, row, "a key must not be NULL", err);
    const char *reason = form_bind(&r->columns[i].form, &row[i], &t->scratch, stmt, n);
    return reason ? lite_value_refused(r, i, row, reason, err) : OK;
}

enum code row_bind_all(struct lite_target *t, const struct replica *r, const struct value *row, bool keys,
                       sqlite3_stmt *stmt, int *n, struct err *err) {
    enum code code = OK;
    for (int i = 0; i < r->table->n_columns && code == OK; i++)
        if (!r->columns[i].skip && (keys || !r->columns[i].key))
            code = row_bind(t, r, row, i, stmt, (*n)++, err);
    return code;
}

enum code row_bind_key(struct lite_target *t, const struct replica *r, const struct value *row,
                       sqlite3_stmt *stmt, int n, struct err *err) {
    enum code code = OK;
    for (int k = 0; k < r->table->n_key && code == OK; k++)
        code = row_bind(t, r, row, r->table->key[k], stmt, n + k, err);
    return code;
}

enum code row_missing(struct lite_target *t, struct replica *r, const struct value *row, bool full,
                      bool filtered, struct err *err) {
    if (filtered && full)
        return OK;
    if (!filtered)
        metric_add(t->missing, 1);
    CLEANUP_BUF key = {0};
    put_key_values(r, row, &key);
    if (!full && filtered)
        return err_set(err, REJECT, ERR_TARGET_DIVERGED,
                       "table %s: row %.300s is not in the replica, and the change does not carry all its "
                       "columns, which a row "
                       "that comes into the sink's filter must; set REPLICA IDENTITY FULL on the source "
                       "table, then: millrace "
                       "capture --resnapshot",
                       r->flat, buf_cstr(&key));
    if (!full)
        return err_set(err, REJECT, ERR_TARGET_DIVERGED,
                       "table %s: row %.300s is not in the replica, and the change does not carry all its "
                       "columns; build it "
                       "anew: millrace replay --sink %s",
                       r->flat, buf_cstr(&key), t->env.sink);
    if (t->options->on_missing == MISSING_STOP)
        return err_set(
            err, REJECT, ERR_TARGET_DIVERGED,
            "table %s: row %.300s is not in the replica; build it anew (millrace replay --sink %s) or set "
            "on_missing: insert",
            r->flat, buf_cstr(&key), t->env.sink);
    if (r->missing++ == 0)
        log_warn("sink/sqlite", "rows to change were not in the replica", F_STR("table", r->flat));
    return OK;
}

/* ---- SQL ---- */

void lite_put_written(struct buf *sql, const struct replica *r) {
    const char *comma = "";
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip)
            continue;
        buf_printf(sql, "%s%s", comma, r->columns[i].name);
        comma = ", ";
    }
}

void lite_put_marks(struct buf *sql, int n) {
    for (int i = 1; i <= n; i++)
        buf_printf(sql, "%s?%d", i > 1 ? ", " : "", i);
}

void lite_put_key_is(struct buf *sql, const struct replica *r, int n) {
    for (int k = 0; k < r->table->n_key; k++)
        buf_printf(sql, "%s%s = ?%d", k ? " AND " : "", r->columns[r->table->key[k]].name, n + k);
}
