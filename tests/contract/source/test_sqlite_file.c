/* The captured file, and the change table in it, in the hands of others: locked, deleted, replaced, set back,
 * edited. Either the capture goes on and nothing is missing, or it stops by name. */
#include "source_case.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "place_sqlite.h"

static void begin(struct fixture *f) {
    sql("CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT)");
    sql("INSERT INTO a VALUES (1, 'one')");
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO a VALUES (2, 'two'); INSERT INTO a VALUES (3, 'three')");
    while (f->position.commit < 2 || f->item.type != ITEM_COMMIT)
        next(f);
    mark(f);
    confirm(f);
}

/* Until the change table has forgotten what is confirmed. */
static void sweep(struct fixture *f, int confirmed) {
    CLEANUP_FREE char *wanted = xasprintf("%d", confirmed);
    int64_t deadline = clock_mono(f->env.clock) + DEADLINE_S * 1000000;
    while (strcmp(see("SELECT confirmed FROM millrace_source"), wanted) != 0) {
        assert_true(clock_mono(f->env.clock) < deadline);
        next_within(f, 10);
        assert_int_equal(ops->service(f->source, &f->err), OK);
    }
    mark(f);
}

static void copy_to(const char *from, const char *to) {
    static const char *const ends[] = {"", "-wal", "-shm"};
    for (int i = 0; i < 3; i++) {
        CLEANUP_FREE char *path = xasprintf("%s%s", to, ends[i]);
        unlink(path);
    }
    int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_EXCL, 0600);
    ssize_t n;
    while ((n = copy_file_range(in, NULL, out, NULL, 1 << 20, 0)) > 0)
        ;
    assert_int_equal(n, 0);
    close(in);
    close(out);
}

/* ---- locks ---- */

static void a_file_that_is_locked_for_long_is_waited_for(void **state) {
    struct fixture *f = *state;
    begin(f);
    close_source(f);
    sql("PRAGMA journal_mode = delete"); /* here a writer locks readers out */
    open_source(f);
    sql("BEGIN EXCLUSIVE; INSERT INTO a VALUES (4, 'four')");
    for (int i = 0; i < 20; i++) {
        assert_false(next_within(f, 10));
        assert_int_equal(ops->service(f->source, &f->err), OK);
        confirm(f);
    }
    sql("INSERT INTO a VALUES (5, 'five'); COMMIT");
    expect(f, "c a after{id=4,v=four}", "c a after{id=5,v=five}", "COMMIT");
    close_source(f);
    sql("BEGIN EXCLUSIVE");
    struct source_resume resume = resume_of(f);
    CLEANUP_BUF json = {0};
    assert_int_equal(ops->status(f->options, &f->env, &resume, 100, &json, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&json), "\"state\":\"unreachable\""));
    assert_non_null(strstr(buf_cstr(&json), "locked"));
    sql("COMMIT");
}

static void an_open_transaction_of_a_writer_delays_only_the_deletion(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("INSERT INTO a VALUES (4, 'four')");
    expect(f, "c a after{id=4,v=four}", "COMMIT");
    void *other = place->session();
    sql_in(other, "BEGIN IMMEDIATE; INSERT INTO a VALUES (10, 'late')");
    mark(f);
    confirm(f);
    for (int i = 0; i < 60; i++) {
        assert_false(next_within(f, 10));
        assert_int_equal(ops->service(f->source, &f->err), OK);
    }
    assert_string_equal(see("SELECT confirmed FROM millrace_source"), "2");
    sql_in(other, "COMMIT");
    place->end(other);
    expect(f, "c a after{id=10,v=late}", "COMMIT");
    mark(f);
    confirm(f);
    sweep(f, 4);
    assert_string_equal(see("SELECT count(*) FROM millrace_changes"), "1");
}

/* ---- the change table ---- */

