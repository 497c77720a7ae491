#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>

#include "base/config.h"

struct settings {
    const char *url, *name;
    int64_t port, window, timeout, keep;
    bool ssl;
    int mode;
    struct text_list tables;
    struct text_map properties;
};

static const char *const modes[] = {"key", "transaction", NULL};
#define AT(field) .offset = offsetof(struct settings, field)
static const struct option options[] = {
    {.name = "url", .type = OPT_SECRET, AT(url), .required = true, .help = "Where the database is"},
    {.name = "name", .type = OPT_TEXT, AT(name), .fallback = "shop", .help = "A name | a word."},
    {.name = "port",
     .type = OPT_INT,
     AT(port),
     .fallback = "5432",
     .min = 1,
     .max = 65535,
     .help = "The port."},
    {.name = "window",
     .type = OPT_BYTES,
     AT(window),
     .fallback = "16MB",
     .min = 1024,
     .help = "How much at once."},
    {.name = "timeout", .type = OPT_DURATION, AT(timeout), .fallback = "10s", .min = 100, .max = 86400000},
    {.name = "keep", .type = OPT_DURATION, AT(keep), .fallback = "forever", .min = -1, .help = "How long."},
    {.name = "ssl", .type = OPT_BOOL, AT(ssl), .fallback = "true", .help = "Encrypt."},
    {.name = "mode",
     .type = OPT_ENUM,
     AT(mode),
     .fallback = "transaction",
     .choices = modes,
     .help = "Order kept."},
    {.name = "tables", .type = OPT_LIST, AT(tables), .fallback = "[\"public.*\", x]", .help = "Tables."},
    {.name = "properties", .type = OPT_MAP, AT(properties), .help = "More."},
    {0},
};
static const struct option_table table = {
    .name = "postgres", .summary = "Reads a database.", .options = options, .size = sizeof(struct settings)};

static struct arena arena;
static struct err err;
static struct settings got;

static int teardown(void **state) {
    (void)state;
    arena_free(&arena);
    return 0;
}

static enum code fill(const char *yaml) {
    struct config_node *root;
    assert_int_equal(config_read_text(slice_of(yaml), "c.yaml", &arena, &root, &err), OK);
    got = (struct settings){0};
    err = (struct err){0};
    return option_fill(&table, root, &got, &arena, &err);
}

static const char *error_of(const char *line) {
    CLEANUP_FREE char *yaml = xasprintf("url: u\n%s\n", line);
    if (fill(yaml) == OK)
        return "no error";
    assert_int_equal(err.id, ERR_CONFIG);
    return err.text;
}

static struct settings *good(const char *line) {
    CLEANUP_FREE char *yaml = xasprintf("url: u\n%s\n", line);
    if (fill(yaml) != OK)
        fail_msg("%s", err.text);
    return &got;
}

static void what_is_not_given_has_its_default(void **state) {
    (void)state;
    good("");
    assert_string_equal(got.url, "u");
    assert_string_equal(got.name, "shop");
    assert_int_equal(got.port, 5432);
    assert_int_equal(got.window, 16 << 20);
    assert_int_equal(got.timeout, 10000);
    assert_true(got.keep == -1);
    assert_true(got.ssl);
    assert_int_equal(got.mode, 1);
    assert_int_equal(got.tables.n, 2);
    assert_string_equal(got.tables.items[0], "public.*");
    assert_int_equal(got.properties.n, 0);
}

static void what_is_given_is_taken(void **state) {
    (void)state;
    good("name: ''\nport: 1\nwindow: 1kB\ntimeout: 100ms\nkeep: 7d\nssl: no\nmode: key\ntables: [a, b, c]\n"
         "properties: {acks: all, linger.ms: 5}");
    assert_string_equal(got.name, "");
    assert_int_equal(got.port, 1);
    assert_int_equal(got.window, 1024);
    assert_int_equal(got.timeout, 100);
    assert_int_equal(got.keep, 7 * 86400000);
    assert_false(got.ssl);
    assert_int_equal(got.mode, 0);
    assert_int_equal(got.tables.n, 3);
    assert_string_equal(got.tables.items[2], "c");
    assert_int_equal(got.properties.n, 2);
    assert_string_equal(got.properties.keys[1], "linger.ms");
    assert_string_equal(got.properties.values[1], "5");
}

static void a_single_text_is_a_list_of_one_and_nothing_is_a_list_of_none(void **state) {
    (void)state;
    assert_int_equal(good("tables: orders")->tables.n, 1);
    assert_string_equal(got.tables.items[0], "orders");
    assert_int_equal(good("tables:")->tables.n, 0);
    assert_int_equal(good("tables: []")->tables.n, 0);
    assert_int_equal(good("properties:")->properties.n, 0);
}

static void a_missing_key_names_the_line_of_its_mapping(void **state) {
    (void)state;
    assert_int_equal(fill("\nname: x\n"), FATAL);
    assert_string_equal(err.text, "c.yaml:2: postgres.url is required: Where the database is");
    assert_int_equal(fill("url:\n"), FATAL);
    assert_string_equal(err.text, "c.yaml:1: postgres.url must not be empty");
    assert_int_equal(option_fill(&table, NULL, &got, &arena, &err), FATAL);
    assert_string_equal(err.text, "postgres.url is required: Where the database is");
}

