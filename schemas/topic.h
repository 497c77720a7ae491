/* The topic of a table: <prefix>.<schema>.<table>, as Debezium names it. */
#pragma once

#include "schemas/change.h"

enum { TOPIC_NAME_MAX = 249 };

/* Characters outside [A-Za-z0-9_-] in a schema or table name become '_' and a hash of the exact names is
 * added, so that two tables never share a topic. Names of plain characters stay as they are. */
void topic_name(const char *prefix, const struct table *table, struct buf *out);
