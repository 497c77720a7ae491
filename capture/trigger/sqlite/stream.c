/* Reading the change table: a bounded number of rows at a time, each time in a short transaction, so that
 * neither writers wait for us nor the -wal file grows because of us. */
#include <stdio.h>

#include "base/log.h"
#include "capture/trigger/sqlite/sqlite.h"

#define RESNAPSHOT "take a new snapshot: millrace capture --config FILE --resnapshot"
enum { FETCH_ROWS = 512, FETCH_BYTES = 1 << 20 };
enum { NAP_US_MIN = 1000, NAP_US_MAX = 250000, LOCKED_TELL_US = 10000000 };

/* ---- beginning ---- */

enum code lsource_begin_stream(struct lsource *s, int64_t after, struct err *err) {
    struct lstate state;
    s->snapshotting = false;
    enum code code = lstate_read(&s->file, &state, err);
    if (code != OK)
        return code;
    s->low = state.last ? state.low : after;
    s->read = s->top = after;
    s->confirmed = state.confirmed;
    s->quiet = s->forgotten = after;
    lfile_patience(&s->file, 0);
    lwatch_open(&s->watch, sqlite3_db_filename(s->file.conn, "main"));
    return OK;
}

/* The time makes the difference: an id is given again only after its row was lost. */
enum code lseal_read(struct lfile *f, int64_t id, struct lseal *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_LSTMT *stmt = NULL;
    bool row = false;
    buf_printf(
        &sql,
        "SELECT printf('%%d/%%d%%s%%d/%%d', id, shape, op, at, number) FROM millrace_changes WHERE id = %lld",
        (long long)id);
    enum code code = lfile_prepare(f, buf_cstr(&sql), &stmt, err);
    if (code == OK)
        code = lfile_step(f, stmt, &row, err);
    snprintf(ret->text, sizeof ret->text, "%s", row ? lfile_text(stmt, 0) : "");
    return code;
}

/* A row that is there still must be the one that was handed over. */
static enum code check_seal(struct lsource *s, const char *seal, struct err *err) {
    struct lseal now;
    enum code code = lseal_read(&s->file, strtoll(seal, NULL, 10), &now, err);
    snprintf(s->seal.text, sizeof s->seal.text, "%s", seal);
    if (code != OK || !*now.text || strcmp(now.text, seal) == 0)
        return code;
    return err_set(
        err, FATAL, ERR_NEEDS_RESNAPSHOT,
        "%s was set back: another change stands where the newest one stood that was shipped (%s, now "
        "%s); " RESNAPSHOT,
        s->options->path, seal, now.text);
}

/* The confirmed end that the journal remembers was written into the file, and to the disk, before: a file
 * that knows only an older one is an older copy. */
static enum code check_copy(struct lsource *s, const char *start, int64_t after, struct err *err) {
    const char *seal = strchr(start, ' ');
    long long known = strtoll(start, NULL, 10);
    if (s->confirmed < known)
        return err_set(
            err, FATAL, ERR_NEEDS_RESNAPSHOT,
            "%s was set back: changes up to %lld were deleted as confirmed, and now only those up to %lld "
            "are (a backup was restored?); " RESNAPSHOT,
            s->options->path, known, (long long)s->confirmed);
    if (s->low > after)
        return err_set(
            err, FATAL, ERR_NEEDS_RESNAPSHOT,
            "the change table of %s begins after %lld, and the stored position is %lld: rows were deleted "
            "that were not read; " RESNAPSHOT,
            s->options->path, (long long)s->low, (long long)after);
    return seal && seal[1] ? check_seal(s, seal + 1, err) : OK;
}

enum code lsource_stream(struct feed *feed, const char *start, uint64_t commit, struct err *err) {
    struct lsource *s = lself(feed);
    enum code code = lfile_run(&s->file, "BEGIN", err);
    if (code == OK)
        code = lsource_begin_stream(s, (int64_t)commit, err);
    if (code == OK)
        code = check_copy(s, start, (int64_t)commit, err);
    s->read = s->low; /* notes of rows that are replaced may stand before it */
    lfile_rollback(&s->file);
    return code == AGAIN ? (err->code = RETRY) : code;
}

/* ---- fetching ---- */

static enum code prepare(struct lsource *s, struct err *err) {
    CLEANUP_BUF sql = {0};
    if (s->fetch)
        return OK;
    buf_puts(&sql, "SELECT id, shape, op, at, number");
    put_lvalues(&sql, 1, s->width);
    buf_puts(&sql, " FROM millrace_changes WHERE id > ?1 AND id <= ?2 ORDER BY id");
    return lfile_prepare(&s->file, buf_cstr(&sql), &s->fetch, err);
}

