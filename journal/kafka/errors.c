/* What each error of librdkafka and of the brokers means for us: one table. What it does not name can
 * heal. */
#include "journal/kafka/kafka.h"

#include <stdio.h>

#define E(name) RD_KAFKA_RESP_ERR_##name

static const struct meaning {
    rd_kafka_resp_err_t error;
    enum code code;
    enum err_id id;
    const char *mend; /* a sentence, or NULL */
} meanings[] = {
    /* A person must grant or mend something. */
    {E(TOPIC_AUTHORIZATION_FAILED), FATAL, ERR_JOURNAL_REFUSED,
     "Grant Read (a sink needs no more), Write, Create and DescribeConfigs on the topics with our prefix "
     "(kafka-acls --add --topic <prefix>. --resource-pattern-type prefixed)"},
    {E(TRANSACTIONAL_ID_AUTHORIZATION_FAILED), FATAL, ERR_JOURNAL_REFUSED,
     "Grant Write on the transactional ids that begin with millrace.<prefix>. (kafka-acls --add "
     "--transactional-id millrace.<prefix>. --resource-pattern-type prefixed)"},
    {E(CLUSTER_AUTHORIZATION_FAILED), FATAL, ERR_JOURNAL_REFUSED,
     "Grant Create on the topics with our prefix, and IdempotentWrite on the cluster for brokers older than "
     "2.8"},
    {E(GROUP_AUTHORIZATION_FAILED), FATAL, ERR_JOURNAL_REFUSED, NULL},
    {E(SASL_AUTHENTICATION_FAILED), FATAL, ERR_JOURNAL_REFUSED, "Check sasl.* in journal.kafka.properties"},
    {E(_AUTHENTICATION), FATAL, ERR_JOURNAL_REFUSED,
     "Check sasl.* and security.protocol in journal.kafka.properties"},
    {E(UNSUPPORTED_SASL_MECHANISM), FATAL, ERR_JOURNAL_REFUSED,
     "Check sasl.mechanism in journal.kafka.properties"},
    {E(ILLEGAL_SASL_STATE), FATAL, ERR_JOURNAL_REFUSED, NULL},
    {E(_SSL), FATAL, ERR_JOURNAL_REFUSED, "Check ssl.* and security.protocol in journal.kafka.properties"},
    {E(SECURITY_DISABLED), FATAL, ERR_JOURNAL_REFUSED, NULL},
    {E(POLICY_VIOLATION), FATAL, ERR_JOURNAL_TOPIC,
     "The cluster's policy for new topics forbids it: create the topic by hand"},
    {E(INVALID_REPLICATION_FACTOR), FATAL, ERR_JOURNAL_TOPIC,
     "Set journal.kafka.replication to at most the number of brokers"},
    {E(INVALID_PARTITIONS), FATAL, ERR_JOURNAL_TOPIC,
     "Set journal.kafka.partitions to what the cluster allows"},
    {E(INVALID_CONFIG), FATAL, ERR_JOURNAL_TOPIC, NULL},
    {E(TOPIC_EXCEPTION), FATAL, ERR_JOURNAL_TOPIC,
     "The name is not legal, or collides with one that differs in '.' and '_' only"},
    {E(INVALID_TRANSACTION_TIMEOUT), FATAL, ERR_CONFIG,
     "Set journal.kafka.transaction_timeout to at most the brokers' transaction.max.timeout.ms"},
    {E(MSG_SIZE_TOO_LARGE), FATAL, ERR_ROW_TOO_LARGE,
     "Raise max.message.bytes on the topic and message.max.bytes in journal.kafka.properties, or exclude the "
     "column or table"},
    {E(RECORD_LIST_TOO_LARGE), FATAL, ERR_ROW_TOO_LARGE,
     "Raise segment.bytes of the topic, or exclude the column or table"},
    {E(UNSUPPORTED_VERSION), FATAL, ERR_JOURNAL_REFUSED, "Kafka 2.8 or newer is needed"},
    {E(_UNSUPPORTED_FEATURE), FATAL, ERR_JOURNAL_REFUSED, "Kafka 2.8 or newer is needed"},
    {E(UNSUPPORTED_FOR_MESSAGE_FORMAT), FATAL, ERR_JOURNAL_TOPIC,
     "Raise message.format.version of the topic"},
    {E(INVALID_RECORD), FATAL, ERR_JOURNAL_TOPIC,
     "A topic with cleanup.policy=compact takes no records without a key"},

    /* What a reader asked for is not there any more. */
    {E(OFFSET_OUT_OF_RANGE), FATAL, ERR_JOURNAL_GAP,
     "Take a new snapshot: millrace capture --config FILE --resnapshot (or run)"},
    {E(_AUTO_OFFSET_RESET), FATAL, ERR_JOURNAL_GAP,
     "Take a new snapshot: millrace capture --config FILE --resnapshot (or run)"},
    {E(_NO_OFFSET), FATAL, ERR_JOURNAL_GAP,
     "Take a new snapshot: millrace capture --config FILE --resnapshot (or run)"},

    /* Somebody took our transactional id: a newer agent, or a broker that timed us out. Opening anew finds
       out which. */
    {E(_FENCED), RETRY, ERR_JOURNAL_FENCED, NULL},
    {E(PRODUCER_FENCED), RETRY, ERR_JOURNAL_FENCED, NULL},
    {E(INVALID_PRODUCER_EPOCH), RETRY, ERR_JOURNAL_FENCED, NULL},

    /* Bytes that do not match their checksum: the network or the broker's disk. A second fetch may be
     * whole. */
    {E(_BAD_MSG), RETRY, ERR_JOURNAL_CORRUPT, NULL},
    {E(INVALID_MSG), RETRY, ERR_JOURNAL_CORRUPT, NULL},
    {E(_BAD_COMPRESSION), RETRY, ERR_JOURNAL_CORRUPT, NULL},

    /* All others, for example _TRANSPORT, _TIMED_OUT, _MSG_TIMED_OUT, _ALL_BROKERS_DOWN, INVALID_TXN_STATE,
     * INVALID_PRODUCER_ID_MAPPING, UNKNOWN_TOPIC_OR_PART, NOT_ENOUGH_REPLICAS, KAFKA_STORAGE_ERROR: */
    {E(NO_ERROR), RETRY, ERR_JOURNAL_UNREACHABLE, NULL},
};

