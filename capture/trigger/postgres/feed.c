#include "capture/trigger/postgres/feed.h"
#include "capture/postgres/suggest.h"

#include <stdio.h>

#include "base/log.h"
#include "capture/source_table.h"
#include "capture/trigger/trigger.h"

#define WATCH_US    INT64_C(5000000)
#define DELETE_US   INT64_C(100000)
#define DELETE_ROWS 5000

static struct pgtrigger *self(struct feed *feed) {
    return (struct pgtrigger *)feed;
}

/* ---- sessions ---- */

static enum code check_options(const struct pgtrigger_options *o, struct err *err) {
    if (strspn(o->schema, "abcdefghijklmnopqrstuvwxyz0123456789_") == strlen(o->schema) && *o->schema &&
        strlen(o->schema) < PG_NAME_MAX)
        return OK;
    return err_set(err, FATAL, ERR_CONFIG,
                   "source.postgres_triggers.schema is to be a name of a-z, 0-9 and _");
}

static enum code feed_connect(const void *options, const struct source_env *env, int64_t wait_ms,
                              struct feed **ret, struct err *err) {
    struct pgtrigger *s = xcalloc(1, sizeof *s);
    extern const struct feed_ops pgtrigger_feed;
    s->feed.ops = &pgtrigger_feed;
    s->o = *(const struct pgtrigger_options *)options;
    s->o.pg.publish_via_root =
        true; /* a partitioned table is one table: the root's triggers are its partitions' */
    s->env = *env;
    s->start = xstrdup("");
    s->table_bytes = -1;
    enum code code = check_options(&s->o, err);
    if (code == OK)
        code = pgsource_connect(&s->o.pg, &s->env, PG_SESSION_SQL, wait_ms, &s->sql, err);
    s->catalog = catalog_open(s->sql, &s->o.pg, &s->env);
    pgdecoder_init(&s->decoder, s->catalog);
    layouts_init(&s->layouts, s->sql, &s->env, s->o.schema, s->catalog);
    *ret = &s->feed;
    return code;
}

static void feed_close(struct feed *feed) {
    struct pgtrigger *s = self(feed);
    if (!s)
        return;
    snapshot_close(s->snapshot);
    PQclear(s->row);
    PQfinish(s->read);
    PQfinish(s->sql);
    bound_free(&s->bound);
    free(s->crossing);
    layouts_free(&s->layouts);
    pgdecoder_free(&s->decoder);
    catalog_close(s->catalog);
    free(s->start);
    free(s);
}

static enum code feed_claim(struct feed *feed, struct err *err) {
    struct pgtrigger *s = self(feed);
    CLEANUP_BUF sql = {0};
    buf_puts(
        &sql,
        "SELECT pg_try_advisory_lock(k), (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND database "
        "= (SELECT oid FROM pg_database WHERE datname = current_database()) AND granted AND objsubid = 1 AND "
        "(classid::bigint << 32 | objid::bigint) = k LIMIT 1) FROM hashtextextended('millrace change table ' "
        "|| ");
    put_literal(&sql, s->o.schema);
    buf_puts(&sql, ", 0) k");
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(s->sql, &s->env, 10000, "claiming the change table", buf_cstr(&sql), &res, err);
    if (code || pgsource_text(res, 0, 0)[0] == 't')
        return code;
    return err_set(err, RETRY, ERR_SLOT_ACTIVE,
                   "another capture reads the change table of schema %s, on the server's process %s",
                   s->o.schema, pgsource_text(res, 0, 1));
}

/* ---- installation ---- */

static enum code feed_look_(struct feed *feed, int64_t wait_ms, struct feed_look *ret, struct err *err) {
    struct pgtrigger *s = self(feed);
    return pgtrigger_look(s->sql, &s->o, &s->env, wait_ms, ret, err);
}

static enum code feed_script_(struct feed *feed, enum feed_script what, struct buf *sql, struct err *err) {
    struct pgtrigger *s = self(feed);
    struct arena arena = {0};
    struct pg_rels rels;
    CLEANUP_FREE uint32_t *registered = NULL, *dropped = NULL;
    int n = 0, n_dropped = 0;
    enum code code = rels_read(s->sql, &s->o.pg, &s->env, NULL, &arena, &rels, err);
    if (code == OK && what == FEED_INSTALL)
        code = rels_check_named(&s->o.pg, &rels, err);
    if (code == OK)
        code =
            pgtrigger_registered(s->sql, &s->o, &s->env, &rels, &registered, &n, &dropped, &n_dropped, err);
    if (code == OK && what == FEED_INSTALL)
        install_put(&s->o, &rels, dropped, n_dropped, sql);
    else if (code == OK)
        uninstall_put(&s->o, &rels, registered, n, sql);
    arena_free(&arena);
    return code;
}

