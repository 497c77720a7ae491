/* Making the replica's table fit a version of the source's: create, add, widen, as the policy allows. */
#pragma once

#include "sink/postgres/shape.h"

/* CREATE SCHEMA (committed at once, like types) and CREATE TABLE (in the open transaction) with the source's
 * exact types. REJECT/TARGET_TABLE with the SQL that mends it, if create_tables is off or a type cannot be
 * had. */
/* Creates the schema if it is not there; committed at once. */
MUST_CHECK enum code fit_schema(struct session *s, const char *schema, struct err *err);
MUST_CHECK enum code fit_create(struct session *s, const struct table *table, struct err *err);

/* Compares and alters in the open transaction. *changed: the shape must be read again.
 * REJECT/TARGET_TABLE with the SQL that mends it. */
MUST_CHECK enum code fit_alter(struct session *s, const struct table *table, const struct shape *shape,
                               bool *changed, struct err *err);

/* All names of the table can be identifiers of PostgreSQL. REJECT/TARGET_TABLE. */
MUST_CHECK enum code fit_names(struct session *s, const struct table *table, struct err *err);
