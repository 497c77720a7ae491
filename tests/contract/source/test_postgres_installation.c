/* What a PostgreSQL installation withstands: people who mean it ill, restored copies, tables that change
 * hands, and applications that go on while it is made. */
#include "source_case.h"

#include <libpq-fe.h>

#include "place_postgres.h"

#define OURS(f) CASE_OF(POSTGRES_TRIGGERS, f)

static void *session(void) {
    return place->session();
}

static void with_roles(const char *rights) {
    sql("DROP ROLE IF EXISTS millrace_test_one; DROP ROLE IF EXISTS millrace_test_two; CREATE ROLE "
        "millrace_test_one LOGIN;"
        "CREATE ROLE millrace_test_two; GRANT ALL ON SCHEMA public TO millrace_test_one, millrace_test_two;"
        "DO $$ BEGIN EXECUTE format('GRANT CREATE ON DATABASE %%I TO millrace_test_one', "
        "current_database()); END $$; %s",
        rights);
}

static void without_roles(struct fixture *f) {
    close_source(f);
    sql("RESET ROLE; RESET row_security; DROP OWNED BY millrace_test_one, millrace_test_two CASCADE; "
        "DROP ROLE millrace_test_one, millrace_test_two");
}

static void expect_failure(void *in, const char *text, const char *words) {
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    assert_false(place->run(in, text, &rows, &why));
    if (!strstr(buf_cstr(&why), words))
        fail_msg("%s", buf_cstr(&why));
}

static void expect_not_installed(struct fixture *f, const char *words) {
    assert_int_not_equal(install(f), OK);
    if (!strstr(f->err.text, words))
        fail_msg("%s", f->err.text);
}

static void expect_not_opened(struct fixture *f, const char *words) {
    struct source_resume resume = resume_of(f);
    close_source(f);
    await("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'", "0");
    assert_int_equal(ops->open(options_of(f), &f->env, &resume, &f->source, &f->err), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TRIGGERS);
    if (!strstr(f->err.text, words))
        fail_msg("%s", f->err.text);
}

static void expect_finding(struct fixture *f, const char *name) {
    CLEANUP_BUF findings = {0};
    struct source_resume none = {0};
    assert_int_equal(ops->check(options_of(f), &f->env, &none, 5000, &findings, &f->err), OK);
    if (!strstr(buf_cstr(&findings), name))
        fail_msg("%s", buf_cstr(&findings));
}

/* ---- ill will ---- */

/* The owner of a table would become the one who installed. */
static void a_cast_of_the_tables_owner_is_never_run(void **state) {
    struct fixture *f = *state;
    with_roles("SET ROLE millrace_test_one");
    make_table("a", "id int PRIMARY KEY");
    make_table("b", "id int PRIMARY KEY");
    sql("INSERT INTO b VALUES (7); CREATE FUNCTION evil(a) RETURNS text LANGUAGE plpgsql AS 'BEGIN RAISE "
        "EXCEPTION ''evil "
        "runs as %%'', current_user; END'; CREATE FUNCTION evil(b) RETURNS text LANGUAGE sql AS 'SELECT "
        "evil(NULL::a)';"
        "CREATE CAST (a AS text) WITH FUNCTION evil(a) AS IMPLICIT;"
        "CREATE CAST (b AS text) WITH FUNCTION evil(b) AS IMPLICIT");
    option(f, "tables", "[\"public.a\"]");
    sql("RESET ROLE");
    open_source(f);
    pass_snapshot(f);
    mark(f);
    sql("INSERT INTO a VALUES (1); UPDATE a SET id = 2; DELETE FROM a");
    expect(f, "c a after{id=1}", "d a before{id=1} moved", "c a after{id=2} moved", "d a before{id=2}",
           "COMMIT");
    mark(f);
    close_source(f);
    option(f, "tables", "[\"public.*\"]");
    assert_int_equal(install(f), OK);
    open_source(f);
    expect(f, "t b", "c b after{id=7}", "COMMIT");
    without_roles(f);
}

static void a_schema_that_somebody_else_prepared_is_refused(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    with_roles("SET ROLE millrace_test_one; CREATE SCHEMA millrace; CREATE TABLE millrace.changes (id int); "
               "RESET ROLE");
    expect_not_installed(
        f, "belongs to another role than postgres, which installs: changes, of millrace_test_one");
    sql("ALTER SCHEMA millrace OWNER TO CURRENT_USER");
    expect_not_installed(f, "changes, of millrace_test_one");
    sql("DROP TABLE millrace.changes");
    assert_int_equal(install(f), OK);
    sql("CREATE FUNCTION public.other() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER other BEFORE INSERT ON millrace.changes FOR EACH ROW EXECUTE FUNCTION other()");
    expect_not_opened(f, "the change table has a trigger other");
    expect_not_installed(f, "triggers or rules stand on the change table of schema millrace: other");
    sql("DROP TRIGGER other ON millrace.changes; ALTER FUNCTION millrace.unused() OWNER TO "
        "millrace_test_one");
    expect_not_opened(f, "unused() belongs to millrace_test_one");
    sql("ALTER FUNCTION millrace.unused() OWNER TO CURRENT_USER");
    without_roles(f);
}

