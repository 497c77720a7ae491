/* Row by row, each by a statement that is compiled once: there is no round trip to save, and SQLite has no
 * quicker way.
 *
 * OR ABORT: a constraint that somebody declared with ON CONFLICT IGNORE or REPLACE would drop rows without a
 * word. */
#include <assert.h>

#include "sink/sqlite/sqlite.h"

/* ---- statements ---- */

static enum code keep(struct lite_target *t, struct buf *sql, sqlite3_stmt **stmt, struct err *err) {
    return db_keep(&t->db, buf_cstr(sql), stmt, err);
}

static enum code prepare_insert(struct lite_target *t, struct replica *r, struct err *err) {
    if (r->insert)
        return OK;
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "INSERT OR ABORT INTO %s (", r->name);
    lite_put_written(&sql, r);
    buf_puts(&sql, ") VALUES (");
    lite_put_marks(&sql, r->n_written);
    buf_puts(&sql, ") ON CONFLICT (");
    for (int k = 0; k < r->table->n_key; k++)
        buf_printf(&sql, "%s%s", k ? ", " : "", r->columns[r->table->key[k]].name);
    buf_puts(&sql, r->n_set ? ") DO UPDATE SET " : ") DO NOTHING");
    const char *comma = "";
    for (int i = 0; i < r->table->n_columns; i++) {
        if (!r->columns[i].can_set)
            continue;
        buf_printf(&sql, "%s%s = excluded.%s", comma, r->columns[i].name, r->columns[i].name);
        comma = ", ";
    }
    return keep(t, &sql, &r->insert, err);
}

/* `row` NULL: all columns; otherwise those present in it. With `keys` the key is set, too. */
static void put_update(struct buf *sql, const struct replica *r, const struct value *row, bool keys) {
    int n = 0;
    buf_printf(sql, "UPDATE OR ABORT %s SET ", r->name);
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip || (r->columns[i].key && !keys) || (row && row[i].tag == VALUE_ABSENT))
            continue;
        n++;
        buf_printf(sql, "%s%s = ?%d", n > 1 ? ", " : "", r->columns[i].name, n);
    }
    if (n == 0) { /* nothing to set: the row is only looked for */
        const char *key = r->columns[r->table->key[0]].name;
        buf_printf(sql, "%s = %s", key, key);
    }
    buf_puts(sql, " WHERE ");
    lite_put_key_is(sql, r, n + 1);
}

static enum code prepare_update(struct lite_target *t, struct replica *r, struct err *err) {
    if (r->update)
        return OK;
    CLEANUP_BUF sql = {0};
    put_update(&sql, r, NULL, false);
    return keep(t, &sql, &r->update, err);
}

static enum code prepare_remove(struct lite_target *t, struct replica *r, struct err *err) {
    if (r->remove)
        return OK;
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "DELETE FROM %s WHERE ", r->name);
    lite_put_key_is(&sql, r, 1);
    return keep(t, &sql, &r->remove, err);
}

/* Partial rows of a table mostly lack the same columns: the newest statement is kept. */
static enum code prepare_partial(struct lite_target *t, struct replica *r, const struct value *row,
                                 struct err *err) {
    bool same = r->partial != NULL;
    for (int i = 0; i < r->table->n_columns; i++) {
        bool present = row[i].tag != VALUE_ABSENT;
        same &= r->mask[i] == present;
        r->mask[i] = present;
    }
    if (same)
        return OK;
    sqlite3_finalize(r->partial);
    r->partial = NULL;
    CLEANUP_BUF sql = {0};
    put_update(&sql, r, row, false);
    return keep(t, &sql, &r->partial, err);
}

/* ---- rows ---- */

static enum code bind_present(struct lite_target *t, const struct replica *r, const struct value *row,
                              bool keys, sqlite3_stmt *stmt, int *n, struct err *err) {
    enum code code = OK;
    for (int i = 0; i < r->table->n_columns && code == OK; i++)
        if (!r->columns[i].skip && (keys || !r->columns[i].key) && row[i].tag != VALUE_ABSENT)
            code = row_bind(t, r, row, i, stmt, (*n)++, err);
    return code;
}

static enum code insert(struct lite_target *t, struct replica *r, const struct value *row, struct err *err) {
    int n = 1;
    enum code code = prepare_insert(t, r, err);
    if (code == OK)
        code = row_bind_all(t, r, row, true, r->insert, &n, err);
    return code == OK ? db_finish(&t->db, r->insert, NULL, err) : code;
}

