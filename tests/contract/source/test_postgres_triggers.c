/* What only PostgreSQL's triggers have: ids that become visible late, an installation that somebody touches,
 * and applications with triggers, formats and partitions of their own. */
#include "source_case.h"

#include <stdio.h>

#include <libpq-fe.h>

#include "place_postgres.h"

#define OURS(f) CASE_OF(POSTGRES_TRIGGERS, f)

static void *session(void) {
    return place->session();
}

static void idle(struct fixture *f, int ms) {
    assert_false(next_within(f, ms));
}

/* ---- order ---- */

static void a_transaction_that_commits_late_is_waited_for(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY, v int");
    open_source(f);
    pass_snapshot(f);
    idle(f, 50);
    void *late = session();
    sql_in(late, "BEGIN; INSERT INTO a VALUES (1, 0)");
    sql("INSERT INTO a VALUES (2, 0)");
    assert_string_equal(see("SELECT id FROM millrace.changes"),
                        "2"); /* who reads `id > 2` next never sees 1 */
    idle(f, 200);
    sql_in(late, "INSERT INTO a VALUES (3, 0); COMMIT");
    expect(f, "c a after{id=2,v=0}", "COMMIT", "c a after{id=1,v=0}", "c a after{id=3,v=0}", "COMMIT");
    place->end(late);
}

/* The transaction with the smaller id is the second to change the row: an order by (xid, id) would turn
 * them. */
static void changes_of_a_row_come_in_their_order_whatever_the_transactions_ids(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY, v int");
    sql("INSERT INTO a VALUES (1, 0), (2, 0)");
    open_source(f);
    pass_snapshot(f);
    void *older = session(), *open = session();
    sql_in(older, "BEGIN; UPDATE a SET v = 1 WHERE id = 2");
    sql_in(open, "BEGIN; SELECT pg_current_xact_id()"); /* writes nothing of ours: holds nothing up */
    sql("UPDATE a SET v = 1 WHERE id = 1");
    sql_in(older, "UPDATE a SET v = 2 WHERE id = 1; COMMIT");
    expect(f, "u a before{id=1,v=0} after{id=1,v=1}", "COMMIT", "u a before{id=2,v=0} after{id=2,v=1}",
           "u a before{id=1,v=1} after{id=1,v=2}", "COMMIT");
    assert_string_equal(
        see("SELECT string_agg(new, ' ' ORDER BY xid, id) FROM millrace.changes WHERE old LIKE '(1,%%'"),
        "(1,2) (1,1)");
    place->end(older);
    place->end(open);
}

/* The bound rests on it: who takes an id is seen in pg_locks before. */
static void the_change_table_is_locked_before_an_id_is_taken(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    open_source(f);
    void *guard = session(), *writer = session();
    sql_in(guard, "BEGIN; LOCK TABLE millrace.changes IN SHARE MODE");
    assert_true(PQsendQuery(writer, "INSERT INTO a VALUES (1)"));
    await("SELECT count(*) FROM pg_locks WHERE relation = 'millrace.changes'::regclass AND NOT granted", "1");
    assert_string_equal(see("SELECT is_called FROM millrace.change_id"), "f");
    sql_in(guard, "COMMIT");
    for (PGresult *result; (result = PQgetResult(writer));)
        PQclear(result);
    assert_string_equal(see("SELECT last_value FROM millrace.change_id"), "1");
    place->end(guard);
    place->end(writer);
}