static enum code feed_run(struct feed *feed, const char *sql, struct err *err) {
    struct pgtrigger *s = self(feed);
    CLEANUP_RESULT *res = NULL;
    return pgsource_query(s->sql, &s->env, 600000,
                          "running the script (millrace source ... --print shows it)", sql, &res, err);
}

/* ---- snapshot ---- */

static enum code tell(struct pgtrigger *s, PGconn *conn, const char *sql, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    return pgsource_query(conn, &s->env, 10000, "setting up a session", sql, &res, err);
}

/* A change table that is locked is waited for by the stream, which never blocks, and left alone by
 * deletion. */
enum code pgtrigger_begin(struct pgtrigger *s, struct err *err) {
    struct arena arena = {0};
    struct pg_rels rels;
    enum code code = rels_read(s->sql, &s->o.pg, &s->env, NULL, &arena, &rels, err);
    if (code == OK)
        code = catalog_begin(s->catalog, &rels, err);
    arena_free(&arena);
    if (code == OK)
        code = tell(s, s->sql, "SET lock_timeout = '200ms'", err);
    if (code == OK)
        code = pgsource_connect(&s->o.pg, &s->env, PG_SESSION_SQL, 10000, &s->read, err);
    return code ? code
                : tell(s, s->read,
                       "SET lock_timeout = 0; SET default_transaction_isolation = 'read committed'; SET "
                       "synchronous_commit = local",
                       err);
}

/* The bound first, then the view: whatever is resolved at the bound is in the view. */
static enum code feed_snapshot(struct feed *feed, struct err *err) {
    static const char view_sql[] =
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot(), "
        "pg_current_snapshot()";
    struct pgtrigger *s = self(feed);
    CLEANUP_RESULT *res = NULL;
    enum code code = pgtrigger_begin(s, err);
    if (code == OK)
        code = pgtrigger_bound_now(s, &s->snapshot_after, err);
    if (code == OK)
        code = pgsource_query(s->read, &s->env, 10000, "beginning the snapshot", view_sql, &res, err);
    if (code)
        return code;
    free(s->start);
    s->start = xstrdup(pgsource_text(res, 0, 1));
    struct snapshot_want want = {.options = &s->o.pg, .env = &s->env, .view = pgsource_text(res, 0, 0)};
    code = snapshot_open(&want, NULL, &s->decoder, &s->snapshot, err);
    if (code == OK)
        code = tell(s, s->read, "COMMIT", err);
    return code ? code : pgtrigger_flush(s, err);
}

static enum code end_snapshot(struct pgtrigger *s, struct feed_item *ret, struct err *err) {
    *ret = (struct feed_item){.type = FEED_SNAPSHOT, .commit = s->snapshot_after, .text = s->start};
    snapshot_close(s->snapshot);
    s->snapshot = NULL;
    return pgtrigger_stream_begin(s, s->snapshot_after, 0, err);
}

static enum code snapshot_step(struct pgtrigger *s, struct feed_item *ret, struct err *err) {
    struct source_item item;
    enum code code = snapshot_next(s->snapshot, &item, err);
    if (code)
        return code;
    if (item.type == ITEM_COMMIT)
        return end_snapshot(s, ret, err);
    *ret = (struct feed_item){
        .type = FEED_CHANGE, .op = item.change.op, .table = item.change.table, .after = item.change.after};
    return OK;
}

static enum code feed_next(struct feed *feed, struct feed_item *ret, struct err *err) {
    struct pgtrigger *s = self(feed);
    arena_reset(&s->decoder.scratch);
    if (s->snapshot)
        return snapshot_step(s, ret, err);
    const char *stale = catalog_stale(s->catalog);
    if (*stale && !s->stale_told) {
        s->stale_told = true;
        *ret = (struct feed_item){.type = FEED_STALE, .text = stale};
        return OK;
    }
    return pgtrigger_stream_next(s, ret, err);
}

