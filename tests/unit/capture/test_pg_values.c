/* Readers of PostgreSQL's text forms and the mapping of types to kinds, at their edges. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "capture/postgres/values.h"

/* ---- kinds ---- */

struct kind_case {
    uint32_t oid;
    int32_t typmod;
    char typtype;
    char category;
    const char *name;
    const char *text;
    enum kind kind;
    int length, precision, scale;
};

static const struct kind_case kind_cases[] = {
    {16, -1, 'b', 'B', "bool", "boolean", KIND_BOOL, -1, 0, 0},
    {17, -1, 'b', 'U', "bytea", "bytea", KIND_BYTES, -1, 0, 0},
    {18, -1, 'b', 'Z', "char", "\"char\"", KIND_TEXT, -1, 0, 0},
    {19, -1, 'b', 'S', "name", "name", KIND_TEXT, -1, 0, 0},
    {20, -1, 'b', 'N', "int8", "bigint", KIND_INT64, -1, 0, 0},
    {21, -1, 'b', 'N', "int2", "smallint", KIND_INT16, -1, 0, 0},
    {22, -1, 'b', 'A', "int2vector", "int2vector", KIND_TEXT, -1, 0, 0},
    {23, -1, 'b', 'N', "int4", "integer", KIND_INT32, -1, 0, 0},
    {25, -1, 'b', 'S', "text", "text", KIND_TEXT, -1, 0, 0},
    {26, -1, 'b', 'N', "oid", "oid", KIND_INT64, -1, 0, 0},
    {28, -1, 'b', 'U', "xid", "xid", KIND_TEXT, -1, 0, 0},
    {114, -1, 'b', 'U', "json", "json", KIND_JSON, -1, 0, 0},
    {3802, -1, 'b', 'U', "jsonb", "jsonb", KIND_JSON, -1, 0, 0},
    {142, -1, 'b', 'U', "xml", "xml", KIND_XML, -1, 0, 0},
    {600, -1, 'b', 'G', "point", "point", KIND_POINT, -1, 0, 0},
    {603, -1, 'b', 'G', "box", "box", KIND_TEXT, -1, 0, 0},
    {700, -1, 'b', 'N', "float4", "real", KIND_FLOAT32, -1, 0, 0},
    {701, -1, 'b', 'N', "float8", "double precision", KIND_FLOAT64, -1, 0, 0},
    {790, -1, 'b', 'N', "money", "money", KIND_DECIMAL, -1, 19, 2},
    {869, -1, 'b', 'I', "inet", "inet", KIND_TEXT, -1, 0, 0},
    {1007, -1, 'b', 'A', "_int4", "integer[]", KIND_TEXT, -1, 0, 0},
    {1042, 9, 'b', 'S', "bpchar", "character(5)", KIND_TEXT, -1, 0, 0},
    {1043, 9, 'b', 'S', "varchar", "character varying(5)", KIND_TEXT, -1, 0, 0},
    {1082, -1, 'b', 'D', "date", "date", KIND_DATE, -1, 0, 0},
    {1083, -1, 'b', 'D', "time", "time without time zone", KIND_TIME, -1, 0, 0},
    {1083, 0, 'b', 'D', "time", "time(0) without time zone", KIND_TIME_MS, -1, 0, 0},
    {1083, 3, 'b', 'D', "time", "time(3) without time zone", KIND_TIME_MS, -1, 0, 0},
    {1083, 4, 'b', 'D', "time", "time(4) without time zone", KIND_TIME, -1, 0, 0},
    {1114, -1, 'b', 'D', "timestamp", "timestamp without time zone", KIND_TIMESTAMP, -1, 0, 0},
    {1114, 3, 'b', 'D', "timestamp", "timestamp(3) without time zone", KIND_TIMESTAMP_MS, -1, 0, 0},
    {1114, 6, 'b', 'D', "timestamp", "timestamp(6) without time zone", KIND_TIMESTAMP, -1, 0, 0},
    {1184, 3, 'b', 'D', "timestamptz", "timestamp(3) with time zone", KIND_ZONED_TIMESTAMP, -1, 0, 0},
    {1186, -1, 'b', 'T', "interval", "interval", KIND_INTERVAL, -1, 0, 0},
    {1266, -1, 'b', 'D', "timetz", "time with time zone", KIND_ZONED_TIME, -1, 0, 0},
    {1560, 1, 'b', 'V', "bit", "bit(1)", KIND_BOOL, -1, 0, 0},
    {1560, 9, 'b', 'V', "bit", "bit(9)", KIND_BITS, 9, 0, 0},
    {1560, -1, 'b', 'V', "bit", "\"bit\"", KIND_TEXT, -1, 0, 0},
    {1562, 1, 'b', 'V', "varbit", "bit varying(1)", KIND_TEXT, -1, 0, 0},
    {1700, -1, 'b', 'N', "numeric", "numeric", KIND_TEXT, -1, 0, 0},
    {1700, (12 << 16 | 2) + 4, 'b', 'N', "numeric", "numeric(12,2)", KIND_DECIMAL, -1, 12, 2},
    {1700, (1000 << 16 | 1000) + 4, 'b', 'N', "numeric", "numeric(1000,1000)", KIND_DECIMAL, -1, 1000, 1000},
    {1700, (5 << 16 | 0) + 4, 'b', 'N', "numeric", "numeric(5,0)", KIND_DECIMAL, -1, 5, 0},
    {1700, (3 << 16 | (-2 & 0x7ff)) + 4, 'b', 'N', "numeric", "numeric(3,-2)", KIND_TEXT, -1, 0, 0},
    {1700, (3 << 16 | 5) + 4, 'b', 'N', "numeric", "numeric(3,5)", KIND_TEXT, -1, 0, 0},
    {2950, -1, 'b', 'U', "uuid", "uuid", KIND_UUID, -1, 0, 0},
    {3220, -1, 'b', 'U', "pg_lsn", "pg_lsn", KIND_TEXT, -1, 0, 0},
    {3614, -1, 'b', 'U', "tsvector", "tsvector", KIND_TSVECTOR, -1, 0, 0},
    {3615, -1, 'b', 'U', "tsquery", "tsquery", KIND_TEXT, -1, 0, 0},
    {3904, -1, 'r', 'R', "int4range", "int4range", KIND_TEXT, -1, 0, 0},
    {4451, -1, 'm', 'R', "int4multirange", "int4multirange", KIND_TEXT, -1, 0, 0},
    {90001, -1, 'b', 'U', "hstore", "public.hstore", KIND_JSON, -1, 0, 0},
    {90002, -1, 'c', 'C', "hstore", "shop.hstore", KIND_TEXT, -1, 0, 0},
    {90003, -1, 'b', 'A', "_hstore", "public.hstore[]", KIND_TEXT, -1, 0, 0},
    {90004, -1, 'b', 'U', "ltree", "public.ltree", KIND_LTREE, -1, 0, 0},
    {90005, -1, 'b', 'U', "lquery", "public.lquery", KIND_TEXT, -1, 0, 0},
    {90006, -1, 'b', 'S', "citext", "public.citext", KIND_TEXT, -1, 0, 0},
    {90007, -1, 'e', 'E', "mood", "shop.mood", KIND_ENUM, -1, 0, 0},
    {90008, -1, 'c', 'C', "pair", "shop.pair", KIND_TEXT, -1, 0, 0},
};

