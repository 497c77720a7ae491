/* Sessions, the claim, and what both the stream and the snapshot need. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/log.h"
#include "capture/trigger/sqlite/source.h"
#include "capture/trigger/sqlite/sqlite.h"

enum { READ_PATIENCE_MS = 0, SERVICE_LOOK_US = 1000000 };

/* ---- sessions ---- */

static void feed_close(struct feed *feed) {
    struct lsource *s = lself(feed);
    if (!s)
        return;
    sqlite3_finalize(s->data_version);
    sqlite3_finalize(s->fetch);
    sqlite3_finalize(s->select);
    lfile_rollback(&s->file);
    lfile_close(&s->file);
    lwatch_close(&s->watch);
    lreplaced_free(s->replaced);
    lcatalog_free(&s->registry);
    arena_free(&s->arena);
    arena_free(&s->values);
    buf_free(&s->start);
    if (s->lock >= 0)
        close(s->lock);
    free(s);
}

static enum code feed_connect(const void *options, const struct source_env *env, int64_t wait_ms,
                              struct feed **ret, struct err *err) {
    struct lsource *s = xcalloc(1, sizeof *s);
    s->feed.ops = &lsource_feed_ops;
    s->options = options;
    s->env = *env;
    s->lock = -1;
    s->watch.fd = -1;
    s->version = -1;
    s->replaced = lreplaced_new();
    enum code code = lfile_open(&s->file, s->options, wait_ms, err);
    if (code != OK) {
        feed_close(&s->feed);
        return code;
    }
    *ret = &s->feed;
    return OK;
}

/* The lock of a file beside the database: the system takes it back from whoever dies. */
static enum code feed_claim(struct feed *feed, struct err *err) {
    struct lsource *s = lself(feed);
    const char *path = sqlite3_db_filename(s->file.conn, "main"); /* absolute, without symbolic links */
    CLEANUP_FREE char *lock = xasprintf("%s-millrace", path);
    s->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock < 0)
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "the lock file %s cannot be opened: %s", lock,
                       strerror(errno));
    if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
        return OK;
    enum code code =
        errno == EWOULDBLOCK
            ? err_set(err, RETRY, ERR_SLOT_ACTIVE, "another capture reads %s (it holds the lock file %s)",
                      s->options->path, lock)
            : err_set(err, FATAL, ERR_SOURCE_REFUSED, "the lock file %s cannot be locked: %s", lock,
                      strerror(errno));
    close(s->lock);
    s->lock = -1;
    return code;
}

/* ---- looking ---- */

enum code lsource_verify(struct lsource *s, struct err *err) {
    int64_t cookie;
    enum code code = lfile_number(&s->file, "PRAGMA schema_version", &cookie, err);
    if (code != OK || cookie == s->cookie)
        return code;
    struct feed_look look = {0};
    struct lstate state;
    code = lsource_examine(&s->file, s->options, &look, err);
    if (code == OK)
        code = feed_look_judge(&look, err);
    feed_look_free(&look);
    if (code == OK)
        code = lstate_read(&s->file, &state, err);
    if (code == OK && *s->identity && strcmp(s->identity, state.identity) != 0)
        return err_set(
            err, FATAL, ERR_NEEDS_RESNAPSHOT,
            "the installation in %s was made anew while it was read (%s, now %s): there may be a gap; "
            "take a new snapshot: millrace capture --config FILE --resnapshot",
            s->options->path, s->identity, state.identity);
    if (code == OK)
        code = lregistry_read(&s->file, &s->registry, err);
    if (code != OK)
        return code;
    snprintf(s->identity, sizeof s->identity, "%s", state.identity);
    if (state.width != s->width) {
        sqlite3_finalize(s->fetch);
        s->fetch = NULL;
        s->width = state.width;
    }
    s->cookie = cookie;
    return OK;
}

/* ---- values ---- */

