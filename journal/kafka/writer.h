/* The writer: one transactional producer, one transaction after another.
 *
 *   IDLE --append--> FILLING --commit--> FLUSHING --all acknowledged--> TELLING --record acknowledged-->
 * ENDING --> IDLE (data)                         (commit record)                  (EndTxn)
 *
 * If it is known beforehand where the records will lie, the commit record goes out with them: FLUSHING -->
 * ENDING, two round trips less. Should one lie elsewhere, the transaction is given up before anybody saw it.
 *
 * Files: open.c (fence, last record, ends), known.c (are the topics as they were), writer.c (append,
 * deliveries), commit.c (the arrows from FILLING on). */
#pragma once

#include "journal/kafka/pace.h"
#include "journal/kafka/parcel.h"
#include "journal/kafka/topics.h"
#include "journal/tell.h"

enum writer_step { WRITER_IDLE, WRITER_FILLING, WRITER_FLUSHING, WRITER_TELLING, WRITER_ENDING };

struct kafka_writer {
    struct kafka_handle h; /* first: the delivery callback gets its address */
    char *source;
    char *pipeline; /* prefix and source: key of what this process knows of the pipeline */
    uint64_t born;  /* of topics that this writer is the first to know */
    bool transactional;
    enum writer_step step;
    bool begun; /* a Kafka transaction is open */
    struct pace pace;

    struct kafka_directory directory;
    struct ends ends;
    int commits; /* number of the commits topic */

    uint64_t sent, acknowledged; /* records of this transaction */
    size_t queued_bytes;         /* taken and not acknowledged */
    struct parcels parcels;      /* their payloads */
    struct err failed;           /* .code != OK: the handle is of no more use */

    struct tell tell;
    bool foreseen; /* the record under way was sent before its ends were acknowledged */
    int64_t commit_began_us, end_began_us;
    unsigned end_lost; /* h.lost when the end began */
};

static inline struct kafka_writer *kafka_writer_of(struct journal_writer *w) {
    return (struct kafka_writer *)w;
}

extern const struct kafka_hooks kafka_writer_hooks;
/* Keeps the error for every later call and returns it. FATAL from here on as well. */
enum code kafka_fail(struct kafka_writer *w, enum code code, struct err *err);
/* What the callbacks heard, or what failed before. */
MUST_CHECK enum code kafka_writer_check(struct kafka_writer *w, struct err *err);
/* (known.c) Topics that the commit records speak of must be as they were left. `anew`: those that are not are
 * forgotten, because a snapshot follows. */
MUST_CHECK enum code kafka_known_check(struct kafka_writer *w, bool anew, int64_t deadline_us,
                                       struct err *err);
/* (known.c) No commit record was found: then no topic of this pipeline may hold records. */
MUST_CHECK enum code kafka_known_empty(struct kafka_writer *w, struct kafka_handle *reader,
                                       int64_t deadline_us, struct err *err);
/* Whether it is the topic of a table, by its name. */
bool kafka_ours(const struct kafka_journal *j, const char *topic);
/* Begins the transaction if none is open. AGAIN: the brokers are still busy with the last one, see
 * kafka_settle. */
MUST_CHECK enum code kafka_begin(struct kafka_writer *w, struct err *err);
/* Waits until a transaction can begin, at most to the deadline. */
void kafka_settle(struct kafka_writer *w, int64_t deadline_us);
/* Maps and consumes an error object of the transaction calls; AGAIN if the same call may be made again. */
MUST_CHECK enum code kafka_transaction_error(struct kafka_writer *w, rd_kafka_error_t *error,
                                             const char *doing, struct err *err);
/* Number of an internal topic (one partition, compacted), made if it is missing. */
MUST_CHECK enum code kafka_internal_topic(struct kafka_writer *w, const char *name, int64_t deadline_us,
                                          int *ret_topic, struct err *err);

journal_writer_open_f kafka_writer_open;
journal_overtaken_f kafka_overtaken;
journal_topic_f kafka_topic;
journal_append_f kafka_append;
journal_commit_f kafka_commit;
journal_writer_poll_f kafka_writer_poll;
journal_writer_close_f kafka_writer_close;