static const char *const mood_labels[] = {"sad", "happy", NULL};

static struct pg_type type_of(const struct kind_case *c) {
    return (struct pg_type){.oid = c->oid,
                            .typmod = c->typmod,
                            .typtype = c->typtype,
                            .category = c->category,
                            .schema = c->oid < 16384 ? "pg_catalog" : "public",
                            .name = c->name,
                            .text = c->text,
                            .labels = c->typtype == 'e' ? mood_labels : NULL};
}

static void every_type_has_its_kind(void **state) {
    (void)state;
    const struct pg_type_policy precise = {PG_NUMERIC_PRECISE};
    for (size_t i = 0; i < sizeof kind_cases / sizeof *kind_cases; i++) {
        const struct kind_case *c = &kind_cases[i];
        struct pg_type type = type_of(c);
        struct column column = {.name = "v", .precision = 77, .scale = 77, .length = 77};
        pg_column_kind(&type, &precise, &column);
        if (column.kind != c->kind)
            fail_msg("%s: kind %d, not %d", c->text, column.kind, c->kind);
        assert_int_equal(column.length, c->length);
        assert_int_equal(column.precision, c->precision);
        assert_int_equal(column.scale, c->scale);
        assert_ptr_equal(column.type, c->text);
        assert_ptr_equal(column.labels, type.labels);
    }
}

static void numerics_are_text_when_the_policy_says_strings(void **state) {
    (void)state;
    const struct pg_type_policy strings = {PG_NUMERIC_STRING};
    struct pg_type type = {1700,      (12 << 16 | 2) + 4, 'b', 'N', "pg_catalog",
                           "numeric", "numeric(12,2)",    NULL};
    struct column column = {.name = "v"};
    pg_column_kind(&type, &strings, &column);
    assert_int_equal(column.kind, KIND_TEXT);
}

