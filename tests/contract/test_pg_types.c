/* Every PostgreSQL type at its edges, through a real server: stored, read by capture's reader, printed by the
 * sink's printer, stored again by COPY and as a parameter. The copies must equal the original as text, as the
 * type's binary form, and by the type's own equality where it has one. What stops must be in the list of
 * stops.
 *
 * MILLRACE_TEST_PG_SOURCE is the URL of a superuser; the test works in a database of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include <libpq-fe.h>

#include "capture/postgres/values.h"
#include "sink/values/values.h"

#define DATABASE "millrace_test_types"

/* ---- the types and their edges ---- */

/* Values as the type's input function reads them; one that begins with '=' is an SQL expression. NULL ends
 * the list, and every type gets an SQL NULL besides. */
struct type_case {
    const char *type;
    enum kind kind;
    const char *const *values;
    int since; /* first server version that has them; 0 = all */
};

#define VALUES(...)         \
    (const char *const[]) { \
        __VA_ARGS__, NULL   \
    }

#define TIMESTAMPS                                                                                      \
    "2024-01-02 03:04:05.123456", "2024-01-02 03:04:05", "1970-01-01 00:00:00",                         \
        "1969-12-31 23:59:59.999999", "1969-12-31 23:59:59.9", "2000-02-29 12:00",                      \
        "1900-02-28 23:59:59.000001", "0001-01-01 00:00:00", "0001-12-31 23:59:59.999999 BC",           \
        "0044-03-15 12:00:00 BC", "4714-11-24 00:00:00 BC", "4713-01-01 00:00:00 BC",                   \
        "9999-12-31 23:59:59.999999", "10000-01-01 00:00:00", "99999-06-15 01:02:03.04",                \
        "294246-12-31 23:59:59.999999", "294247-01-10 04:00:25.199999", "294247-01-10 04:00:25.2",      \
        "294247-01-10 04:00:25.200001", "294247-01-10 04:00:54.775807", "294247-01-10 04:00:54.775808", \
        "294276-12-31 23:59:59", "infinity", "-infinity"
static const char *const timestamps[] = {TIMESTAMPS, "294276-12-31 23:59:59.999999", NULL};
/* Rounded to a precision, the last microsecond falls into a year that the server does not read back. */
static const char *const timestamps_rounded[] = {TIMESTAMPS, NULL};
#undef TIMESTAMPS

static const char *const times[] = {"00:00:00",        "00:00:00.000001", "03:04:05.5", "12:34:56.123456",
                                    "23:59:59.999999", "24:00:00",        NULL};

static const char *const texts[] = {"",
                                    " ",
                                    "a",
                                    "trailing ",
                                    "N",
                                    "\\N",
                                    "\\.",
                                    "null",
                                    "NULL",
                                    "\\",
                                    "\\\\",
                                    "\"",
                                    "'",
                                    "a\tb\nc\rd\be\ff\vg",
                                    "\x01\x02\x1f\x7f",
                                    "gr\xc3\xbc\xc3\x9f",
                                    "\xe2\x82\xac",
                                    "\xf0\x9f\x90\x98",
                                    "e\xcc\x81",
                                    "\xef\xbb\xbf"
                                    "bom",
                                    "__debezium_unavailable_value",
                                    "=repeat('x', 100000)",
                                    "=repeat(E'\\\\\\n', 5000)",
                                    "=repeat('\xc3\xbc', 4001)",
                                    NULL};

static const char *const numerics[] = {"0",
                                       "0.0",
                                       "-1",
                                       "1.0",
                                       "1.00",
                                       "-1.500",
                                       "1e131071",
                                       "-1e-16383",
                                       "0.00000000000000000001",
                                       "NaN",
                                       "Infinity",
                                       "-Infinity",
                                       "12345678901234567890.123456789",
                                       "=repeat('9', 1000)::numeric",
                                       "=('-' || repeat('7', 1000))::numeric",
                                       "=('0.' || repeat('3', 1000))::numeric",
                                       "=(repeat('12', 500) || '.' || repeat('34', 500))::numeric",
                                       NULL};

