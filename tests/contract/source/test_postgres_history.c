/* PostgreSQL's log: positions in it, and what it says of tables as they were. */
#include "source_case.h"

#include <stdio.h>

#include "base/log.h"
#include "capture/postgres/identity.h"

/* Puts another "flushed" into the stored state. */
static void rewrite_flushed(struct fixture *f, uint64_t at) {
    CLEANUP_BUF text = {0};
    const char *old = buf_cstr(&f->state), *key = "\"flushed\":\"", *p = strstr(old, key);
    assert_non_null(p);
    p += strlen(key);
    buf_put(&text, old, (size_t)(p - old));
    buf_printf(&text, LSN_FMT "%s", LSN_ARGS(at), strchr(p, '"'));
    buf_clear(&f->state);
    buf_put_slice(&f->state, buf_slice(&text));
}

/* Whatever byte of the log a stored position names, on a record's edge or not: what committed before it is
 * left out, what committed after it comes, from the first on. */
static void a_position_between_two_records_neither_skips_nor_repeats(void **state) {
    enum { ROWS = 6, STEPS = 60 };
    struct fixture *f = *state;
    uint64_t commits[ROWS], ends[ROWS];
    sql("CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    uint64_t from = lsn_parse(see("SELECT pg_current_wal_insert_lsn()"));
    for (int i = 0; i < ROWS; i++) {
        sql("INSERT INTO a VALUES (%d)", i);
        ends[i] = lsn_parse(see("SELECT pg_current_wal_insert_lsn()"));
        do
            next(f);
        while (f->item.type != ITEM_COMMIT);
        commits[i] = f->item.position.commit;
    }
    uint64_t generation = f->position.generation;
    for (int step = 0; step < STEPS; step++) { /* the log reaches beyond each */
        uint64_t at = from + (ends[ROWS - 1] - from) * (uint64_t)step / STEPS;
        close_source(f);
        f->position = (struct position){generation, at, 0};
        f->boundary = true;
        rewrite_flushed(f, at);
        open_source(f);
        int i = 0;
        while (i < ROWS && commits[i] < at)
            i++;
        if (i < ROWS) {
            char line_of[64];
            snprintf(line_of, sizeof line_of, "c a after{id=%d}", i);
            expect(f, line_of, "COMMIT");
        }
    }
}

static void a_cut_in_mid_transaction_holds_when_selection_and_keys_have_changed(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); ALTER TABLE b REPLICA "
        "IDENTITY FULL; CREATE TABLE c (id int PRIMARY KEY); INSERT INTO b VALUES (1); INSERT INTO c VALUES "
        "(1)");
    open_source(f);
    pass_snapshot(f);
    sql("BEGIN; UPDATE b SET id = 2; UPDATE c SET id = 2; INSERT INTO a VALUES (1); INSERT INTO a "
        "VALUES (2); COMMIT");
    for (int i = 0; i < 5; i++) { /* up to the first of a's rows */
        do
            next(f);
        while (f->item.type == ITEM_IDLE);
    }
    assert_string_equal(item_line(&f->item), "c a after{id=1}");
    mark(f); /* the position is in the middle: the transaction comes again */
    close_source(f);
    sql("ALTER TABLE b DROP CONSTRAINT b_pkey");
    option(f, "tables", "[\"public.*\", \"!public.c\"]");
    open_source(f);
    expect(f, "c a after{id=2}", "COMMIT");
}

