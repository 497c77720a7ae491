/* Row by row, in one round trip for up to PIPELINE_ROWS: quicker than COPY when there are only a few. */
#include <assert.h>
#include <stdio.h>

#include "sink/postgres/params.h"

enum { PIPELINE_ROWS = 16 };

/* ---- statements ---- */

static void put_insert(struct buf *sql, const struct replica *r) {
    buf_printf(sql, "INSERT INTO %s (", r->name);
    put_written(sql, r);
    buf_puts(sql, ") OVERRIDING SYSTEM VALUE VALUES (");
    for (int n = 1; n <= r->n_written; n++)
        buf_printf(sql, "%s$%d", n > 1 ? ", " : "", n);
    buf_puts(sql, ") ON CONFLICT (");
    put_key_list(sql, r, "");
    buf_puts(sql, r->n_set ? ") DO UPDATE SET " : ") DO NOTHING");
    const char *comma = "";
    for (int i = 0; i < r->table->n_columns; i++) {
        if (!r->columns[i].can_set)
            continue;
        buf_printf(sql, "%s%s = excluded.%s", comma, r->columns[i].name, r->columns[i].name);
        comma = ", ";
    }
}

/* "k1 = $n AND k2 = $n+1" */
static void put_key_is(struct buf *sql, const struct replica *r, int n) {
    for (int k = 0; k < r->table->n_key; k++) {
        const struct replica_column *column = &r->columns[r->table->key[k]];
        buf_printf(sql, "%s%s %s $%d", k ? " AND " : "", column->name, column->equal, n + k);
    }
}

/* `row` NULL: all columns; otherwise those present in it. With `keys` the key is set, too. Returns the number
 * of parameters used by SET; the key's follow. */
static int put_update(struct buf *sql, const struct replica *r, const struct value *row, bool keys) {
    int n = 0;
    buf_printf(sql, "UPDATE %s SET ", r->name);
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip || (r->columns[i].key && !keys) || (row && row[i].tag == VALUE_ABSENT))
            continue;
        n++;
        buf_printf(sql, "%s%s = $%d", n > 1 ? ", " : "", r->columns[i].name, n);
    }
    if (n == 0) { /* nothing to set: the row is only looked for */
        const char *key = r->columns[r->table->key[0]].name;
        buf_printf(sql, "%s = %s", key, key);
    }
    buf_puts(sql, " WHERE ");
    put_key_is(sql, r, n + 1);
    return n;
}

/* ---- rows ---- */

static const char *statement(const struct replica *r, char op, char to[32]) {
    snprintf(to, 32, "millrace_%d_%c", r->statement_id, op);
    return to;
}

static enum code prepare_one(struct pg_target *t, const struct replica *r, char op, struct err *err) {
    char name[32];
    CLEANUP_BUF sql = {0};
    Oid *types = xcalloc((size_t)r->table->n_columns + 1, sizeof *types);
    int n = 0;
    if (op == 'i')
        put_insert(&sql, r);
    if (op == 'u')
        put_update(&sql, r, NULL, false);
    if (op == 'd') {
        buf_printf(&sql, "DELETE FROM %s WHERE ", r->name);
        put_key_is(&sql, r, 1);
    }
    for (int i = 0; i < r->table->n_columns && op != 'd'; i++)
        if (!r->columns[i].skip && (op == 'i' || !r->columns[i].key))
            types[n++] = r->columns[i].oid;
    for (int k = 0; k < r->table->n_key && op != 'i'; k++)
        types[n++] = r->columns[r->table->key[k]].oid;
    enum code code = pipeline_prepare(&t->session, statement(r, op, name), buf_cstr(&sql), n, types, err);
    free(types);
    return code;
}

/* Sends the statement of one row. */
static enum code send_row(struct pg_target *t, const struct replica *r, const struct batch_row *row,
                          enum row_op op, struct err *err) {
    struct params p;
    params_init(&p, r);
    char name[32];
    enum code code = OK;
    bool partial = op == ROW_UPDATE && !row->full;
    if (op != ROW_DELETE)
        code = params_row(&p, r, row->values, op == ROW_INSERT, err);
    if (op != ROW_INSERT && code == OK)
        code = params_key(&p, r, row->values, err);
    if (code == OK && partial) {
        CLEANUP_BUF sql = {0};
        put_update(&sql, r, row->values, false);
        code = pipeline_run(&t->session, buf_cstr(&sql), p.n, params_values(&p), err);
    } else if (code == OK) {
        statement(r, op == ROW_INSERT ? 'i' : op == ROW_UPDATE ? 'u' : 'd', name);
        code = pipeline_prepared(&t->session, name, p.n, params_values(&p), err);
    }
    params_free(&p);
    return code;
}

