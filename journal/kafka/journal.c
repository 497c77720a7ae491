/* The row of journal_table.c. */
#include "journal/journal_table.h"
#include "journal/kafka/check.h"
#include "journal/kafka/reader.h"
#include "journal/kafka/schemas.h"
#include "journal/kafka/writer.h"

static const char *prefix(const struct journal *journal) {
    return ((const struct kafka_journal *)journal)->options->topic_prefix;
}

static size_t record_bytes_max(const struct journal *journal) {
    return ((const struct kafka_journal *)journal)->record_bytes_max;
}

static struct journal_kept kept(const struct journal *journal) {
    const struct kafka_options *o = ((const struct kafka_journal *)journal)->options;
    return (struct journal_kept){o->compaction_lag_ms * 1000, o->delete_retention_ms * 1000};
}

/* Kafka comes with its own tools. */
static enum code refuse(const struct journal *journal, const char *tools, struct err *err) {
    return err_set(err, FATAL, ERR_USAGE,
                   "this journal is in Kafka, which has its own tools for that: %s, for topics '%s.*'; "
                   "and millrace doctor checks its settings",
                   tools, prefix(journal));
}

static enum code info(struct journal *journal, const struct journal_env *env, int64_t wait_ms,
                      struct buf *ret_json, struct err *err) {
    (void)env, (void)wait_ms, (void)ret_json;
    return refuse(journal, "kafka-topics.sh --describe, kafka-get-offsets.sh, kafka-log-dirs.sh", err);
}

static enum code prove(struct journal *journal, const struct journal_env *env, struct buf *findings,
                       struct err *err) {
    (void)env, (void)findings;
    return refuse(journal,
                  "kafka-dump-log.sh --deep-iteration --verify-index-only, kafka-replica-verification.sh",
                  err);
}

static enum code tidy(struct journal *journal, const struct journal_env *env, int64_t *ret_before,
                      int64_t *ret_after, struct err *err) {
    (void)env, (void)ret_before, (void)ret_after;
    return refuse(journal,
                  "brokers compact by themselves; kafka-configs.sh --alter --entity-type topics "
                  "(max.compaction.lag.ms, segment.ms)",
                  err);
}

const struct journal_ops kafka_journal = {
    .options = &kafka_option_table,
    .open = kafka_journal_open,
    .close = kafka_journal_close,
    .prefix = prefix,
    .record_bytes_max = record_bytes_max,
    .kept = kept,
    .writer_open = kafka_writer_open,
    .overtaken = kafka_overtaken,
    .topic = kafka_topic,
    .append = kafka_append,
    .commit = kafka_commit,
    .writer_poll = kafka_writer_poll,
    .writer_close = kafka_writer_close,
    .reader_open = kafka_reader_open,
    .commits_seek = kafka_commits_seek,
    .commits_next = kafka_commits_next,
    .commits_last = kafka_commits_last,
    .stream_open = kafka_stream_open,
    .stream_next = kafka_stream_next,
    .stream_close = kafka_stream_close,
    .reader_wait = kafka_reader_wait,
    .reader_close = kafka_reader_close,
    .schemas = kafka_schemas,
    .check = kafka_check,
    .info = info,
    .prove = prove,
    .tidy = tidy,
};
