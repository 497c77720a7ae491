#include "journal/move.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>

#include "base/log.h"
#include "schemas/reframe.h"

enum {
    OPEN_WAIT_MS = 30000,
    WAIT_MS = 500,
    BATCH_BYTES = 16 << 20,
    BATCH_US = 2000000, /* an open transaction must end long before the brokers end it */
    REPORT_US = 1000000,
    SEAL_TRIES = 20,
    SILENT_US = 60000000,
};
static const char ROOM[] = "journal";

struct part {
    int64_t next;   /* first offset of the old journal that is not in the new one */
    int64_t target; /* last offset up to the newest boundary, -1: none */
    int64_t told;   /* last offset that a commit record told, -1: none */
};

struct topic {
    char *name;
    int partitions;
    bool compacted;
    int to; /* its number in the new journal, -1: not asked yet */
    struct part *parts;
};

struct move {
    const struct move_env *env;
    const struct journal_ops *from, *to;
    struct journal_env journal_env;
    struct journal_reader *reader;
    struct schema_store *from_store, *to_store;
    struct journal_writer *writer;
    struct reframer *reframer;
    struct topic *topics;
    int n_topics;
    char *pipeline;    /* name of the old journal */
    uint64_t seen_seq; /* newest commit record of the old journal that was read */
    bool sealed;       /* and it was the last one */
    bool moved;
    struct commit_record boundary; /* newest boundary; seq 0: none */
    struct arena boundary_arena;
    uint64_t copied_generation; /* of the boundary that the copy was begun for; 0: not begun */
    uint64_t pending_bytes;
    int64_t begun_us, reported_us; /* of the open transaction, 0: none is open */
    struct move_progress *progress;
    struct buf key, value, header, other;
};

/* ---- what the old journal says ---- */

static struct topic *topic_of(struct move *m, const char *name, int partitions, bool compacted) {
    for (int i = 0; i < m->n_topics; i++)
        if (strcmp(m->topics[i].name, name) == 0)
            return m->topics[i].partitions == partitions ? &m->topics[i] : NULL;
    m->topics = xrealloc(m->topics, (size_t)(m->n_topics + 1) * sizeof *m->topics);
    struct topic *t = &m->topics[m->n_topics++];
    *t = (struct topic){xstrdup(name), partitions, compacted, -1,
                        xcalloc((size_t)partitions, sizeof *t->parts)};
    for (int p = 0; p < partitions; p++)
        t->parts[p].target = t->parts[p].told = -1;
    return t;
}

static enum code learn_ends(struct move *m, const struct commit_record *r, struct err *err) {
    for (int i = 0; i < r->n_ends; i++) {
        const struct partition_end *end = &r->ends[i];
        const struct commit_topic *ct = &r->topics[end->topic];
        struct topic *t = topic_of(m, ct->name, ct->partitions, ct->compacted);
        if (!t)
            return err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                           "commit records disagree about the partitions of topic '%s'", ct->name);
        t->parts[end->partition].told = end->offset;
    }
    return OK;
}

static void learn_boundary(struct move *m, const struct commit_record *r) {
    arena_reset(&m->boundary_arena);
    m->boundary = (struct commit_record){.seq = r->move == MOVE_SEALED ? r->move_seq : r->seq,
                                         .position = r->position,
                                         .boundary = true,
                                         .ts_us = r->ts_us};
    m->boundary.state = r->state ? arena_strdup(&m->boundary_arena, r->state) : NULL;
    for (int i = 0; i < m->n_topics; i++)
        for (int p = 0; p < m->topics[i].partitions; p++)
            m->topics[i].parts[p].target = m->topics[i].parts[p].told;
}

static enum code learn(struct move *m, const struct commit_record *r, struct err *err) {
    if (r->seq <= m->seen_seq || (r->seq != m->seen_seq + 1 && !r->full))
        return OK; /* older, or records before it are gone: a full one will come */
    m->seen_seq = r->seq;
    m->sealed = r->move == MOVE_SEALED;
    if (m->sealed && !r->boundary)
        return OK; /* what it tells lies behind the newest boundary */
    enum code code = learn_ends(m, r, err);
    if (code == OK && r->boundary)
        learn_boundary(m, r);
    return code;
}