/* Whether somebody has committed since everything was read. */
static enum code is_new(struct lsource *s, bool *ret, int64_t *ret_version, struct err *err) {
    bool row = false;
    enum code code = OK;
    if (!s->data_version)
        code = lfile_prepare(&s->file, "PRAGMA data_version", &s->data_version, err);
    if (code == OK)
        code = lfile_step(&s->file, s->data_version, &row, err);
    *ret_version = row ? sqlite3_column_int64(s->data_version, 0) : -1;
    if (s->data_version)
        sqlite3_reset(s->data_version);
    *ret = s->begun || *ret_version != s->version;
    return code;
}

static enum code bad_row(const struct lsource *s, const char *what, int64_t id, struct err *err) {
    return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                   "the change table of %s was altered by hand: %s (row %lld); " RESNAPSHOT, s->options->path,
                   what, (long long)id);
}

/* The cells that the row's shape and kind of change have. */
static int cells_of(const struct ltable *t, char op) {
    return op == 't' ? 0 : op == 'i' || op == 'd' ? t->n_columns : 2 * t->n_columns;
}

static enum code take_row(struct lsource *s, struct lrow *row, struct err *err) {
    sqlite3_stmt *stmt = s->fetch;
    const char *op = lfile_text(stmt, 2);
    *row = (struct lrow){
        .id = sqlite3_column_int64(stmt, 0),
        .shape = sqlite3_column_int64(stmt, 1),
        .op = op[0],
        .at_ms = sqlite3_column_int64(stmt, 3),
        .numbered = sqlite3_column_type(stmt, 4) != SQLITE_NULL,
        .number = sqlite3_column_int64(stmt, 4),
    };
    const struct ltable *t = lcatalog_shape(&s->registry, row->shape);
    if (row->id != s->read + 1)
        return bad_row(s, "rows before it are missing", row->id, err);
    if (!t || !op[0] || op[1] || !strchr("iudrqt", op[0]))
        return bad_row(s, "its shape or its kind is unknown", row->id, err);
    int n = cells_of(t, row->op);
    if (n > s->width)
        return bad_row(s, "it has more values than there are columns", row->id, err);
    row->cells = arena_alloc(&s->arena, sizeof *row->cells * (size_t)(n + 1));
    for (int i = 0; i < n; i++)
        row->cells[i] = cell_of(stmt, 5 + i, &s->arena);
    s->read = row->id;
    return OK;
}

static enum code take_rows(struct lsource *s, struct err *err) {
    bool row = true;
    arena_reset(&s->arena);
    s->n_rows = s->at = 0;
    s->rows = arena_alloc(&s->arena, sizeof *s->rows * FETCH_ROWS);
    size_t before = s->arena.used;
    enum code code = prepare(s, err);
    if (code != OK)
        return code;
    sqlite3_bind_int64(s->fetch, 1, s->read);
    sqlite3_bind_int64(s->fetch, 2, s->top);
    while (code == OK && s->n_rows < FETCH_ROWS && s->arena.used - before < FETCH_BYTES &&
           (code = lfile_step(&s->file, s->fetch, &row, err)) == OK && row) {
        code = take_row(s, &s->rows[s->n_rows], err);
        s->n_rows += code == OK;
    }
    sqlite3_reset(s->fetch);
    if (code == OK && !row && s->read < s->top)
        return bad_row(s, "rows after it are missing", s->read, err);
    if (s->n_rows)
        s->row_bytes = (double)(s->arena.used - before) / s->n_rows;
    return code;
}

static enum code fetch_in(struct lsource *s, struct err *err) {
    enum code code = lsource_verify(s, err);
    if (code == OK && !s->begun) {
        code = lfile_number(&s->file, "SELECT max(id) FROM millrace_changes", &s->top, err);
        if (code == OK && s->top < s->read) /* the newest row is never deleted by us */
            return bad_row(s, "the newest rows are missing", s->read, err);
        s->begun = code == OK;
    }
    return code == OK ? take_rows(s, err) : code;
}

static enum code nap(struct lsource *s) {
    int64_t now = clock_mono(s->env.clock);
    s->nap_us = s->nap_us < NAP_US_MIN ? NAP_US_MIN : s->nap_us * 2 > NAP_US_MAX ? NAP_US_MAX : s->nap_us * 2;
    s->due_us = now + s->nap_us;
    return AGAIN;
}

/* Another program has the whole file for itself: what it writes is read when it lets go. */
static enum code locked(struct lsource *s) {
    int64_t now = clock_mono(s->env.clock);
    if (!s->locked_since_us)
        s->locked_since_us = now;
    if (now - s->locked_since_us > LOCKED_TELL_US && !s->locked_told) {
        s->locked_told = true;
        log_warn("capture",
                 "the source's file is locked by another program; its changes are read when it lets go",
                 F_STR("path", s->options->path));
    }
    return nap(s);
}