/* Rows are read in windows of 100,000 ids: a transaction comes as a whole when its last id is passed. */
static void a_transaction_may_lie_in_many_windows(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    open_source(f);
    pass_snapshot(f);
    void *late = session(), *later = session();
    sql_in(late, "BEGIN; INSERT INTO a VALUES (1)");
    sql("INSERT INTO a VALUES (2); SELECT setval('millrace.change_id', 99999)");
    sql("INSERT INTO a VALUES (3)");
    sql("INSERT INTO a VALUES (4)");
    sql_in(later, "BEGIN; INSERT INTO a VALUES (5)");
    sql("SELECT setval('millrace.change_id', 199998); INSERT INTO a VALUES (6)");
    sql_in(late, "INSERT INTO a VALUES (7)");
    sql("SELECT setval('millrace.change_id', 500000); INSERT INTO a VALUES (8)");
    sql_in(later, "INSERT INTO a VALUES (9)");
    sql("INSERT INTO a VALUES (10)");
    idle(f, 100);
    sql_in(later, "COMMIT");
    idle(f, 50);
    sql_in(late, "COMMIT");
    expect(f, "c a after{id=2}", "COMMIT", "c a after{id=3}", "COMMIT", "c a after{id=4}", "COMMIT",
           "c a after{id=6}", "COMMIT", "c a after{id=1}", "c a after{id=7}", "COMMIT", "c a after{id=8}",
           "COMMIT", "c a after{id=5}", "c a after{id=9}", "COMMIT", "c a after{id=10}", "COMMIT");
    idle(f, 50);
    mark(f);
    confirm(f);
    assert_int_equal(ops->service(f->source, &f->err), OK);
    assert_string_equal(see("SELECT count(*) FROM millrace.changes"), "0");
    place->end(late);
    place->end(later);
}

static void a_prepared_transaction_is_waited_for(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    open_source(f);
    pass_snapshot(f);
    void *other = session();
    sql_in(other, "BEGIN; INSERT INTO a VALUES (1)");
    sql("INSERT INTO a VALUES (2)");
    idle(f, 100);
    sql_in(other, "PREPARE TRANSACTION 'millrace test'");
    sql("INSERT INTO a VALUES (3)");
    idle(f, 200);
    sql("COMMIT PREPARED 'millrace test'");
    expect(f, "c a after{id=1}", "COMMIT", "c a after{id=2}", "COMMIT", "c a after{id=3}", "COMMIT");
    place->end(other);
}

/* It is seen before it is on disk, and a crash of the server could take it back. */
static void a_transaction_that_is_not_on_disk_is_written_before_it_is_told(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    sql("ALTER SYSTEM SET wal_writer_delay = '10s'");
    sql("SELECT pg_reload_conf()");
    open_source(f);
    pass_snapshot(f);
    idle(f, 300); /* the WAL writer sleeps */
    sql("SET synchronous_commit = off");
    sql("INSERT INTO a VALUES (1)");
    assert_string_equal(
        see("SELECT count(*), pg_current_wal_flush_lsn() < pg_current_wal_insert_lsn() FROM a"), "1|t");
    char *end = arena_strdup(&f->arena, see("SELECT pg_current_wal_insert_lsn()"));
    expect(f, "c a after{id=1}", "COMMIT");
    assert_string_equal(see("SELECT pg_current_wal_flush_lsn() >= '%s'", end), "t");
    sql("SET synchronous_commit = on");
    sql("ALTER SYSTEM RESET wal_writer_delay");
    sql("SELECT pg_reload_conf()");
}

/* The snapshot is taken while transactions are open on both sides of it. */
static void a_snapshot_amid_open_transactions_misses_and_repeats_nothing(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    assert_int_equal(install(f), OK);
    void *late = session();
    sql_in(late, "BEGIN; INSERT INTO a VALUES (1)");
    sql("INSERT INTO a VALUES (2)");
    struct source_resume none = {0};
    assert_int_equal(ops->open(options_of(f), &f->env, &none, &f->source, &f->err), OK);
    sql("INSERT INTO a VALUES (3)");
    expect(f, "t a", "r a after{id=2}", "COMMIT");
    sql_in(late, "INSERT INTO a VALUES (4); COMMIT");
    expect(f, "c a after{id=3}", "COMMIT", "c a after{id=1}", "c a after{id=4}", "COMMIT");
    place->end(late);
}