static enum code silent(const struct move *m, uint64_t seq, struct err *err) {
    return err_set(err, FATAL, ERR_JOURNAL_GAP,
                   "commit records of the old journal are missing between %" PRIu64 " and %" PRIu64
                   ": let capture run on it once (its first record tells everything), then run this again",
                   m->seen_seq, seq);
}

/* Reads commit records up to `seq`. */
static enum code follow(struct move *m, uint64_t seq, struct err *err) {
    struct arena arena = {0};
    enum code code = OK;
    int64_t heard_us = clock_mono(m->env->clock);
    while (code == OK && m->seen_seq < seq && !stop_asked(m->env->stop)) {
        struct commit_record *record;
        int64_t offset, now = clock_mono(m->env->clock);
        arena_reset(&arena);
        code = m->from->commits_next(m->reader, &arena, &record, &offset, err);
        if (code == OK) {
            heard_us = now;
            code = learn(m, record, err);
        } else if (code == AGAIN) {
            code = now - heard_us > SILENT_US ? silent(m, seq, err)
                                              : m->from->reader_wait(m->reader, WAIT_MS, err);
        }
        if (code == AGAIN)
            code = OK;
    }
    arena_free(&arena);
    return code == OK && stop_asked(m->env->stop) ? err_set(err, RETRY, ERR_STOPPED, "stopped") : code;
}

static enum code last_of(struct move *m, struct arena *arena, struct commit_record **ret, struct err *err) {
    int64_t offset;
    enum code code = m->from->commits_last(m->reader, OPEN_WAIT_MS, arena, ret, &offset, err);
    if (code != OK && code != AGAIN)
        return code;
    if (code == OK && *ret)
        return OK;
    return err_set(err, FATAL, ERR_CONFIG,
                   "the old journal is empty: there is nothing to move, start with the new one");
}

/* A snapshot that is not complete cannot be moved: what comes after it is the next boundary. */
static enum code check_snapshot(const struct move *m, const struct commit_record *last, struct err *err) {
    if (m->boundary.seq && last->position.generation == m->boundary.position.generation)
        return OK;
    return err_set(
        err, FATAL, ERR_CONFIG,
        "a snapshot is under way in the old journal: wait until it is complete (millrace status), then move");
}

/* ---- the new journal ---- */

static enum code other_generation(struct err *err) {
    return err_set(
        err, FATAL, ERR_JOURNAL_OTHER,
        "a new snapshot was taken in the old journal since the copy was begun: delete what the new journal "
        "holds (the topics with this prefix, or the file), then run this again");
}

static char *state_of(const struct move *m) {
    json_t *root = json_object();
    for (int i = 0; i < m->n_topics; i++) {
        json_t *parts = json_array();
        for (int p = 0; p < m->topics[i].partitions; p++)
            json_array_append_new(parts, json_integer(m->topics[i].parts[p].next));
        json_object_set_new(root, m->topics[i].name, parts);
    }
    char *text = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    return text;
}

/* Where an earlier run of ours was. */
static enum code resume(struct move *m, const struct commit_record *last, struct err *err) {
    json_t *root = last->state ? json_loads(last->state, 0, NULL) : NULL;
    const char *name;
    json_t *parts;
    bool right = json_is_object(root);
    json_object_foreach(root, name, parts) {
        struct topic *t = NULL;
        for (int i = 0; i < m->n_topics; i++)
            t = strcmp(m->topics[i].name, name) == 0 ? &m->topics[i] : t;
        right &= t && json_is_array(parts) && json_array_size(parts) == (size_t)t->partitions;
        for (int p = 0; right && p < t->partitions; p++)
            t->parts[p].next = json_integer_value(json_array_get(parts, (size_t)p));
    }
    json_decref(root);
    return right ? OK
                 : err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                           "the newest commit record of the new journal does not tell how far the copy is");
}