static const struct meaning *meaning_of(rd_kafka_resp_err_t error) {
    const struct meaning *m = meanings;
    while (m->error != error && m->error != E(NO_ERROR))
        m++;
    return m;
}

enum code kafka_error(struct err *err, rd_kafka_resp_err_t error, const char *doing, const char *about) {
    const struct meaning *m = meaning_of(error);
    return err_set(err, m->code, m->id, "Kafka: cannot %s%s%s%s: %s (%s)%s%s", doing, about ? " '" : "",
                   about ? about : "", about ? "'" : "", rd_kafka_err2str(error), rd_kafka_err2name(error),
                   m->mend ? ". " : "", m->mend ? m->mend : "");
}

bool kafka_passing(rd_kafka_resp_err_t error) {
    switch (error) {
    case E(_TRANSPORT):
    case E(_RESOLVE):
    case E(_ALL_BROKERS_DOWN):
    case E(_TIMED_OUT):
    case E(_WAIT_COORD):
    case E(_DESTROY):
    case E(REQUEST_TIMED_OUT):
    case E(LEADER_NOT_AVAILABLE):
    case E(NOT_LEADER_FOR_PARTITION):
    case E(BROKER_NOT_AVAILABLE):
    case E(REPLICA_NOT_AVAILABLE):
    case E(NETWORK_EXCEPTION):
    case E(KAFKA_STORAGE_ERROR):
    case E(OFFSET_NOT_AVAILABLE):
    case E(FENCED_LEADER_EPOCH):
    case E(UNKNOWN_LEADER_EPOCH):
        return true;
    default:
        return false;
    }
}

enum code kafka_too_large(struct err *err, const char *topic, size_t bytes, size_t bytes_max) {
    return err_set(err, FATAL, ERR_ROW_TOO_LARGE,
                   "topic '%s' takes records of at most %zu bytes and this one has %zu. Raise "
                   "max.message.bytes on the topic "
                   "(kafka-configs --alter --topic %s --add-config max.message.bytes=%zu) and, above 100 MB, "
                   "message.max.bytes "
                   "in journal.kafka.properties; or exclude the column or the table",
                   topic, bytes_max, bytes, topic, bytes + bytes / 2);
}
