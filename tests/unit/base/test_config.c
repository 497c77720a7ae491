#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "base/config.h"

static struct arena arena;
static struct err err;
static struct config_node *root;

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    return 0;
}

static struct config_node *read_text(const char *yaml) {
    assert_int_equal(config_read_text(slice_of(yaml), "c.yaml", &arena, &root, &err), OK);
    return root;
}

/* The error's text, or its end when `yaml` reads well, which fails the caller's comparison. */
static const char *error_of(const char *yaml) {
    if (config_read_text(slice_of(yaml), "c.yaml", &arena, &root, &err) == OK)
        return "no error";
    assert_int_equal(err.code, FATAL);
    assert_int_equal(err.id, ERR_CONFIG);
    assert_null(root);
    return err.text;
}

static const char *text_at(const char *yaml, const char *key) {
    const struct config_node *node = config_get(read_text(yaml), key);
    assert_non_null(node);
    assert_int_equal(node->type, NODE_SCALAR);
    return node->text;
}

static void the_tree_remembers_lines_of_keys_and_values(void **state) {
    (void)state;
    read_text("source:\n  name: shop\n  tables:\n    - a\n    - 'b: c'\n");
    const struct config_node *source = config_get(root, "source"), *tables = config_get(source, "tables");
    assert_int_equal(source->type, NODE_MAP);
    assert_int_equal(root->key_lines[0], 1);
    assert_int_equal(source->key_lines[1], 3);
    assert_int_equal(tables->type, NODE_LIST);
    assert_int_equal(tables->n, 2);
    assert_int_equal(tables->items[1]->line, 5);
    assert_string_equal(tables->items[1]->text, "b: c");
    assert_string_equal(tables->file, "c.yaml");
    assert_null(config_get(root, "sink"));
}

static void an_empty_file_is_an_empty_mapping(void **state) {
    (void)state;
    const char *const empty[] = {"", "\n", "# only words\n", "---\n", "{}"};
    for (size_t i = 0; i < sizeof empty / sizeof *empty; i++) {
        read_text(empty[i]);
        assert_int_equal(root->type, NODE_MAP);
        assert_int_equal(root->n, 0);
    }
}

static void null_is_the_empty_text_and_a_quoted_null_is_a_word(void **state) {
    (void)state;
    assert_string_equal(text_at("a:\n", "a"), "");
    assert_string_equal(text_at("a: ~\n", "a"), "");
    assert_string_equal(text_at("a: null\n", "a"), "");
    assert_string_equal(text_at("a: 'null'\n", "a"), "null");
}

static void a_file_that_is_no_mapping_is_refused(void **state) {
    (void)state;
    assert_string_equal(error_of("\n- a\n"), "c.yaml:2: expected 'key: value' lines");
    assert_string_equal(error_of("words"), "c.yaml:1: expected 'key: value' lines");
}

static void a_key_may_stand_once_in_a_mapping(void **state) {
    (void)state;
    assert_string_equal(error_of("a: 1\nb: 2\na: 3\n"),
                        "c.yaml:3: the key 'a' is there twice; the first is in line 1");
    read_text("a: {x: 1}\nb: {x: 1}\n");
}

static void what_is_not_yaml_is_refused_with_its_line(void **state) {
    (void)state;
    assert_non_null(strstr(error_of("a: 1\nb: [1, 2\nc: 3\n"), "c.yaml:3: this is not YAML: "));
    assert_non_null(strstr(error_of("a: 1\n\tb: 2\n"), "c.yaml:2: "));
    assert_non_null(strstr(error_of("a: \"\\q\"\n"), "c.yaml:1: "));
    assert_non_null(strstr(error_of("a: \x01\n"), "c.yaml:1: "));
}

static void anchors_aliases_tags_and_second_documents_are_refused(void **state) {
    (void)state;
    assert_non_null(strstr(error_of("a: &x 1\n"), "c.yaml:1: anchors, aliases and tags"));
    assert_non_null(strstr(error_of("a: 1\nb: [&x 1]\n"), "c.yaml:2: anchors"));
    assert_non_null(strstr(error_of("a: *x\n"), "c.yaml:1: anchors"));
    assert_non_null(strstr(error_of("a: !!str 1\n"), "c.yaml:1: anchors"));
    assert_non_null(strstr(error_of("&x a: 1\n"), "anchors"));
    assert_non_null(strstr(error_of("a: 1\n---\nb: 2\n"), "c.yaml:2: a second document"));
    assert_non_null(strstr(error_of("[a]: 1\n"), "a key must be a word"));
}

