/* The crank of capture (capture.h). Reads an item, turns it into one or more records (the outbox), appends
 * them, and ends the journal's transaction when it is large enough, old enough, or the source has nothing
 * more to say:
 *
 *   source_next -> outbox -> journal append ... -> commit (AGAIN*) -> source_confirm
 *
 * A change at or below the position found in the journal at start was shipped before: it is dropped. */
#include "capture/capture.h"

#include <assert.h>
#include <stdio.h>

#include "base/log.h"
#include "base/metrics.h"
#include "schemas/encode.h"
#include "schemas/topic.h"

enum {
    STEP_ITEMS = 256,
    COMMIT_WAIT_MS = 20,
    QUEUE_WAIT_MS = 20,
    FINISH_NAP_US = 5000,
    OPEN_WAIT_MS = 30000,
    SERVICE_US = 1000000,
    FENCED_US = 5000000,
    FENCED_NAP_US = 50000,
    SLOTS_MIN = 64
};
enum {
    SNAPSHOT_BATCHES = 4
}; /* batch_bytes that a transaction of a snapshot may hold: nobody waits for a part of it, and an end costs
      time */
enum {
    AGE_MS_MAX = 10000
}; /* of a transaction, whatever comes: well below the time after which brokers abort it */
static const char ROOM[] = "capture";

static const struct option capture_rows[] = {
    {"batch_bytes", OPT_BYTES, offsetof(struct capture_config, batch_bytes), "16MB", false, 65536, 1 << 28,
     NULL,
     "A journal transaction is ended when it holds this many bytes; one of a snapshot, four times as many."},
    {"batch_time", OPT_DURATION, offsetof(struct capture_config, batch_ms), "200ms", false, 1, 30000, NULL,
     "A journal transaction is ended at the next source commit when it is this old."},
    {0},
};
const struct option_table capture_options = {"capture", "How changes are gathered into journal transactions.",
                                             capture_rows, sizeof(struct capture_config)};

/* One table version and where its changes go. */
struct route {
    const struct table *table; /* the source's; identity of the version */
    struct encoder *encoder;
    int topic, partitions;
    struct metric *changes, *bytes;
    uint64_t n_changes, n_bytes; /* since the last commit */
};

/* The records that the current item becomes: one; two for a delete (tombstone); one per partition for a
 * truncate. */
struct outbox {
    const struct route *route;
    struct buf key, value, other;
    char header[HEADER_BYTES_MAX];
    size_t header_len;
    char grave[HEADER_BYTES_MAX]; /* header of the tombstone */
    size_t grave_len;
    const char *other_name; /* header that carries `other`, NULL if none */
    int partition, n, i;
    bool tombstone, truncate;
};

struct capture {
    const struct capture_env *env;
    const struct journal_ops *journal;
    struct journal_env journal_env;
    struct source_env source_env;
    struct source *source;
    struct journal_writer *writer;
    struct schema_store *store;
    struct encoder_identity identity;
    struct arena arena;         /* what was found in the journal */
    struct commit_record *last; /* NULL: nothing */
    struct route *routes;       /* open addressing by table pointer */
    size_t n_routes, cap_routes;
    struct position resume, taken; /* changes <= resume are dropped; everything <= taken was appended */
    bool boundary;                 /* taken is a source commit boundary */
    bool torn; /* the newest record is none: what the source keeps begins at an older one */
    struct outbox out;
    struct source_item item;
    bool item_pending; /* the outbox is not empty */
    bool idle_due;     /* the source's log moved: record it */
    bool idle_urgent;
    bool end_due; /* a boundary that must not wait for what comes next: record it */
    bool committing, broken;
    uint64_t appended, appended_bytes, skipped;
    int64_t begun_us, commit_begun_us, service_us, commit_us;
    int64_t now_us; /* wall clock at the begin of this step: when its changes were taken */
    struct commit_record record;
    struct buf state;
    uint64_t mark;
    bool committed; /* something, since the open */
    struct metric *m_commits, *m_commit_seconds, *m_lag, *m_lag_seconds, *m_held, *m_batch, *m_position;
};

