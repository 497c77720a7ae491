/* From PostgreSQL's catalog to our tables: keys, nullability, and types by OID down to what a replica must
 * create.
 *
 * A Relation frame (or a snapshot's look at the catalog) gives names, types and identity as they were at its
 * place in the log; the catalog of today adds what the log does not tell: the primary key behind REPLICA
 * IDENTITY FULL, NOT NULL, labels. If the table is gone from the catalog, the frame has to do. */
#pragma once

#include "capture/postgres/connect.h"
#include "capture/postgres/pgoutput.h"
#include "capture/postgres/tables.h"
#include "capture/postgres/values.h"

/* One relation as we read it. Lives until catalog_close; older versions too. */
struct relation {
    uint32_t relid;
    const struct table *table; /* NULL = not selected */
    char identity;             /* d n f i */
    int n_wire;                /* columns in a tuple of the wire */
    int *to;                   /* wire column -> table column, -1 = not selected */
    bool *in_identity;         /* per table column: sent in an old tuple of kind 'K' */
    uint32_t *types;           /* per table column: the type's OID on the wire */
    pg_read_f **read;          /* per table column */
    struct relation *next;     /* hash chain */
};

struct catalog;
/* @param conn an SQL session, borrowed. */
struct catalog *catalog_open(PGconn *conn, const struct pg_options *options, const struct source_env *env);
void catalog_close(struct catalog *catalog); /* NULL is fine */

/* The relation as last taken in, or NULL. */
struct relation *catalog_find(struct catalog *catalog, uint32_t relid);
/* Blocks until the catalog shows what transaction `xid`, whose frames are being read, has committed: before
 * its first Relation frame is taken in. RETRY/SOURCE_UNREACHABLE. */
MUST_CHECK enum code catalog_see(struct catalog *catalog, uint32_t xid, struct err *err);
/* Takes in a Relation frame (blocks for some short queries). RETRY/SOURCE_UNREACHABLE; FATAL/PARTIAL_ROWS,
 * CONFIG. Rows that were changed without events are warned of, or noted: catalog_stale. */
MUST_CHECK enum code catalog_take(struct catalog *catalog, const struct pgoutput_relation *shape,
                                  struct relation **ret, struct err *err);
/* Remembers the name of a user's type (a Type frame), for when it is gone from the catalog. */
void catalog_name_type(struct catalog *catalog, uint32_t oid, struct slice schema, struct slice name);

/* What pgoutput would publish of a table now: its columns (`published` is a JSON array of names, or NULL =
 * all but generated ones) and identity. The strings live in the arena. *ret_found is false if there is no
 * such table. */
MUST_CHECK enum code catalog_shape(struct catalog *catalog, uint32_t relid, const char *published,
                                   struct arena *arena, struct pgoutput_relation *ret, bool *ret_found,
                                   struct err *err);

/* A new version of the table in which the column may be NULL. */
void catalog_make_nullable(struct catalog *catalog, struct relation *relation, int column);
/* A new version of the table in which an ENUM column has this label, too: the labels of today in their order,
 * and those that only the log knows behind them. Blocks for a short query. */
MUST_CHECK enum code catalog_add_label(struct catalog *catalog, struct relation *relation, int column,
                                       struct slice label, struct err *err);

/* What happened to tables whose rows changed without events, under silent_changes: stop; "" = nothing. */
const char *catalog_stale(const struct catalog *catalog);
/* Remembers how the selected tables look now, to see changes of rows that are not in the log. */
MUST_CHECK enum code catalog_begin(struct catalog *catalog, const struct pg_rels *rels, struct err *err);

/* Looks at all tables that were taken in, for a source without Relation frames: rows that were changed
 * without events are noted as in catalog_take. RETRY/SOURCE_UNREACHABLE. */
MUST_CHECK enum code catalog_watch(struct catalog *catalog, struct err *err);

/* Use another session from now on (the snapshot's and the stream's differ). */
void catalog_use(struct catalog *catalog, PGconn *conn);
/* Called before each question, to take the answer to another one that is still under way on the session. */
typedef enum code catalog_settle_f(void *arg, struct err *err);
void catalog_settle_by(struct catalog *catalog, catalog_settle_f *settle, void *arg);
