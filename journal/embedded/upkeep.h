/* What a thread does beside the writer, with a connection of its own: it writes the log (SQLite's -wal file)
 * back into the file, so that a commit never has to; deletes what is older, or more, than is to be kept; and
 * compacts.
 *
 *   log   |--- written back, synced ---|--- since then ---|  the log begins anew when all of it is written
 * back
 *
 * Its transactions are small, and hold the epoch of its writer: it ends with it. */
#pragma once

#include "journal/embedded/store.h"

struct upkeep;

/* For the writer whose connection and epoch these are. `full_at`: offset of the newest full commit record, -1
 * = none. RETRY/JOURNAL_FULL: the budget is used up, and what could be deleted until the deadline is not
 * enough. */
MUST_CHECK enum code upkeep_start(struct store *writer, int64_t epoch, int64_t full_at, int64_t deadline_us,
                                  struct upkeep **ret, struct err *err);
void upkeep_stop(struct upkeep *u); /* NULL is fine */

/* ---- for the writer, on its thread ---- */

/* A transaction is in the log; `full_at`: offset of its commit record if it is a full one, else -1. */
void upkeep_committed(struct upkeep *u, int64_t full_at);
/* Before a transaction: where the log has grown beyond what the thread can catch up with, the writer
 * helps. */
void upkeep_relieve(struct upkeep *u, struct store *writer);
/* What the file holds now, in bytes. */
void upkeep_used(struct upkeep *u, int64_t used);
/* RETRY/JOURNAL_FULL, in words. */
enum code upkeep_full(const struct embedded_journal *j, int64_t used, struct err *err);

/* ---- one pass (retention.c, compact.c): on the thread, or in a test ---- */

struct upkeep_pass {
    struct store *store;
    int64_t epoch;
    int64_t now_us;      /* wall clock */
    int64_t full_at;     /* see upkeep_start */
    bool hurry;          /* little room is left: whatever can be deleted is */
    bool asked;          /* somebody asked for it: however little it brings */
    int64_t deadline_us; /* of the pass, and */
    atomic_bool *ending; /* NULL, or: end soon */
};
static inline bool upkeep_ends(const struct upkeep_pass *p) {
    return (p->ending && atomic_load(p->ending)) || clock_mono(p->store->env->clock) >= p->deadline_us;
}
/* Small transactions of a pass. AGAIN: the file is locked; the pass is over. */
MUST_CHECK enum code upkeep_begin(struct upkeep_pass *p, struct err *err);
/* Deletes old history, and old commit records. */
MUST_CHECK enum code upkeep_retain(struct upkeep_pass *p, struct err *err);
/* Keeps the newest record of each key, of those older than compaction_lag. FATAL/JOURNAL_CORRUPT: a partition
 * is damaged, and was left as it is; the others are done. */
MUST_CHECK enum code upkeep_compact(struct upkeep_pass *p, struct err *err);

struct upkeep_part { /* what a pass goes through */
    int64_t id;
    char topic[256];
    int partition;
    bool compacted;
    int64_t low, next;
};
/* The partition with the smallest id above `after`. AGAIN: there is none. */
MUST_CHECK enum code upkeep_part_next(struct store *s, int64_t after, struct upkeep_part *ret,
                                      struct err *err);
