/* Cuts of the change table (see mariadb.h).
 *
 * How `low` is known. A change row's transaction is registered as writing before it takes the id (the table's
 * row was written before the trigger ran), and it is listed in innodb_trx until nobody's view can lack it.
 * So: top = an id that was seen; then the list is read; an id <= top belongs to somebody in the list, or is
 * visible to every view opened from now on, or gone. A writer that was not in the list of an earlier reading
 * has only ids above the top of that time. low = the least of these, as soon as a later claim has taken all
 * that is visible up to there. (An update that changes nothing writes no row of the table, and may take its
 * id before it is registered; if it is passed by, nothing is lost. MariaDB caches the list for 100 ms: a
 * reading counts only if our own, newest transaction is in it.) */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "capture/trigger/mariadb/mariadb.h"

enum {
    CLAIM_ROWS = 20000,
    DELETE_ROWS = 1000,
    SAMPLE_US = 500000,
    WHOLE_TRIES_MAX = 500,
};
#define TRX_READ_ONLY \
    (UINT64_C(1) << 47) /* greater ones are addresses, given to transactions that have written nothing */

static const char doing_claim[] = "reading the change table",
                  doing_delete[] = "deleting from the change table";

static void cut_free(struct cut *cut) {
    ids_free(&cut->ids);
}

void cuts_free(struct maria_feed *f) {
    for (size_t i = 0; i < f->n_cuts; i++)
        cut_free(&f->cuts[i]);
    free(f->cuts);
    ids_free(&f->taken);
    free(f->writers);
}

static struct cut *cut_add(struct maria_feed *f) {
    f->cuts = xrealloc(f->cuts, sizeof *f->cuts * (f->n_cuts + 1));
    f->cuts[f->n_cuts] = (struct cut){0};
    return &f->cuts[f->n_cuts++];
}

/* ---- loading ---- */

enum code cuts_load(struct maria_feed *f, uint64_t commit, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_ROWS *rows = NULL;
    buf_printf(&sql, "SELECT low FROM %s", f->source_table);
    enum code code = maria_number(f->control, doing_claim, buf_cstr(&sql), &f->low, err);
    if (code)
        return code;
    buf_clear(&sql);
    buf_printf(&sql, "SELECT cut, whole, ids FROM %s ORDER BY cut", f->cuts_table);
    code = maria_query(f->control, doing_claim, buf_cstr(&sql), &rows, err);
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        struct cut *cut = cut_add(f);
        cut->number = field_number(row, 0);
        cut->whole = field_number(row, 1) != 0;
        if (!row[2] || !ids_parse(slice_make(row[2], mysql_fetch_lengths(rows)[2]), &cut->ids))
            return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                           "the source's list of cuts is broken at %" PRIu64
                           "; take a new snapshot: millrace capture --config FILE --resnapshot",
                           cut->number);
        ids_unite(&f->taken, &cut->ids);
        f->read += cut->number <= commit;
        if (cut->ids.n && cut->ids.runs[cut->ids.n - 1].last > f->top)
            f->top = cut->ids.runs[cut->ids.n - 1].last;
    }
    f->forgotten = commit;
    f->sampled_top = f->low;
    return code;
}

/* ---- claiming ---- */

static enum code views_open(struct maria_feed *f, struct err *err) {
    static const char begin[] = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    enum code code = maria_exec(f->view, doing_claim, begin, err);
    if (code == OK)
        code = maria_exec(f->witness, doing_claim, begin, err);
    f->open = code == OK;
    f->cursor = f->low;
    return code;
}

static enum code views_close(struct maria_feed *f, struct err *err) {
    f->open = false;
    enum code code = maria_exec(f->view, doing_claim, "COMMIT", err);
    enum code other = maria_exec(f->witness, doing_claim, "COMMIT", err);
    return code ? code : other;
}

/* The ids above `after` that a view shows, at most `max` of them and at most up to `to` (0: no end). */
static enum code read_ids(struct maria_feed *f, MYSQL *view, uint64_t after, uint64_t to, uint64_t max,
                          struct id_set *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_ROWS *rows = NULL;
    buf_printf(&sql, "SELECT id FROM %s FORCE INDEX (PRIMARY) WHERE id > %" PRIu64, f->changes, after);
    if (to)
        buf_printf(&sql, " AND id <= %" PRIu64, to);
    buf_printf(&sql, " ORDER BY id LIMIT %" PRIu64, max);
    enum code code = maria_stream(view, doing_claim, buf_cstr(&sql), &rows, err);
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));)
        ids_append(ret, field_number(row, 0));
    return code == OK && mysql_errno(view) ? maria_error(view, doing_claim, err) : code;
}

static uint64_t greatest(const struct id_set *set) {
    return set->n ? set->runs[set->n - 1].last : 0;
}

/* The smallest id that the witness has and the view has not; UINT64_MAX if there is none. */
static uint64_t first_missing(const struct id_set *seen, const struct id_set *witnessed) {
    struct id_set more = {0};
    ids_unite(&more, witnessed);
    ids_subtract(&more, seen);
    uint64_t first = more.n ? more.runs[0].first : UINT64_MAX;
    ids_free(&more);
    return first;
}