/* Triggers of the application change rows that their own statement has changed, too, before and after it. */
static void changes_by_triggers_of_the_application_come_in_their_order(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY, parent int REFERENCES a ON UPDATE CASCADE, v int DEFAULT 0");
    sql("INSERT INTO a VALUES (1, NULL), (2, 1)");
    open_source(f);
    pass_snapshot(f);
    sql("UPDATE a SET id = id + 10");
    expect(f, "d a before{id=1,parent=null,v=0} moved", "c a after{id=11,parent=null,v=0} moved",
           "d a before{id=2,parent=1,v=0} moved", "c a after{id=12,parent=1,v=0} moved",
           "u a before{id=12,parent=1,v=0} after{id=12,parent=11,v=0}", "COMMIT");
    sql("CREATE FUNCTION one() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "UPDATE a SET v = 0 WHERE id <> NEW.id AND v = 1; RETURN NEW; END $$;"
        "CREATE TRIGGER \"!one\" BEFORE UPDATE ON a FOR EACH ROW WHEN (NEW.v = 1) EXECUTE FUNCTION one()");
    sql("UPDATE a SET v = 1");
    expect(f, "u a before{id=11,parent=null,v=0} after{id=11,parent=null,v=1}",
           "u a before{id=11,parent=null,v=1} after{id=11,parent=null,v=0}",
           "u a before{id=12,parent=11,v=0} after{id=12,parent=11,v=1}", "COMMIT");
    sql("CREATE FUNCTION anew() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "DELETE FROM a WHERE id = NEW.id; RETURN NEW; END $$;"
        "CREATE TRIGGER anew BEFORE INSERT ON a FOR EACH ROW EXECUTE FUNCTION anew()");
    sql("INSERT INTO a VALUES (12, NULL, 7)");
    expect(f, "d a before{id=12,parent=11,v=1}", "c a after{id=12,parent=null,v=7}", "COMMIT");
}

/* ---- rows ---- */

static void rows_are_the_same_whatever_a_session_has_set(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY, t timestamptz, i interval, d float8, b bytea, s text");
    open_source(f);
    pass_snapshot(f);
    sql("SET DateStyle = 'SQL, DMY'; SET IntervalStyle = 'postgres_verbose'; SET TimeZone = 'Asia/Kathmandu';"
        "SET extra_float_digits = -5; SET bytea_output = 'escape'; SET search_path = pg_temp, public;"
        "SET standard_conforming_strings = off; SET plan_cache_mode = force_generic_plan;"
        "CREATE FUNCTION pg_temp.to_regclass(text) RETURNS regclass LANGUAGE sql AS 'SELECT NULL::regclass';"
        "CREATE TEMP TABLE changes (id int); CREATE TEMP TABLE a_ (LIKE public.a)");
    sql("INSERT INTO public.a VALUES (1, '02/01/2024 03:04:05+00', '1 day 2 hours', 0.1, 'ab', "
        "E'x\"y\\\\z,()\\t')");
    expect(f, "c a after{id=1,t=2024-01-02T03:04:05Z,i=P1DT2H,d=0.10000000000000001,b=ab,s=x\"y\\z,()\t}",
           "COMMIT");
}

static void a_move_between_partitions_is_a_delete_and_a_create(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE p (id int, part int, v text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);"
        "CREATE TABLE p1 (junk int, v text, part int NOT NULL, id int NOT NULL); ALTER TABLE p1 DROP junk;"
        "ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p FOR VALUES IN "
        "(2);"
        "CREATE TABLE child (id int PRIMARY KEY, part int, FOREIGN KEY (id, part) REFERENCES p ON UPDATE "
        "CASCADE);"
        "INSERT INTO p VALUES (1, 1, 'x'); INSERT INTO child VALUES (1, 1)");
    open_source(f);
    pass_snapshot(f);
    sql("UPDATE p SET v = 'y'");
    expect(f, "u p before{id=1,part=1,v=x} after{id=1,part=1,v=y}", "COMMIT");
    if (strcmp(see("SELECT current_setting('server_version_num')::int >= 150000"), "t") == 0) {
        sql("UPDATE p SET part = 2"); /* PostgreSQL 14 refuses this with a cascade */
        expect(f, "d p before{id=1,part=1,v=y}", "c p after{id=1,part=2,v=y}",
               "u child before{id=1,part=1} after{id=1,part=2}", "COMMIT");
    }
    sql("CREATE TABLE p3 PARTITION OF p FOR VALUES IN (3); INSERT INTO p3 (id, part, v) VALUES (3, 3, 'z')");
    expect(f, "c p after{id=3,part=3,v=z}", "COMMIT");
}

