/* Rows without a key: equal rows cannot be told apart, so a table is a bag of rows, and a batch says how many
 * of each come and go. Rows are compared by the text of the whole row, which is exact where "=" is not (0 and
 * -0, 1.0 and 1.00) and is there for types that have none (json, xml, point).
 *
 * Only where an update must keep something of the old row (absent columns, columns of the replica's own,
 * triggers that act) rows are taken one by one. */
#include "sink/postgres/params.h"

struct rows {
    const struct batch *batch;
    uint32_t at;
    bool second; /* the new state of an update comes next */
};

/* An update is the old row gone and the new one there. */
static bool next_row(void *arg, struct stage_row *ret) {
    struct rows *rows = arg;
    while (rows->at < rows->batch->n) {
        const struct batch_row *row = &rows->batch->rows[rows->at];
        bool first_half = row->op == ROW_UPDATE && !rows->second;
        rows->second = first_half;
        if (!first_half)
            rows->at++;
        if (row->op == ROW_NONE)
            continue;
        ret->op = row->op == ROW_DELETE || first_half ? 'd' : 'i';
        ret->values = first_half ? row->before : row->values;
        return true;
    }
    return false;
}

/* ---- as a bag ---- */

/* "ROW(t.a, t.b)::text" or of the stage's columns */
static void put_table_row(struct buf *sql, const struct replica *r) {
    const char *comma = "";
    buf_puts(sql, "ROW(");
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip)
            continue;
        buf_printf(sql, "%st.%s", comma, r->columns[i].name);
        comma = ", ";
    }
    buf_puts(sql, ")::text");
}

static void put_stage_row(struct buf *sql, const struct replica *r) {
    buf_puts(sql, "ROW(");
    put_staged(sql, r);
    buf_puts(sql, ")::text");
}

/* How many more (or fewer) of each row there are after the batch. */
static void put_net(struct buf *sql, const struct replica *r) {
    buf_puts(sql, "WITH net (row, n) AS MATERIALIZED (SELECT ");
    put_stage_row(sql, r);
    buf_puts(sql, ", pg_catalog.sum(CASE s.op WHEN 'i' THEN 1 ELSE -1 END) FROM ");
    stage_name(r, sql);
    buf_puts(sql, " s GROUP BY 1)");
}

static enum code delete_net(struct pg_target *t, const struct replica *r, struct err *err) {
    CLEANUP_BUF sql = {0};
    put_net(&sql, r);
    buf_printf(&sql, ", gone AS (DELETE FROM %s d USING (SELECT t.tableoid, t.ctid, ", r->name);
    put_table_row(&sql, r);
    buf_puts(&sql, " AS row, pg_catalog.row_number() OVER (PARTITION BY ");
    put_table_row(&sql, r);
    buf_printf(&sql, ") AS place FROM %s t WHERE ", r->name);
    put_table_row(&sql, r);
    buf_puts(&sql, " IN (SELECT net.row FROM net WHERE net.n < 0)) x, net"
                   " WHERE net.row = x.row AND x.place <= -net.n AND d.tableoid = x.tableoid AND d.ctid = "
                   "x.ctid RETURNING 1)"
                   " SELECT (SELECT pg_catalog.count(*) FROM gone),"
                   " (SELECT COALESCE(pg_catalog.sum(-n), 0) FROM net WHERE n < 0)");
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(&t->session, buf_cstr(&sql), 0, NULL, &result, err);
    if (code != OK)
        return code;
    int64_t gone = result_int(result, 0, 0), expected = result_int(result, 0, 1);
    if (gone >= expected)
        return OK;
    metric_add(t->missing, (double)(expected - gone));
    return err_set(err, REJECT, ERR_TARGET_DIVERGED,
                   "table %s (without a key): %lld of %lld rows to change or delete are not in the replica; "
                   "build it anew: "
                   "millrace replay --sink %s",
                   r->label, (long long)(expected - gone), (long long)expected, t->env.sink);
}

static enum code insert_net(struct pg_target *t, const struct replica *r, struct err *err) {
    CLEANUP_BUF sql = {0};
    put_net(&sql, r);
    buf_printf(&sql, " INSERT INTO %s", r->name);
    if (r->n_written > 0) {
        buf_puts(&sql, " (");
        put_written(&sql, r);
        buf_putc(&sql, ')');
    }
    buf_puts(&sql, " OVERRIDING SYSTEM VALUE SELECT ");
    put_staged(&sql, r);
    buf_puts(&sql, " FROM (SELECT s.*, ");
    put_stage_row(&sql, r);
    buf_puts(&sql, " AS row, pg_catalog.row_number() OVER (PARTITION BY ");
    put_stage_row(&sql, r);
    buf_puts(&sql, " ORDER BY s.seq) AS place FROM ");
    stage_name(r, &sql);
    buf_puts(&sql, " s WHERE s.op = 'i') s JOIN net ON net.row = s.row AND s.place <= net.n ORDER BY s.seq");
    return session_run(&t->session, buf_cstr(&sql), 0, NULL, NULL, err);
}

