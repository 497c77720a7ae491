/* MariaDB as a source that is fed by triggers (capture/trigger/feed.h).
 *
 * What may be read, and in which order. A change row's id is given while its row of the table is locked, so
 * for each key ids ascend in true order; but a row becomes visible at its transaction's commit, in another
 * order. The change table is therefore a queue that is taken by visibility, in *cuts*: a cut is a set of ids
 * that were visible in one view and in no cut before. It is written down in the database before anything of
 * it is handed over, so that whoever reads again from a position gets the same changes in the same order.
 * Cuts have numbers, which are the commits of feed.h; within a cut the order is that of the ids.
 *
 *      cut 7: 10-15,18    cut 8: 16,19-31    (17: its transaction is not over)
 *
 * A change that depends on another (same row, or it has seen it) was made after the other's commit. So a view
 * that holds it should hold the other, too; but MariaDB opens a view without stopping commits, and without a
 * binary log one in some thousands has the later and lacks the earlier. Hence two views, the second opened
 * after the first: it holds whatever the first one's changes depend on. What the second one has below the
 * greatest id of the first, and the first has not, may be such a change: then only what lies below the
 * smallest of those is taken now. If there is none, the cut is a prefix of the commit order, whole
 * transactions only: its end is a boundary.
 *
 * Ids at or below `low` are all in cuts or gone for ever, and the scan begins behind it; cuts.c says how that
 * is known.
 *
 * One thread; the client library blocks, each call for some milliseconds. */
#pragma once

#include "capture/trigger/feed.h"
#include "capture/trigger/mariadb/catalog.h"
#include "capture/trigger/mariadb/ids.h"

struct cut {
    uint64_t number;
    bool whole; /* its end is a boundary */
    struct id_set ids;
};

/* A writing transaction of the server, and an id below all of its change rows. */
struct writer {
    uint64_t trx, floor;
};

struct maria_feed {
    struct feed feed;
    const struct maria_options *options;
    struct source_env env;
    MYSQL *control;        /* claims, deletes, looks */
    MYSQL *view, *witness; /* the two views; the first one also reads the snapshot's tables */
    MYSQL *rows;           /* change rows, streamed */
    bool claimed;
    char installation[64]; /* as it was at the beginning */
    char *stale;           /* rows changed without change rows: how; owned */
    bool stale_told;
    char changes[MARIA_NAME_MAX * 2 + 16], cuts_table[MARIA_NAME_MAX * 2 + 16],
        source_table[MARIA_NAME_MAX * 2 + 16]; /* quoted */
    struct maria_catalog catalog;

    /* cuts.c */
    struct cut *cuts; /* ascending; those before `read` were handed over */
    size_t n_cuts, read;
    struct id_set taken;     /* the ids of all of them */
    uint64_t forgotten, low; /* cuts up to the former may be deleted */
    uint64_t low_next, top;  /* low after the next claim; greatest id ever claimed */
    bool open;               /* the views are: the next claim goes on from cursor */
    uint64_t cursor;
    struct writer *writers;
    int n_writers;
    uint64_t sampled_top, own_trx;
    int64_t sample_due_us;
    size_t delete_run; /* place in the first cut's ids */
    uint64_t delete_from;

    /* feed.c: the cut in hand */
    MYSQL_RES *stream; /* of rows, or of view during the snapshot */
    size_t run;
    uint64_t from, expected; /* rows that the statement under way still owes */
    struct arena arena;      /* of the row in hand */
    struct value *before, *after;
    int64_t nap_us, due_us, look_due_us;

    /* snapshot.c */
    bool snapshotting;
    int table;    /* place in the catalog */
    bool emptied; /* each table was told as truncated */
    uint64_t start;
    struct source_progress progress;
    uint64_t held_bytes;
};

static inline struct maria_feed *maria_self(struct feed *feed) {
    return (struct maria_feed *)feed;
}

/* install.c, look.c */
feed_script_f maria_script;
feed_run_f maria_run;
feed_look_f maria_look;
/* Fills f->stale if rows were changed without change rows since the snapshot. */
MUST_CHECK enum code maria_look_for_stale(struct maria_feed *f, struct err *err);
/* Remembers the installation. */
MUST_CHECK enum code maria_look_begin(struct maria_feed *f, struct err *err);
/* The same again while reading: FATAL with what look() finds, or with another installation. */
MUST_CHECK enum code maria_look_again(struct maria_feed *f, struct err *err);
/* Appends the statements that make the change table and what belongs to it; they change nothing where it
 * is. */
void maria_put_home(struct buf *sql, const struct maria_options *options);
/* Whether there is an installation; *ret_number: the greatest table number it ever gave. */
MUST_CHECK enum code maria_installed(MYSQL *db, const struct maria_options *options, bool *ret,
                                     struct err *err);

/* cuts.c */
/* Loads what was claimed and not yet deleted. Cuts up to `commit` were handed over. */
MUST_CHECK enum code cuts_load(struct maria_feed *f, uint64_t commit, struct err *err);
/* Claims the next cut. AGAIN: nothing new is visible. */
MUST_CHECK enum code cuts_claim(struct maria_feed *f, struct err *err);
/* Opens both views and claims all that is visible in the first, which stays open for reading tables. */
MUST_CHECK enum code cuts_claim_all(struct maria_feed *f, struct err *err);
/* Deletes some of what may be forgotten. AGAIN: nothing (more) can be deleted now. */
MUST_CHECK enum code cuts_delete(struct maria_feed *f, struct err *err);
void cuts_free(struct maria_feed *f);

/* snapshot.c */
feed_snapshot_f maria_snapshot;
MUST_CHECK enum code maria_snapshot_next(struct maria_feed *f, struct feed_item *ret, struct err *err);

/* feed.c */
/* Reads a row's text into values. REJECT/VALUE_NOT_CARRIED. */
MUST_CHECK enum code maria_row_values(struct maria_feed *f, const struct maria_table *t, const char *data,
                                      unsigned long len, struct value **ret, struct err *err);