/* ---- values ---- */

static const struct column columns[] = {
    [KIND_BOOL] = {.kind = KIND_BOOL, .type = "boolean"},
    [KIND_INT16] = {.kind = KIND_INT16, .type = "smallint"},
    [KIND_INT32] = {.kind = KIND_INT32, .type = "integer"},
    [KIND_INT64] = {.kind = KIND_INT64, .type = "bigint"},
    [KIND_FLOAT32] = {.kind = KIND_FLOAT32, .type = "real"},
    [KIND_FLOAT64] = {.kind = KIND_FLOAT64, .type = "double precision"},
    [KIND_DECIMAL] = {.kind = KIND_DECIMAL, .type = "numeric(5,2)", .precision = 5, .scale = 2},
    [KIND_TEXT] = {.kind = KIND_TEXT, .type = "text"},
    [KIND_JSON] = {.kind = KIND_JSON, .type = "jsonb"},
    [KIND_XML] = {.kind = KIND_XML, .type = "xml"},
    [KIND_UUID] = {.kind = KIND_UUID, .type = "uuid"},
    [KIND_ENUM] = {.kind = KIND_ENUM, .type = "mood"},
    [KIND_LTREE] = {.kind = KIND_LTREE, .type = "ltree"},
    [KIND_TSVECTOR] = {.kind = KIND_TSVECTOR, .type = "tsvector"},
    [KIND_BYTES] = {.kind = KIND_BYTES, .type = "bytea"},
    [KIND_BITS] = {.kind = KIND_BITS, .type = "bit(9)", .length = 9},
    [KIND_DATE] = {.kind = KIND_DATE, .type = "date"},
    [KIND_TIME_MS] = {.kind = KIND_TIME_MS, .type = "time(3) without time zone"},
    [KIND_TIME] = {.kind = KIND_TIME, .type = "time without time zone"},
    [KIND_TIMESTAMP_MS] = {.kind = KIND_TIMESTAMP_MS, .type = "timestamp(3) without time zone"},
    [KIND_TIMESTAMP] = {.kind = KIND_TIMESTAMP, .type = "timestamp without time zone"},
    [KIND_ZONED_TIMESTAMP] = {.kind = KIND_ZONED_TIMESTAMP, .type = "timestamp with time zone"},
    [KIND_ZONED_TIME] = {.kind = KIND_ZONED_TIME, .type = "time with time zone"},
    [KIND_INTERVAL] = {.kind = KIND_INTERVAL, .type = "interval"},
    [KIND_POINT] = {.kind = KIND_POINT, .type = "point"},
};

static const struct column money = {.kind = KIND_DECIMAL, .type = "money", .precision = 19, .scale = 2};
static const struct column hstore = {.kind = KIND_JSON, .type = "\"My ext\".hstore"};
static const struct column tight = {.kind = KIND_DECIMAL, .type = "numeric(2,2)", .precision = 2, .scale = 2};
static const struct column whole = {.kind = KIND_DECIMAL, .type = "numeric(3,0)", .precision = 3};

static const char *read_slice(const struct column *column, struct slice text, struct arena *scratch,
                              struct value *ret) {
    *ret = (struct value){VALUE_ABSENT, {0}};
    return pg_reader(column)(column, text, scratch, ret);
}

/* The text stands at the end of a block of its own, so that AddressSanitizer sees every byte read beyond
 * it. */
static const char *read_text(const struct column *column, const char *text, struct arena *scratch,
                             struct value *ret) {
    size_t len = strlen(text);
    char *exact = xmalloc(len ? len : 1);
    memcpy(exact, text, len);
    const char *reason = read_slice(column, slice_make(exact, len), scratch, ret);
    if (!reason && (ret->tag == VALUE_TEXT || ret->tag == VALUE_BYTES))
        ret->s = arena_copy(scratch, ret->s);
    free(exact);
    return reason;
}

struct int_case {
    enum kind kind;
    const char *text;
    int64_t i;
};