static void rows_that_others_delete_are_missed(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("BEGIN; INSERT INTO a VALUES (4, ''), (5, ''), (6, ''); DELETE FROM millrace_changes WHERE id = 4; "
        "COMMIT");
    expect_refusal(f, FATAL, ERR_NEEDS_RESNAPSHOT);
    assert_non_null(strstr(f->err.text, "rows before it are missing"));
    close_source(f);
    sql("DELETE FROM millrace_changes WHERE id < 5");
    expect_needs_resnapshot(f, "begins after 4");
    sql("DELETE FROM millrace_changes");
    expect_needs_resnapshot(f, "set back");
    forget(f);
    open_source(f);
    pass_snapshot(f);
    sql("INSERT INTO a VALUES (9, 'on')");
    expect(f, "c a after{id=9,v=on}", "COMMIT");
}

static void rows_that_are_deleted_while_it_reads_are_missed(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("DELETE FROM millrace_changes WHERE id = 2");
    expect_refusal(f, FATAL, ERR_NEEDS_RESNAPSHOT);
    assert_non_null(strstr(f->err.text, "the newest rows are missing"));
}

static void an_altered_change_table_stops(void **state) {
    struct fixture *f = *state;
    begin(f);
    sql("ALTER TABLE millrace_changes ADD COLUMN mine TEXT");
    expect_refusal(f, FATAL, ERR_SOURCE_TRIGGERS);
    assert_non_null(strstr(f->err.text, "millrace_changes) is gone or was altered"));
    close_source(f);
    sql("ALTER TABLE millrace_changes DROP COLUMN mine");
    open_source(f);
    sql("CREATE TRIGGER theirs AFTER INSERT ON millrace_changes BEGIN DELETE FROM millrace_changes; END");
    expect_refusal(f, FATAL, ERR_SOURCE_TRIGGERS);
    assert_non_null(strstr(f->err.text, "has a trigger"));
}

/* ---- the file ---- */

static void a_restored_backup_is_noticed(void **state) {
    struct fixture *f = *state;
    begin(f);
    sweep(f, 2);
    CLEANUP_FREE char *copy = xasprintf("%s.copy", sqlite_path);
    unlink(copy);
    sql("VACUUM INTO '%s'", copy);
    sql("INSERT INTO a VALUES (4, ''), (5, '')");
    expect(f, "c a after{id=4,v=}", "c a after{id=5,v=}", "COMMIT");
    mark(f);
    confirm(f);
    sweep(f, 4);
    close_source(f);
    copy_to(copy, sqlite_path);
    expect_needs_resnapshot(f, "lies beyond the last change");
    /* ids that the stored position knows otherwise: what was deleted tells */
    void *later = place->session();
    sql_in(later, "INSERT INTO a VALUES (6, ''), (7, ''), (8, ''), (9, '')");
    place->end(later);
    expect_needs_resnapshot(f, "a backup was restored");
}

/* Commits that were shipped and lost: their ids are given to others. */
static void commits_that_were_lost_with_the_power_are_missed(void **state) {
    struct fixture *f = *state;
    begin(f);
    sweep(f, 2);
    close_source(f);
    sql("DELETE FROM millrace_changes; INSERT INTO millrace_changes (id, shape, op, at, number, v1, v2) "
        "VALUES (1, 1, "
        "'i', 1, 2, 2, 'two'), (2, 1, 'i', 1, 3, 3, 'other'), (3, 1, 'i', 2, 4, 4, 'four')");
    expect_needs_resnapshot(f, "another change stands where");
}

static void an_installation_that_is_made_anew_while_it_is_read_is_noticed(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF told = {0};
    begin(f);
    assert_int_equal(ops->setup(f->options, &f->env, SETUP_UNINSTALL, false, &told, &f->err), OK);
    assert_int_equal(install(f), OK);
    sql("INSERT INTO a VALUES (4, ''), (5, ''), (6, ''), (7, '')");
    expect_refusal(f, FATAL, ERR_NEEDS_RESNAPSHOT);
    assert_non_null(strstr(f->err.text, "made anew while it was read"));
}

