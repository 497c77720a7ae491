#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/err.h"

static struct err err;

static void the_code_that_is_set_is_returned_and_kept(void **state) {
    (void)state;
    assert_int_equal(err_set(&err, RETRY, ERR_JOURNAL_UNREACHABLE, "broker %d is away", 7), RETRY);
    assert_int_equal(err.code, RETRY);
    assert_int_equal(err.id, ERR_JOURNAL_UNREACHABLE);
    assert_string_equal(err.text, "broker 7 is away");
}

static void without_a_struct_only_the_code_goes_back(void **state) {
    (void)state;
    assert_int_equal(err_set(NULL, REJECT, ERR_TARGET_VALUE, "lost"), REJECT);
}

static void newlines_become_semicolons_and_trailing_ones_go(void **state) {
    (void)state;
    err_set(&err, FATAL, ERR_SOURCE_REFUSED, "%s", "ERROR:  no\r\nDETAIL:  why\n\tHINT: do  \n\n");
    assert_string_equal(err.text, "ERROR:  no; DETAIL:  why; HINT: do");
}

static void control_characters_become_question_marks(void **state) {
    (void)state;
    err_set(&err, FATAL, ERR_SOURCE_REFUSED, "%s",
            "a\x1b[31mb\tc\x7f"
            "d\xC2\x9B"
            "e\xC3\xA9");
    assert_string_equal(err.text, "a?[31mb?c?d?e\xC3\xA9");
}

static void a_prefix_goes_before_the_text_and_keeps_code_and_id(void **state) {
    (void)state;
    err_set(&err, RETRY, ERR_TARGET_FULL, "disk full");
    assert_int_equal(err_prefix(&err, "sink '%s'", "report"), RETRY);
    assert_string_equal(err.text, "sink 'report': disk full");
    assert_int_equal(err.id, ERR_TARGET_FULL);
}

static void the_old_text_may_be_an_argument_of_the_new_one(void **state) {
    (void)state;
    err_set(&err, FATAL, ERR_SYSTEM, "inner");
    err_set(&err, FATAL, ERR_SYSTEM, "outer (%s)", err.text);
    assert_string_equal(err.text, "outer (inner)");
}

static void bytes_that_are_no_text_become_question_marks(void **state) {
    (void)state;
    assert_int_equal(
        err_set(&err, FATAL, ERR_CONFIG, "%s", "M\xfcnchen \xc3\xbc \xe2\x82 \xed\xa0\x80 \xf0\x9f\x98\x80"),
        FATAL);
    assert_string_equal(err.text, "M?nchen \xc3\xbc ?? ??? \xf0\x9f\x98\x80");
}

static void a_text_that_is_too_long_is_cut_between_characters(void **state) {
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        char longer[3 * sizeof err.text];
        memset(longer, 'x', sizeof longer);
        for (size_t i = shift; i + 3 < sizeof longer; i += 3)
            memcpy(longer + i, "\xE2\x82\xAC", 3);
        longer[sizeof longer - 1] = '\0';
        err_set(&err, FATAL, ERR_SYSTEM, "%s", longer);
        size_t len = strlen(err.text);
        assert_in_range(len, sizeof err.text - 8, sizeof err.text - 1);
        assert_int_equal((len - shift) % 3, 0);
        assert_memory_equal(err.text, longer, len);
    }
}

static void a_text_of_newlines_does_not_outgrow_its_room(void **state) {
    (void)state;
    char lines[2 * sizeof err.text];
    for (size_t i = 0; i + 1 < sizeof lines; i++)
        lines[i] = i % 2 ? '\n' : 'x';
    lines[sizeof lines - 1] = '\0';
    err_set(&err, FATAL, ERR_SYSTEM, "%s", lines);
    assert_true(strlen(err.text) < sizeof err.text);
}

static void every_error_has_a_name_a_meaning_and_an_exit_code(void **state) {
    (void)state;
    for (int id = ERR_NONE; id <= ERR_STOPPED; id++) {
        assert_true(strlen(err_name((enum err_id)id)) > 0);
        assert_true(strlen(err_meaning((enum err_id)id)) > 0);
        assert_in_range(err_exit((enum err_id)id), 0, 7);
    }
    assert_string_equal(err_name(ERR_NEEDS_RESNAPSHOT), "needs-resnapshot");
    assert_int_equal(err_exit(ERR_NEEDS_RESNAPSHOT), 4);
    assert_string_equal(code_name(RETRY), "RETRY");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_code_that_is_set_is_returned_and_kept),
        cmocka_unit_test(without_a_struct_only_the_code_goes_back),
        cmocka_unit_test(newlines_become_semicolons_and_trailing_ones_go),
        cmocka_unit_test(control_characters_become_question_marks),
        cmocka_unit_test(a_prefix_goes_before_the_text_and_keeps_code_and_id),
        cmocka_unit_test(the_old_text_may_be_an_argument_of_the_new_one),
        cmocka_unit_test(bytes_that_are_no_text_become_question_marks),
        cmocka_unit_test(a_text_that_is_too_long_is_cut_between_characters),
        cmocka_unit_test(a_text_of_newlines_does_not_outgrow_its_room),
        cmocka_unit_test(every_error_has_a_name_a_meaning_and_an_exit_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
