/* What the doctor can know about a Kafka cluster beforehand. Changes nothing.
 *
 * Appends findings as JSON objects separated by commas:
 * {"level":"ok|warn|error","id":"...","what":"...","mend":"..."}. */
#include "journal/kafka/check.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/finding.h"
#include "journal/kafka/topics.h"

static void check_brokers(struct buf *list, const struct kafka_journal *j,
                          const struct rd_kafka_metadata *m) {
    char text[256];
    snprintf(text, sizeof text, "%d broker%s answer", m->broker_cnt, m->broker_cnt == 1 ? "" : "s");
    finding_put(list, m->broker_cnt >= 3 ? "ok" : "warn", "kafka.brokers", text,
                m->broker_cnt >= 3
                    ? ""
                    : "Fewer than three brokers: the loss of one can lose what was called durable");
    if (j->options->replication > m->broker_cnt) {
        snprintf(text, sizeof text, "replication is %" PRId64 " and there are %d brokers",
                 j->options->replication, m->broker_cnt);
        finding_put(list, "error", "kafka.replication", text,
                    "Set journal.kafka.replication to at most the number of brokers");
    }
}

static void check_timeout(struct buf *list, struct kafka_handle *h, int32_t broker, int64_t deadline_us) {
    char value[32], text[256];
    kafka_broker_setting(h, broker, "transaction.max.timeout.ms", deadline_us, value, sizeof value);
    if (!*value) {
        finding_put(list, "warn", "kafka.transaction_timeout", "the brokers' settings cannot be read",
                    "Grant DescribeConfigs on the cluster, so that they can be checked");
        return;
    }
    bool fits = h->journal->options->transaction_timeout_ms <= strtoll(value, NULL, 10);
    snprintf(text, sizeof text, "transaction_timeout is %" PRId64 " ms, the brokers allow %s ms",
             h->journal->options->transaction_timeout_ms, value);
    finding_put(list, fits ? "ok" : "error", "kafka.transaction_timeout", text,
                fits ? "" : "Lower journal.kafka.transaction_timeout");
}

static void check_create(struct buf *list, struct kafka_handle *h, int64_t deadline_us) {
    CLEANUP_FREE char *name = xasprintf("%s.doctor", h->journal->options->topic_prefix);
    rd_kafka_resp_err_t e = kafka_topic_try(h, name, deadline_us);
    if (!e || e == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        finding_put(list, "ok", "kafka.create_topics", "topics with our prefix can be created", "");
    } else {
        struct err err = {0};
        kafka_error(&err, e, "create topics like", name);
        finding_put(list, "error", "kafka.create_topics", err.text,
                    "Grant Create on the topics with our prefix, or create them by hand");
    }
}

/* Topics that exist: those kept for their newest state and those kept whole are told apart by what they are
 * now. */
static enum code check_topic(struct buf *list, struct kafka_handle *h,
                             const struct rd_kafka_metadata_topic *t, int64_t deadline_us, struct err *err) {
    struct kafka_settings s;
    struct err found = {0};
    enum code code = kafka_settings_read(h, t->topic, deadline_us, &s, err);
    if (code != OK)
        return code;
    bool single = strcmp(t->topic, h->journal->commits) == 0 || strcmp(t->topic, h->journal->schemas) == 0;
    struct topic_spec spec = {.name = t->topic, .compacted = single || s.compact};
    if (single && t->partition_cnt != 1) {
        err_set(&found, FATAL, ERR_JOURNAL_TOPIC,
                "topic '%s' has %d partitions, expected 1; mend: delete it and take a new snapshot", t->topic,
                t->partition_cnt);
    } else if (kafka_settings_check(&s, h->journal->options, &spec, kafka_replicas(t), &found) == OK) {
        finding_put(list, s.known ? "ok" : "warn", t->topic,
                    s.known ? "settings are right" : "settings cannot be read",
                    s.known ? "" : "Grant DescribeConfigs on it");
        return OK;
    }
    finding_put(list, "error", t->topic, found.text, "");
    return OK;
}

enum code kafka_check(struct journal *journal, int64_t wait_ms, struct buf *list, struct err *err) {
    const struct kafka_journal *j = kafka_journal_of(journal);
    const struct journal_env env = {.clock = &clock_system};
    int64_t deadline_us = kafka_deadline(&env, wait_ms);
    size_t n = strlen(j->options->topic_prefix);
    struct kafka_directory directory = {0};
    struct kafka_handle h;
    enum code code = kafka_handle_open(&h, j, &env, KAFKA_ADMIN, NULL, NULL, err);
    if (code == OK)
        code = kafka_directory_read(&directory, &h, deadline_us, err);
    const struct rd_kafka_metadata *m = directory.metadata;
    if (code == OK) {
        check_brokers(list, j, m);
        if (m->broker_cnt)
            check_timeout(list, &h, m->brokers[0].id, deadline_us);
        check_create(list, &h, deadline_us);
    }
    for (int i = 0; code == OK && i < m->topic_cnt; i++)
        if (!m->topics[i].err && strncmp(m->topics[i].topic, j->options->topic_prefix, n) == 0 &&
            m->topics[i].topic[n] == '.')
            code = check_topic(list, &h, &m->topics[i], deadline_us, err);
    kafka_directory_free(&directory);
    kafka_handle_close(&h);
    return code;
}