/* ---- open and close ---- */

static void resume_from(const struct capture *c, struct source_resume *ret) {
    *ret = (struct source_resume){.resnapshot = c->env->resnapshot};
    if (!c->last)
        return;
    ret->found = true;
    ret->position = c->last->position;
    ret->boundary = c->last->boundary;
    ret->state = c->last->state;
}

static void make_metrics(struct capture *c) {
    const char *labels[] = {"source", c->env->source_name, NULL};
    c->m_commits = metric_get(METRIC_COUNTER, "millrace_capture_commits_total",
                              "Journal transactions committed.", labels);
    c->m_commit_seconds = metric_get(METRIC_HISTOGRAM, "millrace_capture_commit_seconds",
                                     "Time from the decision to commit to durable.", labels);
    c->m_lag = metric_get(METRIC_GAUGE, "millrace_capture_lag_bytes",
                          "Log written by the source and not yet taken.", labels);
    c->m_lag_seconds =
        metric_get(METRIC_GAUGE, "millrace_capture_lag_seconds",
                   "Age of the newest durable change while the source has more, else 0.", labels);
    c->m_held = metric_get(METRIC_GAUGE, "millrace_capture_slot_bytes",
                           "Log that the source keeps because it is not confirmed as durable.", labels);
    c->m_batch = metric_get(METRIC_GAUGE, "millrace_capture_batch_changes",
                            "Changes in the last journal transaction.", labels);
    c->m_position = metric_get(METRIC_GAUGE, "millrace_capture_commit_timestamp_seconds",
                               "Source commit time of the newest durable change.", labels);
}

/* Whoever holds the place in the source is the owner of the pipeline: only where it is free may we fence
 * others out of the journal. (Two that fenced each other first would go on so for ever.) An owner that has
 * got ahead of this process ends it. */
static enum code check_vacant(struct capture *c, struct err *err) {
    const struct capture_env *env = c->env;
    enum code code = env->source->vacant(env->source_options, &c->source_env, err);
    if (code != RETRY || err->id != ERR_SLOT_ACTIVE)
        return code;
    struct err overtaken = {0};
    if (c->journal->overtaken(env->journal, &c->journal_env, env->source_name, OPEN_WAIT_MS, &overtaken) !=
        FATAL)
        return code;
    *err = overtaken;
    return FATAL;
}

static enum code open_all(struct capture *c, struct err *err) {
    const struct capture_env *env = c->env;
    enum code code = check_vacant(c, err);
    if (code != OK)
        return code;
    code = c->journal->writer_open(env->journal, &c->journal_env, env->source_name, OPEN_WAIT_MS, &c->writer,
                                   &c->arena, &c->last, err);
    if (code == OK)
        code = move_check(c->last, err);
    if (code != OK)
        return code;
    code = env->schemas(env->schemas_arg, c->writer, &c->store, err);
    if (code != OK)
        return code;
    struct source_resume resume;
    resume_from(c, &resume);
    c->resume = c->taken = resume.position;
    c->boundary = resume.found && resume.boundary;
    c->torn = !c->boundary;
    return env->source->open(env->source_options, &c->source_env, &resume, &c->source, err);
}

enum code capture_open(const struct capture_env *env, struct capture **ret, struct err *err) {
    struct capture *c = xcalloc(1, sizeof *c);
    c->env = env;
    c->journal = env->journal->ops;
    c->journal_env = (struct journal_env){env->clock, env->stop, env->resnapshot};
    c->source_env = (struct source_env){env->clock, env->stop, env->source_name};
    c->identity = (struct encoder_identity){env->source->connector, c->journal->prefix(env->journal),
                                            env->source->database(env->source_options)};
    make_metrics(c);
    enum code code = open_all(c, err);
    if (code != OK) {
        capture_close(c);
        return code;
    }
    c->service_us = clock_mono(env->clock);
    log_info(ROOM, "open", F_STR("source", env->source_name), F_INT("generation", c->resume.generation),
             F_LSN("position", c->resume.commit), F_INT("ordinal", c->resume.ordinal));
    *ret = c;
    return OK;
}

