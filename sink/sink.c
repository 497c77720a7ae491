/* The crank of a sink worker (sink.h):
 *
 *   claim -> [ commit record -> window -> batches ]* -> apply -> commit (rows, offsets, position, epoch at once)
 *
 * A sink that must be built, or has been away for long, reads up to the newest frontier before its first commit: what
 * compaction has removed by then is older than that frontier, so the first state readers see is one the source had. */
#include "sink/sink.h"

#include <assert.h>
#include <stdio.h>

#include "base/log.h"
#include "base/metrics.h"
#include "schemas/decode.h"
#include "schemas/encode.h"
#include "sink/mapping.h"
#include "sink/window.h"

static const char ROOM[] = "sink";
enum { OPEN_WAIT_MS = 15000, STEP_CHANGES = 4096, STAMPS = 1024, IDLE_COMMIT_US = 1000000, CLAIM_EVERY_US = 1000000, PROGRESS_US = 5000000 };
static const int64_t HISTORY_SAFE_US = INT64_C(3) * 24 * 3600 * 1000000; /* well below the journal's compaction lag */

static const char *const consistencies[] = {"transaction", "key", NULL};
static const struct option sink_rows[] = {
    {"consistency", OPT_ENUM, offsetof(struct sink_config, consistency), "transaction", false, 0, 0, consistencies,
     "transaction: the replica is always at an exact commit boundary of the source. key: each key in order, tables in parallel."},
    {"workers", OPT_INT, offsetof(struct sink_config, workers), "0", false, 0, 64, NULL,
     "Connections that apply in parallel, each with its own tables; 0 = 1 for consistency transaction (where only 1 is possible), 4 for key."},
    {"batch_bytes", OPT_BYTES, offsetof(struct sink_config, batch_bytes), "8MB", false, 65536, 1 << 30, NULL,
     "Memory for coalesced rows before they are written to the replica."},
    {"lease", OPT_DURATION, offsetof(struct sink_config, lease_ms), "10s", false, 1000, 600000, NULL,
     "A worker not seen by the replica for this long loses its work to another process of the same sink."},
    {"tables", OPT_LIST, offsetof(struct sink_config, tables), NULL, false, 0, 0, NULL,
     "Patterns over \"schema.table\" ('*', '?', '!' excludes); empty = all that the journal holds."},
    {"where", OPT_MAP, offsetof(struct sink_config, where), NULL, false, 0, 0, NULL,
     "Row filters by source table: \"schema.table\": \"column = 'text' and other is not null\"."},
    {"rename", OPT_MAP, offsetof(struct sink_config, rename), NULL, false, 0, 0, NULL,
     "New names: \"schema\", \"schema.table\" or \"schema.table.column\" to the replica's schema, table or column."},
    {0},
};
const struct option_table sink_options = {"sink", "Keys of every entry of `sinks:`, beside its name and its target.", sink_rows, sizeof(struct sink_config)};

struct sink_topic {
    char *name;
    bool mine, fresh;             /* this worker's; never written by this sink before */
    bool applied;                 /* committed at least once by this claim: no longer parked */
    struct stream *streams;
    int n_streams;
    const struct mapped *mapped;  /* version that the batch holds; NULL: none yet */
    struct batch batch;
    struct position cleared;      /* of the newest truncate (it comes once per partition) */
    struct metric *m_changes;
};

struct sink {
    const struct sink_env *env;
    struct journal_env journal_env;
    struct target_env target_env;
    const struct journal_ops *journal;
    struct journal_reader *reader;
    struct schema_store *store;
    struct decoder *decoder;
    struct mapping *mapping;
    struct target *target;
    struct arena claim_arena, record_arena, scratch, end_arena;
    struct sink_progress progress;   /* as stored in the replica */
    struct sink_topic **topics;
    int n_topics;
    struct window window;
    struct commit_record *record;    /* whose window is open; NULL: none */
    int64_t record_offset;
    uint64_t seen_seq;               /* newest record whose window is done */
    int64_t seen_next;               /* offset after it in the commits topic */
    uint64_t until_seq;              /* no commit before this record was applied */
    uint64_t generation;             /* changes of older generations are of no more use: this one begins with a snapshot */
    struct position position;
    int64_t commit_us;
    bool claimed, dirty, pinned;     /* dirty: changes taken and not committed. pinned: parked topics hold the cursor back */
    size_t batch_used;
    int64_t claim_us, renew_us, committed_us, first_us, progress_us;
    uint64_t taken, taken_bytes, progress_taken, progress_seq;
    int64_t stamps[STAMPS];          /* source commit times of what is not committed yet */
    int n_stamps;
    struct sink_progress_view view;
    enum code waited;                /* what the last wait for the journal said, and why */
    struct err waited_err;
    struct metric *m_commits, *m_commit_seconds, *m_latency, *m_time, *m_seq_lag, *m_lag_seconds, *m_batch;
};

