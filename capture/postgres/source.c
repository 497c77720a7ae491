/* PostgreSQL as a source: opened at a position or with a snapshot, then read frame by frame. */
#include "capture/postgres/source.h"

#include <stdio.h>

#include "base/log.h"
#include "capture/postgres/claim.h"
#include "capture/postgres/publication.h"
#include "capture/postgres/suggest.h"
#include "capture/source_table.h"

#define FRAMES_PER_STEP 4096
#define TICK_US         INT64_C(200000)
#define LAG_US          INT64_C(2000000)
#define SHUTDOWN_US     INT64_C(1000000)
#define IDLE_US         INT64_C(10000000)
#define IDLE_BYTES      (UINT64_C(16) << 20)
#define URGENT_SPARE_US INT64_C(100000)
#define BACKLOG_BYTES   (UINT64_C(16) << 20)
#define NAP_US          INT64_C(15000)

static struct pg_source *self(struct source *source) {
    return (struct pg_source *)source;
}

/* ---- opening ---- */

static enum code check_settings(struct pg_source *s, struct err *err) {
    static const char sql[] = "SELECT current_setting('wal_level'), (SELECT setting FROM pg_settings WHERE "
                              "name = 'wal_sender_timeout')";
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(s->sql, &s->env, 10000, "reading the source's settings", sql, &res, err);
    if (code)
        return code;
    s->sender_timeout_ms = strtoll(pgsource_text(res, 0, 1), NULL, 10);
    if (strcmp(pgsource_text(res, 0, 0), "logical") != 0)
        return err_set(
            err, FATAL, ERR_SOURCE_SETTING,
            "the source has wal_level = %s; run ALTER SYSTEM SET wal_level = logical and restart the server",
            pgsource_text(res, 0, 0));
    return code;
}

static enum code connect_both(struct pg_source *s, struct err *err) {
    enum code code = pgsource_connect(s->options, &s->env, PG_SESSION_SQL, 10000, &s->sql, err);
    if (code == OK)
        code = check_settings(s, err);
    if (code)
        return code;
    code = pgsource_connect(s->options, &s->env, PG_SESSION_REPLICATION, 10000, &s->replication, err);
    if (code == FATAL && err && err->id == ERR_SOURCE_REFUSED) {
        CLEANUP_FREE char *why = xstrdup(err->text);
        return err_set(err, FATAL, ERR_SOURCE_REFUSED,
                       "%s; the role needs the right to replicate: ALTER ROLE \"%s\" REPLICATION", why,
                       PQuser(s->sql));
    }
    return code;
}

static void warn_of_unlogged(const struct pg_source *s, const struct pg_rels *rels) {
    CLEANUP_TROUBLE unlogged = {0};
    rels_unlogged(s->options, rels, &unlogged);
    if (unlogged.n)
        log_warn("capture", "unlogged tables are not captured", F_STR("tables", buf_cstr(&unlogged.names)));
}

/* Tables and publication as they must be before a slot is made or read.
 * @param known the publication's OID as stored with the position, 0 = none stored or a snapshot follows */
static enum code prepare_tables(struct pg_source *s, bool streaming, uint32_t known, struct err *err) {
    struct arena arena = {0};
    struct pg_rels rels;
    struct pg_publication p = {0};
    bool added = false;
    enum code code = rels_read(s->sql, s->options, &s->env, s->publication, &arena, &rels, err);
    if (code == OK)
        code = rels_check_named(s->options, &rels, err);
    if (code == OK)
        code = rels_check(s->options, &rels, err);
    if (code == OK)
        code = publication_read(s->sql, &s->env, s->publication, &p, err);
    if (code == OK && streaming)
        code = publication_check(&p, known, s->taken, err);
    if (code == OK)
        code = publication_ensure(s->sql, s->options, &s->env, s->publication, &rels, &added, err);
    if (code == OK)
        code = publication_read(s->sql, &s->env, s->publication, &p, err);
    s->server.publication = p.oid;
    if (code == OK)
        code = catalog_begin(s->catalog, &rels, err);
    if (code == OK && added && streaming)
        log_warn("capture", "rows that the added tables already hold are not in the replica; run with "
                            "--resnapshot to bring them");
    if (code == OK)
        warn_of_unlogged(s, &rels);
    arena_free(&arena);
    return code;
}