/* Its snapshot would show the columns of before. */
static void a_transaction_older_than_the_tables_shape_cannot_write_it(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    make_table("a", "id int PRIMARY KEY, v text");
    open_source(f);
    pass_snapshot(f);
    void *old = session();
    sql_in(old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    sql("ALTER TABLE a RENAME v TO w");
    assert_false(place->run(old, "INSERT INTO a VALUES (1, 'x')", &rows, &why));
    assert_non_null(strstr(buf_cstr(&why), "could not serialize access"));
    sql_in(old, "BEGIN ISOLATION LEVEL REPEATABLE READ; INSERT INTO a VALUES (2, 'x'); COMMIT");
    expect(f, "c a after{id=2,w=x}", "COMMIT");
    place->end(old);
}

static void a_table_that_joins_brings_its_rows(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    open_source(f);
    pass_snapshot(f);
    mark(f);
    make_table("b", "id int PRIMARY KEY");
    sql("INSERT INTO b VALUES (1)");
    close_source(f);
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TRIGGERS);
    assert_non_null(strstr(f->err.text, "public.b"));
    assert_int_equal(install(f), OK);
    open_source(f);
    sql("INSERT INTO b VALUES (2)");
    expect(f, "t b", "c b after{id=1}", "COMMIT", "c b after{id=2}", "COMMIT");
}

/* ---- an installation that somebody touches ---- */

/* Items and service until the source stops; what it stops with must be this, also at the next start. */
static void expect_stop(struct fixture *f, enum err_id id, const char *words) {
    int64_t deadline = clock_mono(f->env.clock) + DEADLINE_S * 1000000;
    enum code code = OK;
    while (code == OK) {
        assert_true(clock_mono(f->env.clock) < deadline);
        code = step(f, clock_mono(f->env.clock) + 20000);
        if (code == OK || code == AGAIN)
            code = ops->service(f->source, &f->err);
    }
    for (int again = 0; again < 2; again++) {
        if (code != FATAL || f->err.id != id || !strstr(f->err.text, words))
            fail_msg("%s/%s: %s", code_name(code), err_name(f->err.id), f->err.text);
        close_source(f);
        code = try_open(f, false);
    }
}

static void watched(struct fixture *f) {
    stream_a_little(f);
    open_source(f);
    idle(f, 50);
}

static void expect_gap(struct fixture *f, const char *touch) {
    watched(f);
    sql("%s", touch);
    expect_stop(f, ERR_SOURCE_TRIGGERS, "millrace source install");
    assert_int_equal(install(f), OK);
    expect_needs_resnapshot(f, "another one");
    mend_and_go_on(f);
}

static void a_disabled_trigger_stops(void **state) {
    expect_gap(*state, "ALTER TABLE a DISABLE TRIGGER USER");
}
static void a_trigger_that_was_off_for_a_while_stops(void **state) {
    expect_gap(*state,
               "ALTER TABLE a DISABLE TRIGGER millrace_u; ALTER TABLE a ENABLE ALWAYS TRIGGER millrace_u");
}
static void a_dropped_trigger_stops(void **state) {
    expect_gap(*state, "DROP TRIGGER millrace_d ON a");
}
static void an_altered_function_stops(void **state) {
    expect_gap(*state,
               "DO $$ BEGIN EXECUTE format('ALTER FUNCTION millrace.capture_%s(\"char\", record, record) SET "
               "DateStyle = ''SQL''', 'a'::regclass::oid); END $$");
}

static void an_altered_change_table_stops(void **state) {
    struct fixture *f = *state;
    watched(f);
    sql("ALTER TABLE millrace.changes ADD COLUMN mine int");
    close_source(f);
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TRIGGERS);
    assert_non_null(strstr(f->err.text, "mine integer"));
    sql("ALTER TABLE millrace.changes DROP COLUMN mine");
    open_source(f);
    sql("INSERT INTO a VALUES (5)");
    expect(f, "c a after{id=5}", "COMMIT");
}

static void a_dropped_change_table_stops(void **state) {
    struct fixture *f = *state;
    watched(f);
    sql("DROP SCHEMA millrace CASCADE");
    expect_refusal(f, RETRY, ERR_SOURCE_UNREACHABLE);
    close_source(f);
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TRIGGERS);
    assert_int_equal(install(f), OK);
    expect_needs_resnapshot(f, "another one");
    mend_and_go_on(f);
}

