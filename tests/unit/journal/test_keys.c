#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "journal/embedded/keys.h"

static struct slice key(char *text, int i) {
    snprintf(text, 32, "%0*d", 1 + i % 17, i);
    return slice_of(text);
}

static void the_newest_offset_of_each_key_is_known(void **state) {
    struct keys keys;
    char text[32];
    (void)state;
    keys_init(&keys, 16 << 20);
    for (int64_t round = 0; round < 3; round++)
        for (int i = 0; i < 20000; i++)
            assert_true(keys_put(&keys, key(text, i), round * 100000 + i));
    assert_true(keys_put(&keys, key(text, 7), 3)); /* an older one changes nothing */
    for (int i = 0; i < 20000; i++)
        assert_int_equal(keys_get(&keys, key(text, i)), 200000 + i);
    assert_int_equal(keys_get(&keys, slice_of("")), -1);
    assert_true(keys_put(&keys, slice_make("", 0), 5));
    assert_int_equal(keys_get(&keys, slice_make("", 0)), 5);
    keys_free(&keys);
}

static void memory_is_bounded_and_what_was_taken_stays(void **state) {
    struct keys keys;
    char text[32];
    int n = 0;
    (void)state;
    keys_init(&keys, 1 << 20);
    while (keys_put(&keys, key(text, n), n))
        n++;
    assert_true(n > 8000 && n < 60000);
    assert_true(keys.arena.used < 1 << 20);
    for (int i = 0; i < n; i++)
        assert_int_equal(keys_get(&keys, key(text, i)), i);
    assert_true(keys_put(&keys, key(text, 5), 1000000)); /* a key that is there needs no room */
    keys_free(&keys);
}

static void one_key_larger_than_all_memory_is_taken(void **state) {
    struct keys keys;
    (void)state;
    keys_init(&keys, 1000);
    char *large = xcalloc(1, 100000);
    assert_true(keys_put(&keys, slice_make(large, 100000), 1));
    assert_false(keys_put(&keys, slice_of("x"), 2));
    free(large);
    keys_free(&keys);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_offset_of_each_key_is_known),
        cmocka_unit_test(memory_is_bounded_and_what_was_taken_stays),
        cmocka_unit_test(one_key_larger_than_all_memory_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