/* AGAIN: the pipeline has moved before. */
static enum code judge(struct move *m, const struct commit_record *last, struct err *err) {
    bool ours = last && last->move_of && strcmp(last->move_of, m->pipeline) == 0;
    if (!last)
        return OK;
    if (ours && last->move == MOVE_COPYING && last->position.generation != m->boundary.position.generation)
        return other_generation(err);
    if (ours && last->move == MOVE_COPYING)
        return resume(m, last, err);
    if (ours && last->move == MOVE_MOVED)
        return AGAIN;
    return err_set(err, FATAL, ERR_JOURNAL_OTHER,
                   "the new journal is not empty: it holds %" PRIu64
                   " commit records of another pipeline, or of this one after it "
                   "had moved; choose another place for it, or delete its topics if nobody needs them",
                   last->seq);
}

static void to_close(struct move *m) {
    reframer_free(m->reframer);
    schema_store_free(m->to_store);
    if (m->writer)
        m->to->writer_close(m->writer);
    m->reframer = NULL;
    m->to_store = NULL;
    m->writer = NULL;
    m->pending_bytes = 0;
    m->begun_us = 0;
    for (int i = 0; i < m->n_topics; i++)
        m->topics[i].to = -1;
}

static enum code to_open(struct move *m, struct err *err) {
    struct arena arena = {0};
    struct commit_record *last = NULL;
    to_close(m);
    for (int i = 0; i < m->n_topics; i++)
        for (int p = 0; p < m->topics[i].partitions; p++)
            m->topics[i].parts[p].next = 0;
    enum code code = m->to->writer_open(m->env->to.journal, &m->journal_env, m->env->source, OPEN_WAIT_MS,
                                        &m->writer, &arena, &last, err);
    if (code == OK)
        code = judge(m, last, err);
    if (code == OK)
        code = m->env->to.schemas(m->env->to.schemas_arg, m->writer, &m->to_store, err);
    if (code == OK)
        m->reframer = reframer_new(m->from_store, m->to_store);
    arena_free(&arena);
    return code;
}

static enum code to_topic(struct move *m, struct topic *t, struct err *err) {
    struct topic_spec spec = {t->name, t->partitions > 1, t->compacted};
    int partitions;
    if (t->to >= 0)
        return OK;
    enum code code = m->to->topic(m->writer, &spec, &t->to, &partitions, err);
    if (code != OK || partitions == t->partitions)
        return code;
    return err_set(err, FATAL, ERR_JOURNAL_TOPIC,
                   "topic '%s' has %d partitions in the old journal and got %d in the new one: configure %d "
                   "there, delete the "
                   "topics that were made, and run this again",
                   t->name, t->partitions, partitions, t->partitions);
}

static enum code commit(struct move *m, struct commit_record *record, struct err *err) {
    enum code code;
    do
        code = m->to->commit(m->writer, record, WAIT_MS, err);
    while (code == AGAIN && !stop_asked(m->env->stop));
    if (code == AGAIN)
        return err_set(err, RETRY, ERR_STOPPED, "stopped");
    m->pending_bytes = 0;
    m->begun_us = 0;
    return code;
}

static enum code commit_copied(struct move *m, struct err *err) {
    CLEANUP_FREE char *state = state_of(m);
    struct commit_record record = {
        .position = {m->boundary.position.generation, m->boundary.position.commit, 0},
        .ts_us = clock_wall(m->env->clock),
        .state = state,
        .move = MOVE_COPYING,
        .move_of = m->pipeline,
        .move_seq = m->boundary.seq,
    };
    return commit(m, &record, err);
}

/* ---- copying ---- */

static void report(struct move *m) {
    int64_t now = clock_mono(m->env->clock);
    if (!m->env->report || now - m->reported_us < REPORT_US)
        return;
    m->reported_us = now;
    m->progress->sealed = m->sealed;
    m->progress->records_left = 0;
    for (int i = 0; i < m->n_topics; i++)
        for (int p = 0; p < m->topics[i].partitions; p++) {
            const struct part *part = &m->topics[i].parts[p];
            m->progress->records_left +=
                part->target >= part->next ? (uint64_t)(part->target - part->next + 1) : 0;
        }
    m->env->report(m->env->report_arg, m->progress);
}

