#include "journal/kafka/reader.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.h"

#define OPEN_MS   5000
#define ASK_MS    2000
#define ABSENT_US 1000000 /* how often to look for a commits topic that is not there yet */
#define GAP_MEND                                                                                      \
    "Mend its retention, or delete it (kafka-topics --delete --topic %s); then take a new snapshot: " \
    "millrace "                                                                                       \
    "capture --config FILE --resnapshot (or run), and start the sink again"
#define UNREACHABLE_US 10000000 /* all brokers down and nothing heard for so long: say so */

/* ---- one partition ---- */

enum code kafka_stream_begin(struct kafka_stream *s, struct err *err) {
    if (!s->on && rd_kafka_consume_start_queue(s->rkt, s->partition, s->at, s->queue))
        return kafka_error(err, rd_kafka_last_error(), "read topic", s->topic);
    s->on = true;
    return OK;
}

void kafka_stream_pause(struct kafka_stream *s) {
    if (s->on)
        rd_kafka_consume_stop(s->rkt, s->partition);
    s->on = false;
    if (s->eof > s->at) /* what may be gone by then is not missed */
        s->at = s->eof;
}

enum code kafka_stream_start(struct kafka_reader *r, struct kafka_handle *h, const char *topic, int partition,
                             int64_t offset, struct kafka_stream **ret, struct err *err) {
    static const uint64_t one = 1;
    struct kafka_stream *s = xcalloc(1, sizeof *s);
    s->h = h;
    s->topic = xstrdup(topic);
    s->partition = partition;
    s->at = offset;
    s->eof = -1;
    s->rkt = rd_kafka_topic_new(h->rk, topic, NULL);
    s->queue = rd_kafka_queue_new(h->rk);
    rd_kafka_queue_io_event_enable(s->queue, r->wake, &one, sizeof one);
    enum code code = kafka_stream_begin(s, err);
    if (code == OK) {
        *ret = s;
        return OK;
    }
    rd_kafka_queue_destroy(s->queue);
    rd_kafka_topic_destroy(s->rkt);
    free(s->topic);
    free(s);
    return code;
}

void kafka_stream_stop(struct kafka_stream *s) {
    if (!s)
        return;
    if (s->lent)
        rd_kafka_message_destroy(s->lent);
    while (s->next < s->n)
        rd_kafka_message_destroy(s->messages[s->next++]);
    rd_kafka_queue_io_event_enable(s->queue, -1, NULL, 0);
    kafka_stream_pause(s);
    rd_kafka_queue_destroy(s->queue);
    rd_kafka_topic_destroy(s->rkt);
    free(s->topic);
    free(s);
}

static enum code gap(const struct kafka_stream *s, const rd_kafka_message_t *m, struct err *err) {
    return err_set(err, FATAL, ERR_JOURNAL_GAP,
                   "topic '%s', partition %d no longer holds offset %" PRId64
                   " (or was made anew): records this sink still needs were deleted. " GAP_MEND,
                   s->topic, s->partition, m->offset, s->topic);
}

static bool refill(struct kafka_reader *r, struct kafka_stream *s) {
    ssize_t n = rd_kafka_consume_batch_queue(s->queue, 0, s->messages, STREAM_BATCH);
    s->next = 0;
    s->n = n > 0 ? (int)n : 0;
    if (!s->n)
        return false;
    kafka_heard(s->h);
    r->heard_us = clock_mono(r->h.env->clock);
    return true;
}

bool kafka_stream_empty(struct kafka_reader *r, struct kafka_stream *s) {
    while (s->next < s->n || refill(r, s)) {
        rd_kafka_message_t *m = s->messages[s->next];
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)
            s->eof = m->offset;
        else if (!m->err || !kafka_passing(m->err))
            return false;
        s->next++;
        rd_kafka_message_destroy(m);
    }
    return true;
}

/* Leaves the next record at messages[next], without taking it. AGAIN: nothing is here now. */
static enum code stream_peek(struct kafka_reader *r, struct kafka_stream *s, const rd_kafka_message_t **ret,
                             struct err *err) {
    if (kafka_stream_empty(r, s))
        return AGAIN;
    const rd_kafka_message_t *m = *ret = s->messages[s->next];
    if (!m->err) {
        s->eof = -1;
        return OK;
    }
    if (m->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || m->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE)
        return gap(s, m, err);
    return kafka_error(err, m->err, "read topic", s->topic);
}

