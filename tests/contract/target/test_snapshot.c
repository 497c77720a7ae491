/* Rows of a snapshot in a table that was just created: written without its key, seen with it. */
#include "target_case.h"

static enum code apply_read(struct process *p, const struct table *table, int from, int to, int qty) {
    struct batch *b = begin(table);
    for (int i = from; i <= to; i++)
        add(b, OP_READ, NULL, ROW(INT(i), INT(qty), TEXT("s"), SQL_NULL));
    return apply(p);
}

static void a_table_that_was_created_for_a_snapshot_has_its_key_when_it_is_seen(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 10, 0));
    assert_ok(&a, apply_read(&a, items(), 11, 3000, 0));
    assert_ok(&a, apply_read(&a, items(), 3001, 3010, 0));
    assert_ok(&a, commit(&a));
    assert_string_equal(key_of("shop.items"), "id");
    assert_string_equal(see("SELECT count(*), sum(qty), max(id) FROM shop.items"), "3010|0|3010");
    assert_ok(&a, apply_read(&a, items(), 2001, 4000, 1)); /* a table that others see keeps its key */
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*), sum(qty), max(id) FROM shop.items"), "4000|2000|4000");
    process_end(&a);
}

static void changes_after_a_snapshot_find_the_rows_of_the_same_transaction(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 2000, 0));
    struct batch *b = begin(items());
    UPDATE(b, INT(7), INT(70), TEXT("u"));
    DELETE(b, INT(8), SQL_NULL, SQL_NULL);
    INSERT(b, INT(9), INT(90), TEXT("i"));
    assert_ok(&a, apply(&a));
    assert_ok(&a, apply_read(&a, items(), 2001, 4000, 0));
    assert_ok(&a, commit(&a));
    assert_string_equal(key_of("shop.items"), "id");
    assert_string_equal(see("SELECT count(*), sum(qty), max(id) FROM shop.items"), "3999|160|4000");
    process_end(&a);
}

static void of_rows_that_a_snapshot_holds_twice_the_last_stays(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 2000, 0));
    assert_ok(&a, apply_read(&a, items(), 1001, 3000, 1));
    assert_ok(&a, apply_read(&a, items(), 1501, 1600, 2));
    assert_ok(&a, commit(&a));
    assert_string_equal(key_of("shop.items"), "id");
    assert_string_equal(see("SELECT qty, count(*), min(id), max(id) FROM shop.items GROUP BY 1 ORDER BY 1"),
                        "0|1000|1|1000;1|1900|1001|3000;2|100|1501|1600");
    process_end(&a);
}

static void another_version_finds_the_key_of_what_is_being_built(void **state) {
    (void)state;
    struct process a;
    const struct table *wider =
        TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("note"), TEXT_COLUMN("more"));
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 2000, 0));
    assert_ok(&a, prepare(&a, wider));
    assert_ok(&a, apply_read(&a, wider, 1001, 3000, 1));
    assert_ok(&a, commit(&a));
    assert_string_equal(key_of("shop.items"), "id");
    assert_string_equal(see("SELECT count(*), sum(qty), count(more) FROM shop.items"), "3000|2000|0");
    process_end(&a);
}

static void what_was_built_without_its_key_is_gone_with_its_transaction(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    for (int i = 0; i < 2; i++) {
        assert_ok(&a, prepare(&a, items()));
        assert_ok(&a, apply_read(&a, items(), 1, 2000, i));
        ops->rollback(a.target);
        assert_false(has_table("shop.items"));
    }
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 5, 0));
    assert_ok(&a, commit(&a));
    assert_string_equal(key_of("shop.items"), "id");
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "5");
    process_end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_table_that_was_created_for_a_snapshot_has_its_key_when_it_is_seen),
        CASE(changes_after_a_snapshot_find_the_rows_of_the_same_transaction),
        CASE(of_rows_that_a_snapshot_holds_twice_the_last_stays),
        CASE(another_version_finds_the_key_of_what_is_being_built),
        CASE(what_was_built_without_its_key_is_gone_with_its_transaction),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}
