/* The feed of a MariaDB source: sessions, the only reader's place, and the stream of change rows cut by
 * cut. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "capture/trigger/mariadb/mariadb.h"
#include "capture/trigger/mariadb/source.h"
#include "capture/trigger/trigger.h"

enum {
    NAP_US_MIN = 1000,
    NAP_US_MAX = 50000,
    LOOK_US = 2000000,
    LOOK_RESTS = 20, /* times as long as it takes */
    ROWS_PER_STATEMENT = 20000,
};
#define AGAIN_FROM_START "take a new snapshot: millrace capture --config FILE --resnapshot"

static const char doing[] = "reading the change table";

/* ---- sessions ---- */

static void name_tables(struct maria_feed *f) {
    CLEANUP_BUF name = {0};
    maria_put_name(&name, f->options->database);
    snprintf(f->changes, sizeof f->changes, "%s.changes", buf_cstr(&name));
    snprintf(f->cuts_table, sizeof f->cuts_table, "%s.cuts", buf_cstr(&name));
    snprintf(f->source_table, sizeof f->source_table, "%s.source", buf_cstr(&name));
}

static enum code feed_connect(const void *options, const struct source_env *env, int64_t wait_ms,
                              struct feed **ret, struct err *err) {
    struct maria_feed *f = xcalloc(1, sizeof *f);
    f->feed.ops = &maria_feed_ops;
    f->options = options;
    f->env = *env;
    f->nap_us = NAP_US_MIN;
    *ret = &f->feed;
    if (strlen(f->options->database) > MARIA_HOME_MAX)
        return err_set(err, FATAL, ERR_CONFIG, "the name of the source's `database` is longer than %d bytes",
                       MARIA_HOME_MAX);
    name_tables(f);
    return maria_connect(f->options, wait_ms, &f->control, err);
}

static void feed_close(struct feed *feed) {
    struct maria_feed *f = maria_self(feed);
    if (!f)
        return;
    /* A result that is still being sent is cut off with its session. */
    MYSQL *sessions[] = {f->control, f->view, f->witness, f->rows};
    for (size_t i = 0; f->stream && i < 4; i++)
        if (sessions[i] && sessions[i] != f->control)
            mariadb_cancel(sessions[i]);
    maria_free_result(&f->stream);
    for (size_t i = 0; i < 4; i++)
        if (sessions[i])
            mysql_close(sessions[i]);
    cuts_free(f);
    free(f->stale);
    maria_catalog_free(&f->catalog);
    arena_free(&f->arena);
    free(f);
}

static enum code feed_claim(struct feed *feed, struct err *err) {
    struct maria_feed *f = maria_self(feed);
    CLEANUP_BUF sql = {0}, name = {0};
    buf_printf(&name, "millrace.%s",
               f->options->database); /* a lock's name has at most 64 characters, case does not count */
    buf_puts(&sql, "SELECT GET_LOCK(CONCAT('millrace.', MD5(");
    maria_put_string(&sql, f->options->database);
    buf_puts(&sql, ")), 0)");
    uint64_t got;
    enum code code =
        maria_number(f->control, "taking the place of the only reader", buf_cstr(&sql), &got, err);
    if (code == OK && !got)
        return err_set(err, RETRY, ERR_SLOT_ACTIVE,
                       "another process reads the change table in database %s of the source",
                       f->options->database);
    f->claimed = code == OK;
    return code;
}

/* The sessions that only a reader needs, and the registry. */
static enum code begin(struct maria_feed *f, struct err *err) {
    MYSQL **sessions[] = {&f->view, &f->witness, &f->rows};
    for (int i = 0; i < 3; i++) {
        enum code code = maria_connect(f->options, 10000, sessions[i], err);
        if (code == OK && i < 2)
            code = maria_exec(*sessions[i], doing, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
                              err);
        if (code)
            return code;
    }
    int64_t now = clock_mono(f->env.clock);
    f->sample_due_us = now;
    f->look_due_us = now + LOOK_US;
    enum code code = maria_look_begin(f, err);
    return code ? code : maria_catalog_registry(f->control, f->options, &f->catalog, err);
}

static enum code feed_snapshot(struct feed *feed, struct err *err) {
    enum code code = begin(maria_self(feed), err);
    return code ? code : maria_snapshot(feed, err);
}

