/* The files of the SQLite target share these structs; nobody outside includes this one. */
#pragma once

#include "base/metrics.h"
#include "sink/sqlite/db.h"
#include "sink/sqlite/form.h"

/* One column of the source's table as the replica takes it. */
struct replica_column {
    const char *name; /* quoted */
    struct form form;
    bool skip; /* not written: the replica generates it, or lacks it (schema_change: ignore) */
    bool key;
    bool can_set; /* written by UPDATE: neither skipped nor key */
};

/* One column of the replica, ours or its own. */
struct any_column {
    const char *name; /* quoted */
    int ours;         /* index in the source's columns; -1: it is the replica's own */
};

/* One version of a table, bound to the replica's table. Cached by digest until the replica's table
 * changes. */
struct replica {
    struct replica *next;
    struct arena arena;
    const struct table *table;      /* our copy */
    uint64_t tx;                    /* transaction in which it was prepared: rolled back with it */
    const char *flat;               /* the replica's name: tables of SQLite have no schema */
    const char *name;               /* the same, quoted */
    struct replica_column *columns; /* table->n_columns */
    int n_written, n_set;           /* columns not skipped, columns UPDATE writes */
    struct any_column *all;         /* columns of the replica that can be inserted */
    int n_all;
    const char *rowid; /* without a key: the name under which a row's number can be had */
    bool extras;       /* the replica has columns that we do not write */
    bool unique;       /* some unique index is there beside the key's */
    sqlite3_stmt *insert, *update, *remove;
    sqlite3_stmt *partial; /* the UPDATE of the columns in `mask` */
    bool *mask;            /* table->n_columns */
    uint64_t missing;      /* rows that should have been there, so far */
};

struct lite_target {
    struct target base;
    struct target_env env;
    const struct sqlite_options *options;
    struct db db;
    int worker, workers; /* part that was claimed */
    uint64_t epoch;      /* 0: nothing is claimed */
    bool rebuild;        /* claimed with it */
    uint64_t tx;         /* number of the open transaction, or of the next one */
    bool altered;        /* the open transaction changed tables */
    struct replica *replicas;
    sqlite3_stmt *move_worker, *move_offset; /* of the commit */
    struct buf scratch;                      /* printed values on their way to a statement */
    struct metric *missing;
};

static inline struct lite_target *lite_of(struct target *t) {
    return (struct lite_target *)(void *)t;
}

/* ---- target.c ---- */
/* Rolls the open transaction back and forgets what was prepared in it. Returns `code`. */
enum code lite_undo(struct lite_target *t, enum code code);

/* ---- name.c ---- */
/* "name", with quotes doubled: names come from the journal and are hostile; every one passes through here. */
void lite_put_ident(struct buf *sql, const char *name);
/* The replica's name of a table: its own in schemas public and main, otherwise schema_table. */
const char *flat_name(const struct table *table, struct arena *arena);
/* All names can be names in SQLite, and no two columns differ only in case. REJECT/TARGET_TABLE. */
MUST_CHECK enum code names_check(const struct table *table, const char *flat, struct err *err);

/* ---- replica.c ---- */
target_prepare_f lite_prepare;
/* The bound version of the table, preparing it if need be. The transaction is open afterwards. */
MUST_CHECK enum code lite_replica_get(struct lite_target *t, const struct table *table, struct replica **ret,
                                      struct err *err);
/* Forgets what was prepared in the transaction that is rolled back, or all. */
void lite_replicas_rollback(struct lite_target *t, bool all);
void lite_replicas_free(struct lite_target *t);
/* Forgets all versions of a table of the replica. */
void lite_replicas_forget(struct lite_target *t, const char *flat);
MUST_CHECK enum code table_clear(struct lite_target *t, const char *flat, struct err *err);

/* ---- shape.c: the replica's table as the file tells it ---- */
struct shape_column {
    const char *name, *declared;
    bool not_null, has_default, generated, primary;
    struct form_type made_for; /* .type NULL: not known */
};
struct shape {
    bool exists, is_table, without_rowid;
    struct shape_column *columns;
    int n_columns;
    bool key;    /* a unique index over exactly the source's key, compared byte by byte */
    bool unique; /* there are others */
    bool empty;
};
MUST_CHECK enum code lite_shape_read(struct lite_target *t, const struct table *table, const char *flat,
                                     struct arena *arena, struct shape *ret, struct err *err);
const struct shape_column *lite_shape_column(const struct shape *shape, const char *name);

/* ---- fit.c: create, add, widen, as the policy allows ---- */
MUST_CHECK enum code lite_fit_create(struct lite_target *t, const struct table *table, const char *flat,
                                     struct err *err);