/* A record that is not ours (without our header) stays as it is. */
static enum code reframed(struct move *m, const struct topic *t, const struct journal_record *r,
                          struct err *err) {
    if (!r->header.len) {
        buf_clear(&m->header);
        buf_clear(&m->other);
        buf_clear(&m->key);
        buf_clear(&m->value);
        buf_put_slice(&m->key, r->key);
        buf_put_slice(&m->value, r->value);
        return OK;
    }
    enum code code = reframe_key(m->reframer, t->name, r->key, &m->key, err);
    if (code == OK)
        code = reframe_value(m->reframer, t->name, r->value, &m->value, err);
    if (code == OK)
        code = reframe_header(m->reframer, t->name, r->header, &m->header, err);
    return code == OK ? reframe_key(m->reframer, t->name, r->other_key, &m->other, err) : code;
}

static struct slice as(const struct buf *bytes, struct slice was) {
    return was.data ? slice_make(bytes->data ? bytes->data : "", bytes->len) : (struct slice){0};
}

static enum code append(struct move *m, const struct topic *t, int p, const struct journal_record *r,
                        struct err *err) {
    struct journal_header headers[2];
    int n = 0;
    if (r->header.data)
        headers[n++] = (struct journal_header){"millrace", as(&m->header, r->header)};
    if (r->other_key.data)
        headers[n++] = (struct journal_header){r->other_name, as(&m->other, r->other_key)};
    struct journal_append record = {.topic = t->to,
                                    .partition = p,
                                    .key = as(&m->key, r->key),
                                    .value = as(&m->value, r->value),
                                    .headers = headers,
                                    .n_headers = n};
    enum code code;
    while ((code = m->to->append(m->writer, &record, err)) == AGAIN && !stop_asked(m->env->stop)) {
        code = m->to->writer_poll(m->writer, WAIT_MS, err);
        if (code != OK && code != AGAIN)
            return code;
    }
    return code == AGAIN ? err_set(err, RETRY, ERR_STOPPED, "stopped") : code;
}

static enum code copy_record(struct move *m, const struct topic *t, int p, const struct journal_record *r,
                             struct err *err) {
    enum code code = reframed(m, t, r, err);
    if (code == OK)
        code = append(m, t, p, r, err);
    if (code == REJECT)
        err->code = FATAL;
    if (code != OK)
        return err_prefix(err, "topic '%s', partition %d, offset %" PRId64, t->name, p, r->offset);
    if (!m->begun_us)
        m->begun_us = clock_mono(m->env->clock);
    m->pending_bytes += m->key.len + m->value.len;
    m->progress->records++;
    m->progress->bytes += m->key.len + m->value.len;
    return OK;
}

static enum code commit_if_due(struct move *m, struct err *err) {
    bool due = m->begun_us &&
               (m->pending_bytes >= BATCH_BYTES || clock_mono(m->env->clock) - m->begun_us >= BATCH_US);
    return due ? commit_copied(m, err) : OK;
}

static enum code copy_stream(struct move *m, struct topic *t, int p, int stream, struct err *err) {
    struct part *part = &t->parts[p];
    enum code code = OK;
    while (code == OK && part->next <= part->target && !stop_asked(m->env->stop)) {
        struct journal_record record;
        report(m);
        code = m->from->stream_next(m->reader, stream, part->target, &record, err);
        if (code == AGAIN) {
            code = m->from->reader_wait(m->reader, WAIT_MS, err);
            code = code == AGAIN ? OK : code;
        } else if (code == OK && record.offset > part->target) {
            part->next = part->target + 1;
        } else if (code == OK && record.offset < part->next) {
            code = err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                           "topic '%s', partition %d begins anew below offset %" PRId64 " in the old journal",
                           t->name, p, part->next);
        } else if (code == OK) {
            code = copy_record(m, t, p, &record, err);
            part->next = code == OK ? record.offset + 1 : part->next;
        }
        if (code == OK)
            code = commit_if_due(m, err);
    }
    return code == OK && stop_asked(m->env->stop) ? err_set(err, RETRY, ERR_STOPPED, "stopped") : code;
}