void capture_close(struct capture *c) {
    if (!c)
        return;
    if (c->source)
        c->env->source->close(c->source);
    schema_store_free(c->store);
    if (c->writer)
        c->journal->writer_close(c->writer);
    for (size_t i = 0; i < c->cap_routes; i++)
        encoder_free(c->routes[i].encoder);
    free(c->routes);
    buf_free(&c->out.key);
    buf_free(&c->out.value);
    buf_free(&c->out.other);
    buf_free(&c->state);
    arena_free(&c->arena);
    free(c);
}

/* ---- routes ---- */

static struct route *route_slot(struct route *routes, size_t cap, const struct table *table) {
    size_t i = ((uintptr_t)table >> 4) * UINT64_C(0x9E3779B97F4A7C15) & (cap - 1);
    while (routes[i].table && routes[i].table != table)
        i = (i + 1) & (cap - 1);
    return &routes[i];
}

static void routes_grow(struct capture *c) {
    if (c->n_routes * 2 < c->cap_routes)
        return;
    size_t cap = c->cap_routes ? c->cap_routes * 2 : SLOTS_MIN;
    struct route *routes = xcalloc(cap, sizeof *routes);
    for (size_t i = 0; i < c->cap_routes; i++)
        if (c->routes[i].table)
            *route_slot(routes, cap, c->routes[i].table) = c->routes[i];
    free(c->routes);
    c->routes = routes;
    c->cap_routes = cap;
}

static enum code route_make(struct capture *c, const struct table *table, struct route *route,
                            struct err *err) {
    CLEANUP_BUF name = {0};
    topic_name(c->identity.name, table, &name);
    struct topic_spec spec = {buf_cstr(&name), table->n_key > 0, table->n_key > 0 && !table->partial};
    enum code code = c->journal->topic(c->writer, &spec, &route->topic, &route->partitions, err);
    if (code != OK)
        return code;
    code = encoder_new(table, spec.name, &c->identity, c->store, &route->encoder, err);
    if (code != OK)
        return code;
    CLEANUP_FREE char *label = xasprintf("%s.%s", table->schema, table->name);
    const char *labels[] = {"source", c->env->source_name, "table", label, NULL};
    route->changes = metric_get(METRIC_COUNTER, "millrace_capture_changes_total",
                                "Changes committed to the journal.", labels);
    route->bytes = metric_get(METRIC_COUNTER, "millrace_capture_bytes_total",
                              "Bytes of keys and values committed to the journal.", labels);
    route->table = table;
    log_info(ROOM, "table", F_STR("table", label), F_STR("topic", spec.name),
             F_INT("partitions", route->partitions), F_INT("columns", table->n_columns),
             F_INT("key_columns", table->n_key), F_BOOL("full_rows", !table->partial));
    return OK;
}

static enum code route_find(struct capture *c, const struct table *table, struct route **ret,
                            struct err *err) {
    if (c->cap_routes) {
        *ret = route_slot(c->routes, c->cap_routes, table);
        if ((*ret)->table)
            return OK;
    }
    struct route route = {0};
    enum code code = route_make(c, table, &route, err);
    if (code != OK) {
        encoder_free(route.encoder);
        return code;
    }
    routes_grow(c);
    *ret = route_slot(c->routes, c->cap_routes, table);
    **ret = route;
    c->n_routes++;
    return OK;
}

/* ---- outbox ---- */

static enum code encode_other(struct capture *c, struct route *route, const struct change *change,
                              int *column, struct err *err) {
    struct outbox *out = &c->out;
    out->other_name = NULL;
    if (!change->other)
        return OK;
    out->other_name = change->op == OP_DELETE ? "__debezium.newkey" : "__debezium.oldkey";
    buf_clear(&out->other);
    return encoder_key(route->encoder, change->other, &out->other, column, err);
}