/* ---- open and close --------------------------------------------------------------------------------------------- */

static void make_metrics(struct sink *s)
{
    char worker[16];
    snprintf(worker, sizeof worker, "%d", s->env->worker);
    const char *labels[] = {"sink", s->env->name, "worker", worker, NULL};
    s->m_commits = metric_get(METRIC_COUNTER, "millrace_sink_commits_total", "Replica transactions committed.", labels);
    s->m_commit_seconds = metric_get(METRIC_HISTOGRAM, "millrace_sink_commit_seconds", "Time to write a batch to the replica and commit it.", labels);
    s->m_latency = metric_get(METRIC_HISTOGRAM, "millrace_sink_latency_seconds", "From the commit at the source to the commit in the replica, per source transaction.", labels);
    s->m_time = metric_get(METRIC_GAUGE, "millrace_sink_commit_timestamp_seconds", "Source commit time of the newest applied transaction.", labels);
    s->m_lag_seconds = metric_get(METRIC_GAUGE, "millrace_sink_lag_seconds", "Age of the newest applied source transaction while the journal has more, else 0.", labels);
    s->m_batch = metric_get(METRIC_GAUGE, "millrace_sink_batch_changes", "Changes in the last replica transaction.", labels);
    s->m_seq_lag = metric_get(METRIC_GAUGE, "millrace_sink_lag_commit_records", "Commit records in the journal that are not applied yet, as last seen.", labels);
}

static enum code open_all(struct sink *s, struct err *err)
{
    const struct sink_env *env = s->env;
    enum code code = mapping_new(&env->config->tables, &env->config->where, &env->config->rename, &s->mapping, err);
    if (code == OK) code = s->journal->reader_open(env->journal, &s->journal_env, OPEN_WAIT_MS, &s->reader, err);
    if (code == OK) code = env->schemas(env->schemas_arg, NULL, &s->store, err);
    if (code == OK) code = env->target->open(env->target_options, &s->target_env, &s->target, err);
    if (code != OK) return code;
    s->decoder = decoder_new(s->store);
    window_init(&s->window, s->journal, s->reader);
    return OK;
}

enum code sink_open(const struct sink_env *env, struct sink **ret, struct err *err)
{
    struct sink *s = xcalloc(1, sizeof *s);
    s->env = env;
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

static void topic_free(struct sink_topic *t)
{
    batch_free(&t->batch);
    free(t->streams);
    free(t->name);
    free(t);
}

void sink_close(struct sink *s)
{
    if (!s) return;
    if (s->target) s->env->target->close(s->target);
    window_free(&s->window);
    for (int i = 0; i < s->n_topics; i++) topic_free(s->topics[i]);
    free(s->topics);
    decoder_free(s->decoder);
    mapping_free(s->mapping);
    schema_store_free(s->store);
    if (s->reader) s->journal->reader_close(s->reader);
    arena_free(&s->claim_arena);
    arena_free(&s->record_arena);
    arena_free(&s->scratch);
    arena_free(&s->end_arena);
    free(s);
}

void sink_parked_free(struct sink_parked *parked)
{
    for (size_t i = 0; i < parked->n; i++) free(parked->topics[i]);
    free(parked->topics);
    *parked = (struct sink_parked){0};
}

/* ---- topics ----------------------------------------------------------------------------------------------------- */

static uint64_t name_hash(const char *name)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (; *name; name++) h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return h ^ (h >> 32);
}

static bool is_parked(const struct sink *s, const char *topic)
{
    for (size_t i = 0; i < s->env->parked->n; i++)
        if (strcmp(s->env->parked->topics[i], topic) == 0) return true;
    return false;
}

