/* The publication: made if missing, completed if it is ours, otherwise judged. */
#pragma once

#include "capture/postgres/tables.h"

struct pg_publication {
    char name[PG_NAME_MAX];
    uint32_t oid;
    bool found, owned, all_tables, via_root;
    bool complete; /* publishes insert, update, delete and truncate */
};

MUST_CHECK enum code publication_read(PGconn *conn, const struct source_env *env, const char *name,
                                      struct pg_publication *ret, struct err *err);
/* Is it still the one that the stored position was read through (`known`: its OID then, 0 = not known)? Made
 * anew, or gone, it cannot tell what happened in between: PostgreSQL 14 to 17 refuse, 18 passes over it. OK
 * or FATAL/NEEDS_RESNAPSHOT. */
MUST_CHECK enum code publication_check(const struct pg_publication *publication, uint32_t known,
                                       uint64_t flushed, struct err *err);
/* Selected tables that the publication lacks: fills `ret` with names and ALTER PUBLICATION. */
void publication_lacks(const struct pg_options *options, const struct pg_rels *rels, const char *name,
                       struct table_trouble *ret);
/* The statement that makes it. */
void publication_put_create(struct buf *sql, const struct pg_options *options, const struct pg_rels *rels,
                            const char *name);
/* Makes or completes it. *ret_added: tables were added to one that was there. FATAL/SOURCE_TABLE,
 * SOURCE_REFUSED with SQL. */
MUST_CHECK enum code publication_ensure(PGconn *conn, const struct pg_options *options,
                                        const struct source_env *env, const char *name,
                                        const struct pg_rels *rels, bool *ret_added, struct err *err);