static void stream_take(struct kafka_stream *s) {
    if (s->lent)
        rd_kafka_message_destroy(s->lent);
    s->lent = s->messages[s->next++];
    s->at = s->lent->offset + 1;
}

static struct slice header_of(const rd_kafka_headers_t *headers, const char *name) {
    const void *value;
    size_t size;
    if (!headers || rd_kafka_header_get_last(headers, name, &value, &size) || !value)
        return (struct slice){0};
    return slice_make(value, size);
}

static void record_of(rd_kafka_message_t *m, struct journal_record *ret) {
    rd_kafka_headers_t *headers = NULL;
    rd_kafka_timestamp_type_t type;
    int64_t ts_ms = rd_kafka_message_timestamp(m, &type);
    *ret = (struct journal_record){
        .offset = m->offset,
        .ts_us = ts_ms > 0 ? ts_ms * 1000 : 0,
        .key = slice_make(m->key, m->key_len),
        .value = slice_make(m->payload, m->len),
    };
    if (rd_kafka_message_headers(m, &headers))
        return;
    ret->header = header_of(headers, "millrace");
    static const char *const others[] = {"__debezium.oldkey", "__debezium.newkey"};
    for (size_t i = 0; i < 2 && !ret->other_name; i++) {
        ret->other_key = header_of(headers, others[i]);
        ret->other_name = ret->other_key.data ? others[i] : NULL;
    }
}

/* ---- streams ---- */

static struct kafka_stream *stream_of(const struct kafka_reader *r, int stream) {
    assert(stream >= 0 && stream < r->n && r->streams[stream]);
    return r->streams[stream];
}

static int slot(struct kafka_reader *r) {
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

/* What the partition holds. A topic that is new, or whose leader has just changed, gets a moment. */
static enum code stream_range(struct kafka_reader *r, const char *topic, int partition, int64_t offset,
                              int64_t *ret_low, int64_t *ret_end, struct err *err) {
    int64_t deadline_us = kafka_deadline(r->h.env, OPEN_MS);
    for (;;) {
        enum code code = kafka_watermarks(&r->h, topic, partition, deadline_us, ret_low, ret_end, err);
        if (code != AGAIN && (code != OK || offset <= *ret_end))
            return code;
        rd_kafka_poll(r->h.rk, 50);
        if (!kafka_over(r->h.env, deadline_us))
            continue;
        if (code == OK || stop_asked(r->h.env->stop))
            return code == OK ? OK : kafka_timeout(&r->h, "read a topic", err);
        if (!offset)
            return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                           "topic '%s' has no partition %d yet, as far as the brokers know: it is just being "
                           "made, or was deleted before it was ever read",
                           topic, partition);
        return err_set(
            err, FATAL, ERR_JOURNAL_GAP,
            "topic '%s', partition %d is gone, and this sink still needs records of it from offset %" PRId64
            " on. " GAP_MEND,
            topic, partition, offset, topic);
    }
}

enum code kafka_stream_open(struct journal_reader *jr, const char *topic, int partition, int64_t offset,
                            int *ret_stream, struct err *err) {
    struct kafka_reader *r = kafka_reader_of(jr);
    int64_t low, end;
    enum code code = kafka_idle_end(r, NULL, err);
    if (code == OK)
        code = stream_range(r, topic, partition, offset, &low, &end, err);
    if (code != OK)
        return code;
    if (offset == JOURNAL_EARLIEST)
        offset = low;
    if (offset < low || offset > end)
        return err_set(err, FATAL, ERR_JOURNAL_GAP,
                       "topic '%s', partition %d holds offsets from %" PRId64 " to before %" PRId64
                       " and this sink needs %" PRId64
                       ": records were deleted before they were read, or the topic was "
                       "made anew. " GAP_MEND,
                       topic, partition, low, end, offset, topic);
    int i = slot(r);
    code = kafka_stream_start(r, &r->h, topic, partition, offset, &r->streams[i], err);
    if (code == OK)
        *ret_stream = i;
    return code;
}