static void a_sequence_that_was_set_back_stops(void **state) {
    struct fixture *f = *state;
    watched(f);
    sql("SELECT setval('millrace.change_id', 1, false)");
    expect_refusal(f, FATAL, ERR_NEEDS_RESNAPSHOT);
    close_source(f);
    expect_needs_resnapshot(f, "set back");
}

static void a_renamed_table_waits_for_an_installation_and_misses_nothing(void **state) {
    struct fixture *f = *state;
    watched(f);
    sql("ALTER TABLE a RENAME TO z; INSERT INTO z VALUES (7)");
    expect_stop(f, ERR_SOURCE_TABLE, "was renamed to");
    assert_int_equal(install(f), OK);
    open_source(f);
    sql("INSERT INTO z VALUES (8)");
    expect(f, "c z after{id=7}", "COMMIT", "c z after{id=8}", "COMMIT");
}

static void a_dropped_table_is_no_trouble(void **state) {
    struct fixture *f = *state;
    make_table("b", "id int PRIMARY KEY");
    watched(f);
    sql("INSERT INTO b VALUES (7); DROP TABLE b");
    sql("INSERT INTO a VALUES (7)");
    expect(f, "c a after{id=7}", "COMMIT");
    assert_int_equal(ops->service(f->source, &f->err), OK);
    assert_int_equal(install(f), OK);
    close_source(f);
    open_source(f);
}

static void a_deferrable_key_is_refused(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED");
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TABLE);
    assert_non_null(strstr(f->err.text, "DEFERRABLE"));
}

static void a_rewrite_without_triggers_stops(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    open_source(f);
    sql("ALTER TABLE a ADD COLUMN r float8 DEFAULT random(); INSERT INTO a VALUES (9, 1)");
    do
        next(f);
    while (f->item.type != ITEM_IDLE);
    mark(f);
    expect_refusal(f, FATAL, ERR_NEEDS_RESNAPSHOT);
    close_source(f);
    expect_needs_resnapshot(f, "public.a");
}

/* ---- rights, locks, deletion ---- */

static void a_plain_owner_installs_and_a_reader_with_few_rights_reads(void **state) {
    struct fixture *f = *state;
    sql("DROP ROLE IF EXISTS millrace_test_owner; DROP ROLE IF EXISTS millrace_test_reader; DROP ROLE IF "
        "EXISTS "
        "millrace_test_app; CREATE ROLE millrace_test_owner LOGIN; CREATE ROLE millrace_test_reader LOGIN; "
        "CREATE ROLE "
        "millrace_test_app; GRANT ALL ON SCHEMA public TO millrace_test_owner; GRANT USAGE ON SCHEMA public "
        "TO "
        "millrace_test_app; DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %%I TO "
        "millrace_test_owner', "
        "current_database()); END $$; SET ROLE millrace_test_owner");
    make_table("a", "id int PRIMARY KEY");
    sql("INSERT INTO a VALUES (1); GRANT SELECT, INSERT ON a TO millrace_test_app");
    option(f, "reader", "millrace_test_reader");
    option(f, "url", "\"%s user=millrace_test_owner\"", conninfo);
    assert_int_equal(install(f), OK);
    option(f, "url", "\"%s user=millrace_test_reader\"", conninfo);
    struct source_resume none = {0};
    assert_int_equal(ops->open(options_of(f), &f->env, &none, &f->source, &f->err), OK);
    pass_snapshot(f);
    sql("SET ROLE millrace_test_app; INSERT INTO a VALUES (2)"); /* knows nothing of us, and may do nothing to
                                                                    us */
    expect(f, "c a after{id=2}", "COMMIT");
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    void *app = session();
    sql_in(app, "SET ROLE millrace_test_app");
    assert_false(place->run(app, "SELECT millrace.capture_1('c', NULL, ROW(1))", &rows, &why));
    assert_non_null(strstr(buf_cstr(&why), "permission denied for schema"));
    place->end(app);
    mark(f);
    confirm(f);
    idle(f, 20);
    assert_int_equal(ops->service(f->source, &f->err), OK);
    close_source(f);
    sql("RESET ROLE; DROP OWNED BY millrace_test_owner, millrace_test_reader, millrace_test_app CASCADE; "
        "DROP ROLE "
        "millrace_test_owner, millrace_test_reader, millrace_test_app");
}

