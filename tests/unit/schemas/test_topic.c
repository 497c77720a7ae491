#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "schemas/topic.h"

static const char *name_of(const char *schema, const char *table) {
    static struct buf out;
    struct table t = {.schema = schema, .name = table};
    buf_clear(&out);
    topic_name("shop", &t, &out);
    return buf_cstr(&out);
}

static void plain_names_make_debeziums_topic(void **state) {
    (void)state;
    assert_string_equal(name_of("public", "orders-2_A"), "shop.public.orders-2_A");
}

static void two_tables_never_share_a_topic(void **state) {
    (void)state;
    char first[300];
    snprintf(first, sizeof first, "%s", name_of("a.b", "c"));
    assert_string_not_equal(first, name_of("a", "b.c"));
    snprintf(first, sizeof first, "%s", name_of("public", "x y"));
    assert_string_not_equal(first, name_of("public", "x_y"));
    assert_string_not_equal(first, name_of("public", "x;y"));
}

static void a_name_too_long_is_cut_and_told_apart_by_its_hash(void **state) {
    (void)state;
    char longest[256], first[300];
    memset(longest, 'x', 255);
    longest[255] = 0;
    snprintf(first, sizeof first, "%s", name_of("public", longest));
    assert_int_equal(strlen(first), TOPIC_NAME_MAX);
    longest[254] = 'y';
    assert_string_not_equal(first, name_of("public", longest));
}

static void hostile_characters_stay_out_of_the_topic(void **state) {
    (void)state;
    for (const char *c = name_of("pu\"blic", "t;drop ' \xc3\xbc/../"); *c; c++)
        assert_true((*c >= 'a' && *c <= 'z') || (*c >= '0' && *c <= '9') || *c == '.' || *c == '_' ||
                    *c == '-');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_names_make_debeziums_topic),
        cmocka_unit_test(two_tables_never_share_a_topic),
        cmocka_unit_test(a_name_too_long_is_cut_and_told_apart_by_its_hash),
        cmocka_unit_test(hostile_characters_stay_out_of_the_topic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
