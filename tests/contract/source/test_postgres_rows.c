/* What a row of PostgreSQL's log holds: replica identities, values that are not sent again, types,
 * partitions. */
#include "source_case.h"

static void the_old_row_of_a_key_change_is_its_key_or_whole(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 10);"
        "CREATE TABLE full_ (id int PRIMARY KEY, v int); ALTER TABLE full_ REPLICA IDENTITY FULL; "
        "INSERT INTO full_ VALUES (1, 10)");
    open_source(f);
    pass_snapshot(f);
    sql("UPDATE a SET id = 2");
    expect(f, "d a before{id=1,v=~} moved", "c a after{id=2,v=10} moved", "COMMIT");
    assert_true(f->position.ordinal == 2);
    sql("UPDATE full_ SET id = 2");
    expect(f, "d full_ before{id=1,v=10} moved", "c full_ after{id=2,v=10} moved", "COMMIT");
    sql("UPDATE full_ SET v = 11");
    expect(f, "u full_ before{id=2,v=10} after{id=2,v=11}", "COMMIT");
}

static void the_rows_of_a_key_change_hold_until_its_second_half_is_out(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (at timestamptz PRIMARY KEY, x bytea, y bytea); ALTER TABLE a REPLICA IDENTITY FULL; "
        "INSERT INTO a VALUES ('2024-01-01 00:00:00+00', decode(repeat('ab', 1500000), 'hex'), "
        "decode(repeat('cd', 1500000), 'hex'))");
    open_source(f);
    pass_snapshot(f);
    sql("UPDATE a SET at = '2025-01-01 00:00:00+00'");
    expect(f, "d a before{at=2024-01-01T00:00:00Z,x=<1500000>,y=<1500000>} moved",
           "c a after{at=2025-01-01T00:00:00Z,x=<1500000>,y=<1500000>} moved");
    const struct value *after = f->item.change.after;
    for (size_t i = 0; i < after[1].s.len; i++)
        assert_true((unsigned char)after[1].s.data[i] == 0xab && (unsigned char)after[2].s.data[i] == 0xcd);
    expect(f, "COMMIT");
}

static void an_unchanged_large_value_is_absent_or_filled_from_the_old_row(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY, v int, big text); ALTER TABLE a ALTER big SET STORAGE EXTERNAL;"
        "CREATE TABLE full_ (LIKE a INCLUDING ALL); ALTER TABLE full_ REPLICA IDENTITY FULL;"
        "INSERT INTO a VALUES (1, 10, repeat('x', 9000)); INSERT INTO full_ SELECT * FROM a");
    open_source(f);
    pass_snapshot(f);
    sql("UPDATE a SET v = 11");
    expect(f, "u a after{id=1,v=11,big=~}", "COMMIT");
    sql("UPDATE a SET id = 2");
    expect(f, "d a before{id=1,v=~,big=~} moved partial", "c a after{id=2,v=11,big=~} moved partial",
           "COMMIT");
    sql("UPDATE full_ SET v = 11");
    expect(f, "u full_ before{id=1,v=10,big=<9000>} after{id=1,v=11,big=<9000>}", "COMMIT");
    assert_false(f->item.change.table && f->item.change.table->partial);
}

static void a_truncate_of_several_tables_restarts_their_identities(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    sql("BEGIN; INSERT INTO a VALUES (1); TRUNCATE a, b RESTART IDENTITY; INSERT INTO a VALUES (2); COMMIT");
    expect(f, "c a after{id=1}", "t a restart", "t b restart", "c a after{id=2}", "COMMIT");
    assert_true(f->position.ordinal == 4);
}

static void every_replica_identity_gives_its_key(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE by_index (id int PRIMARY KEY, code int NOT NULL UNIQUE, v int);"
        "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code_key;"
        "CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;"
        "CREATE TABLE keyless (v int, w int); ALTER TABLE keyless REPLICA IDENTITY FULL;"
        "CREATE TABLE pair (v int, b int, a int, PRIMARY KEY (a, b))");
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO by_index VALUES (1, 7, 0); UPDATE by_index SET id = 2; UPDATE by_index SET code "
        "= 8; DELETE FROM by_index");
    expect(f, "c by_index after{id=1,code=7,v=0}");
    assert_int_equal(f->item.change.table->n_key, 1);
    assert_int_equal(f->item.change.table->key[0], 1);
    expect(f, "u by_index after{id=2,code=7,v=0}", "d by_index before{id=~,code=7,v=~} moved",
           "c by_index after{id=2,code=8,v=0} moved", "d by_index before{id=~,code=8,v=~}", "COMMIT");
    sql("INSERT INTO nothing VALUES (1)");
    expect(f, "c nothing after{id=1}", "COMMIT");
    sql("INSERT INTO keyless VALUES (1, NULL)");
    expect(f, "c keyless after{v=1,w=null}", "COMMIT");
    sql("UPDATE keyless SET w = 2");
    expect(f, "u keyless before{v=1,w=null} after{v=1,w=2}", "COMMIT");
    sql("INSERT INTO pair VALUES (0, 1, 2)");
    next(f);
    const struct table *t = f->item.change.table;
    assert_int_equal(t->n_key, 2);
    assert_int_equal(t->key[0], 2);
    assert_int_equal(t->key[1], 1);
}