static enum code settle(void *arg, struct err *err) {
    return source_settle_sql(arg, err);
}

static enum code start_stream(struct pg_source *s, uint64_t from, uint64_t confirmed, struct err *err) {
    PGconn *conn = s->replication;
    s->replication = NULL;
    catalog_use(s->catalog, s->sql);
    catalog_settle_by(s->catalog, settle, s);
    enum code code = stream_start(&s->stream, conn, &s->env, s->slot, s->publication, from, confirmed,
                                  s->sender_timeout_ms, err);
    if (code)
        return code;
    s->taken = s->committed = from;
    s->idle_us = clock_mono(s->env.clock);
    log_info("capture", "streaming", F_STR("slot", s->slot), F_STR("publication", s->publication),
             F_LSN("from", from));
    return OK;
}

static enum code drop_slot(struct pg_source *s, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT pg_drop_replication_slot(");
    put_literal(&sql, s->slot);
    buf_puts(&sql, ")");
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(s->sql, &s->env, 10000, "dropping the lost slot", buf_cstr(&sql), &res, err);
    if (code == OK)
        log_info("capture", "lost slot dropped", F_STR("slot", s->slot));
    return code;
}

static enum code open_snapshot(struct pg_source *s, struct pg_slot *slot, bool resnapshot, struct err *err) {
    if (slot->found) {
        enum code code = slot_check(slot, s->server.database, err);
        bool lost =
            code == FATAL && (slot->invalid[0] || strcmp(slot->wal_status, "lost") == 0) && slot->logical;
        if (code && !(lost && resnapshot))
            return code;
        if (code) {
            code = drop_slot(s, err);
            if (code)
                return code;
            slot->found = false;
        }
    }
    if (!slot->found && !s->options->create)
        return err_set(
            err, FATAL, ERR_SOURCE_SETTING,
            "replication slot %s does not exist; make it: SELECT pg_create_logical_replication_slot('%s', "
            "'pgoutput'), or set create: true",
            s->slot, s->slot);
    s->temporary = slot->found;
    s->confirmed_start = slot->confirmed;
    struct snapshot_want want = {.options = s->options,
                                 .env = &s->env,
                                 .slot = s->slot,
                                 .publication = s->publication,
                                 .temporary = s->temporary,
                                 .generation = s->generation};
    return snapshot_open(&want, s->replication, &s->decoder, &s->snapshot, err);
}

static enum code open_stream(struct pg_source *s, const struct pg_slot *slot, const struct pg_state *state,
                             struct err *err) {
    enum code code = identity_check(&s->server, slot, state, err);
    if (code == OK)
        code = identity_check_timeline(s->replication, &s->env, &s->server, state, err);
    if (code)
        return code;
    s->began_streaming = true;
    s->confirmed_start = state->flushed;
    return start_stream(s, state->flushed, state->flushed, err);
}

/* Rows that changed without events before we stopped. */
static enum code check_stale(struct pg_source *s, const struct pg_state *state, struct err *err) {
    if (s->options->silent_changes == PG_SILENT_STOP)
        return stale_check(state->stale, err);
    if (state->stale[0])
        log_warn("capture", "going on although rows were changed without an event in the log",
                 F_STR("tables", state->stale));
    return OK;
}

static enum code open_at(struct pg_source *s, const struct source_resume *resume, struct err *err) {
    struct pg_state state = {0};
    struct pg_slot slot;
    enum code code = server_read(s->replication, &s->env, true, 10000, &s->server, err);
    if (code == OK && resume->found && !resume->resnapshot)
        code = state_read(resume->state, &state, err);
    if (code)
        return code;
    if (resume->found && !resume->resnapshot && !state.found)
        return err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                       "the journal holds a position of this source without its state");
    bool streaming = state.found && strcmp(state.phase, "stream") == 0;
    state_reaches(&state, resume->position.commit);
    s->generation = resume->found ? resume->position.generation + !streaming : 1;
    s->taken = state.flushed;
    if (streaming) {
        s->resumed = s->last = resume->position;
        s->resumed_boundary = resume->boundary;
    }
    code = slot_read(s->sql, &s->env, s->slot, 10000, &slot, err);
    if (code)
        return code;
    code = slot_check_vacant(&slot, err);
    if (code)
        return code;
    if (streaming) { /* what is lost is said before what is wrong with tables */
        code = identity_check(&s->server, &slot, &state, err);
        if (code == OK)
            code = check_stale(s, &state, err);
        if (code)
            return code;
    }
    if (!streaming)
        code = claim_take(s->sql, &s->env, s->slot, err);
    if (code == OK)
        code = prepare_tables(s, streaming, streaming ? state.publication : 0, err);
    if (code)
        return code;
    return streaming ? open_stream(s, &slot, &state, err) : open_snapshot(s, &slot, resume->resnapshot, err);
}

