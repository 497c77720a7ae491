/* The state of an open PostgreSQL source that is fed by triggers. One thread.
 *
 *      deleted     deletable     ended: handed over as whole transactions     bound      last id given
 *   ------|------------|---------------------------|----------------------------|-------------|-----> ids
 *
 * Rows at or below `ended` may still be needed: a transaction that has ids on both sides of it comes as a
 * whole when its last id is passed. `floor` is the id below which there is no such row. */
#pragma once

#include "capture/postgres/snapshot.h"
#include "capture/trigger/postgres/bound.h"
#include "capture/trigger/postgres/look.h"
#include "capture/trigger/postgres/rows.h"

enum pgtrigger_step {
    STEP_IDLE,     /* until due_us */
    STEP_LAST,     /* the sequence's last value is asked for */
    STEP_WRITERS,  /* who writes to the change table */
    STEP_FLUSHED,  /* whether all that is to be read is on the server's disk */
    STEP_CROSSING, /* which transactions lie on both sides of a window's end */
    STEP_ROWS,     /* rows of the window come */
    STEP_FLOOR,    /* of a stream that begins: the floor of what comes after its place */
};
enum { PGTRIGGER_WINDOWS = 64 };

/* What may be deleted once everything up to `end` is durable. */
struct pgtrigger_window {
    uint64_t end, floor;
};

/* A transaction with ids on both sides of the end of a window. */
struct pgtrigger_crossing {
    char xid[24];
    uint64_t first, last;
};

struct pgtrigger {
    struct feed feed;
    struct pgtrigger_options o; /* a copy, completed */
    struct source_env env;
    PGconn *sql;  /* claim, catalog, deletion, tampering: short questions */
    PGconn *read; /* the stream; during a snapshot it holds the view */
    struct catalog *catalog;
    struct pgdecoder decoder;
    struct layouts layouts;
    struct snapshot *snapshot; /* NULL: streaming */
    uint64_t snapshot_after;
    char *start; /* view of the snapshot: what is visible in it is not told again */
    bool start_told;

    enum pgtrigger_step step;
    int64_t due_us, pause_us;
    uint64_t log_end; /* of the server, when the bound was found */
    bool unflushed;   /* it was not on disk when last asked */
    struct bound bound;
    uint64_t ended, floor, window;       /* window: the end of the one that is read */
    struct pgtrigger_crossing *crossing; /* up to the bound; they are as few as there are writers at a time */
    int n_crossing;
    PGresult *row; /* in hand */
    struct pgoutput_row old, new;
    uint64_t commit; /* of the last row handed over in this window; 0 = none */
    int64_t commit_us;
    bool row_waits; /* an end goes out before it */

    struct pgtrigger_window windows[PGTRIGGER_WINDOWS];
    int n_windows;
    uint64_t durable, deletable, deleted;
    int64_t watch_us;
    bool stale_told;
    int64_t table_bytes;
};

/* feed.c: remembers how the tables look now, and opens the session for reading. */
MUST_CHECK enum code pgtrigger_begin(struct pgtrigger *s, struct err *err);

/* stream.c */
feed_stream_f pgtrigger_stream;
/* The next item of the stream. */
enum code pgtrigger_stream_next(struct pgtrigger *s, struct feed_item *ret, struct err *err);
/* Begins to read after `ended`; what lies at or below `durable` is in the journal. */
MUST_CHECK enum code pgtrigger_stream_begin(struct pgtrigger *s, uint64_t ended, uint64_t durable,
                                            struct err *err);
/* Whole transactions up to `commit` are in the journal. */
void pgtrigger_durable(struct pgtrigger *s, uint64_t commit);
/* Sees to it that all that is visible now is on the server's disk: blocks at most 10 s. */
MUST_CHECK enum code pgtrigger_flush(struct pgtrigger *s, struct err *err);
/* The bound as it is now: every id up to it is resolved. Blocks shortly. */
enum code pgtrigger_bound_now(struct pgtrigger *s, uint64_t *ret, struct err *err);
