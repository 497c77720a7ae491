/* What only PostgreSQL's log has: slots, publications, a WAL sender and its patience. */
#include "source_case.h"

#include <stdio.h>

#include "place_postgres.h"

static void set_sender_timeout(struct fixture *f, int ms) {
    option(f, "url", "\"%s options='-c wal_sender_timeout=%d'\"", conninfo, ms);
}

static void the_slot_moves_on_confirm_and_not_before(void **state) {
    struct fixture *f = *state;
    char question[256], before[64];
    sql("CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    next_within(f, 50);
    snprintf(
        before, sizeof before, "%s",
        see("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'millrace_contract'"));
    sql("INSERT INTO a VALUES (1)");
    expect(f, "c a after{id=1}", "COMMIT");
    mark(f);
    for (int i = 0; i < 20; i++) {
        next_within(f, 10);
        assert_int_equal(ops->service(f->source, &f->err), OK);
    }
    assert_string_equal(
        see("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'millrace_contract'"),
        before);
    confirm(f);
    snprintf(
        question, sizeof question,
        "SELECT confirmed_flush_lsn > '%s' FROM pg_replication_slots WHERE slot_name = 'millrace_contract'",
        before);
    wait_for(f, question, "t");
    /* and it is the end of the commit, so that nothing waits for a later one */
    wait_for(f,
             "SELECT flush_lsn = replay_lsn AND write_lsn = flush_lsn FROM pg_stat_replication WHERE "
             "application_name = 'millrace'",
             "t");
}

static void an_idle_source_lets_its_slot_move_on(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    sql("CREATE SCHEMA other; CREATE TABLE other.x (t text); INSERT INTO other.x SELECT repeat('x', "
        "1000) FROM generate_series(1, 30000)");
    int64_t deadline = clock_mono(f->env.clock) + 15000000;
    do
        assert_true(next_within(f, 15000) && clock_mono(f->env.clock) < deadline);
    while (f->item.type != ITEM_IDLE);
    assert_true(f->position.commit == 0); /* the snapshot's end: nothing of ours has happened since */
    mark(f);
    confirm(f);
    wait_for(f,
             "SELECT pg_current_wal_lsn() - confirmed_flush_lsn < 1000000 FROM pg_replication_slots WHERE "
             "slot_name = 'millrace_contract'",
             "t");
    close_source(f);
    open_source(f); /* and from the mark of an idle item we go on */
    sql("INSERT INTO a VALUES (5)");
    expect(f, "c a after{id=5}", "COMMIT");
}

static void a_dropped_slot_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql("SELECT pg_drop_replication_slot('millrace_contract'); INSERT INTO a VALUES (3)");
    expect_needs_resnapshot(f, "does not exist");
    mend_and_go_on(f);
}

static void a_recreated_slot_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql("SELECT pg_drop_replication_slot('millrace_contract')");
    sql("INSERT INTO a VALUES (3)");
    sql("SELECT pg_create_logical_replication_slot('millrace_contract', 'pgoutput')");
    expect_needs_resnapshot(f, "made again");
    mend_and_go_on(f);
}

static void a_slot_moved_ahead_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql("INSERT INTO a VALUES (3)");
    sql("SELECT pg_replication_slot_advance('millrace_contract', pg_current_wal_lsn())");
    expect_needs_resnapshot(f, "moved ahead");
    mend_and_go_on(f);
}

static void the_lock_of_a_snapshot_goes_with_it(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)");
    open_source(f);
    struct source *first = f->source;
    struct source_resume none = {0};
    assert_int_equal(ops->vacant(f->options, &f->env, &f->err), RETRY);
    assert_int_equal(f->err.id, ERR_SLOT_ACTIVE);
    assert_non_null(strstr(f->err.text, "taking the snapshot"));
    assert_int_equal(ops->open(f->options, &f->env, &none, &f->source, &f->err), RETRY);
    assert_int_equal(f->err.id, ERR_SLOT_ACTIVE);
    f->source = first;
    pass_snapshot(f);
    next_within(f, 100);
    assert_string_equal(see("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"), "0");
    assert_int_equal(ops->vacant(f->options, &f->env, &f->err), RETRY);
    assert_non_null(strstr(f->err.text, "is in use by"));
}