static enum code outbox_fill(struct capture *c, struct err *err) {
    const struct change *change = &c->item.change;
    struct outbox *out = &c->out;
    struct route *route;
    enum code code = route_find(c, change->table, &route, err);
    if (code != OK)
        return code;
    int column;
    buf_clear(&out->key);
    buf_clear(&out->value);
    code = encoder_change(route->encoder, change, c->now_us, &out->key, &out->value, &column, err);
    if (code == OK)
        code = encode_other(c, route, change, &column, err);
    if (code != OK)
        return code == REJECT ? (err->code = FATAL) : code;
    const struct table *table = change->table;
    bool keyed = table->n_key > 0;
    const struct value *row = change->op == OP_DELETE ? change->before : change->after;
    out->route = route;
    out->header_len = header_write(change, out->header);
    out->truncate = change->op == OP_TRUNCATE;
    out->tombstone = change->op == OP_DELETE && keyed;
    if (out->tombstone)
        out->grave_len = header_write_tombstone(change, buf_slice(&out->value), out->grave);
    out->partition = keyed && row ? (int)(key_hash(table, row) % (uint64_t)route->partitions) : 0;
    out->n = out->truncate ? route->partitions : out->tombstone ? 2 : 1;
    out->i = 0;
    route->n_changes++;
    route->n_bytes += out->key.len + out->value.len;
    return OK;
}

static enum code outbox_append(struct capture *c, struct err *err) {
    struct outbox *out = &c->out;
    bool tombstone = out->tombstone && out->i == 1;
    struct journal_header headers[2] = {{HEADER_NAME, tombstone ? slice_make(out->grave, out->grave_len)
                                                                : slice_make(out->header, out->header_len)}};
    int n_headers = 1;
    if (out->other_name)
        headers[n_headers++] = (struct journal_header){out->other_name, buf_slice(&out->other)};
    struct journal_append record = {
        .topic = out->route->topic,
        .partition = out->truncate ? out->i : out->partition,
        .key = out->key.len ? buf_slice(&out->key) : (struct slice){0},
        .value = tombstone ? (struct slice){0} : buf_slice(&out->value),
        .headers = headers,
        .n_headers = tombstone ? 1 : n_headers,
    };
    return c->journal->append(c->writer, &record, err);
}

/* Appends what is left of the item. AGAIN: the journal's queue is full. */
static enum code outbox_drain(struct capture *c, struct err *err) {
    for (; c->out.i < c->out.n; c->out.i++) {
        enum code code = outbox_append(c, err);
        if (code != OK)
            return code;
        if (c->appended++ == 0)
            c->begun_us = clock_mono(c->env->clock);
        c->appended_bytes += c->out.key.len + c->out.value.len;
    }
    c->item_pending = false;
    c->taken = c->item.position;
    c->boundary = false;
    c->commit_us = c->item.change.commit_us;
    return OK;
}

/* ---- commit ---- */

static void flush_counts(struct capture *c) {
    for (size_t i = 0; i < c->cap_routes; i++) {
        struct route *r = &c->routes[i];
        if (!r->n_changes)
            continue;
        metric_add(r->changes, (double)r->n_changes);
        metric_add(r->bytes, (double)r->n_bytes);
        r->n_changes = r->n_bytes = 0;
    }
}

static void commit_begin(struct capture *c) {
    assert(!c->item_pending && !c->committing);
    buf_clear(&c->state);
    c->mark = c->env->source->mark(c->source, &c->state);
    c->record = (struct commit_record){
        .position = c->taken,
        .boundary = c->boundary,
        .ts_us = clock_wall(c->env->clock),
        .state = buf_cstr(&c->state),
    };
    c->committing = true;
    c->commit_begun_us = clock_mono(c->env->clock);
}

static enum code commit_done(struct capture *c, struct err *err) {
    int64_t now = clock_mono(c->env->clock);
    log_debug(ROOM, "committed", F_INT("seq", c->record.seq), F_LSN("position", c->record.position.commit),
              F_INT("ordinal", c->record.position.ordinal), F_BOOL("boundary", c->record.boundary),
              F_INT("records", c->appended), F_INT("bytes", c->appended_bytes),
              F_INT("us", now - c->commit_begun_us));
    metric_add(c->m_commits, 1);
    metric_observe(c->m_commit_seconds, (double)(now - c->commit_begun_us) / 1e6);
    metric_set(c->m_batch, (double)c->appended);
    if (c->commit_us)
        metric_set(c->m_position, (double)c->commit_us / 1e6);
    flush_counts(c);
    c->committing = c->idle_due = c->idle_urgent = c->end_due = false;
    c->appended = c->appended_bytes = 0;
    c->committed = true;
    c->torn = !c->record.boundary;
    return c->torn ? OK : c->env->source->confirm(c->source, c->mark, err);
}

