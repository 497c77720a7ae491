/* Tables and triggers of SQLite that change under the capture: it goes on where nothing can be missing, and
 * stops by name, before it hands over what follows, where something could; `millrace source install` mends
 * it. */
#include "source_case.h"

#include <stdio.h>

static void begin(struct fixture *f) {
    sql("CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT)");
    sql("CREATE TABLE b (id INTEGER PRIMARY KEY, v TEXT)");
    sql("INSERT INTO a VALUES (1, 'one'), (2, 'two'); INSERT INTO b VALUES (1, 'b')");
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO a VALUES (3, 'three')");
    expect(f, "c a after{id=3,v=three}", "COMMIT");
    mark(f);
    confirm(f);
}

/* The capture stops with these words, and so does each new one, until the mend. */
static void expect_stop(struct fixture *f, const char *words) {
    expect_refusal(f, FATAL, ERR_SOURCE_TRIGGERS);
    if (!strstr(f->err.text, words) || !strstr(f->err.text, "millrace source install"))
        fail_msg("%s", f->err.text);
    close_source(f);
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TRIGGERS);
    assert_non_null(strstr(f->err.text, words));
}

static void mend(struct fixture *f) {
    if (install(f) != OK)
        fail_msg("%s", f->err.text);
    open_source(f);
}

/* After a mend that tells the table anew. */
#define TOLD_ANEW "t a", "c a after{id=1,v=one}", "c a after{id=2,v=two}", "c a after{id=3,v=three}"

/* ---- columns ---- */

static void an_added_column_is_complete_after_the_install(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("UPDATE a SET v = 'before' WHERE id = 2");
    sql("ALTER TABLE a ADD COLUMN n INT NOT NULL DEFAULT 5");
    sql("INSERT INTO a VALUES (4, 'unseen', 44); UPDATE a SET n = 11 WHERE id = 1");
    expect_stop(f, "column n was added");
    mend(f);
    expect(f, "u a before{id=2,v=two} after{id=2,v=before}", "c a after{id=4,v=unseen}",
           "u a before{id=1,v=one} after{id=1,v=one}", "u a before{id=1,v=one,n=5} after{id=1,v=one,n=11}");
    assert_string_equal(f->item.change.table->columns[2].missing, "5");
    assert_true(f->item.change.table->columns[2].nullable);
    expect(f, "u a before{id=4,v=unseen,n=5} after{id=4,v=unseen,n=44}", "COMMIT");
    sql("UPDATE a SET n = 6 WHERE id = 3");
    expect(f, "u a before{id=3,v=three,n=5} after{id=3,v=three,n=6}", "COMMIT");
    sql("ALTER TABLE a ADD COLUMN w DATE DEFAULT '2024-01-01'"); /* no plain default: each value is told */
    expect_stop(f, "column w was added");
    mend(f);
    for (int i = 0; i < 4; i++) {
        next(f);
        assert_true(f->item.change.op == OP_UPDATE && f->item.change.before[3].tag == VALUE_NULL);
    }
    assert_string_equal(f->item.change.table->columns[2].missing, "5");
    assert_null(f->item.change.table->columns[3].missing);
    expect(f, "COMMIT");
}

static void a_renamed_column_brings_the_table_anew(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("ALTER TABLE a RENAME COLUMN v TO name");
    expect_stop(f, "columns were changed");
    mend(f);
    expect(f, "t a", "c a after{id=1,name=one}", "c a after{id=2,name=two}", "c a after{id=3,name=three}",
           "COMMIT");
    sql("UPDATE a SET name = 'x' WHERE id = 1");
    expect(f, "u a before{id=1,name=one} after{id=1,name=x}", "COMMIT");
}

