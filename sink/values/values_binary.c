/* Values in the binary form of PostgreSQL's types, where it is simple and exact: quicker to read for the
 * server than text.
 *
 * Protocol: the typreceive functions of PostgreSQL 14 to 18 (int8recv, numeric_recv, timestamptz_recv, ...).
 * What they check, they check here, too: ranges, typmods, encoding. */
#include <assert.h>
#include <endian.h>
#include <math.h>

#include "sink/values/values_print.h"

/* Rows of pg_type.dat; these numbers are part of the protocol. */
enum {
    OID_BOOL = 16,
    OID_BYTEA = 17,
    OID_INT8 = 20,
    OID_INT2 = 21,
    OID_INT4 = 23,
    OID_TEXT = 25,
    OID_JSON = 114,
    OID_FLOAT4 = 700,
    OID_FLOAT8 = 701,
    OID_BPCHAR = 1042,
    OID_VARCHAR = 1043,
    OID_DATE = 1082,
    OID_TIME = 1083,
    OID_TIMESTAMP = 1114,
    OID_TIMESTAMPTZ = 1184,
    OID_NUMERIC = 1700,
    OID_UUID = 2950,
    OID_JSONB = 3802,
};

static void put_u16(struct buf *out, uint16_t n) {
    n = htobe16(n);
    buf_put(out, &n, sizeof n);
}

static void put_u32(struct buf *out, uint32_t n) {
    n = htobe32(n);
    buf_put(out, &n, sizeof n);
}

static void put_u64(struct buf *out, uint64_t n) {
    n = htobe64(n);
    buf_put(out, &n, sizeof n);
}

/* ---- numbers ---- */

static const char *binary_bool(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    buf_putc(out, value->i != 0);
    return NULL;
}

static const char *binary_int2(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    if (value->i < INT16_MIN || value->i > INT16_MAX)
        return "out of range for smallint";
    put_u16(out, (uint16_t)value->i);
    return NULL;
}

static const char *binary_int4(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    if (value->i < INT32_MIN || value->i > INT32_MAX)
        return "out of range for integer";
    put_u32(out, (uint32_t)value->i);
    return NULL;
}

static const char *binary_int8(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    put_u64(out, (uint64_t)value->i);
    return NULL;
}

static const char *binary_float4(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    float x = isnan(value->d) ? NAN : (float)value->d;
    if ((double)x != value->d && !isnan(x))
        return "not a float of 32 bits";
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_u32(out, bits);
    return NULL;
}

static const char *binary_float8(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    double x = isnan(value->d) ? (double)NAN : value->d;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_u64(out, bits);
    return NULL;
}

/* numeric: digits of base 10000, the first of them times 10000^weight. Zeros at either end are the server's
 * to drop. */
enum {
    NUMERIC_NEGATIVE = 0x4000,
    NUMERIC_NAN = 0xC000,
    NUMERIC_INFINITY = 0xD000,
    NUMERIC_MINUS_INFINITY = 0xF000
};
enum { NUMERIC_GROUPS_MAX = 3000 }; /* the server takes no more */

static const char *put_special(struct slice text, struct buf *out) {
    uint16_t sign;
    if (slice_is(text, "NaN"))
        sign = NUMERIC_NAN;
    else if (slice_is(text, "Infinity"))
        sign = NUMERIC_INFINITY;
    else if (slice_is(text, "-Infinity"))
        sign = NUMERIC_MINUS_INFINITY;
    else
        return "not a decimal number";
    put_u16(out, 0), put_u16(out, 0), put_u16(out, sign), put_u16(out, 0);
    return NULL;
}

static size_t count_digits(const char *p, const char *end) {
    const char *start = p;
    while (p < end && (unsigned char)(*p - '0') < 10)
        p++;
    return (size_t)(p - start);
}

