/* Appending, and what the delivery reports say.
 *
 * Threads: one handle is one thread's, but `requested` (atomics of pace.h). */
#include "journal/kafka/writer.h"

#include <assert.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/log.h"

#define QUEUE_BYTES_MAX (12u << 20)
#define RECORD_OVERHEAD \
    100 /* a batch's header (61) and a record's lengths, at most; also counted per record in the queue */
#define HEADER_OVERHEAD 10
#define TOPIC_MS        30000

/* ---- deliveries ---- */

enum code kafka_fail(struct kafka_writer *w, enum code code, struct err *err) {
    assert(code != OK && code != AGAIN);
    if (w->failed.code == OK && err)
        w->failed = *err;
    w->failed.code = w->failed.code == OK ? code : w->failed.code;
    return code;
}

/* Why the producer, or its transaction, cannot go on: a transaction that has failed answers any other call
 * with its error (and one that has not is no worse for being asked). */
static rd_kafka_resp_err_t failure_of(const struct kafka_writer *w) {
    char why[512];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(w->h.rk, why, sizeof why);
    if (code || !w->transactional)
        return code;
    rd_kafka_error_t *error = rd_kafka_begin_transaction(w->h.rk);
    if (error && rd_kafka_error_txn_requires_abort(error))
        code = rd_kafka_error_code(error);
    if (error)
        rd_kafka_error_destroy(error);
    return code;
}

/* A record that was thrown away says only that; the producer knows why. */
static rd_kafka_resp_err_t reason_of(const struct kafka_writer *w, rd_kafka_resp_err_t error) {
    bool purged = error == RD_KAFKA_RESP_ERR__PURGE_QUEUE || error == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
    rd_kafka_resp_err_t failure = purged ? failure_of(w) : RD_KAFKA_RESP_ERR_NO_ERROR;
    return failure ? failure : error;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *handle) {
    struct kafka_writer *w = handle;
    (void)rk;
    struct parcel *parcel = m->_private;
    int topic = parcel->topic;
    uint32_t bytes = parcel->charge;
    struct err err = {0};
    w->acknowledged++;
    w->queued_bytes -= bytes;
    parcel_free(&w->parcels, parcel);
    if (w->failed.code != OK)
        return;
    const char *name = w->ends.topics[topic].name;
    if (m->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && !w->h.journal->compressed) {
        kafka_fail(w, kafka_too_large(&err, name, bytes, w->ends.topics[topic].bytes_max), &err);
    } else if (m->err) {
        kafka_fail(w, kafka_error(&err, reason_of(w, m->err), "deliver a record to topic", name), &err);
    } else if (m->offset < 0) {
        /* librdkafka takes a record for delivered when a later one was (IMPLICITACK). It may be lost: brokers
         * accept any first sequence number of a producer they have not met, so the second batch can stand
         * there without the first. Or it was a repetition of what the broker no longer remembers. Nobody
         * knows: again from the start. */
        kafka_fail(w,
                   err_set(&err, RETRY, ERR_JOURNAL_UNREACHABLE,
                           "Kafka: a record of topic '%s' was acknowledged without its offset", name),
                   &err);
    } else if (m->offset <= w->ends.topics[topic].ends[m->partition]) {
        kafka_fail(w,
                   err_set(&err, FATAL, ERR_JOURNAL_TOPIC,
                           "topic '%s', partition %" PRId32 " went back from offset %" PRId64 " to %" PRId64
                           ": it was deleted and made anew. " KAFKA_RESNAPSHOT,
                           name, m->partition, w->ends.topics[topic].ends[m->partition], m->offset),
                   &err);
    } else {
        kafka_heard(&w->h);
        ends_note(&w->ends, topic, m->partition, m->offset);
    }
}

/* @threads librdkafka's own. */
static void requested(struct kafka_handle *h, int api) {
    struct kafka_writer *w = (struct kafka_writer *)h;
    if (api == KAFKA_ADD_PARTITIONS)
        pace_adds(&w->pace, clock_mono(h->env->clock));
    if (api == KAFKA_PRODUCE)
        pace_produces(&w->pace);
}

const struct kafka_hooks kafka_writer_hooks = {.delivered = delivered, .requested = requested};

enum code kafka_writer_check(struct kafka_writer *w, struct err *err) {
    char why[512];
    if (w->failed.code == OK) {
        struct err e = {0};
        rd_kafka_resp_err_t fatal = rd_kafka_fatal_error(w->h.rk, why, sizeof why);
        if (!fatal)
            return OK;
        kafka_fail(w, kafka_error(&e, fatal, "go on writing", NULL), &e);
    }
    return err_set(err, w->failed.code, w->failed.id, "%s", w->failed.text);
}