static const struct int_case int_cases[] = {
    {KIND_BOOL, "t", 1},
    {KIND_BOOL, "f", 0},
    {KIND_BOOL, "1", 1},
    {KIND_BOOL, "0", 0},
    {KIND_INT16, "-32768", -32768},
    {KIND_INT16, "32767", 32767},
    {KIND_INT32, "-2147483648", INT32_MIN},
    {KIND_INT32, "2147483647", INT32_MAX},
    {KIND_INT64, "0", 0},
    {KIND_INT64, "-9223372036854775808", INT64_MIN},
    {KIND_INT64, "9223372036854775807", INT64_MAX},
    {KIND_INT64, "4294967295", 4294967295},
    {KIND_DATE, "1970-01-01", 0},
    {KIND_DATE, "1969-12-31", -1},
    {KIND_DATE, "2000-02-29", 11016},
    {KIND_DATE, "0001-01-01", -719162},
    {KIND_DATE, "0001-12-31 BC", -719163},
    {KIND_DATE, "0044-03-15 BC", -735160},
    {KIND_DATE, "4714-11-24 BC", -2440588},
    {KIND_DATE, "5874897-12-31", 2145042905},
    {KIND_DATE, "infinity", DATE_INFINITY},
    {KIND_DATE, "-infinity", DATE_MINUS_INFINITY},
    {KIND_TIME, "00:00:00", 0},
    {KIND_TIME, "23:59:59.999999", 86399999999},
    {KIND_TIME, "24:00:00", 86400000000},
    {KIND_TIME, "00:00:00.000001", 1},
    {KIND_TIME, "03:04:05.5", 11045500000},
    {KIND_TIME_MS, "03:04:05.006", 11045006000},
    {KIND_TIMESTAMP, "1970-01-01 00:00:00", 0},
    {KIND_TIMESTAMP, "1969-12-31 23:59:59.999999", -1},
    {KIND_TIMESTAMP, "4714-11-24 00:00:00 BC", INT64_C(-210866803200000000)},
    {KIND_TIMESTAMP, "294247-01-10 04:00:54.775807", INT64_MAX},
    {KIND_TIMESTAMP, "294247-01-10 04:00:25.199999", TIMESTAMP_INFINITY - 1},
    {KIND_TIMESTAMP, "294247-01-10 04:00:25.200001", TIMESTAMP_INFINITY + 1},
    {KIND_TIMESTAMP, "infinity", TIMESTAMP_INFINITY},
    {KIND_TIMESTAMP, "-infinity", TIMESTAMP_MINUS_INFINITY},
    {KIND_TIMESTAMP_MS, "2024-01-02 03:04:05.678", 1704164645678000},
};

static void integers_and_times_are_read_to_their_edges(void **state) {
    (void)state;
    struct arena scratch = {0};
    for (size_t i = 0; i < sizeof int_cases / sizeof *int_cases; i++) {
        const struct int_case *c = &int_cases[i];
        struct value value;
        const char *reason = read_text(&columns[c->kind], c->text, &scratch, &value);
        if (reason || value.tag != VALUE_INT || value.i != c->i)
            fail_msg("%s: %s, %lld", c->text, reason ? reason : "read", (long long)value.i);
    }
    arena_free(&scratch);
}

struct float_case {
    enum kind kind;
    const char *text;
    double d;
};

static const struct float_case float_cases[] = {
    {KIND_FLOAT64, "0", 0.0},
    {KIND_FLOAT64, "-0", -0.0},
    {KIND_FLOAT64, "0.1", 0.1},
    {KIND_FLOAT64, "-123456.789", -123456.789},
    {KIND_FLOAT64, "1.7976931348623157e+308", 1.7976931348623157e+308},
    {KIND_FLOAT64, "2.2250738585072014e-308", 2.2250738585072014e-308},
    {KIND_FLOAT64, "5e-324", 5e-324},
    {KIND_FLOAT64, "1e+22", 1e22},
    {KIND_FLOAT64, "1e+23", 1e23},
    {KIND_FLOAT64, "123456789012345680000", 123456789012345680000.0},
    {KIND_FLOAT64, "0.30000000000000004", 0.30000000000000004},
    {KIND_FLOAT64, "Infinity", (double)INFINITY},
    {KIND_FLOAT64, "-Infinity", -(double)INFINITY},
    {KIND_FLOAT32, "0.1", (double)0.1F},
    {KIND_FLOAT32, "-0", -0.0},
    {KIND_FLOAT32, "3.4028235e+38", (double)3.4028235e+38F},
    {KIND_FLOAT32, "1e-45", (double)1e-45F},
    {KIND_FLOAT32, "1.1754944e-38", (double)1.1754944e-38F},
    {KIND_FLOAT32, "16777216", 16777216.0},
    {KIND_FLOAT32, "8.589973e+09", (double)8.589973e+09F},
    {KIND_FLOAT32, "Infinity", (double)INFINITY},
};

