#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sink/mapping.h"

static struct column columns[] = {
    {.name = "id", .type = "bigint", .kind = KIND_INT64, .length = -1, .key = 1},
    {.name = "region", .type = "text", .kind = KIND_TEXT, .length = -1, .nullable = true},
};
static int key[] = {0};
static const struct table orders = {
    .schema = "shop", .name = "orders", .columns = columns, .n_columns = 2, .key = key, .n_key = 1};
static const struct table log_table = {
    .schema = "shop", .name = "log", .columns = columns, .n_columns = 2, .key = key, .n_key = 1};

static struct mapping *make(struct text_list tables, struct text_map where, struct text_map rename) {
    static struct text_list t;
    static struct text_map w, r;
    t = tables, w = where, r = rename;
    struct mapping *m;
    struct err err = {0};
    assert_int_equal(mapping_new(&t, &w, &r, &m, &err), OK);
    return m;
}

static const struct mapped *find(struct mapping *m, const struct table *table) {
    const struct mapped *mapped;
    struct err err = {0};
    assert_int_equal(mapping_find(m, table, &mapped, &err), OK);
    return mapped;
}

static void without_patterns_every_table_is_taken_under_its_own_name(void **state) {
    (void)state;
    struct mapping *m = make((struct text_list){0}, (struct text_map){0}, (struct text_map){0});
    assert_string_equal(find(m, &orders)->table->name, "orders");
    assert_ptr_equal(find(m, &orders), find(m, &orders));
    mapping_free(m);
}

static void patterns_choose_and_exclude(void **state) {
    (void)state;
    static const char *items[] = {"shop.*", "!shop.log"};
    struct mapping *m = make((struct text_list){items, 2}, (struct text_map){0}, (struct text_map){0});
    assert_non_null(find(m, &orders)->table);
    assert_null(find(m, &log_table)->table);
    mapping_free(m);
}

static void brackets_in_a_pattern_are_part_of_the_name(void **state) {
    (void)state;
    struct column column = {.name = "id", .type = "int", .kind = KIND_INT32, .length = -1};
    struct table odd = {.schema = "shop", .name = "t[1]\\", .columns = &column, .n_columns = 1};
    static const char *items[] = {"shop.t[1]\\"};
    struct mapping *m = make((struct text_list){items, 1}, (struct text_map){0}, (struct text_map){0});
    assert_non_null(find(m, &odd)->table);
    assert_null(find(m, &orders)->table);
    mapping_free(m);
}

static void schema_table_and_column_get_new_names(void **state) {
    (void)state;
    const char *keys[] = {"shop", "shop.orders", "shop.orders.region"},
               *values[] = {"report", "bills", "area"};
    struct mapping *m = make((struct text_list){0}, (struct text_map){0}, (struct text_map){keys, values, 3});
    const struct table *t = find(m, &orders)->table;
    assert_string_equal(t->schema, "report");
    assert_string_equal(t->name, "bills");
    assert_string_equal(t->columns[1].name, "area");
    assert_string_equal(find(m, &log_table)->table->name, "log");
    mapping_free(m);
}

static bool match(const char *filter, struct value region) {
    const char *keys[] = {"shop.orders"}, *values[] = {filter};
    struct mapping *m = make((struct text_list){0}, (struct text_map){keys, values, 1}, (struct text_map){0});
    struct value row[2] = {{.tag = VALUE_INT, .i = 7}, region};
    struct err err = {0};
    bool pass;
    assert_int_equal(mapped_match(find(m, &orders), row, &pass, &err), OK);
    mapping_free(m);
    return pass;
}

static void filters_compare_text_numbers_and_null(void **state) {
    (void)state;
    struct value eu = {.tag = VALUE_TEXT, .s = slice_of("eu")}, null = {.tag = VALUE_NULL},
                 quoted = {.tag = VALUE_TEXT, .s = slice_of("it's")};
    assert_true(match("region = 'eu'", eu));
    assert_false(match("region != 'eu'", eu));
    assert_false(match("region <> 'eu'", null)); /* as SQL has it */
    assert_true(match("region is null AND id = 7", null));
    assert_true(match("\"region\" is not null and id != 8", eu));
    assert_true(match("region = 'it''s'", quoted));
}

static void a_filter_that_is_not_understood_is_refused_at_start(void **state) {
    (void)state;
    const char *bad[] = {"",
                         "region",
                         "region = ",
                         "region = 'eu",
                         "region like 'e%'",
                         "region = 'eu' or id = 1",
                         "region = 'eu' and"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *keys[] = {"shop.orders"};
        struct text_list t = {0};
        struct text_map w = {keys, &bad[i], 1}, r = {0};
        struct mapping *m;
        struct err err = {0};
        assert_int_equal(mapping_new(&t, &w, &r, &m, &err), FATAL);
        assert_int_equal(err.id, ERR_CONFIG);
    }
}

static void a_filter_on_a_column_that_is_gone_stops_the_table(void **state) {
    (void)state;
    const char *keys[] = {"shop.orders"}, *values[] = {"area = 'eu'"};
    struct mapping *m = make((struct text_list){0}, (struct text_map){keys, values, 1}, (struct text_map){0});
    const struct mapped *mapped;
    struct err err = {0};
    assert_int_equal(mapping_find(m, &orders, &mapped, &err), REJECT);
    assert_non_null(strstr(err.text, "area"));
    mapping_free(m);
}

static void two_tables_cannot_become_one(void **state) {
    (void)state;
    struct text_list t = {0};
    struct text_map w = {0};
    struct mapping *m = NULL;
    static const struct {
        const char *keys[3], *values[3];
        size_t n;
        enum code code;
    } cases[] = {
        {{"shop.orders", "shop.log"}, {"bills", "bills"}, 2, FATAL},
        {{"shop.orders", "old.orders", "old"}, {"bills", "bills", "shop"}, 3, FATAL},
        {{"shop.orders", "old.orders"}, {"bills", "bills"}, 2, OK},
        {{"shop.orders.a", "shop.log.b"}, {"bills", "bills"}, 2, OK},
        {{"shop", "old"}, {"all", "all"}, 2, OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct text_map r = {(const char **)(uintptr_t)cases[i].keys,
                             (const char **)(uintptr_t)cases[i].values, cases[i].n};
        struct err err = {0};
        assert_int_equal(mapping_new(&t, &w, &r, &m, &err), cases[i].code);
        if (cases[i].code == OK)
            mapping_free(m);
        else
            assert_int_equal(err.id, ERR_CONFIG);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_tables_cannot_become_one),
        cmocka_unit_test(without_patterns_every_table_is_taken_under_its_own_name),
        cmocka_unit_test(patterns_choose_and_exclude),
        cmocka_unit_test(brackets_in_a_pattern_are_part_of_the_name),
        cmocka_unit_test(schema_table_and_column_get_new_names),
        cmocka_unit_test(filters_compare_text_numbers_and_null),
        cmocka_unit_test(a_filter_that_is_not_understood_is_refused_at_start),
        cmocka_unit_test(a_filter_on_a_column_that_is_gone_stops_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
