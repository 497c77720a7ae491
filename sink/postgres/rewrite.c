/* When a batch moves values that must be unique from row to row, no order of single statements need work: all
 * touched rows are deleted and their final states inserted. Columns that the batch does not carry, and
 * columns of the replica that the source does not have, come from the rows as they were. */
#include "sink/postgres/postgres.h"

struct rows {
    const struct batch *batch;
    uint32_t at;
};

static bool next_row(void *arg, struct stage_row *ret) {
    struct rows *rows = arg;
    while (rows->at < rows->batch->n) {
        const struct batch_row *row = &rows->batch->rows[rows->at++];
        if (row->op == ROW_NONE)
            continue;
        ret->op = row->op == ROW_INSERT ? 'i' : row->op == ROW_UPDATE ? 'u' : row->was_there ? 'd' : 'x';
        ret->values = row->values;
        return true;
    }
    return false;
}

static void put_old(struct buf *sql, const struct replica *r) {
    buf_printf(sql, "pg_temp.millrace_old_%d", r->id);
}

/* The rows as they are, with the number of the staged row that has their key. */
static void put_keep(struct buf *sql, const struct replica *r) {
    buf_puts(sql, "CREATE TEMPORARY TABLE ");
    put_old(sql, r);
    buf_puts(sql, " ON COMMIT DROP AS SELECT s.seq");
    for (int i = 0; i < r->n_all; i++)
        buf_printf(sql, ", t.%s AS o%d", r->all_columns[i], i);
    buf_printf(sql, " FROM %s t JOIN ", r->name);
    stage_name(r, sql);
    buf_puts(sql, " s ON ");
    put_key_join(sql, r);
    buf_puts(sql, " WHERE s.op IN ('i', 'u')");
}

static void put_delete(struct buf *sql, const struct replica *r) {
    buf_printf(sql, "DELETE FROM %s t USING ", r->name);
    stage_name(r, sql);
    buf_puts(sql, " s WHERE ");
    put_key_join(sql, r);
}

/* Number of the written column with this quoted name, -1 if we do not write it. */
static int written(const struct replica *r, const char *name) {
    for (int i = 0; i < r->table->n_columns; i++)
        if (!r->columns[i].skip && strcmp(r->columns[i].name, name) == 0)
            return i;
    return -1;
}

static void put_insert_known(struct buf *sql, const struct replica *r) {
    buf_printf(sql, "INSERT INTO %s (", r->name);
    for (int i = 0; i < r->n_all; i++)
        buf_printf(sql, "%s%s", i ? ", " : "", r->all_columns[i]);
    buf_puts(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
    for (int i = 0; i < r->n_all; i++) {
        int from = written(r, r->all_columns[i]);
        buf_puts(sql, i ? ", " : "");
        if (from < 0)
            buf_printf(sql, "o.o%d", i);
        else if (r->columns[from].key)
            buf_printf(sql, "s.c%d", from);
        else
            buf_printf(
                sql,
                "CASE WHEN s.mask IS NULL OR pg_catalog.get_bit(s.mask, %d) = 1 THEN s.c%d ELSE o.o%d END",
                from, from, i);
    }
    buf_puts(sql, " FROM ");
    stage_name(r, sql);
    buf_puts(sql, " s JOIN ");
    put_old(sql, r);
    buf_puts(sql, " o ON o.seq = s.seq");
}

static void put_new(struct buf *sql, const struct replica *r) {
    buf_puts(sql, " FROM ");
    stage_name(r, sql);
    buf_puts(sql, " s WHERE s.op IN ('i', 'u') AND NOT EXISTS (SELECT FROM ");
    put_old(sql, r);
    buf_puts(sql, " o WHERE o.seq = s.seq)");
}

static void put_insert_new(struct buf *sql, const struct replica *r) {
    buf_printf(sql, "INSERT INTO %s (", r->name);
    put_written(sql, r);
    buf_puts(sql, ") OVERRIDING SYSTEM VALUE SELECT ");
    put_staged(sql, r);
    put_new(sql, r);
}

static enum code check_missing(struct pg_target *t, struct replica *r, const struct batch *batch,
                               struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT pg_catalog.count(*) OVER (), s.mask IS NULL, ROW(");
    for (int k = 0; k < r->table->n_key; k++)
        buf_printf(&sql, "%ss.c%d", k ? ", " : "", r->table->key[k]);
    buf_puts(&sql, ")::text");
    put_new(&sql, r);
    buf_puts(&sql, " AND s.op = 'u' ORDER BY 2 LIMIT 1");
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(&t->session, buf_cstr(&sql), 0, NULL, &result, err);
    if (code != OK || PQntuples(result) == 0)
        return code;
    struct missing missing = {(uint64_t)result_int(result, 0, 0), result_bool(result, 0, 1), batch->filtered,
                              result_text(result, 0, 2)};
    return missing_rows(t, r, &missing, err);
}

static enum code run(struct pg_target *t, const struct replica *r,
                     void (*put)(struct buf *sql, const struct replica *r), struct err *err) {
    CLEANUP_BUF sql = {0};
    put(&sql, r);
    return session_run(&t->session, buf_cstr(&sql), 0, NULL, NULL, err);
}

static void put_drop(struct buf *sql, const struct replica *r) {
    buf_puts(sql, "DROP TABLE ");
    put_old(sql, r);
}

enum code apply_rewrite(struct pg_target *t, struct replica *r, const struct batch *batch, struct err *err) {
    if (r->cascades)
        return err_set(err, REJECT, ERR_TARGET_CONSTRAINT,
                       "table %s: a value that must be unique is in the replica already, and rows cannot be "
                       "written again "
                       "while foreign keys point to them and act (triggers: fire)",
                       r->label);
    struct rows rows = {.batch = batch};
    enum code code = stage_fill(t, r, STAGE_SEQ | (batch->partial ? STAGE_MASK : 0), next_row, &rows, err);
    if (code == OK)
        code = run(t, r, put_keep, err);
    if (code == OK)
        code = check_missing(t, r, batch, err);
    if (code == OK)
        code = run(t, r, put_delete, err);
    if (code == OK)
        code = run(t, r, put_insert_known, err);
    if (code == OK)
        code = run(t, r, put_insert_new, err);
    if (code == OK)
        code = run(t, r, put_drop, err);
    return code;
}