/* Of `seen` what is below `limit` and in no cut yet. */
static void keep_fresh(const struct maria_feed *f, const struct id_set *seen, uint64_t limit,
                       struct id_set *ret) {
    ids_unite(ret, seen);
    ids_subtract(ret, &f->taken);
    struct id_set above = {0};
    if (limit != UINT64_MAX && greatest(ret) >= limit) {
        struct id_run run = {limit, greatest(ret)};
        above = (struct id_set){&run, 1, 1, run.last - run.first + 1};
        ids_subtract(ret, &above);
    }
}

/* Writes the cut down; from then on it is a fact. Takes the ids. */
static enum code store_cut(struct maria_feed *f, struct id_set *ids, bool whole, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "INSERT INTO %s (whole, ids) VALUES (%d, '", f->cuts_table, whole);
    ids_print(ids, &sql);
    buf_puts(&sql, "')");
    enum code code =
        maria_exec(f->control, "writing down what is taken from the change table", buf_cstr(&sql), err);
    if (code)
        return code;
    struct cut *cut = cut_add(f);
    *cut = (struct cut){mysql_insert_id(f->control), whole, *ids};
    *ids = (struct id_set){0};
    ids_unite(&f->taken, &cut->ids);
    if (greatest(&cut->ids) > f->top)
        f->top = greatest(&cut->ids);
    return OK;
}

/* One portion of what the views show above the cursor. AGAIN: there was nothing new in it. *ret_end: the
 * views have no more. */
static enum code claim_portion(struct maria_feed *f, uint64_t *ret_limit, bool *ret_end, struct err *err) {
    struct id_set seen = {0}, witnessed = {0}, fresh = {0};
    uint64_t max = f->taken.count + CLAIM_ROWS;
    enum code code = read_ids(f, f->view, f->cursor, 0, max, &seen, err);
    if (code == OK && seen.count)
        code = read_ids(f, f->witness, f->cursor, greatest(&seen), UINT64_MAX, &witnessed, err);
    *ret_limit = first_missing(&seen, &witnessed);
    *ret_end = seen.count < max;
    if (code == OK) {
        keep_fresh(f, &seen, *ret_limit, &fresh);
        f->cursor = seen.count ? greatest(&seen) : f->cursor;
        code = fresh.count ? store_cut(f, &fresh, *ret_end && *ret_limit == UINT64_MAX, err) : AGAIN;
    }
    ids_free(&seen);
    ids_free(&witnessed);
    ids_free(&fresh);
    return code;
}

/* Without opening a view, where no row of a cut is in the way. */
static enum code look_for_rows(struct maria_feed *f, struct err *err) {
    if (f->taken.count)
        return OK;
    CLEANUP_BUF sql = {0};
    uint64_t id;
    buf_printf(&sql, "SELECT id FROM %s WHERE id > %" PRIu64 " LIMIT 1", f->changes, f->low);
    enum code code = maria_number(f->control, doing_claim, buf_cstr(&sql), &id, err);
    return code == OK && !id ? AGAIN : code;
}

enum code cuts_claim(struct maria_feed *f, struct err *err) {
    enum code code = f->open ? OK : look_for_rows(f, err);
    if (code == OK && !f->open)
        code = views_open(f, err);
    if (code)
        return code;
    uint64_t limit;
    bool end;
    code = claim_portion(f, &limit, &end, err);
    if (code != OK && code != AGAIN)
        return code;
    if (!end && limit == UINT64_MAX)
        return OK; /* the same views have more */
    if (limit > f->low_next && f->low_next > f->low)
        f->low = f->low_next;
    enum code closed = views_close(f, err);
    return closed ? closed : code;
}

/* A view that lacks nothing on which what it shows depends. */
static enum code open_whole(struct maria_feed *f, struct id_set *seen, struct err *err) {
    for (int i = 0; i < WHOLE_TRIES_MAX; i++) {
        struct id_set witnessed = {0};
        enum code code = views_open(f, err);
        if (code == OK)
            code = read_ids(f, f->view, f->low, 0, UINT64_MAX, seen, err);
        if (code == OK && seen->count)
            code = read_ids(f, f->witness, f->low, greatest(seen), UINT64_MAX, &witnessed, err);
        bool whole = first_missing(seen, &witnessed) == UINT64_MAX;
        ids_free(&witnessed);
        if (code || whole)
            return code;
        ids_free(seen);
        code = views_close(f, err);
        if (code)
            return code;
    }
    return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE,
                   "taking the snapshot's view: transactions of the source ended at every one of %d tries",
                   WHOLE_TRIES_MAX);
}

/* In portions, so that no statement is larger than the server takes. */
static enum code store_cuts(struct maria_feed *f, const struct id_set *ids, struct err *err) {
    for (size_t i = 0; i < ids->n;) {
        size_t n = ids->n - i < CLAIM_ROWS ? ids->n - i : CLAIM_ROWS;
        struct id_set part = {ids->runs + i, n, n, 0}, copy = {0};
        ids_unite(&copy, &part);
        i += n;
        enum code code = store_cut(f, &copy, i == ids->n, err);
        ids_free(&copy);
        if (code)
            return code;
    }
    return OK;
}

