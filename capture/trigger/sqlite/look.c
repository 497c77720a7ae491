/* What the installation is, and what became of it. (SQLite manual, "The Schema Table".) */
#include <stdio.h>

#include "capture/trigger/sqlite/sqlite.h"

#define ANEW_MEND                                                                                    \
    "make the installation anew: millrace source uninstall --config FILE, then install, then a new " \
    "snapshot: millrace capture --config FILE --resnapshot"

/* ---- the tables millrace_* ------------------------------------------------------------------------- */

static enum code check_changes(struct lfile *f, struct lstate *ret, struct err *err) {
    static const char *const fixed[] = {"id", "shape", "op", "at", "number"};
    CLEANUP_LSTMT *stmt = NULL;
    int n = 0;
    bool whole = true;
    enum code code =
        lfile_prepare(f, "SELECT name FROM pragma_table_xinfo('millrace_changes') ORDER BY cid", &stmt, err);
    for (bool row = true; code == OK && (code = lfile_step(f, stmt, &row, err)) == OK && row; n++) {
        char name[24];
        snprintf(name, sizeof name, "v%d", n - 4);
        whole &= strcmp(lfile_text(stmt, 0), n < 5 ? fixed[n] : name) == 0;
    }
    ret->width = n - 5;
    if (code == OK && (!whole || n < 5))
        return err_set(err, FATAL, ERR_SOURCE_TRIGGERS,
                       "the change table of %s (millrace_changes) is gone or was altered; " ANEW_MEND,
                       f->options->path);
    return code;
}

static enum code read_source(struct lfile *f, struct lstate *ret, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    bool row = false;
    enum code code = lfile_prepare(f, "SELECT format, identity, confirmed FROM millrace_source", &stmt, err);
    if (code == OK)
        code = lfile_step(f, stmt, &row, err);
    if (code != OK)
        return code;
    if (!row || sqlite3_column_int(stmt, 0) != LSOURCE_FORMAT)
        return err_set(
            err, FATAL, ERR_SOURCE_TRIGGERS,
            "table millrace_source of %s was altered, or made by another version of Millrace; " ANEW_MEND,
            f->options->path);
    snprintf(ret->identity, sizeof ret->identity, "%s", lfile_text(stmt, 1));
    ret->confirmed = sqlite3_column_int64(stmt, 2);
    return OK;
}

enum code lstate_read(struct lfile *f, struct lstate *ret, struct err *err) {
    int64_t n;
    *ret = (struct lstate){0};
    enum code code = lfile_number(
        f, "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'millrace_source'", &n, err);
    if (code != OK || !n)
        return code;
    ret->installed = true;
    code = check_changes(f, ret, err);
    if (code == OK)
        code = read_source(f, ret, err);
    if (code == OK)
        code = lfile_number(f, "SELECT min(id) - 1 FROM millrace_changes", &ret->low, err);
    if (code == OK)
        code = lfile_number(f, "SELECT max(id) FROM millrace_changes", &ret->last, err);
    if (code == OK)
        code =
            lfile_number(f, "SELECT ifnull(max(shape), 0) + 1 FROM millrace_shapes", &ret->next_shape, err);
    return code;
}

/* ---- triggers ---- */

/* Whether the trigger stands as it was made; *ret_place: in the order of creation. */
static enum code check_trigger(struct lfile *f, const struct ltable *t, int64_t shape, enum ltrigger which,
                               int64_t *ret_place, struct buf *why, struct err *err) {
    CLEANUP_BUF name = {0};
    CLEANUP_BUF text = {0};
    CLEANUP_LSTMT *stmt = NULL;
    bool row = false;
    put_ltrigger_name(&name, shape, which);
    put_ltrigger(&text, t, shape, which);
    enum code code = lfile_prepare(
        f, "SELECT sql, rowid FROM sqlite_schema WHERE type = 'trigger' AND name = ?1", &stmt, err);
    if (code != OK)
        return code;
    sqlite3_bind_text(stmt, 1, buf_cstr(&name), -1, SQLITE_STATIC);
    code = lfile_step(f, stmt, &row, err);
    if (code != OK)
        return code;
    *ret_place = row ? sqlite3_column_int64(stmt, 1) : INT64_MAX;
    if (row != (text.len > 0))
        buf_printf(why, "its trigger %s is gone", buf_cstr(&name));
    else if (row && strcmp(lfile_text(stmt, 0), buf_cstr(&text)) != 0)
        buf_printf(
            why,
            "its trigger %s is not the one that has to be there: it, or an index of the table, was altered",
            buf_cstr(&name));
    return OK;
}

