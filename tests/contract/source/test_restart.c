/* A source that ends anywhere and is opened at a stored position: nothing is skipped, nothing is repeated. */
#include "source_case.h"

#include <stdio.h>

#define END_SQL  "INSERT INTO a VALUES (999, 9)"
#define END_LINE "c a after{id=999,v=9}"

enum { LINES_MAX = 64 };
struct lines {
    char *text[LINES_MAX];
    int n;
};

static void lines_free(struct lines *l) {
    for (int i = 0; i < l->n; i++)
        free(l->text[i]);
    l->n = 0;
}

/* The changes up to the end mark, as capture takes them: what lies at or below the stored position is
 * dropped. Without restarts, or with one after each change. */
static void take_changes(struct fixture *f, bool restart, struct lines *ret) {
    struct position last = f->position;
    for (bool end = false; !end;) {
        next(f);
        if (f->item.type != ITEM_CHANGE || position_cmp(f->item.position, last) <= 0)
            continue;
        assert_true(ret->n < LINES_MAX);
        last = f->item.position;
        ret->text[ret->n++] = strdup(item_line(&f->item));
        end = strcmp(item_line(&f->item), END_LINE) == 0;
        if (!restart)
            continue;
        mark(f);
        if (ret->n % 2)
            confirm(f);
        close_source(f);
        f->position = last;
        f->boundary = false;
        open_source(f);
    }
}

static void write_some(void) {
    sql("INSERT INTO a VALUES (1, 0)");
    sql("BEGIN; INSERT INTO a VALUES (10, 0), (11, 0); UPDATE a SET v = 1 WHERE id = 1; UPDATE a SET v = 2 "
        "WHERE id = 10; "
        "COMMIT");
    sql("BEGIN; UPDATE a SET id = 110 WHERE id = 10; UPDATE a SET id = 10 WHERE id = 11; DELETE FROM a WHERE "
        "id = 1; COMMIT");
    sql("INSERT INTO a VALUES (20, 0)");
    sql("UPDATE a SET v = 3 WHERE id = 20");
    sql(END_SQL);
}

static void a_restart_after_any_change_neither_skips_nor_repeats(void **state) {
    struct fixture *f = *state;
    struct lines whole = {0}, parts = {0};
    make_table("a", "id int PRIMARY KEY, v int");
    open_source(f);
    pass_snapshot(f);
    write_some();
    take_changes(f, false, &whole);
    close_source(f);
    sql("DELETE FROM a");
    if (try_open(f, true) != OK)
        fail_msg("%s", f->err.text);
    pass_snapshot(f);
    write_some();
    take_changes(f, true, &parts);
    assert_int_equal(parts.n, whole.n);
    for (int i = 0; i < whole.n; i++)
        assert_string_equal(parts.text[i], whole.text[i]);
    sql("INSERT INTO a VALUES (1000, 0)");
    do /* what comes again lies below the stored position */
        next(f);
    while (f->item.type != ITEM_CHANGE || strcmp(item_line(&f->item), END_LINE) == 0);
    assert_string_equal(item_line(&f->item), "c a after{id=1000,v=0}");
    lines_free(&whole);
    lines_free(&parts);
}

static void what_is_not_confirmed_comes_again_and_is_not_forgotten(void **state) {
    struct fixture *f = *state;
    char before[64], fell[512];
    make_table("a", "id int PRIMARY KEY");
    open_source(f);
    pass_snapshot(f);
    next_within(f, 50);
    close_source(f);
    struct position stored = f->position;
    open_source(f);
    sql("INSERT INTO a VALUES (1)");
    expect(f, "c a after{id=1}", "COMMIT");
    snprintf(before, sizeof before, "%s", see("%s", place->kept));
    for (int i = 0; i < 20; i++) {
        next_within(f, 10);
        assert_int_equal(ops->service(f->source, &f->err), OK);
    }
    close_source(f);
    f->position = stored;
    open_source(f);
    expect(f, "c a after{id=1}", "COMMIT");
    assert_string_equal(see("%s", place->kept), before);
    mark(f);
    confirm(f);
    snprintf(fell, sizeof fell, "SELECT CASE WHEN (%s) < %s THEN 'yes' ELSE 'no' END", place->kept, before);
    int64_t deadline = clock_mono(f->env.clock) + DEADLINE_S * 1000000;
    while (strcmp(see("%s", fell), "yes") != 0) {
        assert_true(clock_mono(f->env.clock) < deadline);
        next_within(f, 10);
        assert_int_equal(ops->service(f->source, &f->err), OK);
    }
}

static void a_crash_in_the_middle_of_a_snapshot_begins_it_again(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    sql("INSERT INTO a WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 900) SELECT "
        "i FROM s");
    option_line(f, place->in_order);
    open_source(f);
    for (int i = 0; i < 300; i++)
        next(f);
    mark(f);
    confirm(f);
    close_source(f);
    sql("DELETE FROM a WHERE id > 2");
    sql("INSERT INTO a VALUES (2000)");
    open_source(f);
    f->position = (struct position){0};
    expect(f, "t a");
    assert_true(f->position.generation == 2);
    expect(f, "r a after{id=1}", "r a after{id=2}", "r a after{id=2000}", "COMMIT");
    sql("INSERT INTO a VALUES (3)");
    expect(f, "c a after{id=3}", "COMMIT");
}

static void a_new_snapshot_is_another_generation(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql("INSERT INTO a VALUES (3)");
    mend_and_go_on(f);
}

static void a_severed_source_is_opened_again_and_nothing_is_missing(void **state) {
    struct fixture *f = *state;
    if (!place->sever)
        return;
    stream_a_little(f);
    open_source(f);
    sql("INSERT INTO a VALUES (10)");
    expect(f, "c a after{id=10}", "COMMIT");
    mark(f);
    confirm(f);
    sql("INSERT INTO a VALUES (11)");
    place->sever();
    expect_refusal(f, RETRY, ERR_SOURCE_UNREACHABLE);
    close_source(f);
    open_source(f); /* from the mark, which is before 11 */
    f->position = (struct position){0};
    expect(f, "c a after{id=11}", "COMMIT");
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(a_restart_after_any_change_neither_skips_nor_repeats),
        CASE(what_is_not_confirmed_comes_again_and_is_not_forgotten),
        CASE(a_crash_in_the_middle_of_a_snapshot_begins_it_again),
        CASE(a_new_snapshot_is_another_generation),
        CASE(a_severed_source_is_opened_again_and_nothing_is_missing),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
