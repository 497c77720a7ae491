/* The crank of a sink worker (sink.h):
 *
 *   claim -> [ commit record -> window -> batches ]* -> apply -> commit (rows, offsets, position, epoch at
 * once)
 *
 * A sink that must be built, or has been away for long, reads up to the newest frontier before its first
 * commit: what compaction has removed by then is older than that frontier, so the first state readers see is
 * one the source had. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "sink/worker.h"

enum { STEP_CHANGES = 4096, IDLE_COMMIT_US = 1000000, PROGRESS_US = 5000000 };

static const char *const consistencies[] = {"transaction", "key", NULL};
static const struct option sink_rows[] = {
    {"consistency", OPT_ENUM, offsetof(struct sink_config, consistency), "transaction", false, 0, 0,
     consistencies,
     "transaction: the replica is always at an exact commit boundary of the source. key: each key in order, "
     "tables in parallel."},
    {"workers", OPT_INT, offsetof(struct sink_config, workers), "0", false, 0, 64, NULL,
     "Connections that apply in parallel, each with its own tables; 0 = 1 for consistency transaction (where "
     "only 1 is possible), 4 for key."},
    {"batch_bytes", OPT_BYTES, offsetof(struct sink_config, batch_bytes), "8MB", false, 65536, 1 << 30, NULL,
     "Memory for coalesced rows before they are written to the replica."},
    {"lease", OPT_DURATION, offsetof(struct sink_config, lease_ms), "10s", false, 1000, 600000, NULL,
     "A worker not seen by the replica for this long loses its work to another process of the same sink."},
    {"tables", OPT_LIST, offsetof(struct sink_config, tables), NULL, false, 0, 0, NULL,
     "Patterns over \"schema.table\" ('*', '?', '!' excludes); empty = all that the journal holds."},
    {"where", OPT_MAP, offsetof(struct sink_config, where), NULL, false, 0, 0, NULL,
     "Row filters by source table: \"schema.table\": \"column = 'text' and other is not null\"."},
    {"rename", OPT_MAP, offsetof(struct sink_config, rename), NULL, false, 0, 0, NULL,
     "New names: \"schema\", \"schema.table\" or \"schema.table.column\" to the replica's schema, table or "
     "column."},
    {0},
};
const struct option_table sink_options = {"sink",
                                          "Keys of every entry of `sinks:`, beside its name and its target.",
                                          sink_rows, sizeof(struct sink_config)};

/* ---- open and close ---- */

static void make_metrics(struct sink *s) {
    char worker[16];
    snprintf(worker, sizeof worker, "%d", s->env->worker);
    const char *labels[] = {"sink", s->env->name, "worker", worker, NULL};
    s->m_commits =
        metric_get(METRIC_COUNTER, "millrace_sink_commits_total", "Replica transactions committed.", labels);
    s->m_commit_seconds = metric_get(METRIC_HISTOGRAM, "millrace_sink_commit_seconds",
                                     "Time to write a batch to the replica and commit it.", labels);
    s->m_latency = metric_get(
        METRIC_HISTOGRAM, "millrace_sink_latency_seconds",
        "From the commit at the source to the commit in the replica, per source transaction.", labels);
    s->m_time = metric_get(METRIC_GAUGE, "millrace_sink_commit_timestamp_seconds",
                           "Source commit time of the newest applied transaction.", labels);
    s->m_lag_seconds = metric_get(
        METRIC_GAUGE, "millrace_sink_lag_seconds",
        "Age of the newest applied source transaction while the journal has more, else 0.", labels);
    s->m_batch = metric_get(METRIC_GAUGE, "millrace_sink_batch_changes",
                            "Changes in the last replica transaction.", labels);
    s->m_seq_lag =
        metric_get(METRIC_GAUGE, "millrace_sink_lag_commit_records",
                   "Commit records in the journal that are not applied yet, as last seen.", labels);
}

static enum code open_all(struct sink *s, struct err *err) {
    const struct sink_env *env = s->env;
    enum code code =
        mapping_new(&env->config->tables, &env->config->where, &env->config->rename, &s->mapping, err);
    if (code == OK)
        code = s->journal->reader_open(env->journal, &s->journal_env, OPEN_WAIT_MS, &s->reader, err);
    if (code == OK)
        code = env->schemas(env->schemas_arg, NULL, &s->store, err);
    if (code == OK)
        code = env->target->open(env->target_options, &s->target_env, &s->target, err);
    if (code != OK)
        return code;
    s->decoder = decoder_new(s->store);
    window_init(&s->window, s->journal, s->reader);
    return OK;
}

