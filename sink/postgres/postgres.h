/* The rooms of the PostgreSQL target share these structs; nobody outside includes this file. */
#pragma once

#include "base/metrics.h"
#include "sink/postgres/session.h"
#include "sink/postgres/shape.h"
#include "sink/values/values.h"

/* One column of the source's table as the replica takes it. */
struct replica_column {
    const char *name; /* quoted */
    const char *type; /* the replica's, domains resolved */
    Oid oid;          /* of that type */
    pg_print_f *print;
    pg_binary_f *form; /* NULL: only text will do */
    const char *equal; /* key columns: "OPERATOR(pg_catalog.=)" */
    bool skip;         /* not written: the replica generates it, or lacks it (schema_change: ignore) */
    bool key;
    bool can_set; /* written by UPDATE: neither skipped nor key */
};

/* One version of a table, bound to the replica's table. Cached by digest, until the replica's table
 * changes. */
struct replica {
    struct replica *next;
    struct arena arena;
    const struct table *table;      /* our copy */
    uint64_t tx;                    /* transaction in which it was prepared: rolled back with it */
    int id;                         /* names its statements and its stage */
    const char *name;               /* quoted "schema"."table" */
    const char *label;              /* schema.table, for people */
    struct replica_column *columns; /* table->n_columns */
    int n_written, n_set;           /* columns not skipped, columns UPDATE writes */
    bool binary;                    /* all written columns have a binary form: COPY uses it */
    int rewrites,
        rewrites_left;    /* after an insert that met its key: how many batches are rewritten at once */
    bool truncates;       /* TRUNCATE is allowed and no foreign key of another table forbids it */
    bool cascades;        /* foreign keys act and point here: rows must not be deleted to be written again */
    bool extras;          /* the replica has columns that we do not write */
    bool created;         /* made in transaction `tx`: nobody else sees it yet */
    const char *late_key; /* its primary key, which is to be added before the commit; NULL: it has it */
    int n_unique;         /* unique indexes beside the key's */
    const char **all_columns; /* quoted names of all columns of the replica that can be inserted */
    int n_all;
    bool statements;    /* the statements for single rows are prepared in the session, */
    int statement_id;   /* ... under this number */
    bool staged;        /* the temporary table is there */
    uint64_t staged_tx; /* transaction that made it */
    uint64_t used_tx;   /* transaction that last filled it */
    uint64_t missing;   /* rows that should have been there, so far */
};

struct pg_target {
    struct target base;
    struct target_env env;
    const struct postgres_options *options;
    struct session session;
    int worker, workers; /* part that was claimed */
    uint64_t epoch;      /* 0: nothing is claimed */
    bool rebuild;        /* claimed with it */
    uint64_t tx;         /* number of the open transaction, or of the next one */
    bool altered;        /* the open transaction changed tables */
    struct replica *replicas;
    int next_id, n_staged;
    int commit_id; /* the prepared statement that moves the position; 0 = not prepared in this session */
    struct metric *missing;
};

static inline struct pg_target *pg_of(struct target *t) {
    return (struct pg_target *)(void *)t;
}

/* ---- target.c ---- */
/* Rolls the open transaction back and forgets what was prepared in it. Returns `code`. */
enum code pg_undo(struct pg_target *t, enum code code);

/* ---- replica.c ---- */
target_prepare_f pg_prepare;
/* The bound version of the table, preparing it if need be. The transaction is open afterwards. */
MUST_CHECK enum code replica_get(struct pg_target *t, const struct table *table, struct replica **ret,
                                 struct err *err);
/* Forgets what was prepared in the transaction that is rolled back, or all. */
void replicas_rollback(struct pg_target *t, bool all);
void replicas_free(struct pg_target *t);
/* Empties the table. `truncate`: as TRUNCATE where possible. */
MUST_CHECK enum code replica_clear(struct pg_target *t, const struct replica *r, bool truncate,
                                   bool restart_identity, struct err *err);

/* ---- progress.c, status.c, check.c ---- */
target_claim_f pg_claim;
target_renew_f pg_renew;
target_commit_f pg_commit;
target_park_f pg_park;
target_reset_f pg_reset;
target_status_f pg_status;
target_check_f pg_check;
target_suggest_f pg_suggest; /* suggest.c */
/* Gives up what was claimed, so that a successor need not wait for the lease. */
void pg_release(struct pg_target *t);
/* What this sink has done to a table: never written; written; written before a reset, so that it may be
 * emptied. */
enum table_state { TABLE_NEW, TABLE_WRITTEN, TABLE_STALE };
MUST_CHECK enum code progress_table_state(struct pg_target *t, const struct table *table,
                                          enum table_state *ret, struct err *err);
/* The name under which this sink wrote the same table before the source renamed it; NULL: none. */
MUST_CHECK enum code progress_table_before(struct pg_target *t, const struct table *table,
                                           struct arena *arena, const char **ret_schema,
                                           const char **ret_name, struct err *err);
/* ---- origin.c ---- */
/* FATAL/CONFIG: the rows of the replica's table are those of another source table, or were written with
 * another filter or other names of columns: what is there would not become what is configured. */