static void floats_are_read_to_the_bit(void **state) {
    (void)state;
    struct arena scratch = {0};
    struct value value;
    for (size_t i = 0; i < sizeof float_cases / sizeof *float_cases; i++) {
        const struct float_case *c = &float_cases[i];
        const char *reason = read_text(&columns[c->kind], c->text, &scratch, &value);
        if (reason || value.tag != VALUE_FLOAT ||
            memcmp((const char *)&value.d, (const char *)&c->d, sizeof c->d) != 0)
            fail_msg("%s: %s, %.17g", c->text, reason ? reason : "read", value.d);
    }
    assert_null(read_text(&columns[KIND_FLOAT64], "NaN", &scratch, &value));
    assert_true(isnan(value.d));
    assert_null(read_text(&columns[KIND_POINT], "(-0,1e+300)", &scratch, &value));
    assert_int_equal(value.tag, VALUE_POINT);
    assert_true(value.xy[0] == 0 && signbit(value.xy[0]) && value.xy[1] == 1e300);
    assert_null(read_text(&columns[KIND_POINT], "(NaN,-Infinity)", &scratch, &value));
    assert_true(isnan(value.xy[0]) && value.xy[1] == -(double)INFINITY);
    arena_free(&scratch);
}

/* What printf rounds, and neighbours of the middles between floats, where rounding twice would show. */
static void floats_of_any_length_are_read_as_strtod_does(void **state) {
    (void)state;
    struct arena scratch = {0};
    uint64_t random = 88172645463325252U;
    for (int i = 0; i < 100000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        char text[64];
        struct value value;
        float x = (float)(random >> 40) / powf(10, (float)(random % 12));
        double middle = ((double)x + (double)nextafterf(x, INFINITY)) / 2;
        snprintf(text, sizeof text, "%.*g", 1 + (int)(random % 19),
                 i % 2 ? middle : (double)(random >> 8) / 1e9);
        assert_null(read_text(&columns[KIND_FLOAT64], text, &scratch, &value));
        assert_true(value.d == strtod(text, NULL));
        assert_null(read_text(&columns[KIND_FLOAT32], text, &scratch, &value));
        assert_true(value.d == (double)strtof(text, NULL));
    }
    arena_free(&scratch);
}

struct text_case {
    const struct column *column;
    const char *text, *read;
};

