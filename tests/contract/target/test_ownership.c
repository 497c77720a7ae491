/* Who may write to a replica, and how far it is: a part has one owner, a position moves with its rows. */
#include "target_case.h"

static void a_part_has_one_owner_until_it_lets_go(void **state) {
    (void)state;
    struct process a, b;
    process_begin(&a, "a", OPTIONS());
    process_open(&b, "b", OPTIONS());
    assert_int_equal(a.progress.epoch, 1);
    assert_int_equal(a.progress.commit_seq, 0);
    assert_code(&b, claim(&b), AGAIN, ERR_TARGET_OWNERSHIP);
    assert_ok(&a, ops->renew(a.target, &a.err));
    process_end(&a);
    assert_ok(&b, claim(&b));
    assert_int_equal(b.progress.epoch, 2);
    process_end(&b);
}

static void an_owner_that_is_not_seen_loses_its_part_and_its_session(void **state) {
    (void)state;
    struct process a, b;
    process_begin(&a, "a", OPTIONS());
    process_open(&b, "b", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    INSERT(begin(items()), INT(1), INT(1), TEXT("from a"));
    assert_ok(&a, apply(&a));
    forget_owners();
    assert_code(&b, claim(&b), AGAIN, ERR_TARGET_OWNERSHIP); /* its session was at work a moment ago */
    assert_int_equal(ops->claim(b.target, 0, 1, 1, &b.arena, &b.progress, &b.err),
                     OK); /* for a lease of 1 ms it was not */
    assert_int_equal(b.progress.epoch, 2);
    assert_int_equal(commit(&a), RETRY);
    assert_false(has_table("shop.items"));
    process_end(&a);
    assert_ok(&b, ops->renew(b.target, &b.err)); /* a could not give up what it no longer owns */
    process_end(&b);
}

static const char takeover[] = "UPDATE millrace.sink_worker SET epoch = epoch + 1, owner = 'b'";

static void assert_zombie(struct process *a) {
    assert_code(a, commit(a), RETRY, ERR_TARGET_OWNERSHIP);
    assert_code(a, ops->renew(a->target, &a->err), RETRY, ERR_TARGET_OWNERSHIP);
    assert_code(a, ops->park(a->target, "shop", "items", "why", &a->err), RETRY, ERR_TARGET_OWNERSHIP);
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    process_end(a);
    assert_string_equal(see("SELECT owner FROM millrace.sink_worker"), "b");
}

static void a_zombie_cannot_commit_renew_or_park(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    sql("%s", takeover);
    INSERT(begin(items()), INT(1), INT(1), TEXT("zombie"));
    assert_ok(&a, apply(&a));
    assert_zombie(&a);
}

/* Where a transaction that has begun keeps nobody out. */
static void a_zombie_whose_transaction_is_open_cannot_commit(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    INSERT(begin(items()), INT(1), INT(1), TEXT("zombie"));
    assert_ok(&a, apply(&a));
    sql("%s", takeover);
    assert_zombie(&a);
}

static void rows_and_position_move_together_or_not_at_all(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    assert_ok(&a, apply(&a));
    ops->rollback(a.target);
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");

    assert_ok(&a, apply(&a));
    struct sink_offset offsets[] = {{.topic = "p.shop.\"it,{}\\ems",
                                     .partition = 3,
                                     .next = 42,
                                     .position = {1, UINT64_C(0xFEDCBA9876543210), 7}}};
    struct sink_progress next = {.epoch = 1,
                                 .commit_seq = 9,
                                 .commits_next = 10,
                                 .position = {1, 2, 3},
                                 .commit_us = 4,
                                 .offsets = offsets,
                                 .n_offsets = 1};
    assert_ok(&a, ops->commit(a.target, &next, &a.err));
    assert_string_equal(see("SELECT * FROM shop.items"), "1|1|~");
    process_end(&a);

    process_begin(&a, "b", OPTIONS());
    assert_int_equal(a.progress.commit_seq, 9);
    assert_int_equal(a.progress.commits_next, 10);
    assert_int_equal(a.progress.position.ordinal, 3);
    assert_int_equal(a.progress.commit_us, 4);
    assert_int_equal(a.progress.n_offsets, 1);
    assert_string_equal(a.progress.offsets[0].topic, offsets[0].topic);
    assert_int_equal(a.progress.offsets[0].next, 42);
    assert_true(a.progress.offsets[0].position.commit == UINT64_C(0xFEDCBA9876543210));
    process_end(&a);
}

static void another_number_of_workers_needs_a_replay(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, commit(&a));
    assert_code(&a, ops->claim(a.target, 0, 2, LEASE_MS, &a.arena, &a.progress, &a.err), FATAL, ERR_CONFIG);
    assert_non_null(strstr(a.err.text, "millrace replay --sink report"));
    assert_ok(&a, ops->reset(a.target, &a.err));
    assert_ok(&a, ops->claim(a.target, 1, 2, LEASE_MS, &a.arena, &a.progress, &a.err));
    assert_true(a.progress.rebuild);
    process_end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(a_part_has_one_owner_until_it_lets_go),
        CASE_OF(POSTGRES, an_owner_that_is_not_seen_loses_its_part_and_its_session),
        CASE(a_zombie_cannot_commit_renew_or_park),
        CASE_WITH(WORKERS, a_zombie_whose_transaction_is_open_cannot_commit),
        CASE(rows_and_position_move_together_or_not_at_all),
        CASE_WITH(WORKERS, another_number_of_workers_needs_a_replay),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}