enum code sink_open(const struct sink_env *env, struct sink **ret, struct err *err) {
    struct sink *s = xcalloc(1, sizeof *s);
    s->env = env;
    s->applier = applier_new();
    s->journal = env->journal->ops;
    s->journal_env = (struct journal_env){env->clock, env->stop};
    s->target_env = (struct target_env){env->clock, env->stop, env->name, env->owner};
    make_metrics(s);
    enum code code = open_all(s, err);
    if (code != OK) {
        sink_close(s);
        return code;
    }
    *ret = s;
    return OK;
}

static void topic_free(struct sink_topic *t) {
    batch_free(&t->batch);
    batch_free(&t->out);
    free(t->streams);
    free(t->name);
    free(t);
}

void sink_close(struct sink *s) {
    if (!s)
        return;
    applier_free(s->applier); /* what it has begun is finished: the replica remembers it */
    if (s->target)
        s->env->target->close(s->target);
    free(s->load.topics);
    arena_free(&s->load.arena);
    window_free(&s->window);
    for (int i = 0; i < s->n_topics; i++)
        topic_free(s->topics[i]);
    free(s->topics);
    decoder_free(s->decoder);
    mapping_free(s->mapping);
    schema_store_free(s->store);
    if (s->reader)
        s->journal->reader_close(s->reader);
    arena_free(&s->claim_arena);
    arena_free(&s->record_arena);
    arena_free(&s->scratch);
    arena_free(&s->end_arena);
    free(s);
}

void sink_parked_free(struct sink_parked *parked) {
    for (size_t i = 0; i < parked->n; i++)
        free(parked->topics[i]);
    free(parked->topics);
    *parked = (struct sink_parked){0};
}

/* ---- the crank ---- */

static bool may_commit(const struct sink *s) {
    if (s->record || s->seen_seq < s->until_seq)
        return false;
    return true;
}

/* True if the record can be applied on top of what is there. */
static bool record_fits(struct sink *s, const struct commit_record *record) {
    if (record->seq <= s->seen_seq)
        return false;
    if (record->seq == s->seen_seq + 1 || record->full)
        return true;
    log_warn(SINK_ROOM, "commit records are missing in the journal; going on at the next full one",
             F_INT("have", s->seen_seq), F_INT("found", record->seq));
    return false;
}

/* The topic was begun anew by a snapshot that is newer than what we have of it: offsets count from 0
 * again. */
static void begin_again(struct sink *s, struct sink_topic *t, struct stream *stream) {
    log_info(SINK_ROOM, "a topic was made anew; reading it from its beginning", F_STR("sink", s->env->name),
             F_STR("topic", t->name), F_INT("partition", stream->partition), F_INT("had", stream->next));
    if (stream->id >= 0)
        s->journal->stream_close(s->reader, stream->id);
    stream->id = -1;
    stream->next = 0;
    stream->resumed = false;
}

/* A delete is gone from a compacted topic when it was superseded for longer than the topic remembers. Who has
 * read the row before that, and comes to the place of the delete after it, would keep the row for ever. */
static enum code check_kept(const struct sink *s, const struct sink_topic *t, const struct stream *stream,
                            struct err *err) {
    struct journal_kept kept = s->journal->kept(s->env->journal);
    int64_t reading_us = clock_mono(s->env->clock) - s->claim_us;
    int64_t age_us = clock_wall(s->env->clock) - s->record->ts_us;
    if (s->record->seq > s->claim_seq && age_us > reading_us)
        age_us = reading_us; /* whatever the clocks say */
    if (age_us <= kept.changes_us + kept.deletes_us || (!stream->resumed && reading_us <= kept.deletes_us))
        return OK;
    const char *sink = s->env->name;
    if (stream->resumed)
        return err_set(err, FATAL, ERR_JOURNAL_GAP,
                       "sink %s was away for too long: what it reads next in topic '%s' was written %.1f "
                       "hours ago by this "
                       "machine's clock, and deletes are kept for %.1f (journal: compaction_lag and "
                       "delete_retention), so "
                       "rows that were deleted could stay. Build the replica anew: millrace replay --sink %s",
                       sink, t->name, (double)age_us / 3.6e9,
                       (double)(kept.changes_us + kept.deletes_us) / 3.6e9, sink);
    return err_set(
        err, FATAL, ERR_JOURNAL_GAP,
        "sink %s has been reading topic '%s' for %.1f hours, and deletes are kept for %.1f (journal: "
        "delete_retention), so rows that were deleted meanwhile could come back. Let them be kept for longer "
        "(kafka-configs --alter --topic %s --add-config delete.retention.ms=N, and delete_retention), then: "
        "millrace replay --sink %s",
        sink, t->name, (double)reading_us / 3.6e9, (double)kept.deletes_us / 3.6e9, t->name, sink);
}