static void a_caller_that_takes_nothing_keeps_its_session_by_service(void **state) {
    struct fixture *f = *state;
    set_sender_timeout(f, 3000);
    sql("CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    next_within(f, 100);
    sql("INSERT INTO a SELECT generate_series(1, 200000)"); /* more than the socket holds */
    for (int i = 0; i < 50; i++) {
        if (ops->service(f->source, &f->err) != OK)
            fail_msg("service: %s", f->err.text);
        poll(NULL, 0, 100);
    }
    for (int i = 0; i < 200000; i++)
        next(f);
    expect(f, "COMMIT");
}

/* The WAL sender waits for a catalog that somebody locked: as silent as one that passes over a huge
 * transaction. */
static void a_wal_sender_that_is_busy_for_longer_than_its_timeout_is_waited_for(void **state) {
    struct fixture *f = *state;
    set_sender_timeout(f, 1000);
    sql("CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    next_within(f, 100);
    void *other = place->session();
    sql_in(other, "BEGIN; LOCK TABLE pg_publication_rel IN ACCESS EXCLUSIVE MODE");
    sql("INSERT INTO a VALUES (1)");
    int64_t twice = clock_mono(f->env.clock) + 2500000; /* judged two times */
    while (clock_mono(f->env.clock) < twice)
        assert_true(!next_within(f, 100) || f->item.type == ITEM_IDLE);
    place->end(other);
    expect(f, "c a after{id=1}", "COMMIT");
}

static void tables_that_cannot_be_captured_are_refused_with_their_sql(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (v int)");
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_TABLE_WITHOUT_KEY);
    assert_non_null(strstr(f->err.text, "ALTER TABLE \"public\".\"a\" REPLICA IDENTITY FULL"));
    sql("DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, t text)");
    option(f, "partial_rows", "refuse");
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_PARTIAL_ROWS);
    assert_non_null(strstr(f->err.text, "partial_rows: history"));
    sql("ALTER TABLE a REPLICA IDENTITY FULL");
    option(f, "tables", "[public.nowhere]");
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TABLE);
    assert_string_equal(
        see("SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'millrace_contract'"), "0");
    option(f, "tables", "[\"public.*\"]");
    open_source(f);
}

static void a_catalog_that_somebody_locks_is_asked_again(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY)");
    void *other = place->session();
    sql_in(other, "BEGIN; LOCK TABLE pg_publication_rel IN ACCESS EXCLUSIVE MODE");
    assert_int_equal(try_open(f, false), RETRY);
    place->end(other);
    open_source(f);
}

static void status_and_check_say_that_the_slot_is_gone(void **state) {
    struct fixture *f = *state;
    struct source_resume none = {0};
    CLEANUP_BUF json = {0}, findings = {0};
    stream_a_little(f);
    struct source_resume resume = resume_of(f);
    sql("SELECT pg_drop_replication_slot('millrace_contract'); CREATE TABLE keyless (v text)");
    assert_int_equal(ops->status(f->options, &f->env, &resume, 5000, &json, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&json), "\"state\":\"needs-resnapshot\""));
    assert_int_equal(ops->check(f->options, &f->env, &none, 5000, &findings, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&findings), "table-without-key"));
    assert_non_null(strstr(buf_cstr(&findings), "\"level\":\"ok\""));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE_OF(POSTGRES, the_slot_moves_on_confirm_and_not_before),
        CASE_OF(POSTGRES, an_idle_source_lets_its_slot_move_on),
        CASE_OF(POSTGRES, a_dropped_slot_needs_a_new_snapshot),
        CASE_OF(POSTGRES, a_recreated_slot_needs_a_new_snapshot),
        CASE_OF(POSTGRES, a_slot_moved_ahead_needs_a_new_snapshot),
        CASE_OF(POSTGRES, the_lock_of_a_snapshot_goes_with_it),
        CASE_OF(POSTGRES, a_caller_that_takes_nothing_keeps_its_session_by_service),
        CASE_OF(POSTGRES, a_wal_sender_that_is_busy_for_longer_than_its_timeout_is_waited_for),
        CASE_OF(POSTGRES, tables_that_cannot_be_captured_are_refused_with_their_sql),
        CASE_OF(POSTGRES, a_catalog_that_somebody_locks_is_asked_again),
        CASE_OF(POSTGRES, status_and_check_say_that_the_slot_is_gone),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