static const struct type_case type_cases[] = {
    /* numbers */
    {"boolean", KIND_BOOL, VALUES("t", "f")},
    {"smallint", KIND_INT16, VALUES("0", "1", "-1", "32767", "-32768")},
    {"integer", KIND_INT32, VALUES("0", "-1", "2147483647", "-2147483648")},
    {"bigint", KIND_INT64, VALUES("0", "-1", "9223372036854775807", "-9223372036854775808")},
    {"oid", KIND_INT64, VALUES("0", "1", "2147483648", "4294967295")},
    {"real", KIND_FLOAT32,
     VALUES("0", "-0", "1", "-1.5", "0.1", "3.4028235e+38", "-3.4028235e+38", "1.1754944e-38", "1e-45",
            "16777216", "16777217", "1e6", "999999", "1000001", "123456.79", "8.589973e9", "3.3333333", "NaN",
            "Infinity", "-Infinity")},
    {"double precision", KIND_FLOAT64,
     VALUES("0", "-0", "1", "-1.5", "0.1", "0.30000000000000004", "1.7976931348623157e308",
            "-1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "9007199254740993", "1e15",
            "999999999999999", "1e22", "1e23", "1e-5", "0.0001", "3.141592653589793", "=1.0::float8/3", "NaN",
            "Infinity", "-Infinity")},
    {"numeric", KIND_TEXT, numerics},
    {"numeric(12,2)", KIND_DECIMAL,
     VALUES("0", "0.01", "-0.01", "9999999999.99", "-9999999999.99", "1.5", "NaN")},
    {"numeric(5,0)", KIND_DECIMAL, VALUES("0", "99999", "-99999")},
    {"numeric(3,3)", KIND_DECIMAL, VALUES("0", "0.999", "-0.001")},
    {"numeric(1000,500)", KIND_DECIMAL,
     VALUES("0", "=(repeat('9', 500) || '.' || repeat('9', 500))::numeric",
            "=('-' || repeat('1', 500))::numeric", "NaN")},
    {"numeric(1000,0)", KIND_DECIMAL,
     VALUES("=repeat('9', 1000)::numeric", "=('-' || repeat('8', 999))::numeric")},
    {"numeric(3,-2)", KIND_TEXT, VALUES("0", "12300", "-99900", "NaN"), 150000},
    {"numeric(3,5)", KIND_TEXT, VALUES("0", "0.00999", "-0.00001"), 150000},
    {"money", KIND_DECIMAL,
     VALUES("0", "0.01", "-0.01", "1", "-1.50", "999.99", "1000", "1234567.89", "92233720368547758.07",
            "-92233720368547758.08")},
    /* text */
    {"text", KIND_TEXT, texts},
    {"character varying", KIND_TEXT, texts},
    {"character varying(5)", KIND_TEXT,
     VALUES("", "abcde", "a   ", "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc")},
    {"character(5)", KIND_TEXT, VALUES("", "a", "abcde", "a\\b", "\xc3\xbc")},
    {"bpchar", KIND_TEXT, VALUES("", "a  ", "abc")},
    {"name", KIND_TEXT, VALUES("", "a name", "=repeat('n', 63)::name")},
    {"\"char\"", KIND_TEXT, VALUES("", "a", " ", "\\", "\t", "\x7f", "=(-1)::\"char\"")},
    {"citext", KIND_TEXT, VALUES("", "MiXeD", "mixed", "\xc3\x9c\\")},
    {"bytea", KIND_BYTES,
     VALUES("\\x", "\\x00", "\\x5c", "\\x0a0d09", "\\xdeadbeef", "=decode(repeat('00ff7f5c', 25000), 'hex')",
            "=(SELECT string_agg(set_byte('\\x00', 0, i), '' ORDER BY i) FROM generate_series(0, 255) i)")},
    {"json", KIND_JSON,
     VALUES("null", "{}", " { \"b\" : 1 , \"a\":[1,2.50,1e400], \"b\": 2 } ", "\"\\u0000\"",
            "\"\\ud83d\\udc18\"", "1.000", "\"a\\\\b\\n\"", "[\n\t1\n]")},
    {"jsonb", KIND_JSON,
     VALUES("null", "{}", "{\"b\": 1, \"a\": [1, 2.50, null, true]}", "1e300", "-0", "1.000",
            "\"\\\\ \\\" \\n \\u001f\"", "\"\\ud83d\\udc18\"", "[[[[]]]]",
            "=jsonb_build_object(repeat('k', 5000), repeat('9', 1000)::numeric)")},
    {"xml", KIND_XML,
     VALUES("", "<a/>", "<a b=\"c\">d &amp; e</a>", "text and <b/> content",
            "<!-- c --><a><![CDATA[ <> ]]></a>", "<?xml version=\"1.0\"?><a>\xc3\xbc</a>",
            "<?xml version=\"1.0\" standalone=\"yes\"?>\n<a/>", "<?xml version=\"1.1\"?><a/>",
            "<a>\n\t\\</a>")},
    {"uuid", KIND_UUID,
     VALUES("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11")},
    {"mood", KIND_ENUM, VALUES("sad", "", "so, so", "it's \"fine\"\\", "\xf0\x9f\x98\x80")},
    {"ltree", KIND_LTREE, VALUES("", "a", "Top.Science.Astronomy", "a_1.B2.c3")},
    {"lquery", KIND_TEXT, VALUES("Top.*{0,2}.sport*@.!football|tennis", "*")},
    {"ltxtquery", KIND_TEXT, VALUES("Europe & Russia*@ & !Transportation")},
    {"tsvector", KIND_TSVECTOR, VALUES("", "a fat cat", "a:1A,2B fat:16383C 'it''s':3 'b\\\\s':4D 'sp ace'")},
    {"tsquery", KIND_TEXT, VALUES("", "a & b | !c", "a:*AB <-> 'it''s' <3> b", "(a|b)&c")},
    {"hstore", KIND_JSON,
     VALUES("", "a=>1", "k=>v, n=>NULL, N=>\"NULL\"", "\"\"=>\"\"", "\"q\\\"\\\\\"=>\"=>,\\\"\\\\ \"",
            "\"\xc3\xbc\"=>\"\xf0\x9f\x90\x98\"", "=hstore(E'\\n\\t\\x01', E'\\r\\b\\f\\x1f\\x7f/')",
            "=(SELECT hstore(array_agg(i::text), array_agg(repeat('\\\"', i))) FROM generate_series(1, 300) "
            "i)")},
    /* bits */
    {"bit(1)", KIND_BOOL, VALUES("0", "1")},
    {"bit(9)", KIND_BITS, VALUES("000000000", "111111111", "100000000", "000000001")},
    {"bit(64)", KIND_BITS, VALUES("=repeat('1', 64)::bit(64)", "=1::bit(64)")},
    {"bit(1001)", KIND_BITS, VALUES("=repeat('10', 501)::bit(1001)", "=repeat('0', 1001)::bit(1001)")},
    {"bit varying", KIND_TEXT, VALUES("", "0", "1", "0000000000", "101")},
    {"bit varying(1)", KIND_TEXT, VALUES("", "0", "1")},
    {"bit varying(12)", KIND_TEXT, VALUES("", "000000000000", "1")},
    /* dates and times */
    {"date", KIND_DATE,
     VALUES("1970-01-01", "1969-12-31", "2000-02-29", "1900-02-28", "0001-01-01", "0001-12-31 BC",
            "0001-02-29 BC", "0044-03-15 BC", "4714-11-24 BC", "9999-12-31", "10000-01-01", "294277-01-01",
            "5874897-12-31", "infinity", "-infinity")},
    {"time", KIND_TIME, times},
    {"time(6)", KIND_TIME, times},
    {"time(4)", KIND_TIME, times},
    {"time(3)", KIND_TIME_MS, times},
    {"time(0)", KIND_TIME_MS, times},
    {"time with time zone", KIND_ZONED_TIME,
     VALUES("00:00:00+00", "03:04:05.5+05:30", "12:00:00-08", "24:00:00-15:59:59", "00:00:00+15:59:59",
            "24:00:00+00", "23:59:59.999999+15:59", "03:04:05.123456-00:00:01", "01:02:03-00:44:30")},
    {"time(2) with time zone", KIND_ZONED_TIME, VALUES("03:04:05.56789+05:30", "23:59:59.999-01")},
    {"timestamp", KIND_TIMESTAMP, timestamps},
    {"timestamp(4)", KIND_TIMESTAMP, timestamps_rounded},
    {"timestamp(3)", KIND_TIMESTAMP_MS, timestamps_rounded},
    {"timestamp(0)", KIND_TIMESTAMP_MS, timestamps_rounded},
    {"timestamp with time zone", KIND_ZONED_TIMESTAMP, timestamps},
    {"timestamp(1) with time zone", KIND_ZONED_TIMESTAMP, timestamps_rounded},
    {"timestamp(0) with time zone", KIND_ZONED_TIMESTAMP, timestamps_rounded},
    {"interval", KIND_INTERVAL,
     VALUES("0", "1 year 2 mons 3 days 04:05:06.78", "-1 year -2 mons -3 days -04:05:06.78",
            "-1 year +2 mons", "-1 year +2 days -00:00:00.000001", "1 mon -1 day", "1 day -00:00:01",
            "-1 day +24:00:00", "-0.5 sec", "24 hours", "1 day", "30 days", "1 mon", "00:00:59.999999",
            "-00:00:00.1", "2147483647 days", "-2147483648 days", "178956970 years 7 mons",
            "-178956970 years -8 mons", "2562047788:00:54.775807", "-2562047788:00:54.775807")},
    {"interval", KIND_INTERVAL, VALUES("infinity", "-infinity"), 170000},
    {"interval(0)", KIND_INTERVAL, VALUES("1.4 sec", "-1.6 sec")},
    {"interval year to month", KIND_INTERVAL, VALUES("-1-2", "11 mons")},
    /* network, ids */
    {"inet", KIND_TEXT,
     VALUES("0.0.0.0/0", "192.168.1.5", "192.168.1.5/24", "255.255.255.255/32", "::", "::1/0",
            "2001:db8::1/64", "::ffff:1.2.3.4")},
    {"cidr", KIND_TEXT, VALUES("10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::1/128")},
    {"macaddr", KIND_TEXT, VALUES("08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff")},
    {"macaddr8", KIND_TEXT, VALUES("08:00:2b:01:02:03:04:05", "00:00:00:00:00:00:00:00")},
    {"pg_lsn", KIND_TEXT, VALUES("0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF")},
    {"xid", KIND_TEXT, VALUES("0", "3", "4294967295")},
    {"xid8", KIND_TEXT, VALUES("0", "18446744073709551615")},
    {"cid", KIND_TEXT, VALUES("0", "4294967295")},
    {"tid", KIND_TEXT, VALUES("(0,0)", "(4294967295,65535)")},
    {"txid_snapshot", KIND_TEXT, VALUES("10:20:10,14,15")},
    {"pg_snapshot", KIND_TEXT, VALUES("10:20:10,14,15")},
    {"regclass", KIND_TEXT, VALUES("pg_class", "-", "4294967295")},
    {"regtype", KIND_TEXT, VALUES("integer", "numeric", "timestamp with time zone")},
    {"jsonpath", KIND_TEXT, VALUES("$", "strict $.a[*] ? (@.b > 1 && @ like_regex \"^x\" flag \"i\")")},
    {"refcursor", KIND_TEXT, VALUES("", "a \"cursor\"")},
    {"int2vector", KIND_TEXT, VALUES("", "1 -2 3")},
    {"oidvector", KIND_TEXT, VALUES("", "1 4294967295")},
    /* geometric */
    {"point", KIND_POINT,
     VALUES("(0,0)", "(-0,-0)", "(1.5,-2.25)", "(0.1,1e300)", "(5e-324,0.30000000000000004)",
            "(NaN,Infinity)", "(-Infinity,NaN)")},
    {"line", KIND_TEXT, VALUES("{1,2,3}", "{-0.1,1e300,0}", "[(0,0),(1,1)]")},
    {"lseg", KIND_TEXT, VALUES("[(0,0),(1,1)]", "[(-0.1,NaN),(Infinity,1e-300)]")},
    {"box", KIND_TEXT, VALUES("(1,1),(0,0)", "(0.1,0.2),(0.3,0.4)", "(Infinity,1),(-Infinity,-1)")},
    {"path", KIND_TEXT, VALUES("[(0,0),(1,1),(2,0)]", "((0,0),(1,1),(2,0))", "((0.1,-0))")},
    {"polygon", KIND_TEXT, VALUES("((0,0),(1,1),(2,0))", "((0.30000000000000004,NaN))")},
    {"circle", KIND_TEXT, VALUES("<(0,0),1>", "<(0.1,-0.2),Infinity>", "<(1,1),0>")},
    /* arrays */
    {"integer[]", KIND_TEXT,
     VALUES("{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:2]={1,2,3}", "[-1:0][2:3]={{1,NULL},{NULL,4}}",
            "{{{{{{1}}}}}}", "=array_fill(7, ARRAY[30,30])")},
    {"text[]", KIND_TEXT,
     VALUES("{}", "{NULL,\"NULL\",null}", "{\"\",\" \",\"a,b\",\"{}\",\"\\\"\",\"\\\\\"}",
            "{{\"a,b\",NULL},{\"NULL\",\"\\\"q\\\"\"}}",
            "=ARRAY[E'\\t\\n\\r\\b\\f\\v', '\xf0\x9f\x90\x98', '\\N']", "[5:6]={x,y}")},
    {"boolean[]", KIND_TEXT, VALUES("{t,f,NULL}")},
    {"\"char\"[]", KIND_TEXT, VALUES("{a,\"\\\\\",NULL,\"\"}")},
    {"numeric[]", KIND_TEXT, VALUES("{NaN,Infinity,-Infinity,1.00,NULL}")},
    {"numeric(5,2)[]", KIND_TEXT, VALUES("{1,NaN,-999.99}")},
    {"double precision[]", KIND_TEXT, VALUES("{-0,NaN,Infinity,5e-324,0.30000000000000004}")},
    {"bytea[]", KIND_TEXT, VALUES("{\"\\\\x\",\"\\\\x00ff5c\",NULL}")},
    {"money[]", KIND_TEXT, VALUES("{1000,-92233720368547758.08}")},
    {"timestamp with time zone[]", KIND_TEXT,
     VALUES("{infinity,-infinity,\"0044-03-15 12:00:00 BC\",\"294276-12-31 23:59:59.999999\"}")},
    {"timestamp[]", KIND_TEXT, VALUES("{\"294276-12-31 23:59:59.999999\",\"4714-11-24 00:00:00 BC\"}")},
    {"interval[]", KIND_TEXT, VALUES("{\"-1 year +2 days -00:00:00.000001\",0}")},
    {"json[]", KIND_TEXT, VALUES("{\"{\\\"a\\\": [1, 2]}\",\"null\",NULL}")},
    {"point[]", KIND_TEXT, VALUES("{\"(1,2)\",\"(-0,NaN)\"}")},
    {"box[]", KIND_TEXT, VALUES("{(1,1),(0,0);(2,2),(1,1);NULL}")},
    {"uuid[]", KIND_TEXT, VALUES("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}")},
    {"bit(3)[]", KIND_TEXT, VALUES("{010,111}")},
    {"xml[]", KIND_TEXT, VALUES("{\"<a b=\\\"c\\\"/>\"}")},
    {"mood[]", KIND_TEXT, VALUES("{sad,\"\",\"so, so\",\"it's \\\"fine\\\"\\\\\"}")},
    {"pair[]", KIND_TEXT, VALUES("{\"(1,\\\"a,\\\\\\\"b\\\\\\\"\\\")\",\"(,)\",NULL}")},
    {"hstore[]", KIND_TEXT, VALUES("{\"\\\"a\\\"=>\\\"b\\\"\",\"\"}")},
    {"int4range[]", KIND_TEXT, VALUES("{\"[1,5)\",empty}")},
    {"small[]", KIND_TEXT, VALUES("{1,2,NULL}")},
    /* ranges */
    {"int4range", KIND_TEXT, VALUES("empty", "[1,5)", "(,)", "[2147483646,2147483647)", "(,1]")},
    {"int8range", KIND_TEXT, VALUES("[-9223372036854775808,9223372036854775807)", "(,)")},
    {"numrange", KIND_TEXT, VALUES("[1.0,1.00]", "(1.5,)", "[NaN,NaN]", "(-Infinity,Infinity)", "empty")},
    {"tsrange", KIND_TEXT,
     VALUES("[\"4714-11-24 00:00:00 BC\",\"294276-12-31 23:59:59.999999\"]", "(,infinity]")},
    {"tstzrange", KIND_TEXT, VALUES("[\"2024-01-02 03:04:05+05:30\",infinity)", "(,)")},
    {"daterange", KIND_TEXT, VALUES("[0044-03-15 BC,2024-01-01)", "(-infinity,infinity)", "empty")},
    {"textrange", KIND_TEXT, VALUES("[\"\",\"a,b\"]", "(\"\\\"\",\"\\\\\\\\\"]")},
    {"int4multirange", KIND_TEXT, VALUES("{}", "{[1,3),[5,6)}", "{(,)}")},
    {"int8multirange", KIND_TEXT, VALUES("{}", "{[-9223372036854775808,1)}")},
    {"nummultirange", KIND_TEXT, VALUES("{[1.0,2.50],(3,)}")},
    {"tsmultirange", KIND_TEXT, VALUES("{[\"2024-01-02 03:04:05\",infinity]}")},
    {"tstzmultirange", KIND_TEXT, VALUES("{[\"2024-01-02 03:04:05+00\",infinity]}")},
    {"datemultirange", KIND_TEXT, VALUES("{[2024-01-02,2024-02-03),[2025-01-01,)}")},
    /* composites and domains */
    {"pair", KIND_TEXT, VALUES("(1,a)", "(,)", "(1,\"\")", "(1,\"a,\"\"b\\\\\")", "(-1,\"(nested)\")")},
    {"nested", KIND_TEXT,
     VALUES("(\"(1,\"\"a \"\"\"\"b\"\"\"\"\"\")\",\"{\"\"(2,x)\"\",NULL}\",2024-01-02)", "(,,)")},
    {"small", KIND_INT32, VALUES("0", "99")},
    {"price", KIND_DECIMAL, VALUES("0", "99999.999", "-0.001")},
    {"smaller", KIND_INT32, VALUES("0", "9")},
    {"moods", KIND_TEXT, VALUES("{sad,\"\"}")},
};

