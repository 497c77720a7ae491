/* Are the topics still as the commit records say? Somebody may have deleted one, made it anew, or given it
 * more partitions, while nobody of us was looking; to go on would leave out rows without a word. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "journal/kafka/writer.h"

#define ENDS_MS 10000 /* a partition without a leader for so long is not checked: a write to it will tell */

/* The end of every partition that was written to, in one question for each broker; -1 where it cannot be
 * told. */
static rd_kafka_topic_partition_list_t *partitions_of(const struct kafka_writer *w) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);
    for (int i = 0; i < w->ends.n; i++) {
        const struct ends_topic *t = &w->ends.topics[i];
        const struct rd_kafka_metadata_topic *found = kafka_directory_find(&w->directory, t->name);
        for (int p = 0; found && p < t->partitions && p < found->partition_cnt; p++)
            if (t->ends[p] >= 0)
                rd_kafka_topic_partition_list_add(list, t->name, p)->offset = RD_KAFKA_OFFSET_END;
    }
    return list;
}

static bool all_told(const rd_kafka_topic_partition_list_t *list) {
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].err)
            return false;
    return true;
}

/* NULL: nothing to ask about, or nobody answered. */
static rd_kafka_topic_partition_list_t *ask_ends(struct kafka_writer *w, int64_t deadline_us) {
    int64_t soon_us = kafka_deadline(w->h.env, ENDS_MS);
    if (soon_us < deadline_us)
        deadline_us = soon_us;
    for (;;) {
        rd_kafka_topic_partition_list_t *list = partitions_of(w);
        int left = list->cnt ? kafka_left_ms(w->h.env, deadline_us, 2000) : 0;
        rd_kafka_resp_err_t e =
            left ? rd_kafka_offsets_for_times(w->h.rk, list, left) : RD_KAFKA_RESP_ERR__NOENT;
        if (!e && (all_told(list) || kafka_over(w->h.env, deadline_us)))
            return list;
        rd_kafka_topic_partition_list_destroy(list);
        if (!left)
            return NULL;
        rd_kafka_poll(w->h.rk, 50);
    }
}

/* What is wrong with a topic, as the end of a sentence; false: nothing. */
static bool wrong(const struct kafka_writer *w, const struct ends_topic *t,
                  const rd_kafka_topic_partition_list_t *ends, char *ret, size_t size) {
    const struct rd_kafka_metadata_topic *found = kafka_directory_find(&w->directory, t->name);
    if (!found) {
        snprintf(ret, size, "is gone, and the pipeline has written to it");
        return true;
    }
    if (found->partition_cnt != t->partitions) {
        snprintf(ret, size,
                 "has %d partitions, expected %d as recorded in the pipeline: keys would move between "
                 "partitions and "
                 "lose their order",
                 found->partition_cnt, t->partitions);
        return true;
    }
    for (int p = 0; ends && p < t->partitions; p++) {
        const rd_kafka_topic_partition_t *end =
            rd_kafka_topic_partition_list_find((rd_kafka_topic_partition_list_t *)ends, t->name, p);
        if (!end || end->err || end->offset < 0 || end->offset > t->ends[p])
            continue;
        snprintf(ret, size,
                 "ends at offset %" PRId64 " in partition %d, and the pipeline has written up to %" PRId64
                 ": it was made anew, or the brokers have lost records",
                 end->offset, p, t->ends[p]);
        return true;
    }
    return false;
}

static bool written(const struct ends_topic *t) {
    for (int p = 0; p < t->partitions; p++)
        if (t->ends[p] >= 0)
            return true;
    return false;
}

enum code kafka_known_check(struct kafka_writer *w, bool anew, int64_t deadline_us, struct err *err) {
    char what[256];
    enum code code = OK;
    rd_kafka_topic_partition_list_t *ends = ask_ends(w, deadline_us);
    for (int i = w->ends.n - 1; i >= 0 && code == OK; i--) {
        const struct ends_topic *t = &w->ends.topics[i];
        if (!written(t) || !wrong(w, t, ends, what, sizeof what))
            continue;
        if (anew) {
            log_warn("journal", "a topic is not as it was left; the snapshot begins it anew",
                     F_STR("topic", t->name), F_STR("what", what));
            ends_forget(&w->ends, i);
        } else {
            code = err_set(err, FATAL, ERR_JOURNAL_TOPIC, "topic '%s' %s. " KAFKA_RESNAPSHOT, t->name, what);
        }
    }
    if (ends)
        rd_kafka_topic_partition_list_destroy(ends);
    return code;
}

/* ---- no commit record ---- */

static enum code stranger(void *arg, const rd_kafka_message_t *m, struct err *err) {
    const struct kafka_writer *w = arg;
    return err_set(err, FATAL, ERR_JOURNAL_TOPIC,
                   "topic '%s' holds records (offset %" PRId64
                   ") and there is no commit record in '%s': that topic was deleted "
                   "or emptied, or somebody else writes here. Choose another journal.kafka.topic_prefix, or "
                   "delete every "
                   "topic that begins with '%s.'; then build each replica anew: millrace replay --sink NAME",
                   rd_kafka_topic_name(m->rkt), m->offset, w->h.journal->commits,
                   w->h.journal->options->topic_prefix);
}

/* What was never committed is no record: a first start may have been interrupted. Every topic begins in
 * partition 0. */
enum code kafka_known_empty(struct kafka_writer *w, struct kafka_handle *reader, int64_t deadline_us,
                            struct err *err) {
    const struct rd_kafka_metadata *m = w->directory.metadata;
    for (int i = 0; i < m->topic_cnt; i++) {
        int64_t low, end;
        const char *topic = m->topics[i].topic;
        if (m->topics[i].err || !kafka_ours(w->h.journal, topic))
            continue;
        enum code code = kafka_watermarks(reader, topic, 0, deadline_us, &low, &end, err);
        if (code == OK)
            code = kafka_range_read(reader, topic, low, end, deadline_us, stranger, w, err);
        if (code != OK && code != AGAIN)
            return code;
    }
    return OK;
}
