/* Types of the source's users (enums, composites, extensions) that a replica must have before its tables. */
#pragma once

#include "schemas/change.h"
#include "sink/postgres/session.h"

/* Makes what is missing, and adds missing enum labels, on a connection of its own and committed before it
 * returns: a label added in a transaction cannot be used by it. `create`: missing types are created,
 * otherwise passed over (the replica's columns may have other types). `policy` (enum schema_change) is about
 * labels that an enum lacks. REJECT/TARGET_TABLE with the SQL that mends it. */
MUST_CHECK enum code user_types_ensure(struct session *s, const struct table *table, bool create, int policy,
                                       struct err *err);

/* Checks a type name from the journal: in the grammar of type_name.h, known to the replica, and printed back
 * the same. REJECT/TARGET_TABLE. */
MUST_CHECK enum code user_types_resolve(struct session *s, const char *type, struct err *err);