static int feed_fds(struct feed *feed, struct pollfd *fds, int n, int64_t *deadline_us) {
    struct pgtrigger *s = self(feed);
    if (s->snapshot)
        return snapshot_fds(s->snapshot, fds, n, deadline_us);
    if (s->step == STEP_IDLE && s->due_us < *deadline_us)
        *deadline_us = s->due_us;
    if (s->step == STEP_IDLE || n < 1)
        return 0;
    fds[0] = (struct pollfd){.fd = PQsocket(s->read), .events = POLLIN};
    return 1;
}

/* ---- service ---- */

/* One batch of rows that are durable in the journal. A change table that is locked is left for the next
 * time. */
static enum code delete_some(struct pgtrigger *s, struct err *err) {
    CLEANUP_BUF sql = {0}, table = {0};
    put_table(&table, s->o.schema, "changes");
    const char *t = buf_cstr(&table);
    unsigned long long from = s->deleted, to = s->deletable;
    buf_printf(
        &sql,
        "WITH u AS MATERIALIZED (SELECT coalesce((SELECT id FROM %s WHERE id > %llu AND id <= %llu ORDER BY "
        "id "
        "OFFSET %d LIMIT 1), %llu) AS u), d AS (DELETE FROM %s WHERE id > %llu AND id <= (SELECT u FROM u)) "
        "SELECT u FROM u",
        t, from, to, DELETE_ROWS - 1, to, t, from);
    CLEANUP_RESULT *res = NULL;
    struct err lost;
    enum code code =
        pgsource_query(s->sql, &s->env, 10000, "deleting shipped changes", buf_cstr(&sql), &res, &lost);
    if (code == OK)
        s->deleted = (uint64_t)pgsource_number(res, 0, 0);
    else if (PQstatus(s->sql) == CONNECTION_OK)
        log_warn("capture", "shipped changes could not be deleted yet", F_STR("error", lost.text));
    else
        *err = lost;
    return code && PQstatus(s->sql) != CONNECTION_OK ? code : OK;
}

static void warn_of_size(struct pgtrigger *s, int64_t bytes) {
    int64_t warn = s->o.change_table_bytes / 5 * 4;
    if (bytes > warn && s->table_bytes <= warn)
        log_warn("capture", "the change table is nearly as large as it may be, or larger",
                 F_INT("bytes", bytes), F_INT("change_table_bytes", s->o.change_table_bytes));
    s->table_bytes = bytes;
}

static enum code feed_service(struct feed *feed, struct err *err) {
    struct pgtrigger *s = self(feed);
    int64_t now = clock_mono(s->env.clock);
    enum code code = OK;
    if (now >= s->watch_us) {
        int64_t bytes = s->table_bytes;
        s->watch_us = now + WATCH_US;
        code = pgtrigger_watch(s->sql, &s->o, &s->env, &bytes, err);
        warn_of_size(s, bytes);
        if (code == OK && !s->snapshot)
            code = catalog_watch(s->catalog, err);
    }
    int64_t until = clock_mono(s->env.clock) + DELETE_US; /* the look may have taken longer */
    uint64_t before = s->deletable;
    while (code == OK && s->deleted < s->deletable && s->deleted != before &&
           clock_mono(s->env.clock) < until) {
        before = s->deleted;
        code = delete_some(s, err);
    }
    return code;
}

static enum code feed_forget(struct feed *feed, uint64_t commit, struct err *err) {
    struct pgtrigger *s = self(feed);
    (void)err;
    pgtrigger_durable(s, commit);
    return OK;
}

static struct feed_gauge feed_gauge_(struct feed *feed) {
    struct pgtrigger *s = self(feed);
    struct feed_gauge g = {.held_bytes = s->table_bytes > 0 ? (uint64_t)s->table_bytes : 0};
    if (s->snapshot)
        g.progress = snapshot_progress(s->snapshot);
    if (s->bound.last > s->ended)
        g.lag_bytes = g.held_bytes;
    return g;
}

/* ---- the kind ---- */

const struct feed_ops pgtrigger_feed = {
    .connect = feed_connect,
    .close = feed_close,
    .claim = feed_claim,
    .look = feed_look_,
    .script = feed_script_,
    .run = feed_run,
    .snapshot = feed_snapshot,
    .stream = pgtrigger_stream,
    .next = feed_next,
    .fds = feed_fds,
    .service = feed_service,
    .forget = feed_forget,
    .gauge = feed_gauge_,
};
TRIGGER_SOURCE(postgres_trigger_source, pgtrigger_feed, pgtrigger_options, "postgresql", pgtrigger_database,
               .suggest = pgsource_suggest_triggers);
