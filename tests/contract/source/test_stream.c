/* A snapshot, and the changes after it, each whole and in its place. */
#include "source_case.h"

#include <stdio.h>

static void a_snapshot_truncates_reads_and_commits_and_the_stream_goes_on_from_there(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY, v int");
    make_table("b", "id int PRIMARY KEY, gone int, t text, g int GENERATED ALWAYS AS (id * 2) STORED");
    sql("INSERT INTO a VALUES (1, 10), (2, NULL)");
    sql("ALTER TABLE b DROP COLUMN gone");
    sql("INSERT INTO b (id, t) VALUES (1, 'a\tb%sc\nd')", place->backslash);
    option_line(f, place->in_order);
    open_source(f);
    expect(f, "t a", "t b");
    assert_true(f->item.change.snapshot && f->position.generation == 1 && f->position.commit == 0 &&
                f->position.ordinal == 2);
    expect(f, "r a after{id=1,v=10}", "r a after{id=2,v=null}", "r b after{id=1,t=a\tb\\c\nd}", "COMMIT");
    mark(f);
    confirm(f);
    sql("INSERT INTO a VALUES (3, 30)");
    expect(f, "c a after{id=3,v=30}", "COMMIT");
    sql("BEGIN; UPDATE a SET v = 11 WHERE id = 1; DELETE FROM a WHERE id = 2; COMMIT");
    expect(f, "u a before{id=1,v=10} after{id=1,v=11}", "d a before{id=2,v=null}", "COMMIT");
    sql("INSERT INTO b (id, t) VALUES (2, 'x')");
    expect(f, "c b after{id=2,t=x}", "COMMIT");
}

static void what_was_rolled_back_never_comes(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY, v int");
    open_source(f);
    pass_snapshot(f);
    sql("BEGIN; INSERT INTO a VALUES (1, 1); ROLLBACK");
    sql("BEGIN; INSERT INTO a VALUES (2, 2); SAVEPOINT s; UPDATE a SET v = 3; INSERT INTO a VALUES (3, 3); "
        "ROLLBACK TO s; "
        "INSERT INTO a VALUES (4, 4); COMMIT");
    expect(f, "c a after{id=2,v=2}", "c a after{id=4,v=4}", "COMMIT");
}

static void a_key_change_is_a_delete_and_a_create(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY, v int");
    sql("INSERT INTO a VALUES (1, 10)");
    open_source(f);
    pass_snapshot(f);
    sql("UPDATE a SET id = 2");
    expect(f, "d a before{id=1,v=10} moved", "c a after{id=2,v=10} moved");
    assert_int_equal(f->item.change.other[0].i, 1);
    expect(f, "COMMIT");
    sql("UPDATE a SET v = 11");
    expect(f, "u a before{id=2,v=10} after{id=2,v=11}", "COMMIT");
}

static void the_rows_of_a_key_change_are_whole_however_large(void **state) {
    struct fixture *f = *state;
    make_table("a", "id varchar(20) PRIMARY KEY, x text, y text");
    sql("INSERT INTO a VALUES ('one', '', '')");
    for (int i = 0; i < 10; i++)
        sql("UPDATE a SET x = concat(x, x, 'abcdefghij'), y = concat(y, y, 'klmnopqrst')");
    open_source(f);
    pass_snapshot(f);
    sql("UPDATE a SET id = 'two'");
    expect(f, "d a before{id=one,x=<10230>,y=<10230>} moved", "c a after{id=two,x=<10230>,y=<10230>} moved");
    const struct value *after = f->item.change.after;
    for (size_t i = 0; i < after[1].s.len; i++)
        assert_true(after[1].s.data[i] == "abcdefghij"[i % 10] && after[2].s.data[i] == "klmnopqrst"[i % 10]);
    expect(f, "COMMIT");
}

static void a_key_of_several_columns_has_their_order(void **state) {
    struct fixture *f = *state;
    make_table("pair", "v int, b int, a int, PRIMARY KEY (a, b)");
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO pair VALUES (0, 1, 2)");
    expect(f, "c pair after{v=0,b=1,a=2}");
    const struct table *t = f->item.change.table;
    assert_int_equal(t->n_key, 2);
    assert_int_equal(t->key[0], 2);
    assert_int_equal(t->key[1], 1);
    assert_false(t->columns[1].nullable || t->columns[2].nullable);
    expect(f, "COMMIT");
    sql("UPDATE pair SET b = 3");
    expect(f, "d pair before{v=0,b=1,a=2} moved", "c pair after{v=0,b=3,a=2} moved", "COMMIT");
}

static void a_table_without_a_key_comes_with_whole_rows(void **state) {
    struct fixture *f = *state;
    if (!place->keyless)
        return;
    make_table("keyless", "v int, w int");
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO keyless VALUES (1, NULL)");
    expect(f, "c keyless after{v=1,w=null}");
    assert_int_equal(f->item.change.table->n_key, 0);
    expect(f, "COMMIT");
    sql("UPDATE keyless SET w = 2");
    expect(f, "u keyless before{v=1,w=null} after{v=1,w=2}", "COMMIT");
    sql("DELETE FROM keyless");
    expect(f, "d keyless before{v=1,w=2}", "COMMIT");
}

