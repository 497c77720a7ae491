/* SQLite as a source that is fed by triggers (capture/trigger/feed.h). The files of this folder share these
 * structs; nobody outside includes this one but source.c.
 *
 * There is one writer at a time, so a read sees whole transactions, and ids are given in commit order. The
 * change table's id is its rowid without AUTOINCREMENT: the greatest one plus 1, and what is rolled back
 * gives its ids back. So ids have no gaps but the deleted begin, and the newest row is never deleted:
 *
 *      deleted     confirmed, to be deleted     handed over      in `rows`     not yet read
 *   ------|---------------------|--------------------|---------------|--------------|----> ids
 *        low                confirmed               at             read            top
 *
 * A gap says that somebody deleted rows. Whatever changes the schema changes its cookie, which each read
 * looks at first: rows are never handed over before triggers and tables were looked at in the same view.
 *
 * One thread; each call of the library is short. */
#pragma once

#include "capture/trigger/feed.h"
#include "capture/trigger/sqlite/file.h"
#include "capture/trigger/sqlite/values.h"

#define INSTALL_MEND   "run: millrace source install --config FILE"
#define LSOURCE_FORMAT 1

/* ---- catalog.c ---- */

struct lcolumn {
    const char *name, *declared;
    const char *fallback; /* expression of its DEFAULT, or NULL */
    bool not_null;
    int key;     /* place in the primary key from 1; 0 = not in it */
    bool number; /* the INTEGER PRIMARY KEY */
    bool added;  /* rows from before it have `missing`, which the replica may see first */
    const char *missing;
};
/* Columns of which no two rows may have the same values. */
struct lunique {
    const char **columns, **collations;
    int n;
};
struct ltable {
    const char *name;
    bool without_rowid;
    const char *rowid;       /* name by which a row's number can be had, or NULL */
    struct lcolumn *columns; /* all but the generated ones */
    int n_columns;
    struct lunique *uniques;
    int n_uniques;
    const char *refused;    /* why it cannot be captured, or NULL */
    const char *shape_text; /* its columns, as the registry keeps them */
    /* of the registry */
    int64_t shape;
    bool live;
    struct table table; /* what a change refers to */
};
struct lcatalog {
    struct arena arena;
    struct ltable **tables;
    int n, cap;
};
void lcatalog_free(struct lcatalog *catalog);
/* Ordinary tables of the file as they are now, neither SQLite's own nor ours. */
MUST_CHECK enum code lcatalog_read(struct lfile *file, struct lcatalog *ret, struct err *err);
/* All shapes of the registry; those that are there already keep their address. */
MUST_CHECK enum code lregistry_read(struct lfile *file, struct lcatalog *ret, struct err *err);
/* The live one under this name, or NULL. */
struct ltable *lcatalog_find(const struct lcatalog *catalog, const char *name);
struct ltable *lcatalog_shape(const struct lcatalog *catalog, int64_t shape);
/* The shape as the registry keeps what was added: {"column": "missing" or null}. */
void put_ladded(struct buf *json, const struct ltable *table);

/* ---- triggers.c ---- */

enum ltrigger {
    LTRIGGER_INSERT,
    LTRIGGER_UPDATE,
    LTRIGGER_DELETE,
    LTRIGGER_REPLACE,
    LTRIGGER_DISPLACE,
    LTRIGGERS
};
/* Name and whole statement of one trigger of a table; a table may lack one of the last two: nothing is
 * put. */
void put_ltrigger_name(struct buf *sql, int64_t shape, enum ltrigger which);
void put_ltrigger(struct buf *sql, const struct ltable *table, int64_t shape, enum ltrigger which);
/* SQL: the milliseconds since 1970; "v1, v2, .."; the columns with this before each name. */
extern const char lnow[];
void put_lvalues(struct buf *sql, int from, int n);
void put_lcolumns(struct buf *sql, const struct ltable *table, const char *before);
void put_lrowid(struct buf *sql, const struct ltable *table, const char *before);

/* ---- look.c ---- */

/* What the installation is, and what is wrong with it; reads in one view. */
struct lstate {
    bool installed;
    char identity[64];
    int64_t confirmed, low, last; /* low: greatest id below the oldest row */
    int width;                    /* value columns of the change table */
    int64_t next_shape;
};
MUST_CHECK enum code lstate_read(struct lfile *file, struct lstate *ret, struct err *err);
enum lfit {
    LFIT_WHOLE,   /* triggers and columns are as they were installed */
    LFIT_ADDED,   /* columns were added; the triggers are as they were installed */
    LFIT_BROKEN,  /* changes may be missing: what is in the table must be told anew */
    LFIT_DROPPED, /* there is no such table any more */
};
/* How a registered table stands; `now`: as it is, NULL if it is not. `why` gets the words. */
MUST_CHECK enum code lfit_look(struct lfile *file, const struct ltable *registered, const struct ltable *now,
                               enum lfit *ret, struct buf *why, struct err *err);
