/* A target: a kind of replica store that takes rows set by set and keeps our position in the same
 * transaction.
 *
 * One connection, one thread, one open transaction at a time:
 *   claim -> ( prepare | apply | clear )* -> commit -> ...
 * The first prepare/apply/clear begins the transaction; after RETRY or REJECT it is rolled back and nothing
 * of it is there. */
#pragma once

#include "base/clock.h"
#include "base/option.h"
#include "base/stop.h"
#include "base/suggest.h"
#include "schemas/change.h"
#include "sink/batch.h"
#include "sink/mapping.h"

struct target;

struct target_env {
    const struct clock *clock;
    const struct stop *stop;
    const char *sink;  /* name in the configuration */
    const char *owner; /* unique per process start; for people: host, pid, random */
};

/* What the replica knows of itself: one row per (sink, worker), and one per partition read. */
struct sink_offset {
    const char *topic;
    int partition;
    int64_t next;             /* first offset not applied */
    struct position position; /* newest change applied from it */
};
struct sink_progress {
    uint64_t epoch;       /* of ownership; grows with every claim and reset */
    uint64_t commit_seq;  /* newest commit record applied; 0: none, the replica must be built */
    int64_t commits_next; /* offset in the commits topic to go on from */
    struct position position;
    int64_t commit_us;    /* source commit time of the newest applied transaction */
    const char *pipeline; /* name of the journal that it was built from; NULL: not told */
    bool rebuild;         /* `replay` asked for it: tables may be emptied */
    struct sink_offset *offsets;
    int n_offsets;
};

/* Connects and sets the session up (UTC, fixed formats, triggers off unless asked). RETRY/TARGET_UNREACHABLE,
 * FATAL/TARGET_REFUSED with the SQL that grants what is missing. */
typedef enum code target_open_f(const void *options, const struct target_env *env, struct target **ret,
                                struct err *err);
/* Takes part `worker` of `workers` if it is free, ours, or its owner has not been seen for lease_ms (by the
 * replica's clock), and makes the owner epoch one higher. AGAIN: somebody else's. FATAL/CONFIG: `workers`
 * changed while offsets exist (names the command). Creates schema millrace and its tables when missing. */
typedef enum code target_claim_f(struct target *t, int worker, int workers, int64_t lease_ms,
                                 struct arena *arena, struct sink_progress *ret, struct err *err);
/* "Still here": one small statement, in or outside a transaction of rows. RETRY/TARGET_OWNERSHIP: somebody
 * took over. */
typedef enum code target_renew_f(struct target *t, struct err *err);
/* Makes the replica table fit mapped->table as the policy allows (create, add, widen), once per version;
 * cached. `fresh`: this sink has never written to it: it must be empty (FATAL/TARGET_NOT_EMPTY) unless
 * `may_clear`, then it is emptied. REJECT/TARGET_TABLE: missing or does not fit; the text has the SQL that
 * mends it. FATAL/CONFIG: the table holds the rows of another source table, or under another filter or other
 * names of columns than now. A table of the same incarnation under another name was renamed at the source:
 * the replica's follows with its rows; one of another incarnation under the same name was made anew: it is
 * emptied. */
typedef enum code target_prepare_f(struct target *t, const struct mapped *mapped, bool fresh, bool may_clear,
                                   struct err *err);
/* Writes the final states of a batch of one table version. REJECT/TARGET_CONSTRAINT, TARGET_VALUE,
 * TARGET_DIVERGED; RETRY for deadlocks, lock timeouts, lost connections. */
typedef enum code target_apply_f(struct target *t, struct batch *batch, struct err *err);
/* Empties a table: `snapshot` keeps readers undisturbed (DELETE), otherwise TRUNCATE where foreign keys allow
 * it. */
typedef enum code target_clear_f(struct target *t, const struct table *table, bool snapshot,
                                 bool restart_identity, struct err *err);
/* Moves the position by compare-and-set on the epoch and commits, in the transaction of the rows. `offsets`
 * lists only the partitions that moved. RETRY/TARGET_OWNERSHIP: zero rows matched, rolled back. */
typedef enum code target_commit_f(struct target *t, const struct sink_progress *progress, struct err *err);
typedef void target_rollback_f(struct target *t);
/* A table is left standing (key mode) or takes part again: kept in the replica for `status`. reason NULL
 * clears it. A topic whose table is not known yet stands under schema "". */
typedef enum code target_park_f(struct target *t, const char *schema, const char *table, const char *reason,
                                struct err *err);
/* `replay`: forgets all progress of this sink, with a new epoch, and allows the tables it wrote to be
 * emptied. */
typedef enum code target_reset_f(struct target *t, struct err *err);
typedef void target_close_f(struct target *t);
/* JSON object for status:
 * {"workers":[{"worker":0,"owner":..,"seen_s":..,"position":[..],"commit_us":..}],"parked":[{..}]} */
typedef enum code target_status_f(const void *options, const struct target_env *env, int64_t wait_ms,
                                  struct buf *json, struct err *err);
typedef enum code target_check_f(const void *options, const struct target_env *env, int64_t wait_ms,
                                 struct buf *findings, struct err *err);
/* quickstart: as source_suggest_f; looks whether the tables that will be shipped are there already. */
typedef enum code target_suggest_f(const struct suggest_ask *ask, const struct target_env *env,
                                   int64_t wait_ms, struct suggestion *ret, struct err *err);

struct target_ops {
    const struct option_table *options;
    target_open_f *open;
    target_claim_f *claim;
    target_renew_f *renew;
    target_prepare_f *prepare;
    target_apply_f *apply;
    target_clear_f *clear;
    target_commit_f *commit;
    target_rollback_f *rollback;
    target_park_f *park;
    target_reset_f *reset;
    target_close_f *close;
    target_status_f *status;
    target_check_f *check;
    target_suggest_f *suggest; /* NULL: quickstart does not know the kind */
};
struct target {
    const struct target_ops *ops;
};
