/* Bytes back to a change. No length from outside is believed: each is checked against the bytes that are left
 * before it is used, nesting and counts are bounded, and nothing is allocated from a length that was read. */
#pragma once

#include "schemas/change.h"
#include "schemas/store.h"

struct decoder;                                          /* knows every schema it has seen; one per crank */
struct decoder *decoder_new(struct schema_store *store); /* store is borrowed */
void decoder_free(struct decoder *decoder);

struct encoded { /* one record as the journal gives it; a NULL data pointer is a null key or value */
    struct slice key, value, header; /* header: the bytes of the "millrace" header */
    struct slice other_key; /* value of __debezium.oldkey / newkey as framed Avro key; empty if none */
};

/* Fills `ret`; values borrow from the record and from `arena`. `ret->table` lives as long as the decoder.
 * Columns the header marks absent, and columns of a `before` outside the replica identity, come back ABSENT.
 * A tombstone (null value) comes back as the delete before it, with `remnant` set; one without our header
 * returns AGAIN. REJECT/JOURNAL_CORRUPT: bad magic, truncated, impossible length, trailing bytes.
 * REJECT/SCHEMA_UNKNOWN: the store does not have the schema, or another one under its id. RETRY as
 * schema_get. */
MUST_CHECK enum code decoder_change(struct decoder *decoder, const struct encoded *record,
                                    struct arena *arena, struct change *ret, struct err *err);
/* Only the position and flags, from the header. REJECT/JOURNAL_CORRUPT. */
MUST_CHECK enum code header_read(struct slice header, struct position *ret, uint8_t *ret_flags,
                                 struct err *err);
