#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sink/postgres/outcome.h"

static void each_sqlstate_says_what_the_caller_does_next(void **state) {
    (void)state;
    static const struct {
        const char *sqlstate;
        enum code code;
        enum err_id id;
    } cases[] = {
        {"40001", RETRY, ERR_TARGET_UNREACHABLE}, {"40P01", RETRY, ERR_TARGET_UNREACHABLE},
        {"55P03", RETRY, ERR_TARGET_UNREACHABLE}, {"57014", RETRY, ERR_TARGET_UNREACHABLE},
        {"08006", RETRY, ERR_TARGET_UNREACHABLE}, {"57P01", RETRY, ERR_TARGET_UNREACHABLE},
        {"53100", RETRY, ERR_TARGET_FULL},        {"53300", RETRY, ERR_TARGET_FULL},
        {"25006", RETRY, ERR_TARGET_FULL},        {"28P01", FATAL, ERR_TARGET_REFUSED},
        {"42501", FATAL, ERR_TARGET_REFUSED},     {"3D000", FATAL, ERR_TARGET_REFUSED},
        {"23505", REJECT, ERR_TARGET_CONSTRAINT}, {"23P01", REJECT, ERR_TARGET_CONSTRAINT},
        {"22001", REJECT, ERR_TARGET_VALUE},      {"54000", REJECT, ERR_TARGET_VALUE},
        {"42P01", REJECT, ERR_TARGET_TABLE},      {"42703", REJECT, ERR_TARGET_TABLE},
        {"42804", REJECT, ERR_TARGET_TABLE},      {"ZZ999", RETRY, ERR_TARGET_UNREACHABLE},
        {"", RETRY, ERR_TARGET_UNREACHABLE},      {NULL, RETRY, ERR_TARGET_UNREACHABLE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outcome got = outcome_of(cases[i].sqlstate);
        assert_int_equal(got.code, cases[i].code);
        assert_int_equal(got.id, cases[i].id);
    }
}

static void a_refused_connection_is_told_from_a_lost_one(void **state) {
    (void)state;
    struct err err = {0};
    assert_int_equal(outcome_of_connection("connection to server at \"h\" failed: FATAL:  28P01: password "
                                           "authentication failed for user \"u\"\nLOCATION:  auth.c\n",
                                           &err),
                     FATAL);
    assert_int_equal(err.id, ERR_TARGET_REFUSED);
    assert_null(strstr(err.text, "LOCATION"));
    assert_int_equal(outcome_of_connection("connection failed: Connection refused\n\tIs it running?", &err),
                     RETRY);
    assert_int_equal(err.id, ERR_TARGET_UNREACHABLE);
    assert_int_equal(outcome_of_connection("FATAL:  57P03: the database system is starting up", &err), RETRY);
    assert_int_equal(outcome_of_connection("FATAL:  53300: sorry, too many clients already", &err), RETRY);
    assert_int_equal(err.id, ERR_TARGET_FULL);
    assert_int_equal(outcome_of_connection("SSL error: certificate verify failed", &err), FATAL);
    assert_int_equal(outcome_of_connection("", &err), RETRY);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_sqlstate_says_what_the_caller_does_next),
        cmocka_unit_test(a_refused_connection_is_told_from_a_lost_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