/* SQLite refuses it while a trigger names the column. */
static void a_column_is_dropped_after_an_uninstall(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    CLEANUP_BUF told = {0};
    begin(f);
    void *session = place->session();
    assert_false(place->run(session, "ALTER TABLE a DROP COLUMN v", &rows, &why));
    place->end(session);
    assert_int_equal(ops->setup(f->options, &f->env, SETUP_UNINSTALL, false, &told, &f->err), OK);
    assert_string_equal(see("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'millrace%%'"), "0");
    sql("ALTER TABLE a DROP COLUMN v");
    expect_refusal(f, FATAL, ERR_SOURCE_TRIGGERS);
    close_source(f);
    assert_int_equal(install(f), OK);
    expect_needs_resnapshot(f, "another one");
}

/* ---- tables ---- */

static void a_table_that_is_dropped_or_renamed_is_noticed(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("ALTER TABLE b RENAME TO c");
    sql("INSERT INTO c VALUES (2, 'c')");
    expect_stop(f, "table main.b: it was dropped or renamed");
    mend(f);
    expect(f, "c b after{id=2,v=c}", "t c", "c c after{id=1,v=b}", "c c after{id=2,v=c}", "COMMIT");
    sql("DROP TABLE c");
    expect_stop(f, "table main.c: it was dropped or renamed");
    mend(f);
    sql("INSERT INTO a VALUES (4, 'on')");
    expect(f, "c a after{id=4,v=on}", "COMMIT");
}

static void a_new_table_comes_whole_with_the_install(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF findings = {0};
    begin(f);
    sql("CREATE TABLE late (id INTEGER PRIMARY KEY); INSERT INTO late VALUES (1), (2)");
    sql("INSERT INTO a VALUES (4, 'on')");
    expect(f, "c a after{id=4,v=on}", "COMMIT"); /* nobody stops for a table that was never captured */
    struct source_resume resume = resume_of(f);
    assert_int_equal(ops->check(f->options, &f->env, &resume, 5000, &findings, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&findings), "table-not-installed"));
    assert_int_equal(install(f), OK); /* while the capture runs */
    expect(f, "t late", "c late after{id=1}", "c late after{id=2}", "COMMIT");
    assert_int_equal(install(f), OK); /* nothing more to do */
    sql("INSERT INTO late VALUES (3)");
    expect(f, "c late after{id=3}", "COMMIT");
}

static void a_table_that_cannot_be_followed_is_refused(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT)");
    sql("CREATE UNIQUE INDEX i ON a (v) WHERE id > 5");
    assert_int_equal(install(f), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TABLE);
    assert_non_null(strstr(f->err.text, "unique index i is partial"));
    sql("DROP INDEX i; CREATE UNIQUE INDEX i ON a (lower(v))");
    assert_int_equal(install(f), FATAL);
    assert_non_null(strstr(f->err.text, "unique index i has an expression"));
    sql("DROP INDEX i");
    open_source(f);
    pass_snapshot(f);
    sql("CREATE UNIQUE INDEX i ON a (lower(v))");
    expect_refusal(f, FATAL, ERR_SOURCE_TRIGGERS);
    assert_non_null(strstr(f->err.text, "unique index i has an expression"));
}

/* ---- triggers ---- */

static void a_trigger_that_was_away_brings_the_table_anew(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("DROP TRIGGER millrace_1_update");
    expect_stop(f, "millrace_1_update is gone");
    mend(f);
    expect(f, TOLD_ANEW, "COMMIT");
    mark(f);
    CLEANUP_FREE char *again = strdup(see("SELECT sql FROM sqlite_schema WHERE name = 'millrace_3_update'"));
    sql("DROP TRIGGER millrace_3_update; UPDATE a SET v = 'unseen' WHERE id = 1; %s", again);
    expect_stop(f, "dropped and created again");
    mend(f);
    expect(f, "t a", "c a after{id=1,v=unseen}");
}

static void a_trigger_of_the_application_that_would_fire_first_is_noticed(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("CREATE TRIGGER theirs AFTER UPDATE ON a WHEN NEW.v <> 'last' BEGIN UPDATE a SET v = 'last' WHERE id "
        "= NEW.id; "
        "END");
    expect_stop(f, "its trigger theirs was created after ours");
    mend(f);
    expect(f, TOLD_ANEW, "COMMIT");
    sql("UPDATE a SET v = 'first' WHERE id = 1");
    expect(f, "u a before{id=1,v=one} after{id=1,v=first}", "u a before{id=1,v=first} after{id=1,v=last}",
           "COMMIT");
}