static void a_truncate_is_one_change_per_table(void **state) {
    struct fixture *f = *state;
    if (!place->truncates)
        return;
    make_table("a", "id int PRIMARY KEY");
    make_table("b", "id int PRIMARY KEY");
    open_source(f);
    pass_snapshot(f);
    sql("BEGIN; INSERT INTO a VALUES (1); TRUNCATE a; TRUNCATE b; INSERT INTO a VALUES (2); COMMIT");
    expect(f, "c a after{id=1}", "t a", "t b", "c a after{id=2}", "COMMIT");
}

static void a_schema_change_comes_at_its_exact_place(void **state) {
    struct fixture *f = *state;
    if (!place->transforms)
        return;
    make_table("a", "id int PRIMARY KEY, v int");
    open_source(f);
    pass_snapshot(f);
    sql("BEGIN; INSERT INTO a VALUES (1, 1); ALTER TABLE a ADD w text; INSERT INTO a VALUES (2, 2, 'w');"
        "ALTER TABLE a DROP v; INSERT INTO a VALUES (3, 'w'); ALTER TABLE a RENAME w TO x; INSERT INTO a "
        "VALUES (4, 'x');"
        "ALTER TABLE a DROP x; ALTER TABLE a ADD x int NOT NULL DEFAULT 5; INSERT INTO a VALUES (5); COMMIT");
    expect(f, "c a after{id=1,v=1}", "c a after{id=2,v=2,w=w}", "c a after{id=3,w=w}", "c a after{id=4,x=x}",
           "c a after{id=5,x=5}", "COMMIT");
    sql("ALTER TABLE a ALTER x DROP NOT NULL; INSERT INTO a VALUES (6, NULL)");
    expect(f, "c a after{id=6,x=null}", "COMMIT");
}

static void tables_are_selected_by_pattern(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    make_table("skipped", "id int PRIMARY KEY");
    sql("INSERT INTO a VALUES (1)");
    sql("INSERT INTO skipped VALUES (1)");
    option(f, "tables", "[\"%s.*\", \"!%s.skip*\"]", place->schema, place->schema);
    open_source(f);
    expect(f, "t a", "r a after{id=1}", "COMMIT");
    sql("BEGIN; INSERT INTO skipped VALUES (2); INSERT INTO a VALUES (2); COMMIT");
    expect(f, "c a after{id=2}", "COMMIT");
    close_source(f);
    forget(f);
    option(f, "tables", "[\"%s.nowhere\"]", place->schema);
    assert_int_equal(try_open(f, true), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TABLE);
}

/* Each of the place's types in a column of its own: a row of the snapshot, and the same row inserted, say the
 * same. */
static void types_arrive(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF columns = {0};
    CLEANUP_BUF literals = {0};
    CLEANUP_BUF values = {0};
    buf_puts(&columns, "id int PRIMARY KEY");
    int n = 0;
    for (const struct place_type *t = place->types; t->declared; t++, n++) {
        buf_printf(&columns, ", c%d %s", n, t->declared);
        buf_printf(&literals, ", %s", t->literal);
        buf_printf(&values, ",c%d=%s", n, t->line);
    }
    assert_true(n > 0);
    char read[4096], created[4096];
    snprintf(read, sizeof read, "r a after{id=1%s}", buf_cstr(&values));
    snprintf(created, sizeof created, "c a after{id=2%s}", buf_cstr(&values));
    make_table("a", buf_cstr(&columns));
    sql("INSERT INTO a VALUES (1%s)", buf_cstr(&literals));
    open_source(f);
    expect(f, "t a", read, "COMMIT");
    sql("INSERT INTO a VALUES (2%s)", buf_cstr(&literals));
    expect(f, created, "COMMIT");
}

static void a_value_that_cannot_be_carried_is_named(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF columns = {0};
    buf_printf(&columns, "id int PRIMARY KEY, n %s", place->not_carried.declared);
    make_table("a", buf_cstr(&columns));
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO a VALUES (77, %s)", place->not_carried.literal);
    expect_refusal(f, REJECT, ERR_VALUE_NOT_CARRIED);
    assert_non_null(strstr(f->err.text, "id=77"));
    assert_non_null(strstr(f->err.text, place->not_carried.line));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(a_snapshot_truncates_reads_and_commits_and_the_stream_goes_on_from_there),
        CASE(what_was_rolled_back_never_comes),
        CASE(a_key_change_is_a_delete_and_a_create),
        CASE(the_rows_of_a_key_change_are_whole_however_large),
        CASE(a_key_of_several_columns_has_their_order),
        CASE(a_table_without_a_key_comes_with_whole_rows),
        CASE(a_truncate_is_one_change_per_table),
        CASE(a_schema_change_comes_at_its_exact_place),
        CASE(tables_are_selected_by_pattern),
        CASE(types_arrive),
        CASE(a_value_that_cannot_be_carried_is_named),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