static void source_close(struct source *source) {
    struct pg_source *s = self(source);
    if (!s)
        return;
    snapshot_close(s->snapshot);
    stream_close(&s->stream);
    PQfinish(s->replication);
    PQfinish(s->sql);
    pgdecoder_free(&s->decoder);
    catalog_close(s->catalog);
    free(s->frame);
    free(s);
}

static enum code source_vacant(const void *options, const struct source_env *env, struct err *err) {
    char name[PG_NAME_MAX];
    struct pg_slot slot;
    PGconn *sql = NULL;
    pgsource_slot(options, env->name, name);
    enum code code = pgsource_connect(options, env, PG_SESSION_SQL, 10000, &sql, err);
    if (code == OK)
        code = slot_read(sql, env, name, 10000, &slot, err);
    if (code == OK)
        code = slot_check_vacant(&slot, err);
    if (code == OK)
        code = claim_take(sql, env, name, err); /* and gives it back with the session */
    PQfinish(sql);
    return code;
}

static enum code source_open(const void *options, const struct source_env *env,
                             const struct source_resume *resume, struct source **ret, struct err *err) {
    struct pg_source *s = xcalloc(1, sizeof *s);
    s->source.ops = &postgres_source;
    s->options = options;
    s->env = *env;
    s->frame = xcalloc(1, sizeof *s->frame);
    pgsource_slot(s->options, env->name, s->slot);
    pgsource_publication(s->options, env->name, s->publication);
    enum code code = connect_both(s, err);
    s->catalog = catalog_open(s->sql, s->options, &s->env);
    pgdecoder_init(&s->decoder, s->catalog);
    if (code == OK)
        code = open_at(s, resume, err);
    if (code) {
        source_close(&s->source);
        return code;
    }
    *ret = &s->source;
    return OK;
}

/* ---- the SQL session on the side ---- */

static enum code settle_within(struct pg_source *s, int64_t wait_ms, struct err *err) {
    if (!s->lag_asked)
        return OK;
    s->lag_asked = false;
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_wait(s->sql, &s->env, wait_ms, "asking for the source's log position", &res, err);
    if (code || PQntuples(res) != 1)
        return code;
    s->wal_end = lsn_parse(pgsource_text(res, 0, 0));
    s->standby = PQgetisnull(res, 0, 1);
    uint32_t timeline = s->standby ? 0 : (uint32_t)strtoul(pgsource_text(res, 0, 1), NULL, 16);
    if (timeline > s->server.timeline) {
        log_info("capture", "the source was promoted", F_INT("timeline", timeline),
                 F_INT("before", s->server.timeline));
        s->server.timeline = timeline;
    }
    return code;
}

enum code source_settle_sql(struct pg_source *s, struct err *err) {
    return settle_within(s, 10000, err);
}

/* Asks for the log's end now and then, and whether a standby was promoted: positions from then on are of its
 * new timeline. A server that shuts down ends this session first: from then on it has to wait for our
 * replication session, which we therefore close soon, whatever is still to come. */
static enum code tick(struct pg_source *s, int64_t now, struct err *err) {
    s->frames = 0;
    if (PQconsumeInput(s->sql) == 0 || PQstatus(s->sql) == CONNECTION_BAD) {
        if (!s->sql_lost_us)
            s->sql_lost_us = now;
        if (now - s->sql_lost_us >= SHUTDOWN_US)
            return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE,
                           "the server ended our session: it is shutting down");
        return OK;
    }
    if (s->lag_asked && !PQisBusy(s->sql))
        return source_settle_sql(s, err);
    if (!s->lag_asked && now >= s->lag_due_us) {
        s->lag_due_us = now + (s->standby ? TICK_US : LAG_US);
        s->lag_asked =
            PQsendQuery(s->sql, "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE "
                                "pg_current_wal_flush_lsn() END, CASE WHEN NOT pg_is_in_recovery() THEN "
                                "left(pg_walfile_name(pg_current_wal_lsn()), 8) END");
    }
    return OK;
}

