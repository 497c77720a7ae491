/* Values printed as PostgreSQL reads them, at their edges, and COPY's escapes. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "sink/values/values.h"
#include "tests/values.h"

struct print_case {
    enum kind kind;
    const char *from, *into; /* the source's type, the replica's */
    struct value value;
    const char *text;
};

static const struct print_case print_cases[] = {
    {KIND_BOOL, "boolean", "boolean", INT(1), "t"},
    {KIND_BOOL, "boolean", "boolean", INT(0), "f"},
    {KIND_BOOL, "boolean", "text", INT(1), "true"},
    {KIND_BOOL, "bit(1)", "bit(1)", INT(1), "1"},
    {KIND_BOOL, "bit(1)", "bit(1)", INT(0), "0"},
    {KIND_BOOL, "bit(1)", "bit varying(1)", INT(1), "1"},
    {KIND_BOOL, "bit(1)", "text", INT(1), "1"},
    {KIND_BOOL, "bit(1)", "boolean", INT(1), "t"},
    {KIND_BOOL, "boolean", "bit(1)", INT(1), "1"},
    {KIND_INT16, "smallint", "bigint", INT(-32768), "-32768"},
    {KIND_INT32, "integer", "integer", INT(INT32_MAX), "2147483647"},
    {KIND_INT64, "bigint", "numeric", INT(INT64_MIN), "-9223372036854775808"},
    {KIND_INT64, "bigint", "bigint", INT(INT64_MAX), "9223372036854775807"},
    {KIND_INT64, "oid", "oid", INT(4294967295), "4294967295"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(0.0), "0"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(-0.0), "-0"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(0.1), "0.1"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(0.30000000000000004), "0.30000000000000004"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(-1.5), "-1.5"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(0.0001), "0.0001"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(0.000123456789012345),
     "0.000123456789012345"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(-99999999999999.9), "-99999999999999.9"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(1234.5678), "1234.5678"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(999999999999999.0), "999999999999999"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(1e15), "1e+15"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(5e-324), "4.94065645841247e-324"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(1.7976931348623157e308),
     "1.7976931348623157e+308"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT((double)NAN), "NaN"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT((double)INFINITY), "Infinity"},
    {KIND_FLOAT64, "double precision", "double precision", FLOAT(-(double)INFINITY), "-Infinity"},
    {KIND_FLOAT32, "real", "real", FLOAT((double)0.1F), "0.1"},
    {KIND_FLOAT32, "real", "real", FLOAT((double)3.4028235e38F), "3.4028235e+38"},
    {KIND_FLOAT32, "real", "real", FLOAT((double)-3.3333333F), "-3.3333333"},
    {KIND_FLOAT32, "real", "real", FLOAT((double)123456.79F), "123456.79"},
    {KIND_FLOAT32, "real", "real", FLOAT((double)0.00012F), "0.00012"},
    {KIND_FLOAT32, "real", "real", FLOAT((double)16777216.0F), "16777216"},
    {KIND_FLOAT32, "real", "real", FLOAT(-0.0), "-0"},
    {KIND_FLOAT32, "real", "real", FLOAT((double)NAN), "NaN"},
    {KIND_FLOAT32, "real", "double precision", FLOAT((double)0.1F), "0.10000000149011612"},
    {KIND_DECIMAL, "numeric(30,3)", "numeric(30,3)", TEXT("-123456789012345678901234.500"),
     "-123456789012345678901234.500"},
    {KIND_DECIMAL, "money", "money", TEXT("-92233720368547758.08"), "-92233720368547758.08"},
    {KIND_TEXT, "text", "text", TEXT(""), ""},
    {KIND_UUID, "uuid", "uuid", TEXT("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
     "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
    {KIND_BITS, "bit(3)", "bit(3)", TEXT("010"), "010"},
    {KIND_BYTES, "bytea", "bytea", BYTES(""), "\\x"},
    {KIND_BYTES, "bytea", "bytea", BYTES("\0\xff\x5c\n"), "\\x00ff5c0a"},
    {KIND_DATE, "date", "date", INT(0), "1970-01-01"},
    {KIND_DATE, "date", "date", INT(11016), "2000-02-29"},
    {KIND_DATE, "date", "date", INT(-719162), "0001-01-01"},
    {KIND_DATE, "date", "date", INT(-719163), "0001-12-31 BC"},
    {KIND_DATE, "date", "date", INT(-735160), "0044-03-15 BC"},
    {KIND_DATE, "date", "date", INT(-2440588), "4714-11-24 BC"},
    {KIND_DATE, "date", "date", INT(2145042905), "5874897-12-31"},
    {KIND_DATE, "date", "date", INT(DATE_INFINITY), "infinity"},
    {KIND_DATE, "date", "date", INT(DATE_MINUS_INFINITY), "-infinity"},
    {KIND_TIME, "time", "time", INT(0), "00:00:00"},
    {KIND_TIME, "time", "time", INT(86400000000), "24:00:00"},
    {KIND_TIME, "time", "time", INT(86399999999), "23:59:59.999999"},
    {KIND_TIME_MS, "time(3)", "time(3)", INT(11045500000), "03:04:05.5"},
    {KIND_TIMESTAMP, "timestamp", "timestamp", INT(0), "1970-01-01 00:00:00"},
    {KIND_TIMESTAMP, "timestamp", "timestamp", INT(-1), "1969-12-31 23:59:59.999999"},
    {KIND_TIMESTAMP, "timestamp", "timestamp", INT(INT64_C(-210866803200000000)), "4714-11-24 00:00:00 BC"},
    {KIND_TIMESTAMP, "timestamp", "timestamp", INT(INT64_MAX), "294247-01-10 04:00:54.775807"},
    {KIND_TIMESTAMP, "timestamp", "timestamp", INT(TIMESTAMP_INFINITY), "infinity"},
    {KIND_TIMESTAMP, "timestamp", "timestamp", INT(TIMESTAMP_MINUS_INFINITY), "-infinity"},
    {KIND_TIMESTAMP_MS, "timestamp(3)", "timestamp(3)", INT(1704164645678000), "2024-01-02 03:04:05.678"},
    {KIND_ZONED_TIMESTAMP, "timestamptz", "timestamptz", TEXT("2024-01-02T03:04:05.123456Z"),
     "2024-01-02 03:04:05.123456+00"},
    {KIND_ZONED_TIMESTAMP, "timestamptz", "timestamptz", TEXT("-0043-03-15T12:00:00Z"),
     "0044-03-15 12:00:00+00 BC"},
    {KIND_ZONED_TIMESTAMP, "timestamptz", "timestamptz", TEXT("0000-02-29T12:00:00Z"),
     "0001-02-29 12:00:00+00 BC"},
    {KIND_ZONED_TIMESTAMP, "timestamptz", "timestamptz", TEXT("-9999-02-28T12:00:00Z"),
     "10000-02-28 12:00:00+00 BC"},
    {KIND_ZONED_TIMESTAMP, "timestamptz", "timestamptz", TEXT("+294276-12-31T23:59:59.999999Z"),
     "294276-12-31 23:59:59.999999+00"},
    {KIND_ZONED_TIMESTAMP, "timestamptz", "timestamptz", TEXT("-infinity"), "-infinity"},
    {KIND_ZONED_TIME, "timetz", "timetz", TEXT("03:04:05.5+05:30"), "03:04:05.5+05:30"},
    {KIND_INTERVAL, "interval", "interval", TEXT("P-1Y2DT-0.5S"), "P-1Y2DT-0.5S"},
    {KIND_POINT, "point", "point", POINT(-0.0, 1e300), "(-0,1e+300)"},
    {KIND_JSON, "jsonb", "jsonb", TEXT("{\"a\": null}"), "{\"a\": null}"},
    {KIND_JSON, "public.hstore", "jsonb", TEXT("{\"a\":null}"), "{\"a\":null}"},
    {KIND_JSON, "public.hstore", "ext.hstore", TEXT("{}"), ""},
    {KIND_JSON, "public.hstore", "hstore", TEXT("{\"k\":\"v\",\"n\":null}"), "\"k\"=>\"v\", \"n\"=>NULL"},
    {KIND_JSON, "hstore", "\"My ext\".hstore", TEXT(" { \"\" : \"\" ,\n\"N\":\"NULL\" } "),
     "\"\"=>\"\", \"N\"=>\"NULL\""},
    {KIND_JSON, "hstore", "hstore", TEXT("{\"a\\\"b\":\"c\\\\d\"}"), "\"a\\\"b\"=>\"c\\\\d\""},
    {KIND_JSON, "hstore", "hstore", TEXT("{\"\\n\\t\\b\\f\\r\\/\":\"\\u001F\\u0001\"}"),
     "\"\n\t\b\f\r/\"=>\"\x1f\x01\""},
    {KIND_JSON, "hstore", "hstore", TEXT("{\"\\u00fc\\u20AC\":\"\\ud83d\\udc18 \xc3\xbc\"}"),
     "\"\xc3\xbc\xe2\x82\xac\"=>\"\xf0\x9f\x90\x98 \xc3\xbc\""},
    {KIND_JSON, "hstore", "hstore", TEXT("{\"\\u0022\":\"\\u005c\"}"), "\"\\\"\"=>\"\\\\\""},
};

static struct column column_of(const struct print_case *c) {
    return (struct column){.name = "v", .kind = c->kind, .type = c->from, .length = -1};
}

static void every_kind_prints_what_postgresql_reads(void **state) {
    (void)state;
    struct buf out = {0};
    for (size_t i = 0; i < sizeof print_cases / sizeof *print_cases; i++) {
        const struct print_case *c = &print_cases[i];
        struct column column = column_of(c);
        buf_clear(&out);
        buf_puts(&out, "before");
        const char *reason = pg_printer(&column, c->into)(&column, &c->value, &out);
        if (reason || strcmp(buf_cstr(&out) + 6, c->text) != 0)
            fail_msg("%s into %s: %s instead of %s", c->from, c->into, reason ? reason : buf_cstr(&out) + 6,
                     c->text);
    }
    buf_free(&out);
}

static void assert_reads_back(double d, float x) {
    struct column wide = {.kind = KIND_FLOAT64, .type = "double precision"};
    struct column narrow = {.kind = KIND_FLOAT32, .type = "real"};
    CLEANUP_BUF out = {0};
    struct value value = {VALUE_FLOAT, {.d = d}};
    assert_null(pg_printer(&wide, wide.type)(&wide, &value, &out));
    assert_true(isnan(d) || strtod(buf_cstr(&out), NULL) == d);
    buf_clear(&out);
    value.d = (double)x;
    assert_null(pg_printer(&narrow, narrow.type)(&narrow, &value, &out));
    assert_true(isnan(x) || strtof(buf_cstr(&out), NULL) == x);
}

/* Any bits, and numbers around those that people write. */
static void floats_read_back_to_the_bit(void **state) {
    (void)state;
    uint64_t random = 88172645463325252U;
    for (int i = 0; i < 100000; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        double d;
        float x;
        memcpy(&d, &random, sizeof d);
        memcpy(&x, &random, sizeof x);
        assert_reads_back(d, x);
        d = (double)(random >> 16) / pow(10, (double)(random % 20));
        assert_reads_back(nextafter(d, random & 32 ? 0 : d),
                          (float)(random >> 40) / powf(10, (float)(random % 11)));
    }
}

static const struct print_case refused_cases[] = {
    {KIND_FLOAT32, "real", "real", FLOAT(0.1), "not a float of 32 bits"},
    {KIND_DATE, "date", "date", INT(2145042906), "a date that PostgreSQL does not have"},
    {KIND_DATE, "date", "date", INT(-2440589), "a date that PostgreSQL does not have"},
    {KIND_DATE, "date", "date", INT(INT64_MIN), "a date that PostgreSQL does not have"},
    {KIND_TIME, "time", "time", INT(-1), "not a time of day"},
    {KIND_TIME, "time", "time", INT(86400000001), "not a time of day"},
    {KIND_TIMESTAMP, "timestamp", "timestamp", INT(INT64_C(-210866803200000001)),
     "a timestamp that PostgreSQL does not have"},
    {KIND_TIMESTAMP, "timestamp", "timestamp", INT(INT64_MIN), "a timestamp that PostgreSQL does not have"},
#define ZONED(text) \
    { KIND_ZONED_TIMESTAMP, "timestamptz", "timestamptz", TEXT(text), "not an ISO 8601 timestamp in UTC" }
    ZONED(""),
    ZONED("-"),
    ZONED("2024"),
    ZONED("2024-01-02T03:04:05"),
    ZONED("2024-01-02T03:04:05+01:00"),
    ZONED("2024-01-02 03:04:05Z"),
    ZONED("2024-01-02T03:04:05.Z"),
    ZONED("2024-01-02T03:04:05.1234567Z"),
    ZONED("2024-01-02T03:04:05.12x456Z"),
    ZONED("024-01-02T03:04:05Z"),
    ZONED("+12345678-01-02T03:04:05Z"),
#undef ZONED
#define NOT_HSTORE(text) \
    { KIND_JSON, "hstore", "hstore", TEXT(text), "not a JSON object of strings and nulls, as hstore needs" }
    NOT_HSTORE(""),
    NOT_HSTORE("null"),
    NOT_HSTORE("[]"),
    NOT_HSTORE("{"),
    NOT_HSTORE("{}{"),
    NOT_HSTORE("{\"a\""),
    NOT_HSTORE("{\"a\":"),
    NOT_HSTORE("{\"a\":1}"),
    NOT_HSTORE("{\"a\":true}"),
    NOT_HSTORE("{\"a\":{}}"),
    NOT_HSTORE("{\"a\":\"b\",}"),
    NOT_HSTORE("{\"a\":\"b"),
    NOT_HSTORE("{\"a\":\"\\"),
    NOT_HSTORE("{\"a\":\"\\x\"}"),
    NOT_HSTORE("{\"a\":\"\\u12"),
    NOT_HSTORE("{\"a\":\"\\u0000\"}"),
    NOT_HSTORE("{\"a\":\"\\ud83d\"}"),
    NOT_HSTORE("{\"a\":\"\\ud83d\\u0041\"}"),
    NOT_HSTORE("{\"a\":\"\\udc18\"}"),
#undef NOT_HSTORE
};

static void what_has_no_form_has_a_reason_and_leaves_no_field(void **state) {
    (void)state;
    struct buf out = {0};
    for (size_t i = 0; i < sizeof refused_cases / sizeof *refused_cases; i++) {
        const struct print_case *c = &refused_cases[i];
        struct column column = column_of(c);
        buf_clear(&out);
        buf_puts(&out, "before");
        const char *reason = pg_copy_field(pg_printer(&column, c->into), &column, &c->value, &out);
        if (!reason || strcmp(reason, c->text) != 0)
            fail_msg("case %zu, %s: %s", i, c->into, reason ? reason : buf_cstr(&out));
        assert_string_equal(buf_cstr(&out), "before");
    }
    buf_free(&out);
}

/* ---- COPY ---- */

static void copy_escapes_what_it_must(void **state) {
    (void)state;
    static const struct {
        struct value value;
        const char *field;
    } cases[] = {
        {TEXT(""), ""},
        {TEXT("plain"), "plain"},
        {TEXT("plain and longer than eight bytes"), "plain and longer than eight bytes"},
        {TEXT("\\"), "\\\\"},
        {TEXT("\\N"), "\\\\N"},
        {TEXT("\\."), "\\\\."},
        {TEXT("\b\t\n\v\f\r"), "\\b\\t\\n\\v\\f\\r"},
        {TEXT("\x01\x07\x0e\x1f\x7f"), "\x01\x07\x0e\x1f\x7f"},
        {TEXT("1234567\t9abcdef\n1234567\\"), "1234567\\t9abcdef\\n1234567\\\\"},
        {TEXT("12345678\xc3\xbc\xc3\x9c\xe2\x82\xac\xf0\x9f\x90\x98\xc3\xbc"),
         "12345678\xc3\xbc\xc3\x9c\xe2\x82\xac\xf0\x9f\x90\x98\xc3\xbc"},
        {{VALUE_NULL, {0}}, "\\N"},
        {{VALUE_ABSENT, {0}}, "\\N"},
    };
    struct column column = {.kind = KIND_TEXT, .type = "text"};
    struct buf out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&out);
        buf_puts(&out, "a\t\\");
        assert_null(pg_copy_field(pg_printer(&column, "text"), &column, &cases[i].value, &out));
        assert_string_equal(buf_cstr(&out) + 3, cases[i].field);
    }
    struct column bytea = {.kind = KIND_BYTES, .type = "bytea"};
    struct value bytes = BYTES("\n\\");
    buf_clear(&out);
    assert_null(pg_copy_field(pg_printer(&bytea, "bytea"), &bytea, &bytes, &out));
    assert_string_equal(buf_cstr(&out), "\\\\x0a5c");
    buf_free(&out);
}