static enum code window_stream(struct sink *s, struct sink_topic *t, const struct commit_topic *topic,
                               const struct partition_end *end, struct err *err) {
    topic_stream(t, topic->partitions - 1); /* all at once: their addresses must not move later */
    struct stream *stream = topic_stream(t, end->partition);
    if (topic->born > stream->position.generation && stream->next > 0)
        begin_again(s, t, stream);
    if (end->offset + 1 < stream->next && position_cmp(s->record->position, stream->position) >= 0)
        return err_set(
            err, FATAL, ERR_JOURNAL_GAP,
            "topic '%s', partition %d was applied before offset %" PRId64
            ", and a newer commit record says that it ends at %" PRId64
            ": it was made anew, or the brokers have lost records. Build the replica anew: millrace "
            "replay --sink %s",
            t->name, end->partition, stream->next, end->offset, s->env->name);
    if (topic->compacted && end->offset >= stream->next) {
        enum code code = check_kept(s, t, stream, err);
        if (code != OK)
            return code;
    }
    return window_add(&s->window, t->name, stream, end->offset, err);
}

static enum code window_begin(struct sink *s, struct err *err) {
    if (s->record->position.generation < s->generation)
        return OK; /* a newer snapshot replaces all of it */
    for (int i = 0; i < s->record->n_ends; i++) {
        const struct partition_end *end = &s->record->ends[i];
        const struct commit_topic *topic = &s->record->topics[end->topic];
        struct sink_topic *t = worker_topic(s, topic->name);
        enum code code = t->mine ? window_stream(s, t, topic, end, err) : OK;
        if (code != OK)
            return code;
    }
    return OK;
}

static enum code next_record(struct sink *s, struct err *err) {
    arena_reset(&s->record_arena);
    enum code code =
        s->journal->commits_next(s->reader, &s->record_arena, &s->record, &s->record_offset, err);
    if (code != OK) {
        s->record = NULL;
        return code;
    }
    code = worker_same_journal(s, s->record->pipeline, err);
    if (code != OK)
        return code;
    if (s->record->seq > s->view.commit_seq_end)
        s->view.commit_seq_end = s->record->seq;
    code = worker_sealed(s, s->record, err);
    if (code != OK)
        return code;
    if (!record_fits(s, s->record) || worker_behind_end(s, s->record)) {
        s->record = NULL;
        return OK;
    }
    return window_begin(s, err);
}

static bool is_cut(const struct sink *s) {
    return s->env->config->consistency == CONSISTENCY_KEY || s->record->boundary;
}

static enum code window_done(struct sink *s, struct err *err) {
    bool cut = is_cut(s);
    s->seen_seq = s->record->seq;
    s->seen_next = s->record_offset + 1;
    s->position = s->record->position;
    s->record = NULL;
    if (!cut) {
        s->until_seq = s->until_seq > s->seen_seq ? s->until_seq : s->seen_seq + 1;
        return OK;
    }
    bool large = s->batch_used >= (size_t)s->env->config->batch_bytes / 4;
    bool old = clock_mono(s->env->clock) - (s->dirty ? s->first_us : s->committed_us) >= IDLE_COMMIT_US;
    return (large || old) && may_commit(s) ? worker_write(s, LOAD_COMMIT, err) : OK;
}

