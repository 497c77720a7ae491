/* What a change is: the one type that sources make, the journal carries as Avro, and targets apply. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "schemas/position.h"

/* ---- values ---- */

enum value_tag {
    VALUE_ABSENT, /* the source did not send it (unchanged TOAST, or a column outside the replica identity in
                     `before`): never written */
    VALUE_NULL,
    VALUE_INT,   /* .i  */
    VALUE_FLOAT, /* .d  */
    VALUE_TEXT,  /* .s  UTF-8, no NUL inside */
    VALUE_BYTES, /* .s  */
    VALUE_POINT, /* .xy */
};

struct value {
    enum value_tag tag;
    union {
        int64_t i;
        double d;
        struct slice s; /* borrowed: lives as long as the change (or the arena) that holds the value */
        double xy[2];
    };
};

/* The column's kind fixes the value's tag, its meaning and its Avro form. One row per kind:
 *   id, tag, Avro primitive, connect.name (or NULL), meaning of the value.
 * Forms are Debezium's wherever those are lossless; where they are not, the kind is TEXT with the source's
 * exact text. */
#define KIND_TABLE(X)                                                                                        \
    X(BOOL, INT, "boolean", NULL, "0 or 1")                                                                  \
    X(INT16, INT, "int", NULL, "connect.type int16")                                                         \
    X(INT32, INT, "int", NULL, "")                                                                           \
    X(INT64, INT, "long", NULL, "")                                                                          \
    X(FLOAT32, FLOAT, "float", NULL, "a float widened to double; NaN, infinities and -0 kept")               \
    X(FLOAT64, FLOAT, "double", NULL, "NaN, infinities and -0 kept")                                         \
    X(DECIMAL, TEXT, "bytes", "org.apache.kafka.connect.data.Decimal",                                       \
      "decimal text with exactly `scale` digits after the point; unscaled two's complement on the wire")     \
    X(TEXT, TEXT, "string", NULL, "text, or the exact text form of a type that has no better kind")          \
    X(JSON, TEXT, "string", "io.debezium.data.Json", "JSON text as the source printed it")                   \
    X(XML, TEXT, "string", "io.debezium.data.Xml", "")                                                       \
    X(UUID, TEXT, "string", "io.debezium.data.Uuid", "lower case with hyphens")                              \
    X(ENUM, TEXT, "string", "io.debezium.data.Enum", "the label; parameter `allowed` lists the labels")      \
    X(LTREE, TEXT, "string", "io.debezium.data.Ltree", "")                                                   \
    X(TSVECTOR, TEXT, "string", "io.debezium.data.Tsvector", "")                                             \
    X(BYTES, BYTES, "bytes", NULL, "")                                                                       \
    X(BITS, TEXT, "bytes", "io.debezium.data.Bits",                                                          \
      "`length` characters 0 and 1, first bit first; little-endian bytes on the wire: bit i of the number "  \
      "(last character = bit 0) in byte i/8")                                                                \
    X(DATE, INT, "int", "io.debezium.time.Date",                                                             \
      "days since 1970-01-01; infinities are DATE_INFINITY, DATE_MINUS_INFINITY")                            \
    X(TIME_MS, INT, "int", "io.debezium.time.Time",                                                          \
      "value in MICROseconds of the day, whole milliseconds; milliseconds on the wire")                      \
    X(TIME, INT, "long", "io.debezium.time.MicroTime", "microseconds of the day, 24:00:00 = 86400000000")    \
    X(TIMESTAMP_MS, INT, "long", "io.debezium.time.Timestamp",                                               \
      "value in MICROseconds since 1970, whole milliseconds, infinities as below; milliseconds on the wire " \
      "(infinities unscaled)")                                                                               \
    X(TIMESTAMP, INT, "long", "io.debezium.time.MicroTimestamp",                                             \
      "microseconds since 1970, wall clock read as UTC; infinities are TIMESTAMP_INFINITY, "                 \
      "TIMESTAMP_MINUS_INFINITY")                                                                            \
    X(ZONED_TIMESTAMP, TEXT, "string", "io.debezium.time.ZonedTimestamp",                                    \
      "ISO 8601 in UTC, 2024-01-02T03:04:05.123456Z; years before 1 as -0043 (44 BC), above 9999 as "        \
      "+12345; infinity, -infinity")                                                                         \
    X(ZONED_TIME, TEXT, "string", "io.debezium.time.ZonedTime",                                              \
      "ISO 8601 with its own offset, 03:04:05.5+05:30")                                                      \
    X(INTERVAL, TEXT, "string", "io.debezium.time.Interval",                                                 \
      "ISO 8601 duration, each field with its own sign")                                                     \
    X(POINT, POINT, "record", "io.debezium.data.geometry.Point", "record x, y double; wkb, srid null")

