/* A pipeline goes from one journal to another, with everything it holds: capture resumes at the same
 * position, sinks go on behind what they have applied, and a replica can be built from the new one as from
 * the old.
 *
 *   old journal:  | records ............................ | boundary B | sealed (move_seq = B), nothing
 * follows new journal:  | copying | copying | .. | copying | .. | moved (position and state of B, move_seq =
 * B)
 *
 * The first part of the copy is made while capture and sinks go on in the old journal. Then the old journal's
 * writer is fenced and the old journal sealed, and what came meanwhile is copied. Records keep their bytes,
 * headers, partitions and order; only schema ids become the new store's, and offsets those of the new
 * journal. What the old one holds behind B (part of a source transaction) is left there: capture reads it
 * from the source again.
 *
 * Crash-safe at every point: a `copying` record carries how far each partition is; run again, it goes on from
 * there. */
#pragma once

#include "journal/journal.h"

struct move_place {
    struct journal *journal;
    enum code (*schemas)(void *arg, struct journal_writer *writer_or_null, struct schema_store **ret,
                         struct err *err);
    void *schemas_arg;
};

struct move_progress {
    uint64_t records, bytes; /* copied by this process */
    uint64_t
        records_left; /* offsets between where we are and the newest boundary that was seen: an upper bound */
    bool sealed;
};

struct move_env {
    const struct clock *clock;
    const struct stop *stop;
    const char *source;
    struct move_place from, to;
    void (*report)(void *arg, const struct move_progress *progress); /* about once a second; may be NULL */
    void *report_arg;
};

/* Blocks until the pipeline has moved, or the stop (RETRY/STOPPED: run again). OK also when it had moved
 * before. A peer that fails is tried again. FATAL/CONFIG: the topic prefixes differ, or the old journal holds
 * no finished snapshot. FATAL/JOURNAL_TOPIC: the new one makes topics with other partitions.
 * FATAL/JOURNAL_OTHER: the new journal holds something else. Otherwise as the journals' functions. */
MUST_CHECK enum code journal_move(const struct move_env *env, struct move_progress *ret, struct err *err);
