/* The state of an open PostgreSQL source. One thread.
 *
 *      confirmed            committed (end of the last transaction handed over)      walEnd of a keepalive
 *   -------|-----------------------------|---------------------------------------------------|-----> LSNs
 *          what the server may forget    taken: what a mark made now would make durable;
 *                                        walEnd if nothing is in flight */
#pragma once

#include "capture/postgres/decode.h"
#include "capture/postgres/identity.h"
#include "capture/postgres/snapshot.h"
#include "capture/postgres/stream.h"

/* The second half of a key change, or the rest of a truncate's relations: comes before the next frame. */
enum pending { PENDING_NONE, PENDING_CREATE, PENDING_TRUNCATE };

struct pg_source {
    struct source source;
    const struct pg_options *options;
    struct source_env env;
    char slot[PG_NAME_MAX], publication[PG_NAME_MAX];
    struct pg_server server;
    int64_t sender_timeout_ms; /* the server's wal_sender_timeout; 0 = none */
    PGconn *sql;               /* catalog and lag; also tells first when the server shuts down */
    PGconn *replication;       /* until the stream takes it */
    struct catalog *catalog;
    struct pgdecoder decoder;
    struct snapshot *snapshot; /* NULL once it is over */
    bool temporary;            /* the snapshot's view comes from a temporary slot */
    struct wal_stream stream;  /* .conn is NULL before it began */

    struct position resumed; /* changes at or before it are dropped */
    bool resumed_boundary;
    struct position last; /* newest position handed over */
    uint64_t generation;
    uint64_t taken;           /* end LSN of the last complete transaction, or WAL end, that was handed over */
    uint64_t committed;       /* the same without idle marks */
    uint64_t confirmed_start; /* what the slot had when we came */
    bool began_streaming;     /* state's phase */

    bool in_tx, tx_handed;
    uint64_t tx_lsn, tx_xid, ordinal;
    int64_t tx_us;
    struct pgoutput *frame;
    struct relation *relation; /* of the pending change */
    enum pending pending;
    bool pending_partial;
    uint64_t pending_lsn;
    uint32_t pending_at;

    int64_t idle_us;   /* when the last idle item went out */
    uint64_t idle_end; /* and how far it told */
    bool more;         /* the last step ended before the socket was empty */
    unsigned frames;   /* since the clock was last looked at */
    bool lag_asked;
    int64_t lag_due_us, sql_lost_us;
    uint64_t wal_end;     /* the server's log, as last asked */
    bool standby;         /* the server was one when last asked: it may be promoted */
    bool stale_told;      /* the journal is to know of catalog_stale; then we stop */
    int64_t nap_until_us; /* deep backlog: let the socket fill before reading on */
};

/* dispatch.c: one frame becomes an item (OK), or nothing (AGAIN). */
enum code source_frame(struct pg_source *s, uint64_t lsn, struct source_item *ret, struct err *err);
/* dispatch.c: what is left of the last frame. OK or AGAIN (nothing more). */
enum code source_pending(struct pg_source *s, struct source_item *ret, struct err *err);

/* status.c, check.c */
source_status_f pgsource_status;
source_check_f pgsource_check;

/* Waits for an answer that is still under way on the SQL session, so that it can be asked again. */
enum code source_settle_sql(struct pg_source *s, struct err *err);
