/* All selected tables in one read transaction; what it sees of the change table is where the stream
 * begins. */
#include "capture/trigger/sqlite/sqlite.h"

static const struct ltable *table_at(const struct lsource *s, int *at) {
    for (; *at < s->registry.n; ++*at) {
        const struct ltable *t = s->registry.tables[*at];
        if (t->live && lsource_selects(s->options, t->name))
            return s->registry.tables[(*at)++];
    }
    return NULL;
}

/* The greatest number of its rows, which is about how many there are. */
static enum code estimate(struct lsource *s, struct err *err) {
    int at = 0;
    enum code code = OK;
    for (const struct ltable *t; code == OK && (t = table_at(s, &at));) {
        CLEANUP_BUF sql = {0};
        int64_t n = 0;
        const struct ltable *now = t;
        buf_puts(&sql, "SELECT max(rowid) FROM ");
        put_lident(&sql, now->name);
        s->progress.tables++;
        struct err ignored;
        if (lfile_number(&s->file, buf_cstr(&sql), &n, &ignored) == OK && n > 0) /* WITHOUT ROWID has none */
            s->progress.rows_estimate += (uint64_t)n;
    }
    (void)err;
    return code;
}

enum code lsource_snapshot(struct feed *feed, struct err *err) {
    struct lsource *s = lself(feed);
    s->progress = (struct source_progress){.snapshotting = true};
    enum code code = lfile_run(&s->file, "BEGIN", err);
    if (code == OK)
        code = lsource_verify(s, err);
    if (code == OK)
        code = lfile_number(&s->file, "SELECT max(id) FROM millrace_changes", &s->top, err);
    if (code == OK)
        code = estimate(s, err);
    s->snapshotting = code == OK;
    if (code != OK)
        lfile_rollback(&s->file);
    return code == AGAIN ? (err->code = RETRY) : code;
}

static enum code open_table(struct lsource *s, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT 0");
    put_lcolumns(&sql, s->table, "");
    buf_puts(&sql, " FROM ");
    put_lident(&sql, s->table->name);
    return lfile_prepare(&s->file, buf_cstr(&sql), &s->select, err);
}

static enum code read_row(struct lsource *s, struct feed_item *ret, bool *row, struct err *err) {
    struct value *values;
    enum code code = lfile_step(&s->file, s->select, row, err);
    if (code != OK || !*row)
        return code;
    int n = s->table->n_columns;
    struct cell *cells = arena_alloc(&s->values, sizeof *cells * (size_t)(n + 1));
    for (int i = 0; i < n; i++)
        cells[i] = cell_of(s->select, i + 1, &s->values);
    code = lsource_values(s, s->table, cells, &values, err);
    *ret = (struct feed_item){.type = FEED_CHANGE, .op = OP_READ, .table = &s->table->table, .after = values};
    s->progress.rows_done++;
    return code;
}

/* The rows of one table after the other. *row: there was one. */
static enum code next_row(struct lsource *s, struct feed_item *ret, bool *row, struct err *err) {
    enum code code = OK;
    for (*row = false; code == OK && !*row;) {
        if (!s->select) {
            s->table = table_at(s, &s->table_at);
            if (!s->table)
                return OK;
            code = open_table(s, err);
        }
        if (code == OK)
            code = read_row(s, ret, row, err);
        if (code != OK || *row)
            return code;
        sqlite3_finalize(s->select);
        s->select = NULL;
        s->progress.tables_done++;
    }
    return code;
}

static enum code finish(struct lsource *s, struct feed_item *ret, struct err *err) {
    int64_t top = s->top;
    enum code code = lsource_begin_stream(s, top, err);
    if (code == OK)
        code = lseal_read(&s->file, top, &s->seal, err);
    lfile_rollback(&s->file);
    if (code != OK)
        return code;
    s->progress.snapshotting = false;
    s->progress.rows_estimate = s->progress.rows_done;
    s->safe = top;
    arena_reset(&s->values);
    buf_clear(&s->start);
    buf_printf(&s->start, "%lld %s", (long long)s->confirmed, s->seal.text);
    *ret = (struct feed_item){.type = FEED_SNAPSHOT, .commit = (uint64_t)top, .text = buf_cstr(&s->start)};
    return OK;
}

enum code lsnapshot_next(struct lsource *s, struct feed_item *ret, struct err *err) {
    bool row;
    arena_reset(&s->values);
    const struct ltable *t = table_at(s, &s->truncated);
    if (t) {
        *ret = (struct feed_item){.type = FEED_CHANGE, .op = OP_TRUNCATE, .table = &t->table};
        return OK;
    }
    enum code code = next_row(s, ret, &row, err);
    if (code == AGAIN)
        code = err->code = RETRY;
    return code != OK || row ? code : finish(s, ret, err);
}
