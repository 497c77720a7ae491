/* The stream: windows of whole transactions from the change table, in the order of their last ids. */
#include <stdio.h>

#include "base/log.h"
#include "capture/trigger/postgres/feed.h"

#define WINDOW_IDS   100000
#define PAUSE_US     1000
#define PAUSE_US_MAX 50000

static const char doing[] = "reading the change table";

static struct pgtrigger *self(struct feed *feed) {
    return (struct pgtrigger *)feed;
}

/* ---- questions ---- */

static void put_last(struct buf *sql, const struct pgtrigger *s) {
    buf_puts(sql, "SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM ");
    put_table(sql, s->o.schema, "change_id");
}

/* Everyone who may have written, but for our own deletions; and where the log ends, which is asked after
 * that: all transactions that were seen to have ended lie before it. One row with NULL if there is nobody. */
static void put_writers(struct buf *sql, const struct pgtrigger *s) {
    CLEANUP_BUF name = {0};
    put_table(&name, s->o.schema, "changes");
    buf_puts(sql, "SELECT w.v, pg_current_wal_insert_lsn() FROM (SELECT 1) one LEFT JOIN (SELECT DISTINCT "
                  "virtualtransaction AS v FROM pg_locks WHERE locktype = 'relation' AND granted AND "
                  "database = (SELECT "
                  "oid FROM pg_database WHERE datname = current_database()) AND mode IN ('RowExclusiveLock', "
                  "'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock') AND relation = ");
    put_literal(sql, buf_cstr(&name));
    buf_printf(sql, "::regclass AND pid IS DISTINCT FROM %d AND pid IS DISTINCT FROM %d) w ON true",
               PQbackendPID(s->sql), s->read ? PQbackendPID(s->read) : 0);
}

/* Commits, so that everything before it is on disk: the server's WAL writer leaves alone what fills no page,
 * for as long as nobody commits. This session's synchronous_commit is `local`. */
static const char flush_sql[] = "SELECT pg_logical_emit_message(true, 'millrace', ''::text) IS NOT NULL";

/* A transaction with synchronous_commit = off is seen before it is on disk: the server could still lose it.
 * It is asked first whether somebody else has seen to that. */
static void put_flushed(struct buf *sql, const struct pgtrigger *s) {
    if (s->unflushed) {
        buf_puts(sql, flush_sql);
        return;
    }
    buf_printf(sql,
               "SELECT pg_current_wal_flush_lsn() >= "
               "'" LSN_FMT "'",
               LSN_ARGS(s->log_end));
}

/* Whoever has an id up to the bound has ended: what is found holds for all windows up to there, so that none
 * of them needs to look beyond its own end. */
static void put_crossing(struct buf *sql, const struct pgtrigger *s) {
    unsigned long long floor = s->floor, ended = s->ended, bound = s->bound.bound;
    buf_puts(sql, "SELECT xid, min(id), max(id) FROM ");
    put_table(sql, s->o.schema, "changes");
    buf_printf(
        sql,
        " WHERE id > %llu GROUP BY xid HAVING min(id) <= %llu AND (max(id) > %llu OR max(id) > %llu AND "
        "(min(id) <= %llu OR (min(id) - %llu - 1) / %d <> (max(id) - %llu - 1) / %d))",
        floor, bound, bound, ended, ended, ended, WINDOW_IDS, ended, WINDOW_IDS);
}

/* Those that end beyond the window. */
static void put_left_out(struct buf *sql, const struct pgtrigger *s) {
    const char *begins = " AND xid <> ALL ('{";
    for (int i = 0; i < s->n_crossing; i++) {
        if (s->crossing[i].last <= s->window)
            continue;
        buf_printf(sql, "%s%s", begins, s->crossing[i].xid);
        begins = ",";
    }
    buf_puts(sql, *begins == ',' ? "}')" : "");
}