/* What retention has removed of it meanwhile was read by the sinks long ago, or is missing for them as
 * well. */
static enum code stream_open(struct move *m, const char *topic, int partition, int64_t next, int *ret,
                             struct err *err) {
    enum code code = m->from->stream_open(m->reader, topic, partition, next, ret, err);
    if (code != FATAL || err->id != ERR_JOURNAL_GAP)
        return code;
    return m->from->stream_open(m->reader, topic, partition, JOURNAL_EARLIEST, ret, err);
}

static enum code copy_part(struct move *m, struct topic *t, int p, struct err *err) {
    int stream;
    enum code code = to_topic(m, t, err);
    if (code == OK)
        code = stream_open(m, t->name, p, t->parts[p].next, &stream, err);
    if (code != OK)
        return code;
    code = copy_stream(m, t, p, stream, err);
    m->from->stream_close(m->reader, stream);
    if (code == FATAL && err->id == ERR_JOURNAL_GAP)
        err->code = code = RETRY; /* trimmed under our eyes; the next try says if it is worse */
    return code;
}

/* Everything up to the newest boundary that was read. */
static enum code copy(struct move *m, struct err *err) {
    if (m->copied_generation && m->copied_generation != m->boundary.position.generation)
        return other_generation(err);
    m->copied_generation = m->boundary.position.generation;
    for (int i = 0; i < m->n_topics; i++)
        for (int p = 0; p < m->topics[i].partitions; p++) {
            const struct part *part = &m->topics[i].parts[p];
            enum code code = part->next <= part->target ? copy_part(m, &m->topics[i], p, err) : OK;
            if (code != OK)
                return code;
        }
    return m->begun_us ? commit_copied(m, err) : OK;
}

static enum code finish(struct move *m, struct err *err) {
    struct commit_record record = m->boundary;
    record.seq = 0;
    record.move = MOVE_MOVED;
    record.move_of = m->pipeline;
    record.move_seq = m->boundary.seq;
    enum code code = commit(m, &record, err);
    m->moved = code == OK;
    return code;
}

/* A peer that fails is tried again; the copy goes on from what was committed. AGAIN: moved before. */
static enum code copy_patiently(struct move *m, struct err *err) {
    struct backoff backoff = {0};
    for (;;) {
        enum code code = m->writer ? OK : to_open(m, err);
        if (code == OK)
            code = copy(m, err);
        if (code == OK && m->sealed)
            code = finish(m, err);
        if (code != RETRY || stop_asked(m->env->stop))
            return code;
        int64_t ms = backoff_next_ms(&backoff, m->env->clock), now = clock_mono(m->env->clock);
        log_warn(ROOM, "moving will be tried again", F_STR("name", err_name(err->id)),
                 F_STR("error", err->text), F_INT("in_ms", ms));
        to_close(m);
        stop_poll(m->env->stop, NULL, 0, now, now + ms * 1000);
    }
}

/* ---- the moment ---- */

static enum code commit_seal(struct move *m, struct journal_writer *writer, const struct commit_record *last,
                             struct err *err) {
    enum code code = follow(m, last->seq, err);
    if (code == OK)
        code = check_snapshot(m, last, err);
    if (code != OK)
        return code;
    struct commit_record record = {
        .position = last->position,
        .boundary = last->boundary,
        .state = last->state,
        .ts_us = clock_wall(m->env->clock),
        .move = MOVE_SEALED,
        .move_seq = m->boundary.seq,
    };
    do
        code = m->from->commit(writer, &record, WAIT_MS, err);
    while (code == AGAIN && !stop_asked(m->env->stop));
    return code == AGAIN ? err_set(err, RETRY, ERR_STOPPED, "stopped") : code;
}

