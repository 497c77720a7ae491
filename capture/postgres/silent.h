/* Rows can change without any event in the log: ADD COLUMN with a volatile default, ALTER COLUMN TYPE ...
 * USING, SET LOGGED on a filled unlogged table, ALTER TYPE ... RENAME VALUE. What gives the first three away
 * is the catalog: the table's file is another one, and so is the row of pg_attribute, although nothing that
 * can be seen in it has changed. A table is looked at when capture opens and with every Relation frame, which
 * the server sends with the first change after such a command. (VACUUM FULL, CLUSTER and TRUNCATE change the
 * file alone.) */
#pragma once

#include "capture/postgres/connect.h"
#include "capture/postgres/tables.h"

enum silent_change {
    SILENT_NONE,
    SILENT_PERHAPS, /* a column got another type and was rewritten: the same values unless USING said
                       otherwise */
    SILENT_CERTAIN, /* rows from before differ in the replica */
};

struct silent;
struct silent *silent_open(const struct source_env *env);
void silent_close(struct silent *silent); /* NULL is fine */

/* Looks at all selected tables. RETRY/SOURCE_UNREACHABLE. */
MUST_CHECK enum code silent_begin(struct silent *silent, PGconn *conn, const struct pg_rels *rels,
                                  struct err *err);
/* Looks at one table: *ret_change and what happened (a static sentence) since it was last looked at; then
 * that is forgotten. */
MUST_CHECK enum code silent_look(struct silent *silent, PGconn *conn, uint32_t relid,
                                 enum silent_change *ret_change, const char **ret_what, struct err *err);
