/* The crank of a sink worker: follow the commit records, read each partition up to the frontier, apply, move
 * the position in the same transaction.
 *
 *   commits topic:   ... | seq 41 (boundary) | seq 42 | seq 43 (boundary) | ...
 *   one window:            ^ stored               ^------------------^ read, merged, applied, committed at 43
 *
 * consistency: transaction -> one worker; the replica's transaction ends only at a boundary record.
 * consistency: key         -> several workers, each with tables of its own (hash of the topic name); ends at
 *                             any record. */
#pragma once

#include "journal/journal.h"
#include "sink/target.h"

enum consistency { CONSISTENCY_TRANSACTION, CONSISTENCY_KEY };

struct sink_config {
    int consistency;         /* enum consistency */
    int64_t workers;         /* key: 1..64; transaction: 1 */
    int64_t batch_bytes;     /* memory for coalesced rows before they are written to the replica */
    int64_t lease_ms;        /* a worker not seen for this long loses its work */
    struct text_list tables; /* patterns "schema.table" with * and ?; empty = all */
    struct text_map where;   /* row filters: "schema.table": "column = 'text'" (see docs) */
    struct text_map rename;  /* "schema.table" or "schema.table.column" or "schema" -> new name(s) */
};
extern const struct option_table
    sink_options; /* common keys of an entry of `sinks:` (beside name and the target's own key) */

/* Topics left standing by this process (key mode): shared by the reopenings of one worker, owned by whoever
 * runs it. */
struct sink_parked {
    char **topics;
    size_t n;
};
void sink_parked_free(struct sink_parked *parked);

struct sink_env {
    const struct clock *clock;
    const struct stop *stop;
    const char *name, *owner;
    const struct target_ops *target;
    const void *target_options;
    struct journal *journal;
    enum code (*schemas)(void *arg, struct journal_writer *none, struct schema_store **ret, struct err *err);
    void *schemas_arg;
    const struct sink_config *config;
    int worker, workers;
    struct sink_parked *parked;
};

struct sink;
MUST_CHECK enum code sink_open(const struct sink_env *env, struct sink **ret, struct err *err);
/* OK: did something. AGAIN: call sink_wait (nothing to do, or another process owns this worker's part). */
MUST_CHECK enum code sink_step(struct sink *sink, struct err *err);
void sink_wait(struct sink *sink);
void sink_close(struct sink *sink);

/* How far the worker is, for logs, metrics and status. */
struct sink_progress_view {
    bool owner, catching_up;
    uint64_t commit_seq, commit_seq_end; /* applied, newest in the journal */
    int64_t commit_us;                   /* source commit time of the newest applied transaction */
    uint64_t changes, bytes;             /* applied by this process */
};
struct sink_progress_view sink_view(const struct sink *sink);
