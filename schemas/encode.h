/* A change as bytes: Confluent framing (0x00, schema id big-endian, Avro binary), Debezium envelope, written
 * directly. The hot path: no allocation per change; the only copy is from the source's buffer into the
 * output. */
#pragma once

#include "schemas/change.h"
#include "schemas/store.h"

struct encoder; /* one per (table version, topic) */

struct encoder_identity { /* constant parts of the envelope's source block; borrowed for the encoder's life */
    const char *connector; /* "postgresql" */
    const char *name;      /* topic prefix */
    const char *database;
};

/* Makes the schemas, registers "<topic>-value" and, if the table has a key, "<topic>-key" and
 * "millrace.TruncateKey" (one subject for all topics: under "<topic>-key" it would break that subject's
 * compatibility). Blocks as schema_put does; returns its errors. `table` is copied. */
MUST_CHECK enum code encoder_new(const struct table *table, const char *topic,
                                 const struct encoder_identity *identity, struct schema_store *store,
                                 struct encoder **ret, struct err *err);
void encoder_free(struct encoder *encoder);
const struct table *encoder_table(const struct encoder *encoder); /* the copy */

/* The record of one change, appended to the two bufs (cleared first by the caller).
 *   key:   framed key; empty for a table without key (null key); for `t` on a keyed table the TruncateKey
 *   value: framed envelope
 * A NULL in a column that is not nullable, and a value that its kind cannot hold, return
 * REJECT/VALUE_NOT_CARRIED with *ret_column = its index (the text names table, key, column, reason). now_us:
 * wall clock for ts_ms. */
MUST_CHECK enum code encoder_change(struct encoder *encoder, const struct change *change, int64_t now_us,
                                    struct buf *key, struct buf *value, int *ret_column, struct err *err);
/* Framed key of a row (for tombstones, the __debezium.oldkey/newkey headers). Same errors. */
MUST_CHECK enum code encoder_key(struct encoder *encoder, const struct value *row, struct buf *key,
                                 int *ret_column, struct err *err);

/* Canonical 64-bit hash of the key (FNV-1a and fmix64; specified in key_hash.c): equal SQL keys hash equally
 * where their text differs (numeric 1.0 and 1.00, float -0 and 0). 0 for tables without key. */
uint64_t key_hash(const struct table *table, const struct value *row);

/* ---- the "millrace" record header: what the envelope cannot say ---- */
#define HEADER_NAME "millrace"
enum {
    HEADER_SNAPSHOT = 1,
    HEADER_MOVED_PARTIAL = 2,
    HEADER_RESTART_IDENTITY = 4,
    HEADER_HAS_OTHER = 8,
    HEADER_TOMBSTONE = 16
};
enum {
    HEADER_VERSION = 2,
    HEADER_SHAPE = 26 /* the digest's place */,
    HEADER_FIXED = 30 /* bytes before the bitmap */
};
#define HEADER_BYTES_MAX 240 /* HEADER_FIXED + 1600/8 rounded up */
/* Its layout, numbers big-endian:
 *
 *   1 byte     version
 *   1          flags
 *   3 * 8      generation, commit, ordinal
 *   4          low bytes of the table's digest: a store that lost its schemas and gives their ids to others
 * is found out the rest   bitmap of ABSENT columns of `after` (byte i/8, bit i%8; trailing zero bytes
 * omitted)
 *
 * Returns the length written to out[HEADER_BYTES_MAX]. */
size_t header_write(const struct change *change, char *out);
/* The header of the tombstone after a delete: the delete's own position, flag HEADER_TOMBSTONE, and instead
 * of the bitmap the schema id (4 bytes, big-endian) of the delete's framed value. Compaction keeps the
 * tombstone when the delete is gone: it must say by itself what is deleted. */
size_t header_write_tombstone(const struct change *change, struct slice framed_value, char *out);