/* Ours are older than the end's, and the application's older than ours. */
static enum code check_order(struct lfile *f, const struct ltable *t, int64_t oldest, int64_t newest,
                             struct buf *why, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    bool row = false;
    int64_t end;
    enum code code =
        lfile_number(f, "SELECT rowid FROM sqlite_schema WHERE name = 'millrace_end'", &end, err);
    if (code == OK)
        code = lfile_prepare(
            f,
            "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND lower(tbl_name) = lower(?1) "
            "AND rowid > ?2 AND name NOT LIKE 'millrace\\_%' ESCAPE '\\'",
            &stmt, err);
    if (code != OK)
        return code;
    sqlite3_bind_text(stmt, 1, t->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 2, oldest);
    code = lfile_step(f, stmt, &row, err);
    if (row)
        buf_printf(why,
                   "its trigger %s was created after ours and fires first: what it changes would be told "
                   "before what it follows from",
                   lfile_text(stmt, 0));
    else if (code == OK && newest > end)
        buf_puts(why, "its triggers were dropped and created again: changes may be missing");
    return code;
}

static enum code check_triggers(struct lfile *f, const struct ltable *t, int64_t shape, struct buf *why,
                                struct err *err) {
    int64_t oldest = INT64_MAX, newest = 0, place;
    for (int i = 0; i < LTRIGGERS && !why->len; i++) {
        enum code code = check_trigger(f, t, shape, (enum ltrigger)i, &place, why, err);
        if (code != OK)
            return code;
        if (place == INT64_MAX)
            continue;
        oldest = place < oldest ? place : oldest;
        newest = place > newest ? place : newest;
    }
    return why->len ? OK : check_order(f, t, oldest, newest, why, err);
}

/* ---- tables ---- */

static bool same_column(const struct lcolumn *a, const struct lcolumn *b) {
    return strcmp(a->name, b->name) == 0 && strcmp(a->declared, b->declared) == 0 &&
           a->not_null == b->not_null && a->key == b->key;
}

/* The table now has the registered columns, and maybe more behind them. */
static bool begins_with(const struct ltable *now, const struct ltable *registered) {
    if (now->n_columns < registered->n_columns)
        return false;
    for (int i = 0; i < registered->n_columns; i++)
        if (!same_column(&now->columns[i], &registered->columns[i]))
            return false;
    return true;
}

enum code lfit_look(struct lfile *f, const struct ltable *registered, const struct ltable *now,
                    enum lfit *ret, struct buf *why, struct err *err) {
    *ret = LFIT_DROPPED;
    if (!now) {
        buf_puts(why, "it was dropped or renamed");
        return OK;
    }
    *ret = LFIT_BROKEN;
    if (!begins_with(now, registered)) {
        buf_puts(why, "its columns were changed");
        return OK;
    }
    struct ltable as_installed = *now;
    as_installed.n_columns = registered->n_columns;
    enum code code = check_triggers(f, &as_installed, registered->shape, why, err);
    if (code != OK || why->len)
        return code;
    *ret = now->n_columns == registered->n_columns ? LFIT_WHOLE : LFIT_ADDED;
    if (*ret == LFIT_ADDED)
        buf_printf(why, "column %s was added", now->columns[registered->n_columns].name);
    return OK;
}

static void find_table(struct feed_look *ret, const char *name, const char *why, const char *mend) {
    CLEANUP_FREE char *what = xasprintf("table main.%s: %s", name, why);
    feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, NULL, what, mend);
}

static enum code examine_registered(struct lfile *f, const struct lsource_options *o,
                                    const struct lcatalog *now, const struct lcatalog *registry,
                                    struct feed_look *ret, int *ret_fine, struct err *err) {
    enum code code = OK;
    for (int i = 0; code == OK && i < registry->n; i++) {
        const struct ltable *t = registry->tables[i], *here = lcatalog_find(now, t->name);
        CLEANUP_BUF why = {0};
        enum lfit fit;
        if (!t->live || !lsource_selects(o, t->name))
            continue;
        code = lfit_look(f, t, here, &fit, &why, err);
        if (code == OK && here && here->refused)
            find_table(ret, t->name, here->refused,
                       "mend that, or leave the table out: tables: [\"!main.NAME\"]");
        else if (code == OK && fit != LFIT_WHOLE)
            find_table(ret, t->name, buf_cstr(&why), INSTALL_MEND);
        else
            ++*ret_fine;
    }
    return code;
}

static void examine_new(const struct lsource_options *o, const struct lcatalog *now,
                        const struct lcatalog *registry, struct feed_look *ret) {
    for (int i = 0; i < now->n; i++) {
        const char *name = now->tables[i]->name;
        if (!lsource_selects(o, name) || lcatalog_find(registry, name))
            continue;
        CLEANUP_FREE char *what =
            xasprintf("table main.%s is selected and has no triggers: it is not captured", name);
        feed_find(ret, FEED_WARN, ERR_NONE, "table-not-installed", what, INSTALL_MEND);
    }
}