static void a_schema_that_others_may_use_is_refused(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF told = {0};
    make_table("a", "id int PRIMARY KEY");
    sql("CREATE SCHEMA millrace; GRANT USAGE ON SCHEMA millrace TO PUBLIC");
    expect_not_installed(f, "can be used by PUBLIC");
    sql("REVOKE ALL ON SCHEMA millrace FROM PUBLIC");
    assert_int_equal(install(f), OK);
    sql("GRANT USAGE ON SCHEMA millrace TO PUBLIC");
    expect_not_opened(f, "everybody may use the schema");
    assert_int_equal(ops->setup(options_of(f), &f->env, SETUP_UNINSTALL, false, &told, &f->err), OK);
    assert_string_equal(see("SELECT count(*) FROM pg_namespace WHERE nspname = 'millrace'"),
                        "1"); /* not of our making */
    assert_string_equal(see("SELECT count(*) FROM pg_class WHERE relnamespace = 'millrace'::regnamespace"),
                        "0");
}

static void the_change_table_cannot_be_truncated(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    void *other = session();
    expect_failure(other, "TRUNCATE millrace.changes", "changes that were not shipped");
    expect_failure(other, "SET session_replication_role = replica; TRUNCATE millrace.changes", "not shipped");
    place->end(other);
    sql("DROP TRIGGER keep_changes ON millrace.changes");
    expect_not_opened(f, "trigger against TRUNCATE");
}

/* ---- what the application can go on doing ---- */

/* As in a database that was restored from a dump: OIDs are others. */
static void a_restored_copy_takes_writes_and_is_not_read(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql("DO $$ DECLARE old oid := 'a'::regclass; BEGIN DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, v "
        "int);"
        "EXECUTE format('CREATE TRIGGER millrace_c AFTER INSERT ON a FOR EACH ROW WHEN "
        "(millrace.capture_%%s(''c'', NULL, "
        "NEW)) EXECUTE FUNCTION millrace.unused()', old); END $$;"
        "UPDATE millrace.installation SET place = '1/1'; INSERT INTO a VALUES (1, 1)");
    expect_not_opened(f, "a copy of one in another database");
    assert_int_equal(install(f), OK);
    assert_string_equal(
        see("SELECT count(*) FROM millrace.changes WHERE op = 'c' AND relid <> 'a'::regclass"), "0");
    expect_needs_resnapshot(f, "another one");
    assert_int_equal(try_open(f, true), OK);
    pass_snapshot(f);
    sql("INSERT INTO a VALUES (2, 2)");
    expect(f, "c a after{id=2,v=2}", "COMMIT");
}

static void a_table_that_changes_hands_goes_on(void **state) {
    struct fixture *f = *state;
    with_roles("SET ROLE millrace_test_one; CREATE SCHEMA s; CREATE TABLE s.a (id int PRIMARY KEY, v int); "
               "RESET ROLE");
    option(f, "tables", "[\"s.*\"]");
    option(f, "url", "\"%s user=millrace_test_one\"", conninfo);
    assert_int_equal(install(f), OK);
    option(f, "url", "\"%s\"", conninfo);
    sql("ALTER TABLE s.a OWNER TO millrace_test_two");
    sql("ALTER SCHEMA s OWNER TO millrace_test_two");
    sql("SET ROLE millrace_test_two");
    sql("INSERT INTO s.a VALUES (1, 1); ALTER TABLE s.a ADD w int; UPDATE s.a SET v = 2");
    sql("ALTER TABLE s.a ENABLE ROW LEVEL SECURITY; GRANT USAGE ON SCHEMA s TO millrace_test_one; "
        "GRANT SELECT ON s.a TO millrace_test_one; CREATE POLICY p ON s.a USING (id > 0); "
        "SET row_security = off; INSERT INTO s.a VALUES (2, 2)");
    assert_string_equal(see("SET ROLE postgres; SELECT op, old, new FROM millrace.changes ORDER BY id"),
                        "c|~|(1,1);u|(1,1,)|(1,2,);c|~|(2,2,)");
    without_roles(f);
}

static void whoever_owns_a_table_makes_partitions_of_it(void **state) {
    struct fixture *f = *state;
    with_roles(
        "SET ROLE millrace_test_two; CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); RESET ROLE;"
        "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC");
    assert_int_equal(install(f), OK);
    sql("SET ROLE millrace_test_two; CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); INSERT INTO p VALUES "
        "(1)");
    assert_string_equal(see("RESET ROLE; SELECT op, new FROM millrace.changes"), "c|(1)");
    sql("ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC");
    without_roles(f);
}