/* ---- reading ---- */

/* All before the keepalive's WAL end was handed over: worth telling when a server waits, or now and then. */
static bool idle_due(struct pg_source *s, struct source_item *ret) {
    uint64_t end = s->stream.keepalive;
    if (end <= s->stream.confirmed) {
        s->stream.wanted = false; /* answered, and there is no more to say */
        return false;
    }
    if (s->in_tx || s->pending || s->committed > s->stream.confirmed || end < s->taken)
        return false;
    int64_t since = clock_mono(s->env.clock) - s->idle_us;
    bool urgent = s->stream.wanted && (end > s->idle_end || since >= URGENT_SPARE_US);
    if (!urgent && since < IDLE_US &&
        (end - s->stream.confirmed < IDLE_BYTES || end - s->idle_end < IDLE_BYTES))
        return false;
    s->idle_us += since;
    s->idle_end = s->taken = end;
    s->stream.wanted = false;
    *ret = (struct source_item){
        .type = ITEM_IDLE, .position = s->last, .commit_us = clock_wall(s->env.clock), .urgent = urgent};
    return true;
}

/* OK with *ret_item: an item. OK without: the frame made none. AGAIN: no frame. */
static enum code next_frame(struct pg_source *s, struct source_item *ret, bool *ret_item, struct err *err) {
    struct slice bytes;
    uint64_t lsn;
    enum code code = stream_read(&s->stream, &bytes, &lsn, err);
    if (code)
        return code;
    const char *why = pgoutput_parse(bytes, s->frame);
    if (why)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL,
                       "at " LSN_FMT " the server sent a frame we cannot read: %s", LSN_ARGS(lsn), why);
    code = source_frame(s, lsn, ret, err);
    *ret_item = code == OK;
    return code == AGAIN ? OK : code;
}

static uint64_t lag_of(const struct pg_source *s) {
    uint64_t end = s->wal_end > s->stream.keepalive ? s->wal_end : s->stream.keepalive;
    uint64_t at = s->stream.conn ? s->stream.received : s->taken;
    return end > at ? end - at : 0;
}

static enum code mind_silence(struct pg_source *s, struct err *err) {
    struct err ignored; /* nobody there who could be asked about the stream */
    if (!stream_silent(&s->stream))
        return OK;
    bool answers = settle_within(s, 1000, &ignored) == OK;
    return stream_judge_silence(&s->stream, answers ? s->sql : NULL, err);
}

/* The socket is empty. With much still to come, waking rarely and reading much makes the server faster. */
static enum code nothing_there(struct pg_source *s, struct source_item *ret, struct err *err) {
    int64_t now = clock_mono(s->env.clock);
    enum code code = tick(s, now, err);
    if (code == OK)
        code = stream_service(&s->stream, err);
    if (code == OK)
        code = mind_silence(s, err);
    if (code)
        return code;
    if (idle_due(s, ret))
        return OK;
    s->nap_until_us = lag_of(s) > BACKLOG_BYTES ? now + NAP_US : 0;
    return AGAIN;
}

static enum code stream_next(struct pg_source *s, struct source_item *ret, struct err *err) {
    if (s->stale_told)
        return stale_check(catalog_stale(s->catalog), err);
    enum code code =
        source_pending(s, ret, err); /* its rows borrow from scratch and from the frame in hand */
    if (code != AGAIN)
        return code;
    arena_reset(&s->decoder.scratch);
    bool item = false;
    s->more = false;
    for (int i = 0; i < FRAMES_PER_STEP; i++) {
        if ((++s->frames & 255) == 0) {
            code = tick(s, clock_mono(s->env.clock), err);
            if (code == OK)
                code = stream_service(&s->stream, err);
            if (code)
                return code;
        }
        code = next_frame(s, ret, &item, err);
        if (code == AGAIN)
            return nothing_there(s, ret, err);
        if (code || item)
            return code;
    }
    s->more = true;
    return AGAIN;
}

