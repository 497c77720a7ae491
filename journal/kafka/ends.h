/* The last offset of every partition of the pipeline, and which of them the open transaction moved.
 *
 *   last full record      deltas since             now
 *   |--- ends of all ---|- touched -|- touched -|- touched ... -> next record: delta, or full again
 *
 * Who writes alone knows beforehand where its records will lie: behind those of its last transaction and
 * their marker.
 *
 *   offset   17 18 19 | marker 20 | 21 22 23 -> end 23 */
#pragma once

#include "journal/kafka/kafka.h"

struct kafka_topic {
    char *name;
    int partitions;
    bool compacted;
    bool internal;         /* not part of any `ends`: commit records, schemas */
    bool open;             /* checked; may be appended to */
    uint64_t born;         /* see struct commit_topic */
    size_t bytes_max;      /* max.message.bytes */
    rd_kafka_topic_t *rkt; /* while open */
    int64_t *ends;         /* per partition, -1 = nothing yet */
    int64_t *next; /* per partition: where the next record goes if nobody else writes, -1 = not known */
    bool *touched;
};

struct kafka_ends {
    struct kafka_topic *topics;
    int n, cap;
    int64_t partitions; /* of all topics */
    struct {
        int topic, partition;
    } * touched; /* by the open transaction */
    size_t n_touched, cap_touched;
    bool unforeseen; /* `next` of one of them was not known */
    /* The arrays behind the record that was filled last. */
    struct commit_topic *out_topics;
    struct partition_end *out_ends;
};

void kafka_ends_free(struct kafka_ends *e);
/* Index of the topic, or -1. */
int kafka_ends_find(const struct kafka_ends *e, const char *name);
int kafka_ends_add(struct kafka_ends *e, const char *name, int partitions, bool compacted);
/* Forgets one topic; those behind it get other numbers. Only while no transaction is open. */
void kafka_ends_forget(struct kafka_ends *e, int topic);
/* A record of the open transaction was handed over. */
void kafka_ends_sent(struct kafka_ends *e, int topic, int partition);
/* It is at `offset`. */
void kafka_ends_note(struct kafka_ends *e, int topic, int partition, int64_t offset);
/* True if all records sent are where they were foreseen. */
bool kafka_ends_as_foreseen(const struct kafka_ends *e);
/* The transaction is committed: a marker stands behind the records in every partition it touched. */
void kafka_ends_committed(struct kafka_ends *e);
/* Forgets everything. */
void kafka_ends_reset(struct kafka_ends *e);
/* Takes over what a commit record says. FATAL/JOURNAL_CORRUPT if it contradicts what is known, or makes more
 * than COMMIT_PARTITIONS_MAX partitions of it. */
MUST_CHECK enum code kafka_ends_apply(struct kafka_ends *e, const struct commit_record *record,
                                      struct err *err);
/* Fills topics and ends of the record: all, or those touched; `foreseen`: where the records sent will lie.
 * The arrays live until the next call. */
void kafka_ends_fill(struct kafka_ends *e, bool full, bool foreseen, struct commit_record *record);