/* It has one table and wants the other, which the installation has. */
static void an_installation_never_deadlocks_an_application(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF script = {0};
    make_table("a", "id int PRIMARY KEY");
    make_table("b", "id int PRIMARY KEY");
    assert_int_equal(ops->setup(options_of(f), &f->env, SETUP_INSTALL, true, &script, &f->err), OK);
    void *app = session(), *admin = session();
    sql_in(app, "SET deadlock_timeout = '1s'; BEGIN; INSERT INTO b VALUES (1)");
    assert_true(PQsendQuery(admin, buf_cstr(&script)));
    await("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'b'::regclass AND NOT granted", "t");
    sql_in(app, "INSERT INTO a VALUES (1); COMMIT");
    for (PGresult *result; (result = PQgetResult(admin)); PQclear(result))
        if (PQresultStatus(result) == PGRES_FATAL_ERROR)
            fail_msg("%s", PQresultErrorMessage(result));
    assert_string_equal(see("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'millrace%%'"), "8");
    place->end(app);
    place->end(admin);
}

/* ---- tables ---- */

static void a_partitions_triggers_that_were_off_for_a_while_stop(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE p1 PARTITION OF p FOR "
        "VALUES IN (1)");
    open_source(f);
    pass_snapshot(f);
    mark(f);
    close_source(f);
    assert_int_equal(install(f), OK);
    sql("CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2)");
    open_source(f); /* neither is a gap */
    close_source(f);
    sql("ALTER TABLE p1 DISABLE TRIGGER millrace_c");
    sql("ALTER TABLE p1 ENABLE ALWAYS TRIGGER millrace_c");
    expect_not_opened(f, "triggers of table \"public\".\"p\"");
}

static void a_table_that_is_made_anew_stops_while_capture_runs(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    open_source(f);
    sql("DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY)");
    assert_int_equal(ops->service(f->source, &f->err), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TRIGGERS);
    assert_non_null(strstr(f->err.text, "selected tables have no triggers: public.a"));
}

static void tables_of_others_are_told_to_be_silent_to_replication(void **state) {
    struct fixture *f = *state;
    with_roles(
        "SET ROLE millrace_test_two; CREATE TABLE a (id int PRIMARY KEY); GRANT SELECT, TRIGGER ON a TO "
        "millrace_test_one; RESET ROLE");
    option(f, "url", "\"%s user=millrace_test_one\"", conninfo);
    assert_int_equal(install(f), OK);
    expect_finding(f, "triggers-not-always");
    without_roles(f);
}

static void rows_of_children_join_once(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql("CREATE TABLE b (id int PRIMARY KEY); CREATE TABLE b1 (PRIMARY KEY (id)) INHERITS (b);"
        "INSERT INTO b VALUES (1); INSERT INTO b1 VALUES (2)");
    assert_int_equal(install(f), OK);
    open_source(f);
    expect(f, "t b", "c b after{id=1}", "t b1", "c b1 after{id=2}", "COMMIT");
}

static void rows_of_tables_that_are_not_selected_any_more_are_deleted(void **state) {
    struct fixture *f = *state;
    make_table("b", "id int PRIMARY KEY");
    stream_a_little(f);
    option(f, "tables", "[\"public.a\"]");
    expect_finding(f, "tables-not-selected");
    open_source(f);
    sql("INSERT INTO b VALUES (1)");
    do
        next(f);
    while (f->item.type != ITEM_IDLE);
    next_within(f, 50);
    mark(f);
    confirm(f);
    assert_int_equal(ops->service(f->source, &f->err), OK);
    assert_string_equal(see("SELECT count(*) FROM millrace.changes"), "0");
}

static void a_table_without_columns_is_no_trouble(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    sql("CREATE TABLE z ()");
    assert_int_equal(install(f), OK);
    sql("INSERT INTO z DEFAULT VALUES");
    assert_string_equal(see("SELECT op, new FROM millrace.changes"), "c|()");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        OURS(a_cast_of_the_tables_owner_is_never_run),
        OURS(a_schema_that_somebody_else_prepared_is_refused),
        OURS(a_schema_that_others_may_use_is_refused),
        OURS(the_change_table_cannot_be_truncated),
        OURS(a_restored_copy_takes_writes_and_is_not_read),
        OURS(a_table_that_changes_hands_goes_on),
        OURS(whoever_owns_a_table_makes_partitions_of_it),
        OURS(an_installation_never_deadlocks_an_application),
        OURS(a_partitions_triggers_that_were_off_for_a_while_stop),
        OURS(a_table_that_is_made_anew_stops_while_capture_runs),
        OURS(tables_of_others_are_told_to_be_silent_to_replication),
        OURS(rows_of_children_join_once),
        OURS(rows_of_tables_that_are_not_selected_any_more_are_deleted),
        OURS(a_table_without_columns_is_no_trouble),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