static void put_cell(struct buf *out, const struct cell *cell) {
    if (cell->type == SQLITE_INTEGER)
        buf_printf(out, "%lld", (long long)cell->i);
    else if (cell->type == SQLITE_FLOAT)
        buf_printf(out, "%.17g", cell->d);
    else if (cell->type == SQLITE_TEXT)
        buf_put(out, cell->s.data, cell->s.len < 60 ? cell->s.len : 60);
    else
        buf_puts(out, cell->type == SQLITE_NULL ? "NULL" : "a BLOB");
}

static enum code refuse(const struct ltable *t, const struct cell *cells, int i, const char *why,
                        struct err *err) {
    CLEANUP_BUF key = {0};
    const struct table *table = &t->table;
    for (int k = 0; k < table->n_key; k++) {
        buf_printf(&key, "%s%s=", k ? ", " : "", table->columns[table->key[k]].name);
        put_cell(&key, &cells[table->key[k]]);
    }
    return err_set(
        err, REJECT, ERR_VALUE_NOT_CARRIED,
        "main.%s (%s): column %s declared '%s' cannot be carried exactly as %s: %s; remedy: change the "
        "value at the source and take a new snapshot, declare the column for what it holds, or leave "
        "the table out: tables: [\"main.*\", \"!main.%s\"]",
        t->name, key.len ? buf_cstr(&key) : "without key", t->columns[i].name, t->columns[i].declared,
        table->columns[i].type, why, t->name);
}

enum code lsource_values(struct lsource *s, const struct ltable *t, const struct cell *cells,
                         struct value **ret, struct err *err) {
    *ret = arena_alloc(&s->values, sizeof **ret * ((size_t)t->n_columns + 1));
    for (int i = 0; i < t->n_columns; i++) {
        const char *why = lvalue_read(&t->table.columns[i], &cells[i], &s->values, &(*ret)[i]);
        if (why)
            return refuse(t, cells, i, why, err);
    }
    return OK;
}

/* ---- the rest ---- */

static int feed_fds(struct feed *feed, struct pollfd *fds, int n, int64_t *deadline_us) {
    struct lsource *s = lself(feed);
    if (s->due_us < *deadline_us)
        *deadline_us = s->due_us;
    if (s->watch.fd < 0 || n < 1)
        return 0;
    fds[0] = (struct pollfd){.fd = s->watch.fd, .events = POLLIN};
    return 1;
}

static enum code feed_service(struct feed *feed, struct err *err) {
    struct lsource *s = lself(feed);
    enum code code = lfile_in_place(&s->file, err);
    return code == OK && !s->snapshotting ? lsource_sweep(s, err) : code;
}

static enum code feed_forget(struct feed *feed, uint64_t commit, struct err *err) {
    struct lsource *s = lself(feed);
    if ((int64_t)commit > s->forgotten)
        s->forgotten = (int64_t)commit;
    return s->snapshotting ? OK : lsource_sweep(s, err);
}

static struct feed_gauge feed_gauge(struct feed *feed) {
    struct lsource *s = lself(feed);
    double lag = (double)(s->top - s->read + s->n_rows - s->at), held = (double)(s->top - s->low);
    return (struct feed_gauge){
        .progress = s->progress,
        .lag_bytes = lag > 0 ? (uint64_t)(lag * s->row_bytes) : 0,
        .held_bytes = held > 0 ? (uint64_t)(held * s->row_bytes) : 0,
    };
}

static void feed_start(struct feed *feed, struct buf *ret) {
    struct lsource *s = lself(feed);
    buf_printf(ret, "%lld %s", (long long)s->confirmed, s->seal.text);
}

const struct feed_ops lsource_feed_ops = {
    .connect = feed_connect,
    .close = feed_close,
    .claim = feed_claim,
    .look = lsource_look,
    .script = lsource_script,
    .run = lsource_run,
    .snapshot = lsource_snapshot,
    .stream = lsource_stream,
    .next = lsource_next,
    .fds = feed_fds,
    .service = feed_service,
    .forget = feed_forget,
    .gauge = feed_gauge,
    .start = feed_start,
};
