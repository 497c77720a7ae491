/* Whose pipeline it is while a snapshot is taken.
 *
 * Afterwards the slot tells: the server calls it active while a session reads from it. During the snapshot
 * nobody does, and two that are started together would fence each other out of the journal for ever. So
 * whoever takes a snapshot holds an advisory lock of the source's database until the slot is read from.
 * (PostgreSQL manual, "Advisory Locks") */
#pragma once

#include "capture/postgres/connect.h"

/* Takes the lock of `slot` for this session. Blocks at most 10 s. RETRY/SLOT_ACTIVE: another session has it;
 * as pgsource_query. */
MUST_CHECK enum code claim_take(PGconn *sql, const struct source_env *env, const char *slot, struct err *err);
/* Gives it back; a session that is lost has given it back. */
void claim_leave(PGconn *sql, const struct source_env *env);
