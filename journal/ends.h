/* The last offset of every partition of the pipeline, and which of them the open transaction moved.
 *
 *   last full record      deltas since             now
 *   |--- ends of all ---|- touched -|- touched -|- touched ... -> next record: delta, or full again
 *
 * Who writes alone knows beforehand where its records will lie: behind those of its last transaction and
 * the marker that the journal may put there (Kafka does).
 *
 *   offset   17 18 19 | marker 20 | 21 22 23 -> end 23 */
#pragma once

#include "journal/commit_record.h"

struct ends_topic {
    char *name;
    int partitions;
    bool compacted;
    bool internal;    /* not part of any `ends`: commit records, schemas */
    bool open;        /* checked; may be appended to */
    uint64_t born;    /* see struct commit_topic */
    size_t bytes_max; /* of a record, as far as the journal limits it by topic */
    void *handle;     /* the journal's own, while open; see handle_free */
    int64_t *ends;    /* per partition, -1 = nothing yet */
    int64_t *next;    /* per partition: where the next record goes if nobody else writes, -1 = not known */
    bool *touched;
};

struct ends {
    struct ends_topic *topics;
    int n, cap;
    int64_t partitions;                /* of all topics */
    void (*handle_free)(void *handle); /* NULL: there are no handles */
    struct {
        int topic, partition;
    } * touched; /* by the open transaction */
    size_t n_touched, cap_touched;
    bool unforeseen; /* `next` of one of them was not known */
    /* The arrays behind the record that was filled last. */
    struct commit_topic *out_topics;
    struct partition_end *out_ends;
};

void ends_free(struct ends *e);
/* Index of the topic, or -1. */
int ends_find(const struct ends *e, const char *name);
int ends_add(struct ends *e, const char *name, int partitions, bool compacted);
/* Forgets one topic; those behind it get other numbers. Only while no transaction is open. */
void ends_forget(struct ends *e, int topic);
/* A record of the open transaction was handed over. */
void ends_sent(struct ends *e, int topic, int partition);
/* It is at `offset`. */
void ends_note(struct ends *e, int topic, int partition, int64_t offset);
/* True if all records sent are where they were foreseen. */
bool ends_as_foreseen(const struct ends *e);
/* The transaction is committed: `markers` offsets behind the records of every partition it touched are
 * taken. */
void ends_committed(struct ends *e, int markers);
/* Forgets everything. */
void ends_reset(struct ends *e);
/* Takes over what a commit record says. FATAL/JOURNAL_CORRUPT if it contradicts what is known, or makes more
 * than COMMIT_PARTITIONS_MAX partitions of it. */
MUST_CHECK enum code ends_apply(struct ends *e, const struct commit_record *record, struct err *err);
/* Fills topics and ends of the record: all, or those touched; `foreseen`: where the records sent will lie.
 * The arrays live until the next call. */
void ends_fill(struct ends *e, bool full, bool foreseen, struct commit_record *record);
