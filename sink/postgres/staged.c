/* Set-based: deletes and updates through the stage, then inserts by COPY straight into the table.
 *
 *   SAVEPOINT -> stage d,u -> DELETE -> UPDATE -> COPY i -> RELEASE
 *        ^-- a value that must be unique is there already: back to here, then rewrite.c */
#include <assert.h>

#include "sink/postgres/postgres.h"

/* ---- order ---- */

/* Updates and deletes go in the order of their keys, more or less: the replica then visits neighbours one
 * after the other. */
struct place {
    uint64_t prefix; /* of the key's first column */
    const struct batch_row *row;
};

static uint64_t prefix_of(const struct value *value) {
    unsigned char bytes[8] = {0};
    uint64_t prefix = 0;
    switch (value->tag) {
    case VALUE_INT:
        return (uint64_t)value->i ^ (UINT64_C(1) << 63);
    case VALUE_TEXT:
    case VALUE_BYTES:
        if (value->s.len)
            memcpy(bytes, value->s.data, value->s.len < sizeof bytes ? value->s.len : sizeof bytes);
        for (size_t i = 0; i < sizeof bytes; i++)
            prefix = prefix << 8 | bytes[i];
        return prefix;
    default:
        return 0;
    }
}

static int compare_places(const void *a, const void *b, void *table_arg) {
    const struct place *x = a, *y = b;
    const struct table *table = table_arg;
    if (x->prefix != y->prefix)
        return x->prefix < y->prefix ? -1 : 1;
    for (int k = 1; k < table->n_key; k++) {
        uint64_t p = prefix_of(&x->row->values[table->key[k]]), q = prefix_of(&y->row->values[table->key[k]]);
        if (p != q)
            return p < q ? -1 : 1;
    }
    return 0;
}

/* Owned by the caller. */
static struct place *order_others(const struct batch *batch, uint32_t *ret_n) {
    uint32_t most = batch->n_op[ROW_UPDATE] + batch->n_op[ROW_DELETE], n = 0;
    struct place *order = xcalloc(most, sizeof *order);
    for (uint32_t i = 0; i < batch->n; i++) {
        const struct batch_row *row = &batch->rows[i];
        if (row->op == ROW_UPDATE || row->op == ROW_DELETE)
            order[n++] = (struct place){prefix_of(&row->values[batch->table->key[0]]), row};
    }
    assert(n == most);
    qsort_r(order, n, sizeof *order, compare_places, (void *)(uintptr_t)batch->table);
    *ret_n = n;
    return order;
}

/* ---- rows ---- */

struct rows {
    const struct batch *batch;
    uint32_t at;
    struct place *order; /* of those that are no inserts */
    uint32_t n;
};

static bool next_insert(void *arg, struct stage_row *ret) {
    struct rows *rows = arg;
    while (rows->at < rows->batch->n) {
        const struct batch_row *row = &rows->batch->rows[rows->at++];
        if (row->op != ROW_INSERT)
            continue;
        *ret = (struct stage_row){'i', row->values};
        return true;
    }
    return false;
}

static bool next_other(void *arg, struct stage_row *ret) {
    struct rows *rows = arg;
    if (rows->at == rows->n)
        return false;
    const struct batch_row *row = rows->order[rows->at++].row;
    *ret = (struct stage_row){row->op == ROW_UPDATE ? 'u' : row->was_there ? 'd' : 'x', row->values};
    return true;
}

/* ---- statements ---- */

static enum code run(struct pg_target *t, struct buf *sql, uint64_t *rows, struct err *err) {
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(&t->session, buf_cstr(sql), 0, NULL, &result, err);
    if (rows)
        *rows = code == OK ? result_rows(result) : 0;
    return code;
}

/* "FROM stage s WHERE s.op ... AND not in the table" */
static void put_missing(struct buf *sql, const struct replica *r, const char *ops) {
    buf_puts(sql, " FROM ");
    stage_name(r, sql);
    buf_printf(sql, " s WHERE s.op IN (%s) AND NOT EXISTS (SELECT FROM %s t WHERE ", ops, r->name);
    put_key_join(sql, r);
    buf_putc(sql, ')');
}