enum code cuts_claim_all(struct maria_feed *f, struct err *err) {
    struct id_set seen = {0}, fresh = {0};
    enum code code = open_whole(f, &seen, err);
    keep_fresh(f, &seen, UINT64_MAX, &fresh);
    if (code == OK)
        code = store_cuts(f, &fresh, err);
    ids_free(&seen);
    ids_free(&fresh);
    f->read = f->n_cuts;
    f->open = false; /* the first view is the snapshot's now */
    return code ? code : maria_exec(f->witness, doing_claim, "COMMIT", err);
}

/* ---- deleting ---- */

static uint64_t floor_of(const struct maria_feed *f, uint64_t trx) {
    for (int i = 0; i < f->n_writers; i++)
        if (f->writers[i].trx == trx)
            return f->writers[i].floor;
    return f->sampled_top;
}

/* Reads the writers of the server, within a transaction of ours that has written. Seldom: the server renews
 * its list only when nobody has read it for 100 ms. */
static enum code sample_writers(struct maria_feed *f, struct err *err) {
    f->sample_due_us = clock_mono(f->env.clock) + SAMPLE_US;
    CLEANUP_ROWS *rows = NULL;
    enum code code =
        maria_query(f->control, "reading the source's transactions",
                    "SELECT trx_id, trx_mysql_thread_id FROM information_schema.INNODB_TRX", &rows, err);
    if (code)
        return code;
    struct writer *writers = xcalloc((size_t)mysql_num_rows(rows) + 1, sizeof *writers);
    int n = 0;
    uint64_t own = 0, least = f->top, thread = mysql_thread_id(f->control);
    for (MYSQL_ROW row; (row = mysql_fetch_row(rows));) {
        uint64_t trx = field_number(row, 0);
        if (!trx || trx >= TRX_READ_ONLY)
            continue;
        if (field_number(row, 1) == thread) {
            own = trx;
            continue;
        }
        writers[n++] = (struct writer){trx, floor_of(f, trx)};
        if (writers[n - 1].floor < least)
            least = writers[n - 1].floor;
    }
    if (own <= f->own_trx || mysql_warning_count(f->control)) { /* an old list, or one that was cut off */
        free(writers);
        return OK;
    }
    free(f->writers);
    f->writers = writers;
    f->n_writers = n;
    f->own_trx = own;
    f->sampled_top = f->top;
    f->low_next = least;
    return OK;
}

/* The cut's own row goes with its last change row. */
static enum code delete_cut_row(struct maria_feed *f, const struct cut *cut, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "DELETE FROM %s WHERE cut = %" PRIu64, f->cuts_table, cut->number);
    enum code code = maria_exec(f->control, doing_delete, buf_cstr(&sql), err);
    if (code)
        return code;
    buf_clear(&sql);
    buf_printf(&sql, "UPDATE %s SET deleted = %" PRIu64 ", low = %" PRIu64, f->source_table, cut->number,
               f->low);
    return maria_exec(f->control, doing_delete, buf_cstr(&sql), err);
}

static enum code delete_portion(struct maria_feed *f, const struct cut *cut, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "DELETE FROM %s WHERE ", f->changes);
    uint64_t n = ids_put_condition(&cut->ids, &f->delete_run, &f->delete_from, DELETE_ROWS, &sql);
    enum code code = maria_exec(f->control, doing_delete, "START TRANSACTION", err);
    if (code == OK && n)
        code = maria_exec(f->control, doing_delete, buf_cstr(&sql), err);
    if (code == OK && f->delete_run == cut->ids.n)
        code = delete_cut_row(f, cut, err);
    if (code == OK && n && clock_mono(f->env.clock) >= f->sample_due_us)
        code = sample_writers(f, err);
    return code ? code : maria_exec(f->control, doing_delete, "COMMIT", err);
}

static void drop_first(struct maria_feed *f) {
    ids_subtract(&f->taken, &f->cuts[0].ids);
    cut_free(&f->cuts[0]);
    memmove(f->cuts, f->cuts + 1, sizeof *f->cuts * --f->n_cuts);
    f->read--;
    f->delete_run = 0;
    f->delete_from = 0;
}

enum code cuts_delete(struct maria_feed *f, struct err *err) {
    /* While views are open, rows that are deleted now would still be seen in them. */
    if (f->open || !f->read || f->cuts[0].number > f->forgotten)
        return AGAIN;
    size_t run = f->delete_run;
    uint64_t from = f->delete_from;
    enum code code = delete_portion(f, &f->cuts[0], err);
    if (code == RETRY && mysql_ping(f->control) == 0) { /* a lock of somebody else: later */
        f->delete_run = run;
        f->delete_from = from;
        log_debug("capture", "deletion is put off", F_STR("why", err->text));
        return maria_exec(f->control, doing_delete, "ROLLBACK", err) == OK ? AGAIN : RETRY;
    }
    if (code == OK && f->delete_run == f->cuts[0].ids.n)
        drop_first(f);
    return code;
}