static struct sink_topic *topic_find(struct sink *s, const char *name)
{
    for (int i = 0; i < s->n_topics; i++)
        if (strcmp(s->topics[i]->name, name) == 0) return s->topics[i];
    struct sink_topic *t = xcalloc(1, sizeof *t);
    t->name = xstrdup(name);
    t->mine = name_hash(name) % (uint64_t)s->env->workers == (uint64_t)s->env->worker && !is_parked(s, name);
    t->fresh = true;
    batch_init(&t->batch, NULL);
    s->topics = xrealloc(s->topics, (size_t)(s->n_topics + 1) * sizeof(*s->topics));
    s->topics[s->n_topics++] = t;
    return t;
}

static struct stream *topic_stream(struct sink_topic *t, int partition)
{
    if (partition >= t->n_streams) {
        t->streams = xrealloc(t->streams, (size_t)(partition + 1) * sizeof *t->streams);
        for (int p = t->n_streams; p <= partition; p++) t->streams[p] = (struct stream){.topic = t, .partition = p, .id = -1};
        t->n_streams = partition + 1;
    }
    return &t->streams[partition];
}

/* ---- claim ------------------------------------------------------------------------------------------------------ */

static void load_offsets(struct sink *s)
{
    for (int i = 0; i < s->progress.n_offsets; i++) {
        const struct sink_offset *o = &s->progress.offsets[i];
        struct sink_topic *t = topic_find(s, o->topic);
        struct stream *stream = topic_stream(t, o->partition);
        t->fresh = false;
        stream->next = o->next;
        stream->position = o->position;
    }
}

/* Decides up to which record nothing may be committed. */
static enum code choose_frontier(struct sink *s, struct err *err)
{
    struct commit_record *last = NULL;
    int64_t offset;
    arena_reset(&s->end_arena);
    enum code code = s->journal->commits_last(s->reader, OPEN_WAIT_MS, &s->end_arena, &last, &offset, err);
    if (code != OK || !last) return code == AGAIN ? OK : code;
    s->view.commit_seq_end = last->seq;
    s->generation = last->position.generation;
    bool newer = s->generation > s->position.generation;
    if (newer || s->progress.commit_seq == 0 || last->ts_us - s->progress.commit_us > HISTORY_SAFE_US) s->until_seq = last->seq;
    if (s->until_seq > s->seen_seq)
        log_info(ROOM, "building the replica from the journal", F_STR("sink", s->env->name), F_INT("worker", s->env->worker),
                 F_INT("from_seq", s->seen_seq), F_INT("to_seq", s->until_seq));
    return OK;
}

static enum code claim(struct sink *s, struct err *err)
{
    int64_t now = clock_mono(s->env->clock);
    if (s->claim_us && now - s->claim_us < CLAIM_EVERY_US) return AGAIN;
    s->claim_us = now;
    arena_reset(&s->claim_arena);
    enum code code = s->env->target->claim(s->target, s->env->worker, s->env->workers, s->env->config->lease_ms, &s->claim_arena, &s->progress, err);
    if (code != OK) return code;
    load_offsets(s);
    s->pinned = s->env->parked->n > 0;
    s->seen_seq = s->progress.commit_seq;
    s->seen_next = s->progress.commits_next;
    s->position = s->progress.position;
    s->commit_us = s->progress.commit_us;
    code = choose_frontier(s, err);
    if (code == OK) code = s->journal->commits_seek(s->reader, s->progress.commits_next, err);
    if (code != OK) return code;
    s->claimed = s->view.owner = true;
    s->renew_us = s->committed_us = s->progress_us = now;
    log_info(ROOM, "owner", F_STR("sink", s->env->name), F_INT("worker", s->env->worker), F_INT("epoch", s->progress.epoch),
             F_INT("seq", s->seen_seq), F_LSN("position", s->position.commit));
    return OK;
}

static enum code renew(struct sink *s, struct err *err)
{
    int64_t now = clock_mono(s->env->clock);
    if (now - s->renew_us < s->env->config->lease_ms * 1000 / 4) return OK;
    s->renew_us = now;
    return s->env->target->renew(s->target, err);
}

/* ---- applying --------------------------------------------------------------------------------------------------- */

static void batch_renew(const struct sink *s, struct sink_topic *t)
{
    batch_reset(&t->batch, t->mapped->table);
    t->batch.filtered = t->mapped->n_where > 0 || s->seen_seq < s->until_seq;
}

static enum code flush_topic(struct sink *s, struct sink_topic *t, struct err *err)
{
    if (t->batch.n == 0) return OK;
    enum code code = s->env->target->apply(s->target, &t->batch, err);
    if (code != OK) return code;
    s->batch_used -= t->batch.arena.used;
    batch_renew(s, t);
    return OK;
}

