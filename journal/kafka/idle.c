/* A reader that has read everything listens to the commits topic only: nothing comes without a record there.
 *
 *        every partition, fetch.wait.max.ms 20             commits topic only, 500
 *   busy ------------------ nothing for a while --------------> idle
 *        <--------- a commit record, or somebody asks ---------
 *
 * A client has one fetch under way at each broker. One that waits for partitions with nothing new holds up
 * those whose queue has just run low: while there is work it must be short. Short ones cost CPU when there is
 * none. */
#include "journal/kafka/reader.h"

#define QUIET_US 200000

enum code kafka_second_open(struct kafka_reader *r, struct err *err) {
    if (r->second.rk)
        return OK;
    return kafka_handle_open(&r->second, r->h.journal, r->h.env, KAFKA_LISTENER, NULL, NULL, err);
}

static bool nothing_expected(struct kafka_reader *r) {
    for (int i = 0; i < r->n; i++)
        if (r->streams[i] && (r->streams[i]->waiting_us || !kafka_stream_empty(r, r->streams[i])))
            return false;
    return r->commits && kafka_stream_empty(r, r->commits) && r->commits->eof >= 0;
}

/* The commits topic goes on at the same place with the other client. */
static enum code commits_move(struct kafka_reader *r, struct kafka_handle *h, struct err *err) {
    kafka_stream_pause(r->commits);
    r->commits_next = r->commits->at;
    kafka_stream_stop(r->commits);
    r->commits = NULL;
    r->heard_us = clock_mono(r->h.env->clock);
    if (h->down_since_us) /* since then nobody has listened to it */
        h->down_since_us = r->heard_us;
    return kafka_stream_start(r, h, r->h.journal->commits, 0, r->commits_next, &r->commits, err);
}

/* Whether the second client can read the commits topic. Where it may not, librdkafka 2.0.2 waits and says
 * nothing about a topic whose partitions it has never seen. AGAIN: not now. */
static enum code second_ready(struct kafka_reader *r, struct err *err) {
    enum code code = kafka_second_open(r, err);
    if (code == OK)
        code = kafka_commits_ask(&r->second, err);
    return code == RETRY ? AGAIN : code;
}

enum code kafka_idle_look(struct kafka_reader *r, int64_t now_us, struct err *err) {
    if (r->idle || now_us - r->heard_us < QUIET_US || !nothing_expected(r))
        return OK;
    enum code code = second_ready(r, err);
    if (code == AGAIN)
        r->heard_us = clock_mono(r->h.env->clock);
    if (code != OK)
        return code == AGAIN ? OK : code;
    for (int i = 0; i < r->n; i++)
        if (r->streams[i])
            kafka_stream_pause(r->streams[i]);
    code = commits_move(r, &r->second, err);
    r->idle = code == OK;
    return code;
}

/* Before the commits topic: the first fetch is for what is there. */
static enum code begin_named(struct kafka_reader *r, const struct commit_record *record, struct err *err) {
    enum code code = OK;
    for (int e = 0; e < record->n_ends && code == OK; e++)
        for (int i = 0; i < r->n && code == OK; i++) {
            struct kafka_stream *s = r->streams[i];
            const struct partition_end *end = &record->ends[e];
            if (s && s->partition == end->partition && end->offset >= s->at &&
                strcmp(s->topic, record->topics[end->topic].name) == 0)
                code = kafka_stream_begin(s, err);
        }
    return code;
}

enum code kafka_idle_end(struct kafka_reader *r, const struct commit_record *record, struct err *err) {
    if (!r->idle)
        return OK;
    r->idle = false;
    enum code code = record ? begin_named(r, record, err) : OK;
    return code == OK ? commits_move(r, &r->h, err) : code;
}
