#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sink/values/type_name.h"

static void what_the_server_prints_is_taken_apart(void **state) {
    (void)state;
    static const struct {
        const char *text, *base;
        int n_mods, mods[2];
        bool array;
    } cases[] = {
        {"integer", "integer", 0, {0}, false},
        {"integer[]", "integer", 0, {0}, true},
        {"numeric(12,2)", "numeric", 2, {12, 2}, false},
        {"numeric(3,-5)[]", "numeric", 2, {3, -5}, true},
        {"character varying(20)[]", "character varying", 1, {20}, true},
        {"timestamp(3) with time zone", "timestamp with time zone", 1, {3}, false},
        {"timestamp without time zone", "timestamp without time zone", 0, {0}, false},
        {"interval day to second(3)", "interval day to second", 1, {3}, false},
        {"\"char\"", "\"char\"", 0, {0}, false},
        {"shop.\"od\"\"d. name\"", "shop.\"od\"\"d. name\"", 0, {0}, false},
        {"public.geometry(Point,4326)", "public.geometry", -1, {4326, 0}, false},
        {"double precision", "double precision", 0, {0}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct type_name got;
        assert_true(type_parse(cases[i].text, &got));
        assert_string_equal(got.base, cases[i].base);
        assert_int_equal(got.n_mods, cases[i].n_mods);
        assert_int_equal(got.array, cases[i].array);
        if (cases[i].n_mods > 0)
            assert_memory_equal(got.mods, cases[i].mods, sizeof got.mods);
    }
}

static void everything_else_is_refused(void **state) {
    (void)state;
    static const char *const cases[] = {
        "",
        " integer",
        "integer ",
        "Integer",
        "int4; DROP TABLE t",
        "integer[][]",
        "integer[3]",
        "integer -- x",
        "integer/**/",
        "integer DEFAULT 1",
        "a.b.c",
        "a.",
        ".a",
        "\"",
        "\"a",
        "\"\"",
        "\"a\" x",
        "numeric(",
        "numeric()",
        "numeric(1",
        "numeric(1,)",
        "numeric(1,2)x",
        "numeric((1))",
        "numeric(1;2)",
        "numeric(-)",
        "text'",
        "text COLLATE \"C\"",
        "numeric(1,2,3,4,5)",
        "double  precision",
        "timestamp with time zone with time zone",
    };
    struct type_name got;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (type_parse(cases[i], &got))
            fail_msg("taken: %s", cases[i]);
    char endless[4000] = {0};
    memset(endless, 'a', sizeof endless - 1);
    assert_false(type_parse(endless, &got));
}

static bool widens(const char *from, const char *to) {
    struct type_name a, b;
    assert_true(type_parse(from, &a) && type_parse(to, &b));
    return type_widens(&a, &b);
}

static void a_wider_type_holds_every_value(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"smallint", "integer"},
        {"integer", "bigint"},
        {"bigint", "numeric"},
        {"integer", "numeric(12,2)"},
        {"integer[]", "bigint[]"},
        {"real", "double precision"},
        {"character varying(5)", "character varying(6)"},
        {"character varying(5)", "text"},
        {"text", "character varying"},
        {"character(3)", "character(5)"},
        {"numeric(10,2)", "numeric(12,2)"},
        {"numeric(10,2)", "numeric"},
        {"numeric(5)", "numeric(7,2)"},
        {"numeric(3,-2)", "numeric(5)"},
        {"timestamp(3) with time zone", "timestamp with time zone"},
        {"interval(3)", "interval"},
        {"bit varying(3)", "bit varying"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        if (!widens(cases[i][0], cases[i][1]))
            fail_msg("%s does not widen to %s", cases[i][0], cases[i][1]);
        if (widens(cases[i][1], cases[i][0]) && strcmp(cases[i][0], "text") != 0)
            fail_msg("%s widens to %s", cases[i][1], cases[i][0]);
    }
}

static void a_type_that_changes_values_is_not_wider(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"integer", "numeric(9)"},
        {"bigint", "double precision"},
        {"numeric", "numeric(1000,500)"},
        {"numeric(10,2)", "numeric(12,1)"},
        {"numeric(10,2)", "numeric(11,4)"},
        {"character(3)", "text"},
        {"integer", "bigint[]"},
        {"date", "timestamp without time zone"},
        {"text", "character varying(9)"},
        {"timestamp without time zone", "timestamp with time zone"},
        {"json", "jsonb"},
        {"bit(3)", "bit(4)"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (widens(cases[i][0], cases[i][1]))
            fail_msg("%s widens to %s", cases[i][0], cases[i][1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_server_prints_is_taken_apart),
        cmocka_unit_test(everything_else_is_refused),
        cmocka_unit_test(a_wider_type_holds_every_value),
        cmocka_unit_test(a_type_that_changes_values_is_not_wider),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