/* Whoever writes to the old journal is fenced; nothing follows in it. */
static enum code seal(struct move *m, struct err *err) {
    struct arena arena = {0};
    struct journal_writer *writer = NULL;
    struct commit_record *last = NULL;
    enum code code = m->from->writer_open(m->env->from.journal, &m->journal_env, m->env->source, OPEN_WAIT_MS,
                                          &writer, &arena, &last, err);
    if (code == OK)
        code = commit_seal(m, writer, last, err);
    else if (err->id == ERR_JOURNAL_MOVED)
        code = OK;
    if (writer)
        m->from->writer_close(writer);
    arena_free(&arena);
    return code;
}

/* A capture that was fenced may try again, and be the quicker one. */
static enum code seal_patiently(struct move *m, struct err *err) {
    enum code code = OK;
    struct backoff backoff = {0};
    for (int tries = 0; tries < SEAL_TRIES; tries++) {
        struct arena arena = {0};
        struct commit_record *last;
        code = seal(m, err);
        if (code == OK)
            code = last_of(m, &arena, &last, err);
        if (code == OK)
            code = follow(m, last->seq, err);
        arena_free(&arena);
        if (code == OK || (code != RETRY && err->id != ERR_JOURNAL_FENCED) || stop_asked(m->env->stop))
            return code;
        int64_t now = clock_mono(m->env->clock);
        stop_poll(m->env->stop, NULL, 0, now, now + backoff_next_ms(&backoff, m->env->clock) * 1000);
    }
    return code;
}

/* Reads what is there, copies it; then seals and copies the rest. */
static enum code run(struct move *m, struct err *err) {
    struct arena arena = {0};
    struct commit_record *last;
    enum code code = last_of(m, &arena, &last, err);
    if (code == OK)
        m->pipeline = xstrdup(last->pipeline ? last->pipeline : "");
    if (code == OK)
        code = m->from->commits_seek(m->reader, 0, err);
    if (code == OK)
        code = follow(m, last->seq, err);
    if (code == OK)
        code = check_snapshot(m, last, err);
    if (code == OK)
        code = copy_patiently(m, err);
    if (code == OK && !m->sealed)
        code = seal_patiently(m, err);
    if (code == OK && !m->moved)
        code = copy_patiently(m, err);
    arena_free(&arena);
    return code == AGAIN ? OK : code;
}

static enum code from_open(struct move *m, struct err *err) {
    const char *from = m->from->prefix(m->env->from.journal), *to = m->to->prefix(m->env->to.journal);
    if (strcmp(from, to) != 0)
        return err_set(err, FATAL, ERR_CONFIG,
                       "the old journal's topic_prefix is '%s' and the new one's is '%s': topics and schemas "
                       "carry it in their "
                       "names, so it must stay '%s'",
                       from, to, from);
    enum code code =
        m->from->reader_open(m->env->from.journal, &m->journal_env, OPEN_WAIT_MS, &m->reader, err);
    return code == OK ? m->env->from.schemas(m->env->from.schemas_arg, NULL, &m->from_store, err) : code;
}

static void free_all(struct move *m) {
    to_close(m);
    schema_store_free(m->from_store);
    if (m->reader)
        m->from->reader_close(m->reader);
    for (int i = 0; i < m->n_topics; i++) {
        free(m->topics[i].name);
        free(m->topics[i].parts);
    }
    free(m->topics);
    free(m->pipeline);
    arena_free(&m->boundary_arena);
    buf_free(&m->key);
    buf_free(&m->value);
    buf_free(&m->header);
    buf_free(&m->other);
}

enum code journal_move(const struct move_env *env, struct move_progress *ret, struct err *err) {
    struct move m = {.env = env, .from = env->from.journal->ops, .to = env->to.journal->ops, .progress = ret};
    m.journal_env = (struct journal_env){.clock = env->clock, .stop = env->stop};
    *ret = (struct move_progress){0};
    enum code code = from_open(&m, err);
    if (code == OK)
        code = run(&m, err);
    free_all(&m);
    return code;
}
