/* The judges: Avro C, which reads every record and must write the same bytes again; the decoder; and, for
 * decimals and hashes, vectors computed by other means (Python's integers, a second implementation of the
 * hash). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <avro.h>
#include <math.h>
#include <stdio.h>

#include "decode_help.h"
#include "schemas/avro_schema.h"
#include "schemas/decode.h"
#include "schemas/encode.h"

#define NOW   INT64_C(1700000001234567)
#define TOPIC "shop.public.t"

static const struct encoder_identity identity = {"postgresql", "shop", "shopdb"};

/* ---- Avro C -------------------------------------------------------------------------------------------- */

struct judge {
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
};

static void judge_rewrite(struct judge *j, struct slice body) {
    size_t size = 0;
    assert_int_equal(avro_value_sizeof(&j->value, &size), 0);
    assert_int_equal(size, body.len);
    char *again = xmalloc(size + 16);
    avro_writer_t writer = avro_writer_memory(again, (int64_t)size + 16);
    assert_int_equal(avro_value_write(writer, &j->value), 0);
    assert_int_equal(avro_writer_tell(writer), body.len);
    assert_memory_equal(again, body.data, body.len);
    avro_writer_free(writer);
    free(again);
}

/* Reads a framed record with the schema that its frame names, and writes it again to the same bytes. */
static void judge_open(struct judge *j, struct memory_store *memory, struct slice framed) {
    assert_true(framed.len >= 5);
    assert_int_equal(framed.data[0], 0);
    uint32_t id = 0;
    for (int i = 1; i < 5; i++)
        id = id << 8 | (unsigned char)framed.data[i];
    assert_true(id < memory->n);
    CLEANUP_BUF stripped = {0};
    assert_int_equal(avro_schema_strip(buf_slice(&memory->texts[id]), &stripped, NULL), OK);
    assert_int_equal(avro_schema_from_json_length(stripped.data, stripped.len, &j->schema), 0);
    j->iface = avro_generic_class_from_schema(j->schema);
    assert_int_equal(avro_generic_value_new(j->iface, &j->value), 0);
    struct slice body = slice_make(framed.data + 5, framed.len - 5);
    avro_reader_t reader = avro_reader_memory(body.data, (int64_t)body.len);
    if (avro_value_read(reader, &j->value) != 0)
        fail_msg("Avro C cannot read it: %s", avro_strerror());
    avro_reader_free(reader);
    judge_rewrite(j, body);
}

static void judge_close(struct judge *j) {
    avro_value_decref(&j->value);
    avro_value_iface_decref(j->iface);
    avro_schema_decref(j->schema);
}

static avro_value_t branch(avro_value_t value) {
    avro_value_t inner = value;
    if (value.iface && avro_value_get_type(&value) == AVRO_UNION)
        assert_int_equal(avro_value_get_current_branch(&value, &inner), 0);
    return inner;
}

/* "after.price": a field of a field, through unions. */
static avro_value_t field(avro_value_t value, const char *path) {
    while (*path) {
        char name[64];
        size_t len = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)len, path);
        avro_value_t inner = {0};
        value = branch(value);
        if (!value.iface || avro_value_get_by_name(&value, name, &inner, NULL) != 0)
            fail_msg("no field %s", name);
        value = inner;
        path += len + (path[len] == '.');
    }
    return branch(value);
}

static void print_hex(struct buf *out, const void *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "%02x", ((const unsigned char *)data)[i]);
}

static void print_double(struct buf *out, double number) {
    if (isnan(number))
        buf_puts(out, "nan");
    else
        buf_printf(out, "%.17g", number);
}

static void print_number(avro_value_t value, struct buf *out) {
    int32_t i32 = 0;
    int64_t i64 = 0;
    float f = 0;
    double d = 0;
    switch (avro_value_get_type(&value)) {
    case AVRO_INT32:
        assert_int_equal(avro_value_get_int(&value, &i32), 0);
        buf_printf(out, "%d", i32);
        break;
    case AVRO_INT64:
        assert_int_equal(avro_value_get_long(&value, &i64), 0);
        buf_printf(out, "%lld", (long long)i64);
        break;
    case AVRO_FLOAT:
        assert_int_equal(avro_value_get_float(&value, &f), 0);
        print_double(out, (double)f);
        break;
    default:
        assert_int_equal(avro_value_get_double(&value, &d), 0);
        print_double(out, d);
    }
}

/* A value as Avro C read it: numbers as text, bytes as hex, null, true, a point as its numbers. */
static const char *print(avro_value_t value, struct buf *out) {
    const void *bytes = "";
    const char *text = "";
    size_t len = 0;
    int flag = 0;
    buf_clear(out);
    if (!value.iface)
        return "";
    switch (avro_value_get_type(&value)) {
    case AVRO_NULL:
        buf_puts(out, "null");
        break;
    case AVRO_BOOLEAN:
        assert_int_equal(avro_value_get_boolean(&value, &flag), 0);
        buf_puts(out, flag ? "true" : "false");
        break;
    case AVRO_STRING:
        assert_int_equal(avro_value_get_string(&value, &text, &len), 0);
        buf_put(out, text, len ? len - 1 : 0); /* Avro C counts the NUL that it adds */
        break;
    case AVRO_BYTES:
        assert_int_equal(avro_value_get_bytes(&value, &bytes, &len), 0);
        print_hex(out, bytes, len);
        break;
    case AVRO_RECORD:
        print_number(field(value, "x"), out);
        buf_putc(out, ' ');
        print_number(field(value, "y"), out);
        break;
    default:
        print_number(value, out);
    }
    return buf_cstr(out);
}

/* ---- fixture: a table, its encoder, one record --------------------------------------------------------- */

struct fixture {
    struct memory_store memory;
    struct encoder *encoder;
    struct buf key, value, text;
    struct judge judge;
    bool judged;
    int column;
    struct err err;
};

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    f->memory = (struct memory_store)MEMORY_STORE;
    *state = f;
    return 0;
}

static void forget(struct fixture *f) {
    if (f->judged)
        judge_close(&f->judge);
    f->judged = false;
    encoder_free(f->encoder);
    f->encoder = NULL;
    schema_store_free(&f->memory.store);
    buf_clear(&f->key);
    buf_clear(&f->value);
}