static void zero_bytes_are_refused(void **state) {
    (void)state;
    assert_non_null(strstr(error_of("a: \"x\\0y\"\n"), "zero byte"));
    assert_non_null(strstr(error_of("\"a\\0\": 1\n"), "zero byte"));
}

static void nesting_ends_at_sixteen(void **state) {
    (void)state;
    CLEANUP_BUF yaml = {0};
    buf_puts(&yaml, "a: ");
    for (int i = 0; i < 15; i++)
        buf_putc(&yaml, '[');
    for (int i = 0; i < 15; i++)
        buf_putc(&yaml, ']');
    read_text(buf_cstr(&yaml));
    buf_clear(&yaml);
    buf_puts(&yaml, "\na: ");
    for (int i = 0; i < 100; i++)
        buf_putc(&yaml, '[');
    assert_string_equal(error_of(buf_cstr(&yaml)), "c.yaml:2: nested more than 16 deep");
}

static void a_file_larger_than_a_megabyte_is_refused(void **state) {
    (void)state;
    CLEANUP_BUF yaml = {0};
    while (yaml.len <= 1 << 20)
        buf_puts(&yaml, "# a line of a large file\n");
    assert_string_equal(error_of(buf_cstr(&yaml)), "c.yaml: larger than 1 MB");
}

static void many_keys_and_items_are_kept_in_order(void **state) {
    (void)state;
    CLEANUP_BUF yaml = {0};
    for (int i = 0; i < 1000; i++)
        buf_printf(&yaml, "k%d: %d\n", i, i);
    read_text(buf_cstr(&yaml));
    assert_int_equal(root->n, 1000);
    assert_string_equal(root->keys[777], "k777");
    assert_string_equal(root->items[777]->text, "777");
    assert_int_equal(root->key_lines[777], 778);
}

static void names_are_replaced_from_the_environment(void **state) {
    (void)state;
    setenv("MILLRACE_TEST_A", "${b} $x", 1);
    setenv("MILLRACE_TEST_EMPTY", "", 1);
    assert_string_equal(text_at("a: 'x ${MILLRACE_TEST_A}${MILLRACE_TEST_EMPTY}y'\n", "a"), "x ${b} $xy");
    assert_true(config_get(root, "a")->substituted);
    assert_string_equal(text_at("a: $x {y} $\n", "a"), "$x {y} $");
    assert_false(config_get(root, "a")->substituted);
}

static void a_doubled_dollar_stands_for_itself_before_a_brace(void **state) {
    (void)state;
    assert_string_equal(text_at("a: x$${NAME}y\n", "a"), "x${NAME}y");
    assert_string_equal(text_at("a: $$5\n", "a"), "$$5");
}

static void a_name_that_is_not_set_is_an_error(void **state) {
    (void)state;
    unsetenv("MILLRACE_TEST_B");
    assert_string_equal(error_of("a:\n  b: ${MILLRACE_TEST_B}\n"),
                        "c.yaml:2: the environment variable MILLRACE_TEST_B is not set");
    assert_non_null(strstr(error_of("a: ${\n"), "${ without }"));
    assert_non_null(strstr(error_of("a: ${}\n"), "must be followed by NAME"));
    assert_non_null(strstr(error_of("a: ${1X}\n"), "must be followed by NAME"));
    assert_non_null(strstr(error_of("a: ${file:x}\n"), "must be followed by NAME"));
    assert_non_null(strstr(error_of("a: ${HOME:-x}\n"), "must be followed by NAME"));
}

static const char *file_with(const char *content, size_t len) {
    static char path[64];
    snprintf(path, sizeof path, "%s/millrace-config-XXXXXX", P_tmpdir);
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, len), len);
    close(fd);
    return path;
}

static void the_content_of_a_file_is_put_in_without_its_last_newline(void **state) {
    (void)state;
    const char *path = file_with("pass: ${X}\n\r\n", 13);
    CLEANUP_FREE char *yaml = xasprintf("a: '<${file:%s}>'\n", path);
    assert_string_equal(text_at(yaml, "a"), "<pass: ${X}\n>");
    assert_true(config_get(root, "a")->substituted);
    unlink(path);
    assert_non_null(strstr(error_of(yaml), "c.yaml:1: cannot read '"));
}