static void a_file_that_is_deleted_or_replaced_while_it_is_read(void **state) {
    struct fixture *f = *state;
    begin(f);
    CLEANUP_FREE char *copy = xasprintf("%s.copy", sqlite_path);
    unlink(copy);
    sql("VACUUM INTO '%s'", copy);
    unlink(sqlite_path);
    int64_t deadline = clock_mono(f->env.clock) + DEADLINE_S * 1000000;
    while (ops->service(f->source, &f->err) == OK)
        assert_true(clock_mono(f->env.clock) < deadline);
    assert_int_equal(f->err.id, ERR_SOURCE_UNREACHABLE);
    assert_non_null(strstr(f->err.text, "deleted or replaced"));
    close_source(f);
    assert_int_equal(try_open(f, false), RETRY); /* it may be put back */
    assert_int_equal(f->err.id, ERR_SOURCE_UNREACHABLE);
    copy_to(copy, sqlite_path);
    open_source(f);
    void *session = place->session();
    sql_in(session, "INSERT INTO a VALUES (4, 'same')");
    expect(f, "c a after{id=4,v=same}", "COMMIT");
    close_source(f);
    sql_in(session, "UPDATE millrace_source SET identity = 'another'");
    place->end(session);
    expect_needs_resnapshot(f, "another one");
}

/* ---- values ---- */

static void what_a_column_cannot_carry_stops_by_name(void **state) {
    static const struct {
        const char *declared, *literal, *words;
    } cases[] = {
        {"TEXT", "x'00ff'", "it is a BLOB"},
        {"TEXT", "CAST(x'41ff' AS TEXT)", "not UTF-8"},
        {"TEXT", "'a' || char(0) || 'b'", "NUL"},
        {"INT", "1.5", "no INTEGER"},
        {"REAL", "'much'", "no REAL"},
        {"BLOB", "'text'", "no BLOB"},
        {"BOOLEAN", "2", "neither 0 nor 1"},
        {"DECIMAL(5,1)", "'many'", "it is a text"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        sql("CREATE TABLE t (id INTEGER PRIMARY KEY, v %s)", cases[i].declared);
        if (try_open(f, true) != OK)
            fail_msg("%s", f->err.text);
        pass_snapshot(f);
        sql("INSERT INTO t VALUES (77, %s)", cases[i].literal);
        expect_refusal(f, REJECT, ERR_VALUE_NOT_CARRIED);
        assert_non_null(strstr(f->err.text, "main.t (id=77): column v"));
        if (!strstr(f->err.text, cases[i].words))
            fail_msg("%s", f->err.text);
        close_source(f);
        if (try_open(f, true) != OK) /* and of the snapshot */
            fail_msg("%s", f->err.text);
        expect_refusal(f, REJECT, ERR_VALUE_NOT_CARRIED);
        close_source(f);
        sql("DROP TABLE t");
    }
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE_OF(SQLITE, a_file_that_is_locked_for_long_is_waited_for),
        CASE_OF(SQLITE, an_open_transaction_of_a_writer_delays_only_the_deletion),
        CASE_OF(SQLITE, rows_that_others_delete_are_missed),
        CASE_OF(SQLITE, rows_that_are_deleted_while_it_reads_are_missed),
        CASE_OF(SQLITE, an_altered_change_table_stops),
        CASE_OF(SQLITE, a_restored_backup_is_noticed),
        CASE_OF(SQLITE, commits_that_were_lost_with_the_power_are_missed),
        CASE_OF(SQLITE, an_installation_that_is_made_anew_while_it_is_read_is_noticed),
        CASE_OF(SQLITE, a_file_that_is_deleted_or_replaced_while_it_is_read),
        CASE_OF(SQLITE, what_a_column_cannot_carry_stops_by_name),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