enum code kafka_transaction_error(struct kafka_writer *w, rd_kafka_error_t *error, const char *doing,
                                  struct err *err) {
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    bool again = rd_kafka_error_is_retriable(error) && !rd_kafka_error_txn_requires_abort(error) &&
                 !rd_kafka_error_is_fatal(error);
    char why[512];
    if (code == RD_KAFKA_RESP_ERR__FATAL)
        code = rd_kafka_fatal_error(w->h.rk, why, sizeof why);
    rd_kafka_error_destroy(error);
    if (again)
        return AGAIN;
    rd_kafka_poll(w->h.rk, 0); /* a delivery report may know better what happened */
    if (w->failed.code != OK)
        return kafka_writer_check(w, err);
    struct err e = {0};
    kafka_fail(w, kafka_error(&e, code, doing, NULL), &e);
    return kafka_writer_check(w, err);
}

/* ---- topics ---- */

/* Batches must fit the topic's limit; they are cut by a setting of the whole producer, so a smaller limit
 * needs a new one. */
static enum code check_batch(struct kafka_writer *w, const char *topic, size_t bytes_max, struct err *err) {
    atomic_size_t *batch = &((struct kafka_journal *)w->h.journal)->batch_bytes;
    char now[32];
    size_t size = sizeof now;
    size_t fits = bytes_max > 2048 ? bytes_max - 1024 : 1024;
    if (rd_kafka_conf_get(rd_kafka_conf(w->h.rk), "batch.size", now, &size) == RD_KAFKA_CONF_OK &&
        strtoull(now, NULL, 10) <= fits)
        return OK;
    atomic_store(batch, fits);
    return kafka_fail(
        w,
        err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                "topic '%s' takes batches of at most %zu bytes: opening the producer anew with smaller ones",
                topic, bytes_max),
        err);
}

static enum code open_topic(struct kafka_writer *w, const struct topic_spec *spec, int partitions, int known,
                            size_t bytes_max, bool internal, int64_t deadline_us, int *ret, struct err *err) {
    struct kafka_made made;
    int i = ends_find(&w->ends, spec->name);
    if (i >= 0 && w->ends.topics[i].open) {
        *ret = i;
        return OK;
    }
    if (i >= 0 && known <= 0)
        known = w->ends.topics[i].partitions; /* the commit records know */
    enum code code =
        kafka_topic_make(&w->directory, &w->h, spec, partitions, known, bytes_max, deadline_us, &made, err);
    if (code == OK)
        code = check_batch(w, spec->name, made.bytes_max, err);
    if (code != OK)
        return code;
    bool first = i < 0;
    if (first)
        i = ends_add(&w->ends, spec->name, made.partitions, spec->compacted);
    struct ends_topic *t = &w->ends.topics[i];
    if (first)
        t->born = w->born;
    t->compacted = spec->compacted;
    t->internal = internal;
    t->bytes_max = made.bytes_max;
    t->handle = rd_kafka_topic_new(w->h.rk, spec->name, NULL);
    t->open = true;
    *ret = i;
    return OK;
}

enum code kafka_internal_topic(struct kafka_writer *w, const char *name, int64_t deadline_us, int *ret_topic,
                               struct err *err) {
    struct topic_spec spec = {.name = name, .compacted = true};
    return open_topic(w, &spec, 1, 1, COMMIT_RECORD_BYTES_MAX + 65536, true, deadline_us, ret_topic, err);
}

enum code kafka_topic(struct journal_writer *jw, const struct topic_spec *spec, int *ret_topic,
                      int *ret_partitions, struct err *err) {
    struct kafka_writer *w = kafka_writer_of(jw);
    int i;
    enum code code = kafka_writer_check(w, err);
    if (code == OK)
        code = open_topic(w, spec, spec->keyed ? (int)w->h.journal->options->partitions : 1, 0, 0, false,
                          kafka_deadline(w->h.env, TOPIC_MS), &i, err);
    if (code != OK)
        return code;
    *ret_topic = i;
    *ret_partitions = w->ends.topics[i].partitions;
    return OK;
}

/* ---- append ---- */

enum code kafka_begin(struct kafka_writer *w, struct err *err) {
    if (w->transactional && !w->begun) {
        int64_t now = clock_mono(w->h.env->clock);
        if (now < w->pace.ready_us)
            return AGAIN;
        pace_begun(&w->pace, now);
        rd_kafka_error_t *error = rd_kafka_begin_transaction(w->h.rk);
        if (error) {
            enum code code = kafka_transaction_error(w, error, "begin a transaction", err);
            return code == AGAIN ? kafka_fail(w,
                                              err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                                                      "Kafka: cannot begin a transaction"),
                                              err)
                                 : code;
        }
    }
    w->begun = true;
    return OK;
}

void kafka_settle(struct kafka_writer *w, int64_t deadline_us) {
    int64_t now = clock_mono(w->h.env->clock);
    if (!w->begun && now < w->pace.ready_us)
        stop_poll(w->h.env->stop, NULL, 0, now,
                  w->pace.ready_us < deadline_us ? w->pace.ready_us : deadline_us);
}

static rd_kafka_headers_t *headers_of(const struct journal_append *a) {
    if (!a->n_headers)
        return NULL;
    rd_kafka_headers_t *headers = rd_kafka_headers_new((size_t)a->n_headers);
    for (int i = 0; i < a->n_headers; i++) {
        const struct journal_header *h = &a->headers[i];
        rd_kafka_header_add(headers, h->name, -1, h->value.data, (ssize_t)h->value.len);
    }
    return headers;
}

