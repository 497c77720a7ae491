/* PostgreSQL's types mapped to kinds, and a reader for each kind.
 *
 * The mapping is Debezium's wherever that loses nothing; every other type travels as the exact text its
 * output function prints. Built-in types are known by their fixed oids (src/include/catalog/pg_type.dat),
 * extensions' by name. */
#include "capture/postgres/values.h"

#include <assert.h>

#include "capture/postgres/values_read.h"

enum pg_type_oid {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_OID = 26,
    OID_JSON = 114,
    OID_XML = 142,
    OID_POINT = 600,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_MONEY = 790,
    OID_DATE = 1082,
    OID_TIME = 1083,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_INTERVAL = 1186,
    OID_TIMETZ = 1266,
    OID_BIT = 1560,
    OID_NUMERIC = 1700,
    OID_UUID = 2950,
    OID_TSVECTOR = 3614,
    OID_JSONB = 3802,
};

/* money is an int64 of cents under lc_monetary C. */
enum { MONEY_PRECISION = 19, MONEY_SCALE = 2 };

/* numeric's typmod (src/backend/utils/adt/numeric.c, make_numeric_typmod): precision in the high half, scale
 * in the low 11 bits with sign (before 15: 16 bits, but never above 1000), all plus VARHDRSZ. */
static enum kind numeric_kind(const struct pg_type *type, const struct pg_type_policy *policy,
                              struct column *column) {
    if (type->typmod < 4 || policy->numeric != PG_NUMERIC_PRECISE)
        return KIND_TEXT;
    int packed = type->typmod - 4;
    int precision = (packed >> 16) & 0xffff;
    int scale = ((packed & 0x7ff) ^ 1024) - 1024;
    if (scale < 0 || scale > precision)
        return KIND_TEXT;
    column->precision = precision;
    column->scale = scale;
    return KIND_DECIMAL;
}

static enum kind bit_kind(const struct pg_type *type, struct column *column) {
    if (type->typmod == 1)
        return KIND_BOOL;
    if (type->typmod < 1)
        return KIND_TEXT;
    column->length = type->typmod;
    return KIND_BITS;
}

static enum kind money_kind(struct column *column) {
    column->precision = MONEY_PRECISION;
    column->scale = MONEY_SCALE;
    return KIND_DECIMAL;
}

static bool whole_ms(const struct pg_type *type) {
    return type->typmod >= 0 && type->typmod <= 3;
}

/* Types that have no fixed oid. */
static enum kind named_kind(const struct pg_type *type, struct column *column) {
    if (type->typtype == 'e' && type->labels) {
        column->labels = type->labels;
        return KIND_ENUM;
    }
    if (type->typtype == 'b' && strcmp(type->name, "hstore") == 0)
        return KIND_JSON;
    if (type->typtype == 'b' && strcmp(type->name, "ltree") == 0)
        return KIND_LTREE;
    return KIND_TEXT;
}

static enum kind kind_of(const struct pg_type *type, const struct pg_type_policy *policy,
                         struct column *column) {
    switch (type->oid) {
    case OID_BOOL:
        return KIND_BOOL;
    case OID_BYTEA:
        return KIND_BYTES;
    case OID_INT2:
        return KIND_INT16;
    case OID_INT4:
        return KIND_INT32;
    case OID_INT8:
    case OID_OID:
        return KIND_INT64;
    case OID_JSON:
    case OID_JSONB:
        return KIND_JSON;
    case OID_XML:
        return KIND_XML;
    case OID_POINT:
        return KIND_POINT;
    case OID_FLOAT4:
        return KIND_FLOAT32;
    case OID_FLOAT8:
        return KIND_FLOAT64;
    case OID_MONEY:
        return money_kind(column);
    case OID_NUMERIC:
        return numeric_kind(type, policy, column);
    case OID_DATE:
        return KIND_DATE;
    case OID_TIME:
        return whole_ms(type) ? KIND_TIME_MS : KIND_TIME;
    case OID_TIMESTAMP:
        return whole_ms(type) ? KIND_TIMESTAMP_MS : KIND_TIMESTAMP;
    case OID_TIMESTAMPTZ:
        return KIND_ZONED_TIMESTAMP;
    case OID_TIMETZ:
        return KIND_ZONED_TIME;
    case OID_INTERVAL:
        return KIND_INTERVAL;
    case OID_BIT:
        return bit_kind(type, column);
    case OID_UUID:
        return KIND_UUID;
    case OID_TSVECTOR:
        return KIND_TSVECTOR;
    default:
        return named_kind(type, column);
    }
}

void pg_column_kind(const struct pg_type *type, const struct pg_type_policy *policy, struct column *column) {
    column->type = type->text;
    column->length = -1;
    column->precision = column->scale = 0;
    column->labels = NULL;
    column->kind = kind_of(type, policy, column);
}

static pg_read_f *const readers[KIND_COUNT] = {
    [KIND_BOOL] = pg_read_bool,
    [KIND_INT16] = pg_read_int16,
    [KIND_INT32] = pg_read_int32,
    [KIND_INT64] = pg_read_int64,
    [KIND_FLOAT32] = pg_read_float32,
    [KIND_FLOAT64] = pg_read_float64,
    [KIND_DECIMAL] = pg_read_decimal,
    [KIND_TEXT] = pg_read_text,
    [KIND_JSON] = pg_read_text,
    [KIND_XML] = pg_read_text,
    [KIND_UUID] = pg_read_uuid,
    [KIND_ENUM] = pg_read_text,
    [KIND_LTREE] = pg_read_text,
    [KIND_TSVECTOR] = pg_read_text,
    [KIND_BYTES] = pg_read_bytes,
    [KIND_BITS] = pg_read_bits,
    [KIND_DATE] = pg_read_date,
    [KIND_TIME_MS] = pg_read_time_ms,
    [KIND_TIME] = pg_read_time,
    [KIND_TIMESTAMP_MS] = pg_read_timestamp_ms,
    [KIND_TIMESTAMP] = pg_read_timestamp,
    [KIND_ZONED_TIMESTAMP] = pg_read_zoned_timestamp,
    [KIND_ZONED_TIME] = pg_read_zoned_time,
    [KIND_INTERVAL] = pg_read_interval,
    [KIND_POINT] = pg_read_point,
};

/* Whether the last identifier of a type, as format_type() prints it, is `name` (which needs no quotes). */
static bool type_is(const char *type, const char *name) {
    size_t len = strlen(type), tail = strlen(name);
    if (len < tail || strcmp(type + len - tail, name) != 0)
        return false;
    return len == tail || type[len - tail - 1] == '.';
}

pg_read_f *pg_reader(const struct column *column) {
    assert((unsigned)column->kind < KIND_COUNT);
    if (column->kind == KIND_DECIMAL && strcmp(column->type, "money") == 0)
        return pg_read_money;
    if (column->kind == KIND_JSON && type_is(column->type, "hstore"))
        return pg_read_hstore;
    return readers[column->kind];
}
