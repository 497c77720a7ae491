/* When a batch moves values that must be unique from row to row, no order of single statements need work: all
 * touched rows are taken out and put back in their final states. Columns that the batch does not carry, and
 * columns of the replica's own, come from the rows as they were. */
#include "sink/sqlite/sqlite.h"

/* The touched rows as they were: n_all values of each, NULL where there was none. */
struct old_rows {
    sqlite3_value **values;
    bool *there;
    uint32_t n;
    int n_all;
};

static void old_free(struct old_rows *old) {
    for (size_t i = 0; i < (size_t)old->n * (size_t)old->n_all; i++)
        sqlite3_value_free(old->values[i]);
    free(old->values);
    free(old->there);
}

static void put_all(struct buf *sql, const struct replica *r) {
    for (int i = 0; i < r->n_all; i++)
        buf_printf(sql, "%s%s", i ? ", " : "", r->all[i].name);
}

static enum code take_out(struct lite_target *t, const struct replica *r, sqlite3_stmt *stmt,
                          const struct batch_row *row, struct old_rows *old, uint32_t at, struct err *err) {
    enum code code = row_bind_key(t, r, row->values, stmt, 1, err);
    if (code == OK)
        code = db_step(&t->db, stmt, &old->there[at], err);
    for (int i = 0; code == OK && old->there[at] && i < r->n_all; i++)
        old->values[(size_t)at * (size_t)r->n_all + (size_t)i] =
            sqlite3_value_dup(sqlite3_column_value(stmt, i));
    return code == OK && old->there[at] ? db_finish(&t->db, stmt, NULL, err) : code;
}

/* "DELETE .. RETURNING all columns", row by row. */
static enum code take_all_out(struct lite_target *t, const struct replica *r, const struct batch *batch,
                              struct old_rows *old, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_STMT *stmt = NULL;
    buf_printf(&sql, "DELETE FROM %s WHERE ", r->name);
    lite_put_key_is(&sql, r, 1);
    buf_puts(&sql, " RETURNING ");
    put_all(&sql, r);
    enum code code = db_prepare(&t->db, buf_cstr(&sql), &stmt, err);
    for (uint32_t i = 0; i < batch->n && code == OK; i++)
        if (batch->rows[i].op != ROW_NONE)
            code = take_out(t, r, stmt, &batch->rows[i], old, i, err);
    return code;
}

/* Ours where the batch brings a value, and what was there otherwise. */
static enum code bind_column(struct lite_target *t, const struct replica *r, const struct batch_row *row,
                             sqlite3_value *const *was, int i, sqlite3_stmt *stmt, struct err *err) {
    int ours = r->all[i].ours;
    if (ours >= 0 && !r->columns[ours].skip && row->values[ours].tag != VALUE_ABSENT)
        return row_bind(t, r, row->values, ours, stmt, i + 1, err);
    int result = sqlite3_bind_value(stmt, i + 1, was[i]);
    return result == SQLITE_OK ? OK : db_failed(&t->db, result, err);
}

static enum code put_back(struct lite_target *t, struct replica *r, const struct batch_row *row,
                          sqlite3_value *const *was, sqlite3_stmt *known, sqlite3_stmt *anew, bool there,
                          bool filtered, struct err *err) {
    enum code code = OK;
    if (!there && row->op == ROW_UPDATE && row->was_there)
        code = row_missing(t, r, row->values, row->full, filtered, err);
    int n = 1;
    if (there)
        for (int i = 0; i < r->n_all && code == OK; i++)
            code = bind_column(t, r, row, was, i, known, err);
    else if (code == OK)
        code = row_bind_all(t, r, row->values, true, anew, &n, err);
    return code == OK ? db_finish(&t->db, there ? known : anew, NULL, err) : code;
}

static enum code prepare_insert(struct lite_target *t, const struct replica *r,
                                void (*put)(struct buf *, const struct replica *), int n, sqlite3_stmt **ret,
                                struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "INSERT OR ABORT INTO %s (", r->name);
    put(&sql, r);
    buf_puts(&sql, ") VALUES (");
    lite_put_marks(&sql, n);
    buf_putc(&sql, ')');
    return db_prepare(&t->db, buf_cstr(&sql), ret, err);
}

static enum code put_all_back(struct lite_target *t, struct replica *r, const struct batch *batch,
                              const struct old_rows *old, struct err *err) {
    CLEANUP_STMT *known = NULL;
    CLEANUP_STMT *anew = NULL;
    enum code code = prepare_insert(t, r, put_all, r->n_all, &known, err);
    if (code == OK)
        code = prepare_insert(t, r, lite_put_written, r->n_written, &anew, err);
    for (uint32_t i = 0; i < batch->n && code == OK; i++) {
        const struct batch_row *row = &batch->rows[i];
        if (row->op == ROW_INSERT || row->op == ROW_UPDATE)
            code = put_back(t, r, row, &old->values[(size_t)i * (size_t)r->n_all], known, anew, old->there[i],
                            batch->filtered, err);
    }
    return code;
}

enum code lite_apply_rewrite(struct lite_target *t, struct replica *r, const struct batch *batch,
                             struct err *err) {
    if (t->options->triggers == TRIGGERS_FIRE)
        return err_set(err, REJECT, ERR_TARGET_CONSTRAINT,
                       "table %s: a value that must be unique is in the replica already, and rows cannot be "
                       "taken out and "
                       "written again while triggers and foreign keys act (triggers: fire)",
                       r->flat);
    struct old_rows old = {.values =
                               xcalloc((size_t)batch->n * (size_t)r->n_all + 1, sizeof(sqlite3_value *)),
                           .there = xcalloc(batch->n, 1),
                           .n = batch->n,
                           .n_all = r->n_all};
    enum code code = take_all_out(t, r, batch, &old, err);
    if (code == OK)
        code = put_all_back(t, r, batch, &old, err);
    old_free(&old);
    return code;
}