static void an_unknown_key_is_answered_with_the_one_that_was_meant(void **state) {
    (void)state;
    assert_string_equal(error_of("tabels: x"),
                        "c.yaml:2: unknown key 'tabels' in postgres; did you mean 'tables'?");
}

static void a_number_out_of_range_is_answered_with_the_range(void **state) {
    (void)state;
    const char *const wrong[] = {"0", "65536", "-1", "1x", "0x10", "1.5", "+1", "99999999999999999999",
                                 "-", "1 "};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CLEANUP_FREE char *line = xasprintf("port: '%s'", wrong[i]);
        CLEANUP_FREE char *text =
            xasprintf("c.yaml:2: postgres.port must be a whole number, 1 to 65535, not '%s'", wrong[i]);
        assert_string_equal(error_of(line), text);
    }
    assert_non_null(strstr(error_of("window: 1023"), "at least 1kB, not '1023'"));
    assert_non_null(strstr(error_of("timeout: 2d"), "100ms to 1d, not '2d'"));
    assert_non_null(strstr(error_of("timeout: forever"), "100ms to 1d, not 'forever'"));
    assert_non_null(strstr(error_of("keep: -1"), "7d, 0 or more, or forever, not '-1'"));
    assert_non_null(strstr(error_of("port: [1]"), "postgres.port must be a single value"));
}

static void sizes_are_exact_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t n;
    } right[] = {{"0", 0},
                 {"7", 7},
                 {"7B", 7},
                 {"16kB", 16384},
                 {"16 KB", 16384},
                 {"64MB", 64 << 20},
                 {"1GiB", 1 << 30},
                 {"2TB", INT64_C(2) << 40},
                 {"9223372036854775807", INT64_MAX},
                 {"8388607TB", INT64_C(8388607) << 40}};
    static const char *const wrong[] = {"",
                                        " ",
                                        "B",
                                        "kB",
                                        "-1",
                                        "1.5MB",
                                        "1mb",
                                        "1 ",
                                        "1  MB",
                                        "1MB ",
                                        " 1",
                                        "1PB",
                                        "9223372036854775808",
                                        "8388608TB",
                                        "9007199254740992kB",
                                        "1e3"};
    int64_t n;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        assert_true(option_parse_bytes(right[i].text, &n));
        assert_true(n == right[i].n);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (option_parse_bytes(wrong[i], &n))
            fail_msg("'%s' was taken for %lld", wrong[i], (long long)n);
}

static void durations_are_exact_or_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } right[] = {{"0", 0},
                 {"0s", 0},
                 {"5ms", 5},
                 {"10s", 10000},
                 {"10 s", 10000},
                 {"2m", 120000},
                 {"2min", 120000},
                 {"1h", 3600000},
                 {"7d", 604800000},
                 {"1w", 604800000},
                 {"9223372036854775807ms", INT64_MAX}};
    static const char *const wrong[] = {"",
                                        "10",
                                        "s",
                                        "-1s",
                                        "1.5s",
                                        "1S",
                                        "1us",
                                        "1h30m",
                                        "forever",
                                        "10s ",
                                        "9223372036854775808ms",
                                        "9223372036854776s",
                                        "106751991168d"};
    int64_t ms;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        assert_true(option_parse_duration(right[i].text, &ms));
        assert_true(ms == right[i].ms);
    }
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (option_parse_duration(wrong[i], &ms))
            fail_msg("'%s' was taken for %lld", wrong[i], (long long)ms);
}

static void whole_numbers_reach_both_ends(void **state) {
    (void)state;
    static const struct option one[] = {{.name = "n", .type = OPT_INT, .min = INT64_MIN}, {0}};
    static const struct option_table numbers = {.name = "numbers", .options = one, .size = sizeof(int64_t)};
    static const struct {
        const char *yaml;
        int64_t n;
    } right[] = {{"n: -9223372036854775808", INT64_MIN},
                 {"n: 9223372036854775807", INT64_MAX},
                 {"n: -0", 0},
                 {"n: 007", 7}};
    struct config_node *root;
    int64_t n;
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        assert_int_equal(config_read_text(slice_of(right[i].yaml), "c", &arena, &root, &err), OK);
        assert_int_equal(option_fill(&numbers, root, &n, &arena, &err), OK);
        assert_true(n == right[i].n);
    }
    assert_int_equal(config_read_text(slice_of("n: -9223372036854775809"), "c", &arena, &root, &err), OK);
    assert_int_equal(option_fill(&numbers, root, &n, &arena, &err), FATAL);
}

static void a_wrong_choice_is_answered_with_all_choices(void **state) {
    (void)state;
    assert_string_equal(error_of("mode: fast"),
                        "c.yaml:2: postgres.mode must be one of key, transaction, not 'fast'");
    assert_string_equal(error_of("ssl: maybe"), "c.yaml:2: postgres.ssl must be true or false, not 'maybe'");
}

