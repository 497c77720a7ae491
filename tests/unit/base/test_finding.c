/* base/finding.h */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/finding.h"

static void findings_stand_beside_each_other(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    finding_put(&out, "ok", "a", "all is well", NULL);
    finding_put(&out, "error", "b", "a \"name\"", "mend it");
    assert_string_equal(
        buf_cstr(&out),
        "{\"level\":\"ok\",\"id\":\"a\",\"what\":\"all is well\",\"mend\":\"\"},"
        "{\"level\":\"error\",\"id\":\"b\",\"what\":\"a \\\"name\\\"\",\"mend\":\"mend it\"}");
}

static void a_name_that_is_no_text_loses_no_finding(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    finding_put(&out, "error", "a", "role \"J\xfcrgen\" lacks a right", "GRANT x TO \"J\xfcrgen\"");
    assert_string_equal(buf_cstr(&out),
                        "{\"level\":\"error\",\"id\":\"a\",\"what\":\"role \\\"J?rgen\\\" lacks a right\","
                        "\"mend\":\"GRANT x TO \\\"J?rgen\\\"\"}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(findings_stand_beside_each_other),
        cmocka_unit_test(a_name_that_is_no_text_loses_no_finding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
