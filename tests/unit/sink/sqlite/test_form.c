/* How columns are declared, what a declaration keeps, and which type passes into which. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sink/sqlite/form.h"

static const struct form_type integer = {"integer", KIND_INT32, 0},
                              real = {"double precision", KIND_FLOAT64, 0}, text = {"text", KIND_TEXT, 0},
                              bytes = {"bytea", KIND_BYTES, 0}, decimal = {"numeric(12,2)", KIND_DECIMAL, 2};

static void every_kind_has_a_declaration_that_keeps_it(void **state) {
    (void)state;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        struct form_type type = {"x", kind, 0};
        const char *declared = form_declared(&type);
        assert_true(form_kept_by(&type, declared));
        enum value_tag tag = kind_tag((enum kind)kind);
        const char *right = tag == VALUE_INT && kind <= KIND_INT64 ? "INTEGER"
                            : tag == VALUE_FLOAT                   ? ""
                            : tag == VALUE_BYTES                   ? "BLOB"
                                                                   : "TEXT";
        assert_string_equal(declared, right);
    }
}

static void declarations_that_convert_are_not_taken(void **state) {
    (void)state;
    static const struct {
        const char *declared;
        bool integer, real, text, bytes;
    } rows[] = {
        {"", true, true, true, true},
        {"BLOB", true, true, true, true},
        {"INTEGER", true, false, false, false},
        {"bigint", true, false, false, false},
        {"VARCHAR(20)", false, false, true, false},
        {"text", false, false, true, false},
        {"REAL", false, false, false, false},
        {"double precision", false, false, false, false},
        {"NUMERIC", true, false, false, false},
        {"DECIMAL(12,2)", true, false, false, false},
        {"json", true, false, false, false},
        {"floating point", true, false, false, false}, /* "INT" is found first, also in "point" */
        {"BOOLEAN", true, false, false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bool same = form_kept_by(&integer, rows[i].declared) == rows[i].integer &&
                    form_kept_by(&real, rows[i].declared) == rows[i].real &&
                    form_kept_by(&text, rows[i].declared) == rows[i].text &&
                    form_kept_by(&decimal, rows[i].declared) == rows[i].text &&
                    form_kept_by(&bytes, rows[i].declared) == rows[i].bytes;
        if (!same)
            fail_msg("declared '%s'", rows[i].declared);
    }
}

static void types_pass_where_no_value_changes(void **state) {
    (void)state;
    static const struct {
        struct column from;
        struct form_type to;
        bool passes;
    } rows[] = {
        {{.type = "integer", .kind = KIND_INT32}, {"integer", KIND_INT32, 0}, true},
        {{.type = "integer", .kind = KIND_INT32}, {"bigint", KIND_INT64, 0}, true},
        {{.type = "bigint", .kind = KIND_INT64}, {"integer", KIND_INT32, 0}, false},
        {{.type = "integer", .kind = KIND_INT32}, {"numeric(12,2)", KIND_DECIMAL, 2}, true},
        {{.type = "integer", .kind = KIND_INT32}, {"numeric(9,2)", KIND_DECIMAL, 2}, false},
        {{.type = "numeric(12,2)", .kind = KIND_DECIMAL}, {"numeric(12,1)", KIND_DECIMAL, 1}, false},
        {{.type = "numeric(12,2)[]", .kind = KIND_TEXT}, {"numeric(14,4)[]", KIND_TEXT, 0}, false},
        {{.type = "integer[]", .kind = KIND_TEXT}, {"bigint[]", KIND_TEXT, 0}, true},
        {{.type = "character(3)[]", .kind = KIND_TEXT}, {"character(5)[]", KIND_TEXT, 0}, false},
        {{.type = "real", .kind = KIND_FLOAT32}, {"double precision", KIND_FLOAT64, 0}, true},
        {{.type = "bytea", .kind = KIND_BYTES}, {"text", KIND_TEXT, 0}, true},
        {{.type = "text", .kind = KIND_TEXT}, {"bytea", KIND_BYTES, 0}, false},
        {{.type = "shop.mood", .kind = KIND_ENUM}, {"shop.mood", KIND_ENUM, 0}, true},
        {{.type = "shop.mood", .kind = KIND_ENUM}, {"shop.other", KIND_ENUM, 0}, false},
        {{.type = "character(3)", .kind = KIND_TEXT}, {"character(5)", KIND_TEXT, 0}, true},
        {{.type = "character(3)", .kind = KIND_TEXT}, {"character(999999999)", KIND_TEXT, 0}, false},
        {{.type = "numeric(9,2)", .kind = KIND_DECIMAL}, {"numeric(12,3)", KIND_DECIMAL, 1 << 30}, false},
        {{.type = "integer", .kind = KIND_BYTES}, {"bigint", KIND_INT64, 0}, false}, /* its kind lies */
        {{.type = "integer", .kind = KIND_FLOAT64}, {"numeric", KIND_TEXT, 0}, false},
        {{.type = "no type (", .kind = KIND_TEXT}, {"text", KIND_TEXT, 0}, false},
        {{.type = "numeric(6,2)", .kind = KIND_TEXT},
         {"numeric(6,2)", KIND_DECIMAL, 2},
         true}, /* numeric: string */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct form form;
        if (form_between(&rows[i].from, &rows[i].to, &form) != rows[i].passes)
            fail_msg("%s to %s", rows[i].from.type, rows[i].to.type);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_has_a_declaration_that_keeps_it),
        cmocka_unit_test(declarations_that_convert_are_not_taken),
        cmocka_unit_test(types_pass_where_no_value_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