/* Upper bound of what the record takes on the wire, alone in its batch. */
static size_t wire_bytes(const struct journal_append *a) {
    size_t bytes = RECORD_OVERHEAD + a->key.len + a->value.len;
    for (int i = 0; i < a->n_headers; i++)
        bytes += HEADER_OVERHEAD + strlen(a->headers[i].name) + a->headers[i].value.len;
    return bytes;
}

static rd_kafka_resp_err_t produce(struct kafka_writer *w, const struct ends_topic *t,
                                   const struct journal_append *a, size_t bytes) {
    rd_kafka_headers_t *headers = headers_of(a);
    struct parcel *parcel = parcel_new(&w->parcels, a->topic, (uint32_t)bytes, a->value);
    rd_kafka_vu_t vus[6] = {
        {.vtype = RD_KAFKA_VTYPE_RKT, .u.rkt = t->handle},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = a->partition},
        {.vtype = RD_KAFKA_VTYPE_KEY, .u.mem = {(void *)a->key.data, a->key.len}},
        {.vtype = RD_KAFKA_VTYPE_VALUE, .u.mem = {a->value.data ? parcel->payload : NULL, a->value.len}},
        {.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = parcel},
    };
    size_t n = 5;
    if (headers)
        vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    rd_kafka_error_t *error = rd_kafka_produceva(w->h.rk, vus, n);
    if (!error)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    if (headers)
        rd_kafka_headers_destroy(headers);
    parcel_free(&w->parcels, parcel);
    return code;
}

enum code kafka_append(struct journal_writer *jw, const struct journal_append *a, struct err *err) {
    struct kafka_writer *w = kafka_writer_of(jw);
    assert(a->topic >= 0 && a->topic < w->ends.n && w->ends.topics[a->topic].open);
    const struct ends_topic *t = &w->ends.topics[a->topic];
    assert(a->partition >= 0 && a->partition < t->partitions);
    if (w->failed.code != OK)
        return kafka_writer_check(w, err);
    assert(w->step == WRITER_IDLE || w->step == WRITER_FILLING); /* no commit is under way */

    size_t bytes = wire_bytes(a);
    size_t bytes_max = w->h.journal->compressed || t->bytes_max > w->h.journal->record_bytes_max
                           ? w->h.journal->record_bytes_max
                           : t->bytes_max;
    if (bytes > bytes_max)
        return kafka_too_large(err, t->name, bytes, bytes_max);
    if (w->queued_bytes && w->queued_bytes + bytes > QUEUE_BYTES_MAX)
        return AGAIN;
    enum code code = kafka_begin(w, err);
    if (code != OK)
        return code;

    rd_kafka_resp_err_t e = produce(w, t, a, bytes);
    if (e == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        return AGAIN;
    if (e == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE)
        return kafka_too_large(err, t->name, bytes, bytes_max);
    if (e) {
        if ((code = kafka_writer_check(w, err)) != OK)
            return code; /* knows the reason behind _FATAL and _STATE */
        return kafka_fail(w, kafka_error(err, e, "append to topic", t->name), err);
    }
    w->step = WRITER_FILLING;
    w->sent++;
    ends_sent(&w->ends, a->topic, a->partition);
    w->queued_bytes += bytes;
    return OK;
}

enum code kafka_writer_poll(struct journal_writer *jw, int64_t wait_ms, struct err *err) {
    struct kafka_writer *w = kafka_writer_of(jw);
    int64_t deadline_us = kafka_deadline(w->h.env, wait_ms);
    uint64_t before = w->acknowledged;
    int left;
    if (wait_ms > 0 && !w->begun && clock_mono(w->h.env->clock) < w->pace.ready_us) {
        kafka_settle(w, deadline_us);
        deadline_us = 0; /* nothing else is waited for */
    }
    do { /* ends early when something came */
        left = kafka_left_ms(w->h.env, deadline_us, 100);
        rd_kafka_poll(w->h.rk, left);
    } while (left && w->acknowledged == before && w->failed.code == OK);
    return kafka_writer_check(w, err);
}

void kafka_writer_close(struct journal_writer *jw) {
    struct kafka_writer *w = kafka_writer_of(jw);
    if (!w)
        return;
    /* What failed is aborted by the next writer's open, or by the brokers in time; a commit under way cannot
     * be. */
    if (w->h.rk && w->transactional && w->begun && w->failed.code == OK && w->step != WRITER_ENDING) {
        w->failed.code = RETRY; /* what is thrown away now is no error to tell */
        rd_kafka_error_t *error = rd_kafka_abort_transaction(w->h.rk, 1000);
        if (error)
            rd_kafka_error_destroy(error);
    }
    kafka_directory_free(&w->directory);
    ends_free(&w->ends);
    kafka_handle_close(&w->h);
    parcels_free(&w->parcels); /* only now: the handle sends from them */
    tell_free(&w->tell);
    free(w->source);
    free(w->pipeline);
    free(w);
}
