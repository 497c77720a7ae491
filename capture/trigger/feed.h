/* The seam between the shared trigger-fed source (trigger.h) and a database that keeps a change table: what a
 * kind of database has to bring. One folder below capture/trigger/ per kind; dependencies run from the kind
 * to this header and to trigger.h, never to another kind.
 *
 *   connect -> look                                       doctor, status, `millrace source check`
 *   connect -> script -> run                              `millrace source install | uninstall`
 *   connect -> claim -> look -> snapshot -> next ...      a new generation; the snapshot's end goes over into
 *                                                         the stream by itself
 *   connect -> claim -> look -> stream   -> next ...      from a stored position
 *
 *      deleted         forget()         handed over as a whole: FEED_END      bound of what may be read
 *   ------|----------------|------------------------|--------------------------------|----> commits
 *
 * A change's `commit` orders changes: it never falls, and whoever reads the table again from the same place
 * gets the same changes with the same commits in the same order. Where the database tells transactions apart
 * it is the id of the transaction's last row, otherwise the row's own id (docs/trigger-capture.md says why).
 * Nothing may be handed over before every id up to it is resolved: committed and seen, or gone for ever.
 *
 * One thread. A kind that has only a blocking client library keeps each call short (some ms) and returns
 * AGAIN. */
#pragma once

#include "capture/source.h"

/* ---- what is found ---- */

enum feed_level { FEED_OK, FEED_WARN, FEED_ERROR };
struct feed_finding {
    enum feed_level level;
    enum err_id id; /* ERROR: what a capture stops with. WARN, OK: ERR_NONE */
    char name[32];  /* of the finding for scripts: "triggers", "change-table"; ERROR: err_name(id) is told
                       instead */
    char *what, *mend;
    struct feed_finding *next;
};

/* What look() finds. Zeroed by the caller, freed by feed_look_free. */
struct feed_look {
    bool installed;
    char identity[128];            /* another text: there may be a gap */
    uint64_t last_id;              /* greatest id that was ever given */
    int64_t rows, bytes;           /* of the change table; rows may be an estimate */
    struct feed_finding *findings; /* in the order of feed_find */
};
void feed_find(struct feed_look *look, enum feed_level level, enum err_id id, const char *name,
               const char *what, const char *mend);
/* The first finding that stops a capture as FATAL with its words; OK if there is none. */
MUST_CHECK enum code feed_look_judge(const struct feed_look *look, struct err *err);
void feed_look_free(struct feed_look *look);

/* ---- what is read ---- */

enum feed_item_type {
    FEED_CHANGE,   /* one row of the change table, or of the snapshot */
    FEED_END,      /* every transaction with a commit at or below .commit was handed over, as a whole */
    FEED_SNAPSHOT, /* the snapshot is complete; .text is to be stored, .commit is where its stream begins */
    FEED_STALE,    /* rows changed without change rows (a command rewrote them): .text says which and how. The
                      journal is told first, then the capture stops, now and at every start: needs-resnapshot */
};
struct feed_item {
    enum feed_item_type type;
    enum op op;                         /* c u d t; snapshot: t (one per table, before its rows), r */
    const struct table *table;          /* NULL: of a table that is not selected; it only takes its numbers */
    const struct value *before, *after; /* as in struct change; borrowed until the next next() */
    bool restart_identity;
    uint64_t commit, id, xid; /* id: of the row; xid: 0 where not known */
    int64_t commit_us;
    const char *text; /* SNAPSHOT: opaque to the shared part, given back to stream() as `start`; borrowed */
};

/* ---- the kind ---- */

struct feed_ops;
struct feed {
    const struct feed_ops *ops;
};

/* A session with every format fixed. Blocks at most wait_ms. RETRY/SOURCE_UNREACHABLE, FATAL/SOURCE_REFUSED,
 * SOURCE_SETTING, CONFIG. */
typedef enum code feed_connect_f(const void *options, const struct source_env *env, int64_t wait_ms,
                                 struct feed **ret, struct err *err);
typedef void feed_close_f(struct feed *feed); /* NULL is fine; gives the claim back */
/* Takes the only reader's place until close. RETRY/SLOT_ACTIVE: somebody has it. Blocks at most 10 s. */
typedef enum code feed_claim_f(struct feed *feed, struct err *err);
/* Looks at the installation: identity, size, and everything that is wrong with change table, triggers, tables
 * and rights, each with its mend. An error returned = it could not be looked at. Blocks at most wait_ms. */
typedef enum code feed_look_f(struct feed *feed, int64_t wait_ms, struct feed_look *ret, struct err *err);
/* The whole script that brings the installation to what the options say (or removes it), for run() and for a
 * DBA's eyes; idempotent, quoted by the server's own rules; comments and grants included. */
enum feed_script { FEED_INSTALL, FEED_UNINSTALL };
typedef enum code feed_script_f(struct feed *feed, enum feed_script what, struct buf *sql, struct err *err);
/* Runs it: in one transaction where the database has transactional DDL. */
typedef enum code feed_run_f(struct feed *feed, const char *sql, struct err *err);

/* Begins a consistent view of all selected tables; what follows it is exactly the stream after it.
 * Blocks at most 30 s. */
typedef enum code feed_snapshot_f(struct feed *feed, struct err *err);
/* Begins after `commit`, with what the snapshot's end told (`start`, "" = nothing). Rows at or below `commit`
 * that are still in the table were handed over and confirmed before: they may be deleted. */
typedef enum code feed_stream_f(struct feed *feed, const char *start, uint64_t commit, struct err *err);
/* What stream() is to be given as `start` from this moment on, where that changes; appended. */
typedef void feed_start_f(struct feed *feed, struct buf *ret);
/* The next item; AGAIN: wait on fds. Must not block. REJECT/VALUE_NOT_CARRIED, RETRY/..., FATAL/.... */
typedef enum code feed_next_f(struct feed *feed, struct feed_item *ret, struct err *err);
/* As source_fds_f. */
typedef int feed_fds_f(struct feed *feed, struct pollfd *fds, int n, int64_t *deadline_us);
/* Called at least once a second, also while nothing is read: deletes what was forgotten in small batches,
 * looks for tampering every few seconds (the findings of look(), as its own FATAL). Must not block long. */
typedef enum code feed_service_f(struct feed *feed, struct err *err);
/* Everything at or below `commit` is durable in the journal: it may be deleted, here or in service. */
typedef enum code feed_forget_f(struct feed *feed, uint64_t commit, struct err *err);

struct feed_gauge {
    struct source_progress progress; /* of the snapshot */
    uint64_t lag_bytes;              /* written and not yet handed over, as far as it is known; an estimate */
    uint64_t held_bytes;             /* size of the change table */
};

struct feed_ops {
    feed_connect_f *connect;
    feed_close_f *close;
    feed_claim_f *claim;
    feed_look_f *look;
    feed_script_f *script;
    feed_run_f *run;
    feed_snapshot_f *snapshot;
    feed_stream_f *stream;
    feed_start_f *start; /* NULL: always what the snapshot's end told */
    feed_next_f *next;
    feed_fds_f *fds;
    feed_service_f *service;
    feed_forget_f *forget;
    struct feed_gauge (*gauge)(struct feed *feed);
};