/* *changed: the shape must be read again. REJECT/TARGET_TABLE with what mends it. */
MUST_CHECK enum code lite_fit_alter(struct lite_target *t, const struct table *table, const char *flat,
                                    const struct shape *shape, bool *changed, struct err *err);

/* ---- schema.c: the tables millrace_* ---- */
/* Creates them if need be. FATAL/TARGET_REFUSED: others' tables have these names, or a newer Millrace wrote
 * them. */
MUST_CHECK enum code lite_schema_ensure(struct db *db, struct err *err);
/* False: there are none. FATAL as above. */
MUST_CHECK enum code lite_schema_exists(struct db *db, bool *ret, struct err *err);

/* ---- progress.c, tables.c, origin.c, status.c, check.c ---- */
target_claim_f lite_claim;
target_renew_f lite_renew;
target_commit_f lite_commit;
target_park_f lite_park;
target_reset_f lite_reset;
target_status_f lite_status;
target_check_f lite_check;
target_suggest_f lite_suggest; /* suggest.c */
/* Gives up what was claimed, so that a successor need not wait for the lease. */
void lite_release(struct lite_target *t);
/* RETRY/TARGET_OWNERSHIP */
enum code lite_not_owner(const struct lite_target *t, struct err *err);

/* What this sink has done to a table: never written; written; written before a reset, so that it may be
 * emptied. */
enum table_state { TABLE_NEW, TABLE_WRITTEN, TABLE_STALE };
MUST_CHECK enum code table_state(struct lite_target *t, const struct table *table, enum table_state *ret,
                                 struct err *err);
MUST_CHECK enum code table_written(struct lite_target *t, const struct table *table, const char *flat,
                                   struct err *err);
/* FATAL/CONFIG: another table's rows stand under that name. */
MUST_CHECK enum code table_alone(struct lite_target *t, const struct table *table, const char *flat,
                                 struct err *err);
/* The source renamed a table that this sink wrote: the replica's follows, its rows stay. */
MUST_CHECK enum code table_follow(struct lite_target *t, const struct table *table, const char *flat,
                                  struct err *err);
/* The first commit after a rebuild: tables that the sink wrote before it and that nothing came for are
 * emptied too. */
MUST_CHECK enum code tables_empty_stale(struct lite_target *t, struct err *err);

/* FATAL/CONFIG: the rows are those of another source table, or were written with another filter or other
 * names of columns: what is there would not become what is configured. */
MUST_CHECK enum code lite_origin_check(struct lite_target *t, const struct mapped *mapped, struct err *err);
/* Notes where the rows of the table come from from now on. */
MUST_CHECK enum code lite_origin_note(struct lite_target *t, const struct mapped *mapped, struct err *err);

/* ---- apply.c, keyless.c, rewrite.c ---- */
target_apply_f lite_apply;
/* Row by row, by its key. */
MUST_CHECK enum code lite_apply_keyed(struct lite_target *t, struct replica *r, const struct batch *batch,
                                      struct err *err);
/* Rows without a key. */
MUST_CHECK enum code lite_apply_keyless(struct lite_target *t, struct replica *r, const struct batch *batch,
                                        struct err *err);
/* All touched rows are taken out and put back in their last state: for unique values that change places. */
MUST_CHECK enum code lite_apply_rewrite(struct lite_target *t, struct replica *r, const struct batch *batch,
                                        struct err *err);

/* Binds column i of the row as parameter n. REJECT/TARGET_VALUE. */
MUST_CHECK enum code row_bind(struct lite_target *t, const struct replica *r, const struct value *row, int i,
                              sqlite3_stmt *stmt, int n, struct err *err);
/* Binds all columns that are written (`keys`: those of the key, too) and present, from parameter *n on. */
MUST_CHECK enum code row_bind_all(struct lite_target *t, const struct replica *r, const struct value *row,
                                  bool keys, sqlite3_stmt *stmt, int *n, struct err *err);
MUST_CHECK enum code row_bind_key(struct lite_target *t, const struct replica *r, const struct value *row,
                                  sqlite3_stmt *stmt, int n, struct err *err);
/* REJECT/TARGET_VALUE: column i of the row cannot be written. */
enum code lite_value_refused(const struct replica *r, int i, const struct value *row, const char *reason,
                             struct err *err);
/* A row that should have been there is not: counted under on_missing: insert; otherwise, or if it is not
 * full, REJECT/TARGET_DIVERGED. `row` names it by its key. */
MUST_CHECK enum code row_missing(struct lite_target *t, struct replica *r, const struct value *row, bool full,
                                 bool filtered, struct err *err);

/* SQL: names of the columns that are written, "?1, ?2, ..", "k1 = ?n AND k2 = ?n+1". */
void lite_put_written(struct buf *sql, const struct replica *r);
void lite_put_marks(struct buf *sql, int n);
void lite_put_key_is(struct buf *sql, const struct replica *r, int n);