/* The topic speaks another version of its table from here on. */
static enum code switch_version(struct sink *s, struct sink_topic *t, const struct mapped *mapped, struct err *err)
{
    if (t->mapped && t->mapped->table && t->batch.n) {
        enum code code = flush_topic(s, t, err);
        if (code != OK) return code;
    }
    t->mapped = mapped;
    if (!mapped->table) return OK;
    enum code code = s->env->target->prepare(s->target, mapped->table, t->fresh, s->progress.rebuild, err);
    if (code != OK) return code;
    t->fresh = false;
    batch_renew(s, t);
    if (!t->m_changes) {
        CLEANUP_FREE char *name = xasprintf("%s.%s", mapped->table->schema, mapped->table->name);
        const char *labels[] = {"sink", s->env->name, "table", name, NULL};
        t->m_changes = metric_get(METRIC_COUNTER, "millrace_sink_changes_total", "Changes taken from the journal for this table.", labels);
    }
    return OK;
}

static enum code add(struct sink *s, struct sink_topic *t, const struct change *change)
{
    size_t before = t->batch.arena.used;
    bool added = batch_add(&t->batch, change);
    assert(added);
    (void)added;
    s->batch_used += t->batch.arena.used - before;
    return OK;
}

/* A key change whose new row is not whole: the replica's own row is moved to the new key. */
static enum code apply_move(struct sink *s, struct sink_topic *t, const struct change *change, struct err *err)
{
    enum code code = flush_topic(s, t, err);
    if (code != OK) return code;
    struct batch_row row = {.op = ROW_UPDATE, .was_there = true, .values = change->after, .before = change->other};
    struct batch one = {.table = t->mapped->table, .rows = &row, .n = 1, .n_op = {[ROW_UPDATE] = 1}, .partial = true, .filtered = t->batch.filtered};
    return s->env->target->apply(s->target, &one, err);
}

static enum code clear(struct sink *s, struct sink_topic *t, const struct change *change, struct err *err)
{
    if (position_cmp(change->position, t->cleared) == 0) return OK;
    t->cleared = change->position;
    s->batch_used -= t->batch.arena.used; /* rows of the batch go with the table */
    batch_renew(s, t);
    return s->env->target->clear(s->target, t->mapped->table, change->snapshot, change->restart_identity, err);
}

static enum code match(const struct mapped *mapped, const struct value *row, bool *ret, struct err *err)
{
    *ret = false;
    return row ? mapped_match(mapped, row, ret, err) : OK;
}

/* What a row filter makes of a change: a row that enters is created, one that leaves is deleted. False: nothing to do. */
static enum code filter(const struct mapped *mapped, struct change *change, bool *ret, struct err *err)
{
    bool keyed = mapped->table->n_key > 0, is, was = keyed;
    *ret = true;
    enum code code = match(mapped, change->after, &is, err);
    if (code == OK && !keyed) code = match(mapped, change->before, &was, err);
    if (code != OK) return code;
    switch (change->op) {
    case OP_READ:
    case OP_CREATE: *ret = is; return OK;
    case OP_DELETE: *ret = was; return OK;
    case OP_UPDATE:
        *ret = is || was;
        if (is && (keyed ? row_full(change->after, mapped->table->n_columns) : !was)) change->op = OP_CREATE;
        if (!is && was) {
            change->op = OP_DELETE;
            if (keyed) change->before = change->after;
        }
        return OK;
    case OP_TRUNCATE: return OK;
    }
    return OK;
}

static enum code take_row(struct sink *s, struct sink_topic *t, struct change *change, struct err *err)
{
    if (change->moved_partial && change->op == OP_DELETE) return OK;
    if (change->moved_partial && t->mapped->n_where > 0) {
        bool stays;
        enum code code = match(t->mapped, change->after, &stays, err);
        if (code != OK) return code;
        if (!stays) { /* it leaves with its old key */
            change->op = OP_DELETE;
            change->before = change->other;
            change->moved_partial = false;
            return add(s, t, change);
        }
    }
    if (change->moved_partial) return apply_move(s, t, change, err);
    if (t->mapped->n_where > 0) {
        bool pass;
        enum code code = filter(t->mapped, change, &pass, err);
        if (code != OK || !pass) return code;
    }
    return add(s, t, change);
}

