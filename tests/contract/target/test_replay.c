/* Whose rows stand in a table, and how it is emptied and built anew. */
#include "target_case.h"

static void a_table_is_emptied_also_where_foreign_keys_point_to_it(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id serial PRIMARY KEY, qty int, note text); CREATE TABLE shop.parts (item "
        "int REFERENCES shop.items)");
    struct process a;
    process_begin(&a, "a", OPTIONS());
    for (int how = 0; how < 4; how++) { /* with a foreign key and without; as a truncate and as a snapshot */
        fill_items(10);
        if (how == 2)
            sql("DROP TABLE shop.parts; SELECT nextval('shop.items_id_seq')");
        if (how == 2)
            assert_ok(&a, ops->reset(a.target, &a.err)); /* what is known of the table is forgotten */
        if (how == 2)
            assert_ok(&a, claim(&a));
        assert_ok(&a, ops->clear(a.target, items(), how % 2, true, &a.err));
        assert_ok(&a, commit(&a));
        assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    }
    process_end(&a);
}

static void rows_of_somebody_else_are_never_mixed_in(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
    fill_items(3);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_code(&a, prepare_as(&a, items(), true, false), FATAL, ERR_TARGET_NOT_EMPTY);
    assert_non_null(strstr(a.err.text, named("shop.items")));
    sql("DELETE FROM shop.items");
    assert_ok(&a, prepare_as(&a, items(), true, false));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    apply_commit(&a);
    process_end(&a);
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_as(&a, items(), true, false)); /* now they are ours */
    ops->rollback(a.target);
    process_end(&a);
}

static enum code prepare_from(struct process *p, const struct table *source, const struct table *table,
                              const char *filter) {
    struct mapped mapped = {.source = source, .table = (struct table *)(uintptr_t)table, .filter = filter};
    return ops->prepare(p->target, &mapped, false, false, &p->err);
}

static struct table *incarnation(const struct table *table, uint64_t number) {
    struct table *t = table_copy(table, &memory);
    t->incarnation = number;
    t->digest = table_digest(t);
    return t;
}

static void rows_keep_their_origin(void **state) {
    (void)state;
    const struct table *grown = TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("remark"));
    const struct table *mine = incarnation(items(), 7),
                       *other = incarnation(TABLE("parts", INT_KEY("id")), 8);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_from(&a, mine, mine, "qty = 1"));
    assert_ok(&a, commit(&a));
    process_end(&a);
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_from(&a, mine, mine, "qty = 1"));
    assert_ok(&a, commit(&a));
    fill_items(3);
    for (int restarted = 0; restarted < 2; restarted++) {
        /* another table, another filter, other names of columns */
        assert_code(&a, prepare_from(&a, other, incarnation(items(), 8), NULL), FATAL, ERR_CONFIG);
        assert_non_null(strstr(a.err.text, "shop.parts"));
        process_end(&a);
        process_begin(&a, "a", OPTIONS());
        assert_code(&a, prepare_from(&a, mine, mine, NULL), FATAL, ERR_CONFIG);
        assert_non_null(strstr(a.err.text, "millrace replay --sink"));
        assert_code(&a, prepare_from(&a, mine, incarnation(grown, 7), "qty = 1"), FATAL, ERR_CONFIG);
        assert_non_null(strstr(a.err.text, "note"));
        assert_string_equal(see("SELECT count(*) FROM shop.items"), "3");
    }
    /* renamed at the source, and still under its old name here */
    assert_ok(&a,
              prepare_from(
                  &a, incarnation(TABLE("goods", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("note")), 7),
                  mine, "qty = 1"));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "3");
    /* whatever is configured holds once it is built anew */
    assert_ok(&a, ops->reset(a.target, &a.err));
    assert_ok(&a, claim(&a));
    assert_ok(&a, prepare_from(&a, other, incarnation(items(), 8), NULL));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    process_end(&a);
}

static void a_table_that_the_source_renames_or_makes_anew_is_followed(void **state) {
    (void)state;
    const struct table *before = incarnation(items(), 7);
    struct table *goods = table_copy(items(), &memory);
    goods->name = "goods";
    const struct table *after = incarnation(goods, 7), *anew = incarnation(goods, 8);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_from(&a, before, before, NULL));
    INSERT(begin(before), INT(1), INT(1), SQL_NULL);
    apply_commit(&a);
    assert_ok(&a, prepare_from(&a, after, after, NULL));
    assert_ok(&a, commit(&a));
    assert_false(has_table("shop.items"));
    assert_string_equal(see("SELECT id FROM shop.goods"), "1");
    assert_ok(&a, prepare_from(&a, anew, anew, NULL));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*) FROM shop.goods"), "0");
    process_end(&a);
}

