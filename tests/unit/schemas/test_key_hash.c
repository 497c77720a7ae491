/* The hash of a key never changes. The judges are vectors from a second implementation of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "schemas/encode.h"
#include "tests/values.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_hash_of_a_key_never_changes),
        cmocka_unit_test(equal_numbers_hash_equally_whatever_their_text),
        cmocka_unit_test(key_columns_are_hashed_in_key_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
