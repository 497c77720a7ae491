/* The SQL of an installation: one schema with the change table, the registry of tables and shapes, and a
 * capture function per captured table.
 *
 * The function is no trigger function: it stands in the WHEN condition of the triggers, which the server
 * works out "just after the row update occurs" (manual, CREATE TRIGGER), not at the statement's end, where a
 * trigger would fire. So the ids are in the true order of changes even if triggers of the application change
 * rows that their own statement has changed, too; no event is queued; and nothing can run in between.
 *
 * A row of the change table is read by its shape: the list of columns its text was made of. The function asks
 * for the shape in the very statement that writes the row, through a function that is declared IMMUTABLE and
 * is therefore worked out when the statement is planned; the statement names the table, so that the server
 * plans it anew whenever the table's definition changes, also in the middle of a transaction. So the shape
 * costs nothing per row and is always the row's own. */
#pragma once

#include "capture/postgres/tables.h"
#include "capture/trigger/postgres/options.h"

enum { PGTRIGGER_FORMAT = 1 };
#define PGTRIGGER_NAMES "'millrace_c', 'millrace_u', 'millrace_d', 'millrace_t'"

/* The whole script; `rels` as rels_read told them; `dropped`: registered tables (OIDs) that are selected no
 * more. */
void install_put(const struct pgtrigger_options *options, const struct pg_rels *rels, const uint32_t *dropped,
                 int n_dropped, struct buf *sql);
/* The script that removes everything; `registered`: all tables with triggers. */
void uninstall_put(const struct pgtrigger_options *options, const struct pg_rels *rels,
                   const uint32_t *registered, int n_registered, struct buf *sql);
/* A table gets triggers: selected, permanent, and no partition of a selected table. */
bool install_takes(const struct pg_rel *rel);
