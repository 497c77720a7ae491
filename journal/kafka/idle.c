/* A reader that has read everything listens to the commits topic only: nothing can come without a record
 * there.
 *
 *             every partition, fetch.wait.max.ms 20         commits topic only, 500
 *   busy ---------------- nothing for a while ---------------> idle
 *        <------- a commit record, or anybody asks for more ---
 *
 * A client has one fetch under way at each broker. One that waits for partitions with nothing new holds up
 * those whose queue has just run low: while there is work it must be short. Short ones cost CPU when there is
 * none. */
#include "journal/kafka/reader.h"

#define QUIET_US 200000
#define TURNS_EACH \
    50 /* time between two turns, in what a turn takes: thousands of partitions take their time */

enum code kafka_second_open(struct kafka_reader *r, struct err *err) {
    if (r->second.rk)
        return OK;
    return kafka_handle_open(&r->second, r->h.journal, r->h.env, KAFKA_LISTENER, NULL, NULL, err);
}

/* AGAIN: all has been read, and nobody waits for more. OK: not so. */
static enum code nothing_expected(struct kafka_reader *r, struct err *err) {
    const rd_kafka_message_t *m;
    enum code code = AGAIN;
    if (!r->commits || r->commits->eof < 0)
        return OK;
    for (int i = 0; i < r->n && code == AGAIN; i++)
        if (r->streams[i])
            code = r->streams[i]->waiting_us ? OK : kafka_stream_peek(r, r->streams[i], &m, err);
    return code == AGAIN ? kafka_stream_peek(r, r->commits, &m, err) : code;
}

/* The commits topic goes on at the same record with the other client. */
static enum code commits_move(struct kafka_reader *r, struct kafka_handle *h, struct err *err) {
    int64_t at = r->commits->at;
    kafka_stream_stop(r->commits);
    r->commits = NULL;
    r->commits_next = at;
    return kafka_stream_start(r, h, r->h.journal->commits, 0, at, &r->commits, err);
}

enum code kafka_idle_look(struct kafka_reader *r, int64_t now_us, struct err *err) {
    int64_t quiet_us = r->turn_us * TURNS_EACH > QUIET_US ? r->turn_us * TURNS_EACH : QUIET_US;
    if (r->idle || now_us - r->heard_us < quiet_us)
        return OK;
    enum code code = nothing_expected(r, err);
    if (code != AGAIN)
        return code;
    code = kafka_second_open(r, err);
    int64_t begun_us = clock_mono(r->h.env->clock);
    if (code == OK)
        code = commits_move(r, &r->second, err);
    for (int i = 0; i < r->n && code == OK; i++)
        if (r->streams[i])
            rd_kafka_consume_stop(r->streams[i]->rkt, r->streams[i]->partition);
    r->idle = code == OK;
    r->turn_us = clock_mono(r->h.env->clock) - begun_us;
    return code;
}

enum code kafka_idle_end(struct kafka_reader *r, struct err *err) {
    if (!r->idle)
        return OK;
    enum code code = OK;
    int64_t begun_us = clock_mono(r->h.env->clock);
    /* The streams first: what the commit record tells of then comes with it. */
    for (int i = 0; i < r->n && code == OK; i++)
        if (r->streams[i])
            code = kafka_stream_begin(r->streams[i], err);
    if (code == OK)
        code = commits_move(r, &r->h, err);
    r->idle = false;
    r->heard_us = clock_mono(r->h.env->clock);
    r->turn_us += r->heard_us - begun_us;
    if (r->h.down_since_us) /* heard while nobody listened to it */
        r->h.down_since_us = r->heard_us;
    return code;
}