static enum code commit_step(struct capture *c, int64_t wait_ms, struct err *err) {
    enum code code = c->journal->commit(c->writer, &c->record, wait_ms, err);
    return code == OK ? commit_done(c, err) : code;
}

/* In the middle of a source transaction a little more is taken: most often its end is near, and sinks can
 * commit there. */
static bool is_full(const struct capture *c) {
    bool snapshot = c->taken.commit == 0;
    uint64_t max = (uint64_t)c->env->config->batch_bytes * (snapshot ? SNAPSHOT_BATCHES : 1);
    return c->appended_bytes >= (c->boundary ? max : max + max / 8);
}

static bool commit_due(const struct capture *c, bool drained) {
    if (c->end_due || c->idle_urgent)
        return true;
    int64_t now = clock_mono(c->env->clock), age_ms = (now - c->begun_us) / 1000;
    if (c->appended == 0)
        return c->idle_due;
    if (is_full(c) || age_ms >= AGE_MS_MAX)
        return true;
    if (age_ms >= c->env->config->batch_ms && (c->boundary || drained))
        return true;
    return drained && c->boundary;
}

/* ---- the crank ---- */

static enum code take_change(struct capture *c, struct err *err) {
    if (position_cmp(c->item.position, c->resume) <= 0) {
        if (c->skipped++ == 0)
            log_info(ROOM, "skipping changes that are in the journal already",
                     F_LSN("until", c->resume.commit), F_INT("ordinal", c->resume.ordinal));
        return OK;
    }
    enum code code = outbox_fill(c, err);
    if (code != OK)
        return code;
    c->item_pending = true;
    return outbox_drain(c, err);
}

static enum code take_item(struct capture *c, struct err *err) {
    enum code code = c->env->source->next(c->source, &c->item, err);
    if (code == REJECT)
        err->code = code = FATAL;
    if (code != OK)
        return code;
    bool after = position_cmp(c->item.position, c->taken) >= 0;
    switch (c->item.type) {
    case ITEM_CHANGE:
        return take_change(c, err);
    case ITEM_COMMIT:
        if (!after)
            return OK;
        /* The newest record says that more is to come, and the source keeps everything since the boundary
         * before it: it is told the next one at once. Or the snapshot is over, and it shall not be read again
         * should the stream fail to begin. */
        c->end_due = c->torn || c->item.position.commit == 0;
        c->taken = c->item.position;
        c->boundary = true;
        if (c->item.commit_us)
            c->commit_us = c->item.commit_us;
        return OK;
    case ITEM_IDLE:
        c->idle_due = true;
        c->idle_urgent |= c->item.urgent;
        return OK;
    }
    return OK;
}

/* Takes items until something is due. OK: a commit is due, or the turn is over; AGAIN: nothing to take. */
static enum code take_items(struct capture *c, struct err *err) {
    size_t n_routes = c->n_routes;
    c->now_us = clock_wall(c->env->clock);
    for (int i = 0; i < STEP_ITEMS; i++) {
        enum code code = take_item(c, err);
        if (code != OK)
            return code;
        if (c->idle_urgent || c->end_due || is_full(c) || c->n_routes != n_routes)
            break; /* a new route may have taken seconds */
    }
    return OK;
}

static enum code step(struct capture *c, struct err *err) {
    if (c->committing)
        return commit_step(c, COMMIT_WAIT_MS, err);
    if (c->item_pending) {
        enum code code = outbox_drain(c, err);
        if (code != AGAIN)
            return code;
        code = c->journal->writer_poll(c->writer, QUEUE_WAIT_MS, err);
        return code == AGAIN ? OK : code;
    }
    enum code code = take_items(c, err);
    if (code != OK && code != AGAIN)
        return code;
    if (c->item_pending)
        return OK;
    if (commit_due(c, code == AGAIN)) {
        commit_begin(c);
        return OK;
    }
    enum code polled = c->journal->writer_poll(c->writer, 0, err);
    return polled == OK || polled == AGAIN ? code : polled;
}