enum kind {
#define X(id, tag, avro, connect_name, text) KIND_##id,
    KIND_TABLE(X)
#undef X
        KIND_COUNT
};

#define DATE_INFINITY            INT64_C(-2147472692)
#define DATE_MINUS_INFINITY      INT64_C(-2147472691)
#define TIMESTAMP_INFINITY       INT64_C(9223372036825200000)
#define TIMESTAMP_MINUS_INFINITY INT64_C(-9223372036832400000)

enum value_tag kind_tag(enum kind kind);
const char *kind_name(enum kind kind); /* "DECIMAL" */

/* ---- tables ---- */

struct column {
    const char *name;
    const char *type; /* the source's exact type as its SQL prints it: "numeric(12,2)", "shop.mood",
                         "integer[]"; domains resolved to their base type */
    enum kind kind;
    int length;                /* BITS: number of bits; otherwise -1 */
    int precision, scale;      /* DECIMAL */
    bool nullable;             /* may be NULL on the wire */
    int key;                   /* 0 = not in the key, otherwise its place 1..n_key */
    const char *const *labels; /* ENUM: the labels in order, NULL-terminated */
    const char *missing; /* what rows from before the column have (ADD COLUMN ... DEFAULT), as the source's
                            text; NULL: NULL */
};

/* A type of the source's users that a replica must have before the table can be created. */
enum user_type_kind { USER_TYPE_ENUM, USER_TYPE_COMPOSITE, USER_TYPE_EXTENSION };
struct user_type {
    enum user_type_kind kind;
    const char *schema, *name;      /* EXTENSION: name of the extension, schema NULL */
    const char *const *labels;      /* ENUM: labels; COMPOSITE: attribute names; NULL-terminated */
    const char *const *label_types; /* COMPOSITE: attribute types; NULL-terminated */
};

/* One version of a table's shape. Immutable; its address is its identity while whoever made it lives. Two
 * tables with the same digest are the same version. */
struct table {
    const char *schema, *name;
    struct column *columns;
    int n_columns; /* 0 .. 1600 */
    int *key;      /* column indexes in key order */
    int n_key;     /* 0 = no key: one partition, never compacted, rows matched by all their columns */
    bool partial;  /* updates may carry ABSENT values: the topic keeps its whole history instead of being
                      compacted */
    struct user_type *types; /* in an order in which they can be created */
    int n_types;
    uint64_t digest;      /* table_digest: of everything else here */
    uint64_t incarnation; /* of the table at the source: another one means dropped and made anew, the same
                             under another name means renamed; 0 = not known */
};

uint64_t table_digest(const struct table *table); /* FNV-1a of a canonical form; computed once by the maker */
struct table *table_copy(const struct table *table, struct arena *arena);       /* deep copy */
const struct column *table_column(const struct table *table, const char *name); /* NULL if not there */

/* ---- changes ---- */

enum op {
    OP_READ = 'r',
    OP_CREATE = 'c',
    OP_UPDATE = 'u',
    OP_DELETE = 'd',
    OP_TRUNCATE = 't', /* all rows of the table go; a snapshot begins with one per table */
};

struct change {
    enum op op;
    const struct table *table; /* borrowed from the source (or the decoder) */
    struct position position;
    const struct value
        *before; /* n_columns values; NULL if none. `u`: only where the source knows the old row. `d`: at
                    least the key (or, without a key, the whole row); the rest ABSENT */
    const struct value *after; /* n_columns values; NULL for `d`, `t` */
    /* A key change is two changes with successive ordinals: `d` of the old key (moved), then `c` of the new
     * one. */
    const struct value *other; /* n_columns values of which only the key counts: on such a `d` the new key, on
                                  such a `c` the old key; otherwise NULL */
    bool moved_partial; /* on both of the pair: `after` of the `c` has ABSENT columns, so a sink must ignore
                           the `d` and let the `c` move the row */
    bool remnant;  /* `d` read from a tombstone: its delete may have been applied, or compacted away with the
                      row */
    bool snapshot; /* part of a snapshot (`r`, and the `t` before it) */
    bool restart_identity; /* `t` with RESTART IDENTITY */
    int64_t commit_us;     /* commit time at the source, microseconds since 1970; snapshot: its start */
    uint64_t lsn, xid;     /* as the source tells them; for people and for the envelope's source block */
};

/* True if every value of the row is present. */
static inline bool row_full(const struct value *row, int n) {
    for (int i = 0; i < n; i++)
        if (row[i].tag == VALUE_ABSENT)
            return false;
    return true;
}
