/* A commit is in the log before anybody sees it.
 *
 *   commit record flushed      (synchronous standbys have it)      out of the list of running transactions
 *   ---------|-------------------------------------------------------------------|---------------------> time
 *            the stream may send it from here on              others' snapshots show it from here on
 *
 * Who asks the catalog about a table as soon as the stream has told of it may be shown the table as it was
 * before. (access/transam/xact.c: RecordTransactionCommit, then ProcArrayEndTransaction) */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "capture/postgres/connect.h"

/* Whether a snapshot as pg_current_snapshot() prints it ("xmin:xmax:running,running") shows what `xid` did,
 * which is known to be committed, or about to be. False for a text that is no snapshot. */
bool visible_in(const char *snapshot, uint32_t xid);
/* Blocks until `xid` is visible on the session. RETRY/SOURCE_UNREACHABLE after 10 s: a synchronous standby
 * that the source waits for is away; or asked to stop. */
MUST_CHECK enum code visible_wait(PGconn *conn, const struct source_env *env, uint32_t xid, struct err *err);
