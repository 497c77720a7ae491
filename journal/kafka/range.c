/* Reads a bounded range of a one-partition topic: the newest commit records, all schemas. */
#include "journal/kafka/kafka.h"

#include <inttypes.h>

#define BATCH 500

/* Brokers do not show topics that we may not read; asked for one by name, they say so. (Only a consumer asks:
 * others would have it made, where brokers make topics by themselves.) */
static bool hidden(struct kafka_handle *h, const char *topic, int wait_ms) {
    const struct rd_kafka_metadata *m;
    bool found = false;
    if (rd_kafka_type(h->rk) != RD_KAFKA_CONSUMER)
        return false;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(h->rk, topic, NULL);
    if (rd_kafka_metadata(h->rk, 0, rkt, &m, wait_ms) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        found = m->topic_cnt == 1 && m->topics[0].err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
        rd_kafka_metadata_destroy(m);
    }
    rd_kafka_topic_destroy(rkt);
    return found;
}

enum code kafka_watermarks(struct kafka_handle *h, const char *topic, int partition, int64_t deadline_us,
                           int64_t *ret_low, int64_t *ret_end, struct err *err) {
    for (;;) {
        int left = kafka_left_ms(h->env, deadline_us, 500);
        if (!left)
            return kafka_timeout(h, "ask for the ends of a topic", err);
        rd_kafka_resp_err_t e =
            rd_kafka_query_watermark_offsets(h->rk, topic, partition, ret_low, ret_end, left);
        if (e == RD_KAFKA_RESP_ERR_NO_ERROR) {
            kafka_heard(h);
            return OK;
        }
        if (e == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART || e == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC ||
            e == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION)
            return hidden(h, topic, left)
                       ? kafka_error(err, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "read topic", topic)
                       : AGAIN;
        if (!kafka_passing(e))
            return kafka_error(err, e, "read topic", topic);
        rd_kafka_poll(h->rk, 10);
        if (h->refused && h->down_since_us)
            return kafka_timeout(h, "ask for the ends of a topic", err);
    }
}

/* One message: into `each`, or an end, or an error. `*done` when nothing more is to come. */
static enum code take(const rd_kafka_message_t *m, const char *topic, int64_t to, kafka_range_f *each,
                      void *arg, bool *done, struct err *err) {
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        *done = m->offset >= to;
        return OK;
    }
    if (m->err)
        return kafka_passing(m->err) ? OK : kafka_error(err, m->err, "read topic", topic);
    *done = m->offset >= to - 1;
    return m->offset < to ? each(arg, m, err) : OK;
}

static enum code read_queue(struct kafka_handle *h, rd_kafka_queue_t *queue, const char *topic, int64_t to,
                            int64_t deadline_us, kafka_range_f *each, void *arg, struct err *err) {
    rd_kafka_message_t *messages[BATCH];
    enum code code = OK;
    bool done = false;
    while (!done && code == OK) {
        int left = kafka_left_ms(h->env, deadline_us, 100);
        if (!left)
            return kafka_timeout(h, "read a topic to its end", err);
        /* A batch waits until it is full: wait for the first alone, then take what is there. */
        ssize_t n = rd_kafka_consume_batch_queue(queue, left, messages, 1);
        if (n == 1) {
            ssize_t more = rd_kafka_consume_batch_queue(queue, 0, messages + 1, BATCH - 1);
            n += more > 0 ? more : 0;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (!done && code == OK)
                code = take(messages[i], topic, to, each, arg, &done, err);
            rd_kafka_message_destroy(messages[i]);
        }
        rd_kafka_poll(h->rk, 0);
    }
    return code;
}

enum code kafka_range_read(struct kafka_handle *h, const char *topic, int64_t from, int64_t to,
                           int64_t deadline_us, kafka_range_f *each, void *arg, struct err *err) {
    if (from >= to)
        return OK;
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(h->rk, topic, NULL);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(h->rk);
    enum code code;
    if (rd_kafka_consume_start_queue(rkt, 0, from, queue) != 0) {
        code = kafka_error(err, rd_kafka_last_error(), "read topic", topic);
    } else {
        code = read_queue(h, queue, topic, to, deadline_us, each, arg, err);
        rd_kafka_consume_stop(rkt, 0);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_destroy(rkt);
    return code;
}

/* ---- commit records ---- */

enum code kafka_commit_parse(const rd_kafka_message_t *m, const char *topic, struct arena *arena,
                             struct commit_record *ret, struct err *err) {
    enum code code = commit_record_read(slice_make(m->payload, m->len), arena, ret, err);
    if (code == OK)
        return OK;
    err_prefix(err, "topic '%s', offset %" PRId64, topic, m->offset);
    if (err)
        err->code = FATAL;
    return FATAL;
}

struct newest {
    struct buf json;
    int64_t offset;
};

static enum code keep_newest(void *arg, const rd_kafka_message_t *m, struct err *err) {
    struct newest *newest = arg;
    (void)err;
    buf_clear(&newest->json);
    buf_put(&newest->json, m->payload, m->len);
    newest->offset = m->offset;
    return OK;
}

enum code kafka_range_last(struct kafka_handle *h, int64_t low, int64_t end, int64_t deadline_us,
                           struct arena *arena, struct commit_record **ret, int64_t *ret_offset,
                           struct err *err) {
    struct newest newest = {.offset = -1};
    enum code code = OK;
    *ret = NULL;
    *ret_offset = -1;
    /* Markers of transactions take offsets too, so the last offset need not be a record. */
    for (int64_t span = 64; code == OK && newest.offset < 0; span *= 16) {
        int64_t from = end - span > low ? end - span : low;
        code = kafka_range_read(h, h->journal->commits, from, end, deadline_us, keep_newest, &newest, err);
        if (from == low)
            break;
    }
    if (code == OK && newest.offset >= 0) {
        rd_kafka_message_t m = {.payload = newest.json.data, .len = newest.json.len, .offset = newest.offset};
        *ret = arena_alloc(arena, sizeof **ret);
        *ret_offset = newest.offset;
        code = kafka_commit_parse(&m, h->journal->commits, arena, *ret, err);
        if (code != OK)
            *ret = NULL;
    }
    buf_free(&newest.json);
    return code;
}
