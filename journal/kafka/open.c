/* Opening a writer: fence, find the newest commit record, know the end of every partition again. */
#include "journal/kafka/reader.h"
#include "journal/kafka/writer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"

static enum code fence(struct kafka_writer *w, int64_t deadline_us, struct err *err) {
    if (!w->transactional)
        return OK;
    for (;;) {
        int left = kafka_left_ms(w->h.env, deadline_us, 500);
        if (!left)
            return kafka_timeout(&w->h, "become the writer of the pipeline", err);
        rd_kafka_error_t *error = rd_kafka_init_transactions(w->h.rk, left);
        if (!error)
            return OK;
        enum code code = kafka_transaction_error(w, error, "become the writer of the pipeline", err);
        if (code != AGAIN)
            return code;
        rd_kafka_poll(w->h.rk, 0);
        if (w->h.refused)
            return kafka_timeout(&w->h, "become the writer of the pipeline", err);
    }
}

/* ---- reading back ---- */

/* Commit records from some offset to the end, into the ends. */
struct history {
    struct kafka_writer *w;
    struct arena arena;
    struct recall recall;
    struct buf json, key; /* of the newest */
    int64_t offset;
};

static enum code learn(void *arg, const rd_kafka_message_t *m, struct err *err) {
    struct history *hist = arg;
    struct commit_record r;
    arena_reset(&hist->arena);
    enum code code = kafka_commit_parse(m, hist->w->h.journal->commits, &hist->arena, &r, err);
    if (code != OK)
        return code;
    hist->offset = m->offset;
    buf_clear(&hist->json);
    buf_put(&hist->json, m->payload, m->len);
    buf_clear(&hist->key);
    buf_put(&hist->key, m->key, m->key_len);
    return recall_record(&hist->recall, &r, err);
}

static enum code read_back(struct history *hist, struct kafka_handle *reader, int64_t low, int64_t end,
                           int64_t deadline_us, struct err *err) {
    for (int64_t span = 64;; span *= 16) {
        int64_t from = end - span > low ? end - span : low;
        recall_restart(&hist->recall);
        enum code code =
            kafka_range_read(reader, hist->w->h.journal->commits, from, end, deadline_us, learn, hist, err);
        if (code != OK || hist->recall.whole || from == low)
            return code;
    }
}

/* ---- asking the brokers, when the records do not reach back ---- */

bool kafka_ours(const struct kafka_journal *j, const char *topic) {
    size_t n = strlen(j->options->topic_prefix);
    return strncmp(topic, j->options->topic_prefix, n) == 0 && topic[n] == '.' &&
           strcmp(topic, j->commits) != 0 && strcmp(topic, j->schemas) != 0;
}

static enum code ask_topic(struct kafka_writer *w, struct kafka_handle *reader,
                           const struct rd_kafka_metadata_topic *t, int64_t deadline_us, struct err *err) {
    enum code code = OK;
    struct kafka_settings s = {0};
    int i = ends_find(&w->ends, t->topic);
    if (i < 0)
        code = kafka_settings_read(&w->h, t->topic, deadline_us, &s, err);
    if (i < 0 && code == OK)
        i = ends_add(&w->ends, t->topic, t->partition_cnt, s.compact);
    for (int p = 0; code == OK && p < w->ends.topics[i].partitions; p++) {
        int64_t low, end;
        code = kafka_watermarks(reader, t->topic, p, deadline_us, &low, &end, err);
        if (code == AGAIN)
            code = OK;
        else if (code == OK && end > 0)
            w->ends.topics[i].ends[p] = end - 1;
    }
    return code;
}

static enum code ask(struct kafka_writer *w, struct kafka_handle *reader, int64_t deadline_us,
                     struct err *err) {
    const struct rd_kafka_metadata *m = w->directory.metadata;
    enum code code = OK;
    log_info("journal",
             "commit records do not reach back to a full one: asking the brokers for the ends of all topics");
    for (int i = 0; i < m->topic_cnt && code == OK; i++)
        if (!m->topics[i].err && kafka_ours(w->h.journal, m->topics[i].topic))
            code = ask_topic(w, reader, &m->topics[i], deadline_us, err);
    return code;
}

/* ---- checks on the newest record ---- */

static char *pipeline_name(const struct kafka_journal *j, const char *source) {
    return xasprintf("%s.%s", j->options->topic_prefix, source);
}

enum code kafka_overtaken(struct journal *journal, const struct journal_env *env, const char *source,
                          int64_t wait_ms, struct err *err) {
    struct journal_reader *reader = NULL;
    struct arena arena = {0};
    struct commit_record *last = NULL;
    int64_t offset, deadline_us = kafka_deadline(env, wait_ms);
    CLEANUP_FREE char *pipeline = pipeline_name(kafka_journal_of(journal), source);
    enum code code = kafka_reader_open(journal, env, wait_ms, &reader, err);
    if (code == OK)
        code =
            kafka_commits_last(reader, kafka_left_ms(env, deadline_us, wait_ms), &arena, &last, &offset, err);
    if (code == OK && last)
        code = process_overtaken(pipeline, last, err);
    kafka_reader_close(reader);
    arena_free(&arena);
    return code;
}