/* OK: there are rows, or the end of them; AGAIN: nothing new. */
static enum code fetch(struct lsource *s, struct err *err) {
    bool wanted;
    int64_t version;
    if (lwatch_taken(&s->watch))
        s->nap_us = 0;
    enum code code = is_new(s, &wanted, &version, err);
    if (code == OK && !wanted)
        return nap(s);
    if (code == OK)
        code = lfile_run(&s->file, "BEGIN", err);
    if (code == OK)
        code = fetch_in(s, err);
    lfile_rollback(&s->file);
    if (code == AGAIN)
        return locked(s);
    s->locked_since_us = s->nap_us = 0;
    s->locked_told = false;
    if (code == OK && s->read == s->top)
        s->version = version; /* asked before: what came in between is seen again */
    return code;
}

/* ---- telling ---- */

static enum code tell(struct lsource *s, const struct ltable *t, const struct lrow *row, enum op op,
                      const struct cell *before, const struct cell *after, struct feed_item *ret,
                      struct err *err) {
    struct value *old = NULL, *new = NULL;
    enum code code = OK;
    arena_reset(&s->values);
    *ret = (struct feed_item){.type = FEED_CHANGE,
                              .op = op,
                              .commit = (uint64_t)s->current->id,
                              .id = (uint64_t)row->id,
                              .commit_us = s->current->at_ms * 1000};
    if (!lsource_selects(s->options, t->name))
        return OK;
    if (before)
        code = lsource_values(s, t, before, &old, err);
    if (code == OK && after)
        code = lsource_values(s, t, after, &new, err);
    ret->table = &t->table;
    ret->before = old;
    ret->after = new;
    return code;
}

/* First the rows that went for the current one, then itself. False: nothing (more) to tell of it. */
static enum code tell_current(struct lsource *s, struct feed_item *ret, bool *told, struct err *err) {
    struct lrow *row = s->current;
    const struct ltable *t = lcatalog_shape(&s->registry, row->shape);
    const struct lrow *gone = lreplaced_next(s->replaced);
    *told = row->id > s->quiet;
    if (gone)
        return *told ? tell(s, t, gone, OP_DELETE, gone->cells, NULL, ret, err) : OK;
    const struct cell *first = row->cells, *second = row->cells + t->n_columns;
    enum code code = OK;
    if (!*told) {
        s->current = NULL;
        return OK;
    }
    switch (row->op) {
    case 'i':
        code = tell(s, t, row, OP_CREATE, NULL, first, ret, err);
        break;
    case 'u':
        code = tell(s, t, row, OP_UPDATE, first, second, ret, err);
        break;
    case 'd':
        code = tell(s, t, row, OP_DELETE, first, NULL, ret, err);
        break;
    case 't':
        code = tell(s, t, row, OP_TRUNCATE, NULL, NULL, ret, err);
        break;
    default:
        *told = false;
    }
    s->current = NULL;
    return code;
}

/* What lseal_read() would say of it. */
static void seal(struct lsource *s, const struct lrow *row) {
    snprintf(s->seal.text, sizeof s->seal.text, "%lld/%lld%c%lld/%lld", (long long)row->id,
             (long long)row->shape, row->op, (long long)row->at_ms, (long long)row->number);
}

static enum code tell_end(struct lsource *s, struct feed_item *ret) {
    if (s->n_rows)
        seal(s, &s->rows[s->n_rows - 1]);
    s->begun = false;
    s->safe = s->top;
    *ret = (struct feed_item){.type = FEED_END, .commit = (uint64_t)s->top};
    if (s->n_rows)
        ret->commit_us = s->rows[s->n_rows - 1].at_ms * 1000;
    return OK;
}

enum code lsource_next(struct feed *feed, struct feed_item *ret, struct err *err) {
    struct lsource *s = lself(feed);
    if (s->snapshotting)
        return lsnapshot_next(s, ret, err);
    for (;;) {
        while (s->current) {
            bool told;
            enum code code = tell_current(s, ret, &told, err);
            if (code != OK || told)
                return code;
        }
        if (s->at < s->n_rows) {
            s->current = &s->rows[s->at++];
            lreplaced_see(s->replaced, lcatalog_shape(&s->registry, s->current->shape), s->current);
            continue;
        }
        if (s->begun && s->read == s->top)
            return tell_end(s, ret);
        enum code code = fetch(s, err);
        if (code != OK)
            return code;
    }
}