static const char *binary_numeric(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    const char *p = value->s.data, *end = p + value->s.len;
    bool negative = p < end && *p == '-';
    p += negative;
    size_t whole = count_digits(p, end);
    const char *fraction = p + whole < end && p[whole] == '.' ? p + whole + 1 : p + whole;
    size_t scale = count_digits(fraction, end);
    if (fraction + scale != end || whole + scale == 0)
        return put_special(value->s, out);
    size_t groups_whole = (whole + 3) / 4, groups = groups_whole + (scale + 3) / 4;
    if (groups > NUMERIC_GROUPS_MAX)
        return "a number of more digits than its type has";
    put_u16(out, (uint16_t)groups);
    put_u16(out, (uint16_t)((int)groups_whole - 1));
    put_u16(out, negative ? NUMERIC_NEGATIVE : 0);
    put_u16(out, (uint16_t)scale);
    size_t first = whole % 4 ? whole % 4 : 4; /* digits in the first group */
    for (size_t at = 0; at < whole; at = at ? at + 4 : first) {
        uint16_t group = 0;
        for (size_t i = at; i < (at ? at + 4 : first); i++)
            group = (uint16_t)(group * 10 + (p[i] - '0'));
        put_u16(out, group);
    }
    for (size_t at = 0; at < scale; at += 4) {
        uint16_t group = 0;
        for (size_t i = at; i < at + 4; i++)
            group = (uint16_t)(group * 10 + (i < scale ? fraction[i] - '0' : 0));
        put_u16(out, group);
    }
    return NULL;
}

/* ---- text, bytes ---- */

static const char *binary_bytes(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    buf_put_slice(out, value->s);
    return NULL;
}

static const char *binary_jsonb(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    buf_putc(out, 1); /* version */
    buf_put_slice(out, value->s);
    return NULL;
}

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Lower case with hyphens, as the kind says. */
static const char *binary_uuid(const struct column *column, const struct value *value, struct buf *out) {
    enum { TEXT_LEN = 36, LEN = 16 };
    (void)column;
    unsigned char bytes[LEN];
    const char *p = value->s.data;
    bool good = value->s.len == TEXT_LEN;
    for (size_t i = 0; i < LEN && good; i++, p += 2) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            good = *p++ == '-';
        int high = hex_digit(p[0]), low = hex_digit(p[1]);
        good = good && high >= 0 && low >= 0;
        bytes[i] = (unsigned char)(good ? high * 16 + low : 0);
    }
    if (!good)
        return "not a UUID";
    buf_put(out, bytes, LEN);
    return NULL;
}

/* ---- dates and times: since 2000-01-01 ---- */

static const char *binary_date(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    if (value->i == DATE_INFINITY || value->i == DATE_MINUS_INFINITY) {
        put_u32(out, (uint32_t)(value->i == DATE_INFINITY ? INT32_MAX : INT32_MIN));
        return NULL;
    }
    if (value->i < DATE_MIN || value->i > DATE_MAX)
        return "a date that PostgreSQL does not have";
    put_u32(out, (uint32_t)(value->i - EPOCH_DAYS));
    return NULL;
}

static const char *binary_time(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    if (value->i < 0 || value->i > DAY_US)
        return "not a time of day";
    put_u64(out, (uint64_t)value->i);
    return NULL;
}

static void put_end_of_time(struct buf *out, bool future) {
    put_u64(out, (uint64_t)(future ? INT64_MAX : INT64_MIN));
}

static const char *binary_timestamp(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    if (value->i == TIMESTAMP_INFINITY || value->i == TIMESTAMP_MINUS_INFINITY) {
        put_end_of_time(out, value->i == TIMESTAMP_INFINITY);
        return NULL;
    }
    if (value->i < TIMESTAMP_MIN)
        return "a timestamp that PostgreSQL does not have";
    put_u64(out, (uint64_t)(value->i - EPOCH_US));
    return NULL;
}