static void a_replay_empties_what_the_sink_wrote(void **state) {
    (void)state;
    struct process a, cli;
    const struct table *gone = TABLE("gone", INT_KEY("id"));
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_as(&a, items(), true, false));
    assert_ok(&a, prepare_as(&a, gone, true, false));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    assert_ok(&a, apply(&a));
    INSERT(begin(gone), INT(1));
    apply_commit(&a);
    sql("CREATE TABLE shop.other (id int); INSERT INTO shop.other VALUES (1)");

    process_open(&cli, "cli", OPTIONS());
    assert_ok(&cli, ops->reset(cli.target, &cli.err));
    process_end(&cli);
    assert_code(&a, ops->renew(a.target, &a.err), RETRY, ERR_TARGET_OWNERSHIP);
    assert_ok(&a, claim(&a));
    assert_true(a.progress.rebuild);
    assert_int_equal(a.progress.commit_seq, 0);
    assert_int_equal(a.progress.n_offsets, 0);
    assert_ok(&a, prepare_as(&a, items(), true, a.progress.rebuild));
    INSERT(begin(items()), INT(2), INT(2), SQL_NULL);
    assert_string_equal(see("SELECT count(*) FROM shop.items"),
                        "1"); /* readers see the old rows until the commit */
    apply_commit(&a);
    assert_string_equal(see("SELECT id FROM shop.items"), "2");
    assert_string_equal(see("SELECT count(*) FROM shop.gone"), "0"); /* nothing came for it */
    assert_string_equal(see("SELECT count(*) FROM shop.other"), "1");
    process_end(&a);
    process_begin(&a, "a", OPTIONS());
    assert_false(a.progress.rebuild);
    assert_ok(&a, prepare_as(&a, items(), false, false));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT id FROM shop.items"), "2");
    process_end(&a);
}

static enum code claim_part(struct process *p, int worker, int workers) {
    return ops->claim(p->target, worker, workers, LEASE_MS, &p->arena, &p->progress, &p->err);
}

static void a_replay_does_not_wait_for_what_is_being_built(void **state) {
    (void)state;
    struct process a, b;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items())); /* not committed: its row of millrace.sink_table is locked */
    process_open(&b, "b", OPTIONS("lock_timeout", "1s"));
    assert_ok(&b, ops->reset(b.target, &b.err));
    assert_code(&a, commit(&a), RETRY, ERR_TARGET_UNREACHABLE);
    process_end(&b);
    process_end(&a);
}

static void workers_that_build_anew_do_not_wait_for_each_other(void **state) {
    (void)state;
    struct process a, b, cli;
    const struct table *other = TABLE("other", INT_KEY("id")), *gone = TABLE("gone", INT_KEY("id"));
    process_open(&a, "p", OPTIONS("lock_timeout", "1s"));
    process_open(&b, "p", OPTIONS("lock_timeout", "1s"));
    assert_ok(&a, claim_part(&a, 0, 2));
    assert_ok(&b, claim_part(&b, 1, 2));
    assert_ok(&a, prepare_as(&a, items(), true, false));
    assert_ok(&a, prepare_as(&a, gone, true, false));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    assert_ok(&a, apply(&a));
    INSERT(begin(gone), INT(1));
    apply_commit(&a);
    assert_ok(&b, prepare_as(&b, other, true, false));
    INSERT(begin(other), INT(1));
    apply_commit(&b);

    process_open(&cli, "cli", OPTIONS());
    assert_ok(&cli, ops->reset(cli.target, &cli.err));
    process_end(&cli);
    assert_ok(&a, claim_part(&a, 0, 2));
    assert_ok(&b, claim_part(&b, 1, 2));
    assert_ok(&b, prepare_as(&b, other, true, b.progress.rebuild));
    INSERT(begin(other), INT(2));
    assert_ok(&b, apply(&b)); /* and goes on for hours */
    assert_ok(&a, prepare_as(&a, items(), true, a.progress.rebuild));
    INSERT(begin(items()), INT(2), INT(2), SQL_NULL);
    apply_commit(&a);
    assert_string_equal(see("SELECT id FROM shop.items"), "2");
    assert_string_equal(see("SELECT id FROM shop.other"), "1"); /* still building */
    assert_string_equal(see("SELECT count(*) FROM shop.gone"), "1");
    assert_ok(&b, commit(&b));
    assert_string_equal(see("SELECT id FROM shop.other"), "2");
    assert_string_equal(see("SELECT count(*) FROM shop.gone"),
                        "0"); /* the last one empties what nothing came for */
    assert_string_equal(see("SELECT id FROM shop.items"), "2");
    process_end(&a);
    process_end(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_OF(POSTGRES, a_table_is_emptied_also_where_foreign_keys_point_to_it),
        CASE(rows_of_somebody_else_are_never_mixed_in),
        CASE(rows_keep_their_origin),
        CASE(a_table_that_the_source_renames_or_makes_anew_is_followed),
        CASE(a_replay_empties_what_the_sink_wrote),
        CASE_OF(POSTGRES, a_replay_does_not_wait_for_what_is_being_built),
        CASE_WITH(WORKERS, workers_that_build_anew_do_not_wait_for_each_other),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}