static void put_rows(struct buf *sql, const struct pgtrigger *s) {
    unsigned long long floor = s->floor, ended = s->ended, window = s->window;
    buf_puts(sql, "WITH t AS MATERIALIZED (SELECT xid, max(id) AS last FROM ");
    put_table(sql, s->o.schema, "changes");
    buf_printf(sql, " WHERE id > %llu AND id <= %llu", floor, window);
    put_left_out(sql, s);
    if (*s->start) {
        buf_puts(sql, " AND NOT pg_visible_in_snapshot(xid, ");
        put_literal(sql, s->start);
        buf_puts(sql, "::pg_snapshot)");
    }
    buf_printf(sql, " GROUP BY xid HAVING max(id) > %llu) ", ended);
    buf_puts(
        sql,
        "SELECT t.last, c.id, c.xid, c.relid, c.shape, c.op, (extract(epoch FROM c.at) * 1000000)::bigint, "
        "c.old, c.new FROM t JOIN ");
    put_table(sql, s->o.schema, "changes");
    buf_printf(sql, " c USING (xid) WHERE c.id > %llu AND c.id <= %llu ORDER BY t.last, c.id", floor, window);
}

/* The least id of a transaction that lies on both sides of the window's end, less one; else the end. */
static void put_floor(struct buf *sql, const struct pgtrigger *s) {
    unsigned long long floor = s->floor, window = s->window;
    buf_printf(sql, "SELECT coalesce(min(first) - 1, %llu) FROM (SELECT min(id) AS first FROM ", window);
    put_table(sql, s->o.schema, "changes");
    buf_printf(sql, " WHERE id > %llu GROUP BY xid HAVING min(id) <= %llu AND max(id) > %llu) t", floor,
               window, window);
}

static enum code send(struct pgtrigger *s, enum pgtrigger_step step, struct err *err) {
    static void (*const puts[])(struct buf *, const struct pgtrigger *) = {
        [STEP_LAST] = put_last,         [STEP_WRITERS] = put_writers, [STEP_FLUSHED] = put_flushed,
        [STEP_CROSSING] = put_crossing, [STEP_ROWS] = put_rows,       [STEP_FLOOR] = put_floor};
    CLEANUP_BUF sql = {0};
    puts[step](&sql, s);
    if (!PQsendQuery(s->read, buf_cstr(&sql)) || (step == STEP_ROWS && !PQsetSingleRowMode(s->read)))
        return pgsource_error(s->read, NULL, err, doing);
    s->step = step;
    return OK;
}

enum code pgtrigger_flush(struct pgtrigger *s, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    return pgsource_query(s->read, &s->env, 10000, doing, flush_sql, &res, err);
}

enum code pgtrigger_bound_now(struct pgtrigger *s, uint64_t *ret, struct err *err) {
    CLEANUP_BUF last = {0}, writers = {0};
    CLEANUP_RESULT *l = NULL, *w = NULL;
    put_last(&last, s);
    put_writers(&writers, s);
    enum code code = pgsource_query(s->read, &s->env, 10000, doing, buf_cstr(&last), &l, err);
    if (code == OK)
        code = pgsource_query(s->read, &s->env, 10000, doing, buf_cstr(&writers), &w, err);
    if (code)
        return code;
    *ret = PQgetisnull(w, 0, 0) ? (uint64_t)pgsource_number(l, 0, 0) : 0;
    return OK;
}

/* ---- windows ---- */

enum code pgtrigger_stream_begin(struct pgtrigger *s, uint64_t ended, uint64_t durable, struct err *err) {
    bound_start(&s->bound, ended);
    s->ended = s->window = ended;
    s->durable = durable;
    s->floor = 0;
    catalog_use(s->catalog, s->sql);
    return send(s, STEP_FLOOR, err);
}

enum code pgtrigger_stream(struct feed *feed, const char *start, uint64_t commit, struct err *err) {
    struct pgtrigger *s = self(feed);
    enum code code = pgtrigger_begin(s, err);
    if (code)
        return code;
    free(s->start);
    s->start = xstrdup(start);
    return pgtrigger_stream_begin(s, commit, commit, err);
}

/* A poll that found something is soon followed by another one; others ever later. */
static void rest(struct pgtrigger *s, bool found) {
    s->pause_us = found ? PAUSE_US : s->pause_us * 3 / 2 < PAUSE_US_MAX ? s->pause_us * 3 / 2 : PAUSE_US_MAX;
    s->due_us = clock_mono(s->env.clock) + s->pause_us;
    s->step = STEP_IDLE;
}

static enum code begin_window(struct pgtrigger *s, struct err *err) {
    s->window = s->bound.bound - s->ended > WINDOW_IDS ? s->ended + WINDOW_IDS : s->bound.bound;
    s->commit = 0;
    return send(s, STEP_ROWS, err);
}

