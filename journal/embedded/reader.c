#include "journal/embedded/reader.h"

#include <assert.h>
#include <inttypes.h>

#define LOOK_US   1000000 /* how often to see whether the path still leads to the file that is open */
#define ABSENT_MS 200     /* and whether there is one */

/* ---- the file ---- */

/* Opens it as soon as there is one. AGAIN: there is none. */
static enum code ready(struct embedded_reader *r, int64_t deadline_us, struct err *err) {
    if (!r->store.db)
        return store_open(&r->store, r->journal, r->env, STORE_READER, deadline_us, err);
    r->store.deadline_us = deadline_us;
    return OK;
}

static enum code ready_soon(struct embedded_reader *r, struct err *err) {
    return r->store.db ? OK : ready(r, embedded_deadline(r->env, EMBEDDED_LOCK_MS), err);
}

enum code embedded_reader_open(struct journal *journal, const struct journal_env *env, int64_t wait_ms,
                               struct journal_reader **ret, struct err *err) {
    struct embedded_reader *r = xcalloc(1, sizeof *r);
    *ret = NULL;
    r->journal = embedded_of(journal);
    r->env = env;
    r->tick.fd = -1;
    enum code code = ready(r, embedded_deadline(env, wait_ms), err);
    if (code == OK || code == AGAIN) {
        *ret = (struct journal_reader *)r;
        return OK;
    }
    embedded_reader_close((struct journal_reader *)r);
    return code;
}

void embedded_reader_close(struct journal_reader *jr) {
    struct embedded_reader *r = embedded_reader_of(jr);
    if (!r)
        return;
    for (int i = 0; i < r->n; i++)
        embedded_stream_free(r->streams[i]);
    free(r->streams);
    embedded_stream_free(r->commits);
    tick_close(&r->tick);
    store_close(&r->store);
    free(r);
}

/* ---- streams ---- */

static struct embedded_stream *stream_of(const struct embedded_reader *r, int stream) {
    assert(stream >= 0 && stream < r->n && r->streams[stream]);
    return r->streams[stream];
}

static int slot(struct embedded_reader *r) {
    for (int i = 0; i < r->n; i++)
        if (!r->streams[i])
            return i;
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->streams = xrealloc(r->streams, (size_t)r->cap * sizeof *r->streams);
    }
    r->streams[r->n] = NULL;
    return r->n++;
}

static enum code absent(const char *topic, int partition, int64_t offset, struct err *err) {
    if (!offset)
        return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                       "the journal has no topic '%s' with a partition %d yet", topic, partition);
    return err_set(
        err, FATAL, ERR_JOURNAL_GAP,
        "topic '%s', partition %d is gone, and this sink still needs records of it from offset %" PRId64
        " on. Take a new snapshot: millrace capture --config FILE --resnapshot (or run), and start the sink "
        "again",
        topic, partition, offset);
}

enum code embedded_stream_open(struct journal_reader *jr, const char *topic, int partition, int64_t offset,
                               int *ret_stream, struct err *err) {
    struct embedded_reader *r = embedded_reader_of(jr);
    struct embedded_stream *s;
    struct part held;
    enum code code = ready_soon(r, err);
    if (code == OK)
        code = embedded_stream_new(r, topic, partition, offset, &s, &held, err);
    if (code == AGAIN)
        return absent(topic, partition, offset, err);
    if (code != OK)
        return code;
    if (offset == JOURNAL_EARLIEST)
        offset = s->at = held.low;
    if (offset < held.low || offset > held.next) {
        embedded_stream_free(s);
        return err_set(err, FATAL, ERR_JOURNAL_GAP,
                       "topic '%s', partition %d holds offsets from %" PRId64 " to before %" PRId64
                       " and this sink needs %" PRId64
                       ": records were deleted before they were read (journal.embedded.retention, "
                       "retention_bytes), or the "
                       "topic was made anew. Take a new snapshot: millrace capture --config FILE "
                       "--resnapshot (or run), and "
                       "start the sink again",
                       topic, partition, held.low, held.next, offset);
    }
    int i = slot(r);
    r->streams[i] = s;
    *ret_stream = i;
    return OK;
}

enum code embedded_reader_topic(struct embedded_reader *r, const char *topic, struct embedded_stream **ret,
                                struct part *ret_held, struct err *err) {
    enum code code = ready_soon(r, err);
    return code == OK ? embedded_stream_new(r, topic, 0, 0, ret, ret_held, err) : code;
}

static void record_of(const struct chunk_record *from, struct journal_record *ret) {
    *ret = (struct journal_record){
        .offset = from->offset,
        .ts_us = from->ts_us,
        .key = from->key,
        .value = from->value,
    };
    if (!from->headers.data)
        return;
    ret->header = chunk_header(from->headers, "millrace");
    static const char *const others[] = {"__debezium.oldkey", "__debezium.newkey"};
    for (size_t i = 0; i < 2 && !ret->other_name; i++) {
        ret->other_key = chunk_header(from->headers, others[i]);
        ret->other_name = ret->other_key.data ? others[i] : NULL;
    }
}

enum code embedded_stream_next(struct journal_reader *jr, int stream, int64_t last,
                               struct journal_record *ret, struct err *err) {
    struct embedded_reader *r = embedded_reader_of(jr);
    struct embedded_stream *s = stream_of(r, stream);
    enum code code = embedded_stream_peek(r, s, err);
    *ret = (struct journal_record){0};
    if (code == OK && s->head.offset <= last) {
        record_of(&s->head, ret);
        embedded_stream_take(s);
    } else if (code == OK) {
        ret->offset = s->head.offset;
    } else if (code == AGAIN && s->end > last) {
        ret->offset = s->end;
        code = OK;
    }
    return code;
}