static void columns_and_tables_are_selected_by_pattern(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY, secret text, v int); INSERT INTO a VALUES (1, 's', 2);"
        "CREATE TABLE skipped (id int PRIMARY KEY); CREATE PUBLICATION millrace_contract FOR ALL TABLES");
    option(f, "tables", "[\"public.*\", \"!public.skip*\"]");
    option(f, "columns", "{ public.a: \"!secret\" }");
    open_source(f);
    expect(f, "t a", "r a after{id=1,v=2}", "COMMIT");
    sql("BEGIN; INSERT INTO skipped VALUES (1); INSERT INTO a VALUES (2, 's', 3); COMMIT");
    expect(f, "c a after{id=2,v=3}", "COMMIT");
    close_source(f);
    option(f, "columns", "{ public.a: \"!id\" }");
    assert_int_equal(try_open(f, true), FATAL);
    assert_int_equal(f->err.id, ERR_CONFIG);
}

static void types_of_users_arrive(void **state) {
    struct fixture *f = *state;
    sql("CREATE SCHEMA shop; CREATE TYPE shop.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN shop.price AS "
        "numeric(8,2) NOT NULL;"
        "CREATE TYPE shop.pair AS (m shop.mood, p shop.price);"
        "CREATE TABLE a (id int PRIMARY KEY, m shop.mood, p shop.price, ms shop.mood[], pr shop.pair, "
        "ps shop.price[], u uuid, j jsonb, ts timestamptz);"
        "INSERT INTO a VALUES (1, 'ok', 1.5, '{sad,NULL}', '(ok,2)', '{1.25}', "
        "'00000000-0000-0000-0000-000000000001', '{\"a\": 1}', '2024-01-02 03:04:05+00')");
    open_source(f);
    expect(f, "t a",
           "r a "
           "after{id=1,m=ok,p=1.50,ms={sad,NULL},pr=(ok,2.00),ps={1.25},u=00000000-0000-0000-0000-"
           "000000000001,j={\"a\": 1},ts=2024-01-02T03:04:05Z}");
    const struct table *t = f->item.change.table;
    assert_string_equal(t->columns[1].type, "shop.mood");
    assert_string_equal(t->columns[1].labels[1], "ok");
    assert_string_equal(t->columns[2].type, "numeric(8,2)");
    assert_false(t->columns[2].nullable);
    assert_string_equal(t->columns[5].type, "numeric(8,2)[]");
    assert_int_equal(t->n_types, 2);
    assert_int_equal(t->types[0].kind, USER_TYPE_ENUM);
    assert_int_equal(t->types[1].kind, USER_TYPE_COMPOSITE);
    assert_string_equal(t->types[1].label_types[1], "numeric(8,2)");
    expect(f, "COMMIT");
    sql("INSERT INTO a (id, p) VALUES (2, 1)");
    expect(f, "c a after{id=2,m=null,p=1.00,ms=null,pr=null,ps=null,u=null,j=null,ts=null}", "COMMIT");
    assert_true(t->n_types == 2);
    sql("ALTER TYPE shop.mood ADD VALUE 'great'");
    sql("INSERT INTO a (id, m, p) VALUES (3, 'great', 1)");
    next(f);
    assert_string_equal(f->item.change.table->columns[1].labels[2], "great");
}

static void partitions_travel_as_leaves_or_as_their_root(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE p (id int, v int, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);"
        "CREATE TABLE p2 (v int, id int NOT NULL, PRIMARY KEY (id)); ALTER TABLE p ATTACH PARTITION "
        "p2 FOR VALUES FROM (100) TO (200);"
        "INSERT INTO p VALUES (1, 1), (101, 2)");
    option(f, "tables", "[public.p]"); /* the root's name takes its partitions */
    option(f, "snapshot_workers", "1");
    open_source(f);
    expect(f, "t p1", "t p2", "r p1 after{id=1,v=1}", "r p2 after{v=2,id=101}", "COMMIT");
    sql("UPDATE p SET id = 102 WHERE id = 1");
    expect(f, "d p1 before{id=1,v=~}", "c p2 after{v=1,id=102}", "COMMIT");
    sql("CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300); INSERT INTO p VALUES (201, 3)");
    expect(f, "c p3 after{id=201,v=3}", "COMMIT");
    close_source(f);
    buf_clear(&f->state);
    sql("DROP PUBLICATION millrace_contract");
    option(f, "publish_via_root", "true");
    f->position = (struct position){0};
    open_source(f);
    expect(f, "t p", "r p after{id=101,v=2}");
    pass_snapshot(f);
    sql("INSERT INTO p VALUES (103, 4); UPDATE p SET v = 5 WHERE id = 103");
    expect(f, "c p after{id=103,v=4}", "u p after{id=103,v=5}", "COMMIT");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE_OF(POSTGRES, the_old_row_of_a_key_change_is_its_key_or_whole),
        CASE_OF(POSTGRES, the_rows_of_a_key_change_hold_until_its_second_half_is_out),
        CASE_OF(POSTGRES, an_unchanged_large_value_is_absent_or_filled_from_the_old_row),
        CASE_OF(POSTGRES, a_truncate_of_several_tables_restarts_their_identities),
        CASE_OF(POSTGRES, every_replica_identity_gives_its_key),
        CASE_OF(POSTGRES, columns_and_tables_are_selected_by_pattern),
        CASE_OF(POSTGRES, types_of_users_arrive),
        CASE_OF(POSTGRES, partitions_travel_as_leaves_or_as_their_root),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