static void stamp(struct sink *s, const struct change *change)
{
    s->commit_us = change->commit_us > s->commit_us || change->snapshot ? change->commit_us : s->commit_us;
    if (change->snapshot || (s->n_stamps && s->stamps[s->n_stamps - 1] == change->commit_us) || s->n_stamps == STAMPS) return;
    s->stamps[s->n_stamps++] = change->commit_us;
}

static enum code take_change(struct sink *s, struct stream *stream, struct err *err)
{
    struct sink_topic *t = stream->topic;
    struct encoded bytes = {stream->head.key, stream->head.value, stream->head.header, stream->head.other_key};
    struct change change;
    if (stream->head_position.generation < s->generation) return OK; /* a newer snapshot replaces it: also what stopped us there */
    if (position_cmp(stream->head_position, stream->position) <= 0) return OK; /* applied before; or a tombstone after its delete */
    arena_reset(&s->scratch);
    enum code code = decoder_change(s->decoder, &bytes, &s->scratch, &change, err);
    if (code != OK) return code == AGAIN ? OK : code;
    stream->position = change.position;
    if (!t->mapped || t->mapped->source != change.table) {
        const struct mapped *mapped;
        code = mapping_find(s->mapping, change.table, &mapped, err);
        if (code == OK) code = switch_version(s, t, mapped, err);
        if (code != OK) return code;
    }
    if (!t->mapped->table) return OK;
    if (!s->dirty) s->first_us = clock_mono(s->env->clock);
    s->dirty = true;
    s->taken++;
    s->taken_bytes += bytes.value.len;
    metric_add(t->m_changes, 1);
    stamp(s, &change);
    return change.op == OP_TRUNCATE ? clear(s, t, &change, err) : take_row(s, t, &change, err);
}

/* ---- commit ----------------------------------------------------------------------------------------------------- */

static enum code reject(struct sink *s, struct sink_topic *t, struct err *err);

static enum code flush_all(struct sink *s, struct err *err)
{
    for (int i = 0; i < s->n_topics; i++) {
        enum code code = flush_topic(s, s->topics[i], err);
        if (code != OK) return code == REJECT ? reject(s, s->topics[i], err) : code;
    }
    return OK;
}

/* A table that `tables` leaves out keeps no place in the journal: taken in later, it is read from its beginning. */
static bool passed_over(const struct sink_topic *t) { return t->mapped && !t->mapped->table; }

static int moved_offsets(struct sink *s, struct arena *arena, struct sink_offset **ret)
{
    int n = 0, k = 0;
    for (int i = 0; i < s->n_topics; i++)
        for (int p = 0; p < s->topics[i]->n_streams && !passed_over(s->topics[i]); p++) n += s->topics[i]->streams[p].dirty;
    *ret = arena_alloc(arena, (size_t)n * sizeof(**ret));
    for (int i = 0; i < s->n_topics; i++)
        for (int p = 0; p < s->topics[i]->n_streams && !passed_over(s->topics[i]); p++) {
            const struct stream *stream = &s->topics[i]->streams[p];
            if (stream->dirty) (*ret)[k++] = (struct sink_offset){s->topics[i]->name, p, stream->next, stream->position};
        }
    return n;
}

static void committed(struct sink *s, const struct sink_progress *progress, int64_t begun)
{
    int64_t now = clock_mono(s->env->clock), wall = clock_wall(s->env->clock);
    for (int i = 0; i < s->n_stamps; i++) metric_observe(s->m_latency, (double)(wall - s->stamps[i]) / 1e6);
    s->n_stamps = 0;
    for (int i = 0; i < s->n_topics; i++)
        for (int p = 0; p < s->topics[i]->n_streams; p++) s->topics[i]->streams[p].dirty = false;
    s->progress.commit_seq = progress->commit_seq;
    s->progress.commits_next = progress->commits_next;
    s->progress.rebuild = false;
    s->dirty = false;
    s->committed_us = s->renew_us = now;
    s->view.commit_seq = s->seen_seq;
    s->view.commit_us = s->commit_us;
    metric_set(s->m_batch, (double)(s->taken - s->view.changes));
    s->view.changes = s->taken;
    s->view.bytes = s->taken_bytes;
    metric_add(s->m_commits, 1);
    metric_observe(s->m_commit_seconds, (double)(now - begun) / 1e6);
    if (s->commit_us) metric_set(s->m_time, (double)s->commit_us / 1e6);
    metric_set(s->m_seq_lag, s->view.commit_seq_end > s->seen_seq ? (double)(s->view.commit_seq_end - s->seen_seq) : 0);
    log_debug(ROOM, "committed", F_STR("sink", s->env->name), F_INT("worker", s->env->worker), F_INT("seq", s->seen_seq),
              F_LSN("position", s->position.commit), F_INT("us", now - begun));
}