static void report_progress(struct sink *s) {
    int64_t now = clock_mono(s->env->clock);
    s->view.catching_up = s->seen_seq < s->until_seq;
    if (now - s->progress_us < PROGRESS_US)
        return;
    double seconds = (double)(now - s->progress_us) / 1e6,
           rate = (double)(s->taken - s->progress_taken) / seconds;
    double seqs = (double)(s->seen_seq - s->progress_seq) / seconds,
           left = (double)(s->view.commit_seq_end - s->seen_seq);
    bool behind = s->view.commit_seq_end > s->seen_seq && s->commit_us > 0;
    metric_set(s->m_lag_seconds, behind ? clock_age_s(s->env->clock, s->commit_us) : 0);
    if (s->taken != s->progress_taken && s->view.commit_seq_end > s->seen_seq + 10)
        log_info(SINK_ROOM, "catching up", F_STR("sink", s->env->name), F_INT("worker", s->env->worker),
                 F_INT("seq", s->seen_seq), F_INT("of", s->view.commit_seq_end), F_INT("changes", s->taken),
                 F_INT("changes_per_s", rate), F_INT("seconds_left", seqs > 0 ? left / seqs : -1));
    s->progress_seq = s->seen_seq;
    s->progress_us = now;
    s->progress_taken = s->taken;
}

/* A record that nobody can read: where it stands, and the way on. */
static void name_record(const struct stream *stream, struct err *err) {
    if (err->id != ERR_JOURNAL_CORRUPT && err->id != ERR_SCHEMA_UNKNOWN)
        return;
    struct err why = *err;
    const char *topic = stream->topic->name;
    err_set(err, why.code, why.id,
            "topic '%s', partition %d, offset %" PRId64
            ": %s. If the record is damaged, or not ours: delete the topic (kafka-topics --delete --topic "
            "%s) and take a new "
            "snapshot: millrace capture --config FILE --resnapshot (or run); then start the sink again",
            topic, stream->partition, stream->head.offset, why.text, topic);
}

/* A change that cannot be taken: what was handed over before it comes first, and the applier has the
 * session. */
static enum code refuse(struct sink *s, struct stream *stream, struct err *err) {
    if (stream)
        name_record(stream, err);
    struct err before = {0};
    enum code code = worker_settle(s, &before);
    if (code != OK) {
        *err = before;
        return code;
    }
    return worker_reject(s, stream ? stream->topic : NULL, err);
}

static enum code read_window(struct sink *s, struct err *err) {
    for (int i = 0; i < STEP_CHANGES; i++) {
        struct stream *stream;
        enum code code = window_next(&s->window, &stream, err);
        if (code == OK && !stream)
            return window_done(s, err);
        if (code == OK)
            code = worker_take(s, stream, err);
        if (code == REJECT)
            return refuse(s, stream, err);
        if (code != OK)
            return code;
        if (s->batch_used < (size_t)s->env->config->batch_bytes / 2) /* the other half is being written */
            continue;
        return worker_write(s, 0, err);
    }
    return OK;
}

/* Nothing to read: what is complete is committed now. */
static enum code idle(struct sink *s, struct err *err) {
    enum code code = worker_settle(s, err);
    if (code != OK)
        return code;
    bool moved = s->seen_seq != s->progress.commit_seq && !s->pinned;
    bool due = s->dirty || (moved && clock_mono(s->env->clock) - s->committed_us >= IDLE_COMMIT_US);
    if (may_commit(s) && due)
        return worker_write(s, LOAD_COMMIT | LOAD_WAIT, err);
    return worker_at_end(s, err);
}

enum code sink_step(struct sink *s, struct err *err) {
    bool building = s->dirty && s->seen_seq < s->until_seq; /* what was read so far is worth waiting for */
    if (s->waited != OK && s->waited != AGAIN && !building) {
        *err = s->waited_err;
        return s->waited;
    }
    enum code code = s->claimed ? worker_renew(s, err) : worker_claim(s, err);
    if (code != OK)
        return code;
    report_progress(s);
    if (s->record)
        return read_window(s, err);
    code = next_record(s, err);
    if (code == REJECT)
        return err->code = FATAL;
    return code == AGAIN ? idle(s, err) : code;
}

void sink_wait(struct sink *s) {
    if (!s->claimed) {
        int64_t now = clock_mono(s->env->clock);
        stop_poll(s->env->stop, NULL, 0, now, s->claim_us + CLAIM_EVERY_US);
        return;
    }
    s->waited = s->journal->reader_wait(s->reader, 500, &s->waited_err);
}

struct sink_progress_view sink_view(const struct sink *s) {
    return s->view;
}