static const char *const schema_sql =
    "CREATE EXTENSION hstore; CREATE EXTENSION citext; CREATE EXTENSION ltree;"
    "CREATE TYPE mood AS ENUM ('sad', '', 'so, so', 'it''s \"fine\"\\', '\xf0\x9f\x98\x80');"
    "CREATE TYPE pair AS (n integer, t text);"
    "CREATE TYPE nested AS (p pair, ps pair[], d date);"
    "CREATE TYPE textrange AS RANGE (subtype = text);"
    "CREATE DOMAIN small AS integer CHECK (VALUE < 100);"
    "CREATE DOMAIN smaller AS small CHECK (VALUE < 10);"
    "CREATE DOMAIN price AS numeric(8,3);"
    "CREATE DOMAIN moods AS mood[];";

/* The values that cannot be carried, and why. Each must stop, and nothing else may. */
struct stop {
    const char *type, *value, *reason;
    bool seen;
};

static struct stop stops[] = {
    {"numeric(12,2)", "NaN", "NaN is not a decimal; numerics as strings carry it", false},
    {"numeric(1000,500)", "NaN", "NaN is not a decimal; numerics as strings carry it", false},
#define FAR(type, text) \
    { type, text, "outside the range of microseconds since 1970", false }
#define SENTINEL(type, text) \
    { type, text, "the very microsecond that means infinity on the wire", false }
    SENTINEL("timestamp", "294247-01-10 04:00:25.2"),
    FAR("timestamp", "294247-01-10 04:00:54.775808"),
    FAR("timestamp", "294276-12-31 23:59:59.999999"),
    FAR("timestamp", "294276-12-31 23:59:59"),
    SENTINEL("timestamp(4)", "294247-01-10 04:00:25.2"),
    SENTINEL("timestamp(4)", "294247-01-10 04:00:25.199999"),
    SENTINEL("timestamp(4)", "294247-01-10 04:00:25.200001"),
    FAR("timestamp(4)", "294276-12-31 23:59:59"),
    SENTINEL("timestamp(3)", "294247-01-10 04:00:25.2"),
    SENTINEL("timestamp(3)", "294247-01-10 04:00:25.199999"),
    SENTINEL("timestamp(3)", "294247-01-10 04:00:25.200001"),
    FAR("timestamp(3)", "294247-01-10 04:00:54.775808"),
    FAR("timestamp(3)", "294276-12-31 23:59:59"),
    FAR("timestamp(3)", "294247-01-10 04:00:54.775807"),
    FAR("timestamp(0)", "294247-01-10 04:00:54.775808"),
    FAR("timestamp(0)", "294276-12-31 23:59:59"),
    FAR("timestamp(0)", "294247-01-10 04:00:54.775807"),
#undef FAR
#undef SENTINEL
    /* Before 15 a byte above 127 is printed as it is, which is no UTF-8; from 15 on as \377, and carried. */
    {"\"char\"", "=(-1)::\"char\"", "not valid UTF-8", false},
};