/* Tables that were parked and go on again: the replica is told, once for each claim. */
static enum code unpark(struct sink *s, struct err *err)
{
    for (int i = 0; i < s->n_topics && s->env->config->consistency == CONSISTENCY_KEY; i++) {
        struct sink_topic *t = s->topics[i];
        if (t->applied || !t->mapped || !t->mapped->table) continue;
        enum code code = s->env->target->park(s->target, t->mapped->table->schema, t->mapped->table->name, NULL, err);
        if (code != OK) return code;
        t->applied = true;
    }
    return OK;
}

static enum code commit(struct sink *s, struct err *err)
{
    int64_t begun = clock_mono(s->env->clock);
    enum code code = flush_all(s, err);
    if (code != OK) return code;
    struct sink_progress progress = s->progress;
    if (!s->pinned) { /* a parked table keeps the cursor: it is read again from there once it is mended */
        progress.commit_seq = s->seen_seq;
        progress.commits_next = s->seen_next;
    }
    progress.position = s->position;
    progress.commit_us = s->commit_us;
    progress.rebuild = false;
    arena_reset(&s->scratch);
    progress.n_offsets = moved_offsets(s, &s->scratch, &progress.offsets);
    code = s->env->target->commit(s->target, &progress, err);
    if (code != OK) return code;
    committed(s, &progress, begun);
    return unpark(s, err);
}

/* A table that cannot go on. transaction: the sink stops. key: the table is left standing, the others go on. */
static enum code reject(struct sink *s, struct sink_topic *t, struct err *err)
{
    if (s->env->config->consistency == CONSISTENCY_TRANSACTION || !t) return err->code = FATAL;
    s->env->target->rollback(s->target);
    struct err second = {0};
    const struct table *table = t->mapped && t->mapped->table ? t->mapped->table : NULL;
    enum code code = s->env->target->park(s->target, table ? table->schema : "", table ? table->name : t->name, err->text, &second);
    if (code != OK) log_warn(ROOM, "could not note the parked table", F_STR("topic", t->name), F_STR("error", second.text));
    log_error(ROOM, "table parked: its changes wait in the journal, the other tables go on; mend it and restart or send SIGHUP",
              F_STR("sink", s->env->name), F_STR("topic", t->name), F_STR("name", err_name(err->id)), F_STR("error", err->text));
    struct sink_parked *parked = s->env->parked;
    parked->topics = xrealloc(parked->topics, (parked->n + 1) * sizeof *parked->topics);
    parked->topics[parked->n++] = xstrdup(t->name);
    return err->code = RETRY; /* the other tables of the lost transaction are read again */
}

/* ---- the crank -------------------------------------------------------------------------------------------------- */

static bool may_commit(const struct sink *s)
{
    if (s->record || s->seen_seq < s->until_seq) return false;
    return true;
}

/* True if the record can be applied on top of what is there. */
static bool record_fits(struct sink *s, const struct commit_record *record)
{
    if (record->seq <= s->seen_seq) return false;
    if (record->seq == s->seen_seq + 1 || record->full) return true;
    log_warn(ROOM, "commit records are missing in the journal; going on at the next full one", F_INT("have", s->seen_seq), F_INT("found", record->seq));
    return false;
}

static enum code window_begin(struct sink *s, struct err *err)
{
    for (int i = 0; i < s->record->n_ends; i++) {
        const struct partition_end *end = &s->record->ends[i];
        struct sink_topic *t = topic_find(s, s->record->topics[end->topic].name);
        if (!t->mine) continue;
        topic_stream(t, s->record->topics[end->topic].partitions - 1); /* all at once: their addresses must not move later */
        enum code code = window_add(&s->window, t->name, topic_stream(t, end->partition), end->offset, err);
        if (code != OK) return code;
    }
    return OK;
}

static enum code next_record(struct sink *s, struct err *err)
{
    arena_reset(&s->record_arena);
    enum code code = s->journal->commits_next(s->reader, &s->record_arena, &s->record, &s->record_offset, err);
    if (code != OK) {
        s->record = NULL;
        return code;
    }
    if (s->record->seq > s->view.commit_seq_end) s->view.commit_seq_end = s->record->seq;
    if (!record_fits(s, s->record)) {
        s->record = NULL;
        return OK;
    }
    return window_begin(s, err);
}

