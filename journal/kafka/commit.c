/* Ending a transaction: data acknowledged, then the commit record (or both at once), then EndTxn. Every step
 * can be left (AGAIN) and taken up again. */
#include "journal/kafka/writer.h"

#include <assert.h>

#include "base/log.h"

#define SLICE_MS 100

/* Waits until every record sent is acknowledged. flush makes the library send at once, whatever linger.ms
 * says. */
static enum code flush(struct kafka_writer *w, int64_t deadline_us, struct err *err) {
    for (;;) {
        if (w->acknowledged < w->sent)
            rd_kafka_flush(w->h.rk, kafka_left_ms(w->h.env, deadline_us, SLICE_MS));
        enum code code = kafka_writer_check(w, err);
        if (code != OK)
            return code;
        if (w->acknowledged == w->sent)
            return OK;
        if (kafka_over(w->h.env, deadline_us))
            return AGAIN;
    }
}

static enum code tell(struct kafka_writer *w, const struct commit_record *record, struct err *err) {
    const struct ends_topic *t = &w->ends.topics[w->commits];
    enum code code = tell_fill(&w->tell, &w->ends, record, w->foreseen, err);
    if (code != OK)
        return kafka_fail(w, code, err);
    struct journal_append a = {
        .topic = w->commits,
        .key = slice_of(w->source),
        .value = buf_slice(&w->tell.json),
    };
    code = kafka_begin(w, err);
    if (code != OK)
        return code;
    enum writer_step step = w->step;
    w->step = WRITER_FILLING; /* it is an append like any other */
    code = kafka_append((struct journal_writer *)w, &a, err);
    w->step = step;
    if (code != FATAL)
        return code;
    return kafka_fail(w,
                      err_set(err, FATAL, ERR_JOURNAL_TOPIC,
                              "topic '%s' takes records of at most %zu bytes, a commit record has %zu; mend: "
                              "kafka-configs --alter --topic %s --add-config max.message.bytes=8454144",
                              t->name, t->bytes_max, w->tell.json.len, t->name),
                      err);
}

/* Outside of transactions a record that proves wrong could not be taken back. */
static bool can_foresee(const struct kafka_writer *w) {
    return w->transactional && !w->ends.unforeseen && !atomic_load(&w->h.journal->shared);
}

static enum code check_foreseen(struct kafka_writer *w, struct err *err) {
    if (!w->foreseen || ends_as_foreseen(&w->ends))
        return OK;
    atomic_store(&((struct kafka_journal *)w->h.journal)->shared, true);
    log_warn("journal",
             "somebody else writes to the topics of this pipeline; commits take longer from now on",
             F_STR("topic_prefix", w->h.journal->options->topic_prefix));
    return kafka_fail(
        w,
        err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                "Kafka: records of the transaction lie elsewhere than foreseen; again from the start"),
        err);
}

static void end_begin(struct kafka_writer *w) {
    w->step = WRITER_ENDING;
    w->end_began_us = clock_mono(w->h.env->clock);
    w->end_lost = w->h.lost;
}

/* Data and record on their way to their acknowledgements. */
static enum code deliver(struct kafka_writer *w, const struct commit_record *record, int64_t deadline_us,
                         struct err *err) {
    enum code code = OK;
    if (w->step == WRITER_FLUSHING) {
        code = flush(w, deadline_us, err);
        if (code == OK)
            code = w->foreseen ? check_foreseen(w, err) : tell(w, record, err);
        if (code == OK && w->foreseen)
            end_begin(w);
        else if (code == OK)
            w->step = WRITER_TELLING;
    }
    if (code == OK && w->step == WRITER_TELLING) {
        code = flush(w, deadline_us, err);
        if (code == OK)
            end_begin(w);
    }
    return code;
}

/* A call that is resumed and whose first, local step then times out makes librdkafka (2.0.2) forget that it
 * commits; the broker's answer finds no owner and an assertion ends the process. So each call gets a time
 * that a local step never needs, whatever the deadline; in the usual case it returns within milliseconds. */
#define END_CALL_MS 1000

/* The library repeats an EndTxn whose answer did not come, under the same epoch: the first one may still be
 * on its way, and would end the next transaction in the middle (KAFKA-17754). After a commit during which a
 * connection was lost, or that took as long as a lost one may, the producer is thrown away: the next one has
 * another epoch. */
#define END_SUSPECT_US 2000000

static void suspect(struct kafka_writer *w) {
    struct err err;
    rd_kafka_poll(w->h.rk, 0); /* hear of lost connections */
    bool late = clock_mono(w->h.env->clock) - w->end_began_us > END_SUSPECT_US;
    if (w->failed.code == OK && (late || w->h.lost != w->end_lost))
        kafka_fail(
            w,
            err_set(&err, RETRY, ERR_JOURNAL_UNREACHABLE,
                    "Kafka: the transaction is committed, but its end was not heard of at once: opening the "
                    "producer anew, so that a repeated request cannot end the next one"),
            &err);
}

static enum code end(struct kafka_writer *w, int64_t deadline_us, struct err *err) {
    if (!w->transactional)
        return OK;
    for (;;) {
        rd_kafka_error_t *error = rd_kafka_commit_transaction(w->h.rk, END_CALL_MS);
        if (!error)
            return OK;
        enum code code = kafka_transaction_error(w, error, "commit the transaction", err);
        if (code != AGAIN)
            return code;
        if (kafka_over(w->h.env, deadline_us))
            return AGAIN;
    }
}

static void ended(struct kafka_writer *w, struct commit_record *record) {
    tell_done(&w->tell, record);
    ends_committed(&w->ends, 1);
    w->sent = w->acknowledged = 0;
    w->begun = false;
    if (w->transactional)
        pace_ended(&w->pace, clock_mono(w->h.env->clock));
    w->step = WRITER_IDLE;
}

/* Pending for as long as the brokers keep a transaction: it is aborted by now. */
static enum code check_pending(struct kafka_writer *w, enum code code, struct err *err) {
    int64_t pending_us = clock_mono(w->h.env->clock) - w->commit_began_us;
    if (code != AGAIN || pending_us < w->h.journal->options->transaction_timeout_ms * 1000)
        return code;
    return kafka_fail(w, kafka_timeout(&w->h, "commit a transaction", err), err);
}

enum code kafka_commit(struct journal_writer *jw, struct commit_record *record, int64_t wait_ms,
                       struct err *err) {
    struct kafka_writer *w = kafka_writer_of(jw);
    int64_t deadline_us = kafka_deadline(w->h.env, wait_ms);
    enum code code = kafka_writer_check(w, err);
    kafka_settle(w, deadline_us);
    if (w->step <= WRITER_FILLING) {
        w->step = WRITER_FLUSHING;
        w->commit_began_us = clock_mono(w->h.env->clock);
        w->foreseen = can_foresee(w);
        if (code == OK && w->foreseen)
            code = tell(w, record, err);
        if (code == AGAIN) { /* no room in the queue now */
            w->foreseen = false;
            code = OK;
        }
    }
    if (code == OK)
        code = deliver(w, record, deadline_us, err);
    if (code == OK && w->step == WRITER_ENDING)
        code = end(w, deadline_us, err);
    if (code == OK)
        ended(w, record);
    if (code == OK && w->transactional)
        suspect(w);
    return check_pending(w, code, err);
}
