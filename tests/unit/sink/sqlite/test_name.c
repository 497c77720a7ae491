/* Names of the source in SQLite: flat, quoted, and refused where they cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sink/sqlite/sqlite.h"

static void a_schema_becomes_part_of_the_name(void **state) {
    (void)state;
    struct arena arena = {0};
    static const char *const rows[][3] = {
        {"public", "a", "a"}, {"main", "a", "a"}, {"shop", "a", "shop_a"}, {"Public", "a", "Public_a"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct table table = {.schema = rows[i][0], .name = rows[i][1]};
        assert_string_equal(flat_name(&table, &arena), rows[i][2]);
    }
    arena_free(&arena);
}

static void quotes_are_doubled(void **state) {
    (void)state;
    CLEANUP_BUF sql = {0};
    lite_put_ident(&sql, "a\"b\"\"c");
    assert_string_equal(buf_cstr(&sql), "\"a\"\"b\"\"\"\"c\"");
}

static void names_that_cannot_be_are_refused(void **state) {
    (void)state;
    static char long_name[257];
    memset(long_name, 'a', 256);
    static const struct {
        const char *name;
        bool good;
    } rows[] = {
        {"a", true},
        {"\xc3\xbc", true},
        {"\xf0\x9f\x98\x80", true},
        {"", false},
        {"\xff", false},
        {"\xc3", false},
        {"\xc0\x80", false},
        {"\xed\xa0\x80", false},
        {"sqlite_x", false},
        {"SQLITE_X", false},
        {"millrace_x", false},
        {"Millrace_x", false},
        {long_name, false},
        {"\xf4\x90\x80\x80", false},
        {"sqlite", true},
        {"select", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct column column = {.name = "id", .type = "integer"};
        struct table table = {.schema = "public", .name = rows[i].name, .columns = &column, .n_columns = 1};
        struct err err = {0};
        enum code code = names_check(&table, rows[i].name, &err);
        if (code != (rows[i].good ? OK : REJECT))
            fail_msg("table %zu: %s %s", i, code_name(code), err.text);
    }
}

static void columns_that_differ_in_case_only_are_refused(void **state) {
    (void)state;
    struct column columns[] = {{.name = "Qty"}, {.name = "note"}, {.name = "qTY"}};
    struct table table = {.schema = "public", .name = "t", .columns = columns, .n_columns = 3};
    struct err err = {0};
    assert_int_equal(names_check(&table, "t", &err), REJECT);
    assert_non_null(strstr(err.text, "Qty"));
    table.n_columns = 2;
    assert_int_equal(names_check(&table, "t", &err), OK);
    table.n_columns = 0;
    assert_int_equal(names_check(&table, "t", &err), REJECT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_schema_becomes_part_of_the_name),
        cmocka_unit_test(quotes_are_doubled),
        cmocka_unit_test(names_that_cannot_be_are_refused),
        cmocka_unit_test(columns_that_differ_in_case_only_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
