/* Rows that should have been there (F106 of the failure catalogue: zero rows affected is not success), and
 * other news about single rows. */
#include "base/log.h"
#include "sink/postgres/postgres.h"

enum code missing_rows(struct pg_target *t, struct replica *r, const struct missing *missing,
                       struct err *err) {
    if (missing->n == 0 || (missing->filtered && missing->full))
        return OK;
    if (!missing->filtered)
        metric_add(t->missing, (double)missing->n);
    if (!missing->full && missing->filtered)
        return err_set(err, REJECT, ERR_TARGET_DIVERGED,
                       "table %s: row %.300s is not in the replica, and the change does not carry all its "
                       "columns, which a row "
                       "that comes into the sink's filter must; set REPLICA IDENTITY FULL on the source "
                       "table, then: millrace "
                       "capture --resnapshot",
                       r->label, missing->key);
    if (!missing->full)
        return err_set(err, REJECT, ERR_TARGET_DIVERGED,
                       "table %s: row %.300s is not in the replica, and the change does not carry all its "
                       "columns; build it "
                       "anew: millrace replay --sink %s",
                       r->label, missing->key, t->env.sink);
    if (t->options->on_missing == MISSING_STOP)
        return err_set(
            err, REJECT, ERR_TARGET_DIVERGED,
            "table %s: row %.300s is not in the replica; build it anew (millrace replay --sink %s) or set "
            "on_missing: insert",
            r->label, missing->key, t->env.sink);
    if (r->missing == 0)
        log_warn("sink/postgres", "rows to change were not in the replica", F_STR("table", r->label),
                 F_INT("rows", missing->n));
    r->missing += missing->n;
    return OK;
}

void missing_key(const struct replica *r, const struct value *values, struct buf *ret) {
    buf_putc(ret, '(');
    for (int k = 0; k < r->table->n_key; k++) {
        int i = r->table->key[k];
        if (k)
            buf_putc(ret, ',');
        bool printed = values[i].tag != VALUE_ABSENT && values[i].tag != VALUE_NULL;
        if (printed && r->columns[i].print(&r->table->columns[i], &values[i], ret))
            buf_puts(ret, "?");
    }
    buf_putc(ret, ')');
}

enum code value_refused(const struct replica *r, int i, const struct value *values, const char *reason,
                        struct err *err) {
    CLEANUP_BUF key = {0};
    missing_key(r, values, &key);
    return err_set(err, REJECT, ERR_TARGET_VALUE, "table %s, row %.300s, column %s (%s): %s", r->label,
                   buf_cstr(&key), r->table->columns[i].name, r->columns[i].type, reason);
}
