/* What a sink's row filter compares with what, and what it refuses to compare. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sink/filter.h"

static const char *bind(struct arena *arena, enum kind kind, const char *type, const char *filter,
                        struct condition *ret) {
    static struct column column;
    column = (struct column){.name = "c", .type = type, .kind = kind, .length = -1, .nullable = true};
    const struct table table = {.schema = "public", .name = "t", .columns = &column, .n_columns = 1};
    assert_int_equal(filter_parse(filter, arena, ret), 1);
    return condition_bind(ret, &table);
}

static bool holds(enum kind kind, const char *type, const char *filter, struct value value) {
    struct arena arena = {0};
    struct condition condition;
    const char *why = bind(&arena, kind, type, filter, &condition);
    if (why)
        fail_msg("%s of type %s: %s", filter, type, why);
    bool ret = condition_holds(&condition, &value);
    arena_free(&arena);
    return ret;
}

static bool refused(enum kind kind, const char *type, const char *filter) {
    struct arena arena = {0};
    struct condition condition;
    bool ret = bind(&arena, kind, type, filter, &condition) != NULL;
    arena_free(&arena);
    return ret;
}

static struct value text(const char *t) {
    return (struct value){VALUE_TEXT, {.s = slice_of(t)}};
}
static struct value integer(int64_t i) {
    return (struct value){VALUE_INT, {.i = i}};
}
static struct value number(double d) {
    return (struct value){VALUE_FLOAT, {.d = d}};
}

static void numbers_are_compared_by_their_value(void **state) {
    (void)state;
    assert_true(holds(KIND_INT32, "integer", "c = 007", integer(7)));
    assert_true(holds(KIND_INT64, "bigint", "c = -9223372036854775808", integer(INT64_MIN)));
    assert_true(holds(KIND_FLOAT64, "double precision", "c = 0.1", number(0.1)));
    assert_true(holds(KIND_FLOAT64, "double precision", "c = 1", number(1)));
    assert_true(holds(KIND_FLOAT64, "double precision", "c = 'NaN'", number((double)NAN)));
    assert_true(holds(KIND_FLOAT32, "real", "c = 0.1", number((double)0.1F)));
    assert_false(holds(KIND_FLOAT32, "real", "c != 0.1", number((double)0.1F)));
    assert_true(holds(KIND_DECIMAL, "numeric(12,2)", "c = 5", text("5.00")));
    assert_true(holds(KIND_DECIMAL, "numeric(12,2)", "c = -0.5", text("-0.50")));
    assert_true(holds(KIND_DECIMAL, "numeric(12,2)", "c = -0", text("0.00")));
    assert_false(holds(KIND_DECIMAL, "numeric(12,2)", "c = 5", text("50.00")));
    assert_true(holds(KIND_TEXT, "numeric", "c = 1.10", text("1.1")));
    assert_true(holds(KIND_TEXT, "numeric", "c = 'NaN'", text("NaN")));
    assert_false(holds(KIND_TEXT, "numeric", "c = 1", text("NaN")));
}

static void texts_booleans_and_uuids_are_compared_as_sql_does(void **state) {
    (void)state;
    assert_true(holds(KIND_TEXT, "text", "c = '1.0'", text("1.0")));
    assert_false(holds(KIND_TEXT, "text", "c = '1'", text("1.0")));
    assert_true(holds(KIND_TEXT, "character(5)", "c = 'ab'", text("ab   ")));
    assert_false(holds(KIND_TEXT, "character varying(5)", "c = 'ab'", text("ab ")));
    assert_true(holds(KIND_BOOL, "boolean", "c = true", integer(1)));
    assert_true(holds(KIND_BOOL, "boolean", "c != true", integer(0)));
    assert_true(holds(KIND_UUID, "uuid", "c = 'B68A35A7-17ad-35b3-af2a-ae46edb4545a'",
                      text("b68a35a7-17ad-35b3-af2a-ae46edb4545a")));
    assert_false(holds(KIND_TEXT, "text", "c != 'a'", (struct value){.tag = VALUE_NULL}));
}

/* A literal that could never equal the wire's form would take no row, and nobody would be told. */
static void what_cannot_be_compared_is_refused(void **state) {
    (void)state;
    assert_true(refused(KIND_DATE, "date", "c = '2024-01-02'"));
    assert_true(refused(KIND_TIMESTAMP, "timestamp without time zone", "c != '2024-01-02'"));
    assert_true(refused(KIND_ZONED_TIMESTAMP, "timestamp with time zone", "c = 'x'"));
    assert_true(refused(KIND_BYTES, "bytea", "c = '\\x00'"));
    assert_true(refused(KIND_POINT, "point", "c = '(1,2)'"));
    assert_true(refused(KIND_INT32, "integer", "c = 'seven'"));
    assert_true(refused(KIND_INT64, "bigint", "c = 99999999999999999999"));
    assert_true(refused(KIND_FLOAT64, "double precision", "c = '1,5'"));
    assert_true(refused(KIND_DECIMAL, "numeric(12,2)", "c = '5 EUR'"));
    assert_true(refused(KIND_BOOL, "boolean", "c = 'maybe'"));
    assert_true(refused(KIND_TEXT, "text", "d = 'x'"));
    assert_true(holds(KIND_DATE, "date", "c is not null", integer(19724)));
    assert_true(holds(KIND_POINT, "point", "c is null", (struct value){.tag = VALUE_NULL}));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_compared_by_their_value),
        cmocka_unit_test(texts_booleans_and_uuids_are_compared_as_sql_does),
        cmocka_unit_test(what_cannot_be_compared_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