/* Every byte at every place of a text of every length around the stride of the fast scan. */
static void copy_escapes_at_every_place(void **state) {
    (void)state;
    struct column column = {.kind = KIND_TEXT, .type = "text"};
    struct buf out = {0};
    static const char specials[] = "\\\b\t\n\v\f\r", letters[] = "\\btnvfr";
    char text[20], expected[24];
    for (int c = 1; c < 256; c++)
        for (size_t len = 1; len < sizeof text; len++)
            for (size_t at = 0; at < len; at++) {
                const char *special = strchr(specials, c);
                memset(text, 'x', len);
                text[at] = (char)c;
                memcpy(expected, text, len);
                if (special) {
                    expected[at] = '\\';
                    expected[at + 1] = letters[special - specials];
                    memset(expected + at + 2, 'x', len - at - 1);
                }
                struct value value = {VALUE_TEXT, {.s = {text, len}}};
                buf_clear(&out);
                assert_null(pg_copy_field(pg_printer(&column, "text"), &column, &value, &out));
                assert_int_equal(out.len, len + (special != NULL));
                assert_memory_equal(out.data, expected, out.len);
            }
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_prints_what_postgresql_reads),
        cmocka_unit_test(floats_read_back_to_the_bit),
        cmocka_unit_test(what_has_no_form_has_a_reason_and_leaves_no_field),
        cmocka_unit_test(copy_escapes_what_it_must),
        cmocka_unit_test(copy_escapes_at_every_place),
    };
    return cmocka_run_group_tests_name("printing PostgreSQL's values", tests, NULL, NULL);
}