static const char *binary_timestamptz(const struct column *column, const struct value *value,
                                      struct buf *out) {
    (void)column;
    if (slice_is(value->s, "infinity") || slice_is(value->s, "-infinity")) {
        put_end_of_time(out, value->s.data[0] == 'i');
        return NULL;
    }
    int64_t us;
    const char *reason = pg_zoned_timestamp_us(value->s, &us);
    if (!reason)
        put_u64(out, (uint64_t)us);
    return reason;
}

/* ---- which ---- */

/* Kinds whose text is what the replica's text types store. */
static pg_binary_f *text_form(const struct column *column) {
    switch (column->kind) {
    case KIND_DECIMAL:
    case KIND_TEXT:
    case KIND_JSON:
    case KIND_XML:
    case KIND_UUID:
    case KIND_ENUM:
    case KIND_LTREE:
    case KIND_TSVECTOR:
    case KIND_BITS:
    case KIND_ZONED_TIME:
    case KIND_INTERVAL:
        return binary_bytes;
    default:
        return NULL;
    }
}

static pg_binary_f *int_form(enum kind kind, pg_binary_f *form) {
    return kind == KIND_INT16 || kind == KIND_INT32 || kind == KIND_INT64 ? form : NULL;
}

pg_binary_f *pg_binary(const struct column *column, uint32_t type) {
    enum kind kind = column->kind;
    switch (type) {
    case OID_BOOL:
        return kind == KIND_BOOL ? binary_bool : NULL;
    case OID_BYTEA:
        return kind == KIND_BYTES ? binary_bytes : NULL;
    case OID_INT2:
        return int_form(kind, binary_int2);
    case OID_INT4:
        return int_form(kind, binary_int4);
    case OID_INT8:
        return int_form(kind, binary_int8);
    case OID_FLOAT4:
        return kind == KIND_FLOAT32 ? binary_float4 : NULL;
    case OID_FLOAT8:
        return kind == KIND_FLOAT32 || kind == KIND_FLOAT64 ? binary_float8 : NULL;
    case OID_NUMERIC: /* without a precision a number may be longer than the binary form can be: KIND_TEXT */
        return kind == KIND_DECIMAL ? binary_numeric : NULL;
    case OID_TEXT:
    case OID_BPCHAR:
    case OID_VARCHAR:
        return text_form(column);
    case OID_JSON:
        return kind == KIND_JSON ? binary_bytes : NULL;
    case OID_JSONB:
        return kind == KIND_JSON ? binary_jsonb : NULL;
    case OID_UUID:
        return kind == KIND_UUID ? binary_uuid : NULL;
    case OID_DATE:
        return kind == KIND_DATE ? binary_date : NULL;
    case OID_TIME:
        return kind == KIND_TIME || kind == KIND_TIME_MS ? binary_time : NULL;
    case OID_TIMESTAMP:
        return kind == KIND_TIMESTAMP || kind == KIND_TIMESTAMP_MS ? binary_timestamp : NULL;
    case OID_TIMESTAMPTZ:
        return kind == KIND_ZONED_TIMESTAMP ? binary_timestamptz : NULL;
    default:
        return NULL;
    }
}

/* ---- COPY ---- */

const char *pg_copy_binary(pg_binary_f *form, const struct column *column, const struct value *value,
                           struct buf *out) {
    size_t mark = out->len;
    if (value->tag == VALUE_NULL || value->tag == VALUE_ABSENT) {
        put_u32(out, UINT32_MAX);
        return NULL;
    }
    assert(value->tag == kind_tag(column->kind));
    put_u32(out, 0);
    const char *reason = form(column, value, out);
    size_t len = out->len - mark - sizeof(uint32_t);
    if (!reason && len > INT32_MAX)
        reason = "longer than PostgreSQL takes";
    uint32_t wire = htobe32((uint32_t)len);
    memcpy(out->data + mark, &wire, sizeof wire);
    if (reason)
        out->len = mark;
    return reason;
}