static int teardown(void **state) {
    struct fixture *f = *state;
    forget(f);
    buf_free(&f->key);
    buf_free(&f->value);
    buf_free(&f->text);
    for (uint32_t i = 0; i < MEMORY_SCHEMAS_MAX; i++)
        buf_free(&f->memory.texts[i]);
    free(f);
    return 0;
}

static enum code encode(struct fixture *f, const struct change *change) {
    forget(f);
    assert_int_equal(encoder_new(change->table, TOPIC, &identity, &f->memory.store, &f->encoder, &f->err),
                     OK);
    return encoder_change(f->encoder, change, NOW, &f->key, &f->value, &f->column, &f->err);
}

/* Encodes and judges; then f->judge.value is the envelope. */
static void encode_ok(struct fixture *f, const struct change *change) {
    if (encode(f, change) != OK)
        fail_msg("%s", f->err.text);
    if (f->key.len) {
        struct judge key;
        judge_open(&key, &f->memory, buf_slice(&f->key));
        judge_close(&key);
    }
    judge_open(&f->judge, &f->memory, buf_slice(&f->value));
    f->judged = true;
}

static const char *seen(struct fixture *f, const char *path) {
    return print(field(f->judge.value, path), &f->text);
}

#define TEXT(t)                                       \
    {                                                 \
        .tag = VALUE_TEXT, .s = {(t), sizeof(t) - 1 } \
    }
#define BYTES(t)                                       \
    {                                                  \
        .tag = VALUE_BYTES, .s = {(t), sizeof(t) - 1 } \
    }
#define INT(n) \
    { .tag = VALUE_INT, .i = (n) }
#define FLOAT(n) \
    { .tag = VALUE_FLOAT, .d = (n) }
#define NUMERIC(p, s) \
    { "c", "numeric", KIND_DECIMAL, .precision = (p), .scale = (s) }