static enum code feed_stream(struct feed *feed, const char *start, uint64_t commit, struct err *err) {
    (void)start;
    struct maria_feed *f = maria_self(feed);
    CLEANUP_BUF sql = {0};
    uint64_t deleted = 0;
    enum code code = begin(f, err);
    buf_printf(&sql, "SELECT deleted FROM %s", f->source_table);
    if (code == OK)
        code = maria_number(f->control, doing, buf_cstr(&sql), &deleted, err);
    if (code == OK && deleted > commit)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "change rows up to cut %" PRIu64
                       " were deleted as durable, but the stored position is only %" PRIu64
                       ": the journal was set back; " AGAIN_FROM_START,
                       deleted, commit);
    if (code == OK)
        code = maria_look_for_stale(f, err);
    return code ? code : cuts_load(f, commit, err);
}

/* ---- rows ---- */

enum code maria_row_values(struct maria_feed *f, const struct maria_table *t, const char *data,
                           unsigned long len, struct value **ret, struct err *err) {
    if (!data)
        return err_set(err, REJECT, ERR_VALUE_NOT_CARRIED,
                       "a row of %s.%s is longer as text than the writer's max_allowed_packet; make it "
                       "larger or the row smaller, then " AGAIN_FROM_START,
                       t->schema, t->name);
    int column;
    *ret = arena_alloc(&f->arena, sizeof **ret * (size_t)(t->n_columns + 1));
    const char *why = maria_read_row(&t->table, t->columns, slice_make(data, len), &f->arena, *ret, &column);
    if (!why)
        return OK;
    if (column < 0)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "table %s.%s: %s; " AGAIN_FROM_START, t->schema,
                       t->name, why);
    CLEANUP_BUF key = {0};
    maria_put_key(&key, &t->table, slice_make(data, len));
    return err_set(err, REJECT, ERR_VALUE_NOT_CARRIED, "%s.%s (%s): the value of column %s of type %s %s",
                   t->schema, t->name, buf_cstr(&key), t->columns[column].name, t->columns[column].type, why);
}

static bool op_of(const char *text, enum op *ret) {
    *ret = (enum op)(text ? text[0] : 0);
    return *ret == OP_CREATE || *ret == OP_UPDATE || *ret == OP_DELETE;
}

/* An installation made while we read gives new numbers. */
static enum code table_of(struct maria_feed *f, uint64_t number, const struct maria_table **ret,
                          struct err *err) {
    *ret = maria_catalog_number(&f->catalog, number);
    if (*ret)
        return OK;
    maria_catalog_free(&f->catalog);
    enum code code = maria_catalog_registry(f->control, f->options, &f->catalog, err);
    *ret = maria_catalog_number(&f->catalog, number);
    return code;
}

/* Columns: id, tbl, op, old, new, microseconds. */
static enum code take_row(struct maria_feed *f, const struct cut *cut, MYSQL_ROW row, struct feed_item *ret,
                          struct err *err) {
    const unsigned long *lengths = mysql_fetch_lengths(f->stream);
    const struct maria_table *t;
    enum code code = table_of(f, field_number(row, 1), &t, err);
    if (code)
        return code;
    arena_reset(&f->arena);
    *ret = (struct feed_item){.type = FEED_CHANGE,
                              .commit = cut->number,
                              .id = field_number(row, 0),
                              .commit_us = (int64_t)field_number(row, 5)};
    if (!t || !op_of(row[2], &ret->op))
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL,
                       "row %" PRIu64
                       " of %s is of a table or kind that the registry does not know; " AGAIN_FROM_START,
                       ret->id, f->changes);
    if (!t->selected)
        return OK;
    ret->table = &t->table;
    struct value *before = NULL, *after = NULL;
    if (ret->op != OP_CREATE)
        code = maria_row_values(f, t, row[3], lengths[3], &before, err);
    if (code == OK && ret->op != OP_DELETE)
        code = maria_row_values(f, t, row[4], lengths[4], &after, err);
    ret->before = before;
    ret->after = after;
    return code;
}

static enum code ask_rows(struct maria_feed *f, const struct cut *cut, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql,
               "SELECT id, tbl, op, old, new, CAST(UNIX_TIMESTAMP(at) * 1000000 AS UNSIGNED) FROM %s FORCE "
               "INDEX (PRIMARY) WHERE ",
               f->changes);
    f->expected = ids_put_condition(&cut->ids, &f->run, &f->from, ROWS_PER_STATEMENT, &sql);
    buf_puts(&sql, " ORDER BY id");
    return maria_stream(f->rows, doing, buf_cstr(&sql), &f->stream, err);
}