/* The reader was idle when it was last asked for. */
static enum code stream_wake(struct kafka_reader *r, struct kafka_stream *s, struct err *err) {
    enum code code = kafka_idle_end(r, NULL, err);
    return code == OK ? kafka_stream_begin(s, err) : code;
}

enum code kafka_stream_next(struct journal_reader *jr, int stream, int64_t last, struct journal_record *ret,
                            struct err *err) {
    struct kafka_reader *r = kafka_reader_of(jr);
    struct kafka_stream *s = stream_of(r, stream);
    const rd_kafka_message_t *m;
    enum code code = s->on ? OK : stream_wake(r, s, err);
    if (code == OK)
        code = stream_peek(r, s, &m, err);
    if (code == OK)
        s->waiting_us = 0;
    if (code == OK && m->offset <= last) {
        stream_take(s);
        record_of(s->lent, ret);
        return OK;
    }
    *ret = (struct journal_record){0};
    if (code == OK) {
        ret->offset = m->offset;
    } else if (code == AGAIN && s->eof > last) {
        ret->offset = s->eof;
        s->waiting_us = 0;
        code = OK;
    }
    if (code == AGAIN)
        kafka_stuck_look(r, s);
    return code;
}

void kafka_stream_close(struct journal_reader *jr, int stream) {
    struct kafka_reader *r = kafka_reader_of(jr);
    kafka_stream_stop(stream_of(r, stream));
    r->streams[stream] = NULL;
}

/* ---- commit records ---- */

enum code kafka_commits_seek(struct journal_reader *jr, int64_t offset, struct err *err) {
    struct kafka_reader *r = kafka_reader_of(jr);
    enum code code = kafka_idle_end(r, NULL, err);
    kafka_stream_stop(r->commits);
    r->commits = NULL;
    r->commits_next = offset;
    r->commits_retry_us = 0;
    return code;
}

static enum code commits_begin(struct kafka_reader *r, struct err *err) {
    int64_t low, end, now = clock_mono(r->h.env->clock);
    if (now < r->commits_retry_us)
        return AGAIN;
    enum code code =
        kafka_watermarks(&r->h, r->h.journal->commits, 0, kafka_deadline(r->h.env, OPEN_MS), &low, &end, err);
    if (code == AGAIN)
        r->commits_retry_us = now + ABSENT_US; /* no capture agent was here yet */
    if (code != OK)
        return code;
    if (r->commits_next > 0 && r->commits_next < low)
        return err_set(err, FATAL, ERR_JOURNAL_GAP,
                       "topic '%s' begins at offset %" PRId64 " and this sink needs %" PRId64
                       ". Build the replica anew: millrace replay --sink NAME",
                       r->h.journal->commits, low, r->commits_next);
    if (r->commits_next > end)
        return err_set(
            err, FATAL, ERR_JOURNAL_GAP,
            "topic '%s' ends before offset %" PRId64 " and this sink is at %" PRId64
            ": it was made anew, or the brokers have lost records. Build the replica anew: millrace "
            "replay --sink NAME",
            r->h.journal->commits, end, r->commits_next);
    return kafka_stream_start(r, &r->h, r->h.journal->commits, 0,
                              r->commits_next > low ? r->commits_next : low, &r->commits, err);
}

enum code kafka_commits_next(struct journal_reader *jr, struct arena *arena, struct commit_record **ret,
                             int64_t *ret_offset, struct err *err) {
    struct kafka_reader *r = kafka_reader_of(jr);
    const rd_kafka_message_t *m;
    enum code code = r->commits ? OK : commits_begin(r, err);
    if (code == OK)
        code = stream_peek(r, r->commits, &m, err);
    if (code != OK)
        return code;
    struct commit_record *record = arena_alloc(arena, sizeof *record);
    code = kafka_commit_parse(m, r->h.journal->commits, arena, record, err);
    if (code != OK)
        return code;
    *ret = record;
    *ret_offset = m->offset;
    stream_take(r->commits);
    return kafka_idle_end(r, record, err);
}