static void a_null_in_a_column_that_forbids_it_today_makes_a_new_version(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY, v int)");
    open_source(f);
    pass_snapshot(f);
    close_source(f);
    sql("INSERT INTO a VALUES (1, 1), (2, NULL)");
    sql("ALTER TABLE a SET (fillfactor = 90); INSERT INTO a VALUES (3, 3), (4, NULL)"); /* describes it
                                                                                                  again */
    sql("DELETE FROM a WHERE v IS NULL; ALTER TABLE a ALTER v SET NOT NULL");
    open_source(f);
    next(f);
    const struct table *strict = f->item.change.table;
    assert_false(strict->columns[1].nullable);
    expect(f, "c a after{id=2,v=null}");
    assert_true(f->item.change.table->columns[1].nullable);
    assert_true(f->item.change.table->digest != strict->digest);
    const struct table *loose = f->item.change.table;
    expect(f, "COMMIT", "c a after{id=3,v=3}");
    assert_ptr_equal(f->item.change.table, strict); /* a shape that comes back is the version it was */
    expect(f, "c a after{id=4,v=null}");
    assert_ptr_equal(f->item.change.table, loose);
}

static void tables_that_are_gone_are_read_as_they_were(void **state) {
    struct fixture *f = *state;
    sql("CREATE TABLE a (id int PRIMARY KEY, v int)");
    open_source(f);
    pass_snapshot(f);
    close_source(f);
    sql("INSERT INTO a VALUES (1, 1); DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, w text); "
        "INSERT INTO a VALUES (9, 'no')");
    open_source(f); /* the new table joins the publication here */
    expect(f, "c a after{id=1,v=1}", "COMMIT");
    sql("INSERT INTO a VALUES (2, 'new')");
    expect(f, "c a after{id=2,w=new}", "COMMIT");
}

static void a_timeline_that_left_before_our_position_needs_a_new_snapshot(void **state) {
    (void)state;
    static const char history[] = "1\t0/5000000\tno recovery target specified\n2\t0/7000000\tbefore 2024\n";
    struct err err;
    assert_int_equal(timeline_check(history, 3, 1, 0x5000000, &err), OK);
    assert_int_equal(timeline_check(history, 3, 2, 0x6000000, &err), OK);
    assert_int_equal(timeline_check(history, 3, 1, 0x5000001, &err), FATAL);
    assert_int_equal(err.id, ERR_NEEDS_RESNAPSHOT);
    assert_non_null(strstr(err.text, "0/5000000"));
    assert_int_equal(timeline_check(history, 3, 7, 0x100, &err), FATAL);
    assert_int_equal(timeline_check("", 1, 2, 0x100, &err), FATAL);
    struct pg_state ours = {.timeline = 1, .flushed = 0x4000000, .reach = 0x4000000};
    state_reaches(&ours, 0x5000000); /* handed over in part: its commit record is not on the new timeline */
    assert_int_equal(timeline_check(history, 3, 1, ours.reach, &err), FATAL);
}

static void another_history_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    char *flushed = strstr(buf_cstr(&f->state), "\"flushed\":\"");
    assert_non_null(flushed);
    char *kept = strdup(buf_cstr(&f->state));
    memcpy(flushed + 11, "F", 1); /* our position is far ahead of the server's log */
    expect_needs_resnapshot(f, "restored from an older backup");
    buf_clear(&f->state);
    buf_puts(&f->state, kept);
    char *system = strstr(buf_cstr(&f->state), "\"system\":\"");
    system[10] = system[10] == '1' ? '2' : '1';
    expect_needs_resnapshot(f, "another database cluster");
    free(kept);
}

static void a_dropped_publication_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql("DROP PUBLICATION millrace_contract; INSERT INTO a VALUES (3)");
    expect_needs_resnapshot(f, "publication");
    mend_and_go_on(f);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE_OF(POSTGRES, a_position_between_two_records_neither_skips_nor_repeats),
        CASE_OF(POSTGRES, a_cut_in_mid_transaction_holds_when_selection_and_keys_have_changed),
        CASE_OF(POSTGRES, a_null_in_a_column_that_forbids_it_today_makes_a_new_version),
        CASE_OF(POSTGRES, tables_that_are_gone_are_read_as_they_were),
        CASE_OF(POSTGRES, a_timeline_that_left_before_our_position_needs_a_new_snapshot),
        CASE_OF(POSTGRES, another_history_needs_a_new_snapshot),
        CASE_OF(POSTGRES, a_dropped_publication_needs_a_new_snapshot),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