void pgtrigger_durable(struct pgtrigger *s, uint64_t commit) {
    int done = 0;
    s->durable = commit > s->durable ? commit : s->durable;
    while (done < s->n_windows && s->windows[done].end <= s->durable)
        s->deletable = s->windows[done++].floor;
    memmove(s->windows, s->windows + done, sizeof *s->windows * (size_t)(s->n_windows - done));
    s->n_windows -= done;
}

/* Windows that wait for their confirmation; when there are too many, two become one. */
static void keep_window(struct pgtrigger *s) {
    if (s->n_windows == PGTRIGGER_WINDOWS)
        s->n_windows--;
    s->windows[s->n_windows++] = (struct pgtrigger_window){s->window, s->floor};
    pgtrigger_durable(s, s->durable);
}

static enum code on_last(struct pgtrigger *s, const PGresult *res, struct err *err) {
    uint64_t last = (uint64_t)pgsource_number(res, 0, 0);
    if (last < s->bound.last)
        return err_set(
            err, FATAL, ERR_NEEDS_RESNAPSHOT,
            "the sequence of the change table was set back from %llu to %llu; take a new snapshot: millrace "
            "capture --config FILE --resnapshot",
            (unsigned long long)s->bound.last, (unsigned long long)last);
    if (last <= s->ended) {
        rest(s, false);
        return OK;
    }
    bound_last(&s->bound, last);
    return send(s, STEP_WRITERS, err);
}

static enum code on_writers(struct pgtrigger *s, const PGresult *res, struct err *err) {
    for (int i = 0; i < PQntuples(res); i++)
        if (!PQgetisnull(res, i, 0))
            bound_writer(&s->bound, pgsource_text(res, i, 0));
    s->log_end = lsn_parse(pgsource_text(res, 0, 1));
    if (bound_end(&s->bound) > s->ended)
        return send(s, STEP_FLUSHED, err);
    rest(s, false);
    return OK;
}

/* Not yet: soon it is seen to. */
static enum code on_flushed(struct pgtrigger *s, const PGresult *res, struct err *err) {
    s->unflushed = pgsource_text(res, 0, 0)[0] != 't';
    if (!s->unflushed)
        return send(s, STEP_CROSSING, err);
    rest(s, true);
    return OK;
}

static enum code on_crossing(struct pgtrigger *s, const PGresult *res, struct err *err) {
    s->n_crossing = PQntuples(res);
    s->crossing = xrealloc(s->crossing, sizeof *s->crossing * (size_t)(s->n_crossing + 1));
    for (int i = 0; i < s->n_crossing; i++) {
        struct pgtrigger_crossing *c = &s->crossing[i];
        snprintf(c->xid, sizeof c->xid, "%s", pgsource_text(res, i, 0));
        c->first = (uint64_t)pgsource_number(res, i, 1);
        c->last = (uint64_t)pgsource_number(res, i, 2);
    }
    return begin_window(s, err);
}

static enum code on_floor(struct pgtrigger *s, const PGresult *res) {
    s->floor = (uint64_t)pgsource_number(res, 0, 0);
    keep_window(s);
    rest(s, true);
    return OK;
}

static enum code after_window(struct pgtrigger *s, struct err *err) {
    s->floor = s->ended = s->window;
    for (int i = 0; i < s->n_crossing; i++) {
        const struct pgtrigger_crossing *c = &s->crossing[i];
        if (c->first <= s->window && c->last > s->window && c->first - 1 < s->floor)
            s->floor = c->first - 1;
    }
    keep_window(s);
    if (s->bound.bound > s->ended)
        return begin_window(s, err);
    rest(s, true);
    return OK;
}

/* ---- rows ---- */

enum { LAST, ID, XID, RELID, SHAPE, OPERATION, AT, OLD, NEW, N_FIELDS };

static enum code read_side(struct pgtrigger *s, const struct layout *layout, int field,
                           struct pgoutput_row *row, struct value *values, const struct value **ret,
                           struct err *err) {
    if (PQgetisnull(s->row, 0, field))
        return OK;
    const char *why =
        layout_read(layout, PQgetvalue(s->row, 0, field), row); /* libpq's copy is ours to rewrite */
    if (why)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "change %s of the change table cannot be read: %s",
                       PQgetvalue(s->row, 0, ID), why);
    *ret = values;
    return decode_row(&s->decoder, layout->relation, row, 0, values, err);
}