void embedded_stream_close(struct journal_reader *jr, int stream) {
    struct embedded_reader *r = embedded_reader_of(jr);
    embedded_stream_free(stream_of(r, stream));
    r->streams[stream] = NULL;
}

/* ---- commit records ---- */

static enum code parse(const struct embedded_reader *r, const struct chunk_record *at, struct arena *arena,
                       struct commit_record **ret, struct err *err) {
    struct commit_record *record = arena_alloc(arena, sizeof *record);
    enum code code = commit_record_read(at->value, arena, record, err);
    *ret = code == OK ? record : NULL;
    if (code != REJECT)
        return code;
    err_prefix(err, "journal file '%s': topic '%s', offset %" PRId64 ": ", r->journal->path,
               r->journal->commits, at->offset);
    if (err)
        err->code = FATAL;
    return FATAL;
}

enum code embedded_commits_seek(struct journal_reader *jr, int64_t offset, struct err *err) {
    struct embedded_reader *r = embedded_reader_of(jr);
    (void)err;
    embedded_stream_free(r->commits);
    r->commits = NULL;
    r->commits_next = offset;
    return OK;
}

static enum code commits_begin(struct embedded_reader *r, struct err *err) {
    struct part held;
    enum code code = ready_soon(r, err);
    if (code == OK)
        code = embedded_stream_new(r, r->journal->commits, 0, r->commits_next, &r->commits, &held, err);
    if (code != OK)
        return code; /* AGAIN: no capture agent was here yet */
    if (r->commits_next == 0)
        r->commits->at = held.low;
    if (r->commits->at >= held.low && r->commits_next <= held.next)
        return OK;
    embedded_stream_free(r->commits);
    r->commits = NULL;
    return err_set(err, FATAL, ERR_JOURNAL_GAP,
                   "topic '%s' holds offsets from %" PRId64 " to before %" PRId64
                   " and this sink is at %" PRId64 ": it was made anew, or the file is an older one. Build "
                   "the replica anew: millrace replay --sink NAME",
                   r->journal->commits, held.low, held.next, r->commits_next);
}

enum code embedded_commits_next(struct journal_reader *jr, struct arena *arena, struct commit_record **ret,
                                int64_t *ret_offset, struct err *err) {
    struct embedded_reader *r = embedded_reader_of(jr);
    enum code code = r->commits ? OK : commits_begin(r, err);
    if (code == OK)
        code = embedded_stream_peek(r, r->commits, err);
    if (code == OK)
        code = parse(r, &r->commits->head, arena, ret, err);
    if (code != OK)
        return code;
    *ret_offset = r->commits->head.offset;
    embedded_stream_take(r->commits);
    return OK;
}

/* The last record of the newest chunk. */
static enum code newest(struct embedded_reader *r, struct part_chunk *chunk, struct arena *arena,
                        struct commit_record **ret, int64_t *ret_offset, struct err *err) {
    struct chunk_cursor cursor;
    struct chunk_record record, last = {0};
    enum code code = part_chunk_open(chunk, &r->store, r->journal->commits, 0, &cursor, err);
    while (code == OK && (code = chunk_next(&cursor, &record)) == OK)
        last = record;
    if (code == REJECT)
        return part_damaged(&r->store, r->journal->commits, 0, chunk->head.first, err);
    if (code != AGAIN)
        return code;
    *ret_offset = last.offset;
    return parse(r, &last, arena, ret, err);
}

enum code embedded_commits_last(struct journal_reader *jr, int64_t wait_ms, struct arena *arena,
                                struct commit_record **ret, int64_t *ret_offset, struct err *err) {
    struct embedded_reader *r = embedded_reader_of(jr);
    struct part_chunk chunk = {0};
    struct part part;
    enum part_read what;
    *ret = NULL;
    *ret_offset = -1;
    enum code code = ready(r, embedded_deadline(r->env, wait_ms), err);
    if (code == OK)
        code = part_find(&r->store, r->journal->commits, 0, &part, err);
    if (code == AGAIN)
        return OK;
    if (code == OK)
        code = part_read_before(&r->store, part.id, INT64_MAX, &chunk, &what, err);
    if (code == OK && what == PART_CHUNK)
        code = newest(r, &chunk, arena, ret, ret_offset, err);
    part_chunk_free(&chunk);
    return code;
}

/* ---- waiting ---- */

/* Another file in its place is another journal: what was read of this one means nothing there. */
static enum code look(struct embedded_reader *r, struct err *err) {
    int64_t now = clock_mono(r->env->clock);
    if (!r->store.db || now < r->look_us)
        return OK;
    r->look_us = now + LOOK_US;
    return store_same_file(&r->store, err);
}

enum code embedded_reader_wait(struct journal_reader *jr, int64_t wait_ms, struct err *err) {
    struct embedded_reader *r = embedded_reader_of(jr);
    enum code code = look(r, err);
    if (code != OK)
        return code;
    if (!r->watching && r->store.db) {
        r->watching = tick_watch(&r->tick, r->journal->tick);
        if (r->watching)
            return OK; /* it may have rung before: look first */
    }
    int64_t most_ms = r->watching ? wait_ms : r->store.db ? TICK_POLL_MS : ABSENT_MS;
    struct pollfd fd = {.fd = r->tick.fd, .events = POLLIN};
    int rang = stop_poll(r->env->stop, &fd, r->watching ? 1 : 0, clock_mono(r->env->clock),
                         embedded_deadline(r->env, wait_ms < most_ms ? wait_ms : most_ms));
    if (rang > 0 && !tick_clear(&r->tick)) {
        tick_close(&r->tick);
        r->watching = false;
    }
    return OK;
}
