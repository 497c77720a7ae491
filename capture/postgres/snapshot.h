/* The initial snapshot: one consistent view of all tables, exported by the slot's creation, read by parallel
 * COPYs.
 *
 *   slot wanted -> slot made (consistent point X, snapshot exported) -> workers joined -> one truncate per
 * table
 *   -> rows -> commit -> the stream starts at X
 *
 * Making a slot waits for all transactions that are open at that moment, so it is asked for and then
 * polled. */
#pragma once

#include "capture/postgres/decode.h"

struct snapshot_want {
    const struct pg_options *options;
    const struct source_env *env;
    const char
        *view; /* a snapshot that another session exported: no slot is made; NULL = by making the slot */
    const char *slot, *publication; /* publication NULL: all selected tables, with whole rows */
    bool temporary;                 /* the slot is there already: take the view from a temporary one */
    uint64_t generation;
};

struct snapshot;
/* Connects the workers and asks for the slot, or joins the view. @param replication a session, borrowed;
 * nothing else may use it until the snapshot is closed. */
MUST_CHECK enum code snapshot_open(const struct snapshot_want *want, PGconn *replication,
                                   struct pgdecoder *decoder, struct snapshot **ret, struct err *err);
/* The next item; ITEM_COMMIT is the last. AGAIN: wait. Blocks shortly when the slot has been made and when
 * the workers join. */
MUST_CHECK enum code snapshot_next(struct snapshot *snapshot, struct source_item *ret, struct err *err);
int snapshot_fds(struct snapshot *snapshot, struct pollfd *fds, int n, int64_t *deadline_us);
void snapshot_close(struct snapshot *snapshot);

bool snapshot_done(const struct snapshot *snapshot);    /* ITEM_COMMIT was handed over */
uint64_t snapshot_lsn(const struct snapshot *snapshot); /* X, 0 until the slot is made */
struct source_progress snapshot_progress(const struct snapshot *snapshot);