/* ---- the server ---- */

static PGconn *connect_to(const char *database) {
    const char *url = getenv("MILLRACE_TEST_PG_SOURCE");
    if (!url || !*url)
        fail_msg("MILLRACE_TEST_PG_SOURCE is not set: the URL of a superuser of a PostgreSQL server");
    const char *keys[] = {"dbname", "dbname", NULL}, *values[] = {url, database, NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 1);
    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    return conn;
}

static PGresult *check(PGconn *conn, PGresult *result, const char *sql) {
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_COPY_IN)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    return result;
}

__attribute__((format(printf, 2, 3))) static void run(PGconn *conn, const char *format, ...) {
    char *sql = NULL;
    va_list args;
    va_start(args, format);
    int len = vasprintf(&sql, format, args);
    va_end(args);
    assert_true(len >= 0);
    PQclear(check(conn, PQexec(conn, sql), sql));
    free(sql);
}

static PGresult *query(PGconn *conn, const char *sql, int binary) {
    return check(conn, PQexecParams(conn, sql, 0, NULL, NULL, NULL, NULL, binary), sql);
}

static int make_database(void **state) {
    PGconn *conn = connect_to("postgres");
    run(conn, "SET client_min_messages = warning");
    run(conn, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
    run(conn, "CREATE DATABASE " DATABASE " TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'");
    PQfinish(conn);
    conn = connect_to(DATABASE);
    run(conn, "%s", schema_sql);
    run(conn, "SET DateStyle = 'ISO, YMD'; SET IntervalStyle = iso_8601; SET TimeZone = 'UTC';"
              "SET extra_float_digits = 3; SET bytea_output = hex; SET lc_monetary = 'C';"
              "SET xmloption = content; SET client_encoding = 'UTF8'; SET client_min_messages = warning");
    *state = conn;
    return 0;
}

static int drop_database(void **state) {
    PQfinish(*state);
    PGconn *conn = connect_to("postgres");
    run(conn, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
    PQfinish(conn);
    return 0;
}

/* ---- one type ---- */

static int n_values(const struct type_case *c) {
    int n = 0;
    while (c->values[n])
        n++;
    return n;
}

/* Rows 0..n-1 are the values, row n is NULL. */
static void fill_source(PGconn *conn, const struct type_case *c) {
    run(conn, "DROP TABLE IF EXISTS source, copied, packed, sent; CREATE TABLE source (n integer, v %s)",
        c->type);
    run(conn, "CREATE TABLE copied (LIKE source); CREATE TABLE packed (LIKE source); CREATE TABLE sent (LIKE "
              "source)");
    for (int n = 0; n < n_values(c); n++) {
        if (c->values[n][0] == '=') {
            run(conn, "INSERT INTO source VALUES (%d, %s)", n, c->values[n] + 1);
            continue;
        }
        char row[16];
        snprintf(row, sizeof row, "%d", n);
        const char *values[] = {row, c->values[n]};
        const char *sql = "INSERT INTO source VALUES ($1, $2)";
        PGresult *result = PQexecParams(conn, sql, 2, NULL, values, NULL, NULL, 0);
        if (PQresultStatus(result) != PGRES_COMMAND_OK)
            fail_msg("%s '%s': %s", c->type, c->values[n], PQerrorMessage(conn));
        PQclear(result);
    }
    run(conn, "INSERT INTO source VALUES (%d, NULL)", n_values(c));
}

/* The type of source.v, domains resolved. */
static const char type_sql[] =
    "WITH RECURSIVE r AS ("
    "  SELECT atttypid AS oid, atttypmod AS typmod FROM pg_attribute"
    "   WHERE attrelid = 'source'::regclass AND attname = 'v'"
    "  UNION ALL SELECT t.typbasetype, CASE WHEN r.typmod < 0 THEN t.typtypmod ELSE r.typmod END"
    "    FROM r JOIN pg_type t ON t.oid = r.oid WHERE t.typtype = 'd')"
    "SELECT t.oid, r.typmod, t.typtype, t.typcategory, n.nspname, t.typname, format_type(t.oid, r.typmod)"
    "  FROM r JOIN pg_type t ON t.oid = r.oid JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype "
    "<> 'd'";

static struct column describe(PGconn *conn, struct arena *arena, uint32_t *ret_oid) {
    static const char *const no_labels[] = {NULL};
    PGresult *result = query(conn, type_sql, 0);
    assert_int_equal(PQntuples(result), 1);
    struct pg_type type = {.oid = (uint32_t)strtoul(PQgetvalue(result, 0, 0), NULL, 10),
                           .typmod = (int32_t)strtol(PQgetvalue(result, 0, 1), NULL, 10),
                           .typtype = PQgetvalue(result, 0, 2)[0],
                           .category = PQgetvalue(result, 0, 3)[0],
                           .schema = arena_strdup(arena, PQgetvalue(result, 0, 4)),
                           .name = arena_strdup(arena, PQgetvalue(result, 0, 5)),
                           .text = arena_strdup(arena, PQgetvalue(result, 0, 6))};
    *ret_oid = type.oid;
    type.labels = type.typtype == 'e' ? no_labels : NULL;
    const struct pg_type_policy policy = {PG_NUMERIC_PRECISE};
    struct column column = {.name = "v", .nullable = true};
    pg_column_kind(&type, &policy, &column);
    PQclear(result);
    return column;
}

static bool expected_stop(const char *type, const char *value, const char *reason) {
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        struct stop *s = &stops[i];
        if (strcmp(s->type, type) == 0 && strcmp(s->value, value) == 0 && strcmp(s->reason, reason) == 0)
            return s->seen = true;
    }
    return false;
}

static void send_as_parameter(PGconn *conn, const char *type, const char *row, const char *text) {
    const char *values[] = {row, text}, *sql = "INSERT INTO sent VALUES ($1, $2)";
    PGresult *result = PQexecParams(conn, sql, 2, NULL, values, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s '%s' printed as '%s': %s", type, values[0], text, PQerrorMessage(conn));
    PQclear(result);
}

/* What COPY will send; `form` NULL: the type has no binary form. */
struct copies {
    struct buf text, binary;
    pg_binary_f *form;
};

static void add_to_copies(struct copies *copies, const struct column *column, int n,
                          const struct value *value) {
    struct column number = {.kind = KIND_INT32, .type = "integer"};
    struct value row = {VALUE_INT, {.i = n}};
    buf_printf(&copies->text, "%d\t", n);
    assert_null(pg_copy_field(pg_printer(column, column->type), column, value, &copies->text));
    buf_putc(&copies->text, '\n');
    if (!copies->form)
        return;
    buf_put(&copies->binary, "\0\2", 2);
    assert_null(pg_copy_binary(pg_binary(&number, 23), &number, &row, &copies->binary));
    assert_null(pg_copy_binary(copies->form, column, value, &copies->binary));
}

/* One row read, printed, sent as a parameter and added to what COPY will send; a stop is dropped from the
 * source. */
static void carry(PGconn *conn, const struct type_case *c, const struct column *column, int n,
                  struct slice text, struct copies *copies) {
    struct arena scratch = {0};
    CLEANUP_BUF printed = {0};
    struct value value = {VALUE_NULL, {0}};
    char row[16];
    snprintf(row, sizeof row, "%d", n);
    const char *reason = c->values[n] ? pg_reader(column)(column, text, &scratch, &value) : NULL;
    if (reason) {
        if (!expected_stop(c->type, c->values[n], reason))
            fail_msg("%s '%s' is not carried: %s", c->type, c->values[n], reason);
        run(conn, "DELETE FROM source WHERE n = %d", n);
        arena_free(&scratch);
        return;
    }
    pg_print_f *print = pg_printer(column, column->type);
    if (value.tag != VALUE_NULL) {
        assert_int_equal(value.tag, kind_tag(column->kind));
        assert_null(print(column, &value, &printed));
    }
    send_as_parameter(conn, c->type, row, value.tag == VALUE_NULL ? NULL : buf_cstr(&printed));
    add_to_copies(copies, column, n, &value);
    arena_free(&scratch);
}

static void send_copy(PGconn *conn, const char *sql, const struct buf *copy) {
    PQclear(check(conn, PQexec(conn, sql), "COPY"));
    assert_int_equal(PQputCopyData(conn, copy->data, (int)copy->len), 1);
    assert_int_equal(PQputCopyEnd(conn, NULL), 1);
    PGresult *result = PQgetResult(conn);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    PQclear(result);
    while ((result = PQgetResult(conn)))
        PQclear(result);
}

static void send_copies(PGconn *conn, struct copies *copies) {
    static const char header[19] = "PGCOPY\n\377\r\n";
    CLEANUP_BUF all = {0};
    send_copy(conn, "COPY copied FROM STDIN", &copies->text);
    if (copies->form) {
        buf_put(&all, header, sizeof header);
        buf_put_slice(&all, buf_slice(&copies->binary));
        buf_put(&all, "\377\377", 2);
        send_copy(conn, "COPY packed FROM STDIN (FORMAT binary)", &all);
    } else
        run(conn, "INSERT INTO packed SELECT * FROM copied");
    buf_free(&copies->text);
    buf_free(&copies->binary);
}

static bool same_field(const PGresult *result, int row, int a, int b) {
    if (PQgetisnull(result, row, a) || PQgetisnull(result, row, b))
        return PQgetisnull(result, row, a) && PQgetisnull(result, row, b);
    int len = PQgetlength(result, row, a);
    return len == PQgetlength(result, row, b) &&
           memcmp(PQgetvalue(result, row, a), PQgetvalue(result, row, b), (size_t)len) == 0;
}

static void compare_forms(PGconn *conn, const struct type_case *c, int binary) {
    PGresult *result =
        query(conn,
              "SELECT n, source.v, copied.v, sent.v, packed.v FROM source FULL JOIN copied USING (n)"
              " FULL JOIN sent USING (n) FULL JOIN packed USING (n) ORDER BY n",
              binary);
    for (int row = 0; row < PQntuples(result); row++)
        if (!same_field(result, row, 1, 2) || !same_field(result, row, 1, 3) ||
            !same_field(result, row, 1, 4))
            fail_msg(
                "%s, row %d, %s form: '%s' became '%s' by COPY, '%s' as a parameter, '%s' by binary COPY",
                c->type, row, binary ? "binary" : "text", PQgetvalue(result, row, 1),
                PQgetvalue(result, row, 2), PQgetvalue(result, row, 3), PQgetvalue(result, row, 4));
    PQclear(result);
}

/* xid8, json, point and others have no equality: 42883. The binary form has judged them. */
static void compare_by_equality(PGconn *conn, const struct type_case *c) {
    PGresult *result =
        PQexec(conn, "SELECT count(*) FROM source JOIN copied USING (n) JOIN sent USING (n)"
                     " WHERE source.v IS DISTINCT FROM copied.v OR source.v IS DISTINCT FROM sent.v");
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    if (!state || strcmp(state, "42883") != 0) {
        check(conn, result, c->type);
        assert_string_equal(PQgetvalue(result, 0, 0), "0");
    }
    PQclear(result);
}

/* The types that must have a binary form, for a table has one only if all its columns have. */
static struct {
    const char *type;
    bool seen;
} packed_types[] = {
    {"boolean", false},       {"smallint", false},  {"integer", false},
    {"bigint", false},        {"real", false},      {"double precision", false},
    {"numeric(12,2)", false}, {"text", false},      {"character varying(5)", false},
    {"character(5)", false},  {"bytea", false},     {"uuid", false},
    {"json", false},          {"jsonb", false},     {"date", false},
    {"time", false},          {"timestamp", false}, {"timestamp with time zone", false},
};

static void note_form(const char *type, pg_binary_f *form) {
    for (size_t i = 0; i < sizeof packed_types / sizeof *packed_types; i++)
        if (strcmp(packed_types[i].type, type) == 0)
            packed_types[i].seen = form != NULL;
}

static void round_trip(PGconn *conn, const struct type_case *c) {
    struct arena arena = {0};
    struct copies copies = {0};
    uint32_t oid;
    fill_source(conn, c);
    struct column column = describe(conn, &arena, &oid);
    copies.form = pg_binary(&column, oid);
    note_form(c->type, copies.form);
    if (column.kind != c->kind)
        fail_msg("%s (%s): %s, not %s", c->type, column.type, kind_name(column.kind), kind_name(c->kind));
    PGresult *result = query(conn, "SELECT v FROM source ORDER BY n", 0);
    assert_int_equal(PQntuples(result), n_values(c) + 1);
    for (int n = 0; n < PQntuples(result); n++) {
        struct slice text = slice_make(PQgetvalue(result, n, 0), (size_t)PQgetlength(result, n, 0));
        carry(conn, c, &column, n, text, &copies);
    }
    PQclear(result);
    send_copies(conn, &copies);
    compare_forms(conn, c, 0);
    compare_forms(conn, c, 1);
    compare_by_equality(conn, c);
    arena_free(&arena);
}

static void every_type_comes_back_unchanged_or_stops_by_name(void **state) {
    PGconn *conn = *state;
    for (size_t i = 0; i < sizeof type_cases / sizeof *type_cases; i++)
        if (PQserverVersion(conn) >= type_cases[i].since)
            round_trip(conn, &type_cases[i]);
    for (size_t i = 0; i < sizeof packed_types / sizeof *packed_types; i++)
        if (!packed_types[i].seen)
            fail_msg("%s has no binary form", packed_types[i].type);
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        bool not_here = strcmp(stops[i].type, "\"char\"") == 0 && PQserverVersion(conn) >= 150000;
        if (!stops[i].seen && !not_here)
            fail_msg("%s '%s' should have stopped: %s", stops[i].type, stops[i].value, stops[i].reason);
    }
}

/* Every type there is in pg_catalog that a table can have: none may be one that we never tried. */
static void no_built_in_type_is_forgotten(void **state) {
    PGconn *conn = *state;
    CLEANUP_BUF types = {0};
    for (size_t i = 0; i < sizeof type_cases / sizeof *type_cases; i++)
        buf_printf(&types, "%s'%s'::regtype", i ? "," : "", type_cases[i].type);
    CLEANUP_BUF sql = {0};
    buf_printf(
        &sql,
        "SELECT string_agg(format_type(oid, NULL), ', ' ORDER BY typname) FROM pg_type"
        " WHERE typnamespace = 'pg_catalog'::regnamespace AND typtype IN ('b', 'r', 'm') AND typelem = 0"
        " AND oid::regtype <> ALL (ARRAY[%s])"
        " AND typname !~ "
        "'^(reg|pg_node_tree|pg_ndistinct|pg_dependencies|pg_mcv_list|pg_brin|aclitem|gtsvector)'",
        buf_cstr(&types));
    PGresult *result = query(conn, buf_cstr(&sql), 0);
    if (!PQgetisnull(result, 0, 0))
        fail_msg("not tried: %s", PQgetvalue(result, 0, 0));
    PQclear(result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_comes_back_unchanged_or_stops_by_name),
        cmocka_unit_test(no_built_in_type_is_forgotten),
    };
    return cmocka_run_group_tests_name("PostgreSQL's types", tests, make_database, drop_database);
}