static void lists_and_mappings_hold_single_texts_only(void **state) {
    (void)state;
    assert_non_null(
        strstr(error_of("tables:\n - a\n - [b]"), "c.yaml:4: postgres.tables must be a list of texts"));
    assert_non_null(strstr(error_of("tables: [a, '']"), "none of them empty"));
    assert_non_null(strstr(error_of("tables: {a: b}"), "must be a list of texts"));
    assert_non_null(strstr(error_of("properties: {a: [b]}"), "must be a mapping of names to texts"));
    assert_non_null(strstr(error_of("properties: x"), "must be a mapping of names to texts"));
}

static void no_error_shows_a_secret(void **state) {
    (void)state;
    assert_int_equal(fill("url: [hunter2]"), FATAL);
    assert_null(strstr(err.text, "hunter2"));
    setenv("MILLRACE_TEST_SECRET", "hunter2", 1);
    assert_string_equal(error_of("port: ${MILLRACE_TEST_SECRET}"),
                        "c.yaml:2: postgres.port must be a whole number, 1 to 65535");
    assert_null(strstr(error_of("mode: x${MILLRACE_TEST_SECRET}"), "hunter2"));
}

static void strings_outlive_the_tree(void **state) {
    (void)state;
    struct arena tree = {0};
    struct config_node *root;
    assert_int_equal(
        config_read_text(slice_of("url: u\ntables: [a]\nproperties: {k: v}"), "c", &tree, &root, &err), OK);
    assert_int_equal(option_fill(&table, root, &got, &arena, &err), OK);
    arena_free(&tree);
    assert_string_equal(got.url, "u");
    assert_string_equal(got.tables.items[0], "a");
    assert_string_equal(got.properties.keys[0], "k");
    assert_string_equal(got.properties.values[0], "v");
}

static void the_table_prints_itself_as_markdown(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    option_print_markdown(&table, &out);
    const char *text = buf_cstr(&out);
    const char *const rows[] = {
        "### postgres\n\nReads a database.\n\n| Key |",
        "| `url` | secret text | *required* | Where the database is |\n",
        "| `name` | text | `shop` | A name \\| a word. |\n",
        "| `port` | number | `5432` | The port. 1 to 65535. |\n",
        "| `window` | bytes | `16MB` | How much at once. At least 1kB. |\n",
        "| `timeout` | duration | `10s` | 100ms to 1d. |\n",
        "| `keep` | duration | `forever` | How long. 0 or more, or forever. |\n",
        "| `mode` | choice | `transaction` | Order kept. One of key, transaction. |\n",
        "| `properties` | mapping |  | More. |\n",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!strstr(text, rows[i]))
            fail_msg("'%s' is not in\n%s", rows[i], text);
}

static void the_table_prints_itself_for_a_terminal(void **state) {
    (void)state;
    static const struct option wide[] = {
        {.name = "a",
         .type = OPT_TEXT,
         .help = "Words that are many enough to need more than one line of a terminal "
                 "that is as wide as terminals were when they were made of glass."},
        {0}};
    static const struct option_table one = {.name = "one", .options = wide, .size = sizeof(char *)};
    CLEANUP_BUF out = {0};
    option_print_help(&table, &out);
    assert_non_null(strstr(buf_cstr(&out), "\n  port: number, default 5432\n      The port. 1 to 65535.\n"));
    assert_non_null(strstr(buf_cstr(&out), "\n  url: secret text, required\n"));
    buf_clear(&out);
    option_print_help(&one, &out);
    for (const char *line = buf_cstr(&out); *line; line += strcspn(line, "\n") + 1)
        assert_in_range(strcspn(line, "\n"), 0, 79);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(what_is_not_given_has_its_default, teardown),
        cmocka_unit_test_teardown(what_is_given_is_taken, teardown),
        cmocka_unit_test_teardown(a_single_text_is_a_list_of_one_and_nothing_is_a_list_of_none, teardown),
        cmocka_unit_test_teardown(a_missing_key_names_the_line_of_its_mapping, teardown),
        cmocka_unit_test_teardown(an_unknown_key_is_answered_with_the_one_that_was_meant, teardown),
        cmocka_unit_test_teardown(a_number_out_of_range_is_answered_with_the_range, teardown),
        cmocka_unit_test_teardown(sizes_are_exact_or_refused, teardown),
        cmocka_unit_test_teardown(durations_are_exact_or_refused, teardown),
        cmocka_unit_test_teardown(whole_numbers_reach_both_ends, teardown),
        cmocka_unit_test_teardown(a_wrong_choice_is_answered_with_all_choices, teardown),
        cmocka_unit_test_teardown(lists_and_mappings_hold_single_texts_only, teardown),
        cmocka_unit_test_teardown(no_error_shows_a_secret, teardown),
        cmocka_unit_test_teardown(strings_outlive_the_tree, teardown),
        cmocka_unit_test_teardown(the_table_prints_itself_as_markdown, teardown),
        cmocka_unit_test_teardown(the_table_prints_itself_for_a_terminal, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