enum code kafka_commits_last(struct journal_reader *jr, int64_t wait_ms, struct arena *arena,
                             struct commit_record **ret, int64_t *ret_offset, struct err *err) {
    struct kafka_reader *r = kafka_reader_of(jr);
    int64_t low, end, deadline_us = kafka_deadline(r->h.env, wait_ms);
    enum code code = OK;
    *ret = NULL;
    *ret_offset = -1;
    bool unused = !r->commits || r->commits->h != &r->h;
    if (!unused)
        code = kafka_second_open(r, err);
    struct kafka_handle *h = unused ? &r->h : &r->second;
    if (code == OK)
        code = kafka_watermarks(h, r->h.journal->commits, 0, deadline_us, &low, &end, err);
    if (code == AGAIN)
        return OK;
    if (code == OK)
        code = kafka_range_last(h, low, end, deadline_us, arena, ret, ret_offset, err);
    return code;
}

/* ---- life ---- */

enum code kafka_reader_open(struct journal *journal, const struct journal_env *env, int64_t wait_ms,
                            struct journal_reader **ret, struct err *err) {
    struct kafka_reader *r = xcalloc(1, sizeof *r);
    int64_t low, end;
    *ret = NULL;
    r->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    enum code code = r->wake < 0 ? err_set(err, FATAL, ERR_SYSTEM, "eventfd: %s", strerror(errno)) : OK;
    if (code == OK)
        code = kafka_handle_open(&r->h, kafka_journal_of(journal), env, KAFKA_READER, NULL, NULL, err);
    if (code == OK)
        code =
            kafka_watermarks(&r->h, r->h.journal->commits, 0, kafka_deadline(env, wait_ms), &low, &end, err);
    if (code == OK || code == AGAIN) { /* AGAIN: reachable, and no such topic yet */
        *ret = (struct journal_reader *)r;
        return OK;
    }
    kafka_reader_close((struct journal_reader *)r);
    return code;
}

enum code kafka_commits_ask(struct kafka_handle *h, struct err *err) {
    int64_t low, end;
    return kafka_watermarks(h, h->journal->commits, 0, kafka_deadline(h->env, ASK_MS), &low, &end, err);
}

/* All brokers went away some time ago, and who has nothing to read does not hear that they are back. */
static enum code still_there(struct kafka_handle *h, struct err *err) {
    enum code code = kafka_commits_ask(h, err);
    if (code == AGAIN)
        kafka_heard(h);
    return code == AGAIN ? OK : code;
}

enum code kafka_reader_wait(struct journal_reader *jr, int64_t wait_ms, struct err *err) {
    struct kafka_reader *r = kafka_reader_of(jr);
    int64_t now = clock_mono(r->h.env->clock), deadline_us = now + wait_ms * 1000;
    struct pollfd fd = {.fd = r->wake, .events = POLLIN};
    uint64_t events;
    rd_kafka_poll(r->h.rk, 0);
    if (r->second.rk)
        rd_kafka_poll(r->second.rk, 0);
    enum code code = kafka_idle_look(r, now, err);
    if (code != OK)
        return code;
    struct kafka_handle *h = r->idle ? &r->second : &r->h;
    if (h->down_since_us && now - h->down_since_us > UNREACHABLE_US)
        code = still_there(h, err);
    if (code != OK)
        return code;
    if (!r->commits && r->commits_retry_us && r->commits_retry_us < deadline_us)
        deadline_us = r->commits_retry_us;
    if (stop_poll(r->h.env->stop, &fd, 1, now, deadline_us) > 0 &&
        read(r->wake, &events, sizeof events) < 0 && errno != EAGAIN)
        return err_set(err, FATAL, ERR_SYSTEM, "eventfd: %s", strerror(errno));
    return OK;
}

void kafka_reader_close(struct journal_reader *jr) {
    struct kafka_reader *r = kafka_reader_of(jr);
    if (!r)
        return;
    for (int i = 0; i < r->n; i++)
        kafka_stream_stop(r->streams[i]);
    free(r->streams);
    kafka_stream_stop(r->commits);
    kafka_handle_close(&r->second);
    kafka_handle_close(&r->h);
    if (r->wake >= 0)
        close(r->wake);
    free(r);
}