#define COLUMN(kind) &columns[KIND_##kind]
static const struct text_case text_cases[] = {
    {COLUMN(DECIMAL), "-123.45", "-123.45"},
    {COLUMN(DECIMAL), "0.00", "0.00"},
    {&tight, "0.99", "0.99"},
    {&whole, "-999", "-999"},
    {&money, "$0.00", "0.00"},
    {&money, "-$92,233,720,368,547,758.08", "-92233720368547758.08"},
    {&money, "$92,233,720,368,547,758.07", "92233720368547758.07"},
    {&money, "-$0.01", "-0.01"},
    {COLUMN(TEXT), "", ""},
    {COLUMN(TEXT), "a longer text of more than eight bytes", "a longer text of more than eight bytes"},
    {COLUMN(TEXT), "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x98 end",
     "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x98 end"},
    {COLUMN(TEXT), "\x01\x7f\xf4\x8f\xbf\xbf", "\x01\x7f\xf4\x8f\xbf\xbf"},
    {COLUMN(JSON), "{\"a\": 1}", "{\"a\": 1}"},
    {COLUMN(UUID), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
    {COLUMN(BITS), "000000101", "000000101"},
    {COLUMN(INTERVAL), "P-1Y-2M3DT-4H-5M-6.78S", "P-1Y-2M3DT-4H-5M-6.78S"},
    {COLUMN(INTERVAL), "PT0S", "PT0S"},
    {COLUMN(INTERVAL), "-infinity", "-infinity"},
    {COLUMN(ZONED_TIMESTAMP), "2024-01-02 03:04:05.123456+00", "2024-01-02T03:04:05.123456Z"},
    {COLUMN(ZONED_TIMESTAMP), "2024-01-02 03:04:05+00", "2024-01-02T03:04:05Z"},
    {COLUMN(ZONED_TIMESTAMP), "0044-03-15 12:00:00+00 BC", "-0043-03-15T12:00:00Z"},
    {COLUMN(ZONED_TIMESTAMP), "0001-02-29 12:00:00+00 BC", "0000-02-29T12:00:00Z"},
    {COLUMN(ZONED_TIMESTAMP), "12345-01-02 03:04:05.1+00", "+12345-01-02T03:04:05.1Z"},
    {COLUMN(ZONED_TIMESTAMP), "294276-12-31 23:59:59.999999+00", "+294276-12-31T23:59:59.999999Z"},
    {COLUMN(ZONED_TIMESTAMP), "4714-11-24 00:00:00+00 BC", "-4713-11-24T00:00:00Z"},
    {COLUMN(ZONED_TIMESTAMP), "infinity", "infinity"},
    {COLUMN(ZONED_TIME), "03:04:05.5+05:30", "03:04:05.5+05:30"},
    {COLUMN(ZONED_TIME), "03:04:05+00", "03:04:05+00:00"},
    {COLUMN(ZONED_TIME), "24:00:00-15:59:59", "24:00:00-15:59:59"},
    {&hstore, "", "{}"},
    {&hstore, "\"k\"=>\"v\"", "{\"k\":\"v\"}"},
    {&hstore, "\"\"=>\"\", \"n\"=>NULL, \"N\"=>\"NULL\"", "{\"\":\"\",\"n\":null,\"N\":\"NULL\"}"},
    {&hstore, "\"a\\\"b\"=>\"c\\\\d\"", "{\"a\\\"b\":\"c\\\\d\"}"},
    {&hstore, "\"\n\"=>\"\x1f\x01\"", "{\"\\u000a\":\"\\u001f\\u0001\"}"},
    {&hstore, "\"\xc3\xbc\"=>\"=>, \"", "{\"\xc3\xbc\":\"=>, \"}"},
};

static void text_forms_are_read_exactly(void **state) {
    (void)state;
    struct arena scratch = {0};
    for (size_t i = 0; i < sizeof text_cases / sizeof *text_cases; i++) {
        const struct text_case *c = &text_cases[i];
        struct value value;
        const char *reason = read_text(c->column, c->text, &scratch, &value);
        if (reason || value.tag != VALUE_TEXT || !slice_is(value.s, c->read))
            fail_msg("%s: %s %.*s", c->text, reason ? reason : "", reason ? 0 : (int)value.s.len,
                     value.s.data);
    }
    arena_free(&scratch);
}

static void bytes_are_read_from_hexadecimal(void **state) {
    (void)state;
    struct arena scratch = {0};
    struct value value;
    assert_null(read_text(COLUMN(BYTES), "\\x00ff7fa05c", &scratch, &value));
    assert_int_equal(value.tag, VALUE_BYTES);
    assert_int_equal(value.s.len, 5);
    assert_memory_equal(value.s.data, "\x00\xff\x7f\xa0\x5c", 5);
    assert_null(read_text(COLUMN(BYTES), "\\x", &scratch, &value));
    assert_int_equal(value.s.len, 0);
    arena_free(&scratch);
}

/* Text that no PostgreSQL would send under our session formats, or that its kind cannot hold. */
struct refused_case {
    const struct column *column;
    const char *text, *reason;
};

static const struct refused_case refused_cases[] = {
    {COLUMN(BOOL), "", "not a boolean"},
    {COLUMN(BOOL), "true", "not a boolean"},
    {COLUMN(INT16), "32768", "outside the range of its integer type"},
    {COLUMN(INT16), "-32769", "outside the range of its integer type"},
    {COLUMN(INT32), "2147483648", "outside the range of its integer type"},
    {COLUMN(INT64), "9223372036854775808", "outside the range of its integer type"},
    {COLUMN(INT64), "-9223372036854775809", "outside the range of its integer type"},
    {COLUMN(INT64), "99999999999999999999", "not an integer"},
    {COLUMN(INT64), "", "not an integer"},
    {COLUMN(INT64), "-", "not an integer"},
    {COLUMN(INT64), "1 ", "not an integer"},
    {COLUMN(FLOAT64), "", "not a float"},
    {COLUMN(FLOAT64), "-", "not a float"},
    {COLUMN(FLOAT64), ".", "not a float"},
    {COLUMN(FLOAT64), "1.", "not a float"},
    {COLUMN(FLOAT64), "1e", "not a float"},
    {COLUMN(FLOAT64), "1e+", "not a float"},
    {COLUMN(FLOAT64), "1.2.3", "not a float"},
    {COLUMN(FLOAT64), "0x10", "not a float"},
    {COLUMN(FLOAT64), "nan", "not a float"},
    {COLUMN(FLOAT64), "1e999", "outside the range of its float type"},
    {COLUMN(FLOAT64), "1e-999", "outside the range of its float type"},
    {COLUMN(FLOAT32), "3.5e+38", "outside the range of its float type"},
    {COLUMN(FLOAT64), "0000000000000000000000000000000000000000000000000000000000000001", "not a float"},
    {COLUMN(DECIMAL), "NaN", "NaN is not a decimal; numerics as strings carry it"},
    {COLUMN(DECIMAL), "1.5", "not a decimal of its numeric's scale"},
    {COLUMN(DECIMAL), "1.505", "not a decimal of its numeric's scale"},
    {COLUMN(DECIMAL), "15", "not a decimal of its numeric's scale"},
    {COLUMN(DECIMAL), "1234.50", "more digits than its numeric's precision"},
    {COLUMN(DECIMAL), ".50", "not a decimal"},
    {COLUMN(DECIMAL), "01.50", "not a decimal"},
    {COLUMN(DECIMAL), "-0.00", "not a decimal"},
    {COLUMN(DECIMAL), "", "not a decimal"},
    {&tight, "1.00", "more digits than its numeric's precision"},
    {&money, "1,00 \xe2\x82\xac", "not money under lc_monetary C"},
    {&money, "($1.00)", "not money under lc_monetary C"},
    {&money, "$", "not money under lc_monetary C"},
    {COLUMN(POINT), "", "not a point"},
    {COLUMN(POINT), "(", "not a point"},
    {COLUMN(POINT), "(1)", "not a point"},
    {COLUMN(POINT), "(,)", "not a float"},
    {COLUMN(POINT), "(1,2", "not a point"},
    {COLUMN(TEXT), "\xff", "not valid UTF-8"},
    {COLUMN(TEXT), "12345678\xc3", "not valid UTF-8"},
    {COLUMN(TEXT), "\xc0\x80", "not valid UTF-8"},
    {COLUMN(TEXT), "\xe0\x9f\xbf", "not valid UTF-8"},
    {COLUMN(TEXT), "\xed\xa0\x80", "not valid UTF-8"},
    {COLUMN(TEXT), "\xf0\x8f\xbf\xbf", "not valid UTF-8"},
    {COLUMN(TEXT), "\xf4\x90\x80\x80", "not valid UTF-8"},
    {COLUMN(UUID), "", "not a uuid"},
    {COLUMN(UUID), "A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11", "not a uuid"},
    {COLUMN(UUID), "a0eebc9909c0b-4ef8-bb6d-6bb9bd380a11", "not a uuid"},
    {COLUMN(BYTES), "", "not bytea as hex"},
    {COLUMN(BYTES), "\\x0", "not bytea as hex"},
    {COLUMN(BYTES), "\\x0g", "not bytea as hex"},
    {COLUMN(BYTES), "abcd", "not bytea as hex"},
    {COLUMN(BITS), "0101", "not a bit string of its type's length"},
    {COLUMN(BITS), "01010101x", "not a bit string"},
    {COLUMN(DATE), "", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "2023-02-29", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "2023-13-01", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "2023-00-01", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "2023-01-00", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "0000-01-01", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "01/02/2023", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "2023-01-01 AD", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "99999999-01-01", "not a date in DateStyle ISO"},
    {COLUMN(DATE), "4714-11-23 BC", "not a date in DateStyle ISO"}, /* PostgreSQL's first is the day after */
    {COLUMN(DATE), "5874897-01-01 BC", "not a date in DateStyle ISO"},
    {COLUMN(TIME), "24:00:00.000001", "not a time of day"},
    {COLUMN(TIME), "23:60:00", "not a time of day"},
    {COLUMN(TIME), "23:00:00.", "not a time of day"},
    {COLUMN(TIME), "23:00:00.1234567", "not a time of day"},
    {COLUMN(TIME_MS), "23:00:00.0001", "finer than milliseconds"},
    {COLUMN(TIMESTAMP), "2024-01-02T03:04:05", "not a timestamp in DateStyle ISO"},
    {COLUMN(TIMESTAMP), "4714-11-23 23:59:59 BC", "not a timestamp in DateStyle ISO"},
    {COLUMN(TIMESTAMP), "2024-01-02 03:04:05+00", "not a timestamp in DateStyle ISO"},
    {COLUMN(TIMESTAMP), "294247-01-10 04:00:54.775808", "outside the range of microseconds since 1970"},
    {COLUMN(TIMESTAMP), "294276-12-31 23:59:59.999999", "outside the range of microseconds since 1970"},
    {COLUMN(TIMESTAMP), "294247-01-10 04:00:25.2", "the very microsecond that means infinity on the wire"},
    {COLUMN(TIMESTAMP_MS), "2024-01-02 03:04:05.0001", "finer than milliseconds"},
    {COLUMN(ZONED_TIMESTAMP), "2024-01-02 03:04:05+01", "a timestamp that is not in UTC"},
    {COLUMN(ZONED_TIMESTAMP), "2024-01-02 03:04:05", "a timestamp that is not in UTC"},
    {COLUMN(ZONED_TIMESTAMP), "2024-01-02 03:04:05+00:30", "not a timestamp in DateStyle ISO"},
    {COLUMN(ZONED_TIMESTAMP), "Tue 02 Jan 2024", "not a timestamp in DateStyle ISO"},
    {COLUMN(ZONED_TIME), "03:04:05", "not a time of day with a time zone"},
    {COLUMN(ZONED_TIME), "03:04:05+16", "not a time of day with a time zone"},
    {COLUMN(ZONED_TIME), "03:04:05+00:", "not a time of day with a time zone"},
    {COLUMN(INTERVAL), "1 day", "not an interval in IntervalStyle iso_8601"},
    {COLUMN(INTERVAL), "", "not an interval in IntervalStyle iso_8601"},
    {&hstore, "\"k\"", "not an hstore"},
    {&hstore, "\"k\"=>", "not an hstore"},
    {&hstore, "\"k\"=>\"v", "not an hstore"},
    {&hstore, "\"k\"=>\"v\\", "not an hstore"},
    {&hstore, "\"k\"=>\"\\v\"", "not an hstore"},
    {&hstore, "\"k\"=>\"v\", ", "not an hstore"},
    {&hstore, "\"k\"=>\"v\",", "not an hstore"},
    {&hstore, "k=>v", "not an hstore"},
    {&hstore, "\"\xff\"=>NULL", "not valid UTF-8"},
};

static void what_cannot_be_read_has_a_reason(void **state) {
    (void)state;
    struct arena scratch = {0};
    for (size_t i = 0; i < sizeof refused_cases / sizeof *refused_cases; i++) {
        const struct refused_case *c = &refused_cases[i];
        struct value value;
        const char *reason = read_text(c->column, c->text, &scratch, &value);
        if (!reason || strcmp(reason, c->reason) != 0)
            fail_msg("kind %d, \"%s\": %s", c->column->kind, c->text, reason ? reason : "read");
    }
    struct value value;
    const char *reason = read_slice(COLUMN(TEXT), slice_make("a\0b", 3), &scratch, &value);
    assert_string_equal(reason, "a NUL inside text");
    assert_string_equal(read_slice(COLUMN(FLOAT64), slice_make("1\0", 2), &scratch, &value), "not a float");
    arena_free(&scratch);
}

/* Every prefix and every single changed byte of a good text is read or refused, and nothing beyond it is
 * touched. */
static void damaged_text_never_reads_beyond_its_end(void **state) {
    (void)state;
    struct arena scratch = {0};
    struct value value;
    for (size_t i = 0;
         i < sizeof refused_cases / sizeof *refused_cases + sizeof text_cases / sizeof *text_cases; i++) {
        size_t n = sizeof text_cases / sizeof *text_cases;
        const char *good = i < n ? text_cases[i].text : refused_cases[i - n].text;
        char text[128];
        for (int kind = 0; kind < KIND_COUNT; kind++)
            for (size_t len = 0; len <= strlen(good); len++) {
                snprintf(text, sizeof text, "%.*s", (int)len, good);
                (void)!read_text(&columns[kind], text, &scratch, &value);
                (void)!read_text(&hstore, text, &scratch, &value);
                if (len > 0) {
                    text[len / 2] = (char)(text[len / 2] ^ (1 + kind));
                    (void)!read_text(&columns[kind], text, &scratch, &value);
                }
            }
        arena_reset(&scratch);
    }
    arena_free(&scratch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_has_its_kind),
        cmocka_unit_test(numerics_are_text_when_the_policy_says_strings),
        cmocka_unit_test(integers_and_times_are_read_to_their_edges),
        cmocka_unit_test(floats_are_read_to_the_bit),
        cmocka_unit_test(floats_of_any_length_are_read_as_strtod_does),
        cmocka_unit_test(text_forms_are_read_exactly),
        cmocka_unit_test(bytes_are_read_from_hexadecimal),
        cmocka_unit_test(what_cannot_be_read_has_a_reason),
        cmocka_unit_test(damaged_text_never_reads_beyond_its_end),
    };
    return cmocka_run_group_tests_name("reading PostgreSQL's values", tests, NULL, NULL);
}
