#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/slice.h"

static void slices_are_equal_by_their_bytes(void **state) {
    (void)state;
    assert_true(slice_eq(slice_make("abc", 2), slice_make("abd", 2)));
    assert_false(slice_eq(slice_of("abc"), slice_of("abcd")));
    assert_true(slice_eq((struct slice){0}, slice_of("")));
    assert_true(slice_is(slice_of("a"), "a"));
}

static void a_buffer_keeps_its_bytes_while_it_grows(void **state) {
    (void)state;
    CLEANUP_BUF buf = {0};
    for (int i = 0; i < 100000; i++)
        buf_putc(&buf, (char)i);
    assert_int_equal(buf.len, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(buf.data[i], (char)i);
}

static void a_cleared_buffer_keeps_its_room(void **state) {
    (void)state;
    CLEANUP_BUF buf = {0};
    buf_grow(&buf, 5000);
    size_t cap = buf.cap;
    assert_true(cap >= 5000);
    buf_clear(&buf);
    buf_puts(&buf, "x");
    assert_int_equal(buf.cap, cap);
}

static void putting_nothing_into_an_empty_buffer_is_fine(void **state) {
    (void)state;
    CLEANUP_BUF buf = {0};
    buf_put(&buf, NULL, 0);
    buf_put_slice(&buf, (struct slice){0});
    assert_int_equal(buf.len, 0);
    assert_string_equal(buf_cstr(&buf), "");
}

static void printing_appends_whatever_the_room(void **state) {
    (void)state;
    for (size_t filled = 0; filled < 140; filled++) {
        CLEANUP_BUF buf = {0};
        for (size_t i = 0; i < filled; i++)
            buf_putc(&buf, '.');
        buf_printf(&buf, "%s-%d", "text", 42);
        assert_int_equal(buf.len, filled + 7);
        assert_string_equal(buf_cstr(&buf) + filled, "text-42");
        assert_int_equal(buf.len, filled + 7);
    }
}

static void a_pattern_takes_the_whole_text_or_nothing(void **state) {
    (void)state;
    const struct {
        const char *pattern, *text;
        bool taken;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"*", "", true},
        {"*", "shop.orders", true},
        {"?", "", false},
        {"?", "a", true},
        {"shop.*", "shop.", true},
        {"shop.*", "shops.x", false},
        {"*.log", "a.log", true},
        {"*.log", "a.logs", false},
        {"a*b*c", "axxbyybc", true},
        {"a*b?c", "abbc", true},
        {"[ab]", "a", false},
        {"[ab]", "[ab]", true},
        {"a\\*", "a\\b", true},
        {"**??", "ab", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (slice_glob(slice_of(cases[i].pattern), slice_of(cases[i].text)) != cases[i].taken)
            fail_msg("'%s' and '%s'", cases[i].pattern, cases[i].text);
}

/* One that tries every place for every star would not come back. */
static void a_pattern_of_many_stars_is_no_trap(void **state) {
    (void)state;
    struct buf pattern = {0}, text = {0};
    for (int i = 0; i < 30; i++)
        buf_puts(&pattern, "*a");
    buf_putc(&pattern, 'b');
    for (int i = 0; i < 5000; i++)
        buf_putc(&text, 'a');
    assert_false(slice_glob(buf_slice(&pattern), buf_slice(&text)));
    buf_free(&pattern);
    buf_free(&text);
}

static void copies_end_with_a_zero_byte(void **state) {
    (void)state;
    CLEANUP_FREE char *part = xstrndup("orders", 3);
    CLEANUP_FREE char *whole = xstrdup("orders");
    CLEANUP_FREE char *made = xasprintf("%d", 5);
    assert_string_equal(part, "ord");
    assert_string_equal(whole, "orders");
    assert_string_equal(made, "5");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_are_equal_by_their_bytes),
        cmocka_unit_test(a_buffer_keeps_its_bytes_while_it_grows),
        cmocka_unit_test(a_cleared_buffer_keeps_its_room),
        cmocka_unit_test(putting_nothing_into_an_empty_buffer_is_fine),
        cmocka_unit_test(printing_appends_whatever_the_room),
        cmocka_unit_test(a_pattern_takes_the_whole_text_or_nothing),
        cmocka_unit_test(a_pattern_of_many_stars_is_no_trap),
        cmocka_unit_test(copies_end_with_a_zero_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
