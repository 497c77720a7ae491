/* A table's Avro schemas as text, and back. Names, namespaces, field order and annotations are Debezium's
 * (envelope of 3.5 and later); attributes of ours begin with "millrace." and carry what a replica needs:
 * exact types, keys, user types. */
#pragma once

#include "schemas/change.h"

/* Appends the value (envelope) and the key schema of `table` for topic `topic` as compact JSON. Record names
 * that Avro forbids are adjusted like Debezium's `avro` mode (each illegal character becomes '_', a leading
 * digit gets '_' before); the exact names stand in "millrace.name" / "millrace.table". If two columns collide
 * after adjustment the later ones get a numbered suffix. Field "millrace.type" = column.type, "millrace.key"
 * = place in the key (1-based). */
void avro_schema_value(const struct table *table, const char *topic, struct buf *out);
void avro_schema_key(const struct table *table, const char *topic, struct buf *out);
/* Key schema of a truncate in a compacted topic: record millrace.TruncateKey { table: string }. */
void avro_schema_truncate_key(struct buf *out);

/* "plain" Avro name of any text (see above), into buf. */
void avro_name(const char *text, struct buf *out);

/* Removes "connect.*", "millrace.*", "default" and logicalType attributes, so that Avro C can parse it. For
 * tests and for the decoder's validation. FATAL/JOURNAL_CORRUPT if it is not JSON, nested deeper than 32 or
 * larger than 4 MB. */
MUST_CHECK enum code avro_schema_strip(struct slice json, struct buf *out, struct err *err);
