/* A table that was created in the open transaction takes the rows of a snapshot without its primary key: an
 * index that is built at once costs a third of one that follows every row. Nobody sees the table before the
 * commit, which adds the key first; so does whatever else comes for the table.
 *
 *   CREATE TABLE | DROP CONSTRAINT, COPY, COPY ... | ADD PRIMARY KEY, UPDATE ... | COMMIT */
#include <assert.h>

#include "base/log.h"
#include "sink/postgres/postgres.h"

enum {
    ROWS_MIN = 1000
}; /* of the batch that takes the key away: small tables are not worth the statements */

static enum code run(struct pg_target *t, const struct buf *sql, struct err *err) {
    return session_run(&t->session, buf_cstr((struct buf *)(uintptr_t)sql), 0, NULL, NULL, err);
}

/* ---- without ---- */

static enum code drop_key(struct pg_target *t, struct replica *r, struct err *err) {
    static const char find[] = "SELECT pg_catalog.quote_ident(conname) FROM pg_catalog.pg_constraint"
                               " WHERE contype = 'p' AND conrelid = $1::pg_catalog.regclass";
    CLEANUP_RESULT *result = NULL;
    CLEANUP_BUF sql = {0};
    enum code code = session_run(&t->session, find, 1, &r->name, &result, err);
    if (code != OK)
        return code;
    const char *name = result_text(result, 0, 0);
    if (!name)
        return err_set(err, RETRY, ERR_TARGET_UNREACHABLE, "the replica did not answer what it was asked");
    buf_printf(&sql, "ALTER TABLE %s DROP CONSTRAINT %s", r->name, name);
    code = run(t, &sql, err);
    if (code == OK)
        r->late_key = arena_strdup(&r->arena, name);
    return code;
}

bool late_key_takes(const struct pg_target *t, const struct replica *r, const struct batch *batch) {
    bool created = r->created && r->tx == t->tx && r->table->n_key > 0;
    return created && batch->snapshot && (r->late_key || batch->n >= ROWS_MIN);
}

struct rows {
    const struct batch *batch;
    uint32_t at;
};

static bool next_row(void *arg, struct stage_row *ret) {
    struct rows *rows = arg;
    if (rows->at == rows->batch->n)
        return false;
    const struct batch_row *row = &rows->batch->rows[rows->at++];
    assert(row->op == ROW_INSERT);
    *ret = (struct stage_row){'i', row->values};
    return true;
}

enum code late_key_apply(struct pg_target *t, struct replica *r, const struct batch *batch, struct err *err) {
    struct rows rows = {.batch = batch};
    enum code code = r->late_key ? OK : drop_key(t, r, err);
    return code == OK ? stage_direct(t, r, next_row, &rows, err) : code;
}

/* ---- with ---- */

/* Rows of a snapshot have each key once. Where an index of the source was damaged, or records were shipped
 * twice (delivery: at_least_once), they have not: the one that came last stays, as it does where the key is
 * there from the beginning. */
static enum code drop_doubles(struct pg_target *t, const struct replica *r, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "DELETE FROM %s t USING (SELECT ", r->name);
    put_key_list(&sql, r, "");
    buf_printf(&sql, ", pg_catalog.max(ctid) AS millrace_last FROM %s GROUP BY ", r->name);
    put_key_list(&sql, r, "");
    buf_puts(&sql, " HAVING pg_catalog.count(*) > 1) s WHERE t.ctid < s.millrace_last");
    for (int k = 0; k < r->table->n_key; k++) {
        const struct replica_column *column = &r->columns[r->table->key[k]];
        buf_printf(&sql, " AND t.%s %s s.%s", column->name, column->equal, column->name);
    }
    log_warn("sink/postgres", "rows of a snapshot came more than once; the last of each stays",
             F_STR("table", r->label));
    return run(t, &sql, err);
}

static enum code build(struct pg_target *t, const struct replica *r, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "ALTER TABLE %s ADD CONSTRAINT %s PRIMARY KEY (", r->name, r->late_key);
    put_key_list(&sql, r, "");
    buf_putc(&sql, ')');
    enum code code = session_script(&t->session, "SAVEPOINT millrace", err);
    if (code == OK)
        code = run(t, &sql, err);
    if (code == OK)
        return session_script(&t->session, "RELEASE millrace", err);
    if (!session_failed_unique(&t->session))
        return code;
    code = session_script(&t->session, "ROLLBACK TO millrace", err);
    if (code == OK)
        code = drop_doubles(t, r, err);
    return code == OK ? run(t, &sql, err) : code;
}

enum code late_key_add(struct pg_target *t, struct replica *r, struct err *err) {
    if (!r->late_key)
        return OK;
    t->session.about = r->label;
    enum code code = session_patient(&t->session, true, err);
    if (code == OK)
        code = build(t, r, err);
    if (code == OK)
        code = session_patient(&t->session, false, err);
    t->session.patient = false;
    if (code != OK)
        return code;
    log_debug("sink/postgres", "key added to what was built", F_STR("table", r->label));
    r->late_key = NULL;
    r->created = false; /* what comes now is no build */
    return OK;
}

enum code late_keys_add(struct pg_target *t, const struct table *table, struct err *err) {
    for (struct replica *r = t->replicas; r; r = r->next) {
        bool meant = !table || (strcmp(r->table->name, table->name) == 0 &&
                                strcmp(r->table->schema, table->schema) == 0);
        enum code code = meant ? late_key_add(t, r, err) : OK;
        if (code != OK)
            return code;
    }
    return OK;
}