/* Somebody else's trigger on our tables, or a place for rows that is not ours. */
static enum code examine_strangers(struct lfile *f, struct feed_look *ret, struct err *err) {
    int64_t n;
    enum code code = lfile_number(f,
                                  "SELECT count(*) FROM sqlite_schema WHERE type = 'trigger' AND "
                                  "tbl_name LIKE 'millrace\\_%' ESCAPE '\\' AND name <> 'millrace_end'",
                                  &n, err);
    if (code == OK && n)
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, NULL, "a table of the installation has a trigger",
                  "drop the triggers on tables millrace_*; then " ANEW_MEND);
    return code;
}

static enum code measure(struct lfile *f, const struct lstate *state, const struct lsource_options *o,
                         struct feed_look *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    int64_t row_bytes = 0;
    buf_puts(&sql, "SELECT avg(n) FROM (SELECT 24");
    for (int i = 1; i <= state->width; i++)
        buf_printf(&sql, " + 1 + ifnull(length(CAST(v%d AS BLOB)), 0)", i);
    buf_puts(&sql, " AS n FROM millrace_changes ORDER BY id DESC LIMIT 64)");
    enum code code = lfile_number(f, buf_cstr(&sql), &row_bytes, err);
    ret->last_id = (uint64_t)state->last;
    ret->rows = state->last - state->low;
    ret->bytes = ret->rows * row_bytes;
    if (code == OK && ret->bytes > o->change_table_bytes / 10 * 8) {
        CLEANUP_FREE char *what =
            xasprintf("the change table holds about %lld bytes (%lld rows) of the %lld it may hold",
                      (long long)ret->bytes, (long long)ret->rows, (long long)o->change_table_bytes);
        feed_find(ret, FEED_WARN, ERR_NONE, "change-table-size", what,
                  "start the capture, or see why the journal takes nothing: millrace status --config FILE");
    }
    return code;
}

static enum code examine_mode(struct lfile *f, struct feed_look *ret, struct err *err) {
    CLEANUP_LSTMT *stmt = NULL;
    bool row;
    enum code code = lfile_prepare(f, "PRAGMA journal_mode", &stmt, err);
    if (code == OK)
        code = lfile_step(f, stmt, &row, err);
    if (code == OK && strcmp(lfile_text(stmt, 0), "wal") != 0)
        feed_find(
            ret, FEED_WARN, ERR_NONE, "journal-mode",
            "the file is not in WAL mode: writers and the capture wait for each other, for the length of the "
            "initial snapshot, too",
            "PRAGMA journal_mode = wal (it stays with the file)");
    return code;
}

enum code lsource_examine(struct lfile *f, const struct lsource_options *o, struct feed_look *ret,
                          struct err *err) {
    struct lstate state;
    struct lcatalog now = {0}, registry = {0};
    int fine = 0;
    enum code code = lstate_read(f, &state, err);
    if (code == FATAL && err->id == ERR_SOURCE_TRIGGERS) {
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, NULL, err->text, "");
        return OK;
    }
    if (code == OK && !state.installed) {
        CLEANUP_FREE char *what = xasprintf("%s has no triggers of Millrace", o->path);
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, NULL, what, INSTALL_MEND);
        return OK;
    }
    if (code == OK)
        code = measure(f, &state, o, ret, err);
    if (code == OK)
        code = lcatalog_read(f, &now, err);
    if (code == OK)
        code = lregistry_read(f, &registry, err);
    if (code == OK)
        code = examine_registered(f, o, &now, &registry, ret, &fine, err);
    if (code == OK)
        code = examine_strangers(f, ret, err);
    if (code == OK)
        code = examine_mode(f, ret, err);
    if (code == OK) {
        ret->installed = true;
        snprintf(ret->identity, sizeof ret->identity, "%s", state.identity);
        examine_new(o, &now, &registry, ret);
    }
    if (code == OK && !fine && feed_look_judge(ret, NULL) == OK)
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, NULL, "no table that has triggers is selected",
                  INSTALL_MEND);
    if (fine) {
        CLEANUP_FREE char *what = xasprintf("%d tables have their triggers", fine);
        feed_find(ret, FEED_OK, ERR_NONE, "triggers", what, NULL);
    }
    lcatalog_free(&now);
    lcatalog_free(&registry);
    return code;
}

enum code lsource_look(struct feed *feed, int64_t wait_ms, struct feed_look *ret, struct err *err) {
    struct lsource *s = lself(feed);
    lfile_patience(&s->file, wait_ms);
    enum code code = lfile_run(&s->file, "BEGIN", err);
    if (code == OK)
        code = lsource_examine(&s->file, s->options, ret, err);
    lfile_rollback(&s->file);
    return code == AGAIN ? (err->code = RETRY) : code;
}