/* The snapshot's last item is out: the stream begins where its view was taken. */
static enum code leave_snapshot(struct pg_source *s, struct err *err) {
    uint64_t from = snapshot_lsn(s->snapshot);
    snapshot_close(s->snapshot);
    s->snapshot = NULL;
    enum code code = start_stream(s, from, s->temporary ? s->confirmed_start : from, err);
    if (code == OK)
        claim_leave(s->sql, &s->env);
    return code;
}

static enum code source_next(struct source *source, struct source_item *ret, struct err *err) {
    struct pg_source *s = self(source);
    if (!s->snapshot)
        return stream_next(s, ret, err);
    if (snapshot_done(s->snapshot)) {
        enum code code = leave_snapshot(s, err);
        return code ? code : stream_next(s, ret, err);
    }
    enum code code = snapshot_next(s->snapshot, ret, err);
    if (code == OK) {
        s->last = ret->position;
        s->taken = s->committed = snapshot_lsn(s->snapshot);
        s->began_streaming = ret->type == ITEM_COMMIT;
    }
    return code;
}

/* ---- waiting, marking, confirming ---- */

static void lower(int64_t *deadline_us, int64_t us) {
    if (us < *deadline_us)
        *deadline_us = us;
}

static int source_fds(struct source *source, struct pollfd *fds, int n, int64_t *deadline_us) {
    struct pg_source *s = self(source);
    if (s->snapshot)
        return snapshot_fds(s->snapshot, fds, n, deadline_us);
    lower(deadline_us, s->stream.due_us);
    int64_t now = clock_mono(s->env.clock);
    if (s->more) {
        lower(deadline_us, now);
        return 0;
    }
    if (s->nap_until_us > now) {
        lower(deadline_us, s->nap_until_us);
        return 0;
    }
    lower(deadline_us, now + (s->sql_lost_us || s->lag_asked || s->standby ? TICK_US : LAG_US));
    int used = 0;
    if (used < n)
        fds[used++] = (struct pollfd){.fd = PQsocket(s->stream.conn),
                                      .events = (short)(POLLIN | (s->stream.unflushed ? POLLOUT : 0))};
    if (used < n && !s->sql_lost_us && PQstatus(s->sql) == CONNECTION_OK)
        fds[used++] = (struct pollfd){.fd = PQsocket(s->sql), .events = POLLIN};
    return used;
}

static enum code source_service(struct source *source, struct err *err) {
    struct pg_source *s = self(source);
    if (!s->stream.conn)
        return OK;
    enum code code = tick(s, clock_mono(s->env.clock), err);
    return code ? code : stream_service(&s->stream, err);
}

static uint64_t source_mark(struct source *source, struct buf *ret_state) {
    struct pg_source *s = self(source);
    state_put(ret_state, &s->server, s->slot, s->began_streaming ? "stream" : "snapshot", s->taken,
              s->stale_told ? catalog_stale(s->catalog) : "");
    return s->began_streaming ? s->taken : 0;
}

static enum code source_confirm(struct source *source, uint64_t mark, struct err *err) {
    struct pg_source *s = self(source);
    if (!s->stream.conn) {
        if (mark > s->confirmed_start)
            s->confirmed_start = mark; /* the end of the snapshot, before the stream began */
        return OK;
    }
    return stream_confirm(&s->stream, mark, mark >= s->committed, err);
}

static struct source_progress source_progress(struct source *source) {
    struct pg_source *s = self(source);
    return s->snapshot ? snapshot_progress(s->snapshot) : (struct source_progress){0};
}

static uint64_t source_lag_bytes(struct source *source) {
    return lag_of(self(source));
}

static uint64_t source_held_bytes(struct source *source) {
    const struct pg_source *s = self(source);
    uint64_t end = s->wal_end > s->stream.keepalive ? s->wal_end : s->stream.keepalive;
    return s->stream.conn && end > s->stream.confirmed ? end - s->stream.confirmed : 0;
}

const struct source_ops postgres_source = {
    .options = &pgsource_options,
    .connector = "postgresql",
    .database = pgsource_database,
    .vacant = source_vacant,
    .open = source_open,
    .next = source_next,
    .fds = source_fds,
    .service = source_service,
    .mark = source_mark,
    .confirm = source_confirm,
    .close = source_close,
    .status = pgsource_status,
    .check = pgsource_check,
    .suggest = pgsource_suggest,
    .progress = source_progress,
    .lag_bytes = source_lag_bytes,
    .held_bytes = source_held_bytes,
};