static enum code end_rows(struct maria_feed *f, struct err *err) {
    if (mysql_errno(f->rows))
        return maria_error(f->rows, doing, err);
    maria_free_result(&f->stream);
    if (f->expected)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "rows of %s were deleted by somebody else before they were read; " AGAIN_FROM_START,
                       f->changes);
    return OK;
}

/* The next row of the cut in hand, or its end. AGAIN: it ended without a boundary. */
static enum code cut_next(struct maria_feed *f, struct feed_item *ret, struct err *err) {
    const struct cut *cut = &f->cuts[f->read];
    for (;;) {
        MYSQL_ROW row = f->stream ? mysql_fetch_row(f->stream) : NULL;
        if (row && f->expected) {
            f->expected--;
            return take_row(f, cut, row, ret, err);
        }
        enum code code = f->stream ? end_rows(f, err) : OK;
        if (code)
            return code;
        if (f->run == cut->ids.n)
            break;
        code = ask_rows(f, cut, err);
        if (code)
            return code;
    }
    f->run = 0;
    f->from = 0;
    f->read++;
    *ret = (struct feed_item){.type = FEED_END, .commit = cut->number, .commit_us = clock_wall(f->env.clock)};
    return cut->whole ? OK : AGAIN;
}

/* ---- the stream ---- */

/* One deletion before each look for more, so that neither starves the other. */
static enum code look_for_more(struct maria_feed *f, struct err *err) {
    enum code deleted = cuts_delete(f, err);
    if (deleted != OK && deleted != AGAIN)
        return deleted;
    enum code code = cuts_claim(f, err);
    int64_t now = clock_mono(f->env.clock);
    if (code == AGAIN && deleted == AGAIN)
        f->nap_us = f->nap_us * 2 < NAP_US_MAX ? f->nap_us * 2 : NAP_US_MAX;
    else
        f->nap_us = NAP_US_MIN;
    f->due_us = now + f->nap_us;
    return code;
}

static enum code feed_next(struct feed *feed, struct feed_item *ret, struct err *err) {
    struct maria_feed *f = maria_self(feed);
    if (f->snapshotting)
        return maria_snapshot_next(f, ret, err);
    for (;;) {
        enum code code = OK;
        if (f->stale && !f->stale_told) {
            f->stale_told = true;
            *ret = (struct feed_item){.type = FEED_STALE, .text = f->stale};
            return OK;
        }
        if (f->read < f->n_cuts)
            code = cut_next(f, ret, err);
        else if (!f->open && clock_mono(f->env.clock) < f->due_us)
            return AGAIN;
        else {
            code = look_for_more(f, err);
            if (code == OK)
                continue;
            return code;
        }
        if (code != AGAIN)
            return code;
    }
}

static int feed_fds(struct feed *feed, struct pollfd *fds, int n, int64_t *deadline_us) {
    struct maria_feed *f = maria_self(feed);
    (void)fds, (void)n;
    if (f->due_us < *deadline_us)
        *deadline_us = f->due_us;
    return 0;
}

static enum code feed_service(struct feed *feed, struct err *err) {
    struct maria_feed *f = maria_self(feed);
    enum code code = cuts_delete(f, err);
    if (code == AGAIN)
        code = OK;
    int64_t begin = clock_mono(f->env.clock);
    if (code || f->snapshotting || begin < f->look_due_us)
        return code;
    code = maria_look_again(f, err);
    int64_t now = clock_mono(f->env.clock), rest = (now - begin) * LOOK_RESTS;
    f->look_due_us = now + (rest > LOOK_US ? rest : LOOK_US);
    return code;
}

static enum code feed_forget(struct feed *feed, uint64_t commit, struct err *err) {
    (void)err;
    struct maria_feed *f = maria_self(feed);
    if (commit > f->forgotten)
        f->forgotten = commit;
    f->due_us = 0;
    return OK;
}

static struct feed_gauge feed_gauge(struct feed *feed) {
    struct maria_feed *f = maria_self(feed);
    return (struct feed_gauge){.progress = f->progress, .held_bytes = f->held_bytes};
}

const struct feed_ops maria_feed_ops = {
    .connect = feed_connect,
    .close = feed_close,
    .claim = feed_claim,
    .look = maria_look,
    .script = maria_script,
    .run = maria_run,
    .snapshot = feed_snapshot,
    .stream = feed_stream,
    .next = feed_next,
    .fds = feed_fds,
    .service = feed_service,
    .forget = feed_forget,
    .gauge = feed_gauge,
};
