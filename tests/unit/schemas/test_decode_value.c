/* Values of each kind as they stand on the wire, to their edges and one step beyond. */
#include <math.h>

#include "decode_case.h"
#include "schemas/decode_value.h"

static struct value read_one(struct arena *arena, struct plan_column column, const struct buf *bytes,
                             const char **ret_why) {
    struct value value = {0};
    struct cursor c = cursor_of(buf_slice(bytes));
    bool good = value_read(&c, &column, arena, &value);
    *ret_why = good ? NULL : c.why;
    assert_true(good == (c.why == NULL));
    return value;
}

static void a_decimal_has_exactly_its_scale(void **state) {
    static const struct {
        const char *bytes;
        size_t len;
        int scale;
        const char *text;
    } cases[] = {
        {"\x00", 1, 0, "0"},
        {"\x00", 1, 2, "0.00"},
        {"\x05", 1, 2, "0.05"},
        {"\xff", 1, 2, "-0.01"},
        {"\x04\xd2", 2, 2, "12.34"},
        {"\xfb\x2e", 2, 2, "-12.34"},
        {"\x00\x00\x04\xd2", 4, 1, "123.4"},
        {"\x80", 1, 0, "-128"},
        {"\x7f", 1, 3, "0.127"},
        {"\x0c", 1, -3, "12000"},
        {"\x00", 1, -3, "0"},
        {"\x7f\xff\xff\xff\xff\xff\xff\xff", 8, 0, "9223372036854775807"},
        {"\x80\x00\x00\x00\x00\x00\x00\x00", 8, 4, "-922337203685477.5808"},
        {"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16, 0,
         "170141183460469231731687303715884105727"},
        {"\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 16, 38,
         "-1.70141183460469231731687303715884105728"},
        {"\x00\x8a\xc7\x23\x04\x89\xe8\x00\x00", 9, 0, "10000000000000000000"},
        {"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 17, 0,
         "340282366920938463463374607431768211456"},
        {"\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 17, 5,
         "-3402823669209384634633746074317682.11456"},
        {"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 17, 2, "0.00"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17, 2, "-0.01"},
    };
    struct arena arena = {0};
    struct slice text;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(decimal_text(slice_make(cases[i].bytes, cases[i].len), cases[i].scale, &arena, &text));
        if (!slice_is(text, cases[i].text))
            fail_msg("'%.*s' is not '%s'", (int)text.len, text.data, cases[i].text);
    }
    assert_false(decimal_text(slice_make("", 0), 0, &arena, &text));
    arena_free(&arena);
}

/* 10^n, n = 0 .. 1000, made by multiplication; the longest has 416 bytes. */
static void decimals_of_a_thousand_digits_are_exact(void **state) {
    unsigned char number[DECIMAL_BYTES_MAX] = {[DECIMAL_BYTES_MAX - 1] = 1};
    struct arena arena = {0};
    struct slice text;
    (void)state;
    for (int n = 0; n <= 1000; n++) {
        arena_reset(&arena);
        assert_true(decimal_text(slice_make(number, sizeof number), 0, &arena, &text));
        assert_int_equal(text.len, n + 1);
        assert_int_equal(text.data[0], '1');
        for (int i = 1; i <= n; i++)
            assert_int_equal(text.data[i], '0');
        assert_true(decimal_text(slice_make(number, sizeof number), 1000, &arena, &text));
        assert_int_equal(text.len, 1002);
        assert_int_equal(text.data[n == 1000 ? 0 : 1001 - n], '1');
        unsigned carry = 0;
        for (int i = DECIMAL_BYTES_MAX - 1; i >= 0; i--) {
            carry += number[i] * 10u;
            number[i] = (unsigned char)carry;
            carry >>= 8;
        }
    }
    char too_long[DECIMAL_BYTES_MAX + 1] = {0};
    assert_false(decimal_text(slice_make(too_long, sizeof too_long), 0, &arena, &text));
    arena_free(&arena);
}