static enum code update(struct lite_target *t, struct replica *r, const struct batch_row *row,
                        int64_t *changes, struct err *err) {
    int n = 1;
    enum code code = row->full ? prepare_update(t, r, err) : prepare_partial(t, r, row->values, err);
    sqlite3_stmt *stmt = row->full ? r->update : r->partial;
    if (code == OK)
        code = bind_present(t, r, row->values, false, stmt, &n, err);
    if (code == OK)
        code = row_bind_key(t, r, row->values, stmt, n, err);
    return code == OK ? db_finish(&t->db, stmt, changes, err) : code;
}

static enum code delete (struct lite_target *t, struct replica *r, const struct batch_row *row,
                         int64_t *changes, struct err *err) {
    enum code code = prepare_remove(t, r, err);
    if (code == OK) code = row_bind_key(t, r, row->values, r->remove, 1, err);
    return code == OK ? db_finish(&t->db, r->remove, changes, err) : code;
}

/* A row that should have been there, under the key in `where`, is written whole, if it is. */
static enum code settle_missing(struct lite_target *t, struct replica *r, const struct batch_row *row,
                                const struct value *where, bool filtered, struct err *err) {
    bool deleted = row->op == ROW_DELETE;
    enum code code = row_missing(t, r, where, deleted || row->full, filtered, err);
    return code == OK && !deleted ? insert(t, r, row->values, err) : code;
}

static enum code apply_row(struct lite_target *t, struct replica *r, const struct batch_row *row,
                           bool filtered, struct err *err) {
    int64_t changes = 1;
    enum code code = OK;
    if (row->op == ROW_INSERT)
        code = insert(t, r, row->values, err);
    else if (row->op == ROW_UPDATE)
        code = update(t, r, row, &changes, err);
    else
        code = delete (t, r, row, &changes, err);
    if (code == OK && changes == 0 && row->was_there)
        code = settle_missing(t, r, row, row->values, filtered, err);
    return code;
}

/* Deletes, then updates, then inserts, so that values which must be unique are free when they are needed. */
static enum code apply_rows(struct lite_target *t, struct replica *r, const struct batch *batch,
                            struct err *err) {
    static const enum row_op order[] = {ROW_DELETE, ROW_UPDATE, ROW_INSERT};
    enum code code = OK;
    for (size_t o = 0; o < 3; o++)
        for (uint32_t i = 0; i < batch->n && batch->n_op[order[o]] > 0 && code == OK; i++)
            if (batch->rows[i].op == order[o])
                code = apply_row(t, r, &batch->rows[i], batch->filtered, err);
    return code;
}

enum code lite_apply_keyed(struct lite_target *t, struct replica *r, const struct batch *batch,
                           struct err *err) {
    if (!r->unique)
        return apply_rows(t, r, batch, err);
    enum code code = db_script(&t->db, "SAVEPOINT millrace", err);
    if (code == OK)
        code = apply_rows(t, r, batch, err);
    if (code == OK)
        return db_script(&t->db, "RELEASE millrace", err);
    if (code != REJECT || !db_failed_unique(&t->db))
        return code;
    code = db_script(&t->db, "ROLLBACK TO millrace; RELEASE millrace", err);
    return code == OK ? lite_apply_rewrite(t, r, batch, err) : code;
}

/* UPDATE t SET key = new, present columns WHERE key = old. */
static enum code apply_moved(struct lite_target *t, struct replica *r, const struct batch_row *row,
                             bool filtered, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_STMT *stmt = NULL;
    int64_t changes = 0;
    int n = 1;
    put_update(&sql, r, row->values, true);
    enum code code = keep(t, &sql, &stmt, err);
    if (code == OK)
        code = bind_present(t, r, row->values, true, stmt, &n, err);
    if (code == OK)
        code = row_bind_key(t, r, row->before, stmt, n, err);
    if (code == OK)
        code = db_finish(&t->db, stmt, &changes, err);
    return code == OK && changes == 0 ? settle_missing(t, r, row, row->before, filtered, err) : code;
}

/* ---- which way ---- */

static enum code dispatch(struct lite_target *t, struct replica *r, const struct batch *batch,
                          struct err *err) {
    const struct batch_row *first = &batch->rows[0];
    if (r->table->n_key == 0)
        return lite_apply_keyless(t, r, batch, err);
    if (batch->n == 1 && first->op == ROW_UPDATE && first->before)
        return apply_moved(t, r, first, batch->filtered, err);
    return lite_apply_keyed(t, r, batch, err);
}

enum code lite_apply(struct target *target, struct batch *batch, struct err *err) {
    struct lite_target *t = lite_of(target);
    if (batch->n == 0)
        return OK;
    struct replica *r;
    enum code code = lite_replica_get(t, batch->table, &r, err);
    if (code != OK)
        return code;
    t->db.about = r->flat;
    code = dispatch(t, r, batch, err);
    t->db.about = NULL;
    return code == OK ? OK : lite_undo(t, code);
}