static enum code apply_bag(struct pg_target *t, struct replica *r, const struct batch *batch,
                           struct err *err) {
    struct rows rows = {.batch = batch};
    enum code code = stage_fill(t, r, STAGE_SEQ, next_row, &rows, err);
    if (code == OK)
        code = delete_net(t, r, err);
    if (code == OK)
        code = insert_net(t, r, err);
    return code;
}

/* ---- one by one ---- */

/* "WHERE (tableoid, ctid) = (one row that looks like `like`)"; its values are added to the parameters. */
static enum code put_match(struct buf *sql, struct params *p, const struct replica *r,
                           const struct value *like, struct err *err) {
    CLEANUP_BUF given = {0};
    const char *comma = "";
    buf_printf(sql, " WHERE (t.tableoid, t.ctid) = (SELECT o.tableoid, o.ctid FROM %s o WHERE ROW(", r->name);
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip || like[i].tag == VALUE_ABSENT)
            continue;
        enum code code = params_add(p, r, i, like, err);
        if (code != OK)
            return code;
        buf_printf(sql, "%so.%s", comma, r->columns[i].name);
        buf_printf(&given, "%s$%d::%s", comma, p->n, r->columns[i].type);
        comma = ", ";
    }
    buf_printf(sql, ")::text = ROW(%s)::text LIMIT 1)", buf_cstr(&given));
    return OK;
}

static void put_set(struct buf *sql, const struct replica *r, const struct value *row) {
    const char *comma = "";
    int n = 0;
    buf_printf(sql, "UPDATE %s t SET ", r->name);
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip || row[i].tag == VALUE_ABSENT)
            continue;
        buf_printf(sql, "%s%s = $%d", comma, r->columns[i].name, ++n);
        comma = ", ";
    }
}

static void put_insert(struct buf *sql, const struct replica *r) {
    buf_printf(sql, "INSERT INTO %s (", r->name);
    put_written(sql, r);
    buf_puts(sql, ") OVERRIDING SYSTEM VALUE VALUES (");
    for (int n = 1; n <= r->n_written; n++)
        buf_printf(sql, "%s$%d", n > 1 ? ", " : "", n);
    buf_putc(sql, ')');
}

static enum code put_statement(struct buf *sql, struct params *p, const struct replica *r,
                               const struct batch_row *row, struct err *err) {
    enum code code = OK;
    if (row->op == ROW_INSERT)
        put_insert(sql, r);
    if (row->op == ROW_UPDATE)
        put_set(sql, r, row->values);
    if (row->op == ROW_DELETE)
        buf_printf(sql, "DELETE FROM %s t", r->name);
    if (row->op != ROW_DELETE)
        code = params_row(p, r, row->values, true, err);
    if (code != OK || row->op == ROW_INSERT)
        return code;
    return put_match(sql, p, r, row->op == ROW_UPDATE ? row->before : row->values, err);
}

static enum code apply_row(struct pg_target *t, const struct replica *r, const struct batch_row *row,
                           struct err *err) {
    struct params p;
    params_init(&p, r);
    CLEANUP_BUF sql = {0};
    CLEANUP_RESULT *result = NULL;
    enum code code = put_statement(&sql, &p, r, row, err);
    if (code == OK)
        code = session_run(&t->session, buf_cstr(&sql), p.n, params_values(&p), &result, err);
    params_free(&p);
    if (code != OK || result_rows(result) > 0)
        return code;
    metric_add(t->missing, 1);
    return err_set(
        err, REJECT, ERR_TARGET_DIVERGED,
        "table %s (without a key): a row to change or delete is not in the replica; build it anew: millrace "
        "replay --sink %s",
        r->label, t->env.sink);
}

/* An update must keep something of the old row. */
static bool keeps(const struct pg_target *t, const struct replica *r, const struct batch *batch) {
    if (r->n_written > STAGE_COLUMNS_MAX || batch->partial)
        return true;
    if (batch->n_op[ROW_UPDATE] > 0 && (r->extras || t->options->triggers == TRIGGERS_FIRE))
        return true;
    for (uint32_t i = 0; i < batch->n; i++) {
        const struct batch_row *row = &batch->rows[i];
        if (row->op == ROW_UPDATE && !row_full(row->before, r->table->n_columns))
            return true;
        if (row->op != ROW_NONE && !row_full(row->values, r->table->n_columns))
            return true;
    }
    return false;
}

enum code apply_keyless(struct pg_target *t, struct replica *r, const struct batch *batch, struct err *err) {
    if (r->n_written == 0 || !keeps(t, r, batch)) {
        struct rows rows = {.batch = batch};
        bool inserts = batch->n_op[ROW_UPDATE] + batch->n_op[ROW_DELETE] == 0;
        return inserts ? stage_direct(t, r, next_row, &rows, err) : apply_bag(t, r, batch, err);
    }
    enum code code = OK;
    for (uint32_t i = 0; i < batch->n && code == OK; i++)
        if (batch->rows[i].op != ROW_NONE)
            code = apply_row(t, r, &batch->rows[i], err);
    return code;
}