static void deletion_goes_in_batches_and_waits_for_no_lock(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO a SELECT i FROM generate_series(1, 12000) i");
    do
        next(f);
    while (f->item.type != ITEM_COMMIT);
    next_within(f, 50);
    void *guard = session();
    sql_in(guard, "BEGIN; LOCK TABLE millrace.changes IN SHARE MODE");
    mark(f);
    confirm(f);
    int64_t began = clock_mono(f->env.clock);
    assert_int_equal(ops->service(f->source, &f->err), OK);
    assert_true(clock_mono(f->env.clock) - began < 2000000);
    assert_string_equal(see("SELECT count(*) FROM millrace.changes"), "12000");
    sql_in(guard, "COMMIT");
    assert_int_equal(ops->service(f->source, &f->err), OK);
    assert_string_equal(see("SELECT (count(*) <= 7000)::text FROM millrace.changes"), "true");
    for (int i = 0; i < 2; i++)
        assert_int_equal(ops->service(f->source, &f->err), OK);
    assert_string_equal(see("SELECT count(*) FROM millrace.changes"), "0");
    place->end(guard);
}

static void the_budget_of_the_change_table_is_watched(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF findings = {0};
    struct source_resume none = {0};
    option(f, "change_table_bytes", "1MB");
    make_table("a", "id int PRIMARY KEY, v text");
    assert_int_equal(install(f), OK);
    sql("INSERT INTO a SELECT i, repeat('x', 1000) FROM generate_series(1, 3000) i");
    assert_int_equal(ops->check(options_of(f), &f->env, &none, 5000, &findings, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&findings), "change-table-over-budget"));
}

static void what_is_removed_leaves_no_trace(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF told = {0};
    CLEANUP_BUF again = {0};
    stream_a_little(f);
    assert_int_equal(ops->setup(options_of(f), &f->env, SETUP_INSTALL, true, &told, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&told), "CREATE OR REPLACE TRIGGER millrace_c"));
    assert_int_equal(install(f), OK); /* again: no gap */
    open_source(f);
    sql("INSERT INTO a VALUES (3)");
    expect(f, "c a after{id=3}", "COMMIT");
    close_source(f);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ops->setup(options_of(f), &f->env, SETUP_UNINSTALL, false, &again, &f->err), OK);
    assert_string_equal(see("SELECT count(*) FROM pg_namespace WHERE nspname = 'millrace'"), "0");
    assert_string_equal(see("SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal"), "0");
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TRIGGERS);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        OURS(a_transaction_that_commits_late_is_waited_for),
        OURS(changes_of_a_row_come_in_their_order_whatever_the_transactions_ids),
        OURS(the_change_table_is_locked_before_an_id_is_taken),
        OURS(a_transaction_may_lie_in_many_windows),
        OURS(a_prepared_transaction_is_waited_for),
        OURS(a_transaction_that_is_not_on_disk_is_written_before_it_is_told),
        OURS(a_snapshot_amid_open_transactions_misses_and_repeats_nothing),
        OURS(changes_by_triggers_of_the_application_come_in_their_order),
        OURS(rows_are_the_same_whatever_a_session_has_set),
        OURS(a_move_between_partitions_is_a_delete_and_a_create),
        OURS(a_transaction_older_than_the_tables_shape_cannot_write_it),
        OURS(a_table_that_joins_brings_its_rows),
        OURS(a_disabled_trigger_stops),
        OURS(a_trigger_that_was_off_for_a_while_stops),
        OURS(a_dropped_trigger_stops),
        OURS(an_altered_function_stops),
        OURS(an_altered_change_table_stops),
        OURS(a_dropped_change_table_stops),
        OURS(a_sequence_that_was_set_back_stops),
        OURS(a_renamed_table_waits_for_an_installation_and_misses_nothing),
        OURS(a_dropped_table_is_no_trouble),
        OURS(a_deferrable_key_is_refused),
        OURS(a_rewrite_without_triggers_stops),
        OURS(a_plain_owner_installs_and_a_reader_with_few_rights_reads),
        OURS(deletion_goes_in_batches_and_waits_for_no_lock),
        OURS(the_budget_of_the_change_table_is_watched),
        OURS(what_is_removed_leaves_no_trace),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