/* Counts staged rows that are not in the table, and decides. `ret` may be NULL. */
static enum code look_for_missing(struct pg_target *t, struct replica *r, const struct batch *batch,
                                  const char *ops, uint64_t *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT pg_catalog.count(*) OVER (), s.mask IS NULL, ROW(");
    for (int k = 0; k < r->table->n_key; k++)
        buf_printf(&sql, "%ss.c%d", k ? ", " : "", r->table->key[k]);
    buf_puts(&sql, ")::text");
    put_missing(&sql, r, ops);
    buf_puts(&sql, " ORDER BY 2 LIMIT 1"); /* a row that is not full comes first */
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(&t->session, buf_cstr(&sql), 0, NULL, &result, err);
    if (code != OK)
        return code;
    uint64_t n = PQntuples(result) ? (uint64_t)result_int(result, 0, 0) : 0;
    if (ret)
        *ret = n;
    if (n == 0)
        return OK;
    struct missing missing = {n, result_bool(result, 0, 1), batch->filtered, result_text(result, 0, 2)};
    return missing_rows(t, r, &missing, err);
}

static enum code delete_rows(struct pg_target *t, struct replica *r, const struct batch *batch,
                             struct err *err) {
    CLEANUP_BUF sql = {0};
    uint64_t deleted = 0, expected = 0;
    for (uint32_t i = 0; i < batch->n; i++)
        expected += batch->rows[i].op == ROW_DELETE && batch->rows[i].was_there;
    buf_printf(&sql, "DELETE FROM %s t USING ", r->name);
    stage_name(r, &sql);
    buf_puts(&sql, " s WHERE s.op IN ('d', 'x') AND ");
    put_key_join(&sql, r);
    enum code code = run(t, &sql, &deleted, err);
    if (code != OK || deleted >= expected)
        return code;
    struct missing missing = {expected - deleted, true, batch->filtered, ""};
    return missing_rows(t, r, &missing, err);
}

/* Columns that no update of the batch carries are left out; those that only some carry depend on the row's
 * mask. */
static void put_set(struct buf *sql, const struct replica *r, const struct batch *batch) {
    const char *comma = "";
    for (int i = 0; i < r->table->n_columns; i++) {
        if (!r->columns[i].can_set)
            continue;
        uint32_t present = 0, absent = 0;
        for (uint32_t k = 0; batch->partial && k < batch->n; k++)
            if (batch->rows[k].op == ROW_UPDATE)
                (batch->rows[k].values[i].tag == VALUE_ABSENT ? absent++ : present++);
        if (absent && !present)
            continue;
        buf_printf(sql, "%s%s = ", comma, r->columns[i].name);
        if (absent)
            buf_printf(
                sql,
                "CASE WHEN s.mask IS NULL OR pg_catalog.get_bit(s.mask, %d) = 1 THEN s.c%d ELSE t.%s END", i,
                i, r->columns[i].name);
        else
            buf_printf(sql, "s.c%d", i);
        comma = ", ";
    }
    if (!*comma) { /* nothing to set: the row is only looked for */
        const char *key = r->columns[r->table->key[0]].name;
        buf_printf(sql, "%s = t.%s", key, key);
    }
}

static enum code update_rows(struct pg_target *t, struct replica *r, const struct batch *batch,
                             struct err *err) {
    CLEANUP_BUF sql = {0};
    uint64_t updated = 0, missing = 0;
    buf_printf(&sql, "UPDATE %s t SET ", r->name);
    put_set(&sql, r, batch);
    buf_puts(&sql, " FROM ");
    stage_name(r, &sql);
    buf_puts(&sql, " s WHERE s.op = 'u' AND ");
    put_key_join(&sql, r);
    enum code code = run(t, &sql, &updated, err);
    if (code != OK || updated >= batch->n_op[ROW_UPDATE])
        return code;
    code = look_for_missing(t, r, batch, "'u'", &missing, err);
    if (code != OK || missing == 0)
        return code;
    buf_clear(&sql);
    buf_printf(&sql, "INSERT INTO %s (", r->name);
    put_written(&sql, r);
    buf_puts(&sql, ") OVERRIDING SYSTEM VALUE SELECT ");
    put_staged(&sql, r);
    put_missing(&sql, r, "'u'");
    return run(t, &sql, NULL, err);
}

static enum code stage_others(struct pg_target *t, struct replica *r, const struct batch *batch,
                              struct err *err) {
    struct rows rows = {.batch = batch};
    rows.order = order_others(batch, &rows.n);
    enum code code = stage_fill(t, r, batch->partial ? STAGE_MASK : 0, next_other, &rows, err);
    free(rows.order);
    return code;
}

static enum code apply(struct pg_target *t, struct replica *r, const struct batch *batch, struct err *err) {
    enum code code = OK;
    uint32_t updates = batch->n_op[ROW_UPDATE], deletes = batch->n_op[ROW_DELETE];
    struct rows inserts = {.batch = batch};
    if (updates + deletes > 0)
        code = stage_others(t, r, batch, err);
    if (code == OK && updates + deletes > 0 && t->options->on_missing == MISSING_STOP && !batch->filtered)
        code = look_for_missing(t, r, batch, "'d', 'u'", NULL, err);
    if (code == OK && deletes > 0)
        code = delete_rows(t, r, batch, err);
    if (code == OK && updates > 0)
        code = update_rows(t, r, batch, err);
    if (code == OK && batch->n_op[ROW_INSERT] > 0)
        code = stage_direct(t, r, next_insert, &inserts, err);
    return code;
}

/* A replica where inserts meet their keys (a row filter makes them of updates, or rows come a second time) is
 * spared the vain attempt for a while. */
static bool rewrite_at_once(struct replica *r) {
    return r->rewrites_left > 0 && !r->cascades && r->rewrites_left-- > 0;
}

static void expect_more(struct replica *r) {
    enum { REWRITES_MAX = 64 };
    r->rewrites = r->rewrites ? r->rewrites * 2 : 1;
    if (r->rewrites > REWRITES_MAX)
        r->rewrites = REWRITES_MAX;
    r->rewrites_left = r->rewrites;
}

enum code apply_staged(struct pg_target *t, struct replica *r, const struct batch *batch, struct err *err) {
    t->session.about = r->label;
    bool guarded = batch->n_op[ROW_INSERT] > 0 || r->n_unique > 0, staged = r->staged;
    if (guarded && rewrite_at_once(r))
        return apply_rewrite(t, r, batch, err);
    enum code code = guarded ? session_script(&t->session, "SAVEPOINT millrace", err) : OK;
    if (code == OK)
        code = apply(t, r, batch, err);
    if (code == OK)
        r->rewrites = 0;
    if (code == OK && guarded)
        return session_script(&t->session, "RELEASE millrace", err);
    if (code == OK || !guarded || !session_failed_unique(&t->session))
        return code;
    code = session_script(&t->session, "ROLLBACK TO millrace", err);
    if (code == OK && r->staged != staged) { /* the stage is gone with it */
        r->staged = false;
        t->n_staged--;
    }
    expect_more(r);
    return code == OK ? apply_rewrite(t, r, batch, err) : code;
}
