/* The snapshot: one view in which the selected tables are read, one after the other, row by row as the server
 * sends them. What the change table shows in that view is in the rows already: it is claimed as cuts that
 * nobody hands over, and the stream begins behind them. */
#include <inttypes.h>

#include "base/log.h"
#include "capture/trigger/mariadb/mariadb.h"

static const char doing[] = "reading the snapshot";

static enum code last_cut(struct maria_feed *f, uint64_t *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT AUTO_INCREMENT - 1 FROM information_schema.TABLES WHERE TABLE_NAME = 'cuts' AND "
                   "TABLE_SCHEMA = ");
    maria_put_string(&sql, f->options->database);
    return maria_number(f->control, doing, buf_cstr(&sql), ret, err);
}

static bool wanted(const struct maria_table *t) {
    return t->live && t->selected;
}

static enum code count_rows(struct maria_feed *f, struct err *err) {
    for (int i = 0; i < f->catalog.n; i++) {
        const struct maria_table *t = &f->catalog.tables[i];
        if (!wanted(t))
            continue;
        CLEANUP_BUF sql = {0};
        uint64_t rows;
        buf_puts(&sql, "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = ");
        maria_put_string(&sql, t->schema);
        buf_puts(&sql, " AND TABLE_NAME = ");
        maria_put_string(&sql, t->name);
        enum code code = maria_number(f->control, doing, buf_cstr(&sql), &rows, err);
        if (code)
            return code;
        f->progress.tables++;
        f->progress.rows_estimate += rows;
    }
    return OK;
}

/* What was truncated or rebuilt until now is read as it is. */
static enum code begin_anew(struct maria_feed *f, struct err *err) {
    for (int i = 0; i < f->catalog.n; i++) {
        const struct maria_table *t = &f->catalog.tables[i];
        if (!t->live)
            continue;
        CLEANUP_BUF sql = {0};
        buf_puts(&sql, "UPDATE ");
        maria_put_table(&sql, f->options->database, "tables");
        buf_puts(&sql, " SET incarnation = ");
        maria_put_incarnation(&sql, t->schema, t->name);
        buf_printf(&sql, " WHERE number = %u", t->number);
        enum code code = maria_exec(f->control, doing, buf_cstr(&sql), err);
        if (code)
            return code;
    }
    return OK;
}

enum code maria_snapshot(struct feed *feed, struct err *err) {
    struct maria_feed *f = maria_self(feed);
    f->snapshotting = f->progress.snapshotting = true;
    enum code code = begin_anew(f, err);
    if (code == OK)
        code = cuts_load(f, UINT64_MAX, err);
    f->forgotten = 0;
    if (code == OK)
        code = cuts_claim_all(f, err);
    if (code == OK)
        code = last_cut(f, &f->start, err);
    return code ? code : count_rows(f, err);
}

static enum code begin_table(struct maria_feed *f, const struct maria_table *t, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT ");
    maria_put_row(&sql, t->columns, t->n_columns, "");
    buf_puts(&sql, " FROM ");
    maria_put_table(&sql, t->schema, t->name);
    log_info("capture", "snapshot of a table", F_STR("schema", t->schema), F_STR("table", t->name));
    return maria_stream(f->view, doing, buf_cstr(&sql), &f->stream, err);
}

/* AGAIN: the table has no more rows. */
static enum code row_next(struct maria_feed *f, const struct maria_table *t, struct feed_item *ret,
                          struct err *err) {
    MYSQL_ROW row = mysql_fetch_row(f->stream);
    if (!row && mysql_errno(f->view))
        return maria_error(f->view, doing, err);
    if (!row) {
        maria_free_result(&f->stream);
        f->progress.tables_done++;
        return AGAIN;
    }
    arena_reset(&f->arena);
    struct value *after;
    enum code code = maria_row_values(f, t, row[0], mysql_fetch_lengths(f->stream)[0], &after, err);
    *ret = (struct feed_item){.type = FEED_CHANGE, .op = OP_READ, .table = &t->table, .after = after};
    f->progress.rows_done++;
    return code;
}

static enum code end_snapshot(struct maria_feed *f, struct feed_item *ret, struct err *err) {
    f->snapshotting = f->progress.snapshotting = false;
    *ret = (struct feed_item){.type = FEED_SNAPSHOT, .commit = f->start, .text = ""};
    return maria_exec(f->view, doing, "COMMIT", err);
}

/* The next table that is captured; NULL at the end, after which it begins again. */
static const struct maria_table *table_next(struct maria_feed *f) {
    while (f->table < f->catalog.n)
        if (wanted(&f->catalog.tables[f->table++]))
            return &f->catalog.tables[f->table - 1];
    f->table = 0;
    return NULL;
}

enum code maria_snapshot_next(struct maria_feed *f, struct feed_item *ret, struct err *err) {
    const struct maria_table *t = NULL;
    if (!f->emptied && (t = table_next(f))) {
        *ret = (struct feed_item){.type = FEED_CHANGE, .op = OP_TRUNCATE, .table = &t->table};
        return OK;
    }
    f->emptied = true;
    enum code code = AGAIN;
    while (code == AGAIN) {
        if (f->stream)
            code = row_next(f, &f->catalog.tables[f->table - 1], ret, err);
        else if ((t = table_next(f)))
            code = begin_table(f, t, err) == OK ? AGAIN : err->code;
        else
            return end_snapshot(f, ret, err);
    }
    return code;
}
