#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

/* What log_write puts on stderr, without the time stamp, which is checked here. */
static char line[16384];

static const char *logged(enum log_level level, const char *message, const struct log_field *fields,
                          size_t n) {
    int ends[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    log_write(level, "room", message, fields, n);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t len = read(ends[0], line, sizeof line - 1);
    close(ends[0]);
    assert_true(len > 0 && line[len - 1] == '\n');
    line[len - 1] = '\0';
    assert_null(strchr(line, '\n'));
    return line;
}

static const char *value_of(const char *text) {
    struct log_field field = F_STR("f", text);
    log_setup(LOG_INFO, false);
    const char *found = strstr(logged(LOG_INFO, "m", &field, 1), " f=");
    assert_non_null(found);
    return found + 3;
}

static void a_line_has_time_level_room_and_message(void **state) {
    (void)state;
    log_setup(LOG_INFO, false);
    const struct log_field fields[] = {F_STR("slot", "millrace_shop"), F_LSN("at", 0x16B3748), F_INT("n", -5),
                                       F_NUM("rate", 0.5), F_BOOL("ok", true)};
    const char *text = logged(LOG_INFO, "slot created", fields, 5);
    struct tm tm;
    const char *fraction = strptime(text, "ts=%Y-%m-%dT%H:%M:%S", &tm);
    assert_ptr_equal(fraction, text + 22);
    assert_true(fraction[0] == '.' && strspn(fraction + 1, "0123456789") == 3 && fraction[4] == 'Z');
    assert_string_equal(fraction + 5,
                        " level=info room=room msg=\"slot created\" slot=millrace_shop at=0/16B3748 "
                        "n=-5 rate=0.5 ok=true");
}

static void values_are_quoted_only_where_needed(void **state) {
    (void)state;
    assert_string_equal(value_of("public.orders"), "public.orders");
    assert_string_equal(value_of("a b"), "\"a b\"");
    assert_string_equal(value_of("a=b"), "\"a=b\"");
    assert_string_equal(value_of(""), "\"\"");
    assert_string_equal(value_of(NULL), "\"\"");
    assert_string_equal(value_of("say \"x\" \\ y"), "\"say \\\"x\\\" \\\\ y\"");
    assert_string_equal(value_of("\xC3\xA9"), "\"\xC3\xA9\"");
}

static void control_characters_are_escaped(void **state) {
    (void)state;
    assert_string_equal(value_of("a\nlevel=error\r\t\x1b\x7f"), "\"a\\nlevel=error\\r\\t\\u001b\\u007f\"");
    assert_string_equal(value_of("a\xC2\x9B"
                                 "b"),
                        "\"a\\u009bb\"");
}

static void bytes_that_are_not_utf8_are_replaced(void **state) {
    (void)state;
    assert_string_equal(value_of("a\xFF"
                                 "b\xC3"),
                        "\"a\xEF\xBF\xBD"
                        "b\xEF\xBF\xBD\"");
    assert_string_equal(value_of("\xC0\xAF"), "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
    assert_string_equal(value_of("\xF0\x9F\x98\x80"), "\"\xF0\x9F\x98\x80\"");
}

static void a_long_value_is_cut(void **state) {
    (void)state;
    char text[10000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    const char *value = value_of(text);
    assert_int_equal(strlen(value), 4096 + 3 + 2);
    assert_string_equal(value + strlen(value) - 5, "x...\"");
}

static void json_lines_are_json_whatever_the_strings(void **state) {
    (void)state;
    log_setup(LOG_INFO, true);
    const struct log_field fields[] = {
        F_STR("a", "\"\\\n\x01\xFF"), F_STR("none", NULL), F_NUM("nan", NAN), F_NUM("x", 1.25),
        F_INT("i", INT64_MIN),        F_BOOL("b", false),  F_LSN("l", -1)};
    const char *text = logged(LOG_WARN, "it's \"so\"", fields, 7);
    log_setup(LOG_INFO, false);
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(json);
    assert_string_equal(json_string_value(json_object_get(json, "level")), "warn");
    assert_string_equal(json_string_value(json_object_get(json, "msg")), "it's \"so\"");
    assert_string_equal(json_string_value(json_object_get(json, "a")), "\"\\\n\x01\xEF\xBF\xBD");
    assert_true(json_is_null(json_object_get(json, "none")));
    assert_true(json_is_null(json_object_get(json, "nan")));
    assert_true(json_real_value(json_object_get(json, "x")) == 1.25);
    assert_true(json_integer_value(json_object_get(json, "i")) == INT64_MIN);
    assert_true(json_is_false(json_object_get(json, "b")));
    assert_string_equal(json_string_value(json_object_get(json, "l")), "FFFFFFFF/FFFFFFFF");
    json_decref(json);
}

static void the_level_decides_what_is_on(void **state) {
    (void)state;
    log_setup(LOG_WARN, false);
    assert_true(log_on(LOG_ERROR));
    assert_true(log_on(LOG_WARN));
    assert_false(log_on(LOG_INFO));
    log_info("room", "not written", F_INT("n", 1));
    log_setup(LOG_DEBUG, false);
    assert_true(log_on(LOG_DEBUG));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_has_time_level_room_and_message),
        cmocka_unit_test(values_are_quoted_only_where_needed),
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(bytes_that_are_not_utf8_are_replaced),
        cmocka_unit_test(a_long_value_is_cut),
        cmocka_unit_test(json_lines_are_json_whatever_the_strings),
        cmocka_unit_test(the_level_decides_what_is_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