static void text_must_be_utf8_without_nul(void **state) {
    static const char *const good[] = {"",
                                       "a",
                                       "12345678",
                                       "123456789",
                                       "grün",
                                       "日本語テキスト",
                                       "\xf0\x9f\x98\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "abcdefgü"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf8",
                                      "\xff",
                                      "abcdefgh\xc3",
                                      "\xc3(",
                                      "\xe2\x82",
                                      "12345678\xfe"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(text_valid(slice_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_valid(slice_of(bad[i])));
    for (size_t at = 0; at < 20; at++) {
        char text[20];
        memset(text, 'x', sizeof text);
        text[at] = '\0';
        assert_false(text_valid(slice_make(text, sizeof text)));
        text[at] = '\x7f';
        assert_true(text_valid(slice_make(text, sizeof text)));
    }
}

static void milliseconds_become_microseconds_but_infinities_stay(void **state) {
    struct arena arena = {0};
    struct buf bytes = {0};
    const char *why;
    (void)state;
    const struct {
        enum kind kind;
        int64_t wire, value;
    } cases[] = {
        {KIND_TIME_MS, 86400000, 86400000000},
        {KIND_TIMESTAMP_MS, -1, -1000},
        {KIND_TIMESTAMP_MS, TIMESTAMP_INFINITY, TIMESTAMP_INFINITY},
        {KIND_TIMESTAMP_MS, TIMESTAMP_MINUS_INFINITY, TIMESTAMP_MINUS_INFINITY},
        {KIND_TIMESTAMP, INT64_MIN, INT64_MIN},
        {KIND_TIMESTAMP, TIMESTAMP_INFINITY, TIMESTAMP_INFINITY},
        {KIND_DATE, DATE_MINUS_INFINITY, DATE_MINUS_INFINITY},
        {KIND_INT64, INT64_MAX, INT64_MAX},
        {KIND_INT32, INT32_MIN, INT32_MIN},
        {KIND_INT16, -32768, -32768},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&bytes);
        put_long(&bytes, cases[i].wire);
        struct value value =
            read_one(&arena, (struct plan_column){.kind = cases[i].kind, .null_at = -1}, &bytes, &why);
        assert_null(why);
        assert_int_equal(value.tag, VALUE_INT);
        assert_true(value.i == cases[i].value);
    }
    buf_free(&bytes);
    arena_free(&arena);
}

static void numbers_outside_their_kind_are_rejected(void **state) {
    struct arena arena = {0};
    struct buf bytes = {0};
    const char *why;
    (void)state;
    const struct {
        enum kind kind;
        int64_t wire;
    } cases[] = {
        {KIND_INT16, 32768},
        {KIND_INT16, INT64_MIN},
        {KIND_INT32, INT64_C(2147483648)},
        {KIND_DATE, INT64_MIN},
        {KIND_TIME_MS, INT64_MAX},
        {KIND_TIMESTAMP_MS, INT64_MAX},
        {KIND_TIMESTAMP_MS, INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&bytes);
        put_long(&bytes, cases[i].wire);
        read_one(&arena, (struct plan_column){.kind = cases[i].kind, .null_at = -1}, &bytes, &why);
        assert_non_null(why);
    }
    buf_clear(&bytes);
    buf_putc(&bytes, 2);
    read_one(&arena, (struct plan_column){.kind = KIND_BOOL, .null_at = -1}, &bytes, &why);
    assert_non_null(why);
    buf_free(&bytes);
    arena_free(&arena);
}

static void floats_keep_nan_infinity_and_minus_zero(void **state) {
    struct arena arena = {0};
    struct buf bytes = {0};
    const char *why;
    const double cases[] = {0.0, -0.0, INFINITY, -INFINITY, 1.5, -3.25};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&bytes);
        put_float(&bytes, (float)cases[i]);
        struct value value =
            read_one(&arena, (struct plan_column){.kind = KIND_FLOAT32, .null_at = -1}, &bytes, &why);
        assert_true(value.tag == VALUE_FLOAT && value.d == cases[i] && signbit(value.d) == signbit(cases[i]));
        buf_clear(&bytes);
        put_double(&bytes, cases[i]);
        value = read_one(&arena, (struct plan_column){.kind = KIND_FLOAT64, .null_at = -1}, &bytes, &why);
        assert_true(value.tag == VALUE_FLOAT && value.d == cases[i] && signbit(value.d) == signbit(cases[i]));
    }
    buf_clear(&bytes);
    put_double(&bytes, NAN);
    assert_true(
        isnan(read_one(&arena, (struct plan_column){.kind = KIND_FLOAT64, .null_at = -1}, &bytes, &why).d));
    buf_free(&bytes);
    arena_free(&arena);
}

static void bits_beyond_the_length_are_rejected(void **state) {
    struct arena arena = {0};
    struct buf bytes = {0};
    const char *why;
    const struct plan_column ten = {.kind = KIND_BITS, .null_at = -1, .length = 10};
    (void)state;
    put_bytes(&bytes, "\x01", 1);
    struct value value = read_one(&arena, ten, &bytes, &why);
    assert_text(&value, "0000000001");
    buf_clear(&bytes);
    put_bytes(&bytes, "\x00\x04", 2);
    read_one(&arena, ten, &bytes, &why);
    assert_non_null(why);
    buf_clear(&bytes);
    put_bytes(&bytes, "\x00\x00\x00", 3);
    read_one(&arena, ten, &bytes, &why);
    assert_non_null(why);
    buf_clear(&bytes);
    put_bytes(&bytes, "\x00", 1); /* nothing is allocated because a schema is large */
    read_one(&arena, (struct plan_column){.kind = KIND_BITS, .null_at = -1, .length = 80000000}, &bytes,
             &why);
    assert_non_null(why);
    buf_free(&bytes);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_decimal_has_exactly_its_scale),
        cmocka_unit_test(decimals_of_a_thousand_digits_are_exact),
        cmocka_unit_test(text_must_be_utf8_without_nul),
        cmocka_unit_test(milliseconds_become_microseconds_but_infinities_stay),
        cmocka_unit_test(numbers_outside_their_kind_are_rejected),
        cmocka_unit_test(floats_keep_nan_infinity_and_minus_zero),
        cmocka_unit_test(bits_beyond_the_length_are_rejected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