static void measure(struct capture *c) {
    uint64_t lag = c->env->source->lag_bytes(c->source);
    bool behind = c->commit_us > 0 && (lag > 0 || c->appended > 0);
    metric_set(c->m_lag, (double)lag);
    metric_set(c->m_held, (double)c->env->source->held_bytes(c->source));
    metric_set(c->m_lag_seconds, behind ? clock_age_s(c->env->clock, c->commit_us) : 0);
}

static enum code service(struct capture *c, struct err *err) {
    int64_t now = clock_mono(c->env->clock);
    if (now - c->service_us < SERVICE_US)
        return OK;
    c->service_us = now;
    measure(c);
    return c->env->source->service(c->source, err);
}

/* Whoever fenced us says within a moment whether it is another capture, or the pipeline goes on in another
 * journal. */
static enum code why_fenced(struct capture *c, enum code fenced, struct err *err) {
    const struct capture_env *env = c->env;
    int64_t now = clock_mono(env->clock), deadline = now + FENCED_US;
    for (; now < deadline && !stop_asked(env->stop); now = clock_mono(env->clock)) {
        struct err why = {0};
        enum code code =
            c->journal->overtaken(env->journal, &c->journal_env, env->source_name, OPEN_WAIT_MS, &why);
        if (code == FATAL)
            return *err = why, FATAL;
        if (code != OK)
            break;
        stop_poll(env->stop, NULL, 0, now, now + FENCED_NAP_US);
    }
    return fenced;
}

enum code capture_step(struct capture *c, struct err *err) {
    enum code code = service(c, err);
    if (code == OK || code == AGAIN)
        code = step(c, err);
    if (code == AGAIN && c->committing)
        code = OK; /* the journal waited already */
    if (code != OK && code != AGAIN && err->id == ERR_JOURNAL_FENCED)
        code = why_fenced(c, code, err);
    if (code == RETRY ||
        (code == FATAL && err->id >= ERR_JOURNAL_UNREACHABLE && err->id <= ERR_JOURNAL_MOVED))
        c->broken = true;
    return code;
}

void capture_wait(struct capture *c) {
    struct pollfd fds[32];
    int64_t now = clock_mono(c->env->clock), deadline = c->service_us + SERVICE_US;
    if (c->appended > 0) {
        int64_t due = c->begun_us + c->env->config->batch_ms * 1000;
        if (due < deadline)
            deadline = due;
    }
    int n = c->env->source->fds(c->source, fds, 32, &deadline);
    stop_poll(c->env->stop, fds, n, now, deadline);
}

bool capture_committed(const struct capture *c) {
    return c->committed;
}

enum code capture_finish(struct capture *c, int64_t wait_ms, struct err *err) {
    if (c->broken)
        return OK;
    int64_t deadline = clock_mono(c->env->clock) + wait_ms * 1000;
    while (c->committing || c->item_pending || c->appended > 0) {
        enum code code = OK;
        if (c->committing)
            code = commit_step(c, COMMIT_WAIT_MS, err);
        else if (c->item_pending)
            code = (code = outbox_drain(c, err)) == AGAIN
                       ? c->journal->writer_poll(c->writer, QUEUE_WAIT_MS, err)
                       : code;
        else
            commit_begin(c);
        if (code != OK && code != AGAIN)
            return code;
        int64_t now = clock_mono(c->env->clock);
        if (now > deadline)
            return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                           "the last journal transaction did not end within %lld ms; nothing is lost, it is "
                           "shipped again at the next start",
                           (long long)wait_ms);
        if (code == AGAIN)
            stop_poll(NULL, NULL, 0, now,
                      now + FINISH_NAP_US); /* asked to stop, the journal no longer waits by itself */
    }
    return OK;
}