/* Deletes, then updates, then inserts, so that values which must be unique are free when they are needed. */
static int order_rows(const struct batch *batch, uint32_t from, uint32_t to,
                      const struct batch_row *ret[PIPELINE_ROWS]) {
    static const enum row_op order[] = {ROW_DELETE, ROW_UPDATE, ROW_INSERT};
    int n = 0;
    for (size_t o = 0; o < 3; o++)
        for (uint32_t i = from; i < to; i++)
            if (batch->rows[i].op == order[o])
                ret[n++] = &batch->rows[i];
    return n;
}

static enum code send_rows(struct pg_target *t, struct replica *r, const struct batch_row **rows, int n,
                           uint64_t *done, struct err *err) {
    int before = 0;
    if (!r->statements)
        r->statement_id = t->next_id++;
    enum code code = pipeline_begin(&t->session, err);
    for (int i = 0; !r->statements && i < 3 && code == OK; i++, before++)
        code = prepare_one(t, r, "dui"[i], err);
    for (int i = 0; i < n && code == OK; i++)
        code = send_row(t, r, rows[i], rows[i]->op, err);
    uint64_t all[PIPELINE_MAX];
    if (code != OK) { /* a value could not be printed: the line is emptied before that is told */
        pipeline_abandon(&t->session);
        return code;
    }
    code = pipeline_end(&t->session, before + n, all, err);
    if (code == OK)
        r->statements = true;
    for (int i = 0; i < n && code == OK; i++)
        done[i] = all[before + i];
    return code;
}

/* A row that should have been there, under the key in `where`, is written whole, if it is. */
static enum code settle_missing(struct pg_target *t, struct replica *r, const struct batch *batch,
                                const struct batch_row *row, const struct value *where, struct err *err) {
    CLEANUP_BUF key = {0};
    missing_key(r, where, &key);
    bool deleted = row->op == ROW_DELETE;
    struct missing missing = {
        .n = 1, .full = deleted || row->full, .filtered = batch->filtered, .key = buf_cstr(&key)};
    enum code code = missing_rows(t, r, &missing, err);
    if (code != OK || deleted)
        return code;
    struct batch_row insert = *row;
    insert.op = ROW_INSERT;
    const struct batch_row *one = &insert;
    uint64_t done;
    return send_rows(t, r, &one, 1, &done, err);
}

static enum code apply_some(struct pg_target *t, struct replica *r, const struct batch *batch, uint32_t from,
                            uint32_t to, struct err *err) {
    const struct batch_row *rows[PIPELINE_ROWS];
    uint64_t done[PIPELINE_ROWS];
    int n = order_rows(batch, from, to, rows);
    enum code code = n ? send_rows(t, r, rows, n, done, err) : OK;
    for (int i = 0; i < n && code == OK; i++)
        if (done[i] == 0 && rows[i]->was_there && rows[i]->op != ROW_INSERT)
            code = settle_missing(t, r, batch, rows[i], rows[i]->values, err);
    return code;
}

enum code apply_single(struct pg_target *t, struct replica *r, const struct batch *batch, struct err *err) {
    bool guarded = r->n_unique > 0;
    enum code code = guarded ? session_script(&t->session, "SAVEPOINT millrace", err) : OK;
    for (uint32_t from = 0; from < batch->n && code == OK; from += PIPELINE_ROWS)
        code = apply_some(t, r, batch, from,
                          from + PIPELINE_ROWS < batch->n ? from + PIPELINE_ROWS : batch->n, err);
    if (!guarded)
        return code;
    if (code == OK)
        return session_script(&t->session, "RELEASE millrace", err);
    if (!session_failed_unique(&t->session) || r->n_written > STAGE_COLUMNS_MAX)
        return code;
    code = session_script(&t->session, "ROLLBACK TO millrace", err);
    return code == OK ? apply_rewrite(t, r, batch, err) : code;
}

/* UPDATE t SET key = new, present columns WHERE key = old. */
enum code apply_moved(struct pg_target *t, struct replica *r, const struct batch *batch, struct err *err) {
    const struct batch_row *row = &batch->rows[0];
    struct params p;
    params_init(&p, r);
    CLEANUP_BUF sql = {0};
    CLEANUP_RESULT *result = NULL;
    put_update(&sql, r, row->values, true);
    enum code code = params_row(&p, r, row->values, true, err);
    if (code == OK)
        code = params_key(&p, r, row->before, err);
    if (code == OK)
        code = session_run(&t->session, buf_cstr(&sql), p.n, params_values(&p), &result, err);
    params_free(&p);
    if (code != OK || result_rows(result) > 0)
        return code;
    return settle_missing(t, r, batch, row, row->before, err);
}
