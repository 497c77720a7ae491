/* What the files of this folder share: the configuration, and what the journal's file holds.
 *
 * One SQLite database in WAL mode (sqlite.org/wal.html, fileformat2.html), for one pipeline:
 *
 *   pipeline     one row: the prefix, the writer's epoch, what is kept for how long
 *   topics       name, number of partitions, compacted or not
 *   partitions   what is held: low <= offset < next
 *   chunks       batches of records (chunk.h), some 64 kB each
 *   cleanings    how far compaction came, and when (compact.c)
 *
 *      gone | chunks that readers see | chunks of the open transaction, if it is large
 *           low                       next                                            -> offset
 *
 * A transaction is visible, and durable, when `next` of every partition it touched was moved, in one
 * transaction of SQLite with one fsync. Commit records and schemas stand in topics like any other. */
#pragma once

#include <stdatomic.h>

#include "journal/journal.h"

#define EMBEDDED_FORMAT         1          /* PRAGMA user_version */
#define EMBEDDED_APPLICATION_ID 0x4d6c7263 /* PRAGMA application_id: "Mlrc" */
#define EMBEDDED_PAGE_BYTES     4096
#define EMBEDDED_CHUNK_BYTES    65536 /* a chunk is closed when it is as large */
#define EMBEDDED_LOCK_MS        5000  /* how long a reader waits for a lock */

#define EMBEDDED_RESNAPSHOT                                                                                \
    "Take a new snapshot, which begins such topics anew: millrace capture --config FILE --resnapshot (or " \
    "run)"

struct embedded_options {
    const char *path, *topic_prefix; /* NULL: see embedded_option_table */
    int64_t partitions;
    int64_t compaction_lag_ms, delete_retention_ms;
    int64_t retention_ms, retention_bytes; /* -1: for ever, 0: no limit */
    int64_t budget_bytes, record_bytes;
};
extern const struct option_table embedded_option_table;

struct embedded_journal {
    struct journal base;
    const struct embedded_options *options;
    char *prefix;
    char *path, *tick;                   /* of the file; of the file beside it that rings (tick.h) */
    char *commits, *schemas;             /* "<prefix>.commits", "<prefix>.schemas" */
    atomic_llong changes_us, deletes_us; /* what is kept: as configured, or less if the file says so */
};

/* Checks what the table cannot. FATAL/CONFIG. */
MUST_CHECK enum code embedded_open(const void *options, const char *pipeline, struct journal **ret,
                                   struct err *err);
void embedded_close(struct journal *journal);
static inline struct embedded_journal *embedded_of(struct journal *journal) {
    return (struct embedded_journal *)journal;
}
/* Whether it is the topic of a table, by its name. */
bool embedded_of_table(const struct embedded_journal *j, const char *topic);

/* Monotonic time `wait_ms` from now. */
static inline int64_t embedded_deadline(const struct journal_env *env, int64_t wait_ms) {
    return clock_mono(env->clock) + (wait_ms > 0 ? wait_ms : 0) * 1000;
}
static inline bool embedded_over(const struct journal_env *env, int64_t deadline_us) {
    return stop_asked(env->stop) || clock_mono(env->clock) >= deadline_us;
}