static enum code read_change(struct pgtrigger *s, struct feed_item *ret, struct err *err) {
    struct layout *layout;
    *ret = (struct feed_item){
        .type = FEED_CHANGE,
        .op = (enum op)PQgetvalue(s->row, 0, OPERATION)[0],
        .commit = s->commit,
        .id = (uint64_t)pgsource_number(s->row, 0, ID),
        .xid = (uint64_t)pgsource_number(s->row, 0, XID),
        .commit_us = pgsource_number(s->row, 0, AT),
    };
    uint32_t relid = (uint32_t)pgsource_number(s->row, 0, RELID);
    enum code code = layouts_find(&s->layouts, relid, PQgetvalue(s->row, 0, SHAPE), &layout, err);
    if (code || !layout->relation || !layout->relation->table)
        return code;
    code = read_side(s, layout, OLD, &s->old, s->decoder.before, &ret->before, err);
    if (code == OK)
        code = read_side(s, layout, NEW, &s->new, s->decoder.after, &ret->after, err);
    ret->table = layout->relation->table;
    return code;
}

static void drop_row(struct pgtrigger *s) {
    PQclear(s->row);
    s->row = NULL;
}

/* The row in hand; before the first one of a transaction the end of the one before. */
static enum code hand_over(struct pgtrigger *s, struct feed_item *ret, struct err *err) {
    uint64_t last = (uint64_t)pgsource_number(s->row, 0, LAST);
    if (s->commit && s->commit != last) {
        *ret = (struct feed_item){.type = FEED_END, .commit = s->commit, .commit_us = s->commit_us};
        s->commit = 0;
        s->row_waits = true;
        return OK;
    }
    s->row_waits = false;
    s->commit = last;
    s->commit_us = pgsource_number(s->row, 0, AT);
    return read_change(s, ret, err);
}

static enum code end_window(struct pgtrigger *s, struct feed_item *ret, struct err *err) {
    *ret = (struct feed_item){.type = FEED_END, .commit = s->window, .commit_us = s->commit_us};
    return after_window(s, err);
}

/* A result of the question that is open: OK with *ret_item, or AGAIN to look further (*ret_wait: when the
 * server has spoken). */
static enum code take_result(struct pgtrigger *s, PGresult *res, struct feed_item *ret, bool *ret_item,
                             struct err *err) {
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_TUPLES_OK && status != PGRES_SINGLE_TUPLE) {
        enum code code = pgsource_error(s->read, res, err, doing);
        PQclear(res);
        return code;
    }
    if (status == PGRES_SINGLE_TUPLE) {
        s->row = res;
        *ret_item = true;
        return hand_over(s, ret, err);
    }
    PGresult *more = PQgetResult(s->read); /* NULL: one statement, one result */
    PQclear(more);
    enum code code = OK;
    switch (s->step) {
    case STEP_LAST:
        code = on_last(s, res, err);
        break;
    case STEP_WRITERS:
        code = on_writers(s, res, err);
        break;
    case STEP_FLUSHED:
        code = on_flushed(s, res, err);
        break;
    case STEP_FLOOR:
        code = on_floor(s, res);
        break;
    case STEP_CROSSING:
        code = on_crossing(s, res, err);
        break;
    default:
        *ret_item = true;
        code = end_window(s, ret, err);
    }
    PQclear(res);
    return code;
}

enum code pgtrigger_stream_next(struct pgtrigger *s, struct feed_item *ret, struct err *err) {
    if (s->row && s->row_waits)
        return hand_over(s, ret, err);
    drop_row(s);
    bool item = false;
    enum code code = OK;
    while (code == OK && !item) {
        if (s->step == STEP_IDLE) {
            if (clock_mono(s->env.clock) < s->due_us)
                return AGAIN;
            code = send(s, s->unflushed ? STEP_FLUSHED : STEP_LAST, err);
            continue;
        }
        if (PQisBusy(s->read) && !PQconsumeInput(s->read))
            return pgsource_error(s->read, NULL, err, doing);
        if (PQisBusy(s->read))
            return PQflush(s->read) < 0 ? pgsource_error(s->read, NULL, err, doing) : AGAIN;
        PGresult *res = PQgetResult(s->read);
        if (!res)
            return pgsource_error(s->read, NULL, err, doing);
        code = take_result(s, res, ret, &item, err);
    }
    return code;
}
