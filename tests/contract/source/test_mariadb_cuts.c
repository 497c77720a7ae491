/* Which change rows of MariaDB are taken, and which wait (capture/trigger/mariadb/mariadb.h). */
#include <stdio.h>

#include "capture/trigger/mariadb/mariadb.h"
#include "capture/trigger/mariadb/source.h"
#include "source_case.h"

/* A reader of table a, at its beginning; the caller closes it. */
static struct maria_feed *reader(struct fixture *f) {
    struct feed *feed = NULL;
    make_table("a", "id int PRIMARY KEY");
    f->options = options_of(f);
    if (install(f) != OK)
        fail_msg("%s", f->err.text);
    assert_int_equal(maria_feed_ops.connect(f->options, &f->env, 5000, &feed, &f->err), OK);
    assert_int_equal(maria_feed_ops.claim(feed, &f->err), OK);
    assert_int_equal(maria_feed_ops.stream(feed, "", 0, &f->err), OK);
    return (struct maria_feed *)feed;
}

static void begin_view(struct fixture *f, MYSQL *view) {
    assert_int_equal(
        maria_exec(view, "test", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY", &f->err), OK);
}

static void expect_cut(const struct maria_feed *m, size_t n, const char *ids, bool whole) {
    CLEANUP_BUF text = {0};
    assert_int_equal(m->n_cuts, n);
    ids_print(&m->cuts[n - 1].ids, &text);
    assert_string_equal(buf_cstr(&text), ids);
    assert_true(m->cuts[n - 1].whole == whole);
}

/* As in a view that was opened while transactions ended: it shows the third change and lacks the second. */
static void what_a_younger_view_shows_in_between_holds_back_what_comes_after_it(void **state) {
    struct fixture *f = *state;
    struct maria_feed *m = reader(f);
    void *late = place->session();
    sql("INSERT INTO a VALUES (1)");
    sql_in(late, "BEGIN; INSERT INTO a VALUES (2)");
    sql("INSERT INTO a VALUES (3)");
    begin_view(f, m->view);
    sql_in(late, "COMMIT");
    begin_view(f, m->witness);
    m->open = true;
    assert_int_equal(cuts_claim(m, &f->err), OK);
    expect_cut(m, 1, "1", false);
    assert_int_equal(cuts_claim(m, &f->err), OK);
    expect_cut(m, 2, "2-3", true);
    assert_int_equal(cuts_claim(m, &f->err), AGAIN);
    place->end(late);
    maria_feed_ops.close(&m->feed);
}

/* One more row is written, taken and deleted; the deletion looks who is writing. */
static void write_take_and_delete(struct fixture *f, struct maria_feed *m, int id) {
    sql("INSERT INTO a VALUES (%d)", id);
    assert_int_equal(cuts_claim(m, &f->err), OK);
    m->read = m->n_cuts;
    maria_feed_ops.forget(&m->feed, m->cuts[m->n_cuts - 1].number, &f->err);
    poll(NULL, 0, 120); /* the server's list is a new one */
    m->sample_due_us = 0;
    for (enum code code = OK; code != AGAIN;) {
        code = cuts_delete(m, &f->err);
        assert_true(code == OK || code == AGAIN);
    }
}

static void what_commits_late_is_taken_late(void **state) {
    struct fixture *f = *state;
    struct maria_feed *m = reader(f);
    void *late = place->session();
    for (int i = 1; i <= 4; i++)
        write_take_and_delete(f, m, i);
    sql_in(late, "BEGIN; INSERT INTO a VALUES (5)");
    for (int i = 6; i <= 10; i++)
        write_take_and_delete(f, m, i);
    assert_int_equal(m->low, 4);
    sql_in(late, "COMMIT");
    assert_int_equal(cuts_claim(m, &f->err), OK);
    expect_cut(m, m->n_cuts, "5", true);
    m->read = m->n_cuts;
    maria_feed_ops.forget(&m->feed, m->cuts[m->n_cuts - 1].number, &f->err);
    for (int i = 11; i <= 13; i++)
        write_take_and_delete(f, m, i);
    assert_true(m->low > 10);
    place->end(late);
    maria_feed_ops.close(&m->feed);
}

/* A statement that reserved ids for rows to come would leave holes: another client's change of such a row,
 * made meanwhile, would have a greater id than the statement's later one. */
static void no_statement_reserves_ids_for_rows_to_come(void **state) {
    struct fixture *f = *state;
    struct maria_feed *m = reader(f);
    sql("INSERT INTO a SELECT seq FROM seq_1_to_300");
    sql("DELETE FROM a WHERE id <= 150");
    sql("UPDATE a SET id = id + 1000 WHERE id > 150 ORDER BY id");
    sql("REPLACE INTO a SELECT seq FROM seq_1151_to_1300");
    assert_int_equal(cuts_claim(m, &f->err), OK);
    expect_cut(m, 1, "1-900", true);
    maria_feed_ops.close(&m->feed);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE_OF(MARIADB_TRIGGERS, what_a_younger_view_shows_in_between_holds_back_what_comes_after_it),
        CASE_OF(MARIADB_TRIGGERS, what_commits_late_is_taken_late),
        CASE_OF(MARIADB_TRIGGERS, no_statement_reserves_ids_for_rows_to_come),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