static bool is_cut(const struct sink *s)
{
    return s->env->config->consistency == CONSISTENCY_KEY || s->record->boundary;
}

static enum code window_done(struct sink *s, struct err *err)
{
    bool cut = is_cut(s);
    s->seen_seq = s->record->seq;
    s->seen_next = s->record_offset + 1;
    s->position = s->record->position;
    s->record = NULL;
    if (!cut) {
        s->until_seq = s->until_seq > s->seen_seq ? s->until_seq : s->seen_seq + 1;
        return OK;
    }
    bool large = s->batch_used >= (size_t)s->env->config->batch_bytes / 2;
    bool old = clock_mono(s->env->clock) - (s->dirty ? s->first_us : s->committed_us) >= IDLE_COMMIT_US;
    return (large || old) && may_commit(s) ? commit(s, err) : OK;
}

static void report_progress(struct sink *s)
{
    int64_t now = clock_mono(s->env->clock);
    s->view.catching_up = s->seen_seq < s->until_seq;
    if (now - s->progress_us < PROGRESS_US) return;
    double seconds = (double)(now - s->progress_us) / 1e6, rate = (double)(s->taken - s->progress_taken) / seconds;
    double seqs = (double)(s->seen_seq - s->progress_seq) / seconds, left = (double)(s->view.commit_seq_end - s->seen_seq);
    bool behind = s->view.commit_seq_end > s->seen_seq && s->commit_us > 0;
    metric_set(s->m_lag_seconds, behind ? (double)(clock_wall(s->env->clock) - s->commit_us) / 1e6 : 0);
    if (s->taken != s->progress_taken && s->view.commit_seq_end > s->seen_seq + 10)
        log_info(ROOM, "catching up", F_STR("sink", s->env->name), F_INT("worker", s->env->worker), F_INT("seq", s->seen_seq),
                 F_INT("of", s->view.commit_seq_end), F_INT("changes", s->taken), F_INT("changes_per_s", rate),
                 F_INT("seconds_left", seqs > 0 ? left / seqs : -1));
    s->progress_seq = s->seen_seq;
    s->progress_us = now;
    s->progress_taken = s->taken;
}

static enum code read_window(struct sink *s, struct err *err)
{
    for (int i = 0; i < STEP_CHANGES; i++) {
        struct stream *stream;
        enum code code = window_next(&s->window, &stream, err);
        if (code == OK && !stream) return window_done(s, err);
        if (code == OK) code = take_change(s, stream, err);
        if (code == REJECT) return reject(s, stream ? stream->topic : NULL, err);
        if (code != OK) return code;
        if (s->batch_used < (size_t)s->env->config->batch_bytes) continue;
        return flush_all(s, err);
    }
    return OK;
}

/* Nothing to read: what is complete is committed now. */
static enum code idle(struct sink *s, struct err *err)
{
    bool moved = s->seen_seq != s->progress.commit_seq && !s->pinned;
    bool due = s->dirty || (moved && clock_mono(s->env->clock) - s->committed_us >= IDLE_COMMIT_US);
    if (may_commit(s) && due) return commit(s, err);
    return AGAIN;
}

enum code sink_step(struct sink *s, struct err *err)
{
    bool building = s->dirty && s->seen_seq < s->until_seq; /* what was read so far is worth waiting for */
    if (s->waited != OK && s->waited != AGAIN && !building) {
        *err = s->waited_err;
        return s->waited;
    }
    enum code code = s->claimed ? renew(s, err) : claim(s, err);
    if (code != OK) return code;
    report_progress(s);
    if (s->record) return read_window(s, err);
    code = next_record(s, err);
    if (code == REJECT) return err->code = FATAL;
    return code == AGAIN ? idle(s, err) : code;
}

void sink_wait(struct sink *s)
{
    if (!s->claimed) {
        int64_t now = clock_mono(s->env->clock);
        stop_poll(s->env->stop, NULL, 0, now, s->claim_us + CLAIM_EVERY_US);
        return;
    }
    s->waited = s->journal->reader_wait(s->reader, 500, &s->waited_err);
}

struct sink_progress_view sink_view(const struct sink *s) { return s->view; }