static void a_secret_file_with_zero_bytes_or_too_many_is_refused(void **state) {
    (void)state;
    const char *path = file_with("a\0b", 3);
    CLEANUP_FREE char *yaml = xasprintf("a: ${file:%s}\n", path);
    assert_non_null(strstr(error_of(yaml), "zero byte"));
    unlink(path);
    char *large = xcalloc(1, 100000);
    path = file_with(memset(large, 'x', 100000), 100000);
    free(large);
    CLEANUP_FREE char *yaml2 = xasprintf("a: ${file:%s}\n", path);
    assert_non_null(strstr(error_of(yaml2), "larger than 64 kB"));
    unlink(path);
}

static void a_file_is_read_by_its_path(void **state) {
    (void)state;
    const char *path = file_with("a: 1\nb: [\n", 10);
    assert_int_equal(config_read(path, &arena, &root, &err), FATAL);
    assert_true(!strncmp(err.text, path, strlen(path)));
    unlink(path);
    path = file_with("a: 1\n", 5);
    assert_int_equal(config_read(path, &arena, &root, &err), OK);
    assert_string_equal(config_get(root, "a")->text, "1");
    unlink(path);
    assert_int_equal(config_read(path, &arena, &root, &err), FATAL);
    assert_non_null(strstr(err.text, "No such file"));
}

static const char *unknown(const char *yaml, const char *const *known) {
    config_unknown(read_text(yaml), 0, "source.postgres", known, &err);
    return err.text;
}

static void an_unknown_key_is_answered_with_the_one_that_was_meant(void **state) {
    (void)state;
    static const char *const known[] = {"url", "tables", "table_prefix", "slot", NULL};
    assert_string_equal(unknown("\n\ntabels: 1", known),
                        "c.yaml:3: unknown key 'tabels' in source.postgres; did you mean 'tables'?");
    assert_non_null(strstr(unknown("Tables: 1", known), "did you mean 'tables'?"));
    assert_non_null(strstr(unknown("ulr: 1", known), "did you mean 'url'?"));
    assert_non_null(strstr(unknown("tableprefix: 1", known), "did you mean 'table_prefix'?"));
    assert_non_null(strstr(unknown("slots: 1", known), "did you mean 'slot'?"));
}

static void a_key_like_no_other_is_answered_with_all_that_are_known(void **state) {
    (void)state;
    static const char *const known[] = {"url", "tables", NULL}, *const none[] = {NULL};
    assert_string_equal(unknown("consistency: 1", known),
                        "c.yaml:1: unknown key 'consistency' in source.postgres; it takes url, tables");
    assert_non_null(strstr(unknown("x: 1", none), "which takes no keys"));
    CLEANUP_BUF yaml = {0};
    for (int i = 0; i < 500; i++)
        buf_putc(&yaml, 'u');
    buf_puts(&yaml, ": 1");
    unknown(buf_cstr(&yaml), known);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(the_tree_remembers_lines_of_keys_and_values, teardown),
        cmocka_unit_test_teardown(an_empty_file_is_an_empty_mapping, teardown),
        cmocka_unit_test_teardown(null_is_the_empty_text_and_a_quoted_null_is_a_word, teardown),
        cmocka_unit_test_teardown(a_file_that_is_no_mapping_is_refused, teardown),
        cmocka_unit_test_teardown(a_key_may_stand_once_in_a_mapping, teardown),
        cmocka_unit_test_teardown(what_is_not_yaml_is_refused_with_its_line, teardown),
        cmocka_unit_test_teardown(anchors_aliases_tags_and_second_documents_are_refused, teardown),
        cmocka_unit_test_teardown(zero_bytes_are_refused, teardown),
        cmocka_unit_test_teardown(nesting_ends_at_sixteen, teardown),
        cmocka_unit_test_teardown(a_file_larger_than_a_megabyte_is_refused, teardown),
        cmocka_unit_test_teardown(many_keys_and_items_are_kept_in_order, teardown),
        cmocka_unit_test_teardown(names_are_replaced_from_the_environment, teardown),
        cmocka_unit_test_teardown(a_doubled_dollar_stands_for_itself_before_a_brace, teardown),
        cmocka_unit_test_teardown(a_name_that_is_not_set_is_an_error, teardown),
        cmocka_unit_test_teardown(the_content_of_a_file_is_put_in_without_its_last_newline, teardown),
        cmocka_unit_test_teardown(a_secret_file_with_zero_bytes_or_too_many_is_refused, teardown),
        cmocka_unit_test_teardown(a_file_is_read_by_its_path, teardown),
        cmocka_unit_test_teardown(an_unknown_key_is_answered_with_the_one_that_was_meant, teardown),
        cmocka_unit_test_teardown(a_key_like_no_other_is_answered_with_all_that_are_known, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