#define KIND(k) \
    { "c", "x", KIND_##k }

static struct table table_of(struct column *columns, int n) {
    struct table table = {.schema = "public", .name = "t", .columns = columns, .n_columns = n};
    for (int i = 0; i < n; i++)
        columns[i].length = columns[i].kind == KIND_BITS ? columns[i].length : -1;
    table.digest = table_digest(&table);
    return table;
}

static struct change change_of(enum op op, const struct table *table, const struct value *before,
                               const struct value *after) {
    return (struct change){.op = op,
                           .table = table,
                           .position = {3, 0x16B3748, 2},
                           .before = before,
                           .after = after,
                           .commit_us = INT64_C(1700000000123456),
                           .lsn = 0x16B3700,
                           .xid = 777};
}

/* ---- values -------------------------------------------------------------------------------------------- */

static const struct {
    struct column column;
    struct value value;
    const char *seen;
} carried[] = {
    {KIND(BOOL), INT(0), "false"},
    {KIND(BOOL), INT(1), "true"},
    {KIND(INT16), INT(INT16_MIN), "-32768"},
    {KIND(INT16), INT(INT16_MAX), "32767"},
    {KIND(INT32), INT(INT32_MIN), "-2147483648"},
    {KIND(INT32), INT(INT32_MAX), "2147483647"},
    {KIND(INT32), INT(63), "63"},
    {KIND(INT32), INT(64), "64"},
    {KIND(INT32), INT(-64), "-64"},
    {KIND(INT32), INT(-65), "-65"},
    {KIND(INT64), INT(INT64_MIN), "-9223372036854775808"},
    {KIND(INT64), INT(INT64_MAX), "9223372036854775807"},
    {KIND(FLOAT32), FLOAT(-0.0), "-0"},
    {KIND(FLOAT32), FLOAT(0.100000001490116119384765625), "0.10000000149011612"},
    {KIND(FLOAT32), FLOAT(-INFINITY), "-inf"},
    {KIND(FLOAT32), FLOAT(NAN), "nan"},
    {KIND(FLOAT32), FLOAT(1.401298464324817e-45), "1.4012984643248171e-45"},
    {KIND(FLOAT64), FLOAT(-0.0), "-0"},
    {KIND(FLOAT64), FLOAT(0.1), "0.10000000000000001"},
    {KIND(FLOAT64), FLOAT(INFINITY), "inf"},
    {KIND(FLOAT64), FLOAT(NAN), "nan"},
    {KIND(FLOAT64), FLOAT(4.9406564584124654e-324), "4.9406564584124654e-324"},
    {KIND(TEXT), TEXT(""), ""},
    {KIND(TEXT), TEXT("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f"},
    {KIND(JSON), TEXT("{\"a\": 1}"), "{\"a\": 1}"},
    {KIND(XML), TEXT("<a/>"), "<a/>"},
    {KIND(UUID), TEXT("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
    {KIND(ENUM), TEXT("happy"), "happy"},
    {KIND(LTREE), TEXT("a.b"), "a.b"},
    {KIND(TSVECTOR), TEXT("'a':1"), "'a':1"},
    {KIND(BYTES), BYTES(""), ""},
    {KIND(BYTES), BYTES("\0\xff\x7f"), "00ff7f"},
    {KIND(DATE), INT(-719528), "-719528"},
    {KIND(DATE), INT(DATE_INFINITY), "-2147472692"},
    {KIND(TIME_MS), INT(86400000000), "86400000"},
    {KIND(TIME), INT(86400000000), "86400000000"},
    {KIND(TIMESTAMP_MS), INT(-1000), "-1"},
    {KIND(TIMESTAMP_MS), INT(INT64_C(1700000000123000)), "1700000000123"},
    {KIND(TIMESTAMP_MS), INT(TIMESTAMP_INFINITY), "9223372036825200000"},
    {KIND(TIMESTAMP_MS), INT(TIMESTAMP_MINUS_INFINITY), "-9223372036832400000"},
    {KIND(TIMESTAMP), INT(TIMESTAMP_MINUS_INFINITY), "-9223372036832400000"},
    {KIND(TIMESTAMP), INT(-1), "-1"},
    {KIND(ZONED_TIMESTAMP), TEXT("-0043-03-15T12:00:00Z"), "-0043-03-15T12:00:00Z"},
    {KIND(ZONED_TIMESTAMP), TEXT("infinity"), "infinity"},
    {KIND(ZONED_TIME), TEXT("03:04:05.5+05:30"), "03:04:05.5+05:30"},
    {KIND(INTERVAL), TEXT("P1Y-2M3DT-4H"), "P1Y-2M3DT-4H"},
    {KIND(POINT), {.tag = VALUE_POINT, .xy = {-1.5, 0.25}}, "-1.5 0.25"},
    {{"c", "bit(1)", KIND_BITS, 1}, TEXT("1"), "01"},
    {{"c", "bit(3)", KIND_BITS, 3}, TEXT("100"), "04"},
    {{"c", "bit(8)", KIND_BITS, 8}, TEXT("10000001"), "81"},
    {{"c", "bit(9)", KIND_BITS, 9}, TEXT("100000010"), "0201"},
    {{"c", "bit(10)", KIND_BITS, 10}, TEXT("0000000001"), "0100"},
    /* the shortest two's complement, computed with Python's int.to_bytes */
    {NUMERIC(12, 2), TEXT("0.00"), "00"},
    {NUMERIC(12, 2), TEXT("-0.00"), "00"},
    {NUMERIC(12, 2), TEXT("12.34"), "04d2"},
    {NUMERIC(12, 2), TEXT("-1.28"), "80"},
    {NUMERIC(12, 2), TEXT("-1.29"), "ff7f"},
    {NUMERIC(12, 2), TEXT("1.27"), "7f"},
    {NUMERIC(12, 2), TEXT("1.28"), "0080"},
    {NUMERIC(12, 2), TEXT("9999999999.99"), "00e8d4a50fff"},
    {NUMERIC(3, 3), TEXT("0.001"), "01"},
    {NUMERIC(3, 0), TEXT("+000255"), "00ff"},
    {NUMERIC(18, 0), TEXT("999999999999999999"), "0de0b6b3a763ffff"},
    {NUMERIC(19, 0), TEXT("9223372036854775807"), "7fffffffffffffff"},
    {NUMERIC(19, 0), TEXT("-9223372036854775808"), "8000000000000000"},
    {NUMERIC(19, 0), TEXT("9223372036854775808"), "008000000000000000"},
    {NUMERIC(19, 0), TEXT("-9223372036854775809"), "ff7fffffffffffffff"},
    {NUMERIC(20, 1), TEXT("1844674407370955161.5"), "00ffffffffffffffff"},
    {NUMERIC(20, 0), TEXT("18446744073709551616"), "010000000000000000"},
    {NUMERIC(20, 0), TEXT("-18446744073709551616"), "ff0000000000000000"},
    {NUMERIC(38, 0), TEXT("99999999999999999999999999999999999999"), "4b3b4ca85a86c47a098a223fffffffff"},
    {NUMERIC(39, 0), TEXT("170141183460469231731687303715884105727"), "7fffffffffffffffffffffffffffffff"},
    {NUMERIC(39, 0), TEXT("170141183460469231731687303715884105728"), "0080000000000000000000000000000000"},
    {NUMERIC(39, 0), TEXT("-170141183460469231731687303715884105728"), "80000000000000000000000000000000"},
    {NUMERIC(39, 0), TEXT("-170141183460469231731687303715884105729"), "ff7fffffffffffffffffffffffffffffff"},
    {NUMERIC(40, 40), TEXT("0.0000000000000000000000000000000000000000"), "00"},
    {NUMERIC(40, 40), TEXT("-0.0000000000000000000000000000000000000001"), "ff"},
};

static void every_kind_carries_its_values_to_their_edges(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++) {
        for (int nullable = 0; nullable < 2; nullable++) {
            struct column column = carried[i].column;
            column.nullable = nullable;
            struct table table = table_of(&column, 1);
            struct change change = change_of(OP_CREATE, &table, NULL, &carried[i].value);
            encode_ok(f, &change);
            if (strcmp(seen(f, "after.c"), carried[i].seen) != 0)
                fail_msg("row %zu (%s): '%s' instead of '%s'", i, kind_name(column.kind), f->text.data,
                         carried[i].seen);
        }
    }
}

static void a_null_is_null_in_every_nullable_column(void **state) {
    struct fixture *f = *state;
    struct value null = {.tag = VALUE_NULL};
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct column column = {"c", "x", (enum kind)kind, .length = 3, .precision = 3, .nullable = true};
        struct table table = table_of(&column, 1);
        struct change change = change_of(OP_UPDATE, &table, &null, &null);
        encode_ok(f, &change);
        assert_string_equal(seen(f, "after.c"), "null");
        assert_string_equal(seen(f, "before.c"), "null");
    }
}

static void long_texts_and_bytes_arrive_whole(void **state) {
    struct fixture *f = *state;
    enum { LEN = 70000 };
    char *data = xmalloc(LEN);
    for (int i = 0; i < LEN; i++)
        data[i] = (char)('a' + i % 26);
    struct column columns[] = {{"t", "text", KIND_TEXT}, {"b", "bytea", KIND_BYTES, .nullable = true}};
    struct table table = table_of(columns, 2);
    struct value row[] = {{.tag = VALUE_TEXT, .s = {data, LEN}}, {.tag = VALUE_BYTES, .s = {data, LEN}}};
    struct change change = change_of(OP_CREATE, &table, NULL, row);
    encode_ok(f, &change);
    seen(f, "after.t");
    assert_int_equal(f->text.len, LEN);
    assert_memory_equal(f->text.data, data, LEN);
    seen(f, "after.b");
    assert_int_equal(f->text.len, LEN * 2);
    free(data);
}

static void bits_of_every_length_are_packed_from_the_last(void **state) {
    struct fixture *f = *state;
    for (int length = 1; length <= 70; length++) {
        char text[71] = {0}, expected[20] = {0};
        for (int i = 0; i < length; i++)
            text[i] = (char)('0' + (i * 7 + length) % 3 % 2);
        for (int bit = 0, byte = 0; bit < length; bit++) {
            byte |= (text[length - 1 - bit] - '0') << bit % 8;
            if (bit % 8 == 7 || bit == length - 1) {
                snprintf(expected + bit / 8 * 2, 3, "%02x", (unsigned)byte);
                byte = 0;
            }
        }
        struct column column = {"c", "bit", KIND_BITS, length};
        struct table table = table_of(&column, 1);
        struct value value = {.tag = VALUE_TEXT, .s = slice_of(text)};
        struct change change = change_of(OP_CREATE, &table, NULL, &value);
        encode_ok(f, &change);
        assert_string_equal(seen(f, "after.c"), expected);
    }
}

/* Big-endian two's complement to decimal digits by long division, the slow and obvious way. */
static void digits_of(const unsigned char *bytes, size_t len, struct buf *out) {
    unsigned char *rest = xmalloc(len);
    bool negative = bytes[0] & 0x80;
    unsigned carry = 1;
    for (size_t i = len; i-- > 0;) {
        unsigned byte = negative ? (unsigned char)~bytes[i] + carry : bytes[i];
        carry = byte >> 8;
        rest[i] = (unsigned char)byte;
    }
    char digits[1100];
    size_t at = sizeof digits;
    bool more = true;
    while (more) {
        unsigned remainder = 0;
        more = false;
        for (size_t i = 0; i < len; i++) {
            unsigned part = remainder << 8 | rest[i];
            rest[i] = (unsigned char)(part / 10);
            remainder = part % 10;
            more = more || rest[i];
        }
        digits[--at] = (char)('0' + remainder);
    }
    buf_clear(out);
    buf_puts(out, negative ? "-" : "");
    buf_put(out, digits + at, sizeof digits - at);
    free(rest);
}

static void assert_decimal_round(struct fixture *f, const char *digits) {
    struct column column = NUMERIC(1000, 0);
    struct table table = table_of(&column, 1);
    struct value value = {.tag = VALUE_TEXT, .s = slice_of(digits)};
    struct change change = change_of(OP_CREATE, &table, NULL, &value);
    encode_ok(f, &change);
    avro_value_t c = field(f->judge.value, "after.c");
    const void *data = "";
    size_t len = 0;
    assert_int_equal(avro_value_get_bytes(&c, &data, &len), 0);
    const unsigned char *bytes = data;
    if (len > 1 && (bytes[0] == 0 || bytes[0] == 0xff))
        assert_int_not_equal(bytes[0] >> 7, bytes[1] >> 7); /* minimal */
    digits_of(bytes, len, &f->text);
    assert_string_equal(buf_cstr(&f->text), digits);
}

static void decimals_of_1_to_1000_digits_come_back(void **state) {
    struct fixture *f = *state;
    uint64_t seed = 42;
    for (int n = 1; n <= 1000; n += n < 80 ? 1 : 37) {
        char digits[1002] = "-";
        for (int i = 1; i <= n; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
            digits[i] = (char)('0' + (seed >> 33) % 10);
        }
        if (digits[1] == '0')
            digits[1] = '1';
        assert_decimal_round(f, digits);
        assert_decimal_round(f, digits + 1);
        memset(digits + 1, '9', (size_t)n);
        assert_decimal_round(f, digits);
        memset(digits + 2, '0', (size_t)n - 1);
        digits[1] = '1';
        assert_decimal_round(f, digits);
    }
    char nines[1002] = "-";
    memset(nines + 1, '9', 1000);
    assert_decimal_round(f, nines);
    assert_decimal_round(f, nines + 1);
}

static void powers_of_two_are_minimal_on_both_sides(void **state) {
    struct fixture *f = *state;
    char power[400] = "-1";
    for (int bit = 1; bit < 1024; bit++) {
        int carry = 0;
        for (char *c = power + strlen(power) - 1; c > power; c--) {
            int twice = (*c - '0') * 2 + carry;
            *c = (char)('0' + twice % 10);
            carry = twice / 10;
        }
        if (carry) {
            memmove(power + 2, power + 1, strlen(power + 1) + 1);
            power[1] = '1';
        }
        if (bit % 8 != 7)
            continue;
        assert_decimal_round(f, power);
        assert_decimal_round(f, power + 1);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static const struct {
    struct column column;
    struct value value;
    const char *reason;
} refused[] = {
    {KIND(BOOL), INT(2), "neither true nor false"},
    {KIND(INT16), INT(INT16_MAX + 1), "out of the range of the column's type"},
    {KIND(INT16), INT(INT16_MIN - 1), "out of the range of the column's type"},
    {KIND(INT32), INT(INT64_C(1) << 31), "out of the range of the column's type"},
    {KIND(DATE), INT(INT64_MIN), "out of the range of the column's type"},
    {KIND(TIME_MS), INT(1), "not whole milliseconds"},
    {KIND(TIME_MS), INT((INT64_C(1) << 31) * 1000), "out of the range of the column's type"},
    {KIND(TIMESTAMP_MS), INT(1700000000123456), "not whole milliseconds"},
    {KIND(TIMESTAMP_MS), INT(-1), "not whole milliseconds"},
    {KIND(FLOAT32), FLOAT(0.1), "not a single-precision number"},
    {KIND(FLOAT32), FLOAT(1e300), "not a single-precision number"},
    {KIND(TEXT), TEXT("a\0b"), "a NUL byte in the text"},
    {KIND(JSON), TEXT("\0"), "a NUL byte in the text"},
    {KIND(TEXT), {.tag = VALUE_TEXT, .s = {"", ((size_t)1 << 30) + 1}}, "larger than 1 GB"},
    {KIND(BYTES), {.tag = VALUE_BYTES, .s = {"", SIZE_MAX}}, "larger than 1 GB"},
    {KIND(TEXT), {.tag = VALUE_NULL}, "NULL in a column that is not nullable"},
    {{"c", "bit(3)", KIND_BITS, 3}, TEXT("10"), "the number of bits is not the column's length"},
    {{"c", "bit(3)", KIND_BITS, 3}, TEXT("1000"), "the number of bits is not the column's length"},
    {{"c", "bit(3)", KIND_BITS, 3}, TEXT("1x0"), "a bit that is neither 0 nor 1"},
    {{"c", "bit(3)", KIND_BITS, 3}, TEXT("1/0"), "a bit that is neither 0 nor 1"},
    {NUMERIC(5, 2), TEXT("NaN"), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT("Infinity"), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT("-Infinity"), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT(""), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT("-"), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT("1.2e1"), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT("1..2"), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT("--1.20"), "not a finite decimal number"},
    {NUMERIC(5, 0), TEXT("1."), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT(".12"), "not a finite decimal number"},
    {NUMERIC(5, 2), TEXT("1.2"), "the number of digits after the point is not the column's scale"},
    {NUMERIC(5, 2), TEXT("1"), "the number of digits after the point is not the column's scale"},
    {NUMERIC(5, 2), TEXT("1.234"), "the number of digits after the point is not the column's scale"},
    {NUMERIC(5, 2), TEXT("1234.56"), "more digits than the column's precision"},
    {NUMERIC(2, 2), TEXT("-1.00"), "more digits than the column's precision"},
};

static void a_value_that_its_kind_cannot_hold_is_refused_by_name(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct column column = refused[i].column;
        column.name = "price";
        struct table table = table_of(&column, 1);
        struct change change = change_of(OP_CREATE, &table, NULL, &refused[i].value);
        assert_int_equal(encode(f, &change), REJECT);
        assert_int_equal(f->err.id, ERR_VALUE_NOT_CARRIED);
        assert_int_equal(f->column, 0);
        char expected[200];
        snprintf(expected, sizeof expected, "table public.t, column price: %s", refused[i].reason);
        assert_string_equal(f->err.text, expected);
        assert_int_equal(f->value.len, 0);
    }
}

static void a_refusal_names_short_keys_and_no_other_value(void **state) {
    struct fixture *f = *state;
    struct column columns[] = {{"id", "integer", KIND_INT32, .key = 1},
                               {"code", "text", KIND_TEXT, .key = 2},
                               {"tag", "bytea", KIND_BYTES, .key = 3},
                               {"price", "numeric(5,2)", KIND_DECIMAL, .precision = 5, .scale = 2}};
    int key[] = {0, 1, 2};
    struct table table = table_of(columns, 4);
    table.key = key;
    table.n_key = 3;
    struct value row[] = {INT(5), TEXT("ab"), BYTES("\x01\xff"), TEXT("secret")};
    struct change change = change_of(OP_UPDATE, &table, NULL, row);
    assert_int_equal(encode(f, &change), REJECT);
    assert_string_equal(
        f->err.text,
        "table public.t, key (id=5, code=ab, tag=\\x01ff), column price: not a finite decimal number");
    assert_int_equal(f->column, 3);
    assert_int_equal(f->key.len, 0);
    row[1] =
        (struct value){.tag = VALUE_TEXT,
                       .s = slice_of("0123456789012345678901234567890123456789012345678901234567890123x")};
    assert_int_equal(encode(f, &change), REJECT);
    assert_string_equal(f->err.text,
                        "table public.t, key (id=5, code=(65 bytes), tag=\\x01ff), column price: "
                        "not a finite decimal number");
}

static void a_key_without_a_value_is_refused(void **state) {
    struct fixture *f = *state;
    struct column columns[] = {{"id", "integer", KIND_INT32, .key = 1, .nullable = true}};
    int key[] = {0};
    struct table table = table_of(columns, 1);
    table.key = key;
    table.n_key = 1;
    struct value row[] = {{.tag = VALUE_NULL}};
    struct change change = change_of(OP_DELETE, &table, row, NULL);
    assert_int_equal(encode(f, &change), REJECT);
    assert_string_equal(f->err.text, "table public.t, key (id=NULL), column id: NULL in a key column");
    row[0].tag = VALUE_ABSENT;
    assert_int_equal(encode(f, &change), REJECT);
    assert_string_equal(f->err.text,
                        "table public.t, key (id=absent), column id: a key column without a value");
}

static void what_stood_in_the_buffers_stays_when_a_change_is_refused(void **state) {
    struct fixture *f = *state;
    struct column columns[] = {{"id", "integer", KIND_INT32, .key = 1}, {"n", "integer", KIND_INT32}};
    int key[] = {0};
    struct table table = table_of(columns, 2);
    table.key = key;
    table.n_key = 1;
    struct value row[] = {INT(5), {.tag = VALUE_NULL}};
    struct change change = change_of(OP_CREATE, &table, NULL, row);
    assert_int_equal(encode(f, &change), REJECT);
    buf_puts(&f->key, "key");
    buf_puts(&f->value, "value");
    assert_int_equal(encoder_change(f->encoder, &change, NOW, &f->key, &f->value, &f->column, &f->err),
                     REJECT);
    assert_string_equal(buf_cstr(&f->key), "key");
    assert_string_equal(buf_cstr(&f->value), "value");
    assert_int_equal(f->column, 1);
}

/* ---- absent values ------------------------------------------------------------------------------------- */

#define PLACEHOLDER     "__debezium_unavailable_value"
#define PLACEHOLDER_HEX "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565"

/* What stands for an absent value: in `after`, nullable or not; in `before` where the column is not nullable.
 */
static void assert_absent(struct fixture *f, enum kind kind, const char *after, const char *after_null,
                          const char *before) {
    struct value absent = {.tag = VALUE_ABSENT};
    struct column column = {"c", "x", kind, .length = 9, .precision = 9, .scale = 2};
    struct table table = table_of(&column, 1);
    struct change change = change_of(OP_UPDATE, &table, &absent, &absent);
    encode_ok(f, &change);
    assert_string_equal(seen(f, "after.c"), after);
    assert_string_equal(seen(f, "before.c"), before);
    column.nullable = true;
    encode_ok(f, &change);
    assert_string_equal(seen(f, "after.c"), after_null);
    assert_string_equal(seen(f, "before.c"), "null");
}

static void an_absent_value_is_a_placeholder_or_null_or_the_zero_of_its_kind(void **state) {
    struct fixture *f = *state;
    const enum kind strings[] = {KIND_TEXT,       KIND_JSON,    KIND_XML,      KIND_UUID,
                                 KIND_ENUM,       KIND_LTREE,   KIND_TSVECTOR, KIND_ZONED_TIMESTAMP,
                                 KIND_ZONED_TIME, KIND_INTERVAL};
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        assert_absent(f, strings[i], PLACEHOLDER, PLACEHOLDER, "");
    assert_absent(f, KIND_BYTES, PLACEHOLDER_HEX, PLACEHOLDER_HEX, "");
    const enum kind numbers[] = {KIND_INT16, KIND_INT32,   KIND_INT64, KIND_FLOAT32,      KIND_FLOAT64,
                                 KIND_DATE,  KIND_TIME_MS, KIND_TIME,  KIND_TIMESTAMP_MS, KIND_TIMESTAMP};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_absent(f, numbers[i], "0", "null", "0");
    assert_absent(f, KIND_BOOL, "false", "null", "false");
    assert_absent(f, KIND_DECIMAL, "00", "null", "00");
    assert_absent(f, KIND_BITS, "0000", "null", "0000");
    assert_absent(f, KIND_POINT, "0 0", "null", "0 0");
}

/* ---- the envelope -------------------------------------------------------------------------------------- */

static struct column shop_columns[] = {{"id", "integer", KIND_INT32, .key = 1},
                                       {"note", "text", KIND_TEXT, .nullable = true}};
static int shop_key[] = {0};
static const struct table shop = {"public", "t", shop_columns, 2, shop_key, 1};

static void assert_seen(struct fixture *f, const char *const (*expected)[2]) {
    for (; (*expected)[0]; expected++)
        if (strcmp(seen(f, (*expected)[0]), (*expected)[1]) != 0)
            fail_msg("%s: '%s' instead of '%s'", (*expected)[0], f->text.data, (*expected)[1]);
}

static void an_update_carries_both_rows_and_its_source(void **state) {
    struct fixture *f = *state;
    struct value before[] = {INT(5), TEXT("old")}, after[] = {INT(5), TEXT("new")};
    struct change change = change_of(OP_UPDATE, &shop, before, after);
    encode_ok(f, &change);
    assert_seen(f, (const char *const[][2]){{"before.id", "5"},
                                            {"before.note", "old"},
                                            {"after.note", "new"},
                                            {"source.version", MILLRACE_VERSION},
                                            {"source.connector", "postgresql"},
                                            {"source.name", "shop"},
                                            {"source.ts_ms", "1700000000123"},
                                            {"source.snapshot", "false"},
                                            {"source.db", "shopdb"},
                                            {"source.sequence", "[\"23803720\",\"23803648\"]"},
                                            {"source.ts_us", "1700000000123456"},
                                            {"source.ts_ns", "1700000000123456000"},
                                            {"source.schema", "public"},
                                            {"source.table", "t"},
                                            {"source.txId", "777"},
                                            {"source.lsn", "23803648"},
                                            {"source.xmin", "null"},
                                            {"source.origin", "null"},
                                            {"source.origin_lsn", "null"},
                                            {"transaction", "null"},
                                            {"op", "u"},
                                            {"ts_ms", "1700000001234"},
                                            {"ts_us", "1700000001234567"},
                                            {"ts_ns", "1700000001234567000"},
                                            {NULL, NULL}});
}

static void a_row_of_a_snapshot_has_no_transaction(void **state) {
    struct fixture *f = *state;
    struct value after[] = {INT(5), TEXT("new")};
    struct change change = change_of(OP_READ, &shop, NULL, after);
    change.snapshot = true;
    encode_ok(f, &change);
    assert_seen(f, (const char *const[][2]){{"before", "null"},
                                            {"source.snapshot", "true"},
                                            {"source.sequence", "[null,\"23803648\"]"},
                                            {"source.txId", "null"},
                                            {"source.lsn", "23803648"},
                                            {"op", "r"},
                                            {NULL, NULL}});
}

static void numbers_and_times_at_their_ends_fit_the_source_block(void **state) {
    struct fixture *f = *state;
    struct value after[] = {INT(5), TEXT("new")};
    struct change change = change_of(OP_CREATE, &shop, NULL, after);
    change.lsn = change.xid = change.position.commit = UINT64_MAX;
    change.commit_us = INT64_MAX;
    encode_ok(f, &change);
    assert_seen(f, (const char *const[][2]){
                       {"source.sequence", "[\"18446744073709551615\",\"18446744073709551615\"]"},
                       {"source.ts_us", "9223372036854775807"},
                       {"source.ts_ns", "null"},
                       {NULL, NULL}});
    change.lsn = change.xid = change.position.commit = 0;
    change.commit_us = -1;
    encode_ok(f, &change);
    assert_seen(f, (const char *const[][2]){{"source.sequence", "[\"0\",\"0\"]"},
                                            {"source.ts_ms", "-1"},
                                            {"source.ts_ns", "-1000"},
                                            {NULL, NULL}});
}

static const char *key_seen(struct fixture *f, const char *path) {
    struct judge judge;
    judge_open(&judge, &f->memory, buf_slice(&f->key));
    print(field(judge.value, path), &f->text);
    judge_close(&judge);
    return f->text.data;
}

static void a_delete_is_keyed_by_its_old_row(void **state) {
    struct fixture *f = *state;
    struct value before[] = {INT(6), {.tag = VALUE_ABSENT}};
    struct change change = change_of(OP_DELETE, &shop, before, NULL);
    encode_ok(f, &change);
    assert_seen(
        f, (const char *const[][2]){
               {"before.id", "6"}, {"before.note", "null"}, {"after", "null"}, {"op", "d"}, {NULL, NULL}});
    assert_string_equal(key_seen(f, "id"), "6");
}

static void a_truncate_has_a_key_of_its_own_where_the_table_has_one(void **state) {
    struct fixture *f = *state;
    struct change change = change_of(OP_TRUNCATE, &shop, NULL, NULL);
    encode_ok(f, &change);
    assert_seen(f,
                (const char *const[][2]){{"before", "null"}, {"after", "null"}, {"op", "t"}, {NULL, NULL}});
    assert_string_equal(key_seen(f, "table"), "public.t");
    struct table keyless = shop;
    keyless.n_key = 0;
    change.table = &keyless;
    encode_ok(f, &change);
    assert_int_equal(f->key.len, 0);
}

static void the_key_stands_in_key_order_and_is_never_a_union(void **state) {
    struct fixture *f = *state;
    struct column columns[] = {{"b", "text", KIND_TEXT, .nullable = true, .key = 2},
                               {"x", "text", KIND_TEXT},
                               {"a", "integer", KIND_INT32, .key = 1}};
    int key[] = {2, 0};
    struct table table = {"public", "t", columns, 3, key, 2};
    struct value row[] = {TEXT("bee"), TEXT("x"), INT(300)};
    struct change change = change_of(OP_CREATE, &table, NULL, row);
    encode_ok(f, &change);
    assert_string_equal(key_seen(f, "a"), "300");
    assert_string_equal(key_seen(f, "b"), "bee");
    assert_int_equal(f->key.len, 5 + 2 + 4);
    struct buf again = {0};
    assert_int_equal(encoder_key(f->encoder, row, &again, &f->column, &f->err), OK);
    assert_true(slice_eq(buf_slice(&again), buf_slice(&f->key)));
    buf_free(&again);
}

static void a_record_is_appended_after_what_is_there(void **state) {
    struct fixture *f = *state;
    struct value after[] = {INT(5), TEXT("new")};
    struct change change = change_of(OP_CREATE, &shop, NULL, after);
    encode_ok(f, &change);
    size_t key = f->key.len, value = f->value.len;
    assert_int_equal(encoder_change(f->encoder, &change, NOW, &f->key, &f->value, &f->column, &f->err), OK);
    assert_int_equal(f->key.len, 2 * key);
    assert_int_equal(f->value.len, 2 * value);
    assert_memory_equal(f->value.data, f->value.data + value, value);
}

/* ---- registration -------------------------------------------------------------------------------------- */

struct picky_store {
    struct schema_store store;
    const char *refuses;
    char subjects[200];
};

static enum code picky_put(struct schema_store *store, const char *subject, struct slice json,
                           uint32_t *ret_id, struct err *err) {
    struct picky_store *picky = (struct picky_store *)store;
    (void)json;
    size_t len = strlen(picky->subjects);
    snprintf(picky->subjects + len, sizeof picky->subjects - len, "%s ", subject);
    *ret_id = 1;
    if (picky->refuses && strcmp(picky->refuses, subject) == 0)
        return err_set(err, RETRY, ERR_REGISTRY_UNREACHABLE, "away");
    return OK;
}

static void the_schemas_are_registered_under_their_subjects(void **state) {
    (void)state;
    struct picky_store picky = {.store.put = picky_put};
    struct encoder *encoder;
    assert_int_equal(encoder_new(&shop, TOPIC, &identity, &picky.store, &encoder, NULL), OK);
    assert_string_equal(picky.subjects, "shop.public.t-value shop.public.t-key millrace.TruncateKey ");
    assert_ptr_not_equal(encoder_table(encoder), &shop);
    assert_string_equal(encoder_table(encoder)->name, "t");
    encoder_free(encoder);
    encoder_free(NULL);
    picky.subjects[0] = '\0';
    struct table keyless = shop;
    keyless.n_key = 0;
    assert_int_equal(encoder_new(&keyless, TOPIC, &identity, &picky.store, &encoder, NULL), OK);
    assert_string_equal(picky.subjects, "shop.public.t-value ");
    encoder_free(encoder);
}

static void a_store_that_fails_fails_the_encoder(void **state) {
    (void)state;
    const char *const subjects[] = {"shop.public.t-value", "shop.public.t-key", "millrace.TruncateKey"};
    for (int i = 0; i < 3; i++) {
        struct picky_store picky = {.store.put = picky_put, .refuses = subjects[i]};
        struct encoder *encoder = NULL;
        struct err err = {0};
        assert_int_equal(encoder_new(&shop, TOPIC, &identity, &picky.store, &encoder, &err), RETRY);
        assert_int_equal(err.id, ERR_REGISTRY_UNREACHABLE);
        assert_null(encoder);
    }
}

/* ---- and back ------------------------------------------------------------------------------------------ */

static void assert_value_equal(const struct value *a, const struct value *b) {
    assert_int_equal(a->tag, b->tag);
    if (a->tag == VALUE_TEXT || a->tag == VALUE_BYTES)
        assert_true(slice_eq(a->s, b->s));
    else if (a->tag == VALUE_POINT)
        assert_memory_equal(a->xy, b->xy, sizeof a->xy);
    else if (a->tag == VALUE_FLOAT)
        assert_true((a->d == b->d && signbit(a->d) == signbit(b->d)) || (isnan(a->d) && isnan(b->d)));
    else if (a->tag == VALUE_INT)
        assert_int_equal(a->i, b->i);
}

static bool decimal_text_is_canonical(const struct column *column, struct slice text) {
    return column->kind != KIND_DECIMAL ||
           !(text.data[0] == '+' || (text.data[0] == '0' && text.len > 1 && text.data[1] != '.') ||
             slice_is(text, "-0.00"));
}

static void what_is_encoded_is_decoded_to_the_same_change(void **state) {
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof carried / sizeof *carried; i++) {
        struct column columns[] = {
            carried[i].column, {"n", "text", KIND_TEXT, .nullable = true}, {"a", "bytea", KIND_BYTES}};
        const char *const labels[] = {"sad", "happy", NULL};
        columns[0].labels = columns[0].kind == KIND_ENUM ? labels : NULL;
        struct table table = table_of(columns, 3);
        struct value row[] = {carried[i].value, {.tag = VALUE_NULL}, {.tag = VALUE_ABSENT}};
        if (row[0].tag == VALUE_TEXT && !decimal_text_is_canonical(&columns[0], row[0].s))
            continue;
        struct change change = change_of(OP_CREATE, &table, NULL, row), back;
        encode_ok(f, &change);
        char header[HEADER_BYTES_MAX];
        struct encoded record = {.value = buf_slice(&f->value),
                                 .header = slice_make(header, header_write(&change, header))};
        struct decoder *decoder = decoder_new(&f->memory.store);
        struct arena arena = {0};
        if (decoder_change(decoder, &record, &arena, &back, &f->err) != OK)
            fail_msg("row %zu: %s", i, f->err.text);
        assert_int_equal(position_cmp(back.position, change.position), 0);
        assert_int_equal(back.table->columns[0].kind, columns[0].kind);
        for (int c = 0; c < 3; c++)
            assert_value_equal(&back.after[c], &row[c]);
        arena_free(&arena);
        decoder_free(decoder);
    }
}

/* ---- key hash ------------------------------------------------------------------------------------------ */

static uint64_t hash_one(enum kind kind, const char *type, struct value value) {
    struct column column = {"c", type, kind, .key = 1};
    int key[] = {0};
    struct table table = {"public", "t", &column, 1, key, 1};
    return key_hash(&table, &value);
}

static uint64_t hash_text(enum kind kind, const char *type, const char *text) {
    return hash_one(kind, type, (struct value){.tag = VALUE_TEXT, .s = slice_of(text)});
}

#define assert_hash(hash, expected) assert_int_equal(hash, UINT64_C(expected))

static void the_hash_of_a_key_never_changes(void **state) {
    (void)state;
    assert_hash(hash_one(KIND_INT32, "integer", (struct value)INT(5)), 0x882c0fedf2ef3f10);
    assert_hash(hash_one(KIND_INT64, "bigint", (struct value)INT(5)), 0x882c0fedf2ef3f10);
    assert_hash(hash_one(KIND_DATE, "date", (struct value)INT(-1)), 0x1b38c484a0063ad2);
    assert_hash(hash_one(KIND_FLOAT64, "double precision", (struct value)FLOAT(0.0)), 0x0fb68190f17c40bf);
    assert_hash(hash_one(KIND_FLOAT64, "double precision", (struct value)FLOAT(-0.0)), 0x0fb68190f17c40bf);
    assert_hash(hash_one(KIND_FLOAT64, "double precision", (struct value)FLOAT(1.5)), 0xe541d9d1526a13ee);
    assert_hash(hash_one(KIND_FLOAT32, "real", (struct value)FLOAT(-NAN)), 0x84c28b0cd28b14cb);
    assert_hash(hash_text(KIND_TEXT, "text", "abc"), 0xc37533cce8a78829);
    assert_hash(hash_text(KIND_TEXT, "text", ""), 0x7bd3144f29c0cc9e);
    assert_hash(hash_text(KIND_TEXT, "text", "1.0"), 0xd4876ea8ec570974);
    assert_hash(hash_one(KIND_BYTES, "bytea", (struct value)BYTES("\0\xff")), 0x9dae8bbb61c669ae);
    assert_hash(hash_one(KIND_POINT, "point", (struct value){.tag = VALUE_POINT, .xy = {1.0, -0.0}}),
                0x16e613b9a6c2de1f);
    assert_hash(hash_one(KIND_TEXT, "text", (struct value){.tag = VALUE_NULL}), 0x6a92c0228678c02e);
}

static void equal_numbers_hash_equally_whatever_their_text(void **state) {
    (void)state;
    const char *const ones[] = {"1", "1.0", "1.00", "+1", "001.", "0001.000"};
    const char *const zeros[] = {"0", "-0", "0.00", "-0.0", "+0", "000", ".0"};
    for (size_t i = 0; i < sizeof ones / sizeof *ones; i++) {
        assert_hash(hash_text(KIND_TEXT, "numeric", ones[i]), 0xa73dd5b737d9bed5);
        assert_hash(hash_text(KIND_DECIMAL, "numeric(12,2)", ones[i]), 0xa73dd5b737d9bed5);
    }
    for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++)
        assert_hash(hash_text(KIND_TEXT, "numeric(3,-2)", zeros[i]), 0x67edd489b974ff34);
    assert_hash(hash_text(KIND_TEXT, "numeric", "-12.500"), 0x4babaa64f68d0051);
    assert_hash(hash_text(KIND_TEXT, "numeric", "-012.5"), 0x4babaa64f68d0051);
    assert_hash(hash_text(KIND_DECIMAL, "numeric(5,3)", "00.050"), 0xa54ced3d3d83f692);
    assert_hash(hash_text(KIND_TEXT, "numeric", "NaN"), 0x7cc9f73b7537a9d3);
    assert_hash(hash_text(KIND_TEXT, "numeric", ""), 0x7bd3144f29c0cc9e);
}

static void key_columns_are_hashed_in_key_order(void **state) {
    (void)state;
    struct column columns[] = {{"s", "text", KIND_TEXT, .key = 2}, {"n", "integer", KIND_INT32, .key = 1}};
    int key[] = {1, 0};
    struct table table = {"public", "t", columns, 2, key, 2};
    struct value row[] = {TEXT("ab"), INT(7)};
    assert_hash(key_hash(&table, row), 0xfd49fd826c280d80);
    table.n_key = 0;
    assert_hash(key_hash(&table, row), 0);
}

/* ---- header -------------------------------------------------------------------------------------------- */

static void the_header_says_what_the_envelope_cannot(void **state) {
    (void)state;
    enum { N = 1600 };
    static struct value after[N];
    static struct column columns[N];
    struct table table = table_of(columns, N);
    for (int i = 0; i < N; i++)
        after[i].tag = VALUE_NULL;
    struct change change = change_of(OP_CREATE, &table, NULL, after);
    change.position = (struct position){1, UINT64_C(0x0102030405060708), 0xFF};
    table.digest = UINT64_C(0x1111111121314151);
    char out[HEADER_BYTES_MAX];
    assert_int_equal(header_write(&change, out), 30);
    assert_memory_equal(out, "\2\0\0\0\0\0\0\0\0\1\1\2\3\4\5\6\7\10\0\0\0\0\0\0\0\xff\x21\x31\x41\x51", 30);
    after[0].tag = after[9].tag = VALUE_ABSENT;
    change.snapshot = change.moved_partial = change.restart_identity = true;
    change.other = after;
    assert_int_equal(header_write(&change, out), 32);
    assert_int_equal(out[1], 15);
    assert_memory_equal(out + 30, "\1\2", 2);
    after[N - 1].tag = VALUE_ABSENT;
    assert_int_equal(header_write(&change, out), 230);
    assert_int_equal((unsigned char)out[229], 0x80);
    change.after = NULL;
    assert_int_equal(header_write(&change, out), 30);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(every_kind_carries_its_values_to_their_edges),
        TEST(a_null_is_null_in_every_nullable_column),
        TEST(long_texts_and_bytes_arrive_whole),
        TEST(bits_of_every_length_are_packed_from_the_last),
        TEST(decimals_of_1_to_1000_digits_come_back),
        TEST(powers_of_two_are_minimal_on_both_sides),
        TEST(a_value_that_its_kind_cannot_hold_is_refused_by_name),
        TEST(a_refusal_names_short_keys_and_no_other_value),
        TEST(a_key_without_a_value_is_refused),
        TEST(what_stood_in_the_buffers_stays_when_a_change_is_refused),
        TEST(an_absent_value_is_a_placeholder_or_null_or_the_zero_of_its_kind),
        TEST(an_update_carries_both_rows_and_its_source),
        TEST(a_row_of_a_snapshot_has_no_transaction),
        TEST(numbers_and_times_at_their_ends_fit_the_source_block),
        TEST(a_delete_is_keyed_by_its_old_row),
        TEST(a_truncate_has_a_key_of_its_own_where_the_table_has_one),
        TEST(the_key_stands_in_key_order_and_is_never_a_union),
        TEST(a_record_is_appended_after_what_is_there),
        cmocka_unit_test(the_schemas_are_registered_under_their_subjects),
        cmocka_unit_test(a_store_that_fails_fails_the_encoder),
        TEST(what_is_encoded_is_decoded_to_the_same_change),
        cmocka_unit_test(the_hash_of_a_key_never_changes),
        cmocka_unit_test(equal_numbers_hash_equally_whatever_their_text),
        cmocka_unit_test(key_columns_are_hashed_in_key_order),
        cmocka_unit_test(the_header_says_what_the_envelope_cannot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
