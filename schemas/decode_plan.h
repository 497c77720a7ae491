/* A schema's JSON compiled into what decoding needs: a tree of shapes (enough to skip any Avro value) and,
 * for envelopes and keys, flat lists of fields resolved by name. Debezium's field names and annotations;
 * attributes of ours begin with "millrace.". Limits: 4 MB of JSON, nesting 32, 4096 named types, 1600
 * columns. */
#pragma once

#include "base/arena.h"
#include "schemas/change.h"

enum shape_type {
    SHAPE_NULL,
    SHAPE_BOOLEAN,
    SHAPE_INT,
    SHAPE_LONG,
    SHAPE_FLOAT,
    SHAPE_DOUBLE,
    SHAPE_BYTES,
    SHAPE_STRING,
    SHAPE_RECORD,
    SHAPE_ENUM,
    SHAPE_ARRAY,
    SHAPE_MAP,
    SHAPE_UNION,
    SHAPE_FIXED,
};

/* Any Avro type. Named types may refer to themselves, so the tree may have circles: whoever walks it bounds
 * its depth. */
struct shape {
    enum shape_type type;
    int n;                      /* RECORD: fields; UNION: branches; ENUM: symbols; FIXED: bytes */
    const struct shape **items; /* RECORD: of each field; UNION: branches; ARRAY, MAP: one */
    const char **names;         /* RECORD: field names */
};

/* How one column (or key field) stands on the wire. */
struct plan_column {
    enum kind kind;
    int null_at;               /* -1 = not a union, otherwise null's branch, 0 or 1 */
    int length, scale;         /* BITS, DECIMAL */
    const struct shape *shape; /* with the union, for skipping */
    const struct shape *value; /* without the union */
};

/* What an envelope's or a source block's field is to us. */
enum slot {
    SLOT_SKIP,
    SLOT_BEFORE,
    SLOT_AFTER,
    SLOT_SOURCE,
    SLOT_OP,
    SLOT_TS_US,
    SLOT_TS_MS,
    SLOT_XID,
    SLOT_LSN
};
struct plan_field {
    enum slot slot;
    int null_at;               /* as in plan_column; -1 too for any other union, which then is `value` */
    const struct shape *value; /* without the union */
};
struct plan_fields {
    struct plan_field *fields;
    int n;
};

/* The plan of one schema id; lives in its own arena. */
struct plan {
    struct arena arena;
    const char *refused;         /* not NULL: why this schema cannot be used; nothing else is set */
    struct plan_fields envelope; /* of an envelope */
    struct plan_fields source;
    struct table *table;         /* of an envelope: rebuilt from the row record "Value" */
    struct plan_column *columns; /* one per column of the row, or per field of the key */
    int n_columns;
};

enum { PLAN_DEPTH_MAX = 32, PLAN_JSON_BYTES_MAX = 4 << 20, PLAN_COLUMNS_MAX = 1600 };

/* Compile the schema text of an envelope, or of a key. Never fails: what cannot be used is said in `refused`
 * (ids are immutable, so the answer is worth keeping). The caller frees. */
struct plan *plan_envelope(struct slice json);
struct plan *plan_key(struct slice json);
void plan_free(struct plan *plan);