static enum code check_owner(const struct kafka_writer *w, const struct history *hist,
                             const struct commit_record *last, struct err *err) {
    if (!slice_is(buf_slice(&hist->key), w->source))
        return err_set(err, FATAL, ERR_JOURNAL_TOPIC,
                       "topic '%s' holds the commit records of source '%.*s', and this is source '%s': one "
                       "topic_prefix serves one source. "
                       "Choose another journal.kafka.topic_prefix, or name the source as before",
                       w->h.journal->commits, (int)hist->key.len, hist->key.data, w->source);
    return process_overtaken(w->pipeline, last, err);
}

static enum code recall(struct kafka_writer *w, struct kafka_handle *reader, struct history *hist,
                        int64_t deadline_us, struct arena *arena, struct commit_record **ret_last,
                        struct err *err) {
    int64_t low, end;
    const char *topic = w->h.journal->commits;
    if (!kafka_directory_find(&w->directory, topic))
        return kafka_known_empty(w, reader, deadline_us, err);
    /* The writer's client sees the end behind open transactions, which the reader must be able to reach. */
    enum code code = kafka_watermarks(&w->h, topic, 0, deadline_us, &low, &end, err);
    if (code == AGAIN)
        return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE, "topic '%s' has no leader", topic);
    if (code == OK)
        code = read_back(hist, reader, low, end, deadline_us, err);
    if (code == OK && !hist->recall.seq)
        return kafka_known_empty(w, reader, deadline_us, err);
    if (code != OK)
        return code;
    if (!hist->recall.whole)
        code = ask(w, reader, deadline_us, err);
    if (code != OK)
        return code;

    struct commit_record *last = arena_alloc(arena, sizeof *last);
    rd_kafka_message_t m = {.payload = hist->json.data, .len = hist->json.len, .offset = hist->offset};
    code = kafka_commit_parse(&m, topic, arena, last, err);
    if (code == OK)
        code = check_owner(w, hist, last, err);
    if (code != OK)
        return code;
    bool anew;
    w->born = tell_resume(&w->tell, last, w->h.env->anew, &anew);
    *ret_last = last;
    return kafka_known_check(w, anew, deadline_us, err);
}

static enum code recall_with_reader(struct kafka_writer *w, int64_t deadline_us, struct arena *arena,
                                    struct commit_record **ret_last, struct err *err) {
    struct kafka_handle reader;
    struct history hist = {.w = w, .recall = {.ends = &w->ends}};
    enum code code = kafka_handle_open(&reader, w->h.journal, w->h.env, KAFKA_READER, NULL, NULL, err);
    if (code == OK)
        code = recall(w, &reader, &hist, deadline_us, arena, ret_last, err);
    kafka_handle_close(&reader);
    arena_free(&hist.arena);
    buf_free(&hist.json);
    buf_free(&hist.key);
    return code;
}

static void topic_free(void *handle) {
    rd_kafka_topic_destroy(handle);
}

enum code kafka_writer_open(struct journal *journal, const struct journal_env *env, const char *source,
                            int64_t wait_ms, struct journal_writer **ret, struct arena *arena,
                            struct commit_record **ret_last, struct err *err) {
    const struct kafka_journal *j = kafka_journal_of(journal);
    int64_t deadline_us = kafka_deadline(env, wait_ms);
    struct kafka_writer *w = xcalloc(1, sizeof *w);
    *ret = NULL;
    *ret_last = NULL;
    w->source = xstrdup(source);
    w->pipeline = pipeline_name(j, source);
    w->transactional = j->options->delivery == KAFKA_EXACTLY_ONCE;
    w->born = 1;
    w->ends.handle_free = topic_free;
    random_name(w->tell.pipeline);
    pace_init(&w->pace, j->options->pause_ms * 1000);
    enum code code = kafka_handle_open(&w->h, j, env, KAFKA_WRITER, source, &kafka_writer_hooks, err);
    if (code == OK)
        code = fence(w, deadline_us, err);
    if (code == OK)
        code = kafka_directory_read(&w->directory, &w->h, deadline_us, err);
    if (code == OK)
        code = recall_with_reader(w, deadline_us, arena, ret_last, err);
    if (code == OK)
        code = kafka_internal_topic(w, j->commits, deadline_us, &w->commits, err);
    if (code == OK) {
        *ret = (struct journal_writer *)w;
        return OK;
    }
    assert(code != AGAIN);
    *ret_last = NULL;
    kafka_writer_close((struct journal_writer *)w);
    return code;
}
