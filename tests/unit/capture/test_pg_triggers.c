/* The bound of what may be read from a change table, and the text of its rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "capture/trigger/postgres/bound.h"
#include "capture/trigger/postgres/rows.h"

/* One poll: `who` is a list of names with spaces between. */
static uint64_t poll_at(struct bound *b, uint64_t last, const char *who) {
    char name[16];
    int used;
    bound_last(b, last);
    for (; sscanf(who, " %15s%n", name, &used) == 1; who += used)
        bound_writer(b, name);
    return bound_end(b);
}

static void without_writers_all_ids_are_resolved(void **state) {
    (void)state;
    struct bound b = {0};
    bound_start(&b, 10);
    assert_int_equal(poll_at(&b, 15, ""), 15);
    assert_int_equal(poll_at(&b, 15, ""), 15);
    bound_free(&b);
}

static void a_writer_holds_back_from_the_poll_before_it_came(void **state) {
    (void)state;
    struct bound b = {0};
    bound_start(&b, 10);
    assert_int_equal(poll_at(&b, 15, "3/7"), 10); /* it may have been there before the start */
    assert_int_equal(poll_at(&b, 20, "3/7 4/1"), 10);
    assert_int_equal(poll_at(&b, 25, "4/1"), 15); /* 3/7 has ended; the ids of 4/1 are above 15 */
    assert_int_equal(poll_at(&b, 30, "4/2"), 25); /* another transaction of the same session */
    assert_int_equal(poll_at(&b, 30, ""), 30);
    bound_free(&b);
}

static void a_prepared_transaction_is_as_old_as_any(void **state) {
    (void)state;
    struct bound b = {0};
    bound_start(&b, 10);
    assert_int_equal(poll_at(&b, 12, ""), 12);
    assert_int_equal(poll_at(&b, 20, "3/7"), 12);
    assert_int_equal(poll_at(&b, 30, "-1/900"), 12); /* 3/7 under its other name */
    assert_int_equal(poll_at(&b, 40, "-1/900 5/5"), 12);
    assert_int_equal(poll_at(&b, 50, "5/5"), 30);
    bound_free(&b);
}

static void many_writers_come_and_go(void **state) {
    (void)state;
    struct bound b = {0};
    char name[16];
    bound_start(&b, 0);
    poll_at(&b, 0, "");
    for (uint64_t i = 1; i <= 100; i++) {
        bound_last(&b, i);
        for (uint64_t k = 0; k < 40; k++) {
            snprintf(name, sizeof name, "%d/1", (int)(i + k));
            bound_writer(&b, name);
        }
        /* the oldest that is here was first seen 40 polls ago: its floor is the L of the poll before */
        assert_int_equal(bound_end(&b), i > 40 ? i - 40 : 0);
    }
    bound_free(&b);
}

static bool left_out[4];

static const char *read_row(int n, const char *text, struct pgoutput_row *ret) {
    static char bytes[256];
    struct layout layout = {.n = n, .left_out = left_out};
    snprintf(bytes, sizeof bytes, "%s", text);
    return layout_read(&layout, bytes, ret);
}

static void assert_field(const struct pgoutput_row *row, int i, const char *text) {
    assert_int_equal(row->fields[i].kind, text ? 't' : 'n');
    if (text)
        assert_true(slice_is(row->fields[i].text, text));
}

static void the_text_of_a_row_is_read(void **state) {
    (void)state;
    struct pgoutput_row *row = calloc(1, sizeof *row);
    assert_null(read_row(4, "(1,,\"\",\"a\"\"b\\\\c,) d\")", row));
    assert_int_equal(row->n, 4);
    assert_field(row, 0, "1");
    assert_field(row, 1, NULL);
    assert_field(row, 2, "");
    assert_field(row, 3, "a\"b\\c,) d");
    assert_null(read_row(1, "()", row));
    assert_field(row, 0, NULL);
    left_out[1] = true;
    assert_null(read_row(3, "(a,generated,c)", row));
    left_out[1] = false;
    assert_int_equal(row->n, 2);
    assert_field(row, 1, "c");
    free(row);
}

static void what_is_no_row_of_its_shape_is_refused(void **state) {
    (void)state;
    static const char *const texts[] = {"",       "1,2",     "(1)",      "(1,2",       "(1,2,3)",
                                        "(1,2)x", "(1,\"2)", "(1,\"2\\", "(1,\"2\"x)", NULL};
    struct pgoutput_row *row = calloc(1, sizeof *row);
    for (int i = 0; texts[i]; i++)
        assert_non_null(read_row(2, texts[i], row));
    free(row);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_writers_all_ids_are_resolved),
        cmocka_unit_test(a_writer_holds_back_from_the_poll_before_it_came),
        cmocka_unit_test(a_prepared_transaction_is_as_old_as_any),
        cmocka_unit_test(many_writers_come_and_go),
        cmocka_unit_test(the_text_of_a_row_is_read),
        cmocka_unit_test(what_is_no_row_of_its_shape_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
