/* Is this still the history we were reading? What the server and its slot say against what we stored.
 *
 *      restart_lsn        confirmed_flush     flushed (ours)        the server's WAL
 *   -------|--------------------|-------------------|--------------------|------->
 *
 * In any other order, in another cluster, database or timeline that left before `flushed`, there may be a
 * gap. */
#pragma once

#include "capture/postgres/connect.h"

struct pg_server {
    char system[32]; /* system identifier */
    uint32_t timeline;
    uint64_t wal; /* flushed so far */
    char database[PG_NAME_MAX];
    int version;
    uint32_t publication; /* OID of ours; 0 = not known */
};

struct pg_slot {
    bool found, logical, active, unconfirmed; /* unconfirmed: confirmed_flush_lsn is NULL */
    char name[PG_NAME_MAX], plugin[PG_NAME_MAX], database[PG_NAME_MAX];
    char wal_status[16], invalid[64]; /* "" where NULL */
    int pid;
    uint64_t restart, confirmed;
    int64_t safe_wal_bytes; /* -1 = NULL: no limit */
};

/* What source_mark stored. */
struct pg_state {
    bool found;
    char system[32], slot[PG_NAME_MAX], database[PG_NAME_MAX], phase[16];
    uint32_t timeline, publication;
    uint64_t flushed; /* end LSN of the last complete transaction handed over */
    uint64_t reach; /* nothing at or after it is in the journal: `flushed`, or just after the commit record of
                     * a transaction that was handed over in part */
    char stale[256]; /* tables whose rows changed without events; "" = none */
};

/* @param conn a replication session: asks IDENTIFY_SYSTEM; an SQL session: asks the control file. */
MUST_CHECK enum code server_read(PGconn *conn, const struct source_env *env, bool replication,
                                 int64_t wait_ms, struct pg_server *ret, struct err *err);
MUST_CHECK enum code slot_read(PGconn *conn, const struct source_env *env, const char *name, int64_t wait_ms,
                               struct pg_slot *ret, struct err *err);
/* RETRY/SLOT_ACTIVE while some session of the server reads from it. */
MUST_CHECK enum code slot_check_vacant(const struct pg_slot *slot, struct err *err);
/* NULL text = nothing stored. FATAL/JOURNAL_CORRUPT if it is not ours. */
MUST_CHECK enum code state_read(const char *text, struct pg_state *ret, struct err *err);
/* Takes into account that the journal ends at `commit`, which may be in mid-transaction. */
void state_reaches(struct pg_state *state, uint64_t commit);
/* Appends the state text. */
void state_put(struct buf *ret, const struct pg_server *server, const char *slot, const char *phase,
               uint64_t flushed, const char *stale);

/* FATAL/NEEDS_RESNAPSHOT if tables are named whose rows changed without events. */
MUST_CHECK enum code stale_check(const char *stale, struct err *err);
/* OK, or FATAL/NEEDS_RESNAPSHOT with what happened, both LSNs and the command. Does not look at timelines. */
MUST_CHECK enum code identity_check(const struct pg_server *server, const struct pg_slot *slot,
                                    const struct pg_state *state, struct err *err);
/* Whether the stored position lies on the server's timeline; needs a replication session if the timelines
 * differ. */
MUST_CHECK enum code identity_check_timeline(PGconn *replication, const struct source_env *env,
                                             const struct pg_server *server, const struct pg_state *state,
                                             struct err *err);
/* The same with a session of its own where one is needed. OK also when the server cannot be asked. */
MUST_CHECK enum code identity_ask_timeline(const struct pg_options *options, const struct source_env *env,
                                           int64_t wait_ms, const struct pg_server *server,
                                           const struct pg_state *state, struct err *err);
/* The same on the text of a history file: "tli<TAB>switch point<TAB>reason" per line. Pure. */
MUST_CHECK enum code timeline_check(const char *history, uint32_t server_timeline, uint32_t our_timeline,
                                    uint64_t reach, struct err *err);
/* The slot's own condition, whatever our position is. OK, FATAL/NEEDS_RESNAPSHOT (lost), FATAL/SOURCE_SETTING
 * (not ours). */
MUST_CHECK enum code slot_check(const struct pg_slot *slot, const char *database, struct err *err);
