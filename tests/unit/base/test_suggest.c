/* What quickstart writes: secrets are found, texts mean what they meant, comments stay comments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/config.h"
#include "base/suggest.h"

static const char *secret(const char *url, int i) {
    static char found[256];
    struct slice at;
    if (!suggest_secret(url, i, &at))
        return "none";
    memcpy(found, at.data, at.len);
    found[at.len] = 0;
    return found;
}

static void secrets_are_found_where_a_url_can_have_them(void **state) {
    (void)state;
    assert_string_equal(secret("postgresql://u:pass@h/db", 0), "pass");
    assert_string_equal(secret("postgresql://u:pass@h/db", 1), "none");
    assert_string_equal(secret("postgresql://u:a%3Ab:c@h:5/db", 0), "a%3Ab:c");
    assert_string_equal(secret("postgresql://h/db?user=u&password=in%20query&x=1", 0), "in%20query");
    assert_string_equal(secret("postgresql://u:one@h/db?sslpassword=two&password=three", 1), "two");
    assert_string_equal(secret("postgresql://u:one@h/db?sslpassword=two&password=three", 2), "three");
    assert_string_equal(secret("postgresql://u:one@h/db?sslpassword=two&password=three", 3), "none");
}

static void what_is_no_secret_is_left_alone(void **state) {
    (void)state;
    assert_string_equal(secret("postgresql://u@h:5432/db", 0), "none");
    assert_string_equal(secret("postgresql://h:5432/db?application_name=a@b", 0), "none");
    assert_string_equal(secret("postgresql://u:${PGPASS}@h/db", 0), "none");
    assert_string_equal(secret("postgresql://u:${file:/run/secret}@h/db?password=x", 0), "x");
    assert_string_equal(secret("postgresql://u:@h/db", 0), "none");
    assert_string_equal(secret("sqlite:/tmp/a:b@c", 0), "none");
    assert_string_equal(secret("", 0), "none");
}

static void a_text_is_read_back_as_it_was(void **state) {
    (void)state;
    static const char *const texts[] = {
        "plain", "", "a \"b\" \\ c", "${HOME}", "$${HOME}", "tab\there\nand\x7f", "'!#: {}[]", "ü"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct arena arena = {0};
        struct config_node *root;
        struct err err = {0};
        CLEANUP_BUF yaml = {0};
        buf_puts(&yaml, "text: ");
        suggest_put_text(&yaml, texts[i], false);
        buf_putc(&yaml, '\n');
        if (config_read_text(buf_slice(&yaml), "test", &arena, &root, &err) != OK)
            fail_msg("%s: %s", buf_cstr(&yaml), err.text);
        assert_string_equal(config_get(root, "text")->text, texts[i]);
        arena_free(&arena);
    }
}

static void a_comment_cannot_be_left(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    suggest_put_comment(&out, "a name with\nurl: evil\rx \xff");
    assert_string_equal(buf_cstr(&out), "# a name with url: evil x ?\n");
    buf_clear(&out);
    for (int i = 0; i < 40; i++)
        suggest_put_comment(&out, "a long text a long text a long text a long text a long text a long text a "
                                  "long text a long text a long text "
                                  "averyveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryveryv"
                                  "eryveryveryveryverylongwordwithoutblanks end");
    for (const char *line = buf_cstr(&out); *line; line = strchr(line, '\n') + 1)
        assert_int_equal(*line, '#');
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_found_where_a_url_can_have_them),
        cmocka_unit_test(what_is_no_secret_is_left_alone),
        cmocka_unit_test(a_text_is_read_back_as_it_was),
        cmocka_unit_test(a_comment_cannot_be_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
