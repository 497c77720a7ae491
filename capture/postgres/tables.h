/* The tables of the source's database: which are selected, which are published, and whether they can be
 * captured. */
#pragma once

#include "capture/postgres/connect.h"

struct pg_rel {
    uint32_t oid;
    const char *schema, *name;
    char kind;        /* r table, p partitioned */
    char identity;    /* d n f i */
    char persistence; /* p u */
    bool has_key;     /* primary key */
    bool has_identity_index;
    bool readable, owned;
    bool schema_usable, row_security; /* row_security: policies hide rows from our role */
    bool partition;
    bool leafless;       /* a partitioned table without a partition */
    uint32_t *ancestors; /* of a partition, itself first, the root last */
    int n_ancestors;
    bool published;         /* its changes appear under its own name in the publication */
    bool member;            /* named by the publication itself, or by its schema, or all tables are */
    const char *filter;     /* the publication's row filter or NULL */
    bool columns_narrowed;  /* the publication names columns */
    double rows;            /* estimate; 0 = unknown */
    int64_t pages;          /* estimate */
    const char **toastable; /* selected columns that may be stored out of line */
    int n_toastable;
    const char *key_left_out; /* a column of the key that `columns` leaves out, or NULL */
    enum selection selected;
    bool object; /* selected, and no ancestor is: what the publication has to name */
};
struct pg_rels {
    struct pg_rel *items; /* ordered by schema and name */
    int n;
    const char *role; /* ours */
};

/* Reads all ordinary and partitioned tables, with what `publication` (NULL = none) says of them. Lives in the
 * arena. */
MUST_CHECK enum code rels_read(PGconn *conn, const struct pg_options *options, const struct source_env *env,
                               const char *publication, struct arena *arena, struct pg_rels *ret,
                               struct err *err);
struct pg_rel *rels_find(const struct pg_rels *rels, uint32_t oid);

/* True if changes of this table arrive under its own name (a unit of the stream and of the snapshot). */
bool rel_is_unit(const struct pg_options *options, const struct pg_rels *rels, const struct pg_rel *rel);
/* True if some row of `unit` is stored in `rel`: itself, or one of its partitions. */
bool rel_stores(const struct pg_rel *unit, const struct pg_rel *rel);

/* Lists of tables with one trouble, as text for people: "a, b and 7 more" and the SQL that mends each. */
struct table_trouble {
    int n;
    struct buf names, sql;
};
void table_trouble_free(struct table_trouble *trouble);
#define CLEANUP_TROUBLE __attribute__((cleanup(table_trouble_free))) struct table_trouble

/* Each fills the list with the selected tables that have the trouble. */
void rels_without_key(const struct pg_options *options, const struct pg_rels *rels,
                      struct table_trouble *ret);
void rels_partial(const struct pg_options *options, const struct pg_rels *rels, struct table_trouble *ret);
void rels_unreadable(const struct pg_options *options, const struct pg_rels *rels, struct table_trouble *ret);
void rels_schema_unusable(const struct pg_options *options, const struct pg_rels *rels,
                          struct table_trouble *ret);
void rels_row_security(const struct pg_options *options, const struct pg_rels *rels,
                       struct table_trouble *ret);
/* FATAL/CONFIG if `columns` leaves out a column of a key. */
MUST_CHECK enum code rels_check_columns(const struct pg_options *options, const struct pg_rels *rels,
                                        struct err *err);
void rels_unlogged(const struct pg_options *options, const struct pg_rels *rels, struct table_trouble *ret);
void rels_identity_mixed(const struct pg_options *options, const struct pg_rels *rels,
                         struct table_trouble *ret);

/* All that makes capture impossible: FATAL/SOURCE_TABLE, TABLE_WITHOUT_KEY, PARTIAL_ROWS, SOURCE_REFUSED. */
MUST_CHECK enum code rels_check(const struct pg_options *options, const struct pg_rels *rels,
                                struct err *err);
/* The part of it that holds for whoever reads the tables themselves: FATAL/SOURCE_REFUSED. */
MUST_CHECK enum code rels_check_readable(const struct pg_options *options, const struct pg_rels *rels,
                                         struct err *err);
/* FATAL/SOURCE_TABLE if nothing is selected or a table that is named without wildcard does not exist. */
MUST_CHECK enum code rels_check_named(const struct pg_options *options, const struct pg_rels *rels,
                                      struct err *err);
