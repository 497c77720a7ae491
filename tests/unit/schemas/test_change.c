#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "schemas/change.h"

static struct column columns[2];
static int key[1];
static struct user_type types[2];
static const char *labels[] = {"sad", "ok", NULL};
static const char *attributes[] = {"a", "b", NULL};
static const char *attribute_types[] = {"integer", "text", NULL};

static struct table make(void) {
    columns[0] = (struct column){.name = "id", .type = "bigint", .kind = KIND_INT64, .length = -1, .key = 1};
    columns[1] = (struct column){.name = "mood",
                                 .type = "shop.mood",
                                 .kind = KIND_ENUM,
                                 .length = -1,
                                 .nullable = true,
                                 .labels = labels};
    key[0] = 0;
    types[0] = (struct user_type){USER_TYPE_ENUM, "shop", "mood", labels, NULL};
    types[1] = (struct user_type){USER_TYPE_COMPOSITE, "shop", "pair", attributes, attribute_types};
    labels[0] = "sad";
    attribute_types[1] = "text";
    return (struct table){.schema = "shop",
                          .name = "people",
                          .columns = columns,
                          .n_columns = 2,
                          .key = key,
                          .n_key = 1,
                          .types = types,
                          .n_types = 2};
}

static void each_kind_has_its_name_and_the_tag_of_its_values(void **state) {
    (void)state;
    assert_string_equal(kind_name(KIND_DECIMAL), "DECIMAL");
    assert_string_equal(kind_name(KIND_POINT), "POINT");
    assert_int_equal(kind_tag(KIND_DECIMAL), VALUE_TEXT);
    assert_int_equal(kind_tag(KIND_TIME_MS), VALUE_INT);
    assert_int_equal(kind_tag(KIND_BYTES), VALUE_BYTES);
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        assert_true(kind_tag((enum kind)kind) > VALUE_NULL);
        assert_true(strlen(kind_name((enum kind)kind)) > 0);
    }
}

static void a_column_is_found_by_its_exact_name(void **state) {
    (void)state;
    struct table table = make();
    assert_ptr_equal(table_column(&table, "mood"), &columns[1]);
    assert_null(table_column(&table, "MOOD"));
    assert_null(table_column(&table, ""));
}

static void the_digest_is_the_same_on_every_machine(void **state) {
    (void)state;
    struct table table = make();
    assert_int_equal(table_digest(&table), UINT64_C(0x30726ce8bbd08694));
    struct table empty = {.schema = "", .name = ""};
    assert_int_equal(table_digest(&empty), UINT64_C(0xa09d945a1cd8d6e5));
}

#define CHANGES_DIGEST(change)                              \
    do {                                                    \
        struct table table = make();                        \
        uint64_t before = table_digest(&table);             \
        change;                                             \
        assert_int_not_equal(before, table_digest(&table)); \
    } while (0)

static void whatever_differs_in_the_shape_differs_in_the_digest(void **state) {
    (void)state;
    CHANGES_DIGEST(table.schema = "shop2");
    CHANGES_DIGEST(table.name = "persons");
    CHANGES_DIGEST(table.n_columns = 1);
    CHANGES_DIGEST(table.n_key = 0);
    CHANGES_DIGEST(table.partial = true);
    CHANGES_DIGEST(table.n_types = 1);
    CHANGES_DIGEST(key[0] = 1);
    CHANGES_DIGEST(columns[0].name = "ID");
    CHANGES_DIGEST(columns[0].type = "integer");
    CHANGES_DIGEST(columns[0].kind = KIND_INT32);
    CHANGES_DIGEST(columns[0].length = 3);
    CHANGES_DIGEST(columns[0].precision = 3);
    CHANGES_DIGEST(columns[0].scale = 3);
    CHANGES_DIGEST(columns[0].nullable = true);
    CHANGES_DIGEST(columns[0].key = 2);
    CHANGES_DIGEST(columns[1].labels = NULL);
    CHANGES_DIGEST(labels[0] = "grim");
    CHANGES_DIGEST(types[0].kind = USER_TYPE_EXTENSION);
    CHANGES_DIGEST(types[0].schema = NULL);
    CHANGES_DIGEST(types[0].schema = "");
    CHANGES_DIGEST(types[1].name = "couple");
    CHANGES_DIGEST(attribute_types[1] = "varchar");
    make();
}

static void texts_that_touch_do_not_run_together_in_the_digest(void **state) {
    (void)state;
    struct table a = {.schema = "ab", .name = "c"}, b = {.schema = "a", .name = "bc"};
    assert_int_not_equal(table_digest(&a), table_digest(&b));
}

static void a_copy_shares_nothing_with_its_original(void **state) {
    (void)state;
    struct table table = make();
    char name[] = "id", label[] = "sad", type[] = "text";
    columns[0].name = name;
    labels[0] = label;
    attribute_types[1] = type;
    table.digest = table_digest(&table);
    struct arena arena = {0};
    struct table *copy = table_copy(&table, &arena);
    uint64_t digest = table.digest;
    name[0] = label[0] = type[0] = 'x';
    columns[1].kind = KIND_TEXT;
    key[0] = 1;
    types[0].name = "x";
    assert_int_equal(copy->digest, digest);
    assert_int_equal(table_digest(copy), digest);
    arena_free(&arena);
    make();
}

static void a_table_without_columns_can_be_copied(void **state) {
    (void)state;
    struct arena arena = {0};
    struct table *copy = table_copy(&(struct table){.schema = "s", .name = "t"}, &arena);
    assert_int_equal(copy->n_columns, 0);
    assert_string_equal(copy->name, "t");
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_has_its_name_and_the_tag_of_its_values),
        cmocka_unit_test(a_column_is_found_by_its_exact_name),
        cmocka_unit_test(the_digest_is_the_same_on_every_machine),
        cmocka_unit_test(whatever_differs_in_the_shape_differs_in_the_digest),
        cmocka_unit_test(texts_that_touch_do_not_run_together_in_the_digest),
        cmocka_unit_test(a_copy_shares_nothing_with_its_original),
        cmocka_unit_test(a_table_without_columns_can_be_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
