/* The writer: one fenced connection, one transaction after another.
 *
 *   IDLE --append--> FILLING --commit--> ENDING (the commit record is appended) --one transaction of
 * SQLite--> IDLE
 *
 * Records are encoded into chunks in memory; a transaction of ours larger than QUEUE_BYTES_MAX is written in
 * steps, behind `next`, where nobody sees them, and so the file is never locked for longer than a few
 * milliseconds, whatever happens to this process. What a writer left there is swept by the next one.
 *
 * Files: open.c (fence, last record, ends), known.c (are the topics as they were), writer.c (topics, append),
 * commit.c (what is written to the file), upkeep.h (what a thread does beside it). */
#pragma once

#include "journal/embedded/chunk.h"
#include "journal/embedded/store.h"
#include "journal/tell.h"

struct upkeep;

struct lane {     /* one partition, while its topic is open */
    int64_t part; /* partitions.id */
    int64_t next; /* in the file */
    int64_t at;   /* where the next record goes */
    bool touched; /* by the open transaction */
    struct chunk chunk;
};

struct lanes { /* ends_topic.handle */
    int n;
    struct lane lane[];
};

struct sealed { /* a chunk that is full; its bytes stand in writer.sealed_bytes */
    struct chunk_head head;
    size_t from, len;
};

enum writer_step { WRITER_IDLE, WRITER_FILLING, WRITER_ENDING };

struct embedded_writer {
    struct embedded_journal *journal;
    const struct journal_env *env;
    struct store store;
    char *source;
    char *pipeline; /* path and source: key of what this process knows of the pipeline */
    int64_t epoch;
    uint64_t born; /* of topics that this writer is the first to know */
    struct ends ends;
    struct tell tell;
    int commits; /* number of the commits topic */
    enum writer_step step;
    struct err failed; /* .code != OK: the handle is of no more use */
    int64_t commit_began_us;

    struct lane **touched;
    size_t n_touched, cap_touched;
    struct sealed *sealed;
    size_t n_sealed, cap_sealed;
    struct buf sealed_bytes, headers;
    size_t queued_bytes; /* taken and not in the file */
    size_t staged_bytes; /* of the open transaction, in the file */

    struct upkeep *upkeep;
};

static inline struct embedded_writer *embedded_writer_of(struct journal_writer *w) {
    return (struct embedded_writer *)w;
}

/* Keeps the error for every later call and returns it. */
enum code writer_fail(struct embedded_writer *w, enum code code, struct err *err);
/* Number of an internal topic (one partition, compacted), made if it is missing. */
MUST_CHECK enum code writer_internal_topic(struct embedded_writer *w, const char *name, int *ret_topic,
                                           struct err *err);
/* An append that is not counted against the limits. */
void writer_put(struct embedded_writer *w, const struct journal_append *record);
/* (commit.c) Writes what is in memory, where nobody sees it. AGAIN: the file is locked. */
MUST_CHECK enum code writer_stage(struct embedded_writer *w, struct err *err);
/* (known.c) Topics that the commit records speak of must be as they were left. `anew`: those that are not are
 * forgotten, because a snapshot follows. */
MUST_CHECK enum code known_check(struct store *s, struct ends *ends, bool anew, struct err *err);
/* (known.c) No commit record was found: then no topic of a table may hold records. */
MUST_CHECK enum code known_empty(struct store *s, struct err *err);
/* (known.c) Reads the commit records back into the ends, in the open transaction or without one; *ret_last
 * (arena), NULL if there is none. `ret_full`: offset of the newest full record, -1 = none. */
MUST_CHECK enum code known_recall(struct store *s, struct ends *ends, struct arena *arena,
                                  struct commit_record **ret_last, struct buf *ret_source, int64_t *ret_full,
                                  struct err *err);

journal_writer_open_f embedded_writer_open;
journal_overtaken_f embedded_overtaken;
journal_topic_f embedded_topic;
journal_append_f embedded_append;
journal_commit_f embedded_commit;
journal_writer_poll_f embedded_writer_poll;
journal_writer_close_f embedded_writer_close;