static void a_unique_index_that_the_triggers_do_not_know_is_noticed(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("CREATE UNIQUE INDEX i ON a (v)");
    expect_stop(f, "or an index of the table, was altered");
    mend(f);
    expect(f, TOLD_ANEW, "COMMIT");
    sql("REPLACE INTO a VALUES (9, 'one')");
    expect(f, "d a before{id=1,v=one}", "c a after{id=9,v=one}", "COMMIT");
}

static void vacuum_and_a_change_of_journal_mode_do_no_harm(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("CREATE TABLE other (id INT); DROP TABLE b; VACUUM");
    expect_refusal(f, FATAL, ERR_SOURCE_TRIGGERS); /* b: the order of the triggers has survived */
    close_source(f);
    mend(f);
    sql("INSERT INTO a VALUES (4, 'four'); VACUUM; ANALYZE; REINDEX");
    do /* the new table, too */
        next(f);
    while (strcmp(item_line(&f->item), "c a after{id=4,v=four}") != 0);
    close_source(f);
    sql("PRAGMA journal_mode = delete");
    open_source(f);
    sql("INSERT INTO a VALUES (5, 'five')");
    do
        next(f);
    while (strcmp(item_line(&f->item), "c a after{id=5,v=five}") != 0);
    sql("DELETE FROM a WHERE id = 5");
    expect(f, "COMMIT", "d a before{id=5,v=five}", "COMMIT");
}

/* ---- the script ---- */

static void the_printed_script_does_the_same(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF script = {0};
    sql("CREATE TABLE \"we\"\"ird 'name\" (\"a b\" INTEGER PRIMARY KEY, \"x'y\"\"z\" TEXT UNIQUE, \"select\" "
        "REAL)");
    assert_int_equal(ops->setup(options_of(f), &f->env, SETUP_INSTALL, true, &script, &f->err), OK);
    assert_string_equal(see("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'millrace%%'"), "0");
    sql("%s", buf_cstr(&script));
    buf_clear(&script);
    assert_int_equal(ops->setup(options_of(f), &f->env, SETUP_INSTALL, true, &script, &f->err), OK);
    assert_int_equal(script.len, 0);
    open_source(f);
    pass_snapshot(f);
    sql("REPLACE INTO \"we\"\"ird 'name\" VALUES (1, 'x', 0.5)");
    expect(f, "c we\"ird 'name after{a b=1,x'y\"z=x,select=0.5}", "COMMIT");
    buf_clear(&script);
    assert_int_equal(ops->setup(f->options, &f->env, SETUP_UNINSTALL, true, &script, &f->err), OK);
    sql("%s", buf_cstr(&script));
    assert_string_equal(see("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'millrace%%'"), "0");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE_OF(SQLITE, an_added_column_is_complete_after_the_install),
        CASE_OF(SQLITE, a_renamed_column_brings_the_table_anew),
        CASE_OF(SQLITE, a_column_is_dropped_after_an_uninstall),
        CASE_OF(SQLITE, a_table_that_is_dropped_or_renamed_is_noticed),
        CASE_OF(SQLITE, a_new_table_comes_whole_with_the_install),
        CASE_OF(SQLITE, a_table_that_cannot_be_followed_is_refused),
        CASE_OF(SQLITE, a_trigger_that_was_away_brings_the_table_anew),
        CASE_OF(SQLITE, a_trigger_of_the_application_that_would_fire_first_is_noticed),
        CASE_OF(SQLITE, a_unique_index_that_the_triggers_do_not_know_is_noticed),
        CASE_OF(SQLITE, vacuum_and_a_change_of_journal_mode_do_no_harm),
        CASE_OF(SQLITE, the_printed_script_does_the_same),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