feed_look_f lsource_look;
MUST_CHECK enum code lsource_examine(struct lfile *file, const struct lsource_options *options,
                                     struct feed_look *ret, struct err *err);

/* ---- install.c ---- */

feed_script_f lsource_script;
feed_run_f lsource_run;

/* ---- replaced.c ---- */

struct lrow { /* of the change table */
    int64_t id, shape, at_ms, number;
    char op;
    bool numbered;
    struct cell *cells;
};
struct lreplaced;
struct lreplaced *lreplaced_new(void);
void lreplaced_free(struct lreplaced *replaced);
/* Takes note of a row that a statement may be about to replace ('r', 'q'), or of what became of it: a change
 * of that very row shows that it was still there; an insert or update that went through took the rows in its
 * way with it, which lreplaced_next tells. */
void lreplaced_see(struct lreplaced *replaced, const struct ltable *table, const struct lrow *row);
/* The next row that was replaced, NULL: no more; valid until the next call. */
const struct lrow *lreplaced_next(struct lreplaced *replaced);

/* ---- watch.c ---- */

/* Tells when the file was written to: inotify on the file and its -wal. Where the system has none to give,
 * the naps of the reader do. */
struct lwatch {
    int fd; /* -1: none */
    char *path, *wal;
    int on_path, on_wal;
};
void lwatch_open(struct lwatch *watch, const char *path);
void lwatch_close(struct lwatch *watch);
/* Something was written since the last call. */
bool lwatch_taken(struct lwatch *watch);

/* ---- feed.c ---- */

/* What tells a change row from any other that could ever have its id. */
struct lseal {
    char text[96]; /* "": none */
};
struct lsource {
    struct feed feed;
    const struct lsource_options *options;
    struct source_env env;
    struct lfile file;
    int lock; /* the lock file; -1: not claimed */
    struct lwatch watch;
    struct lcatalog registry;
    char identity[64]; /* of the installation that is read; "": not known yet */
    int64_t cookie;    /* of the schema that was looked at */
    int64_t version;   /* of the data that was read to its end; -1: none */
    sqlite3_stmt *data_version, *fetch;
    int width; /* value columns of `fetch` */
    int64_t low, confirmed, forgotten, safe, quiet, read, top;
    struct lseal seal; /* of the newest row below which all was handed over */
    bool begun;        /* a read to `top` is under way */
    struct arena arena;
    struct lrow *rows;
    int n_rows, at;
    struct lrow *current; /* what is told after the rows that were replaced for it */
    struct lreplaced *replaced;
    struct arena values;
    double row_bytes; /* average of the rows that were read */
    int64_t nap_us, due_us, swept_us, locked_since_us;
    bool locked_told;
    int sweep_ms;
    /* snapshot.c */
    bool snapshotting;
    struct source_progress progress;
    sqlite3_stmt *select;
    const struct ltable *table; /* that is read */
    int truncated, table_at;    /* places in the registry */
    struct buf start;           /* what the stream after it is to be given */
};
static inline struct lsource *lself(struct feed *feed) {
    return (struct lsource *)feed;
}

/* Fills a row of values from cells. REJECT/VALUE_NOT_CARRIED names table, row and column. */
MUST_CHECK enum code lsource_values(struct lsource *source, const struct ltable *table,
                                    const struct cell *cells, struct value **ret, struct err *err);
/* Looks at the schema if it changed, inside the open transaction. */
MUST_CHECK enum code lsource_verify(struct lsource *source, struct err *err);

/* ---- stream.c, sweep.c ---- */

feed_stream_f lsource_stream;
feed_next_f lsource_next;
/* Of the row `id`; none if it is not there. */
MUST_CHECK enum code lseal_read(struct lfile *file, int64_t id, struct lseal *ret, struct err *err);
MUST_CHECK enum code lsource_begin_stream(struct lsource *source, int64_t after, struct err *err);
/* Deletes some of what is confirmed. */
MUST_CHECK enum code lsource_sweep(struct lsource *source, struct err *err);

/* ---- snapshot.c ---- */

feed_snapshot_f lsource_snapshot;
MUST_CHECK enum code lsnapshot_next(struct lsource *source, struct feed_item *ret, struct err *err);
