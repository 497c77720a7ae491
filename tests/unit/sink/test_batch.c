#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sink/batch.h"

static struct column columns[] = {
    {.name = "id", .type = "bigint", .kind = KIND_INT64, .length = -1, .key = 1},
    {.name = "note", .type = "text", .kind = KIND_TEXT, .length = -1, .nullable = true},
    {.name = "n", .type = "integer", .kind = KIND_INT32, .length = -1, .nullable = true},
};
static int key[] = {0};
static const struct table keyed = {
    .schema = "public", .name = "t", .columns = columns, .n_columns = 3, .key = key, .n_key = 1};
static const struct table keyless = {.schema = "public", .name = "l", .columns = columns, .n_columns = 3};

static struct value I(int64_t i) {
    return (struct value){.tag = VALUE_INT, .i = i};
} static struct value T(const char *s) {
    return (struct value){.tag = VALUE_TEXT, .s = slice_of(s)};
} static struct value absent(void) {
    return (struct value){.tag = VALUE_ABSENT};
}

static bool put(struct batch *b, enum op op, const struct value *row) {
    struct change c = {.op = op, .table = b->table};
    if (op == OP_DELETE)
        c.before = row;
    else
        c.after = row;
    return batch_add(b, &c);
}
#define ROW(...) ((const struct value[]){__VA_ARGS__})

static void insert_then_updates_is_one_insert_of_the_last_state(void **state) {
    (void)state;
    struct batch b;
    batch_init(&b, &keyed);
    put(&b, OP_CREATE, ROW(I(1), T("a"), I(1)));
    put(&b, OP_UPDATE, ROW(I(1), T("b"), I(2)));
    put(&b, OP_UPDATE, ROW(I(1), T("c"), I(3)));
    assert_int_equal(b.n, 1);
    assert_int_equal(b.rows[0].op, ROW_INSERT);
    assert_true(slice_is(b.rows[0].values[1].s, "c"));
    assert_int_equal(b.rows[0].values[2].i, 3);
    assert_int_equal(b.n_op[ROW_INSERT], 1);
    batch_free(&b);
}

static void an_absent_column_keeps_what_an_earlier_change_of_the_batch_brought(void **state) {
    (void)state;
    struct batch b;
    batch_init(&b, &keyed);
    put(&b, OP_UPDATE, ROW(I(1), T("long"), I(1)));
    put(&b, OP_UPDATE, ROW(I(1), absent(), I(2)));
    assert_true(slice_is(b.rows[0].values[1].s, "long"));
    assert_true(b.rows[0].full);
    assert_int_equal(b.rows[0].values[2].i, 2);
    put(&b, OP_UPDATE, ROW(I(2), absent(), I(9)));
    assert_false(b.rows[1].full);
    assert_true(b.partial);
    batch_free(&b);
}

static void delete_then_insert_of_a_row_that_was_there_is_a_full_update(void **state) {
    (void)state;
    struct batch b;
    batch_init(&b, &keyed);
    put(&b, OP_DELETE, ROW(I(1), absent(), absent()));
    put(&b, OP_CREATE, ROW(I(1), T("new"), I(7)));
    assert_int_equal(b.n, 1);
    assert_int_equal(b.rows[0].op, ROW_UPDATE);
    assert_true(b.rows[0].was_there);
    assert_true(b.rows[0].full);
    batch_free(&b);
}

static void insert_then_delete_leaves_a_delete_that_may_match_nothing(void **state) {
    (void)state;
    struct batch b;
    batch_init(&b, &keyed);
    put(&b, OP_CREATE, ROW(I(1), T("x"), I(7)));
    put(&b, OP_DELETE, ROW(I(1), absent(), absent()));
    assert_int_equal(b.rows[0].op, ROW_DELETE);
    assert_false(b.rows[0].was_there);
    put(&b, OP_CREATE, ROW(I(1), T("y"), I(8)));
    assert_int_equal(b.rows[0].op, ROW_INSERT);
    batch_free(&b);
}

static void without_a_key_every_change_is_kept_in_order(void **state) {
    (void)state;
    struct batch b;
    batch_init(&b, &keyless);
    put(&b, OP_CREATE, ROW(I(1), T("x"), I(7)));
    put(&b, OP_CREATE, ROW(I(1), T("x"), I(7)));
    put(&b, OP_DELETE, ROW(I(1), T("x"), I(7)));
    struct change u = {.op = OP_UPDATE,
                       .table = &keyless,
                       .before = ROW(I(1), T("x"), I(7)),
                       .after = ROW(I(1), T("y"), I(7))};
    batch_add(&b, &u);
    assert_int_equal(b.n, 4);
    assert_int_equal(b.rows[2].op, ROW_DELETE);
    assert_true(slice_is(b.rows[3].before[1].s, "x"));
    batch_free(&b);
}

static void a_move_of_a_partial_row_is_not_taken(void **state) {
    (void)state;
    struct batch b;
    batch_init(&b, &keyed);
    struct change c = {
        .op = OP_CREATE, .table = &keyed, .after = ROW(I(2), absent(), I(1)), .moved_partial = true};
    assert_false(batch_add(&b, &c));
    assert_int_equal(b.n, 0);
    batch_free(&b);
}

static void many_keys_are_found_again_after_the_index_grew(void **state) {
    (void)state;
    struct batch b;
    batch_init(&b, &keyed);
    for (int round = 0; round < 2; round++)
        for (int64_t i = 0; i < 10000; i++)
            put(&b, round ? OP_UPDATE : OP_CREATE, ROW(I(i), T("x"), I(round)));
    assert_int_equal(b.n, 10000);
    assert_int_equal(b.n_op[ROW_INSERT], 10000);
    for (uint32_t i = 0; i < b.n; i++)
        assert_int_equal(b.rows[i].values[2].i, 1);
    batch_reset(&b, &keyed);
    assert_int_equal(b.n, 0);
    put(&b, OP_CREATE, ROW(I(5), T("x"), I(0)));
    assert_int_equal(b.n, 1);
    batch_free(&b);
}

static void values_are_copied_and_outlive_the_change(void **state) {
    (void)state;
    struct batch b;
    char text[] = "before";
    batch_init(&b, &keyed);
    put(&b, OP_CREATE, ROW(I(1), T(text), I(7)));
    text[0] = '#';
    assert_true(slice_is(b.rows[0].values[1].s, "before"));
    batch_free(&b);
}

static void only_snapshot_rows_make_a_snapshot_batch(void **state) {
    (void)state;
    struct batch b;
    batch_init(&b, &keyed);
    put(&b, OP_READ, ROW(I(1), T("x"), I(7)));
    assert_true(b.snapshot);
    put(&b, OP_CREATE, ROW(I(2), T("x"), I(7)));
    assert_false(b.snapshot);
    batch_free(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(insert_then_updates_is_one_insert_of_the_last_state),
        cmocka_unit_test(an_absent_column_keeps_what_an_earlier_change_of_the_batch_brought),
        cmocka_unit_test(delete_then_insert_of_a_row_that_was_there_is_a_full_update),
        cmocka_unit_test(insert_then_delete_leaves_a_delete_that_may_match_nothing),
        cmocka_unit_test(without_a_key_every_change_is_kept_in_order),
        cmocka_unit_test(a_move_of_a_partial_row_is_not_taken),
        cmocka_unit_test(many_keys_are_found_again_after_the_index_grew),
        cmocka_unit_test(values_are_copied_and_outlive_the_change),
        cmocka_unit_test(only_snapshot_rows_make_a_snapshot_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