MUST_CHECK enum code origin_check(struct pg_target *t, const struct mapped *mapped, struct err *err);
/* Notes where the rows of the table come from from now on. */
MUST_CHECK enum code origin_note(struct pg_target *t, const struct mapped *mapped, struct err *err);

MUST_CHECK enum code progress_table_renamed(struct pg_target *t, const struct table *table,
                                            const char *schema, const char *name, struct err *err);
MUST_CHECK enum code progress_table_written(struct pg_target *t, const struct table *table, struct err *err);

/* ---- schema.c ---- */
/* Creates schema millrace and its tables, if need be. FATAL/TARGET_REFUSED with the SQL that grants what is
 * missing. */
MUST_CHECK enum code progress_schema(struct session *s, struct err *err);
/* False: there is none. */
MUST_CHECK enum code progress_schema_exists(struct session *s, bool *ret, struct err *err);

/* ---- apply.c: decides the way; the ways ---- */
target_apply_f pg_apply;
/* Statement by statement in one round trip: small batches. (single.c) */
MUST_CHECK enum code apply_single(struct pg_target *t, struct replica *r, const struct batch *batch,
                                  struct err *err);
/* The one row of the batch changed its key while some columns are absent. (single.c) */
MUST_CHECK enum code apply_moved(struct pg_target *t, struct replica *r, const struct batch *batch,
                                 struct err *err);
/* COPY and set-based statements. (staged.c) */
MUST_CHECK enum code apply_staged(struct pg_target *t, struct replica *r, const struct batch *batch,
                                  struct err *err);
/* All touched rows are deleted and written again: for unique values that change places. (rewrite.c) */
MUST_CHECK enum code apply_rewrite(struct pg_target *t, struct replica *r, const struct batch *batch,
                                   struct err *err);
/* Rows without a key. (keyless.c) */
MUST_CHECK enum code apply_keyless(struct pg_target *t, struct replica *r, const struct batch *batch,
                                   struct err *err);

/* ---- late_key.c: tables that are created and filled in one transaction ---- */
/* Whether the batch can go in without the key. */
bool late_key_takes(const struct pg_target *t, const struct replica *r, const struct batch *batch);
MUST_CHECK enum code late_key_apply(struct pg_target *t, struct replica *r, const struct batch *batch,
                                    struct err *err);
/* Adds the key, if it is still to be added. */
MUST_CHECK enum code late_key_add(struct pg_target *t, struct replica *r, struct err *err);
/* The same for all versions of a table; NULL: of all tables. */
MUST_CHECK enum code late_keys_add(struct pg_target *t, const struct table *table, struct err *err);

/* ---- missing.c: rows that should have been there ---- */
struct missing {
    uint64_t n;      /* how many */
    bool full;       /* all of them can be written whole, or need not be written */
    bool filtered;   /* batch.filtered: they may rightly be missing */
    const char *key; /* of one of them, for people */
};
/* Counts missing rows under on_missing: insert; otherwise, or if one of them is not full,
 * REJECT/TARGET_DIVERGED. */
MUST_CHECK enum code missing_rows(struct pg_target *t, struct replica *r, const struct missing *missing,
                                  struct err *err);
/* "(1,abc)": a row's key for people. */
void missing_key(const struct replica *r, const struct value *values, struct buf *ret);
/* REJECT/TARGET_VALUE: column i of the row cannot be printed. */
enum code value_refused(const struct replica *r, int i, const struct value *values, const char *reason,
                        struct err *err);

/* ---- stage.c: the temporary table of a version ---- */
/* Its columns: c0, c1, ... (as the source's, with the replica's types), op, mask (NULL: full), seq.
 *   op: i insert, u update, d delete of a row that was there, x delete of a row that need not have been */
struct stage_row {
    char op;
    const struct value *values;
};
/* Gives the next row, false at the end. */
typedef bool stage_next_f(void *arg, struct stage_row *ret);
/* Columns that are NULL unless asked for. */
enum { STAGE_MASK = 1, STAGE_SEQ = 2 };
/* Empties the stage (made when first needed) and fills it. */
MUST_CHECK enum code stage_fill(struct pg_target *t, struct replica *r, unsigned extras, stage_next_f *next,
                                void *arg, struct err *err);
/* The same straight into the replica's table: all rows are inserts and full. */
MUST_CHECK enum code stage_direct(struct pg_target *t, struct replica *r, stage_next_f *next, void *arg,
                                  struct err *err);
/* "pg_temp.millrace_stage_7" */
void stage_name(const struct replica *r, struct buf *sql);
/* Stage columns are few more than the table's, and a table has at most 1600. */
enum { STAGE_COLUMNS_MAX = 1590 };

/* Comma-separated: the replica's names of the columns that are written; of the key; the stage's "s.c0" of
 * those written. */
void put_written(struct buf *sql, const struct replica *r);
void put_key_list(struct buf *sql, const struct replica *r, const char *prefix);
void put_staged(struct buf *sql, const struct replica *r);
/* "t.k = s.c0 AND ..." with the key's own equality. */
void put_key_join(struct buf *sql, const struct replica *r);
