/* What SQLite's result codes mean for the caller. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sink/sqlite/outcome.h"

static void each_failure_says_what_to_do_next(void **state) {
    (void)state;
    static const struct {
        int result, system_errno;
        enum code code;
        enum err_id id;
    } rows[] = {
        {SQLITE_BUSY, 0, RETRY, ERR_TARGET_UNREACHABLE},
        {SQLITE_BUSY_RECOVERY, 0, RETRY, ERR_TARGET_UNREACHABLE},
        {SQLITE_IOERR_WRITE, EIO, RETRY, ERR_TARGET_UNREACHABLE},
        {SQLITE_IOERR_WRITE, ENOSPC, RETRY, ERR_TARGET_FULL},
        {SQLITE_IOERR_SHMSIZE, EDQUOT, RETRY, ERR_TARGET_FULL},
        {SQLITE_FULL, 0, RETRY, ERR_TARGET_FULL},
        {SQLITE_READONLY, 0, RETRY, ERR_TARGET_FULL},
        {SQLITE_READONLY_DBMOVED, 0, RETRY, ERR_TARGET_UNREACHABLE},
        {SQLITE_CANTOPEN, ENOENT, RETRY, ERR_TARGET_UNREACHABLE},
        {SQLITE_CANTOPEN, EACCES, FATAL, ERR_TARGET_REFUSED},
        {SQLITE_CORRUPT, 0, FATAL, ERR_TARGET_CORRUPT},
        {SQLITE_CORRUPT_INDEX, 0, FATAL, ERR_TARGET_CORRUPT},
        {SQLITE_NOTADB, 0, FATAL, ERR_TARGET_CORRUPT},
        {SQLITE_CONSTRAINT_UNIQUE, 0, REJECT, ERR_TARGET_CONSTRAINT},
        {SQLITE_CONSTRAINT_DATATYPE, 0, REJECT, ERR_TARGET_VALUE},
        {SQLITE_TOOBIG, 0, REJECT, ERR_TARGET_VALUE},
        {SQLITE_ERROR, 0, REJECT, ERR_TARGET_TABLE},
        {SQLITE_INTERRUPT, 0, RETRY, ERR_STOPPED},
        {12345, 0, RETRY, ERR_TARGET_UNREACHABLE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct outcome got = lite_outcome_of(rows[i].result, rows[i].system_errno);
        if (got.code != rows[i].code || got.id != rows[i].id)
            fail_msg("%d: %s %s", rows[i].result, code_name(got.code), err_name(got.id));
    }
}

static void what_a_trigger_says_is_not_quoted(void **state) {
    (void)state;
    assert_false(outcome_may_quote(SQLITE_CONSTRAINT_TRIGGER));
    assert_true(outcome_may_quote(SQLITE_CONSTRAINT_UNIQUE));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_failure_says_what_to_do_next),
        cmocka_unit_test(what_a_trigger_says_is_not_quoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
