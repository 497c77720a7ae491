/* Values of each kind: carried to their edges, refused beyond them, and what stands for those that are
 * absent. The judges: Avro C; the decoder; and, for decimals, vectors computed by other means (Python's
 * integers). */
#include <math.h>
#include <stdio.h>

#include "encode_case.h"
#include "schemas/decode.h"

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
    avro_value_t c = judge_field(f->judge.value, "after.c");
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

/* ---- and back ---- */

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

/* ---- refusals ---- */

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

/* ---- absent values ---- */

#define PLACEHOLDER     "__debezium_unavailable_value"
#define PLACEHOLDER_HEX "5f5f646562657a69756d5f756e617661696c61626c655f76616c7565"

/* What stands for an absent value: in `after`, nullable or not; in `before` of a column that is not. */
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

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_kind_carries_its_values_to_their_edges),
        TEST(a_null_is_null_in_every_nullable_column),
        TEST(long_texts_and_bytes_arrive_whole),
        TEST(bits_of_every_length_are_packed_from_the_last),
        TEST(decimals_of_1_to_1000_digits_come_back),
        TEST(powers_of_two_are_minimal_on_both_sides),
        TEST(what_is_encoded_is_decoded_to_the_same_change),
        TEST(a_value_that_its_kind_cannot_hold_is_refused_by_name),
        TEST(a_refusal_names_short_keys_and_no_other_value),
        TEST(an_absent_value_is_a_placeholder_or_null_or_the_zero_of_its_kind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
